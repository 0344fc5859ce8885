"""One run at a time in a folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.marks import slow
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER, free_port

from d3pm_image.locks import file_lock
from d3pm_image.training.folder import LOCK

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


# each round: one run begins and is known to train or prepare; a second one is begun in the same folder; both are children of one process that
# has imported everything, so that a round takes a moment
ROUNDS = """
import json, os, signal, sys, time
from pathlib import Path
import sklearn.datasets, torch
from d3pm_image import cli as commands
from d3pm_image.training import loop

folder, arguments, rounds = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])

def begin(out, errors, extra):
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    code = 0
    try:
        commands.run("train-tokenizer", [*arguments, "--out", str(out), *extra])
    except SystemExit as end:
        code = end.code
    os._exit(code)

done = []
os.waitpid(begin(folder / "resumed", folder / "log", ["--train.steps", "20"]), 0)
for number in range(rounds):
    resumed = number % 2
    out = folder / ("resumed" if resumed else f"new{number}")
    extra = ["--train.steps", "100000", *(["--resume", "true"] if resumed else [])]
    first = begin(out, folder / "first", extra)
    while not (out / ".lock").is_file() or not (out / ".lock").read_text().startswith('{"pid": %d,' % first):
        assert os.waitpid(first, os.WNOHANG) == (0, 0), (folder / "first").read_text()
        time.sleep(0.005)
    second = begin(out, folder / "second", extra)
    code = os.waitstatus_to_exitcode(os.waitpid(second, 0)[1])
    alive = os.waitpid(first, os.WNOHANG) == (0, 0)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    done.append([first, code, alive, (folder / "second").read_text()])
print(json.dumps(done))
"""


def rounds(tmp_path: Path, count: int) -> list:
    words = [
        sys.executable,
        "-c",
        ROUNDS,
        str(tmp_path),
        json.dumps([*TINY_TOKENIZER, "--train.checkpoint_every", "10"]),
        str(count),
    ]
    ran = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("count", [1, slow(20)])
def test_the_second_of_two_runs_in_a_folder_is_refused_every_time(tmp_path, count):
    """New starts and --resume in turn; killed runs leave no lock."""
    found = rounds(tmp_path, count)
    assert len(found) == count
    for first, code, alive, said in found:
        assert code == 2 and alive, said
        assert said.count("\n") == 1 and re.search(
            rf"error: out=.*process {first} on {os.uname().nodename}", said
        ), said


def test_a_folder_in_use_can_still_be_read(copied):
    """doctor and a model's readers take no lock."""
    from d3pm_image.diagnostics import examine_run
    from d3pm_image.pipeline import Pipeline

    with file_lock(copied / "diffusion" / LOCK):
        assert not [f for f in examine_run(copied / "diffusion", free=10**12) if f.wrong]
        assert len(Pipeline.from_pretrained(copied / "diffusion").generate(1, seed=0, steps=1)) == 1


@pytest.mark.slow
def test_all_processes_of_a_second_run_are_refused(tmp_path):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
    ]
    with file_lock(tmp_path / LOCK):
        words = [
            *launch,
            str(ROOT / "scripts" / "train_tokenizer.py"),
            *TINY_TOKENIZER,
            "--out",
            str(tmp_path),
        ]
        ran = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode != 0 and ran.stderr.count(f"process {os.getpid()} on ") == 2, ran.stderr[-3000:]
    assert [p.name for p in tmp_path.iterdir()] == [LOCK]
