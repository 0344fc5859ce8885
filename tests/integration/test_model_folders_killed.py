"""Model folders whose writer is killed, has no rights or no space."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.models import OWN, files, mark, pipeline
from helpers.paths import ROOT

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError


@pytest.fixture
def model(tmp_path):
    return pipeline().save_pretrained(tmp_path / "model")


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from helpers.models import pipeline
real, pipe = os.replace, pipeline(1)
for point in range(1, int(sys.argv[3])):
    if not os.fork():
        left = [point]
        def dies(a, b):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(a, b)
        os.replace = dies
        pipe.save_pretrained(sys.argv[2] + str(point))
        os._exit(0)
    os.wait()
"""
POINTS = 19  # renames of a save, and one more


@pytest.mark.slow
def test_a_kill_leaves_the_old_model_the_new_one_or_a_refusal(model, tmp_path):
    """At every rename; the next save takes away what the killed one left."""
    (model / "mine.txt").touch()
    for point in range(1, POINTS):
        shutil.copytree(model, tmp_path / f"m{point}")
    subprocess.run(
        [sys.executable, "-c", KILLED, str(ROOT / "tests"), str(tmp_path / "m"), str(POINTS)],
        check=True,
        timeout=100,
    )
    seen = set()
    for point in range(1, POINTS):
        folder = tmp_path / f"m{point}"
        try:
            seen.add(mark(Pipeline.from_pretrained(folder)))
        except ConfigError as error:
            assert "\n" not in str(error)
            seen.add("refused")
        pipeline(2).save_pretrained(folder)
        assert files(folder) == sorted([*OWN, "mine.txt"]) and mark(Pipeline.from_pretrained(folder)) == mark(
            pipeline(2)
        )
    assert seen == {mark(pipeline()), mark(pipeline(1)), "refused"}


@contextlib.contextmanager
def no_rights():
    """As another user, where the tests run as root, whom no right stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "name",
    ["denoiser/model.safetensors", "tokenizer/model.safetensors", "config.json", "denoiser/config.json", "."],
)
def test_permission_missing_and_damaged_are_three_messages(tmp_path_factory, name):
    folder = Path("/tmp") / f"rights-{os.getpid()}"  # pytest's own folders are their owner's alone
    said = []
    for fault in ("permission", "missing", "damaged"):
        pipeline().save_pretrained(folder)
        path = folder / name
        if fault == "permission":
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(0)
            with no_rights(), pytest.raises(ConfigError) as caught:
                Pipeline.from_pretrained(folder)
            path.chmod(mode)
            assert "permission" in str(caught.value)
        elif path != folder:
            path.unlink() if fault == "missing" else path.write_bytes(
                b"{" + path.read_bytes()[: path.stat().st_size // 2]
            )
            with pytest.raises(ConfigError) as caught:
                Pipeline.from_pretrained(folder)
            assert "permission" not in str(caught.value)
        said.append(str(caught.value))
    subprocess.run(["rm", "-r", str(folder)], check=True)
    assert len(set(said)) == (3 if name != "." else 1)


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_export(model, tmp_path):
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); from d3pm_image.cli import main; main(sys.argv[1:])"
    out = tmp_path / "graphs"
    result = subprocess.run(
        [sys.executable, "-c", code, "export", str(model), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr, (
        result.returncode,
        result.stderr[-2000:],
    )
    assert "error:" in result.stderr.splitlines()[-1] and files(out) == []
