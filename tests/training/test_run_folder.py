"""One run at a time in a folder, and what killed runs leave there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from d3pm_image.config import ConfigError
from d3pm_image.locks import file_lock
from d3pm_image.training.folder import LOCK, run_folder

pytest.importorskip("sklearn")
ALONE = SimpleNamespace(is_main_process=True, num_processes=1)


def leave(folder: Path) -> tuple[list[Path], list[Path]]:
    """What killed runs leave in a run's folder, and what must stay."""
    gone = [
        folder / ".config.yaml.123.part",
        folder / ".log.77.part",
        folder / "best" / ".model.safetensors.9.part",
        folder / "model" / "denoiser" / ".model.safetensors.9.part",
        folder / "checkpoints" / ".step-00000099.1.part" / "model.safetensors",
        folder / "checkpoints" / ".step-00000020.1.old" / "state.json",
        folder / "checkpoints" / "step-00000080" / "model.safetensors",
    ]
    kept = [
        folder / "checkpoints" / "step-00000020" / "state.json",
        folder / "checkpoints" / "notes" / "a.txt",
        folder / "download.part",
        folder / ".hidden" / ".x.1.part",  # no folder of a run's
        folder / "inner" / "checkpoints" / ".step-00000099.1.part" / "a",  # a run of its own
    ]
    for place in gone + kept:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}")
    return gone, kept


def test_a_run_removes_what_killed_runs_left_and_nothing_else(tmp_path):
    gone, kept = leave(tmp_path)
    with run_folder(tmp_path, True, ALONE):
        pass
    assert not [p for p in gone if p.exists()] and all(p.exists() for p in kept)
    assert (
        not list((tmp_path / "checkpoints").glob(".*"))
        and not (tmp_path / "checkpoints" / "step-00000080").exists()
    )


def test_nothing_is_removed_without_the_lock(tmp_path):
    gone, _ = leave(tmp_path)
    with (
        file_lock(tmp_path / LOCK),
        pytest.raises(ConfigError, match="this one"),
        run_folder(tmp_path, True, ALONE),
    ):
        pass
    assert all(p.exists() for p in gone)


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="no images"), run_folder(tmp_path / "a" / "b", False, ALONE):
        raise ValueError("no images")
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    with run_folder(tmp_path / "mine", False, ALONE):
        pass
    assert list((tmp_path / "mine").iterdir()) == []
