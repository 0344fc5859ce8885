"""Files and folders are written whole or not at all."""

from __future__ import annotations

import math
import os

import pytest
import torch
from helpers.damage import breaks

from d3pm_image import storage


@pytest.mark.parametrize("call", ["sync", "os.replace"])
@pytest.mark.parametrize("kind", ["text", "tensors"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, kind, call):
    path = tmp_path / "file"
    write = (
        storage.write_text
        if kind == "text"
        else lambda p, v: storage.write_tensors(p, {"x": torch.tensor(float(v))})
    )
    write(path, "1")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "sync", breaks) if call == "sync" else patch.setattr(os, "replace", breaks)
        with pytest.raises(OSError, match="disk full"):
            write(path, "2")
    assert path.read_bytes() == before
    write(path, "3")
    assert path.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_tensors_are_read_back_bit_for_bit(tmp_path):
    """Shared, strided, empty, scalar and integer tensors included."""
    from safetensors.torch import load_file

    shared = torch.randn(3, 4)
    tensors = {
        "a": shared,
        "b": shared,
        "c": shared.t(),
        "d": shared[:, ::2],
        "e": torch.zeros(0, 2),
        "f": torch.tensor(5),
        "g": torch.tensor([math.nan, -0.0, math.inf]).bfloat16(),
    }
    storage.write_tensors(tmp_path / "x.safetensors", tensors, {"step": "3"})
    again = load_file(tmp_path / "x.safetensors")
    assert again.keys() == tensors.keys()
    assert all(
        torch.equal(again[k].nan_to_num(7), v.nan_to_num(7)) and again[k].dtype == v.dtype
        for k, v in tensors.items()
    )


def folder_of(path, text: str):
    path.mkdir()
    (path / "a").write_text(text)
    (path / "deep").mkdir()
    (path / "deep" / "b").write_text(text)
    return path


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    place = folder_of(tmp_path / "model", "old")
    (place / "extra").touch()
    storage.replace_folder(folder_of(tmp_path / "part", "new"), place)
    assert sorted(str(p.relative_to(place)) for p in place.rglob("*")) == ["a", "deep", "deep/b"]
    assert (place / "deep" / "b").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_replacement_leaves_the_old_folder(tmp_path, monkeypatch, failing):
    """Whichever of the two renames fails."""
    place, part = folder_of(tmp_path / "model", "old"), folder_of(tmp_path / "part", "new")
    real, calls = os.replace, []

    def sometimes(a, b):
        calls.append(a)
        return breaks() if len(calls) == failing else real(a, b)

    monkeypatch.setattr(os, "replace", sometimes)
    with pytest.raises(OSError, match="disk full"):
        storage.replace_folder(part, place)
    assert (place / "deep" / "b").read_text() == "old"
