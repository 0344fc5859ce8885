"""Style of the page: calm colours, fonts that every system has (none is downloaded), square pixels for small
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
.gradio-container > main, .gradio-container .fillable { padding-top: 8px !important; }
#top { align-items: center; flex-wrap: wrap; gap: 8px 16px; }
#head { padding: 0 2px; flex: 1 1 230px; }
#model { display: flex; flex-direction: row; align-items: center; gap: 10px; flex: 0 1 330px;
  padding-left: 12px; }
#model::before { content: "Model"; font-weight: 500; }
#model > * { flex-grow: 1; }
#head h1 { font-size: 1.5rem; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
#head p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
.hint p { color: var(--body-text-color-subdued); font-size: 0.9rem; margin: 0; }
.about:not(:has(p)) { display: none !important; }
.upload .icon-wrap { display: none; }
.upload [data-testid=upload-text] { flex-direction: row; gap: 0.4rem; min-height: 0; padding: 34px 0 0;
  white-space: nowrap; font-size: 0.85rem; }
.gradio-container .block:not(:focus-within) [role=listbox] { display: none; }
.status { min-height: 2rem; }
.status .pending { opacity: 1; }
.status > .wrap { inset: 0 !important; overflow: visible; }
.status .progress-text { inset: 0 0 auto auto !important; transform: none; background: transparent; }
.gradio-container .column { gap: 12px; }
.gradio-container button:disabled { opacity: 0.55; cursor: not-allowed; }
.status p { font-variant-numeric: tabular-nums; min-height: 1.5em; margin: 0; }
.pixels img, .live img, .own img { image-rendering: pixelated; }
.live img, .own img { width: 100%; object-fit: contain; }
.results { min-height: 300px; }
.results .grid-wrap { max-height: max(300px, calc(100vh - 260px)); overflow-y: auto; }
#inpaint .results .grid-wrap { max-height: 400px; }
.results .thumbnail-item img, .results .gallery-item img, .results .preview img { object-fit: contain; }
.results .preview img { width: 100%; height: 100%; }
.results .caption-label { font-size: 0.8rem; }
.transparent .thumbnail-item { aspect-ratio: auto; }
.transparent .thumbnail-item img { width: 100%; height: auto; }
.transparent .preview img { width: auto; height: auto; max-width: 100%; max-height: 100%; }
.transparent img { background: repeating-conic-gradient(#ccc 0 25%, #fff 0 50%) 0 0 / 20px 20px; }
table.metadata, table.metadata tr, table.metadata th, table.metadata td { border: 0; }
table.metadata { width: 100%; border-collapse: collapse; background: var(--block-background-fill);
  border-radius: var(--block-radius); }
table.metadata th, table.metadata td { text-align: left; padding: 7px 10px; vertical-align: top;
  border-bottom: 1px solid var(--border-color-primary); }
table.metadata th { font-weight: 600; width: 10rem; white-space: nowrap; }
table.metadata td { overflow-wrap: anywhere; }
.gradio-container :is(button, a, input, textarea, select, canvas, [tabindex], [role=tab]):focus-visible {
  outline: 3px solid var(--color-accent) !important; outline-offset: 2px !important;
  transition: none !important; }
.gradio-container [role=tablist] :focus-visible { outline-offset: -3px !important; }
.dark { --color-accent: var(--primary-300); }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container > main, .gradio-container .fillable { padding: 8px 14px !important; }
  .live { height: auto !important; max-height: 420px; }
  .results { min-height: 200px; }
  .results .grid-wrap, #inpaint .results .grid-wrap { max-height: none; }
  .results .grid-container { grid-template-columns: repeat(3, 1fr) !important; }
  #inpaint-editor { height: 360px !important; }
  #show-image [data-testid=upload-text] { padding-top: 54px; }
  .gradio-container button[role=tab] { padding: 0 10px; }
  table.metadata th { width: 7rem; white-space: normal; }
}
"""

SCRIPT = """
() => {
  const tabs = (list) => [...list.querySelectorAll('[role=tab]')];
  const improve = () => {
    document.querySelectorAll('.empty[aria-label]').forEach((e) => e.setAttribute('role', 'img'));
    document.querySelectorAll('.upload button[aria-label]').forEach((e) => {
      const label = e.closest('.upload').querySelector('label')?.textContent.trim() ?? '';
      const name = (label + ' ' + e.textContent).replace(/\\s+/g, ' ').trim();
      if (e.classList.contains('upload-container') && e.getAttribute('aria-label') !== name)
        e.setAttribute('aria-label', name);
    });
    document.querySelectorAll('.thumbnail-item').forEach((e) => {
      const caption = e.querySelector('.caption-label')?.textContent.trim(), image = e.querySelector('img');
      const place = e.getAttribute('aria-label')?.match(/[0-9]+ of [0-9]+/)?.[0];
      const name = caption && place ? caption + ', image ' + place : '';
      if (name && e.getAttribute('aria-label') !== name) e.setAttribute('aria-label', name);
      if (name && image && image.alt !== name) image.alt = name;
    });
    document.querySelectorAll('.toast-header[role=button]').forEach((e) => {
      e.removeAttribute('role');
      e.removeAttribute('tabindex');
    });
    document.querySelectorAll('[role=tablist]').forEach((list) => tabs(list).forEach((e) => {
      e.tabIndex = e.getAttribute('aria-selected') === 'true' ? 0 : -1;
    }));
  };
  let waits = false;
  new MutationObserver(() => {
    if (!waits) requestAnimationFrame(() => { waits = false; improve(); });
    waits = true;
  }).observe(document.body, { childList: true, subtree: true, attributes: true,
    attributeFilter: ['aria-selected', 'aria-label'] });
  improve();
  document.addEventListener('keydown', (event) => {
    const list = event.target.closest?.('[role=tablist]');
    const all = list ? tabs(list) : [], at = all.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    const tab = all[(to + all.length) % all.length];
    event.preventDefault();
    tab.click();
    tab.focus();
  });
  document.addEventListener('click', (event) => {
    const tab = event.target.closest?.('.start')?.closest('[role=tabpanel]');
    if (tab && window.innerWidth <= 640) tab.querySelector('.status')?.scrollIntoView({ block: 'start' });
  });
}
"""
"""Additions for keyboards and screen readers that the library lacks: names of fields for files and of
results, and one stop for all tabs, whose arrow keys change them. On a phone, a press on a button scrolls to
the progress line."""


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
    readable = {
        "body_text_color_subdued": "*neutral_600",
        "body_text_color_subdued_dark": "*neutral_300",
        "input_placeholder_color": "*neutral_600",
        "input_placeholder_color_dark": "*neutral_300",
        "color_accent": "*primary_700",
        **dict.fromkeys(
            ("link_text_color", "link_text_color_hover", "link_text_color_visited", "link_text_color_active"),
            "*primary_700",
        ),
    }
    return soft.set(
        **clear,
        **ink,
        **readable,
        body_background_fill="*neutral_50",
        block_label_background_fill="*block_background_fill",
        block_label_background_fill_dark="*block_background_fill",
        block_title_text_weight="500",
        block_label_text_weight="500",
        block_title_padding="0",
        button_secondary_background_fill_dark="*neutral_700",
        button_secondary_background_fill_hover_dark="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )
