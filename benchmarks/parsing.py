"""Reading a run's files against json.loads of the same bytes, and deciding against reading.

Deciding is everything that follows from the files: outcome, findings, what the policy makes of them, the
incidents, the retraining decision, what is to be kept, and the message with its text. Every finding is
new, which is the most work; a run of known incidents is stated beside it. Time is that of the processor:
neither touches disk or network.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from guiderail.model.incident import Ledger
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.message import Notification
from guiderail.model.notice import Group
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    Effect,
    Layer,
    Match,
    Policy,
    Receiver,
    Rule,
    RunsNeeded,
    Severity,
)
from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.model.run import Run
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.following import Followed, Judge, follow
from guiderail.services.retraining import RetrainingPlan
from guiderail.services.telling import Surroundings, settle
from msgspec.structs import replace

from benchmarks.report_files import constraints_file, statistics_file, violations_file
from benchmarks.result import Result, of_pairs
from benchmarks.stub_aws import ARN, JOB

SIZES = (60, 500, 2000)
ROWS = 100
BASELINE_ROWS = 41_000
_ROUNDS = {60: 25, 500: 15, 2000: 9}
_IN_A_ROW = {60: 10, 500: 2, 2000: 1}
"""A single decision on 60 features takes a millisecond, most of it in caches that others left cold."""

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
NEXT_RUN = replace(
    RUN, key=f"{ARN}-next#Completed", ended_at=datetime(2026, 11, 23, 15, 17, tzinfo=UTC)
)
PLAN = RetrainingPlan(
    (RetrainingRule("*", RetrainingMode.SUGGEST),),
    ("arn:aws:sagemaker:us-east-1:123456789012:pipeline/retrain-loan-risk",),
    {},
)
POLICY = Policy(
    version="bench",
    rules=(
        Rule(
            name="defaults",
            layer=Layer.DEFAULTS,
            line=2,
            effect=Effect(owner="risk", runbook="https://runbooks/drift"),
        ),
        Rule(
            name="loan models",
            layer=Layer.MODEL,
            line=7,
            match=Match(endpoint=("loan-*",)),
            effect=Effect(minimum_rows=50, labels={"tier": "1"}),
        ),
        Rule(
            name="first features",
            layer=Layer.RULE,
            line=12,
            match=Match(feature=("feature_000*",), check=("baseline_drift_check",)),
            effect=Effect(severity=Severity.ERROR, runs_needed=RunsNeeded(1, 2)),
        ),
    ),
)
SHOWING_POLICY = replace(
    POLICY,
    version="showing",
    receivers={
        "default": Receiver(
            name="default", channels=(Channel(kind=ChannelKind.EMAIL, name="default/email"),)
        )
    },
)
"""Has somebody to show distributions to, which are then made of the statistics files."""

TIGHTER_POLICY = replace(
    POLICY,
    version="tighter",
    rules=(
        *POLICY.rules,
        Rule(
            name="tighter than the service",
            layer=Layer.RULE,
            line=18,
            match=Match(feature=("feature_000*",), check=("baseline_drift_check",)),
            effect=Effect(threshold=0.05),
        ),
    ),
)
"""Asks for the drift of ten features, which has to be computed from the sketches of both files."""

JUDGES_EVERYTHING = Policy(
    version="everything",
    rules=tuple(
        Rule(
            name=check,
            layer=Layer.RULE,
            line=line,
            match=Match(check=(check,)),
            effect=Effect(threshold=threshold),
        )
        for line, (check, threshold) in enumerate(
            {
                "completeness_check": 1.0,
                "baseline_drift_check": 0.01,
                "LessThanThreshold": 0.99,
                "GreaterThanThreshold": 0.01,
                "bias_drift_check": 0.01,
                "feature_attribution_drift_check": 0.999,
            }.items(),
            start=1,
        )
    ),
)
"""A threshold tighter than the service's for every check that can have one."""

NOW = datetime(2026, 11, 23, 14, 18, tzinfo=UTC)


def measure(quick: bool) -> Iterator[Result]:
    """Measure at each number of features; every pair reads the same bytes, one after the other."""
    for features in SIZES[:1] if quick else SIZES:
        run, baseline = files_of_a_run(features)
        contents = [*run.contents.values(), *baseline.contents.values()]
        rounds = [
            _round(contents, run, baseline, _IN_A_ROW[features])
            for _ in range(3 if quick else _ROUNDS[features])
        ]
        size = f"{sum(map(len, contents)) / 1e6:.1f} MB in {len(contents)} files"
        parsing = [(r.parse, r.load) for r in rounds]
        millis = f"{_typical(r.parse for r in rounds)} / {_typical(r.load for r in rounds)}"
        yield of_pairs(
            f"parse / json.loads, {features} features", parsing, 0.15, f"{millis}, {size}"
        )
        yield of_pairs(
            f"decide / parse, {features} features",
            [(r.decide, r.parse) for r in rounds],
            0.5,
            f"{_typical(r.decide for r in rounds)}, {len(_parsed_findings(run))} findings, all new",
        )
        yield of_pairs(
            f"decide when all is known / parse, {features} features",
            [(r.decide_known, r.parse) for r in rounds],
            None,
            _typical(r.decide_known for r in rounds),
        )
        yield of_pairs(
            f"decide with distributions to show / parse, {features} features",
            [(r.decide_showing, r.parse) for r in rounds],
            None,
            f"{_typical(r.decide_showing for r in rounds)}, of the three worst features",
        )
        yield of_pairs(
            f"decide with drift computed / parse, {features} features",
            [(r.decide_tighter, r.parse) for r in rounds],
            None,
            f"{_typical(r.decide_tighter for r in rounds)}, a rule asks for ten features' drift",
        )


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


def decide(
    parsed: ParsedRun,
    known: Ledger | None = None,
    run: Run = RUN,
    policy: Policy = POLICY,
    job: ProcessingJob | None = None,
    schedule: MonitoringSchedule | None = None,
) -> tuple[Followed, tuple[Notification, ...]]:
    """Do what follows from a run's files, up to what is written and the messages of blocks.

    Args:
        parsed: The files.
        known: What is remembered of the run's schedule; by default nothing.
        run: Whose files they are.
        policy: What to judge by.
        job: Its description, if there is one.
        schedule: That of its schedule.
    """
    judge = _JUDGES.setdefault(policy.version, Judge(30))
    judged = judge(run, job, schedule, parsed, policy, _NoTags(), _NoFiles(), NOW)
    ledger = known or Ledger(scope=judged.scope)
    followed = follow(ledger, run, judged, policy, lambda reading: PLAN.decide(run, reading), NOW)
    return followed, messages_of(followed)


def messages_of(followed: Followed) -> tuple[Notification, ...]:
    """The messages that a run alone leads to, as the clock makes them."""
    around = Surroundings(policy=POLICY)
    return tuple(
        notification
        for notice in followed.notices
        for notification in settle(
            Group(id=notice.group, route=notice.route, labels=notice.group_labels),
            [notice],
            POLICY.route,
            around,
            notice.due_at,
        ).notifications
    )


_JUDGES: dict[str, Judge] = {}
"""One per policy, as a warm function has one: it keeps the index."""


class _NoTags:
    def of(self, schedule_arn: str) -> Mapping[str, str]:
        return {}


class _NoFiles:
    def fetch(self, places: Mapping[str, str]) -> Files:
        return Files()


@dataclass(frozen=True)
class _Round:
    """Seconds of the processor for one call each, taken one after the other."""

    load: float
    parse: float
    decide: float
    decide_known: float
    decide_tighter: float
    decide_showing: float


def _round(contents: list[bytes], run: Files, baseline: Files, times: int) -> _Round:
    parsed = parse_run(run, baseline)
    known = decide(parsed)[0].ledger
    return _Round(
        load=_seconds(lambda: [json.loads(content) for content in contents]),
        parse=_seconds(lambda: parse_run(run, baseline), times),
        decide=_seconds(lambda: decide(parsed), times),
        decide_known=_seconds(lambda: decide(parsed, known, NEXT_RUN), times),
        decide_tighter=_seconds(lambda: decide(parsed, None, RUN, TIGHTER_POLICY), times),
        decide_showing=_seconds(lambda: decide(parsed, None, RUN, SHOWING_POLICY), times),
    )


def _parsed_findings(run: Files) -> tuple[object, ...]:
    return parse_run(run).violations or ()


def _typical(seconds: Iterator[float]) -> str:
    taken = sorted(seconds)
    return f"{taken[len(taken) // 2] * 1000:.1f} ms"


def _seconds(work: Callable[[], object], times: int = 1) -> float:
    gc.collect()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times
