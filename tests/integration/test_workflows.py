"""Workflows fit their schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT


def schema_errors(schema: str, *files: Path) -> str:
    """What check-jsonschema finds wrong with files, by a schema that it brings along; empty where nothing is."""
    pytest.importorskip("check_jsonschema")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_workflows_fit_their_schema(tmp_path):
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert len(files) >= 2 and schema_errors("vendor.github-workflows", *files) == ""
    broken = tmp_path / "broken.yml"
    broken.write_text(files[0].read_text(encoding="utf-8").replace("runs-on", "run-on"), encoding="utf-8")
    assert schema_errors("vendor.github-workflows", broken)
