"""What a device computes fast."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.devices import bf16_is_fast


@pytest.mark.parametrize(
    ("able", "fast"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True}, False),
    ],
)
def test_a_processor_is_asked_for_its_instructions(able, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert bf16_is_fast("cpu") is fast


@pytest.mark.parametrize("has", ["avx512", "amx"])
def test_an_older_torch_is_asked_too(has, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has == "avx512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has == "amx")
    assert bf16_is_fast("cpu")
    monkeypatch.setattr(torch.cpu, f"_is_{'avx512_bf16' if has == 'avx512' else 'amx_tile'}_supported", bool)
    assert not bf16_is_fast("cpu")
