"""What callers pass in Python: numbers, arrays and tensors of NumPy and torch, paths, None, misspelt names; pipelines in other processes."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image

from d3pm_image import Box, Pipeline
from d3pm_image.config import ConfigError
from d3pm_image.data.objects import source_of
from d3pm_image.editing.inputs import image_list
from d3pm_image.sampling.state import ImageStreams
from d3pm_image.tokenizer.quantizer import QuantizerModule
from d3pm_image.tokenizer.quantizers import QUANTIZERS

BOX = Box(0, 0, 12, 12)
QUICK = {"steps": 2}


@pytest.fixture(scope="module")
def image(pipe) -> Image.Image:
    return pipe.generate(1, **QUICK)[0]


def pixels(images) -> list[bytes]:
    flat = [i for one in images for i in (one if isinstance(one, list) else [one])]
    return [i.tobytes() for i in flat]


@pytest.mark.parametrize(
    "seed",
    [np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor(3, dtype=torch.int32), np.array(3)],
    ids=repr,
)
def test_whole_numbers_of_numpy_and_torch_are_seeds(pipe, seed):
    assert pixels(pipe.generate(1, seed=seed, **QUICK)) == pixels(pipe.generate(1, seed=3, **QUICK))
    assert torch.equal(ImageStreams(seed, range(2)).uniform(2), ImageStreams(3, range(2)).uniform(2))


@pytest.mark.parametrize(
    "seeds",
    [np.array([4, 7]), torch.tensor([4, 7]), (np.int64(4), torch.tensor(7)), range(4, 8, 3)],
    ids=repr,
)
def test_arrays_and_tensors_are_one_seed_per_image(pipe, seeds):
    assert pixels(pipe.generate(2, labels=1, seed=seeds, **QUICK)) == pixels(
        pipe.generate(2, labels=1, seed=[4, 7], **QUICK)
    )


@pytest.mark.parametrize("seed", [1.5, "3", torch.tensor(1.5), [1, None], -1], ids=repr)
def test_what_is_no_seed_is_named(pipe, seed):
    with pytest.raises(ConfigError, match="seed="):
        pipe.generate(2, seed=seed, **QUICK)


def test_none_is_the_default(pipe):
    usual = pixels(pipe.generate(2, **QUICK))
    nothing = dict.fromkeys(
        (
            "seed",
            "batch_size",
            "first",
            "callback",
            "generator",
            "guidance",
            "sampler",
            "callback_on_step_end",
        )
    )
    assert pixels(pipe.generate(2, **QUICK, **nothing)) == usual
    assert pixels(pipe.generate(2, seed=None, generator=torch.Generator().manual_seed(0), **QUICK)) != usual


def test_other_numbers_may_be_numpys_too(pipe):
    one = pipe.generate(
        np.int64(2),
        steps=np.int32(2),
        batch_size=torch.tensor(1),
        first=np.uint8(1),
        guidance=np.float32(1.5),
    )
    assert pixels(one) == pixels(pipe.generate(2, steps=2, batch_size=1, first=1, guidance=1.5))
    with pytest.raises(ConfigError, match="num_images"):
        pipe.generate(1.5)


@pytest.mark.parametrize(
    "labels",
    [np.array([1, 2]), torch.tensor([1, 2]), [np.int64(1), torch.tensor(2)], (1, np.int8(2))],
    ids=repr,
)
def test_arrays_and_tensors_are_labels(pipe, labels):
    assert pixels(pipe.generate(2, labels, **QUICK)) == pixels(pipe.generate(2, [1, 2], **QUICK))
    assert pixels(pipe(labels, **QUICK).images) == pixels(pipe.generate(2, [1, 2], **QUICK))
    assert pixels(pipe.generate(1, labels[0], **QUICK)) == pixels(pipe.generate(1, 1, **QUICK))


def colours(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    "make",
    [
        np.asarray, lambda i: np.asarray(i)[..., None], lambda i: np.asarray(i) / 255, lambda i: (np.asarray(i) / 255).astype(np.float32),
        lambda i: torch.from_numpy(np.asarray(i).copy())[None], lambda i: torch.from_numpy(np.asarray(i) / 255), colours,
        lambda i: torch.from_numpy(colours(i).transpose(2, 0, 1).copy()) / 255,
    ],
    ids=["uint8", "h w 1", "float64", "float32", "tensor 1 h w", "tensor h w", "rgb", "tensor 3 h w"],
)  # fmt: skip
def test_arrays_and_tensors_are_images(pipe, image, make):
    given = make(image)
    right = pipe.inpaint(image, BOX, **QUICK)
    found = pipe.inpaint(given, BOX, **QUICK)
    assert isinstance(found[0], Image.Image) and [i.convert("L").tobytes() for i in found] == pixels(right)
    assert pipe.inpaint([given], BOX, **QUICK)[0][0].convert("L").tobytes() == right[0].tobytes()
    assert pixels(pipe.interpolate(given, image, frames=2, **QUICK)) == pixels(
        pipe.interpolate(image, image, frames=2, **QUICK)
    )
    assert (
        pixels(pipe.reconstruct([given]))
        == pixels(pipe.reconstruct(given))
        == pixels(pipe.reconstruct([image]))
    )
    assert pipe.outpaint(given, right=np.int64(3), **QUICK)[0].size == (31, 28)


def test_paths_and_stacks_are_images(pipe, image, tmp_path):
    image.save(tmp_path / "a.png")
    right = pixels(pipe.vary(image, **QUICK))
    assert (
        pixels(pipe.vary(tmp_path / "a.png", **QUICK))
        == pixels(pipe.vary(str(tmp_path / "a.png"), **QUICK))
        == right
    )
    stack = torch.from_numpy(np.asarray(image) / 255)[None, None].expand(2, 1, 28, 28)
    two = pipe.vary([image, image], **QUICK)
    assert len(two) == 2 and pixels(pipe.vary(stack, **QUICK)) == pixels(two)
    assert pixels(pipe.vary(stack.permute(0, 2, 3, 1).numpy(), **QUICK)) == pixels(two)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "give a Pillow image, a path"), (None, "give a Pillow image"), ("missing.png", "no such file"), (np.zeros((5, 28, 28)), r"an array \(h, w\)"),
        (np.full((28, 28), 200.0), r"point in \[0, 1\]"), (np.full((28, 28), np.nan), r"point in \[0, 1\]"), (np.full((28, 28), 256), "uint8"),
        (np.zeros((2, 2), complex), "uint8"), (np.full((28, 28, 3), 256, np.uint16), "uint16 of grey"), (np.zeros((0, 28)), r"an array \(h, w\)"), ([], "at least one"), ([5], "give a Pillow image"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_image_gets_a_line_that_says_what_to_give(pipe, given, said):
    for method in (lambda: pipe.inpaint(given, BOX, **QUICK), lambda: pipe.vary(given, **QUICK)):
        with pytest.raises(ConfigError, match=said) as caught:
            method()
        assert caught.value.name == "image" and "\n" not in str(caught.value)


LAYOUTS = {"h w": (0, 1), "h w 1": (0, 1, 2), "h w 3": (0, 1, 2), "1 h w": (2, 0, 1), "3 h w": (2, 0, 1)}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int16", "int32", "int64", "uint16", "bool", "float16", "float32", "float64", "bfloat16"],
)
def test_training_and_editing_take_the_same_arrays(dtype, layout, library):
    if dtype == "bfloat16" and library == "numpy":
        pytest.skip("NumPy has no bfloat16")
    levels = (
        np.random.default_rng(0)
        .choice([0, 255] if dtype == "bool" else np.arange(0, 256, 5), (6, 7, 3))
        .astype(np.uint8)
    )
    levels = levels if "3" in layout else levels[..., :1]
    numbers = torch.from_numpy(
        levels / 255 if "float" in dtype else levels > 0 if dtype == "bool" else levels.copy()
    )
    given = (
        (numbers[..., 0] if layout == "h w" else numbers).permute(LAYOUTS[layout]).to(getattr(torch, dtype))
    )
    given = given.numpy() if library == "numpy" else given
    both = np.stack([given, given]) if library == "numpy" else torch.stack([given, given])
    (edited,), single = image_list(given)
    trained = [source_of(data).load(1) for data in (both, [given, given])]
    assert (
        single and image_list(both if both.ndim == 4 else [given, given])[0][1].tobytes() == edited.tobytes()
    )
    for image in (edited, *trained):
        right = levels if "3" in layout else levels[..., 0]
        assert np.abs(np.asarray(image).astype(int) - right).max() <= (1 if dtype == "bfloat16" else 0)
        assert image.mode == ("RGB" if "3" in layout else "I;16" if dtype == "uint16" else "L")


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.float32, torch.bfloat16, torch.uint8, torch.int64], ids=str
)
def test_tensors_are_masks(pipe, image, dtype):
    mask = np.zeros((28, 28), bool)
    mask[4:9, 3:20] = True
    other = mask.T.copy()
    full = 255 if dtype == torch.uint8 else 1
    one, two = ((torch.from_numpy(m.copy()) * full).to(dtype) for m in (mask, other))
    right = pipe.inpaint(image, mask, **QUICK)
    for given in (one, one[None], one[None, None]):
        assert pixels(pipe.inpaint(image, given, **QUICK)) == pixels(right)
    right = pipe.inpaint([image, image], [mask, other], **QUICK)
    both = torch.stack([one, two])
    for given in (both, both[:, None], [one, two], [one, other]):
        assert pixels(pipe.inpaint([image, image], given, **QUICK)) == pixels(right)
    with pytest.raises(ConfigError, match="mask=3"):
        pipe.inpaint([image, image], torch.ones(3, 28, 28), **QUICK)


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda p, i: p.generate(1, lables=[1]), "labels"), (lambda p, i: p.generate(1, guidence=2.0), "guidance"),
        (lambda p, i: p.generate(1, num_inference_step=2), "num_inference_steps"), (lambda p, i: p(class_label=[1]), "class_labels"),
        (lambda p, i: p.inpaint(i, BOX, variant=2), "variants"), (lambda p, i: p.vary(i, strenght=0.3), "strength"),
        (lambda p, i: p.edit(i, BOX, 1, fether=2), "feather"), (lambda p, i: p.outpaint(i, left=2, widow="tiles"), "window"),
        (lambda p, i: p.interpolate(i, i, frame=3), "frames"), (lambda p, i: p.request(smapler="halton"), "sampler"),
    ],
)  # fmt: skip
def test_unknown_names_are_answered_with_the_nearest_one(pipe, image, call, near):
    with pytest.raises(TypeError, match=rf"did you mean {near}\?"):
        call(pipe, image)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_quantizer_can_be_pickled(name):
    torch.manual_seed(0)
    quantizer = QuantizerModule(QUANTIZERS[name]()).eval()
    again = pickle.loads(pickle.dumps(quantizer))
    codes = torch.arange(30).view(1, 5, 6)
    assert torch.equal(again.lookup(codes), quantizer.lookup(codes))


def test_a_default_of_float64_changes_nothing(pipe, image):
    """Neither when a model is loaded nor when it draws."""

    def everything(model: Pipeline) -> list[bytes]:
        found = pixels(model.generate(2, guidance=2.0, guidance_from=0.4, steps=4))
        for sampler in ("halton", "first_hitting", "remask", "ctmc"):
            found += pixels(model.generate(1, sampler=sampler, steps=4))
        return (
            found
            + pixels(model.outpaint(image, left=8, **QUICK))
            + pixels(model.interpolate(image, image, frames=2, **QUICK))
        )

    right = everything(pipe)
    torch.set_default_dtype(torch.float64)
    try:
        loaded = Pipeline.from_pretrained("fashion-mnist")
        assert torch.get_default_dtype() == torch.float64
        assert {p.dtype for p in [*loaded.denoiser.parameters(), *loaded.tokenizer.parameters()]} == {
            torch.float32
        }
        assert everything(loaded) == everything(pipe) == right
    finally:
        torch.set_default_dtype(torch.float32)


def test_loading_leaves_the_generators_alone_here_too():
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    Pipeline.from_pretrained("fashion-mnist")
    assert torch.equal(torch.rand(3), expected[0]) and (random.random(), np.random.rand()) == expected[1:]
