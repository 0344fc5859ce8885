"""Tuning: every combination once, nothing measured twice, the winner saved and nothing else changed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import pytest
from PIL import Image
from test_commands import fails, run

from d3pm_image import Pipeline
from d3pm_image.bundle import set_default_sampler
from d3pm_image.cli import chart
from d3pm_image.cli.tune import METRICS, Tune, as_options, ranked
from d3pm_image.config import SAMPLERS, ConfigError, ProcessConfig, SamplerConfig
from d3pm_image.diffusion import Process
from d3pm_image.evaluation import sweep
from d3pm_image.sampling import MaskRule, make_rule, request

SEARCH = ["--samplers", "confidence,ancestral,remask", "--steps", "2,20", "--guidance", "1,1.5", "--eta", "0.05,0.3", "--num-samples", "40"]
SMALL = ["--samplers", "confidence", "--steps", "2,3", "--guidance", "1", "--num-samples", "20"]


def hashes(folder) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def measured(path) -> list[dict]:
    """Entries of tune.json that are samplers', without the real images."""
    return [entry for entry in json.loads(path.read_text())["entries"] if entry["settings"]]


def no_sampling(*_, **__):
    raise AssertionError("sampled again")


def test_every_combination_once_and_the_winner_becomes_the_default(copied, tmp_path, capsys, monkeypatch):
    model, place = copied / "diffusion" / "model", copied / "diffusion" / "tune"
    before, weights = json.loads((model / "config.json").read_text()), hashes(model)
    run("tune", copied / "diffusion", *SEARCH)
    printed, entries = capsys.readouterr().out, measured(place / "tune.json")
    found = [(e["settings"]["sampler"], e["settings"]["steps"], e["settings"]["guidance"], e["settings"]["eta"]) for e in entries]
    own = before["sampler"]["eta"]
    expected = [tuple(before["sampler"][name] for name in ("sampler", "steps", "guidance", "eta"))]
    expected += [("confidence", 2, g, own) for g in (1.0, 1.5)] + [("ancestral", s, g, own) for s in (2, 20) for g in (1.0, 1.5)]
    expected += [("remask", s, g, e) for s in (2, 20) for g in (1.0, 1.5) for e in (0.05, 0.3)]
    assert sorted(found) == sorted(expected)
    assert printed.count("skipped: steps=20") == 1 and "real images" in printed
    with Image.open(place / "tune.png") as picture:
        assert picture.size == chart.SIZE
    best = min(entries, key=lambda e: (e["figures"]["frechet_distance"], e["figures"]["calls_per_image"]))
    after = json.loads((model / "config.json").read_text())
    assert after["sampler"] == best["settings"]
    tuned = after["facts"].pop("tuned")
    assert (tuned["metric"], tuned["num_samples"], tuned["seed"]) == ("frechet", 40, 0)
    assert tuned["value"] == best["figures"]["frechet_distance"]
    assert after | {"sampler": None} == before | {"sampler": None}
    assert {k: v for k, v in hashes(model).items() if k != "config.json"} == {k: v for k, v in weights.items() if k != "config.json"}
    run("generate", copied / "diffusion", "--num-images", 2, "--out", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert json.loads(grid.text["d3pm_image"]).items() >= best["settings"].items()

    monkeypatch.setattr(request, "sample", no_sampling)
    run("tune", copied / "diffusion", *SEARCH, "--metric", "label_accuracy", "--save", "false")
    assert measured(place / "tune.json") == entries
    listed = [e for e in entries if e["settings"]["steps"] in (2, 20)]  # the default of before is not asked for any more
    top = max(listed, key=lambda e: (e["figures"]["label_accuracy"], -e["figures"]["calls_per_image"]))
    assert json.loads((place / "tune.json").read_text())["best"]["value"] == top["figures"]["label_accuracy"]
    assert json.loads((model / "config.json").read_text())["sampler"] == best["settings"]


def test_calls_are_counted_and_figures_are_those_of_evaluate(copied, tmp_path):
    settings = ["--num-samples", "30", "--batch-size", "7", "--seed", "3", "--precision", "float32"]
    run("tune", copied / "diffusion", "--samplers", "confidence", "--steps", "3", "--guidance", "1,2", *settings, "--out", tmp_path / "t")
    _, plain, guided = measured(tmp_path / "t" / "tune.json")
    assert plain["figures"]["calls_per_image"] == 3 and guided["figures"]["calls_per_image"] == 6
    for entry, guidance in ((plain, 1), (guided, 2)):
        options = ["--sampler", "confidence", "--steps", "3", "--guidance", guidance, *settings]
        run("evaluate", copied / "diffusion", *options, "--out", tmp_path / "e.json", "--overwrite")
        samples = json.loads((tmp_path / "e.json").read_text())["samples"]
        assert entry["figures"].items() >= {"label_accuracy": samples["label_accuracy"], **samples["fidelity"]}.items()


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
    place, before, real, calls = copied / "diffusion" / "tune" / "tune.json", hashes(copied / "diffusion" / "model"), request.sample, []

    def stops(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(request, "sample", stops)
    with pytest.raises(SystemExit) as stop:
        run("tune", copied / "diffusion", *SMALL)
    assert stop.value.code == 130 and "1 of 3 settings are measured" in capsys.readouterr().err
    assert len(measured(place)) == 1 and hashes(copied / "diffusion" / "model") == before
    run("tune", copied / "diffusion", *SMALL)
    assert len(calls) == 4 and len(measured(place)) == 3
    run("tune", copied / "diffusion", *SMALL, "--seed", "1")
    assert len(calls) == 6 and len(measured(place)) == 5  # the winner is the present one now


def test_the_present_default_is_among_the_candidates(copied):
    model = copied / "diffusion" / "model" / "config.json"
    present = json.loads(model.read_text())["sampler"]
    run("tune", copied / "diffusion", *SMALL)
    entries = measured(copied / "diffusion" / "tune" / "tune.json")
    assert entries[0]["settings"] == present and len(entries) == 3
    assert min(e["figures"]["frechet_distance"] for e in entries) == json.loads(model.read_text())["facts"]["tuned"]["value"]


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
    monkeypatch.setattr(request, "sample", no_sampling)
    before = hashes(trained)
    arguments = [str(trained / "diffusion" / "config.yaml") if a == "CONFIG" else a for a in arguments]
    assert words in fails(capsys, "tune", str(trained / "diffusion"), *arguments)
    assert hashes(trained) == before


def test_wrong_models_and_files_are_one_line(copied, tmp_path, capsys):
    assert "holds no trained pipeline" in fails(capsys, "tune", copied / "tokenizer")
    (tmp_path / "tune.json").write_text("[]")
    assert "is no file of this command" in fails(capsys, "tune", copied / "diffusion", "--out", tmp_path)
    assert (tmp_path / "tune.json").read_text() == "[]"
    config = copied / "diffusion" / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"class_names": []}))
    assert "needs a labelled data set" in fails(capsys, "tune", copied / "diffusion")


ON_MASKS = {name for name in SAMPLERS if isinstance(make_rule(SamplerConfig(sampler=name)), MaskRule)} | {"first_hitting", "remask"}


@pytest.mark.parametrize(("share", "unfit"), [(0.1, set()), (1.0, ON_MASKS)])
def test_all_samplers_are_those_that_fit_the_process(trained, share, unfit):
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.process = Process.from_config(ProcessConfig(uniform_share=share), pipe.tokenizer.num_codes)
    lists = Tune(model="", samplers="all", steps="4", guidance="1", eta="0,2", gumbel="0,1,2").lists()
    configs, skipped = sweep.combine(lists, pipe)
    assert {item.sampler for item in skipped} == unfit | {"remask"}  # eta 2 is no rate of remasking
    count = {name: sum(config.sampler == name for config in configs) for name in SAMPLERS}
    assert count["confidence"] == (0 if "confidence" in unfit else 3) and count["ctmc"] == 2 and count["ancestral"] == 1
    for name in set(SAMPLERS) - {"remask"}:  # three values of gumbel, two of eta
        assert count[name] == (0 if name in unfit else 3 if sweep.reads(name, "gumbel") else 2 if sweep.reads(name, "eta") else 1), name


def test_settings_that_a_sampler_does_not_read_make_no_difference():
    for name in SAMPLERS:
        base = SamplerConfig(sampler=name)
        for setting in ("eta", "gumbel"):
            changed = dataclasses.replace(base, **{setting: 0.7})
            assert (sweep.identity(changed) != sweep.identity(base)) == sweep.reads(name, setting)
        assert sweep.identity(dataclasses.replace(base, top_k=3)) != sweep.identity(base)


def test_equal_values_are_won_by_fewer_calls_and_values_that_are_missing_lose():
    configs = [SamplerConfig(steps=n) for n in (1, 2, 3, 4)]
    figures = [{}, {"coverage": 0.5, "calls_per_image": 8.0}, {"coverage": 0.5, "calls_per_image": 4.0}, {"coverage": 0.4}]
    rows = list(zip(configs, figures, strict=True))
    assert [config.steps for config, _ in ranked(rows, "coverage")] == [3, 2, 4, 1]
    assert all(len(ranked(rows, metric)) == 4 for metric in METRICS)


def test_the_printed_options_give_the_settings_back(capsys, trained, tmp_path):
    config = SamplerConfig(sampler="remask", steps=5, temperature=0.8, guidance=1.5, eta=0.2)
    run("generate", trained / "diffusion", "--num-images", 1, *as_options(config).split(), "--out", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        stored = json.loads(picture.text["d3pm_image"])
    assert all(stored[name] == value for name, value in dataclasses.asdict(config).items() if name not in ("gumbel",))


def test_a_default_is_set_and_the_rest_is_kept(copied, tmp_path):
    place = copied / "diffusion" / "model" / "config.json"
    before = json.loads(place.read_text())
    set_default_sampler(copied / "diffusion", SamplerConfig(**before["sampler"]), {})
    assert json.loads(place.read_text()) == before
    set_default_sampler(copied / "diffusion", SamplerConfig(sampler="ancestral", steps=7), {"tuned": 1})
    pipe = Pipeline.from_pretrained(copied / "diffusion")
    assert pipe.sampler == SamplerConfig(sampler="ancestral", steps=7) and pipe.facts == before["facts"] | {"tuned": 1}
    with pytest.raises(ConfigError):
        set_default_sampler(tmp_path, SamplerConfig(), {})


def test_charts_have_round_ticks_and_every_series():
    x = chart.log2_axis([7.5, 64], 0, 100)
    assert [label for _, label in x.ticks] == ["4", "8", "16", "32", "64"]
    assert x(math.log2(16)) == pytest.approx(50)
    assert [label for _, label in chart.linear_axis([0.9, 0.95], 100, 0).ticks] == ["0.90", "0.91", "0.92", "0.93", "0.94", "0.95"]
    for values in ([3.0], [0.0, 0.0], [-2.0, 5e4], [1e-6, 2e-6]):
        axis = chart.linear_axis(values, 100, 0)
        assert 2 <= len(axis.ticks) <= 8 and all(-1e-6 <= axis(v) <= 100 + 1e-6 for v in [*values, *(tick for tick, _ in axis.ticks)])
    assert chart.best_line([(8, 2), (4, 5), (8, 1), (4, 6)], True) == [(4, 5), (8, 1)]
    series = {name: [(2.0**n, n + i), (2.0**n, n + i + 0.5)] for i, name in enumerate(SAMPLERS) for n in (3,)}
    picture = chart.draw_chart(series, "title", "x", "y", True, (8.0, 3.0))
    colours = {colour for _, colour in picture.getcolors(10**6)}
    assert {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in chart.COLOURS} <= colours
