"""Estimates of a training: operations, memory, disk space and time."""
