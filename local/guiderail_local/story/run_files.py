"""Run folders of invented endpoints: the same ones each time, an hour apart.

What they hold has the shape of what SageMaker's analyzer writes; see ``runs.py`` for the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from guiderail_local.runs import RunFolder, read_run

ACCOUNT = "210987654321"
REGION = "us-east-1"
BUCKET = "northquay-monitoring"

_FIRST = datetime(2026, 3, 16, 6, tzinfo=UTC)
_IMAGE = f"156813124566.dkr.ecr.{REGION}.amazonaws.com/sagemaker-model-monitor-analyzer"
_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_FEATURES = (
    "wind_speed", "gust_speed", "queue_length", "water_level", "draught_m", "air_pressure",
    "load_factor", "gate_wait_s", "axle_load_t", "rope_pull_kn", "eta_minutes",
)  # fmt: skip
_DRIFT_THRESHOLD = 0.1
_AUC_THRESHOLD = 0.9
_SHAPE = (6, 24, 58, 96, 112, 96, 58, 22, 6, 2)
"""Rows in each bucket of a feature that did not drift."""
_ROWS = sum(_SHAPE)
_FAILURE = "AlgorithmError: Error: Encoded data doesn't match the record count of the input"


def schedule_of(endpoint: str, monitor: str) -> str:
    """Name of the monitoring schedule of an endpoint."""
    return f"{endpoint}-{'inputs' if monitor == 'data_quality' else 'quality'}"


class RunWriter:
    """Writes run folders, each an hour after the one before."""

    def __init__(self, folder: Path) -> None:
        """Write below this folder."""
        self._folder = folder
        self._written = 0
        self._next = _FIRST
        self._clock: Callable[[], datetime] = lambda: _FIRST - timedelta(hours=2)

    def begin_at(self, clock: Callable[[], datetime]) -> None:
        """From now on each run is over data that begins later than a clock shows."""
        self._clock = clock

    def data_quality(
        self,
        endpoint: str,
        drifted: Mapping[str, float],
        incomplete: Mapping[str, float] | None = None,
    ) -> RunFolder:
        """A data-quality run in which features drifted, each by a distance (0.1 is the threshold).

        Of ``incomplete`` ones a share of the values is missing.
        """
        violations = [
            {
                "feature_name": feature,
                "constraint_check_type": "baseline_drift_check",
                "description": f"Baseline drift distance: {distance} exceeds threshold: {_DRIFT_THRESHOLD}",
            }
            for feature, distance in drifted.items()
        ] + [
            {
                "feature_name": feature,
                "constraint_check_type": "completeness_check",
                "description": "Data completeness requirement is not met. Expected: 100.0%. "
                f"Observed: Only {100 * (1 - share):g}%.",
            }
            for feature, share in (incomplete or {}).items()
        ]
        statistics = _statistics(drifted)
        constraints = {
            "version": 0.0,
            "features": [
                {"name": feature, "inferred_type": "Fractional", "completeness": 1.0}
                for feature in _FEATURES
            ],
        }
        report = {
            "statistics.json": statistics,
            "constraints.json": constraints,
            "constraint_violations.json": {"violations": violations},
        }
        return self._write(endpoint, "data_quality", report, len(violations))

    def model_quality(self, endpoint: str, auc: float) -> RunFolder:
        """A model-quality run with this area under the curve (0.9 is the threshold)."""
        violations = []
        if auc < _AUC_THRESHOLD:
            violations.append(
                {
                    "constraint_check_type": "LessThanThreshold",
                    "description": f"Metric auc with {auc} +/- 0.004 was LessThanThreshold '{_AUC_THRESHOLD}'",
                    "metric_name": "auc",
                }
            )
        metrics = {"auc": {"value": auc, "standard_deviation": 0.004}}
        limits = {"auc": {"threshold": _AUC_THRESHOLD, "comparison_operator": "LessThanThreshold"}}
        report = {
            "statistics.json": {
                "version": 0.0,
                "dataset": {"item_count": _ROWS},
                "binary_classification_metrics": metrics,
            },
            "constraints.json": {"version": 0.0, "binary_classification_constraints": limits},
            "constraint_violations.json": {"violations": violations},
        }
        return self._write(endpoint, "model_quality", report, len(violations))

    def failed(self, endpoint: str) -> RunFolder:
        """A data-quality run whose job failed."""
        return self._write(endpoint, "data_quality", {}, 0, failure=_FAILURE)

    def _write(
        self,
        endpoint: str,
        monitor: str,
        report: Mapping[str, Any],
        violations: int,
        failure: str = "",
    ) -> RunFolder:
        when = max(self._next, _hour(self._clock()) + timedelta(hours=2))
        self._next = when + timedelta(hours=1)
        self._written += 1
        schedule = schedule_of(endpoint, monitor)
        folder = self._folder / f"{self._written:02}-{schedule}"
        for name, content in report.items():
            _json(folder / "report" / name, content)
        if "constraints.json" in report:
            _json(folder / "baseline" / "constraints.json", report["constraints.json"])
        if report and monitor == "data_quality":
            _json(folder / "baseline" / "statistics.json", _statistics({}))
        _json(folder / "schedule.json", _schedule(endpoint, schedule, monitor))
        _json(folder / "job.json", _job(endpoint, schedule, monitor, when, violations, failure))
        return read_run(folder)


def _job(
    endpoint: str, schedule: str, monitor: str, when: datetime, violations: int, failure: str
) -> dict[str, Any]:
    digest = hashlib.sha256(f"{schedule}|{when.isoformat()}".encode()).hexdigest()[:24]
    prefix = "model-monitoring" if monitor == "data_quality" else "model-quality-monitoring"
    name = f"{prefix}-{when:%Y%m%d%H%M}-{digest}"
    baseline = f"s3://{BUCKET}/baselines/{schedule}"
    inputs = {"constraints": f"{baseline}/constraints.json"}
    if monitor == "data_quality":
        inputs["baseline"] = f"{baseline}/statistics.json"
    ended = when + timedelta(minutes=19)
    found = (
        f"CompletedWithViolations: Job completed successfully with {violations} violations."
        if violations
        else "Completed: Job completed successfully with no violations."
    )
    return {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{_ARN}:processing-job/{name}",
        "ProcessingJobStatus": "Failed" if failure else "Completed",
        **({"FailureReason": failure} if failure else {"ExitMessage": found}),
        "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{schedule}",
        "AppSpecification": {"ImageUri": _IMAGE},
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/monitoring",
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"S3Uri": uri, "S3DataType": "S3Prefix"}}
            for name, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/reports/{schedule}/{when:%Y/%m/%d/%H}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "Continuous",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20,
            }
        },
        "Environment": {
            "sagemaker_endpoint_name": endpoint,
            "sagemaker_monitoring_schedule_name": schedule,
            "start_time": f"{when - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "end_time": f"{when:%Y-%m-%dT%H:%M:%SZ}",
            "publish_cloudwatch_metrics": "Enabled",
            **({"analysis_type": "MODEL_QUALITY"} if monitor == "model_quality" else {}),
        },
        "CreationTime": (when + timedelta(minutes=14)).isoformat(),
        "ProcessingStartTime": (when + timedelta(minutes=17)).isoformat(),
        "ProcessingEndTime": ended.isoformat(),
        "LastModifiedTime": ended.isoformat(),
    }  # fmt: skip


def _schedule(endpoint: str, schedule: str, monitor: str) -> dict[str, Any]:
    kind = "DataQuality" if monitor == "data_quality" else "ModelQuality"
    return {
        "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{schedule}",
        "MonitoringScheduleName": schedule,
        "MonitoringScheduleStatus": "Scheduled",
        "MonitoringType": kind,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
            "MonitoringType": kind,
        },
        "EndpointName": endpoint,
    }


def _statistics(drifted: Mapping[str, float]) -> dict[str, Any]:
    features = [_feature(name, round(drifted.get(name, 0.0) * 10)) for name in _FEATURES]
    return {"version": 0.0, "dataset": {"item_count": _ROWS}, "features": features}


def _feature(name: str, moved: int) -> dict[str, Any]:
    """Statistics of a feature whose values moved up by some buckets of width 4."""
    buckets = [
        {"lower_bound": 4.0 * (at + moved), "upper_bound": 4.0 * (at + moved + 1), "count": rows}
        for at, rows in enumerate(_SHAPE)
    ]
    mean = sum((b["lower_bound"] + 2) * b["count"] for b in buckets) / _ROWS
    return {
        "name": name,
        "inferred_type": "Fractional",
        "numerical_statistics": {
            "common": {"num_present": _ROWS, "num_missing": 0},
            "mean": mean,
            "sum": mean * _ROWS,
            "std_dev": 7.0,
            "min": buckets[0]["lower_bound"],
            "max": buckets[-1]["upper_bound"],
            "distribution": {"kll": {"buckets": buckets}},
        },
    }


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _json(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
