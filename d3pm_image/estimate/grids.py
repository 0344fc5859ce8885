"""What stage two needs to know of its tokenizer, whether it is trained already or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Codes:
    """What stage two needs of its tokenizer."""

    num_codes: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    channels: int
