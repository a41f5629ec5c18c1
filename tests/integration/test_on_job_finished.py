"""The handler with its adapters on moto."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail.adapters import clients
from guiderail_cli.main import main

from functions.on_job_finished.app import handler
from tests.integration.conftest import BUCKET, Stack
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


def test_violations_become_one_alert_and_one_record(stack: Stack) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")

    assert invoke(event(), event()) == []

    (alert,) = stack.alerts()
    assert alert["detail_type"] == "IncidentOpened"
    assert alert["attributes"] == {
        "outcome": "violations",
        "endpoint": "loan-risk-prod",
        "monitor": "model_quality",
    }
    (record,) = stack.records()
    assert record["outcome"] == {"S": "violations"}
    assert int(record["expires_at"]["N"]) > 1_790_000_000


def test_the_execution_carries_the_derived_name(stack: Stack) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")
    invoke(event())
    started = stack.client("stepfunctions").list_executions(stateMachineArn=stack.state_machine)[
        "executions"
    ]
    assert [e["name"] for e in started] == [stack.records()[0]["alert_id"]["S"]]


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
    assert stack.alerts()[0]["detail_type"] == "RunUnhealthy"


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


def test_a_clean_run_takes_six_calls(stack: Stack, calls: Counter[str]) -> None:
    finished(stack, {"violations": []}, FEATURES, "DataQuality")
    invoke(event())
    assert stack.records()[0]["outcome"] == {"S": "clean"}
    assert calls.total() <= 6, calls


def test_a_run_with_violations_takes_at_most_ten_calls(stack: Stack, calls: Counter[str]) -> None:
    finished(stack, BROKEN_FEED, FEATURES, "DataQuality")
    invoke(event())
    assert stack.records()[0]["outcome"] == {"S": "violations"}
    assert calls.total() <= 10, calls


def test_inspect_reads_a_run_from_s3(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    finished(stack, LOW_AUC, METRICS, "ModelQuality")
    with pytest.raises(SystemExit) as ended:
        main(["inspect", REPORT, "--json"])
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["monitor"] == "model_quality"
