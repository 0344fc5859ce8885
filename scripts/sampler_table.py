"""Every sampler on one model: label accuracy, Fréchet distance and coverage at 4 to 64 steps.

    python scripts/sampler_table.py runs/fashion_mnist/diffusion docs/results/fashion_mnist_samplers.json

It goes on where an earlier run stopped. scripts.results writes the page's table, scripts.figures draws its
plot."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch

from d3pm_image import Pipeline
from d3pm_image.cache_folder import cache_root
from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.evaluation.samples import everything
from d3pm_image.metrics.classifier import train_classifier
from d3pm_image.metrics.fidelity import frechet_distance, manifold
from d3pm_image.pixel_range import to_levels
from d3pm_image.sampling import SAMPLERS, MaskSampler

ENTRIES: dict[str, dict[str, Any]] = {
    "confidence": {"sampler": "confidence"},
    "confidence, τ 10": {"sampler": "confidence", "gumbel": 10.0},
    "entropy": {"sampler": "entropy"},
    "margin": {"sampler": "margin"},
    "halton": {"sampler": "halton", "reveal": "arccos"},
    "ancestral": {"sampler": "ancestral"},
    "purity": {"sampler": "purity", "gumbel": 1.0},
    "first_hitting": {"sampler": "first_hitting"},
    "ctmc, η 0": {"sampler": "ctmc", "eta": 0.0},
    "ctmc, η 2": {"sampler": "ctmc", "eta": 2.0},
    "renoise, η 1": {"sampler": "renoise", "eta": 1.0},
    "remask, cap 0.05": {"sampler": "remask", "eta": 0.05},
    "remask, loop 0.05": {"sampler": "remask", "strategy": "loop", "eta": 0.05},
    "predictor_corrector, η 1": {"sampler": "predictor_corrector", "eta": 1.0},
}
STEPS = (4, 8, 16, 32, 64)


def measure(args: argparse.Namespace) -> None:
    """Measure every entry that the file does not hold yet."""
    pipe = Pipeline.from_pretrained(args.model, precision="bf16")
    data = DataConfig(**pipe.metadata["data"])
    train, cache = everything(ImageSet(open_source(data), data)), cache_root() / "classifiers"
    classifier = train_classifier(*train, len(pipe.class_names), cache, data.flip)
    test, _ = everything(ImageSet(open_source(data, held_out=True), data))
    real, labels = classifier.features(test), torch.tensor(pipe.label_ids(None, args.num_samples))
    results = {"num_samples": args.num_samples, "guidance": args.guidance, "rows": []}
    if args.out.is_file():
        results = json.loads(args.out.read_text())
    tokens, done = math.prod(pipe.grid), {(row["name"], row["steps"]) for row in results["rows"]}
    for steps, name in ((s, n) for s in STEPS for n in ENTRIES if (n, s) not in done):
        masks_only = issubclass(SAMPLERS[ENTRIES[name]["sampler"]], MaskSampler)
        calls = min(steps, tokens) if masks_only else steps
        settings = {**ENTRIES[name], "steps": calls, "guidance": args.guidance}
        began = time.perf_counter()
        codes = pipe.generate_codes(args.num_samples, batch_size=100, **settings)
        seconds = time.perf_counter() - began
        images = to_levels(pipe.tokenizer_decode(codes))
        features = classifier.features(images)
        row = {"name": name, "steps": steps, "calls": calls, "seconds": round(seconds, 1)}
        row["label_accuracy"] = round(float((classifier.predict(images) == labels).double().mean()), 4)
        row["frechet_distance"] = round(frechet_distance(features, real), 4)
        row |= {k: round(v, 4) for k, v in manifold(real[: len(features)], features).items()}
        results["rows"].append(row)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
        print(row, flush=True)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--guidance", type=float, default=1.0)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
