"""Provenance: how an image was made, recorded in PNGs, shown in words, and sufficient to make it again.

A command or the page collects the settings, :mod:`record` adds the metadata of the model and of the input
images, :func:`~d3pm_image.imaging.save_image` or
:func:`~d3pm_image.editing.image_files.files.write_image_file` writes them, :mod:`reading` reads them.
"""

from .reading import describe, read_settings
from .record import edit_record, image_record, made_by, mask_of, mask_text, origin, recorded_model

__all__ = [
    "describe",
    "edit_record",
    "image_record",
    "made_by",
    "mask_of",
    "mask_text",
    "origin",
    "read_settings",
    "recorded_model",
]
