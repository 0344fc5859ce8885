"""A trained model as ONNX graphs."""

from __future__ import annotations

import pytest
import torch
from helpers.models import files, pipeline

from d3pm_image import Pipeline
from d3pm_image.cli import main
from d3pm_image.export import export


@pytest.mark.slow
def test_onnx(trained, tmp_path, capsys):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    main(["export", str(trained / "diffusion"), "--out", str(tmp_path), "--form", "onnx"])
    assert "denoiser.onnx: largest difference" in capsys.readouterr().out


@pytest.mark.slow
def test_the_network_still_works_after_export(trained, tmp_path):
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    before = pipe.generate_codes(2, steps=2)
    export(pipe, tmp_path)
    assert torch.equal(before, pipe.generate_codes(2, steps=2))
    graph = torch.export.load(tmp_path / "denoiser.pt2").module()
    x_t = torch.randint(pipe.process.num_codes + 1, (5, 16))
    args = {"x_t": x_t, "kappa": torch.rand(5), "labels": torch.zeros(5, dtype=torch.long)}
    with torch.no_grad():
        torch.testing.assert_close(graph(**args), pipe.denoiser(*args.values(), pipe.grid), atol=1e-4, rtol=0)


def test_an_export_leaves_other_files_alone_and_fails_as_a_whole(tmp_path, monkeypatch):
    import d3pm_image.export as module

    (tmp_path / "mine.txt").touch()
    real = module.write_pt2
    monkeypatch.setattr(
        module, "write_pt2", lambda part, *rest: real(part, *rest) if part.name != "decoder" else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        export(pipeline(), tmp_path)
    assert files(tmp_path) == ["mine.txt"]
    monkeypatch.undo()
    export(pipeline(), tmp_path)
    assert files(tmp_path) == ["config.json", "decoder.pt2", "denoiser.pt2", "encoder.pt2", "mine.txt"]
