"""Pictures of random levels in every mode, and files of them."""

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


def picture(mode: str, seed: int = 0) -> Image.Image:
    """A picture of random levels in any mode; palettes of 256 random colours, indices 0 to 99."""
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
    """What a picture of 8 bits shows, palettes and transparency resolved."""
    return np.asarray(with_opacity(image))


def keyed(mode: str) -> Image.Image:
    image = picture(mode)
    image.info["transparency"] = {"L": 7, "RGB": (1, 2, 3), "I;16": 300, "P": 3, "1": 0}[mode]
    return image


def bytes_palette() -> Image.Image:
    image = picture("P")
    image.info["transparency"] = bytes([0, 128, 255, 7])
    return image


def reads_what_it_writes(mode: str, kind: str) -> bool:
    """Whether this version of Pillow can read its own files: 12.3 cannot read TIFFs in YCbCr."""
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind)
    try:
        Image.open(buffer).load()
    except OSError:
        return False
    return True


YCBCR_TIFF = reads_what_it_writes("YCbCr", "TIFF")
FILES = {
    "1.png": (picture("1"), {}),
    "L.png": (picture("L"), {}),
    "L key.png": (keyed("L"), {}),
    "LA.png": (picture("LA"), {}),
    "P.png": (picture("P"), {}),
    "P key.png": (keyed("P"), {}),
    "P bytes.png": (bytes_palette(), {}),
    "RGB.png": (picture("RGB"), {}),
    "RGB key.png": (keyed("RGB"), {}),
    "RGBA.png": (picture("RGBA"), {}),
    "I16.png": (picture("I;16"), {}),
    "I16 key.png": (keyed("I;16"), {}),
    "1.tif": (picture("1"), {"compression": "group4"}),
    "L.tif": (picture("L"), {"compression": "tiff_lzw"}),
    "LA.tif": (picture("LA"), {}),
    "P.tif": (picture("P"), {"compression": "packbits"}),
    "PA.tif": (picture("PA"), {}),
    "RGB.tif": (picture("RGB"), {"compression": "tiff_adobe_deflate"}),
    "RGBA.tif": (picture("RGBA"), {}),
    "CMYK.tif": (picture("CMYK"), {}),
    "LAB.tif": (picture("LAB"), {}),
    "YCbCr.tif": (picture("YCbCr"), {}),
    "I16.tif": (picture("I;16"), {"compression": "tiff_lzw"}),
    "I16B.tif": (picture("I;16B"), {}),
    "I.tif": (picture("I"), {}),
    "F.tif": (picture("F"), {}),
    "RGB.webp": (picture("RGB"), LOSSLESS),
    "RGBA.webp": (picture("RGBA"), LOSSLESS),
    "P.bmp": (picture("P"), {}),
    "RGB.bmp": (picture("RGB"), {}),
    "P.gif": (picture("P"), {}),
    "P key.gif": (keyed("P"), {}),
    "RGB.jp2": (picture("RGB"), {}),
    "LA.tga": (picture("LA"), {}),
    "I16.pgm": (picture("I"), {}),
}


if not YCBCR_TIFF:
    del FILES["YCbCr.tif"]
