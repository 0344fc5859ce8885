"""Options of a command from its dataclass: parsed by jsonargparse from words, YAML files and dotted
overrides, explained by one help page, with errors in one line. Knows no command.

arguments (words and files → the dataclass), errors (what a parser says of wrong options, as one line), help
(the page that ``--help`` prints).
"""

from .arguments import make_parser, parse

__all__ = ["make_parser", "parse"]
