"""``d3pm-image completion SHELL``: the words that a shell offers when Tab is pressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..config import check
from ..parser import parse
from ..parser.arguments import DESCRIBE, Described
from ..parser.completion import SHELLS, Completions, of_command

WORDS = "--words"
"""What the printed function asks with: the words of a command line follow, the last of which is not whole."""


SHELL = "bash, zsh or fish."


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print the function with which a shell completes commands, options, choices, names of models and files
    at Tab. A line of ~/.bashrc brings it into every bash: eval "$(d3pm-image completion bash)"; ~/.zshrc has
    the same with zsh, behind compinit; ~/.config/fish/config.fish has d3pm-image completion fish | source.

    Args:
        shell: bash, zsh or fish.

    Example:
        d3pm-image completion bash
    """

    shell: Literal["bash", "zsh", "fish"]

    def __post_init__(self) -> None:
        check(self.shell in SHELLS, "shell", self.shell, f"use one of {', '.join(SHELLS)}")


def main(arguments: list[str]) -> None:
    """Print the function of a shell, or, for such a function, what completes a command line."""
    if arguments[:1] == [WORDS]:
        found = completions(arguments[1:])
        print("files" if found.files else "words", *found.words, sep="\n")
        return
    print(SHELLS[parse("completion", Completion, arguments, {"shell": SHELL}).shell])


def completions(words: list[str]) -> Completions:
    """What completes the last of the words behind ``d3pm-image``."""
    from . import COMMANDS, function_of

    if len(words) < 2:
        return Completions([*COMMANDS, "--help", "--version"]).beginning_with("".join(words))
    if words[0] in COMMANDS:
        try:
            function_of(words[0])([DESCRIBE])
        except Described as command:
            return of_command(command.kind, command.positionals, words[1:])
    return Completions()
