"""What all entries of a comparison share: tokenizer, cached codes, the size of the network and its first
weights."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from d3pm_image import encode
from d3pm_image.config import DiffusionRun
from d3pm_image.data.codes import CodeSet
from d3pm_image.data.sources import open_source
from d3pm_image.recipes.token_cache import open_tokenizer, tokenizer_data
from d3pm_image.storage import write_tensors
from d3pm_image.tokenizer.palette import start_vectors
from d3pm_image.tokenizer.quantizer import code_vectors

from .entries import ENTRIES
from .problem import Baseline, Problem
from .training import Budget, train


class Setup:
    """The codes that stage two of a run trains on, found in the same cache, and the networks of that run's
    size.

    Args:
        run: Settings of the library's entries and of the common recipe.
        device: Where all entries train and sample.
    """

    def __init__(self, run: DiffusionRun, device: str):
        codes = encode(run.data, run.tokenizer, cache=run.cache)
        self.tokenizer, info = open_tokenizer(run)
        self.tokenizer.to(device)
        self.device, self.run = device, dataclasses.replace(run, data=tokenizer_data(run.data, info))
        self.source = open_source(self.run.data)
        num_codes, num_classes = self.tokenizer.num_codes, len(self.source.class_names)
        # mirrored at random, as in training
        self.codes = CodeSet(codes.place, run.train.seed, num_codes=num_codes)
        self.held_out = codes.held_out
        start = start_vectors(self.tokenizer).cpu() if run.token_start == "codebook" else None
        vectors = partial(code_vectors, self.tokenizer)
        self.problem = Problem(num_codes, num_classes, self.codes.grid, run.denoiser, vectors, start)

    def untrained(self, name: str) -> Baseline:
        """The baseline, with the same first weights where the network is the same."""
        torch.manual_seed(self.run.train.seed)
        return ENTRIES[name].make(self.problem, self.run)

    def train(self, name: str, budget: Budget, out: Path) -> dict[str, Any]:
        """Train an entry, write its averaged weights, and return what is recorded of the training."""
        label_dropout = self.run.loss.label_dropout
        baseline = self.untrained(name)
        weights, record = train(baseline, self.codes, self.run.train, budget, label_dropout, self.device)
        write_tensors(out, weights)
        return record

    def trained(self, name: str, weights: Path) -> Baseline:
        """The baseline with weights that :meth:`train` has written, for sampling."""
        baseline = self.untrained(name)
        baseline.model.load_state_dict(load_file(weights))
        baseline.model.to(self.device).eval()
        return baseline
