"""How far a feature moved from its baseline, as Model Monitor's analyzer computes it.

The analyzer is built with Deequ (Amazon SageMaker Developer Guide, "Create a Baseline"), and the guide
("Schema for Constraints") gives the measure: the largest difference between the two cumulative
distributions (``Simple``), or that less a correction for small samples after the two-sample
Kolmogorov-Smirnov test (``Robust``, the default). With n and m the weights of both sides::

    Simple = max |F(x) - G(x)|        Robust = max(0, Simple - 1.8 sqrt((n + m) / (n m)))

For numbers F and G come from KLL sketches, whose level i weighs 2^i. Deequ up to September 2026 counts
a value that the sketch holds many times once, with the weight of its highest level (its issue 392): n is
then nearly the number of different values, and a feature with few of them never drifts under
``Robust``. The service does the same, so that is what is computed here: the numbers are meant to be the
service's.

Agreement: the one public report with the sketch of a drifted feature (a notebook of the "Data Science
on AWS" workshop, 2020) states 0.9293200129316993. Of 1,009 rows its sketch has 1,002 different values;
|1/1002 - 66292/67124| less the correction is that number to the last digit. The baseline's sketch was
not published, its two counts are solved for (66292 = 2^16 + 756: the weight of one much repeated value).
In the same run features with 1,000 equal rows of 1,009 did not drift, as follows from counting once. For
text no public report has both files: that formula is Deequ's own and is not checked against the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

_CORRECTION = 1.8


def numerical_distance(
    current: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]], *, robust: bool = True
) -> float | None:
    """Compare two KLL sketches.

    Args:
        current: Values of the current run by level, in the feature's unit.
        baseline: The same of the baseline.
        robust: Whether to correct for small samples.

    Returns:
        A distance from 0 to 1; None if a sketch is empty.
    """
    mine, theirs = _weights(current), _weights(baseline)
    n, m = sum(mine.values()), sum(theirs.values())
    if not n or not m:
        return None
    rank = other_rank = 0
    largest = 0.0
    for value in sorted(mine.keys() | theirs.keys()):
        rank += mine.get(value, 0)
        other_rank += theirs.get(value, 0)
        largest = max(largest, abs(rank / n - other_rank / m))
    return _corrected(largest, n, m) if robust else largest


def categorical_distance(
    current: Mapping[str, float], baseline: Mapping[str, float], *, robust: bool = True
) -> float | None:
    """Compare rows by category (the largest difference of two shares).

    Args:
        current: Rows of the current run by value.
        baseline: The same of the baseline.
        robust: Whether to correct for small samples.

    Returns:
        A distance from 0 to 1; None if a side has no rows.
    """
    n, m = sum(current.values()), sum(baseline.values())
    if n <= 0 or m <= 0:
        return None
    shares = (
        abs(current.get(value, 0) / n - baseline.get(value, 0) / m)
        for value in current.keys() | baseline.keys()
    )
    largest = max(shares)
    return _corrected(largest, n, m) if robust else largest


def _weights(levels: Sequence[Sequence[float]]) -> dict[float, int]:
    """Weight by value: a value on several levels has the highest one's."""
    weights: dict[float, int] = {}
    for level, values in enumerate(levels):
        weights.update(dict.fromkeys(values, 1 << level))
    return weights


def _corrected(distance: float, n: float, m: float) -> float:
    return max(0.0, distance - _CORRECTION * sqrt((n + m) / (n * m)))
