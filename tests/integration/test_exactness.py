"""docs/samplers.md's table of exact samplers is computed: the toy model's figures again, and the claims that the page makes in words."""

from __future__ import annotations

import json

import pytest
from helpers.marks import slow
from helpers.paths import ROOT

from scripts import exactness
from scripts.tables.quality import exactness as table

KEPT = json.loads((ROOT / "docs" / "results" / "sampler_exactness.json").read_text(encoding="utf-8"))
FOUND = KEPT["distances"]
FEW_IMAGES = 20_000


QUICK = ("ancestral", "purity", "remask, rescale")


@pytest.mark.parametrize("rule", [rule if rule in QUICK else slow(rule) for rule in exactness.ROWS])
def test_the_kept_figures_are_what_the_samplers_draw(rule):
    """At the small number of steps, from other draws."""
    steps = exactness.N if rule.split(",")[0] in exactness.TOKEN_PER_STEP else exactness.FEW
    assert set(FOUND[rule]) == {case for case in exactness.CASES if exactness.fits(rule, case)}
    for case, kept in FOUND[rule].items():
        config = exactness.settings(rule, steps)
        assert abs(exactness.distance(config, case, FEW_IMAGES) - kept[str(config.sampling.steps)]) < 0.012, (
            case
        )


def exact(rule: str, case: str) -> bool:
    """What the table says."""
    kept = FOUND[rule][case]
    return kept[max(kept, key=int)] < KEPT["bound"]


def test_the_table_says_what_the_mathematics_says():
    assert set(FOUND) == set(exactness.ROWS) and KEPT["bound"] == exactness.BOUND
    for rule in (
        "entropy",
        "margin",
        "halton",
        "first_hitting",
    ):  # a token per step: exact, but for random codes
        assert exact(rule, "absorbing") and exact(rule, "absorbing, known") and not exact(rule, "hybrid")
    assert not exact("confidence", "absorbing") and not exact("confidence", "hybrid")
    of_the_clock = [
        "ancestral",
        "purity",
        "purity, τ 0",
        "ctmc",
        "ctmc, η 1",
        "renoise",
        "remask",
        "remask, rescale",
        "predictor_corrector",
    ]
    for rule in of_the_clock:
        assert all(exact(rule, case) for case in FOUND[rule] if case != "hybrid, known"), rule
    assert not exact("remask, loop, η 0.5", "absorbing")


def test_every_yes_holds_without_known_codes_only_where_there_are_random_codes():
    """Until the network is told which tokens are given; remasking near t = 0, where codes are nearly clean, comes nearest."""
    assert not any(exact(rule, "hybrid, known") for rule in FOUND)


def test_rules_of_the_clock_get_better_with_steps_and_remask_more_slowly():
    ratio = {
        rule: found["absorbing"]["256"] / found["absorbing"]["16"]
        for rule, found in FOUND.items()
        if "16" in found["absorbing"]
    }
    assert all(value < 0.7 for rule, value in ratio.items() if "loop" not in rule)
    assert ratio["remask"] > 2 * ratio["ancestral"]  # S^-1/2 beside S^-1


def test_the_page_shows_these_figures():
    page = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    assert table() in page
    for rule in exactness.ROWS:
        assert f"| {rule}" in table()
