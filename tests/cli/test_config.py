"""Configuration: impossible values, YAML and dotted overrides, one-line complaints, and help without torch."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from d3pm_image.cli import COMMANDS, main
from d3pm_image.cli.parsing import parse
from d3pm_image.config import (
    ConfigError,
    DataConfig,
    DenoiserConfig,
    DiffusionLossConfig,
    DiffusionRun,
    ProcessConfig,
    SamplingConfig,
    TokenizerConfig,
    TokenizerLossConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.recipes.settings import save_resolved

NAN, INF = float("nan"), float("inf")

REJECTED = [
    (DataConfig, "data.image_size", {"image_size": -1}),
    (DataConfig, "data.image_size", {"image_size": 5000}),
    (DataConfig, "data.image_size", {"image_size": (0, 8)}),
    (DataConfig, "data.image_size", {"image_size": (8, 4097)}),
    (DataConfig, "data.val_share", {"val_share": 0.0}),
    (DataConfig, "data.val_share", {"val_share": 1.0}),
    (DataConfig, "data.val_share", {"val_share": NAN}),
    (DataConfig, "data.limit", {"limit": -1}),
    (DataConfig, "data.workers", {"workers": -1}),
    (DataConfig, "data.memory_mb", {"memory_mb": -1}),
    (DataConfig, "data.root", {"source": "folder", "root": ""}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 3}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 0}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 32}),
    (TokenizerConfig, "tokenizer.multipliers", {"multipliers": [1]}),
    (TokenizerConfig, "tokenizer.multipliers", {"multipliers": [1, 0]}),
    (TokenizerConfig, "tokenizer.width", {"width": 0}),
    (TokenizerConfig, "tokenizer.width", {"width": 12}),
    (TokenizerConfig, "tokenizer.blocks", {"blocks": 0}),
    (TokenizerConfig, "tokenizer.num_codes", {"num_codes": 1}),
    (TokenizerConfig, "tokenizer.num_codes", {"num_codes": 65536}),
    (TokenizerConfig, "tokenizer.code_dim", {"code_dim": 0}),
    (TokenizerConfig, "tokenizer.decay", {"decay": 1.0}),
    (TokenizerConfig, "tokenizer.decay", {"decay": -0.1}),
    (TokenizerConfig, "tokenizer.commitment", {"commitment": -1.0}),
    (TokenizerConfig, "tokenizer.commitment", {"commitment": NAN}),
    (TokenizerConfig, "tokenizer.revive_below", {"revive_below": 1.0}),
    (TokenizerConfig, "tokenizer.entropy", {"entropy": -0.1, "quantizer": "lfq"}),
    (TokenizerLossConfig, "loss.l2", {"l2": -1.0, "l1": 2.0}),
    (TokenizerLossConfig, "loss", {"l2": 0.0, "l1": 0.0}),
    (ProcessConfig, "process.uniform_share", {"uniform_share": 1.01}),
    (ProcessConfig, "process.uniform_share", {"uniform_share": NAN}),
    (ProcessConfig, "process.steps", {"steps": -1}),
    (ProcessConfig, "process.steps", {"steps": 1_000_001}),
    (DenoiserConfig, "denoiser.width", {"width": 4, "heads": 1}),
    (DenoiserConfig, "denoiser.depth", {"depth": 0}),
    (DenoiserConfig, "denoiser.heads", {"heads": 0}),
    (DenoiserConfig, "denoiser.heads", {"heads": 3}),
    (DenoiserConfig, "denoiser.heads", {"width": 60, "heads": 6}),
    (DenoiserConfig, "denoiser.mlp_ratio", {"mlp_ratio": 0.0}),
    (DenoiserConfig, "denoiser.dropout", {"dropout": 1.0}),
    (DiffusionLossConfig, "loss", {"bound": -1.0, "auxiliary": 2.0}),
    (DiffusionLossConfig, "loss", {"bound": 0.0, "auxiliary": 0.0}),
    (DiffusionLossConfig, "loss.label_dropout", {"label_dropout": 1.5}),
    (SamplingConfig, "steps", {"steps": 0}),
    (SamplingConfig, "steps", {"steps": 10_001}),
    (SamplingConfig, "temperature", {"temperature": 0.0}),
    (SamplingConfig, "temperature", {"temperature": INF}),
    (SamplingConfig, "guidance", {"guidance": -1.0}),
    (SamplingConfig, "guidance", {"guidance": INF}),
    (TrainConfig, "train.steps", {"steps": 0}),
    (TrainConfig, "train.batch_size", {"batch_size": 0}),
    (TrainConfig, "train.accumulate", {"accumulate": 0}),
    (TrainConfig, "train.accumulate", {"batch_size": 8, "accumulate": 3}),
    (TrainConfig, "train.learning_rate", {"learning_rate": 0.0}),
    (TrainConfig, "train.learning_rate", {"learning_rate": INF}),
    (TrainConfig, "train.muon_rate", {"muon_rate": 0.0}),
    (TrainConfig, "train.muon_rate", {"muon_rate": INF}),
    (TrainConfig, "train.warmup_steps", {"warmup_steps": -1}),
    (TrainConfig, "train.final_rate", {"final_rate": 1.1}),
    (TrainConfig, "train.weight_decay", {"weight_decay": -0.1}),
    (TrainConfig, "train.beta2", {"beta2": 1.0}),
    (TrainConfig, "train.beta2", {"beta2": 0.0}),
    (TrainConfig, "train.clip", {"clip": -1.0}),
    (TrainConfig, "train.ema", {"ema": 1.0}),
    (TrainConfig, "train.seed", {"seed": -1}),
    (TrainConfig, "train.seed", {"seed": 2**32}),
    (TrainConfig, "train.log_every", {"log_every": 0}),
    (TrainConfig, "train.checkpoint_every", {"checkpoint_every": 0}),
    (TrainConfig, "train.keep", {"keep": 0}),
    (TrainConfig, "train.preview_every", {"preview_every": -1}),
]
INFINITE = [
    (TokenizerConfig, "tokenizer.commitment", {"commitment": INF}),
    (TokenizerLossConfig, "loss.l2", {"l2": INF}),
    (DiffusionLossConfig, "loss", {"bound": INF}),
    (DenoiserConfig, "denoiser.mlp_ratio", {"mlp_ratio": INF}),
    (TrainConfig, "train.weight_decay", {"weight_decay": INF}),
]
CHOICES = [
    (DataConfig, "data.channels", {"channels": 2}),
    (DataConfig, "data.crop", {"crop": "centre"}),
    (ProcessConfig, "process.corruption", {"corruption": "sqrt"}),
    (TrainConfig, "train.mixed_precision", {"mixed_precision": "fp8"}),
    (TrainConfig, "train.optimizer", {"optimizer": "sgd"}),
]


def named(case) -> str:
    return f"{case[1]}-{list(case[2].values())[-1]}" if isinstance(case, tuple) else ""


def refused(kind, name: str, values: dict) -> None:
    """One line: the field, the value as given, and a hint."""
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    message, key = str(caught.value), name.rsplit(".", 1)[-1]
    head, _, hint = message.partition(": ")
    assert head.startswith(f"{name}=")
    assert (repr(values[key]) if key in values else str(next(iter(values.values())))) in head
    assert len(hint) > 5 and "\n" not in message


@pytest.mark.parametrize("case", REJECTED, ids=named)
def test_impossible_values_are_refused(case):
    refused(*case)


@pytest.mark.parametrize("case", INFINITE, ids=named)
def test_infinite_values_are_refused(case):
    refused(*case)


@pytest.mark.parametrize("case", CHOICES, ids=named)
def test_choices_are_checked_at_construction_too(case):
    refused(*case)


@pytest.mark.parametrize("kind", [TokenizerRun, DiffusionRun])
def test_the_command_line_without_options_is_the_defaults(kind):
    assert parse("train", kind, []) == kind()


@pytest.mark.parametrize(
    "data", [DataConfig(image_size=0, channels=1), DataConfig(image_size=16, channels=0), DataConfig(image_size=18, channels=1)]
)
def test_the_tokenizer_needs_a_size_that_divides_and_channels(data):
    with pytest.raises(ConfigError, match=r"^data\.(image_size|channels)="):
        TokenizerRun(data=data)


def test_the_tokenizer_refuses_muon():
    with pytest.raises(ConfigError, match=r"^train\.optimizer='muon': .*use adamw"):
        TokenizerRun(train=TrainConfig(optimizer="muon"))


@pytest.mark.parametrize("size, near", [(18, "16"), ((16, 18), "16"), ((30, 61), r"\[32, 60\]"), (1, "4")])
def test_grid_errors_name_a_size_that_works(size, near):
    with pytest.raises(ConfigError, match=rf"not divisible by tokenizer.downsampling=4; use {near}$"):
        TokenizerConfig().grid(size)


def yaml_file(folder: Path, text: str) -> list[str]:
    (folder / "run.yaml").write_text(text)
    return ["--config", str(folder / "run.yaml")]


def test_yaml_then_overrides(tmp_path):
    """Later arguments win over the file; dashes and underscores are the same; lists become pairs."""
    text = "out: here\ndata:\n  image_size: [8, 12]\n  channels: 3\ntokenizer:\n  downsampling: 2\n  multipliers: [2]\ntrain:\n  steps: 5\n  learning_rate: 1e-4\n"
    run = parse(
        "train-tokenizer", TokenizerRun, [*yaml_file(tmp_path, text), "--train.steps", "7", "--train.batch-size=32", "--data.flip", "true"]
    )
    assert run == TokenizerRun(
        out="here",
        data=DataConfig(image_size=(8, 12), channels=3, flip=True),
        tokenizer=TokenizerConfig(downsampling=2, multipliers=(2,)),
        train=TrainConfig(steps=7, learning_rate=1e-4, batch_size=32),
    )


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--train.stepz", "5"], ["train.stepz", "did you mean --train.steps"]),
        (["--trian.steps", "5"], ["trian.steps", "did you mean --train.steps"]),
        (["--stepz=5"], ["stepz", "did you mean --train.steps"]),
        (["stray"], ["stray"]),
        (["--train.steps", "abc"], ["train.steps", "abc", "a whole number"]),
        (["--train.steps", "1.5"], ["train.steps", "1.5", "a whole number"]),
        (["--train.steps"], ["train.steps", "needs a value"]),
        (["--train.ema", "none"], ["train.ema", "none", "a number"]),
        (["--train.compile", "maybe"], ["train.compile", "maybe", "true or false"]),
        (["--data.crop", "centre"], ["data.crop", "centre", "did you mean center?"]),
        (["--data.channels", "2"], ["data.channels", "2", "0, 1, 3"]),
        (["--data.image_size", "[8,8,8]"], ["data.image_size", "[8, 8, 8]", "a whole number or a list such as [8,8]"]),
        (["--data.image_size", "big"], ["data.image_size", "big", "a whole number or a list such as [8,8]"]),
        (["--tokenizer.multipliers", "3"], ["tokenizer.multipliers", "3", "write it as a list: [3]"]),
        (["--train.learning_rate", "0"], ["train.learning_rate", "0", "positive"]),
        (["--data.image_size", "10"], ["data.image_size", "10", "use 8"]),
        (["--tokenizer.multipliers", "1,2"], ["tokenizer.multipliers", "write it as a list: [1,2]"]),
        (["--tokenizer.norm", "grup"], ["tokenizer.norm", "grup", "use one of group, channel (did you mean group?)"]),
        (["--config", "nowhere.yaml"], ["config='nowhere.yaml': no such file"]),
        (
            ["--config", str(ROOT / "configs/digits/diffusion.yaml")],
            ["config=", "is a file of train-diffusion: d3pm-image train-diffusion --config"],
        ),
    ],
)
def test_wrong_options_give_one_line(arguments, parts):
    one_line(arguments, parts)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("train:\n  stepz: 5\n", ["train.stepz", "did you mean train.steps"]),
        ("train:\n  learning-rate: 0.1\n", ["train.learning-rate", "did you mean train.learning_rate"]),
        ("trian:\n  steps: 5\n", ["trian", "did you mean train"]),
        ("outt: here\n", ["outt", "did you mean out"]),
        ("train:\n  steps: many\n", ["train.steps", "many", "a whole number"]),
        ("train:\n  steps: 0\n", ["train.steps", "0"]),
        ("data:\n  source: 5\n", ["data.source", "5", "a text"]),
        ("tokenizer:\n  multipliers: [1, x]\n", ["tokenizer.multipliers", "x", "a whole number"]),
        ("train: 5\n", ["train=", "5"]),
        ("data: [\n", ["config=", "is no YAML"]),
        ("- 1\n- 2\n", ["config"]),
    ],
)
def test_wrong_yaml_gives_one_line(tmp_path, text, parts):
    one_line(yaml_file(tmp_path, text), parts)


def one_line(arguments: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse("train-tokenizer", TokenizerRun, arguments)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message and "object at 0x" not in message and "functools" not in message, message


RUNS = [
    TokenizerRun(
        out="a: b",
        data=DataConfig("folder", "5", "null", 0.25, image_size=(8, 12), channels=3, crop="stretch", labels=False, limit=3),
        tokenizer=TokenizerConfig(downsampling=2, multipliers=(3,), rotation_trick=True),
        loss=TokenizerLossConfig(0.5, 0.25),
        train=TrainConfig(learning_rate=1e-5, mixed_precision="bf16", seed=2**32 - 1),
    ),
    DiffusionRun(
        out="1.5",
        resume=True,
        tokenizer="x y",
        process=ProcessConfig("cosine", 1.0, steps=0),
        denoiser=DenoiserConfig(64, 2, 2),
        sampler={"name": "halton", "reveal": "linear"},
        sampling=SamplingConfig(steps=7),
    ),
]


@pytest.mark.parametrize("run", RUNS)
def test_saved_configuration_reads_back_as_it_was(run, tmp_path):
    save_resolved(run, tmp_path / "deep" / "config.yaml")
    assert parse("train", type(run), ["--config", str(tmp_path / "deep" / "config.yaml")]) == run


@pytest.mark.parametrize("name", ["1e3", "1_000", "yes", "~", "#1", "- a", "{a}", "0x1f", "2024-01-01"])
def test_folder_names_that_look_like_yaml_read_back(name, tmp_path):
    save_resolved(TokenizerRun(out=name), tmp_path / "config.yaml")
    assert parse("train", TokenizerRun, ["--config", str(tmp_path / "config.yaml")]).out == name
    assert parse("train", TokenizerRun, ["--out", name]).out == name


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_published_configurations_are_valid(path):
    parse("train", TokenizerRun if "tokenizer" in path.stem else DiffusionRun, ["--config", str(path)])


def without_torch(*arguments: str) -> subprocess.CompletedProcess:
    """The command line in a fresh interpreter; the last line of stderr says whether torch was imported."""
    code = "import atexit, sys; from d3pm_image.cli import main\natexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\nmain(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_does_not_import_torch(command):
    done = without_torch(command, "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout or "--config" in done.stdout
    assert done.stderr.split()[-1] == "False"


def test_help_lists_the_commands_without_torch():
    done = without_torch("--help")
    assert done.returncode == 0
    assert all(name in done.stdout and text in done.stdout for name, (_, text) in COMMANDS.items())
    assert done.stderr.split()[-1] == "False"


def fields(value, prefix: str = ""):
    """(dotted name, meaning, default) of every field below a configuration."""
    meanings = dict(re.findall(r"^ {4,8}(\w+): (.+)$", type(value).__doc__.split("Args:")[1], re.M))
    for item in dataclasses.fields(value):
        default = getattr(value, item.name)
        if dataclasses.is_dataclass(default):
            yield from fields(default, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, meanings[item.name], default


@pytest.mark.parametrize("command, kind", [("train-tokenizer", TokenizerRun), ("train-diffusion", DiffusionRun)])
def test_help_shows_meaning_and_default_of_every_field(command, kind):
    shown = re.sub(
        r"\s",
        "",
        subprocess.run(
            [sys.executable, "-m", "d3pm_image", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout,
    )
    for name, meaning, default in fields(kind()):
        text = re.sub(r"\s", "", meaning)
        default = re.escape(re.sub(r"\s", "", str(default)))
        assert re.search(rf"--{re.escape(name)}[^-]*?{re.escape(text)}\(type:[^-]*?default:{default}\)", shown), name


def test_module_exit_code_is_two_on_wrong_input():
    done = subprocess.run(
        [sys.executable, "-m", "d3pm_image", "train-tokenizer", "--train.stepz", "5"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["nope"], ["train-tokenizer", "--data.image_size", "10"], ["train-diffusion", "--process.uniform_share", "2"], ["generate"]],
)
def test_wrong_input_exits_with_two_and_writes_nothing(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == (1 if arguments else 0)
    assert not list(tmp_path.iterdir())
