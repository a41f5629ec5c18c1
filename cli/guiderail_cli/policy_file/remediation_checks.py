"""What is wrong with remediations and guard rails beyond their shape, and what they do in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from guiderail.model.policy import ActionKind, Cause, Policy, RemediationAction, RemediationMode
from guiderail.services.triage import eligible_causes

from guiderail_cli.policy_file.document import Path
from guiderail_cli.policy_file.problems import Level
from guiderail_cli.policy_file.receivers import ORIGINS, Trouble, people_troubles
from guiderail_cli.policy_file.remediations import UNLIMITED, field_trouble, has_fields
from guiderail_cli.policy_file.values import shown, suggestion

APPROVERS = (*ORIGINS, "arn:")
"""How the name of somebody who approves begins; who uses the command is known by an ARN."""

_BROKEN = (Cause.BROKEN_RUN, Cause.BROKEN_FEED)
_LEARNING = (ActionKind.RETRAIN, ActionKind.REBASELINE)


def remediation_troubles(policy: Policy) -> Iterator[Trouble]:
    """Yield what is wrong or useless in the remediations and guard rails of a policy."""
    named = {rule.effect.remediation for rule in policy.rules}
    for name, action in policy.remediations.items():
        path: Path = ("remediations", name)
        yield from _action(action, path)
        yield from people_troubles(policy, action.approvers, (*path, "approvers"), APPROVERS)
        if name not in named:
            yield Trouble(
                Level.WARNING,
                path,
                f"no rule names {shown(name)}: it can only be started by hand",
                f"Name it in a rule, set: {{remediation: {shown(name)}}}, or remove it",
            )
    yield from _limits(policy)


def _action(action: RemediationAction, path: Path) -> Iterator[Trouble]:
    if action.mode is RemediationMode.AUTO:
        if action.kind is ActionKind.REBASELINE:
            yield Trouble(
                Level.ERROR,
                (*path, "mode"),
                "a new baseline makes today's data normal: that is for a human to decide",
                "Write mode: ask",
            )
        if Cause.BIAS in action.causes:
            yield Trouble(
                Level.ERROR,
                (*path, "causes", action.causes.index(Cause.BIAS)),
                "bias is for a human to decide: nothing acts on it by itself",
                "Write mode: ask, or take bias out",
            )
        elif action.four_eyes:
            yield Trouble(
                Level.WARNING,
                (*path, "mode"),
                "four_eyes asks two people all the same",
                "Write mode: ask, or take four_eyes out",
            )
    for place, cause in enumerate(action.causes):
        if cause in _BROKEN and action.kind in _LEARNING:
            yield Trouble(
                Level.WARNING,
                (*path, "causes", place),
                f"{action.kind} on a {cause.replace('_', ' ')} learns what is broken",
                "Take it out, unless the data comes from elsewhere",
            )
    if action.kind is ActionKind.INVOKE:
        yield from _payload(action.parameters["payload"], (*path, "invoke", "payload"))
    begin, end = (action.parameters.get(key, "") for key in ("from", "until"))
    if action.kind is ActionKind.REINGEST and begin and end and not has_fields(begin + end):
        if datetime.fromisoformat(begin) >= datetime.fromisoformat(end):
            yield Trouble(
                Level.ERROR,
                (*path, "reingest", "until"),
                f"not later than from, {shown(begin)}",
                "Let the range have a length",
            )


def _payload(value: Any, path: Path) -> Iterator[Trouble]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _payload(each, (*path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _payload(each, (*path, place))
    elif isinstance(value, str) and (trouble := field_trouble(value)):
        yield Trouble(Level.ERROR, path, *trouble)


def _limits(policy: Policy) -> Iterator[Trouble]:
    rails = policy.guard_rails
    no_limit = rails.per_hour is None and rails.per_day is None and rails.per_month is None
    costs = [name for name, action in policy.remediations.items() if action.cost]
    for name, action in policy.remediations.items():
        if action.mode is RemediationMode.AUTO and no_limit:
            yield Trouble(
                Level.WARNING,
                ("remediations", name, "mode"),
                "it acts by itself and nothing limits how often",
                f"Let one of per_hour, per_day and per_month be other than {UNLIMITED}",
            )
    if costs and rails.cost_per_month is None:
        yield Trouble(
            Level.WARNING,
            ("remediations", costs[0], "cost"),
            "nothing limits what remediations cost",
            "Set a ceiling, such as guard_rails: {cost_per_month: 500}",
        )
    if policy.remediations and rails.cost_per_month is not None and not costs:
        yield Trouble(
            Level.WARNING,
            ("guard_rails", "cost_per_month"),
            "no remediation has a cost, so the ceiling is never reached",
            "Estimate one, such as cost: 12.50",
        )
    for place, name in enumerate(rails.freezes):
        if name not in policy.hours:
            near = suggestion(name, policy.hours)
            remedy = "Declare it below hours"
            yield Trouble(
                Level.ERROR,
                ("guard_rails", "freezes", place),
                f"the window {shown(name)} is not declared",
                f"{near} {remedy}" if near else remedy,
            )


# --- in words


def remediation_words(action: RemediationAction) -> str:
    """What a remediation does, how far it goes by itself, and for which causes."""
    causes = " or ".join(eligible_causes(action)) if _is_choosy(action) else "any cause"
    return f"{action.name}: {action.kind}, mode {action.mode}, for {causes}"


def _is_choosy(action: RemediationAction) -> bool:
    return len(eligible_causes(action)) < len(Cause)


def what_happens(action: RemediationAction, cause: Cause) -> tuple[RemediationMode | None, str]:
    """How far a remediation goes for a cause by itself (None: it is blocked), and that in words."""
    eligible = eligible_causes(action)
    if cause not in eligible:
        return None, f"blocked: the cause would be {cause}, it may act on {' or '.join(eligible)}"
    if action.mode is RemediationMode.SUGGEST:
        return action.mode, "only suggested"
    if action.four_eyes:
        return RemediationMode.ASK, "two people are asked first"
    if cause is Cause.BIAS or action.mode is RemediationMode.ASK:
        return RemediationMode.ASK, "somebody is asked first"
    return action.mode, "it acts by itself"


def all_remediations(policy: Policy) -> Iterator[str]:
    """One line per remediation."""
    yield from map(remediation_words, policy.remediations.values())
