"""Whether the page can be read and used without a mouse: contrasts of its colours, computed, and rules of its style."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("gradio", reason="needs the extra app")

LEAST = 4.5
"""Of text on its background, by WCAG 2 at level AA; 3 for the outline of what has the focus."""
NAMES = {"white": "#ffffff", "black": "#000000"}


def colour(theme, name: str, dark: bool) -> str:
    """A colour of the theme as #rrggbb; names that begin with a star stand for others."""
    value = getattr(theme, name)
    if dark and getattr(theme, f"{name}_dark", None):
        value = getattr(theme, f"{name}_dark")
    if value.startswith("*"):
        return colour(theme, value[1:], dark)
    return NAMES.get(value, value)


def luminance(text: str) -> float:
    levels = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    return sum(v * weight for v, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_known_colours():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "text, under",
    [
        ("body_text_color", "body_background_fill"),
        ("body_text_color_subdued", "body_background_fill"),
        ("body_text_color_subdued", "block_background_fill"),
        ("block_title_text_color", "block_background_fill"),
        ("block_label_text_color", "block_background_fill"),
        ("input_placeholder_color", "input_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill"),
        ("button_primary_text_color", "button_primary_background_fill_hover"),
        ("button_secondary_text_color", "button_secondary_background_fill"),
        ("button_secondary_text_color", "button_secondary_background_fill_hover"),
        ("link_text_color", "body_background_fill"),
    ],
)
def test_text_can_be_read(text, under, dark):
    from d3pm_image.app.theme import theme

    made = theme()
    assert contrast(colour(made, text, dark), colour(made, under, dark)) >= LEAST


def test_the_colour_of_the_chosen_tab_and_of_the_focus_can_be_seen():
    from d3pm_image.app.theme import CSS, theme

    made = theme()
    accent = re.search(r"\.dark \{ --color-accent: var\(--primary-(\d+)\); \}", CSS)
    assert accent
    for dark, own in (
        (False, colour(made, "color_accent", False)),
        (True, getattr(made, f"primary_{accent[1]}")),
    ):
        assert contrast(own, colour(made, "body_background_fill", dark)) >= LEAST
    rule = re.search(r":focus-visible \{([^}]*)\}", CSS)
    assert rule and "outline: 3px solid var(--color-accent) !important" in rule[1]


def test_the_line_of_the_queue_has_a_height_and_is_not_cut_off():
    from d3pm_image.app.theme import CSS

    rules = dict(re.findall(r"^([^@{}\n]+) \{([^}]*)\}", CSS, re.MULTILINE))
    assert "min-height: 2rem" in rules[".status"] and "opacity: 1" in rules[".status .pending"]
    assert "overflow: visible" in rules[".status > .wrap"] and "inset: 0" in rules[".status > .wrap"]


def test_transparent_results_lie_on_a_chequerboard():
    from d3pm_image.app.theme import CSS

    assert re.search(r"\.transparent img \{ background: repeating-conic-gradient", CSS)
