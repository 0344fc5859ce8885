"""Colours of a palette as codes: exact for images of the palette, hard alpha, palette files, and the palette of a folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.models import pipeline
from PIL import Image

from d3pm_image.config import (
    ConfigError,
    DataConfig,
    DenoiserConfig,
    DiffusionRun,
    ProcessConfig,
    SamplingConfig,
    palette_source,
)
from d3pm_image.denoiser import Transformer
from d3pm_image.pipeline import Pipeline
from d3pm_image.pixel_range import from_levels, to_levels
from d3pm_image.provenance.again import places
from d3pm_image.provenance.reading import read_settings
from d3pm_image.recipes.palette import folder_colours, palette_tokenizer
from d3pm_image.testing import check_tokenizer
from d3pm_image.tokenizer import Palette, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.folder import palette_of
from d3pm_image.tokenizer.palette import as_channels, chosen_colours, read_palette, start_vectors

FOUR = np.array([[0, 0, 0, 0], [255, 0, 0, 255], [10, 20, 30, 255], [250, 250, 250, 255]], np.uint8)
SOFT = np.array([[0, 0, 0, 0], [255, 0, 0, 255], [200, 100, 0, 128], [9, 8, 7, 3]], np.uint8)


def palette(colours: np.ndarray = FOUR, channels: int = 4) -> Palette:
    return Palette(as_channels(colours, channels)).eval()


def shown(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("colours", [FOUR, SOFT], ids=["hard", "soft"])
def test_images_of_the_palette_come_back_bit_for_bit(colours):
    model, codes = palette(colours), torch.randint(4, (3, 5, 7), generator=torch.Generator().manual_seed(0))
    levels = torch.from_numpy(colours)[codes].movedim(-1, 1)
    assert torch.equal(model.encode(from_levels(levels)), codes)
    assert torch.equal(to_levels(model.decode(codes)), levels)
    for image, code in zip(model.indexed(codes), codes, strict=True):
        assert image.mode == "P" and np.array_equal(np.asarray(image), code.numpy())
        assert np.array_equal(shown(image), colours[code.numpy()])


def test_all_256_entries_are_told_apart():
    generator = np.random.default_rng(0)
    colours = np.unique(generator.integers(0, 256, (400, 4)), axis=0)[:256].astype(np.uint8)
    colours = np.where(colours[:, 3:] == 0, 1, colours).astype(np.uint8)
    model = palette(colours)
    levels = torch.from_numpy(colours).T[None, :, :, None]
    assert model.encode(from_levels(levels)).flatten().tolist() == list(range(256))


def test_hard_palettes_make_alpha_hard_and_soft_ones_do_not():
    """A red pixel of alpha 127 is clear and of alpha 128 red, not the darker red that premultiplied colours are nearest to."""
    levels = torch.tensor(
        [[255, 0, 0, 127], [255, 0, 0, 128], [40, 20, 30, 200], [90, 90, 90, 0]], dtype=torch.uint8
    )
    images = from_levels(levels.T[None, :, :, None])
    assert palette().encode(images).flatten().tolist() == [0, 1, 2, 0]
    assert palette(SOFT).encode(images).flatten().tolist() == [2, 2, 2, 0]


def test_opaque_palettes_say_nothing_of_transparency():
    image = palette(FOUR[1:]).indexed(torch.tensor([[[2, 0, 1]]]))[0]
    assert "transparency" not in image.info and image.convert("RGB").getpixel((0, 0)) == (250, 250, 250)


def test_it_keeps_the_contract_of_tokenizers_and_its_folder(tmp_path):
    model, info = palette_of(as_channels(FOUR, 4), (6, 8), {"note": "Ü"})
    check_tokenizer(model, (6, 8))
    save_tokenizer(model, tmp_path / "t", (6, 8), info.metadata)
    again, read = load_tokenizer(tmp_path / "t")
    assert isinstance(again, Palette) and torch.equal(again.colours, model.colours)
    assert read == info and read.channels == 4


def test_colours_are_grey_without_colour_channels_and_alpha_needs_its_channel():
    grey = palette(np.array([[0, 0, 0, 255], [200, 200, 200, 255]], np.uint8), 1)
    assert grey.colours.tolist() == [[0], [200]]
    assert shown(grey.indexed(torch.tensor([[[1]]]))[0])[0, 0].tolist() == [200, 200, 200, 255]
    with pytest.raises(ConfigError, match=r"^palette=3: .*transparent"):
        as_channels(FOUR, 3)


def write(path, colours: np.ndarray) -> None:
    rows = colours[:, :3].tolist()
    if path.suffix == ".gpl":
        path.write_text(
            "GIMP Palette\nName: a\nColumns: 2\n# none\n"
            + "".join(f"{r:3} {g:3} {b:3}\tname\n" for r, g, b in rows)
        )
    elif path.suffix == ".hex":
        path.write_text("".join(bytes(row).hex() + "\n" for row in rows))
    elif path.suffix == ".pal":
        path.write_text(f"JASC-PAL\n0100\n{len(rows)}\n" + "".join(f"{r} {g} {b}\n" for r, g, b in rows))
    elif path.suffix == ".act":
        path.write_bytes(
            colours[:, :3].tobytes().ljust(768, b"\0") + len(rows).to_bytes(2, "big") + b"\xff\xff"
        )
    elif path.stem == "indexed":
        palette(colours).indexed(torch.arange(4)[None, None])[0].save(path)
    else:
        Image.fromarray(colours[None]).save(path)


@pytest.mark.parametrize("name", ["a.gpl", "a.hex", "a.pal", "a.act"])
def test_palette_files_are_read_in_their_order(name, tmp_path):
    write(tmp_path / name, FOUR)
    assert read_palette(tmp_path / name).tolist() == [[*colour[:3], 255] for colour in FOUR.tolist()]


@pytest.mark.parametrize("name", ["indexed.png", "a.png"])
def test_images_are_palettes_with_their_alpha(name, tmp_path):
    write(tmp_path / name, SOFT)
    found = read_palette(tmp_path / name).tolist()
    assert sorted(found) == sorted(SOFT.tolist()) and (name == "a.png" or found == SOFT.tolist())


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.hex", b"ff00zz\n"),
        ("a.gpl", b"GIMP Palette\n1 2 x\n"),
        ("a.gpl", b"GIMP Palette\n1 2 3\n0 0 300\n"),
        ("a.gpl", b"GIMP Palette\n1 2 3\n4 5\n"),
        ("a.png", b"no image"),
        ("a.hex", b"ffffff\n"),
        ("none.gpl", None),
    ],
)
def test_files_that_are_no_palette_are_named(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"^palette='"):
        read_palette(tmp_path / name)


@pytest.mark.parametrize("text", ["palette:", "palette:1", "palette:257"])
def test_impossible_numbers_of_colours_are_refused(text):
    with pytest.raises(ConfigError, match=rf"^tokenizer='{text}'"):
        palette_source(text)
    assert (
        palette_source("palette:a.gpl") == "a.gpl"
        and not palette_source("palette")
        and not palette_source("runs/palette:8")
    )
    with pytest.raises(ConfigError, match=r"^data.image_size"):
        DiffusionRun(tokenizer="palette:8", data=DataConfig(channels=4))


def folder(root, colours: np.ndarray, images: int = 8) -> DataConfig:
    generator = np.random.default_rng(0)
    root.mkdir()
    for n in range(images):
        Image.fromarray(colours[generator.integers(0, len(colours), (8, 8))]).save(root / f"{n}.png")
    return DataConfig(root=str(root), image_size=8, channels=4, val_share=0.2)


def test_a_folder_of_few_colours_keeps_them_all(tmp_path, capsys):
    data = folder(tmp_path / "images", SOFT)
    found, often = folder_colours(data)
    assert sorted(found.tolist()) == sorted(SOFT.tolist()) and int(often.sum()) % 64 == 0
    model, info = palette_tokenizer("8", data)
    assert sorted(model.colours.tolist()) == sorted(SOFT.tolist()) and info.image_size == (8, 8)
    assert "all of 4 colours" in capsys.readouterr().out


def test_more_colours_are_cut_to_the_number_and_one_is_clear(tmp_path):
    many = np.concatenate(
        [np.random.default_rng(1).integers(0, 256, (60, 3)), np.full((60, 1), 255)], 1
    ).astype(np.uint8)
    model, _ = palette_tokenizer("16", folder(tmp_path / "images", np.concatenate([many, FOUR[:1]])))
    assert 8 <= model.num_codes <= 16
    assert [0, 0, 0, 0] in model.colours.tolist() and set(model.alpha.tolist()) == {0, 255}
    assert chosen_colours(many, np.ones(60, np.int64), 16).shape[0] <= 16


def test_embeddings_start_from_the_colours():
    """Near colours begin near each other, and no two alike."""
    ramp = np.array([[n * 8, 0, 0, 255] for n in range(32)], np.uint8)
    network = Transformer(DenoiserConfig(width=64, depth=1, heads=2), 32, 0)
    assert network.start_from_codebook(start_vectors(palette(ramp)))
    apart = torch.cdist(*[network.tokens.weight.detach()[:32]] * 2)
    assert (apart[0, 1:12].diff() > 0).all() and float(apart[0, 1]) < 0.5 * float(apart[0, 12])
    assert float((apart + torch.eye(32)).min()) > 0


def model(colours: np.ndarray = FOUR, **process) -> Pipeline:
    torch.manual_seed(0)
    network = Transformer(DenoiserConfig(width=32, depth=1, heads=2, patch=2), len(colours), 0)
    torch.nn.init.normal_(network.head.weight)
    return Pipeline(
        palette(colours), network, ProcessConfig(**process), (8, 8), sampling=SamplingConfig(steps=2)
    )


@pytest.mark.parametrize(
    "process", [{}, {"kernel": "gaussian", "uniform_share": 1.0, "neighbours": 2}], ids=["hybrid", "gaussian"]
)
def test_new_images_are_indexed_and_lie_in_the_palette(process, tmp_path):
    pipe = model(**process)
    pipe.save_pretrained(tmp_path / "m")
    again = Pipeline.from_pretrained(tmp_path / "m")
    images = again.generate(6, seed=3, sampler="ancestral")
    assert {image.mode for image in images} == {"P"}
    assert all((shown(image)[:, :, None] == FOUR).all(-1).any(-1).all() for image in images)
    images[0].save(tmp_path / "a.png")
    assert np.array_equal(shown(Image.open(tmp_path / "a.png")), shown(images[0]))
    arrays = again.generate(6, seed=3, sampler="ancestral", output_type="np")
    assert np.array_equal((arrays * 255).round().astype(np.uint8), np.stack([shown(i) for i in images]))
    assert all(
        np.array_equal(shown(a), shown(b)) for a, b in zip(images, again.reconstruct(images), strict=True)
    )


def test_other_colours_for_the_same_codes(tmp_path):
    """Of generated images: the same codes; another number of colours, or a model of other codes, is refused."""
    from d3pm_image.cli.generate import main

    model().save_pretrained(tmp_path / "m")
    codes, other = model().generate_codes(2, seed=1), FOUR[::-1].copy()
    palette(other).indexed(torch.arange(4)[None, None])[0].save(tmp_path / "other.png")
    asked = [str(tmp_path / "m"), "--num-images", "2", "--seed", "1", "--device", "cpu", "--palette"]
    main([*asked, str(tmp_path / "other.png"), "--out", str(tmp_path / "new")])
    for path, code in zip(sorted((tmp_path / "new").glob("*.png")), codes, strict=True):
        image = Image.open(path)
        assert image.mode == "P" and np.array_equal(shown(image), other[code.numpy()])
    with pytest.raises(ConfigError, match=r"colours of a file"):
        path = next((tmp_path / "new").glob("*.png"))
        places(str(path), read_settings(path), "", "")
    write(tmp_path / "few.hex", FOUR[:3])
    with pytest.raises(ConfigError, match=r"^palette=3: .*4"):
        main([*asked, str(tmp_path / "few.hex"), "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match=r"^palette=.*palette model"):
        pipeline().recolour(tmp_path / "other.png")


def drawing(size: tuple[int, int]) -> Image.Image:
    """Colours that are not the palette's, with soft alpha."""
    return Image.fromarray(np.random.default_rng(2).integers(0, 256, (*size, 4), dtype=np.uint8))


@pytest.mark.parametrize("window", ["whole", "crop", "tiles"])
@pytest.mark.parametrize("size", [(8, 8), (20, 13)])
def test_what_is_painted_lies_in_the_palette_and_the_rest_stays(window, size):
    image, mask = drawing(size), np.zeros(size, bool)
    mask[2:6, 3:8] = True
    results = model().inpaint(image, mask, window=window, variants=2, sampler="ancestral")
    for result in results:
        before, after = np.asarray(image), np.asarray(result)
        assert result.mode == "RGBA" and np.array_equal(before[~mask], after[~mask])
        assert (after[mask][:, None] == FOUR).all(-1).any(-1).all()


def test_indexed_images_stay_indexed_in_their_palette():
    image = palette().indexed(torch.randint(4, (1, 8, 8), generator=torch.Generator().manual_seed(5)))[0]
    mask = np.zeros((8, 8), bool)
    mask[:5, 2:] = True
    result = model().inpaint(image, mask, sampler="ancestral")[0]
    assert result.mode == "P" and np.array_equal(np.asarray(result)[~mask], np.asarray(image)[~mask])
    assert (shown(result)[:, :, None] == FOUR).all(-1).any(-1).all()


def test_soft_seams_would_leave_the_palette():
    with pytest.raises(ConfigError, match=r"^feather=2"):
        model().inpaint(drawing((8, 8)), np.ones((8, 8), bool), feather=2)


def test_palettes_with_alpha_a_mark_in_front_or_a_colour_twice(tmp_path):
    (tmp_path / "a.gpl").write_text("GIMP Palette\nChannels: RGBA\n#\n255 0 0 255 red\n0 0 0 0\n")
    assert read_palette(tmp_path / "a.gpl").tolist() == [[255, 0, 0, 255], [0, 0, 0, 0]]
    (tmp_path / "a.hex").write_bytes(b"\xef\xbb\xbfff0000\n00ff00\nff0000\n")
    assert len(read_palette(tmp_path / "a.hex")) == 2
    assert read_palette(tmp_path / "a.hex", repeats=True)[:, 0].tolist() == [255, 0, 255]
