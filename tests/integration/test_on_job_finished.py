"""The handler with its adapters on moto."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail.adapters import clients
from guiderail.model.policy import Effect, Layer, Match, Policy, Rule, Severity
from guiderail_cli.main import main

from functions.on_job_finished.app import handler
from tests.integration.conftest import BUCKET, POLICIES, Stack
from tests.unit.test_job_finished import (
    ARN,
    BROKEN_FEED,
    FEATURES,
    LOW_AUC,
    METRICS,
    described,
    event,
)

REPORT = f"s3://{BUCKET}/monitoring/loan-risk-prod/loan-risk-quality/2026/11/23/14"
PIPELINE = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/retrain-loan-risk"


def invoke(*bodies: str) -> list[str]:
    """Invoke the handler with a batch; returns the messages that must come again."""
    records = [
        {
            "messageId": f"m{i}",
            "body": body,
            "eventSource": "aws:sqs",
            "receiptHandle": "r",
            "attributes": {},
        }
        for i, body in enumerate(bodies)
    ]
    context: Any = SimpleNamespace(
        function_name="on_job_finished", aws_request_id="r", memory_limit_in_mb=512
    )
    answer = handler({"Records": records}, context)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def finished(
    stack: Stack, violations: object, statistics: object, kind: str, **fields: object
) -> None:
    """Make SageMaker and S3 hold an ended run."""
    job = described(**fields)  # type: ignore[arg-type]
    job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = REPORT
    job["ProcessingInputs"] = [
        {"InputName": "baseline", "S3Input": {"S3Uri": f"s3://{BUCKET}/baseline/statistics.json"}},
        {
            "InputName": "constraints",
            "S3Input": {"S3Uri": f"s3://{BUCKET}/baseline/constraints.json"},
        },
    ]
    stack.sagemaker.register_job(job)
    stack.sagemaker.register_schedule(
        {
            "MonitoringScheduleName": "Loan-Risk-Quality",
            "MonitoringScheduleArn": job["MonitoringScheduleArn"],
            "MonitoringType": kind,
            "MonitoringScheduleConfig": {"MonitoringType": kind},
        }
    )
    stack.put(f"{REPORT}/statistics.json", json.dumps(statistics).encode())
    if violations is not None:
        stack.put(f"{REPORT}/constraint_violations.json", json.dumps(violations).encode())


@pytest.fixture
def calls() -> Counter[str]:
    """Counts AWS calls by operation, as the function's own session makes them."""
    counted: Counter[str] = Counter()

    def count(**call: Any) -> None:
        counted.update([call["model"].name])

    clients._session().register("before-call", count)
    return counted


def kinds(stack: Stack) -> Counter[str]:
    """Items of the table by what they are."""
    return Counter(
        item["pk"]["S"].partition("#")[0] if item["pk"]["S"] != "due" else "due"
        for item in stack.items()
    )


def test_violations_become_one_record_one_incident_and_one_notice(stack: Stack) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")

    assert invoke(event(), event()) == []

    assert stack.alerts() == []
    (record,) = stack.records()
    assert record["outcome"] == {"S": "violations"}
    assert record["policy_version"] == {"S": "built-in"}
    assert int(record["expires_at"]["N"]) > 1_790_000_000
    assert kinds(stack) == {"run": 1, "ledger": 1, "due": 1, "audit": 1}
    (ledger,) = [i for i in stack.items() if i["pk"]["S"].startswith("ledger#")]
    assert ledger["pk"]["S"] == f"ledger#{record['ledger']['S']}"
    assert ledger["listing"]["S"].startswith("open#")


def test_auto_mode_starts_the_pipeline_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDERAIL_RETRAINING_PLAN", "loan-risk-*=auto")
    monkeypatch.setenv("GUIDERAIL_RETRAINING_PIPELINES", PIPELINE)
    monkeypatch.setenv("GUIDERAIL_PIPELINE_PARAMETERS", "Endpoint={endpoint}")
    stack.client("sagemaker").create_pipeline(
        PipelineName="retrain-loan-risk",
        PipelineDefinition='{"Version": "2020-12-01", "Steps": []}',
        ClientRequestToken="t" * 32,
        RoleArn="arn:aws:iam::123456789012:role/pipelines",
    )
    finished(stack, LOW_AUC, METRICS, "ModelQuality")

    invoke(event(), event())

    assert [dict(start.parameters) for start in stack.sagemaker.starts] == [
        {"Endpoint": "loan-risk-prod"}
    ]


def test_a_missing_violations_file_is_told_from_a_clean_run(stack: Stack) -> None:
    finished(stack, None, METRICS, "ModelQuality")
    invoke(event())
    assert stack.records()[0]["outcome"] == {"S": "unreadable"}


def test_a_malformed_message_reaches_the_dead_letters_with_its_reason(stack: Stack) -> None:
    assert invoke('{"source": "elsewhere"}') == []
    (letter,) = stack.dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "malformed_event"


def test_a_large_report_reaches_the_dead_letters_and_people(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUIDERAIL_MAX_REPORT_BYTES", "100")
    finished(stack, LOW_AUC, METRICS, "ModelQuality")

    invoke(event())

    (letter,) = stack.dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "report_too_large"
    assert "GUIDERAIL_MAX_REPORT_BYTES" in letter["MessageAttributes"]["remedy"]["StringValue"]
    stack.minute()
    assert stack.alerts()[0].detail_type == "RunUnhealthy"


def test_one_failing_message_does_not_repeat_the_others(stack: Stack) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")
    unfinished = described(status="InProgress")
    unfinished["ProcessingJobName"] = "model-quality-monitoring-202611231500-77aa"
    unfinished["ProcessingJobArn"] = (
        ARN.rpartition("/")[0] + "/model-quality-monitoring-202611231500-77aa"
    )
    stack.sagemaker.register_job(unfinished)
    early = event().replace(ARN.rpartition("/")[2], unfinished["ProcessingJobName"])

    assert invoke(event(), early) == ["m1"]
    assert len(stack.records()) == 1


@pytest.mark.parametrize(
    ("code", "status", "comes_again"),
    [
        ("ThrottlingException", 400, True),
        ("InternalFailure", 500, True),
        ("AccessDeniedException", 400, False),
    ],
)
def test_errors_of_describe_are_told_apart(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, code: str, status: int, comes_again: bool
) -> None:
    def refuse(**_: object) -> None:
        answer: Any = {
            "Error": {"Code": code, "Message": "no"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(answer, "DescribeProcessingJob")

    monkeypatch.setattr(clients.client("sagemaker"), "describe_processing_job", refuse)

    assert invoke(event()) == (["m0"] if comes_again else [])
    assert [m["MessageAttributes"]["reason"]["StringValue"] for m in stack.dead_letters()] == (
        [] if comes_again else ["access_denied"]
    )


def test_no_call_is_made_for_a_job_that_its_event_rules_out(
    stack: Stack, calls: Counter[str]
) -> None:
    invoke(event(TrainingJobArn="arn:aws:sagemaker:eu-west-1:123456789012:training-job/t"))
    assert not calls


# --- calls of a warm function, which read the policy less than a minute ago

READ_RUN = {"BatchGetItem": 1, "DescribeProcessingJob": 1, "DescribeMonitoringSchedule": 1}
KEPT = {"TransactWriteItems": 1}


def run_again(stack: Stack, number: int, violations: object, statistics: object, kind: str) -> None:
    """Let another run of the schedule end, and handle it."""
    name = f"model-quality-monitoring-{number}"
    arn = f"{ARN.rpartition('/')[0]}/{name}"
    named = {"ProcessingJobName": name, "ProcessingJobArn": arn}
    finished(stack, violations, statistics, kind, **named)
    assert invoke(event(**named)) == []


def test_a_clean_run_takes_six_calls(stack: Stack, calls: Counter[str]) -> None:
    run_again(stack, 0, {"violations": []}, FEATURES, "DataQuality")
    assert calls["GetObject"] == 3, "two files of the run, and the policy"
    calls.clear()
    run_again(stack, 1, {"violations": []}, FEATURES, "DataQuality")
    assert calls == {**READ_RUN, "GetObject": 2, **KEPT}


@pytest.mark.parametrize(
    ("violations", "statistics", "kind", "files"),
    [(BROKEN_FEED, FEATURES, "DataQuality", 3), (LOW_AUC, METRICS, "ModelQuality", 2)],
    ids=["data quality", "model quality"],
)
def test_a_repeat_of_a_known_incident_takes_at_most_eight_calls(
    stack: Stack,
    calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    violations: object,
    statistics: object,
    kind: str,
    files: int,
) -> None:
    # Given a policy that is asked for with every run
    monkeypatch.setenv("GUIDERAIL_POLICY_SECONDS", "0")
    run_again(stack, 0, violations, statistics, kind)
    calls.clear()

    run_again(stack, 1, violations, statistics, kind)

    assert calls == {**READ_RUN, "GetObject": files + 1, **KEPT}
    assert calls.total() <= 8
    (ledger,) = [i for i in stack.items() if i["pk"]["S"].startswith("ledger#")]
    assert ledger["version"] == {"N": "2"}


def test_a_duplicate_takes_one_call(stack: Stack, calls: Counter[str]) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")
    invoke(event())
    calls.clear()
    invoke(event())
    assert calls == {"BatchGetItem": 1}


# --- the policy


def test_a_policy_that_was_pushed_holds_for_the_next_run(stack: Stack) -> None:
    effect = Effect(severity=Severity.CRITICAL, owner="risk")
    rule = Rule(name="ours", layer=Layer.RULE, line=4, match=Match(metric=("auc",)), effect=effect)
    stack.push(Policy(version="v7", rules=(rule,)))

    run_again(stack, 1, LOW_AUC, METRICS, "ModelQuality")
    stack.minute()

    assert stack.records()[0]["policy_version"] == {"S": "v7"}
    (alert,) = stack.alerts()
    assert alert.attributes["severity"] == "critical"
    assert alert.detail["incidents"][0]["labels"]["owner"] == "risk"


def test_without_a_policy_everything_alerts_and_so_does_its_lack(stack: Stack) -> None:
    stack.client("s3").delete_object(Bucket=POLICIES, Key="policy.json")
    versions = stack.client("s3").list_object_versions(Bucket=POLICIES)
    for version in [*versions["Versions"], *versions["DeleteMarkers"]]:
        stack.client("s3").delete_object(
            Bucket=POLICIES, Key=version["Key"], VersionId=version["VersionId"]
        )

    run_again(stack, 1, LOW_AUC, METRICS, "ModelQuality")
    stack.minute()
    stack.minute(2)

    checks = {a.detail["incidents"][0]["labels"]["check"] for a in stack.alerts()}
    assert checks == {"LessThanThreshold", "policy_missing"}


def test_a_rule_by_tag_reads_the_tags_of_the_schedule(stack: Stack, calls: Counter[str]) -> None:
    effect = Effect(severity=Severity.INFO)
    match = Match(tags={"stage": "test"})
    stack.push(Policy(rules=(Rule(name="t", layer=Layer.RULE, match=match, effect=effect),)))
    run_again(stack, 1, LOW_AUC, METRICS, "ModelQuality")
    assert calls["ListTags"] == 1


def test_inspect_reads_a_run_from_s3(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")
    with pytest.raises(SystemExit) as ended:
        main(["inspect", REPORT, "--json"])
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["monitor"] == "model_quality"
