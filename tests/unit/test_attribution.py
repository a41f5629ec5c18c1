"""nDCG of feature attributions, and each feature's part in what is lost."""

from __future__ import annotations

import math

import pytest
from guiderail.reports.attribution import attribution_shifts, ndcg
from hypothesis import given, settings
from hypothesis import strategies as st

LOG2_3 = math.log2(3)

attributions = st.dictionaries(
    st.sampled_from([f"f{n}" for n in range(12)]),
    st.floats(0, 1e6, allow_subnormal=False),
    max_size=12,
)


def score(baseline: dict[str, float], current: dict[str, float]) -> float | None:
    return ndcg(attribution_shifts(baseline, current))


@pytest.mark.parametrize(
    ("baseline", "current", "expected"),
    [
        pytest.param({"a": 3, "b": 2, "c": 1}, {"a": 9, "b": 8, "c": 7}, 1.0, id="same order"),
        pytest.param(
            {"a": 2, "b": 1},
            {"a": 1, "b": 4},
            # (1 + 2/log2 3) / (2 + 1/log2 3)
            (1 + 2 / LOG2_3) / (2 + 1 / LOG2_3),
            id="two change places",
        ),
        pytest.param(
            {"a": 3, "b": 2, "c": 1},
            {"a": 1, "b": 2, "c": 3},
            # 1/1 + 2/log2 3 + 3/2 = 3.76186 over 3/1 + 2/log2 3 + 1/2 = 4.76186
            0.789998,
            id="reversed",
        ),
        pytest.param(
            {"a": 0.5, "b": 0.3, "c": 0.2},
            {"a": 0.5, "b": 0.1, "c": 0.4},
            # 0.5 + 0.2/log2 3 + 0.3/2 = 0.776186 over 0.5 + 0.3/log2 3 + 0.2/2 = 0.789279
            0.983411,
            id="the tail changes places",
        ),
        pytest.param({"a": 5, "b": 5}, {"a": 1, "b": 2}, 1.0, id="equal attributions lose nothing"),
        pytest.param({"a": 1}, {"a": 0}, 1.0, id="one feature"),
    ],
)
def test_the_score_is_that_of_the_definition(
    baseline: dict[str, float], current: dict[str, float], expected: float
) -> None:
    assert score(baseline, current) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("baseline", "current"),
    [
        ({}, {}),
        ({"a": 1.0}, {}),
        ({}, {"a": 1.0}),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 2.0}),
        ({"a": math.inf}, {"a": 1.0}),
        ({"a": 1e308, "b": 1e308, "c": 1e308}, {"a": 1.0, "b": 2.0, "c": 3.0}),
    ],
)
def test_where_nothing_can_be_compared_there_is_no_score(
    baseline: dict[str, float], current: dict[str, float]
) -> None:
    assert attribution_shifts(baseline, current) == ()
    assert score(baseline, current) is None


def test_only_features_of_both_runs_are_compared() -> None:
    shifts = attribution_shifts({"a": 2, "gone": 9}, {"a": 1, "new": 9})

    assert [(s.feature, s.baseline_rank, s.current_rank) for s in shifts] == [("a", 1, 1)]


def test_a_shift_says_how_a_feature_moved() -> None:
    shifts = attribution_shifts({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.5, "b": 0.1, "c": 0.4})

    b = next(s for s in shifts if s.feature == "b")
    assert (b.baseline, b.current, b.baseline_rank, b.current_rank) == (0.3, 0.1, 2, 3)
    # 0.3 * (1/log2 3 - 1/2) / 0.789279
    assert b.score_loss == pytest.approx(0.049766, abs=1e-6)


def test_the_largest_part_of_the_loss_comes_first() -> None:
    shifts = attribution_shifts({"a": 5, "b": 3, "c": 1}, {"a": 1, "b": 3, "c": 5})

    losses = [abs(s.score_loss) for s in shifts]
    assert losses == sorted(losses, reverse=True)
    assert shifts[0].feature == "a"


def test_ties_keep_the_baselines_order() -> None:
    assert score({"b": 2, "a": 1}, {"a": 1, "b": 1}) == 1.0


def _definition(baseline: dict[str, float], current: dict[str, float]) -> float:
    """DCG over ideal DCG, as written in the documentation."""
    ideal = sorted(baseline, key=lambda f: -baseline[f])
    now = sorted(baseline, key=lambda f: -current[f])

    def gain(order: list[str]) -> float:
        return sum(baseline[f] / math.log2(i + 1) for i, f in enumerate(order, 1))

    return gain(now) / gain(ideal)


@settings(max_examples=100, deadline=None)
@given(attributions.flatmap(lambda a: st.tuples(st.just(a), st.permutations(list(a.values())))))
def test_losses_add_up_to_what_the_score_lost(
    drawn: tuple[dict[str, float], list[float]],
) -> None:
    baseline, values = drawn
    current = dict(zip(baseline, values, strict=True))

    shifts = attribution_shifts(baseline, current)

    if shifts:
        lost = sum(s.score_loss for s in shifts)
        assert lost == pytest.approx(1 - _definition(baseline, current), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(attributions, attributions)
def test_the_score_lies_between_nought_and_one(
    baseline: dict[str, float], current: dict[str, float]
) -> None:
    value = score(baseline, current)

    assert value is None or -1e-9 <= value <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(attributions)
def test_a_run_like_its_baseline_scores_one(baseline: dict[str, float]) -> None:
    assert score(baseline, baseline) in (None, 1.0)


@settings(max_examples=100, deadline=None)
@given(attributions, st.floats(0.5, 100))
def test_scaling_the_current_attributions_changes_no_rank(
    baseline: dict[str, float], factor: float
) -> None:
    current = {f: v * factor for f, v in baseline.items()}

    assert all(s.score_loss == 0 for s in attribution_shifts(baseline, current))
