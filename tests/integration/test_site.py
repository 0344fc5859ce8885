"""The documentation site: it builds without a warning, loads nothing from the network, and has an entry for whatever is public.

The build takes a minute or two, with the notebook that it runs. SITE names a folder that was just built, as .ci/run does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.paths import ROOT
from sphinx.util.inventory import InventoryFile

import d3pm_image
from d3pm_image.sampling import SAMPLERS
from d3pm_image.tokenizer.quantizers import QUANTIZERS

pytestmark = pytest.mark.slow
LOADED = {
    ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src"),
    ("object", "data"), ("embed", "src"), ("image", "href"), ("use", "href"),
}  # fmt: skip
LINKS = {"stylesheet", "preload", "modulepreload", "prefetch", "icon", "preconnect", "dns-prefetch"}
OUTSIDE = re.compile(r"(https?:)?//")


class Loads(HTMLParser):
    """What a browser fetches by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [given[name] for kind, name in LOADED if kind == tag and name in given]
        if tag == "link" and LINKS & set(given.get("rel", "").split()):
            self.found.append(given.get("href", ""))


def fetched(html: str) -> list[str]:
    """Addresses outside the site that a page loads."""
    page = Loads()
    page.feed(html)
    return [address for address in page.found if OUTSIDE.match(address)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    if built := os.environ.get("SITE"):
        return ROOT / built
    out = tmp_path_factory.mktemp("site")
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(out / "doctrees"), str(ROOT / "docs"), str(out / "html")],
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "html"


@pytest.fixture(scope="module")
def entries(site) -> dict[str, str]:
    """Every name of Python that has an entry, and the page where it is."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {
        name: item.uri.partition("#")[0]
        for kind, names in inventory.data.items()
        if kind.startswith("py:") and kind != "py:module"
        for name, item in names.items()
    }


def test_every_public_name_has_an_entry(entries):
    assert [name for name in d3pm_image.__all__ if f"d3pm_image.{name}" not in entries] == []


def test_every_sampler_and_quantizer_has_an_entry_on_its_page(site, entries):
    for page, kinds in (("api/samplers.html", SAMPLERS), ("api/quantizers.html", QUANTIZERS)):
        html = (site / page).read_text(encoding="utf-8")
        for name, kind in kinds.items():
            assert entries.get(f"{kind.__module__}.{kind.__qualname__}") == page, name
            assert re.search(rf'<h2>.*<span class="pre">{name}</span>', html), name


def test_entries_say_types_and_link_to_each_other(site):
    html = (site / "api/recipes.html").read_text(encoding="utf-8")
    entry = html[
        html.index('id="d3pm_image.train_tokenizer"') : html.index('id="d3pm_image.train_diffusion"')
    ]
    assert re.search(r'href="[^"]*#d3pm_image\.Autoencoder"', entry), "what it returns is not a link"
    assert re.search(r'href="[^"]*#d3pm_image\.ConfigError"', entry), "what it raises is not a link"


def test_every_topic_and_page_is_in_the_navigation(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    pages = [
        path.relative_to(ROOT / "docs")
        for path in (ROOT / "docs").glob("**/*.md")
        if "_build" not in path.parts
    ]
    assert {"api/diffusion.md", "api/sampling.md", "faq.md"} <= {page.as_posix() for page in pages}
    for page in pages:
        assert f'href="{page.with_suffix(".html").as_posix()}"' in html or page.name == "index.md", page


def test_no_page_loads_anything_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert {
        str(p.relative_to(site)): found for p in pages if (found := fetched(p.read_text(encoding="utf-8")))
    } == {}
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


@pytest.mark.parametrize(
    "html, found",
    [
        ('<script src="https://a.example/x.js"></script>', ["https://a.example/x.js"]),
        ('<link rel="stylesheet" href="//a.example/x.css">', ["//a.example/x.css"]),
        ('<a href="https://a.example/">a link loads nothing</a><img src="_images/a.png">', []),
    ],
)
def test_what_a_page_loads_is_seen(html, found):
    assert fetched(html) == found


def test_formulas_are_drawn_by_the_browser_itself(site):
    pages = [page.read_text(encoding="utf-8") for page in (site / "derivation").glob("*.html")]
    html = "".join(pages)
    assert html.count("<math ") > 300
    assert [n for n in range(1, 31) if html.count(f'<span class="eqno">({n})</span>') != 1] == []
    assert "\\frac" not in html and "\\kappa" not in html


def test_the_search_knows_the_pages(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"api/samplers"' in index and '"faq"' in index


def test_the_notebook_was_run(site):
    html = (site / "notebook.html").read_text(encoding="utf-8")
    assert html.count('class="cell_output') >= 6 and html.count('<img alt="') >= 4
