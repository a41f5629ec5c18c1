"""A remediation in short phrases that every channel can put where it likes; nothing is escaped yet."""

from __future__ import annotations

from collections.abc import Iterator

from guiderail.model.message import RemediationPart
from guiderail.model.remediation import RemediationState
from guiderail.rendering.escaping import defanged
from guiderail.rendering.measured import moment

_LONGEST_COMMAND = 500

_VERBS = {
    RemediationState.ASKED: "Would do",
    RemediationState.SUGGESTED: "Would do",
    RemediationState.BLOCKED: "Would have done",
    RemediationState.REJECTED: "Would have done",
    RemediationState.EXPIRED: "Would have done",
    RemediationState.FAILED: "Tried",
    RemediationState.NOT_PROVEN: "Did",
    RemediationState.RECORDED: "Did",
    RemediationState.PROVEN: "Did",
}


def facts_of(part: RemediationPart) -> Iterator[tuple[str, str]]:
    """Label and phrase of each thing that is known, the most important first; gates are apart."""
    yield _VERBS.get(part.state, "Does"), f"{words(part.kind)} {part.target}"
    if part.cause:
        yield "Cause", words(part.cause)
    if part.state is RemediationState.ASKED and part.expires_at:
        yield "Approve by", moment(part.expires_at)
    if part.approvals_needed > 1:
        said = ", ".join(part.approvals) or "nobody yet"
        yield "Approved by", f"{said} ({part.approvals_needed} people have to)"
    elif part.approvals:
        yield "Approved by", ", ".join(part.approvals)
    yield "Cost", cost_of(part)
    for name, value in part.parameters:
        yield "With", f"{name}: {value}"
    if part.handle:
        yield "Started", part.handle
    for name, value in part.result:
        yield "Left", f"{name}: {value}"


def cost_of(part: RemediationPart) -> str:
    """The estimate in words."""
    return f"about ${part.cost:,.2f}" if part.cost else "the policy has no estimate"


def gate_lines(part: RemediationPart) -> Iterator[str]:
    """What each gate said, those that stand in the way first."""
    for answer in sorted(part.gates, key=lambda answer: answer.passed):
        said = answer.text or ("" if answer.passed else words(answer.reason))
        line = f"{'passed' if answer.passed else 'NOT passed'}: {words(answer.gate)}"
        yield f"{line}: {said}" if said else line


def gates_in_short(part: RemediationPart) -> Iterator[str]:
    """The same in fewer lines: only what stands in the way says why."""
    lines = list(gate_lines(part))
    passed = [words(answer.gate) for answer in part.gates if answer.passed]
    yield from lines[: len(lines) - len(passed)]
    if passed:
        yield f"passed: {', '.join(passed)}"


def summary_of(part: RemediationPart) -> str:
    """What it would do, and at what cost, in one line."""
    return f"{words(part.kind)} {part.target}, cost: {cost_of(part)}"


def command_of(part: RemediationPart) -> str:
    """The command as it can be copied; empty if it is overlong, or holds what may not be shown as it is."""
    harmless = len(part.command) <= _LONGEST_COMMAND and defanged(part.command) == part.command
    return part.command if harmless else ""


def words(code: str) -> str:
    """A code as words."""
    return str(code).replace("_", " ")
