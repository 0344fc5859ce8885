"""Properties of a tokenizer that stage two needs, whether it is trained already or not."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Tile


@dataclass(frozen=True)
class Codes:
    """Properties of a tokenizer that stage two needs."""

    num_codes: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    channels: int
    tile: Tile = "none"
