"""Measurements: other methods side by side (``benchmarks.baselines``), and speed (``benchmarks.speed``). Run
from the repository's root."""
