"""A stand-in for AWS on loopback that answers at once, for what the functions ask of one schedule's runs.

Its table remembers what is written, without looking at conditions: a second run finds the incidents of
the first, and the clock finds what is due. Its queue remembers what ``deliver`` is to be woken with. Its
endpoint serves the model that its pipeline registers.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from threading import Thread
from types import TracebackType
from typing import Any, cast

import msgspec
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy

from benchmarks.report_files import constraints_file, statistics_file, violations_file

ACCOUNT = "123456789012"
JOB = "model-monitoring-202611231400-4a1c9e7f20b35d6688aa10c4"
ARN = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job/{JOB}"
REPORT = "/loan-reports/loan-risk-prod/loan-risk-hourly/2026/11/23/14"
TABLE = "incidents"
POLICY_BUCKET = "policies"

DESCRIBED: dict[str, Any] = {
    "ProcessingJobName": JOB,
    "ProcessingJobArn": ARN,
    "ProcessingJobStatus": "Completed",
    "ExitMessage": "",
    "MonitoringScheduleArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:monitoring-schedule/loan-risk-hourly",
    "AppSpecification": {"ImageUri": "registry/sagemaker-model-monitor-analyzer"},
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
    },
    "CreationTime": 1763906000.0,
    "ProcessingEndTime": 1763907000.0,
    "Environment": {
        "sagemaker_endpoint_name": "loan-risk-prod",
        "sagemaker_monitoring_schedule_name": "loan-risk-hourly",
        "start_time": "2026-11-23T13:00:00Z",
        "end_time": "2026-11-23T14:00:00Z",
    },
    "ProcessingInputs": [
        {
            "InputName": "baseline",
            "S3Input": {"S3Uri": "s3://loan-reports/baseline/statistics.json"},
        },
        {
            "InputName": "constraints",
            "S3Input": {"S3Uri": "s3://loan-reports/baseline/constraints.json"},
        },
    ],
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "result", "S3Output": {"S3Uri": f"s3:/{REPORT}"}}]
    },
}
SCHEDULE = {
    "MonitoringScheduleArn": DESCRIBED["MonitoringScheduleArn"],
    "MonitoringScheduleName": "loan-risk-hourly",
    "MonitoringScheduleStatus": "Scheduled",
    "MonitoringType": "DataQuality",
    "CreationTime": 1763900000.0,
    "LastModifiedTime": 1763900000.0,
    "MonitoringScheduleConfig": {
        "MonitoringType": "DataQuality",
        "MonitoringJobDefinitionName": "loan-risk-data-quality",
    },
}
_SAGEMAKER = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
EXECUTION = f"{_SAGEMAKER}:pipeline/retrain-loan-risk/execution/1"
_PACKAGE = f"{_SAGEMAKER}:model-package/loan-risk/2"
_BASELINE = {"S3Uri": "s3://loan-reports/baseline/constraints.json"}
_RETRAINED: dict[str, Any] = {
    "StartPipelineExecution": {"PipelineExecutionArn": EXECUTION},
    "DescribePipeline": {"PipelineDefinition": '{"Version": "2020-12-01", "Parameters": []}'},
    "ListPipelineExecutionSteps": {
        "PipelineExecutionSteps": [
            {
                "StepName": "Register",
                "StepStatus": "Succeeded",
                "Metadata": {"RegisterModel": {"Arn": _PACKAGE}},
            }
        ]
    },
    "DescribeModelPackage": {
        "ModelPackageArn": _PACKAGE,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {"ModelDataQuality": {"Constraints": _BASELINE}},
        "MetadataProperties": {"GeneratedBy": EXECUTION},
    },
    "DescribeEndpoint": {
        "EndpointName": "loan-risk-prod",
        "EndpointConfigName": "loan-risk-2",
        "EndpointStatus": "InService",
    },
    "DescribeEndpointConfig": {
        "ProductionVariants": [{"VariantName": "AllTraffic", "ModelName": "loan-risk-2"}]
    },
    "DescribeModel": {"PrimaryContainer": {"ModelPackageName": _PACKAGE}},
    "DescribeDataQualityJobDefinition": {
        "DataQualityBaselineConfig": {"ConstraintsResource": _BASELINE}
    },
}


NOTHING_SET = Policy()

_BY_PATH = {"/2015-03-31/functions/": "Invoke", "/v2/email/": "SendEmail"}
"""Operations of the services that name none in a header, by how their path begins."""

_PICTURE = {"name": "distribution-1.png", "alt": "baseline and current", "png": "iVBORw0KGgo="}
_SNS_ANSWER = (
    b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
)


def job_event(arn: str = ARN, **detail: object) -> dict[str, Any]:
    """The EventBridge event of the job, or of another one of the schedule."""
    name = arn.rpartition("/")[2]
    job = {"ProcessingJobName": name, "ProcessingJobArn": arn, "ProcessingJobStatus": "Completed"}
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Processing Job State Change",
        "detail": {**job, **detail},
    }


def batch(event: dict[str, Any]) -> dict[str, Any]:
    """The event as the queue hands it to the function."""
    return batch_of([json.dumps(event)])


def batch_of(bodies: Sequence[str]) -> dict[str, Any]:
    """Messages as the queue hands them to a function."""
    return {
        "Records": [
            {"messageId": f"m{number}", "body": body, "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies)
        ]
    }


class _Table:
    """Items by key; methods are the operations."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[str, Any]] = {}

    def GetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        item = self._items.get(_key(asked["Key"]))
        return {"Item": item} if item else {}

    def BatchGetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        ((table, keys),) = asked["RequestItems"].items()
        found = [self._items.get(_key(key)) for key in keys["Keys"]]
        return {"Responses": {table: [item for item in found if item]}, "UnprocessedKeys": {}}

    def TransactWriteItems(self, asked: dict[str, Any]) -> dict[str, Any]:
        for action in asked["TransactItems"]:
            if put := action.get("Put"):
                self._items[_key(put["Item"])] = put["Item"]
            elif delete := action.get("Delete"):
                self._items.pop(_key(delete["Key"]), None)
        return {}

    def PutItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._items[_key(asked["Item"])] = asked["Item"]
        return {}

    def DeleteItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._items.pop(_key(asked["Key"]), None)
        return {}

    def Query(self, asked: dict[str, Any]) -> dict[str, Any]:
        values = asked["ExpressionAttributeValues"]
        if "IndexName" in asked:
            listing = values[":listing"]
            return {"Items": [i for i in self._items.values() if i.get("listing") == listing]}
        partition = next(value["S"] for value in values.values())
        until = values.get(":until", {"S": "\uffff"})["S"]
        found = sorted(key for key in self._items if key[0] == partition and key[1] < until)
        items = [self._items[key] for key in found[: asked.get("Limit")]]
        if asked.get("FilterExpression") == "look_at <= :now":
            items = [item for item in items if item["look_at"]["S"] <= values[":now"]["S"]]
        return {"Items": items}


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


class StubAws:
    """Serves runs of one schedule, and what delivering asks for.

    Attributes:
        calls: How often each operation was asked for.
        queued: Messages for ``deliver``, oldest first.
        started: Inputs of the state machine's executions, oldest first.
        answered: Tokens that were answered, each with its output, oldest first.
        pipeline_status: How its one pipeline execution stands.
    """

    def __init__(
        self,
        violations: bytes | None = None,
        features: int = 60,
        policy: Policy = NOTHING_SET,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Hold a data-quality run with this violations file, by default one with violations."""
        self.calls: Counter[str] = Counter()
        self.queued: list[str] = []
        self.started: list[dict[str, Any]] = []
        self.answered: list[tuple[str, dict[str, Any]]] = []
        self.pipeline_status = "Executing"
        self._job = DESCRIBED
        found = violations_file(features) if violations is None else violations
        self._objects = {
            f"{REPORT}/constraint_violations.json": found,
            f"{REPORT}/statistics.json": statistics_file(features, 100),
            "/loan-reports/baseline/statistics.json": statistics_file(features, 41_000, seed=2),
            "/loan-reports/baseline/constraints.json": constraints_file(features),
            f"/{POLICY_BUCKET}/policy.json": msgspec.json.encode(
                StoredPolicy(format=STORED_FORMAT, source="version: 1", policy=policy)
            ),
        }
        self._secrets = secrets or {}
        self._table = _Table()
        answers: dict[str, Any] = {
            "DescribeMonitoringSchedule": SCHEDULE,
            **_RETRAINED,
            "SendMessage": {"MessageId": "1", "MD5OfMessageBody": ""},
            "PutEvents": {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]},
            "SendEmail": {"MessageId": "m"},
            "Invoke": {"pictures": [_PICTURE]},
        }
        self._answers = {name: json.dumps(answer).encode() for name, answer in answers.items()}
        self._answers["Publish"] = _SNS_ANSWER
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Transport] = set()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        )
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> StubAws:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for transport in tuple(self._open):
            transport.abort()
        # what was closed says so in the next turn of the loop
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def next_run(self, violations: bytes, begins: datetime) -> None:
        """Let jobs be those of an hour of data that begins then, and find this."""
        ends = begins + timedelta(hours=1)
        window = {"start_time": begins.isoformat(), "end_time": ends.isoformat()}
        self._job = {
            **DESCRIBED,
            "ProcessingEndTime": ends.timestamp(),
            "Environment": {**DESCRIBED["Environment"], **window},
        }
        self._objects[f"{REPORT}/constraint_violations.json"] = violations

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, bytes]:
        """Status and content for one request; header names are in lower case."""
        if method == "GET":
            self.calls["GetObject"] += 1
            found = self._objects.get(path.partition("?")[0])
            return (
                (404, b"<Error><Code>NoSuchKey</Code></Error>") if found is None else (200, found)
            )
        operation = _operation(path, headers, content)
        self.calls[operation] += 1
        made = self._answers.get(operation) or self._made(operation, content)
        return (400, b"{}") if made is None else (200, made)

    def _made(self, operation: str, content: bytes) -> bytes | None:
        """An answer that depends on the request."""
        asked = msgspec.json.decode(content or b"{}")
        if operation == "DescribeProcessingJob":
            name = asked["ProcessingJobName"]
            arn = f"{ARN.rpartition('/')[0]}/{name}"
            return msgspec.json.encode(
                {**self._job, "ProcessingJobName": name, "ProcessingJobArn": arn}
            )
        if operation == "DescribePipelineExecution":
            return msgspec.json.encode({"PipelineExecutionStatus": self.pipeline_status})
        if operation == "StartExecution":
            self.started.append(msgspec.json.decode(asked["input"]))
            return msgspec.json.encode({"executionArn": asked["name"], "startDate": 0})
        if operation == "SendTaskSuccess":
            self.answered.append((asked["taskToken"], msgspec.json.decode(asked["output"])))
            return b"{}"
        if operation == "SendMessageBatch":
            self.queued += [entry["MessageBody"] for entry in asked["Entries"]]
            taken = [
                {"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""}
                for entry in asked["Entries"]
            ]
            return msgspec.json.encode({"Successful": taken})
        if operation == "GetSecretValue":
            name = asked["SecretId"]
            return msgspec.json.encode({"Name": name, "SecretString": self._secrets[name]})
        answer = getattr(self._table, operation, None)
        return msgspec.json.encode(answer(asked)) if answer else None


def _operation(path: str, headers: Mapping[str, str], content: bytes) -> str:
    """What is asked for: AWS's JSON protocols name it in a header, its query protocol in the form."""
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    for beginning, operation in _BY_PATH.items():
        if path.startswith(beginning):
            return operation
    return content.partition(b"Action=")[2].partition(b"&")[0].decode()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as botocore speaks it; http.server takes ten times as long for a request."""

    def __init__(self, stub: StubAws) -> None:
        self._stub = stub
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._stub._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stub._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, ended, rest = self._received.partition(b"\r\n\r\n")
            if not ended:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            named = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in named}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self._received = rest[length:]
            status, content = self._stub.answer(method, path, headers, rest[:length])
            answer = f'HTTP/1.1 {status} \r\nContent-Length: {len(content)}\r\nETag: "1"\r\n\r\n'
            self._transport.write(answer.encode() + content)
