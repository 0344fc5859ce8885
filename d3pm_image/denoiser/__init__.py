"""The network: noisy codes, noise level κ and class to logits over clean codes."""

from .transformer import Transformer

__all__ = ["Transformer"]
