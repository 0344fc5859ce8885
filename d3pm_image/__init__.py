"""d3pm_image: train a VQ tokenizer and a discrete diffusion model on images, generate, and edit images.

``from d3pm_image import Pipeline`` loads a trained model, ``train_tokenizer`` and ``train_diffusion`` make
one; ``dir(d3pm_image)`` lists all that is public. torch is imported only when one of these is used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import DataConfig as DataConfig
    from .config import DenoiserConfig as DenoiserConfig
    from .config import DiffusionLossConfig as DiffusionLossConfig
    from .config import ProcessConfig as ProcessConfig
    from .config import SamplingConfig as SamplingConfig
    from .config import TokenizerConfig as TokenizerConfig
    from .config import TokenizerLossConfig as TokenizerLossConfig
    from .config import TrainConfig as TrainConfig
    from .denoiser import Transformer as Transformer
    from .diffusion import Process as Process
    from .editing.masks import Box as Box
    from .editing.masks import Polygon as Polygon
    from .errors import ConfigError as ConfigError
    from .evaluation.evaluate import evaluate as evaluate
    from .evaluation.tune import tune as tune
    from .imaging import Images as Images
    from .pipeline import Pipeline as Pipeline
    from .recipes.diffusion import train_diffusion as train_diffusion
    from .recipes.encode import encode as encode
    from .recipes.own_images.train import train as train
    from .recipes.tokenizer import train_tokenizer as train_tokenizer
    from .tokenizer import Autoencoder as Autoencoder
    from .tokenizer import load_tokenizer as load_tokenizer
    from .training.task import Interrupted as Interrupted
    from .training.task import TrainingError as TrainingError

__version__ = "0.1.0"
_PLACES = {
    "Autoencoder": ".tokenizer",
    "Box": ".editing.masks",
    "ConfigError": ".errors",
    "DataConfig": ".config",
    "DenoiserConfig": ".config",
    "DiffusionLossConfig": ".config",
    "Images": ".imaging",
    "Interrupted": ".training.task",
    "Pipeline": ".pipeline",
    "Polygon": ".editing.masks",
    "Process": ".diffusion",
    "ProcessConfig": ".config",
    "SamplingConfig": ".config",
    "TokenizerConfig": ".config",
    "TokenizerLossConfig": ".config",
    "TrainConfig": ".config",
    "TrainingError": ".training.task",
    "Transformer": ".denoiser",
    "encode": ".recipes.encode",
    "evaluate": ".evaluation.evaluate",
    "load_tokenizer": ".tokenizer",
    "train": ".recipes.own_images.train",
    "train_diffusion": ".recipes.diffusion",
    "train_tokenizer": ".recipes.tokenizer",
    "tune": ".evaluation.tune",
}
__all__ = ["__version__", *_PLACES]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # type checkers read the imports above

    def __getattr__(name):
        if name in _PLACES:
            return getattr(importlib.import_module(_PLACES[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
