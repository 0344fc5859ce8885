"""``train.compile``: auto compiles a run that shows that it is long, and one that goes on stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.paths import ROOT
from helpers.runs import weights
from helpers.tensors import equal
from helpers.tiny import SMALL

from d3pm_image import compiler
from d3pm_image.cli import train_tokenizer
from d3pm_image.recompute import recompute_blocks
from d3pm_image.training import compiling, trainer
from d3pm_image.training.checkpoint import checkpoints, read_state

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")
pytest.importorskip("sklearn")

STEPS = ["--train.log_every=5", "--train.checkpoint_every=15", "--train.preview_every=15", "--train.keep=9"]


@pytest.fixture
def compiled(monkeypatch):
    """How often a network was compiled (here by a compiler that changes nothing), every run being long."""
    found = []

    def compile_network(network, **options):
        found.append(network)
        network.compile(backend="eager")

    monkeypatch.setattr(compiler, "LONG", 0.0)
    for module in (trainer, compiling):
        monkeypatch.setattr(module, "compile_network", compile_network)
    monkeypatch.setattr(compiling, "compiler_works", lambda device: True)
    return found


def train(folder, *options: str) -> None:
    train_tokenizer.main([*SMALL, *STEPS, "--out", str(folder), *options])


def states(folder) -> list[bool]:
    return [read_state(place)["compiled"] for place in checkpoints(folder / "checkpoints")]


def test_a_long_run_is_compiled_once_it_is_known_to_be_long(compiled, tmp_path, capsys):
    """After ten steps. A run that goes on from a later checkpoint is compiled from its start, whatever its rate, and ends with the weights of one that was not stopped."""
    train(tmp_path / "run", "--train.steps=30")
    assert len(compiled) == 1 and states(tmp_path / "run") == [True, True]
    assert capsys.readouterr().err.count("its network is compiled now") == 1
    shutil.copytree(tmp_path / "run", tmp_path / "stopped")
    shutil.rmtree(checkpoints(tmp_path / "stopped" / "checkpoints")[-1])
    compiler.LONG = 1e9
    train(tmp_path / "stopped", "--train.steps=30", "--resume=true")
    assert len(compiled) == 2 and "its network is compiled now" not in capsys.readouterr().err
    assert equal(weights(tmp_path / "stopped"), weights(tmp_path / "run"))


def test_validation_is_not_compiled(compiled, tmp_path, monkeypatch):
    """It has other shapes and no gradients: each would be compiled anew, for minutes."""
    seen = []
    monkeypatch.setattr(
        torch.compiler,
        "set_stance",
        lambda stance, real=torch.compiler.set_stance: (seen.append(stance), real(stance))[1],
    )
    train(tmp_path / "run", "--train.steps=30")
    assert seen == ["force_eager"] * 2  # at steps 15 and 30


@pytest.mark.parametrize("reason", ["short", "no compiler", "asked not to", "few steps"])
def test_other_runs_are_not_compiled(reason, compiled, tmp_path, monkeypatch):
    if reason == "short":
        monkeypatch.setattr(compiler, "LONG", 1800.0)
    if reason == "no compiler":
        monkeypatch.setattr(compiling, "compiler_works", lambda device: False)
    asked = ["--train.compile=false"] if reason == "asked not to" else []
    train(tmp_path / "run", f"--train.steps={9 if reason == 'few steps' else 15}", *asked)
    assert not compiled and states(tmp_path / "run")[-1] is False


def test_a_run_that_is_told_not_to_compile_any_more_does_not(compiled, tmp_path):
    train(tmp_path / "run", "--train.steps=15")
    assert len(compiled) == 1
    train(tmp_path / "run", "--train.steps=20", "--resume=true", "--train.compile=false")
    assert len(compiled) == 1


def test_what_was_decided_holds(compiled, tmp_path, capsys, monkeypatch):
    """A run that was short when it was asked is not compiled later, where the machine may be slower; and one that was compiled goes on without where no compiler works."""
    monkeypatch.setattr(compiler, "LONG", 1e9)
    train(tmp_path / "short", "--train.steps=15")
    monkeypatch.setattr(compiler, "LONG", 0.0)
    train(tmp_path / "short", "--train.steps=30", "--resume=true")
    assert not compiled
    train(tmp_path / "long", "--train.steps=15")
    monkeypatch.setattr(compiling, "compiler_works", lambda device: False)
    train(tmp_path / "long", "--train.steps=30", "--resume=true")
    assert len(compiled) == 1 and "no compiler works here" in capsys.readouterr().err
    assert states(tmp_path / "long") == [True, False]


def test_a_run_of_a_version_that_did_not_compile_goes_on_without(compiled, tmp_path):
    train(tmp_path, "--train.steps=15", "--train.compile=false")
    state = checkpoints(tmp_path / "checkpoints")[-1] / "state.json"
    held = json.loads(state.read_text())
    del held["compiled"], held["considered"]
    state.write_text(json.dumps(held))
    train(tmp_path, "--train.steps=30", "--resume=true")
    assert not compiled


WORKS = (
    "import torch; from d3pm_image.compiler import compiler_works; print(compiler_works(torch.device('cpu')))"
)


@pytest.mark.parametrize("compiler_is", ["nowhere", "broken", pytest.param("there", marks=pytest.mark.slow)])
def test_a_compiler_is_tried(compiler_is, tmp_path):
    """Before a run depends on it. In a process of its own: inductor reads CXX once."""
    if compiler_is == "there" and not shutil.which("g++"):
        pytest.skip("needs g++")
    if compiler_is == "broken":
        (tmp_path / "cxx").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "cxx").chmod(0o755)
    chosen = "g++" if compiler_is == "there" else str(tmp_path / "cxx")
    environment = os.environ | {
        "CXX": chosen,
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKS], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(compiler_is == "there")
    assert ("note: not compiled" in done.stderr) == (compiler_is == "broken")


def test_what_was_compiled_is_kept_in_the_cache_folder(monkeypatch, tmp_path):
    """Unless the user keeps it elsewhere."""
    network = torch.nn.Linear(2, 2)
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    compiler.compile_network(network, backend="eager")
    assert compiler.os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compiler.compile_network(network, backend="eager")
    assert compiler.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(
        tmp_path / "compiled" / compiler._processor()
    )


def test_a_run_that_computes_activations_again_ends_with_the_same_weights(tmp_path, monkeypatch):
    """A run may go on the other way."""
    asked = []
    monkeypatch.setattr(
        trainer, "recompute_blocks", lambda network: (asked.append(network), recompute_blocks(network))
    )
    train(tmp_path / "kept", "--train.steps=15")
    train(tmp_path / "again", "--train.steps=12", "--train.recompute=true")
    train(tmp_path / "again", "--train.steps=15", "--train.recompute=false", "--resume=true")
    assert equal(weights(tmp_path / "again"), weights(tmp_path / "kept")) and len(asked) == 1
