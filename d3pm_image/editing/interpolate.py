"""Interpolation between two images through their codes: the discrete counterpart of interpolation in a
diffusion model (Ho et al. 2020, figure 8).

The codes of both images are mixed, every frame is corrupted to one noise level with the same uniforms, and
denoised with the same randomness. Corruption treats each cell independently, so the order of mixing and
corruption does not matter. With share f of the second image

    vectors   a cell is the code nearest to (1-f) v_a + f v_b, v the vectors that codes stand for: images
              fade into each other
    cells     a cell is b's where a uniform that all frames share is under f, else a's: each goes over once,
              and only codes of the two occur

On Fashion-MNIST vectors look better at strengths up to 0.5, where cells leave a patchwork; at 0.7 they look
alike. Cells is for tokenizers without a meaningful distance of codes: bits that all flip at f = 1/2, or
categories.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..config import check
from ..devices import exact_device
from ..sampling.loop import sample
from ..sampling.request import Request
from ..sampling.state import ImageStreams
from ..tokenizer.quantizer import code_vectors
from ..types import Tokenizer
from .model import Model

Mix = Literal["vectors", "cells"]


def mix_cells(a: Tensor, b: Tensor, shares: Tensor, uniforms: Tensor) -> Tensor:
    """Frames (F, N) of codes a and b (N,): b's where a cell's uniform (N,) is under the frame's share
    (F,)."""
    return torch.where(uniforms < shares[:, None], b, a)


def mix_vectors(tokenizer: Tokenizer, a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Frames (F, N) of codes a and b (N,): the codes whose vectors are nearest to the mean of theirs with
    weights 1-f and f."""
    book = code_vectors(tokenizer)
    start, end = (tokenizer.vectors(codes[None, None])[0, :, 0].T for codes in (a, b))
    frames = []
    for share in shares.tolist():
        between = torch.lerp(start, end, share)
        nearest = torch.cdist(between, book, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
        # two codes may share a vector: ends, and cells in which the images agree, keep their own
        frames.append(a if share == 0 else b if share == 1 else torch.where(a == b, a, nearest))
    return torch.stack(frames)


def interpolate(
    model: Model, request: Request, images: Tensor, frames: int, strength: float, labels: list[int], mix: Mix
) -> Tensor:
    """Frames (F, C, h, w) in [0, 1] between two images.

    Args:
        request: Sampler, its one seed, callback.
        images: (2, C, h, w) in [0, 1], of the model's size.
        frames: F, with the two ends; 2 or more.
        strength: Noise level that the codes are corrupted to and denoised from: 0 shows the mixed codes as
            they are, and the two reconstructions at the ends.
        labels: Class numbers of the two images; a frame has that of the nearer one.
        mix: vectors or cells.
    """
    check(frames >= 2, "frames", frames, "ask for at least 2 frames, the two ends")
    check(mix in get_args(Mix), "mix", mix, f"use one of {', '.join(get_args(Mix))}")
    hint = "give one seed: all frames share their randomness"
    check(isinstance(request.seed, int), "seed", request.seed, hint)
    assert isinstance(request.seed, int)
    a, b = model.tokenizer.encode(images.to(model.device)).flatten(1)
    here = exact_device(model.device)
    shares = torch.linspace(0, 1, frames, dtype=torch.float64, device=here)
    order = ImageStreams(request.seed, [1], model.device).uniform(len(a))[0]
    mixed = (
        mix_cells(a.to(here), b.to(here), shares, order)
        if mix == "cells"
        else mix_vectors(model.tokenizer, a, b, shares)
    )
    label = torch.tensor(labels, device=here)[(shares > 0.5).long()].to(model.device)
    pieces = []
    for part in request.batches(frames):
        streams = ImageStreams([request.seed] * len(part), part, model.device)
        at = slice(part.start, part.stop)
        how = (model.no_label, model.grid, streams, mixed[at], None, strength)
        drawn = sample(model.predict, model.process, request, label[at], *how)
        pieces.append(model.tokenizer.decode(drawn.view(-1, *model.grid)).cpu())
    return torch.cat(pieces)
