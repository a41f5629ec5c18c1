"""Judging a run's findings under a policy of many rules against one of few.

The rules are of all forms: features by name, by the beginning and by another glob, endpoints by name
and by glob, feature groups, checks, tags. Both policies apply to the same run. Measured with what a
warm function does for a schedule that it has not seen: rules are picked for the run, then every finding
is judged. Making the index of a policy, done once per version, is stated beside it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from guiderail.model.finding import Finding, Subject
from guiderail.model.judgement import Judgement
from guiderail.model.outcome import Direction, MonitorKind, Outcome, Reason
from guiderail.model.policy import (
    Effect,
    FeatureGroup,
    Layer,
    Match,
    Policy,
    Rule,
    RunsNeeded,
    Severity,
)
from guiderail.model.run import Reading
from guiderail.reports.run_files import ParsedRun
from guiderail.services.judging import PolicyIndex, RunLabels, judge

from benchmarks.result import Result, of_pairs

FINDINGS = 2000
FEW, MANY = 5, 500
NOW = datetime(2026, 11, 23, 14, 18, tzinfo=UTC)
RUN = RunLabels(
    account="123456789012",
    region="us-east-1",
    endpoint="loan-risk-prod",
    schedule="loan-risk-hourly",
    monitor=MonitorKind.DATA_QUALITY,
    tags={"team": "risk", "tier": "1"},
)


def measure(quick: bool) -> Iterator[Result]:
    """Measure pairs, one after the other."""
    reading = run_with_findings(FINDINGS)
    policies = [policy_of(count) for count in (MANY, FEW)]
    indexing = _seconds(lambda: PolicyIndex(policies[0]))
    pairs = []
    for _ in range(5 if quick else 25):
        many, few = (_seconds(_judging(PolicyIndex(policy), reading)) for policy in policies)
        pairs.append((many, few))
    typical = sorted(few for _, few in pairs)[len(pairs) // 2]
    yield of_pairs(
        f"judge {FINDINGS} findings, {MANY} rules / {FEW} rules",
        pairs,
        2.0,
        f"{typical * 1000:.1f} ms with {FEW}; index of {MANY} rules made in {indexing * 1000:.1f} ms",
    )


def policy_of(rules: int) -> Policy:
    """Make a policy with so many rules of mixed forms, defaults and models among them."""
    return Policy(
        rules=tuple(_rule(n, rules) for n in range(rules)),
        feature_groups=(
            FeatureGroup(name="bureau", features=("f_1*",)),
            FeatureGroup(name="applications", endpoints=("loan-*",)),
        ),
    )


def _rule(n: int, of: int) -> Rule:
    if n == 0:
        effect = Effect(owner="platform", runbook="https://runbooks/drift", minimum_rows=50)
        return Rule(name="defaults", layer=Layer.DEFAULTS, line=1, effect=effect)
    form = n % 10
    # features of few rules and of many are spread over all findings alike
    feature = n * FINDINGS // of
    match, effect = {
        1: (Match(feature=(f"f_{feature}",)), Effect(threshold=0.2)),
        2: (Match(feature=(f"f_{feature}*",)), Effect(severity=Severity.ERROR)),
        3: (Match(endpoint=(f"endpoint-{n}",)), Effect(owner=f"team-{n}")),
        4: (
            Match(endpoint=("loan-*",), feature=(f"f_{feature}", f"f_{feature}?")),
            Effect(runs_needed=RunsNeeded(2, 3)),
        ),
        5: (
            Match(endpoint=("*-staging", f"fraud-{n}-*"), check=("baseline_drift_check",)),
            Effect(shadow=True),
        ),
        6: (Match(tags={"team": f"team-{n}"}), Effect(owner=f"team-{n}")),
        7: (Match(tags={"team": "r*"}, feature=(f"f_{feature}_*",)), Effect(labels={"n": str(n)})),
        8: (
            Match(monitor=("model_quality",), metric=("auc", "f*")),
            Effect(severity=Severity.CRITICAL),
        ),
        9: (
            Match(feature_group=(f"group-{n}",), check=("*_check",)),
            Effect(severity=Severity.INFO),
        ),
        0: (
            Match(check=("completeness_check",), feature=(f"f_{feature}", f"g_{n}*")),
            Effect(threshold=0.9),
        ),
    }[form]
    layer = Layer.MODEL if form == 3 else Layer.RULE
    return Rule(name=f"rule {n}", layer=layer, line=n + 1, match=match, effect=effect)


def run_with_findings(findings: int) -> Reading:
    """Make a run with so many findings: two checks of each feature."""
    return Reading(
        outcome=Outcome.VIOLATIONS,
        monitor=MonitorKind.DATA_QUALITY,
        reasons=(Reason.VIOLATIONS_REPORTED,),
        findings=tuple(_finding(n) for n in range(findings)),
        rows=900,
    )


def _finding(n: int) -> Finding:
    drift = n % 2 == 0
    return Finding(
        kind=MonitorKind.DATA_QUALITY,
        check="baseline_drift_check" if drift else "completeness_check",
        subject=Subject(feature=f"f_{n // 2}"),
        observed=0.42 if drift else 0.93,
        threshold=0.1 if drift else 1.0,
        direction=Direction.ABOVE if drift else Direction.BELOW,
        parsed=True,
        description="Baseline drift distance: 0.42 exceeds threshold: 0.1",
    )


def _judging(index: PolicyIndex, reading: Reading) -> Callable[[], tuple[Judgement, ...]]:
    return lambda: judge(index.for_run(RUN), reading, ParsedRun(), NOW)


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began
