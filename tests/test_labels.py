"""Classes by name and number: a name comes first, everywhere, and every class can be named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.config import ConfigError
from d3pm_image.labels import label_ids, label_text, parse_labels, read_labels


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        (("1", "2", "3"), "1", [0]),
        (("1", "2", "3"), "1,3", [0, 2]),
        (("1", "2", "3"), "0", [0]),  # no name: the place in the list
        (("1", "2", "3"), "1..3", [0, 1, 2]),
        (("001", "002"), "001", [0]),
        (("001", "002"), "001..002", [0, 1]),
        (("1", "10", "2"), "10", [1]),
        (("1", "10", "2"), "1..2", [0, 2]),
        (("2019", "2020"), "2019..2020", [0, 1]),
        (("none", "cat"), "none", [0]),
        (("none", "cat"), "cat,no class", [1, 2]),
        (("cat", "dog"), "none", [2]),
        (("cat", "dog"), "None", [2]),
        (("a,b", "c"), "a,b", [0]),
        (("a,b", "c"), '"a,b",c', [0, 1]),
        (("a", "b", "a,b"), '"a","b"', [0, 1]),
        (("0..1", "x"), "0..1", [0]),
        (('5" pipe', '"x"'), '5" pipe,"\\"x\\""', [0, 1]),
        (("Köln", "Ulm"), "Ko\u0308ln", [0]),
        (("Ko\u0308ln", "Ulm"), "köln", [0]),
        (("a", "b"), "0..1", [0, 1]),
        (("a", "b"), " b , a ", [1, 0]),
        (("a", "b"), " ", None),
    ],
)  # fmt: skip
def test_texts_of_the_command_line(names, text, found):
    assert read_labels(text, names) == found
    assert found is None or label_ids(parse_labels(text), len(found), names) == found


@pytest.mark.parametrize(
    "text",
    [
        "²",
        "٣",
        "1²",
        "0..999999999999",
        "9..3",
        "0..²",
        "3",
        "-1",
        '"a',
        '"0"',
        "9" * 5000,
        "0.." + "9" * 5000,
        "a,,b",
        "0..1,x",
        "None..1",
    ],
)
def test_what_names_no_class_is_one_line(text):
    with pytest.raises(ConfigError, match="labels="):
        read_labels(text, ("a", "b", "c"))
    with pytest.raises(ConfigError, match="labels="):
        label_ids(text, 1, ("a", "b", "c"))


def test_a_range_between_a_name_and_a_number_is_refused():
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        read_labels("0..2", ("1", "2", "3"))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique_by=lambda name: name.casefold())
)
def test_every_class_can_be_named(names):
    for number, name in enumerate(names):
        if name.strip():
            assert read_labels(label_text(number, names), names) == [number], (
                name,
                label_text(number, names),
            )
    assert label_ids(None, 3, names, first=10**9) == [(10**9 + i) % len(names) for i in range(3)]
