"""What a run contributes to messages, events and records."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec

from guiderail.model.finding import Finding
from guiderail.model.incident import Incident
from guiderail.model.message import Facts, Link, RunPart
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.record import RunRecord
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.rendering.wording import cut, figure, printable
from guiderail.reports.violations import (
    ATTRIBUTION_CHECK,
    DRIFT_CHECK,
    FEED_CHECKS,
    MODEL_QUALITY_CHECKS,
)

MOST_FINDINGS = 20
"""Findings named in a message or event; the rest are counted and stand in the report."""

_ERROR_CHECKS = FEED_CHECKS | MODEL_QUALITY_CHECKS

_MOST_EVIDENCE = 10
"""Sentences of a run that a message names."""

_LONGEST_DESCRIPTION = 300

_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}

_NEXT_STEP = {
    Outcome.FAILED: (
        "Read the job's log in /aws/sagemaker/ProcessingJobs, mend the cause, run the schedule again."
    ),
    Outcome.STOPPED: (
        "Find out who or what stopped the job (a person, or its MaxRuntimeInSeconds); "
        "this window is not monitored."
    ),
    Outcome.NO_DATA: (
        "Check that data capture is on, that traffic arrives, and that the role may list the capture prefix."
    ),
    Outcome.NO_GROUND_TRUTH: (
        "Upload the labels of this window to the ground-truth prefix; quality is unknown until then."
    ),
    Outcome.TOO_FEW_ROWS: (
        "Widen the schedule or lower GUIDERAIL_MINIMUM_ROWS; nothing follows from so few rows."
    ),
    Outcome.DEGENERATE: (
        "Check which attributes the job definition names as prediction and label: "
        "these metrics cannot be real."
    ),
    Outcome.UNREADABLE: (
        "Mend what the reasons name (permission, size, damaged file), then redrive the dead-letter queue."
    ),
}
_STEP_BROKEN_FEED = (
    "The feed looks broken: mend or re-ingest the data before anything is retrained on it."
)
_STEP_BIAS = "Have a person look at the facet; nothing is retrained for bias by itself."
_STEP_ATTRIBUTION = (
    "Look at the features that moved most: has their meaning or their source changed?"
)
_STEP_QUALITY = "The model lost quality on labelled data: a candidate for retraining."
_STEP_DRIFT = "Inputs moved away from the baseline: compare with model quality before retraining."
_STEP_UNKNOWN = "Read the report; Guiderail does not know this check."


def severity(finding: Finding) -> str:
    """How bad a finding is before any policy: error where data or quality is broken, else warning."""
    return "error" if finding.check in _ERROR_CHECKS else "warning"


def next_step(reading: Reading) -> str:
    """What a person would most likely do next."""
    if reading.outcome.is_unhealthy:
        return _NEXT_STEP[reading.outcome]
    checks = {f.check for f in reading.findings}
    if checks & FEED_CHECKS:
        return _STEP_BROKEN_FEED
    if any(f.subject.facet for f in reading.findings):
        return _STEP_BIAS
    if ATTRIBUTION_CHECK in checks:
        return _STEP_ATTRIBUTION
    if any(f.subject.metric for f in reading.findings):
        return _STEP_QUALITY
    return _STEP_DRIFT if DRIFT_CHECK in checks else _STEP_UNKNOWN


def run_subject(run: Run, reading: Reading) -> str:
    """What one run has to say, in a few words."""
    count = len(reading.findings)
    found = f"{count} finding{'s' * (count != 1)}"
    what = found if reading.outcome is Outcome.VIOLATIONS else reading.outcome.value
    return f"{what.replace('_', ' ')}: {reading.monitor.value.replace('_', ' ')} of {run.place}"


def run_part(run: Run, reading: Reading, retraining: RetrainingDecision) -> RunPart:
    """What a message says of a run; sentences and names are cut, the command is not."""
    offered = retraining.reason in (Reason.RETRAINING_SUGGESTED, Reason.RETRAINING_REFUSED)
    return RunPart(
        outcome=reading.outcome.value,
        monitor=reading.monitor.value,
        endpoint=cut(run.endpoint),
        schedule=cut(run.schedule),
        window_start=run.window_start,
        window_end=run.window_end,
        rows=reading.rows,
        reasons=tuple(reason.value for reason in reading.reasons),
        evidence=tuple(printable(sentence) for sentence in reading.evidence[:_MOST_EVIDENCE]),
        likely_cause=next_step(reading),
        retraining=tuple(printable(line) for line in _retraining_lines(retraining)),
        command=start_command(run, retraining) if offered else "",
        links=tuple(_links(run)),
    )


def facts_of(finding: Finding, service_threshold: float | None, incident: Incident) -> Facts:
    """What a run measured of an incident, which is as it was after the run."""
    own = service_threshold if service_threshold != finding.threshold else None
    return Facts(
        observed=finding.observed,
        threshold=finding.threshold,
        report_threshold=own,
        unit=finding.unit,
        direction=finding.direction,
        notes=tuple(cut(note, _LONGEST_DESCRIPTION) for note in finding_notes(finding)),
        trend=incident.values,
        first_seen=incident.first_seen,
        times_seen=incident.times_seen,
        description=cut(finding.description, _LONGEST_DESCRIPTION),
    )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Order findings by severity, then by how far they are from where they should be."""
    return sorted(
        findings,
        key=lambda f: (severity(f) != "error", -f.distance if f.distance is not None else math.inf),
    )


def finding_line(finding: Finding, service_threshold: float | None = None) -> str:
    """One line for people; a threshold of the policy is named beside the report's own."""
    side = f", bad {finding.direction.value.replace('_', ' ')}" if finding.direction else ""
    line = f"{finding.subject}: {finding.check}: "
    if not finding.parsed or finding.observed is None:
        line += finding.description or "no description"
    else:
        observed = figure(finding.observed, finding.unit)
        line += f"observed {observed}, threshold {figure(finding.threshold, finding.unit)}{side}"
        if service_threshold is not None and service_threshold != finding.threshold:
            line += f" (the report's own: {figure(service_threshold, finding.unit)})"
    return printable("; ".join([line, *finding_notes(finding)]))


def finding_notes(finding: Finding) -> list[str]:
    """What the run's and the baseline's files add to a finding, for people."""
    notes = []
    current, baseline = finding.current, finding.baseline
    if current and baseline and current.mean is not None and baseline.mean is not None:
        notes.append(f"mean {current.mean:.6g} (baseline {baseline.mean:.6g})")
    if current and current.missing:
        notes.append(f"{current.missing} missing")
    moved = [s for s in finding.shifts if s.baseline_rank != s.current_rank][:5]
    if moved:
        ranks = (f"{s.feature} {s.baseline_rank} to {s.current_rank}" for s in moved)
        notes.append(f"moved in rank: {', '.join(ranks)}")
    return notes


def _retraining_lines(decision: RetrainingDecision) -> list[str]:
    note = f" ({decision.note})" if decision.note else ""
    lines = [f"{decision.reason.value}{note}"]
    if decision.execution_arn:
        lines.append(f"started: {decision.execution_arn}")
    return lines


def start_command(run: Run, decision: RetrainingDecision) -> str:
    """The exact AWS CLI call that starts the pipeline; with its token it starts once."""
    words = ["aws", "sagemaker", "start-pipeline-execution", "--region", run.region]
    words += ["--pipeline-name", decision.pipeline_arn, "--client-request-token", decision.token]
    if decision.parameters:
        listed = [{"Name": name, "Value": value} for name, value in decision.parameters.items()]
        words += ["--pipeline-parameters", json.dumps(listed)]
    return shlex.join(words)


def _links(run: Run) -> list[Link]:
    partition = run.job_arn.split(":")[1]
    host = _CONSOLES.get(partition, "console.aws.amazon.com")
    home = f"https://{run.region}.{host}/sagemaker/home?region={run.region}"
    links = []
    if run.report_uri.startswith("s3://"):
        bucket, _, prefix = run.report_uri.removeprefix("s3://").partition("/")
        folder = quote(prefix.rstrip("/") + "/", safe="/")
        place = f"{quote(bucket)}?region={run.region}&prefix={folder}"
        links.append(Link("Report", f"https://{run.region}.{host}/s3/buckets/{place}"))
    links.append(Link("Job", f"{home}#/processing-jobs/{quote(run.job_name)}"))
    if run.schedule:
        links.append(Link("Schedule", f"{home}#/model-dashboard"))
    return links


def run_detail(run: Run, reading: Reading, retraining: RetrainingDecision) -> dict[str, Any]:
    """A run as the bus carries it; findings beyond the most named are counted only."""
    return {
        "run_key": run.key,
        "outcome": reading.outcome.value,
        "monitor": reading.monitor.value,
        "reasons": [reason.value for reason in reading.reasons],
        "endpoint": run.endpoint,
        "schedule": run.schedule,
        "processing_job_arn": run.job_arn,
        "report_uri": run.report_uri,
        "window": {"start": run.window_start, "end": run.window_end},
        "rows": reading.rows,
        "finding_count": len(reading.findings),
        "findings": brief_findings(reading),
        "retraining": {
            "reason": retraining.reason.value,
            "execution_arn": retraining.execution_arn,
        },
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "probe": run.is_probe,
    }


def recorded_values(record: RunRecord) -> dict[str, Any]:
    """What is kept of a run, as plain values by attribute name; empty texts are left out."""
    run, reading = record.run, record.reading
    texts = {
        "job_arn": run.job_arn,
        "status": run.status,
        "outcome": reading.outcome.value,
        "monitor": reading.monitor.value,
        "endpoint": run.endpoint,
        "schedule": run.schedule,
        "report_uri": run.report_uri,
        "window_start": run.window_start,
        "window_end": run.window_end,
        "ledger": record.ledger,
        "policy_version": record.policy_version,
        "retraining": record.retraining.reason.value,
        "pipeline_execution_arn": record.retraining.execution_arn,
        "recorded_at": record.recorded_at.isoformat(),
    }
    values: dict[str, Any] = {name: value for name, value in texts.items() if value}
    values["reasons"] = [reason.value for reason in reading.reasons]
    values["evidence"] = list(reading.evidence)
    values["findings"] = brief_findings(reading)
    values["finding_count"] = len(reading.findings)
    values["judgements"] = dict(Counter(j.reason.value for j in record.judgements))
    if reading.rows is not None:
        values["rows"] = reading.rows
    return values


def brief_findings(reading: Reading) -> list[dict[str, Any]]:
    """The worst findings as JSON values, names and texts cut: an event has a size limit."""
    worst = worst_first(reading.findings)[:MOST_FINDINGS]
    return [_brief(finding_fields(finding)) for finding in worst]


def _brief(fields: dict[str, Any]) -> dict[str, Any]:
    """A finding's fields with what comes from data cut: check, description, names of the subject."""
    return {
        **fields,
        "check": cut(fields["check"]),
        "description": cut(fields["description"]),
        "subject": {
            name: cut(value)
            if isinstance(value, str)
            else [cut(one) for one in value[:MOST_FINDINGS]]
            for name, value in fields["subject"].items()
        },
    }


def finding_fields(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values.

    JSON has no infinity: such a number is null, and ``observed_text`` says which.
    """
    fields: dict[str, Any] = {
        "check": finding.check,
        "subject": msgspec.to_builtins(finding.subject),
        "observed": _finite(finding.observed),
        "threshold": _finite(finding.threshold),
        "direction": finding.direction.value if finding.direction else None,
        "unit": finding.unit,
        "distance": _finite(finding.distance),
        "severity": severity(finding),
        "parsed": finding.parsed,
        "description": finding.description,
    }
    if finding.observed is not None and math.isinf(finding.observed):
        fields["observed_text"] = "Infinity" if finding.observed > 0 else "-Infinity"
    return fields


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def attribute(value: str) -> str:
    """A message attribute's value: SNS takes no empty one."""
    return printable(value)[:256] or "none"
