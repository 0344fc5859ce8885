"""The order of training data, derived only from (seed, epoch), so that any step of any run can be
reproduced."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..seeds import entropy
from .workers import WITHOUT, CannotStart, HelperDied, LoaderError, awaited, started


class BatchOrder:
    """Batch sampler over an endless shuffled order, starting anywhere.

    Position p of the order is image ``permutation(seed, p // n)[p % n]``; step k uses positions
    k·batch_size … (k+1)·batch_size - 1 and process r of R its r-th slice, so the images of a step do not
    depend on the number of processes. Yields keys ``epoch * n + index`` (see
    :class:`~d3pm_image.data.images.ImageSet`).

    Args:
        length: Number of images n.
        batch_size: Images per step over all processes.
        seed: Seed of the order.
        first_step: Step to begin with (in a resumed run).
        last_step: Step before which to end.
        rank, world: This process and the number of processes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        first_step: int,
        last_step: int,
        rank: int = 0,
        world: int = 1,
    ):
        assert batch_size % world == 0
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.first_step, self.last_step, self.rank, self.world = first_step, last_step, rank, world
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)

    def starting_at(self, step: int) -> BatchOrder:
        """The same order from another step on."""
        return BatchOrder(
            self.length, self.batch_size, self.seed, step, self.last_step, self.rank, self.world
        )

    def key(self, position: int) -> int:
        """Number of the image at a position of the endless order."""
        epoch, offset = divmod(position, self.length)
        if epoch != self._epoch:
            self._epoch, self._permutation = (
                epoch,
                np.random.default_rng(entropy(self.seed, epoch)).permutation(self.length),
            )
        return epoch * self.length + int(self._permutation[offset])

    def arrays(self) -> Iterator[np.ndarray]:
        """The keys of each step, int64 (share of this process,)."""
        share = self.batch_size // self.world
        for step in range(self.first_step, self.last_step):
            start = step * self.batch_size + self.rank * share
            parts, end = [], start + share
            while start < end:
                first, offset = self.key(start), start % self.length
                part = self._permutation[offset : offset + end - start]
                parts.append(part + first // self.length * self.length)
                start += len(part)
            yield np.concatenate(parts)

    def __iter__(self) -> Iterator[list[int]]:
        for keys in self.arrays():
            yield keys.tolist()


def whole(batch: Any) -> Any:
    """Sets give finished batches; there is nothing to collate."""
    return batch


def batches(
    dataset: Dataset, order: BatchOrder, workers: int, device: torch.device | None = None
) -> Iterator[dict]:
    """One dictionary per step, on the device if that keeps the whole set (:mod:`.on_device`).

    ``workers`` processes only where the set is not in memory; where one of them dies (killed for memory,
    say), new ones go on with the step that is due, and where none can be started this process reads alone.

    Raises:
        LoaderError: they died at the same step more than twice, or gave nothing within the limit. Others:
            what the set raises.
    """
    held = dataset.on_device(device) if device is not None and hasattr(dataset, "on_device") else None
    if held is not None:
        yield from held.batches(order)
        return
    pin = device is not None and device.type == "cuda"
    in_memory = getattr(dataset, "pixels", None) is not None or getattr(dataset, "codes", None) is not None
    workers = 0 if in_memory else workers
    step, deaths = order.first_step, 0
    while workers and step < order.last_step:
        try:
            with started(dataset, order.starting_at(step), workers, pin, share=not deaths) as helpers:
                while step < order.last_step:
                    batch = awaited(helpers, workers)
                    yield batch
                    step, deaths = step + 1, 0
        except HelperDied as error:
            deaths += 1
            if deaths > 2:
                raise LoaderError(
                    f"loader processes died {deaths} times at step {step} ({error}): {WITHOUT}"
                ) from error
            print(f"a loader process died ({error}): new ones go on with step {step}", file=sys.stderr)
        except CannotStart as error:
            print(
                f"no loader processes ({error}): images are read by the main process, as with"
                " --data.workers 0",
                file=sys.stderr,
            )
            workers = 0
    if step < order.last_step:
        yield from DataLoader(
            dataset, batch_sampler=order.starting_at(step), pin_memory=pin, collate_fn=whole
        )
