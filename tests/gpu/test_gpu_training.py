"""Training on a GPU: nothing waits, what is stopped goes on, compiled and recomputed networks learn the same."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from helpers.code_caches import images
from helpers.denoisers import denoiser_task
from helpers.trainers import trainer

from d3pm_image import train_diffusion, train_tokenizer
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.training.monitor import read_lines
from d3pm_image.training.skipping import settle

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


@contextlib.contextmanager
def no_waiting():
    """torch raises where something waits for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_no_step_waits(gpu, tmp_path, share, optimizer):
    task, batch = denoiser_task(share)
    run = trainer(tmp_path, task=task, optimizer=optimizer, ema=0.9)
    there = [{k: v.to(gpu) for k, v in batch(step).items()} for step in range(6)]
    for step in (0, 1):
        run.step(there[step])
    with no_waiting():
        for step in (2, 3, 4):
            run.step(there[step])
    settle(run)
    assert run.progress.skipped == 0 and bool(torch.isfinite(run.loss))


def test_a_spoiled_step_changes_nothing(gpu, tmp_path):
    task, batch = denoiser_task()
    run = trainer(tmp_path, task=task, optimizer="muon", ema=0.9)
    run.step({k: v.to(gpu) for k, v in batch(0).items()})
    run.step({k: v.to(gpu) for k, v in batch(1).items()})
    before = {n: p.detach().clone() for n, p in run.task.model.named_parameters()}
    real = task.loss
    object.__setattr__(task, "loss", lambda *a: (real(*a)[0] * float("nan"), {}))
    run.step({k: v.to(gpu) for k, v in batch(2).items()})
    settle(run)
    assert run.progress.skipped == 1
    assert all(torch.equal(p, before[n]) for n, p in run.task.model.named_parameters())


def test_data_that_lie_there_come_without_waiting(gpu):
    there = images().on_device(gpu)
    assert there is not None and there.rows.device.type == gpu.type
    order = BatchOrder(len(there.labels), 5, 1, 0, 7)
    with no_waiting():
        found = [batch["images"] for batch in there.batches(order)]
    expected = [batch["images"] for batch in batches(images(), order, 0)]
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("compile", ["false", "true", "reduce-overhead"])
def test_a_run_of_both_stages(gpu, tmp_path, compile):
    """From images to samples."""
    if compile != "false" and gpu.type == "cpu":
        pytest.skip("compiling is tested elsewhere on a processor")
    data = torch.randint(0, 256, (40, 8, 8, 1), dtype=torch.uint8).numpy()
    loop = {"steps": 6, "batch_size": 8, "log_every": 1, "preview_every": 6, "checkpoint_every": 3}
    tokenizer = train_tokenizer(
        data, image_size=8, out=tmp_path / "tokenizer", train=loop,
        tokenizer={"downsampling": 2, "multipliers": [1], "width": 16,
                   "quantizer": {"name": "ema", "num_codes": 16, "code_dim": 8}},
    )  # fmt: skip
    value = {"false": False, "true": True}.get(compile, compile)
    settings = {"tokenizer": tokenizer, "denoiser": {"width": 32, "depth": 2, "heads": 2}}
    pipe = train_diffusion(data, out=tmp_path / "one", train=loop | {"compile": value}, **settings)
    lines = [line for _, line in read_lines(tmp_path / "one" / "log.jsonl") if line]
    assert all(line["loss"] > 0 for line in lines if "loss" in line)
    assert pipe.device.type == gpu.type and len(pipe.generate(4, steps=2)) == 4


def test_recomputing_gives_the_same_gradients(gpu):
    from d3pm_image.recompute import recompute_blocks

    task, batch = denoiser_task(width=64)
    there = {k: v.to(gpu) for k, v in batch(0).items()}
    found = []
    for recompute in (False, True):
        network = copy.deepcopy(task.model).to(gpu)
        if recompute:
            recompute_blocks(network)
        kappa = torch.full((6,), 0.5, device=gpu)
        network(there["codes"], kappa, there["labels"], (4, 4)).square().mean().backward()
        found.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
    plain, recomputed = found
    assert plain.keys() == recomputed.keys()
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-5, atol=1e-6)
