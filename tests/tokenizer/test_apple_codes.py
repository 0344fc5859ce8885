"""Every quantizer on a device without float64: the codes and vectors of the CPU."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from helpers.apple import apple_machine
from helpers.quantizers import SMALL, network
from helpers.tokenizers import started

from d3pm_image.tokenizer.quantizers import QUANTIZERS


def test_every_quantizer_is_tried():
    assert set(SMALL) == set(QUANTIZERS)


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_codes_and_vectors_are_those_of_the_cpu(name):
    tokenizer = started(network(name), 1)
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    codes = tokenizer.encode(images)
    with apple_machine() as device:
        there = deepcopy(tokenizer).to(device)
        found = there.encode(images.to(device))
        assert found.device == device and torch.equal(found.cpu(), codes) and len(codes.unique()) > 1
        assert torch.equal(there.vectors(found).cpu(), tokenizer.vectors(codes))
        assert torch.allclose(there.decode(found).cpu(), tokenizer.decode(codes), atol=1e-5)
