"""The library's own process, loss and samplers: hybrid, pure absorbing, pure uniform, and multinomial
diffusion.

Multinomial diffusion (Hoogeboom et al. 2021) is the uniform process with the offset cosine schedule and the
bound alone as its loss: D3PM's uniform transitions are the same method."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from d3pm_image.config import DiffusionLossConfig, ProcessConfig, SamplingConfig
from d3pm_image.data.codes import CodeSet
from d3pm_image.diffusion import Process
from d3pm_image.metrics.likelihood import Likelihood, bound_in_bits
from d3pm_image.recipes.diffusion import make_loss
from d3pm_image.sampling.choice import SHARED, make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams
from d3pm_image.training.random import StepRandom

from .problem import Predictor, Problem


class Library:
    """A model of this package.

    Args:
        problem: Codes and network.
        process: The corruption process.
        objective: The loss; its label dropout is left to the trainer.
    """

    def __init__(self, problem: Problem, process: ProcessConfig, objective: DiffusionLossConfig):
        self.problem, self.model = problem, problem.transformer()
        self.process = Process.from_config(process, problem.num_codes, problem.vectors)
        objective = dataclasses.replace(objective, label_dropout=0.0)
        self._loss = make_loss(self.process, objective, problem.grid)

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        return self._loss(self.model, {"codes": codes, "labels": labels}, random)[0]

    def held_out(self, codes: CodeSet) -> Likelihood:
        """The variational bound of held-out codes."""

        def read(keys: list[int]) -> tuple[Tensor, Tensor]:
            batch = codes.__getitems__(keys)
            labels = batch["labels"]
            return batch["codes"], torch.where(labels < 0, self.problem.num_classes, labels)

        return bound_in_bits(self.model, self.process, read, len(codes), codes.grid)

    def sample(
        self,
        labels: Tensor,
        calls: int,
        seed: int,
        guidance: float = 1.0,
        correct_steps: int = 0,
        sampler: str = "confidence",
        **own,
    ) -> Tensor:
        """``correct_steps`` of the calls are self-correction of the finished codes; ``own`` are the sampler's
        own settings."""
        shared = {name: own.pop(name) for name in SHARED if name in own}
        shared |= {"steps": calls - correct_steps, "correct_steps": correct_steps, "guidance": guidance}
        config = SamplingConfig(**shared)
        request = Request(make_sampler(sampler, **own), config)
        streams, grid = ImageStreams(seed, range(len(labels)), labels.device), self.problem.grid
        predict, none = Predictor(self.model, grid), self.problem.num_classes
        with torch.no_grad():
            return sample(predict, self.process, request, labels, none, grid, streams)
