"""Measures, prints a table and writes benchmarks/latest.json.

    python -m benchmarks                      everything, about twenty minutes
    python -m benchmarks --only calls --json  one of them, as JSON

Exit codes: 0 every target is met, 1 one is missed, 2 a benchmark could not run, or wrong use.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from guiderail_local.errors import LocalCloudError
from rich.console import Console
from rich.table import Table

from benchmarks import (
    backtesting,
    calls,
    cold_start,
    delivering,
    mutations,
    parsing,
    policy_evaluation,
    reingesting,
    size,
    storm,
)
from benchmarks.environments import EnvironmentMissingError
from benchmarks.result import Result
from layers import build
from layers.precompile import PrecompileError

BENCHMARKS = {
    "calls": calls.measure,
    "size": size.measure,
    "parsing": parsing.measure,
    "policy": policy_evaluation.measure,
    "backtest": backtesting.measure,
    "cold-start": cold_start.measure,
    "delivering": delivering.measure,
    "mutations": mutations.measure,
    "reingesting": reingesting.measure,
    "storm": storm.measure,
}
_CANNOT_RUN = (OSError, RuntimeError, EnvironmentMissingError, PrecompileError, LocalCloudError)
LATEST = Path(__file__).parent / "latest.json"


def main() -> int:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run this one only")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; writes no file")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args()
    chosen = options.only or list(BENCHMARKS)
    results: list[Result] = []
    failed: list[str] = []
    for name in chosen:
        print(f"measuring {name} …", file=sys.stderr)
        try:
            results += BENCHMARKS[name](options.quick)
        except _CANNOT_RUN as exc:
            failed.append(f"{name} could not run: {exc}")
    document = {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "python of the runtime": build.runtime_version(),
        },
        "results": [result.as_json() for result in results],
    }
    if not (options.quick or options.only or failed):
        LATEST.write_text(json.dumps(document, indent=2) + "\n")
    if options.json:
        print(json.dumps(document))
    else:
        _print(results)
    missed = [f"missed: {result.name}" for result in results if result.met is False]
    for line in (*missed, *failed):
        print(line, file=sys.stderr)
    return 2 if failed else int(bool(missed))


def _print(results: list[Result]) -> None:
    table = Table("figure", "median", "range", "target", "met", "note")
    for r in results:
        met = {True: "yes", False: "no", None: ""}[r.met]
        spread = f"{r.low:.3g}–{r.high:.3g} of {r.runs}" if r.runs > 1 else ""
        target = "" if r.target is None else f"≤ {r.target:g}"
        unit = "" if r.unit == "ratio" else f" {r.unit}"
        median = "" if r.median is None else f"{r.median:.3g}{unit}"
        table.add_row(r.name, median, spread, target, met, r.note)
    console = Console()
    # in a pipe there is no width to keep to
    Console(width=None if console.is_terminal else 170).print(table)


if __name__ == "__main__":
    sys.exit(main())
