"""What a training run is, in Python: the command line, tests and benchmarks call these, and people do."""
