"""What a policy makes of one finding: each value with the line that set it, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from guiderail.model.finding import Subject
from guiderail.model.incident import Incident, IncidentState, Scope, SetBy
from guiderail.model.judgement import Effective
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import ActionKind, Cause, Layer, Policy, RemediationMode, Route
from guiderail.services.explaining import span
from guiderail.services.judging import PolicyIndex, RunLabels
from guiderail.services.labels import labels_of, matches, routes_for
from guiderail.services.notices import group_labels
from guiderail.services.tightening import CANNOT_TIGHTEN
from guiderail.services.triage import cause_of

from guiderail_cli.policy_file.document import Node, Path
from guiderail_cli.policy_file.receivers import fallbacks, receiver_words
from guiderail_cli.policy_file.remediation_checks import what_happens
from guiderail_cli.policy_file.useless import MONITOR_OF_CHECK

BUILT_IN = "built in"
_NOT_SET = {
    "threshold": "the report's own",
    "direction": "the report's own",
    "minimum_rows": "any",
    "route": "by the tree",
    "mute_until": "not muted",
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The finding that is asked about."""

    account: str
    region: str
    endpoint: str
    schedule: str
    monitor: MonitorKind
    check: str
    subject: Subject
    tags: Mapping[str, str]


class Value(msgspec.Struct, frozen=True):
    """A value that holds, the rule that set it, and the line where it stands (0: built in)."""

    name: str
    text: str
    rule: str
    line: int


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done about the finding if nothing else fired; ``mode`` is None if it is blocked."""

    name: str
    line: int
    kind: ActionKind
    cause: Cause
    mode: RemediationMode | None
    text: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a finding; ``reached`` and ``fallbacks`` tell channels and stand-ins by receiver."""

    values: tuple[Value, ...]
    routes: tuple[Route, ...]
    labels: dict[str, str]
    sentences: tuple[str, ...]
    remediation: Proposed | None = None
    reached: dict[str, list[dict[str, str]]] = {}
    fallbacks: dict[str, list[str]] = {}

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; durations in seconds."""
        return {
            "values": {
                v.name: {"is": v.text, "rule": v.rule, "line": v.line or None} for v in self.values
            },
            "labels": self.labels,
            "routes": [
                {
                    "name": route.name,
                    "line": route.line or None,
                    "receiver": route.receiver,
                    "channels": self.reached.get(route.receiver, []),
                    "fallbacks": self.fallbacks.get(route.receiver, []),
                    "group": group_labels(route, self.labels),
                    "group_wait": route.group_wait,
                    "group_interval": route.group_interval,
                    "repeat_interval": route.repeat_interval,
                    "active": list(route.active),
                    "escalation": [
                        {
                            "after": step.after,
                            "receiver": step.receiver,
                            "channels": self.reached.get(step.receiver, []),
                        }
                        for step in route.escalation
                    ],
                    "at_most": msgspec.to_builtins(route.at_most),
                }
                for route in self.routes
            ],
            "remediation": msgspec.to_builtins(self.remediation),
            "sentences": list(self.sentences),
        }


def monitor_of(check: str) -> MonitorKind | None:
    """The monitor that writes a check; None where several or none do."""
    return MONITOR_OF_CHECK.get(check)


def explain_finding(policy: Policy, document: Node, asked: Asked) -> Explained:
    """Resolve a finding as the function does, and say where each value comes from."""
    index = PolicyIndex(policy)
    run = RunLabels(
        account=asked.account,
        region=asked.region,
        endpoint=asked.endpoint,
        schedule=asked.schedule,
        monitor=asked.monitor,
        tags=asked.tags,
    )
    rules = index.for_run(run)
    resolved = rules.resolve(asked.monitor, asked.check, asked.subject)
    group = rules.feature_group(asked.subject)
    incident = _incident(asked, resolved.values, group)
    labels = _labels(asked, incident)
    lines = _Lines(policy, document)
    routes = routes_for(policy.route, labels, resolved.values.route)
    sentences = [*_about(policy, asked, group, labels)]
    for route in routes:
        sentences += [_route(route, labels), *_reached(policy, route)]
    proposed = _proposed(policy, resolved.values.remediation, incident)
    if proposed:
        sentences.append(
            f"Remediation {proposed.name} (line {proposed.line}): {proposed.kind}, {proposed.text}."
        )
        sentences.append(
            "What else fires on the endpoint may change the cause, and guard rails may block it."
        )
    if index.needs_tags(run) and not asked.tags:
        sentences.append("A rule that may match asks for tags; name them with --tag.")
    return Explained(
        values=tuple(_values(resolved.values, resolved.set_by, lines)),
        routes=routes,
        labels=labels,
        # escalation and routes may name a receiver twice
        sentences=tuple(dict.fromkeys(sentences)),
        remediation=proposed,
        reached={
            name: [{"name": c.name, "kind": c.kind.value} for c in receiver.channels]
            for name, receiver in policy.receivers.items()
        },
        fallbacks={name: list(fallbacks(policy.receivers, name)) for name in policy.receivers},
    )


class _Lines:
    """Where each value of each rule stands."""

    def __init__(self, policy: Policy, document: Node) -> None:
        self._document = document
        self._paths: dict[tuple[str, int], Path] = {}
        counts = {Layer.MODEL: 0, Layer.RULE: 0}
        for rule in policy.rules:
            path: Path = ("defaults",)
            if rule.layer is not Layer.DEFAULTS:
                section = "models" if rule.layer is Layer.MODEL else "rules"
                path = (section, counts[rule.layer], "set")
                counts[rule.layer] += 1
            self._paths[rule.name, rule.line] = path

    def of(self, set_by: SetBy, key: Path) -> int:
        path = self._paths.get((set_by.name, set_by.line))
        return self._document.place((*path, *key), of_key=True)[0] if path else set_by.line


def _values(values: Effective, set_by: Mapping[str, SetBy], lines: _Lines) -> Iterator[Value]:
    for field in values.__struct_fields__:
        if field == "labels":
            for label, text in values.labels.items():
                by = set_by[f"labels.{label}"]
                yield Value(f"labels.{label}", text, by.name, lines.of(by, ("labels", label)))
            continue
        name = "for" if field == "runs_needed" else field
        source, value = set_by.get(field), getattr(values, field)
        if source is not None:
            yield Value(name, _text(value), source.name, lines.of(source, (name,)))
        elif field in ("severity", "runs_needed") or field in _NOT_SET:
            yield Value(name, _NOT_SET.get(field) or _text(value), BUILT_IN, 0)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "of"):
        return f"{value.count} of {value.of}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _labels(asked: Asked, incident: Incident) -> dict[str, str]:
    scope = Scope(
        account=asked.account, region=asked.region, schedule=asked.schedule, endpoint=asked.endpoint
    )
    return labels_of(scope, incident)


def _proposed(policy: Policy, name: str, incident: Incident) -> Proposed | None:
    action = policy.remediations.get(name)
    if action is None:
        return None
    cause = cause_of((incident,))
    mode, text = what_happens(action, cause)
    return Proposed(
        name=name, line=action.line, kind=action.kind, cause=cause, mode=mode, text=text
    )


def _incident(asked: Asked, values: Effective, group: str) -> Incident:
    never = datetime.min.replace(tzinfo=UTC)
    return Incident(
        id="",
        kind=asked.monitor,
        check=asked.check,
        subject=asked.subject,
        state=IncidentState.OPEN,
        severity=values.severity,
        reason=Reason.FIRST_SEEN,
        first_seen=never,
        last_seen=never,
        owner=values.owner,
        labels=values.labels,
        feature_group=group,
    )


def _about(policy: Policy, asked: Asked, group: str, labels: Mapping[str, str]) -> Iterator[str]:
    if group:
        yield f"{asked.subject.feature} belongs to the feature group {group}."
    if asked.check in CANNOT_TIGHTEN:
        why = CANNOT_TIGHTEN[asked.check].rstrip(".")
        yield f"A threshold can loosen {asked.check}, not tighten it: {why}."
    for inhibition in policy.inhibitions:
        if matches(inhibition.target, labels):
            where = f" (line {inhibition.line})" if inhibition.line else f" ({BUILT_IN})"
            yield (
                f"It is hidden while an incident of {_source(inhibition.source.check)} fires on the same "
                f"{', '.join(inhibition.same)}: {inhibition.name}{where}."
            )


def _source(checks: tuple[str, ...]) -> str:
    return " or ".join(checks) or "the inhibition's source"


def _route(route: Route, labels: Mapping[str, str]) -> str:
    where = f" (line {route.line})" if route.line else f" ({BUILT_IN})"
    common = ", ".join(f"{k}={v or 'none'}" for k, v in group_labels(route, labels).items())
    told = (
        f"Route {route.name}{where} tells {route.receiver}; one message for {common or 'everything'}: "
        f"the first after {_span(route.group_wait)}, changes every {_span(route.group_interval)}, "
        f"repeats every {_span(route.repeat_interval)}"
    )
    if route.active:
        told += f"; only within {', '.join(route.active)}"
    if route.at_most:
        most = route.at_most
        told += f"; beyond {most.messages} within {_span(most.within)} in a digest"
    for step in route.escalation:
        told += f"; {step.receiver} after {_span(step.after)} if nobody acknowledges"
    return f"{told}."


def _reached(policy: Policy, route: Route) -> Iterator[str]:
    for name in (route.receiver, *(step.receiver for step in route.escalation)):
        yield f"{receiver_words(policy.receivers, name)}."


def _span(seconds: float) -> str:
    return span(timedelta(seconds=seconds))
