"""How the page looks: calm colours, fonts that every system has (nothing is fetched), square pixels for small
images."""

from __future__ import annotations

import gradio as gr

SANS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Liberation Sans",
    "DejaVu Sans",
    "sans-serif",
)
MONO = ("ui-monospace", "Menlo", "Consolas", "Liberation Mono", "DejaVu Sans Mono", "monospace")

CSS = """
.gradio-container { max-width: 1280px !important; width: 100% !important; margin: 0 auto;
  background: transparent !important; }
#head { padding: 6px 2px 0; }
#head h1 { font-size: 1.5rem; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
#head p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
.hint p { color: var(--body-text-color-subdued); font-size: 0.9rem; margin: 0; }
.status p { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums;
  min-height: 1.5em; margin: 0; }
.beside { align-self: end; flex-grow: 0 !important; height: 42px; }
.pixels img, .live img { image-rendering: pixelated; }
.live img { width: 100%; object-fit: contain; }
.results { min-height: 300px; }
.results .grid-wrap { max-height: none; }
.results .thumbnail-item img, .results .gallery-item img, .results .preview img { object-fit: contain; }
.results .preview img { width: 100%; height: 100%; }
table.metadata, table.metadata tr, table.metadata th, table.metadata td { border: 0; }
table.metadata { width: 100%; border-collapse: collapse; background: var(--block-background-fill);
  border-radius: var(--block-radius); }
table.metadata th, table.metadata td { text-align: left; padding: 7px 10px; vertical-align: top;
  border-bottom: 1px solid var(--border-color-primary); }
table.metadata th { font-weight: 600; width: 10rem; white-space: nowrap; }
table.metadata td { overflow-wrap: anywhere; }
footer { display: none !important; }
"""


def theme() -> gr.themes.Base:
    """The soft theme in slate and teal, with fonts of the system and quiet labels."""
    soft = gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        text_size="md",
        font=[*SANS],
        font_mono=[*MONO],
    )
    clear = dict.fromkeys(("block_title_background_fill", "block_title_background_fill_dark"), "transparent")
    ink = {
        f"block_{part}_text_color{dark}": f"*neutral_{n}"
        for part in ("title", "label")
        for dark, n in (("", 600), ("_dark", 300))
    }
    return soft.set(
        **clear,
        **ink,
        body_background_fill="*neutral_50",
        block_label_background_fill="*block_background_fill",
        block_label_background_fill_dark="*block_background_fill",
        block_title_text_weight="500",
        block_label_text_weight="500",
        block_title_padding="0",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
