"""Pipelines in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_context

from d3pm_image import Pipeline

QUICK = {"steps": 2}


def pixels(images) -> list[bytes]:
    flat = [i for one in images for i in (one if isinstance(one, list) else [one])]
    return [i.tobytes() for i in flat]


def drawn(pipe: Pipeline) -> list[bytes]:
    return pixels(pipe.generate(2, **QUICK))


def test_a_pipeline_can_be_sent_to_a_spawned_process(pipe):
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(drawn, (pipe,)) == drawn(pipe)


STATE = """
import random, warnings, numpy as np, torch
def state():
    return (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(), torch.get_num_threads(),
            torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.is_grad_enabled(), torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark)
before = state()
from d3pm_image import Pipeline
pipe = Pipeline.from_pretrained("eurosat")
print([a == b for a, b in zip(before, state())])
pipe.generate(1, steps=2)
print([a == b for a, b in zip(before, state())])
"""


def test_loading_and_drawing_leave_global_state_alone():
    """In a process of its own, so that the first import counts."""
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str([True] * 11)] * 2, done.stdout
