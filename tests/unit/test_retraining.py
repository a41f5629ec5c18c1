"""Which runs may start a retraining pipeline, and with what."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
import pytest
from guiderail.errors import AccessDeniedError, PermanentError, ThrottledError
from guiderail.model.finding import Finding, Subject
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.retraining import RetrainingDecision, RetrainingMode, RetrainingRule
from guiderail.services.retraining import RetrainingPlan, carry_out

from tests import builders as b

DEFAULT = f"{b.ARN}:pipeline/retrain-loan-risk"
OTHER = f"{b.ARN}:pipeline/retrain-small"

DRIFT = b.finding()
LOW_AUC = b.finding("LessThanThreshold", MonitorKind.MODEL_QUALITY, Subject(metric="auc"))
HIGH_RMSE = b.finding("GreaterThanThreshold", MonitorKind.MODEL_QUALITY, Subject(metric="rmse"))
MOVED = b.finding(
    "feature_attribution_drift_check",
    MonitorKind.EXPLAINABILITY,
    Subject(metric="shap", label="default"),
)
UNFAIR = b.finding(
    "bias_drift_check",
    MonitorKind.BIAS,
    Subject(metric="DI", facet="age_group", facet_value="1"),
)
BROKEN = [
    b.finding(check)
    for check in (
        "data_type_check",
        "completeness_check",
        "missing_column_check",
        "extra_column_check",
        "categorical_values_check",
    )
]


def plan(
    *rules: RetrainingRule,
    pipelines: tuple[str, ...] = (DEFAULT, OTHER),
    parameters: Mapping[str, str] | None = None,
) -> RetrainingPlan:
    return RetrainingPlan(
        rules or [RetrainingRule("*", RetrainingMode.SUGGEST)], pipelines, parameters or {}
    )


# --- cause before cure


@pytest.mark.parametrize("found", [DRIFT, LOW_AUC, HIGH_RMSE, MOVED], ids=lambda f: f.check)
def test_a_cause_that_retraining_cures_is_suggested(found: Finding) -> None:
    decision = plan().decide(b.run(), b.reading(found))

    assert decision.reason is Reason.RETRAINING_SUGGESTED
    assert decision.pipeline_arn == DEFAULT
    assert decision.pipeline_name == "retrain-loan-risk"


@pytest.mark.parametrize("found", BROKEN, ids=lambda f: f.check)
def test_a_broken_feed_blocks_retraining_on_its_data(found: Finding) -> None:
    decision = plan(RetrainingRule("*", RetrainingMode.AUTO)).decide(
        b.run(), b.reading(LOW_AUC, found)
    )

    assert decision == RetrainingDecision(reason=Reason.RETRAINING_BLOCKED_BROKEN_FEED)


def test_bias_is_for_a_human() -> None:
    decision = plan(RetrainingRule("*", RetrainingMode.AUTO)).decide(
        b.run(), b.reading(DRIFT, UNFAIR)
    )

    assert decision.reason is Reason.RETRAINING_BLOCKED_BIAS_NEEDS_HUMAN


@pytest.mark.parametrize(
    "found",
    [
        b.finding("embedding_drift_check", MonitorKind.CUSTOM),
        b.finding("", MonitorKind.CUSTOM),
        b.finding("LessThanThreshold", parsed=False, observed=None),
    ],
    ids=["unknown check", "no check", "known check, unknown wording"],
)
def test_a_cause_that_is_not_known_is_no_cause_to_retrain(found: Finding) -> None:
    decision = plan(RetrainingRule("*", RetrainingMode.AUTO)).decide(
        b.run(), b.reading(LOW_AUC, found)
    )

    assert decision.reason is Reason.RETRAINING_BLOCKED_UNKNOWN_CAUSE


@pytest.mark.parametrize(
    "doubt",
    [Reason.ROWS_BELOW_MINIMUM, Reason.VIOLATION_COUNT_DISAGREES, Reason.STATISTICS_UNREADABLE],
)
def test_a_doubtful_report_is_no_ground_to_act_on(doubt: Reason) -> None:
    reading = msgspec.structs.replace(b.reading(LOW_AUC), reasons=(doubt,))

    decision = plan(RetrainingRule("*", RetrainingMode.AUTO)).decide(b.run(), reading)

    assert decision.reason is Reason.RETRAINING_BLOCKED_DOUBTFUL_REPORT


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.is_unhealthy])
def test_an_unhealthy_run_blocks_retraining_whatever_it_found(outcome: Outcome) -> None:
    decision = plan(RetrainingRule("*", RetrainingMode.AUTO)).decide(
        b.run(), b.reading(LOW_AUC, outcome=outcome)
    )

    assert decision.reason is Reason.RETRAINING_BLOCKED_UNHEALTHY_RUN


def test_a_clean_run_is_no_cause() -> None:
    assert plan().decide(b.run(), b.reading()).reason is Reason.RETRAINING_NO_FINDINGS


# --- the operator's plan


@pytest.mark.parametrize(
    ("rules", "reason", "arn"),
    [
        pytest.param([("*", "off")], Reason.RETRAINING_OFF, "", id="off"),
        pytest.param([("*", "auto")], Reason.RETRAINING_STARTED, DEFAULT, id="auto"),
        pytest.param([("fraud-*", "auto")], Reason.RETRAINING_OFF, "", id="no rule matches"),
        pytest.param(
            [("*", "suggest"), ("loan-*", "auto")],
            Reason.RETRAINING_STARTED,
            DEFAULT,
            id="last holds",
        ),
        pytest.param(
            [("loan-*", "auto"), ("*", "off")], Reason.RETRAINING_OFF, "", id="last holds, off"
        ),
        pytest.param(
            [("Loan-*", "auto")], Reason.RETRAINING_OFF, "", id="names are case-sensitive"
        ),
        pytest.param(
            [("loan-risk-pro?", "suggest", "retrain-small")],
            Reason.RETRAINING_SUGGESTED,
            OTHER,
            id="another pipeline",
        ),
        pytest.param(
            [("*", "auto", "no-such")], Reason.RETRAINING_NO_PIPELINE, "", id="unknown pipeline"
        ),
    ],
)
def test_the_last_rule_that_matches_the_endpoint_holds(
    rules: list[tuple[str, ...]], reason: Reason, arn: str
) -> None:
    parsed = [RetrainingRule(r[0], RetrainingMode(r[1]), *r[2:]) for r in rules]

    decision = plan(*parsed).decide(b.run(), b.reading(DRIFT))

    assert (decision.reason, decision.pipeline_arn) == (reason, arn)


def test_no_rules_at_all_are_off() -> None:
    decision = RetrainingPlan([], [DEFAULT], {}).decide(b.run(), b.reading(DRIFT))

    assert decision.reason is Reason.RETRAINING_OFF


def test_without_pipelines_there_is_nothing_to_start() -> None:
    decision = plan(pipelines=()).decide(b.run(), b.reading(DRIFT))

    assert decision.reason is Reason.RETRAINING_NO_PIPELINE


def test_an_unknown_pipeline_is_named_in_the_note() -> None:
    rule = RetrainingRule("*", RetrainingMode.AUTO, "no-such")

    assert "no-such" in plan(rule).decide(b.run(), b.reading(DRIFT)).note


def test_batch_monitoring_is_matched_by_its_schedule() -> None:
    rule = RetrainingRule("Loan-Risk-*", RetrainingMode.AUTO)

    decision = plan(rule).decide(b.run(endpoint=""), b.reading(DRIFT))

    assert decision.reason is Reason.RETRAINING_STARTED


# --- the token that makes starting idempotent


def _token(**run: str) -> str:
    return plan().decide(b.run(**run), b.reading(DRIFT)).token


def test_the_token_is_one_that_sagemaker_takes() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", _token())


def test_the_token_of_the_same_run_is_the_same() -> None:
    again = plan().decide(b.run(ended_at=None, is_probe=True), b.reading(LOW_AUC, DRIFT))

    assert again.token == _token()


def test_another_run_has_another_token() -> None:
    assert _token(key="another#Completed") != _token()


def test_another_pipeline_has_another_token() -> None:
    rule = RetrainingRule("*", RetrainingMode.SUGGEST, "retrain-small")

    assert plan(rule).decide(b.run(), b.reading(DRIFT)).token != _token()


# --- parameters


def _filled(template: str, *findings: Finding, **run: str) -> str:
    decision = plan(parameters={"Value": template}).decide(
        b.run(**run), b.reading(*findings or (DRIFT,))
    )
    return decision.parameters["Value"]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{endpoint}", "loan-risk-prod"),
        ("{schedule}", "Loan-Risk-Hourly"),
        ("{report_uri}", b.REPORT_URI),
        ("{monitor}", "data_quality"),
        ("{window_start}", "2026-11-23T13:00:00Z"),
        ("{window_end}", "2026-11-23T14:00:00Z"),
        ("{job_name}", b.JOB_NAMES[MonitorKind.DATA_QUALITY]),
        ("{features}", "income"),
        ("for {endpoint}, by {monitor}", "for loan-risk-prod, by data_quality"),
        ("fixed", "fixed"),
        ("", ""),
        ("{Endpoint} {} {0}", "{Endpoint} {} {0}"),
        ("{{endpoint}}", "{loan-risk-prod}"),
    ],
)
def test_parameters_are_filled_from_the_run(template: str, value: str) -> None:
    assert _filled(template) == value


def test_features_are_each_named_once_in_the_reports_order() -> None:
    found = [
        b.finding(subject=Subject(feature=f))
        for f in ("age_of_account", "income", "age_of_account")
    ]

    assert _filled("{features}", *found) == "age_of_account,income"


def test_findings_without_a_feature_leave_features_empty() -> None:
    assert _filled("{features}", LOW_AUC) == ""


def test_a_value_is_never_taken_for_a_template() -> None:
    assert _filled("{report_uri}", report_uri="s3://b/{monitor}/x") == "s3://b/{monitor}/x"


def test_a_value_is_cut_to_what_sagemaker_takes() -> None:
    many = [b.finding(subject=Subject(feature=f"feature_number_{n}")) for n in range(200)]

    assert len(_filled("{features}", *many)) == 1024


# --- carrying it out


class Pipelines:
    def __init__(self, error: Exception | None = None) -> None:
        self.started: list[tuple[str, str, dict[str, str], str]] = []
        self.error = error

    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        if self.error:
            raise self.error
        self.started.append((pipeline_arn, token, dict(parameters), description))
        return f"{pipeline_arn}/execution/a1b2c3"


def _decided(mode: RetrainingMode) -> RetrainingDecision:
    rule = RetrainingRule("*", mode)
    return plan(rule, parameters={"Endpoint": "{endpoint}"}).decide(b.run(), b.reading(DRIFT))


def test_auto_starts_the_pipeline_with_token_and_parameters() -> None:
    pipelines, decision = Pipelines(), _decided(RetrainingMode.AUTO)

    done = carry_out(decision, b.run(), pipelines)

    ((arn, token, parameters, _),) = pipelines.started
    assert (arn, token, parameters) == (DEFAULT, decision.token, {"Endpoint": b.ENDPOINT})
    assert done.execution_arn == f"{DEFAULT}/execution/a1b2c3"
    assert done.reason is Reason.RETRAINING_STARTED


@pytest.mark.parametrize("mode", [RetrainingMode.SUGGEST, RetrainingMode.OFF])
def test_anything_but_auto_starts_nothing(mode: RetrainingMode) -> None:
    pipelines, decision = Pipelines(), _decided(mode)

    assert carry_out(decision, b.run(), pipelines) == decision
    assert pipelines.started == []


def test_a_refusal_becomes_the_reason_because_the_alert_must_go_out() -> None:
    error: PermanentError = AccessDeniedError("no", remedy="Grant sagemaker:StartPipelineExecution")
    decision = _decided(RetrainingMode.AUTO)

    done = carry_out(decision, b.run(), Pipelines(error))

    assert (done.reason, done.execution_arn) == (Reason.RETRAINING_REFUSED, "")
    assert done.note == str(error)
    assert (done.pipeline_arn, done.token, done.parameters) == (
        decision.pipeline_arn,
        decision.token,
        decision.parameters,
    )


def test_throttling_is_for_a_later_try() -> None:
    with pytest.raises(ThrottledError):
        carry_out(_decided(RetrainingMode.AUTO), b.run(), Pipelines(ThrottledError("slow down")))
