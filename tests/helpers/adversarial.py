"""Short runs of a tokenizer against a discriminator."""

from __future__ import annotations

import json

from accelerate.state import AcceleratorState

from d3pm_image.cli import train_tokenizer
from helpers.tiny import LOOP as TINY_LOOP
from helpers.tiny import TOKENIZER, options

# fsq: its result does not depend on how a step is split; ema's codebook moves once a part
LOOP = {"steps": 20, "log_every": 1, "checkpoint_every": 5, "preview_every": 0, "keep": 9}


SETTINGS = {"weight": 0.2, "start_step": 2, "warmup_steps": 4, "ramp_steps": 4, "width": 8, "layers": 1}
BASE = [
    *options("data", {"image_size": 8, "channels": 1}),
    *options("train", {**TINY_LOOP, **LOOP}),
    *options("tokenizer", {**TOKENIZER, "quantizer": {"name": "fsq", "levels": [4, 5, 3]}}),
]


# a weight as it is: a discriminator of a few steps is hardly trusted
AGAINST = [*BASE, *options("loss.adversarial", {**SETTINGS, "adaptive": "false"})]


def run(folder, *arguments):
    AcceleratorState._reset_state(reset_partial_state=True)
    train_tokenizer.main([*arguments, "--out", str(folder)])
    return folder


def lines(folder) -> list[dict]:
    return [
        line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in line
    ]
