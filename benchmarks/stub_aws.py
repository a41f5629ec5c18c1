"""A stand-in for AWS on loopback that answers at once, for what the functions ask of one schedule's runs.

Its table remembers what is written, without looking at conditions: a second run finds the incidents of
the first, and the clock finds what is due.
"""

from __future__ import annotations

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any

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
    "MonitoringScheduleConfig": {"MonitoringType": "DataQuality"},
}


NOTHING_SET = Policy()


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
    return {"Records": [{"messageId": "m1", "body": json.dumps(event), "eventSource": "aws:sqs"}]}


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

    def Query(self, asked: dict[str, Any]) -> dict[str, Any]:
        values = asked["ExpressionAttributeValues"]
        partition = next(value["S"] for value in values.values())
        until = values.get(":until", {"S": "\uffff"})["S"]
        found = sorted(key for key in self._items if key[0] == partition and key[1] < until)
        return {"Items": [self._items[key] for key in found[: asked.get("Limit")]]}


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


class StubAws:
    """Serves runs of one schedule; ``calls`` counts operations."""

    def __init__(
        self,
        violations: bytes | None = None,
        features: int = 60,
        policy: Policy = NOTHING_SET,
    ) -> None:
        """Hold a data-quality run with this violations file, by default one with violations."""
        self.calls: Counter[str] = Counter()
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
        self._table = _Table()
        answers: dict[str, Any] = {
            "DescribeMonitoringSchedule": SCHEDULE,
            "StartPipelineExecution": {"PipelineExecutionArn": f"{ARN}/execution/1"},
            "StartExecution": {
                "executionArn": "arn:aws:states:us-east-1:1:execution:a:b",
                "startDate": 1.0,
            },
            "SendMessage": {"MessageId": "1", "MD5OfMessageBody": ""},
        }
        self._answers = {name: json.dumps(answer).encode() for name, answer in answers.items()}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> StubAws:
        """Start serving."""
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _made(self, operation: str, content: bytes) -> bytes | None:
        """An answer that depends on the request."""
        asked = json.loads(content or b"{}")
        if operation == "DescribeProcessingJob":
            name = asked["ProcessingJobName"]
            arn = f"{ARN.rpartition('/')[0]}/{name}"
            described = {**DESCRIBED, "ProcessingJobName": name, "ProcessingJobArn": arn}
            return json.dumps(described).encode()
        answer = getattr(self._table, operation, None)
        return json.dumps(answer(asked)).encode() if answer else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # head and body leave in one packet: else the second waits 40 ms for the first one's receipt
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                stub.calls[operation] += 1
                answer = stub._answers.get(operation) or stub._made(operation, content)
                self._send(200 if answer is not None else 400, answer or b"{}")

            def do_GET(self) -> None:
                stub.calls["GetObject"] += 1
                content = stub._objects.get(self.path.partition("?")[0])
                missing = b"<Error><Code>NoSuchKey</Code></Error>"
                self._send(200 if content is not None else 404, content or missing)

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", '"1"')
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        return Handler
