"""Report files of realistic size, made from a seed, laid out as the analyzer lays them out.

Sizes follow listings of real runs: 60 columns of about 100 rows make 125 to 156 KB of statistics, the
baseline of 60 columns and 41,000 rows 1.49 MB (here 1.6). Both sizes together say how long a sketched value is
(5 to 9 bytes: most columns hold codes and short decimals) and how many of them a sketch keeps (3,000 to 4,000).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Any

SKETCH_SIZE = 2048
SHRINKING_FACTOR = 0.64

_DISTINCT_COLUMNS = 30
"""Columns repeat after so many: making 2,000 different ones takes longer than reading them."""


class _Written(str):
    """JSON text that is written as it is."""


def statistics_file(features: int, rows: int, seed: int = 1) -> bytes:
    """Make a data-quality statistics file: numbers, every tenth column text."""
    generator = random.Random(seed)
    columns = [_column(i, rows, generator) for i in range(min(features, _DISTINCT_COLUMNS))]
    listed = [{"name": _name(i), **columns[i % len(columns)]} for i in range(features)]
    return written({"version": 0.0, "dataset": {"item_count": rows}, "features": listed})


def constraints_file(features: int) -> bytes:
    """Make the constraints file of the same columns."""
    listed: list[dict[str, Any]] = []
    for i in range(features):
        kind = _kind(i)
        constraint = {"name": _name(i), "inferred_type": kind, "completeness": 1.0}
        if kind == "String":
            constraint["string_constraints"] = {"domains": list(_WORDS)}
        else:
            constraint["num_constraints"] = {"is_non_negative": True}
        listed.append(constraint)
    config = {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": 0.1,
            "comparison_method": "Robust",
        },
    }
    return written({"version": 0.0, "features": listed, "monitoring_config": config})


def violations_file(features: int, *, complete: bool = False) -> bytes:
    """Make a violations file: every fifth column drifted, every tenth misses values unless ``complete``."""
    listed = []
    for i in range(0, features, 5):
        listed.append(
            {
                "feature_name": _name(i),
                "constraint_check_type": "baseline_drift_check",
                "description": f"Baseline drift distance: 0.{i + 1111} exceeds threshold: 0.1",
            }
        )
        if i % 10 == 0 and not complete:
            listed.append(
                {
                    "feature_name": _name(i),
                    "constraint_check_type": "completeness_check",
                    "description": "Data completeness requirement is not met. Expected: 100.0%. "
                    f"Observed: Only {90 + i % 9}.5%.",
                }
            )
    return written({"violations": listed})


def no_violations_file() -> bytes:
    """Make the violations file of a clean run, 24 bytes."""
    return written({"violations": []})


@cache
def sketch_levels(rows: int) -> tuple[int, ...]:
    """Return how many values a KLL sketch of so many rows keeps on each level; level i weighs 2^i.

    A level that is full hands every second of its values on to the next; the lower a level, the sooner
    it is full (Karnin, Lang and Liberty, "Optimal Quantile Approximation in Streams", 2016).
    """
    levels = [0]
    for _ in range(rows):
        levels[0] += 1
        level = 0
        while levels[level] >= _capacity(len(levels) - level - 1):
            if level + 1 == len(levels):
                levels.append(0)
            levels[level + 1] += levels[level] // 2
            levels[level] %= 2
            level += 1
    return tuple(levels)


@cache
def _capacity(levels_above: int) -> int:
    return 2 * (ceil(SKETCH_SIZE * SHRINKING_FACTOR**levels_above / 2) + 1)


def written(document: object) -> bytes:
    """Write JSON with the analyzer's spaces and line breaks."""
    return _text(document, "").encode()


_WORDS = ("north", "east", "south", "west", "abroad")


def _name(column: int) -> str:
    return f"feature_{column:04d}"


def _kind(column: int) -> str:
    return {9: "String", 2: "Integral", 5: "Integral"}.get(column % 10, "Fractional")


def _column(column: int, rows: int, generator: random.Random) -> dict[str, Any]:
    common = {"num_present": rows, "num_missing": 0}
    kind = _kind(column)
    if kind == "String":
        buckets = [{"value": word, "count": rows // len(_WORDS)} for word in _WORDS]
        textual = {
            "common": common,
            "distinct_count": float(len(_WORDS)),
            "distribution": {"categorical": {"buckets": buckets}},
        }
        return {"inferred_type": kind, "string_statistics": textual}
    draw = _values_of(column, generator)
    levels = [[draw() for _ in range(kept)] for kept in sketch_levels(rows)]
    values = [value for level in levels for value in level]
    low, high = min(values), max(values)
    step = (high - low) / 10
    buckets = [
        {
            "lower_bound": low + i * step,
            "upper_bound": low + (i + 1) * step,
            "count": float(rows // 10),
        }
        for i in range(10)
    ]
    kll = {
        "buckets": buckets,
        "sketch": {
            "parameters": {"c": SHRINKING_FACTOR, "k": float(SKETCH_SIZE)},
            "data": levels,
        },
    }
    mean = sum(values) / len(values)
    numerical = {
        "common": common,
        "mean": mean,
        "sum": mean * rows,
        "std_dev": (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5,
        "min": low,
        "max": high,
        "distribution": {"kll": _Written(_text(kll, " " * 8))},
    }
    return {"inferred_type": kind, "numerical_statistics": numerical}


def _values_of(column: int, generator: random.Random) -> Callable[[], float]:
    """Codes, counts, amounts and, in every tenth column, long fractions."""
    if column % 10 in (0, 1, 3, 4, 6):
        return lambda: float(generator.randrange(4))
    if column % 10 in (2, 5):
        return lambda: float(generator.randrange(400))
    if column % 10 == 8:
        return generator.random
    return lambda: round(generator.lognormvariate(4, 1), 2)


def _text(value: object, indent: str) -> str:
    if isinstance(value, _Written):
        return str(value)
    if isinstance(value, dict):
        inner = f"{indent}  "
        entries = (f"{inner}{json.dumps(k)} : {_text(v, inner)}" for k, v in value.items())
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list):
        return f"[ {', '.join(_text(v, indent) for v in value)} ]" if value else "[ ]"
    return json.dumps(value)
