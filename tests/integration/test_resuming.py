"""A run goes on only with the settings and images that its weights depend on; what may differ is noted, and older checkpoints are read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from d3pm_image.cli import train_diffusion, train_tokenizer
from d3pm_image.config import ConfigError, DataConfig, DiffusionRun, TokenizerRun
from d3pm_image.data.sources import folder
from d3pm_image.diagnostics import examine_run
from d3pm_image.recipes.resuming import BY_DATA, FREE, NOTED, settings_of

TOKENIZER = "--data.source folder --data.image_size 8 --data.channels 3 --tokenizer.width 8 --tokenizer.quantizer.num_codes 8 --tokenizer.quantizer.code_dim 4"
LOOP = "--train.steps 4 --train.batch_size 4 --train.checkpoint_every 2 --train.preview_every 0 --train.warmup_steps 1"
DENOISER = "--data.source folder --denoiser.width 16 --denoiser.depth 1 --denoiser.heads 2 --sampling.steps 2"


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A set of images, and runs of both stages that were trained on it."""
    place = tmp_path_factory.mktemp("begun")
    (place / "set").mkdir()
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(place / "set" / f"{number:02d}.bmp")
    train_tokenizer.main(
        [*TOKENIZER.split(), *LOOP.split(), "--data.root", str(place / "set"), "--out", str(place / "t")]
    )
    diffusion = [
        *DENOISER.split(),
        *LOOP.split(),
        "--data.root",
        str(place / "set"),
        "--tokenizer",
        str(place / "t"),
    ]
    train_diffusion.main([*diffusion, "--out", str(place / "d"), "--cache", str(place / "codes")])
    return place


@pytest.fixture
def runs(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "runs")
    return tmp_path / "runs"


def go_on(runs: Path, stage: str, *more: str, root: str = "set") -> None:
    words = [*LOOP.split(), "--data.root", str(runs / root), "--out", str(runs / stage), "--resume", "true"]
    if stage == "t":
        train_tokenizer.main([*TOKENIZER.split(), *words, *more])
    else:
        tokenizer = ["--tokenizer", str(runs / "t"), "--cache", str(runs / "codes")]
        train_diffusion.main([*DENOISER.split(), *words, *tokenizer, *more])


def edit(path: Path) -> None:
    """Other pixels; the same size in bytes and the same time."""
    stat = path.stat()
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def identity(runs: Path, stage: str) -> dict:
    place = max((runs / stage / "checkpoints").iterdir())
    return json.loads((place / "state.json").read_text())["identity"]


def as_before(runs: Path, stage: str) -> None:
    """The checkpoints as a version wrote them that recorded neither settings nor contents."""
    from d3pm_image.data.codes import former_key
    from d3pm_image.recipes.token_cache import code_images, open_tokenizer, tokenizer_data

    former = folder(runs / "set").known_as.former
    for place in (runs / stage / "checkpoints").iterdir():
        state = json.loads((place / "state.json").read_text())
        for name in ("settings", "images"):
            state["identity"].pop(name, None)
        data = DataConfig("folder", str(runs / "set"), image_size=8, channels=3)
        if stage == "t":
            from d3pm_image.data.sources import open_source

            state["identity"]["data"] = open_source(data).known_as.former
        else:
            _, info = open_tokenizer(DiffusionRun(tokenizer=str(runs / "t"), data=data))
            state["identity"]["data"] = former_key(
                info.sha256, code_images(tokenizer_data(data, info), False)
            )
        (place / "state.json").write_text(json.dumps(state))
    assert former


@pytest.mark.parametrize("stage", ["t", "d"])
def test_a_copy_with_other_times_goes_on(runs, stage, capsys):
    shutil.copytree(runs / "set", runs / "copy", copy_function=shutil.copyfile)
    for path in (runs / "copy").iterdir():
        os.utime(path, (1000, 1000))
    before = sorted(p.name for p in (runs / "codes").iterdir())
    go_on(runs, stage, "--train.steps", "6", root="copy")
    assert "resuming at step 4" in capsys.readouterr().out
    assert sorted(p.name for p in (runs / "codes").iterdir()) == before


@pytest.mark.parametrize("stage", ["t", "d"])
@pytest.mark.parametrize("change, why", [("pixels", "same names and sizes, but other contents"), ("one more", "added, removed or renamed"),
                                         ("another name", "added, removed or renamed")])  # fmt: skip
def test_other_images_are_refused_in_words_and_accepted_on_request(runs, stage, change, why, capsys):
    if change == "pixels":
        edit(runs / "set" / "03.bmp")
    elif change == "one more":
        shutil.copy(runs / "set" / "03.bmp", runs / "set" / "99.bmp")
    else:
        (runs / "set" / "03.bmp").rename(runs / "set" / "033.bmp")
    with pytest.raises(
        ConfigError, match=rf"data='.*set': other images than the run in .*{why}.*; .*--data.same true"
    ):
        go_on(runs, stage)
    go_on(runs, stage, "--train.steps", "6", "--data.same", "true")
    assert '"same": false' in (runs / stage / "config.yaml").read_text()  # it is asked for at each start
    go_on(runs, stage, "--train.steps", "8")
    assert "resuming at step 6" in capsys.readouterr().out


def test_accepting_other_images_is_for_a_run_that_goes_on(runs):
    words = [
        *TOKENIZER.split(),
        *LOOP.split(),
        "--data.root",
        str(runs / "set"),
        "--out",
        str(runs / "new"),
        "--data.same",
        "true",
    ]
    with pytest.raises(ConfigError, match=r"data\.same=True: .*--resume true"):
        train_tokenizer.main(words)


def test_settings_that_select_images_are_named(runs):
    for words, why in (
        ("--data.limit 9", "data.limit was 0 and is 9"),
        ("--data.val_share 0.3", "data.val_share was 0.1 and is 0.3"),
    ):
        with pytest.raises(ConfigError, match=rf"data=.* {why}"):
            go_on(runs, "t", *words.split())


TOKENIZER_CHANGES = [
    "--data.image_size 16", "--data.crop random", "--data.crop stretch", "--data.flip true", "--data.channels 1", "--train.overfit_one_batch true",
    "--train.seed 1", "--train.batch_size 8", "--train.weight_decay 0.5", "--train.beta2 0.9", "--train.clip 0.1", "--train.ema 0.5",
    "--loss.l1 1", "--loss.l2 0.5", "--loss.ssim 0.1", "--loss.gradient 0.1", "--tokenizer.quantizer.decay 0.9", "--tokenizer.quantizer.commitment 1",
]  # fmt: skip
DIFFUSION_CHANGES = [
    "--data.crop stretch", "--data.flip true", "--train.overfit_one_batch true", "--train.optimizer adamw", "--train.ema 0.5",
    "--train.clip 0.1", "--loss.bound 1", "--loss.label_dropout 0.5", "--loss.label_smoothing 0.1", "--process.uniform_share 0.3", "--denoiser.dropout 0.1",
]  # fmt: skip


@pytest.mark.parametrize(
    "stage, change", [*(("t", c) for c in TOKENIZER_CHANGES), *(("d", c) for c in DIFFUSION_CHANGES)]
)
def test_settings_that_the_weights_depend_on_are_refused_by_name(begun, stage, change):
    name, _ = change.removeprefix("--").split()
    before = (begun / stage / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=rf"{name}=.*: the run in .* was begun with .*; restore that"):
        go_on(begun, stage, *change.split())
    assert (begun / stage / "config.yaml").read_bytes() == before


def test_what_messages_advise_to_change_is_noted_and_passes(runs, capsys):
    go_on(
        runs,
        "t",
        "--train.learning_rate",
        "1e-4",
        "--train.steps",
        "6",
        "--train.accumulate",
        "2",
        "--data.workers",
        "0",
    )
    said = capsys.readouterr().err
    assert (
        "note: going on with" in said
        and "train.learning_rate 0.0001 (begun with 0.001)" in said
        and "train.steps 6 (begun with 4)" in said
    )
    assert "accumulate" not in said and "workers" not in said
    go_on(runs, "t", "--train.learning_rate", "1e-4", "--train.steps", "6")
    assert "note:" not in capsys.readouterr().err


def test_every_setting_is_compared_noted_or_free():
    """The lists name settings that there are, and no setting is in two."""
    known = {name for run in (TokenizerRun(), DiffusionRun()) for name in settings_of(run)}
    assert known >= (NOTED - {"loss.adversarial"}) | BY_DATA and not known & FREE
    assert {
        "tokenizer.width",
        "loss.adversarial.weight",
        "denoiser.depth",
        "process.steps",
        "train.ema",
        "learn",
    } <= known
    assert not {name for name in known if name.startswith(("sampler.", "data.root"))}


@pytest.mark.parametrize("stage", ["t", "d"])
def test_a_run_of_a_version_that_recorded_times_goes_on(runs, stage, capsys):
    for path in (runs / "set").iterdir():
        os.utime(path, (500, 500))
    as_before(runs, stage)
    go_on(runs, stage, "--train.steps", "6")
    assert "resuming at step 4" in capsys.readouterr().out and "settings" in identity(runs, stage)
    as_before(runs, stage)
    os.utime(runs / "set" / "03.bmp", (1000, 1000))
    with pytest.raises(
        ConfigError, match=r"data=.*names, sizes and times.*contents may be the same; .*--data.same true"
    ):
        go_on(runs, stage, "--train.steps", "8")
    go_on(runs, stage, "--train.steps", "8", "--data.same", "true")


def test_other_held_out_images_are_refused(runs):
    """They select the weights that are exported."""
    (runs / "val").mkdir()
    for number in range(50, 54):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(
            runs / "val" / f"{number}.bmp"
        )
    words = [
        *TOKENIZER.split(),
        *LOOP.split(),
        "--data.root",
        str(runs / "set"),
        "--data.val_root",
        str(runs / "val"),
    ]
    train_tokenizer.main([*words, "--out", str(runs / "v")])
    train_tokenizer.main([*words, "--out", str(runs / "v"), "--resume", "true", "--train.steps", "6"])
    edit(runs / "val" / "50.bmp")
    with pytest.raises(
        ConfigError, match=r"data\.val_root='.*val': other images than the run .*but other contents"
    ):
        train_tokenizer.main([*words, "--out", str(runs / "v"), "--resume", "true", "--train.steps", "8"])


@pytest.mark.parametrize("stage", ["t", "d"])
def test_doctor_compares_contents(runs, stage):
    path = runs / stage / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["data"]["root"] = str(runs / "set")
    path.write_text(yaml.safe_dump(settings))

    def names() -> set[str]:
        return {finding.name for finding in examine_run(runs / stage)}

    assert not names() & {"data_changed", "data_not_compared"}
    edit(runs / "set" / "03.bmp")
    assert "data_changed" in names()
    shutil.rmtree(runs / "set")
    assert "data_not_compared" in names()


@pytest.mark.parametrize("identity", [{"images": {"data": 5}}, {"settings": [1]}, {"images": []}, 5])
def test_doctor_and_resume_read_odd_checkpoints(runs, identity):
    for place in (runs / "t" / "checkpoints").iterdir():
        state = json.loads((place / "state.json").read_text())
        (place / "state.json").write_text(json.dumps(state | {"identity": identity}))
    examine_run(runs / "t")
    with pytest.raises(ConfigError, match="does not fit"):
        go_on(runs, "t")


def test_doctor_names_held_out_images_that_train(runs):
    words = [
        *TOKENIZER.split(),
        *LOOP.split(),
        "--data.root",
        str(runs / "set"),
        "--data.val_root",
        str(runs / "set" / "."),
    ]
    train_tokenizer.main([*words, "--out", str(runs / "v")])
    assert "val_root" in {finding.name for finding in examine_run(runs / "v") if finding.wrong}
