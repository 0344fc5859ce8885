"""The page that --help prints: an example, own options first, words in place of types, the sampler's last."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from typing import Literal

import pytest

from d3pm_image.cli import COMMANDS, main
from d3pm_image.config.worded import worded
from d3pm_image.hub import SHIPPED
from d3pm_image.parser import parse
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


def test_a_named_model_shows_its_own_values(capsys, monkeypatch, tmp_path):
    def said(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["generate", *words, "--help"])
        return " ".join(capsys.readouterr().out.split())

    monkeypatch.setenv("COLUMNS", "100")
    own = json.loads((SHIPPED / "fashion-mnist" / "config.json").read_text())["sampler"]
    text = said("--num-images", "4", "fashion-mnist")
    assert f"Network calls per image. (the model's own: {own['steps']})" in text
    assert f"1.5 is usual. (the model's own: {own['guidance']})" in text
    assert f"which to use when. (the model's own: {own['sampler']})" in text
    assert "(the model's own" not in text.split("--gumbel X")[1], "its sampler has no gumbel"
    values = {"sampler": {"name": "remask", "eta": 0.25, "strategy": "loop"}, "sampling": {"steps": 7}}
    for place in (tmp_path / "finished" / "model", tmp_path / "plain"):
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(values))
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "config.yaml").write_text(json.dumps({"tokenizer": "runs/t", **values}))
    for name in ("finished", "plain", "running"):
        text = said(str(tmp_path / name))
        assert "(the model's own: 7)" in text and "(the model's own: loop)" in text, name
        assert "ancestral. (the model's own: 0.25)" in text
    general = said()
    assert "Network calls per image. (the model's own)" in general and "the model's own:" not in general
    (tmp_path / "plain" / "config.json").write_text("[1]")
    for name in ("missing", str(tmp_path / "plain"), str(tmp_path), ""):
        assert said(*[name] * bool(name)) == general


def test_the_models_values_are_read_without_torch():
    program = "import sys; from d3pm_image.cli import main\ntry: main(['generate', 'eurosat', '--help'])\n"
    program += "except SystemExit: pass\nprint([m for m in ('torch', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "the model's own: 16" in out and out.splitlines()[-1] == "[]"


def test_defaults_that_stand_for_something_are_said_in_words(capsys, monkeypatch):
    pages = {command: " ".join(page(capsys, command, monkeypatch).split()) for command in COMMANDS}
    assert pages["train"].count("(default: 0)") == 1, "the seed's alone"
    for words in ("chosen by the images", "chosen by the time", "30"):
        assert f"(default: {words})" in pages["train"]
    assert "Images per row of the grid; 0 chooses. (default: chosen)" in pages["generate"]
    assert "(default: the tokenizer's own)" in pages["train-diffusion"]
    assert "(default: the tokenizer's own)" not in pages["train-tokenizer"], "it has a size of its own"
    assert "[h, w]; 0 in stage two means the tokenizer's own. (default: 16)" in pages["train-tokenizer"]
    assert "0 means all. (default: all)" in pages["train-tokenizer"]
    for command, text in pages.items():
        for said, value in re.findall(r"([^()]*)\(default: (0|-1)(?:\.0)?\)", text):
            stand_in = rf"(?<!\S){value} (is off|in stage two|means|takes|chooses|counts|estimates|never)"
            assert not re.search(stand_in, said), (command, said)


def test_inherited_options_follow_in_the_order_of_their_classes(capsys):
    """Own ones first, then those of the nearest class, each class's as it lists them; settings of a model
    stand in a group of their own by their mark, whatever their class is called."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Far:
        zulu: int = 1
        alpha: int = 1

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Near(Far):
        mike: int = 1
        bravo: int = 1
        drawn: int | None = worded(None, "the model's own", of_model=True)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Command(Near):
        """What it does."""

        yankee: int = 1
        delta: int = 1

    with pytest.raises(SystemExit):
        parse("some", Command, ["--help"])
    text = capsys.readouterr().out
    options, model = text.split("settings of the sampler")
    assert re.findall(r"--([a-z]+)", options) == ["yankee", "delta", "mike", "bravo", "zulu", "alpha"]
    assert re.findall(r"--([a-z]+)", model)[0] == "drawn" and "--drawn N" in model
