"""What the policy makes of a run's findings: effective values, and whether each finding counts.

Rules are not scanned per finding. Per run, those that can match its account, endpoint, schedule, monitor
and tags are picked once; per finding, candidates come from a dict by the most selective literal (or
literal end of a glob) that a rule asks for. A key that a rule names must have a value: ``feature:
"*"`` is about findings of features, not about missing columns or a failed run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import translate
from typing import Any

import msgspec

from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import SetBy
from guiderail.model.judgement import Effective, Judgement, Resolved
from guiderail.model.outcome import Direction, MonitorKind, Reason
from guiderail.model.policy import (
    MATCH_KEYS_OF_RUN,
    UNHEALTHY_CHECKS,
    Effect,
    FeatureGroup,
    Layer,
    Policy,
    Rule,
    Severity,
)
from guiderail.model.run import Reading
from guiderail.reports.analysis import neutral_value
from guiderail.reports.run_files import ParsedRun
from guiderail.reports.violations import DRIFT_CHECK, FEED_CHECKS, MODEL_QUALITY_CHECKS
from guiderail.services.tightening import CHECKS_OF_MONITOR, SUBJECT_KEYS_OF_CHECK, measurements

_ERROR_CHECKS = FEED_CHECKS | MODEL_QUALITY_CHECKS
_MILD_OUTCOMES = frozenset({"too_few_rows", "stopped"})

_KEYS = ("feature", "facet", "label", "metric", "feature_group", "check")
"""A finding's keys, the most selective first; values are kept in this order."""

_MOST_FINDINGS = 4096
"""Remembered per run; a warm function must not grow with what it has seen."""


class RunLabels(msgspec.Struct, frozen=True, kw_only=True):
    """What rules match of a run; ``tags`` are the monitoring schedule's, None where not known."""

    account: str
    region: str
    endpoint: str
    schedule: str
    monitor: MonitorKind
    tags: Mapping[str, str] | None = None


def default_severity(check: str) -> Severity:
    """How bad a finding is where no policy says it.

    Error where data or quality is broken and where the run itself is unhealthy; a warning for the
    rest, and for runs that were stopped or had too few rows.
    """
    if check in _ERROR_CHECKS or (check in UNHEALTHY_CHECKS and check not in _MILD_OUTCOMES):
        return Severity.ERROR
    return Severity.WARNING


# --- matching


def is_glob(text: str) -> bool:
    """Whether a text stands for more than itself."""
    return any(c in "*?[" for c in text)


class Alternatives:
    """Globs and literals of one key: any of them may match the whole value, case included."""

    __slots__ = ("_tests", "globs", "literals")

    def __init__(self, texts: Iterable[str]) -> None:
        """Tell literals from globs; compiled when first asked, as most rules are about other endpoints."""
        listed = tuple(texts)
        self._tests: tuple[Callable[[str], object], ...] | None = None
        self.literals = frozenset(text for text in listed if not is_glob(text))
        self.globs = tuple(text for text in listed if is_glob(text))

    def match(self, value: str) -> bool:
        """Whether a value is one of them; an empty value is none and matches nothing."""
        if not value:
            return False
        if value in self.literals:
            return True
        if self._tests is None:
            self._tests = tuple(map(_tested, self.globs))
        return any(test(value) for test in self._tests)

    def anchors(self) -> tuple[tuple[bool, str], ...] | None:
        """A literal end (True) or beginning (False) of each glob; None if one of them has neither."""
        found = tuple(_anchor(glob) for glob in self.globs)
        return found if all(text for _, text in found) else None


def _anchor(glob: str) -> tuple[bool, str]:
    beginning, end = re.split(r"[*?[]", glob, maxsplit=1)[0], re.split(r"[*?\]]", glob)[-1]
    return (True, end) if len(end) > len(beginning) else (False, beginning)


def _tested(glob: str) -> Callable[[str], object]:
    if glob.endswith("*") and not is_glob(beginning := glob[:-1]):
        return lambda value: value.startswith(beginning)
    if glob.startswith("*") and not is_glob(end := glob[1:]):
        return lambda value: value.endswith(end)
    return re.compile(translate(glob)).match


class _Entry:
    """A rule ready for matching; ``rank`` is its place when effects are laid over each other."""

    __slots__ = ("effect", "of_finding", "of_run", "rank", "set_by", "tags")

    def __init__(self, rank: int, rule: Rule) -> None:
        match = rule.match
        self.rank = rank
        self.effect = rule.effect
        self.set_by = SetBy(rule.name, rule.line)
        self.of_run = tuple(
            (key, Alternatives(texts))
            for key in MATCH_KEYS_OF_RUN
            if (texts := getattr(match, key))
        )
        self.of_finding = tuple(
            (place, Alternatives(texts))
            for place, key in enumerate(_KEYS)
            if (texts := getattr(match, key))
        )
        self.tags = tuple((tag, Alternatives((glob,))) for tag, glob in match.tags.items())

    def fits_run(self, labels: RunLabels) -> bool:
        return all(known.match(getattr(labels, key)) for key, known in self.of_run)

    def fits_tags(self, tags: Mapping[str, str]) -> bool:
        return all(known.match(tags.get(tag, "")) for tag, known in self.tags)

    def fits(self, values: tuple[str, ...]) -> bool:
        return all(known.match(values[place]) for place, known in self.of_finding)


_LAYERS = (Layer.DEFAULTS, Layer.MODEL, Layer.RULE)


def specificity(rule: Rule) -> tuple[int, int, int]:
    """Layer, number of literal keys, number of glob keys: the higher wins, among equals the later rule."""
    texts = [getattr(rule.match, key) for key in (*MATCH_KEYS_OF_RUN, *_KEYS)]
    texts += [(glob,) for glob in rule.match.tags.values()]
    named = [any(map(is_glob, alternatives)) for alternatives in texts if alternatives]
    return _LAYERS.index(rule.layer), named.count(False), named.count(True)


class PolicyIndex:
    """A policy made ready for many runs; make one per policy version."""

    def __init__(self, policy: Policy, keep: int = 16) -> None:
        """Order the rules from the weakest to the strongest and index them by endpoint.

        A rule that matches by severity or owner applies to nothing: rules set these, routes match them.
        The rules of ``keep`` schedules are remembered; a function sees few of them, a replay all.
        """
        self._keep = keep
        usable = [r for r in policy.rules if not (r.match.severity or r.match.owner)]
        self._by_endpoint: dict[str, list[_Entry]] = {}
        self._of_any_endpoint: list[_Entry] = []
        for rank, rule in enumerate(sorted(usable, key=specificity)):
            entry = _Entry(rank, rule)
            endpoints = dict(entry.of_run).get("endpoint")
            if endpoints is None or endpoints.globs:
                self._of_any_endpoint.append(entry)
            else:
                for endpoint in endpoints.literals:
                    self._by_endpoint.setdefault(endpoint, []).append(entry)
        self._groups = tuple(_Group(group) for group in policy.feature_groups)
        self._runs: dict[object, RunPolicy] = {}

    def needs_tags(self, labels: RunLabels) -> bool:
        """Whether a rule that could match this run asks for tags."""
        return any(entry.tags for entry in self._entries(labels))

    def for_run(self, labels: RunLabels) -> RunPolicy:
        """The rules of one run; kept for the next run of the same schedule."""
        tags = None if labels.tags is None else frozenset(labels.tags.items())
        known = (labels.account, labels.region, labels.endpoint, labels.schedule, labels.monitor)
        if (rules := self._runs.get((known, tags))) is None:
            if len(self._runs) >= self._keep:
                self._runs.clear()
            groups = [group for group in self._groups if group.fits_run(labels)]
            rules = RunPolicy(labels, list(self._entries(labels)), groups)
            self._runs[known, tags] = rules
        return rules

    def _entries(self, labels: RunLabels) -> Iterator[_Entry]:
        for entries in (self._by_endpoint.get(labels.endpoint, ()), self._of_any_endpoint):
            for entry in entries:
                if entry.fits_run(labels):
                    yield entry


class _Group:
    """A feature group ready for matching."""

    __slots__ = ("_endpoints", "_features", "_schedules", "name")

    def __init__(self, group: FeatureGroup) -> None:
        self.name = group.name
        self._features = Alternatives(group.features or ("*",))
        self._endpoints = Alternatives(group.endpoints) if group.endpoints else None
        self._schedules = Alternatives(group.schedules) if group.schedules else None

    def fits_run(self, labels: RunLabels) -> bool:
        return (self._endpoints is None or self._endpoints.match(labels.endpoint)) and (
            self._schedules is None or self._schedules.match(labels.schedule)
        )

    def has(self, feature: str) -> bool:
        return self._features.match(feature)


class RunPolicy:
    """The rules that can match findings of one run.

    Attributes:
        minimum_rows: Rows that the policy asks of the run as a whole; None where it says nothing.
        tightened: Checks of this monitor for which a rule sets a threshold, and whose numbers stand in
            files: findings may be there that the service did not report.
        tags_unknown: A rule asks for tags and the run's are not known, so the rule does not apply
            (``Reason.TAGS_UNKNOWN``).
    """

    def __init__(self, labels: RunLabels, entries: list[_Entry], groups: list[_Group]) -> None:
        """Take what ``PolicyIndex.for_run`` picked."""
        tags = labels.tags
        self.tags_unknown = tags is None and any(entry.tags for entry in entries)
        fitting = [e for e in entries if not e.tags or (tags is not None and e.fits_tags(tags))]
        self._groups = groups
        self._group_of: dict[str, str] = {}
        self._entries = {entry.rank: entry for entry in fitting}
        self._always = sorted(entry.rank for entry in fitting if not entry.of_finding)
        self._exact: dict[tuple[int, str], list[_Entry]] = {}
        self._anchored: dict[tuple[int, bool, int], dict[str, list[_Entry]]] = {}
        self._scanned: list[_Entry] = []
        for entry in fitting:
            if entry.of_finding:
                self._place(entry)
        self._resolved: dict[tuple[str, Subject], Resolved] = {}
        self._laid: dict[tuple[Severity, tuple[int, ...]], Resolved] = {}
        wanted = [self._entries[rank].effect.minimum_rows for rank in self._always]
        self.minimum_rows = next((n for n in reversed(wanted) if n is not None), None)
        setters = [entry for entry in fitting if entry.effect.threshold is not None]
        self.tightened = frozenset(
            check
            for check in CHECKS_OF_MONITOR.get(labels.monitor, ())
            if any(_may_concern(entry, check) for entry in setters)
        )

    def resolve(self, kind: MonitorKind, check: str, subject: Subject) -> Resolved:
        """The values that hold for a finding, and the lines that set them.

        ``kind`` changes nothing: rules match the run's monitor, which is one for all its findings.
        """
        asked = (check, subject)
        if (resolved := self._resolved.get(asked)) is None:
            if len(self._resolved) >= _MOST_FINDINGS:
                self._resolved.clear()
            resolved = self._resolved[asked] = self._lay(
                default_severity(check), self._ranks(*asked)
            )
        return resolved

    def feature_group(self, subject: Subject) -> str:
        """The first feature group of the policy that has the subject's feature; empty for none."""
        feature = subject.feature
        if not feature or not self._groups:
            return ""
        if (name := self._group_of.get(feature)) is None:
            if len(self._group_of) >= _MOST_FINDINGS:
                self._group_of.clear()
            name = next((group.name for group in self._groups if group.has(feature)), "")
            self._group_of[feature] = name
        return name

    def _place(self, entry: _Entry) -> None:
        """Put a rule where a finding that it may match will look for it."""
        # all alternatives literal first, then literal ends; any check is shared by most findings
        keys = dict(entry.of_finding)
        check = _KEYS.index("check")
        subject_keys = [(place, known) for place, known in keys.items() if place != check]
        of_check = [(check, keys[check])] if check in keys else []
        for place, known in subject_keys:
            if not known.globs:
                return self._hang(entry, place, known, ())
        for place, known in (*subject_keys, *of_check):
            if (anchors := known.anchors()) is not None:
                return self._hang(entry, place, known, anchors)
        return self._scanned.append(entry)

    def _hang(
        self,
        entry: _Entry,
        place: int,
        known: Alternatives,
        anchors: tuple[tuple[bool, str], ...],
    ) -> None:
        for literal in known.literals:
            self._exact.setdefault((place, literal), []).append(entry)
        for at_end, text in anchors:
            of_length = self._anchored.setdefault((place, at_end, len(text)), {})
            of_length.setdefault(text, []).append(entry)

    def _ranks(self, check: str, subject: Subject) -> tuple[int, ...]:
        """Ranks of the rules that match a finding, the weakest first."""
        group = self.feature_group(subject)
        named = (subject.feature, subject.facet, subject.label, subject.metric, group, check)
        values = tuple(value or "" for value in named)
        candidates = list(self._scanned)
        for asked in enumerate(values):
            candidates += self._exact.get(asked, ())
        for (place, at_end, length), by_text in self._anchored.items():
            value = values[place]
            candidates += by_text.get(value[-length:] if at_end else value[:length], ())
        matched = {entry.rank for entry in candidates if entry.fits(values)}
        return tuple(sorted([*self._always, *matched]))

    def _lay(self, severity: Severity, ranks: tuple[int, ...]) -> Resolved:
        """Lay the effects of rules over each other; many findings share one outcome."""
        if (resolved := self._laid.get((severity, ranks))) is None:
            if len(self._laid) >= _MOST_FINDINGS:
                self._laid.clear()
            resolved = _laid(severity, [self._entries[rank] for rank in ranks])
            self._laid[severity, ranks] = resolved
        return resolved


def _may_concern(entry: _Entry, check: str) -> bool:
    """Whether a rule can match findings of a check, as far as the check alone tells."""
    has = SUBJECT_KEYS_OF_CHECK[check]
    for place, known in entry.of_finding:
        key = _KEYS[place]
        if not (known.match(check) if key == "check" else key in has):
            return False
    return True


_FIELDS = Effect.__struct_fields__


def _laid(severity: Severity, entries: list[_Entry]) -> Resolved:
    values: dict[str, Any] = {"severity": severity}
    labels: dict[str, str] = {}
    set_by: dict[str, SetBy] = {}
    for entry in entries:
        for field in _FIELDS:
            value = getattr(entry.effect, field)
            if value is None:
                continue
            if field == "labels":
                labels.update(value)
                set_by.update({f"labels.{label}": entry.set_by for label in value})
            else:
                values[field] = value
                set_by[field] = entry.set_by
    return Resolved(Effective(**values, labels=labels), set_by)


# --- judging


def is_beyond(observed: float, threshold: float, direction: Direction, metric: str) -> bool | None:
    """Whether a value is on the bad side of a threshold; None where one number cannot tell.

    ``farther_from_zero`` is measured from the bias metric's neutral value, 1 for the ratio DI.
    """
    if direction is Direction.ABOVE:
        return observed > threshold
    if direction is Direction.BELOW:
        return observed < threshold
    if direction is Direction.FARTHER_FROM_ZERO:
        neutral = neutral_value(metric)
        return abs(observed - neutral) > abs(threshold - neutral)
    if direction is Direction.MISMATCH:
        return observed != threshold
    return None


def judge(
    rules: RunPolicy, reading: Reading, parsed: ParsedRun, now: datetime
) -> tuple[Judgement, ...]:
    """Judge every finding of a run, and those that only the policy's thresholds make.

    Each finding of the report has exactly one judgement, in the report's order. An unhealthy run has
    one of its own before them, with the outcome as check; findings of its report do not count, and
    its files prove nothing. A finding whose number or side is not known counts: alerts fail open.

    Args:
        rules: The policy's rules for this run.
        reading: The run's outcome and findings.
        parsed: The run's files, for thresholds tighter than the service's.
        now: The time against which ``mute_until`` holds.
    """
    if reading.outcome.is_unhealthy:
        own = _judged(rules, _of_the_run(reading), None, now)
        findings = [_judged(rules, f, reading.rows, now) for f in reading.findings]
        return (
            own,
            *(msgspec.structs.replace(j, reason=Reason.UNHEALTHY_RUN) for j in findings),
        )
    judged = [_judged(rules, finding, reading.rows, now) for finding in reading.findings]
    if rules.tightened:
        judged += [
            _judged(rules, finding, reading.rows, now, is_derived=True)
            for finding in _found_by_policy(rules, reading, parsed)
        ]
    return tuple(judged)


def _of_the_run(reading: Reading) -> Finding:
    return Finding(
        kind=reading.monitor,
        check=reading.outcome.value,
        subject=Subject(),
        observed=None,
        threshold=None,
        direction=None,
        parsed=True,
        description="; ".join(reading.evidence) or ", ".join(reading.reasons),
    )


def _judged(
    rules: RunPolicy,
    finding: Finding,
    rows: int | None,
    now: datetime,
    *,
    is_derived: bool = False,
) -> Judgement:
    resolved = rules.resolve(finding.kind, finding.check, finding.subject)
    values = resolved.values
    effective, beyond = _under(finding, resolved)
    if beyond is False:
        reason = Reason.WITHIN_THRESHOLD
    elif rows is not None and rows < values.minimum_rows:
        reason = Reason.BELOW_MIN_ROWS
    elif values.mute_until is not None and _aware(values.mute_until) > now:
        reason = Reason.MUTED
    else:
        reason = Reason.SHADOW if values.shadow else Reason.COUNTS
    return Judgement(
        finding=_worded(effective) if is_derived else effective,
        reason=reason,
        effective=values,
        set_by=resolved.set_by,
        service_threshold=finding.threshold,
        is_derived=is_derived,
        feature_group=rules.feature_group(finding.subject),
    )


def _under(finding: Finding, resolved: Resolved) -> tuple[Finding, bool | None]:
    """The finding with the policy's threshold, and whether it is beyond it; None: cannot be told."""
    values, observed = resolved.values, finding.observed
    if observed is None or (values.threshold is None and values.direction is None):
        return finding, None
    threshold = finding.threshold if values.threshold is None else values.threshold
    direction = values.direction or finding.direction
    metric, distance = finding.subject.metric or "", finding.distance
    beyond = None
    if threshold is not None and direction is not None:
        beyond = is_beyond(observed, threshold, direction, metric)
        from_neutral = direction is Direction.FARTHER_FROM_ZERO
        distance = abs(observed - (neutral_value(metric) if from_neutral else threshold))
    effective = msgspec.structs.replace(
        finding, threshold=threshold, direction=direction, distance=distance
    )
    return effective, beyond


def _found_by_policy(rules: RunPolicy, reading: Reading, parsed: ParsedRun) -> Iterator[Finding]:
    """What the files show beyond a threshold of the policy and the report does not list."""
    reported = {(finding.check, finding.subject) for finding in reading.findings}
    constraints = parsed.baseline_constraints
    drift_reported = None
    if constraints and constraints.compares_distributions:
        drift_reported = constraints.threshold(DRIFT_CHECK, "")

    def wants(check: str, subject: Subject) -> bool:
        if check not in rules.tightened or (check, subject) in reported:
            return False
        threshold = rules.resolve(reading.monitor, check, subject).values.threshold
        if threshold is None:
            return False
        # distances cost a millisecond each: what is beyond the service's own threshold is reported
        return check != DRIFT_CHECK or drift_reported is None or threshold < drift_reported

    for measured in measurements(parsed, reading.monitor, wants):
        resolved = rules.resolve(measured.kind, measured.check, measured.subject)
        if _under(measured, resolved)[1]:
            # a feature that a damaged file lists twice is found once
            reported.add((measured.check, measured.subject))
            yield _with_figures(measured, parsed)


def _with_figures(finding: Finding, parsed: ParsedRun) -> Finding:
    """The finding with its feature's figures, as those of the report have them."""
    feature, now, base = finding.subject.feature, parsed.statistics, parsed.baseline_statistics
    if feature is None:
        return finding
    return msgspec.structs.replace(
        finding,
        current=now.feature(feature) if now else None,
        baseline=base.feature(feature) if base else None,
    )


_SIDES = {
    Direction.ABOVE: "above",
    Direction.BELOW: "below",
    Direction.MISMATCH: "other than",
}


def _worded(finding: Finding) -> Finding:
    """A derived finding with its sentence; ``finding`` has the policy's threshold."""
    neutral = neutral_value(finding.subject.metric or "")
    side = _SIDES.get(finding.direction or Direction.ABOVE, f"farther from {neutral:g} than")
    return msgspec.structs.replace(
        finding,
        description=f"{finding.observed:.6g} is {side} the policy's threshold {finding.threshold:g}; "
        "the service saw no violation",
        reasons=(*finding.reasons, Reason.FOUND_BY_POLICY),
    )


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
