"""Measures of codes, of reconstructions and of samples."""
