"""Part two: trainings whose weights come back, one archive each, sized so that they fill the time."""

from __future__ import annotations

import copy
import json
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from d3pm_image import (
    Autoencoder,
    DenoiserConfig,
    Pipeline,
    TokenizerConfig,
    Transformer,
    train_diffusion,
    train_tokenizer,
)
from d3pm_image.config.package import PackageConfig
from d3pm_image.imaging import enlarge, grid_image
from d3pm_image.packaging import package
from d3pm_image.recipes.arguments import filled
from d3pm_image.training.monitor import read_lines

from .packing import trainings, unpack_images

PACE_STEPS, LEAST_STEPS = 40, 20
FINISH_S = 40.0
"""Seconds kept for imports, samples and the archive."""
LARGEST_MB = 16.0


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Args:
        start_s: Seconds before its first step and after its last one.
        step_s: Seconds per step.
    """

    start_s: float
    step_s: float

    def steps(self, budget_s: float) -> int:
        """How many steps fit into so many seconds."""
        return max(LEAST_STEPS, int((budget_s - self.start_s) / self.step_s))


def measured(
    train: Callable[[dict[str, Any], Path], Any], loop: dict[str, Any], folder: Path, toy: bool
) -> Pace:
    """The pace of a training, from a short one that is thrown away. Its start includes what is cached after
    it (codes, compiled code), so the estimate is on the safe side."""
    steps = 4 if toy else PACE_STEPS
    short = {"steps": steps, "log_every": max(1, steps // 4), "preview_every": steps, "warmup_steps": 1}
    began = time.perf_counter()
    train(loop | short, folder)
    whole = time.perf_counter() - began
    lines = [line for _, line in read_lines(folder / "log.jsonl") if line and "images_per_s" in line]
    step_s = loop["batch_size"] / lines[-1]["images_per_s"]
    shutil.rmtree(folder)
    return Pace(max(0.0, whole - steps * step_s), step_s)


def stage(
    train: Callable[[dict[str, Any], Path], Any], loop: dict[str, Any], out: Path, budget_s: float, toy: bool
) -> tuple[Any, dict[str, Any]]:
    """One stage in a time budget: its result, and what is remembered of its pace."""
    began = time.perf_counter()
    pace = measured(train, loop, out.with_name(f"{out.name}-pace"), toy)
    left = budget_s - (time.perf_counter() - began)
    steps = 6 if toy else pace.steps(left)
    made = train(loop | {"steps": steps, "preview_every": steps, "checkpoint_every": steps}, out)
    metadata = {"steps": steps, "step_ms": round(1e3 * pace.step_s, 2), "start_s": round(pace.start_s, 1)}
    return made, metadata | {"seconds": round(time.perf_counter() - began, 1), "budget_s": round(budget_s, 1)}


def settings_of(entry: dict[str, Any], name: str, pack: Path) -> tuple[dict[str, Any], float]:
    """Settings of a stage, with the folder that travelled in them, and its share of the time; without the
    perceptual loss where its weights did not travel."""
    text = json.dumps(entry[name]).replace("{pack}", str(pack))
    settings = json.loads(text)
    weights = settings.get("loss", {}).get("perceptual_weights")
    if weights and not Path(weights).is_file():
        print(f"note: {weights} is not there: {entry['name']} is trained without the perceptual loss")
        settings["loss"] = {k: v for k, v in settings["loss"].items() if not k.startswith("perceptual")}
    return settings, settings.pop("share")


def train_entry(
    entry: dict[str, Any], pack: Path, work: Path, out: Path, budget_s: float, mode: bool | str, toy: bool
) -> dict[str, Any]:
    """Both stages of an entry, and its archive in ``out``.

    Args:
        mode: ``train.compile`` of the denoiser.
    """
    began = time.perf_counter()
    data = {"source": "shards", "root": str(unpack_images(entry, pack, work / "images")), **entry["data"]}
    folder = work / entry["name"]
    first, first_share = settings_of(entry, "tokenizer", pack)
    second, second_share = settings_of(entry, "denoiser", pack)
    loops = [settings.pop("train") for settings in (first, second)]
    for loop in loops if toy else []:
        loop |= {"batch_size": 4, "mixed_precision": "no"}
    if toy:
        second["denoiser"] |= {"width": 32, "depth": 1, "heads": 1}
    share = (budget_s - FINISH_S) / (first_share + second_share)

    def tokenize(loop: dict[str, Any], place: Path) -> Any:
        return train_tokenizer(data, out=place, train=loop, **copy.deepcopy(first))

    tokenizer, metadata = stage(tokenize, loops[0], folder / "tokenizer", share * first_share, toy)

    def denoise(loop: dict[str, Any], place: Path) -> Any:
        return train_diffusion(data, tokenizer=tokenizer, out=place, train=loop, **copy.deepcopy(second))

    left = budget_s - FINISH_S - (time.perf_counter() - began)
    loop = loops[1] | {"compile": mode}
    pipe, more = stage(denoise, loop, folder / "diffusion", left, toy)
    found = {"name": entry["name"], "tokenizer": metadata, "denoiser": more | {"compile": mode}}
    found["scores"] = scores(pipe)
    archive(pipe, folder, out / f"{entry['name']}.tar", found, toy)
    return found


def parameters(entry: dict[str, Any]) -> int:
    """Parameters of both networks of an entry; their weights come back in half precision."""
    data, first, second = entry["data"], entry["tokenizer"]["tokenizer"], entry["denoiser"]["denoiser"]
    config = filled(TokenizerConfig(), first, "tokenizer.")
    with torch.device("meta"):
        denoiser = Transformer(filled(DenoiserConfig(), second, "denoiser."), config.num_codes, 10)
    networks = (Autoencoder(config, data["channels"], config.num_codes), denoiser)
    return sum(p.numel() for network in networks for p in network.parameters())


def scores(pipe: Pipeline) -> dict[str, Any]:
    """What both stages measured on held-out images."""
    return {
        "denoiser": pipe.metadata.get("validation", {}),
        "tokenizer": (pipe.metadata.get("tokenizer") or {}).get("validation", {}),
    }


def archive(pipe: Pipeline, folder: Path, out: Path, found: dict[str, Any], toy: bool) -> None:
    """The model in half precision, both logs and settings, a grid of samples (classes in turn), and scores.

    Raises:
        RuntimeError: it is larger than what comes back.
    """
    images = pipe.generate(8 if toy else 64, seed=0)
    grid_image([enlarge(i) for i in images], 8).save(folder / "grid.png")
    package(PackageConfig(model=str(folder / "diffusion"), out=str(folder / "model")), pipe.device)
    (folder / "scores.json").write_text(json.dumps(found, indent=1) + "\n")
    kept = ["model", "grid.png", "scores.json"]
    kept += [
        f"{stage}/{name}" for stage in ("tokenizer", "diffusion") for name in ("log.jsonl", "config.yaml")
    ]
    with tarfile.open(out, "w") as tar:
        for name in kept:
            tar.add(folder / name, f"{out.stem}/{name}")
    megabytes = out.stat().st_size / 2**20
    if megabytes > LARGEST_MB:
        raise RuntimeError(f"{out.name} holds {megabytes:.1f} MiB, more than {LARGEST_MB:g}")


def chosen(names: list[str], pack: Path) -> list[dict[str, Any]]:
    """The entries whose images travelled, in the order of the list; of these names, where there are any."""
    there = [entry for entry in trainings() if (pack / f"{entry['name']}.tar.xz").is_file()]
    return [entry for entry in there if not names or entry["name"] in names]
