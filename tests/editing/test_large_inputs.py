"""Large inputs: repaints over thousands of windows, and logs of many steps."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from d3pm_image.config import ConfigError
from d3pm_image.diagnostics.run import read_log
from d3pm_image.editing import repaint
from d3pm_image.editing.sliding import counts, starts, window_order
from d3pm_image.pipeline import Pipeline

pytestmark = pytest.mark.integration  # seconds each


def order_by_the_rule(unknown: torch.Tensor, size: tuple[int, int]) -> list[tuple[int, int]]:
    """The window with the fewest unknown cells, of those that have any, again and again; all counted anew every time."""
    left, order = unknown.clone(), []
    rows, columns = (
        torch.tensor(starts(length, side)) for length, side in zip(unknown.shape, size, strict=True)
    )
    while bool(left.any()):
        cells = counts(left, rows, columns, size)
        best = int(torch.where(cells > 0, cells, size[0] * size[1] + 1).argmin())
        row, column = int(rows[best // len(columns)]), int(columns[best % len(columns)])
        order.append((row, column))
        left[row : row + size[0], column : column + size[1]] = False
    return order


def test_the_order_of_windows_is_that_of_the_rule():
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        size = tuple(int(side) for side in torch.randint(1, 9, (2,), generator=generator))
        shape = [side + int(torch.randint(0, 25, (1,), generator=generator)) for side in size]
        unknown = torch.rand(shape, generator=generator) < float(torch.rand(1, generator=generator))
        assert window_order(unknown, size) == order_by_the_rule(unknown, size)


def test_thousands_of_windows_are_ordered_in_seconds():
    """A box of 3000 by 2000 pixels is 5766 windows; counting all cells anew for each takes a minute or more."""
    order = window_order(torch.ones(250, 375, dtype=torch.bool), (8, 8))
    assert len(order) == 5766 and len(set(order)) == 5766


def test_many_windows_show_a_bar_with_the_time_left(capsys):
    pipe = Pipeline.from_pretrained("eurosat")
    image, mask = Image.new("RGB", (320, 320), "green"), np.ones((320, 320), bool)
    pipe.inpaint(image, mask, window="tiles", steps=1)
    err = capsys.readouterr().err
    assert "encoding" in err and "drawing" in err and "/81 [" in err
    pipe.inpaint(image.crop((0, 0, 128, 128)), mask[:128, :128], window="tiles", steps=1)
    assert capsys.readouterr().err == "", "few windows need none"


def test_what_memory_may_not_hold_is_refused_before_it_is_made():
    pipe = Pipeline.from_pretrained("eurosat")
    image = Image.new("1", (9000, 9000))
    with pytest.raises(ConfigError, match=r"^window='tiles': works on 9000x9000 pixels at once"):
        pipe.vary(image, window="tiles", steps=1)
    small = np.zeros((9000, 9000), bool)
    small[:40, :40] = True
    assert repaint.region_of(pipe, repaint.InpaintConfig(window="tiles"), small).canvas == (72, 72)


def test_the_bar_is_of_the_windows_of_all_groups():
    from d3pm_image.editing.sliding import expect

    bar = tqdm(file=io.StringIO())
    expect(bar, 10)
    bar.update(10)
    expect(bar, 5)
    assert (bar.n, bar.total) == (10, 15)


def test_a_long_log_is_read_line_by_line(tmp_path):
    """Ten times less memory than all of every line: 3.1 GB were 0.3 GB for a million lines."""
    names = [f"measure_{number}" for number in range(20)]
    with (tmp_path / "log.jsonl").open("w") as file:
        for step in range(1, 20_001):
            line = {
                "step": step,
                "loss": 1 / step,
                "grad_norm": 0.1 * step,
                "bound_nats": 0.5 / step,
                "data_wait": 0.01 * step,
            }
            file.write(json.dumps(line | dict.fromkeys(names, step / 7)) + "\n")
        file.write('{"step": 20000, "val_score": 0.5}\nno line\n{"step": 20001, "lo')
    tracemalloc.start()
    log = read_log(tmp_path / "log.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(log.steps) == 20_000 and log.steps[6] == {"step": 7, "loss": 1 / 7, "grad_norm": 0.7000000000000001, "bound_nats": 0.5 / 7, "data_wait": 0.07}  # fmt: skip
    assert log.validations == [{"step": 20000, "val_score": 0.5}] and log.damaged == [20_002]
    assert peak < 20_000 * 600


def test_a_line_without_an_end_is_read_in_pieces(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1.0}\n' + "x" * 3_000_000)
    tracemalloc.start()
    log = read_log(tmp_path / "log.jsonl")
    assert tracemalloc.get_traced_memory()[1] < 12_000_000
    tracemalloc.stop()
    assert len(log.steps) == 1
