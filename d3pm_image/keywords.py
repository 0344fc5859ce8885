"""Keyword arguments of generation, which all sampling methods of a pipeline share, also under diffusers'
names; results as Pillow images, tensors or arrays; a progress bar."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .config import check, closest_match
from .imaging import Images, plain, to_tensor
from .labels import read_classes
from .pixel_range import straight
from .sampling import SAMPLERS, Sampler
from .sampling.choice import SHARED, choose
from .sampling.request import Callback, Request, SamplerStep

PIL = Literal["pil"]
PT = Literal["pt"]
NP = Literal["np"]
OutputType = PIL | PT | NP
Array = NDArray[np.float32]
Delivered = Images | Tensor | Array
T_co = TypeVar("T_co", bound=Delivered, covariant=True)
StepEnd = Callable[[Any, int, int, dict[str, Any]], Any]
"""Called with the pipeline, the step from 0, the number of steps, and the codes."""
SEEDS = 2**62
METHODS = ("__call__", "generate", "inpaint", "outpaint", "edit", "vary", "interpolate", "tile")
"""Members of a pipeline that sampling needs."""


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of every sampling method of a pipeline, besides the settings of the sampler (such as
    ``eta``).

    Args:
        steps: Network calls per image; ``num_inference_steps`` is the same.
        sampler: A name, or a sampler with its settings, such as ``Renoise(eta=1.0)``; default the model's
            own.
        seed: Image i under a seed is the same whatever the number of images or the batch size. A list gives
            every image a seed of its own: it is then the image that the seed gives as number 0. Default 0.
        generator: In place of a seed, which is drawn from it, so that the next call gives other images. A
            list has one per image.
        batch_size: Images in one network call, default 64.
        first: Number of the first image: a long request can be made in parts.
        callback: Called with a :class:`~d3pm_image.sampling.request.SamplerStep` before the first step of
            every batch and after each, such as a :class:`~d3pm_image.visualization.Recorder`.
        callback_on_step_end: Called after each step of every batch as ``(pipe, step, num_steps, {"codes": (B,
            N), "masked": (B, N)})``; an exception in it ends the call.
        guidance: Weight of classifier-free guidance; ``guidance_scale`` is the same.

    The others are the fields of :class:`~d3pm_image.config.SamplingConfig`; the default is the model's own.
    """

    steps: int | None
    num_inference_steps: int | None
    sampler: str | Sampler | None
    seed: int | Sequence[int]
    generator: torch.Generator | Sequence[torch.Generator] | None
    batch_size: int
    first: int
    callback: Callback | None
    callback_on_step_end: StepEnd | None
    guidance: float | None
    guidance_scale: float | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    set_guidance: float | str | None
    guidance_schedule: str | None
    guidance_from: float | None
    guidance_until: float | None
    negative_label: int | str | None
    correct_steps: int | None


@dataclass(frozen=True)
class ImageOutput(Generic[T_co]):
    """What calling a pipeline gives: ``images``, a list of Pillow images, a tensor (B, C, h, w) or an array
    (B, h, w, C), values in [0, 1]."""

    images: T_co


def request_of(pipe: Any, drawing: dict[str, Any]) -> Request:
    """The request that a method's arguments make of a pipeline: :class:`GenerationOptions`, and settings of
    the sampler.

    Raises:
        ConfigError: impossible or contradicting values, or a setting that the sampler does not have.
            TypeError: no such argument.
    """
    own = SAMPLERS.types()
    for name in drawing.keys() - GenerationOptions.__annotations__.keys() - own.keys():
        raise TypeError(
            f"unexpected keyword argument {name!r}{closest_match(name, [*argument_names(pipe), *own])}"
        )
    # None counts as not given
    drawing = {name: scalar(value) for name, value in drawing.items() if value is not None}
    one_name(drawing, "steps", "num_inference_steps")
    one_name(drawing, "guidance", "guidance_scale")
    seed_of(drawing)
    callback = callbacks(pipe, drawing.pop("callback", None), drawing.pop("callback_on_step_end", None))
    seed, batch_size, first = drawing.pop("seed", 0), drawing.pop("batch_size", 64), drawing.pop("first", 0)
    sampling = dataclasses.replace(
        pipe.sampling, **{name: drawing.pop(name) for name in SHARED if name in drawing}
    )
    if isinstance(sampling.negative_label, str):
        (found,) = read_classes(sampling.negative_label, pipe.class_names, "negative_label")
        number = -1 if found is None else found
        sampling = dataclasses.replace(sampling, negative_label=number)
    return Request(choose(pipe.sampler, **drawing), sampling, seed, batch_size, first, callback)


def argument_names(pipe: Any) -> list[str]:
    """All that the methods of a pipeline take by name."""
    methods = [
        method for name, method in inspect.getmembers(type(pipe), inspect.isfunction) if name in METHODS
    ]
    parameters = [
        p.name
        for method in methods
        for p in inspect.signature(method).parameters.values()
        if p.kind != p.VAR_KEYWORD
    ]
    return [
        name for name in dict.fromkeys([*parameters, *GenerationOptions.__annotations__]) if name != "self"
    ]


def scalar(value: Any) -> Any:
    """A number or text of NumPy or torch as Python's; all else as it is."""
    return value.item() if hasattr(value, "item") and not getattr(value, "ndim", 1) else value


def plain_labels(labels: Any) -> Any:
    """Labels from arrays and tensors, and from their elements."""
    if isinstance(labels, (list, tuple)):
        return [scalar(label) for label in labels]
    return labels.tolist() if hasattr(labels, "tolist") else labels


def one_name(drawing: dict[str, Any], ours: str, theirs: str) -> None:
    """Move a value that was given under its other name.

    Raises:
        ConfigError: both were given, and differ.
    """
    value = drawing.pop(theirs, None)
    if value is not None:
        hint = f"{ours} says {drawing.get(ours)}, and is the same setting; give one"
        check(drawing.get(ours) in (None, value), theirs, value, hint)
        drawing[ours] = value


def seed_of(drawing: dict[str, Any]) -> None:
    """Replace generators by seeds that are drawn from them.

    Raises:
        ConfigError: a seed as well, or anything but generators.
    """
    generator = drawing.pop("generator", None)
    if generator is None:
        return
    check("seed" not in drawing, "generator", "given", "a seed is given as well; give one of them")
    several = not isinstance(generator, torch.Generator)
    generators = list(generator) if several else [generator]
    right = bool(generators) and all(isinstance(g, torch.Generator) for g in generators)
    hint = "give a torch.Generator, or a list with one for each image"
    check(right, "generator", type(generator).__name__, hint)
    seeds = [int(torch.randint(SEEDS, (), generator=g, device=g.device)) for g in generators]
    drawing["seed"] = seeds if several else seeds[0]


def callbacks(pipe: Any, callback: Callback | None, on_step_end: StepEnd | None) -> Callback | None:
    """One callback for the user's two callbacks and the progress bar."""
    several = [callback] if callback is not None else []
    if on_step_end is not None:

        def after(step: SamplerStep) -> None:
            if step.step:
                on_step_end(pipe, step.step - 1, step.steps, {"codes": step.x_t, "masked": step.masked})

        several.append(after)
    if pipe.progress_bar:
        several.append(Bar())
    if len(several) < 2:
        return several[0] if several else None

    def all_of_them(step: SamplerStep) -> None:
        for one in several:
            one(step)

    return all_of_them


class Bar:
    """Steps of one batch after the other on a progress bar."""

    def __init__(self) -> None:
        self.bar: Any = None

    def __call__(self, frame: SamplerStep) -> None:
        from tqdm import tqdm

        if frame.step == 0:
            self.bar = tqdm(total=frame.steps, unit="step")
        self.bar.update(frame.step - self.bar.n)
        if frame.step >= frame.steps:
            self.bar.close()


def check_output(output_type: str) -> None:
    """Raises ConfigError, before any work, for a kind that is not known."""
    check(output_type in ("pil", "pt", "np"), "output_type", output_type, "use pil, pt or np")


def delivered(images: list[Image.Image], output_type: OutputType, channels: int) -> Delivered:
    """Pillow images as they are, or as one float32 tensor (B, C, h, w) or array (B, h, w, C) in [0, 1].

    Args:
        channels: Of the tensor or array, whose colour is straight where it has alpha.
    """
    if output_type == "pil":
        return Images(images)
    stack: Tensor = straight(torch.stack([to_tensor(plain(image, channels)) for image in images]))
    return stack if output_type == "pt" else np.ascontiguousarray(stack.permute(0, 2, 3, 1).numpy())
