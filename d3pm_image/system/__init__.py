"""What a program asks of the system it runs on: kept memory, an end at signals, and failures of the machine
in words."""
