"""Image files of any origin: formats that are opened, reading of pixels despite damaged metadata, and colour
profiles.

:mod:`opening` is the only place that opens image files, :mod:`bare` copies a file without its metadata,
:mod:`exif` reads and writes EXIF entry by entry, :mod:`profile` converts between an image's own colours and
sRGB.
"""

from .exif import Entries, entries_of, orientation_of, same_entry, to_exif, upright, writable
from .frames import MOST_FRAMES, count_frames
from .opening import (
    FORMATS,
    image_endings,
    is_of_the_machine,
    open_image,
    opened,
    read_header,
    read_image,
    readable_formats,
)
from .profile import from_srgb, srgb_transform, to_srgb

__all__ = [
    "FORMATS",
    "MOST_FRAMES",
    "Entries",
    "count_frames",
    "entries_of",
    "from_srgb",
    "image_endings",
    "is_of_the_machine",
    "open_image",
    "opened",
    "orientation_of",
    "read_header",
    "read_image",
    "readable_formats",
    "same_entry",
    "srgb_transform",
    "to_exif",
    "to_srgb",
    "upright",
    "writable",
]
