"""Checks of a run's log: ``log.jsonl``, with a line of numbers every few steps, and some lines of validation.

Every check takes lines (dictionaries with "step") and returns findings; none reads a file. Thresholds are
generous: a healthy run has no findings. Losses are noisy from step to step, so trends are computed over
windows of lines and compared with the noise of neighbouring lines.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .finding import Finding

WINDOWS = 10
LEARNED = 0.97  # share of log K above which a denoiser has learned nothing
USED, PERPLEXITY = 0.5, 0.1  # shares of the codebook under which it has collapsed
WAITING = 0.2
DOUBT = 6.0  # standard errors by which the end must lie above the lowest of ten windows
OVERFITTED = 0.01  # rise of the validation score above its best, as a share of it

READ = ("step", "loss", "grad_norm", "bound_nats", "data_wait")
"""Keys of a training line that the checks read."""
Line = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """Args:
    steps: Lines of training.
    validations: Lines of validation, names beginning with val_.
    damaged: Numbers (from 1) of lines in the file that cannot be read.
    """

    steps: list[Line]
    validations: list[Line]
    damaged: list[int]

    def add(self, line: Line) -> None:
        """Add a line of training, of which only the keys above are kept (a log has many lines), or of
        validation."""
        if "loss" in line:
            self.steps.append({name: line[name] for name in READ if name in line})
        else:
            self.validations.append(line)


def finite(values: Iterable[Any]) -> list[float]:
    """Those of some values that are finite numbers."""
    return [float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]


def column(lines: list[Line], name: str) -> list[float]:
    """The finite values of a quantity, in the log's order."""
    return finite(line[name] for line in lines if name in line)


def windows(values: list[float]) -> list[float]:
    """Means of up to ten stretches of a series, at least two values each."""
    count = min(WINDOWS, len(values) // 2)
    edges = [round(i * len(values) / count) for i in range(count + 1)] if count else []
    return [statistics.fmean(values[a:b]) for a, b in zip(edges, edges[1:])]


def noise(values: list[float]) -> float:
    """Standard deviation of a value about its neighbours: that of differences, over √2."""
    steps = [b - a for a, b in zip(values, values[1:])]
    return math.sqrt(statistics.fmean(s * s for s in steps) / 2) if steps else 0.0


def settled(log: Log, warmup: int) -> list[Line]:
    """Lines after the warm-up."""
    return [line for line in log.steps if line["step"] > warmup]


def not_finite(log: Log) -> list[Finding]:
    """A loss or gradient that is NaN or infinite."""
    for line in log.steps:
        for name in ("loss", "grad_norm"):
            value = line.get(name)
            if isinstance(value, float) and not math.isfinite(value):
                hint = (
                    "lower train.learning_rate, or use train.mixed_precision bf16 or no, and go on with"
                    " --resume true"
                )
                return [Finding("not_finite", f"{name} is {value} at step {line['step']}", hint)]
    return []


def rising(log: Log, warmup: int) -> list[Finding]:
    """A training loss that ends well above its lowest stretch."""
    values = column(settled(log, warmup), "loss")
    if len(values) < 8:
        return []
    means = windows(values)
    low, last = min(means), means[-1]
    doubt = DOUBT * noise(values) * math.sqrt(2 * len(means) / len(values))
    if last - low <= max(doubt, 0.1 * abs(low)):
        return []
    where = settled(log, warmup)[
        min(len(values) - 1, round((means.index(low) + 0.5) * len(values) / len(means)))
    ]["step"]
    text = f"the training loss rises: {low:.4g} about step {where}, {last:.4g} at the end"
    return [
        Finding(
            "rising_loss",
            text,
            "lower train.learning_rate or lengthen train.warmup_steps, and begin again from a checkpoint"
            " before the rise",
        )
    ]


def not_learning(log: Log, warmup: int, num_codes: int) -> list[Finding]:
    """A denoiser whose bound is still that of a uniform prediction, log K."""
    lines = settled(log, warmup)
    bounds = column(lines[-max(5, len(lines) // 4) :], "bound_nats")
    if num_codes < 2 or len(bounds) < 5 or lines[-1]["step"] < 100:
        return []
    guess, mean = math.log(num_codes), statistics.fmean(bounds)
    if mean < LEARNED * guess:
        return []
    text = (
        f"the bound is {mean:.3g} nats per token after {lines[-1]['step']} steps, and a uniform prediction of"
        f" {num_codes} codes has {guess:.3g}: nothing was learned"
    )
    hint = (
        "raise train.learning_rate (1e-3 is usual with muon, 3e-4 with adamw), train for longer, and look at"
        " the tokenizer's previews: codes of noise cannot be learned"
    )
    return [Finding("not_learning", text, hint)]


def overfitting(log: Log, warmup: int) -> list[Finding]:
    """Validation that rises past its best while the training loss falls."""
    scores = [
        (line["step"], float(line["val_score"]))
        for line in log.validations
        if finite([line.get("val_score")])
    ]
    if len(scores) < 3:
        return []
    best_step, best = min(scores, key=lambda pair: pair[1])
    later = [score for step, score in scores if step > best_step]
    lines = settled(log, warmup)
    before = column([line for line in lines if line["step"] <= best_step][-5:], "loss")
    after = column(lines[-5:], "loss")
    if len(later) < 2 or min(later[-2:]) - best <= OVERFITTED * abs(best) or not before or not after:
        return []
    if statistics.fmean(after) >= statistics.fmean(before):
        return []
    text = (
        f"overfitting: the validation score was best at step {best_step} ({best:.4g}) and is {later[-1]:.4g}"
        " now, while the training loss falls"
    )
    hint = (
        "the best weights are kept in best/; stop here, or begin again with more images, a smaller network,"
        " or, where they are not set yet, data.flip true and denoiser.dropout 0.1"
    )
    return [Finding("overfitting", text, hint)]


def collapsed(log: Log, num_codes: int) -> list[Finding]:
    """A tokenizer that uses few of its codes."""
    lines, prefix = [line for line in log.validations if "val_codes_used" in line], "val_"
    if not lines or num_codes < 2:
        return []
    used, perplexity = (
        float(lines[-1][prefix + "codes_used"]),
        float(lines[-1].get(prefix + "perplexity", num_codes)),
    )
    if used >= USED * num_codes and perplexity >= PERPLEXITY * num_codes:
        return []
    text = (
        f"the codebook has collapsed: {used:.0f} of {num_codes} codes used, perplexity {perplexity:.0f}, on"
        f" held-out images at step {lines[-1]['step']}"
    )
    hint = (
        "use falls at first and comes back: train for longer; then raise tokenizer.quantizer.revive_below"
        " (0.2), lower tokenizer.quantizer.code_dim (8 to 32), or take fewer tokenizer.quantizer.num_codes"
    )
    return [Finding("codebook_collapse", text, hint)]


def waiting(log: Log) -> list[Finding]:
    """Steps that wait for data."""
    values = column(log.steps[len(log.steps) // 2 :], "data_wait")
    if len(values) < 3 or statistics.median(values) <= WAITING:
        return []
    text = f"training waits for data in {statistics.median(values):.0%} of its time"
    return [
        Finding(
            "data_wait",
            text,
            "raise data.workers, or data.memory_mb so that the images are held in memory, or put them on a"
            " faster disk",
        )
    ]


def clipped(log: Log, warmup: int, clip: float) -> list[Finding]:
    """Gradients that are always cut."""
    lines = settled(log, warmup)
    norms = column(lines[len(lines) // 2 :], "grad_norm")
    if clip <= 0 or len(norms) < 5 or sum(n > clip for n in norms) < 0.95 * len(norms):
        return []
    middle = statistics.median(norms)
    text = (
        f"the gradient norm (median {middle:.3g}) is above train.clip={clip:g} in nearly every step: all"
        " steps have the same length"
    )
    return [
        Finding(
            "always_clipped",
            text,
            f"raise train.clip (to {2 * middle:.2g}), or lower train.learning_rate",
            wrong=middle > 10 * clip,
        )
    ]


def gaps(log: Log, log_every: int, end: int) -> list[Finding]:
    """Steps that are missing from the log, come twice, or lines that cannot be read."""
    found = []
    steps = [int(line["step"]) for line in log.steps]
    repeated = [b for a, b in zip(steps, steps[1:]) if b <= a]
    if repeated:
        hint = (
            "two runs may have written to one folder at once: use one folder per run; resuming repairs it"
            " from its first step on"
        )
        found.append(
            Finding("log_repeats", f"the log has steps twice or out of order, such as {repeated[0]}", hint)
        )
    if steps:
        wanted = {1, *range(log_every, max(steps) + 1, log_every)}
        missing = sorted(wanted - set(steps))
        if missing:
            text = (
                f"the log has no line for {len(missing)} of its steps, such as {missing[0]} (every"
                f" {log_every} steps up to {max(steps)})"
            )
            found.append(
                Finding(
                    "log_gap",
                    text,
                    "train.log_every may have been changed at a resume; otherwise lines were lost: check the"
                    " disk",
                )
            )
        if max(steps) > end:
            text = f"the log goes to step {max(steps)}, past train.steps={end}"
            found.append(
                Finding(
                    "log_past_end",
                    text,
                    "log.jsonl and config.yaml come from different runs; use one folder per run",
                )
            )
    if log.damaged:
        text = (
            f"line {log.damaged[0]} of log.jsonl cannot be"
            f" read{f', and {len(log.damaged) - 1} more' if len(log.damaged) > 1 else ''}"
        )
        found.append(
            Finding(
                "log_damaged",
                text,
                "the machine may have stopped while writing; --resume true drops such lines",
            )
        )
    return found


def not_at_its_best(log: Log, end: int) -> list[Finding]:
    """A finished run whose validation was still falling."""
    scores = [
        (line["step"], float(line["val_score"]))
        for line in log.validations
        if finite([line.get("val_score")])
    ]
    if len(scores) < 2 or scores[-1][0] < end or scores[-1][1] >= 0.98 * scores[-2][1]:
        return []
    text = (
        f"validation was still falling when training ended ({scores[-2][1]:.4g} at step {scores[-2][0]},"
        f" {scores[-1][1]:.4g} at step {scores[-1][0]}), at a learning rate near 0"
    )
    return [
        Finding(
            "could_go_on",
            text,
            "a new run with more train.steps should do better (the rate falls to its end over train.steps)",
            wrong=False,
        )
    ]


def warming_up(warmup: int, end: int) -> list[Finding]:
    """A run most of which was warm-up: the learning rate was hardly ever at its peak."""
    if 2 * warmup <= end:
        return []
    text = f"the learning rate rises for train.warmup_steps {warmup} of the run's {end} steps"
    return [Finding("short", text, "raise train.steps, or lower train.warmup_steps to a tenth of it")]


def examine_log(log: Log, train: dict[str, Any], num_codes: int) -> list[Finding]:
    """All findings of a log.

    Args:
        train: Settings of the loop: steps, warmup_steps, log_every, clip.
        num_codes: K, 0 where it is not known.
    """
    warmup, end = int(train["warmup_steps"]), int(train["steps"])
    bad = not_finite(log)
    trends = [] if bad else rising(log, warmup) + overfitting(log, warmup)
    learned = [] if bad else not_learning(log, warmup, num_codes)
    rest = collapsed(log, num_codes) + waiting(log) + clipped(log, warmup, float(train["clip"]))
    return (
        bad
        + warming_up(warmup, end)
        + trends
        + learned
        + rest
        + gaps(log, int(train["log_every"]), end)
        + not_at_its_best(log, end)
    )
