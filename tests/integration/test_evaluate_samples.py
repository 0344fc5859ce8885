"""evaluate of whole models: the same figure however it is computed, what stands beside it, comparison of result files, kept references."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.command_line import fails, run
from helpers.image_sets import image_set
from helpers.paths import ROOT
from helpers.tiny import free_port

from d3pm_image.evaluation.reference_stats import images_sha256, reference
from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.metrics.feature_extractor import FeatureSpace

ASKED = ["--num-samples", 60, "--steps", 3, "--seed", 5]


def result(path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    images = ["--neighbours", folder / "near.png", "--samples", folder / "samples.png"]
    run("evaluate", trained / "diffusion", *ASKED, *images, "--out", folder / "a.json")
    return folder


def test_what_makes_a_figure_reproducible_stands_beside_it(evaluated):
    found = result(evaluated / "a.json")
    samples = found["samples"]
    words = shlex.split(found["command"])
    assert words[:2] == ["d3pm-image", "evaluate"] and words[words.index("--num-samples") + 1] == "60"
    assert (
        samples["features"]["network"] == "scikit-learn SVC on pixels"
        and len(samples["features"]["sha256"]) == 64
    )
    assert samples["features"]["preparation"] == "as they are" and samples["features"]["channels"] == 1
    compared = {"set": "held_out", "sha256": "", "images": 180, "image_size": [8, 8], "crop": "center"}
    assert samples["reference"] | {"sha256": ""} == compared
    assert (samples["num_samples"], samples["seed"], samples["settings"]["steps"], samples["processes"]) == (
        60,
        5,
        3,
        1,
    )
    assert samples["calls_per_image"] == 3 and samples["seconds"] > 0
    assert set(found["machine"]) >= {"processor", "threads", "gpu", "torch"} and set(found["code"]) == {
        "version",
        "source_sha256",
    }
    fidelity = samples["fidelity"]
    assert fidelity["kernel_distance_standard_error"] > 0 and fidelity["kernel_distance"] > 0
    real = samples["fidelity_of_real_training_images"]
    assert (
        real["frechet_distance"] < fidelity["frechet_distance"]
        and real["kernel_distance"] < fidelity["kernel_distance"]
    )
    assert set(samples["memorisation"]) == {
        "median_distance",
        "median_distance_of_held_out",
        "share_unusually_near",
    }
    assert (evaluated / "near.png").is_file() and (evaluated / "samples.png").is_file()


def figures(found: dict) -> dict:
    """All that must not depend on how it was computed."""
    kept = {k: v for k, v in found["samples"].items() if k not in ("seconds", "processes", "memorisation")}
    return {"tokenizer": found["tokenizer"], "samples": kept}


def test_another_batch_size_gives_the_same_samples_and_figures(evaluated, trained, tmp_path):
    run("evaluate", trained / "diffusion", *ASKED, "--batch-size", 17, "--out", tmp_path / "b.json")
    assert figures(result(tmp_path / "b.json")) == figures(result(evaluated / "a.json"))


@pytest.mark.slow
def test_two_processes_give_the_same_samples_and_figures(evaluated, trained, tmp_path):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
        "scripts/evaluate.py",
    ]
    arguments = [
        str(a) for a in (trained / "diffusion", *ASKED, "--num-samples", 60, "--out", tmp_path / "two.json")
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launch, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = result(tmp_path / "two.json")
    assert found["samples"]["processes"] == 2 and done.stdout.count('"samples"') == 1
    assert figures(found) == figures(result(evaluated / "a.json"))


@pytest.mark.slow
def test_other_features_and_reference(evaluated, trained, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    arguments = ["--features", "efficientnet", "--reference", "training", "--num-samples", 20, "--steps", 2]
    run(
        "evaluate",
        trained / "diffusion",
        *arguments,
        "--reconstruction-distance",
        "false",
        "--out",
        tmp_path / "c.json",
    )
    samples = result(tmp_path / "c.json")["samples"]
    assert (
        samples["features"]["network"].startswith("EfficientNet-Lite0")
        and "enlarged to 64" in samples["features"]["preparation"]
    )
    assert samples["reference"]["set"] == "training" and samples["reference"]["images"] == 1617
    assert samples["classifier"].startswith(
        "scikit-learn"
    )  # labels are the classifier's matter whatever the features
    with pytest.raises(SystemExit):
        run("evaluate", "--compare", evaluated / "a.json", tmp_path / "c.json")


def test_reconstructions_in_other_features_need_no_classifier(trained, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setattr(
        "d3pm_image.evaluation.samples.train_classifier", lambda *_: pytest.fail("trained a classifier")
    )
    run("evaluate", trained / "tokenizer", "--features", "efficientnet", "--out", tmp_path / "t.json")
    assert result(tmp_path / "t.json")["tokenizer"]["reconstruction_frechet_features"].startswith(
        "EfficientNet"
    )


def test_compare_prints_side_by_side_and_refuses_unlike_things(evaluated, trained, tmp_path, capsys):
    run("evaluate", trained / "diffusion", *ASKED[:2], "--steps", 2, "--out", tmp_path / "b.json")
    capsys.readouterr()
    run("evaluate", "--compare", evaluated / "a.json", tmp_path / "b.json")
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    a, b = (result(p)["samples"] for p in (evaluated / "a.json", tmp_path / "b.json"))
    assert rows["settings.steps"][:2] == ["3", "2"] and rows["seed"][:2] == ["5", "0"]
    assert rows["fidelity.frechet_distance"][:2] == [f"{x['fidelity']['frechet_distance']:g}" for x in (a, b)]
    other = result(evaluated / "a.json")
    for path, value in (
        (("samples", "features", "sha256"), "0"),
        (("samples", "reference", "sha256"), "0"),
        (("samples", "num_samples"), 61),
        (("data",), "cifar10"),
    ):
        changed = json.loads(json.dumps(other))
        inner = changed
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        (tmp_path / "other.json").write_text(json.dumps(changed))
        message = fails(capsys, "evaluate", "--compare", evaluated / "a.json", tmp_path / "other.json")
        assert ".".join(path) in message and "unlike" in message


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "d3pm-image-evaluation", "version": 99}', "\x00"]
)
def test_compare_refuses_other_files(evaluated, tmp_path, text, capsys):
    (tmp_path / "x.json").write_text(text)
    assert "compare" in fails(capsys, "evaluate", "--compare", evaluated / "a.json", tmp_path / "x.json")
    assert "compare" in fails(capsys, "evaluate", "--compare", evaluated / "a.json")


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--features-weights", "x.pth"], "features_weights"),
        (["--features", "inception"], "features_weights"),
        (["--features", "inception", "--features-weights", "none.pth"], "no such file"),
        (["--num-samples", 0, "--neighbours", "n.png"], "neighbours"),
        (["--num-samples", 0, "--samples", "n.png"], "samples"),
        (["--neighbours", "n.txt"], "n.txt"),
    ],
)
def test_wrong_requests_are_refused_before_samples_are_drawn(trained, arguments, named, capsys, monkeypatch):
    monkeypatch.setattr(
        "d3pm_image.evaluation.generate_samples.draw", lambda *_: pytest.fail("drew samples first")
    )
    if "inception" in arguments:
        pytest.importorskip("torch_fidelity")
    assert named in fails(capsys, "evaluate", trained / "diffusion", *arguments)


def counting_space():
    calls = []

    def features(images):
        calls.append(len(images))
        return images.flatten(1).float()

    return FeatureSpace(features, "pixels", "0" * 64, "as they are"), calls


def test_a_reference_is_kept_and_a_damaged_one_made_anew(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    images, (space, calls) = image_set(pixels, np.arange(40) % 2), counting_space()
    first = reference(images, space, tmp_path)
    assert sum(calls) == 40
    again = reference(images, space, tmp_path)
    assert (
        sum(calls) == 40
        and torch.equal(again.features, first.features)
        and torch.equal(again.labels, first.labels)
    )
    torch.testing.assert_close(again.moments.covariance, first.moments.covariance)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(reference(images, space, tmp_path).features, first.features) and sum(calls) == 80
    other = image_set(pixels[:, :, :3].repeat(2, axis=2), np.arange(40) % 2)
    assert images_sha256(other) != images_sha256(images)
    reference(other, space, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_score_of_sorted_and_of_mixed_images_is_the_same_kind_of_figure(monkeypatch):
    """Real images come sorted by class, samples with classes in turn: parts must hold all classes."""
    labels = np.repeat(np.arange(4), 60)
    pixels = (labels[:, None, None] * 60 + np.zeros((240, 8, 8))).astype(np.uint8)
    images = image_set(pixels, labels)
    sure = FeatureSpace(
        lambda x: x.flatten(1).float() + torch.rand(len(x), 64), "pixels", "1" * 64, "as they are",
        lambda x: torch.nn.functional.one_hot(x[:, 0, 0, 0].long() // 60, 4).float(),
    )  # fmt: skip
    monkeypatch.setattr("d3pm_image.evaluation.samples.train_classifier", lambda *_: None)
    evaluator = SampleEvaluator(images.source, images.config, images, "0123", sure)
    turned = torch.from_numpy(pixels.reshape(4, 60, 8, 8).transpose(1, 0, 2, 3).reshape(240, 1, 8, 8).copy())
    for found in (evaluator.measure_real(240), evaluator.fidelity(turned, torch.arange(240) % 4)):
        assert found["inception_score"] > 3.7


def test_memorisation_finds_a_model_that_copies():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (220, 8, 8)).astype(np.uint8), np.arange(220) % 2
    train, held_out = image_set(pixels[:150], labels[:150]), image_set(pixels[150:], labels[150:])
    evaluator = SampleEvaluator(train.source, train.config, held_out, "01")
    copies = train.pixels[:30]
    figures, distance, number = evaluator.memory(copies)
    assert figures["share_unusually_near"] == 1 and distance.max() == 0 and number.tolist() == list(range(30))
    new = torch.from_numpy(random.integers(0, 256, (50, 1, 8, 8)).astype(np.uint8))
    assert evaluator.memory(new)[0]["share_unusually_near"] < 0.1
