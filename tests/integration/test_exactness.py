"""docs/samplers.md's table of exact samplers is computed: the toy model's figures again, and the claims that the page makes in words."""

from __future__ import annotations

import json

import pytest
from helpers.marks import slow
from helpers.paths import ROOT

from scripts import exactness
from scripts.tables.quality import exactness as table

KEPT = json.loads((ROOT / "docs" / "results" / "sampler_exactness.json").read_text(encoding="utf-8"))
FOUND, FLOORS = KEPT["distances"], KEPT["floors"]
QUICK = ("ancestral", "halton")
REVEALS = ("entropy", "margin", "halton")
CLOCK = (
    "ancestral", "purity", "purity, τ 0", "ctmc", "ctmc, η 1", "renoise", "remask, rescale", "predictor_corrector",
)  # fmt: skip


@pytest.mark.parametrize("rule", [rule if rule in QUICK else slow(rule) for rule in exactness.ROWS])
def test_the_kept_figures_are_what_the_samplers_draw(rule):
    """At the small number of steps, from other draws."""
    steps = exactness.N if rule.split(",")[0] in exactness.TOKEN_PER_STEP else exactness.FEW
    assert set(FOUND[rule]) == {case for case in exactness.CASES if exactness.fits(rule, case)}
    for case, kept in FOUND[rule].items():
        request, own = exactness.settings(rule, steps), exactness.CASES[case]
        found = exactness.distance(request, own, seed=1)
        assert abs(found - kept[str(request.sampling.steps)]) < 0.3 * FLOORS[case] + 0.012, case


def exact(rule: str, case: str) -> bool:
    """What the table says."""
    kept = FOUND[rule][case]
    return kept[max(kept, key=int)] < KEPT["bound"] * FLOORS[case]


def test_floors_are_what_the_truth_is_off_by():
    assert set(FLOORS) == set(exactness.CASES) and KEPT["bound"] == exactness.BOUND
    for name, case in exactness.CASES.items():
        assert FLOORS[name] == pytest.approx(exactness.floor(case), abs=1e-4)


def test_the_table_says_what_the_mathematics_says():
    assert set(FOUND) == set(exactness.ROWS)
    for rule in CLOCK:
        for case in FOUND[rule]:
            assert (
                exact(rule, case) or exactness.CASES[case] == exactness.CASES["hybrid, known, one level"]
            ), (
                rule,
                case,
            )
    for rule in REVEALS:  # a token per step; what they revealed is told to be clean
        assert all(exact(rule, case) for case in FOUND[rule] if not case.endswith("one level")), rule
    assert not exact("confidence", "absorbing") and not exact("confidence", "hybrid")
    assert not exact("remask, loop, η 0.5", "absorbing")


def test_known_codes_are_exact_only_where_the_network_is_told():
    told, average = "hybrid, known", "hybrid, known, one level"
    for rule in (*CLOCK, *REVEALS):
        assert exact(rule, told) and not exact(rule, average), rule


def test_rules_of_the_clock_get_better_with_steps():
    for rule in CLOCK:
        found = FOUND[rule]["absorbing"]
        assert found["256"] < 0.7 * found["16"], rule


def test_the_page_shows_these_figures():
    page = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    assert table() in page
    for rule in exactness.ROWS:
        assert f"| {rule}" in table()
