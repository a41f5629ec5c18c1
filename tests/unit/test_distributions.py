"""Baseline and current distributions over common buckets."""

from __future__ import annotations

import math
from typing import Any

import pytest
from guiderail.model.finding import Bucket
from guiderail.model.judgement import Judgement
from guiderail.model.message import Distribution
from guiderail.model.outcome import Reason
from guiderail.model.policy import Policy, Severity
from guiderail.reports.run_files import ParsedRun
from guiderail.services.distributions import (
    BUCKETS,
    MOST_DISTRIBUTIONS,
    OTHERS,
    distributions_of,
    rebinned,
)
from guiderail.services.following import Judge
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders as b
from tests.fakes import ENDED_AT, Cloud


def buckets(low: float, high: float, *counts: float) -> list[Bucket]:
    """Buckets of one width from one bound to the other."""
    width = (high - low) / len(counts)
    return [Bucket(low + n * width, low + (n + 1) * width, c) for n, c in enumerate(counts)]


def rows_of(parts: list[Bucket]) -> float:
    return math.fsum(bucket.count for bucket in parts)


# --- common buckets of numbers


def test_the_same_edges_keep_the_shares() -> None:
    labels, before, after = rebinned(buckets(0, 10, *range(10)), buckets(0, 10, *[5] * 10)) or (
        (),
        (),
        (),
    )
    assert before == pytest.approx([n / 45 for n in range(10)])
    assert after == pytest.approx([0.1] * 10)
    assert labels[0] == "0 to 1" and labels[-1] == "9 to 10"


def test_rows_are_spread_evenly_within_their_bucket() -> None:
    # one bucket from 0 to 5 over new ones from 0 to 10
    _, before, after = rebinned([Bucket(0, 5, 100)], [Bucket(0, 10, 3)]) or ((), (), ())
    assert before == pytest.approx([0.2] * 5 + [0.0] * 5)
    assert after == pytest.approx([0.1] * 10)


def test_distributions_apart_share_no_bucket() -> None:
    _, before, after = rebinned(buckets(0, 1, 5, 5), buckets(99, 100, 7)) or ((), (), ())
    assert before == pytest.approx([1.0] + [0.0] * 9)
    assert after == pytest.approx([0.0] * 9 + [1.0])


def test_a_bucket_without_width_goes_where_its_value_lies() -> None:
    _, before, after = rebinned([Bucket(10, 10, 4)], [Bucket(0, 10, 4)]) or ((), (), ())
    assert before == pytest.approx([0.0] * 9 + [1.0])
    assert after == pytest.approx([0.1] * 10)


def test_one_value_on_both_sides_is_one_bucket() -> None:
    assert rebinned([Bucket(3, 3, 9)], [Bucket(3, 3, 2)]) == (("3",), (1.0,), (1.0,))


@pytest.mark.parametrize(
    "broken",
    [
        [],
        [Bucket(0, 1, 0)],
        [Bucket(0, 1, -1), Bucket(1, 2, 5)],
        [Bucket(2, 1, 5)],
        [Bucket(0, math.inf, 5)],
        [Bucket(math.nan, 1, 5)],
        [Bucket(0, 1, math.inf)],
        [Bucket(0, 1, math.nan)],
        [Bucket(-1.7e308, 1.7e308, 5)],
        [Bucket(0, 1, 1e300)],
    ],
)
def test_what_cannot_be_laid_beside_the_other_is_left_out(broken: list[Bucket]) -> None:
    sound = [Bucket(0, 1, 5)]
    assert rebinned(broken, sound) is None
    assert rebinned(sound, broken) is None


def test_bounds_near_the_largest_numbers_have_finite_names() -> None:
    labels, _, after = rebinned([Bucket(0, 1e308, 1)], [Bucket(0, 1e308, 3)]) or ((), (), ())
    assert after == pytest.approx([0.1] * 10)
    assert labels[-1] == "9e+307 to 1e+308"


def test_bounds_too_close_for_ten_buckets_are_left_out() -> None:
    assert rebinned([Bucket(0, 5e-324, 1)], [Bucket(0, 5e-324, 1)]) is None


@st.composite
def distributions(draw: st.DrawFn) -> list[Bucket]:
    bounds = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False)
    edges = sorted(draw(st.lists(bounds, min_size=2, max_size=12)))
    counts = draw(st.lists(st.integers(0, 10**9), min_size=len(edges) - 1, max_size=len(edges) - 1))
    return [
        Bucket(low, high, float(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


@settings(max_examples=300, deadline=None)
@given(distributions(), distributions())
def test_shares_sum_to_one_and_no_row_is_lost(before: list[Bucket], after: list[Bucket]) -> None:
    made = rebinned(before, after)

    assert (made is None) is not (rows_of(before) and rows_of(after))
    if made is None:
        return
    labels, *sides = made
    # what a bucket holds below any edge of the new ones is what was written below it
    low = min(bucket.lower_bound for bucket in (*before, *after) if bucket.count)
    high = max(bucket.upper_bound for bucket in (*before, *after) if bucket.count)
    for shares, written in zip(sides, (before, after), strict=True):
        assert len(shares) == len(labels)
        assert all(share >= 0 for share in shares)
        assert math.fsum(shares) == pytest.approx(1)
        for k in range(1, len(shares)):
            edge = low + (high - low) * k / BUCKETS
            if any(abs(x - edge) < 1e-6 for w in written for x in (w.lower_bound, w.upper_bound)):
                continue
            below = math.fsum(
                w.count
                * min(1.0, max(0.0, (edge - w.lower_bound) / (w.upper_bound - w.lower_bound)))
                if w.upper_bound > w.lower_bound
                else w.count * (w.lower_bound < edge)
                for w in written
            )
            assert math.fsum(shares[:k]) == pytest.approx(below / rows_of(written), abs=1e-6)


# --- of a run


def text(name: str, /, **counts: float) -> b.Document:
    listed = [{"value": value, "count": count} for value, count in counts.items()]
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": sum(counts.values()), "num_missing": 0},
            "distinct_count": len(counts),
            "distribution": {"categorical": {"buckets": listed}},
        },
    }


def number(name: str, low: float, high: float, *counts: float) -> b.Document:
    written = [
        {"lower_bound": x.lower_bound, "upper_bound": x.upper_bound, "count": x.count}
        for x in buckets(low, high, *counts)
    ]
    described = b.numerical(name)
    described["numerical_statistics"]["distribution"] = {"kll": {"buckets": written}}
    return described


def without_distribution(name: str) -> b.Document:
    described = b.numerical(name)
    del described["numerical_statistics"]["distribution"]
    return described


def run_of(current: list[b.Document] | None, baseline: list[b.Document] | None) -> ParsedRun:
    def files(features: list[b.Document] | None) -> dict[str, bytes]:
        return {} if features is None else {"statistics.json": b.encode({"features": features})}

    return b.parsed(files(current), files(baseline))


def shown(
    current: list[b.Document] | None, baseline: list[b.Document] | None, *judgements: Judgement
) -> tuple[Distribution, ...]:
    return distributions_of(judgements, run_of(current, baseline))


def test_a_feature_of_numbers() -> None:
    (made,) = shown(
        [number("income", 0, 10, 1, 3)], [number("income", 0, 10, 1, 1)], b.judgement("income")
    )
    assert made.feature == "income"
    assert made.baseline == pytest.approx([0.1] * 10)
    assert made.current == pytest.approx([0.05] * 5 + [0.15] * 5)
    assert len(made.labels) == BUCKETS


def test_a_feature_of_text() -> None:
    (made,) = shown([text("plan", b=6, c=2)], [text("plan", a=3, b=1)], b.judgement("plan"))
    assert made.labels == ("b", "a", "c")
    assert made.baseline == (0.25, 0.75, 0.0)
    assert made.current == (0.75, 0.0, 0.25)


def test_values_beyond_the_most_share_a_bucket() -> None:
    many = {f"v{n:02}": float(100 - n) for n in range(BUCKETS + 20)}
    (made,) = shown([text("plan", **many)], [text("plan", **many)], b.judgement("plan"))
    assert len(made.labels) == BUCKETS + 1
    assert made.labels[0] == "v00" and made.labels[-1] == OTHERS
    assert math.fsum(made.current) == pytest.approx(1)
    assert made.baseline == made.current


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.integers(0, 10**6), max_size=30),
    st.dictionaries(st.text(max_size=5), st.integers(0, 10**6), max_size=30),
)
def test_shares_of_values_sum_to_one(before: dict[str, int], after: dict[str, int]) -> None:
    made = shown([text("plan", **after)], [text("plan", **before)], b.judgement("plan"))

    assert len(made) == bool(sum(before.values()) and sum(after.values()))
    for one in made:
        assert math.fsum(one.baseline) == pytest.approx(1)
        assert math.fsum(one.current) == pytest.approx(1)
        assert len(one.labels) == len(one.baseline) == len(one.current) <= BUCKETS + 1


@pytest.mark.parametrize(
    ("current", "baseline"),
    [
        (None, [number("income", 0, 1, 5)]),
        ([number("income", 0, 1, 5)], None),
        ([number("income", 0, 1, 5)], [number("age", 0, 1, 5)]),
        ([number("income", 0, 1, 5)], [text("income", a=5)]),
        ([number("income", 0, 1, 0)], [number("income", 0, 1, 5)]),
        ([without_distribution("income")], [number("income", 0, 1, 5)]),
    ],
)
def test_without_both_sides_there_is_none(
    current: list[b.Document] | None, baseline: list[b.Document] | None
) -> None:
    assert shown(current, baseline, b.judgement("income")) == ()


@pytest.mark.parametrize(
    "judgement",
    [
        b.judgement("income", reason=Reason.MUTED),
        b.judgement("income", reason=Reason.WITHIN_THRESHOLD),
        b.judgement(None),
    ],
)
def test_only_findings_about_features_that_count_are_shown(judgement: Judgement) -> None:
    features = [number("income", 0, 1, 5)]
    assert shown(features, features, judgement) == ()


def test_the_worst_are_shown_and_each_feature_once() -> None:
    names = [f"f{n}" for n in range(6)]
    features = [number(name, 0, 1, 5) for name in names if name != "f4"]
    judgements: list[Any] = [b.judgement(name, distance=float(n)) for n, name in enumerate(names)]
    judgements.append(b.judgement("f5", "completeness_check", distance=9.0))
    judgements.append(b.judgement("f0", severity=Severity.CRITICAL))
    made = shown(features, features, *judgements)
    assert [one.feature for one in made] == ["f0", "f5", "f3"], "f4 has no distribution"
    assert len(made) == MOST_DISTRIBUTIONS


@pytest.mark.parametrize("wanted", [True, False])
def test_a_judge_shows_them_unless_nobody_looks(wanted: bool) -> None:
    cloud = Cloud()
    parsed = b.parsed(
        {
            "constraint_violations.json": b.violations(b.drifted("income")),
            "statistics.json": b.encode({"features": [number("income", 0, 1, 5)]}),
        },
        {"statistics.json": b.encode({"features": [number("income", 0, 1, 5)]})},
    )
    judge = Judge(with_distributions=wanted)
    judged = judge(b.run(), None, None, parsed, Policy(), cloud, cloud, ENDED_AT)
    assert [one.feature for one in judged.distributions] == ["income"] * wanted
