"""What a training will cost: operations, memory, disk and time, before it begins."""
