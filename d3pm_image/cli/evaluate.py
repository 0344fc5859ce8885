"""``d3pm-image evaluate MODEL``: a parser over :func:`~d3pm_image.evaluation.evaluate.evaluate`; ``evaluate
--compare A.json B.json``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from ..config import check
from ..config.running import OutputOptions, RunOptions
from ..evaluation.options import EvaluateOptions, EvaluateSettings
from ..parser import parse
from .options import SamplerOptions


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateOptions, SamplerOptions, OutputOptions):
    """Measure a trained model on held-out images: reconstruction by the tokenizer and, for a whole model,
    distance of its samples to real images, their diversity and, with classes, label accuracy. ``evaluate
    --compare A.json B.json`` prints two results side by side. Of a tokenizer: mean squared and absolute
    error, PSNR of the mean error (psnr_db) and averaged over images (mean_psnr_db), SSIM, percentiles over
    images, use of the codes, Fréchet distance of reconstructions.

    Example:
        d3pm-image evaluate runs/photos/diffusion --num-samples 1000 --out scores.json
    """

    def __post_init__(self) -> None:
        SamplerOptions.__post_init__(self)
        EvaluateOptions.__post_init__(self)


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image evaluate`` and run it. Raises ConfigError for wrong input."""
    if "--compare" in arguments:
        from ..evaluation.results import compare

        names = [a for a in arguments if a != "--compare"]
        hint = "name two result files: d3pm-image evaluate --compare A.json B.json"
        check(len(names) == 2, "compare", " ".join(names), hint)
        print(compare(*names))
        return
    args = parse(
        "evaluate", Evaluate, arguments, {"model": "Model or tokenizer folder, or the run that trained it."}
    )
    from ..evaluation.evaluate import evaluate

    own = {
        f.name
        for options in (EvaluateOptions, RunOptions, OutputOptions)
        for f in dataclasses.fields(options)
    } - {"model"}
    settings = {name: getattr(args, name) for name in own & set(EvaluateSettings.__annotations__)}
    if results := evaluate(args.model, sampler=args.changes(), **settings):
        print(json.dumps(results, indent=1))
