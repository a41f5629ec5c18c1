"""Phrases about what was measured."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from guiderail.model.message import Distribution, Facts, MessageKind, RowState, RunPart
from guiderail.model.outcome import Direction, Reason
from guiderail.rendering.measured import (
    bars,
    explain,
    headline,
    measured,
    run_line,
    shares,
    threshold,
    trend,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.rendering import notifications

ROW = notifications.news().rows[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "income · completeness_check · first seen"),
        ({"news": False}, "income · completeness_check"),
        ({"reason": Reason.WORSENED}, "income · completeness_check · worsened"),
        ({"state": RowState.OVER}, "income · completeness_check · over"),
        ({"count": 3}, "income · completeness_check · first seen · 3 incidents"),
        ({"check": "income"}, "income · first seen"),
        ({"name": ""}, "completeness_check · first seen"),
    ],
)
def test_headline(changes: dict[str, object], said: str) -> None:
    assert headline(replace(ROW, **changes)) == said


def test_what_is_unknown_is_not_said() -> None:
    assert list(measured(Facts())) == []
    assert list(measured(Facts(observed=0.0))) == [("Observed", "0")]


def test_all_that_is_known_is_said() -> None:
    assert ROW.facts is not None
    east = datetime(2026, 11, 23, 14, 5, tzinfo=timezone(timedelta(hours=5)))
    assert list(measured(replace(ROW.facts, first_seen=east, times_seen=1))) == [
        ("Observed", "91.4%"),
        ("Threshold", "98%, bad below (the report's own: 100%)"),
        ("Last runs", "██▇▅▃▁ 99.1%, 98.7%, 98.3%, 96.2%, 94.1%, 91.4%"),
        ("Against baseline", "mean 41250.5 (baseline 38900.1); 79 missing"),
        ("Since", "2026-11-23 09:05 UTC"),
    ]


@pytest.mark.parametrize("direction", Direction)
def test_every_direction_has_words(direction: Direction) -> None:
    assert threshold(Facts(threshold=1.0, direction=direction)).startswith("1, ")


def test_the_reports_own_threshold_only_where_it_is_another() -> None:
    assert threshold(Facts(threshold=1.0, report_threshold=1.0)) == "1"
    assert threshold(Facts(threshold=1.0, report_threshold=2.0)) == "1 (the report's own: 2)"


def test_a_trend_shows_the_last_six() -> None:
    said = trend(Facts(trend=tuple(float(n) for n in range(10))))
    assert said == "▁▂▄▅▇█ 4, 5, 6, 7, 8, 9"
    assert trend(Facts(trend=(0.5,))) == "0.5"


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([2.0, 2.0], "▁▁"),
        ([0.0, math.nan, 1.0, math.inf], "▁·█·"),
        ([math.nan], ""),
        ([-1e308, 0.0, 1e308], "▁▅█"),
    ],
)
def test_bars(values: list[float], drawn: str) -> None:
    assert bars(values) == drawn


@given(st.lists(st.floats(), min_size=1, max_size=12))
def test_any_numbers_can_be_drawn(values: list[float]) -> None:
    assert len(bars(values)) in (0, len(values))


def test_shares_are_drawn_to_one_scale() -> None:
    both = Distribution(feature="f", labels=("a", "b"), baseline=(0.5, 0.5), current=(1.0, 0.0))
    assert shares(both, show_values=False) == "baseline ▅▅ now █▁"
    assert shares(both, show_values=True) == "baseline ▅▅ now █▁ (a: 50% to 100%; b: 50% to 0%)"


def test_many_buckets_are_counted() -> None:
    wide = Distribution(feature="f", labels=("x",) * 15, baseline=(0.1,) * 15, current=(0.1,) * 15)
    assert shares(wide, show_values=True).endswith("; and 3 more)")


def test_a_run_that_knows_little() -> None:
    run = RunPart(outcome="failed", monitor="model_quality")
    assert run_line(run) == "failed · model quality · rows unknown"
    window = replace(run, schedule="hourly", window_end="2026-11-23T14:00:00Z", rows=0)
    assert run_line(window) == (
        "failed · model quality of hourly · ? to 2026-11-23T14:00:00Z · 0 rows"
    )


@pytest.mark.parametrize("kind", MessageKind)
def test_only_a_group_can_be_explained(kind: MessageKind) -> None:
    n = replace(notifications.news(), kind=kind, made_at=datetime(2026, 1, 1, tzinfo=UTC))
    groupless = kind in (MessageKind.TEST, MessageKind.DIGEST)
    assert explain(n) == ("" if groupless else f"guiderail explain {n.group}")
