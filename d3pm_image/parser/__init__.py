"""Options of a command from its dataclass: parsed by jsonargparse from words, YAML files and dotted
overrides, explained by one help page, with errors in one line. Independent of the commands.

arguments (words and files → the dataclass), errors (messages for wrong options, in one line), help (the page
that ``--help`` prints).
"""

from .arguments import make_parser, parse

__all__ = ["make_parser", "parse"]
