"""No command replaces a file that is there, unless ``--overwrite`` is given; names in a folder say what is in them."""

from __future__ import annotations

import os
import threading

import pytest
from helpers.command_line import names, run
from PIL import Image

from d3pm_image import outputs
from d3pm_image.outputs import name_part, new_files, new_folder

SHIPPED = "fashion-mnist"


COMMANDS = {
    "generate": (["generate", "MODEL", "--num-images", 1, "--out", "r.png"], "r.png", ["r-2.png"]),
    "grid by default": (["generate", "MODEL", "--num-images", 1], "grid.png", ["grid-2.png"]),
    "trajectory": (
        ["generate", "MODEL", "--num-images", 1, "--out", "x.png", "--trajectory", "t.gif"], "t-sheet.png", ["t-2.gif", "t-2-sheet.png"],
    ),
    "inpaint": (["inpaint", "MODEL", "image.png", "mask.png"], "image-inpainted.png", ["image-inpainted-2.png"]),
    "variants": (
        ["vary", "MODEL", "image.png", "--variants", 2, "--out", "v.png"], "v-2.png", ["v-3.png", "v-3-1.png", "v-3-2.png"],
    ),
    "outpaint": (["outpaint", "MODEL", "image.png", "--left", 2, "--out", "o.tif"], "o.tif", ["o-2.tif"]),
    "edit": (["edit", "MODEL", "image.png", "--box", "1,1,5,5", "--label", "3"], "image-edited.png", ["image-edited-2.png"]),
    "interpolate": (["interpolate", "MODEL", "image.png", "mask.png", "--frames", 2, "--out", "w.gif"], "w.gif", ["w-2.gif"]),
    "reconstruct": (["reconstruct", "MODEL", "image.png"], "reconstruction.png", ["reconstruction-2.png"]),
    "estimate": (["estimate", "e.yaml", "--seconds", 0, "--images", 10, "--out", "e.json"], "e.json", ["e-2.json"]),
    "doctor": (["doctor", "photos", "--out", "d.json"], "d.json", ["d-2.json"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_a_file_that_is_there_stays(image_file, tmp_path, monkeypatch, capsys, case):
    words, taken, new = COMMANDS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "e.yaml").write_text(
        "out: a\ntokenizer: {downsampling: 4}\ndata: {image_size: 28, channels: 1}\n", encoding="utf-8"
    )
    (tmp_path / taken).write_bytes(b"my thesis")
    before = names(tmp_path)
    words = [SHIPPED if word == "MODEL" else word for word in words] + (
        ["--steps", 1] if words[1] == "MODEL" and case != "reconstruct" else []
    )

    def go(*more: str) -> str:
        try:
            run(*words, *more)
        except SystemExit as stop:  # doctor found something
            assert case == "doctor" and stop.code == 1
        said = capsys.readouterr()
        return said.out + said.err

    said = go()
    assert (tmp_path / taken).read_bytes() == b"my thesis"
    assert names(tmp_path) - before >= set(new) and new[0] in said
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    go("--overwrite")
    assert (tmp_path / taken).read_bytes() != b"my thesis"


def test_images_in_a_folder_are_named_after_number_seed_and_class(tmp_path, capsys):
    for seed in (1, 2, 1):
        run("generate", SHIPPED, "--num-images", 2, "--steps", 1, "--seed", seed, "--out", tmp_path / "s")
    said = capsys.readouterr()
    plain = {
        f"000{i}-seed{seed}-{name}.png"
        for seed in (1, 2)
        for i, name in enumerate(("T-shirt_top", "Trouser"))
    }
    assert names(tmp_path / "s") == plain | {"0000-seed1-T-shirt_top-2.png", "0001-seed1-Trouser-2.png"}
    assert (
        said.err.count("holds 2 other files already") == 1
        and "0000-seed1-T-shirt_top-2.png" in said.out.splitlines()[-1]
    )


@pytest.mark.parametrize(
    "text",
    [
        "a/b",
        "a\\b",
        "..",
        "con:",
        "x\x1b[2J\ny",
        "é" * 400,
        "u\u0308",
        "\udcff",
        "trailing. ",
        "*?<>|\"'",
        "日本",
        "\u202egnp",
    ],
)
def test_every_class_name_makes_a_name_of_a_file(text, tmp_path):
    name = name_part(text)
    assert not set(name) & set('/\\:*?"<>|.\n\x1b\u202e ') and len(os.fsencode(name)) <= 60
    (tmp_path / f"0-{name}.png").write_bytes(b"")
    assert name_part("u\u0308") == "ü" and name_part("日本") == "日本"


def test_two_writers_at_once_take_two_names(tmp_path):
    """Eight threads, twenty files each, all with the same wanted name."""
    barrier, found = threading.Barrier(8), []

    def work(number: int) -> None:
        for turn in range(20):
            barrier.wait()
            with new_files(tmp_path / "f.txt") as files:
                files.draft.write_text(f"{number} {turn}")
            found.append((files.path, f"{number} {turn}"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path for path, _ in found}) == 160
    assert all(path.read_text() == text for path, text in found) and len(names(tmp_path)) == 160


def test_a_name_taken_while_writing_is_left_alone(tmp_path):
    """Also for the second file of a group, and on a file system without hard links."""
    for links in (True, False):
        place = tmp_path / str(links)
        with pytest.MonkeyPatch.context() as patch:
            if not links:
                patch.setattr(
                    outputs.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here"))
                )
            with new_files(place / "a.txt", members=lambda path: [path, path.with_suffix(".b")]) as files:
                for draft in files.drafts:
                    draft.write_text("mine")
                (place / "a.b").write_text("yours")
        assert {p.name: p.read_text() for p in place.iterdir()} == {
            "a.b": "yours",
            "a-2.txt": "mine",
            "a-2.b": "mine",
        }


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), new_files(tmp_path / "a.txt") as files:
        files.draft.write_text("half")
        raise ValueError
    assert not names(tmp_path)


def test_a_long_name_gets_a_number(tmp_path):
    long = tmp_path / ("b" * 251 + ".png")
    long.write_bytes(b"")
    with new_files(long) as files:
        files.draft.write_bytes(b"new")
    assert files.path.read_bytes() == b"new" and not long.read_bytes() and files.path.name.endswith("-2.png")


def test_folders_get_a_number_too(tmp_path):
    (tmp_path / "m").mkdir()
    for number in (1, 2):
        with new_folder(tmp_path / "m") as files:
            files.draft.mkdir()
            (files.draft / "x").write_text(str(number))
    assert (tmp_path / "m" / "x").read_text() == "1" and (tmp_path / "m-2" / "x").read_text() == "2"


def test_the_path_of_a_result_is_said_whole(tmp_path, capsys):
    """Also a long one: it is copied to the next command."""
    place = tmp_path / ("a" * 120) / ("b" * 120)
    run("generate", SHIPPED, "--num-images", 1, "--steps", 1, "--out", place / "one.png")
    run("generate", SHIPPED, "--num-images", 1, "--steps", 1, "--out", place / "many")
    run("vary", SHIPPED, place / "one.png", "--steps", 1, "--out", place / "varied.png")
    said = capsys.readouterr()
    assert [f"{place / name}" in said.out for name in ("one.png", "many (", "varied.png")] == [True] * 3


def test_packing_again_keeps_names_that_were_edited(tmp_path):
    for kind in "ab":
        (tmp_path / "set" / kind).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "set" / kind / "0.png")
    for _ in range(2):
        run("shards", tmp_path / "set", tmp_path / "out")
        (tmp_path / "out" / "classnames.txt").write_text("apple\nbear\n")
    assert (tmp_path / "out" / "classnames.txt").read_text() == "apple\nbear\n"
