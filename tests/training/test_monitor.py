"""What a run leaves to look at."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from d3pm_image.training.monitor import Monitor


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_resumed_log_has_no_step_twice(tmp_path):
    first = Monitor(tmp_path, True)
    for step in (10, 20, 30):
        first.scalars(step, {"loss": 1.0 / step})
    first.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 40, "lo')  # killed while writing
    again = Monitor(tmp_path, True, first_step=20)
    again.scalars(30, {"loss": 0.5})
    again.close()
    assert [line["step"] for line in lines(tmp_path)] == [10, 20, 30]
    assert lines(tmp_path)[-1]["loss"] == 0.5


def test_other_processes_write_nothing(tmp_path):
    quiet = Monitor(tmp_path / "run", False)
    quiet.scalars(1, {"loss": 1.0})
    quiet.image(1, "samples", Image.new("L", (4, 4)))
    quiet.close()
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_scalars_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = Monitor(tmp_path, True)
    monitor.scalars(5, {"loss": 0.25, "note": "text is for the log alone"})
    monitor.image(5, "samples", Image.new("L", (6, 4), 200))
    monitor.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(5, 0.25)]
    assert len(events.Images("samples")) == 1
    with Image.open(tmp_path / "previews" / "samples-00000005.png") as image:
        assert image.size == (6, 4)
