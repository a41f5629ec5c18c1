"""What one run contributes to messages and events."""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import Any

import msgspec
import pytest
from guiderail.model.finding import AttributionShift, FeatureSummary, Finding, Subject
from guiderail.model.incident import Incident, IncidentState
from guiderail.model.message import Facts, Link, RunPart
from guiderail.model.outcome import Direction, MonitorKind, Outcome, Reason
from guiderail.model.policy import Severity
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.rendering.wording import SUBJECT_LIMIT, subject_line
from guiderail.services.alerting import (
    MOST_FINDINGS,
    attribute,
    facts_of,
    finding_fields,
    finding_line,
    next_step,
    run_detail,
    run_part,
    run_subject,
    severity,
    start_command,
    worst_first,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders as b
from tests.fakes import ENDED_AT

PIPELINE = f"{b.ARN}:pipeline/retrain-loan-risk"
NOTHING = RetrainingDecision(reason=Reason.RETRAINING_OFF)
SUGGESTED = RetrainingDecision(
    reason=Reason.RETRAINING_SUGGESTED,
    pipeline_arn=PIPELINE,
    token="f" * 64,
    parameters={"Endpoint": b.ENDPOINT},
)
EVENT_LIMIT = 256 * 1024
"""Bytes of an event."""

names = st.one_of(
    st.text(max_size=120),
    st.sampled_from(["loan\nrisk", "prêt-à-porter", "💸" * 60, "\x1b[31mred", "a\u2028b", "\r\n"]),
)


def part(
    reading: Reading, run: Run | None = None, retraining: RetrainingDecision = NOTHING
) -> RunPart:
    return run_part(run or b.run(), reading, retraining)


def subject_of(reading: Reading, run: Run | None = None) -> str:
    return subject_line(run_subject(run or b.run(), reading))


def detail_of(
    reading: Reading, run: Run | None = None, retraining: RetrainingDecision = NOTHING
) -> dict[str, Any]:
    return run_detail(run or b.run(), reading, retraining)


def incident(**fields: Any) -> Incident:
    known: dict[str, Any] = {
        "id": "ledger-income",
        "kind": MonitorKind.DATA_QUALITY,
        "check": "baseline_drift_check",
        "subject": Subject(feature="income"),
        "state": IncidentState.OPEN,
        "severity": Severity.WARNING,
        "reason": Reason.FIRST_SEEN,
        "first_seen": ENDED_AT,
        "last_seen": ENDED_AT,
    }
    return Incident(**{**known, **fields})


def drift(feature: str = "income", **fields: Any) -> Finding:
    known = {"direction": Direction.ABOVE, "unit": "distance"}
    return b.finding(subject=Subject(feature=feature), **{**known, **fields})


# --- subject


@pytest.mark.parametrize(
    ("reading", "subject"),
    [
        (b.reading(drift()), "[Guiderail] 1 finding: data quality of loan-risk-prod"),
        (b.reading(drift(), drift("x")), "[Guiderail] 2 findings: data quality of loan-risk-prod"),
        (
            b.reading(outcome=Outcome.NO_GROUND_TRUTH, monitor=MonitorKind.MODEL_QUALITY),
            "[Guiderail] no ground truth: model quality of loan-risk-prod",
        ),
    ],
)
def test_the_subject_says_what_and_where(reading: Reading, subject: str) -> None:
    assert subject_of(reading) == subject


@pytest.mark.parametrize(
    ("run", "where"),
    [
        (b.run(endpoint=""), "Loan-Risk-Hourly"),
        (b.run(endpoint="", schedule=""), b.JOB_NAMES[MonitorKind.DATA_QUALITY]),
    ],
)
def test_the_subject_of_batch_monitoring_names_schedule_or_job(run: Run, where: str) -> None:
    assert where in subject_of(b.reading(drift()), run)


def sns_takes(subject: str) -> bool:
    return 0 < len(subject) <= SUBJECT_LIMIT and bool(re.fullmatch(r"[ -~]+", subject))


@settings(max_examples=150, deadline=None)
@given(names, names, names)
def test_whatever_the_names_hold_sns_takes_the_subject(
    endpoint: str, schedule: str, feature: str
) -> None:
    run = b.run(endpoint=endpoint, schedule=schedule)

    assert sns_takes(subject_of(b.reading(drift(feature)), run))


@pytest.mark.parametrize("length", [40, 41, 99, 63, 300])
def test_a_long_subject_is_cut_and_shows_it(length: int) -> None:
    subject = subject_of(b.reading(drift()), b.run(endpoint="e" * length))

    assert sns_takes(subject)
    assert subject.endswith("..." if length > 60 else "e")


# --- body


def test_the_body_says_what_happened_against_which_threshold() -> None:
    found = b.finding(
        "completeness_check",
        subject=Subject(feature="income"),
        observed=0.715,
        threshold=1.0,
        direction=Direction.BELOW,
        unit="fraction",
    )

    assert finding_line(found) == (
        "income: completeness_check: observed 71.5%, threshold 100%, bad below"
    )


@pytest.mark.parametrize(
    ("service_threshold", "said"),
    [
        (0.9, "threshold 100% (the report's own: 90%)"),
        (1.0, "threshold 100%"),
        (None, "threshold 100%"),
    ],
)
def test_the_reports_own_threshold_stands_beside_that_of_the_policy(
    service_threshold: float | None, said: str
) -> None:
    found = b.finding("completeness_check", observed=0.715, threshold=1.0, unit="fraction")

    assert finding_line(found, service_threshold).endswith(said)


def test_a_runs_part_says_outcome_window_rows_and_what_to_do() -> None:
    said = part(b.reading(drift(), evidence=("the report lists 54",)))

    assert (said.outcome, said.reasons) == ("violations", ("violations_reported",))
    assert (said.monitor, said.endpoint) == ("data_quality", "loan-risk-prod")
    assert said.schedule == "Loan-Risk-Hourly"
    assert (said.window_start, said.window_end) == ("2026-11-23T13:00:00Z", "2026-11-23T14:00:00Z")
    assert (said.rows, said.evidence) == (900, ("the report lists 54",))
    assert said.likely_cause.startswith("Inputs moved away")
    assert (said.retraining, said.command) == (("retraining_off",), "")


HOME = "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1"


def test_a_runs_part_says_where_to_look() -> None:
    assert part(b.reading(drift())).links == (
        Link(
            "Report",
            "https://eu-west-1.console.aws.amazon.com/s3/buckets/loan-reports?region=eu-west-1"
            "&prefix=monitoring/loan-risk-prod/loan-risk-hourly/2026/11/23/14/",
        ),
        Link("Job", f"{HOME}#/processing-jobs/{b.JOB_NAMES[MonitorKind.DATA_QUALITY]}"),
        Link("Schedule", f"{HOME}#/model-dashboard"),
    )


@pytest.mark.parametrize("rows", [None, 0])
def test_rows_may_be_unknown_and_may_be_none(rows: int | None) -> None:
    assert part(b.reading(drift(), rows=rows)).rows == rows


def test_a_window_that_nobody_told_is_unknown() -> None:
    said = part(b.reading(drift()), b.run(window_start="", window_end=""))

    assert (said.window_start, said.window_end) == ("", "")


def test_consoles_of_other_partitions_have_their_own_host() -> None:
    arn = "arn:aws-cn:sagemaker:cn-north-1:123456789012:processing-job/x"

    links = part(b.reading(drift()), b.run(job_arn=arn, job_name="x")).links

    assert {link.url.split("/")[2] for link in links} == {"cn-north-1.console.amazonaws.cn"}


def test_names_in_links_are_quoted() -> None:
    run = b.run(report_uri="s3://loan-reports/a b/ü&x=1")

    assert part(b.reading(drift()), run).links[0].url.endswith("prefix=a%20b/%C3%BC%26x%3D1/")


@pytest.mark.parametrize(
    ("fields", "labels"),
    [({"report_uri": ""}, ["Job", "Schedule"]), ({"schedule": ""}, ["Report", "Job"])],
)
def test_there_is_no_link_to_what_is_not_there(fields: dict[str, str], labels: list[str]) -> None:
    assert [link.label for link in part(b.reading(drift()), b.run(**fields)).links] == labels


# --- facts


def test_facts_are_what_the_run_measured_and_the_incident_remembers() -> None:
    found = drift(
        current=FeatureSummary("Fractional", mean=52_000.0),
        baseline=FeatureSummary("Fractional", mean=41_000.0),
    )
    known = incident(values=(0.2, 0.42), times_seen=2)

    assert facts_of(found, 0.05, known) == Facts(
        observed=0.42,
        threshold=0.1,
        report_threshold=0.05,
        unit="distance",
        direction=Direction.ABOVE,
        notes=("mean 52000 (baseline 41000)",),
        trend=(0.2, 0.42),
        first_seen=ENDED_AT,
        times_seen=2,
        description="Baseline drift distance: 0.42 exceeds threshold: 0.1",
    )


@pytest.mark.parametrize("own", [0.1, None])
def test_the_reports_threshold_is_a_fact_only_where_it_is_another(own: float | None) -> None:
    assert facts_of(drift(), own, incident()).report_threshold is None


def test_facts_stay_small() -> None:
    found = drift("f", description="d" * 60_000)

    assert len(facts_of(found, None, incident()).description) < 400


# --- findings


def test_statistics_then_and_now_stand_beside_the_finding() -> None:
    found = drift(
        current=FeatureSummary("Fractional", mean=52_000.0, missing=12),
        baseline=FeatureSummary("Fractional", mean=41_000.0),
    )

    message = finding_line(found)

    assert "mean 52000 (baseline 41000)" in message
    assert "12 missing" in message


def test_an_attribution_finding_names_what_moved_in_rank() -> None:
    found = b.finding(
        "feature_attribution_drift_check",
        MonitorKind.EXPLAINABILITY,
        Subject(metric="shap", label="default"),
        shifts=(
            AttributionShift("income", 3.0, 1.0, 1, 3, 0.3),
            AttributionShift("age_of_account", 2.0, 2.0, 2, 2, 0.0),
        ),
    )

    message = finding_line(found)

    assert "income 1 to 3" in message
    assert "age_of_account" not in message


def test_a_finding_that_nobody_could_read_is_quoted() -> None:
    found = drift(parsed=False, observed=None, description="cosine distance fell to 0.4")

    assert "cosine distance fell to 0.4" in finding_line(found)


def test_a_finding_without_a_description_says_so() -> None:
    found = drift(parsed=False, observed=None, description="")

    assert "no description" in finding_line(found)


CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]")


@settings(max_examples=100, deadline=None)
@given(names, names, names, names)
def test_names_from_data_bring_no_control_characters_and_no_lines(
    endpoint: str, feature: str, description: str, note: str
) -> None:
    found = [drift(feature), drift(feature, parsed=False, observed=None, description=description)]
    refused = RetrainingDecision(reason=Reason.RETRAINING_REFUSED, note=note, pipeline_arn=PIPELINE)

    said = part(b.reading(*found, evidence=(note,)), b.run(endpoint=endpoint), refused)

    lines = [*said.evidence, *said.retraining, *(link.url for link in said.links)]
    lines += [finding_line(one) for one in found]
    assert not any(CONTROL.search(line) or "\n" in line for line in lines)


def test_worst_come_first_errors_before_warnings_then_by_distance() -> None:
    findings = [
        drift("near", distance=0.1),
        drift("unknown", distance=None),
        drift("far", distance=0.9),
        b.finding("completeness_check", subject=Subject(feature="broken"), distance=0.01),
        drift("endless", distance=math.inf),
    ]

    assert [f.subject.feature for f in worst_first(findings)] == [
        "broken",
        "endless",
        "far",
        "near",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("check", "level"),
    [
        ("completeness_check", "error"),
        ("LessThanThreshold", "error"),
        ("baseline_drift_check", "warning"),
        ("bias_drift_check", "warning"),
        ("of_our_own", "warning"),
    ],
)
def test_severity_goes_by_what_is_broken(check: str, level: str) -> None:
    assert severity(b.finding(check)) == level


# --- next step


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.is_unhealthy])
def test_every_unhealthy_outcome_has_a_next_step_of_its_own(outcome: Outcome) -> None:
    others = {
        next_step(b.reading(outcome=o)) for o in Outcome if o.is_unhealthy and o is not outcome
    }

    assert next_step(b.reading(outcome=outcome)) not in others


BIAS = b.finding("bias_drift_check", MonitorKind.BIAS, Subject(metric="DI", facet="a"))
QUALITY = b.finding("LessThanThreshold", MonitorKind.MODEL_QUALITY, Subject(metric="auc"))


@pytest.mark.parametrize(
    ("findings", "word"),
    [
        ([b.finding("completeness_check"), QUALITY], "feed"),
        ([BIAS, QUALITY], "facet"),
        (
            [b.finding("feature_attribution_drift_check", subject=Subject(metric="shap"))],
            "features that moved",
        ),
        ([QUALITY, drift()], "candidate for retraining"),
        ([drift()], "Inputs moved"),
        ([b.finding("of_our_own", MonitorKind.CUSTOM)], "Read the report"),
    ],
)
def test_the_next_step_goes_by_the_cause(findings: list[Finding], word: str) -> None:
    assert word in next_step(b.reading(*findings))


# --- the command that a person may run


def test_a_suggestion_holds_the_exact_call() -> None:
    said = part(b.reading(drift()), retraining=SUGGESTED)

    assert said.command == start_command(b.run(), SUGGESTED)
    assert said.retraining == ("retraining_suggested",)


def test_the_call_is_whole_however_long_its_parameters_are() -> None:
    long = msgspec.structs.replace(
        SUGGESTED, parameters={f"Parameter{n}": "x" * 1024 for n in range(3)}
    )

    assert part(b.reading(drift()), retraining=long).command == start_command(b.run(), long)
    assert len(start_command(b.run(), long)) > 3000


def test_a_refusal_holds_the_call_and_why() -> None:
    refused = msgspec.structs.replace(
        SUGGESTED, reason=Reason.RETRAINING_REFUSED, note="access denied"
    )

    said = part(b.reading(drift()), retraining=refused)

    assert said.retraining == ("retraining_refused (access denied)",)
    assert said.command == start_command(b.run(), refused)


def test_a_started_pipeline_is_named_and_its_call_left_out() -> None:
    started = msgspec.structs.replace(
        SUGGESTED, reason=Reason.RETRAINING_STARTED, execution_arn=f"{PIPELINE}/execution/a1"
    )

    said = part(b.reading(drift()), retraining=started)

    assert said.retraining[1] == f"started: {PIPELINE}/execution/a1"
    assert said.command == ""
    detail = detail_of(b.reading(drift()), retraining=started)
    assert detail["retraining"]["execution_arn"] == f"{PIPELINE}/execution/a1"


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=60), max_size=4))
def test_no_parameter_breaks_out_of_the_shell(parameters: dict[str, str]) -> None:
    decision = msgspec.structs.replace(SUGGESTED, parameters=parameters)

    words = shlex.split(start_command(b.run(), decision))

    assert words[:9] == [
        "aws",
        "sagemaker",
        "start-pipeline-execution",
        "--region",
        b.REGION,
        "--pipeline-name",
        PIPELINE,
        "--client-request-token",
        "f" * 64,
    ]
    listed = {p["Name"]: p["Value"] for p in json.loads(words[10])} if words[9:] else {}
    assert listed == parameters


@pytest.mark.parametrize("value", ["$(rm -rf ~)", "a b; true", "it's", '"', "`id`", "{x}"])
def test_shell_words_in_a_parameter_stay_words(value: str) -> None:
    decision = msgspec.structs.replace(SUGGESTED, parameters={"Value": value})

    words = shlex.split(start_command(b.run(), decision))

    assert json.loads(words[-1]) == [{"Name": "Value", "Value": value}]


# --- the event


def test_the_detail_says_what_a_subscriber_needs() -> None:
    detail = detail_of(b.reading(drift(), evidence=("x",)))

    assert detail["finding_count"] == 1
    assert detail["endpoint"] == b.ENDPOINT
    assert detail["window"] == {"start": "2026-11-23T13:00:00Z", "end": "2026-11-23T14:00:00Z"}
    assert detail["reasons"] == ["violations_reported"]
    assert detail["probe"] is False
    (found,) = detail["findings"]
    assert found["subject"] == {"feature": "income"}
    assert (found["observed"], found["threshold"], found["direction"]) == (0.42, 0.1, "above")


@settings(max_examples=100, deadline=None)
@given(names, names, st.floats() | st.none())
def test_the_detail_is_json_whatever_the_report_holds(
    endpoint: str, feature: str, observed: float | None
) -> None:
    found = drift(feature, observed=observed, distance=observed, description=feature)

    detail = detail_of(b.reading(found), b.run(endpoint=endpoint))

    assert json.loads(json.dumps(detail, allow_nan=False)) == detail
    assert msgspec.json.decode(msgspec.json.encode(detail)) == detail


@pytest.mark.parametrize(
    ("observed", "text"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.5, None)]
)
def test_an_infinite_number_is_null_and_says_which(observed: float, text: str | None) -> None:
    fields = finding_fields(drift(observed=observed))

    assert fields.get("observed_text") == text
    assert (fields["observed"] is None) is (text is not None)


def size(reading: Reading) -> int:
    """Bytes that one run adds to a message and its event."""
    return len(msgspec.json.encode((part(reading), detail_of(reading))))


def test_many_findings_stay_small() -> None:
    many = b.reading(*(drift(f"ratio_{n}", description="d" * 3000) for n in range(2000)))

    detail = detail_of(many)

    assert detail["finding_count"] == 2000
    assert len(detail["findings"]) == MOST_FINDINGS
    assert size(many) < EVENT_LIMIT


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(drift("é" * 60_000), id="name of a feature"),
        pytest.param(drift(description="é" * 60_000, parsed=False), id="description"),
        pytest.param(b.finding("of_our_own" * 6_000, MonitorKind.CUSTOM), id="name of a check"),
        pytest.param(
            b.finding("bias_drift_check", subject=Subject(metric="m" * 60_000, facet="f" * 60_000)),
            id="name of a facet",
        ),
        pytest.param(
            b.finding(
                "missing_column_check",
                subject=Subject(columns=tuple(f"column_of_the_feed_{n}" for n in range(12_000))),
            ),
            id="names of columns",
        ),
    ],
)
def test_long_names_do_not_outgrow_what_an_event_takes(found: Finding) -> None:
    assert size(b.reading(*[found] * MOST_FINDINGS)) < EVENT_LIMIT
    assert len(finding_line(found)) < 2000


def test_long_evidence_does_not_outgrow_what_an_event_takes() -> None:
    reading = b.reading(drift(), evidence=tuple("é" * 60_000 for _ in range(20)))

    assert size(reading) < EVENT_LIMIT


@pytest.mark.parametrize(
    ("value", "taken"), [("", "none"), ("loan", "loan"), ("é" * 300, "é" * 256), ("a\nb", "a b")]
)
def test_an_attribute_is_what_sns_takes(value: str, taken: str) -> None:
    assert attribute(value) == taken


def test_a_probe_is_marked() -> None:
    assert detail_of(b.reading(drift()), b.run(is_probe=True))["probe"] is True
