"""Baselines on the same codes, the same layers and the same optimizer: ``python -m benchmarks.baselines
--help``."""
