"""The networks as graphs for other programs: torch.export (.pt2) or ONNX, each checked against the network it
was made from.

A sampler runs outside of them: it calls the denoiser once per step. ``config.json`` of the exported folder
describes inputs and outputs.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from .config import ConfigError, check
from .denoiser.layers import rotary_table
from .outputs import folder_to_write
from .pipeline import Pipeline
from .storage import files_together, write_text
from .tokenizer import Autoencoder, Palette, Pixels
from .tokenizer.folder import OWN

Inputs = dict[str, Tensor]
Shapes = dict[str, dict[int, Any]]
Form = Literal["pt2", "onnx"]
TOLERANCE = 1e-4
FIXED = (torch._dynamo.exc.UserError, torch.fx.experimental.symbolic_shapes.ConstraintViolationError)
PARTS = ("denoiser", "encoder", "decoder")
MADE_WITH, CHECKED_WITH = 2, 3  # images: a graph for only one batch size would fail the check


class Denoise(nn.Module):
    """(x_t (B, N), kappa (B,), or (B, N) for a network that takes a level per token, labels (B,)) → logits
    (B, N, K), for the grid that the model was trained on."""

    def __init__(self, pipe: Pipeline):
        super().__init__()
        self.denoiser, self.grid = pipe.denoiser, pipe.grid

    def forward(self, x_t: Tensor, kappa: Tensor, labels: Tensor) -> Tensor:
        return self.denoiser(x_t, kappa, labels, self.grid)


def own_tokenizer(pipe: Pipeline) -> Autoencoder | Pixels | Palette:
    """The tokenizer, which must be one of this library's. Raises ConfigError for another."""
    hint = "a palette is a table of colours and no network: use the palette of a generated image"
    check(not isinstance(pipe.tokenizer, Palette), "tokenizer", "palette", hint)
    hint = "only this library's own tokenizers can be exported"
    check(isinstance(pipe.tokenizer, OWN), "tokenizer", type(pipe.tokenizer).__name__, hint)
    return cast("Autoencoder | Pixels | Palette", pipe.tokenizer)


class Encode(nn.Module):
    """Images (B, C, h, w) in [0, 1] → codes (B, H, W)."""

    def __init__(self, pipe: Pipeline):
        super().__init__()
        self.tokenizer = copy.deepcopy(own_tokenizer(pipe))
        for module in self.tokenizer.modules():
            # a tensor that the codebook branches on, which no graph can; it is true once training has begun
            if "initted" in module._buffers:
                del module._buffers["initted"]
                module.initted = True  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        return self.tokenizer.encode(images)


class Decode(nn.Module):
    """Codes (B, H, W) → images (B, C, h, w) in [0, 1]."""

    def __init__(self, pipe: Pipeline):
        super().__init__()
        self.tokenizer = own_tokenizer(pipe)

    def forward(self, codes: Tensor) -> Tensor:
        return self.tokenizer.images(codes)


@dataclass(frozen=True)
class Part:
    """One graph: its network, its inputs for a number of images, and the name of its output."""

    name: str
    network: nn.Module
    inputs: Callable[[int], Inputs]
    output: str


def parts(pipe: Pipeline) -> list[Part]:
    """The three graphs of a pipeline on the CPU."""
    random = torch.Generator().manual_seed(0)
    tokens, codes, (height, width) = pipe.grid[0] * pipe.grid[1], pipe.tokenizer.num_codes, pipe.image_size

    def noisy(count: int) -> Inputs:
        x_t = torch.randint(codes + 1, (count, tokens), generator=random)
        kappa = torch.rand(count, generator=random)
        if pipe.token_levels:
            known = torch.rand(count, tokens, generator=random) < 0.5
            kappa = torch.where(known, torch.ones(()), kappa[:, None])
        return {
            "x_t": x_t,
            "kappa": kappa,
            "labels": torch.randint(pipe.no_label + 1, (count,), generator=random),
        }

    def images(count: int) -> Inputs:
        return {"images": torch.rand(count, pipe.tokenizer.channels, height, width, generator=random)}

    def clean(count: int) -> Inputs:
        return {"codes": torch.randint(codes, (count, *pipe.grid), generator=random)}

    return [
        Part("denoiser", Denoise(pipe).eval(), noisy, "logits"),
        Part("encoder", Encode(pipe).eval(), images, "codes"),
        Part("decoder", Decode(pipe).eval(), clean, "images"),
    ]


def export(pipe: Pipeline, folder: str | Path, form: Form = "pt2") -> dict[str, float]:
    """Write denoiser, encoder and decoder as graphs for any number of images (an encoder with simvq: for
    one), and ``config.json``: all of them or, where one fails or the disk is full, none.

    Returns:
        The largest difference of each graph from its network (for codes, the fraction that differs), on
        random input.

    Raises:
        ConfigError: ONNX without its packages, or a graph that differs by more than 1e-4. OSError: it cannot
            be written.
    """
    place = folder_to_write(folder, "folder")
    pipe.to("cpu", torch.float32)
    with files_together(place) as new:
        return write_all(pipe, new, form)


def write_all(pipe: Pipeline, place: Path, form: Form) -> dict[str, float]:
    """Write and check all graphs, and what they are; returns the largest differences."""
    found, described = {}, {}
    for part in parts(pipe):
        path = place / f"{part.name}.{form}"
        write = write_onnx if form == "onnx" else write_pt2
        try:
            run, given = write(part, path, any_number(part.inputs(MADE_WITH))), part.inputs(CHECKED_WITH)
        except FIXED:  # simvq's search for the nearest code can be traced for one number of images only
            run, given = write(part, path, (part.inputs(1), None)), part.inputs(1)
        finally:
            rotary_table.cache_clear()  # tracing leaves tensors without values there
        count = "images" if len(next(iter(given.values()))) == CHECKED_WITH else 1
        with torch.no_grad():
            expected = part.network(**given)
        found[part.name] = difference(run(given), expected)
        if found[part.name] > TOLERANCE:
            raise ConfigError(
                "form",
                form,
                f"the graph of the {part.name} differs from its network by {found[part.name]:g}; use the"
                " other form",
            )
        described[part.name] = {
            "file": path.name,
            "inputs": {
                name: {"shape": [count, *value.shape[1:]], "type": str(value.dtype)}
                for name, value in given.items()
            },
            "outputs": {part.output: {"shape": [count, *expected.shape[1:]], "type": str(expected.dtype)}},
            "largest_difference": found[part.name],
        }
    sets = {} if pipe.label_sets is None else {"label_sets": pipe.label_sets.values()}
    metadata = {
        "format": "d3pm-image-export",
        "version": 1,
        "graphs": described,
        "mask_code": pipe.tokenizer.num_codes,
        "no_label": pipe.no_label,
    }
    write_text(
        place / "config.json",
        json.dumps({**metadata, "class_names": list(pipe.class_names), **sets, "grid": pipe.grid}, indent=1),
    )
    return found


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference, or the fraction of integers that differ."""
    if not expected.is_floating_point():
        return float((found != expected).float().mean())
    return float((found - expected).abs().max())


def any_number(given: Inputs) -> tuple[Inputs, Shapes]:
    """Example inputs, and that their first axes may be of any size."""
    return given, {name: {0: torch.export.Dim("images", min=1, max=65536)} for name in given}


def write_pt2(part: Part, path: Path, example: tuple[Inputs, Shapes | None]) -> Callable[[Inputs], Tensor]:
    """Write one graph with torch.export; returns it as it is read back."""
    given, shapes = example
    with torch.no_grad():
        program = torch.export.export(part.network, (), kwargs=given, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)  # torch's own writer ends the whole process where the disk is full
    path.write_bytes(buffer.getbuffer())
    loaded = torch.export.load(path).module()

    def run(inputs: Inputs) -> Tensor:
        with torch.no_grad():
            return loaded(**inputs)

    return run


def write_onnx(part: Part, path: Path, example: tuple[Inputs, Shapes | None]) -> Callable[[Inputs], Tensor]:
    """Write one graph as ONNX; returns it as onnxruntime runs it. Raises ConfigError where onnx, onnxscript
    or onnxruntime is missing."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "form", "onnx", f"needs the package {error.name}; pip install 'd3pm-image[onnx]', or use pt2"
        ) from error
    given, shapes = example
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            part.network, (), str(path), kwargs=given, dynamic_shapes=shapes, input_names=list(given),
            output_names=[part.output],
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Tensor:
        named: dict[str, np.ndarray] = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(session.run(None, named)[0])

    return run
