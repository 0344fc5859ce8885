"""What programs write to terminals of every encoding."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers.command_line import fails, run
from helpers.damage import EVIL, UNSAFE
from helpers.marks import slow
from helpers.paths import ROOT
from PIL import Image

from d3pm_image.config import ConfigError


def program(*words: str, cwd, **env: str) -> subprocess.CompletedProcess:
    own = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HOME": str(cwd),
    } | env
    own = {name: value for name, value in own.items() if value}
    return subprocess.run(
        [sys.executable, "-m", "d3pm_image", *words],
        cwd=cwd,
        env=own,
        capture_output=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("encoding", [slow("cp1252"), slow("latin-1"), "ascii"])
def test_help_and_doctor_on_terminals_that_do_not_know_every_letter(tmp_path, encoding):
    for kind in ("日本", "Ωμέγα"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        (tmp_path / "set" / kind / "ü.png").write_bytes(b"broken")
        for number in range(3):
            Image.new("L", (9, 9), number).save(tmp_path / "set" / kind / f"{number}.png")
    for words in (["generate", "--help"], ["doctor", "set"], ["show", "set/日本/1.png"], ["paint\u03c4"]):
        done = program(*words, cwd=tmp_path, PYTHONIOENCODING=encoding)
        said = (done.stdout + done.stderr).decode(encoding)
        assert "Traceback" not in said and "codec" not in said and done.returncode in (0, 1, 2), said
        assert words[0] != "generate" or "\\u03c4" in said


@pytest.mark.slow
def test_the_end_of_training_on_such_a_terminal(tmp_path):
    small = "--data.source digits --data.image_size 8 --data.channels 1 --tokenizer.downsampling 2 --tokenizer.multipliers [1] --tokenizer.width 8"
    small += " --tokenizer.quantizer.num_codes 8 --tokenizer.quantizer.code_dim 4 --train.steps 2 --train.batch_size 8 --train.warmup_steps 1"
    done = program(
        "train-tokenizer", *small.split(), "--out", "läufe/日本", cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0 and b"\\u65e5\\u672c" in done.stdout, done.stderr[-2000:]


@pytest.mark.slow
def test_without_a_home_folder(tmp_path):
    """As in ``docker --user 12345``: what needs no cache works, what needs one says what to set."""
    tmp_path.chmod(0o777)
    code = "import os, pwd, sys; from pathlib import Path; from d3pm_image.cli import main\n"
    code += "def gone(*_): raise RuntimeError('Could not determine home directory.')\n"
    code += "Path.home = classmethod(gone); pwd.getpwuid = pwd.getpwnam = lambda *_: {}[0]; os.environ.pop('HOME', None); main(sys.argv[1:])"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def go(*words: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            env=env | more,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (
        go("generate", "fashion-mnist", "--num-images", "1", "--steps", "1").returncode == 0
        and (tmp_path / "grid.png").is_file()
    )
    assert go("show", "grid.png", "--again").returncode == 0
    for words in (["generate", "~nobody-here/model"], ["doctor", "~/photos"]):
        done = go(*words)
        assert (
            done.returncode == 2
            and "begins with ~" in done.stderr
            and len(done.stderr.strip().splitlines()) == 1
        ), done.stderr
    done = go("train-tokenizer", "--data.source", "fashion_mnist", "--out", "none")
    assert (
        done.returncode == 2
        and "D3PM_IMAGE_CACHE" in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    ), done.stderr


def test_names_of_classes_and_files_reach_no_terminal_as_they_are(
    trained, image_file, tmp_path, monkeypatch, capsys
):
    from d3pm_image import Pipeline

    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.class_names = (EVIL, *"123456789")
    pipe.save_pretrained(tmp_path / "m")
    run(
        "generate",
        tmp_path / "m",
        "--num-images",
        2,
        "--out",
        tmp_path / "g.png",
        "--trajectory",
        tmp_path / "t.gif",
    )
    line = fails(capsys, "generate", tmp_path / "m", "--labels", "x")
    assert not set(line) & UNSAFE and "\n" not in line and "\\x1b" in line
    evil = tmp_path / "a\x1b[2J\nb\udcfc.png"
    image_file[0].rename(evil)
    run("inpaint", tmp_path / "m", evil, "--box", "1,1,4,4", "--variants", 2)
    run("generate", tmp_path / "m", "--num-images", 1, "--out", tmp_path / "s")
    said = capsys.readouterr()
    assert not set(said.out + said.err) & UNSAFE and "\\x1b[2J\\nb\\xfc-inpainted.png" in said.out
    for words in (
        ["inpaint", tmp_path / "m", evil.with_name("\x1b.png"), "--box", "1,1,4,4"],
        ["doctor", tmp_path / "\x1b\nx"],
    ):
        assert not set(fails(capsys, *words)) & UNSAFE
    with pytest.raises(ConfigError) as error:
        pipe.label_ids("\x1b", 1)
    assert not set(str(error.value)) & UNSAFE and "\n" not in str(error.value)
