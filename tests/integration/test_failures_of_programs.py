"""Programs without memory, whose peers died, or whose images cannot be read: one line each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.marks import slow
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER, free_port
from PIL import Image

FULL = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


# memory is limited once everything is imported: what a command then asks for beyond that is refused by the system
LIMITED = """
import json, resource, sys
import sklearn.datasets, torch, vector_quantize_pytorch, accelerate
from d3pm_image import cli as commands
from d3pm_image.training import loop
from d3pm_image.sampling import loop as drawing
from d3pm_image.pipeline import Pipeline
torch.set_num_threads(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
commands.run(sys.argv[1], sys.argv[2:])
"""


@pytest.mark.parametrize(
    "words",
    [
        [
            "train-tokenizer",
            *TINY_TOKENIZER,
            "--train.batch_size",
            "60000",
            "--tokenizer.width",
            "64",
            "--out",
            "run",
        ],  # torch's allocator
        [
            "generate",
            "fashion-mnist",
            "--num-images",
            "4000",
            "--batch-size",
            "4000",
            "--steps",
            "2",
            "--out",
            "grid.png",
        ],
    ],
)
def test_no_memory_is_one_line(tmp_path, words):
    pytest.importorskip("sklearn")
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    last = ran.stderr.strip().splitlines()[-1]
    assert ran.returncode == 1 and "Traceback" not in ran.stderr, ran.stderr[-3000:]
    assert last.startswith(f"d3pm-image {words[0]}: error: out of memory") and "smaller batch" in last


def test_a_killed_peer_is_one_line(tmp_path):
    """Two processes without torchrun, one of them killed while both train: the other ends, in words."""
    pytest.importorskip("sklearn")
    words = [
        sys.executable,
        "-m",
        "d3pm_image",
        "train-tokenizer",
        *TINY_TOKENIZER,
        "--train.steps",
        "1000000",
        "--out",
        str(tmp_path),
    ]
    port = free_port()
    pair = [
        subprocess.Popen(
            words,
            env=ENVIRONMENT | FULL | {"RANK": r, "LOCAL_RANK": r, "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in "01"
    ]
    log, deadline = tmp_path / "log.jsonl", time.monotonic() + 200
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
        assert pair[0].poll() is None
        time.sleep(0.05)
    pair[1].send_signal(signal.SIGKILL)
    errors = pair[0].communicate(timeout=100)[1]
    pair[1].communicate()
    assert pair[0].returncode == 1 and "Traceback" not in errors, errors[-3000:]
    assert any(
        "error: another process of this run has ended" in line and "--resume true" in line
        for line in errors.splitlines()
    )


@pytest.mark.parametrize("memory_mb", [slow(0), 100])
def test_unreadable_images_and_few_vectors_are_said_in_words(tmp_path, memory_mb):
    """By the main process and by loader processes; k-means of the quantizer has fewer vectors than codes."""
    random = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for number in range(6):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(
            tmp_path / "set" / f"{number}.png"
        )
    whole = (tmp_path / "set" / "0.png").read_bytes()
    (tmp_path / "set" / "bad.png").write_bytes(whole[:300])
    data = [
        "--data.source",
        "folder",
        "--data.root",
        "set",
        "--data.channels",
        "3",
        "--data.memory_mb",
        str(memory_mb),
        "--data.image_size",
        "8",
    ]
    words = [
        "train-tokenizer",
        *TINY_TOKENIZER,
        *data,
        "--data.max_unreadable",
        "0.9",
        "--tokenizer.quantizer.num_codes",
        "512",
        "--train.steps",
        "3",
    ]
    words += ["--train.batch_size", "4", "--out", "run"]
    ran = subprocess.run(
        [sys.executable, "-m", "d3pm_image", *words],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "bad.png: cannot decode" in ran.stderr and "codes begin as copies of others" in ran.stderr
    for mark in (".py", "Warning", "WARNING", "warnings.warn", "init_embed"):
        assert mark not in ran.stderr, ran.stderr
