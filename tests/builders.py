"""Reports, descriptions and events in the shapes that SageMaker writes, with names of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import incident_id
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, schedule_from
from guiderail.model.judgement import Effective, Judgement
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Severity
from guiderail.model.run import Reading, Run
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.reading import read_outcome

from tests.fakes import scope_of

Document = dict[str, Any]

ENDPOINT = "loan-risk-prod"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
REGISTRY = f"468650794304.dkr.ecr.{REGION}.amazonaws.com"
ANALYZER = f"{REGISTRY}/sagemaker-model-monitor-analyzer"
CLARIFY = f"{REGISTRY}/sagemaker-clarify-processing:1.0"
MERGER = f"{REGISTRY}/sagemaker-model-monitor-groundtruth-merger"
OWN_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/loan-text-monitor:7"
REPORT_URI = f"s3://loan-reports/monitoring/{ENDPOINT}/loan-risk-hourly/2026/11/23/14"
NO_VIOLATIONS = b'{\n  "violations" : [ ]\n}'
"""What the analyzer writes when there are none, byte for byte."""


def encode(document: object) -> bytes:
    """A JSON file; NaN and Infinity come out bare, as reports have them."""
    return json.dumps(document, indent=2).encode()


# --- sentences and items of a violations file


def item(check: str, description: str | None, **keys: object) -> Document:
    said = {} if description is None else {"description": description}
    return {**keys, "constraint_check_type": check, **said}


def mistyped(
    feature: str, observed: str, expected: str = "100.0", type_: str = "Integral"
) -> Document:
    return item(
        "data_type_check",
        f"Data type match requirement is not met. Expected data type: {type_}, Expected match: {expected}%. "
        f"Observed: Only {observed}% of data is {type_}.",
        feature_name=feature,
    )


def incomplete(feature: str, observed: str, expected: str = "100.0") -> Document:
    return item(
        "completeness_check",
        f"Data completeness requirement is not met. Expected: {expected}%. Observed: Only {observed}%.",
        feature_name=feature,
    )


def drifted(feature: str, distance: str = "0.42", threshold: str = "0.1") -> Document:
    return item(
        "baseline_drift_check",
        f"Baseline drift distance: {distance} exceeds threshold: {threshold}",
        feature_name=feature,
    )


def old_wording(feature: str, check: str, observed: str) -> Document:
    return item(
        check,
        f"Value: {observed} does not meet the constraint requirement! ",
        feature_name=feature,
    )


def columns_differ(check: str, current: int, baseline: int) -> Document:
    which = "missing" if check == "missing_column_check" else "extra"
    return item(
        check,
        f"There are {which} columns in current dataset. Number of columns in current dataset: {current}, "
        f"Number of columns in baseline constraints: {baseline}",
        feature_name=f"{which.capitalize()} columns",
    )


def off_metric(
    metric: str,
    value: str,
    threshold: str,
    deviation: str | None = None,
    check: str = "LessThanThreshold",
) -> Document:
    spread = f" +/- {deviation}" if deviation is not None else ""
    return item(
        check, f"Metric {metric} with {value}{spread} was {check} '{threshold}'", metric_name=metric
    )


def biased(
    metric: str,
    value: str,
    requirement: str,
    facet: str = "age_group",
    facet_value: str = "(18, 25]",
) -> Document:
    return item(
        "bias_drift_check",
        f"Metric value {value} doesn't meet the baseline constraint requirement {requirement}",
        facet=facet,
        facet_value=facet_value,
        metric_name=metric,
    )


def reordered(score: str, threshold: str = "0.9", label: str = "default") -> Document:
    return item(
        "feature_attribution_drift_check",
        f"Feature attribution drift {score} exceeds threshold {threshold}",
        label=label,
        metric_name="shap",
    )


def violations(*items: Document, **top_level: object) -> bytes:
    return encode({**top_level, "violations": list(items)})


# --- statistics, constraints, analysis


def numerical(
    name: str,
    present: int = 900,
    missing: int = 0,
    mean: object = 41_250.5,
    deviation: object = 12_003.25,
    kind: str = "Fractional",
) -> Document:
    return {
        "name": name,
        "inferred_type": kind,
        "numerical_statistics": {
            "common": {"num_present": present, "num_missing": missing},
            "mean": mean,
            "sum": 37_125_450.0,
            "std_dev": deviation,
            "min": 9_000.0,
            "max": 98_000.0,
            "distribution": {
                "kll": {
                    "buckets": [
                        {"lower_bound": 9_000.0, "upper_bound": 53_500.0, "count": 640.0},
                        {"lower_bound": 53_500.0, "upper_bound": 98_000.0, "count": 260.0},
                    ],
                    "sketch": {
                        "parameters": {"c": 0.64, "k": 2048.0},
                        "data": [[9_000.0, 41_250.5], [98_000.0]],
                    },
                }
            },
        },
    }


def textual(name: str, present: int = 900, missing: int = 0, distinct: float = 6.0) -> Document:
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": present, "num_missing": missing},
            "distinct_count": distinct,
            "distribution": {"categorical": {"buckets": [{"value": "car", "count": present}]}},
        },
    }


def statistics(*features: Document, rows: object = 900) -> bytes:
    listed = features or (numerical("income"), textual("loan_purpose"))
    return encode({"version": 0.0, "dataset": {"item_count": rows}, "features": list(listed)})


def quality_statistics(
    metrics: Mapping[str, tuple[object, object]],
    group: str = "binary_classification_metrics",
    rows: object = 900,
) -> bytes:
    """Metrics as (value, standard deviation); matrix and curve stand beside them as in real files."""
    scalars = {n: {"value": v, "standard_deviation": sd} for n, (v, sd) in metrics.items()}
    others = {
        "confusion_matrix": {"0": {"0": 610, "1": 90}, "1": {"0": 150, "1": 50}},
        "precision_recall_curve": {"precisions": [1.0, 0.4], "recalls": [0.0, 1.0]},
    }
    return encode({"version": 0.0, "dataset": {"item_count": rows}, group: {**others, **scalars}})


def constraints(
    *names: str,
    completeness: float = 1.0,
    type_threshold: float | None = 1.0,
    domain_threshold: float | None = 1.0,
    distance_threshold: float = 0.1,
) -> bytes:
    config: Document = {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": distance_threshold,
            "comparison_method": "Robust",
        },
    }
    if type_threshold is not None:
        config["datatype_check_threshold"] = type_threshold
    if domain_threshold is not None:
        config["domain_content_threshold"] = domain_threshold
    features = [
        {"name": n, "inferred_type": "Fractional", "completeness": completeness} for n in names
    ]
    return encode({"version": 0.0, "features": features, "monitoring_config": config})


def quality_constraints(thresholds: Mapping[str, tuple[float, str]]) -> bytes:
    return encode(
        {
            "version": 0.0,
            "binary_classification_constraints": {
                metric: {"threshold": threshold, "comparison_operator": operator}
                for metric, (threshold, operator) in thresholds.items()
            },
        }
    )


def bias_section(
    metrics: Mapping[str, object], facet: str = "age_group", facet_value: str = "(18, 25]"
) -> Document:
    listed = [
        {"name": name, "description": f"Metric ({name})", "value": value}
        | ({"error": "Group variable is empty or not provided"} if value is None else {})
        for name, value in metrics.items()
    ]
    return {
        "label": "default",
        "label_value_or_threshold": "1",
        "facets": {facet: [{"value_or_threshold": facet_value, "metrics": listed}]},
    }


def bias_analysis(
    post: Mapping[str, object] | None = None, pre: Mapping[str, object] | None = None
) -> bytes:
    document: Document = {"version": "1.0"}
    if pre is not None:
        document["pre_training_bias_metrics"] = bias_section(pre)
    if post is not None:
        document["post_training_bias_metrics"] = bias_section(post)
    return encode(document)


def shap_analysis(attributions: Mapping[str, Mapping[str, object]]) -> bytes:
    """Global SHAP values by label and feature."""
    return encode(
        {
            "version": "1.0",
            "explanations": {
                "kernel_shap": {
                    label: {"global_shap_values": dict(values), "expected_value": 0.18}
                    for label, values in attributions.items()
                }
            },
        }
    )


# --- jobs, schedules, events

JOB_NAMES = {
    MonitorKind.DATA_QUALITY: "model-monitoring-202611231400-5c1fa2b3c4d5e6f708192a3b",
    MonitorKind.MODEL_QUALITY: "model-quality-monitoring-202611231400-5c1fa2b3c4d5e6f708192a3b",
    MonitorKind.BIAS: "model-bias-monitoring-202611231400-5c1fa2b3c4d5e6f708192a3b",
    MonitorKind.EXPLAINABILITY: "model-explainability-monitoring-202611231400-5c1fa2b3c4d5e6f708",
    MonitorKind.CUSTOM: "model-monitoring-202611231400-77aabbccddeeff0011223344",
}
TYPES = {
    MonitorKind.DATA_QUALITY: "DataQuality",
    MonitorKind.MODEL_QUALITY: "ModelQuality",
    MonitorKind.BIAS: "ModelBias",
    MonitorKind.EXPLAINABILITY: "ModelExplainability",
    MonitorKind.CUSTOM: "DataQuality",
}
IMAGES = {
    MonitorKind.DATA_QUALITY: ANALYZER,
    MonitorKind.MODEL_QUALITY: ANALYZER,
    MonitorKind.BIAS: CLARIFY,
    MonitorKind.EXPLAINABILITY: CLARIFY,
    MonitorKind.CUSTOM: OWN_IMAGE,
}


def described_job(kind: MonitorKind = MonitorKind.DATA_QUALITY, **fields: object) -> Document:
    """A DescribeProcessingJob answer; a field given as None is left out."""
    name = str(fields.get("ProcessingJobName", JOB_NAMES[kind]))
    environment = {
        "sagemaker_endpoint_name": ENDPOINT,
        "sagemaker_monitoring_schedule_name": "Loan-Risk-Hourly",
        "start_time": "2026-11-23T13:00:00Z",
        "end_time": "2026-11-23T14:00:00Z",
    }
    if kind is MonitorKind.MODEL_QUALITY:
        environment["analysis_type"] = "MODEL_QUALITY"
    described: Document = {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{ARN}:processing-job/{name}",
        "ProcessingJobStatus": "Completed",
        "MonitoringScheduleArn": f"{ARN}:monitoring-schedule/loan-risk-hourly",
        "AppSpecification": {"ImageUri": IMAGES[kind]},
        "Environment": environment,
        "ProcessingInputs": [
            _input("baseline", "s3://loan-reports/baseline/statistics.json"),
            _input("constraints", "s3://loan-reports/baseline/constraints.json"),
            _input("endpoint_input_1", f"s3://loan-capture/{ENDPOINT}/AllTraffic/2026/11/23/13"),
        ],
        "ProcessingOutputConfig": {"Outputs": [output("result")]},
        "ProcessingStartTime": "2026-11-23T14:15:27.341000+00:00",
        "ProcessingEndTime": "2026-11-23T14:17:25.528000+00:00",
        "CreationTime": "2026-11-23T14:11:02.931000+00:00",
        "LastModifiedTime": "2026-11-23T14:17:25.958000+00:00",
        **fields,
    }
    return {key: value for key, value in described.items() if value is not None}


def _input(name: str, uri: str) -> Document:
    return {"InputName": name, "S3Input": {"S3Uri": uri, "S3InputMode": "File"}}


def output(name: str, uri: str = REPORT_URI) -> Document:
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/output"},
    }


def job(kind: MonitorKind = MonitorKind.DATA_QUALITY, **fields: object) -> ProcessingJob:
    return job_from(described_job(kind, **fields))


def described_schedule(kind: MonitorKind = MonitorKind.DATA_QUALITY, **fields: object) -> Document:
    """A DescribeMonitoringSchedule answer; a field given as None is left out."""
    described: Document = {
        "MonitoringScheduleArn": f"{ARN}:monitoring-schedule/loan-risk-hourly",
        "MonitoringScheduleName": "Loan-Risk-Hourly",
        "MonitoringScheduleStatus": "Scheduled",
        "MonitoringType": TYPES[kind],
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
            "MonitoringType": TYPES[kind],
        },
        "EndpointName": ENDPOINT,
        **fields,
    }
    return {key: value for key, value in described.items() if value is not None}


def schedule(kind: MonitorKind = MonitorKind.DATA_QUALITY, **fields: object) -> MonitoringSchedule:
    return schedule_from(described_schedule(kind, **fields))


def job_event(source: str = "aws.sagemaker", **detail: object) -> Document:
    """The event of an ended job; a field of the detail given as None is left out."""
    name = JOB_NAMES[MonitorKind.DATA_QUALITY]
    described: Document = {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{ARN}:processing-job/{name}",
        "ProcessingJobStatus": "Completed",
        "ProcessingInputs": [_input("constraints", "s3://loan-reports/baseline/constraints.json")],
        "ProcessingOutputConfig": {"Outputs": [output("result")]},
        "AppSpecification": {"ImageUri": ANALYZER},
        "ProcessingStartTime": 1_795_443_327_000,
        "ProcessingEndTime": 1_795_443_445_000,
        "CreationTime": 1_795_443_062_000,
        "LastModifiedTime": 1_795_443_445_000,
        **detail,
    }
    return {
        "version": "0",
        "id": "3f0e2d1c-7b6a-4958-8c7d-6e5f4a3b2c1d",
        "detail-type": "SageMaker Processing Job State Change",
        "source": source,
        "account": ACCOUNT,
        "time": "2026-11-23T14:17:26Z",
        "region": REGION,
        "resources": [f"{ARN}:processing-job/{name}"],
        "detail": {key: value for key, value in described.items() if value is not None},
    }


# --- what was read of a run

ReportFiles = Mapping[str, bytes]


def parsed(files: ReportFiles, baseline: ReportFiles | None = None) -> ParsedRun:
    return parse_run(Files(dict(files), {}), Files(dict(baseline or {}), {}))


def read(
    files: ReportFiles,
    baseline: ReportFiles | None = None,
    *,
    job: ProcessingJob | None = None,
    schedule: MonitoringSchedule | None = None,
    minimum_rows: int = 0,
) -> Reading:
    return read_outcome(parsed(files, baseline), job, schedule, minimum_rows)


def read_items(*items: Document, **baseline: bytes) -> Reading:
    """Read a completed run with these violations; baseline files by the stem of their names."""
    return read(
        {"constraint_violations.json": violations(*items)},
        {f"{stem}.json": content for stem, content in baseline.items()},
    )


def run(**fields: Any) -> Run:
    name = JOB_NAMES[MonitorKind.DATA_QUALITY]
    known: dict[str, Any] = {
        "key": f"{ARN}:processing-job/{name}#Completed",
        "job_name": name,
        "job_arn": f"{ARN}:processing-job/{name}",
        "status": "Completed",
        "endpoint": ENDPOINT,
        "schedule": "Loan-Risk-Hourly",
        "report_uri": REPORT_URI,
        "window_start": "2026-11-23T13:00:00Z",
        "window_end": "2026-11-23T14:00:00Z",
    }
    return Run(**{**known, **fields})


def finding(
    check: str = "baseline_drift_check",
    kind: MonitorKind = MonitorKind.DATA_QUALITY,
    subject: Subject | None = None,
    **fields: Any,
) -> Finding:
    known: dict[str, Any] = {
        "observed": 0.42,
        "threshold": 0.1,
        "direction": None,
        "parsed": True,
        "description": "Baseline drift distance: 0.42 exceeds threshold: 0.1",
        "distance": 0.32,
    }
    return Finding(
        kind=kind, check=check, subject=subject or Subject(feature="income"), **{**known, **fields}
    )


def reading(
    *findings: Finding,
    outcome: Outcome | None = None,
    monitor: MonitorKind = MonitorKind.DATA_QUALITY,
    **fields: Any,
) -> Reading:
    ended = outcome or (Outcome.VIOLATIONS if findings else Outcome.CLEAN)
    known: dict[str, Any] = {"reasons": (Reason.VIOLATIONS_REPORTED,), "rows": 900}
    return Reading(outcome=ended, monitor=monitor, findings=findings, **{**known, **fields})


# --- what the policy makes of it


def judgement(
    feature: str | None = "income",
    check: str = "baseline_drift_check",
    reason: Reason = Reason.COUNTS,
    *,
    distance: float | None = 0.3,
    observed: float | None = None,
    kind: MonitorKind = MonitorKind.CUSTOM,
    feature_group: str = "",
    severity: Severity = Severity.WARNING,
    **effective: Any,
) -> Judgement:
    """A finding about a feature (None: about the whole run), and what holds for it."""
    return Judgement(
        finding=finding(
            check,
            kind,
            Subject(feature=feature),
            observed=observed if observed is not None or distance is None else 0.1 + distance,
            distance=distance,
            description=f"{feature or 'the run'} is off",
        ),
        reason=reason,
        effective=Effective(severity=severity, **effective),
        service_threshold=0.1,
        feature_group=feature_group,
    )


def unhealthy(outcome: Outcome = Outcome.FAILED, **effective: Any) -> Judgement:
    """The judgement of an unhealthy run itself."""
    return judgement(None, outcome.value, distance=None, severity=Severity.ERROR, **effective)


def id_of(judged: Judgement, endpoint: str = ENDPOINT, schedule: str = "") -> str:
    """The incident of a judgement."""
    found = judged.finding
    return incident_id(scope_of(endpoint, schedule), found.kind, found.check, found.subject)
