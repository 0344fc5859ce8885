"""What Tab offers: commands, options, choices, models and files, in the shells that are installed here."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

import pytest
from helpers.command_line import fails, run

from d3pm_image.cli import COMMANDS
from d3pm_image.cli.completion import completions
from d3pm_image.config.own_images import OwnImages
from d3pm_image.hub import shipped
from d3pm_image.sampling import SAMPLERS


@pytest.mark.parametrize(
    ("line", "words", "files"),
    [
        ("gen", ["generate"], False),
        ("train-t", ["train-tokenizer"], False),
        ("nothing ", [], False),
        ("generate ", shipped(), True),
        ("generate fash", ["fashion-mnist"], True),
        ("generate --num-images 4 -o x.png fash", ["fashion-mnist"], True),
        ("generate --overwrite fash", ["fashion-mnist"], True),
        ("generate --overwrite f", ["false", "fashion-mnist"], True),
        ("generate m --top", ["--top-k", "--top-p"], False),
        ("generate m --top-k 3 --top", ["--top-p"], False),
        ("generate m --sampler ", list(SAMPLERS), False),
        ("generate m --sampler=co", ["--sampler=confidence"], False),
        ("generate m --sampler = co", ["confidence"], False),
        ("generate m --sampler =", list(SAMPLERS), False),
        ("generate m --captions ", ["true", "false"], False),
        ("generate m --steps ", [], False),
        ("generate m --out ", [], True),
        ("generate m --config ", [], True),
        ("inpaint m --window c", ["crop"], False),
        ("inpaint m a.png", [], True),
        ("train photos --start-from e", ["emoji", "eurosat"], True),
        ("train-tokenizer --data.cro", ["--data.crop"], False),
        ("train-tokenizer --tokenizer.quantizer.name f", ["fsq"], False),
        ("train-tokenizer --train.compile ", ["true", "false", "auto", "reduce-overhead"], False),
        ("estimate x.yaml --stage t", ["tokenizer"], False),
        ("evaluate m --feat", ["--features", "--features-weights"], False),
        ("completion f", ["fish"], False),
    ],
)
def test_what_is_offered(line, words, files):
    found = completions(line.split(" "))
    assert (list(found.words), found.files) == (words, files)


def test_commands_come_first_and_every_command_has_options():
    assert completions([""]).words == [*COMMANDS, "--help", "--version"] == list(completions([]).words)
    for command in COMMANDS:
        assert "--help" in completions([command, "--"]).words, command
    every = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(OwnImages)}
    assert set(completions(["train", "photos", ""]).words) == {*every, "--config", "--help", "--print-config"}


def test_neither_torch_nor_the_parsers_library_is_loaded():
    program = (
        "import sys; from d3pm_image.cli import main; main(['completion', '--words', 'generate', '--sam'])\n"
    )
    program += "print([m for m in ('torch', 'numpy', 'jsonargparse') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["words", "--sampler", "[]"]


def test_an_unknown_shell_is_named(capsys):
    assert "shell='tcsh': use one of bash, zsh, fish" in fails(capsys, "completion", "tcsh")


ASKING = {
    "bash": """complete() {{ :; }}
d3pm-image() {{ {python} -m d3pm_image "$@"; }}
{script}
COMP_WORDS=(d3pm-image {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_d3pm_image; printf '%s\\n' "${{COMPREPLY[@]}}\"""",
    "zsh": """compdef() {{ :; }}; compset() {{ :; }}; _files() {{ print -l -- *(N); }}
compadd() {{ shift; (( $# )) && print -l -- "$@"; }}
d3pm-image() {{ {python} -m d3pm_image "$@"; }}
{script}
words=(d3pm-image {words}); CURRENT=$#words
_d3pm_image""",
    "fish": """function d3pm-image; {python} -m d3pm_image $argv; end
{script}
complete -C 'd3pm-image {words}'""",
}


@pytest.mark.parametrize("shell", ASKING)
def test_a_shell_asks_and_is_answered(shell, tmp_path, capsys):
    """The printed function in the shell itself: a command, an option, a choice, a model, a file."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run("completion", shell)
    script = capsys.readouterr().out
    (tmp_path / "fashion.png").touch()

    def offered(words: str) -> set[str]:
        program = ASKING[shell].format(python=sys.executable, script=script, words=words)
        start = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        done = subprocess.run(
            [shell, *start, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        lines = (line.partition("\t")[0].strip() for line in done.stdout.splitlines())
        return {line for line in lines if line}

    empty = "" if shell == "fish" else "''"
    assert offered("gene") == {"generate"}
    assert offered("generate m --num") == {"--num-images"}
    assert offered(f"generate m --window-less --precision {empty}") == {"auto", "float32", "bf16"}
    assert offered("generate fash") == {"fashion-mnist", "fashion.png"}
    assert offered(f"inpaint m --out {empty}") == {"fashion.png"}
    assert offered("generate m --steps 5 --sampler ha") == {"halton"}
