"""Which weights a run keeps."""

from __future__ import annotations

import json

import pytest
from accelerate.state import AcceleratorState
from helpers.tiny import TINY_TOKENIZER
from safetensors import safe_open

from d3pm_image.cli import train_tokenizer
from d3pm_image.config import ConfigError, TrainConfig
from d3pm_image.recipes import tokenizer as tokenizer_recipe
from d3pm_image.training.checkpoint import checkpoints


@pytest.fixture
def fresh():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def worsening(monkeypatch):
    """Validations whose scores worsen after the first one."""
    real = tokenizer_recipe.make_validation

    def made(*arguments, **how):
        calls, validate = [], real(*arguments, **how)

        def validated(model):
            calls.append(1)
            return {**validate(model), "score": float(len(calls))}

        return validated

    monkeypatch.setattr(tokenizer_recipe, "make_validation", made)


@pytest.mark.parametrize("adversarial", [False, True])
def test_the_best_weights_are_kept_and_with_a_discriminator_the_last(adversarial, tmp_path, worsening, fresh):
    """Validations that worsen after the first: it stays the best alone; what a discriminator teaches does not show in them."""
    more = (
        [
            "--loss.adversarial.weight",
            "0.1",
            "--loss.adversarial.width",
            "8",
            "--loss.adversarial.layers",
            "1",
        ]
        if adversarial
        else []
    )
    train_tokenizer.main(
        [*TINY_TOKENIZER, "--train.steps", "30", "--train.preview_every", "10", *more, "--out", str(tmp_path)]
    )
    with safe_open(tmp_path / "best" / "model.safetensors", "pt") as file:
        assert file.metadata()["step"] == ("30" if adversarial else "10")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    validated = [line for line in lines if "val_mse" in line]
    assert len(validated) == 3 and all(
        {"val_dead_codes", "val_mse_p90", "val_ssim", "val_perplexity"} <= set(line) for line in validated
    )
    assert all({"codes_used", "perplexity", "mse"} <= set(line) for line in lines if "loss" in line)


def test_training_stops_when_no_score_is_better_for_a_while(tmp_path, worsening, fresh, capsys):
    """And one that goes on ends there at once."""
    words = [*TINY_TOKENIZER, "--train.preview_every", "10", "--train.patience", "2", "--out", str(tmp_path)]
    train_tokenizer.main(words)
    assert "stopped at step 30: no better held-out score since step 10" in capsys.readouterr().out
    assert [place.name for place in checkpoints(tmp_path / "checkpoints")][-1] == "step-00000030"
    whole = (tmp_path / "model" / "model.safetensors").read_bytes()
    train_tokenizer.main([*words, "--resume", "true"])
    assert "stopped at step 30" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == whole


def test_patience_needs_validations():
    with pytest.raises(ConfigError, match=r"train.patience=2: give 0 .* train.preview_every over 0"):
        TrainConfig(patience=2, preview_every=0)
