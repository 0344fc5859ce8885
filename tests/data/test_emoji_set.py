"""The folder that the emoji model is trained on: labels of two sets, fewer skin tones."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scripts.emoji_set import fewer_tones, rows

NAMES = [
    "flags/brazil.twemoji",
    "people_and_body/cook.fluent-emoji",
    *(
        f"people_and_body/cook-{tone}.fluent-emoji"
        for tone in ("light", "medium-light", "medium", "medium-dark", "dark")
    ),
    "people_and_body/cook-dark.twemoji",
    "people_and_body/couple-dark-light.fluent-emoji",
    "people_and_body/couple-light-dark.fluent-emoji",
    "objects/flashlight-dark.noto",
]


@pytest.fixture
def emoji(tmp_path: Path) -> Path:
    """A folder with an image for each name."""
    for name in NAMES:
        path = tmp_path / "emoji" / f"{name}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (8, 8)).save(path)
    return tmp_path / "emoji"


def made(*given: object) -> subprocess.CompletedProcess[str]:
    """The script's answer."""
    command = [sys.executable, "-m", "scripts.emoji_set", *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])


def test_one_named_tone_of_each_person_and_style_stays(emoji):
    kept = [file for file, _, _ in fewer_tones(rows(emoji))]
    assert kept == sorted(kept)
    cooks = [file for file in kept if "cook" in file and "fluent" in file]
    assert len(cooks) == 2 and "people_and_body/cook.fluent-emoji.webp" in cooks
    assert len([file for file in kept if "couple" in file]) == 1
    assert "people_and_body/cook-dark.twemoji.webp" in kept  # the only one of its style
    assert "objects/flashlight-dark.noto.webp" in kept  # not a person


def test_the_folder_has_the_images_and_their_labels(emoji, tmp_path):
    done = made(emoji, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out/labels.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert {"file": "flags/brazil.twemoji.webp", "group": "flags", "style": "twemoji"} in table
    assert {row["style"] for row in table} == {"twemoji", "fluent", "noto"}
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.webp"))
    assert files == [row["file"] for row in table]
    again = made(emoji, tmp_path / "out")
    assert again.returncode == 2 and "there already" in again.stderr


def test_other_folders_are_refused_before_anything_is_written(emoji, tmp_path):
    (emoji / "flags/brazil.twemoji.webp").rename(emoji / "flags/brazil.own.webp")
    for root, said in ((emoji, "brazil.own.webp"), (tmp_path / "nowhere", "has no images")):
        refused = made(root, tmp_path / "out")
        assert refused.returncode == 2 and said in refused.stderr and not (tmp_path / "out").exists()
