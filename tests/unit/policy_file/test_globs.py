"""What globs have in common: only what is certain."""

from __future__ import annotations

import pytest
from guiderail.services.judging import Alternatives
from guiderail_cli.policy_file.globs import are_apart, contains
from hypothesis import example, given
from hypothesis import strategies as st

GLOBS = st.text(alphabet="ab*?[]!-", max_size=6)
NAMES = st.text(alphabet="ab[-!]", max_size=6)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("*", "loan-*", True),
        ("loan-*", "loan-eu", True),
        ("loan-*", "loan-*-eu", True),
        ("loan-*-eu", "loan-*", False),
        ("?", "*", False),
        ("*", "?", True),
        ("loan", "loan", True),
        ("loan", "loan*", False),
        ("*a*", "?b*", False),
        ("l[oa]an", "loan", True),
        ("l[oa]an", "l[oa]an", True),
        ("l?an", "l[oa]an", True),
    ],
)
def test_contains(wide: str, narrow: str, expected: bool) -> None:
    assert contains(wide, narrow) is expected


@given(GLOBS, GLOBS, NAMES)
@example("*", "[]", "[]")
@example("?", "[]a]", "]")
def test_what_contains_another_matches_all_of_it(wide: str, narrow: str, name: str) -> None:
    if contains(wide, narrow) and Alternatives((narrow,)).match(name):
        assert Alternatives((wide,)).match(name)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("loan", "card", True),
        ("loan*", "card", True),
        ("loan*", "card*", True),
        ("*-dev", "*-prod", True),
        ("loan*", "*-prod", False),
        ("loan*", "loan-eu", False),
        ("*", "*", False),
        ("loan?", "loan*", False),
    ],
)
def test_are_apart(one: str, other: str, expected: bool) -> None:
    assert are_apart(one, other) is expected
    assert are_apart(other, one) is expected


@given(GLOBS, GLOBS, NAMES)
@example("[]", "[]a", "[]a")
def test_what_is_apart_has_no_name_in_common(one: str, other: str, name: str) -> None:
    both = Alternatives((one,)).match(name) and Alternatives((other,)).match(name)
    assert not (both and are_apart(one, other))
