"""Run folders: one monitoring run as files, as SageMaker would have left them.

```
event.json       the EventBridge event; made from job.json where it is missing
job.json         what DescribeProcessingJob answers; made from event.json where it is missing
schedule.json    what DescribeMonitoringSchedule answers, and Tags, if the run has a schedule
report/          what the job wrote to S3
baseline/        what it was compared with
manifest.json    title, what to expect, and how often the event is sent
```
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guiderail_local.errors import InvalidRunError

BUILT_IN = Path(__file__).with_name("runs")
"""The runs that ``guiderail demo`` plays when it is given none."""

DETAIL_TYPE = "SageMaker Processing Job State Change"

# Spelt in events as in the one published example, not as in the API.
_EVENT_SPELLING = {
    "S3DataType": {"S3Prefix": "S3_PREFIX", "ManifestFile": "MANIFEST_FILE"},
    "S3InputMode": {"File": "FILE", "Pipe": "PIPE"},
    "S3DataDistributionType": {
        "FullyReplicated": "FULLYREPLICATED",
        "ShardedByS3Key": "SHARDEDBYS3KEY",
    },
    "S3UploadMode": {"Continuous": "CONTINUOUS", "EndOfJob": "END_OF_JOB"},
}
_EVENT_FIELDS = (
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingJobName",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "NetworkConfig",
    "RoleArn",
    "ExperimentConfig",
    "ProcessingJobArn",
    "ProcessingJobStatus",
    "FailureReason",
    "ProcessingEndTime",
    "ProcessingStartTime",
    "LastModifiedTime",
    "CreationTime",
)


@dataclass(frozen=True)
class Expectation:
    """How a run has to end; None where the manifest does not say."""

    outcome: str | None = None
    monitor: str | None = None
    findings: int | None = None
    alerts: int | None = None
    pipelines: int | None = None
    ignored: str | None = None


@dataclass(frozen=True)
class RunFolder:
    """One run, read from its folder."""

    name: str
    title: str
    event: Mapping[str, Any]
    job: Mapping[str, Any]
    schedule: Mapping[str, Any] | None = None
    report: Mapping[str, Path] = field(default_factory=dict)
    baseline: Mapping[str, Path] = field(default_factory=dict)
    expectation: Expectation | None = None
    send: int = 1

    @property
    def job_arn(self) -> str:
        """ARN of the processing job."""
        return str(self.job["ProcessingJobArn"])

    @property
    def status(self) -> str:
        """Terminal status that the event reports."""
        return str(self.event["detail"]["ProcessingJobStatus"])

    def objects(self) -> Iterator[tuple[str, Path]]:
        """Every file of the run with the S3 URI that the job's description says it is at."""
        output = _output_uri(self.job)
        for name, file in self.report.items():
            if output is None:
                raise InvalidRunError(
                    f"{self.name}: report/ holds files, but job.json names no output to put them at",
                    "Give ProcessingOutputConfig an output named 'result' with its S3Output.S3Uri.",
                )
            yield f"{output.rstrip('/')}/{name}", file
        for name, file in self.baseline.items():
            uri = _input_uri(self.job, name)
            # A job without baseline inputs cannot see the files either: then they stay where they are.
            if uri is not None:
                yield uri, file

    def buckets(self) -> set[str]:
        """The buckets the job's description names."""
        return {uri.removeprefix("s3://").partition("/")[0] for uri in _uris(self.job)}


def read_runs(folder: Path) -> list[RunFolder]:
    """Read a folder of run folders, or one run folder, in the order of names.

    Raises:
        InvalidRunError: There is none, or one of them cannot be played.
    """
    if _is_run(folder):
        return [read_run(folder)]
    if not folder.is_dir():
        raise InvalidRunError(f"{folder} is not a folder")
    runs = [read_run(child) for child in sorted(folder.iterdir()) if _is_run(child)]
    if not runs:
        raise InvalidRunError(
            f"{folder} holds no run",
            "A run is a folder with job.json or event.json, and report/ with the files the job wrote.",
        )
    arns: dict[tuple[str, str], str] = {}
    for run in runs:
        twin = arns.setdefault((run.job_arn, run.status), run.name)
        if twin != run.name:
            raise InvalidRunError(
                f"{twin} and {run.name} are of the same processing job",
                "One of them would be taken for a duplicate; use `send` in its manifest for that.",
            )
    return runs


def read_run(folder: Path) -> RunFolder:
    """Read one run folder.

    Raises:
        InvalidRunError: A file is missing or is not what it should be.
    """
    event, job = _json(folder / "event.json"), _json(folder / "job.json")
    if job is None and event is None:
        raise InvalidRunError(f"{folder}: neither job.json nor event.json is there")
    if job is None:
        assert event is not None
        job = event.get("detail")
    if not isinstance(job, dict):
        raise InvalidRunError(f"{folder / 'event.json'}: detail is missing")
    for needed in ("ProcessingJobName", "ProcessingJobArn", "ProcessingJobStatus"):
        if not isinstance(job.get(needed), str):
            raise InvalidRunError(f"{folder}: the job has no {needed}")
    event = event or event_of(job)
    if not isinstance(event.get("detail"), dict) or "ProcessingJobStatus" not in event["detail"]:
        raise InvalidRunError(f"{folder / 'event.json'}: detail.ProcessingJobStatus is missing")
    manifest = _json(folder / "manifest.json") or {}
    expect = manifest.get("expect")
    return RunFolder(
        name=folder.name,
        title=str(manifest.get("title") or folder.name),
        event=event,
        job=job,
        schedule=_json(folder / "schedule.json"),
        report=_files(folder / "report"),
        baseline=_files(folder / "baseline"),
        expectation=_expectation(folder, expect) if expect is not None else None,
        send=int(manifest.get("send", 1)),
    )


def event_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Make the event that SageMaker sends when a job ends, from the job's description.

    As in the published example it lacks Environment, ExitMessage and MonitoringScheduleArn, its times
    are epoch milliseconds, and some words are spelt otherwise than in the API.
    """
    arn = str(job["ProcessingJobArn"])
    parts = arn.split(":")
    ended = _moment(job.get("LastModifiedTime") or job.get("ProcessingEndTime"))
    return {
        "version": "0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}#{job['ProcessingJobStatus']}")),
        "detail-type": DETAIL_TYPE,
        "source": "aws.sagemaker",
        "account": parts[4],
        "time": ended.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": parts[3],
        "resources": [arn],
        "detail": {name: _in_event(name, job[name]) for name in _EVENT_FIELDS if name in job},
    }


def _in_event(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _in_event(k, v) for k, v in value.items() if k != "AppManaged"}
    if isinstance(value, list):
        return [_in_event(name, item) for item in value]
    if name.endswith("Time"):
        return round(_moment(value).timestamp() * 1000)
    return _EVENT_SPELLING.get(name, {}).get(value, value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    return datetime.now(UTC)


def _is_run(folder: Path) -> bool:
    return (folder / "job.json").is_file() or (folder / "event.json").is_file()


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as exc:
        raise InvalidRunError(f"{file}: {exc}") from exc
    if not isinstance(content, dict):
        raise InvalidRunError(f"{file}: not a JSON object")
    return content


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {f.relative_to(folder).as_posix(): f for f in sorted(folder.rglob("*")) if f.is_file()}


def _expectation(folder: Path, expect: Any) -> Expectation:
    known = set(Expectation.__dataclass_fields__)
    if not isinstance(expect, dict) or expect.keys() - known:
        raise InvalidRunError(
            f"{folder / 'manifest.json'}: expect is not as it should be",
            f"It may hold {', '.join(sorted(known))}.",
        )
    return Expectation(**expect)


def _output_uri(job: Mapping[str, Any]) -> str | None:
    outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", [])
    named = {
        output.get("OutputName"): output.get("S3Output", {}).get("S3Uri") for output in outputs
    }
    uri = named.get("result") or next(iter(named.values()), None)
    return uri if isinstance(uri, str) else None


def _input_uri(job: Mapping[str, Any], name: str) -> str | None:
    """Where the job found a baseline file: an input that is the file, else the folder that held it."""
    places = {
        entry.get("InputName"): entry.get("S3Input", {}).get("S3Uri", "")
        for entry in job.get("ProcessingInputs", [])
    }
    for uri in places.values():
        if uri.endswith(f"/{name}"):
            return str(uri)
    place = places.get("baseline" if name == "statistics.json" else "constraints")
    if not place or place.endswith(".json"):
        return None
    return f"{place.rstrip('/')}/{name}"


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _uris(item)
    elif isinstance(value, list):
        for item in value:
            yield from _uris(item)
    elif isinstance(value, str) and value.startswith("s3://"):
        yield value
