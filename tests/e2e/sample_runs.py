"""Builds a run folder of everything in the samples that can be one.

The samples are real reports that are not part of this project; they are found through
GUIDERAIL_SAMPLES. Where a sample is a report only, its job and schedule are made in the shape of the
described jobs among the samples. Run as a program it writes the folders to a place of your choice:

    python tests/e2e/sample_runs.py FOLDER
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

_VIOLATIONS = "constraint_violations.json"
_MONITORING_TYPES = {
    "data_quality": "DataQuality",
    "model_quality": "ModelQuality",
    "bias": "ModelBias",
    "explainability": "ModelExplainability",
    "custom": "DataQuality",
}
_JOB_PREFIXES = {
    "data_quality": "model-monitoring",
    "model_quality": "model-quality-monitoring",
    "bias": "model-bias-monitoring",
    "explainability": "model-explainability-monitoring",
    "custom": "model-monitoring",
}
_CLEAN = "Completed: Job completed successfully with no violations."


def samples_folder() -> Path | None:
    """Where the samples are, or None where this computer has none."""
    folder = Path(os.environ.get("GUIDERAIL_SAMPLES") or REPOSITORY.parent / "shared" / "samples")
    return folder if folder.is_dir() else None


@dataclass(frozen=True)
class SampleRun:
    """How one run is put together: files by name, each a path among the samples."""

    name: str
    monitor: str
    findings: int = 0
    report: Mapping[str, str] = field(default_factory=dict)
    baseline: Mapping[str, str] = field(default_factory=dict)
    described: str | None = None
    schedule: str = "describe/extracted/schedule_dq.json"
    violations: tuple[Mapping[str, str], ...] | None = None
    ignored: str | None = None
    outcome: str | None = None

    @property
    def expected(self) -> dict[str, Any]:
        """The manifest's expectation."""
        if self.ignored:
            return {"ignored": self.ignored, "alerts": 0, "pipelines": 0}
        outcome = self.outcome or ("violations" if self.findings else "clean")
        return {
            "outcome": outcome,
            "monitor": self.monitor,
            "findings": self.findings,
            "alerts": 0 if outcome == "clean" else 1,
            "pipelines": 0,
        }


_ABALONE = {
    "statistics.json": "data_quality/sdk_abalone_statistics.json",
    "constraints.json": "data_quality/sdk_abalone_good_constraints.json",
}
_REGRESSION = {"constraints.json": "model_quality/sdk_regression_good_constraints.json"}
_NONE = "violations/extracted/dq_empty_violations.json"


def _violations(monitor: str, file: str, findings: int, baseline: str | None = None) -> SampleRun:
    return SampleRun(
        f"violations-{file.replace('_', '-')}",
        monitor,
        findings,
        report={_VIOLATIONS: f"violations/extracted/{file}.json"},
        baseline={"analysis.json": baseline} if baseline else {},
    )


def _analysis(monitor: str, file: str, baseline: str | None = None) -> SampleRun:
    return SampleRun(
        f"clarify-{file.rpartition('/')[2].replace('_', '-')}",
        monitor,
        report={"analysis.json": f"clarify_analysis/{file}.json"},
        baseline={"analysis.json": f"clarify_analysis/{baseline}.json"} if baseline else {},
    )


SAMPLE_RUNS = (
    _violations(
        "bias",
        "bias_endpoint_9",
        9,
        "clarify_analysis/extracted/bias_baseline_endpoint_analysis.json",
    ),
    _violations("bias", "docs_bias_2_old_wording", 2),
    _violations("data_quality", "dq_3_data_type_violations", 3),
    _violations("data_quality", "dq_empty_violations", 0),
    _violations("data_quality", "dq_extra_column", 1),
    _violations("data_quality", "dq_missing_column", 1),
    _violations("data_quality", "dq_type_completeness_drift", 3),
    _violations(
        "explainability",
        "explainability_shap_1",
        1,
        "clarify_analysis/extracted/explainability_baseline_label0_analysis.json",
    ),
    _violations("model_quality", "mq_binary_10_with_stddev", 10),
    _violations("model_quality", "mq_binary_first5_no_stddev", 5),
    SampleRun(
        "data-quality-2019",
        "data_quality",
        7,
        report={
            _VIOLATIONS: "data_quality/sdk_2019_constraint_violations.json",
            "statistics.json": "data_quality/sdk_2019_statistics.json",
        },
        baseline={"constraints.json": "data_quality/sdk_2019_constraints.json"},
    ),
    SampleRun(
        "data-quality-abalone",
        "data_quality",
        report={_VIOLATIONS: _NONE, **_ABALONE},
        baseline=_ABALONE,
    ),
    SampleRun(
        "own-container-nlp",
        "custom",
        8,
        report={"constraints_violations.json": "byoc/examples_nlp_constraints_violations.json"},
    ),
    _analysis("bias", "examples_fraud_bias_1_analysis"),
    _analysis("bias", "examples_fraud_bias_2_analysis"),
    _analysis("bias", "sdk_bias_good_analysis"),
    _analysis("bias", "sdk_bias_bad_analysis", "sdk_bias_good_analysis"),
    _analysis("bias", "sdk_modelcard_bias"),
    _analysis("bias", "extracted/bias_baseline_endpoint_analysis"),
    _analysis("explainability", "examples_fraud_explainability_analysis"),
    _analysis("explainability", "sdk_modelcard_explainability"),
    _analysis("explainability", "extracted/explainability_baseline_label0_analysis"),
    SampleRun(
        "model-quality-regression",
        "model_quality",
        report={
            _VIOLATIONS: _NONE,
            "statistics.json": "model_quality/sdk_regression_statistics.json",
        },
        baseline=_REGRESSION,
    ),
    SampleRun(
        "model-quality-regression-worse",
        "model_quality",
        1,
        report={"statistics.json": "model_quality/sdk_regression_statistics.json"},
        baseline={"constraints.json": "model_quality/sdk_regression_bad_constraints.json"},
        # What the analyzer writes of these statistics against these constraints.
        violations=(
            {
                "constraint_check_type": "GreaterThanThreshold",
                "description": "Metric mse with 0.33364933609800973"
                " was GreaterThanThreshold '0.03364933609800973'",
                "metric_name": "mse",
            },
        ),
    ),
    SampleRun(
        "model-quality-regression-large",
        "model_quality",
        report={
            _VIOLATIONS: _NONE,
            "statistics.json": "model_quality/sdk_modelcard_regression_statistics.json",
        },
        baseline=_REGRESSION,
    ),
    SampleRun(
        "model-quality-multiclass",
        "model_quality",
        report={
            _VIOLATIONS: _NONE,
            "statistics.json": "model_quality/extracted/docs_multiclass_metrics_fragment.json",
        },
    ),
    SampleRun(
        "described-data-quality-clean",
        "data_quality",
        report={_VIOLATIONS: _NONE, **_ABALONE},
        baseline=_ABALONE,
        described="describe/extracted/dq_completed_no_violations.json",
    ),
    SampleRun(
        "described-data-quality-2-violations",
        "data_quality",
        3,  # the report lists one more than the exit message counts
        report={_VIOLATIONS: "violations/extracted/dq_3_data_type_violations.json"},
        described="describe/extracted/dq_completed_with_2_violations.json",
    ),
    SampleRun(
        "described-model-quality-10-violations",
        "model_quality",
        5,  # of the ten, the sample holds the first five
        report={_VIOLATIONS: "violations/extracted/mq_binary_first5_no_stddev.json"},
        described="describe/extracted/mq_completed_with_10_violations.json",
        schedule="describe/extracted/schedule_mq.json",
    ),
    SampleRun(
        "described-merge",
        "model_quality",
        described="describe/extracted/groundtruth_merge_in_progress.json",
        schedule="describe/extracted/schedule_mq.json",
        ignored="ignored_merge_job",
    ),
    SampleRun(
        "described-baselining",
        "data_quality",
        described="describe/extracted/baselining_no_schedule.json",
        ignored="ignored_baselining_job",
    ),
)


def build(samples: Path, target: Path) -> Iterator[Path]:
    """Write a run folder for each sample run; yields the folders."""
    for run in SAMPLE_RUNS:
        folder = target / run.name
        for place, files in (("report", run.report), ("baseline", run.baseline)):
            for name, sample in files.items():
                (folder / place).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(samples / sample, folder / place / name)
        folder.mkdir(parents=True, exist_ok=True)
        if run.violations is not None:
            _write(folder / "report" / _VIOLATIONS, {"violations": list(run.violations)})
        job = _job(samples, run)
        _write(folder / "job.json", job)
        if "MonitoringScheduleArn" in job:
            _write(folder / "schedule.json", _schedule(samples, run, job))
        _write(folder / "manifest.json", {"title": _title(run), "expect": run.expected})
        yield folder


def _title(run: SampleRun) -> str:
    return ", ".join((*run.report.values(), *([run.described] if run.described else [])))


def _job(samples: Path, run: SampleRun) -> dict[str, Any]:
    if run.described:
        job: dict[str, Any] = json.loads((samples / run.described).read_text())
        if job["ProcessingJobStatus"] not in ("Completed", "Failed", "Stopped"):
            # Described while it ran; its event comes when it has ended.
            job["ProcessingJobStatus"] = "Completed"
        return job
    quality = run.monitor == "model_quality"
    shape = "mq_completed_with_10_violations" if quality else "dq_completed_no_violations"
    return _made_job(json.loads((samples / f"describe/extracted/{shape}.json").read_text()), run)


def _made_job(described: Mapping[str, Any], run: SampleRun) -> dict[str, Any]:
    """A job of this run in the shape of a described one."""
    job = copy.deepcopy(dict(described))
    _, _, _, region, account, _ = job["ProcessingJobArn"].split(":")
    name = f"{_JOB_PREFIXES[run.monitor]}-202603090600-{hashlib.sha256(run.name.encode()).hexdigest()[:24]}"
    schedule = f"Sample-{run.name}"
    place = f"s3://monitoring-samples/{run.name}"
    is_clarify = run.monitor in ("bias", "explainability")
    baseline = {
        "baseline": f"{place}/baseline/statistics.json",
        "constraints": f"{place}/baseline/{'analysis' if is_clarify else 'constraints'}.json",
    }
    job["ProcessingInputs"] = [
        {
            **entry,
            "S3Input": {
                **entry["S3Input"],
                "S3Uri": baseline.get(entry["InputName"], f"{place}/capture"),
            },
        }
        for entry in job["ProcessingInputs"]
        if entry["InputName"] != "baseline" or run.monitor == "data_quality"
    ]
    job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = f"{place}/report"
    environment = job["Environment"]
    environment["sagemaker_monitoring_schedule_name"] = schedule
    # on one endpoint a broken schema would hide what the other samples find
    environment["sagemaker_endpoint_name"] = f"sample-{run.name}"
    image = job["AppSpecification"]["ImageUri"]
    if is_clarify:
        image = image.replace(
            "sagemaker-model-monitor-analyzer", "sagemaker-clarify-processing:1.0"
        )
    elif run.monitor == "custom":
        image = f"{account}.dkr.ecr.{region}.amazonaws.com/own-monitor:1"
    found = f"CompletedWithViolations: Job completed successfully with {run.findings} violations."
    return job | {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"arn:aws:sagemaker:{region}:{account}:processing-job/{name}",
        "MonitoringScheduleArn": f"arn:aws:sagemaker:{region}:{account}:monitoring-schedule/{schedule.lower()}",
        "AppSpecification": {"ImageUri": image},
        "ExitMessage": found if run.findings else _CLEAN,
    }


def _schedule(samples: Path, run: SampleRun, job: Mapping[str, Any]) -> dict[str, Any]:
    schedule: dict[str, Any] = json.loads((samples / run.schedule).read_text())
    kind = _MONITORING_TYPES[run.monitor]
    name = job["Environment"].get("sagemaker_monitoring_schedule_name")
    return schedule | {
        "MonitoringScheduleArn": job["MonitoringScheduleArn"],
        "MonitoringScheduleName": name or job["MonitoringScheduleArn"].rpartition("/")[2],
        "MonitoringType": kind,
        "MonitoringScheduleConfig": {
            **schedule["MonitoringScheduleConfig"],
            "MonitoringType": kind,
        },
        "EndpointName": job["Environment"].get("sagemaker_endpoint_name", schedule["EndpointName"]),
    }


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def main() -> int:
    """Write all sample runs to the folder given as argument."""
    samples = samples_folder()
    if samples is None or len(sys.argv) != 2:
        print(
            "usage: sample_runs.py FOLDER, with GUIDERAIL_SAMPLES naming the samples",
            file=sys.stderr,
        )
        return 3
    for folder in build(samples, Path(sys.argv[1])):
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
