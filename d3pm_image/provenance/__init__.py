"""What an image says of how it was made: written into PNGs beside the pixels, read back in plain words, and
enough to make it again.

A command or the page collects the settings, :mod:`record` adds what of the model and of the images that
went in must be known later, :func:`~d3pm_image.imaging.save_image` or
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
