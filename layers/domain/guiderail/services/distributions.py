"""Baseline and current distribution of the features that a run has findings about, over common buckets.

The analyzer cuts each distribution into ten buckets of its own, from its own minimum to its own maximum,
so the two cannot be laid beside each other. Both are cut anew: from the joint minimum ``lo`` to the
joint maximum ``hi`` into ten buckets of width ``w = (hi - lo) / 10``. The rows of a written bucket
``[l, u]`` with count ``c`` are taken as spread evenly in it, so the new bucket ``[a, b]`` gets
``c * |[a, b] & [l, u]| / (u - l)`` of them; those of a bucket without width go where its value lies.
Shares are rows by the sum of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from guiderail.model.finding import Bucket
from guiderail.model.judgement import Judgement
from guiderail.model.message import Distribution
from guiderail.rendering.wording import cut
from guiderail.reports.run_files import ParsedRun
from guiderail.reports.statistics import FeatureStatistics, Statistics

MOST_DISTRIBUTIONS = 3
"""Features whose distributions a message shows."""

BUCKETS = 10
"""Buckets of numbers, and values of text that are named; further values share one more bucket."""

OTHERS = "(others)"

_MOST_TRIED = 12
"""Features that are looked for: many have no distribution in the files."""

_LONGEST_LABEL = 64

_TOO_MANY = 1e18
"""No count of rows is as large; a damaged file's may be."""


def distributions_of(
    judgements: Sequence[Judgement], parsed: ParsedRun
) -> tuple[Distribution, ...]:
    """Distributions of the worst findings about a feature that count, at most ``MOST_DISTRIBUTIONS``.

    Features without a distribution in both statistics files are left out; nothing is decoded for a run
    without such findings.
    """
    current, baseline = parsed.statistics, parsed.baseline_statistics
    if current is None or baseline is None:
        return ()
    names = _worst_features(judgements)
    if not names:
        return ()
    now, then = _by_name(current, names), _by_name(baseline, names)
    made: list[Distribution] = []
    for name in names:
        if name in now and name in then and (shown := _compared(name, then[name], now[name])):
            made.append(shown)
            if len(made) == MOST_DISTRIBUTIONS:
                break
    return tuple(made)


def rebinned(
    baseline: Sequence[Bucket], current: Sequence[Bucket]
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]] | None:
    """Cut two distributions into the same buckets: their names, and the shares of rows of each.

    None where one has no rows, or where its bounds or counts are no finite numbers.
    """
    then, now = _with_rows(baseline), _with_rows(current)
    if not then or not now:
        return None
    low = min(bucket.lower_bound for bucket in (*then, *now))
    high = max(bucket.upper_bound for bucket in (*then, *now))
    width = high - low
    if not width:
        return (f"{low:.6g}",), (1.0,), (1.0,)
    if not 0 < BUCKETS / width < math.inf:
        return None
    before, after = _spread(then, low, width), _spread(now, low, width)
    if before is None or after is None:
        return None
    edges = [f"{low + width * (k / BUCKETS):.6g}" for k in range(BUCKETS)] + [f"{high:.6g}"]
    return tuple(f"{a} to {b}" for a, b in pairwise(edges)), before, after


def _worst_features(judgements: Sequence[Judgement]) -> list[str]:
    about = [j for j in judgements if j.counts and j.finding.subject.feature is not None]
    about.sort(key=lambda j: (-j.effective.severity.rank, -abs(j.finding.distance or 0.0)))
    names = dict.fromkeys(j.finding.subject.feature or "" for j in about)
    return list(names)[:_MOST_TRIED]


def _by_name(statistics: Statistics, names: Sequence[str]) -> dict[str, FeatureStatistics]:
    wanted = set(names)
    return {f.name: f for f in statistics.features or () if f.name in wanted}


def _compared(
    name: str, baseline: FeatureStatistics, current: FeatureStatistics
) -> Distribution | None:
    told = rebinned(baseline.buckets, current.buckets)
    if told is None:
        then, now = baseline.categories, current.categories
        told = _by_value(then, now) if then and now else None
    if told is None:
        return None
    labels, before, after = told
    return Distribution(feature=cut(name), labels=labels, baseline=before, current=after)


def _with_rows(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Buckets that hold rows; none at all if one of them cannot be trusted."""
    for bucket in buckets:
        # what is not a number is in no order
        if not -math.inf < bucket.lower_bound <= bucket.upper_bound < math.inf:
            return []
        if not 0 <= bucket.count < _TOO_MANY:
            return []
    return [bucket for bucket in buckets if bucket.count]


def _spread(buckets: Sequence[Bucket], low: float, width: float) -> tuple[float, ...] | None:
    """Shares of rows in the new buckets."""
    # one more bucket for what lies at the very end
    rows = [0.0] * (BUCKETS + 1)
    scale = BUCKETS / width
    for bucket in buckets:
        # where it begins and ends, in new buckets: 0 to BUCKETS
        begin = (bucket.lower_bound - low) * scale
        end = (bucket.upper_bound - low) * scale
        first, last = int(begin), int(end)
        if first == last:
            rows[first] += bucket.count
            continue
        # what a new bucket gets that lies wholly in this one
        part = bucket.count / (end - begin)
        rows[first] += part * (first + 1 - begin)
        for k in range(first + 1, last):
            rows[k] += part
        rows[last] += part * (end - last)
    rows[-2] += rows[-1]
    return _shares(rows[:-1])


def _by_value(
    baseline: Mapping[str, float], current: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]] | None:
    """Shares of the values that most rows have, as shares of both; the others share one bucket."""
    if not all(0 <= count < _TOO_MANY for side in (baseline, current) for count in side.values()):
        return None
    values = list(dict.fromkeys((*baseline, *current)))
    before = _shares([baseline.get(value, 0.0) for value in values])
    after = _shares([current.get(value, 0.0) for value in values])
    if before is None or after is None:
        return None
    order = sorted(range(len(values)), key=lambda k: -(before[k] + after[k]))
    named, rest = order[:BUCKETS], order[BUCKETS:]
    labels = [cut(values[k], _LONGEST_LABEL) for k in named]
    sides = [[side[k] for k in named] for side in (before, after)]
    if rest:
        labels.append(OTHERS)
        for side, shares in zip(sides, (before, after), strict=True):
            side.append(sum(shares[k] for k in rest))
    return tuple(labels), tuple(sides[0]), tuple(sides[1])


def _shares(rows: Sequence[float]) -> tuple[float, ...] | None:
    """Rows by their sum; None where there are none."""
    total = sum(rows)
    return tuple(count / total for count in rows) if total > 0 else None
