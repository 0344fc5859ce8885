"""Training data that is kept on the GPU as a whole: a step copies only the numbers of its images there,
without synchronisation.

Images come in the order of every other run (:mod:`.order`). Which of them are mirrored is drawn once for an
epoch, not image by image: thousands of images per second need more than one core can draw. So a run on a GPU
that holds its data mirrors other images than one on a processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..seeds import derive

if TYPE_CHECKING:
    from .order import BatchOrder

DEVICES = ("cuda",)
"""Types of device that keep their data."""
SHARE = 0.25
"""Fraction of the device's free memory for data; networks need the rest."""
MIRRORED = 0x4D49
"""Of the stream of random numbers that chooses mirror images."""


@dataclass(frozen=True)
class Held:
    """A set of images, or of their codes, on a device.

    Args:
        name: Key of a batch: "images" or "codes".
        rows: (n, …) uint8 images or integer codes; with ``variants`` the mirrored ones after the plain ones.
        labels: (n,) int64; -1 without classes.
        seed: Of the choice of mirror images.
        flips: none; variants: rows n … 2n-1 are mirrored; or left-right: rows are images, mirrored along
            their last axis.
    """

    name: str
    rows: Tensor
    labels: Tensor
    seed: int
    flips: str

    def mirrored(self, epoch: int) -> np.ndarray:
        """Images that an epoch mirrors, bool (n,)."""
        generator = torch.Generator().manual_seed(derive(self.seed, epoch, MIRRORED))
        return (torch.rand(len(self.labels), generator=generator) < 0.5).numpy()

    def batches(self, order: BatchOrder) -> Iterator[dict[str, Tensor]]:
        """The batches of an order, on the device: the rows of ``name`` (codes as int64) and labels."""
        count, device = len(self.labels), self.rows.device
        known: dict[int, np.ndarray] = {}
        for keys in order.arrays():
            epochs, index = keys // count, keys % count
            mirror = np.zeros(len(keys), bool)
            if self.flips != "none":
                present = np.unique(epochs).tolist()
                known = {e: known[e] if e in known else self.mirrored(e) for e in present}
                for epoch, choice in known.items():
                    mirror = np.where(epochs == epoch, choice[index], mirror)
            yield self._read(*(sent(a, device) for a in (index, mirror)))

    def _read(self, index: Tensor, mirror: Tensor) -> dict[str, Tensor]:
        at = index + mirror * len(self.labels) if self.flips == "variants" else index
        rows = self.rows[at]
        if self.flips == "left-right":
            rows = torch.where(mirror.view(-1, *[1] * (rows.ndim - 1)), rows.flip(-1), rows)
        return {self.name: rows.long() if self.name == "codes" else rows, "labels": self.labels[index]}


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """An array on a device, by an asynchronous copy."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def fits(count: int, device: torch.device) -> bool:
    """Whether a device keeps data, and has space for these bytes beside a network."""
    if device.type not in DEVICES:
        return False
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
    return count <= SHARE * free
