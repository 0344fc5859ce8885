"""Curves: every series of a search, whatever its values, and of a run."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from d3pm_image.sampling import SAMPLERS
from d3pm_image.visualization import curves


def test_charts_show_every_series():
    assert curves.best_line([(8, 2), (4, 5), (8, 1), (4, 6)], True) == [(4, 5), (8, 1)]
    series = {name: [(2.0**n, n + i), (2.0**n, n + i + 0.5)] for i, name in enumerate(SAMPLERS) for n in (3,)}
    image = curves.draw_chart(series, "title", "x", "y", True, (8.0, 3.0))
    colours = {colour for _, colour in image.getcolors(10**6)}
    assert {tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in curves.COLOURS[: len(series)]} <= colours
    assert image.size == curves.SIZE


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [-2.0, 5e4], [1e-6, 2e-6]])
def test_charts_of_any_values(values):
    assert (
        curves.draw_chart({"a": [(2.0**n, v) for n, v in enumerate(values)]}, "", "", "").size == curves.SIZE
    )


def test_a_run_shows_its_loss_and_held_out_measure(tmp_path):
    assert curves.training_curves(tmp_path) is None
    lines = [{"step": n, "loss": 1 / n} for n in range(1, 9)] + [{"step": 8, "loss": float("nan")}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    alone = Image.open(curves.training_curves(tmp_path)).convert("RGB")
    held_out = [{"step": n, "val_score": n} for n in (4, 8)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, [*lines, *held_out])))
    both = Image.open(curves.training_curves(tmp_path)).convert("RGB")
    second = tuple(int(curves.COLOURS[1][i : i + 2], 16) for i in (1, 3, 5))
    assert [second in {c for _, c in image.getcolors(10**6)} for image in (alone, both)] == [False, True]
