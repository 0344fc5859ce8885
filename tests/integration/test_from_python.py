"""Training from Python: images in every form, settings as keyword arguments, objects that the next function
takes, notebooks, threads, torchrun."""

from __future__ import annotations

import _thread
import json
import os
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import yaml
from helpers.from_python import DENOISER, LOOP, TOKENIZER, tokenizer_of, toy
from helpers.paths import ROOT
from helpers.tiny import free_port, options
from PIL import Image

from d3pm_image import (
    ConfigError,
    DataConfig,
    Interrupted,
    Pipeline,
    TrainConfig,
    encode,
    evaluate,
    load_tokenizer,
    train_diffusion,
    train_tokenizer,
)
from d3pm_image.data.objects import given_images
from d3pm_image.training.monitor import read_lines


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A tokenizer and a pipeline that were trained on arrays, and their folder."""
    folder = tmp_path_factory.mktemp("python")
    tokenizer = tokenizer_of(folder / "tokenizer")
    stage = {"denoiser": DENOISER, "train": LOOP, "sampling": {"steps": 2}, "cache": folder / "codes"}
    pipe = train_diffusion(toy(), tokenizer=tokenizer, out=folder / "diffusion", **stage)
    return tokenizer, pipe, folder


def test_the_functions_take_each_other_s_results(both):
    tokenizer, pipe, folder = both
    assert (
        tokenizer.num_codes == 16
        and tokenizer.folder == folder / "tokenizer" / "model"
        and len(tokenizer.info.sha256) == 64
    )
    assert (
        isinstance(pipe, Pipeline)
        and pipe.class_names == ("0", "1", "2")
        and len(pipe.generate(2, seed=1)) == 2
    )
    written = yaml.safe_load((folder / "diffusion" / "config.yaml").read_text())
    assert (
        written["data"]["source"] == "python"
        and written["tokenizer"] == str(tokenizer.folder)
        and written["train"]["optimizer"] == "muon"
    )
    cached = sorted(p.name for p in (folder / "codes").iterdir())
    for given in (tokenizer, tokenizer.folder, str(folder / "tokenizer"), pipe.tokenizer):
        codes = encode(toy(), given, cache=folder / "codes")
        assert (len(codes), codes.grid, len(codes.held_out)) == (54, (4, 4), 6)
    assert (
        sorted(p.name for p in (folder / "codes").iterdir()) == cached
    )  # the codes that the training had made


def test_a_tokenizer_without_its_folder_is_refused(both, tmp_path):
    from d3pm_image.tokenizer import Autoencoder

    tokenizer = both[0]
    with pytest.raises(ConfigError, match="has no folder"):
        encode(toy(), Autoencoder(tokenizer.config, 1))
    other = tokenizer_of(tmp_path / "t")
    kept = load_tokenizer(tmp_path / "t")[0]
    other.folder.rename(tmp_path / "elsewhere")
    tokenizer_of(tmp_path / "u", train=LOOP | {"seed": 1})
    (tmp_path / "u" / "model").rename(tmp_path / "t" / "model")
    with pytest.raises(ConfigError, match="has changed since the tokenizer was loaded"):
        train_diffusion(toy(), tokenizer=kept, out=tmp_path / "d")


def test_evaluation_of_objects_and_folders_is_the_same(both, tmp_path):
    _, pipe, folder = both
    options = {"num_samples": 20, "likelihood": True, "draws": 1, "seed": 3, "steps": 2}
    found = evaluate(pipe, toy(), out=tmp_path / "e.json", **options)
    assert json.loads((tmp_path / "e.json").read_text()) == found
    again = evaluate(folder / "diffusion", data=toy(), **options)
    for name in ("tokenizer", "denoiser_sha256", "tokenizer_sha256", "held_out_images"):
        assert found[name] == again[name], name
    assert (
        found["samples"]["sha256"] == again["samples"]["sha256"] and found["likelihood"]["bits_per_code"] > 0
    )
    assert found["data"] == "python" and found["held_out_images"] == 6
    assert evaluate(both[0], toy(), num_samples=0)["tokenizer"]["mse"] == found["tokenizer"]["mse"]
    with pytest.raises(ConfigError, match="given by a Python program"):
        evaluate(folder / "diffusion", num_samples=0)
    with pytest.raises(TypeError, match=r"did you mean num_samples\?"):
        evaluate(pipe, toy(), num_smaples=20)


def test_a_run_resumes_with_the_same_images_in_another_object_and_refuses_others(tmp_path):
    images, labels = toy()
    unbroken = tokenizer_of(tmp_path / "unbroken")
    tokenizer_of(tmp_path / "run", train=LOOP | {"steps": 2})
    resumed = tokenizer_of(tmp_path / "run", (images.copy(), labels.copy()), resume=True)
    steps = [line["step"] for _, line in read_lines(tmp_path / "run" / "log.jsonl")]
    assert max(steps) == 4 and resumed.num_codes == unbroken.num_codes
    images[0, 0, 0] ^= 1
    with pytest.raises(ConfigError, match="other images than the run"):
        tokenizer_of(tmp_path / "run", (images, labels), resume=True, train=LOOP | {"steps": 6})


def test_the_command_line_and_the_function_train_the_same_weights(tmp_path):
    pytest.importorskip("sklearn")
    from d3pm_image.cli import main

    words = [*options("tokenizer", TOKENIZER), *options("train", LOOP)]
    main(
        [
            "train-tokenizer",
            "--data.source",
            "digits",
            "--data.image_size",
            "8",
            "--data.flip",
            "true",
            *words,
            "--out",
            str(tmp_path / "cli"),
        ]
    )
    network = train_tokenizer(
        "digits",
        image_size=8,
        flip=True,
        tokenizer=TOKENIZER,
        train=TrainConfig(**LOOP),
        out=tmp_path / "python",
    )
    assert network.info.sha256 == load_tokenizer(tmp_path / "cli")[1].sha256
    settings = [
        yaml.safe_load((tmp_path / name / "config.yaml").read_text()) | {"out": ""}
        for name in ("cli", "python")
    ]
    assert settings[0] == settings[1]


@pytest.mark.parametrize(
    "settings, kind, text",
    [
        ({"stpes": 3}, TypeError, r"did you mean train\.steps"),
        ({"steps": 3}, TypeError, r"did you mean train\.steps"),
        ({"tokeniser": {}}, TypeError, r"did you mean tokenizer\?"),
        ({"image_sise": 3}, TypeError, r"did you mean image_size\?"),
        ({"train": {"stpes": 3}}, ConfigError, r"train\.stpes.*did you mean train\.steps"),
        ({"loss": {"adversarial": {"wieght": 1}}}, ConfigError, r"did you mean loss\.adversarial\.weight"),
        ({"train": {"steps": "3"}}, ConfigError, r"train\.steps='3'.*whole number"),
        ({"train": {"compile": "no"}}, ConfigError, r"train\.compile='no'.*true, false, auto or reduce-overhead"),
        ({"train": 5}, ConfigError, "dictionary of settings, or a TrainConfig"),
        ({"train": {"steps": 0}}, ConfigError, r"train\.steps=0"),
        ({"tokenizer": {"quantizer": "fsk"}}, ConfigError, r"tokenizer\.quantizer='fsk'.*did you mean fsq"),
        ({"tokenizer": {"quantizer": 5}}, ConfigError, r"tokenizer\.quantizer=5: give a dictionary of settings, or a"),
        ({"tokenizer": {"num_codes": 1}}, ConfigError, r"tokenizer\.quantizer\.num_codes=1: ema takes"),
        ({"tokenizer": {"num_code": 5}}, ConfigError, r"did you mean tokenizer\.quantizer\.num_codes"),
        ({"tokenizer": {"quantizer": {"num_codes": "x"}}}, ConfigError, r"tokenizer\.quantizer\.num_codes='x': give a whole number"),
        ({"tokenizer": {"quantizer": {"levls": [8, 8]}}}, ConfigError, r"tokenizer\.quantizer\.levls=.*no quantizer has it"),
        ({"tokenizer": {"quantizer": {"levels": [8, 8]}}}, ConfigError, r"the quantizer ema has no such setting; fsq has it"),
        ({"levels": [8, 8]}, TypeError, r"did you mean tokenizer\.quantizer\.levels"),
        ({"data": "fashion_mnits", "image_size": 8}, ConfigError, r"did you mean fashion_mnist\?"),
        ({"data": {"crpo": "center"}}, ConfigError, r"did you mean data\.crop\?"),
        ({"channels": 5}, ConfigError, r"data\.channels=5"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_answered_with_the_nearest_name(settings, kind, text, tmp_path):
    with pytest.raises(kind, match=text):
        train_tokenizer(**{"data": "digits", "out": tmp_path / "run", **settings})
    assert not (tmp_path / "run").exists()


def test_data_is_a_folder_settings_or_a_dictionary_with_images(tmp_path):
    (tmp_path / "photos" / "red").mkdir(parents=True)
    for number, image in enumerate(toy(30, 3)[0]):
        Image.fromarray(image).save(tmp_path / "photos" / "red" / f"{number}.png")
    one = {"train": LOOP | {"steps": 1}}
    assert (
        tokenizer_of(tmp_path / "a", str(tmp_path / "photos"), image_size=8, **one).channels == 3
    )  # as the images are
    assert tokenizer_of(tmp_path / "b", tmp_path / "photos", image_size=8, channels=1, **one).channels == 1
    config = DataConfig(root=str(tmp_path / "photos"), image_size=8, channels=3, flip=True)
    assert tokenizer_of(tmp_path / "c", config, **one).info.metadata["data"]["flip"] is True
    held_out = tokenizer_of(
        tmp_path / "d", {"images": toy(30, 3), "val_images": toy(7, 3, seed=1), "crop": "stretch"}, **one
    )
    assert held_out.info.metadata["data"]["crop"] == "stretch" and held_out.channels == 3
    for data in (toy(30, 3)[0], {"root": str(tmp_path / "photos"), "image_size": 8}):
        with pytest.raises(ConfigError, match=r"data.image_size=0|holds an earlier run"):
            tokenizer_of(
                tmp_path / "d", str(tmp_path / "photos") if isinstance(data, np.ndarray) else data, **one
            )


def test_trainings_of_several_kinds_follow_each_other_in_one_program_and_run_in_a_thread(tmp_path):
    before = threading.active_count()
    tokenizer_of(tmp_path / "a")
    tokenizer_of(tmp_path / "b", train=LOOP | {"mixed_precision": "bf16"})
    done = []
    thread = threading.Thread(target=lambda: done.append(tokenizer_of(tmp_path / "c")))
    thread.start()
    thread.join()
    assert (
        done
        and load_tokenizer(tmp_path / "a")[1].sha256 == done[0].info.sha256
        and threading.active_count() == before
    )


def test_an_interrupt_saves_and_the_run_goes_on(tmp_path):
    long = LOOP | {"steps": 100_000, "preview_every": 0}

    def interrupt():
        while not (tmp_path / "run" / "log.jsonl").is_file():
            time.sleep(0.05)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match="saved"):
        tokenizer_of(tmp_path / "run", train=long)
    steps = max(int(p.name.partition("-")[2]) for p in (tmp_path / "run" / "checkpoints").glob("step-*"))
    tokenizer_of(tmp_path / "run", resume=True, train=LOOP | {"steps": steps + 1})
    assert max(line["step"] for _, line in read_lines(tmp_path / "run" / "log.jsonl")) == steps + 1


def test_previews_are_shown_where_ipython_runs(tmp_path, monkeypatch):
    shown, module, display = [], types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython = lambda: types.SimpleNamespace(execution_count=1)
    display.display = lambda image, display_id: shown.append(("new", image, display_id))
    display.update_display = lambda image, display_id: shown.append(("again", image, display_id))
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    tokenizer_of(tmp_path / "run")
    assert [how for how, *_ in shown] == ["new", "again"] and len({place for *_, place in shown}) == 1
    assert all(isinstance(image, Image.Image) for _, image, _ in shown)


TWO_STAGES = """
import sys
sys.path.insert(0, {tests!r})
from helpers import from_python as t
from d3pm_image import encode, evaluate, train_diffusion
tokenizer = t.tokenizer_of({out!r} + "/tokenizer")
codes = encode(t.toy(), tokenizer, cache={out!r} + "/codes")
stage = dict(out={out!r} + "/diffusion", cache={out!r} + "/codes", denoiser=t.DENOISER, train=t.LOOP)
pipe = train_diffusion(t.toy(), tokenizer=tokenizer, **stage)
found = evaluate(pipe, t.toy(), num_samples=20, steps=2)
print("rank", len(codes), len(pipe.generate(1)), "samples" in found, flush=True)
"""


@pytest.mark.slow
def test_all_of_it_runs_under_torchrun(tmp_path):
    (tmp_path / "script.py").write_text(TWO_STAGES.format(tests=str(ROOT / "tests"), out=str(tmp_path)))
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
        str(tmp_path / "script.py"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert lines == ["rank 54 1 False", "rank 54 1 True"]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """A folder of parquet files, and one that save_to_disk wrote, with the same images and classes."""
    datasets = pytest.importorskip("datasets")
    folder, (images, labels) = tmp_path_factory.mktemp("hub"), toy()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    held = {"train": slice(0, 50), "test": slice(50, 60)}
    for split, part in held.items():
        columns = {"image": [Image.fromarray(i) for i in images[part]], "label": labels[part].tolist()}
        table = datasets.Dataset.from_dict(columns, features=features)
        (folder / "parquet").mkdir(exist_ok=True)
        table.to_parquet(folder / "parquet" / f"{split}-00000.parquet")
        if split == "train":
            table.save_to_disk(folder / "arrow")
    return folder


def test_local_folders_of_hugging_face_are_read_offline(parquet, tmp_path, monkeypatch):
    from datasets import load_dataset

    from d3pm_image.cli import main
    from d3pm_image.data.sources import open_source

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    config = DataConfig(source="huggingface", name=str(parquet / "parquet"))
    train, held_out = open_source(config), open_source(config, held_out=True)
    assert (len(train), len(held_out), train.class_names) == (50, 10, ("a", "b", "c"))
    assert np.array_equal(np.asarray(held_out.load(3)), toy()[0][53])
    saved = open_source(DataConfig(source="huggingface", name=str(parquet / "arrow")))
    assert len(saved) == 45  # a tenth is held out
    splits = load_dataset(str(parquet / "parquet"))
    assert given_images(splits).training.fingerprint == train.fingerprint
    network = tokenizer_of(tmp_path / "a", splits)
    assert network.info.metadata["classes"] == ["a", "b", "c"]
    words = [*options("tokenizer", TOKENIZER), *options("train", LOOP)]
    named = [
        "--data.source",
        "huggingface",
        "--data.name",
        str(parquet / "parquet"),
        "--data.image_size",
        "8",
        "--data.channels",
        "1",
    ]
    main(["train-tokenizer", *named, *words, "--out", str(tmp_path / "b")])
    assert load_tokenizer(tmp_path / "b")[1].sha256 == network.info.sha256
    assert evaluate(tmp_path / "b", num_samples=0, reconstruction_distance=False)["held_out_images"] == 10
