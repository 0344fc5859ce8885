"""From one picture to another through their codes: the discrete counterpart of interpolation in a diffusion model (Ho et al. 2020, figure 8).

Both pictures are corrupted to the same noise level with the same uniforms, a share of the cells is taken from the second one, and every
frame is denoised with the same randomness. Corruption works on each cell alone, so mixing first and corrupting after is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import need
from ..sampling import ImageStreams, Request, sample
from .model import Model


def mix_cells(a: Tensor, b: Tensor, shares: Tensor, uniforms: Tensor) -> Tensor:
    """Frames (F, N) of codes a and b (N,): a cell is b's where its uniform (N,) is under the frame's share (F,), so that a cell that
    has gone over to b stays there."""
    return torch.where(uniforms < shares[:, None], b, a)


def interpolate(model: Model, request: Request, images: Tensor, frames: int, strength: float, labels: list[int]) -> Tensor:
    """Frames (F, C, h, w) in [0, 1] between two images.

    Args:
        request: Sampler, its one seed, watch.
        images: (2, C, h, w) in [0, 1], of the model's size.
        frames: F, with the two ends; 2 or more.
        strength: Noise level that the codes are corrupted to and denoised from: 0 shows the mixed codes as they are, and the two
            reconstructions at the ends.
        labels: Class numbers of the two images; a frame has that of the nearer one.
    """
    need(frames >= 2, "frames", frames, "ask for at least 2 frames, the two ends")
    need(isinstance(request.seed, int), "seed", request.seed, "give one seed: all frames share their randomness")
    codes = model.tokenizer.encode(images.to(model.device)).flatten(1)
    shares = torch.linspace(0, 1, frames, dtype=torch.float64, device=model.device)
    order = ImageStreams(request.seed, [1], model.device).uniform(codes.shape[1])[0]
    mixed = mix_cells(codes[0], codes[1], shares, order)
    label = torch.tensor(labels, device=model.device)[(shares > 0.5).long()]
    pieces = []
    for part in request.batches(frames):
        streams = ImageStreams([request.seed] * len(part), list(part), model.device)
        known = mixed[list(part)]
        drawn = sample(model.predict, model.process, request.config, label[list(part)], model.no_label, model.grid, streams, known, None, request.watch, strength)  # fmt: skip
        pieces.append(model.tokenizer.decode(drawn.view(-1, *model.grid)).cpu())
    return torch.cat(pieces)
