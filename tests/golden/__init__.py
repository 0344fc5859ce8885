"""Recorded runs of version 0.1.0, and the recorder: what a change of structure must reproduce."""
