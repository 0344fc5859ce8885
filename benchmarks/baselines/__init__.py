"""Baselines on the same codes, the same layers and the same optimizer, for runs side by side; see scripts/baselines.py."""
