"""Which errors leave a single image out, and which must end the run.

A file that cannot be decoded is left out. A failing disk, missing rights, too many open files or too little
memory are not errors of the image: leaving it out would make the data set smaller, silently and differently
each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..image_io import is_of_the_machine

T = TypeVar("T")


def is_decoder_error(error: BaseException) -> bool:
    """Whether an error says that one image cannot be decoded."""
    return isinstance(error, Exception) and not is_of_the_machine(error)


def decoded_or_error(
    decode: Callable[[], T], read: Callable[[], object], name: Callable[[], str]
) -> T | Exception:
    """The result of ``decode``, or the error that says that the image cannot be decoded.

    Args:
        read: Reads the image's bytes, to find an error of the disk that a decoder hides behind one of its
            own.
        name: The image's name, for errors that do not have it.

    Raises:
        OSError, MemoryError: the system's errors, under their own name.
    """
    try:
        try:
            return decode()
        except Exception as error:
            if not is_decoder_error(error):
                raise
            read()
            return error
    except OSError as error:
        if error.errno is None:
            raise MemoryError(f"{name()}: {error}") from error
        error.filename = error.filename or name()
        raise
    except MemoryError as error:
        raise MemoryError(f"{name()}: {error or 'no memory left to decode it'}") from error
