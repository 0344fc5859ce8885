"""Links of README and docs lead somewhere, and their commands are found."""

from __future__ import annotations

import re

import pytest
from helpers import pages
from helpers.pages import PAGES
from helpers.paths import ROOT

from d3pm_image.cli import COMMANDS

LINKED = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]


def test_the_pages_hold_commands():
    """Every command stands on some page; some are marked as long, some stand in running text."""
    found = [c for path in PAGES for c in pages.commands(path)]
    assert {c.words[1] for c in found if c.words[0] == "d3pm-image"} >= set(COMMANDS)
    assert any(c.long for c in found) and any(pages.inline(path) for path in PAGES)


@pytest.mark.parametrize(
    "text, words, long",
    [
        ("```bash\nd3pm-image generate RUN  # makes images\n```\n", ["d3pm-image", "generate", "RUN"], ""),
        ("<!-- long: 2026-11-23, 3 min -->\n```bash\npython a.py \\\n  --b\n```\n", ["python", "a.py", "--b"], "2026-11-23, 3 min"),
        ("so:\n\n    torchrun x.py …\n\nand\n", ["torchrun", "x.py"], ""),
        ("so:\n\n<!-- long: 2 h -->\n\n    DATA=\"--a 1\"\n    python x.py $DATA\n\nand\n", ["python", "x.py", "--a", "1"], "2 h"),
        ("```bash\nd3pm-image tune RUN  # long: 9 min\n```\n", ["d3pm-image", "tune", "RUN"], "9 min"),
    ],
)  # fmt: skip
def test_commands_are_found(tmp_path, text, words, long):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert [(list(c.words), c.long) for c in pages.commands(page)] == [(words, long)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_no_test_runs_says_when_it_was_run(path):
    """With a date and what it took, or that it was not."""
    for long in [step.long for step in pages.steps(path) if step.long]:
        assert re.match(r"\d{4}-\d\d-\d\d, .*\d|not run here", long), f"{path.name}: {long}"


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in pages.links(path):
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{path.name}: {target}"
        if anchor and place.suffix == ".md":
            assert anchor in pages.anchors(place), f"{path.name}: {target}"
