"""What a model runs on, and whether files are replaced: options of commands and of functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ..devices import PrecisionOption, check_precision
from .ranges import check_batch_size, check_seed


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What to run on.

    Args:
        seed: Image i under a seed is the same whatever the number of images and the batch size.
        batch_size: Images in one network call.
        device: auto, cpu, cuda or mps (an Apple GPU; auto never takes it).
        precision: float32, bf16 (other samples under the same seed), or auto: bf16 where the device is at
            least as fast with it, as processors with avx512_bf16 or AMX and recent GPUs are.
        compile: Compile the denoiser first (torch.compile). This takes minutes, and pays for thousands of
            images.
    """

    seed: int = 0
    batch_size: int = 64
    device: str = "auto"
    precision: PrecisionOption = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_batch_size(self.batch_size)
        check_precision(self.precision)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Whether existing files are replaced.

    Args:
        overwrite: Replace existing files; by default a new file gets the next free number (NAME-2).
    """

    overwrite: bool = False


class RunKeywords(TypedDict, total=False):
    """:class:`RunOptions` and :class:`OutputOptions` as keyword arguments."""

    seed: int
    batch_size: int
    device: str
    precision: PrecisionOption
    compile: bool
    overwrite: bool
