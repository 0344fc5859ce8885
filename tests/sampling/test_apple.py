"""Drawing on a device without float64: the network is there, all else on the CPU, and the codes are the CPU's."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from helpers.apple import DEVICE, OnApple, apple_machine
from helpers.asking import asked
from helpers.edits import model
from helpers.samplers import SAMPLERS, named

from d3pm_image import devices
from d3pm_image.sampling import SAMPLERS as NAMES
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.state import ImageStreams


def moved(pipe):
    """A copy of a pipeline on the stand-in."""
    return deepcopy(pipe).to("mps")


def test_the_stand_in_refuses_what_the_hardware_refuses():
    refused = [
        lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
        lambda: torch.tensor([1.0], dtype=torch.float64, device=DEVICE),
        lambda: torch.tensor(1.0, dtype=torch.float64, device=DEVICE),
        lambda: torch.zeros(2).double().to("mps"),
        lambda: torch.zeros(2, device="mps").double(),
        lambda: torch.zeros(2, device="mps").sum(dtype=torch.float64),
        lambda: torch.nn.Linear(2, 2).double().to("mps"),
    ]
    with apple_machine():
        for make in refused:
            with pytest.raises(TypeError, match="float64"):
                make()
        for mixture in (
            lambda: torch.zeros(2, device="mps") + torch.ones(2),
            lambda: torch.where(torch.zeros(2, device="mps") > 0, torch.ones(2), torch.ones(2)),
            lambda: torch.ones(2)[torch.zeros(1, dtype=torch.long, device="mps")],
            lambda: torch.rand(2, device="mps", generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="mps"):
                mixture()
        x = torch.arange(3.0, device="mps")
        assert isinstance(x, OnApple) and x.device == DEVICE and (2 * x + 1)[1:].tolist() == [3, 5]
        assert x.cpu().double().dtype == torch.float64


def test_every_sampler_is_tried():
    assert {settings["sampler"] for settings in SAMPLERS} == set(NAMES)


@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_every_sampler_draws_the_codes_of_the_cpu(settings):
    pipe = model("pixels")
    how = {"seed": [5, 6], "labels": ["class 1", "class 2"], "steps": 5, **settings}
    expected = pipe.generate_codes(2, **how)
    with apple_machine():
        found = moved(pipe).generate_codes(2, **how)
        assert isinstance(found, OnApple)
        assert torch.equal(found.cpu(), expected)


def test_guidance_corrections_and_images_too():
    pipe = model(4)
    how = {"seed": 1, "steps": 3, "guidance": 2.0, "negative_label": 0, "correct_steps": 2, "batch_size": 2}
    seen = []
    expected = pipe.generate(3, "class 1", output_type="pt", **how)
    with apple_machine():
        there = moved(pipe)
        found = there.generate(
            3, "class 1", output_type="pt", callback=lambda step: seen.append(step.x_t), **how
        )
        assert "mps:0" in repr(there) and found.device.type == "cpu"
        images = there([1, 2], **{**how, "seed": 3}).images
        assert torch.allclose(found, expected, atol=1e-5)
        assert there.precision == "float32" and len(images) == 2
    assert len(seen) == 2 * 6 and not any(isinstance(codes, OnApple) for codes in seen)


def test_in_bfloat16_too():
    pipe = deepcopy(model("pixels")).to(torch.bfloat16)
    pipe.denoiser.requires_grad_(
        False
    )  # what autocast keeps asks for gradients, which the stand-in has none of
    expected = pipe.generate_codes(2, seed=2, steps=2)
    with apple_machine():
        there = moved(pipe)
        assert torch.equal(there.generate_codes(2, seed=2, steps=2).cpu(), expected)
        assert there.precision == "bf16"


@pytest.mark.parametrize("meaning", ["leave_one_out", "posterior"])
def test_a_network_of_ones_own_is_asked_on_its_device(meaning):
    """Known codes and positions may lie with the labels or on the CPU."""
    pipe, asked_with = model("pixels"), []
    process = type(pipe.process)(8, pipe.process.schedule, 0, meaning)
    known = torch.arange(64).repeat(2, 1) % 8
    unknown = torch.arange(64).repeat(2, 1) % 3 > 0

    def draw(network, labels, known, unknown):
        streams = ImageStreams(4, range(2), labels.device)
        request = asked("ancestral", steps=3)
        return sample(network, process, request, labels, 3, (8, 8), streams, known, unknown, 0.6)

    labels = torch.tensor([0, 3])
    expected = draw(pipe.predict, labels, known, unknown)
    with apple_machine() as device:
        there = moved(pipe)

        def network(x_t, kappa, labels, grid, where=None):
            asked_with.append((x_t, kappa, labels, where))
            return there.predict(x_t, kappa, labels, grid, where)

        found = draw(network, labels.to(device), known.to(device), unknown.to(device))
        assert torch.equal(found.cpu(), expected) and isinstance(found, OnApple)
        assert torch.equal(draw(network, labels.to(device), known, unknown).cpu(), expected)
    assert all(isinstance(value, OnApple) for call in asked_with for value in call)


def test_float64_on_the_device_is_found(monkeypatch):
    """Were the device taken for one with float64, drawing would fail as on the hardware."""
    monkeypatch.setattr(devices, "has_float64", lambda device: True)
    with apple_machine():
        there = moved(model("pixels"))
        with pytest.raises(TypeError, match="float64"):
            there.generate_codes(1, steps=2)


def test_other_devices_meet_no_bridge():
    def network(x_t, kappa, labels, grid, where=None):
        raise AssertionError

    for name in ("cpu", "cuda", "cuda:1"):
        assert devices.asked_from_exact(network, torch.device(name)) is network
        assert devices.exact_device(name) == torch.device(name)
    assert devices.exact_device("mps").type == "cpu"
