"""A backtest of stored runs against reading and parsing the same runs.

The history is made for it (``benchmarks/history.py``), its reports as large as real ones. Both sides find the
runs anew and read the same files through the same code, so the ratio is what judging, incidents, grouping
and counting cost on top. Time is that of the processor; the files are in the machine's cache.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from guiderail.model.outcome import Direction
from guiderail.model.policy import (
    Effect,
    Layer,
    Match,
    Policy,
    Route,
    Rule,
    RunsNeeded,
    Severity,
)
from guiderail_cli.backtest.run import backtest
from guiderail_cli.backtest.shelves import Shelf, shelf_at
from guiderail_cli.backtest.stored_runs import Found, Reader, find_runs

from benchmarks.history import write_history
from benchmarks.result import Result, of_pairs

RUNS = 10_000
DAYS, ENDPOINTS = 100, 75
_MAX_BYTES = 64 * 1024 * 1024

_RULES = (
    Rule(name="all", layer=Layer.DEFAULTS, line=1, effect=Effect(owner="ml-platform")),
    Rule(
        name="drift twice",
        layer=Layer.RULE,
        line=2,
        match=Match(check=("baseline_drift_check",)),
        effect=Effect(runs_needed=RunsNeeded(2, 3)),
    ),
    Rule(
        name="fraud",
        layer=Layer.RULE,
        line=3,
        match=Match(endpoint=("card-fraud-*",)),
        effect=Effect(owner="fraud", severity=Severity.ERROR),
    ),
)
POLICY = Policy(
    rules=_RULES,
    route=Route(
        name="default",
        receiver="ml-oncall",
        repeat_interval=86_400.0,
        routes=(Route(name="fraud", receiver="fraud", match=Match(owner=("fraud",))),),
    ),
)
TIGHT = Policy(
    rules=(
        *_RULES,
        Rule(
            name="full columns",
            layer=Layer.RULE,
            line=4,
            match=Match(check=("completeness_check",)),
            effect=Effect(threshold=0.999, direction=Direction.BELOW),
        ),
    ),
    route=POLICY.route,
)
"""Looks at every column of every run itself: the numbers stand in the statistics files."""


def measure(quick: bool) -> Iterator[Result]:
    """Measure; each round replays and reads the same runs in turn."""
    days = DAYS // 10 if quick else DAYS
    with TemporaryDirectory() as folder:
        write_history(Path(folder, "history"), days, ENDPOINTS)
        shelf = shelf_at(str(Path(folder, "history")), _MAX_BYTES)
        count = len(_read(shelf))
        for name, policy in (("", POLICY), (", a completeness threshold of our own", TIGHT)):
            pairs = []
            for _ in range(1 if quick else 5):
                took = _seconds(lambda policy=policy: _replay(shelf, policy))  # type: ignore[misc]
                pairs.append((took, _seconds(lambda: _read(shelf))))
            typical = sorted(pairs)[len(pairs) // 2]
            note = f"{typical[0]:.1f} s / {typical[1]:.1f} s"
            yield of_pairs(
                f"backtest / read and parse, {count:,} runs{name}",
                pairs,
                None if name else 2.0,
                note,
            )


def _found(shelf: Shelf) -> Found:
    found = find_runs(shelf)
    return Found(found.runs[:RUNS], found.skipped, found.ignored)


def _read(shelf: Shelf) -> list[None]:
    return [None for _ in Reader(shelf, with_baselines=False).all_of(_found(shelf).runs)]


def _replay(shelf: Shelf, policy: Policy) -> object:
    return backtest(shelf, _found(shelf), [("policy", policy)], 30)


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began
