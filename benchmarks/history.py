"""Writes a history of monitoring runs, made from a seed: the life of some endpoints, run by run.

    python -m benchmarks.history OUT --days 90 --endpoints 50

Each run is a folder as SageMaker would have left it (``job.json``, ``schedule.json``, ``report/``,
``baseline/``), as ``guiderail inspect``, the local cloud and ``guiderail backtest`` read it; whoever plays
runs makes the event from ``job.json``. What is the same in many runs, such as a baseline, is one file with
many hard links, so that 90 days of 50 endpoints take some 100 MB though their reports have the size of real ones.

Most endpoints are quiet. Others hover at the threshold, degrade for weeks, lose their feed for days, have
hours without traffic, flap, or share a source that changes for all of them (``Life``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.report_files import no_violations_file, written

ACCOUNT, REGION, BUCKET = "210987654321", "eu-west-1", "harbourline-monitoring"
LAST_DAY = date(2026, 11, 22)
DRIFT_THRESHOLD = 0.1

_ANALYZER = "156813124566.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-model-monitor-analyzer"
_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_PRODUCTS = (
    "loan-risk", "card-fraud", "churn", "parcel-delay", "demand", "lead-score", "claims", "pricing",
    "collections", "support-routing",
)  # fmt: skip
_MARKETS = ("de", "fr", "nl", "es", "it", "pl", "se", "pt", "at", "dk")
_CUSTOMER = ("income", "age", "account_age_days")
"""Features that every endpoint takes from one feature group."""

_NUMBERS = ("amount", "items", "days_since_last", "distance_km")
_WORDS = ("channel", "region")
_FEATURES = (*_CUSTOMER, *_NUMBERS, *_WORDS)
COLUMNS = 60
"""Columns of a report: those with a life of their own, and ``signal_…`` up to this many."""

_VARIANTS = 4
"""Different statistics files of an endpoint's ordinary days; the days share them."""

_METRICS = {"accuracy": 0.91, "f1": 0.83, "auc": 0.92, "recall": 0.82}
"""Model-quality metrics and the baseline's thresholds; a violation is a value below."""


class Life(StrEnum):
    """What is wrong with an endpoint over the whole history."""

    QUIET = "quiet"
    NOISY = "noisy"  # two features hover about the drift threshold
    DEGRADING = "degrading"  # worse from 40% of the time on, mended at 70%
    BROKEN_FEED = "broken_feed"  # four days with missing values and wrong types
    NO_TRAFFIC = "no_traffic"  # nothing to analyse at weekends
    FEW_ROWS = "few_rows"  # twenty rows on Sundays
    FLAPPING = "flapping"  # one feature drifts every second run


_LIVES = {
    3: Life.NOISY, 8: Life.NOISY, 13: Life.NOISY, 17: Life.NOISY, 22: Life.NOISY, 7: Life.DEGRADING,
    12: Life.BROKEN_FEED, 18: Life.NO_TRAFFIC, 19: Life.FEW_ROWS, 16: Life.FLAPPING,
}  # fmt: skip
"""Of 25 endpoints in a row; all others are quiet."""

_UPSTREAM = frozenset({1, 2, 6, 11, 14})
"""Endpoints (of 25) whose ``income`` drifts for five days from 60% of the time on."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with a data-quality schedule and, every third one, a model-quality schedule."""

    number: int

    @property
    def name(self) -> str:
        """A product in a market."""
        product, market = self.number % len(_PRODUCTS), self.number // len(_PRODUCTS)
        suffix = "" if market < len(_MARKETS) else f"-{market // len(_MARKETS) + 1}"
        return f"{_PRODUCTS[product]}-{_MARKETS[market % len(_MARKETS)]}{suffix}"

    @property
    def life(self) -> Life:
        """What is wrong with it."""
        return _LIVES.get(self.number % 25, Life.QUIET)

    @property
    def has_quality_monitor(self) -> bool:
        """Whether its labels come in: the degrading ones must be among these."""
        return self.number % 3 == 0 or self.life is Life.DEGRADING

    def drift(self, feature: str, at: float, day: date, chance: random.Random) -> float:
        """Distance of a feature's distribution from its baseline, at a share of the whole time."""
        base = max(0.01, chance.gauss(0.04, 0.01))
        if self.life is Life.NOISY and feature in ("amount", "items"):
            return max(0.01, chance.gauss(0.098 if feature == "amount" else 0.085, 0.015))
        if self.life is Life.DEGRADING and feature == "distance_km" and 0.4 <= at < 0.7:
            return 0.12 + min(1.0, (at - 0.4) * 8) * 0.4 + chance.gauss(0, 0.01)
        if self.life is Life.FLAPPING and feature == "days_since_last" and day.toordinal() % 2:
            return chance.gauss(0.16, 0.02)
        if self.number % 25 in _UPSTREAM and feature == "income" and 0.6 <= at < 0.656:
            return chance.gauss(0.31, 0.02)
        return base

    def has_broken_feed(self, at: float) -> bool:
        """Whether the feed is broken at a share of the whole time."""
        return self.life is Life.BROKEN_FEED and 0.25 <= at < 0.295


def write_history(
    out: Path,
    days: int = 90,
    endpoints: int = 50,
    seed: int = 1,
    runs_per_day: int = 1,
    columns: int = COLUMNS,
) -> int:
    """Write the run folders and return how many there are; the same arguments write the same bytes.

    Raises:
        FileExistsError: ``out`` is there and holds something.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: name a new folder")
    shared = _Shared(out / ".shared")
    names = _columns(columns)
    count = 0
    for endpoint in map(Endpoint, range(endpoints)):
        chance = random.Random(f"{seed}|{endpoint.name}")
        for day in range(days):
            for turn in range(runs_per_day):
                hour = (6 + endpoint.number % 12 + turn * 24 // runs_per_day) % 24
                when = datetime.combine(
                    LAST_DAY - timedelta(days - 1 - day), datetime.min.time(), UTC
                ) + timedelta(hours=hour)
                at = (day + turn / runs_per_day) / days
                _data_quality(out, shared, endpoint, names, when, at, chance)
                count += 1
                if endpoint.has_quality_monitor and turn == 0:
                    _model_quality(out, shared, endpoint, when + timedelta(hours=1), at, chance)
                    count += 1
    return count


class _Shared:
    """Files that many runs have in common, each written once and linked from then on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def link(self, content: bytes, place: Path) -> None:
        kept = self._folder / hashlib.sha256(content).hexdigest()
        if not kept.exists():
            kept.write_bytes(content)
        try:
            os.link(kept, place)
        except OSError:  # too many links, or a file system without them
            place.write_bytes(content)


def _data_quality(
    out: Path,
    shared: _Shared,
    endpoint: Endpoint,
    columns: tuple[str, ...],
    when: datetime,
    at: float,
    chance: random.Random,
) -> None:
    schedule = f"{endpoint.name}-inputs"
    folder = _folder(out, when, schedule)
    shared.link(
        _statistics(endpoint.number, columns, 20_000, 0), folder / "baseline" / "statistics.json"
    )
    shared.link(_baseline_constraints(columns), folder / "baseline" / "constraints.json")
    shared.link(_schedule(schedule, endpoint.name, "DataQuality"), folder / "schedule.json")
    is_weekend, is_sunday = when.weekday() >= 5, when.weekday() == 6
    failure = ""
    if endpoint.life is Life.NO_TRAFFIC and is_weekend:
        failure = "InternalServerError: Job inputs had no data"
    elif chance.random() < 0.004:
        failure = "AlgorithmError: Error: Java heap space. See job logs for more information, exit code: 255"
    violations: list[dict[str, str]] = []
    if not failure:
        rows = 90 + 7 * (endpoint.number % 5) + 12 * chance.randrange(_VARIANTS)
        if endpoint.life is Life.FEW_ROWS and is_sunday:
            rows = 20
        missing = 0
        if endpoint.has_broken_feed(at):
            missing = int(rows * chance.uniform(0.3, 0.45))
            violations += _broken_feed(rows, missing, chance)
        for feature in _FEATURES:
            distance = endpoint.drift(feature, at, when.date(), chance)
            if distance > DRIFT_THRESHOLD:
                violations.append(_drifted(feature, distance))
        report = folder / "report"
        statistics = _statistics(endpoint.number, columns, rows, missing)
        shared.link(statistics, report / "statistics.json")
        shared.link(_baseline_constraints(columns), report / "constraints.json")
        _violations(report, violations, shared)
    inputs = {
        "baseline": f"s3://{BUCKET}/baselines/{endpoint.name}/statistics.json",
        "constraints": f"s3://{BUCKET}/baselines/{endpoint.name}/constraints.json",
    }
    name = f"model-monitoring-{when:%Y%m%d%H%M}-{_digest(schedule, when)}"
    job = _job(name, schedule, endpoint.name, when, inputs, failure, len(violations), chance)
    (folder / "job.json").write_bytes(json.dumps(job).encode())


def _model_quality(
    out: Path, shared: _Shared, endpoint: Endpoint, when: datetime, at: float, chance: random.Random
) -> None:
    schedule = f"{endpoint.name}-quality"
    folder = _folder(out, when, schedule)
    shared.link(_quality_constraints(), folder / "baseline" / "constraints.json")
    shared.link(_schedule(schedule, endpoint.name, "ModelQuality"), folder / "schedule.json")
    failure = ""
    if chance.random() < 0.01:
        failure = (
            "ClientError: No S3 objects found under S3 URL "
            '"s3://harbourline-labels/ground_truth_data/" given in input data source'
        )
    fall = 0.0
    if endpoint.life is Life.DEGRADING and 0.42 <= at < 0.7:
        fall = min(1.0, (at - 0.42) * 8) * 0.15
    violations = []
    if not failure:
        values = {m: t + 0.03 - fall + chance.gauss(0, 0.005) for m, t in _METRICS.items()}
        violations = [
            {
                "constraint_check_type": "LessThanThreshold",
                "description": f"Metric {m} with {value} +/- 0.004 was LessThanThreshold '{_METRICS[m]}'",
                "metric_name": m,
            }
            for m, value in values.items()
            if value < _METRICS[m]
        ]
        report = folder / "report"
        metrics = {m: {"value": v, "standard_deviation": 0.004} for m, v in values.items()}
        statistics = {
            "version": 0.0,
            "dataset": {"item_count": chance.randrange(400, 900)},
            "binary_classification_metrics": metrics,
        }
        (report / "statistics.json").write_bytes(written(statistics))
        shared.link(_quality_constraints(), report / "constraints.json")
        _violations(report, violations, shared)
    inputs = {"constraints": f"s3://{BUCKET}/baselines/{endpoint.name}/quality/constraints.json"}
    name = f"model-quality-monitoring-{when:%Y%m%d%H%M}-{_digest(schedule, when)}"
    job = _job(name, schedule, endpoint.name, when, inputs, failure, len(violations), chance)
    job["Environment"]["analysis_type"] = "MODEL_QUALITY"
    (folder / "job.json").write_bytes(json.dumps(job).encode())


def _folder(out: Path, when: datetime, schedule: str) -> Path:
    folder = out / f"{when:%Y-%m-%dT%H}-{schedule}"
    (folder / "report").mkdir(parents=True)
    (folder / "baseline").mkdir()
    return folder


def _digest(schedule: str, when: datetime) -> str:
    return hashlib.sha256(f"{schedule}|{when.isoformat()}".encode()).hexdigest()[:24]


def _violations(report: Path, violations: list[dict[str, str]], shared: _Shared) -> None:
    place = report / "constraint_violations.json"
    if violations:
        place.write_bytes(written({"violations": violations}))
    else:
        shared.link(no_violations_file(), place)


def _drifted(feature: str, distance: float) -> dict[str, str]:
    return {
        "feature_name": feature,
        "constraint_check_type": "baseline_drift_check",
        "description": f"Baseline drift distance: {distance} exceeds threshold: {DRIFT_THRESHOLD}",
    }


def _broken_feed(rows: int, missing: int, chance: random.Random) -> Iterator[dict[str, str]]:
    yield {
        "feature_name": "amount",
        "constraint_check_type": "completeness_check",
        "description": "Data completeness requirement is not met. Expected: 100.0%. "
        f"Observed: Only {100 * (rows - missing) / rows}%.",
    }
    yield {
        "feature_name": "items",
        "constraint_check_type": "data_type_check",
        "description": "Data type match requirement is not met. Expected data type: Integral, "
        f"Expected match: 100.0%. Observed: Only {chance.uniform(55, 70)}% of data is Integral.",
    }


def _schedule(name: str, endpoint: str, kind: str) -> bytes:
    described = {
        "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{name}",
        "MonitoringScheduleName": name,
        "MonitoringScheduleStatus": "Scheduled",
        "MonitoringType": kind,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": "cron(0 6 ? * * *)"},
            "MonitoringType": kind,
        },
        "EndpointName": endpoint,
    }
    return json.dumps(described).encode()


def _job(
    name: str,
    schedule: str,
    endpoint: str,
    when: datetime,
    inputs: dict[str, str],
    failure: str,
    violations: int,
    chance: random.Random,
) -> dict[str, Any]:
    started = when + timedelta(seconds=chance.randrange(660, 1080))
    ended = started + timedelta(seconds=chance.randrange(60, 240))
    message = "CompletedWithViolations: Job completed successfully with "
    exit_message = (
        f"{message}{violations} violations."
        if violations
        else "Completed: Job completed successfully with no violations."
    )
    status = "Failed" if failure else "Completed"
    return {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{_ARN}:processing-job/{name}",
        "ProcessingJobStatus": status,
        **({"FailureReason": failure} if failure else {"ExitMessage": exit_message}),
        "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{schedule}",
        "AppSpecification": {"ImageUri": _ANALYZER},
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/monitoring",
        "ProcessingInputs": [
            {"InputName": n, "S3Input": {"S3Uri": uri, "S3DataType": "S3Prefix"}}
            for n, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/reports/{endpoint}/{schedule}/{when:%Y/%m/%d/%H}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "Continuous",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large"}
        },
        "Environment": {
            "sagemaker_endpoint_name": endpoint,
            "sagemaker_monitoring_schedule_name": schedule,
            "start_time": (when - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end_time": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "publish_cloudwatch_metrics": "Enabled",
        },
        "CreationTime": when.isoformat(),
        "ProcessingStartTime": started.isoformat(),
        "ProcessingEndTime": ended.isoformat(),
        "LastModifiedTime": ended.isoformat(),
    }


@cache
def _baseline_constraints(columns: tuple[str, ...]) -> bytes:
    kinds = {**dict.fromkeys(columns, "Fractional"), **dict.fromkeys(_WORDS, "String")}
    kinds["items"] = "Integral"
    config = {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": DRIFT_THRESHOLD,
            "comparison_method": "Robust",
        },
    }
    features = [{"name": f, "inferred_type": kinds[f], "completeness": 1.0} for f in columns]
    return written({"version": 0.0, "features": features, "monitoring_config": config})


@cache
def _quality_constraints() -> bytes:
    thresholds = {
        m: {"threshold": t, "comparison_operator": "LessThanThreshold"} for m, t in _METRICS.items()
    }
    return written({"version": 0.0, "binary_classification_constraints": thresholds})


@cache
def _columns(count: int) -> tuple[str, ...]:
    return (*_FEATURES, *(f"signal_{i:03d}" for i in range(count - len(_FEATURES))))


@cache
def _statistics(number: int, columns: tuple[str, ...], rows: int, missing: int) -> bytes:
    """Fill in what differs; laying the whole file out anew takes a hundred times as long."""
    listed = []
    for column in columns:
        absent = missing if column == "amount" else 0
        text = _column(number, column).replace('"PRESENT"', str(rows - absent))
        listed.append(text.replace('"MISSING"', str(absent)))
    dataset = f'{{\n  "version" : 0.0,\n  "dataset" : {{\n    "item_count" : {rows}\n  }},'
    return f'{dataset}\n  "features" : [ {", ".join(listed)} ]\n}}'.encode()


@cache
def _column(number: int, feature: str) -> str:
    chance = random.Random(f"{number}|{feature}")
    common = {"num_present": "PRESENT", "num_missing": "MISSING"}
    if feature in _WORDS:
        buckets = [{"value": word, "count": 100} for word in ("web", "branch", "phone", "partner")]
        textual = {
            "common": common,
            "distinct_count": 4.0,
            "distribution": {"categorical": {"buckets": buckets}},
        }
        column = {"name": feature, "inferred_type": "String", "string_statistics": textual}
        return written(column).decode()
    values = sorted(round(chance.lognormvariate(4, 1), 2) for _ in range(100))
    low, high = values[0], values[-1]
    step = (high - low) / 10
    numerical = {
        "common": common,
        "mean": sum(values) / len(values),
        "sum": sum(values),
        "std_dev": (high - low) / 4,
        "min": low,
        "max": high,
        "distribution": {
            "kll": {
                "buckets": [
                    {
                        "lower_bound": low + i * step,
                        "upper_bound": low + (i + 1) * step,
                        "count": float(
                            sum(low + i * step <= v < low + (i + 1) * step for v in values)
                        ),
                    }
                    for i in range(10)
                ],
                "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [values]},
            }
        },
    }
    column = {"name": feature, "inferred_type": "Fractional", "numerical_statistics": numerical}
    return written(column).decode()


def main() -> int:
    """Write a history as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs-per-day", type=int, default=1)
    parser.add_argument("--columns", type=int, default=COLUMNS, help="of a data-quality report")
    options = parser.parse_args()
    try:
        count = write_history(
            options.out,
            options.days,
            options.endpoints,
            options.seed,
            options.runs_per_day,
            options.columns,
        )
    except OSError as exc:
        print(f"python -m benchmarks.history: {exc}", file=sys.stderr)
        return 1
    print(f"{count} runs in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
