"""What reaches terminals, cards and messages: every encoding, no escapes out of files, and no home folder."""

from __future__ import annotations

import json
import os

import pytest
from helpers.command_line import run
from helpers.damage import EVIL, UNSAFE

from d3pm_image.config import ConfigError
from d3pm_image.model_card import model_card


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    from d3pm_image.cache_folder import cache_root

    monkeypatch.delenv("D3PM_IMAGE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "d3pm_image"
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(ConfigError, match=r"D3PM_IMAGE_CACHE.*--cache"):
        cache_root()


def metadata() -> dict:
    """A stranger's model whose every text is hostile, and whose figures are texts."""
    training = {
        "command": EVIL,
        "steps": EVIL,
        "seconds": EVIL,
        "settings": {"x": "a " * 60 + "\n```\n" + EVIL, EVIL: EVIL},
    }
    training |= {
        "machine": {"processor": EVIL, "threads": EVIL, "gpu": EVIL},
        "started_from": {"model": EVIL, "steps": EVIL, "data": EVIL},
    }
    samples = {
        "num_samples": EVIL,
        "seed": EVIL,
        "precision": EVIL,
        "label_accuracy": EVIL,
        "classifier_accuracy_on_held_out": None,
    }
    samples |= {"settings": {"sampler": EVIL, "steps": EVIL, "guidance": EVIL}, "features": {"network": EVIL}}
    samples |= {
        "reference": {"images": EVIL, "set": EVIL},
        "fidelity": {"recall": EVIL},
        "fidelity_of_real_training_images": {"recall": 1},
    }
    return {
        "data": {"source": EVIL, "image_size": [EVIL, 3], "labels": True},
        "training": training,
        "tokenizer": {"training": training, "validation": {"mse": EVIL}},
        "validation": {"accuracy": EVIL, "bits_per_code": 1.5},
        "evaluation": {"command": EVIL, "samples": samples},
    }  # fmt: skip


MODEL = {
    "image_size": (8, 8), "channels": 1, "grid": (4, 4), "codes": 8, "classes": [EVIL, "b"], "parameters": {"tokenizer": 1}, "sampler": {}, "half": True,
}  # fmt: skip


def outside_of_blocks(card: str) -> list[str]:
    """Lines of Markdown that are not between fences (CommonMark: a longer fence is closed by one as long)."""
    fence, lines = "", []
    for line in card.splitlines():
        bare = line.strip()
        if fence:
            fence = (
                ""
                if len(line) - len(line.lstrip()) < 4 and set(bare) == {"`"} and len(bare) >= len(fence)
                else fence
            )
        elif bare.startswith("```"):
            fence = bare[: len(bare) - len(bare.lstrip("`"))]
        else:
            lines.append(line)
    assert not fence
    return lines


def test_a_card_shows_a_strangers_texts_as_texts():
    card = model_card("name", metadata(), MODEL, "mit")
    assert not set(card) & UNSAFE and card.startswith("---\nlicense: mit\n")
    text = "\n".join(outside_of_blocks(card.split("---\n", 2)[2]))
    for part in ("<img", "](javascript", "\nwarning"):
        assert part not in text.replace("`" + text.split("`")[1] + "`", ""), part
    assert "&lt;img" in text and text.count("# Training") == 1


@pytest.mark.parametrize("part", ["data", "training", "tokenizer", "validation", "evaluation"])
@pytest.mark.parametrize("value", [5, "x", [1], None, {"samples": 3}])
def test_a_card_of_odd_facts_is_a_card(part, value):
    assert "## Licence" in model_card("name", metadata() | {part: value}, MODEL, "mit")


def test_a_comparison_shows_texts_of_results_as_texts(tmp_path, capsys):
    for name in "ab":
        result = {
            "format": "d3pm-image-evaluation",
            "version": 1,
            EVIL: EVIL + name,
            "model": EVIL + name,
            f"tokenizer.{EVIL}": 1.0,
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    run("evaluate", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    said = capsys.readouterr().out
    assert not set(said) & UNSAFE and len(said.splitlines()) == 4
