"""Cause before cure: which runs may start a retraining pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec.structs import replace

from guiderail.errors import PermanentError
from guiderail.model.finding import Finding
from guiderail.model.identity import digest
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.retraining import RetrainingDecision, RetrainingMode, RetrainingRule
from guiderail.model.run import Reading, Run
from guiderail.ports import Pipelines
from guiderail.reports.violations import (
    ATTRIBUTION_CHECK,
    DRIFT_CHECK,
    FEED_CHECKS,
    MODEL_QUALITY_CHECKS,
)

_CURABLE_CHECKS = MODEL_QUALITY_CHECKS | {DRIFT_CHECK, ATTRIBUTION_CHECK}

_DOUBTS = frozenset(
    {
        Reason.ROWS_BELOW_MINIMUM,
        Reason.VIOLATION_COUNT_DISAGREES,
        Reason.STATISTICS_UNREADABLE,
        Reason.ANALYSIS_UNREADABLE,
        Reason.CONSTRAINTS_UNREADABLE,
        Reason.VIOLATIONS_FILE_UNREADABLE,
    }
)
"""What makes a report no ground to act on: gates fail closed."""


class RetrainingPlan:
    """The operator's rules, pipelines and parameters; the last rule that matches an endpoint holds."""

    def __init__(
        self,
        rules: Sequence[RetrainingRule],
        pipelines: Sequence[str],
        parameters: Mapping[str, str],
    ) -> None:
        """Take rules, pipeline ARNs (the first is the default) and parameter templates."""
        self._rules = tuple(rules)
        self._pipelines = {arn.rpartition("/")[2]: arn for arn in pipelines}
        self._parameters = dict(parameters)

    def decide(self, run: Run, reading: Reading) -> RetrainingDecision:
        """Decide about one run; nothing is started here.

        A broken feed blocks retraining on its data, bias is for a human, and a cause that is not
        known is no cause to retrain.
        """
        if reason := _blocked(reading):
            return RetrainingDecision(reason=reason)
        target = run.endpoint or run.schedule
        rule = next((r for r in reversed(self._rules) if fnmatchcase(target, r.endpoints)), None)
        if rule is None or rule.mode is RetrainingMode.OFF:
            return RetrainingDecision(reason=Reason.RETRAINING_OFF)
        if rule.pipeline:
            arn, missing = self._pipelines.get(rule.pipeline), f"no pipeline named {rule.pipeline}"
        else:
            arn, missing = next(iter(self._pipelines.values()), None), ""
        if not arn:
            return RetrainingDecision(reason=Reason.RETRAINING_NO_PIPELINE, note=missing)
        auto = rule.mode is RetrainingMode.AUTO
        return RetrainingDecision(
            reason=Reason.RETRAINING_STARTED if auto else Reason.RETRAINING_SUGGESTED,
            pipeline_arn=arn,
            token=digest(f"{run.key}|{arn}"),
            parameters={
                name: _filled(template, run, reading) for name, template in self._parameters.items()
            },
        )


def carry_out(decision: RetrainingDecision, run: Run, pipelines: Pipelines) -> RetrainingDecision:
    """Start the pipeline of a decision that says so; doing it again starts nothing more.

    A refusal becomes the decision's reason, because the alert must go out all the same.

    Raises:
        TransientError: SageMaker throttled or failed; the whole run is tried again.
    """
    if decision.reason is not Reason.RETRAINING_STARTED:
        return decision
    try:
        execution = pipelines.start(
            decision.pipeline_arn,
            decision.token,
            decision.parameters,
            f"Guiderail, after {run.job_name}",
        )
    except PermanentError as exc:
        return replace(decision, reason=Reason.RETRAINING_REFUSED, note=str(exc))
    return replace(decision, execution_arn=execution)


def _blocked(reading: Reading) -> Reason | None:
    if reading.outcome.is_unhealthy:
        return Reason.RETRAINING_BLOCKED_UNHEALTHY_RUN
    if reading.outcome is Outcome.CLEAN or not reading.findings:
        return Reason.RETRAINING_NO_FINDINGS
    if _DOUBTS.intersection(reading.reasons):
        return Reason.RETRAINING_BLOCKED_DOUBTFUL_REPORT
    if any(f.check in FEED_CHECKS for f in reading.findings):
        return Reason.RETRAINING_BLOCKED_BROKEN_FEED
    if any(f.kind is MonitorKind.BIAS or f.subject.facet for f in reading.findings):
        return Reason.RETRAINING_BLOCKED_BIAS_NEEDS_HUMAN
    if any(not f.parsed or f.check not in _CURABLE_CHECKS for f in reading.findings):
        return Reason.RETRAINING_BLOCKED_UNKNOWN_CAUSE
    return None


PARAMETER_FIELDS = (
    "endpoint", "schedule", "report_uri", "monitor", "window_start", "window_end", "job_name", "features",
)  # fmt: skip
"""What a pipeline parameter may be filled from."""


def _filled(template: str, run: Run, reading: Reading) -> str:
    values = {
        "endpoint": run.endpoint,
        "schedule": run.schedule,
        "report_uri": run.report_uri,
        "monitor": reading.monitor.value,
        "window_start": run.window_start,
        "window_end": run.window_end,
        "job_name": run.job_name,
        "features": ",".join(_features(reading.findings)),
    }
    filled = re.sub(r"\{(\w+)\}", lambda field: values.get(field[1], field[0]), template)
    # SageMaker takes parameter values up to 1,024 characters
    return filled[:1024]


def _features(findings: Iterable[Finding]) -> dict[str, None]:
    return dict.fromkeys(f.subject.feature for f in findings if f.subject.feature)
