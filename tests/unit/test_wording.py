"""Sentences of violations, from 2019 to today, and the numbers in them."""

from __future__ import annotations

import math

import pytest
from guiderail.reports.wording import UNRECOGNISED, Said, read_wording, snake_case

CURRENT = {
    "type": (
        "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. "
        "Observed: Only 99.64% of data is Integral.",
        Said(99.64, 100.0, in_percent=True),
    ),
    "type, none matches": (
        "Data type match requirement is not met. Expected data type: String, Expected match: 95.0%. "
        "Observed: Only 0.0% of data is String.",
        Said(0.0, 95.0, in_percent=True),
    ),
    "completeness": (
        "Data completeness requirement is not met. Expected: 100.0%. Observed: Only 71.25%.",
        Said(71.25, 100.0, in_percent=True),
    ),
    "drift": (
        "Baseline drift distance: 0.7312 exceeds threshold: 0.1",
        Said(0.7312, 0.1),
    ),
    "drift, tiny": (
        "Baseline drift distance: 1.25E-4 exceeds threshold: 5e-05",
        Said(1.25e-4, 5e-05),
    ),
    "missing columns": (
        "There are missing columns in current dataset. Number of columns in current dataset: 11, "
        "Number of columns in baseline constraints: 12",
        Said(11.0, 12.0),
    ),
    "extra columns": (
        "There are extra columns in current dataset. Number of columns in current dataset: 13, "
        "Number of columns in baseline constraints: 12",
        Said(13.0, 12.0),
    ),
    "metric": (
        "Metric auc with 0.61 +/- 0.004 was LessThanThreshold '0.83'",
        Said(0.61, 0.83, 0.004, metric="auc"),
    ),
    "metric above": (
        "Metric falsePositiveRate with 0.2 +/- 0.01 was GreaterThanThreshold '0.0'",
        Said(0.2, 0.0, 0.01, metric="falsePositiveRate"),
    ),
    "metric of few rows": (
        "Metric precision with 0.0 was LessThanThreshold '0.64'",
        Said(0.0, 0.64, metric="precision"),
    ),
    "deviation in E notation": (
        "Metric rmse with 4.5 +/- 5.09E-4 was GreaterThanThreshold '3.25'",
        Said(4.5, 3.25, 5.09e-4, metric="rmse"),
    ),
    "negative metric": (
        "Metric r2 with -53.79 +/- 1.5 was LessThanThreshold '-3.2'",
        Said(-53.79, -3.2, 1.5, metric="r2"),
    ),
    "threshold without quotes": (
        "Metric f0_5 with 0.3 was LessThanThreshold 0.5",
        Said(0.3, 0.5, metric="f0_5"),
    ),
    "deviation not a number": (
        "Metric mae with 9.5 +/- NaN was GreaterThanThreshold '7.0'",
        Said(9.5, 7.0, None, metric="mae"),
    ),
    "bias": (
        "Metric value -0.34 doesn't meet the baseline constraint requirement -0.09",
        Said(-0.34, -0.09),
    ),
    "bias, typographic apostrophe": (
        "Metric value 0.34 doesn’t meet the baseline constraint requirement 0.09",
        Said(0.34, 0.09),
    ),
    "bias, spelt out": (
        "Metric value 0.34 does not meet the baseline constraint requirement 9E-2",
        Said(0.34, 0.09),
    ),
    "bias, infinite": (
        "Metric value Infinity doesn't meet the baseline constraint requirement 2.5",
        Said(math.inf, 2.5),
    ),
    "bias, infinite below": (
        "Metric value -Infinity doesn't meet the baseline constraint requirement -2.5",
        Said(-math.inf, -2.5),
    ),
    "attribution": (
        "Feature attribution drift 0.8125 exceeds threshold 0.9",
        Said(0.8125, 0.9),
    ),
}
EARLIER = {
    "2019, any check": (
        "Value: 0.009 does not meet the constraint requirement! ",
        Said(0.009),
    ),
    "numerical distance": (
        "Numerical distance: 0.33 exceeds numerical threshold: 0",
        Said(0.33, 0.0),
    ),
    "bias of the documentation": (
        "Value -0.079 does not meet the constraint requirement",
        Said(-0.079),
    ),
    "value with an apostrophe": (
        "Value 0.5 doesn't meet the constraint requirement",
        Said(0.5),
    ),
}


@pytest.mark.parametrize(
    ("sentence", "said"),
    [pytest.param(*case, id=name) for name, case in (CURRENT | EARLIER).items()],
)
def test_every_sentence_of_the_monitors_is_read(sentence: str, said: Said) -> None:
    assert read_wording(sentence) == said


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "cosine distance of the embeddings fell",
        "Baseline drift distance: unknown exceeds threshold: 0.1",
        "Metric auc with high spread was LessThanThreshold '0.8'",
        "Data completeness requirement is not met. Expected: 100.0. Observed: Only 71.5.",
        "Feature attribution drift exceeds threshold",
        "Metric auc with 0.5 was EqualToThreshold '0.5'",
    ],
)
def test_a_sentence_that_no_monitor_writes_is_unrecognised(sentence: str) -> None:
    assert read_wording(sentence) is UNRECOGNISED


def test_a_number_in_passing_is_not_taken_for_a_finding() -> None:
    assert not read_wording("42 rows of 7 columns were sampled").recognised


def test_a_sentence_inside_a_longer_text_is_read() -> None:
    text = "window 13:00: Baseline drift distance: 0.5 exceeds threshold: 0.1 (see report)"

    assert read_wording(text) == Said(0.5, 0.1)


def test_a_sentence_far_into_an_own_containers_text_is_left_alone() -> None:
    text = "x" * 5000 + "Baseline drift distance: 0.5 exceeds threshold: 0.1"

    assert not read_wording(text).recognised


def test_not_a_number_becomes_unknown_and_stays_recognised() -> None:
    said = read_wording("Metric value NaN doesn't meet the baseline constraint requirement 0.1")

    assert (said.observed, said.threshold, said.recognised) == (None, 0.1, True)


@pytest.mark.parametrize(
    "number",
    ["1e309", "-1e309"],
)
def test_a_number_beyond_floats_is_infinite(number: str) -> None:
    said = read_wording(
        f"Metric value {number} doesn't meet the baseline constraint requirement 0.1"
    )

    assert said.observed == math.copysign(math.inf, float(number))


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        ("truePositiveRate", "true_positive_rate"),
        ("falseNegativeRate", "false_negative_rate"),
        ("f0_5", "f0_5"),
        ("f1", "f1"),
        ("weightedF1", "weighted_f1"),
        ("weightedF0_5BestConstantClassifier", "weighted_f0_5_best_constant_classifier"),
        ("recallBestConstantClassifier", "recall_best_constant_classifier"),
        ("r2", "r2"),
        ("auc", "auc"),
        ("AUC", "auc"),
        ("true_positive_rate", "true_positive_rate"),
    ],
)
def test_metric_names_are_brought_to_snake_case(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


@pytest.mark.parametrize("name", ["trueNegativeRate", "f0_5", "weightedPrecision"])
def test_snake_case_of_snake_case_is_itself(name: str) -> None:
    assert snake_case(snake_case(name)) == snake_case(name)
