"""Conformance checks of networks written elsewhere: whether a denoiser or a tokenizer follows the protocols
of :mod:`d3pm_image.types`.

Each raises AssertionError with one sentence on the violation, and returns nothing otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .devices import has_float64
from .pixel_range import premultiplied
from .types import Denoiser, Grid, Tokenizer, TrainableDenoiser


def check_denoiser(
    denoiser: Denoiser, num_codes: int, num_classes: int, grid: Grid, device: str | torch.device = "cpu"
) -> None:
    """Check a denoiser on random codes, in eval mode.

    Args:
        denoiser: ``denoiser(x_t, kappa, labels, grid, where)`` → leave-one-out logits (B, N, K). With an
            attribute ``token_levels`` that is true it is given kappa (B, N).
        num_codes: K. num_classes: C; label C means no label.
        grid: (H, W) with H·W = N.

    Raises:
        AssertionError: another shape, values that are not finite, or logits that depend on other images of
            the batch or on the requested positions.
    """
    x_t, kappa, labels, where = random_inputs(num_codes, num_classes, grid, device)
    kappa = kappa_for(denoiser, kappa, where)
    with torch.no_grad():
        logits = denoiser(x_t, kappa, labels, grid, None)
        some = denoiser(x_t, kappa, labels, grid, where)
        alone = denoiser(x_t[:1], kappa[:1], labels[:1], grid, None)
    shape = (*x_t.shape, num_codes)
    assert logits.shape == shape, f"logits have the shape {tuple(logits.shape)}, not (B, N, K) = {shape}"
    assert logits.is_floating_point(), f"logits have the type {logits.dtype}, not a floating point one"
    assert bool(logits.isfinite().all()), "logits are not all finite"
    assert some.shape == shape, (
        f"with positions that are asked for, logits have the shape {tuple(some.shape)}, not {shape}"
    )
    close = torch.allclose(some[where].float(), logits[where].float(), rtol=1e-2, atol=1e-2)
    assert close, "logits at the positions that are asked for differ from those of a call for all positions"
    close = torch.allclose(alone[0].float(), logits[0].float(), rtol=1e-2, atol=1e-2)
    assert close, "logits of an image depend on the other images of its batch; call eval() first"


def check_trainable(denoiser: TrainableDenoiser, grid: Grid, device: str | torch.device = "cpu") -> None:
    """Check a denoiser for training: :func:`check_denoiser`, and the requirements of losses and exact resume.

    Args:
        denoiser: An nn.Module; its mode is restored afterwards.
        grid: (H, W) with H·W = N.

    Raises:
        AssertionError: as :func:`check_denoiser`; the head does not make the logits of the features, a
            parameter that no gradient reaches, or features in training that depend on more than a row and its
            key.
    """
    assert isinstance(denoiser, nn.Module), f"{type(denoiser).__name__} is not an nn.Module"
    network, mode, k = denoiser, denoiser.training, denoiser.num_codes
    x_t, kappa, labels, known = random_inputs(k, denoiser.num_classes, grid, device)
    kappa = kappa_for(denoiser, kappa, known)
    keys = torch.tensor([7, 8, 2**62], device=device)
    try:
        network.eval()
        check_denoiser(denoiser, k, denoiser.num_classes, grid, device)
        weight, bias = denoiser.head.weight, denoiser.head.bias
        assert bias is not None and bias.shape == (k,), "the head has no bias (K,)"
        features, logits = denoiser(x_t, kappa, labels, grid, head=False), denoiser(x_t, kappa, labels, grid)
        shape = (*x_t.shape, weight.shape[1])
        assert features.shape == shape, (
            f"features have the shape {tuple(features.shape)}, not (B, N, D) = {shape}"
        )
        close = torch.allclose(denoiser.head(features).float(), logits.float(), rtol=1e-2, atol=1e-2)
        assert close, "the head does not make the logits of the features"
        network.train()
        features = denoiser(x_t, kappa, labels, grid, head=False, keys=keys)
        alone = denoiser(x_t[:1], kappa[:1], labels[:1], grid, head=False, keys=keys[:1])
        close = torch.allclose(alone[0].float(), features[0].float(), rtol=1e-2, atol=1e-2)
        assert close, (
            "features in training depend on more than a row and its key: derive dropout masks from keys"
        )
        asked = {name: value for name, value in network.named_parameters() if value.requires_grad}
        total = denoiser.head(features).float().square().sum()
        grads = torch.autograd.grad(total, list(asked.values()), allow_unused=True)
        unused = [name for name, gradient in zip(asked, grads, strict=True) if gradient is None]
        assert not unused, f"no gradient reaches {', '.join(unused)}"
    finally:
        network.train(mode)


def kappa_for(denoiser: Denoiser, kappa: Tensor, known: Tensor) -> Tensor:
    """Levels (B,) as a network takes them: per token, 1 where it is known, if it can be told."""
    per_token = getattr(denoiser, "token_levels", False)
    return torch.where(known, torch.ones_like(kappa)[:, None], kappa[:, None]) if per_token else kappa


def random_inputs(
    num_codes: int, num_classes: int, grid: Grid, device: str | torch.device
) -> tuple[Tensor, ...]:
    """Three rows of noisy codes (B, N) with their levels (B,), labels (B,), and positions that are asked for
    (B, N)."""
    batch, tokens = 3, grid[0] * grid[1]
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randint(num_codes + 1, (batch, tokens), generator=generator).to(device)
    exact = torch.float64 if has_float64(device) else torch.float32
    kappa = torch.tensor([1.0, 0.5, 0.1], dtype=exact, device=device)
    labels = torch.tensor([0, num_classes, max(0, num_classes - 1)], device=device)
    where = (torch.rand(batch, tokens, generator=generator) < 0.5).to(device)
    return x_t, kappa, labels, where


def check_tokenizer(
    tokenizer: Tokenizer, image_size: tuple[int, int], device: str | torch.device = "cpu"
) -> None:
    """Try a tokenizer on random images, in eval mode; with 2 or 4 channels they have premultiplied alpha.

    Args:
        image_size: (height, width) in pixels, divisible by ``tokenizer.downsampling``.

    Raises:
        AssertionError: shapes, types or ranges other than the contract's, or a decode that depends on other
            images of the batch.
    """
    height, width = image_size
    generator = torch.Generator().manual_seed(0)
    images = premultiplied(torch.rand(2, tokenizer.channels, height, width, generator=generator)).to(device)
    grid = tokenizer.grid(image_size)
    step = tokenizer.downsampling
    assert grid == (
        height // step,
        width // step,
    ), f"grid({image_size}) is {grid}, not {(height // step, width // step)}"
    with torch.no_grad():
        codes = tokenizer.encode(images)
        assert codes.shape == (
            2,
            *grid,
        ), f"codes have the shape {tuple(codes.shape)}, not (B, H, W) = {(2, *grid)}"
        assert codes.dtype == torch.int64, f"codes have the type {codes.dtype}, not int64"
        most = int(codes.max())
        assert int(codes.min()) >= 0 and most < tokenizer.num_codes, (
            f"codes reach {most}; there are {tokenizer.num_codes}"
        )
        decoded, alone = tokenizer.decode(codes), tokenizer.decode(codes[:1])
        assert decoded.shape == images.shape, (
            f"decoded images have the shape {tuple(decoded.shape)}, not {tuple(images.shape)}"
        )
        inside = (
            bool(decoded.isfinite().all()) and float(decoded.min()) >= -0.01 and float(decoded.max()) <= 1.01
        )
        assert inside, "decoded images are not in [0, 1]"
        close = torch.allclose(alone[0].float(), decoded[0].float(), atol=1e-2)
        assert close, "a decoded image depends on the other images of its batch; call eval() first"
        vectors = tokenizer.vectors(codes)
    assert vectors.ndim == 4 and vectors.shape[2:] == grid, (
        f"vectors have the shape {tuple(vectors.shape)}, not (B, D, H, W)"
    )
