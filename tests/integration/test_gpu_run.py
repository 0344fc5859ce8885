"""A rehearsal of the prepared run on a GPU: the same scripts at toy size, on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile

import pytest
from helpers.paths import ROOT
from PIL import Image

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import packing, rates, training
from d3pm_image import Pipeline
from d3pm_image.config import DiffusionRun, TokenizerRun
from d3pm_image.recipes.arguments import filled


def run_script(part: str, out, pack, *words: str) -> None:
    environ = os.environ | {
        "OUT": str(out),
        "PACK": str(pack),
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(
        ["bash", str(ROOT / "benchmarks/gpu/run.sh"), part, "--toy", *words],
        env=environ,
        check=True,
        timeout=300,
    )


@pytest.mark.slow
def test_part_one_measures_everything(tmp_path):
    run_script("rates", tmp_path, tmp_path / "none")
    found = json.loads((tmp_path / "rates.json").read_text())
    assert {name: step["end"] for name, step in found.items()} == dict.fromkeys(rates.STEPS, "done")
    assert found["environment"]["product_bf16_tflops"] > 0 and found["tests"]["exit_code"] == 0
    assert (
        found["agreement"]["logits_largest_difference"] == 0
        and found["agreement"]["equal_codes_confidence"] == 1
    )
    assert {"7M eager", "7M eager fused"} <= set(found["training"])
    assert found["tokenizers"]["tokenizer_64_f4"]["images_per_s"]["decode"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.txt", "rates.json"]


@pytest.mark.slow
def test_part_two_brings_weights_back(tmp_path):
    """From a data set to an archive whose model draws; the weights of the perceptual loss are missing, which is
    said and costs nothing else."""
    data, pack, out = tmp_path / "data", tmp_path / "pack", tmp_path / "out"
    for number in range(24):
        place = data / "emoji_64" / f"group {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 20 + number).convert("RGBA").save(place / f"{number}.png")
    first = packing.trainings()[:1]
    (tmp_path / "list.yaml").write_text(json.dumps(first))
    words = ["pack", "--pack", str(pack), "--data", str(data), "--list", str(tmp_path / "list.yaml")]
    subprocess.run([sys.executable, "-m", "benchmarks.gpu", *words, "--python", ""], cwd=ROOT, check=True)
    (out).mkdir()
    best = {"7M eager": {"images_per_s": 2}, "7M graphs": {"images_per_s": 1}}
    (out / "rates.json").write_text(json.dumps({"training": best}))
    run_script("train", out, pack)
    assert json.loads((out / "trainings.json").read_text())["emoji"]["end"] == "done"
    assert "trained without the perceptual loss" in (out / "log.txt").read_text()
    with tarfile.open(out / "emoji.tar") as tar:
        tar.extractall(tmp_path / "back", filter="data")
    back = tmp_path / "back" / "emoji"
    assert len(Pipeline.from_pretrained(back / "model", "cpu").generate(2, steps=1)) == 2
    scores = json.loads((back / "scores.json").read_text())
    assert scores["denoiser"]["steps"] == 6 and scores["denoiser"]["compile"] is False
    assert scores["scores"]["denoiser"]["bits_per_code"] > 0 and scores["scores"]["tokenizer"]["mse"] > 0
    with Image.open(back / "grid.png") as grid:
        assert grid.width >= 8 * 64
    assert {p.name for p in back.rglob("log.jsonl")} == {"log.jsonl"}


def test_every_training_of_the_list_makes_sense(tmp_path):
    """Settings are known to the library, weights fit into what comes back, and those that are to ship are small."""
    entries = packing.trainings()
    assert [e["name"] for e in entries][:2] == ["emoji", "eurosat"]
    for entry in entries:
        data = {"source": "folder", "root": "x", **entry["data"]}
        for name, kind in (("tokenizer", TokenizerRun), ("denoiser", DiffusionRun)):
            settings, share = training.settings_of(entry, name, tmp_path)
            made = filled(kind(), {**settings, "data": data}, "")
            assert share > 0 and made.train.batch_size > 1
        assert 2 * training.parameters(entry) < 0.97 * training.LARGEST_MB * 2**20
    assert all(training.parameters(e) <= 7.5e6 for e in entries[:2])


def test_the_parts_fit_their_time_and_what_comes_back_is_little():
    """Eight files come back at most; what is kept for the steps is what part one has."""
    assert sum(limit for _, limit in rates.STEPS.values()) <= 200
    assert len(packing.trainings()) + len(["rates.json", "trainings.json", "log.txt"]) <= 8


def test_a_step_that_fails_or_hangs_leaves_the_others(tmp_path, monkeypatch):
    steps = dict.fromkeys(["no such step", "loss"], (None, 60.0))
    monkeypatch.setattr(rates, "STEPS", {"tests": (None, 0.05), **steps})
    monkeypatch.setattr(program, "START_S", 0)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["gpu", "rates", "--out", str(tmp_path), "--toy", "--seconds", "90"])
    program.main()
    found = json.loads((tmp_path / "rates.json").read_text())
    assert found["tests"]["end"] == "stopped at its limit"
    assert found["no such step"] == {"end": "exit code 1"}
    assert found["loss"]["end"] == "done" and found["loss"]["K 64 fused"]["ms"] > 0


def test_a_step_may_take_what_those_before_it_have_left(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(rates, "STEPS", {"a": (None, 20.0), "b": (None, 30.0), "c": (None, 50.0)})
    monkeypatch.setattr(program, "RESULTS", tmp_path / "kept")
    monkeypatch.setattr(program, "limited", lambda words, seconds, log: asked.append(seconds) or "done")
    monkeypatch.setattr(sys, "argv", ["gpu", "rates", "--out", str(tmp_path), "--seconds", "100"])
    program.main()
    assert asked == pytest.approx([20, 50, 100], abs=0.5)  # nobody took anything
    asked.clear()
    monkeypatch.setattr(sys, "argv", ["gpu", "rates", "--out", str(tmp_path), "--seconds", "60"])
    program.main()
    assert asked == pytest.approx([20, 30, 60], abs=0.5)


def test_no_step_begins_without_time(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "RESULTS", tmp_path / "kept")
    monkeypatch.setattr(sys, "argv", ["gpu", "rates", "--out", str(tmp_path), "--seconds", "0.5"])
    program.main()
    found = json.loads((tmp_path / "rates.json").read_text())
    assert all(step == {"end": "no time was left"} for step in found.values())
    assert (tmp_path / "kept" / "rates.json").read_text() == (tmp_path / "rates.json").read_text()


@pytest.mark.parametrize(
    ("rows", "mode"),
    [
        ({"7M eager": 1, "7M graphs": 3, "7M compiled": 2}, "reduce-overhead"),
        ({"7M eager": 1, "7M compiled": 2}, "true"),
        ({"7M eager": 2, "7M compiled": 1}, "false"),
        ({"7M eager": 1, "7M graphs": "RuntimeError: no", "7M compiled": 2}, "true"),
        ({}, "false"),
    ],
)
def test_trainings_use_what_was_fastest(tmp_path, rows, mode):
    figures = {n: r if isinstance(r, str) else {"images_per_s": r} for n, r in rows.items()}
    (tmp_path / "rates.json").write_text(json.dumps({"training": figures}))
    assert program.fastest(tmp_path) == mode
    assert program.fastest(tmp_path / "none") == "false"
    assert program.fastest(tmp_path / "none", tmp_path) == mode


def test_what_does_not_fit_is_left_out_and_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(packing, "repository_size", lambda: 0)
    for name, side in (("emoji_64", 16), ("big", 256)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            Image.effect_noise((side, side), 90).save(tmp_path / "data" / name / f"{number}.png")
    entry = packing.trainings()[0]
    names = {"small": "emoji_64", "large": "big", "late": "emoji_64"}
    entries = [entry | {"name": name, "images": images} for name, images in names.items()]
    (tmp_path / "list.yaml").write_text(json.dumps(entries))
    asked = {
        "data": tmp_path / "data",
        "megabytes": 0.1,
        "python": "",
        "list_file": str(tmp_path / "list.yaml"),
    }
    assert packing.pack(tmp_path / "pack", **asked) == ["small"]
    assert "MiB do not fit; left out, with all after it" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "pack").iterdir()) == ["small.tar.xz"]
    assert packing.pack(tmp_path / "pack", **asked | {"megabytes": 64}) == ["small", "large", "late"]
