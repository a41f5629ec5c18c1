"""Report files of realistic size, made from a seed.

Sizes follow real runs: 60 columns of about 100 rows make 125 to 156 KB of statistics, a baseline of
60 columns and 41,000 rows 1.5 MB, which is about 1,200 values a sketch. Level i has weight 2^i.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any


def statistics_file(features: int, rows: int, seed: int = 1) -> bytes:
    """A data-quality statistics file, laid out as the analyzer does."""
    generator = random.Random(seed)
    sketches: list[str] = []
    listed = [_feature(f"feature_{i:04d}", rows, generator, sketches) for i in range(features)]
    text = json.dumps(
        {"version": 0.0, "dataset": {"item_count": rows}, "features": listed}, indent=2
    )
    # the analyzer indents everything but the sketches
    return re.sub(r'"@(\d+)@"', lambda found: sketches[int(found[1])], text).encode()


def constraints_file(features: int) -> bytes:
    """A data-quality constraints file."""
    listed = [
        {
            "name": f"feature_{i:04d}",
            "inferred_type": "Fractional",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
        }
        for i in range(features)
    ]
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
    return _written({"version": 0.0, "features": listed, "monitoring_config": config})


def violations_file(features: int) -> bytes:
    """A violations file in which every fifth feature drifted and every tenth misses values."""
    listed = []
    for i in range(0, features, 5):
        listed.append(
            {
                "feature_name": f"feature_{i:04d}",
                "constraint_check_type": "baseline_drift_check",
                "description": f"Baseline drift distance: 0.{i + 1111} exceeds threshold: 0.1",
            }
        )
        if i % 10 == 0:
            listed.append(
                {
                    "feature_name": f"feature_{i:04d}",
                    "constraint_check_type": "completeness_check",
                    "description": "Data completeness requirement is not met. Expected: 100.0%. "
                    f"Observed: Only {90 + i % 9}.5%.",
                }
            )
    return _written({"violations": listed})


def _feature(name: str, rows: int, generator: random.Random, sketches: list[str]) -> dict[str, Any]:
    low, high = sorted((generator.uniform(-100, 100), generator.uniform(0, 1000)))
    step = (high - low) / 10
    levels = [[generator.uniform(low, high) for _ in range(kept)] for kept in _level_sizes(rows)]
    sketches.append(json.dumps(levels))
    return {
        "name": name,
        "inferred_type": "Fractional",
        "numerical_statistics": {
            "common": {"num_present": rows, "num_missing": 0},
            "mean": generator.uniform(low, high),
            "sum": generator.uniform(low, high) * rows,
            "std_dev": generator.uniform(0, high),
            "min": low,
            "max": high,
            "distribution": {
                "kll": {
                    "buckets": [
                        {
                            "lower_bound": low + i * step,
                            "upper_bound": low + (i + 1) * step,
                            "count": float(rows // 10),
                        }
                        for i in range(10)
                    ],
                    "sketch": {
                        "parameters": {"c": 0.64, "k": 2048.0},
                        "data": f"@{len(sketches) - 1}@",
                    },
                }
            },
        },
    }


def _level_sizes(rows: int) -> list[int]:
    """Sizes of a sketch's levels: all values while they are few, else about 1,200 that weigh ``rows``."""
    if rows <= 1200:
        return [rows]
    levels = (rows // 1200).bit_length() + 1
    return [1200 // levels] * levels


def _written(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
