"""From the files of a run to its honest outcome and its findings."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from guiderail.errors import AccessDeniedError, ReportTooLargeError
from guiderail.model.finding import AttributionShift, FeatureSummary, Finding, Subject
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import Direction, MonitorKind, Outcome, Reason
from guiderail.model.run import Reading
from guiderail.reports.analysis import Analysis
from guiderail.reports.attribution import attribution_shifts, ndcg
from guiderail.reports.json_text import number
from guiderail.reports.run_files import (
    ANALYSIS,
    CONSTRAINTS,
    STATISTICS,
    ParsedRun,
)
from guiderail.reports.statistics import Metric
from guiderail.reports.violations import (
    ATTRIBUTION_CHECK,
    BIAS_CHECK,
    COLUMN_CHECKS,
    KNOWN_CHECKS,
    Violation,
)
from guiderail.reports.wording import UNRECOGNISED, Said, read_wording, snake_case
from guiderail.services.identify import CLARIFY_KINDS, kind_before_reading, kind_from_files

_DIRECTION_OF_CHECK = {
    "data_type_check": Direction.BELOW,
    "completeness_check": Direction.BELOW,
    "categorical_values_check": Direction.BELOW,
    "baseline_drift_check": Direction.ABOVE,
    "missing_column_check": Direction.MISMATCH,
    "extra_column_check": Direction.MISMATCH,
    "LessThanThreshold": Direction.BELOW,
    "GreaterThanThreshold": Direction.ABOVE,
    "bias_drift_check": Direction.FARTHER_FROM_ZERO,
    # an nDCG: the sentence says "exceeds", the violation is a score below the threshold
    "feature_attribution_drift_check": Direction.BELOW,
}
_UNIT_OF_CHECK = {
    "data_type_check": "fraction",
    "completeness_check": "fraction",
    "categorical_values_check": "fraction",
    "baseline_drift_check": "distance",
    "missing_column_check": "columns",
    "extra_column_check": "columns",
    "feature_attribution_drift_check": "nDCG",
}
_NEUTRAL_OF_BIAS_METRIC = {"DI": 1.0}
"""Disparate impact is a ratio; every other bias metric is neutral at 0."""

_EXIT_COUNT = re.compile(r"with (\d{1,9}) violations?\b")
_NO_DATA = re.compile(
    r"inputs? had no data|No S3 objects found under S3 URL|no data (?:was )?(?:found|captured)",
    re.I,
)
_GROUND_TRUTH = re.compile(r"ground[_ -]?truth", re.I)


def read_outcome(
    parsed: ParsedRun,
    job: ProcessingJob | None,
    schedule: MonitoringSchedule | None,
    minimum_rows: int = 0,
) -> Reading:
    """Decide how a run ended and what it found.

    ``clean`` needs a report that was read: an empty violations list, or for Clarify, which writes no
    violations file when there are none, an analysis file. Whatever cannot be known has an outcome of
    its own. Findings are kept whatever the outcome.

    Args:
        parsed: The run's and the baseline's files.
        job: The job's description; None where only the files are at hand.
        schedule: The schedule's description, if any.
        minimum_rows: Below this many rows a run without violations is ``too_few_rows``.
    """
    kind, reasons = kind_before_reading(job, schedule)
    if kind is None:
        kind, reasons = kind_from_files(parsed)
    notes = _Notes(reasons)
    rows = parsed.statistics.rows if parsed.statistics else None
    worded = [
        (v, read_wording(v.description) if v.description else UNRECOGNISED)
        for v in parsed.violations or ()
    ]
    findings = _findings(worded, parsed, kind, notes)
    degenerate = _degenerate(worded, parsed)
    outcome = _outcome(parsed, job, schedule, kind, rows, minimum_rows, degenerate, notes)
    return Reading(
        outcome=outcome,
        monitor=kind,
        reasons=tuple(dict.fromkeys(notes.reasons)),
        findings=findings,
        rows=rows,
        evidence=tuple(notes.evidence),
    )


class _Notes:
    """Reasons and evidence as they come up."""

    def __init__(self, reasons: Iterable[Reason] = ()) -> None:
        self.reasons = list(reasons)
        self.evidence: list[str] = []

    def add(self, reason: Reason, evidence: str = "") -> None:
        self.reasons.append(reason)
        if evidence:
            self.evidence.append(evidence)


def _outcome(
    parsed: ParsedRun,
    job: ProcessingJob | None,
    schedule: MonitoringSchedule | None,
    kind: MonitorKind,
    rows: int | None,
    minimum_rows: int,
    degenerate: tuple[Reason, str] | None,
    notes: _Notes,
) -> Outcome:
    ended_badly = _ended_badly(parsed, job, schedule, notes)
    _note_errors(parsed, notes)
    if ended_badly:
        return ended_badly
    if job is None:
        notes.add(Reason.JOB_STATE_UNKNOWN)
    if parsed.violations:
        _note_count(parsed.violations, job, notes)
        if degenerate:
            notes.add(*degenerate)
            return Outcome.DEGENERATE
        if rows is not None and rows < minimum_rows:
            notes.add(
                Reason.ROWS_BELOW_MINIMUM,
                f"{rows} rows, fewer than {minimum_rows}: distances from few rows mislead",
            )
        notes.add(Reason.VIOLATIONS_REPORTED)
        return Outcome.VIOLATIONS
    if parsed.report_errors:
        # noted above; a damaged file beside an empty list proves nothing
        return Outcome.UNREADABLE
    unread = _why_unread(parsed, job, kind)
    if unread:
        notes.add(*unread)
        return Outcome.UNREADABLE
    if degenerate:
        notes.add(*degenerate)
        return Outcome.DEGENERATE
    if rows is not None and rows <= 0:
        notes.add(Reason.ZERO_ROWS, "statistics.json counts 0 rows")
        return Outcome.NO_DATA
    if rows is not None and rows < minimum_rows:
        notes.add(Reason.ROWS_BELOW_MINIMUM, f"{rows} rows, fewer than {minimum_rows}")
        return Outcome.TOO_FEW_ROWS
    if rows is None and kind not in CLARIFY_KINDS:
        notes.add(Reason.ROWS_UNKNOWN)
    clarify = parsed.violations is None
    notes.add(
        Reason.CLARIFY_WROTE_NO_VIOLATIONS_FILE if clarify else Reason.REPORT_LISTS_NO_VIOLATIONS
    )
    return Outcome.CLEAN


def _ended_badly(
    parsed: ParsedRun, job: ProcessingJob | None, schedule: MonitoringSchedule | None, notes: _Notes
) -> Outcome | None:
    if job:
        status, why = job.status, job.failure_reason or job.exit_message
    elif (
        schedule
        and not parsed.violations_file
        and not parsed.analysis
        and not schedule.last_job_arn
    ):
        # an execution that never got a job leaves its end only in the schedule's last summary
        status, why = schedule.last_status, schedule.last_failure_reason
    else:
        return None
    if status == "Stopped":
        notes.add(Reason.JOB_STOPPED, why)
        return Outcome.STOPPED
    if status != "Failed":
        return None
    if _NO_DATA.search(why):
        if _GROUND_TRUTH.search(why):
            notes.add(Reason.NO_GROUND_TRUTH_DATA, why)
            return Outcome.NO_GROUND_TRUTH
        notes.add(Reason.NO_INPUT_DATA, why)
        return Outcome.NO_DATA
    notes.add(Reason.JOB_FAILED, why or "SageMaker gives no reason")
    return Outcome.FAILED


def _note_errors(parsed: ParsedRun, notes: _Notes) -> None:
    own = parsed.report_errors
    for file, error in parsed.errors.items():
        if file not in own:
            notes.add(Reason.BASELINE_UNREADABLE, str(error))
            continue
        reason = {
            STATISTICS: Reason.STATISTICS_UNREADABLE,
            CONSTRAINTS: Reason.CONSTRAINTS_UNREADABLE,
            ANALYSIS: Reason.ANALYSIS_UNREADABLE,
        }.get(file, Reason.VIOLATIONS_FILE_UNREADABLE)
        notes.add(reason, str(error))
        if isinstance(error, AccessDeniedError):
            notes.add(Reason.REPORT_ACCESS_DENIED)
        elif isinstance(error, ReportTooLargeError):
            notes.add(Reason.REPORT_TOO_LARGE)


def _why_unread(
    parsed: ParsedRun, job: ProcessingJob | None, kind: MonitorKind
) -> tuple[Reason, str] | None:
    """Why a run without violations cannot be called clean; None where its report was read."""
    exit_message = job.exit_message if job else ""
    says_violations = "CompletedWithViolations" in exit_message
    if parsed.violations is not None:
        if says_violations:
            return (
                Reason.EXIT_MESSAGE_CONTRADICTS_REPORT,
                f"{parsed.violations_file} lists none, the exit message says: {exit_message}",
            )
        return None
    if kind in CLARIFY_KINDS:
        if says_violations:
            return (
                Reason.VIOLATIONS_FILE_MISSING,
                "the exit message reports violations, the file that lists them is missing",
            )
        if parsed.analysis is None:
            return Reason.ANALYSIS_MISSING, "neither a violations file nor analysis.json is there"
        return None
    if job and not job.report_uri:
        return Reason.NO_REPORT_LOCATION, "the job names no output for its report"
    if not parsed.statistics and not parsed.analysis and not parsed.constraints:
        return Reason.NO_REPORT_FILES, "the report folder holds no file of a monitor"
    return (
        Reason.VIOLATIONS_FILE_MISSING,
        "this monitor writes a violations file even when there are none",
    )


def _note_count(
    violations: tuple[Violation, ...], job: ProcessingJob | None, notes: _Notes
) -> None:
    """Compare the report's length with the exit message; several instances write one each."""
    if job is None or not job.exit_message:
        return
    counts = [int(n) for n in _EXIT_COUNT.findall(job.exit_message)]
    said_none = "with no violations" in job.exit_message and not counts
    if said_none or (counts and len(violations) not in (*counts, sum(counts))):
        said = "no violations" if said_none else f"{' + '.join(map(str, counts))} violations"
        notes.add(
            Reason.VIOLATION_COUNT_DISAGREES,
            f"the report lists {len(violations)} violations, the exit message says {said}",
        )


def _degenerate(
    worded: list[tuple[Violation, Said]], parsed: ParsedRun
) -> tuple[Reason, str] | None:
    """Metrics that no model can have; None where nothing speaks against them.

    Seen in service output: every metric 0.0 +/- 0.0 beside a confusion matrix that is right. The best
    constant classifier is a yardstick, not the model.
    """
    reported = parsed.statistics.metrics if parsed.statistics else None
    metrics = reported or _metrics_of(worded)
    own = [m for name, m in metrics.items() if not name.endswith("_best_constant_classifier")]
    scalars = [m for m in own if number(m.value) is not None]
    if reported is not None and not scalars:
        return Reason.ALL_METRICS_EMPTY, "no metric in statistics.json has a value"
    if len(scalars) > 1 and all(
        number(m.value) == 0 and number(m.standard_deviation) == 0 for m in scalars
    ):
        return Reason.ALL_METRICS_ZERO, f"all {len(scalars)} metrics are 0.0 +/- 0.0"
    analysis = parsed.analysis
    if analysis is None:
        return None
    if analysis.has_bias and not any(
        number(m.value) is not None for _, _, m in analysis.bias_metrics()
    ):
        return Reason.ALL_METRICS_EMPTY, "no bias metric in analysis.json has a value"
    for label in analysis.labels:
        attributions = analysis.attributions(label)
        if not any(attributions.values()):
            return Reason.ALL_ATTRIBUTIONS_ZERO, f"every attribution of {label} is zero or missing"
    if (
        not analysis.has_bias
        and not analysis.labels
        and analysis.explanations
        and analysis.explanations.pdp is None
    ):
        return Reason.ALL_METRICS_EMPTY, "analysis.json explains nothing"
    return None


def _metrics_of(worded: list[tuple[Violation, Said]]) -> dict[str, Metric]:
    """The metrics that model-quality violations themselves name, for a run without statistics."""
    return {
        violation.metric_name: Metric(said.observed, said.standard_deviation)
        for violation, said in worded
        if violation.kind is MonitorKind.MODEL_QUALITY
    }


def _findings(
    worded: list[tuple[Violation, Said]], parsed: ParsedRun, kind: MonitorKind, notes: _Notes
) -> tuple[Finding, ...]:
    if not worded:
        return ()
    percent_sibling = any(
        s.in_percent and s.observed is not None and s.observed > 1 for _, s in worded
    )
    summaries = _Summaries(parsed)
    findings = tuple(_finding(v, s, kind, parsed, summaries, percent_sibling) for v, s in worded)
    for finding in findings:
        notes.reasons.extend(finding.reasons)
    unparsed = sum(not f.parsed for f in findings)
    if unparsed:
        notes.add(
            Reason.UNPARSED_FINDINGS,
            f"{unparsed} of {len(findings)} findings have an unknown check or wording",
        )
    return findings


class _Summaries:
    """Feature summaries by name, indexed once per file and made only when a finding asks."""

    def __init__(self, parsed: ParsedRun) -> None:
        self._current = {
            f.name: f for f in (parsed.statistics.features if parsed.statistics else None) or ()
        }
        base = parsed.baseline_statistics
        self._baseline = {f.name: f for f in (base.features if base else None) or ()}

    def current(self, name: str) -> FeatureSummary | None:
        feature = self._current.get(name)
        return feature.summary() if feature else None

    def baseline(self, name: str) -> FeatureSummary | None:
        feature = self._baseline.get(name)
        return feature.summary() if feature else None


def _finding(
    violation: Violation,
    said: Said,
    kind: MonitorKind,
    parsed: ParsedRun,
    summaries: _Summaries,
    percent_sibling: bool,
) -> Finding:
    check = violation.check
    # an own container's check without a description leaves nothing unread
    is_parsed = check in KNOWN_CHECKS and (said.recognised or not violation.description)
    # an own container may write items of any monitor's shape: the shape makes the subject
    shape = violation.kind
    finding_kind = kind if MonitorKind.CUSTOM in (kind, shape) else shape
    if check in COLUMN_CHECKS:
        columns = _columns(check, parsed)
        return _made(violation, finding_kind, Subject(columns=columns), said, is_parsed)
    if shape is MonitorKind.BIAS:
        return _bias_finding(violation, finding_kind, said, parsed.baseline_analysis, is_parsed)
    if shape is MonitorKind.EXPLAINABILITY:
        return _attribution_finding(violation, finding_kind, said, parsed, is_parsed)
    if violation.metric_name and not violation.feature_name:
        metric = snake_case(violation.metric_name)
        constraints = parsed.baseline_constraints
        if said.threshold is None and constraints:
            said = msgspec.structs.replace(said, threshold=constraints.threshold(check, metric))
        return _made(violation, finding_kind, Subject(metric=metric), said, is_parsed)
    feature = violation.feature_name
    current, baseline = summaries.current(feature), summaries.baseline(feature)
    said, reasons = _as_fraction(said, check, current, percent_sibling)
    if said.threshold is None and parsed.baseline_constraints:
        said = msgspec.structs.replace(
            said, threshold=parsed.baseline_constraints.threshold(check, feature)
        )
    return _made(
        violation,
        finding_kind,
        Subject(feature=feature or None),
        said,
        is_parsed,
        baseline=baseline,
        current=current,
        reasons=reasons,
    )


def _made(
    violation: Violation,
    kind: MonitorKind,
    subject: Subject,
    said: Said,
    is_parsed: bool,
    *,
    baseline: FeatureSummary | None = None,
    current: FeatureSummary | None = None,
    reasons: tuple[Reason, ...] = (),
) -> Finding:
    return Finding(
        kind=kind,
        check=violation.check,
        subject=subject,
        observed=said.observed,
        threshold=said.threshold,
        direction=_DIRECTION_OF_CHECK.get(violation.check),
        parsed=is_parsed,
        description=violation.description,
        unit=_UNIT_OF_CHECK.get(violation.check),
        distance=_apart(said.observed, said.threshold),
        standard_deviation=said.standard_deviation,
        baseline=baseline,
        current=current,
        reasons=reasons,
    )


def _apart(observed: float | None, expected: float | None) -> float | None:
    return abs(observed - expected) if observed is not None and expected is not None else None


def _as_fraction(
    said: Said, check: str, current: FeatureSummary | None, percent_sibling: bool
) -> tuple[Said, tuple[Reason, ...]]:
    """Bring percentages to fractions of 1.

    The threshold is a true percentage in every version; the observed number beside it is one in the
    current version and a fraction, in spite of its % sign, in an older one. docs/decisions has the
    evidence. At 0, above 1, and where statistics or a sibling tell, nothing is assumed.
    """
    if not said.in_percent:
        return said, ()
    observed = said.observed
    reasons: tuple[Reason, ...] = ()
    if observed is not None and 0 < observed <= 1:
        completeness = current.completeness if current and check == "completeness_check" else None
        if completeness is not None:
            is_fraction = abs(observed - completeness) <= abs(observed / 100 - completeness)
            reasons = (Reason.PERCENTAGE_SETTLED_BY_STATISTICS,)
        elif percent_sibling:
            is_fraction = False
            reasons = (Reason.PERCENTAGE_SETTLED_BY_SIBLING,)
        else:
            is_fraction = True
            reasons = (Reason.PERCENTAGE_ASSUMED_FRACTION,)
        observed = observed if is_fraction else observed / 100
    elif observed is not None:
        observed = observed / 100
    threshold = said.threshold / 100 if said.threshold is not None else None
    return msgspec.structs.replace(
        said, observed=observed, threshold=threshold, in_percent=False
    ), reasons


def _columns(check: str, parsed: ParsedRun) -> tuple[str, ...]:
    """Names of the missing or extra columns, where the run left a file that names its columns."""
    expected = _feature_names(parsed.baseline_constraints, parsed.baseline_statistics)
    actual = _feature_names(parsed.constraints, parsed.statistics)
    if not expected or not actual:
        return ()
    missing = check == "missing_column_check"
    return tuple(
        n for n in (expected if missing else actual) if n not in (actual if missing else expected)
    )


def _feature_names(*files: object) -> dict[str, None]:
    for file in files:
        features = getattr(file, "features", None)
        if features:
            return dict.fromkeys(f.name for f in features)
    return {}


def _bias_finding(
    violation: Violation, kind: MonitorKind, said: Said, baseline: Analysis | None, is_parsed: bool
) -> Finding:
    metric = violation.metric_name
    if said.threshold is None and baseline:
        threshold = baseline.bias_value(violation.facet, violation.facet_value, metric)
        said = msgspec.structs.replace(said, threshold=threshold)
    neutral = _NEUTRAL_OF_BIAS_METRIC.get(metric, 0.0)
    return Finding(
        kind=kind,
        check=violation.check,
        subject=Subject(
            metric=metric or None,
            facet=violation.facet or None,
            facet_value=violation.facet_value or None,
        ),
        observed=said.observed,
        threshold=said.threshold,
        direction=_DIRECTION_OF_CHECK[BIAS_CHECK],
        parsed=is_parsed,
        description=violation.description,
        distance=_apart(said.observed, neutral),
    )


def _attribution_finding(
    violation: Violation, kind: MonitorKind, said: Said, parsed: ParsedRun, is_parsed: bool
) -> Finding:
    label = violation.label
    shifts: tuple[AttributionShift, ...] = ()
    reasons: tuple[Reason, ...] = ()
    if parsed.analysis and parsed.baseline_analysis:
        shifts = attribution_shifts(
            parsed.baseline_analysis.attributions(label), parsed.analysis.attributions(label)
        )
        score = ndcg(shifts)
        if score is not None and said.observed is not None and abs(score - said.observed) > 1e-6:
            reasons = (Reason.ATTRIBUTION_SCORE_DISAGREES,)
    return Finding(
        kind=kind,
        check=violation.check,
        subject=Subject(metric=violation.metric_name or None, label=label or None),
        observed=said.observed,
        threshold=said.threshold,
        direction=_DIRECTION_OF_CHECK[ATTRIBUTION_CHECK],
        parsed=is_parsed,
        description=violation.description,
        unit=_UNIT_OF_CHECK[ATTRIBUTION_CHECK],
        distance=_apart(said.observed, said.threshold),
        shifts=shifts,
        reasons=reasons,
    )
