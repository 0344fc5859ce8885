"""Noise → codes. One loop, and many short step rules that a user chooses between by name."""

from .loop import Frame, Watch, sample
from .request import Request, draw_codes
from .rule import MaskRule, Rule
from .rules import RULES, make_rule
from .state import Controls, DecodeState, ImageStreams

__all__ = [
    "RULES",
    "Controls",
    "DecodeState",
    "Frame",
    "ImageStreams",
    "MaskRule",
    "Request",
    "Rule",
    "Watch",
    "draw_codes",
    "make_rule",
    "sample",
]
