"""Processes of every kind for hypothesis to draw, all small enough for the dense reference."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from d3pm_image.config import ProcessConfig
from d3pm_image.config.diffusion import CURVES
from d3pm_image.diffusion import ConstantShare, Gidd, Independent, Kernel, MutualInformation, Process

SHARES = (0.0, 0.1, 0.5, 0.93, 1.0)
PLAIN = tuple(name for name in CURVES if name != "polynomial")  # that has an exponent besides


def schedules(codes: int) -> st.SearchStrategy:
    """Continuous schedules for K = codes."""
    return st.one_of(
        st.builds(ConstantShare, st.sampled_from(PLAIN), st.sampled_from(SHARES)),
        st.builds(
            lambda w, p: ConstantShare("polynomial", w, power=p),
            st.sampled_from(SHARES),
            st.sampled_from([0.5, 2.0, 3.0]),
        ),
        st.builds(
            lambda w, e: ConstantShare("linear", w, end=e),
            st.sampled_from(SHARES),
            st.sampled_from([0.135, 0.8]),
        ),
        st.builds(lambda w: MutualInformation(uniform_share=w, num_codes=codes), st.sampled_from(SHARES)),
        st.builds(
            Independent, st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.sampled_from([0.2, 0.9, 1.0])
        ),
        st.builds(Gidd, st.sampled_from([0.05, 0.2, 0.6])),
    )


@st.composite
def processes(draw, steps=(3, 10, 100)) -> Process:
    """Discrete processes, VQ-Diffusion's among them."""
    codes, count = draw(st.integers(2, 5)), draw(st.sampled_from(steps))
    vq = st.builds(lambda w: ConstantShare("vq_diffusion", w, steps=count), st.sampled_from(SHARES))
    schedule = draw(st.one_of(schedules(codes), vq))
    kernel = None if schedule.absorbing else draw(st.one_of(st.none(), kernels(codes)))
    return Process(codes, schedule, count, kernel=kernel)


def kernels(codes: int) -> st.SearchStrategy:
    """Kernels over random places in a plane."""
    return st.builds(kernel, st.just(codes), st.sampled_from(["gaussian", "nearest"]), st.integers(0, 9))


def kernel(codes: int, kind: str, seed: int = 0, neighbours: int = 2) -> Kernel:
    places = torch.randn(codes, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Kernel.of(kind, places.numpy(), neighbours)


def from_settings(codes: int = 4, **settings) -> Process:
    return Process.from_config(ProcessConfig(**settings), codes)
