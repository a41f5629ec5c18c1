"""What people are told of a remediation: to whom, in which thread, in which words, and what never."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from guiderail.model.delivery import Outgoing
from guiderail.model.incident import Incident, IncidentState, Ledger
from guiderail.model.message import MessageKind, Notification, RemediationPart, RowState
from guiderail.model.notice import Group
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    Policy,
    Receiver,
    RemediationAction,
    Route,
    Severity,
)
from guiderail.model.remediation import (
    Approval,
    Gate,
    GateAnswer,
    Moment,
    Remediation,
    RemediationState,
)
from guiderail.rendering import plain_text
from guiderail.services.outbox import refs_of
from guiderail.services.proposals import proposal_of
from guiderail.services.remediation_parts import MOST_PARAMETERS, part_of
from guiderail.services.telling import MOST_LINES
from msgspec.structs import replace

from tests.replies import AGE, ASKED, INCOME, NOW, POLICY, SCOPE
from tests.unit.rendering.notifications import answerable

TOLD = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
MAIL = Channel(kind=ChannelKind.EMAIL, name="risk/mail", to=("ana@loans.example",))
SLACK = Channel(kind=ChannelKind.SLACK, name="risk/slack")
ALL = replace(
    POLICY,
    route=Route(
        name="default",
        receiver="everybody",
        routes=(Route(name="loans", receiver="risk"),),
    ),
    receivers={"risk": Receiver(name="risk", channels=(MAIL, SLACK))},
)
GROUP = Group(
    id="3d35fc3c9f5c4234869e7994",
    route="loans",
    labels={"endpoint": "loan-risk-prod", "monitor": "data_quality"},
    first_told_at=TOLD,
    messages=2,
    quiet=1,
)
LOUD = (
    RemediationState.ASKED,
    RemediationState.SUGGESTED,
    RemediationState.BLOCKED,
    RemediationState.REJECTED,
    RemediationState.EXPIRED,
    RemediationState.FAILED,
    RemediationState.NOT_PROVEN,
)
QUIET = (RemediationState.PROVEN, RemediationState.RECORDED)
REASONS = {
    RemediationState.ASKED: Reason.REMEDIATION_ASKED,
    RemediationState.SUGGESTED: Reason.REMEDIATION_SUGGESTED,
    RemediationState.BLOCKED: Reason.CAUSE_NOT_ELIGIBLE,
    RemediationState.REJECTED: Reason.REMEDIATION_REJECTED,
    RemediationState.EXPIRED: Reason.APPROVAL_EXPIRED,
    RemediationState.FAILED: Reason.ACTION_FAILED,
    RemediationState.NOT_PROVEN: Reason.VERIFICATION_FAILED,
    RemediationState.PROVEN: Reason.REMEDIATION_PROVEN,
    RemediationState.RECORDED: Reason.NOTHING_TO_PROVE,
}


def ledger(*incidents: Incident) -> Ledger:
    known = incidents or (INCOME, AGE)
    return Ledger(scope=SCOPE, version=1, incidents={i.id: i for i in known})


def in_state(state: RemediationState, **fields: Any) -> Remediation:
    """A remediation that got into a state, with what its timeline says of that."""
    reason = fields.pop("reason", REASONS[state])
    said = fields.pop("said", "")
    line = Moment(at=NOW, state=state, reason=reason, text=said)
    return replace(ASKED, state=state, reason=reason, timeline=(line,), **fields)


def told(remediation: Remediation, **instead: Any) -> Outgoing:
    given = {"ledger": ledger(), "group": GROUP, "policy": ALL, "now": NOW, **instead}
    outgoing = proposal_of(remediation, **given)
    assert outgoing is not None
    return outgoing


def said(remediation: Remediation, **instead: Any) -> Notification:
    return told(remediation, **instead).notification


def part(remediation: Remediation, **instead: Any) -> RemediationPart:
    known = said(remediation, **instead).remediation
    assert known is not None
    return known


def closed(gate: Gate, reason: Reason, text: str = "") -> GateAnswer:
    return GateAnswer(gate=gate, passed=False, reason=reason, text=text)


# --- to whom, and where


def test_a_proposal_goes_into_the_thread_of_its_incident() -> None:
    outgoing = told(ASKED)
    n = outgoing.notification
    assert (n.route, n.receiver) == ("loans", "risk")
    assert (n.group, n.episode, n.number) == (GROUP.id, TOLD.isoformat(), 3)
    assert [d.channel for d in outgoing.deliveries] == ["risk/mail", "risk/slack", "bus"]
    refs = refs_of(outgoing, NOW)
    assert [ref.id for ref in refs] == [d.id for d in outgoing.deliveries]
    assert {ref.thread for ref in refs} == {f"{GROUP.id}#{TOLD.isoformat()}"}
    assert n.detail_type == "RemediationRequested"
    assert n.attributes["endpoint"] == "loan-risk-prod"


@pytest.mark.parametrize("state", RemediationState)
def test_every_state_is_told_to_whom_it_concerns(state: RemediationState) -> None:
    if state not in REASONS:
        assert proposal_of(replace(ASKED, state=state), ledger(), GROUP, ALL, NOW) is None
        return
    outgoing = told(in_state(state))
    n = outgoing.notification
    channels = [d.channel for d in outgoing.deliveries]
    if state in LOUD:
        assert (n.kind, channels) == (MessageKind.PROPOSAL, ["risk/mail", "risk/slack", "bus"])
    else:
        assert (n.kind, channels) == (MessageKind.REMEDIATION, ["risk/slack", "bus"])
    asks = state in (RemediationState.ASKED, RemediationState.SUGGESTED)
    assert n.detail_type == ("RemediationRequested" if asks else "RemediationFinished")
    assert n.detail["state"] == state.value
    assert (n.title in n.subject) and n.title.endswith(": loan-risk-prod")
    # somebody has to do something, and reads what, unless all is well
    assert bool(part(in_state(state)).next_step) == (state in LOUD)


def test_every_state_has_a_title_of_its_own() -> None:
    assert len({said(in_state(state)).title for state in REASONS}) == len(REASONS)


def test_the_same_state_is_the_same_message_and_another_is_another() -> None:
    ids = {said(in_state(state)).id for state in REASONS}
    assert len(ids) == len(REASONS)
    later = said(replace(ASKED, version=9), now=NOW + timedelta(hours=1))
    assert later.id == said(ASKED).id
    other = said(ASKED, group=replace(GROUP, id="another"))
    assert other.id != said(ASKED).id
    approval = Approval(by="slack:T0/U1", at=NOW)
    assert said(replace(ASKED, approvals=(approval,))).id != said(ASKED).id


def test_without_a_group_the_policys_first_route_is_told() -> None:
    n = said(ASKED, group=None)
    assert (n.route, n.receiver) == ("default", "everybody")
    assert n.group == f"remediation-{ASKED.id}"
    # two groups that nobody was told of are one message
    assert n.id == said(ASKED, group=None).id


def test_a_group_that_nobody_was_told_of_has_no_thread_yet() -> None:
    assert said(ASKED, group=replace(GROUP, first_told_at=None)).episode == ""


def test_a_route_that_is_gone_is_told_over_the_first() -> None:
    assert said(ASKED, group=replace(GROUP, route="gone")).receiver == "everybody"


def test_a_quiet_one_without_a_tool_that_keeps_incidents_is_for_programs_only() -> None:
    mail_only = replace(ALL, receivers={"risk": Receiver(name="risk", channels=(MAIL,))})
    outgoing = told(in_state(RemediationState.PROVEN), policy=mail_only)
    assert [d.channel for d in outgoing.deliveries] == ["bus"]


# --- what is said


def test_a_proposal_says_all_that_somebody_needs_to_decide() -> None:
    known = replace(
        INCOME, owner="loans-ml", runbook="https://runbooks.loans.example", severity=Severity.ERROR
    )
    n = said(ASKED, ledger=ledger(known))
    assert n.title == "retrain loans asks for your approval: loan-risk-prod"
    assert n.severity is Severity.ERROR
    assert (n.owner, n.runbook) == ("loans-ml", "https://runbooks.loans.example")
    assert [row.incident for row in n.rows] == [INCOME.id]
    assert "It starts if somebody approves it by 2026-11-24 15:05 UTC" in n.why[1]
    known_part = part(ASKED)
    assert known_part.cost == 12.5
    assert ("parameters/Input", "s3://loan-reports/hourly/2026/11/23/14") in known_part.parameters
    assert [a.gate for a in known_part.gates] == [Gate.CAUSE, Gate.APPROVAL]
    assert known_part.command == f"guiderail remediation approve {ASKED.id}"
    text = plain_text.render(n, answerable("proposal"))
    for words in (
        "retrain endpoint/loan-risk-prod",
        "$12.50",
        "passed: cause: quality",
        "Approve:",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("approvals", "starter", "words"),
    [
        ((), "guiderail", "if two people approve it"),
        (("slack:T0/U1",), "guiderail", "if another person approves it"),
        ((), "slack:T0/U1", "if another person approves it"),
    ],
)
def test_four_eyes(approvals: tuple[str, ...], starter: str, words: str) -> None:
    action = replace(ALL.remediations["retrain loans"], four_eyes=True)
    strict = replace(ALL, remediations={action.name: action})
    given = tuple(Approval(by=by, at=NOW) for by in approvals)
    asked = replace(ASKED, approvals=given, requested_by=starter)
    assert words in said(asked, policy=strict).why[1]
    assert part(asked, policy=strict).approvals_needed == 2


@pytest.mark.parametrize(
    ("gate", "reason", "title", "step"),
    [
        (Gate.CAUSE, Reason.CAUSE_NOT_ELIGIBLE, "by cause", "Mend the cause first"),
        (Gate.BUDGET, Reason.BUDGET_USED, "by budget", "guard_rails"),
        (Gate.KILL_SWITCH, Reason.SWITCHED_OFF, "by kill switch", "guiderail remediation resume"),
        (Gate.LOCK, Reason.TARGET_LOCKED, "by lock", "wait until it is done"),
        (Gate.FREEZE, Reason.CHANGE_FREEZE, "by freeze", "freeze is over"),
        (Gate.INCIDENT, Reason.INCIDENT_OVER, "by incident", "Nothing"),
        (Gate.CAUSE, Reason.GATE_NOT_EVALUATED, "by cause", "could not be asked"),
    ],
)
def test_what_is_blocked_names_the_gate_and_what_to_do(
    gate: Gate, reason: Reason, title: str, step: str
) -> None:
    gates = (
        closed(Gate.APPROVAL, Reason.APPROVAL_NEEDED, "nobody approved it yet"),
        closed(gate, reason, "because of this"),
        GateAnswer(gate=Gate.COST, passed=True, reason=Reason.GATE_PASSED),
    )
    blocked = in_state(RemediationState.BLOCKED, reason=reason, gates=gates)
    n = said(blocked)
    assert n.title == f"retrain loans is blocked {title}: loan-risk-prod"
    (in_the_way,) = [line for line in n.why if line.startswith("In its way")]
    assert "because of this" in in_the_way and "approved" not in in_the_way
    assert step in part(blocked).next_step


def test_gates_that_another_one_shut_are_not_the_reason() -> None:
    gates = (
        closed(Gate.ACTION, Reason.ACTION_UNKNOWN, "the policy has no retrain loans any more"),
        closed(Gate.COST, Reason.GATE_NOT_EVALUATED, "it depends on the action"),
    )
    blocked = in_state(RemediationState.BLOCKED, reason=Reason.ACTION_UNKNOWN, gates=gates)
    n = said(blocked, policy=replace(ALL, remediations={}))
    assert "depends on the action" not in " ".join(n.why)
    assert n.remediation is not None and len(n.remediation.gates) == 2
    assert n.remediation.command == ""


@pytest.mark.parametrize("reason", Reason)
def test_any_reason_that_blocks_has_words_and_a_step(reason: Reason) -> None:
    blocked = in_state(RemediationState.BLOCKED, reason=reason, said="lock: it is another's")
    n = said(replace(blocked, gates=()))
    assert "lock: it is another's" in " ".join(n.why)
    assert part(blocked).next_step


@pytest.mark.parametrize(
    ("state", "reason", "step"),
    [
        (RemediationState.REJECTED, Reason.REMEDIATION_REJECTED, "another way"),
        (RemediationState.EXPIRED, Reason.APPROVAL_EXPIRED, "Decide yourself"),
        (RemediationState.FAILED, Reason.ACTION_FAILED, "why it failed"),
        (RemediationState.FAILED, Reason.ACTION_TIMED_OUT, "still be running"),
        (RemediationState.FAILED, Reason.DRIVER_FAILED, "log of Remediate"),
        (RemediationState.NOT_PROVEN, Reason.VERIFICATION_FAILED, "did not help"),
        (RemediationState.NOT_PROVEN, Reason.BASELINE_STALE, "baseline of the deployed model"),
        (RemediationState.NOT_PROVEN, Reason.ENDPOINT_UNCHANGED, "Deploy the model"),
    ],
)
def test_what_ended_badly_says_what_happened_and_that_nothing_follows(
    state: RemediationState, reason: Reason, step: str
) -> None:
    ended = in_state(state, reason=reason, said="what happened", rejected_by="slack:T0/U1")
    assert "what happened" in " ".join(said(ended).why)
    if state is RemediationState.REJECTED:
        assert "slack:T0/U1 rejected it: what happened." in said(ended).why
    known = part(ended)
    assert step in known.next_step and "second time by itself" in known.next_step
    assert known.command == (f"guiderail remediation start {INCOME.id} --action 'retrain loans'")


def test_what_is_done_asks_for_nothing() -> None:
    over = replace(INCOME, state=IncidentState.RESOLVED)
    n = said(
        in_state(RemediationState.PROVEN, said="clean runs came after it"), ledger=ledger(over)
    )
    assert (n.firing, n.over, n.rows[0].state) == (0, 1, RowState.OVER)
    assert n.remediation is not None and n.remediation.command == ""


def test_incidents_that_are_forgotten_or_many_are_counted() -> None:
    for gone in (None, ledger(AGE)):
        n = said(ASKED, ledger=gone)
        assert (n.rows, n.more, n.severity) == ((), 1, Severity.WARNING)
    ids = tuple(f"{SCOPE.ledger_id}-{number:016x}" for number in range(MOST_LINES + 7))
    many = Ledger(scope=SCOPE, incidents={key: replace(INCOME, id=key) for key in ids})
    n = said(replace(ASKED, incidents=ids), ledger=many)
    assert (len(n.rows), n.more, n.firing) == (MOST_LINES, 7, MOST_LINES + 7)


# --- what is never said


def parameters(**given: Any) -> dict[str, str]:
    action = RemediationAction(name="x", kind=ASKED.kind, parameters=given)
    return dict(part_of(replace(ASKED, parameters={}), action).parameters)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DbPassword",
        "api_key",
        "ApiKey",
        "client-secret",
        "TOKEN",
        "AuthorizationHeader",
    ],
)
def test_parameters_whose_names_are_of_secrets_are_not_shown(name: str) -> None:
    assert parameters(**{name: "hunter2"}) == {name: "(not shown)"}
    assert "hunter2" not in str(parameters(payload={"deep": {name: "hunter2"}}))
    assert "hunter2" not in str(parameters(a={"b": {"c": {"d": {name: "hunter2"}}}}))
    assert "hunter2" not in str(parameters(**{name: {"inside": "hunter2"}}))


@pytest.mark.parametrize(
    "value",
    [
        "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=hunter2",
        "postgres://user:hunter2@host/db",
        "AKIAIOSFODNN7EXAMPLE hunter2",
        "-----BEGIN PRIVATE KEY----- hunter2",
    ],
)
def test_parameters_whose_values_are_secrets_are_not_shown(value: str) -> None:
    assert parameters(input=value) == {"input": "(not shown)"}
    assert "hunter2" not in str(parameters(inputs=[value]))


def test_no_secret_and_no_task_token_is_in_a_message_or_on_the_bus() -> None:
    outgoing = told(ASKED)
    sent = msgspec.json.encode(outgoing).decode()
    assert "hunter2" not in sent
    assert ASKED.token not in sent


def test_parameters_are_shown_filled_in_and_one_by_one() -> None:
    shown = parameters(
        pipeline="p",
        deep={"of": "{report_uri}", "on": True},
        features=["a", "b"],
        rate=2.5,
        odd="{x}",
    )
    assert shown == {
        "pipeline": "p",
        "deep/of": ASKED.facts["report_uri"],
        "deep/on": "yes",
        "features": "a, b",
        "rate": "2.5",
        "odd": "{x}",
    }
    # what was filled in when it began stands, whatever the policy says now
    begun = replace(ASKED, parameters={"pipeline": "was"})
    assert dict(part_of(begun, ALL.remediations["retrain loans"]).parameters) == {"pipeline": "was"}


def test_what_is_too_much_is_bounded() -> None:
    many = {f"p{number}": "v" * 2000 for number in range(MOST_PARAMETERS + 5)}
    shown = parameters(**many)
    assert shown["more"] == "5 that are not shown"
    assert max(map(len, shown.values())) < 300
    long = tuple(closed(gate, Reason.GATE_NOT_EVALUATED, "t" * 5000) for gate in Gate)
    huge = in_state(RemediationState.BLOCKED, gates=long, said="s" * 9000, handle="h" * 5000)
    outgoing = told(huge)
    assert len(msgspec.json.encode(outgoing.notification)) < 250_000
    assert all(len(line) < 2000 for line in outgoing.notification.why)


def test_what_the_bus_carries_is_json_of_all_that_people_read() -> None:
    detail = json.loads(json.dumps(said(ASKED).detail))
    assert detail["remediation"] == ASKED.id
    assert detail["gates"][1] == {
        "gate": "approval",
        "passed": False,
        "reason": "approval_needed",
        "text": "nobody approved it yet",
    }
    assert detail["expires_at"] == "2026-11-24T15:05:00+00:00"
    assert detail["incidents"] == [INCOME.id]


def test_lines_hold_no_line_breaks_of_others() -> None:
    rejected = in_state(RemediationState.REJECTED, said="no\r\nBcc: x", rejected_by="a\nb")
    n = said(replace(rejected, action="two\nlines"))
    assert all(line.isprintable() for line in (*n.why, n.title, n.subject, n.place))


def test_a_policy_without_anything_still_tells() -> None:
    outgoing = told(ASKED, policy=Policy(), group=None)
    assert [d.channel for d in outgoing.deliveries] == ["topic", "bus"]
    assert part(ASKED, policy=Policy()).parameters == ()
