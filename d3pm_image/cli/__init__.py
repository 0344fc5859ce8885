"""The command line: ``d3pm-image NAME …``. One module per command: parse, build, call, report.

Nothing here imports torch until a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable

COMMANDS = {
    "train": ("train.main", "train both stages on your own images in a given time, with automatic settings"),
    "train-tokenizer": ("train_tokenizer.main", "train the VQ-VAE tokenizer on images (stage one)"),
    "train-diffusion": (
        "train_diffusion.main",
        "train the diffusion model on the tokenizer's codes (stage two)",
    ),
    "encode": (
        "encode.main",
        "write the code cache of a tokenizer, on one process or many; drop unused codes",
    ),
    "shards": ("shards.main", "pack a folder of images into tar shards (webdataset layout)"),
    "estimate": (
        "estimate.main",
        "estimate a training: parameters, operations, memory, disk space, hours",
    ),
    "doctor": (
        "doctor.main",
        "find problems in a run, a folder of images or shards, and say how to fix them",
    ),
    "generate": ("generate.main", "make new images with a trained model"),
    "inpaint": ("edit.inpaint", "repaint a part of an image"),
    "outpaint": ("edit.outpaint", "continue an image beyond its borders"),
    "edit": ("edit.edit", "repaint a part of an image as another class"),
    "vary": ("edit.vary", "make variations of an image"),
    "tile": ("edit.tile", "make an image seamless, so that it repeats without a visible border"),
    "interpolate": ("interpolate.main", "interpolate between two images"),
    "app": ("app.main", "open the web page: generate, paint and edit in a browser"),
    "models": ("models.main", "list the models that came with the package or were downloaded"),
    "completion": ("completion.main", "print what lets a shell complete commands and options at Tab"),
    "show": ("show.main", "show how an image was made, or make it again"),
    "reconstruct": ("reconstruct.main", "show images beside their reconstructions by the tokenizer"),
    "evaluate": (
        "evaluate.main",
        (
            "measure a trained model: reconstruction error, distance to real images, label accuracy,"
            " memorisation"
        ),
    ),
    "package": (
        "package.main",
        "export a model folder for sharing: half precision, model card, samples; push it to the hub",
    ),
    "export": ("export.main", "write the networks as torch.export or ONNX graphs for other programs"),
    "tune": ("tune.main", "find the best sampler settings of a trained model and make them its default"),
}
"""Module and function of each command, and what it does."""
MEANT = {
    **dict.fromkeys(("sample", "draw", "create", "infer", "predict"), "generate"),
    **dict.fromkeys(("fill", "repaint", "erase"), "inpaint"),
    **dict.fromkeys(("extend", "uncrop", "expand"), "outpaint"),
    **dict.fromkeys(("seamless", "loop", "wrap"), "tile"),
    **dict.fromkeys(("test", "score", "fid", "eval"), "evaluate"),
    **dict.fromkeys(("ui", "web", "gui", "serve"), "app"),
    **dict.fromkeys(("finetune", "fit"), "train-diffusion"),
    **dict.fromkeys(("list", "ls"), "models"),
}
"""Words of other programs, and what they are called here."""
SHARING = (
    *("train-tokenizer", "train-diffusion", "encode", "evaluate", "generate"),
    *("inpaint", "outpaint", "edit", "vary", "tile"),
)
"""Commands whose work several processes share."""


def usage() -> str:
    """What ``d3pm-image --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    listed = "\n".join(lines)
    return (
        f"usage: d3pm-image COMMAND [options]\n\ncommands:\n{listed}\n\nd3pm-image COMMAND --help shows the"
        " options of a command."
    )


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Exit codes: 0 done, 1 training failed or something found wrong, 2 wrong input, 130 training stopped by a
    signal after saving, 128 + number of the signal that ended it otherwise (129 SIGHUP, 130 Ctrl-C, 143
    SIGTERM), 141 the output is no longer read (``d3pm-image … | head``).
    """
    any_terminal()
    try:
        choose(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # else Python prints another error when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def any_terminal() -> None:
    """Let every terminal and file accept every text: characters that its encoding (cp1252, latin-1, ASCII)
    lacks become escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def choose(arguments: list[str]) -> None:
    """Run the command that the first word names."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] in ("-V", "--version"):
        from .. import __version__

        print(f"d3pm-image {__version__}")
        return
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        from ..config import closest_match

        meant = f" (did you mean {MEANT[name]}?)" if name in MEANT else closest_match(name, COMMANDS)
        fail("", f"no command {name!r}{meant}; use one of {', '.join(COMMANDS)}")
    run(name, rest)


def run(name: str, rest: list[str]) -> None:
    """Run a command and turn its errors into one line and an exit code. Of several processes only the first
    makes single images."""
    from ..config import ConfigError
    from ..system.allocator import keep_memory
    from ..system.failures import in_words
    from ..system.notes import warnings_in_words
    from ..system.stopping import ended_by_signals, number_of

    keep_memory()
    try:
        with ended_by_signals(name), warnings_in_words():
            if is_first(name):
                function_of(name)(rest)
    except ConfigError as error:
        fail(name, str(error))
    except KeyboardInterrupt as stop:
        say(f"d3pm-image {name}: stopped by {stop if str(stop) else 'SIGINT'}")
        sys.exit(128 + number_of(str(stop)))
    except BrokenPipeError:
        raise
    except Exception as error:
        if type(error).__name__ == "Interrupted":
            say(str(error))
            sys.exit(getattr(error, "code", 130))
        if isinstance(error, RuntimeError) and "home directory" in str(error):  # of pathlib
            fail(name, "no home folder is known for a path that begins with ~; write the path in full")
        text = in_words(error)
        if text is None:
            raise
        fail(name, text, code=1)


def function_of(name: str) -> Callable[[list[str]], None]:
    """The function that reads a command's arguments and runs it."""
    module, function = COMMANDS[name][0].split(".")
    return getattr(importlib.import_module(f".{module}", __package__), function)


def is_first(name: str) -> bool:
    """Whether this process works on a command. Of several processes started together, all work on training,
    encoding, evaluation and the making or editing of many files; only the first works on others.

    Raises:
        ConfigError: the environment variables of several processes are inconsistent.
    """
    from ..training.launch import check_launch

    several = name in SHARING
    first = os.environ.get("RANK", "0") in ("0", "")
    if several or not first:
        check_launch()
    if not several and not first:
        say(
            f"d3pm-image {name}: process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} has nothing to"
            " do: the first one does the work"
        )
    return several or first


def say(text: str) -> None:
    """Print a line to standard error, if it is still open (that of a closed terminal is not)."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def fail(name: str, message: str, code: int = 2) -> None:
    """Print one line and exit."""
    from ..printable import printable

    say(f"d3pm-image {name + ': ' if name else ''}error: {printable(' '.join(message.split()), 5000)}")
    sys.exit(code)
