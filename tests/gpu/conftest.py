"""Tests of what needs an NVIDIA GPU. ``D3PM_IMAGE_GPU_TESTS=cpu`` runs them on the processor in its place: a
rehearsal, which shows that the tests themselves work."""

from __future__ import annotations

import os

import pytest
import torch

from d3pm_image.data import on_device
from d3pm_image.training import skipping

REHEARSAL = os.environ.get("D3PM_IMAGE_GPU_TESTS") == "cpu"


def pytest_collection_modifyitems(items):
    reason = "no NVIDIA GPU here (D3PM_IMAGE_GPU_TESTS=cpu rehearses on the processor)"
    for item in items:
        if "tests/gpu/" in str(item.path).replace(os.sep, "/"):
            item.add_marker(pytest.mark.gpu)
            if not (REHEARSAL or torch.cuda.is_available()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def gpu(monkeypatch) -> torch.device:
    """The GPU; in a rehearsal the processor, with the ways of a GPU."""
    if not REHEARSAL:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        return torch.device("cuda")
    monkeypatch.setattr(skipping, "DEVICES", ("cpu",))
    monkeypatch.setattr(on_device, "DEVICES", ("cpu",))
    return torch.device("cpu")
