"""Rules and routes that change nothing: only what is certain is said.

A rule is dead if no finding has what it asks for together. It is shadowed if stronger rules that are
about everything it is about set each of its values.
"""

from __future__ import annotations

from collections.abc import Iterator

from guiderail.model.outcome import MonitorKind
from guiderail.model.policy import UNHEALTHY_CHECKS, Effect, Match, Policy, Route, Rule
from guiderail.reports.violations import (
    ATTRIBUTION_CHECK,
    BIAS_CHECK,
    COLUMN_CHECKS,
    DATA_QUALITY_CHECKS,
    MODEL_QUALITY_CHECKS,
)
from guiderail.services.judging import is_glob, specificity

from guiderail_cli.policy_file.globs import are_apart, contains, matches_any

MONITOR_OF_CHECK = {
    **dict.fromkeys(sorted(DATA_QUALITY_CHECKS), MonitorKind.DATA_QUALITY),
    **dict.fromkeys(sorted(MODEL_QUALITY_CHECKS), MonitorKind.MODEL_QUALITY),
    BIAS_CHECK: MonitorKind.BIAS,
    ATTRIBUTION_CHECK: MonitorKind.EXPLAINABILITY,
}
"""Which monitor of SageMaker's writes a check."""

_SUBJECT_KEYS = ("feature", "feature_group", "metric", "facet", "label")
_SHAPES = {
    MonitorKind.DATA_QUALITY: {"feature", "feature_group"},
    MonitorKind.MODEL_QUALITY: {"metric"},
    MonitorKind.BIAS: {"metric", "facet"},
    MonitorKind.EXPLAINABILITY: {"metric", "label"},
}
"""Keys of a match that one finding may have together, by the monitor whose items look like it."""

_KEYS = tuple(field for field in Match.__struct_fields__ if field != "tags")


_MOST_COMPARED = 500_000
"""Pairs of globs that are compared in search of shadowed rules: some seconds."""

_MOST_SIBLINGS = 200
"""Routes that each of their later siblings is compared with."""


class UselessEntries:
    """Finds the rules and routes of one policy that could be left out."""

    def __init__(self, policy: Policy, labels: set[str]) -> None:
        """Index the rules by something that each of them needs."""
        self._policy = policy
        self._labels = labels
        self._owners = {rule.effect.owner for rule in policy.rules if rule.effect.owner}
        self._groups = [group.name for group in policy.feature_groups]
        self._named_routes = {rule.effect.route for rule in policy.rules if rule.effect.route}
        self._strength = {
            id(rule): (*specificity(rule), place) for place, rule in enumerate(policy.rules)
        }
        self._before = dict(_before(policy.route))
        self._by_literal: dict[tuple[str, str], list[Rule]] = {}
        self._others: list[Rule] = []
        self._left = _MOST_COMPARED
        for rule in sorted(policy.rules, key=lambda r: self._strength[id(r)], reverse=True):
            key = next(
                (k for k in _KEYS if (g := getattr(rule.match, k)) and not any(map(is_glob, g))), ""
            )
            for literal in getattr(rule.match, key) if key else ():
                self._by_literal.setdefault((key, literal), []).append(rule)
            if not key:
                self._others.append(rule)

    @property
    def gave_up(self) -> bool:
        """Whether not all rules were compared with all others that may shadow them."""
        return self._left <= 0

    # --- dead

    def dead(self, rule: Rule) -> str:
        """Why no finding can match a rule; empty if one may."""
        match = rule.match
        return self._no_such_group(match) or _no_such_finding(match)

    def _no_such_group(self, match: Match) -> str:
        unknown = [g for g in match.feature_group if not matches_any(g, self._groups)]
        if match.feature_group and len(unknown) == len(match.feature_group):
            return f"no entry of feature_groups is called {' or '.join(unknown)}"
        return ""

    def dead_route(self, route: Route) -> str:
        """Why a route takes no incident; empty if it may."""
        if route is self._policy.route or route.name in self._named_routes:
            return ""
        return (
            self._no_such_group(route.match)
            or _no_such_finding(route.match)
            or self._nobody_sets(route.match)
            or self._taken_before(route)
        )

    def _nobody_sets(self, match: Match) -> str:
        for name in match.tags:
            if name not in self._labels:
                return f"no rule sets the label {name}"
        if match.owner and not any(matches_any(glob, self._owners) for glob in match.owner):
            return f"no rule sets the owner {' or '.join(match.owner)}"
        return ""

    def _taken_before(self, route: Route) -> str:
        parents, siblings = self._before[id(route)]
        for parent in parents:
            if key := _apart(parent.match, route.match):
                return f"{parent.name} on line {parent.line} above it takes another {key}"
        for sibling in siblings:
            if covers(sibling.match, route.match):
                return f"{sibling.name} on line {sibling.line} takes all of it before"
        return ""

    # --- shadowed

    def shadowed(self, rule: Rule) -> str:
        """Which stronger rules set every value that a rule sets; empty if one of its values may hold."""
        missing = {(field, label) for field, label in _values(rule.effect)}
        by: dict[str, int] = {}
        for other in self._stronger(rule):
            if not missing or self.gave_up:
                break
            taken = missing.intersection(_values(other.effect))
            if taken and self._covers(other.match, rule.match):
                missing -= taken
                by[other.name] = other.line
        if missing or not by:
            return ""
        in_order = sorted(by.items(), key=lambda item: item[1])
        names = ", ".join(f"{name} on line {line}" for name, line in in_order)
        return f"everything it sets is set again by {names}"

    def _stronger(self, rule: Rule) -> Iterator[Rule]:
        """Stronger rules that have something in common with a rule."""
        firsts = [(key, globs[0]) for key in _KEYS if (globs := getattr(rule.match, key))]
        strength = self._strength[id(rule)]
        for rules in (self._others, *(self._by_literal.get(first, []) for first in firsts)):
            for other in rules:
                if self._strength[id(other)] <= strength:
                    break
                yield other

    def _covers(self, wide: Match, narrow: Match) -> bool:
        self._left -= 1 + sum(len(getattr(wide, k)) * len(getattr(narrow, k)) for k in _KEYS)
        return covers(wide, narrow)


def covers(wide: Match, narrow: Match) -> bool:
    """Whether everything that ``narrow`` matches is certainly matched by ``wide``."""
    for key in _KEYS:
        over, under = getattr(wide, key), getattr(narrow, key)
        if over and not (under and all(any(contains(o, u) for o in over) for u in under)):
            return False
    return all(
        tag in narrow.tags and contains(glob, narrow.tags[tag]) for tag, glob in wide.tags.items()
    )


def _apart(one: Match, other: Match) -> str:
    """The key by which two matches certainly have nothing in common; empty if there is none."""
    for key in _KEYS:
        here, there = getattr(one, key), getattr(other, key)
        if here and there and all(are_apart(a, b) for a in here for b in there):
            return key
    return ""


def _before(
    route: Route, parents: tuple[Route, ...] = ()
) -> Iterator[tuple[int, tuple[tuple[Route, ...], tuple[Route, ...]]]]:
    """Per route its parents without the root, and the earlier siblings that let nothing pass on."""
    stopping: tuple[Route, ...] = ()
    for child in route.routes:
        yield id(child), (parents, stopping)
        yield from _before(child, (*parents, child))
        if not child.goes_on and len(stopping) < _MOST_SIBLINGS:
            stopping = (*stopping, child)


def _values(effect: Effect) -> Iterator[tuple[str, str]]:
    for field in Effect.__struct_fields__:
        value = getattr(effect, field)
        if field == "labels":
            yield from (("labels", name) for name in value or ())
        elif value is not None:
            yield field, ""


def _no_such_finding(match: Match) -> str:
    """Why no monitor writes a finding with these keys together; empty if one may."""
    asked = [key for key in _SUBJECT_KEYS if getattr(match, key)]
    if not any(shape.issuperset(asked) for shape in _SHAPES.values()):
        return f"no finding has {' and '.join(asked)} together"
    kinds = [
        k
        for k in MonitorKind
        if not match.monitor or any(matches_any(g, (k,)) for g in match.monitor)
    ]
    if not kinds or (match.monitor and MonitorKind.CUSTOM in kinds):
        return ""  # a misspelt monitor is told as such; own containers write what they like
    if not match.check:
        if match.monitor and not any(_SHAPES[kind].issuperset(asked) for kind in kinds):
            return f"findings of {' and '.join(kinds)} have no {' and '.join(asked)}"
        return ""
    why = ""
    for glob in match.check:
        if is_glob(glob) and not match.monitor:
            return ""
        known = [c for c in (*MONITOR_OF_CHECK, *UNHEALTHY_CHECKS) if matches_any(glob, (c,))]
        reasons = [_not_written(check, kinds, asked) for check in known]
        if not known or not all(reasons):
            return ""
        why = why or reasons[0]
    return why


def _not_written(check: str, kinds: list[MonitorKind], asked: list[str]) -> str:
    """Why these monitors write no finding of a known check with these keys; empty if they do."""
    kind = MONITOR_OF_CHECK.get(check)
    if kind is None:
        return f"an unhealthy run ({check}) has no {' and '.join(asked)}" if asked else ""
    if kind not in kinds:
        return f"{check} is of {kind}, not of {' and '.join(kinds)}"
    has = set() if check in COLUMN_CHECKS else _SHAPES[kind]
    lacking = [key for key in asked if key not in has]
    return f"findings of {check} have no {' and '.join(lacking)}" if lacking else ""
