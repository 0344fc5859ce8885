"""How long things take, one module per benchmark: ``python -m benchmarks.speed --help``."""
