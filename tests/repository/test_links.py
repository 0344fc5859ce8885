"""Links of README and docs lead somewhere, and their commands are found."""

from __future__ import annotations

import re

import pytest
from helpers import pages
from helpers.pages import PAGES
from helpers.paths import ROOT

from d3pm_image.cli import COMMANDS

LINKED = [*PAGES, ROOT / "CHANGELOG.md"]


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


@pytest.mark.parametrize("path", PAGES, ids=pages.name)
def test_every_block_runs_or_says_when_it_was_run(path):
    """A test runs it, or it has a date and a duration, or says that it was not run here and why."""
    assert pages.unknown_blocks(path) == []
    for step in pages.steps(path):
        if step.long:
            form = r"\d{4}-\d\d-\d\d, .*\d ?(s|min|h)\b|not run here, \w+"
            assert re.match(form, step.long), f"{step}: {step.long}"
        else:
            assert isinstance(step, pages.Block) or pages.can_run(step), step


@pytest.mark.parametrize(
    "text, unknown",
    [
        ("```console\n$ d3pm-image generate RUN\n```\n", ["```console"]),
        ("```\nd3pm-image generate RUN\n```\n", ["```"]),
        ("~~~\n```py\nimport d3pm_image\n```\n", ["```py"]),
        ("so:\n\n    uv run d3pm-image generate RUN\n\nand\n", ["uv run d3pm-image generate RUN"]),
        ("```bash\nd3pm-image generate RUN\n```\n\n```yaml\nout: a\n```\n", []),
    ],
)
def test_blocks_that_no_test_knows_are_found(tmp_path, text, unknown):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert pages.unknown_blocks(page) == unknown


@pytest.mark.parametrize(
    "line, known",
    [
        ("d3pm-image app RUN", True),
        ("python examples/train_from_python.py", True),
        ("torchrun --nproc_per_node 2 scripts/evaluate.py RUN", False),
        ("python scripts/evaluate.py RUN", False),
        ("bash scripts/test.sh", False),
        ("pip install .", False),
    ],
)
def test_commands_that_need_a_marker(line, known):
    assert pages.can_run(pages.Command("page.md", tuple(line.split()))) is known


@pytest.mark.parametrize("path", LINKED, ids=pages.name)
def test_links_lead_somewhere(path):
    for target in pages.links(path):
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{path.name}: {target}"
        if anchor and place.suffix == ".md":
            assert anchor in pages.anchors(place), f"{path.name}: {target}"
