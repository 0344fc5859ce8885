"""``train.mixed_precision auto``: what fits the processor, recorded, and kept by a run that goes on elsewhere."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from helpers.tiny import SMALL

from d3pm_image.cli import train_tokenizer

pytest.importorskip("sklearn")
pytestmark = [
    pytest.mark.usefixtures("one_accelerator_a_test"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="is about processors"),
]


def train(folder, monkeypatch, fast: bool, *arguments: str) -> tuple[str, list[float]]:
    """What config.yaml says and the losses, on a processor that is fast in bfloat16 or is not."""
    monkeypatch.delenv("D3PM_IMAGE_PRECISION", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast}, raising=False)
    train_tokenizer.main([*SMALL, *arguments, "--train.log_every=1", "--out", str(folder)])
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    return settings["train"]["mixed_precision"], [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(("fast", "word"), [(True, "bf16"), (False, "no")])
def test_auto_trains_as_the_word_does_and_is_recorded(fast, word, tmp_path, monkeypatch):
    found, losses = train(tmp_path / "auto", monkeypatch, fast)
    assert found == word
    assert losses == train(tmp_path / "named", monkeypatch, not fast, f"--train.mixed_precision={word}")[1]
    other = "no" if fast else "bf16"
    assert losses != train(tmp_path / "other", monkeypatch, fast, f"--train.mixed_precision={other}")[1]


@pytest.mark.parametrize("fast", [True, False])
def test_a_run_that_goes_on_keeps_what_it_began_with(fast, tmp_path, monkeypatch, capsys):
    whole = train(tmp_path / "whole", monkeypatch, fast, "--train.steps=4")
    train(tmp_path / "begun", monkeypatch, fast, "--train.steps=4", "--train.checkpoint_every=2")
    for path in (tmp_path / "begun" / "checkpoints").glob("step-*4"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    again = train(
        tmp_path / "begun",
        monkeypatch,
        not fast,
        "--train.steps=4",
        "--train.checkpoint_every=2",
        "--resume=true",
    )
    assert again == whole and "going on with" not in capsys.readouterr().err
