"""Models with several sets of labels, from a CSV file or two levels of folders to images."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.command_line import fails, run
from helpers.tiny import DENOISER, LOOP, TOKENIZER
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError, DataConfig, DenoiserConfig, DiffusionLossConfig, ProcessConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.label_files import labels_of
from d3pm_image.data.sources import open_source
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.labels import with_some_hidden
from d3pm_image.diffusion import Process
from d3pm_image.evaluation.evaluate import images_of
from d3pm_image.evaluation.samples import SampleEvaluator, by_set, remembered_data
from d3pm_image.label_sets import JointNames, LabelSets, from_json, to_json
from d3pm_image.recipes.diffusion_loss import make_loss
from d3pm_image.recipes.finetune import class_weights
from d3pm_image.sampling.guidance import Guided
from d3pm_image.training.random import StepRandom

SHAPES, COLOURS = ("bar", "dot", "edge"), {"blue": (20, 20, 230), "red": (230, 20, 20)}


def drawn(shape: str, colour: str, number: int) -> Image.Image:
    """8×8 pixels that show both labels."""
    pixels = np.full((8, 8, 3), 128 + number % 5, np.uint8)
    place = {"bar": np.s_[:, 2:5], "dot": np.s_[2:6, 2:6], "edge": np.s_[:2]}[shape]
    pixels[place] = COLOURS[colour]
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of images, and labels.csv beside it; no image is a red edge, and some have no labels."""
    root = tmp_path_factory.mktemp("sets")
    (root / "photos").mkdir()
    lines = []
    for i in range(240):
        shape, colour = SHAPES[i % 3], list(COLOURS)[i // 3 % 2]
        if (shape, colour) == ("edge", "red"):
            colour = "blue"
        drawn(shape, colour, i).save(root / "photos" / f"{i:03d}.png")
        lines.append([f"{i:03d}.png", shape, "" if i % 20 == 0 else colour])
    with open(root / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "shape", "colour"], *lines[1:]])
    return root


@pytest.fixture(scope="module")
def model(photos) -> Path:
    out = photos / "runs"
    data = ["--data.root", photos / "photos", "--data.labels", photos / "labels.csv"]
    loop = [
        f"--train.{name}={value}" for name, value in LOOP.items() if name not in ("steps", "warmup_steps")
    ]
    loop += ["--train.steps=250", "--train.warmup_steps=10", "--train.learning_rate=3e-3"]
    net = [f"--tokenizer={json.dumps(TOKENIZER)}", "--data.image_size=8", "--data.channels=3"]
    run("train-tokenizer", *data, *net, *loop, "--out", out / "tokenizer")
    net = [f"--denoiser.{name}={value}" for name, value in DENOISER.items()]
    run("train-diffusion", *data, *net, *loop, "--tokenizer", out / "tokenizer", "--out", out / "diffusion")
    return out / "diffusion"


def colour_of(image: Image.Image) -> str:
    pixels = np.asarray(image.convert("RGB"), int)
    return "red" if (pixels[..., 0] - pixels[..., 2]).mean() > 0 else "blue"


def test_each_set_is_learned_and_either_may_be_asked_for_alone(model):
    pipe = Pipeline.from_pretrained(model)
    assert pipe.label_sets == LabelSets(("shape", "colour"), (SHAPES, tuple(COLOURS)))
    for labels in ("colour=red,shape=bar", "colour=red", "red"):
        images = pipe.generate(12, labels, steps=8, seed=1)
        assert sum(colour_of(image) == "red" for image in images) >= 10, labels
    assert sum(colour_of(i) == "blue" for i in pipe.generate(12, "shape=edge", steps=8, seed=1)) >= 10
    seen = pipe.class_names.seen
    assert pipe.label_ids(None, 5) != pipe.label_ids(None, 5, 1) and set(pipe.label_ids(None, 20)) == set(
        seen
    )
    assert "shape=edge,colour=red" not in {pipe.class_names[i] for i in seen} and len(seen) == 5


def test_guidance_by_set_and_its_default(model):
    pipe = Pipeline.from_pretrained(model)
    how = {"labels": "shape=bar,colour=red", "steps": 4, "seed": 3, "guidance": 2.0, "output_type": "pt"}
    usual = pipe.generate(4, **how)
    assert torch.equal(pipe.generate(4, set_guidance="2", **how), usual)
    assert not torch.equal(pipe.generate(4, set_guidance="shape=0,colour=4", **how), usual)
    for text in ("size=2", "shape=x", "-1"):
        with pytest.raises(ConfigError, match="set_guidance"):
            pipe.generate(1, set_guidance=text, **how)


def test_guidance_by_set_adds_one_set_after_the_other():
    sets = LabelSets(("group", "style"), (("a", "b", "c"), ("w", "x")))
    logits = torch.randn(
        sets.count + 1, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    guided = Guided(lambda x_t, kappa, labels, grid, where=None: logits[labels], sets.count, sets.count, sets)
    labels = torch.tensor([sets.number((1, 0)), sets.number((2, 2)), sets.count])
    found = guided.by_set(torch.zeros(3, 4), torch.ones(3), labels, (2, 2), [3.0, 0.5])
    none = logits[sets.count]
    group = [logits[sets.number((digit, 2))] for digit in (1, 2, 3)]
    both = [logits[number] for number in labels]
    expected = [none + 3 * (g - none) + 0.5 * (b - g) for g, b in zip(group, both, strict=True)]
    assert torch.allclose(found, torch.stack(expected), atol=1e-12)


def test_guidance_away_from_a_label(model):
    pipe = Pipeline.from_pretrained(model)
    how = {"steps": 6, "seed": 3, "guidance": 3.0}
    assert sum(colour_of(i) == "blue" for i in pipe.generate(12, "bar", negative_label="red", **how)) >= 11
    assert pipe.request(negative_label="red").sampling.negative_label == pipe.label_ids("colour=red", 1)[0]
    assert pipe.request(negative_label="none").sampling.negative_label == -1
    with pytest.raises(ConfigError, match="negative_label='green'"):
        pipe.generate(1, negative_label="green")


def test_commands_take_labels_by_set(model, tmp_path, capsys):
    run(
        "generate",
        model,
        "--labels",
        "shape=*,colour=blue",
        "--num-images",
        6,
        "--steps",
        2,
        "--out",
        tmp_path,
    )
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".png")
    assert len(names) == 6 and "bar" in names[0] and "dot" in names[1] and "edge" in names[2]
    capsys.readouterr()
    run("show", tmp_path / names[0])
    assert "shape=bar,colour=blue" in capsys.readouterr().out
    run("show", tmp_path / names[0], "--again", "--out", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / names[0]).read_bytes() or np.array_equal(
        np.asarray(Image.open(tmp_path / "again.png")), np.asarray(Image.open(tmp_path / names[0]))
    )
    own = tmp_path / "own.png"
    drawn("bar", "blue", 0).save(own)
    run("inpaint", model, own, "--box", "0,0,4,8", "--labels", "shape=dot", "--steps", 2)
    run("edit", model, own, "--box", "0,0,4,8", "--label", "red", "--steps", 2, "--out", tmp_path / "red.png")
    for labels, says in (("shape=cube", "shape has bar, dot, edge"), ("size=1", "use shape, colour")):
        assert says in fails(capsys, "generate", model, "--labels", labels, "--out", tmp_path / "no.png")
    assert "give one class" in fails(
        capsys, "edit", model, own, "--box", "0,0,4,8", "--label", "shape=*", "--overwrite"
    )


def test_evaluation_has_an_accuracy_for_each_set(model, tmp_path):
    options = ["--num-samples", 40, "--steps", 4, "--inpaint", "box"]
    run("evaluate", model, *options, "--out", tmp_path / "e.json")
    result = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert set(result["samples"]["label_accuracy_by_set"]) == {"shape", "colour"}
    assert result["samples"]["label_accuracy_by_set"]["colour"] > 0.8
    completed = result["inpainting"]["regions"]["box"]
    assert set(completed["label_accuracy_by_set"]) == {"shape", "colour"}


def test_a_training_goes_on_and_starts_from_a_model_of_one_set(model, photos, capsys):
    pipe = Pipeline.from_pretrained(model)
    out = model.parent / "one"
    rest = ["--data.root", photos / "photos", "--data.labels", f"{photos / 'labels.csv'}:shape"]
    line = [
        "train-diffusion",
        *rest,
        "--start_from",
        model,
        "--train.steps=1",
        "--train.batch_size=8",
        "--out",
        out,
    ]
    run(*line)
    assert "3 of the classes match" in capsys.readouterr().out
    one = Pipeline.from_pretrained(out)
    assert one.class_names == SHAPES and one.label_sets is None
    rows = pipe.denoiser.classes.weight
    assert torch.allclose(one.denoiser.classes.weight[1], rows[1] + rows[6], atol=0.05)


def test_a_training_of_several_sets_starts_from_one(model, photos, capsys):
    first = ["train-diffusion", "--train.steps=1", "--train.batch_size=8", "--data.root", photos / "photos"]
    several = [*first, "--data.labels", photos / "labels.csv", "--start_from", model]
    run(*several, "--out", model.parent / "again")
    assert "5 of the classes match" in capsys.readouterr().out
    pipe = Pipeline.from_pretrained(model.parent / "again")
    before = Pipeline.from_pretrained(model)
    assert torch.allclose(pipe.denoiser.classes.weight, before.denoiser.classes.weight, atol=0.05)


@pytest.mark.parametrize("sizes", [(4, 2), (2, 2), (3, 2), (2, 4, 2), (6, 4, 9)])
def test_every_combination_has_its_turn_and_all_labels_change(sizes):
    sets = LabelSets(
        tuple(f"set{i}" for i in range(len(sizes))), tuple(tuple(f"{i}" for i in range(n)) for n in sizes)
    )
    turns = [sets.digits(number) for number in sets.in_turn()]
    assert sorted(turns) == sorted(itertools.product(*(range(n) for n in sizes)))
    same = [sum(a == b for a, b in zip(one, other, strict=True)) for one, other in itertools.pairwise(turns)]
    assert sum(map(bool, same)) <= len(turns) // 2
    assert [sets.number(digits) for digits in turns] == sets.in_turn()


@pytest.mark.parametrize("share, style", [("style=1", {4}), ("group=1", {0, 1, 2, 3})])
def test_the_label_of_one_set_is_hidden_alone(share, style):
    """Labels as they reach the network: digits of the named set are none, the others' are the image's."""
    sets = LabelSets(("group", "style"), (("a", "b", "c"), ("w", "x", "y", "z")))
    process = Process.from_config(ProcessConfig(), 8)
    loss = make_loss(process, DiffusionLossConfig(label_dropout=0.0, set_dropout=share), (2, 2))
    seen = []

    class Network(Transformer):
        def forward(self, x_t, kappa, labels, *rest, **named):
            seen.append(labels)
            return super().forward(x_t, kappa, labels, *rest, **named)

    network = Network(DenoiserConfig(width=16, depth=1, heads=2), 8, sets.count, label_sets=sets)
    given = torch.tensor([sets.number((i % 3, i % 4)) for i in range(24)])
    batch = {"codes": torch.zeros(24, 4, dtype=torch.int64), "labels": given}
    loss(network, batch, StepRandom(0, 0, 24, slice(0, 24), torch.device("cpu")))
    digits = [sets.digits(int(number)) for number in seen[0]]
    assert {style for _, style in digits} == style
    kept = 0 if share == "style=1" else 1
    assert [d[kept] for d in digits] == [sets.digits(int(number))[kept] for number in given]
    hidden = with_some_hidden(given, sets, torch.tensor([[True, False]]).expand(24, 2))
    assert [sets.digits(int(number)) for number in hidden] == [(3, i % 4) for i in range(24)]


def test_embeddings_are_taken_over_by_name():
    old = JointNames(LabelSets(("kind", "style"), (("a", "b"), ("x",))))
    new = JointNames(LabelSets(("sort", "kind"), (("a", "q"), ("a", "c"))))
    rows, matched = class_weights(torch.arange(5.0)[:, None], old, new)
    # kind: a, none for c, none; style is gone and its none, 4, is in every image; sort is new
    assert matched == 1 and rows[:, 0].tolist() == [4, 4, 4, 0, 2, 2]
    rows, matched = class_weights(torch.arange(4.0)[:, None], ("x", "y", "z"), old)
    assert matched == 1 and rows[:, 0].tolist() == [0, 0, 0, 0, 3]


@pytest.mark.slow
def test_an_evaluation_leaves_images_without_labels_out(model, photos, tmp_path):
    big = tmp_path / "big"
    big.mkdir()
    for path in (photos / "photos").iterdir():
        Image.open(path).resize((20, 20)).save(big / path.name)
    data = DataConfig(root=str(big), image_size=20, channels=3, labels=str(photos / "labels.csv"))
    held_out = ImageSet(open_source(data.resolved(), held_out=True), data.resolved())
    train = open_source(data.resolved())
    assert (train.labels < 0).any() and train.class_names.seen
    evaluator = SampleEvaluator(train, data.resolved(), held_out, train.class_names)
    assert evaluator.told_apart.tolist() == sorted(train.class_names.seen) and evaluator.accuracy > 0.9


def test_estimates_count_embeddings_of_sets(model, photos, tmp_path):
    out = tmp_path / "e.json"
    run("estimate", model / "config.yaml", "--seconds", 0, "--out", out)
    network = Pipeline.from_pretrained(model).denoiser
    found = json.loads(out.read_text(encoding="utf-8"))["parameters"]
    assert found == sum(p.numel() for p in network.parameters())


def test_unfinished_runs_know_their_sets(model, photos):
    from d3pm_image.unfinished import names_of_classes

    names = names_of_classes(model, 4 + 3)
    assert isinstance(names, JointNames) and names.sets.names == ("shape", "colour") and names.seen
    assert names_of_classes(model, 4) == []
    assert from_json(json.loads(json.dumps(to_json(names)))) == names
    assert from_json({"sets": {"a": [1]}}) is None and from_json({"sets": 3}) is None and from_json(3) is None


def test_levels_of_folders_and_files_that_do_not_fit(tmp_path):
    files = [Path("a/x/1.png"), Path("a/y/2.png"), Path("b/x/3.png")]
    labels, names = labels_of("kind/style", files)
    assert [names[i] for i in labels] == ["kind=a,style=x", "kind=a,style=y", "kind=b,style=x"]
    with pytest.raises(ConfigError, match="lies less deep"):
        labels_of("kind/style/more", files)
    for name in ("labels.cvs", str(tmp_path / "kind")):
        with pytest.raises(ConfigError, match="is a file"):
            labels_of(name, files)
    place = tmp_path / "l.csv"
    for text, says in (
        ("file\n", "first line with names"),
        ("file,a\n1.png,x,y\n", "line 2 has 3 cells"),
        ("file,a\n1.png,x\n1.png,y\n", "second time"),
        ("file,a\nz.png,x\n", "names none of the images"),
        ("file,a\n1.png,\n", "no image has a label of a"),
        ('file,a,b\n1.png,"x,y",z\n', "rename"),
    ):
        place.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=says):
            labels_of(str(place), files)
    with pytest.raises(ConfigError, match="cannot be read"):
        labels_of(str(tmp_path / "none.csv"), files)
    place.write_text("file,a,b\nb/x/3.png,p,q\n1.png,r,\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no such column"):
        labels_of(f"{place}:c", files)
    labels, names = labels_of(str(place), files)
    assert [names[i] if i >= 0 else None for i in labels] == ["a=r", None, "a=p,b=q"] and len(names.seen) == 1
    labels, names = labels_of(f"{place}:a", files)
    assert names == ("p", "r") and labels.tolist() == [1, -1, 0]


def test_the_page_has_a_menu_for_each_set(model, tmp_path):
    gr = pytest.importorskip("gradio", reason="needs the extra app")
    from d3pm_image.app.page import build
    from d3pm_image.app.page_model import PageModel

    page = build(PageModel(Pipeline.from_pretrained(model), "shapes", tmp_path))
    (event,) = [one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "generate"]
    menus = {field.label: field for field in event.inputs if isinstance(field, gr.Dropdown)}
    assert menus["Shape"].visible and [name for name, _ in menus["Colour"].choices] == ["any", "blue", "red"]
    assert not menus["Labels 3"].visible

    def captions(**given: object) -> list[str]:
        given = {"Steps": 1, "Images": 2, **given}
        values = [given.get(field.label, field.value) for field in event.inputs]
        *_, (_, gallery, *_) = event.fn(SimpleNamespace(session_hash="a"), *values)
        return [caption for _, caption in gallery["value"]]

    assert captions(Shape="1", Colour="1") == ["shape=dot,colour=red"] * 2
    assert captions(Colour="0") == ["colour=blue"] * 2
    assert len(set(captions())) == 2 and all("shape=" in text for text in captions())
    with pytest.raises(gr.Error, match="menu"):
        captions(Colour="7")


def test_the_accuracy_of_a_set_is_that_of_images_with_a_label_of_it():
    sets = LabelSets(("group", "style"), (("a", "b"), ("w", "x")))
    asked = torch.tensor([sets.number(digits) for digits in ((0, 0), (1, 1), (0, 2), (1, 2))])
    shown = torch.tensor([sets.number(digits) for digits in ((0, 1), (1, 1), (1, 0), (1, 0))])
    assert by_set(sets, shown, asked) == {"group": 0.75, "style": 0.5}


def test_images_without_a_label_keep_none_under_other_numbers(photos):
    data = DataConfig(root=str(photos / "photos"), source="folder", labels=f"{photos / 'labels.csv'}:shape")
    source = open_source(data)
    names = ("edge", "other", "dot", "bar")
    found = source.numbered_by(names)
    assert (source.labels < 0).any() and np.array_equal(found.labels < 0, source.labels < 0)
    named = [source.class_names[i] for i in source.labels if i >= 0]
    assert [names[i] for i in found.labels if i >= 0] == named


def test_a_file_of_labels_is_for_the_images_of_the_training_alone(model, photos, tmp_path):
    pipe = Pipeline.from_pretrained(model)
    assert pipe.metadata["data"]["labels"] == str(photos / "labels.csv")
    other = np.zeros((12, 8, 8, 3), np.uint8)
    config, given = images_of(None, pipe.tokenizer, pipe, pipe.metadata, other)
    assert config.labels is True and len(given.training) == 12
    assert remembered_data(pipe.metadata, "m", "", "").labels == str(photos / "labels.csv")
    data = pipe.metadata["data"] | {"labels": str(tmp_path / "somebody.csv")}
    with pytest.raises(ConfigError, match="a file that was not named on this machine"):
        remembered_data({"data": data}, "m", "", "")


def test_a_packaged_model_names_no_folder_and_finds_its_labels_beside_the_images(model, photos, tmp_path):
    run("package", model, "--out", tmp_path / "shared")
    text = (tmp_path / "shared/config.json").read_text() + (tmp_path / "shared/README.md").read_text()
    text += (tmp_path / "shared/tokenizer/config.json").read_text()
    assert str(photos) not in text and "labels.csv" in text
    metadata = Pipeline.from_pretrained(tmp_path / "shared").metadata
    assert metadata["data"]["labels"] == "labels.csv"
    with pytest.raises(ConfigError, match=r"put it into the folder of the images.*--root \(labels\.csv\)"):
        remembered_data(metadata, "m", str(photos / "photos"), "")
    found = remembered_data(metadata, "m", str(photos), "")  # the folder that has the file
    assert found.labels == str(photos / "labels.csv")
    for text in ("labels.csv:shape", "runs/elsewhere/labels.csv:shape"):
        columns = metadata["data"] | {"labels": text}
        found = remembered_data({"data": columns}, "m", str(photos), "")
        assert found.labels == f"{photos / 'labels.csv'}:shape"
