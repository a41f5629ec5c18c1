"""Labels of incidents, and whether they match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from guiderail.model.incident import Incident, Scope
from guiderail.model.policy import Match, Route
from guiderail.services.judging import Alternatives

_MATCHED = (
    "account", "endpoint", "schedule", "feature_group", "monitor", "check", "feature", "metric",
    "facet", "label", "severity", "owner",
)  # fmt: skip


def labels_of(scope: Scope, incident: Incident) -> dict[str, str]:
    """What routes, silences and inhibitions match: the policy's labels and, above them, ours."""
    subject = incident.subject
    labels = {
        **incident.labels,
        "account": scope.account,
        "region": scope.region,
        "schedule": scope.schedule,
        "monitor": incident.kind.value,
        "check": incident.check,
        "severity": incident.severity.value,
    }
    if scope.endpoint:
        labels["endpoint"] = scope.endpoint
    if incident.feature_group:
        labels["feature_group"] = incident.feature_group
    if incident.owner:
        labels["owner"] = incident.owner
    if subject.feature:
        labels["feature"] = subject.feature
    if subject.metric:
        labels["metric"] = subject.metric
    if subject.facet:
        labels["facet"] = subject.facet
    if subject.label:
        labels["label"] = subject.label
    return labels


@lru_cache(maxsize=2048)
def _alternatives(texts: tuple[str, ...]) -> Alternatives:
    return Alternatives(texts)


def matches(match: Match, labels: Mapping[str, str]) -> bool:
    """Whether labels match: for each key that is given, one of its globs; no value matches nothing.

    ``tags`` of the match are looked up among the labels that a policy sets: an incident has no tags.
    """
    for key in _MATCHED:
        globs: tuple[str, ...] = getattr(match, key)
        if globs and not _alternatives(globs).match(labels.get(key, "")):
            return False
    return labels_match(match.tags, labels)


def may_match_check(match: Match, check: str) -> bool:
    """Whether labels with this check can match."""
    return not match.check or _alternatives(match.check).match(check)


def labels_match(globs: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether each label that is named has a value that its glob matches."""
    return all(_alternatives((glob,)).match(labels.get(name, "")) for name, glob in globs.items())


def routes_for(root: Route, labels: Mapping[str, str], named: str = "") -> tuple[Route, ...]:
    """The routes that take an incident; at least the root.

    A rule may name a route itself: the tree is then not asked. A name that is gone from the tree
    (an older ledger) falls back to the tree.
    """
    if named and (route := route_named(root, named)):
        return (route,)
    taken: list[Route] = []
    for child in root.routes:
        if matches(child.match, labels):
            taken.extend(routes_for(child, labels))
            if not child.goes_on:
                break
    return tuple(taken) or (root,)


def route_named(root: Route, name: str) -> Route | None:
    """Find a route anywhere in the tree."""
    return next((route for route in routes_in(root) if route.name == name), None)


def routes_in(root: Route) -> Iterator[Route]:
    """All routes of a tree, each before its children."""
    yield root
    for child in root.routes:
        yield from routes_in(child)
