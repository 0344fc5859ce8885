"""Command lines and YAML: overrides, one-line errors, and settings that read back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.paths import ROOT

from d3pm_image.cli import main
from d3pm_image.config import (
    ConfigError,
    DataConfig,
    DenoiserConfig,
    DiffusionRun,
    ProcessConfig,
    SamplingConfig,
    TokenizerConfig,
    TokenizerLossConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.config.editing import Inpaint
from d3pm_image.parser import parse
from d3pm_image.recipes.settings import save_resolved
from d3pm_image.tokenizer.quantizers import EMA, FSQ, LFQ, Cosine


@pytest.mark.parametrize("kind", [TokenizerRun, DiffusionRun])
def test_the_command_line_without_options_is_the_defaults(kind):
    assert parse("train", kind, []) == kind()


def yaml_file(folder: Path, text: str) -> list[str]:
    (folder / "run.yaml").write_text(text)
    return ["--config", str(folder / "run.yaml")]


def test_yaml_then_overrides(tmp_path):
    """Later arguments win over the file; dashes and underscores are the same; lists become pairs."""
    text = "out: here\ndata:\n  image_size: [8, 12]\n  channels: 3\ntokenizer:\n  downsampling: 2\n  multipliers: [2]\ntrain:\n  steps: 5\n  learning_rate: 1e-4\n"
    run = parse(
        "train-tokenizer",
        TokenizerRun,
        [*yaml_file(tmp_path, text), "--train.steps", "7", "--train.batch-size=32", "--data.flip", "true"],
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
        (["--data.imagesize", "5"], ["data.imagesize", "did you mean --data.image-size?"]),
        (["--data.val_share", "-x"], ["data.val_share", "--data.val-share=-x"]),
        (["stray"], ["stray"]),
        (["--train.steps", "abc"], ["train.steps", "abc", "a whole number"]),
        (["--train.steps", "1.5"], ["train.steps", "1.5", "a whole number"]),
        (["--train.steps"], ["train.steps", "needs a value"]),
        (["--train.ema", "none"], ["train.ema", "none", "a number"]),
        (["--train.compile", "maybe"], ["train.compile", "maybe", "true or false"]),
        (["--data.crop", "centre"], ["data.crop", "centre", "did you mean center?"]),
        (["--data.channels", "5"], ["data.channels", "5", "0, 1, 2, 3, 4"]),
        (
            ["--data.image_size", "[8,8,8]"],
            ["data.image_size", "[8,8,8]", "a whole number or a list such as [8,8]"],
        ),
        (["--data.image_size", "big"], ["data.image_size", "big", "a whole number or a list such as [8,8]"]),
        (["--tokenizer.multipliers", "3"], ["tokenizer.multipliers", "3", "write it as a list: [3]"]),
        (["--train.learning_rate", "0"], ["train.learning_rate", "0", "positive"]),
        (["--data.image_size", "10"], ["data.image_size", "10", "use 8"]),
        (["--tokenizer.multipliers", "1,2"], ["tokenizer.multipliers", "write it as a list: [1,2]"]),
        (
            ["--tokenizer.norm", "grup"],
            ["tokenizer.norm", "grup", "use one of group, channel (did you mean group?)"],
        ),
        (["--tokenizer.quantizer.name", "fsk"], ["tokenizer.quantizer.name", "did you mean fsq?"]),
        (["--tokenizer.quantizer.num_codes", "x"], ["tokenizer.quantizer.num_codes", "x", "a whole number"]),
        (
            ["--tokenizer.quantizer.levels", "8,5"],
            ["tokenizer.quantizer.levels", "write it as a list: [8,5]"],
        ),
        (["--tokenizer.quantizer.levels", "[8,5]"], ["the quantizer ema has no such setting; fsq has it"]),
        (["--config", "nowhere.yaml"], ["config='nowhere.yaml': no such file"]),
        (
            ["--config", str(ROOT / "configs/digits/diffusion.yaml")],
            ["config=", "is a configuration of train-diffusion: d3pm-image train-diffusion --config"],
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
        ("tokenizer: 5\n", ["tokenizer=", "5"]),
        ("tokenizer: {quantizer: 5}\n", ["tokenizer.quantizer=5", "give a name and settings"]),
        (
            "tokenizer: {quantizer: {nam: fsq}}\n",
            ["tokenizer.quantizer.nam", "did you mean tokenizer.quantizer.name"],
        ),
        ("data: [\n", ["config=", "is not valid YAML"]),
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
        data=DataConfig(
            "folder", "5", "null", 0.25, image_size=(8, 12), channels=3, crop="stretch", labels=False, limit=3
        ),
        tokenizer=TokenizerConfig(downsampling=2, multipliers=(3,), quantizer=FSQ(levels=(3, 4))),
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


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_published_configurations_are_valid(path):
    parse("train", TokenizerRun if "tokenizer" in path.stem else DiffusionRun, ["--config", str(path)])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["train-tokenizer", "--data.image_size", "10"],
        ["train-diffusion", "--process.uniform_share", "2"],
        ["generate"],
    ],
)
def test_wrong_input_exits_with_two_and_writes_nothing(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == (1 if arguments else 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flat", "quantizer"),
    [
        (["--tokenizer.num_codes", "64", "--tokenizer.code-dim=4"], EMA(num_codes=64, code_dim=4)),
        (["--tokenizer.quantizer", "cosine", "--tokenizer.decay", "0.9"], Cosine(decay=0.9)),
        (
            ["--tokenizer.quantizer=fsq", "--tokenizer.num_codes", "60", "--tokenizer.levels", "[4,5,3]"],
            FSQ(levels=(4, 5, 3)),
        ),
        (["--tokenizer.quantizer", "lfq", "--tokenizer.code_dim", "32"], LFQ()),
        (
            ["--tokenizer.num_codes", "64", "--tokenizer.quantizer.code_dim", "4"],
            EMA(num_codes=64, code_dim=4),
        ),
    ],
)
def test_the_flat_options_of_0_1_0_mean_what_they_meant(flat, quantizer):
    assert parse("train-tokenizer", TokenizerRun, flat).tokenizer.quantizer == quantizer


def test_a_flat_option_that_cannot_be_is_one_line():
    for words, field in (
        (["--tokenizer.quantizer", "fsq", "--tokenizer.num_codes", "61"], "num_codes"),
        (["--tokenizer.quantizer", "fsk"], "tokenizer.quantizer"),
        (["--tokenizer.num_codes", "x"], "tokenizer.quantizer.num_codes"),
        (["--tokenizer.quantizer.name", "fsq", "--tokenizer.quantizer.decay", "0.99"], "decay"),
    ):
        with pytest.raises(ConfigError, match=field):
            parse("train-tokenizer", TokenizerRun, words)


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--train", "5"], ["train='5'", "must have options of its own, such as train.steps"]),
        (["--loss.adversarial", "5"], ["loss.adversarial='5'", "such as loss.adversarial.weight"]),
        (["--train", "{file}", "--data.crop", "middle"], ["data.crop='middle'", "center"]),
        (["--train", "{wrong}"], ["train.stepz", "did you mean train.steps"]),
        (["--train", "{{steps: 5}}", "--data.crop", "middle"], ["data.crop='middle'", "center"]),
        (["--train", "{{steps: many}}"], ["train.steps='many'", "a whole number"]),
        (["--train", "x" * 300], ["train=", "must have options of its own"]),
        (["--config", "{named}", "--train.keep", "x"], ["train.keep='x'", "a whole number"]),
        (["--conf", "{named}", "--train.keep", "x"], ["train.keep='x'", "a whole number"]),
        (["--out", "-x"], ["out=''", "needs a value", "--out=-x"]),
        (["--train.weight_decay", "-1"], ["train.weight_decay"]),
        (["--train.st", "many"], ["train.steps='many'", "a whole number"]),  # the start of one option's name
    ],
)
def test_groups_and_abbreviations_are_named(tmp_path, arguments, parts):
    files = {
        "file": tmp_path / "train.yaml",
        "wrong": tmp_path / "wrong.yaml",
        "named": tmp_path / "run.yaml",
    }
    files["named"].write_text(f"train: {files['file']}\n")
    files["file"].write_text("steps: 5\n")
    files["wrong"].write_text("stepz: 5\n")
    one_line([argument.format(**files) if argument[0] == "{" else argument for argument in arguments], parts)


def test_a_sampler_is_no_unknown_option():
    with pytest.raises(ConfigError, match=r"train\.steps='x': give a whole number"):
        parse("train-diffusion", DiffusionRun, ["--sampler.name", "ancestral", "--train.steps", "x"])


@pytest.mark.parametrize(
    "arguments, parts",
    [
        ([], ["model=''", "is missing"]),
        (["a"], ["image=''", "is missing"]),
        (["a", "b", "c"], ["argument='c'", "one word too many after model, image"]),
        (
            ["a", "b", "--box", "1", "2", "3", "4"],
            ["argument='2'", "several numbers of --box are joined by commas"],
        ),
        (["a", "--box", "1,2,3,4"], ["image=''", "is missing"]),
        (["a", "b", "-x", "3"], ["-x='unknown'", "no such option"]),
    ],
)
def test_what_stands_without_an_option_is_counted(arguments, parts):
    with pytest.raises(ConfigError) as caught:
        parse("inpaint", Inpaint, arguments, {"model": "a model", "image": "an image"})
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_folder_that_is_given_as_the_data_is_understood():
    with pytest.raises(ConfigError, match=r"data='photos': .*give --data.root photos"):
        parse("train-diffusion", DiffusionRun, ["--data", "photos"])


@pytest.mark.parametrize(("word", "meant"), [("sample", "generate"), ("fill", "inpaint"), ("ls", "models")])
def test_words_of_other_programs_are_answered(word, meant, capsys):
    with pytest.raises(SystemExit):
        main([word])
    assert f"(did you mean {meant}?)" in capsys.readouterr().err


def test_short_options_and_dashes():
    """-n is how many, whatever a command calls it, and -o where they go."""
    parsed = parse("inpaint", Inpaint, ["a", "b", "-n", "3", "-o=x.png"], {"model": "", "image": ""})
    assert (parsed.variants, parsed.out) == (3, "x.png")
