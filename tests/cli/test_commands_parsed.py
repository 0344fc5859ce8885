"""Every published configuration is one of its command."""

from __future__ import annotations

import pytest
from helpers.paths import ROOT


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_every_configuration_parses_and_opens_with_its_command(path):
    from d3pm_image.config import DiffusionRun, TokenizerRun
    from d3pm_image.parser import parse

    stage, kind = (
        ("train-tokenizer", TokenizerRun) if "tokenizer" in path.stem else ("train-diffusion", DiffusionRun)
    )
    parse(stage, kind, ["--config", str(path)])
    head = path.read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("# ") and f"d3pm-image {stage} --config {path.relative_to(ROOT)}" in head
