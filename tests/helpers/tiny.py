"""Options of runs that train in seconds."""

from __future__ import annotations

import socket

from d3pm_image.recipes.settings import leaves

LOOP = {
    "steps": 60,
    "batch_size": 64,
    "warmup_steps": 5,
    "preview_every": 30,
    "checkpoint_every": 20,
    "log_every": 5,
}
TOKENIZER = {
    "downsampling": 2,
    "multipliers": [1],
    "width": 16,
    "quantizer": {"num_codes": 32, "code_dim": 8},
}
DENOISER = {"width": 32, "depth": 2, "heads": 2}


def free_port() -> str:
    """A port for torchrun that nobody listens on: tests run side by side."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def options(group: str, values: dict) -> list[str]:
    """Settings, nested or not, as options of the command line."""
    return [word for name, value in leaves(values, f"{group}.").items() for word in (f"--{name}", str(value))]


TINY_TOKENIZER = [
    *options("data", {"image_size": 8, "channels": 1}),
    *options("tokenizer", TOKENIZER),
    *options("train", LOOP),
]
TINY_DIFFUSION = [*options("denoiser", DENOISER), *options("train", LOOP), *options("sampling", {"steps": 4})]


SMALL = (
    "--data.image_size=8", "--data.channels=1", "--tokenizer.downsampling=2", "--tokenizer.multipliers=[1]", "--tokenizer.width=8",
    "--tokenizer.quantizer.num_codes=8", "--tokenizer.quantizer.code_dim=4", "--train.steps=2", "--train.batch_size=4",
)  # fmt: skip
