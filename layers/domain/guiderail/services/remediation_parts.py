"""What people are shown of a remediation: its parameters as they will be, and nothing that is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from guiderail.model.message import RemediationPart
from guiderail.model.policy import RemediationAction
from guiderail.model.remediation import GUIDERAIL, GateAnswer, Remediation
from guiderail.rendering.wording import cut, printable
from guiderail.services.remediation_texts import filled

MOST_PARAMETERS = 20
"""Parameters that are shown; the rest are counted."""

HIDDEN = "(not shown)"
"""Stands for what looks like a secret."""

_DEEPEST = 4
_SECRET_NAME = re.compile(
    r"(?i)secret|passw|token|credential|(api|access|private|auth)[_-]?key|authorization|webhook"
)
_SECRET_VALUE = re.compile(
    # access keys, presigned addresses, names and passwords before a host, private keys
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|X-Amz-(Signature|Credential)=|://[^/\s:@]+:[^/\s@]+@|-----BEGIN"
)


def part_of(
    remediation: Remediation,
    action: RemediationAction | None,
    next_step: str = "",
    command: str = "",
) -> RemediationPart:
    """What people are shown of a remediation.

    Args:
        remediation: As it stands.
        action: As the policy has it now; None if it is gone.
        next_step: What a person has to do now.
        command: What does that in a shell.
    """
    # they are filled in when it may act: before, it is shown what they would be
    facts = {**remediation.facts, "remediation": remediation.id}
    would_be = filled(action.parameters, facts) if action else {}
    parameters = list(_flat(remediation.parameters or would_be))
    shown = parameters[:MOST_PARAMETERS]
    if len(parameters) > len(shown):
        shown.append(("more", f"{len(parameters) - len(shown)} that are not shown"))
    return RemediationPart(
        id=remediation.id,
        action=remediation.action,
        kind=remediation.kind,
        mode=remediation.mode,
        state=remediation.state,
        reason=remediation.reason,
        target=remediation.target,
        cause=remediation.cause,
        parameters=tuple(shown),
        cost=remediation.cost or (action.cost if action else 0.0),
        gates=tuple(
            GateAnswer(gate=a.gate, passed=a.passed, reason=a.reason, text=printable(cut(a.text)))
            for a in remediation.gates
        ),
        expires_at=remediation.expires_at,
        approvals=people_for(remediation),
        approvals_needed=2 if action and action.four_eyes else 1,
        handle=cut(remediation.handle),
        result=tuple(_flat(remediation.result))[:MOST_PARAMETERS],
        next_step=next_step,
        command=command,
    )


def people_for(remediation: Remediation) -> tuple[str, ...]:
    """Who is for it: those who approved it, and who started it by hand."""
    starter = () if remediation.requested_by == GUIDERAIL else (remediation.requested_by,)
    return tuple(dict.fromkeys((*starter, *(a.by for a in remediation.approvals))))


def _flat(given: Mapping[str, Any], above: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Parameters one by one, in the order of the policy, without anything that looks like a secret."""
    for key, value in given.items():
        name = f"{above}{printable(cut(str(key), 64))}"
        if _SECRET_NAME.search(str(key)):
            yield name, HIDDEN
        elif isinstance(value, Mapping) and value and depth < _DEEPEST:
            yield from _flat(value, f"{name}/", depth + 1)
        else:
            text = _text(value)
            yield name, HIDDEN if _SECRET_VALUE.search(text) else printable(cut(text))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_text(inner) for inner in value)
    if isinstance(value, Mapping):
        # deeper than anybody reads
        return ", ".join(
            f"{k}: {HIDDEN if _SECRET_NAME.search(str(k)) else _text(v)}" for k, v in value.items()
        )
    return str(value)
