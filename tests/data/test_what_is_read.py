"""A root says what is read, and every command's first line says it again."""

from __future__ import annotations

import pytest
from helpers.image_files import images, png, shard

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.sources import open_source


def source_of(**settings) -> str:
    return DataConfig(image_size=8, channels=1, **settings).resolved().source


def test_a_root_implies_its_source(tmp_path):
    images(tmp_path / "photos", "a/0.png")
    shard(tmp_path / "shards" / "s.tar", ("0.png", png(0)))
    (tmp_path / "shards" / "classnames.txt").write_text("x\n", encoding="utf-8")
    images(tmp_path / "both", "0.png")
    shard(tmp_path / "both" / "backup.tar", ("0.png", png(0)))
    for root, source in {
        "photos": "folder",
        "shards": "shards",
        "both": "folder",
        "shards/s.tar": "shards",
        "nowhere": "folder",
    }.items():
        assert source_of(root=str(tmp_path / root)) == source, root
    assert source_of(root="x/train-{000000..000009}.tar") == source_of(root="x/*.tar") == "shards"
    assert (
        source_of() == source_of(source="digits") == "digits"
        and source_of(source="cifar10", root="x") == "cifar10"
    )


def test_a_root_beside_named_digits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root='sprites'"):
        DataConfig("digits", "sprites")
    with pytest.raises(ConfigError, match=r"data\.val_root='sprites'"):
        DataConfig(val_root="sprites")
    with pytest.raises(ConfigError, match=rf"data\.source='{tmp_path}'.*--data\.root {tmp_path}"):
        open_source(DataConfig(str(tmp_path)))


def test_models_that_remember_a_root_that_was_not_read_still_load(tmp_path):
    from d3pm_image.evaluation.samples import remembered_data

    data = remembered_data({"data": {"source": "digits", "root": "sprites", "val_root": "x"}}, "model")
    assert (data.source, data.root, data.val_root, data.white) == ("digits", "", "", -1)


def test_a_model_with_a_class_that_no_image_has_is_judged_by_its_own_numbers(tmp_path, monkeypatch):
    """Models of before have a class 0 that shards labelled 1, 2, 3 do not show."""
    from d3pm_image.evaluation.samples import as_trained

    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    shard(
        tmp_path / "s.tar",
        *(m for i in (1, 2, 3) for m in ((f"{i}.png", png(i)), (f"{i}.cls", str(i).encode()))),
    )
    source = open_source(DataConfig("shards", str(tmp_path), image_size=8, channels=1, val_share=0.3))
    numbers = as_trained(source, ("0", "1", "2", "3")).labels.tolist()
    assert numbers == [int(source.class_names[label]) for label in source.labels] and 0 not in numbers
