"""Loader processes where /dev/shm is small, full or not there, that are stuck, die, or meet an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.numbered_batches import ORDER, Numbers
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.data import workers
from d3pm_image.data.order import batches

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def same(found, expected) -> bool:
    return len(found) == len(expected) and all(
        torch.equal(a[k], b[k]) for a, b in zip(found, expected, strict=True) for k in b
    )


def test_batches_through_pipes_are_those_through_shared_memory(monkeypatch):
    expected = list(batches(Numbers(), ORDER, 0))
    assert same(list(batches(Numbers(), ORDER, 2)), expected)
    monkeypatch.setattr(workers, "SHARED_MEMORY", Path("/no/such/folder"))
    assert not workers.has_room(expected[0], 2)
    found = list(batches(Numbers(), ORDER, 2))
    assert same(found, expected) and all(batch["images"].numpy().flags.writeable for batch in found)


SMALL = "from d3pm_image.data.order import batches; from helpers.numbered_batches import Numbers, ORDER; got = list(batches(Numbers(), ORDER, 2)); print(len(got), sum(int(b['index'].sum()) for b in got))"


@pytest.mark.parametrize(
    "mount, said",
    [
        ("mount -t tmpfs -o size=256k tmpfs /dev/shm", ""),  # a batch has 256 KB
        (
            "mount -t tmpfs -o size=64k tmpfs /dev/shm; head -c 64K /dev/zero > /dev/shm/full",
            "as with --data.workers 0",
        ),  # no semaphore, even
        ("mount -t tmpfs -o ro,size=64m tmpfs /dev/shm", "as with --data.workers 0"),
    ],
)
def test_a_small_full_or_closed_shared_memory_is_no_obstacle(mount, said):
    """Case small_dev_shm: real mounts, in a name space of their own."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts need a name space of one's own")
    words = ["unshare", "-rm", "bash", "-c", f'{mount}; exec "$0" -c "$1"', sys.executable, SMALL]
    ran = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.stdout.split() == ["8", "240"], ran.stderr[-3000:]  # two passes over 0..15
    assert said in ran.stderr and "Traceback" not in ran.stderr


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_helpers_that_give_nothing_are_waited_for_within_a_limit(monkeypatch):
    monkeypatch.setattr(workers, "LIMIT_S", 3.0)
    monkeypatch.setattr(workers, "LOOK_S", 1.0)
    before = children(os.getpid())
    began, found = time.monotonic(), []
    with pytest.raises(
        workers.LoaderError, match=r"no batch came from 2 loader processes.*/dev/shm.*--data\.workers 0"
    ):
        found.extend(batches(Numbers("stuck"), ORDER, 2))
    assert time.monotonic() - began < 60
    assert set(children(os.getpid())) <= set(before), "a helper is left"


@pytest.mark.parametrize(
    "fault, kind, text",
    [("setting", ConfigError, "data.root='x': not one"), ("disk", OSError, r"\[Errno 5\] Input")],
)
def test_errors_in_helpers_keep_their_kind_and_text(fault, kind, text):
    with pytest.raises(kind, match=text) as error:
        list(batches(Numbers(fault), ORDER, 2))
    assert "Traceback" not in str(error.value)


@pytest.mark.slow
def test_helpers_that_die_again_and_again_end_the_run_in_words(monkeypatch):
    monkeypatch.setattr(Numbers, "__getitems__", lambda self, keys: os._exit(1))
    with pytest.raises(workers.LoaderError, match=r"died 3 times at step 0 .*/dev/shm.*--data\.workers 0"):
        list(batches(Numbers(), ORDER, 1))


def test_a_signal_while_helpers_are_stuck_saves_and_ends(tmp_path):
    """SIGTERM to a training whose loader processes do not answer: at once, with a checkpoint, and nobody is left."""
    random = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for number in range(20):
        Image.fromarray(random.integers(0, 255, (8, 8), np.uint8)).save(tmp_path / "set" / f"{number}.png")
    loop = [
        "--data.source",
        "folder",
        "--data.memory_mb",
        "0",
        "--train.batch_size",
        "8",
        "--train.steps",
        "1000000",
        "--train.preview_every",
        "0",
    ]
    words = [
        sys.executable,
        str(ROOT / "scripts" / "train_tokenizer.py"),
        *TINY_TOKENIZER,
        *loop,
        "--train.checkpoint_every",
        "1000000",
    ]
    words += ["--data.root", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 200
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    helpers = children(process.pid)
    assert len(helpers) == 2
    for helper in helpers:
        os.kill(helper, signal.SIGSTOP)
    time.sleep(1)  # until what they had read ahead is used up
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=100)[1]
    assert (
        process.returncode == 130
        and "stopped by SIGTERM" in errors
        and "saved, go on with --resume true" in errors
    ), errors[-2000:]
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert not [h for h in helpers if Path(f"/proc/{h}").exists()]
