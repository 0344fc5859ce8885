"""Images of random levels in every mode, and files of them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from d3pm_image.imaging import with_opacity

WIDTH, HEIGHT = 13, 9
MODES = [
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
    "I;16",
    "I;16B",
    "I;16L",
]


def make_image(mode: str, seed: int = 0) -> Image.Image:
    """An image of random levels in any mode; palettes of 256 random colours, indices 0 to 99."""
    random = np.random.default_rng(seed)
    image = Image.new(mode, (WIDTH, HEIGHT))
    array = np.asarray(image)
    if mode == "1":
        return Image.fromarray(random.random(array.shape) < 0.5)
    if mode == "F":
        values = random.random(array.shape).astype(np.float32)
    elif mode.startswith("I"):
        values = random.integers(0, 65536, array.shape).astype(array.dtype)
    else:
        values = random.integers(0, 100 if mode[0] == "P" else 256, array.shape, np.uint8)
    image.frombytes(values.tobytes())
    if mode[0] == "P":
        image.putpalette(random.integers(0, 256, 768, np.uint8).tobytes())
    return image


def painting(channels: int = 3, seed: int = 7) -> Image.Image:
    shape = (HEIGHT, WIDTH, 3) if channels == 3 else (HEIGHT, WIDTH)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def weights(seed: int = 1) -> np.ndarray:
    """A third each of 0, 1 and between."""
    random = np.random.default_rng(seed)
    return np.choose(random.integers(0, 3, (HEIGHT, WIDTH)), [0.0, 1.0, random.random((HEIGHT, WIDTH))])


LOSSLESS = {"lossless": True, "exact": True}


def seen(image: Image.Image) -> np.ndarray:
    """What an image of 8 bits shows, palettes and transparency resolved."""
    return np.asarray(with_opacity(image))


def keyed(mode: str) -> Image.Image:
    image = make_image(mode)
    image.info["transparency"] = {"L": 7, "RGB": (1, 2, 3), "I;16": 300, "P": 3, "1": 0}[mode]
    return image


def bytes_palette() -> Image.Image:
    image = make_image("P")
    image.info["transparency"] = bytes([0, 128, 255, 7])
    return image


def reads_what_it_writes(mode: str, kind: str) -> bool:
    """Whether this version of Pillow can read its own files: 12.3 cannot read TIFFs in YCbCr."""
    buffer = io.BytesIO()
    make_image(mode).save(buffer, kind)
    try:
        Image.open(buffer).load()
    except OSError:
        return False
    return True


YCBCR_TIFF = reads_what_it_writes("YCbCr", "TIFF")
FILES = {
    "1.png": (make_image("1"), {}),
    "L.png": (make_image("L"), {}),
    "L key.png": (keyed("L"), {}),
    "LA.png": (make_image("LA"), {}),
    "P.png": (make_image("P"), {}),
    "P key.png": (keyed("P"), {}),
    "P bytes.png": (bytes_palette(), {}),
    "RGB.png": (make_image("RGB"), {}),
    "RGB key.png": (keyed("RGB"), {}),
    "RGBA.png": (make_image("RGBA"), {}),
    "I16.png": (make_image("I;16"), {}),
    "I16 key.png": (keyed("I;16"), {}),
    "1.tif": (make_image("1"), {"compression": "group4"}),
    "L.tif": (make_image("L"), {"compression": "tiff_lzw"}),
    "LA.tif": (make_image("LA"), {}),
    "P.tif": (make_image("P"), {"compression": "packbits"}),
    "PA.tif": (make_image("PA"), {}),
    "RGB.tif": (make_image("RGB"), {"compression": "tiff_adobe_deflate"}),
    "RGBA.tif": (make_image("RGBA"), {}),
    "CMYK.tif": (make_image("CMYK"), {}),
    "LAB.tif": (make_image("LAB"), {}),
    "YCbCr.tif": (make_image("YCbCr"), {}),
    "I16.tif": (make_image("I;16"), {"compression": "tiff_lzw"}),
    "I16B.tif": (make_image("I;16B"), {}),
    "I.tif": (make_image("I"), {}),
    "F.tif": (make_image("F"), {}),
    "RGB.webp": (make_image("RGB"), LOSSLESS),
    "RGBA.webp": (make_image("RGBA"), LOSSLESS),
    "P.bmp": (make_image("P"), {}),
    "RGB.bmp": (make_image("RGB"), {}),
    "P.gif": (make_image("P"), {}),
    "P key.gif": (keyed("P"), {}),
    "RGB.jp2": (make_image("RGB"), {}),
    "LA.tga": (make_image("LA"), {}),
    "I16.pgm": (make_image("I"), {}),
}


if not YCBCR_TIFF:
    del FILES["YCbCr.tif"]
