"""Reading a run's files against json.loads of the same bytes, and deciding against reading."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator

from guiderail.reports.run_files import Files, parse_run
from guiderail.services.reading import read_outcome

from benchmarks.report_files import constraints_file, statistics_file, violations_file
from benchmarks.result import Result, of_pairs

SIZES = (60, 500, 2000)


def measure(quick: bool) -> Iterator[Result]:
    """Measure at each number of features; every pair reads the same bytes, one after the other."""
    for features in SIZES[:1] if quick else SIZES:
        run = Files(
            {
                "constraint_violations.json": violations_file(features),
                "statistics.json": statistics_file(features, 100),
                "constraints.json": constraints_file(features),
            }
        )
        baseline = Files(
            {
                "statistics.json": statistics_file(features, 41_000, seed=2),
                "constraints.json": constraints_file(features),
            }
        )
        contents = [*run.contents.values(), *baseline.contents.values()]
        rounds = [_round(contents, run, baseline) for _ in range(3 if quick else 9)]
        size = f"{sum(map(len, contents)) / 1e6:.1f} MB in {len(contents)} files"
        parsing = [(parse, load) for load, parse, _ in rounds]
        deciding = [(decide, parse) for _, parse, decide in rounds]
        yield of_pairs(f"parse / json.loads, {features} features", parsing, 0.15, size)
        yield of_pairs(f"decide / parse, {features} features", deciding, 0.5)


def _round(contents: list[bytes], run: Files, baseline: Files) -> tuple[float, float, float]:
    load = _seconds(lambda: [json.loads(content) for content in contents])
    parse = _seconds(lambda: parse_run(run, baseline))
    parsed = parse_run(run, baseline)
    decide = _seconds(lambda: read_outcome(parsed, None, None, 30))
    return load, parse, decide


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
