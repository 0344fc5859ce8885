"""Settings of ``encode``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import check
from .data import DataConfig
from .tokenizer import trains_nothing


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Write the code cache that train-diffusion reads. Training would write it itself; this command is useful
    for large sets, with many processes (torchrun scripts/encode.py …), and continues after a kill with what
    is missing.

    Args:
        tokenizer: Tokenizer folder, or the run that trained it, or pixels:L, palette:N or palette:FILE.
        data: Images; size and channels are the tokenizer's own.
        cache: Folder for cached codes. Default: ~/.cache/d3pm_image/codes.
        drop_unused: Folder for a second tokenizer that has only the codes that the images use, with caches in
            its numbers, so that the diffusion model does not compute logits for unused codes. Empty for none.

    Example:
        d3pm-image encode --tokenizer runs/photos/tokenizer --data.root photos
    """

    tokenizer: str
    data: DataConfig = field(default_factory=DataConfig)
    cache: str = ""
    drop_unused: str = ""

    def __post_init__(self) -> None:
        hint = "exists already; name another folder"
        check(
            not self.drop_unused or not Path(self.drop_unused).exists(), "drop_unused", self.drop_unused, hint
        )
        hint = "has no codebook to drop codes from: its codes are pixels or colours; leave drop_unused out"
        check(not self.drop_unused or not trains_nothing(self.tokenizer), "tokenizer", self.tokenizer, hint)
