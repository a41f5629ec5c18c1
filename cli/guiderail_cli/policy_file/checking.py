"""What is wrong with a policy beyond its shape: names, contradictions, thresholds that cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import (
    GROUP_KEYS,
    UNHEALTHY_CHECKS,
    Effect,
    Layer,
    Match,
    Policy,
    Route,
    Rule,
    Severity,
)
from guiderail.reports.violations import COLUMN_CHECKS, FEED_CHECKS, KNOWN_CHECKS
from guiderail.services.tightening import CANNOT_TIGHTEN
from guiderail.services.upstream import UPSTREAM_CHECK

from guiderail_cli.policy_file import models
from guiderail_cli.policy_file.document import Node, Path, field_name
from guiderail_cli.policy_file.globs import matches_any
from guiderail_cli.policy_file.problems import Level, Problem
from guiderail_cli.policy_file.receivers import ALWAYS_DECLARED, receiver_troubles
from guiderail_cli.policy_file.remediation_checks import remediation_troubles
from guiderail_cli.policy_file.useless import UselessEntries
from guiderail_cli.policy_file.values import shown, suggestion

CHECKS = (*sorted(KNOWN_CHECKS), *UNHEALTHY_CHECKS)
"""Checks that a rule may be about; own containers may have others."""

INCIDENT_CHECKS = (
    *CHECKS,
    UPSTREAM_CHECK,
    Reason.POLICY_MISSING,
    Reason.POLICY_UNREADABLE,
)
"""Checks that an incident may have."""

WITHOUT_NUMBERS = COLUMN_CHECKS | frozenset(UNHEALTHY_CHECKS)
"""Checks that compare no value with a threshold."""

_SHARES = (FEED_CHECKS - COLUMN_CHECKS) | {"feature_attribution_drift_check"}


def check(
    parsed: models.PolicyFile, policy: Policy, document: Node, file: str, now: datetime
) -> Iterator[Problem]:
    """Yield what is wrong or useless in a policy whose shape is right.

    Args:
        parsed: The file as written.
        policy: What it compiles to.
        document: Where everything stands.
        file: Its name, for the problems.
        now: The time against which ``mute_until`` is checked.
    """
    checker = _Checker(parsed, policy, document, file, now)
    yield from checker.problems()


class _Checker:
    def __init__(
        self, parsed: models.PolicyFile, policy: Policy, document: Node, file: str, now: datetime
    ) -> None:
        self._parsed, self._policy, self._document = parsed, policy, document
        self._file, self._now = file, now
        self._rules = list(_rules_with_paths(policy))
        self._routes = list(_routes_with_paths(policy.route, ("routes",)))
        self._route_names = {route.name for route, _ in self._routes}
        self._labels = {name for rule in policy.rules for name in rule.effect.labels or ()}

    def problems(self) -> Iterator[Problem]:
        yield from self._names()
        for rule, path in self._rules:
            yield from self._rule(rule, path)
        yield from self._contradictions()
        yield from self._tree()
        yield from self._inhibitions()
        yield from self._windows()
        yield from self._receivers()
        yield from self._remediations()
        yield from self._useless()

    # --- names

    def _names(self) -> Iterator[Problem]:
        named = [(r.name, path) for r, path in self._rules if r.layer is not Layer.DEFAULTS]
        yield from self._twice(named, "name")
        yield from self._twice([(r.name, path) for r, path in self._routes], "name")
        groups = [
            (g.name, ("feature_groups", n)) for n, g in enumerate(self._parsed.feature_groups)
        ]
        yield from self._twice(groups, "name")

    def _twice(self, named: Iterable[tuple[str, Path]], key: str) -> Iterator[Problem]:
        first: dict[str, Path] = {}
        for name, path in named:
            if name in first:
                line = self._document.place(first[name])[0]
                yield self._error(
                    (*path, key),
                    f"the name {shown(name)} stands on line {line} too",
                    "Give each its own name: decisions are explained by it",
                )
            first.setdefault(name, path)

    def _known(
        self, name: str, known: Collection[str], path: Path, what: str, remedy: str
    ) -> Iterator[Problem]:
        if name not in known:
            near = suggestion(name, known)
            told = f"{what} {shown(name)} is not declared"
            yield self._error(path, told, f"{near} {remedy}" if near else remedy)

    # --- rules

    def _rule(self, rule: Rule, path: Path) -> Iterator[Problem]:
        of_set = path if rule.layer is Layer.DEFAULTS else (*path, "set")
        effect = rule.effect
        if rule.layer is not Layer.DEFAULTS:
            if effect == Effect():
                yield self._error(of_set, "the rule sets nothing", "Set a value or remove the rule")
            if rule.match == Match():
                yield self._error(
                    (*path, "match"),
                    "the rule says not what it is about",
                    'Write its values below defaults, or match endpoint: "*"',
                )
        yield from self._match(rule.match, (*path, "match"), CHECKS)
        yield from self._threshold(rule, path, of_set)
        if effect.route is not None:
            yield from self._known(
                effect.route,
                self._route_names,
                (*of_set, "route"),
                "the route",
                "Name a route of the section routes",
            )
        if effect.remediation is not None:
            yield from self._known(
                effect.remediation,
                self._parsed.remediations,
                (*of_set, "remediation"),
                "the remediation",
                "Declare it below remediations",
            )
        if effect.mute_until is not None and effect.mute_until <= self._now:
            yield self._warning(
                (*of_set, "mute_until"),
                f"{effect.mute_until.isoformat()} is in the past",
                "Nothing is muted; remove the line",
            )
        for label in effect.labels or ():
            if label in GROUP_KEYS:
                yield self._error(
                    (*of_set, "labels", label),
                    f"{label} is a label of Guiderail's own",
                    "Choose another name",
                )

    def _match(self, match: Match, path: Path, checks: Collection[str]) -> Iterator[Problem]:
        for place, glob in enumerate(match.monitor):
            if not matches_any(glob, MonitorKind):
                yield self._error(
                    (*path, "monitor", place),
                    f"{shown(glob)} is no monitor",
                    suggestion(glob, MonitorKind) or f"Write one of {', '.join(MonitorKind)}",
                )
        for place, glob in enumerate(match.severity):
            if not matches_any(glob, Severity):
                yield self._error(
                    (*path, "severity", place),
                    f"{shown(glob)} is no severity",
                    suggestion(glob, Severity) or f"Write one of {', '.join(Severity)}",
                )
        for place, glob in enumerate(match.check):
            if glob in (Outcome.CLEAN, Outcome.VIOLATIONS):
                yield self._warning(
                    (*path, "check", place),
                    f"{glob} is the outcome of a healthy run, not a check",
                    "Name a check, or the outcome of an unhealthy run",
                )
            elif not matches_any(glob, checks):
                near = suggestion(glob, checks)
                remedy = "Ignore this if a container of your own writes it"
                yield self._warning(
                    (*path, "check", place),
                    f"{shown(glob)} is no check that Guiderail knows",
                    f"{near} {remedy}" if near else remedy,
                )

    def _threshold(self, rule: Rule, path: Path, of_set: Path) -> Iterator[Problem]:
        key = "direction" if rule.effect.threshold is None else "threshold"
        if getattr(rule.effect, key) is None:
            return
        at = (*of_set, key)
        for glob in rule.match.check:
            known = [name for name in CHECKS if matches_any(glob, (name,))]
            if known and WITHOUT_NUMBERS.issuperset(known):
                yield self._error(
                    at,
                    f"{shown(glob)} has no number to compare with a {key}",
                    "Set severity, for, mute_until or shadow instead",
                )
            elif known and all(name in CANNOT_TIGHTEN for name in known) and key == "threshold":
                why = CANNOT_TIGHTEN[known[0]].rstrip(".")
                yield self._warning(
                    at,
                    f"{shown(glob)} can be loosened, not tightened: {why}",
                    "To tighten it, edit the monitor's own constraints",
                )
        if rule.effect.threshold is None:
            return
        if not rule.match.check and not rule.match.metric:
            yield self._warning(
                at,
                "this threshold holds for every check, whatever its unit",
                "Match a check or a metric beside it",
            )
        elif set(rule.match.check) & _SHARES and not 0 <= rule.effect.threshold <= 1:
            yield self._warning(
                at,
                f"{rule.effect.threshold:g} is no share: this check's values are from 0 to 1",
                "Write 0.95 for 95 %",
            )

    def _contradictions(self) -> Iterator[Problem]:
        first: dict[object, tuple[object, Rule]] = {}
        for rule, path in self._rules:
            about = tuple(frozenset(getattr(rule.match, key)) for key in _LISTED)
            same = (rule.layer, about, frozenset(rule.match.tags.items()))
            for key, value in _values(rule.effect):
                set_before, by = first.setdefault((same, key), (value, rule))
                if set_before != value:
                    told = f"{shown(by.name)} on line {by.line} is about the same"
                    yield self._error(
                        (*path, "set", *key),
                        f"{told} and sets it differently",
                        "Keep one of the two",
                    )

    # --- routes

    def _tree(self) -> Iterator[Problem]:
        receivers = self._parsed.receivers
        known_to_group = {*GROUP_KEYS, *self._labels}
        for route, path in self._routes:
            written = _written(self._parsed.routes, path)
            yield from self._match(route.match, (*path, "match"), INCIDENT_CHECKS)
            told = [(written.receiver, (*path, "receiver"))] if written.receiver else []
            for place, step in enumerate(written.escalation or ()):
                told.append((step.receiver, (*path, "escalation", place, "receiver")))
                if place and step.after <= (written.escalation or [])[place - 1].after:
                    yield self._error(
                        (*path, "escalation", place, "after"),
                        "not later than the step before",
                        "Order the steps by time since the first message",
                    )
            for name, at in told if receivers is not None else ():
                yield from self._known(
                    name,
                    {*(receivers or ()), ALWAYS_DECLARED},
                    at,
                    "the receiver",
                    "Declare it below receivers",
                )
            for place, name in enumerate(written.active or ()):
                yield from self._known(
                    name,
                    self._parsed.hours,
                    (*path, "active", place),
                    "the window",
                    "Declare it below hours",
                )
            for place, name in enumerate(written.group_by or ()):
                yield from self._known(
                    name,
                    known_to_group,
                    (*path, "group_by", place),
                    "the label",
                    f"Known are {', '.join(GROUP_KEYS)} and labels that rules set",
                )

    def _inhibitions(self) -> Iterator[Problem]:
        known = {*GROUP_KEYS, *self._labels}
        for number, inhibition in enumerate(self._parsed.inhibitions or ()):
            path: Path = ("inhibitions", number)
            compiled = self._policy.inhibitions[number]
            for side in ("source", "target"):
                match: Match = getattr(compiled, side)
                yield from self._match(match, (*path, side), INCIDENT_CHECKS)
                if match == Match():
                    yield self._error(
                        (*path, side), f"the {side} matches every incident", "Say which ones"
                    )
            if "endpoint" not in inhibition.same:
                yield self._error(
                    (*path, "same"),
                    "endpoint is not among them",
                    "Add endpoint: what hides others is kept per endpoint",
                )
            for place, name in enumerate(inhibition.same):
                yield from self._known(
                    name,
                    known,
                    (*path, "same", place),
                    "the label",
                    f"Known are {', '.join(GROUP_KEYS)} and labels that rules set",
                )

    def _windows(self) -> Iterator[Problem]:
        for name, windows in self._parsed.hours.items():
            for place, window in enumerate(windows):
                path: Path = ("hours", name, place)
                if window.from_ == window.to:
                    yield self._error(
                        (*path, "to"),
                        "the window has no length",
                        'For the whole day write from: "00:00" and to: "24:00"',
                    )
                elif window.from_ == 1440:
                    yield self._error((*path, "from"), "24:00 is an end", 'Write "00:00"')

    # --- receivers, deliveries

    def _receivers(self) -> Iterator[Problem]:
        troubles = receiver_troubles(
            self._policy,
            declared=self._parsed.receivers is not None,
            replies_declared="allowed" in self._parsed.replies.model_fields_set,
        )
        for trouble in troubles:
            yield self._problem(trouble.level, trouble.path, trouble.message, trouble.remedy)
        terms = self._policy.delivery
        if terms.breaker_pause >= terms.give_up_after:
            yield self._warning(
                ("delivery", "give_up_after"),
                "a message is given up before its channel is tried again",
                "Let it be longer than breaker_pause",
            )

    # --- remediations

    def _remediations(self) -> Iterator[Problem]:
        for trouble in remediation_troubles(self._policy):
            yield self._problem(trouble.level, trouble.path, trouble.message, trouble.remedy)

    # --- what can be left out

    def _useless(self) -> Iterator[Problem]:
        useless = UselessEntries(self._policy, self._labels)
        for rule, path in self._rules:
            if why := useless.dead(rule):
                yield self._warning((*path, "match"), f"the rule can match nothing: {why}", _REMOVE)
            elif why := useless.shadowed(rule):
                yield self._warning(path, f"the rule changes nothing: {why}", _REMOVE)
        if useless.gave_up:
            yield self._warning(
                ("rules",),
                "so many rules with globs that not all were searched for shadowed ones",
                "Nothing follows for the rules that are not named",
            )
        for route, path in self._routes:
            if why := useless.dead_route(route):
                yield self._warning((*path, "match"), f"the route takes nothing: {why}", _REMOVE)

    def _error(self, path: Path, message: str, remedy: str) -> Problem:
        return self._problem(Level.ERROR, path, message, remedy)

    def _warning(self, path: Path, message: str, remedy: str) -> Problem:
        return self._problem(Level.WARNING, path, message, remedy)

    def _problem(self, level: Level, path: Path, message: str, remedy: str) -> Problem:
        line, column = self._document.place(path)
        return Problem(
            level=level,
            file=self._file,
            line=line,
            column=column,
            field=field_name(path),
            message=message,
            remedy=remedy,
        )


_REMOVE = "Mend or remove it"
_LISTED = tuple(field for field in Match.__struct_fields__ if field != "tags")


def _rules_with_paths(policy: Policy) -> Iterator[tuple[Rule, Path]]:
    sections = {Layer.MODEL: "models", Layer.RULE: "rules"}
    counts = dict.fromkeys(sections, 0)
    for rule in policy.rules:
        if rule.layer is Layer.DEFAULTS:
            yield rule, ("defaults",)
        else:
            yield rule, (sections[rule.layer], counts[rule.layer])
            counts[rule.layer] += 1


def _routes_with_paths(route: Route, path: Path) -> Iterator[tuple[Route, Path]]:
    yield route, path
    for place, child in enumerate(route.routes):
        yield from _routes_with_paths(child, (*path, "routes", place))


def _written(root: models.RootRoute, path: Path) -> models.RootRoute | models.ChildRoute:
    here: models.RootRoute | models.ChildRoute = root
    for step in path:
        if isinstance(step, int):
            here = here.routes[step]
    return here


def _values(effect: Effect) -> Iterator[tuple[Path, object]]:
    """What a rule sets, each with its path below ``set``."""
    for field in Effect.__struct_fields__:
        value = getattr(effect, field)
        if field == "labels":
            yield from ((("labels", name), text) for name, text in (value or {}).items())
        elif value is not None:
            yield ("for" if field == "runs_needed" else field,), value
