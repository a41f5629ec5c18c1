"""Suggested thresholds: the method that docs/backtest.md states, on values that are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import Scope
from guiderail.model.outcome import Direction, MonitorKind
from guiderail_cli.backtest.result import Observation, Suggestion
from guiderail_cli.backtest.thresholds import Noise, suggest, suggestions

from tests import builders as b

SCOPE = Scope(
    account="1",
    region="eu-west-1",
    schedule="hourly",
    endpoint="loan",
    monitor=MonitorKind.DATA_QUALITY,
)
DAYS = 60.0  # wanted: the longest incident's runs and two more per incident


def noise(
    values: Sequence[tuple[int, float]],
    direction: Direction = Direction.ABOVE,
    threshold: float = 0.1,
    metric: str | None = None,
) -> Noise:
    finding: Finding = b.finding(
        subject=Subject(metric=metric) if metric else None, direction=direction, threshold=threshold
    )
    made = Noise.of(SCOPE, finding, None)
    for run, value in values:
        made.see(Observation(at=run * 86_400.0, incident="i", observed=value, run=run), threshold)
    return made


def suggested(made: Noise, opened: int = 9) -> Suggestion:
    return suggest(made, {"i": opened}, DAYS)


FLUKES = [(1, 0.11), (3, 0.12), (5, 0.13), (7, 0.14), (9, 0.15)]
TROUBLE = [(20, 0.5), (21, 0.6), (22, 0.7)]


def test_the_longest_incident_is_kept_whole_and_noise_goes() -> None:
    result = suggested(noise([*FLUKES, *TROUBLE]))

    # 3 runs of the incident and 2 more may fire: 0.14 and 0.15
    assert result.suggested == 0.13
    assert (result.firings, result.firings_left) == (8, 5)
    assert (result.longest, result.longest_kept) == (3, 3)
    assert result.note == ""


def test_the_longest_incident_never_goes_unseen() -> None:
    # the longest sequence is mild, single values are far worse
    result = suggested(
        noise([(1, 0.11), (2, 0.12), *((n, 0.5 + n / 100) for n in range(4, 20, 2))])
    )

    assert result.suggested == 0.11
    assert result.longest_kept == 1


def test_where_no_threshold_helps_it_says_so() -> None:
    result = suggested(noise([(run, 0.2) for run in range(1, 20, 2)]))

    assert result.suggested is None
    assert result.firings_left == result.firings
    assert "for: 2 of 3" in result.note


def test_values_that_are_bad_below() -> None:
    mirrored = [(run, 1 - value) for run, value in [*FLUKES, *TROUBLE]]

    result = suggested(noise(mirrored, Direction.BELOW, 0.9))

    assert result.suggested == pytest.approx(0.87)
    assert (result.firings_left, result.longest_kept) == (5, 3)


def test_bias_is_measured_from_its_neutral_value() -> None:
    both_sides = [
        (run, 1 + value if run % 4 == 1 else 1 - value) for run, value in [*FLUKES, *TROUBLE]
    ]

    result = suggested(noise(both_sides, Direction.FARTHER_FROM_ZERO, 1.1, metric="DI"))

    assert result.suggested == pytest.approx(1.13)
    assert result.longest_kept == 3


def test_of_several_thresholds_the_mildest_is_named() -> None:
    made = noise(FLUKES)
    made.see(Observation(at=0.0, incident="i", observed=0.3, run=30), 0.05)

    assert suggested(made).threshold == 0.05


@pytest.mark.parametrize(
    ("opened", "days", "is_noisy"),
    [(3, 30.0, True), (2, 10.0, False), (6, 90.0, False), (7, 90.0, True)],
)
def test_noisy_is_three_times_and_more_than_once_a_fortnight(
    opened: int, days: float, is_noisy: bool
) -> None:
    assert bool(suggestions([noise(FLUKES)], {"i": opened}, days)) is is_noisy


def test_a_suggestion_without_a_line_says_what_a_rule_would_match() -> None:
    made = Noise.of(SCOPE, b.finding(direction=Direction.ABOVE), None)

    assert made.match == {
        "endpoint": "loan",
        "monitor": "data_quality",
        "feature": "income",
        "check": "baseline_drift_check",
    }
