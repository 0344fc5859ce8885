"""What is trained, and with which samplers each is evaluated.

``peers`` are methods; ``share`` is the study of uniform noise: the hybrid with other shares of random codes
and nothing else changed (shares 0 and 0.1 are the entries absorbing and hybrid); ``kernels`` compares what a
random code depends on, for codes that resemble each other, such as the colours of a palette."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from d3pm_image.config import DiffusionRun

    from .problem import Baseline, Problem

Make = Callable[["Problem", "DiffusionRun"], "Baseline"]
ANCESTRAL, CONFIDENCE = {"sampler": "ancestral"}, {"sampler": "confidence"}
RENOISE = {"sampler": "renoise", "eta": 1.0}
UNIFORM = {"uniform_share": 1.0, "corruption": "offset_cosine"}
SHARES = {0.0: "absorbing", 0.05: "share_0.05", 0.1: "hybrid", 0.2: "share_0.2", 0.5: "share_0.5"}
KERNELS = {
    "absorbing": "masks alone",
    "hybrid": "masks and random codes, uniform",
    "hybrid_gaussian": "masks and random codes, gaussian",
    "hybrid_nearest": "masks and random codes, nearest",
    "uniform": "random codes alone, uniform",
    "gaussian": "random codes alone, gaussian",
    "nearest": "random codes alone, nearest",
}
SHARE_SAMPLERS = {"confidence": CONFIDENCE, "ancestral": ANCESTRAL, "renoise, η 1": RENOISE}
SHARE_CALLS = (8, 16)
CORRECTION = 4  # a quarter of the calls corrects, where the study asks for self-correction


@dataclass(frozen=True)
class Entry:
    """A method.

    Args:
        title: Its name in the tables.
        make: Problem and configuration → baseline.
        samplers: Name → arguments of its ``sample``.
        calls: Passes that its sampler takes whatever is asked: 0 is any number, -1 one per code.
        guided: Whether guidance applies.
        note: What it is, for the page.
    """

    title: str
    make: Make
    samplers: dict[str, dict[str, Any]] = field(default_factory=lambda: {"its own": {}})
    calls: int = 0
    guided: bool = True
    note: str = ""


def ours(loss: dict[str, Any] | None = None, **process) -> Make:
    """The library with the configuration's settings but for these."""

    def make(problem: Problem, run: DiffusionRun) -> Baseline:
        from .library import Library

        objective = dataclasses.replace(run.loss, **(loss or {}))
        return Library(problem, dataclasses.replace(run.process, **process), objective)

    return make


def other(module: str, name: str, **settings) -> Make:
    """A class of a file beside this one."""

    def make(problem: Problem, run: DiffusionRun) -> Baseline:
        import importlib

        return getattr(importlib.import_module(f"{__package__}.{module}"), name)(problem, **settings)

    return make


ENTRIES = {
    "hybrid": Entry(
        "ours, hybrid", ours(), {"ancestral": ANCESTRAL, "confidence": CONFIDENCE, "renoise, η 1": RENOISE},
        note="the library with the settings of the configuration: a tenth of the corrupted codes is random",
    ),
    "absorbing": Entry(
        "ours, pure absorbing", ours(uniform_share=0.0), {"ancestral": ANCESTRAL, "confidence": CONFIDENCE},
        note="the same with masks only",
    ),
    "uniform": Entry(
        "ours, pure uniform", ours(**UNIFORM), {"ancestral": ANCESTRAL, "renoise, η 1": RENOISE},
        note="the same with random codes only, on the offset cosine schedule",
    ),
    "multinomial": Entry(
        "multinomial diffusion", ours({"bound": 1.0, "auxiliary": 0.0}, **UNIFORM), {"ancestral": ANCESTRAL},
        note="Hoogeboom et al. 2021: random codes only, offset cosine schedule, T = 1000, the bound alone",
    ),
    "dense_uniform": Entry(
        "dense D3PM, uniform", other("dense_d3pm", "DenseD3PM", kind="uniform"),
        note="Austin et al. 2021 by the book: K × K matrices for each of T = 100 steps, built and multiplied "
        "out; bound + 0.001 cross-entropy",
    ),
    "dense_absorbing": Entry(
        "dense D3PM, absorbing", other("dense_d3pm", "DenseD3PM", kind="absorbing"),
        note="the same with β = 1/(T-t+1) into a mask",
    ),
    "maskgit": Entry(
        "MaskGIT", other("maskgit", "MaskGIT"), {"τ 4.5": {}},
        note="Chang et al. 2022: ⌈N cos(πr/2)⌉ masks per image, smoothed cross-entropy at the masks, "
        "confidence sampling; at most N passes",
    ),
    "masked_diffusion": Entry(
        "masked diffusion (MDLM)", other("masked_diffusion", "MaskedDiffusion"), {"ancestral": {}},
        note="Sahoo et al. 2024, Shi et al. 2024: linear schedule, the bound in continuous time",
    ),
    "autoregressive": Entry(
        "autoregressive", other("autoregressive", "Autoregressive"), {"row by row, keys kept": {}}, calls=-1,
        note="the same blocks with a causal mask; N passes of one token each, keys and values kept",
    ),
    "argmax_flow": Entry(
        "argmax flow", other("argmax_flow", "ArgmaxFlow"), {"one pass": {}}, calls=1, guided=False,
        note="Hoogeboom et al. 2021 over binary digits of the codes; spline couplings, one block each; "
        "guidance does not apply",
    ),
    "share_0.05": Entry("hybrid, share 0.05", ours(uniform_share=0.05), {}),
    "share_0.2": Entry("hybrid, share 0.2", ours(uniform_share=0.2), {}),
    "share_0.5": Entry("hybrid, share 0.5", ours(uniform_share=0.5), {}),
    "gaussian": Entry("random codes, gaussian kernel", ours(kernel="gaussian", **UNIFORM), {}),
    "nearest": Entry("random codes, nearest kernel", ours(kernel="nearest", **UNIFORM), {}),
    "hybrid_gaussian": Entry("hybrid, gaussian kernel", ours(kernel="gaussian"), {}),
    "hybrid_nearest": Entry("hybrid, nearest kernel", ours(kernel="nearest"), {}),
}  # fmt: skip
GROUPS = {
    "peers": [name for name, entry in ENTRIES.items() if entry.samplers],
    "share": list(SHARES.values()),
    "kernels": [*KERNELS],
}


def groups_of(name: str) -> list[str]:
    """Groups that an entry is in."""
    return [group for group, names in GROUPS.items() if name in names]


def selected(only: list[str]) -> list[str]:
    """Entries named, or in groups named; all by default.

    Raises:
        SystemExit: a name that is neither.
    """
    unknown = [name for name in only if name not in ENTRIES and name not in GROUPS]
    if unknown:
        raise SystemExit(f"no entry or group is named {unknown[0]!r}; use {', '.join([*GROUPS, *ENTRIES])}")
    wanted = {each for name in only or GROUPS for each in GROUPS.get(name, [name])}
    return [name for name in ENTRIES if name in wanted]


@dataclass(frozen=True)
class Case:
    """One row of the results: an entry sampled with one sampler in so many calls."""

    group: str
    entry: str
    sampler: str
    calls: int
    settings: dict[str, Any]
    guidance: float = 1.0


def peers(name: str, calls: list[int], tokens: int, guidance: list[float]) -> list[Case]:
    """The cases of a method."""
    entry = ENTRIES[name]
    numbers = [{-1: tokens}.get(entry.calls, entry.calls)] if entry.calls else calls
    weights = guidance if entry.guided else [1.0]
    return [
        Case("peers", name, sampler, number, settings, weight)
        for sampler, settings in entry.samplers.items()
        for number in numbers
        for weight in weights
        if number <= tokens or settings.get("sampler") != "confidence"  # each of its calls reveals a code
    ]


def kernels(name: str, calls: list[int]) -> list[Case]:
    """The cases of a kernel: ancestral sampling, which is exact for every process."""
    return [Case("kernels", name, "ancestral", number, ANCESTRAL) for number in calls]


def study(name: str, tokens: int) -> list[Case]:
    """The cases of a share of random codes: every sampler, with and without self-correction in as many
    calls."""
    cases = []
    for sampler, settings in SHARE_SAMPLERS.items():
        for calls in SHARE_CALLS:
            # masks alone teach nothing of wrong codes
            corrections = (0, calls // CORRECTION) if name != SHARES[0.0] else (0,)
            for number in corrections:
                own = settings | {"correct_steps": number}
                cases.append(Case("share", name, sampler, calls, own))
    return [case for case in cases if case.calls <= tokens]
