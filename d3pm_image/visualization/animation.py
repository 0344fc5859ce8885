"""The decode of several images as an animation, and the two files that a trajectory is written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..config import ConfigError
from ..data.spread import spread_over
from ..imaging import grid_image, save_animation, save_image
from ..outputs import added
from ..types import Grid
from .code_images import Decode, decoded_tiles
from .contact_sheet import FAINT, INK, STILL, contact_sheet, font
from .recorder import Trajectory

MOST_FRAMES = 120
LAST_MS = 1500
WIDE = 160  # pixels of a tile from which four are side by side, and not eight


def sheet_path(path: Path) -> Path:
    """File of the contact sheet of an animation: FILE-sheet.png beside FILE.gif."""
    return added(path, "-sheet", ".png")


def check_animation(path: Path, name: str = "trajectory") -> None:
    """Raises ConfigError for an ending other than .gif and .webp, or one that this Pillow cannot write."""
    Image.init()
    kind = {".gif": "GIF", ".webp": "WEBP"}.get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE_ALL:
        raise ConfigError(name, str(path), "use an ending of .gif or .webp")


def captioned(image: Image.Image, step: int, steps: int) -> Image.Image:
    """A frame with its step and a bar of progress under it; L stays L."""
    grey = image.mode == "L"
    ink, faint, still = ((sum(c) // 3 if grey else c) for c in (INK, FAINT, STILL))
    frame = Image.new(image.mode, (image.width, image.height + 26), "white")
    frame.paste(image, (0, 0))
    draw = ImageDraw.Draw(frame)
    y, left, right = image.height + 10, 96, image.width - 10
    draw.text((6, y), f"step {step} of {steps}", fill=ink, font=font(12), anchor="lm")
    if right > left + 20:
        draw.rectangle((left, y - 2, right, y + 2), fill=still)
        draw.rectangle((left, y - 2, left + (right - left) * step // max(1, steps), y + 2), fill=faint)
    return frame


def animation_frames(trajectory: Trajectory, grid: Grid, decode: Decode) -> list[Image.Image]:
    """All images of a trajectory side by side, one image per step (at most 120, evenly chosen), L or RGB."""
    frames = []
    for step in spread_over(len(trajectory), MOST_FRAMES).tolist():
        tiles = decoded_tiles(trajectory.codes[step], trajectory.masked[step], grid, decode)
        columns = min(len(tiles), 4 if tiles[0].width > WIDE else 8)
        frames.append(captioned(grid_image(tiles, columns), step, len(trajectory) - 1))
    return frames


def save_trajectory(
    trajectory: Trajectory,
    path: str | Path,
    grid: Grid,
    decode: Decode,
    frame_ms: int = 200,
    title: str = "",
    settings: dict[str, Any] | None = None,
) -> Path:
    """Write the animation of all images, its last frame held for longer, and the contact sheet of image 0
    beside it.

    Args:
        trajectory: From a :class:`~d3pm_image.visualization.Recorder`.
        path: FILE.gif or FILE.webp; the sheet is FILE-sheet.png.
        grid: (H, W), N = H·W.
        decode: Codes (B, H, W) to images (B, C, h, w) in [0, 1].
        frame_ms: How long a frame is shown, in milliseconds.
        title: First line of the sheet.
        settings: Recorded in the sheet as text.

    Returns:
        Path of the sheet.

    Raises:
        ConfigError: another ending; nothing is written then.
    """
    path = Path(path)
    check_animation(path)
    frames, sheet = animation_frames(trajectory, grid, decode), contact_sheet(trajectory, grid, decode, title)
    save_animation(frames, path, frame_ms, max(LAST_MS, frame_ms))
    save_image(sheet, sheet_path(path), settings)
    return sheet_path(path)
