"""evaluate --inpaint: with a trained model, from the command line and from Python, beside what evaluate measures anyway."""

from __future__ import annotations

import json
import shlex

import pytest
from helpers.command_line import fails, run

from d3pm_image import evaluate
from d3pm_image.config.editing import HIDDEN

ASKED = ["--num-samples", 60, "--steps", 3, "--seed", 5]
CHANGING = ("command", "seconds", "inpainting")


@pytest.fixture(scope="module")
def found(trained, tmp_path_factory):
    """The result of one command for all regions."""
    path = tmp_path_factory.mktemp("inpainted") / "a.json"
    run("evaluate", trained / "diffusion", *ASKED, "--inpaint", ",".join(HIDDEN), "--out", path)
    return json.loads(path.read_text())


def test_one_command_measures_every_region(found):
    words = shlex.split(found["command"])
    assert words[words.index("--inpaint") + 1] == "half,box,strokes"
    told = found["inpainting"]
    assert list(told["regions"]) == list(HIDDEN)
    assert (told["num_images"], told["seed"], told["labels"]) == (60, 5, "none")
    assert told["held_out"]["label_accuracy"] > 0.9
    assert told["held_out"]["frechet_distance"] < told["reconstructed"]["frechet_distance"]
    for name, region in told["regions"].items():
        assert (region["known_pixels_changed"], region["leaks"], region["leaks_checked"]) == (0, 0, 16), name
        limit = region["reconstruction"]
        assert region["mse"] > limit["mse"] and region["psnr_db"] < limit["psnr_db"]
        assert region["frechet_distance"] > limit["frechet_distance"] > 0
        assert limit["mse"] == pytest.approx(found["tokenizer"]["mse"], rel=0.5)
        assert 0 < region["label_accuracy"] <= 1 and region["seam_ratio"] > 0 and region["seconds"] > 0
    shares = [region["hidden_share"] for region in told["regions"].values()]
    assert shares[0] == 0.5 and 0.15 < shares[1] < 0.35 and 0.2 <= shares[2] < 0.35


def test_everything_else_is_as_without_it(found, trained, tmp_path):
    run("evaluate", trained / "diffusion", *ASKED, "--out", tmp_path / "b.json")
    other = json.loads((tmp_path / "b.json").read_text())
    assert "inpainting" not in other and "inpaint" not in other["command"]
    assert [name for name in found if name != "inpainting"] == list(other)
    for result in (found["samples"], other["samples"]):
        result.pop("seconds", None)
    for name in other.keys() - set(CHANGING):
        assert found[name] == other[name], name


def test_python_takes_a_list_and_gives_the_same(found, trained):
    again = evaluate(trained / "diffusion", inpaint=["box", "half"], num_samples=60, steps=3, seed=5)[
        "inpainting"
    ]
    for name in ("box", "half"):
        both = [dict(x["regions"][name], seconds=0) for x in (again, found["inpainting"])]
        assert both[0] == both[1]
    assert list(again["regions"]) == ["box", "half"]


def test_all_held_out_images_where_more_are_asked_for(trained):
    told = evaluate(trained / "diffusion", inpaint="strokes", num_samples=200, steps=1)["inpainting"]
    assert told["num_images"] == 180 and told["held_out"]["frechet_distance"] == pytest.approx(0, abs=1e-4)


def test_results_are_compared(found, tmp_path, capsys):
    for name, seam in (("a", 1.25), ("b", 1.5)):
        result = json.loads(json.dumps(found))
        result["inpainting"]["regions"]["half"]["seam_ratio"] = seam
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    capsys.readouterr()
    run("evaluate", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    lines = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.split()
    }
    assert lines["inpainting.regions.half.seam_ratio"] == ["1.25", "1.5", "+20.0%"]


@pytest.mark.parametrize(
    ("model", "arguments", "named"),
    [
        ("diffusion", ["--inpaint", "halves"], "did you mean half?"),
        ("diffusion", ["--inpaint", "half", "--num-samples", 0], "num_samples"),
        ("tokenizer", ["--inpaint", "half"], "needs a diffusion model"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_drawn_or_written(
    trained, tmp_path, model, arguments, named, capsys, monkeypatch
):
    for name in ("draw", "measured"):
        monkeypatch.setattr(f"d3pm_image.evaluation.evaluate.{name}", lambda *_: pytest.fail("began"))
    told = fails(capsys, "evaluate", trained / model, *arguments, "--out", tmp_path / "e.json")
    assert "inpaint" in told and named in told and not list(tmp_path.iterdir())
