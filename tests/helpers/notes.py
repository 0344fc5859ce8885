"""Images with notes of how they were made."""

from __future__ import annotations

from PIL import Image

from d3pm_image.imaging import save_image

SIZE = (66, 66)


def made(folder, metadata, name="made.png", size=SIZE):
    save_image(Image.new("L", size), folder / name, metadata)
    return folder / name
