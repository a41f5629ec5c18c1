"""Findings under a policy: which rules apply, in which order, and what becomes of each finding."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import SetBy
from guiderail.model.judgement import Judgement, Resolved
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
from guiderail.services.judging import (
    PolicyIndex,
    RunLabels,
    RunPolicy,
    default_severity,
    judge,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders as b

NOW = datetime(2026, 11, 23, 14, 18, tzinfo=UTC)
DRIFT = "baseline_drift_check"


def labels(**fields: Any) -> RunLabels:
    known: dict[str, Any] = {
        "account": b.ACCOUNT,
        "region": b.REGION,
        "endpoint": b.ENDPOINT,
        "schedule": "Loan-Risk-Hourly",
        "monitor": MonitorKind.DATA_QUALITY,
        "tags": {},
    }
    return RunLabels(**{**known, **fields})


def rule(
    match: dict[str, Any] | None = None,
    layer: Layer = Layer.RULE,
    name: str = "",
    line: int = 0,
    **effect: Any,
) -> Rule:
    alternatives: dict[str, Any] = {
        key: value if key == "tags" else (value,) if isinstance(value, str) else tuple(value)
        for key, value in (match or {}).items()
    }
    return Rule(
        name=name, layer=layer, line=line, match=Match(**alternatives), effect=Effect(**effect)
    )


def policy(*rules: Rule, **fields: Any) -> Policy:
    return Policy(rules=rules, **fields)


def for_run(*rules: Rule, run: RunLabels | None = None, **fields: Any) -> RunPolicy:
    return PolicyIndex(policy(*rules, **fields)).for_run(run or labels())


def resolved(rules: RunPolicy, check: str = DRIFT, subject: Subject | None = None) -> Resolved:
    return rules.resolve(MonitorKind.DATA_QUALITY, check, subject or Subject(feature="income"))


def judged(
    *rules: Rule,
    findings: tuple[Finding, ...] | None = None,
    parsed: ParsedRun | None = None,
    now: datetime = NOW,
    **reading: Any,
) -> tuple[Judgement, ...]:
    listed = (b.finding(direction=Direction.ABOVE),) if findings is None else findings
    return judge(for_run(*rules), b.reading(*listed, **reading), parsed or ParsedRun(), now)


def reason(*rules: Rule, finding: Finding | None = None, **reading: Any) -> Reason:
    findings = (finding or b.finding(direction=Direction.ABOVE),)
    return judged(*rules, findings=findings, **reading)[0].reason


# --- which rules apply


@pytest.mark.parametrize(
    ("match", "applies"),
    [
        ({}, True),
        ({"endpoint": b.ENDPOINT}, True),
        ({"endpoint": "loan-*"}, True),
        ({"endpoint": "*-prod"}, True),
        ({"endpoint": "Loan-*"}, False),
        ({"endpoint": "loan"}, False),
        ({"endpoint": ("other", b.ENDPOINT)}, True),
        ({"endpoint": ("other", "loan-*")}, True),
        ({"account": b.ACCOUNT}, True),
        ({"account": "0*"}, False),
        ({"schedule": "Loan-Risk-*"}, True),
        ({"monitor": "data_quality"}, True),
        ({"monitor": "*_quality"}, True),
        ({"monitor": "bias"}, False),
        ({"check": DRIFT}, True),
        ({"check": "baseline_*"}, True),
        ({"check": "completeness_check"}, False),
        ({"feature": "income"}, True),
        ({"feature": "inc*"}, True),
        ({"feature": "*come"}, True),
        ({"feature": "?ncome"}, True),
        ({"feature": "[a-i]ncome"}, True),
        ({"feature": "in"}, False),
        ({"feature": "inc"}, False),
        ({"feature": ("age", "inco*")}, True),
        ({"feature": ("age", "*x")}, False),
        ({"feature": "income", "check": "completeness_check"}, False),
        ({"feature": "inc*", "endpoint": "loan-*", "check": "*drift*"}, True),
        ({"metric": "*"}, False),
        ({"facet": "*"}, False),
        ({"label": "*"}, False),
        ({"feature_group": "*"}, False),
        ({"tags": {"team": "risk"}}, True),
        ({"tags": {"team": "r*"}}, True),
        ({"tags": {"team": "fraud"}}, False),
        ({"tags": {"cost": "*"}}, False),
        ({"severity": "warning"}, False),
        ({"owner": "*"}, False),
    ],
)
def test_a_rule_applies_where_every_key_that_it_names_matches(
    match: dict[str, Any], applies: bool
) -> None:
    rules = for_run(rule(match, owner="someone"), run=labels(tags={"team": "risk"}))

    assert resolved(rules).values.owner == ("someone" if applies else "")


@pytest.mark.parametrize(
    ("subject", "match"),
    [
        (Subject(metric="auc"), {"metric": "a?c"}),
        (Subject(metric="DPPL", facet="age", facet_value="1"), {"facet": "age", "metric": "D*"}),
        (Subject(metric="shap", label="default"), {"label": "default"}),
        (Subject(columns=("a", "b")), {"check": DRIFT}),
    ],
)
def test_subjects_of_every_monitor_are_matched(subject: Subject, match: dict[str, str]) -> None:
    assert resolved(for_run(rule(match, owner="x")), subject=subject).values.owner == "x"


def test_a_rule_about_features_is_not_about_a_failed_run_or_missing_columns() -> None:
    everything = rule({"feature": "*"}, shadow=True)

    assert reason(everything) is Reason.SHADOW
    missing = b.finding("missing_column_check", subject=Subject(columns=("age",)))
    assert reason(everything, finding=missing) is Reason.COUNTS
    assert judged(everything, findings=(), outcome=Outcome.FAILED)[0].reason is Reason.COUNTS


def test_a_batch_schedule_has_no_endpoint_to_match() -> None:
    rules = for_run(rule({"endpoint": "*"}, owner="x"), run=labels(endpoint=""))

    assert resolved(rules).values.owner == ""


def test_a_feature_group_is_the_first_that_has_the_feature() -> None:
    groups = (
        FeatureGroup(name="elsewhere", endpoints=("fraud-*",)),
        FeatureGroup(name="nightly", schedules=("*-nightly",)),
        FeatureGroup(name="bureau", features=("score", "bureau_*"), endpoints=("loan-*",)),
        FeatureGroup(name="rest"),
    )
    rules = for_run(rule({"feature_group": "bur*"}, owner="bureau"), feature_groups=groups)

    named = [rules.feature_group(Subject(feature=f)) for f in ("score", "bureau_age", "income")]
    assert named == ["bureau", "bureau", "rest"]
    assert rules.feature_group(Subject(metric="auc")) == ""
    assert resolved(rules, subject=Subject(feature="score")).values.owner == "bureau"
    assert resolved(rules).values.owner == ""


def test_a_judgement_names_its_feature_group() -> None:
    rules = for_run(feature_groups=(FeatureGroup(name="applications"),))

    (one,) = judge(rules, b.reading(b.finding()), ParsedRun(), NOW)

    assert one.feature_group == "applications"


def test_unknown_tags_leave_out_the_rules_that_ask_for_them_and_it_shows() -> None:
    asks = rule({"tags": {"team": "*"}}, shadow=True)
    index = PolicyIndex(policy(asks, rule({"endpoint": "other", "tags": {"a": "b"}}, owner="x")))

    unknown = index.for_run(labels(tags=None))
    assert (unknown.tags_unknown, resolved(unknown).values.shadow) == (True, False)
    known = index.for_run(labels(tags={"team": "risk"}))
    assert (known.tags_unknown, resolved(known).values.shadow) == (False, True)


def test_tags_are_needed_only_where_a_rule_that_could_match_asks_for_them() -> None:
    index = PolicyIndex(policy(rule({"endpoint": "fraud-*", "tags": {"team": "x"}}, owner="x")))

    assert index.needs_tags(labels(endpoint="fraud-eu", tags=None))
    assert not index.needs_tags(labels(tags=None))
    assert not index.for_run(labels(tags=None)).tags_unknown


# --- the order of layers and rules


def test_the_layers_are_laid_over_each_other_key_by_key() -> None:
    rules = for_run(
        rule(layer=Layer.RULE, match={"feature": "income"}, severity=Severity.CRITICAL),
        rule(layer=Layer.MODEL, match={"endpoint": "loan-*"}, owner="risk", threshold=0.3),
        rule(layer=Layer.DEFAULTS, owner="platform", runbook="https://runbooks", threshold=0.2),
    )

    values = resolved(rules).values
    assert (values.severity, values.owner, values.runbook, values.threshold) == (
        Severity.CRITICAL,
        "risk",
        "https://runbooks",
        0.3,
    )


def test_a_layer_above_wins_however_specific_the_one_below_is() -> None:
    rules = for_run(
        rule({"endpoint": b.ENDPOINT, "check": DRIFT, "feature": "income"}, Layer.MODEL, owner="m"),
        rule(owner="r"),
    )

    assert resolved(rules).values.owner == "r"


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        ({}, {"feature": "*"}),
        ({"feature": "*"}, {"feature": "income"}),
        ({"feature": "in*", "check": "*", "endpoint": "*"}, {"feature": "income"}),
        ({"feature": "income"}, {"feature": "income", "check": "*"}),
        ({"feature": "income", "endpoint": "*"}, {"feature": "income", "check": DRIFT}),
        ({"feature": ("income", "x*")}, {"feature": "income"}),
        ({"tags": {"team": "*"}}, {"tags": {"team": "risk"}}),
        ({"feature": "income"}, {"feature": "income", "tags": {"team": "risk"}}),
    ],
)
def test_the_more_specific_rule_wins_whatever_the_order(
    weaker: dict[str, Any], stronger: dict[str, Any]
) -> None:
    first, second = rule(weaker, owner="weak"), rule(stronger, owner="strong")

    for order in ((first, second), (second, first)):
        rules = for_run(*order, run=labels(tags={"team": "risk"}))
        assert resolved(rules).values.owner == "strong"


def test_of_equally_specific_rules_the_later_wins() -> None:
    rules = for_run(rule({"feature": "inc*"}, owner="a"), rule({"feature": "*come"}, owner="b"))

    assert resolved(rules).values.owner == "b"


def test_labels_are_merged_and_every_value_names_its_line() -> None:
    rules = for_run(
        rule(layer=Layer.DEFAULTS, name="defaults", line=3, labels={"tier": "2", "unit": "loans"}),
        rule({"feature": "income"}, name="income", line=14, labels={"tier": "1"}, threshold=0.4),
        rule({"feature": "inc*"}, name="inc", line=20, threshold=0.2, shadow=False),
    )

    found = resolved(rules)
    assert found.values.labels == {"tier": "1", "unit": "loans"}
    assert found.set_by == {
        "labels.unit": SetBy("defaults", 3),
        "labels.tier": SetBy("income", 14),
        "threshold": SetBy("income", 14),
        "shadow": SetBy("inc", 20),
    }


def test_a_rule_can_take_back_what_a_weaker_one_set() -> None:
    rules = for_run(
        rule(layer=Layer.DEFAULTS, shadow=True, runs_needed=RunsNeeded(2, 3)),
        rule({"feature": "income"}, shadow=False, runs_needed=RunsNeeded(1, 1)),
    )

    assert resolved(rules).values.shadow is False
    assert resolved(rules).values.runs_needed == RunsNeeded(1, 1)
    assert resolved(rules, subject=Subject(feature="age")).values.runs_needed == RunsNeeded(2, 3)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("data_type_check", Severity.ERROR),
        ("missing_column_check", Severity.ERROR),
        ("LessThanThreshold", Severity.ERROR),
        (DRIFT, Severity.WARNING),
        ("bias_drift_check", Severity.WARNING),
        ("own_check", Severity.WARNING),
        ("failed", Severity.ERROR),
        ("no_data", Severity.ERROR),
        ("unreadable", Severity.ERROR),
        ("too_few_rows", Severity.WARNING),
        ("stopped", Severity.WARNING),
    ],
)
def test_severity_where_the_policy_sets_none(check: str, expected: Severity) -> None:
    assert default_severity(check) is expected
    assert resolved(for_run(), check).values.severity is expected


def test_the_rows_of_a_run_are_asked_for_by_rules_about_no_finding_in_particular() -> None:
    assert for_run().minimum_rows is None
    rules = for_run(
        rule(layer=Layer.DEFAULTS, minimum_rows=100),
        rule({"endpoint": "loan-*"}, minimum_rows=200),
        rule({"endpoint": "fraud-*"}, minimum_rows=300),
        rule({"feature": "income"}, minimum_rows=400),
    )
    assert rules.minimum_rows == 200
    assert resolved(rules).values.minimum_rows == 400


# --- thresholds


@pytest.mark.parametrize(
    ("observed", "threshold", "direction", "expected"),
    [
        (0.42, 0.5, Direction.ABOVE, Reason.WITHIN_THRESHOLD),
        (0.5, 0.5, Direction.ABOVE, Reason.WITHIN_THRESHOLD),
        (0.51, 0.5, Direction.ABOVE, Reason.COUNTS),
        (0.97, 0.95, Direction.BELOW, Reason.WITHIN_THRESHOLD),
        (0.95, 0.95, Direction.BELOW, Reason.WITHIN_THRESHOLD),
        (0.94, 0.95, Direction.BELOW, Reason.COUNTS),
        (-0.3, 0.2, Direction.FARTHER_FROM_ZERO, Reason.COUNTS),
        (-0.2, 0.2, Direction.FARTHER_FROM_ZERO, Reason.WITHIN_THRESHOLD),
        (0.1, -0.2, Direction.FARTHER_FROM_ZERO, Reason.WITHIN_THRESHOLD),
        (math.inf, 0.2, Direction.FARTHER_FROM_ZERO, Reason.COUNTS),
        (69.0, 70.0, Direction.MISMATCH, Reason.COUNTS),
        (70.0, 70.0, Direction.MISMATCH, Reason.WITHIN_THRESHOLD),
        (0.1, 0.5, Direction.OUTSIDE, Reason.COUNTS),
        (None, 0.5, Direction.ABOVE, Reason.COUNTS),
        (0.1, 0.5, None, Reason.COUNTS),
    ],
)
def test_a_finding_counts_beyond_the_policys_threshold(
    observed: float | None, threshold: float, direction: Direction | None, expected: Reason
) -> None:
    finding = b.finding(observed=observed, direction=direction)

    assert reason(rule(threshold=threshold), finding=finding) is expected


@pytest.mark.parametrize(
    ("observed", "counts"), [(1.25, False), (0.75, False), (0.7, True), (1.4, True)]
)
def test_disparate_impact_is_measured_from_one(observed: float, counts: bool) -> None:
    subject = Subject(metric="DI", facet="age", facet_value="1")
    finding = b.finding(
        "bias_drift_check",
        MonitorKind.BIAS,
        subject,
        observed=observed,
        threshold=1.01,
        direction=Direction.FARTHER_FROM_ZERO,
    )

    (one,) = judged(rule(threshold=0.75), findings=(finding,))

    assert one.counts is counts
    assert one.finding.distance == pytest.approx(abs(observed - 1))


def test_the_finding_carries_the_effective_threshold_and_the_judgement_the_services() -> None:
    (one,) = judged(rule(threshold=0.3, direction=Direction.ABOVE, line=7, name="looser"))

    assert (one.finding.threshold, one.service_threshold) == (0.3, 0.1)
    assert one.finding.distance == pytest.approx(0.12)
    assert one.set_by["threshold"] == SetBy("looser", 7)


def test_without_a_threshold_of_the_policy_the_report_stands() -> None:
    finding = b.finding(direction=Direction.ABOVE, observed=0.05)

    (one,) = judged(rule(owner="x"), findings=(finding,))

    assert (one.finding, one.reason, one.service_threshold) == (finding, Reason.COUNTS, 0.1)


def test_a_direction_alone_turns_the_services_threshold() -> None:
    finding = b.finding(direction=None, observed=0.05, parsed=False)

    assert reason(rule(direction=Direction.BELOW), finding=finding) is Reason.COUNTS
    assert reason(rule(direction=Direction.ABOVE), finding=finding) is Reason.WITHIN_THRESHOLD


# --- the other reasons, and their order


def test_too_few_rows_for_the_rule() -> None:
    asks = rule({"check": DRIFT}, minimum_rows=500)

    assert reason(asks, rows=499) is Reason.BELOW_MIN_ROWS
    assert reason(asks, rows=500) is Reason.COUNTS
    assert reason(asks, rows=None) is Reason.COUNTS


def test_muted_until_its_time_has_come() -> None:
    muted = rule(mute_until=NOW)

    assert judged(muted, now=NOW - timedelta(seconds=1))[0].reason is Reason.MUTED
    assert judged(muted, now=NOW)[0].reason is Reason.COUNTS
    naive = rule(mute_until=(NOW + timedelta(hours=1)).replace(tzinfo=None))
    assert reason(naive) is Reason.MUTED


def test_reasons_take_precedence_in_their_order() -> None:
    all_of_them: dict[str, Any] = {
        "threshold": 0.9,
        "minimum_rows": 5000,
        "mute_until": NOW + timedelta(days=1),
        "shadow": True,
    }
    expected = [
        Reason.WITHIN_THRESHOLD,
        Reason.BELOW_MIN_ROWS,
        Reason.MUTED,
        Reason.SHADOW,
        Reason.COUNTS,
    ]
    left = dict(all_of_them)
    for wanted in expected:
        assert reason(rule(**left)) is wanted
        if left:
            del left[next(iter(left))]
    (_, of_finding) = judged(rule(**all_of_them), outcome=Outcome.DEGENERATE)
    assert of_finding.reason is Reason.UNHEALTHY_RUN


# --- unhealthy runs


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.is_unhealthy])
def test_an_unhealthy_run_is_judged_itself_and_its_findings_do_not_count(outcome: Outcome) -> None:
    own, of_finding = judged(outcome=outcome, evidence=("no rows", "no file"))

    assert (own.finding.check, own.finding.subject) == (outcome.value, Subject())
    assert (own.finding.kind, own.finding.description) == (
        MonitorKind.DATA_QUALITY,
        "no rows; no file",
    )
    assert own.counts
    assert of_finding.reason is Reason.UNHEALTHY_RUN


def test_an_unhealthy_run_obeys_the_rules_for_its_check() -> None:
    no_data = {"check": "no_data"}
    rules = (
        rule(no_data, severity=Severity.CRITICAL, runs_needed=RunsNeeded(2, 3)),
        rule({"check": "failed"}, mute_until=NOW + timedelta(days=1)),
        rule({"check": "stopped"}, shadow=True),
    )

    (own,) = judged(*rules, findings=(), outcome=Outcome.NO_DATA)
    assert (own.reason, own.effective.severity) == (Reason.COUNTS, Severity.CRITICAL)
    assert own.effective.runs_needed == RunsNeeded(2, 3)
    assert judged(*rules, findings=(), outcome=Outcome.FAILED)[0].reason is Reason.MUTED
    assert judged(*rules, findings=(), outcome=Outcome.STOPPED)[0].reason is Reason.SHADOW


def test_too_few_rows_do_not_hide_that_there_were_too_few_rows() -> None:
    (own,) = judged(rule(minimum_rows=1000), findings=(), outcome=Outcome.TOO_FEW_ROWS, rows=12)

    assert own.counts


def test_a_clean_run_has_nothing_to_judge() -> None:
    assert judged(rule(owner="x"), findings=()) == ()


# --- findings that only the policy makes

STATISTICS = b.statistics(
    b.numerical("income", 900), b.numerical("age", 855, 45), b.textual("purpose", 890, 10)
)


def files(*items: b.Document) -> ParsedRun:
    return b.parsed(
        {"constraint_violations.json": b.violations(*items), "statistics.json": STATISTICS}
    )


COMPLETE = {"check": "completeness_check"}


def test_a_tighter_threshold_finds_what_the_service_did_not_report() -> None:
    (one,) = judged(
        rule(COMPLETE, threshold=0.97, line=12, name="complete"), findings=(), parsed=files()
    )

    assert one.is_derived and one.counts
    assert (one.finding.subject, one.finding.observed) == (Subject(feature="age"), 0.95)
    assert (one.finding.threshold, one.finding.direction) == (0.97, Direction.BELOW)
    assert one.finding.distance == pytest.approx(0.02)
    assert one.finding.reasons == (Reason.FOUND_BY_POLICY,)
    assert one.finding.description == (
        "0.95 is below the policy's threshold 0.97; the service saw no violation"
    )
    assert one.set_by["threshold"] == SetBy("complete", 12)


def test_what_the_report_lists_is_not_found_again() -> None:
    parsed = files(b.incomplete("age", "95.0"))
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.incomplete("age", "95.0")),
            "statistics.json": STATISTICS,
        }
    )

    found = judge(for_run(rule(COMPLETE, threshold=0.99)), reading, parsed, NOW)

    assert [(str(j.finding.subject), j.is_derived) for j in found] == [
        ("age", False),
        ("purpose", True),
    ]


def test_found_by_policy_obeys_the_other_rules_too() -> None:
    rules = (rule(COMPLETE, threshold=0.99), rule({"feature": "age"}, shadow=True))

    found = judged(*rules, findings=(), parsed=files())

    assert {str(j.finding.subject): j.reason for j in found} == {
        "age": Reason.SHADOW,
        "purpose": Reason.COUNTS,
    }


def test_an_unhealthy_runs_files_prove_nothing() -> None:
    found = judged(
        rule(COMPLETE, threshold=0.99), findings=(), parsed=files(), outcome=Outcome.UNREADABLE
    )

    assert [j.finding.check for j in found] == ["unreadable"]


@pytest.mark.parametrize(
    ("match", "monitor", "tightened"),
    [
        ({}, MonitorKind.DATA_QUALITY, {"completeness_check", DRIFT}),
        ({"feature": "x*"}, MonitorKind.DATA_QUALITY, {"completeness_check", DRIFT}),
        ({"check": "completeness*"}, MonitorKind.DATA_QUALITY, {"completeness_check"}),
        ({"check": "data_type_check"}, MonitorKind.DATA_QUALITY, set()),
        ({"metric": "auc"}, MonitorKind.DATA_QUALITY, set()),
        (
            {"metric": "auc"},
            MonitorKind.MODEL_QUALITY,
            {"LessThanThreshold", "GreaterThanThreshold"},
        ),
        ({"check": "LessThanThreshold"}, MonitorKind.MODEL_QUALITY, {"LessThanThreshold"}),
        ({"facet": "age"}, MonitorKind.MODEL_QUALITY, set()),
        ({"facet": "age"}, MonitorKind.BIAS, {"bias_drift_check"}),
        ({"label": "x"}, MonitorKind.EXPLAINABILITY, {"feature_attribution_drift_check"}),
        ({"feature": "x"}, MonitorKind.EXPLAINABILITY, set()),
        ({}, MonitorKind.CUSTOM, set()),
        ({"endpoint": "fraud-*"}, MonitorKind.DATA_QUALITY, set()),
    ],
)
def test_files_are_read_only_for_checks_that_a_rule_tightens(
    match: dict[str, str], monitor: MonitorKind, tightened: set[str]
) -> None:
    rules = for_run(rule(match, threshold=0.5), run=labels(monitor=monitor))

    assert rules.tightened == tightened
    assert for_run(rule(match, owner="x"), run=labels(monitor=monitor)).tightened == set()


# --- properties

NAMES = st.sampled_from(["income", "age", "bureau_age", "f_1", "f_12", "f_120"])
GLOBS = st.sampled_from(["income", "age", "f_1", "f_1*", "f_12*", "*age", "*", "[a-f]*", "b?r*"])
CHECKS = st.sampled_from([DRIFT, "completeness_check", "LessThanThreshold", "own_check", "no_data"])


def one_or_two(texts: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(texts, max_size=2).map(tuple)


MATCHES = st.builds(
    Match,
    endpoint=one_or_two(st.sampled_from([b.ENDPOINT, "loan-*", "fraud-*", "*"])),
    monitor=one_or_two(st.sampled_from(["data_quality", "bias", "*"])),
    check=one_or_two(st.one_of(CHECKS, st.sampled_from(["*_check", "base*"]))),
    feature=one_or_two(GLOBS),
    metric=one_or_two(st.sampled_from(["auc", "a*", "*c"])),
    feature_group=one_or_two(st.sampled_from(["bureau", "b*"])),
    tags=st.dictionaries(
        st.sampled_from(["team", "cost"]), st.sampled_from(["risk", "r*"]), max_size=1
    ),
)
RULES = st.builds(
    Rule,
    name=st.just("r"),
    layer=st.sampled_from(list(Layer)),
    match=MATCHES,
    effect=st.builds(
        Effect,
        threshold=st.none() | st.floats(0, 1),
        direction=st.none() | st.sampled_from(list(Direction)),
        minimum_rows=st.none() | st.integers(0, 2000),
        owner=st.none() | st.sampled_from(["a", "b", "c"]),
        shadow=st.none() | st.booleans(),
        mute_until=st.none() | st.datetimes(timezones=st.just(UTC)),
        labels=st.none()
        | st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2),
    ),
)
SUBJECTS = st.one_of(
    st.builds(Subject, feature=NAMES),
    st.builds(Subject, metric=st.sampled_from(["auc", "f1"])),
    st.just(Subject()),
)
FINDINGS = st.builds(
    b.finding,
    CHECKS,
    subject=SUBJECTS,
    observed=st.none() | st.floats(allow_nan=False),
    direction=st.none() | st.sampled_from(list(Direction)),
    parsed=st.booleans(),
)
GROUPS = (FeatureGroup(name="bureau", features=("bureau_*", "income")),)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(RULES, max_size=8),
    st.lists(FINDINGS, max_size=8),
    st.sampled_from(list(Outcome)),
    st.none() | st.integers(0, 3000),
)
def test_no_finding_is_lost_or_judged_twice(
    rules: list[Rule], findings: list[Finding], outcome: Outcome, rows: int | None
) -> None:
    reading = Reading(
        outcome=outcome,
        monitor=MonitorKind.DATA_QUALITY,
        reasons=(),
        findings=tuple(findings),
        rows=rows,
    )

    found = judge(for_run(*rules), reading, files(), NOW)

    of_report = found[outcome.is_unhealthy :][: len(findings)]
    assert [(j.finding.check, j.finding.subject, j.finding.observed) for j in of_report] == [
        (f.check, f.subject, f.observed) for f in findings
    ]
    assert not any(j.is_derived for j in of_report)
    derived = [(j.finding.check, j.finding.subject) for j in found if j.is_derived]
    assert len(derived) == len(set(derived))
    assert not set(derived) & {(f.check, f.subject) for f in findings}
    assert len(found) == len(findings) + outcome.is_unhealthy + len(derived)


def _by_scanning(rules: list[Rule], run: RunLabels, check: str, subject: Subject) -> str:
    """The owner, by the definition: every rule looked at, the strongest that sets one."""
    group = "bureau" if (subject.feature or "").startswith(("bureau_", "income")) else ""
    values = {
        "account": run.account,
        "endpoint": run.endpoint,
        "schedule": run.schedule,
        "monitor": run.monitor.value,
        "check": check,
        "feature": subject.feature or "",
        "metric": subject.metric or "",
        "facet": "",
        "label": "",
        "feature_group": group,
    }

    def strength(match: Match) -> tuple[int, int]:
        named = [getattr(match, key) for key in values] + [(g,) for g in match.tags.values()]
        globs = [any(set(t) & set("*?[") for t in texts) for texts in named if texts]
        return globs.count(False), globs.count(True)

    def applies(match: Match) -> bool:
        return all(
            not getattr(match, key)
            or (value and any(fnmatchcase(value, g) for g in getattr(match, key)))
            for key, value in values.items()
        ) and all(
            (run.tags or {}).get(tag) and fnmatchcase((run.tags or {})[tag], glob)
            for tag, glob in match.tags.items()
        )

    layers = list(Layer)
    order = sorted(
        enumerate(rules),
        key=lambda placed: (layers.index(placed[1].layer), *strength(placed[1].match), placed[0]),
    )
    setters = [r.effect.owner for _, r in order if applies(r.match) and r.effect.owner is not None]
    return setters[-1] if setters else ""


@settings(max_examples=300, deadline=None)
@given(
    st.lists(RULES, max_size=8),
    st.lists(st.tuples(CHECKS, SUBJECTS), min_size=1, max_size=6),
    st.sampled_from([{}, {"team": "risk"}, None]),
)
def test_the_index_finds_what_a_scan_would_find(
    rules: list[Rule], asked: list[tuple[str, Subject]], tags: dict[str, str] | None
) -> None:
    run = labels(tags=tags)
    index = PolicyIndex(policy(*rules, feature_groups=GROUPS))

    for check, subject in [*asked, *asked]:
        found = index.for_run(run).resolve(MonitorKind.DATA_QUALITY, check, subject)
        assert found.values.owner == _by_scanning(rules, run, check, subject)


@settings(max_examples=500, deadline=None)
@given(st.text("ab*?[]!-", max_size=7), st.text("ab[]!-", max_size=6))
def test_globs_are_those_of_fnmatch_wherever_the_index_looks_for_them(
    glob: str, value: str
) -> None:
    if glob and value:
        rules = for_run(rule({"feature": glob}, owner="x"))
        found = resolved(rules, subject=Subject(feature=value)).values.owner
        assert (found == "x") is fnmatchcase(value, glob)


# --- odd input


@pytest.mark.parametrize("glob", ["*a*a*a*a*a*a*a*a*a*a*b", "[" * 40, "[!]*", "**" * 200, "[z-a]x"])
def test_an_odd_glob_ends(glob: str) -> None:
    rules = for_run(rule({"feature": glob}, owner="x"))

    resolved(rules, subject=Subject(feature="a" * 256))


def test_long_and_foreign_names_are_matched_whole() -> None:
    name = "Einkommen_in_€_" + "ü" * 241
    rules = for_run(rule({"feature": "Einkommen_in_€_*"}, owner="x"))

    assert resolved(rules, subject=Subject(feature=name)).values.owner == "x"
    assert resolved(rules, subject=Subject(feature=f"x{name}")).values.owner == ""


def test_an_index_remembers_no_more_than_it_may() -> None:
    index = PolicyIndex(policy(rule({"feature": "f*"}, owner="x")))
    rules = index.for_run(labels())

    for n in range(10_000):
        assert resolved(rules, subject=Subject(feature=f"f{n}")).values.owner == "x"
    for n in range(100):
        assert index.for_run(labels(endpoint=f"e{n}")) is index.for_run(labels(endpoint=f"e{n}"))
    assert len(rules._resolved) <= 4096
    assert len(index._runs) <= 16
