"""The program and its operating system: keeping memory, ending at signals, threads, and messages for failures
of the machine."""
