"""The Inception network of published FID and KID values, as torch-fidelity ports it (weights of the
original TensorFlow graph).

Weights are its own file, ``weights-inception-2015-12-05-6726825d.pth``: from a path, or downloaded by
torch-fidelity if that is allowed. A file is read with ``weights_only`` first, which runs no code of it.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from ..config import ConfigError, check
from ..pixel_range import on_white
from ..storage import tensors_sha256
from .feature_extractor import FeatureSpace

NAME = "Inception v3 of torch-fidelity (FID, 2015-12-05), 2048 features"
PREPARATION = "299 x 299 pixels, bilinear as TensorFlow 1; grey repeated to three channels"


def inception_space(weights: str = "", device: str = "cpu", download: bool = False) -> FeatureSpace:
    """Features (B, 2048) and class probabilities of uint8 images, on white where they have alpha.

    Args:
        weights: The weight file; empty lets torch-fidelity download it, if ``download``.

    Raises:
        ConfigError: torch-fidelity is not installed, or the file is not there or holds something else.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ConfigError(
            "features", "inception", "needs torch-fidelity: pip install 'd3pm-image[fidelity]'"
        ) from error
    hint = (
        "name torch-fidelity's weights-inception-2015-12-05-6726825d.pth, or let it be downloaded with"
        " --download true"
    )
    check(bool(weights) or download, "features_weights", weights, hint)
    if weights:
        check_weights(Path(weights).expanduser())
    path = str(Path(weights).expanduser()) if weights else None
    try:
        network = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=path
        ).to(device)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            "features_weights", weights or "download", f"cannot be loaded ({reason}); name the file itself"
        ) from error

    @torch.no_grad()
    def both(images: Tensor) -> tuple[Tensor, Tensor]:
        parts = [network(on_white(part.to(device)).expand(-1, 3, -1, -1)) for part in images.split(50)]
        features, logits = (torch.cat(found).cpu() for found in zip(*parts, strict=True))
        return features, logits.softmax(1)

    return FeatureSpace(
        lambda x: both(x)[0], NAME, tensors_sha256(network.state_dict()), PREPARATION, lambda x: both(x)[1]
    )


def check_weights(path: Path) -> None:
    """Raises ConfigError if a file is missing or is not a table of tensors, without running code from it."""
    check(path.is_file(), "features_weights", str(path), "no such file")
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ConfigError(
            "features_weights", str(path), "is not a file of weights; give torch-fidelity's own"
        ) from error
    fits = (
        isinstance(found, dict)
        and all(isinstance(v, Tensor) for v in found.values())
        and "Conv2d_1a_3x3.conv.weight" in found
    )
    check(fits, "features_weights", str(path), "is not an Inception network; give torch-fidelity's own")
