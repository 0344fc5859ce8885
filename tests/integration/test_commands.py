"""The command line as a user meets it: images on disk, one-line errors, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.command_line import fails, run
from helpers.paths import ROOT
from PIL import Image

from d3pm_image.config import ConfigError, DataConfig


def test_generate_a_labelled_grid(trained, tmp_path):
    run(
        "generate",
        trained / "diffusion",
        "--num-images",
        20,
        "--labels",
        "0..9",
        "--seed",
        7,
        "--out",
        tmp_path / "grid.png",
    )
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > grid.height > 128  # ten columns, two rows
        stored = json.loads(grid.text["d3pm_image"])
    assert stored["seed"] == 7 and stored["labels"] == "0..9" and stored["sampler"] == "confidence"


def test_generate_one_file_an_image(trained, tmp_path):
    run("generate", trained / "diffusion", "--num_images", 3, "--labels", "4", "--out", tmp_path / "many")
    files = sorted((tmp_path / "many").iterdir())
    assert [f.name for f in files] == [f"000{i}-seed0-4.png" for i in range(3)]
    with Image.open(files[1]) as image:
        assert image.size == (8, 8) and json.loads(image.text["d3pm_image"])["label"] == "4"


def test_the_same_seed_gives_the_same_files(trained, tmp_path):
    for name, size in (("a", 5), ("b", 2)):
        run(
            "generate",
            trained / "diffusion",
            "--num-images",
            5,
            "--batch-size",
            size,
            "--out",
            tmp_path / name,
        )
    for a, b in zip(sorted((tmp_path / "a").iterdir()), sorted((tmp_path / "b").iterdir()), strict=True):
        assert np.array_equal(np.asarray(Image.open(a)), np.asarray(Image.open(b)))


def test_inpaint_one_result_keeps_every_known_pixel(trained, image_file, tmp_path):
    run("inpaint", trained / "diffusion", *image_file, "--out", tmp_path / "result.png", "--labels", "3")
    before, after, mask = (
        np.asarray(Image.open(p)) for p in (image_file[0], tmp_path / "result.png", image_file[1])
    )
    assert before.shape == after.shape
    assert np.array_equal(before[mask < 128], after[mask < 128])
    assert not np.array_equal(before[mask >= 128], after[mask >= 128])


def test_inpaint_variants(trained, image_file, tmp_path):
    run("inpaint", trained / "diffusion", *image_file, "--variants", 3, "--out", tmp_path / "grid.png")
    assert sorted(p.name for p in tmp_path.glob("grid*")) == [
        "grid-1.png",
        "grid-2.png",
        "grid-3.png",
        "grid.png",
    ]
    assert Image.open(tmp_path / "grid-2.png").size == (30, 20)
    assert not np.array_equal(
        np.asarray(Image.open(tmp_path / "grid-1.png")), np.asarray(Image.open(tmp_path / "grid-2.png"))
    )


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_trajectory_of_a_request(trained, image_file, tmp_path, ending, capsys):
    show = ["--trajectory", tmp_path / f"decode.{ending}", "--trajectory-ms", 50]
    run(
        "generate",
        trained / "diffusion",
        "--num-images",
        10,
        "--batch-size",
        3,
        "--steps",
        6,
        "--out",
        tmp_path / "new",
        *show,
    )
    assert len(list((tmp_path / "new").iterdir())) == 10 and "decode-sheet.png" in capsys.readouterr().out
    with (
        Image.open(tmp_path / f"decode.{ending}") as animation,
        Image.open(tmp_path / "decode-sheet.png") as sheet,
    ):
        assert animation.n_frames == 7 and animation.width > 8 * 90
        assert json.loads(sheet.text["d3pm_image"])["steps"] == 6
    show[1] = tmp_path / f"repaint.{ending}"
    run("inpaint", trained / "diffusion", *image_file, "--variants", 2, "--out", tmp_path / "grid.png", *show)
    with Image.open(tmp_path / f"repaint.{ending}") as animation:
        assert animation.n_frames == 5 and (tmp_path / "repaint-sheet.png").is_file()


def test_a_trajectory_changes_no_image(trained, tmp_path):
    for name, show in (("a.png", []), ("b.png", ["--trajectory", tmp_path / "c.gif"])):
        run("generate", trained / "diffusion", "--num-images", 3, "--out", tmp_path / name, *show)
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png")))


def test_reconstruct(trained, image_file, tmp_path):
    run("reconstruct", trained / "tokenizer", f"{image_file[0]},{image_file[0]}", "--out", tmp_path / "r.png")
    run("reconstruct", trained / "diffusion", tmp_path, "--out", tmp_path / "s.png", "--limit", 2)
    assert (tmp_path / "r.png").is_file() and (tmp_path / "s.png").is_file()


def test_reconstruct_shows_images_of_a_data_set(trained, tmp_path, capsys):
    """Its own held-out images, or those of a set that is named; always the ones that evaluate uses, prepared in the same way."""
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source

    run("reconstruct", trained / "tokenizer", "--limit", 3, "--out", tmp_path / "own.png")
    run(
        "reconstruct",
        trained / "diffusion",
        "--data.source",
        "digits",
        "--limit",
        3,
        "--out",
        tmp_path / "named.png",
    )
    run(
        "reconstruct",
        trained / "tokenizer",
        "--data.part",
        "training",
        "--limit",
        3,
        "--out",
        tmp_path / "training.png",
    )
    own, named, training = (
        np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("own", "named", "training")
    )
    assert np.array_equal(own, named) and not np.array_equal(own, training)
    data = DataConfig(image_size=8, channels=1)
    held_out = ImageSet(open_source(data, held_out=True), data)
    middle = held_out.__getitems__([round((len(held_out) - 1) / 2)])["images"][0, 0].numpy()
    assert np.array_equal(
        own[2 : 2 + 64 : 8, 2 + 66 : 2 + 66 + 64 : 8], middle
    )  # the second of three, spread evenly
    assert "images=" in fails(
        capsys, "reconstruct", trained / "tokenizer", tmp_path / "own.png", "--data.source", "digits"
    )
    assert "data.source='folder'" in fails(
        capsys, "reconstruct", trained / "tokenizer", "--data.source", "folder"
    )
    assert "use one of" in fails(capsys, "reconstruct", trained / "tokenizer", "--data.source", "digit")


def test_evaluate_writes_the_figures(trained, tmp_path):
    run("evaluate", trained / "diffusion", "--num-samples", 60, "--steps", 4, "--out", tmp_path / "e.json")
    results = json.loads((tmp_path / "e.json").read_text())
    assert 0 < results["tokenizer"]["mse"] < 0.2
    samples = results["samples"]
    assert samples["classifier_accuracy_on_held_out"] > 0.95
    assert 0 <= samples["label_accuracy"] <= 1 and samples["settings"]["steps"] == 4
    assert (
        samples["fidelity_of_real_training_images"]["frechet_distance"]
        < samples["fidelity"]["frechet_distance"]
    )
    run("evaluate", trained / "tokenizer", "--out", tmp_path / "t.json", "--worst", tmp_path / "worst.png")
    alone = json.loads((tmp_path / "t.json").read_text())
    assert "samples" not in alone and alone["tokenizer"] == results["tokenizer"]
    assert alone["tokenizer"]["reconstruction_frechet_distance"] > 0 and alone["tokenizer"]["num_codes"] == 32
    assert [row["mse"] for row in alone["worst"]] == sorted(
        (row["mse"] for row in alone["worst"]), reverse=True
    )
    with Image.open(tmp_path / "worst.png") as sheet:
        assert sheet.width > 8 * 96


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels", "12"], "labels=12"),
        (["--labels", "9..3"], "labels="),
        (["--labels", "cat"], "class name"),
        (["--steps", "500"], "steps=500"),
        (["--steps", "many"], "steps"),
        (["--num-images", "0"], "num_images=0"),
        (["--out", "grid.xyz"], "out="),
        (["--sampler", "magic"], "sampler"),
        (["--temprature", "1"], "did you mean --temperature"),
        (["--device", "tpu"], "device='tpu'"),
        (["--trajectory", "decode.mp4"], "use an ending of .gif or .webp"),
        (["--trajectory", "decode"], "trajectory='decode'"),
        (["--trajectory", "a.gif", "--trajectory-ms", "5"], "trajectory_ms=5"),
        (["--trajectory", "same.webp", "--out", "same.webp"], "would overwrite out"),
        (["--trajectory", "a.gif", "--out", "a-sheet.png"], "would overwrite out"),
    ],
)
def test_wrong_requests_are_one_line_and_write_nothing(
    trained, tmp_path, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert words in fails(capsys, "generate", str(trained / "diffusion"), *arguments)
    assert not list(tmp_path.iterdir())


def test_wrong_files_are_one_line(trained, image_file, tmp_path, capsys):
    image, mask = image_file
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (7, 7)).save(tmp_path / "small.png")
    before = sorted(tmp_path.iterdir())
    for arguments, words in [
        ([trained / "diffusion", tmp_path / "text.png", mask], "not a readable image"),
        ([trained / "diffusion", tmp_path / "none.png", mask], "no such file"),
        ([trained / "diffusion", image, tmp_path / "small.png"], "must have the image's size 30x20"),
        ([tmp_path, image, mask], "holds no trained pipeline"),
        ([trained / "tokenizer", image, mask], "holds no trained pipeline"),
    ]:
        assert words in fails(capsys, "inpaint", *arguments, "--out", tmp_path / "result.png")
    assert "use an ending of .gif or .webp" in fails(
        capsys, "inpaint", trained / "diffusion", image, mask, "--trajectory", tmp_path / "a.png"
    )
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_commands_and_version(capsys):
    assert "no command 'paint'" in fails(capsys, "paint")
    run("--version")
    assert "d3pm-image" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["train_tokenizer", "train_diffusion", "generate", "inpaint"])
def test_launchers_are_the_commands(script):
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0 and f"d3pm-image {script.replace('_', '-')}" in result.stdout


@pytest.mark.parametrize(
    "words",
    [["--help"], ["generate", "--help"], ["estimate", "fashion.yaml", "--seconds", "0"]],
    ids=lambda words: words[0],
)
def test_a_reader_who_has_seen_enough_is_no_error(words, tmp_path):
    """``d3pm-image … | head -1``: no traceback, no error."""
    (tmp_path / "fashion.yaml").write_text(
        "out: a\ntokenizer: {downsampling: 4}\ndata: {image_size: 28, channels: 1}\n", encoding="utf-8"
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "d3pm_image", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )  # fmt: skip
    started.stdout.close()
    error = started.stderr.read().decode()
    assert started.wait() in (0, 141) and "Traceback" not in error and "roken pipe" not in error, error


def test_settings_that_the_sampler_does_not_have_are_refused_by_name(trained, tmp_path, capsys):
    usual = ["generate", trained / "diffusion", "--num_images", 1, "--steps", 1, "--out", tmp_path / "a.png"]
    said = fails(capsys, *usual, "--sampler", "ancestral", "--eta", 3)
    assert (
        "eta=3" in said
        and "the sampler ancestral has no such setting; ctmc, predictor_corrector, remask, renoise have it"
        in said
    )
    assert not (tmp_path / "a.png").exists()
    run(*usual, "--sampler", "renoise", "--eta", 3, "--top_k", 2)
    assert "note" not in capsys.readouterr().err


def test_a_grey_model_says_so_to_a_colour_image(trained, image_file, tmp_path, capsys):
    grey = tmp_path / "grey.png"
    Image.open(image_file[0]).convert("L").convert("RGB").save(grey)
    for image, note in ((image_file[0], True), (grey, False)):
        run(
            "inpaint",
            trained / "diffusion",
            image,
            image_file[1],
            "--steps",
            1,
            "--out",
            tmp_path / "out.png",
        )
        assert ("note: the model knows grey images only" in capsys.readouterr().err) is note


@pytest.mark.parametrize(
    "words, says",
    [
        (["generat", "x"], "did you mean generate?"),
        (["generate", "fashon-mnist"], "did you mean fashion-mnist?"),
        (["outpaint", "fashion-mnist", "image.png"], "left, right, top, bottom=0: give pixels to add"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_near_misses_are_named(words, says, image_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert says in fails(capsys, *words)


def test_a_tokenizer_in_the_place_of_a_model_is_told_from_an_unfinished_run(trained, capsys):
    for place in (trained / "tokenizer", trained / "tokenizer" / "model"):
        line = fails(capsys, "generate", place)
        assert (
            "it is a tokenizer; train stage two on it with d3pm-image train-diffusion --tokenizer" in line
            and "ended" not in line
        )


def test_class_names_may_be_written_small(trained, monkeypatch):
    from d3pm_image.labels import label_id

    assert label_id("dress", ["Coat", "Dress"]) == 1 and label_id("DRESS", ["dress", "Dress", "DRESS"]) == 2
    for wrong, names, says in (
        ("dres", ["Coat", "Dress"], "did you mean Dress?"),
        ("DRESS", ["dress", "Dress"], "use 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=says.replace("?", r"\\?")):
            label_id(wrong, names)
