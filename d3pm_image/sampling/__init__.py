"""Noise → codes. One loop, and many short step rules that a user chooses between by name."""

from .ancestral import Ancestral
from .confidence import Confidence
from .loop import make_rule, sample
from .state import DecodeState, ImageStreams

__all__ = ["Ancestral", "Confidence", "DecodeState", "ImageStreams", "make_rule", "sample"]
