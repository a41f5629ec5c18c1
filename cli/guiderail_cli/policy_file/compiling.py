"""From the text of ``guiderail.yaml`` to the policy that functions read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from guiderail.model import policy as policy_model
from guiderail.model.outcome import Direction
from guiderail.model.policy import (
    BROKEN_RUN_HIDES_THE_REST,
    ChannelKind,
    DeliveryTerms,
    Effect,
    EscalationStep,
    FeatureGroup,
    GuardRails,
    Inhibition,
    Layer,
    LifeCycle,
    Match,
    Policy,
    RateLimit,
    Receiver,
    RemediationAction,
    Replies,
    Route,
    Rule,
    Upstream,
    Verification,
    WeeklyHours,
)
from msgspec.structs import replace
from pydantic import ValidationError

from guiderail_cli.policy_file import models
from guiderail_cli.policy_file.channels import Channel, written_secrets
from guiderail_cli.policy_file.checking import check
from guiderail_cli.policy_file.document import Node, Path, UnusableFileError, read_document
from guiderail_cli.policy_file.problems import Level, Problem
from guiderail_cli.policy_file.remediations import Remediation
from guiderail_cli.policy_file.shape_errors import empty_values, shape_problems
from guiderail_cli.policy_file.values import WEEKDAYS


class CompiledPolicy(msgspec.Struct, frozen=True):
    """What a file compiles to; ``policy`` is None if any problem is an error."""

    policy: Policy | None
    problems: tuple[Problem, ...] = ()
    document: Node | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the file unusable."""
        return tuple(p for p in self.problems if p.level is Level.ERROR)


def compile_policy(text: str, file: str, now: datetime) -> CompiledPolicy:
    """Check a policy and compile it; nothing is raised for what stands in the text.

    Args:
        text: The YAML.
        file: Its name, for the problems.
        now: The time against which ``mute_until`` is checked.
    """
    try:
        document, problems = read_document(text, file)
    except UnusableFileError as unusable:
        return CompiledPolicy(None, (unusable.problem,))
    problems += empty_values(document, file)
    problems += (secrets := tuple(written_secrets(document, file)))
    try:
        parsed = models.PolicyFile.model_validate(_sections(document))
    except ValidationError as error:
        # a place that holds a secret is told once, by words that do not repeat it
        hidden = {(p.line, p.column) for p in secrets}
        shape = shape_problems(error, document, file)
        problems += (p for p in shape if (p.line, p.column) not in hidden)
        return CompiledPolicy(None, _sorted(problems), document)
    policy = _policy(parsed, document, version_of(text))
    problems += check(parsed, policy, document, file, now)
    usable = all(problem.level is Level.WARNING for problem in problems)
    return CompiledPolicy(policy if usable else None, _sorted(problems), document)


def version_of(text: str) -> str:
    """The version of a policy: the beginning of the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sections(document: Node) -> Any:
    """The file's values; sections without anything in them count as absent."""
    plain = document.plain()
    if plain is None:
        return {}
    if isinstance(plain, dict):
        return {key: value for key, value in plain.items() if value is not None}
    return plain


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda p: (p.line, p.column, p.level, p.message)))


def _policy(parsed: models.PolicyFile, document: Node, version: str) -> Policy:
    def line(*path: str | int, of_key: bool = False) -> int:
        return document.place(path, of_key=of_key)[0]

    rules = []
    if parsed.defaults:
        rules.append(
            Rule(
                name="defaults",
                layer=Layer.DEFAULTS,
                line=line("defaults", of_key=True),
                effect=_effect(parsed.defaults),
            )
        )
    for layer, section, written in (
        (Layer.MODEL, "models", parsed.models),
        (Layer.RULE, "rules", parsed.rules),
    ):
        rules += [
            Rule(
                name=rule.name,
                layer=layer,
                line=line(section, place),
                match=_match(rule.match, rule.match.tag),
                effect=_effect(rule.set),
            )
            for place, rule in enumerate(written)
        ]
    policy = Policy(
        version=version,
        rules=tuple(rules),
        route=_route(parsed.routes, _ROOT, document, ("routes",)),
        hours={
            name: tuple(_weekly(window) for window in windows)
            for name, windows in parsed.hours.items()
        },
        feature_groups=tuple(
            FeatureGroup(
                name=group.name,
                features=tuple(group.features or ()),
                endpoints=tuple(group.endpoints or ()),
                schedules=tuple(group.schedules or ()),
            )
            for group in parsed.feature_groups
        ),
        upstream=Upstream(**dict(parsed.upstream)) if parsed.upstream else None,
        life_cycle=LifeCycle(**dict(parsed.incidents)),
        inhibitions=(BROKEN_RUN_HIDES_THE_REST,),
        receivers={name: _receiver(name, each) for name, each in (parsed.receivers or {}).items()},
        delivery=DeliveryTerms(**dict(parsed.delivery)),
        replies=Replies(allowed=tuple(parsed.replies.allowed)),
        remediations={
            name: _remediation(name, line("remediations", name, of_key=True), each)
            for name, each in parsed.remediations.items()
        },
        guard_rails=GuardRails(
            **dict(parsed.guard_rails) | {"freezes": tuple(parsed.guard_rails.freezes)}
        ),
    )
    if parsed.inhibitions is None:
        return policy
    inhibitions = tuple(
        Inhibition(
            name=inhibition.name,
            source=_match(inhibition.source, inhibition.source.labels),
            target=_match(inhibition.target, inhibition.target.labels),
            line=line("inhibitions", place),
            same=tuple(inhibition.same),
        )
        for place, inhibition in enumerate(parsed.inhibitions)
    )
    return replace(policy, inhibitions=inhibitions)


_MATCHED = tuple(field for field in Match.__struct_fields__ if field != "tags")


def _match(written: models.RuleMatch | models.IncidentMatch, tags: dict[str, str] | None) -> Match:
    globs = {key: tuple(getattr(written, key, None) or ()) for key in _MATCHED}
    return Match(tags=tags or {}, **globs)


def _effect(written: models.Settings) -> Effect:
    fields = {name: getattr(written, name, None) for name in Effect.__struct_fields__}
    fields["direction"] = Direction(written.direction.value) if written.direction else None
    fields["runs_needed"] = written.for_
    return Effect(**fields)


_ROOT = Route(name="default", receiver="default")
_INHERITED = (
    "receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "active", "escalation",
    "at_most",
)  # fmt: skip


def _route(
    written: models.RootRoute | models.ChildRoute, parent: Route, document: Node, path: Path
) -> Route:
    own: dict[str, Any] = {
        key: _frozen(value) for key in _INHERITED if (value := getattr(written, key)) is not None
    }
    is_root = isinstance(written, models.RootRoute)
    line = document.place(path, of_key=is_root)[0] if written.model_fields_set else 0
    here = replace(
        parent, name=written.name, line=line, match=Match(), routes=(), goes_on=False, **own
    )
    if isinstance(written, models.ChildRoute):
        here = replace(
            here, match=_match(written.match, written.match.labels), goes_on=written.continue_
        )
    return replace(
        here,
        routes=tuple(
            _route(child, here, document, (*path, "routes", place))
            for place, child in enumerate(written.routes)
        ),
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, models.AtMost):
        return RateLimit(messages=value.messages, within=value.within)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    return tuple(
        EscalationStep(step.after, step.receiver) if isinstance(step, models.Escalation) else step
        for step in value
    )


def _receiver(name: str, written: models.Receiver) -> Receiver:
    counts: Counter[ChannelKind] = Counter()
    channels = []
    for channel in written.channels:
        (kind,) = channel.kinds
        counts[kind] += 1
        number = f"-{counts[kind]}" if counts[kind] > 1 else ""
        named = channel.name or f"{name}/{kind}{number}"
        channels.append(_channel(kind, named, channel))
    return Receiver(
        name=name,
        channels=tuple(channels),
        fallback=written.fallback or "",
        show_values=written.show_values,
    )


def _channel(kind: ChannelKind, name: str, written: Channel) -> policy_model.Channel:
    terms = getattr(written, kind)
    target = next((t for key in _TARGETS if (t := getattr(terms, key, None))), "")
    return policy_model.Channel(
        kind=kind,
        name=name,
        secret=getattr(terms, "secret", ""),
        target=target,
        to=tuple(getattr(terms, "to", ())),
        sender=getattr(terms, "from_", ""),
        pictures=written.pictures,
    )


_TARGETS = ("channel", "arn", "topic_arn")
"""What the kinds call the place that messages go to."""


def _remediation(name: str, line: int, written: Remediation) -> RemediationAction:
    (kind,) = written.kinds
    return RemediationAction(
        name=name,
        kind=kind,
        line=line,
        parameters=written.parameters,
        causes=tuple(dict.fromkeys(written.causes or ())),
        approvers=tuple(written.approvers),
        verification=Verification(**dict(written.verify)),
        **{key: getattr(written, key) for key in _AS_WRITTEN},
    )


_AS_WRITTEN = ("mode", "four_eyes", "approval_life", "cooldown", "attempts", "cost", "time_out")


def _weekly(window: models.Window) -> WeeklyHours:
    return WeeklyHours(
        days=tuple(sorted({WEEKDAYS.index(day) for day in window.days or WEEKDAYS})),
        start=window.from_,
        end=window.to,
        zone=window.zone,
    )
