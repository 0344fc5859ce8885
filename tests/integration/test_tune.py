"""Tuning: every combination once, nothing measured twice, the winner saved and nothing else changed."""

from __future__ import annotations

import json

import pytest
from helpers.asking import asked
from helpers.command_line import fails, run
from helpers.tuning import hashes, measured
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.bundle import set_default_sampler
from d3pm_image.cli.tune import Tune
from d3pm_image.config import ConfigError, ProcessConfig, SamplingConfig
from d3pm_image.diffusion import Process
from d3pm_image.evaluation import sweep
from d3pm_image.evaluation.options import METRICS
from d3pm_image.evaluation.tune import as_options, ranked
from d3pm_image.sampling import SAMPLERS, MaskSampler, loop
from d3pm_image.sampling.choice import flat, from_values
from d3pm_image.visualization import curves

SEARCH = [
    "--samplers",
    "confidence,ancestral,remask",
    "--steps",
    "2,20",
    "--guidance",
    "1,1.5",
    "--eta",
    "0.05,0.3",
    "--num-samples",
    "40",
]
SMALL = ["--samplers", "confidence", "--steps", "2,3", "--guidance", "1", "--num-samples", "20"]


def no_sampling(*_, **__):
    raise AssertionError("sampled again")


def test_every_combination_once_and_the_winner_becomes_the_default(copied, tmp_path, capsys, monkeypatch):
    model, place = copied / "diffusion" / "model", copied / "diffusion" / "tune"
    before, weights = json.loads((model / "config.json").read_text()), hashes(model)
    run("tune", copied / "diffusion", *SEARCH)
    printed, entries = capsys.readouterr().out, measured(place / "tune.json")
    found = [
        (
            e["settings"]["sampler"],
            e["settings"]["steps"],
            e["settings"]["guidance"],
            e["settings"].get("eta"),
        )
        for e in entries
    ]
    own = None
    expected = [
        (before["sampler"]["name"], before["sampling"]["steps"], before["sampling"]["guidance"], None)
    ]
    expected += [("confidence", 2, g, own) for g in (1.0, 1.5)] + [
        ("ancestral", s, g, own) for s in (2, 20) for g in (1.0, 1.5)
    ]
    expected += [("remask", s, g, e) for s in (2, 20) for g in (1.0, 1.5) for e in (0.05, 0.3)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert printed.count("skipped: steps=20") == 1 and "real images" in printed
    with Image.open(place / "tune.png") as image:
        assert image.size == curves.SIZE
    best = min(entries, key=lambda e: (e["figures"]["frechet_distance"], e["figures"]["calls_per_image"]))
    after = json.loads((model / "config.json").read_text())
    assert flat(from_values(after["sampler"]), SamplingConfig(**after["sampling"])) == best["settings"]
    tuned = after["metadata"].pop("tuned")
    assert (tuned["metric"], tuned["num_samples"], tuned["seed"]) == ("frechet", 40, 0)
    assert tuned["value"] == best["figures"]["frechet_distance"]
    assert after | {"sampler": 0, "sampling": 0} == before | {"sampler": 0, "sampling": 0}
    assert {k: v for k, v in hashes(model).items() if k != "config.json"} == {
        k: v for k, v in weights.items() if k != "config.json"
    }
    run("generate", copied / "diffusion", "--num-images", 2, "--out", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert json.loads(grid.text["d3pm_image"]).items() >= best["settings"].items()

    monkeypatch.setattr(loop, "sample", no_sampling)
    run("tune", copied / "diffusion", *SEARCH, "--metric", "label_accuracy", "--save", "false")
    assert measured(place / "tune.json") == entries
    listed = [
        e for e in entries if e["settings"]["steps"] in (2, 20)
    ]  # the default of before is not asked for any more
    top = max(listed, key=lambda e: (e["figures"]["label_accuracy"], -e["figures"]["calls_per_image"]))
    assert json.loads((place / "tune.json").read_text())["best"]["value"] == top["figures"]["label_accuracy"]
    kept = json.loads((model / "config.json").read_text())
    assert flat(from_values(kept["sampler"]), SamplingConfig(**kept["sampling"])) == best["settings"]


def test_calls_are_counted_and_figures_are_those_of_evaluate(copied, tmp_path):
    settings = ["--num-samples", "30", "--batch-size", "7", "--seed", "3", "--precision", "float32"]
    run(
        "tune",
        copied / "diffusion",
        "--samplers",
        "confidence",
        "--steps",
        "3",
        "--guidance",
        "1,2",
        *settings,
        "--out",
        tmp_path / "t",
    )
    _, plain, guided = measured(tmp_path / "t" / "tune.json")
    assert plain["figures"]["calls_per_image"] == 3 and guided["figures"]["calls_per_image"] == 6
    for entry, guidance in ((plain, 1), (guided, 2)):
        options = ["--sampler", "confidence", "--steps", "3", "--guidance", guidance, *settings]
        run("evaluate", copied / "diffusion", *options, "--out", tmp_path / "e.json", "--overwrite")
        samples = json.loads((tmp_path / "e.json").read_text())["samples"]
        assert (
            entry["figures"].items()
            >= {"label_accuracy": samples["label_accuracy"], **samples["fidelity"]}.items()
        )


def test_without_saving_the_model_stays_bit_for_bit(copied):
    before = hashes(copied / "diffusion" / "model")
    run("tune", copied / "diffusion" / "model", *SMALL, "--save", "false")
    assert hashes(copied / "diffusion" / "model") == before
    assert (copied / "diffusion" / "tune" / "tune.json").is_file()


def test_figures_of_a_folder_of_its_own_lie_beside_it(copied, tmp_path):
    (copied / "diffusion" / "model").rename(tmp_path / "mine")
    run("tune", tmp_path / "mine", *SMALL)
    assert sorted(p.name for p in (tmp_path / "mine-tune").iterdir()) == ["tune.json", "tune.png"]


def test_a_stopped_search_goes_on(copied, monkeypatch, capsys):
    place, before, real, calls = (
        copied / "diffusion" / "tune" / "tune.json",
        hashes(copied / "diffusion" / "model"),
        loop.sample,
        [],
    )

    def stops(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "sample", stops)
    with pytest.raises(SystemExit) as stop:
        run("tune", copied / "diffusion", *SMALL)
    assert stop.value.code == 130 and "1 of 3 settings are measured" in capsys.readouterr().err
    assert len(measured(place)) == 1 and hashes(copied / "diffusion" / "model") == before
    run("tune", copied / "diffusion", *SMALL)
    assert len(calls) == 4 and len(measured(place)) == 3
    present, *listed = (entry["settings"] for entry in measured(place))
    config = json.loads((copied / "diffusion" / "model" / "config.json").read_text())
    chosen = flat(from_values(config["sampler"]), SamplingConfig(**config["sampling"]))
    assert chosen in (present, *listed)
    run("tune", copied / "diffusion", *SMALL, "--seed", "1")
    anew = 2 if chosen in listed else 3  # the winner is the present one now
    assert len(calls) == 4 + anew and len(measured(place)) == 3 + anew


def test_the_present_default_is_among_the_candidates(copied):
    model = copied / "diffusion" / "model" / "config.json"
    before = json.loads(model.read_text())
    present = flat(from_values(before["sampler"]), SamplingConfig(**before["sampling"]))
    run("tune", copied / "diffusion", *SMALL)
    entries = measured(copied / "diffusion" / "tune" / "tune.json")
    assert entries[0]["settings"] == present and len(entries) == 3
    assert (
        min(e["figures"]["frechet_distance"] for e in entries)
        == json.loads(model.read_text())["metadata"]["tuned"]["value"]
    )


def test_no_setting_is_accurate_enough(copied, capsys):
    before = hashes(copied / "diffusion" / "model")
    assert "min_accuracy=1.0" in fails(capsys, "tune", copied / "diffusion", *SMALL, "--min-accuracy", "1")
    assert hashes(copied / "diffusion" / "model") == before
    assert json.loads((copied / "diffusion" / "tune" / "tune.json").read_text())["best"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samplers", "confidense"], "did you mean confidence?"),
        (["--samplers", ""], "samplers=''"),
        (["--samplers", "all,"], "samplers='all'"),
        (["--steps", ""], "steps=''"),
        (["--steps", "8,,16"], "steps='8,,16'"),
        (["--steps", "8.5"], "give whole numbers"),
        (["--steps", "0"], "steps=0"),
        (["--temperature", "1,warm"], "temperature='1,warm'"),
        (["--temperature", "-1"], "temperature=-1.0"),
        (["--guidance", "nan"], "guidance=nan"),
        (["--eta", "-0.1"], "eta=-0.1"),
        (["--gumbel", "x"], "gumbel='x'"),
        (["--metric", "beauty"], "metric"),
        (["--min-accuracy", "2"], "min_accuracy=2"),
        (["--num-samples", "3"], "num_samples=3"),
        (["--device", "tpu"], "device='tpu'"),
        (["--samplers", "confidence", "--steps", "500"], "no combination fits this model (steps=500"),
        (["--out", "CONFIG"], "is a file"),
    ],
)
def test_wrong_requests_are_one_line_and_write_nothing(trained, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(loop, "sample", no_sampling)
    before = hashes(trained)
    arguments = [str(trained / "diffusion" / "config.yaml") if a == "CONFIG" else a for a in arguments]
    assert words in fails(capsys, "tune", str(trained / "diffusion"), *arguments)
    assert hashes(trained) == before


def test_wrong_models_and_files_are_one_line(copied, tmp_path, capsys):
    assert "holds no trained pipeline" in fails(capsys, "tune", copied / "tokenizer")
    (tmp_path / "tune.json").write_text("[]")
    assert "is not a file of this command" in fails(capsys, "tune", copied / "diffusion", "--out", tmp_path)
    assert (tmp_path / "tune.json").read_text() == "[]"
    config = copied / "diffusion" / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"class_names": []}))
    assert "needs a labelled data set" in fails(capsys, "tune", copied / "diffusion")


def own(name: str) -> dict:
    """Types of a sampler's own settings."""
    return SAMPLERS[name].types()


def setting_of(**settings) -> sweep.Setting:
    """A sampler and the shared settings."""
    request = asked(**settings)
    return request.sampler, request.sampling


ON_MASKS = {name for name, kind in SAMPLERS.items() if issubclass(kind, MaskSampler)} | {
    "first_hitting",
    "remask",
}


@pytest.mark.parametrize(("share", "unfit"), [(0.1, set()), (1.0, ON_MASKS)])
def test_all_samplers_are_those_that_fit_the_process(trained, share, unfit):
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.process = Process.from_config(ProcessConfig(uniform_share=share), pipe.tokenizer.num_codes)
    lists = (
        Tune(model="", samplers="all", steps="4", guidance="1", eta="0,2", gumbel="0,1,2").tuning().lists()
    )
    settings, skipped = sweep.combine(lists, pipe)
    assert {item.sampler for item in skipped} == unfit | {"remask"}  # eta 2 is no rate of remasking
    count = {name: sum(sampler.name == name for sampler, _ in settings) for name in SAMPLERS}
    assert (
        count["confidence"] == (0 if "confidence" in unfit else 3)
        and count["ctmc"] == 2
        and count["ancestral"] == 1
    )
    for name in set(SAMPLERS) - {"remask"}:  # three values of gumbel, two of eta
        assert count[name] == (
            0 if name in unfit else 3 if "gumbel" in own(name) else 2 if "eta" in own(name) else 1
        ), name


def test_equal_values_are_won_by_fewer_calls_and_values_that_are_missing_lose():
    settings = [setting_of(steps=n) for n in (1, 2, 3, 4)]
    figures = [
        {},
        {"coverage": 0.5, "calls_per_image": 8.0},
        {"coverage": 0.5, "calls_per_image": 4.0},
        {"coverage": 0.4},
    ]
    rows = list(zip(settings, figures, strict=True))
    assert [sampling.steps for (_, sampling), _ in ranked(rows, "coverage")] == [3, 2, 4, 1]
    assert all(len(ranked(rows, metric)) == 4 for metric in METRICS)


def test_the_printed_options_give_the_settings_back(capsys, trained, tmp_path):
    setting = setting_of(sampler="remask", steps=5, temperature=0.8, guidance=1.5, eta=0.2)
    run(
        "generate",
        trained / "diffusion",
        "--num-images",
        1,
        *as_options(setting).split(),
        "--out",
        tmp_path / "a.png",
    )
    with Image.open(tmp_path / "a.png") as image:
        stored = json.loads(image.text["d3pm_image"])
    assert all(stored[name] == value for name, value in flat(*setting).items())


def test_a_default_is_set_and_the_rest_is_kept(copied, tmp_path):
    place = copied / "diffusion" / "model" / "config.json"
    before = json.loads(place.read_text())
    set_default_sampler(
        copied / "diffusion", from_values(before["sampler"]), SamplingConfig(**before["sampling"]), {}
    )
    assert json.loads(place.read_text()) == before
    set_default_sampler(copied / "diffusion", *setting_of(sampler="ancestral", steps=7), {"tuned": 1})
    pipe = Pipeline.from_pretrained(copied / "diffusion")
    assert (pipe.sampler, pipe.sampling) == setting_of(
        sampler="ancestral", steps=7
    ) and pipe.metadata == before["metadata"] | {"tuned": 1}
    with pytest.raises(ConfigError):
        set_default_sampler(tmp_path, *setting_of(), {})
