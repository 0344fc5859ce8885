"""The page that --help prints: an example, own options first, words in place of types, the sampler's last."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

import pytest

from d3pm_image.cli import COMMANDS, main
from d3pm_image.parser.help import value_words


def page(capsys, command: str, monkeypatch, width: int = 100) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_page_is_readable(command, capsys, monkeypatch):
    text = page(capsys, command, monkeypatch)
    assert text.startswith(f"usage: d3pm-image {command}") and "-h, --help" in text
    assert max(map(len, text.splitlines())) <= 100
    for odd in (
        "null",
        "Optional[",
        "Literal[",
        "type:",
        "NoneType",
        "VALUE",
        "``",
        "Path to a configuration",
    ):
        assert odd not in text, odd
    assert not re.search(r"--\w+_\w", text), "underscores"


def test_what_is_set_most_comes_first_and_the_sampler_last(capsys, monkeypatch):
    text = page(capsys, "generate", monkeypatch)
    order = ["example:", "-n, --num-images N", "--labels TEXT", "-o, --out TEXT", "--seed N", "settings of the sampler",
             "--temperature X", "more:"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "(default: 16)" in text and "--overwrite [true|false]" in text and "auto|float32|bf16" in text


def test_groups_of_settings_have_titles_and_their_own_options(capsys, monkeypatch):
    text = page(capsys, "train-diffusion", monkeypatch, 60)
    assert "\ndata (" in text and "--data.image-size N|LIST" in text and "\ntrain (" in text
    assert max(map(len, text.splitlines()[:3])) <= 60


def test_the_example_of_a_page_is_a_command_that_is_known(capsys, monkeypatch):
    found = 0
    for command in COMMANDS:
        text = page(capsys, command, monkeypatch)
        if "example:" in text:
            found += 1
            assert text.split("example:\n  ")[1].startswith(f"d3pm-image {command}")
    assert found >= 18


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "N"),
        (float | None, "X"),
        (bool, "[true|false]"),
        (Literal["a", "b"], "a|b"),
        (Literal["a name that is long", "another of them"], "NAME"),
        (int | tuple[int, int], "N|LIST"),
        (dict[str, int], "SETTINGS"),
        (str | int, "TEXT|N"),
        (dataclasses.Field, "VALUE"),
    ],
)
def test_types_in_words(hint, words):
    assert value_words(hint) == words
