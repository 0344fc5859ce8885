"""Training runs in Python: functions for users, which the command line, tests and benchmarks call as well."""
