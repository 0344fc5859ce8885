"""A root says what is read, and every command's first line says it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.image_files import images, png, shard
from helpers.tiny import SMALL

from d3pm_image.cli import main
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
    for root, source in {"photos": "folder", "shards": "shards", "both": "folder", "shards/s.tar": "shards", "nowhere": "folder"}.items():
        assert source_of(root=str(tmp_path / root)) == source, root
    assert source_of(root="x/train-{000000..000009}.tar") == source_of(root="x/*.tar") == "shards"
    assert source_of() == source_of(source="digits") == "digits" and source_of(source="cifar10", root="x") == "cifar10"


def test_a_root_beside_named_digits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root='sprites'"):
        DataConfig("digits", "sprites")
    with pytest.raises(ConfigError, match=r"data\.val_root='sprites'"):
        DataConfig(val_root="sprites")
    with pytest.raises(ConfigError, match=rf"data\.source='{tmp_path}'.*--data\.root {tmp_path}"):
        open_source(DataConfig(str(tmp_path)))


def test_the_first_line_says_what_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(Path("sprites"), *(f"{'ab'[i % 2]}/{i}.png" for i in range(10)))
    main(["train-tokenizer", "--data.root", "sprites", *SMALL, "--out", "t"])
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"images: folder {tmp_path}/sprites: 10 images (9 to train on, 1 held out), 2 classes (a, b), 16x16 pixels, RGB"
    assert '"source": "folder"' in Path("t/config.yaml").read_text(encoding="utf-8")
    network = ["--denoiser.width=16", "--denoiser.depth=1", "--denoiser.heads=2", "--train.steps=2", "--train.batch_size=4"]
    main(["train-diffusion", "--tokenizer", "t", "--data.root", "sprites", *network, "--out", "d", "--cache", "c"])
    assert capsys.readouterr().out.splitlines()[0] == line
    main(["encode", "--tokenizer", "t", "--data.root", "sprites", "--cache", "c"])
    assert capsys.readouterr().out.splitlines()[0] == line
    main(["evaluate", "d", "--num_samples", "0", "--reconstruction_distance", "false"])
    assert f"images: folder {tmp_path}/sprites: 1 images" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["doctor", "sprites"])
    assert capsys.readouterr().out.startswith(f"images: folder {tmp_path}/sprites: 10 images, 2 classes, 16x16 pixels, RGB\n")


def test_models_that_remember_a_root_that_was_not_read_still_load(tmp_path):
    from d3pm_image.evaluation.samples import remembered_data

    data = remembered_data({"data": {"source": "digits", "root": "sprites", "val_root": "x"}}, "model")
    assert (data.source, data.root, data.val_root, data.white) == ("digits", "", "", -1)


def test_a_model_with_a_class_that_no_image_has_is_judged_by_its_own_numbers(tmp_path, monkeypatch):
    """Models of before have a class 0 that shards labelled 1, 2, 3 do not show."""
    from d3pm_image.evaluation.samples import as_trained

    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    shard(tmp_path / "s.tar", *(m for i in (1, 2, 3) for m in ((f"{i}.png", png(i)), (f"{i}.cls", str(i).encode()))))
    source = open_source(DataConfig("shards", str(tmp_path), image_size=8, channels=1, val_share=0.3))
    numbers = as_trained(source, ("0", "1", "2", "3")).labels.tolist()
    assert numbers == [int(source.class_names[label]) for label in source.labels] and 0 not in numbers


def test_classes_without_an_image_are_named_in_the_first_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    shard(tmp_path / "in" / "s.tar", *(m for i in range(8) for m in ((f"{i}.png", png(i)), (f"{i}.cls", b"1"))))
    (tmp_path / "in" / "classnames.txt").write_text("never\nalways\n", encoding="utf-8")
    main(["train-tokenizer", "--data.root", str(tmp_path / "in"), *SMALL, "--out", str(tmp_path / "t")])
    assert "2 classes (never, always; no image of never)" in capsys.readouterr().out.splitlines()[0]
