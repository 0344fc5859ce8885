"""What completes a command line, from the command's dataclass: options, their choices, names of models.

A shell asks at every press of Tab, so no parser is built and neither torch nor jsonargparse is loaded (as
argcomplete would have it), and names have dashes, as the help shows them. ``d3pm-image completion SHELL``
prints the function of a shell that asks; it passes the words after ``d3pm-image``, the last of which is to
be completed, and reads lines: ``files`` where names of files fit as well, else ``words``, then the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ..config.hints import UNIONS, without_none
from ..hub import shipped
from ..printable import dashed
from .arguments import bare_flags, normalise, positionals_first
from .errors import options

MODELS = ("model", "start_from", "tokenizer")
"""Settings that name a trained model."""
ALWAYS = ("--config", "--help", "--print-config")
SHELLS = {
    "bash": """_d3pm_image() {
    local IFS=$'\\n' word="${COMP_WORDS[COMP_CWORD]}" found
    [ "$word" = "=" ] && word=""
    found=($(d3pm-image completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    COMPREPLY=("${found[@]:1}")
    if [ "${found[0]}" = files ]; then
        COMPREPLY+=($(compgen -f -- "$word"))
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _d3pm_image d3pm-image""",
    "zsh": """_d3pm_image() {
    local -a found
    found=("${(@f)$(d3pm-image completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- "${(@)found[2,-1]}"
    if [[ $found[1] == files ]]; then
        compset -P '--*='
        _files
    fi
}
compdef _d3pm_image d3pm-image""",
    "fish": """function __d3pm_image
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l found (d3pm-image completion --words $before[2..] "$word" 2>/dev/null)
    for one in $found[2..]
        echo $one
    end
    test "$found[1]" = files; and __fish_complete_path (string replace -r -- '^--.*=' '' "$word")
end
complete -c d3pm-image -f -a '(__d3pm_image)'""",
}
"""The function of each shell."""


@dataclass(frozen=True)
class Completions:
    """What may stand in place of the last word.

    Args:
        words: In full.
        files: Names of files fit too.
    """

    words: Sequence[str] = ()
    files: bool = False

    def beginning_with(self, text: str, before: str = "") -> Completions:
        """Those that begin so, each with ``before`` in front."""
        return Completions([before + word for word in self.words if word.startswith(text)], self.files)


def of_command(kind: type, positionals: Sequence[str], words: Sequence[str]) -> Completions:
    """What completes the last of the words behind a command.

    Args:
        kind: The command's dataclass.
        positionals: Names of what is given without an option.
    """
    *before, word = whole_words(words)
    types = options(kind)
    hints = {name: hint for name, hint in types.items() if name not in positionals}
    given = normalise(before, kind)
    last = given[-1].removeprefix("--") if given and given[-1].startswith("--") else ""
    flags: Sequence[str] = ()  # which need no value
    if last in {*hints, "config"} and not word.startswith("-"):
        found = values(last, hints.get(last, str)).beginning_with(word)
        if without_none(hints.get(last, str)) is not bool:
            return found
        flags = found.words
    option, equals, start = word.partition("=")
    if equals and option.startswith("--"):
        name = normalise([option])[0].removeprefix("--")
        return values(name, hints.get(name, str)).beginning_with(start, f"{option}=")
    plain = [w for w in positionals_first(bare_flags(kind, given)) if not w.startswith("-")]
    if not word.startswith("-") and len(plain) < len(positionals):
        name = positionals[len(plain)]
        found = values(name, types.get(name, str)).beginning_with(word)
        return Completions([*flags, *found.words], found.files)
    if flags:
        return Completions(flags)
    used = {dashed(one.partition("=")[0]) for one in given}
    every = [f"--{dashed(name)}" for name in hints]
    return Completions([one for one in [*every, *ALWAYS] if one not in used]).beginning_with(word)


def whole_words(words: Sequence[str]) -> list[str]:
    """The same without the signs at which bash divides ``--option=value``: an option's value is its next
    word."""
    kept = [word for word in words[:-1] if word != "="]
    return [*kept, "" if words[-1:] == ["="] else "".join(words[-1:])]


def values(name: str, hint: Any) -> Completions:
    """What a setting of some name and type takes."""
    hint = without_none(hint)
    types = get_args(hint) if get_origin(hint) in UNIONS else (hint,)
    words = [word for one in types for word in choices(one)]
    models = shipped() if name in MODELS else []
    return Completions([*models, *words], str in types or Path in types)


def choices(hint: Any) -> list[str]:
    """The values of a type that has few."""
    if hint is bool:
        return ["true", "false"]
    return [str(value) for value in get_args(hint)] if get_origin(hint) is Literal else []
