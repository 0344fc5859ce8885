"""Signals: one line and the conventional exit code, wherever a command is; training saves first."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.marks import slow
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER, free_port

from d3pm_image import cli as commands
from d3pm_image.training.checkpoint import checkpoints

pytest.importorskip("sklearn")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
FOREVER = [
    *TINY_TOKENIZER,
    "--train.steps",
    "1000000",
    "--train.checkpoint_every",
    "1000000",
    "--train.preview_every",
    "0",
]


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    found = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def begin(*words: str, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "d3pm_image", *words],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        text=True,
        **more,
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number, words",
    [
        (signal.SIGTERM, ["train-tokenizer", *TINY_TOKENIZER, "--out", "run"]),
        (
            signal.SIGHUP,
            [
                "encode",
                "--tokenizer",
                "pixels:8",
                "--data.image_size",
                "8",
                "--data.channels",
                "1",
                "--cache",
                "cache",
            ],
        ),
        (
            signal.SIGINT,
            ["generate", "fashion-mnist", "--num-images", "64", "--steps", "500", "--out", "grid.png"],
        ),
        (signal.SIGTERM, ["evaluate", "fashion-mnist"]),
    ],
)
def test_a_signal_at_the_start_of_any_command_is_one_line(tmp_path, number, words):
    process = begin(*words, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for(lambda: handles(process.pid, signal.SIGTERM), process)
    time.sleep(0.5)
    process.send_signal(number)
    errors = process.communicate(timeout=100)[1]
    assert process.returncode == 128 + number, errors
    assert (
        errors.splitlines()[-1] == f"d3pm-image {words[0]}: stopped by {number.name}"
        and "Traceback" not in errors
    )
    assert not [p for p in tmp_path.iterdir() if p.name != "cache"]


@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGHUP)])
def test_a_signal_while_images_are_encoded_is_one_line(tmp_path, number):
    data = ["--data.image_size", "192", "--data.channels", "1", "--data.flip", "true"]
    process = begin(
        "encode", "--tokenizer", "pixels:8", *data, "--cache", str(tmp_path), stderr=subprocess.PIPE
    )
    seen = ""
    while "encoding" not in seen:
        seen = process.stderr.readline(20)
        assert seen, "ended"
    process.send_signal(number)
    errors = process.communicate(timeout=100)[1]
    assert process.returncode == 128 + number and "Traceback" not in errors
    assert errors.splitlines()[-1].endswith(f"d3pm-image encode: stopped by {number.name}")


def test_a_terminal_that_is_closed_saves_like_sigterm(tmp_path):
    """The system sends SIGHUP, and nothing can be printed any more."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "d3pm_image", "train-tokenizer", *FOREVER, "--out", str(tmp_path)]

    def own_terminal():
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    log = tmp_path / "log.jsonl"

    def trains():
        with contextlib.suppress(BlockingIOError):
            os.read(ours, 1 << 16)  # or its lines fill the terminal
        return log.is_file() and log.stat().st_size > 0

    wait_for(trains, process)
    os.close(ours)
    assert process.wait(timeout=100) == 130
    assert len(checkpoints(tmp_path / "checkpoints")) == 1


@pytest.mark.slow
def test_nohup_goes_on(tmp_path):
    """A hangup that is ignored on purpose stays ignored: after it training still runs, until SIGTERM."""
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = begin(
        "train-tokenizer", *FOREVER, "--out", str(tmp_path), stderr=subprocess.PIPE, preexec_fn=ignore
    )
    log = tmp_path / "log.jsonl"
    wait_for(lambda: log.is_file() and log.stat().st_size > 0, process)
    assert not handles(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    size = log.stat().st_size
    wait_for(lambda: log.stat().st_size > size, process)
    process.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in process.communicate(timeout=100)[1] and process.returncode == 130


@pytest.mark.slow
def test_a_program_that_runs_no_handler_is_ended():
    """Deep in another library, here one that waits for other processes (WORLD_SIZE with nobody there), Python runs no handler."""
    code = """
from d3pm_image.cli import run
from d3pm_image.system import stopping
stopping.PATIENCE_S = 0.5
run("train-tokenizer", ["--out", "/dev/null/run"])
"""
    alone = {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=ENVIRONMENT | alone, stderr=subprocess.PIPE, text=True
    )
    seen = ""
    while "waiting for the other processes (WORLD_SIZE=2" not in seen:
        seen = process.stderr.readline()
        assert seen, "ended"
    process.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in process.communicate(timeout=60)[1] and process.returncode == 143


def test_handlers_are_put_back(capsys):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(SystemExit):
        commands.run("generate", ["/no/such/model"])
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
