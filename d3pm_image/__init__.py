"""d3pm_image: train a VQ tokenizer and a discrete diffusion model on images, generate, and inpaint.

``from d3pm_image import Pipeline`` is the way in; torch is imported only when it is used.
"""

__version__ = "0.1.0.dev0"
__all__ = ["Pipeline", "__version__"]


def __getattr__(name: str):
    if name == "Pipeline":
        from .pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
