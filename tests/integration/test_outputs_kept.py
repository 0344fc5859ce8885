"""Commands over trained models replace no file that is there."""

from __future__ import annotations

import json

import pytest
from helpers.command_line import names, run


def test_evaluate_writes_beside_what_is_there(trained, tmp_path, capsys):
    for name in ("w.png", "e.json"):
        (tmp_path / name).write_bytes(b"mine")
    run(
        "evaluate",
        trained / "tokenizer",
        "--reconstruction-distance",
        "false",
        "--worst",
        tmp_path / "w.png",
        "--out",
        tmp_path / "e.json",
    )
    said = capsys.readouterr()
    assert (
        "e-2.json" in said.err
        and "w-2.png" in said.err
        and json.loads(said.out)["format"] == "d3pm-image-evaluation"
    )
    assert {(tmp_path / name).read_bytes() for name in ("w.png", "e.json")} == {b"mine"}


@pytest.mark.slow
def test_a_package_and_graphs_get_a_folder_of_their_own(trained, tmp_path, capsys):
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "config.json").write_text("mine")
    run("export", trained / "diffusion", "--out", tmp_path / "graphs")
    assert (tmp_path / "graphs" / "config.json").read_text() == "mine"
    for _ in range(2):
        run("package", trained / "diffusion", "--out", tmp_path / "given")
    assert (
        names(tmp_path) == {"given", "given-2", "graphs", "graphs-2"}
        and f"{tmp_path / 'given-2'}: " in capsys.readouterr().out
    )
    card = tmp_path / "given" / "README.md"
    own = card.read_text()
    card.write_text(
        own + "added"
    )  # still a card of this program; a foreign README.md is refused (test_package.py)
    run("package", trained / "diffusion", "--out", tmp_path / "given", "--overwrite")
    assert card.read_text() == own
