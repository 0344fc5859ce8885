"""No memory, processes that died, variables that another program left, and Python's warnings: one line each."""

from __future__ import annotations

import warnings

import pytest
import torch

from d3pm_image import cli as commands
from d3pm_image.config import ConfigError
from d3pm_image.system.failures import in_words
from d3pm_image.system.notes import warnings_in_words
from d3pm_image.training.launch import check_launch

VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
FULL = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 1.2 GiB for an array with shape (1,)"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 4194304000 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        ImportError("libtorch.so: failed to map segment from shared object: Cannot allocate memory"),
    ],
)  # fmt: skip
def test_every_library_s_words_for_no_memory_are_known(error):
    text = in_words(error)
    assert text.startswith("out of memory") and "\n" not in text and "alloc_cpu.cpp" not in text


def test_faults_of_the_program_keep_their_traceback():
    for error in (
        RuntimeError("shape mismatch"),
        TypeError("x"),
        KeyError("gloo"),
        RuntimeError("the story timed out"),
    ):
        assert in_words(error) is None or "timed out" not in str(error)
    assert in_words(RuntimeError("shape '[2]' is invalid for input of size 3")) is None


@pytest.mark.parametrize(
    "values, name",
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE"),
        ({"RANK": "1"}, "RANK"),
        ({**FULL, "RANK": "2"}, "RANK"),
        ({**FULL, "LOCAL_RANK": "x"}, "LOCAL_RANK"),
        ({**FULL, "MASTER_PORT": "http"}, "MASTER_PORT"),
    ],
)
@pytest.mark.parametrize("command", ["train-tokenizer", "encode", "evaluate", "generate"])
def test_variables_that_another_program_left_are_named(values, name, command, monkeypatch, capsys, tmp_path):
    """By every command that would use them; those that draw alone do not mind WORLD_SIZE, but for a rank that is not the first."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"^{name}=.*unset RANK WORLD_SIZE"):
        check_launch()
    if command == "generate" and values.get("RANK", "0") == "0":
        return
    monkeypatch.chdir(tmp_path)
    extra = {
        "encode": ["--tokenizer", "pixels:8", "--data.image_size", "8", "--data.channels", "1"],
        "train-tokenizer": [],
        "generate": [],
    }
    with pytest.raises(SystemExit) as end:
        commands.run(command, extra.get(command, ["fashion-mnist"]))
    errors = capsys.readouterr().err
    assert end.value.code == 2 and errors.count("\n") == 1 and f"error: {name}=" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate", "note: process 1 of 2 has nothing to do: the first one draws the image"),
        ("interpolate", "process 1 of 2 has nothing to do: the first one does the work"),
    ],
)
def test_the_second_of_two_processes_says_that_it_draws_nothing(command, words, monkeypatch, capsys):
    for variable, value in FULL.items():
        monkeypatch.setenv(variable, value)
    commands.run(command, ["/no/such/model"])
    assert capsys.readouterr().err == f"d3pm-image {command}: {words}\n"


def test_warnings_are_lines_in_words(capsys):
    with warnings_in_words():
        warnings.warn("bad.png: cannot be decoded,\n left out \x1b[31m", stacklevel=1)
        warnings.warn("use another argument", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: bad.png: cannot be decoded, left out \\x1b[31m\n"
