"""Numbers, lines and subjects for people."""

from __future__ import annotations

import math
import re

import pytest
from guiderail.rendering.wording import SUBJECT_LIMIT, cut, figure, printable, subject_line
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "fraction", "unknown"),
        (0.8919722, "fraction", "89.1972%"),
        (1.0, "fraction", "100%"),
        (0.0, "fraction", "0%"),
        (14.0, "columns", "14"),
        (0.123456789, None, "0.123457"),
        (math.inf, None, "inf"),
    ],
)
def test_figures_are_for_people(value: float | None, unit: str | None, text: str) -> None:
    assert figure(value, unit) == text


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=3000))
def test_a_line_is_one_line_whatever_it_is_made_of(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    assert len(line) <= 1603


@pytest.mark.parametrize(
    ("text", "kept"), [("a\nb", "a b"), ("\x1b[31mred", " [31mred"), ("prêt", "prêt")]
)
def test_control_characters_become_spaces(text: str, kept: str) -> None:
    assert printable(text) == kept


@pytest.mark.parametrize(("length", "kept"), [(256, 256), (257, 259), (60_000, 259)])
def test_what_is_cut_shows_it(length: int, kept: int) -> None:
    text = cut("n" * length)
    assert len(text) == kept
    assert text.endswith("...") is (length > 256)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_sns_takes_every_subject(text: str) -> None:
    subject = subject_line(text)
    assert 0 < len(subject) <= SUBJECT_LIMIT
    assert re.fullmatch(r"[ -~]+", subject)
