"""Reading a run's files against json.loads of the same bytes, and deciding against reading.

Deciding is everything that follows from the files: outcome, findings, the retraining decision, and the
alert with its text. Time is that of the processor: neither touches disk or network.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.model.run import Run
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.alerting import alert_for
from guiderail.services.reading import read_outcome
from guiderail.services.retraining import RetrainingPlan

from benchmarks.report_files import constraints_file, statistics_file, violations_file
from benchmarks.result import Result, of_pairs
from benchmarks.stub_aws import ARN, JOB

SIZES = (60, 500, 2000)
ROWS = 100
BASELINE_ROWS = 41_000

RUN = Run(
    key=f"{ARN}#Completed",
    job_name=JOB,
    job_arn=ARN,
    status="Completed",
    endpoint="loan-risk-prod",
    schedule="loan-risk-hourly",
    report_uri="s3://loan-reports/loan-risk-prod/loan-risk-hourly/2026/11/23/14",
    window_start="2026-11-23T13:00:00Z",
    window_end="2026-11-23T14:00:00Z",
    ended_at=datetime(2026, 11, 23, 14, 17, tzinfo=UTC),
)
PLAN = RetrainingPlan(
    (RetrainingRule("*", RetrainingMode.SUGGEST),),
    ("arn:aws:sagemaker:us-east-1:123456789012:pipeline/retrain-loan-risk",),
    {},
)


def measure(quick: bool) -> Iterator[Result]:
    """Measure at each number of features; every pair reads the same bytes, one after the other."""
    for features in SIZES[:1] if quick else SIZES:
        run, baseline = files_of_a_run(features)
        contents = [*run.contents.values(), *baseline.contents.values()]
        rounds = [_round(contents, run, baseline) for _ in range(3 if quick else 15)]
        size = f"{sum(map(len, contents)) / 1e6:.1f} MB in {len(contents)} files"
        parsing = [(parse, load) for load, parse, _ in rounds]
        deciding = [(decide, parse) for _, parse, decide in rounds]
        millis = f"{_typical(parse for _, parse, _ in rounds)} / {_typical(load for load, _, _ in rounds)}"
        yield of_pairs(
            f"parse / json.loads, {features} features", parsing, 0.15, f"{millis}, {size}"
        )
        decided = (
            f"{_typical(decide for _, _, decide in rounds)}, {len(_parsed_findings(run))} findings"
        )
        yield of_pairs(f"decide / parse, {features} features", deciding, 0.5, decided)


def files_of_a_run(features: int) -> tuple[Files, Files]:
    """Make the files of a run with violations, and those of its baseline."""
    run = {
        "constraint_violations.json": violations_file(features),
        "statistics.json": statistics_file(features, ROWS),
        "constraints.json": constraints_file(features),
    }
    baseline = {
        "statistics.json": statistics_file(features, BASELINE_ROWS, seed=2),
        "constraints.json": constraints_file(features),
    }
    return Files(run), Files(baseline)


def decide(parsed: ParsedRun) -> object:
    """Do what follows from a run's files, up to the alert's text."""
    reading = read_outcome(parsed, None, None, 30)
    return alert_for(RUN, reading, PLAN.decide(RUN, reading))


def _round(contents: list[bytes], run: Files, baseline: Files) -> tuple[float, float, float]:
    load = _seconds(lambda: [json.loads(content) for content in contents])
    parse = _seconds(lambda: parse_run(run, baseline))
    parsed = parse_run(run, baseline)
    return load, parse, _seconds(lambda: decide(parsed))


def _parsed_findings(run: Files) -> tuple[object, ...]:
    return parse_run(run).violations or ()


def _typical(seconds: Iterator[float]) -> str:
    taken = sorted(seconds)
    return f"{taken[len(taken) // 2] * 1000:.1f} ms"


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began
