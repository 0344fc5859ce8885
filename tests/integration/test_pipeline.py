"""Generate, inpaint, save and load, on a model trained for seconds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError
from d3pm_image.imaging import Images, enlarge
from d3pm_image.tokenizer import Autoencoder, save_tokenizer


@pytest.fixture(scope="module")
def pipe(trained):
    return Pipeline.from_pretrained(trained / "diffusion")


def arrays(images):
    return [np.asarray(i) for i in images]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


@pytest.mark.parametrize("sampler", ["confidence", "ancestral"])
def test_image_i_is_the_same_whatever_the_batch(pipe, sampler):
    everything = pipe.generate(7, labels=[3, 5], seed=4, sampler=sampler, batch_size=7)
    assert same(everything, pipe.generate(7, labels=[3, 5], seed=4, sampler=sampler, batch_size=2))
    assert same(everything[4:], pipe.generate(3, labels=[3, 5], seed=4, sampler=sampler, first=4))
    assert same(everything[:3], pipe.generate(3, labels=[3, 5], seed=4, sampler=sampler))
    assert not same(everything, pipe.generate(7, labels=[3, 5], seed=5, sampler=sampler))


def test_every_setting_is_read(pipe):
    """Each control changes the images."""
    base = pipe.generate(4, labels=3, seed=1)
    for change in (
        {"steps": 2},
        {"temperature": 3.0},
        {"guidance": 6.0},
        {"gumbel": 0.0},
        {"reveal": "linear", "steps": 7},
        {"sampler": "ancestral"},
    ):
        assert not same(base, pipe.generate(4, labels=3, seed=1, **change)), change
    assert not same(base, pipe.generate(4, labels=8, seed=1, guidance=4.0))


def test_labels(pipe):
    assert pipe.label_ids(None, 12) == [*range(10), 0, 1]
    assert pipe.label_ids("7", 2) == pipe.label_ids(7, 2) == [7, 7]
    assert pipe.label_ids([1, None], 3) == [1, 10, 1]
    for wrong in (10, -1, "eleven", [0, 99]):
        with pytest.raises(ConfigError, match="use 0 to 9 or a class name"):
            pipe.label_ids(wrong, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"num_images": 0},
        {"steps": 0},
        {"steps": 99},
        {"sampler": "magic"},
        {"temperature": 0.0},
        {"seed": -1},
    ],
)
def test_impossible_requests_name_the_field(pipe, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        pipe.generate(**{"num_images": 1, **change})


def test_save_and_load_give_the_same_images_without_pickle(pipe, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "model")
    assert same(pipe.generate(3, seed=2), Pipeline.from_pretrained(folder).generate(3, seed=2))
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".json", ".safetensors"}
    pipe.save_pretrained(folder)  # over an older one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_broken_folders_are_named(pipe, tmp_path):
    folder = pipe.save_pretrained(tmp_path / "model")
    weights = folder / "denoiser" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be read"):
        Pipeline.from_pretrained(folder)
    folder = pipe.save_pretrained(tmp_path / "swapped")
    tensors = folder / "tokenizer" / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ConfigError, match="damaged"):
        Pipeline.from_pretrained(folder)
    torch.manual_seed(0)
    save_tokenizer(Autoencoder(pipe.tokenizer.config, 1), folder / "tokenizer", 8)
    with pytest.raises(ConfigError, match="not the one that the denoiser was trained with"):
        Pipeline.from_pretrained(folder)
    (folder / "tokenizer" / "config.json").unlink()
    with pytest.raises(ConfigError, match="no tokenizer"):
        Pipeline.from_pretrained(folder)
    with pytest.raises(ConfigError, match="no such folder"):
        Pipeline.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no trained pipeline"):
        Pipeline.from_pretrained(tmp_path / "empty")
    (tmp_path / "empty" / "chosen.json").write_text("{}")
    with pytest.raises(ConfigError, match="its training is in stage one, or was interrupted there"):
        Pipeline.from_pretrained(tmp_path / "empty")


def test_the_head_runs_where_it_is_asked_to(pipe, monkeypatch):
    """The logits of wanted positions are those of the full call, all others 0, and the head sees no other position."""
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randint(pipe.denoiser.num_codes + 1, (3, 16), generator=generator)
    inputs = x_t, torch.tensor([0.2, 0.9, 1.0]).double(), torch.tensor([0, 3, 10]), pipe.grid
    rows, seen = [], pipe.denoiser.head.forward
    monkeypatch.setattr(
        pipe.denoiser.head,
        "forward",
        lambda features: (rows.append(features[..., 0].numel()), seen(features))[1],
    )
    for precision in ("float32", "bf16"):
        monkeypatch.setattr(pipe, "precision", precision)
        with torch.no_grad():
            full = pipe.predict(*inputs)
            for share in (0.0, 0.3, 1.0):
                where = torch.rand(x_t.shape, generator=generator) < share
                rows.clear()
                logits = pipe.predict(*inputs, where=where)
                assert (
                    logits.dtype == torch.float32
                    and logits.shape == full.shape
                    and rows == [-(-int(where.sum()) // 16) * 16]
                )
                torch.testing.assert_close(
                    logits[where], full[where], rtol=1e-4, atol=1e-5 if precision == "float32" else 0.05
                )
                assert not logits[~where].any()


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("sampler", ["confidence", "ancestral", "remask"])
def test_leaving_positions_out_changes_no_code(pipe, monkeypatch, sampler, guidance):
    settings = {"labels": [3, None, 8], "seed": 6, "steps": 8, "sampler": sampler, "guidance": guidance}
    mask = np.eye(8, dtype=bool)
    few, painted = (
        pipe.generate_codes(6, **settings),
        pipe.inpaint([make_image("L", (8, 8))] * 3, [mask] * 3, **settings),
    )
    predict, asked = pipe.predict, []
    monkeypatch.setattr(
        pipe,
        "predict",
        lambda x_t, kappa, labels, grid, where=None: (asked.append(1), predict(x_t, kappa, labels, grid))[1],
    )
    assert torch.equal(few, pipe.generate_codes(6, **settings)) and asked
    again = pipe.inpaint([make_image("L", (8, 8))] * 3, [mask] * 3, **settings)
    assert all(same(a, b) for a, b in zip(painted, again, strict=True))


def test_a_watch_sees_every_batch_and_changes_nothing(pipe):
    frames, request = [], {"labels": 3, "seed": 4, "steps": 5, "batch_size": 2}
    codes = pipe.generate_codes(3, callback=frames.append, **request)
    assert [f.step for f in frames] == [*range(6)] * 2 and [len(f.x_t) for f in frames] == [2] * 6 + [1] * 6
    assert torch.equal(torch.cat([frames[5].x_t, frames[11].x_t]), codes.flatten(1))
    assert frames[0].masked.all() and not frames[5].masked.any()
    assert same(pipe.generate(3, **request), pipe.generate(3, callback=frames.append, **request))

    mask, frames = np.zeros((8, 8), bool), []
    mask[:4] = True
    image = make_image("L", (8, 8))
    request["ring"] = 0
    results = pipe.inpaint(image, mask, variants=3, callback=frames.append, **request)
    assert same(results, pipe.inpaint(image, mask, variants=3, **request)) and len(frames) == 12
    assert frames[0].masked[:, :8].all() and not any(f.masked[:, 8:].any() for f in frames)
    assert all(torch.equal(f.x_t[0, 8:], frames[0].x_t[0, 8:]) for f in frames)


def make_image(mode: str, size=(23, 17), seed=0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode) if mode != "RGBA" else Image.fromarray(noise)


def test_reconstruct_gives_the_models_size(pipe):
    outputs = pipe.reconstruct([make_image("RGB", (50, 20)), make_image("L", (8, 8))])
    assert [o.size for o in outputs] == [(8, 8), (8, 8)]


def test_the_folder_remembers_the_training(trained):
    metadata = json.loads((trained / "diffusion" / "model" / "config.json").read_text())["metadata"]
    assert metadata["data"]["source"] == "digits"
    assert metadata["validation"]["bits_per_code"] > 0


def test_to_moves_and_keeps_results(pipe):
    assert pipe.to(torch.device("cpu")) is pipe


def test_every_image_may_have_a_seed_of_its_own(trained):
    """A list of seeds gives each image what its seed alone gives as the first image; a list of another length is refused."""
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    together = pipe.generate_codes(3, labels=[1], seed=[4, 9, 4], batch_size=2)
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[1], pipe.generate_codes(1, labels=[1], seed=9)[0])
    for seeds in ([1, 2], [], [1, -1, 2]):
        with pytest.raises(ConfigError, match="seed"):
            pipe.generate_codes(3, seed=seeds)


@pytest.mark.slow
def test_compiled_networks_draw_the_same_images(trained):
    plain, compiled = (Pipeline.from_pretrained(trained / "diffusion") for _ in range(2))
    compiled.compile(backend="eager")
    assert same(plain.generate(3, seed=5), compiled.generate(3, seed=5))
    assert compiled.denoiser._compiled_call_impl is not None and set(compiled.denoiser.state_dict()) == set(
        plain.denoiser.state_dict()
    )


def test_the_names_of_diffusers(pipe):
    ours = pipe.generate(3, labels=[3, 5, 3], steps=4, guidance=2.0, seed=9)
    theirs = pipe(class_labels=[3, 5, 3], num_inference_steps=4, guidance_scale=2.0, seed=9)
    assert same(ours, theirs.images)
    with pytest.raises(ConfigError, match="num_inference_steps=5: steps says 4"):
        pipe.generate(1, steps=4, num_inference_steps=5)


def test_generators_stand_for_seeds(pipe):
    first, again = (torch.Generator().manual_seed(3) for _ in range(2))
    one = pipe.generate(2, steps=2, generator=first)
    assert same(one, pipe.generate(2, steps=2, generator=again))
    assert not same(one, pipe.generate(2, steps=2, generator=first)), "a generator moves on"
    each = [torch.Generator().manual_seed(s) for s in (1, 2)]
    pair = pipe.generate(2, labels=3, steps=2, generator=each)
    assert same(pair[1:], pipe.generate(1, labels=3, steps=2, generator=[torch.Generator().manual_seed(2)]))
    with pytest.raises(ConfigError, match=r"generator=.*a seed is given as well"):
        pipe.generate(1, seed=0, generator=first)
    with pytest.raises(ConfigError, match=r"generator=.*give a torch\.Generator"):
        pipe.generate(1, generator=[5])


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_results_as_tensors_and_arrays(pipe, kind):
    images = pipe.generate(2, steps=2)
    found = torch.as_tensor(pipe.generate(2, steps=2, output_type=kind))
    found = found if kind == "pt" else found.permute(0, 3, 1, 2)
    assert found.dtype == torch.float32 and found.shape == (2, 1, 8, 8)
    for value, image in zip(found, images, strict=True):
        assert np.array_equal((value[0] * 255).round().numpy(), np.asarray(image))
    inside = np.zeros((8, 8), bool)
    inside[2:6, 2:6] = True
    edited = pipe.inpaint(images[0], inside, variants=2, output_type=kind)
    assert len(edited) == 2 and np.array_equal(
        (np.asarray(edited[0]).reshape(8, 8) * 255).round()[~inside], np.asarray(images[0])[~inside]
    )
    assert len(pipe.interpolate(*images, frames=3, output_type=kind)) == 3
    with pytest.raises(ConfigError, match="output_type='jpg': use pil, pt or np"):
        pipe.generate(1, output_type="jpg")


def test_images_are_a_list_that_a_notebook_shows_as_one_sheet(pipe):
    images = pipe.generate(7, steps=2)
    assert isinstance(images, list) and images == list(images) and images[:2] == [images[0], images[1]]
    sheet = Image.open(io.BytesIO(images._repr_png_()))
    assert sheet.format == "PNG" and sheet.width > 2 * 64 and sheet.height > 2 * 64
    inside = np.zeros((8, 8), bool)
    inside[2:6, 2:6] = True
    variants = pipe.inpaint(images, inside, variants=2, steps=2)[1]
    assert (
        Image.open(io.BytesIO(variants._repr_png_())).width
        > Image.open(io.BytesIO(variants._repr_png_())).height
    )
    first = np.asarray(enlarge(images[0]))
    found = np.asarray(Image.open(io.BytesIO(Images(images[:1])._repr_png_())))
    assert np.array_equal(found[2:-2, 2:-2], first)
    large = Images([Image.new("RGBA", (3000, 1500)), Image.new("L", (3000, 1500))])
    assert Image.open(io.BytesIO(large._repr_png_())).size == (2 * 514 + 2, 256 + 4)
    assert Images()._repr_png_() is None and Images([*images, Image.new("L", (9, 8))])._repr_png_() is None


def test_callback_after_every_step_and_progress_bar(pipe, capsys):
    seen = []
    pipe.generate(
        3,
        steps=4,
        batch_size=2,
        callback_on_step_end=lambda p, step, steps, found: seen.append(
            (p, step, steps, found["codes"].shape)
        ),
    )
    assert [step for _, step, _, _ in seen] == [0, 1, 2, 3] * 2
    assert all(p is pipe and steps == 4 for p, _, steps, _ in seen)
    assert [tuple(shape) for *_, shape in seen[::4]] == [(2, 16), (1, 16)]
    assert "4/4" not in capsys.readouterr().err
    pipe.enable_progress_bar()
    pipe.generate(1, steps=4)
    assert "4/4" in capsys.readouterr().err
    pipe.enable_progress_bar(False)


def test_every_sampler_setting_is_a_typed_argument():
    from dataclasses import fields

    from d3pm_image.config import SamplingConfig
    from d3pm_image.keywords import GenerationOptions

    assert {field.name for field in fields(SamplingConfig)} <= GenerationOptions.__annotations__.keys()


def test_precision_by_dtype(pipe):
    assert pipe.to(torch.bfloat16).precision == "bf16"
    assert pipe.to("cpu", torch.float32).precision == "float32"
    with pytest.raises(ConfigError, match=r"dtype=torch\.float16"):
        pipe.to(dtype=torch.float16)


def test_a_pipeline_says_what_it_is(pipe):
    text = repr(pipe)
    assert text.startswith("Pipeline(8x8, 4x4 codes of 32, 10 classes, confidence, 4 steps, float32 on cpu")
