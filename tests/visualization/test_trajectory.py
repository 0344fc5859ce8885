"""What a recorder keeps of a decode, what is read from it, and the images: masks are grey, nothing of a later step shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.asking import asked
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import SamplerStep
from d3pm_image.sampling.state import ImageStreams
from d3pm_image.visualization import Recorder, Trajectory, reveals, save_trajectory, sheet_path
from d3pm_image.visualization.animation import animation_frames
from d3pm_image.visualization.code_images import GREY, code_colours, decoded_tiles, fill_masks
from d3pm_image.visualization.contact_sheet import (
    RAMP,
    REMASKED,
    REPLACED,
    STILL,
    contact_sheet,
    order_map,
    ramp,
)

K = 16
MASK = -1  # of the tables below; a trajectory holds any code there


def table(*rows: list[int]) -> Trajectory:
    """A trajectory of one image from its grids, a row a frame."""
    x = torch.tensor(rows)[:, None]
    return Trajectory(torch.where(x == MASK, K, x), x == MASK)


def recorded(
    steps: int,
    grid: tuple[int, int],
    images: int = 2,
    share: float = 0.2,
    sampler: str = "ancestral",
    **settings,
) -> Trajectory:
    """What a recorder sees of a decode by a network that knows nothing."""
    process, recorder = Process(K, ConstantShare("linear", share), 0), Recorder()
    labels, config = (
        torch.zeros(images, dtype=torch.long),
        asked(sampler=sampler, steps=steps, callback=recorder, **settings),
    )
    streams = ImageStreams(1, range(images))
    sample(lambda x_t, *rest: torch.zeros(*x_t.shape, K), process, config, labels, 0, grid, streams)
    return recorder.trajectory()


def blocks(channels: int, side: int = 4):
    """A decoder whose cells do not mix: code k is a flat square of brightness k / (K - 1)."""

    def decode(codes: torch.Tensor) -> torch.Tensor:
        assert int(codes.min()) >= 0 and int(codes.max()) < K
        flat = codes.float().repeat_interleave(side, 1).repeat_interleave(side, 2) / (K - 1)
        return flat[:, None].expand(-1, channels, -1, -1)

    return decode


def test_the_first_images_are_kept_whatever_the_batches():
    whole, parts = Recorder(5), Recorder(5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(K + 1, (3, 9, 4), generator=generator)  # frames, images, tokens

    def show(recorder, rows):
        for step in range(3):
            recorder(SamplerStep(step, 2, x[step, rows], x[step, rows] == K, step))

    show(whole, slice(0, 9))
    for start in range(0, 9, 2):
        show(parts, slice(start, start + 2))
    for recorder in (whole, parts):
        trajectory = recorder.trajectory()
        assert torch.equal(trajectory.codes, x[:, :5]) and torch.equal(trajectory.masked, x[:, :5] == K)
    with pytest.raises(ConfigError, match="recorded decode"):
        Recorder().trajectory()


def test_a_batch_that_ends_early_stays_as_it_ended():
    recorder = Recorder()
    for batch, frames in ((0, 2), (1, 4)):
        for step in range(frames):
            x = torch.full((1, 3), 4 * batch + step)
            recorder(SamplerStep(step, 3, x, x == K, step))
    assert recorder.trajectory().codes[:, :, 0].tolist() == [[0, 4], [1, 5], [1, 6], [1, 7]]


def test_what_happened_to_each_cell():
    #                    known, once, remasked, replaced, from noise, noise then mask
    seen = reveals(
        table(
            [5, MASK, MASK, MASK, 3, 3],
            [5, MASK, 2, 7, 3, MASK],
            [5, 1, MASK, 8, 4, MASK],
            [5, 1, 2, 8, 4, 9],
        )
    )
    assert seen.step[0].tolist() == [0, 2, 3, 1, 2, 3]
    assert seen.remasked[0].tolist() == [False, False, True, False, False, True]
    assert seen.replaced[0].tolist() == [False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("share", "settings"), [(0.0, {}), (0.3, {}), (1.0, {}), (0.3, {"sampler": "remask", "eta": 0.3})]
)
def test_a_real_decode_is_read_consistently(share, settings):
    trajectory = recorded(12, (4, 4), share=share, **settings)
    seen = reveals(trajectory)
    assert not trajectory.masked[-1].any()
    assert seen.step.min() >= 0 and seen.step.max() <= 12
    if share == 0:
        assert (seen.step > 0).all() and not seen.remasked.any() and not seen.replaced.any()
    if share == 1:
        assert not trajectory.masked.any() and torch.equal(seen.step > 0, seen.replaced)
    assert bool(seen.remasked.any()) == bool(settings)


def test_masks_are_filled_by_nearest_visible_codes_alone():
    codes = torch.tensor([[K, K, 3, K, K, 7], [K, K, K, K, K, K], [1, 2, 3, 4, 5, 6]])
    filled = fill_masks(codes, codes == K, (2, 3))
    assert filled[0].tolist() == [[3, 3, 3], [7, 7, 7]]
    assert filled[1].tolist() == [[0] * 3] * 2 and torch.equal(filled[2].flatten(), codes[2])
    assert int(codes[0, 0]) == K  # not written to
    generator = torch.Generator().manual_seed(0)
    for grid in ((1, 1), (1, 9), (5, 2), (6, 6)):
        x = torch.randint(K, (20, grid[0] * grid[1]), generator=generator)
        masked = torch.rand(x.shape, generator=generator) < 0.8
        filled = fill_masks(x.masked_fill(masked, K), masked, grid).flatten(1)
        assert torch.equal(filled[~masked], x[~masked]) and int(filled.max()) < K
        place = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).view(-1, 2).float()
        away = torch.cdist(place, place, p=1)
        for image, hidden in zip(filled, masked, strict=True):
            for cell in hidden.nonzero()[:, 0].tolist() if not bool(hidden.all()) else []:
                visible = (~hidden).nonzero()[:, 0]
                nearest = visible[away[cell, visible] == away[cell, visible].min()]
                assert image[cell] in image[nearest]


@pytest.mark.parametrize("channels", [1, 3])
def test_masked_cells_are_grey_and_the_others_as_decoded(channels):
    codes = torch.tensor([[K, 15, 0, K, 2, K]])
    tile = decoded_tiles(codes, codes == K, (2, 3), blocks(channels))[0]
    assert tile.mode == ("L" if channels == 1 else "RGB") and min(tile.size) >= 96
    pixels = np.asarray(tile).reshape(tile.height, tile.width, -1)[..., 0]
    side = tile.height // 2
    middle = [int(pixels[r * side + side // 2, c * side + side // 2]) for r in range(2) for c in range(3)]
    assert middle == [GREY, 255, 0, GREY, 34, GREY]


def test_nothing_of_a_later_step_shows():
    """The images of the first steps are the same whatever comes after them."""
    seen = table([MASK] * 4, [MASK, 3, MASK, MASK], [5, 3, MASK, MASK], [5, 3, 1, 2])
    other = table([MASK] * 4, [MASK, 3, MASK, MASK], [5, 3, MASK, MASK], [9, 3, 8, 7])
    for a, b in list(zip(*(animation_frames(t, (2, 2), blocks(1)) for t in (seen, other)), strict=True))[:3]:
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_every_code_has_a_colour_of_its_own():
    colours = code_colours(np.arange(4096))
    assert colours.shape == (4096, 3) and len(np.unique(colours, axis=0)) > 4080
    assert np.array_equal(code_colours(np.array([[7, 300]]))[0], colours[[7, 300]])
    few = colours[:24].astype(int)
    distance = np.abs(few[:, None] - few[None]).sum(-1) + 999 * np.eye(24, dtype=int)
    assert distance.min() >= 40
    assert (colours.max(-1) - colours.min(-1)).min() > 25  # none is the grey of a mask


def test_the_order_runs_from_dark_to_bright():
    brightness = [sum(ramp(share)) for share in np.linspace(0, 1, 33)]
    assert brightness == sorted(brightness) and ramp(0) == tuple(RAMP[0]) and ramp(1) == tuple(RAMP[-1])


def test_the_map_shows_order_marks_and_cells_that_were_known():
    trajectory = table([5, MASK, MASK, MASK], [5, 1, 2, 7], [5, 1, MASK, 8], [5, 1, 2, 8])
    image = order_map(reveals(trajectory), 0, (2, 2), 3, 40)

    def cell(number: int) -> set[tuple[int, ...]]:
        x, y = number % 2 * 40, number // 2 * 40
        return {tuple(p) for p in np.asarray(image)[y : y + 39, x : x + 39].reshape(-1, 3)}

    assert cell(0) == {STILL}
    assert ramp(0) in cell(1) and not {REMASKED, REPLACED} & cell(1)
    assert ramp(1) in cell(2) and REMASKED in cell(2) and REPLACED not in cell(2)
    assert ramp(0) in cell(3) and REPLACED in cell(3) and REMASKED not in cell(3)


@pytest.mark.parametrize("ending", ["gif", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_files(tmp_path, ending, channels):
    trajectory = recorded(6, (3, 5), images=3)
    path = tmp_path / "new" / f"decode.{ending}"
    sheet = save_trajectory(trajectory, path, (3, 5), blocks(channels), 80, "a title", {"seed": 1})
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, "decode-sheet.png"])
    assert sheet == sheet_path(path)
    durations = []
    with Image.open(path) as animation:
        assert animation.n_frames == 7 and animation.width > 3 * animation.height / 2
        for number in range(7):
            animation.seek(number)
            animation.load()
            durations.append(animation.info["duration"])
        assert animation.info["loop"] == 0
    assert durations == [80] * 6 + [1500]
    with Image.open(sheet) as image:
        assert json.loads(image.text["d3pm_image"]) == {"seed": 1}


@pytest.mark.parametrize(("grid", "steps"), [((1, 1), 1), ((28, 28), 3), ((2, 9), 30), ((1, 40), 5)])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_any_grid_and_number_of_steps(grid, steps, share):
    sheet = contact_sheet(
        recorded(steps, grid, images=1, share=share), grid, blocks(3, 1 if grid == (28, 28) else 4)
    )
    assert sheet.mode == "RGB" and 300 < sheet.width < 5000 and sheet.height > 200


def test_long_decodes_are_thinned_out():
    trajectory = recorded(300, (2, 2), images=1)
    assert len(trajectory) == 301
    assert len(animation_frames(trajectory, (2, 2), blocks(1))) == 120


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a", ".gif"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"\.gif or \.webp"):
        save_trajectory(recorded(2, (2, 2)), tmp_path / name, (2, 2), blocks(1))
    assert not list(tmp_path.iterdir())
