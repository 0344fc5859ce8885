"""A GPU that decides by itself which steps change nothing gives what a processor that looks at every loss gives;
and nothing in a step waits for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from helpers.denoisers import denoiser_task
from helpers.trainers import batch_of, trainer
from torch.utils._python_dispatch import TorchDispatchMode

from d3pm_image.training import skipping
from d3pm_image.training.skipping import settle
from d3pm_image.training.trainer import TrainingError

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


@pytest.fixture
def counting(monkeypatch):
    """Makes trainers that let the device count, as on a GPU."""

    def make(*arguments, **settings):
        monkeypatch.setattr(skipping, "DEVICES", ("cpu",))
        made = trainer(*arguments, **settings)
        monkeypatch.undo()
        assert made.tally is not None
        return made

    return make


def spoiled(step: int, at: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A batch, with a NaN in it at some steps."""
    batch = batch_of(step)
    if step in at:
        batch = {k: v.clone() for k, v in batch.items()}
        next(v for v in batch.values() if v.is_floating_point()).view(-1)[0] = float("nan")
    return batch


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_the_device_skips_the_steps_that_a_processor_skips(tmp_path, counting, optimizer, clip, capsys):
    """Weights and moments to the bit, averages but for rounding, counts and messages."""
    settings = {"optimizer": optimizer, "clip": clip, "ema": 0.9, "max_skips": 2}
    looking, lagging = trainer(tmp_path / "a", **settings), counting(tmp_path / "b", **settings)
    assert looking.tally is None
    for run in (looking, lagging):
        for step in range(9):
            run.step(spoiled(step, (3, 4, 7)))
    assert lagging.progress.skipped == 0  # nobody has asked
    capsys.readouterr()
    settle(lagging)
    assert "3 of the steps before 9" in capsys.readouterr().err
    assert (lagging.progress.skipped, lagging.progress.skipped_in_a_row) == (3, 0)
    for run in (looking, lagging):
        run.save()
    (_, state), (_, same) = (skipping.ckpt.load_checkpoint(_last(tmp_path / n)) for n in "ab")
    kept, found = (skipping.ckpt.load_checkpoint(_last(tmp_path / n))[0] for n in "ab")
    assert {k: state[k] for k in ("step", "skipped", "skipped_in_a_row")} == {
        k: same[k] for k in ("step", "skipped", "skipped_in_a_row")
    }
    for part in ("model", "optimizer"):
        assert kept[part].keys() == found[part].keys()
        assert all(torch.equal(kept[part][n], found[part][n]) for n in kept[part]), part
    assert int(kept["ema"]["n_averaged"]) == int(found["ema"]["n_averaged"]) == 6
    for name, value in kept["ema"].items():
        torch.testing.assert_close(found["ema"][name], value)


def _last(folder):
    return skipping.ckpt.checkpoints(folder / "checkpoints")[-1]


def test_too_many_in_a_row_stop_a_run_when_they_are_read(tmp_path, counting):
    run = counting(tmp_path, max_skips=2)
    for step in range(8):
        run.step(spoiled(step, (2, 3, 4)))  # good ones follow: the three are known all the same
    with pytest.raises(TrainingError, match=r"3 of the steps before 8, 3 in a row: training stopped"):
        settle(run)


def test_a_resumed_run_goes_on_counting(tmp_path, counting):
    run = counting(tmp_path)
    for step in range(4):
        run.step(spoiled(step, (1, 3)))
    run.save()
    again = counting(tmp_path)
    assert again.restore() and again.progress.skipped == 2
    for step in range(4, 7):
        again.step(spoiled(step, (4,)))
    settle(again)
    assert (again.progress.skipped, again.progress.skipped_in_a_row) == (3, 0)


def test_a_checkpoint_waits_for_a_loss_that_is_good(tmp_path, counting):
    run = counting(tmp_path)
    for step in range(3):
        run.step(batch_of(step))
    run.due = True
    run.step(spoiled(3, (3,)))
    assert not (tmp_path / "checkpoints").exists() and run.due
    run.step(batch_of(4))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


class Waits(TorchDispatchMode):
    """Notes what would wait for a GPU: values that Python reads, and shapes that depend on values."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool
            for a in args
            if isinstance(a, (list, tuple))
            for i in a
        )
        if name.lstrip("_") in [n.lstrip("_") for n in self.names] or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_no_step_of_a_denoiser_waits(tmp_path, counting):
    """With the loss, metrics and noise of a real run, Muon and averages."""
    task, batch = denoiser_task()
    run = counting(tmp_path, task=task, optimizer="muon", ema=0.9)
    run.step(batch(0))
    run.step(batch(1))
    with Waits() as waits:
        run.step(batch(2))
    # the averages' count, on the processor wherever the network is
    assert waits.found == ["_local_scalar_dense"]
    with Waits() as waits:
        float(run.loss)
    assert waits.found


def test_a_device_counts_alone_where_nothing_else_has_to_look(monkeypatch):
    """A sharded network, and fp16, whose scaler looks itself, wait for every step."""
    accelerator = SimpleNamespace(device=torch.device("cpu"))

    def of(**settings):
        known = {"fsdp": False, "mixed_precision": "no"} | settings
        return skipping.Tally.of(SimpleNamespace(**known), accelerator)

    assert of() is None, "a processor looks at every step"
    monkeypatch.setattr(skipping, "DEVICES", ("cpu",))
    assert of() is not None and of(mixed_precision="bf16") is not None
    assert of(fsdp=True) is None and of(mixed_precision="fp16") is None


def test_a_good_step_after_a_checkpoint_ends_its_doubt(tmp_path, counting):
    run = counting(tmp_path, max_skips=3)
    run.step(batch_of(0))
    run.doubted, run.saved_step = tmp_path / "checkpoint", run.progress.step
    settle(run)
    assert run.doubted is not None, "no step was taken since"
    run.step(spoiled(1, (1,)))
    settle(run)
    assert run.doubted is not None and run.progress.skipped_in_a_row == 1, "the step moved nothing"
    run.step(spoiled(2, (2,)))
    settle(run)
    assert run.progress.skipped_in_a_row == 2, "counting goes on from what was read"
    run.step(batch_of(3))
    settle(run)
    assert run.doubted is None and (run.progress.skipped, run.progress.skipped_in_a_row) == (2, 0)
