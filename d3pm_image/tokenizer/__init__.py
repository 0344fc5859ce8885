"""Images ↔ codes: the convolutional VQ-VAE, its quantizer and its loss; pixels and colours of a palette as
codes; the folder format of all.

torch is imported when one of these names is first used: the settings of quantizers lie below, and the command
line reads them.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .autoencoder import Autoencoder as Autoencoder
    from .folder import load_tokenizer as load_tokenizer
    from .folder import pixel_tokenizer as pixel_tokenizer
    from .folder import save_tokenizer as save_tokenizer
    from .palette import Palette as Palette
    from .pixels import Pixels as Pixels

__all__ = ["Autoencoder", "Palette", "Pixels", "load_tokenizer", "pixel_tokenizer", "save_tokenizer"]

if not TYPE_CHECKING:  # type checkers read the imports above

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        own = {"Autoencoder": ".autoencoder", "Palette": ".palette", "Pixels": ".pixels"}
        place = own.get(name, ".folder")
        return getattr(importlib.import_module(place, __name__), name)
