"""Images ↔ codes: the convolutional VQ-VAE, its quantizer, its loss and its folder format."""

from .autoencoder import Autoencoder
from .folder import load_tokenizer, save_tokenizer

__all__ = ["Autoencoder", "load_tokenizer", "save_tokenizer"]
