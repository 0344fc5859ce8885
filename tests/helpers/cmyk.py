"""A printer's profile for tests: inks to colours and back by tables (ICC.1, lut8Type), made from the plain rule RGB = (1 - CMY)(1 - K)
with inks that are dirtier than the rule's, as real ones are."""

from __future__ import annotations

import functools
import itertools
import struct

import numpy as np
from PIL import Image, ImageCms

FORWARD, BACK = 7, 17
"""Grid points of the tables per axis: inks to Lab, Lab to inks."""
DIRT = np.array([[1.0, 0.12, 0.05], [0.08, 1.0, 0.15], [0.02, 0.10, 1.0]])
"""How densely cyan, magenta and yellow stand in the way of red, green and blue."""


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB levels (n, 3) uint8 as Lab bytes (n, 3), neutral at 128."""
    image = Image.fromarray(rgb[None])
    made = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    return np.asarray(made)[0] ^ np.array([0, 128, 128], np.uint8)


def rgb_of_lab(values: np.ndarray) -> np.ndarray:
    """The other way."""
    signed = values.astype(np.uint8) ^ np.array([0, 128, 128], np.uint8)
    image = Image.frombytes("LAB", (len(values), 1), signed.tobytes())
    made = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.asarray(made)[0]


def printed(inks: np.ndarray) -> np.ndarray:
    """sRGB levels (n, 3) of inks (n, 4) in [0, 1]."""
    paper = np.exp(np.log((1 - inks[:, :3]).clip(1e-3)) @ DIRT) * (1 - 0.95 * inks[:, 3:])
    return (255 * paper).round().astype(np.uint8)


def table(inputs: int, outputs: int, points: int, values: np.ndarray) -> bytes:
    """A lut8Type tag: identity curves around a grid of values."""
    curve = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([inputs, outputs, points, 0])
    matrix = struct.pack(">9i", *(65536 * int(i % 4 == 0) for i in range(9)))
    return head + matrix + curve * inputs + values.astype(np.uint8).tobytes() + curve * outputs


@functools.cache
def cmyk_profile() -> bytes:
    """The profile as a file."""
    inks = np.array(list(itertools.product(np.linspace(0, 1, FORWARD), repeat=4)))
    forward = table(4, 3, FORWARD, lab(printed(inks)))
    axis = np.linspace(0, 255, BACK).round().astype(np.uint8)
    wanted = rgb_of_lab(np.array(list(itertools.product(axis, repeat=3)))).astype(float) / 255
    black = np.zeros(len(wanted))
    cmy = np.clip(1 - np.exp(np.log(wanted.clip(1e-3)) @ np.linalg.inv(DIRT)), 0, 1)
    back = table(3, 4, BACK, 255 * np.column_stack([cmy, black]))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    copyright_ = b"text" + bytes(4) + b"none\0"
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": text, b"cprt": copyright_, b"wtpt": white, b"A2B0": forward, b"B2A0": back}
    place, entries, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        entries += name + struct.pack(">2I", place + len(body), len(content))
        body += content
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I", place + len(body)) + b"lcms" + bytes([2, 0x20, 0, 0]) + b"prtrCMYKLab "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + d50
    header += bytes(128 - len(header))
    return header + struct.pack(">I", len(tags)) + entries + body
