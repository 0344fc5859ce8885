"""d3pm_image: train a VQ tokenizer and a discrete diffusion model on images, generate, and edit pictures.

``from d3pm_image import Pipeline`` is the way in, with ``Box`` and ``Polygon`` for regions; torch is imported only when they are used.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["Box", "Pipeline", "Polygon", "__version__"]
_PLACES = {"Pipeline": ".pipeline", "Box": ".editing.masks", "Polygon": ".editing.masks"}


def __getattr__(name: str):
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
