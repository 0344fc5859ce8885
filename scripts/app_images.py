"""The images of docs/app.md: the page in a headless browser (Chromium, playwright and the extra app are
needed).

    python scripts/app_images.py fashion-mnist docs

Writes app_generate.png, and app_inpaint.png: the fifth result sent on, painted over and repainted.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
SIZE: Any = {"width": 1280, "height": 680}
STROKE = [(-120, 60), (120, 60), (120, 100), (-120, 100), (-120, 140), (120, 140)]
"""The brush's way, in pixels from the middle of the canvas."""
RESULT = 4


def finish(page: Any, button: str) -> None:
    """Press a button and wait for its results."""
    page.get_by_role("button", name=button, exact=True).locator("visible=true").click()
    page.get_by_text("The download carries the settings").locator("visible=true").wait_for()
    page.wait_for_timeout(2500)  # thumbnails


def take(page: Any, folder: Path) -> None:
    """Both images."""
    finish(page, "Generate")
    page.screenshot(path=folder / "app_generate.png")
    page.locator(".results button.thumbnail-item").locator("visible=true").nth(RESULT).click()
    page.set_viewport_size({**SIZE, "height": 900})
    page.get_by_role("button", name="Inpaint it", exact=True).locator("visible=true").click()
    page.get_by_text("pixels, mode").wait_for()
    canvas = page.locator("#inpaint-editor canvas").first
    canvas.wait_for()
    page.wait_for_timeout(4000)  # the image on the canvas
    box = canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for number, (x, y) in enumerate(STROKE):
        page.mouse.move(middle[0] + x, middle[1] + y, steps=5)
        if not number:
            page.mouse.down()
    page.mouse.up()
    finish(page, "Inpaint")
    page.mouse.move(5, 5)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / "app_inpaint.png")


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    from d3pm_image import Pipeline
    from d3pm_image.app.server import start

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        parser.error("no Chromium on the path; install it")
    pipe = Pipeline.from_pretrained(args.model)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        served, address = start(pipe, args.model, "127.0.0.1", 0, Path(folder), wait=False)
        running = driver.chromium.launch(executable_path=browser, headless=True, args=FLAGS)
        page = running.new_page(viewport=SIZE)
        page.set_default_timeout(180_000)
        page.goto(address)
        take(page, args.folder)
        running.close()
        served.close()


if __name__ == "__main__":
    main()
