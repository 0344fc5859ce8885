"""Which weights a run keeps."""

from __future__ import annotations

import json

import pytest
from accelerate.state import AcceleratorState
from helpers.tiny import TINY_TOKENIZER
from safetensors import safe_open

from d3pm_image.cli import train_tokenizer
from d3pm_image.recipes import tokenizer as tokenizer_recipe


@pytest.fixture
def fresh():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("adversarial", [False, True])
def test_the_best_weights_are_kept_and_with_a_discriminator_the_last(
    adversarial, tmp_path, monkeypatch, fresh
):
    """Validations that worsen after the first: it stays the best alone; what a discriminator teaches does not show in them."""
    real = tokenizer_recipe.make_validation

    def worsening(*arguments, **how):
        calls, validate = [], real(*arguments, **how)

        def validated(model):
            calls.append(1)
            return {**validate(model), "score": float(len(calls))}

        return validated

    monkeypatch.setattr(tokenizer_recipe, "make_validation", worsening)
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
