"""Figures of networks on a device without float64: those of the CPU."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from helpers.apple import apple_machine
from helpers.edits import model

from d3pm_image.metrics.edit_locality import far_changes
from d3pm_image.metrics.likelihood import bound_in_bits
from d3pm_image.metrics.pretrained import pretrained_space
from d3pm_image.metrics.reconstruction import reconstruction_error
from d3pm_image.metrics.seam import seam_gradients, seam_ratio
from d3pm_image.testing import check_denoiser, check_tokenizer

IMAGES = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def on_both(measure):
    """A figure by the CPU and by the stand-in, of a pipeline and of images on its device."""
    pipe = model(2)
    expected = measure(pipe, IMAGES)
    with apple_machine() as device:
        return expected, measure(deepcopy(pipe).to(device), IMAGES.to(device))


@pytest.mark.parametrize("steps", [0, 5])
def test_the_bound(steps):
    def measure(pipe, images):
        process = type(pipe.process)(16, pipe.process.schedule, steps)
        codes = torch.randint(16, (6, 64), generator=torch.Generator().manual_seed(1)).to(pipe.device)
        labels = torch.tensor([0, 1, 2, 3, 3, 3], device=pipe.device)

        def read(keys):
            return codes[keys[0] : keys[-1] + 1], labels[keys[0] : keys[-1] + 1]

        return bound_in_bits(pipe.predict, process, read, 6, (8, 8), 2, batch_size=4)

    expected, found = on_both(measure)
    assert found == expected and expected.bits > 0


def test_reconstructions_and_their_judge():
    """The criterion is a network on the device: it is given what lies there."""

    def measure(pipe, images):
        def criterion(output, real):
            assert output.device == real.device == pipe.device
            return (output - real).abs().mean()

        def read(numbers):
            return images[numbers[0] : numbers[-1] + 1]

        return reconstruction_error(pipe.tokenizer, read, 6, 4, criterion)

    expected, found = on_both(measure)
    assert found == pytest.approx(expected, rel=1e-4) and expected["reconstruction_loss"] > 0


def test_seams():
    masks = torch.zeros(6, 16, 16, dtype=torch.bool)
    masks[:5, 4:9, 6:11] = True

    def measure(pipe, images):
        there = masks.to(images.device)
        return [*seam_gradients(images, there)[:5].tolist(), seam_ratio(images, images.flip(-1), there)]

    expected, found = on_both(measure)
    assert found == expected


def test_how_far_an_edit_reaches():
    expected, found = on_both(lambda pipe, images: far_changes(pipe.tokenizer, images, 3))
    assert found == expected > 0


def test_features_of_images():
    pytest.importorskip("efficientnet_lite_pytorch")
    images = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    expected, found = on_both(lambda pipe, _: pretrained_space(str(pipe.device)).features(images))
    assert found.device.type == "cpu" and torch.allclose(found, expected)


def test_the_checks_of_networks_written_elsewhere():
    def measure(pipe, images):
        check_denoiser(pipe.predict, 16, 3, (8, 8), pipe.device)
        check_tokenizer(pipe.tokenizer, (16, 16), pipe.device)

    assert on_both(measure) == (None, None)
