"""A model of a palette's colours: trained from a folder without a stage one, used while it trains, and drawn from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from helpers.command_line import fails
from helpers.tiny import options
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image import cli as commands
from d3pm_image.config import ConfigError, DiffusionRun
from d3pm_image.export import export
from d3pm_image.recipes.encode import encode
from d3pm_image.recipes.finetune import defaults
from d3pm_image.tokenizer import Palette, load_tokenizer

COLOURS = np.array([[0, 0, 0, 0], [255, 0, 0, 255], [10, 20, 30, 255], [250, 250, 250, 255]], np.uint8)


def shown(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("palette")
    for n in range(24):
        place = root / "images" / ("a" if n % 2 else "b") / f"{n}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(COLOURS[np.random.default_rng(n).integers(0, 4, (8, 8))]).save(place)
    commands.main(
        [
            "train-diffusion", "--tokenizer", "palette:16", "--out", str(root / "run"), "--cache", str(root / "codes"),
            *options("data", {"root": str(root / "images"), "image_size": 8, "channels": 4}),
            *options("process", {"kernel": "nearest", "neighbours": 1, "uniform_share": 0.5, "steps": 20}),
            *options("denoiser", {"width": 32, "depth": 1, "heads": 2, "patch": 2}),
            *options("train", {"steps": 2, "batch_size": 4, "preview_every": 2, "checkpoint_every": 2, "compile": "false"}),
            *options("sampling", {"steps": 2}), *options("sampler", {"name": "ancestral"}),
        ]
    )  # fmt: skip
    return root / "run"


def test_it_draws_indexed_images_of_the_folder_s_colours(run, tmp_path):
    pipe = Pipeline.from_pretrained(run)
    assert (
        isinstance(pipe.tokenizer, Palette)
        and pipe.denoiser.num_codes == 4
        and pipe.process.kernel is not None
    )
    assert sorted(pipe.tokenizer.colours.tolist()) == sorted(COLOURS.tolist())
    commands.main(["generate", str(run), "--num-images", "4", "--out", str(tmp_path / "new")])
    for path in sorted((tmp_path / "new").glob("*.png")):
        image = Image.open(path)
        assert image.mode == "P" and (shown(image)[:, :, None] == COLOURS).all(-1).any(-1).all()
    commands.main(["generate", str(run), "--num-images", "4", "--out", str(tmp_path / "grid.png")])
    assert Image.open(tmp_path / "grid.png").mode == "RGBA"


def test_a_run_that_has_not_ended_can_be_used(run, tmp_path):
    """Its palette lies in the run's folder."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("model"))
    assert {image.mode for image in Pipeline.from_pretrained(copy).generate(2)} == {"P"}
    assert load_tokenizer(copy)[1].sha256 == load_tokenizer(run)[1].sha256


def test_evaluate_and_reconstruct_work(run, tmp_path, capsys):
    commands.main(["reconstruct", str(run), "--out", str(tmp_path / "r.png")])
    commands.main(
        [
            "evaluate",
            str(run),
            "--out",
            str(tmp_path / "e.json"),
            "--num-samples",
            "0",
            "--reconstruction-distance",
            "false",
        ]
    )
    assert "psnr" in capsys.readouterr().out


def test_another_run_may_start_from_it(run):
    """With its tokenizer, and so with its colours."""
    found = defaults(DiffusionRun, str(run))["tokenizer"]
    assert load_tokenizer(found)[1].sha256 == load_tokenizer(run)[1].sha256


def test_arrays_hold_colours_and_no_indices(run, tmp_path):
    commands.main(["generate", str(run), "--num-images", "3", "--out", str(tmp_path / "new.npz")])
    pixels = np.load(tmp_path / "new.npz")["arr_0"]
    assert pixels.shape == (3, 8, 8, 4) and (pixels[:, :, :, None] == COLOURS).all(-1).any(-1).all()


def test_tile_mixes_no_colours_unless_asked_to(run):
    pipe = Pipeline.from_pretrained(run)
    image = pipe.generate(1)[0].convert("RGBA")
    (found,) = pipe.tile([image], seed=1)
    assert (shown(found[0])[:, :, None] == COLOURS).all(-1).any(-1).all()
    with pytest.raises(ConfigError, match="feather"):
        pipe.tile([image], seed=1, width=6, feather=2)


def test_what_a_palette_cannot_do_is_named(run, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"tokenizer='palette': a palette is a table of colours"):
        export(Pipeline.from_pretrained(run), tmp_path / "graphs")
    with pytest.raises(ConfigError, match=r"only codes of a VQ-VAE can be dropped"):
        encode(run.parent / "images", tokenizer=run, drop_unused=tmp_path / "fewer", cache=tmp_path / "codes")
    assert not (tmp_path / "codes").exists()
    (tmp_path / "re.hex").write_text("\n".join(["ff0000", "00ff00", "0000ff", "123456"]))
    pipe = Pipeline.from_pretrained(run).recolour(tmp_path / "re.hex")
    with pytest.raises(ConfigError, match=r"process\.kernel='nearest': follows the colours of the training"):
        pipe.save_pretrained(tmp_path / "saved")
    (tmp_path / "stage_one" / "tokenizer" / "model").mkdir(parents=True)
    again = ["train-diffusion", "--tokenizer", "palette:16", "--out", str(tmp_path / "stage_one")]
    data = options("data", {"root": str(run.parent / "images"), "image_size": 8, "channels": 4})
    assert "holds the run of a tokenizer" in fails(capsys, *again, *data)


def test_a_folder_of_images_in_one_palette_takes_none_in_another(run, tmp_path, capsys):
    for name in "ab":
        lines = ["ff0000", "00ff00", "0000ff", "12345" + str(ord(name) % 10)]
        (tmp_path / f"{name}.hex").write_text("\n".join(lines))
    out = ["generate", str(run), "--out", str(tmp_path / "new"), "--resume", "true"]
    commands.main([*out, "--num-images", "2", "--palette", str(tmp_path / "a.hex")])
    line = fails(capsys, *out, "--num-images", "4", "--palette", str(tmp_path / "b.hex"))
    assert "recoloured" in line
