"""The page in a browser without a screen: generate, paint a mask, inpaint, download; no console error, not a byte from elsewhere."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.provenance import mask_of, read_settings

PATIENCE_S = int(
    os.environ.get("D3PM_IMAGE_BROWSER_S", "180")
)  # for one answer of the page, on a busy machine
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
PAINT = np.array((20, 184, 166))


def chromium() -> str | None:
    usual = "/usr/bin/chromium"
    return (
        usual
        if Path(usual).exists()
        else next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    )


@pytest.fixture
def address(trained, tmp_path):
    pytest.importorskip("gradio", reason="needs the extra app")
    from d3pm_image.app.server import start

    (tmp_path / "server").mkdir()
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    page, url = start(pipe, str(trained / "diffusion"), "127.0.0.1", 0, tmp_path / "server", wait=False)
    yield url
    page.close()


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium (at /usr/bin/chromium, or on the path)")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=path, headless=True, args=FLAGS, timeout=PATIENCE_S * 1000
        )
        yield running
        running.close()


@pytest.fixture
def page(browser, address):
    """The page, opened; at the end it has complained of nothing and asked nobody else."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE_S * 1000)
    errors, asked = [], []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    yield opened
    assert not errors
    assert len(asked) > 10 and all(url.startswith((address, "data:", "blob:")) for url in asked), [
        u for u in asked if not u.startswith(address)
    ]


def wait_for(seen, what: str):
    """What ``seen`` gives once it is true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := seen():
            return found
        time.sleep(0.3)
    raise AssertionError(f"no {what} in {PATIENCE_S} s")


def look(element) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


def click(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").click()


def finish(page) -> None:
    page.get_by_text("The download carries the settings").locator("visible=true").wait_for()


def download(page, folder: Path) -> list[Path]:
    with page.expect_download() as waiting:
        page.locator("button:has-text('Download'), a:has-text('Download')").locator(
            "visible=true"
        ).first.click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    if path.suffix != ".zip":
        return [path]
    with zipfile.ZipFile(path) as bundle:
        bundle.extractall(folder)
        return [folder / name for name in bundle.namelist()]


@pytest.mark.slow
def test_the_keyboard_reaches_generate_in_eight_steps_and_sees_where_it_is(page):
    page.locator("[role=tab][tabindex='-1']").locator("visible=true").first.wait_for()
    at = "document.activeElement"
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(f"getComputedStyle({at}).outlineWidth") == "3px"
        if page.evaluate(f"{at}.classList.contains('start')"):
            break
    else:
        raise AssertionError("Generate has not the focus")
    page.get_by_role("tab", name="Generate").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#inpaint-editor").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)])
def test_every_tab_fits_the_screen(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_role("tab", name="Settings of an image").wait_for()
    tabs = page.get_by_role("tab").locator("visible=true").all()
    assert len(tabs) == 6
    for tab in tabs:
        tab.click()
        page.wait_for_timeout(500)
        most = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert most[0] <= width and (most[1] <= height or width < height)


@pytest.mark.slow
def test_generate_paint_inpaint_download(page, trained, tmp_path):
    click(page, "Generate")
    finish(page)
    made = download(page, tmp_path)
    assert [read_settings(p)["number"] for p in made] == list(range(10))
    seed = read_settings(made[0])["seed"]  # a new one for each press
    wanted = Pipeline.from_pretrained(trained / "diffusion").generate(10, seed=seed)
    assert all(
        np.array_equal(np.asarray(Image.open(p)), np.asarray(w)) for p, w in zip(made, wanted, strict=True)
    )

    page.locator(".results button.thumbnail-item").locator("visible=true").nth(2).click()
    click(page, "Vary it")
    page.locator("#vary-image").get_by_text(made[2].stem).wait_for()
    click(page, "Vary")
    finish(page)
    (tmp_path / "varied").mkdir()
    varied = [read_settings(path) for path in download(page, tmp_path / "varied")]
    assert len(varied) == 6 and {metadata["image_sha256"] for metadata in varied} == {
        hashlib.sha256(made[2].read_bytes()).hexdigest()
    }

    before = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    before[..., 0] = 250  # nothing of it is near the paint
    Image.fromarray(before).save(tmp_path / "own.png")
    page.get_by_role("tab", name="Inpaint").click()
    page.locator("#inpaint-image input[type=file]").set_input_files(tmp_path / "own.png")
    canvas = page.locator("#inpaint-editor canvas").first
    canvas.wait_for()

    def share(colour: np.ndarray, by: int) -> float:
        return float((abs(look(canvas) - colour).max(-1) < by).mean())

    wait_for(lambda: float((look(canvas)[..., 0] == 250).mean()) > 0.3, "image on the canvas")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y - 30)
    page.mouse.down()
    page.mouse.move(x + 40, y - 10, steps=5)
    page.mouse.move(x, y + 30, steps=5)
    page.mouse.up()
    wait_for(lambda: share(PAINT, 12) > 0.005, "paint on the canvas")
    click(page, "Inpaint")
    finish(page)
    (tmp_path / "results").mkdir()
    results = download(page, tmp_path / "results")
    assert len(results) == 4
    for path in results:
        metadata, after = read_settings(path), np.asarray(Image.open(path))
        mask = np.asarray(mask_of(metadata["mask"]))
        assert (
            metadata["command"] == "inpaint"
            and metadata["image"] == "own.png"
            and after.shape == before.shape
        )
        assert mask[12:18, 17:23].any() and 0.002 < mask.mean() < 0.3
        assert not mask[:5].any() and not mask[-5:].any() and not mask[:, :8].any() and not mask[:, -8:].any()
        assert np.array_equal(after[~mask], before[~mask]) and (after[mask] != before[mask]).any()

    page.get_by_role("tab", name="Outpaint").click()
    click(page, "Outpaint")
    page.get_by_text("choose an image first").wait_for()
    page.get_by_role("tab", name="Settings of an image").click()
    page.locator("#show-image input[type=file]").set_input_files(results[0])
    page.get_by_text("an image with a part repainted").wait_for()
