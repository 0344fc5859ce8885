"""Measuring a trained model: samples, reconstructions, sweeps of sampler settings, and result files."""
