"""Help in a fresh interpreter: it lists every command and field, and does not import torch."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import docstring_parser
import pytest
from helpers.paths import ROOT

from d3pm_image.cli import COMMANDS
from d3pm_image.config import (
    DiffusionRun,
    TokenizerRun,
)
from d3pm_image.tokenizer.quantizers import QUANTIZERS, Quantizer


def test_importing_the_package_does_not_import_torch():
    code = "import sys, d3pm_image, d3pm_image.config, d3pm_image.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def processor_seconds(*arguments: str) -> float:
    """Of a fresh interpreter, the least of three runs; other work on the machine hardly moves it."""
    resource = pytest.importorskip("resource")
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_takes_little_longer_than_an_interpreter():
    assert processor_seconds("-m", "d3pm_image", "--help") < processor_seconds("-c", "pass") + 0.2


HELP = """
import contextlib, io, json, sys
from d3pm_image.cli import COMMANDS, main

for command in ("", *COMMANDS):
    text, code, before = io.StringIO(), None, "torch" in sys.modules
    try:
        with contextlib.redirect_stdout(text):
            main([command, "--help"] if command else ["--help"])
    except SystemExit as stop:
        code = stop.code or 0
    print(json.dumps([command, code, "torch" in sys.modules and not before, text.getvalue()]))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[int, bool, str]]:
    """Exit code, whether it imported torch, and text of each command's help, from one fresh interpreter."""
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    return {command: tuple(rest) for command, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_does_not_import_torch(command, helps):
    code, torch, text = helps[command]
    assert code == 0 and not torch
    assert "--out" in text or "--config" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_type_that_is_checked(command, helps):
    """An inherited type that the parser cannot resolve makes it take anything for all options."""
    code, _, text = helps[command]
    assert code == 0 and "Unvalidated" not in text and "VALUE" not in text


def test_help_lists_the_commands_without_torch(helps):
    code, torch, text = helps[""]
    assert code == 0 and not torch
    assert all(name in text and meaning in text for name, (_, meaning) in COMMANDS.items())


def fields(value, prefix: str = ""):
    """(dotted name, meaning, default or what it stands for) of every field below a configuration."""
    meanings = {
        item.arg_name: item.description for item in docstring_parser.parse(type(value).__doc__).params
    }
    for item in dataclasses.fields(value):
        default = getattr(value, item.name)
        if isinstance(default, Quantizer):  # of all of them
            yield from (
                (f"{prefix}quantizer.{name}", QUANTIZERS.explain(name), None) for name in QUANTIZERS.types()
            )
        elif dataclasses.is_dataclass(default):
            yield from fields(default, f"{prefix}{item.name}.")
        else:
            stands_for = item.metadata.get("words") if default == item.default else None
            yield prefix + item.name, meanings[item.name], stands_for or default


@pytest.mark.parametrize(
    "command, kind", [("train-tokenizer", TokenizerRun), ("train-diffusion", DiffusionRun)]
)
def test_help_shows_meaning_and_default_of_every_field(command, kind, helps):
    shown = re.sub(r"\s", "", helps[command][2])
    for name, meaning, default in fields(kind()):
        text = re.escape(re.sub(r"\s|``", "", meaning))
        said = str(default).lower() if isinstance(default, bool) else str(default)
        said = (
            re.escape(re.sub(r"\s", "", said))
            if default is not None and default is not False and default != ""
            else ""
        )
        ending = rf"\(default:{said}\)" if said else ""
        option = re.escape(name.replace("_", "-"))
        assert re.search(rf"--{option}[^ ]{{0,60}}?{text}{ending}", shown), name


def test_module_exit_code_is_two_on_wrong_input():
    done = subprocess.run(
        [sys.executable, "-m", "d3pm_image", "train-tokenizer", "--train.stepz", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
