"""Noise → codes. One loop, and many short step rules that a user chooses between by name."""

from .loop import Frame, Watch, sample
from .request import Request
from .rule import MaskRule, Rule
from .rules import RULES, make_rule
from .state import Controls, DecodeState, ImageStreams

__all__ = ["RULES", "Controls", "DecodeState", "Frame", "ImageStreams", "MaskRule", "Request", "Rule", "Watch", "make_rule", "sample"]
