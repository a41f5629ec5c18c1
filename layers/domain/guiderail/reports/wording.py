"""The sentences that monitors write, from 2019 to today, and the numbers in them."""

from __future__ import annotations

import re

import msgspec

from guiderail.reports.json_text import number

# possessive: a text of digits alone must not be tried from every one of them
_N = r"([-+]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?\d++)?+|[-+]?Infinity|NaN)"
_LONGEST = 2048
"""Service descriptions stay far below; a longer text is an own container's and is not searched further."""

_PERCENTAGES = re.compile(rf"Expected(?: match| completeness)?: {_N}%\.? Observed: (?:Only )?{_N}%")
_DISTANCE = re.compile(rf"distance: {_N} exceeds (?:\w+ ){{0,3}}threshold:? {_N}")
_COLUMNS = re.compile(
    r"columns in current dataset: (\d{1,9}), Number of columns in baseline constraints: (\d{1,9})"
)
_METRIC = re.compile(
    rf"Metric (\w+) with {_N}(?: \+/- {_N})? was (?:LessThanThreshold|GreaterThanThreshold) '?{_N}'?"
)
_BIAS = re.compile(
    rf"Metric value {_N} does(?:n't|n’t| not) meet the baseline constraint requirement {_N}"
)
_ATTRIBUTION = re.compile(rf"Feature attribution drift {_N} exceeds threshold {_N}")
_VALUE_ONLY = re.compile(rf"Value:? {_N} does(?:n't|n’t| not) meet the constraint requirement")


class Said(msgspec.Struct, frozen=True):
    """The numbers of one description, as written; ``in_percent`` marks those followed by ``%``."""

    observed: float | None = None
    threshold: float | None = None
    standard_deviation: float | None = None
    metric: str = ""
    in_percent: bool = False
    recognised: bool = True


UNRECOGNISED = Said(recognised=False)


def read_wording(description: str) -> Said:
    """Find the numbers in a description; ``UNRECOGNISED`` where no known sentence stands in it.

    Infinity stays infinite; NaN becomes None.
    """
    text = description[:_LONGEST]
    if m := _DISTANCE.search(text):
        return Said(number(m[1]), number(m[2]))
    if m := _PERCENTAGES.search(text):
        return Said(number(m[2]), number(m[1]), in_percent=True)
    if m := _METRIC.search(text):
        return Said(number(m[2]), number(m[4]), number(m[3]), metric=m[1])
    if m := _BIAS.search(text):
        return Said(number(m[1]), number(m[2]))
    if m := _ATTRIBUTION.search(text):
        return Said(number(m[1]), number(m[2]))
    if m := _COLUMNS.search(text):
        return Said(float(m[1]), float(m[2]))
    if m := _VALUE_ONLY.search(text):
        return Said(number(m[1]))
    return UNRECOGNISED


def snake_case(name: str) -> str:
    """Bring a violation's camelCase metric name to the snake_case of the other files."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
