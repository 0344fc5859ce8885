"""Every command and every Python block of the pages is run with small models, word for word, or says when it was run; links lead somewhere.

Commands that train get :data:`SMALL` options besides, which make the model small; some others get :data:`LESS`. Of long ones all options
are read, and they are not run. tests/helpers/pages.py finds the commands and says how to mark long ones.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import pages
from helpers.asking import asked
from helpers.marks import slow
from helpers.pages import PAGES
from helpers.paths import ROOT
from PIL import Image

from d3pm_image import cli as commands

LOOP = "--train.steps 2 --train.batch_size 8 --train.warmup_steps 1 --train.mixed_precision no"
SMALL = {
    "train-tokenizer": f"--data.image_size 16 --tokenizer.width 8 --tokenizer.quantizer.num_codes 32 {LOOP}".split(),
    "train-diffusion": f"--denoiser.width 16 --denoiser.depth 1 --denoiser.heads 1 {LOOP}".split(),
}
LESS = {
    "evaluate": ["--num_samples", "20"],
    "tune": ["--num_samples", "20", "--samplers", "confidence", "--steps", "4", "--guidance", "1"],
    "estimate": ["--seconds", "0", "--images", "100", "--classes", "10"],
}
TYPED = [path for path in PAGES if pages.steps(path)]
INLINE = [path for path in PAGES if pages.inline(path)]
WRONG_IS_AN_ANSWER = {"doctor"}  # exit code 1: it found something


class Parsed(Exception):
    """All options of a command were read."""


@pytest.fixture
def read_only():
    """Reads a command's options in full, by its own parser, and stops there."""

    def stopping(real):
        def parse(name, *rest, **named):
            value = real(name, *rest, **named)
            if name == "estimate":  # the options of the run that it estimates follow
                return value
            raise Parsed

        return parse

    def check(words: list[str]) -> None:
        name, rest = words[0], words[1:]
        assert name in commands.COMMANDS, f"no command {name}"
        if (name == "evaluate" and "--compare" in rest) or rest in (["--help"], []):
            return
        module = importlib.import_module(f"d3pm_image.cli.{commands.COMMANDS[name][0].split('.')[0]}")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
            patch.setattr(module, "parse", stopping(module.parse))
            commands.function_of(name)(list(rest))

    return check


@pytest.fixture
def read_script():
    """Reads the options of a script in full, by its own parser, and stops there."""

    def check(words: list[str]) -> None:
        def stopping(real):
            def parse(self, *given, **named):
                real(self, *given, **named)
                raise Parsed

            return parse

        path, options = program(words)
        way = "parse_args" if ".parse_args(" in path.read_text(encoding="utf-8") else "parse_known_args"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
            patch.setattr(argparse.ArgumentParser, way, stopping(getattr(argparse.ArgumentParser, way)))
            patch.setattr(sys, "argv", [str(path), *options])
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__")
            else:
                runpy.run_path(words[0], run_name="__main__")

    return check


def program(words: list[str]) -> tuple[Path, list[str]]:
    """The file that ``python`` runs, by its path or as ``-m`` module, and the options behind it."""
    if words[0] != "-m":
        return Path(words[0]), words[1:]
    spec = importlib.util.find_spec(words[1])
    assert spec and spec.origin, f"no module {words[1]}"
    path = Path(spec.origin)
    return (path.with_name("__main__.py") if path.name == "__init__.py" else path), words[2:]


def make_images(folder: Path) -> None:
    """What the pages take for granted: a folder of one's own photographs, an image or two, a mask."""
    draw = np.random.default_rng(0)
    for kind in ("bird", "cat", "dog", "Dress"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(0, 256, (20, 24, 3), np.uint8) // (1 if kind == "cat" else 3)
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
    shades = np.linspace(0, 255, 120 * 120 * 3).reshape(120, 120, 3).astype(np.uint8)
    (folder / "own").mkdir()
    for name in (
        "image.png",
        "photo.png",
        "photo.jpg",
        "a.png",
        "b.png",
        "holiday.jpg",
        "garden.png",
        "shoe.png",
        "shirt.png",
        "field.png",
        "own/1.jpg",
        "own/2.jpg",
    ):
        Image.fromarray(shades).save(folder / name)
    mask = np.zeros((120, 120), np.uint8)
    mask[40:90, 30:80] = 255
    Image.fromarray(mask).save(folder / "mask.png")


@pytest.fixture(scope="module")
def trained_photos(tmp_path_factory):
    """A working folder with images and small models of them in runs/photos."""
    folder = tmp_path_factory.mktemp("pages")
    make_images(folder)
    data = ["--data.source", "folder", "--data.root", str(folder / "photos")]
    runs = folder / "runs" / "photos"
    tokenizer = [
        "train-tokenizer",
        *data,
        "--data.channels",
        "3",
        "--out",
        str(runs / "tokenizer"),
        *SMALL["train-tokenizer"],
    ]
    commands.main(tokenizer)
    commands.main(
        [
            "train-diffusion",
            *data,
            "--tokenizer",
            str(runs / "tokenizer"),
            "--out",
            str(runs / "diffusion"),
            *SMALL["train-diffusion"],
        ]
    )
    return folder


@pytest.fixture
def workplace(trained_photos, tmp_path, monkeypatch):
    """A copy of that folder to work in, with the repository's folders beside it."""
    place = tmp_path / "workplace"
    shutil.copytree(trained_photos, place)
    for name in ("configs", "scripts", "benchmarks", "docs", "examples"):
        (place / name).symlink_to(ROOT / name)
    monkeypatch.chdir(place)
    return place


def run_folder(words: list[str]) -> str:
    """Where a training writes: its option, or what its file of settings says."""
    if "--out" in words:
        return words[words.index("--out") + 1]
    return yaml.safe_load(Path(words[words.index("--config") + 1]).read_text(encoding="utf-8"))["out"]


def run_here(words: list[str]) -> None:
    """Run a d3pm-image command in this process."""
    name = words[0]
    if name in SMALL and {"--out", "--config"} & set(words):  # the page's own run replaces the fixture's
        shutil.rmtree(run_folder(words), ignore_errors=True)
    more = SMALL.get(name) or LESS.get(name) or []
    if "--start-from" in words:  # the network is that model's
        more = LOOP.split()
    try:
        commands.main([*words, *([] if "--compare" in words else more)])
    except SystemExit as stop:
        assert stop.code in (0, None) or (stop.code == 1 and name in WRONG_IS_AN_ANSWER), (
            f"exit code {stop.code}"
        )


def check(command: pages.Command, read_only, read_script) -> None:
    """Run a command, or read its options where it is marked long."""
    words = pages.plain(command.words)
    if not command.long:
        assert pages.can_run(command), f"{command}: the test cannot run this; mark it long, or teach the test"
        if words[0] == "d3pm-image":
            run_here(words[1:])
        else:
            subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
    elif script := pages.launched(words):
        read_only(script)
    elif words[0] == "d3pm-image":
        read_only(words[1:])
    elif words[0] == "python" and words[1].endswith(("-m", ".py")):
        read_script(words[1:])
    elif words[0] == "bash" and words[1].endswith(".sh"):
        subprocess.run(["bash", "-n", words[1]], check=True)


@pytest.fixture
def page_that_ends(monkeypatch):
    """`d3pm-image app` opens its page at any free port, answers once, and ends."""
    from d3pm_image.app import server
    from d3pm_image.app.folder import page_folder

    def serve(pipe, model: str, host: str, port: int) -> None:
        with page_folder() as folder:
            page, address = server.start(pipe, model, host, 0, folder, wait=False)
            try:
                with urllib.request.urlopen(address) as answer:
                    assert answer.status == 200
            finally:
                page.close()

    monkeypatch.setattr(server, "serve", serve)


LONG = ("docs/multi_gpu.md", "docs/scaling.md", "docs/tutorial.md", "docs/usage.md")


@pytest.mark.parametrize(
    "path", [slow(path) if pages.name(path) in LONG else path for path in TYPED], ids=pages.name
)
@pytest.mark.usefixtures("page_that_ends")
def test_the_page_can_be_followed(path, workplace, read_only, read_script):
    """From its first command to its last, Python in between."""
    scope: dict = {}
    for step in pages.steps(path):
        try:
            if isinstance(step, pages.Command):
                check(step, read_only, read_script)
            elif not step.long:
                exec(compile(textwrap.dedent(step.body), path.name, "exec"), scope)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{step}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("path", INLINE, ids=pages.name)
def test_options_of_commands_in_running_text_exist(path, workplace, read_only, read_script):
    for command in pages.inline(path):
        words = pages.plain(command.words)
        name, rest = words[0], words[1:]
        try:
            if (
                name == "d3pm-image"
                and len(rest) > 1
                and rest[0] in commands.COMMANDS
                and not re.search(r"[A-Z…]{3,}", " ".join(rest))
            ):
                read_only(rest)
            elif name == "python" and rest[0].endswith(("-m", ".py")):
                assert program(rest)[0].is_file()
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{command}: {type(error).__name__}: {error}") from error


LONG_EXAMPLES = {"train": "2026-11-28, 9 min with --minutes 10"}  # README.md has the same command and note


@pytest.mark.slow
@pytest.mark.usefixtures("page_that_ends")
def test_the_examples_of_help_pages_can_be_followed(workplace, read_only, read_script, capsys):
    """In the order of the commands, each after those whose files it reads."""
    found = 0
    for name in commands.COMMANDS:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            commands.main([name, "--help"])
        _, _, rest = capsys.readouterr().out.partition("example:\n")
        for line in rest.partition("\n\n")[0].splitlines():
            example = pages.Command(f"{name} --help", tuple(shlex.split(line)), LONG_EXAMPLES.get(name, ""))
            try:
                check(example, read_only, read_script)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{example}: {type(error).__name__}: {error}") from error
            found += 1
    assert found >= len(commands.COMMANDS)


def test_the_tutorial_and_its_script_are_the_same():
    """Every command of the page stands in the script, in the page's order."""
    script = (ROOT / "scripts" / "tutorial.sh").read_text(encoding="utf-8")
    place = 0
    for command in pages.commands(ROOT / "docs" / "tutorial.md"):
        place = script.find("\n" + " ".join(command.words), place)
        assert place >= 0, f"{command}: not in scripts/tutorial.sh, or in another order"


@pytest.mark.slow
def test_the_tutorials_script_runs(tmp_path):
    """With networks that learn nothing, from its first command to its last; a second run trains nothing anew."""
    make_images(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "mine")
    for path in (tmp_path / "mine").rglob("*.png"):
        Image.open(path).resize((120, 100)).save(path)  # the page's box fits into them
    shutil.rmtree(tmp_path / "own")
    own = {
        "TINY": "1",
        "WORK": str(tmp_path),
        "FROM": str(tmp_path / "mine"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
    }
    for _ in range(2):
        done = subprocess.run(
            ["bash", str(ROOT / "scripts" / "tutorial.sh")],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    for name in ("reconstruction", "samples", "inpainted", "outpainted", "varied", "again"):
        assert Image.open(tmp_path / "images" / f"{name}.png").width > 0
    assert (
        len(list((tmp_path / "photos" / "cat").iterdir())) == 19
        and len(list((tmp_path / "own").iterdir())) == 2
    )


def test_a_foreign_network_learns_and_samples(monkeypatch):
    """docs/alone.md: three in four samples are one of ten patterns out of 5^12, where chance gives none."""
    import torch

    from d3pm_image.diffusion import ConstantShare, Objective, Process
    from d3pm_image.sampling.loop import sample
    from d3pm_image.sampling.state import ImageStreams

    own = argparse.Namespace(**runpy.run_path(str(ROOT / "examples" / "foreign_denoiser.py")))
    torch.manual_seed(0)
    process, network = (
        Process(own.CODES, ConstantShare("cosine", uniform_share=0.0), steps=100),
        own.Foreign(),
    )

    def right() -> float:
        labels = torch.zeros(100, dtype=torch.int64)
        drawn = sample(
            network,
            process,
            asked("confidence", own.TOKENS),
            labels,
            0,
            own.GRID,
            ImageStreams(7, range(100)),
        )
        return own.share_of_patterns(drawn)

    assert right() == 0
    own.train(network, process, Objective(bound=0.2, auxiliary=1.0), steps=250)
    assert right() > 0.75
