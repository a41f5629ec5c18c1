"""Remediations: one guarded attempt each to fix what incidents of one schedule are about.

A remediation is one record, changed under the condition that nobody else wrote in between; its state
machine only drives it. What all of them share (locks, budgets, the kill switch) is one guard.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from guiderail.model.identity import digest
from guiderail.model.incident import Scope
from guiderail.model.outcome import Reason
from guiderail.model.policy import ActionKind, Cause, RemediationMode

GUIDERAIL = "guiderail"
"""Who asks for a remediation that nobody asked for: the policy does."""

EVERYTHING = "*"
"""What the global kill switch stops."""

FACTS = (
    "endpoint", "schedule", "report_uri", "monitor", "window_start", "window_end", "job_name",
    "features", "remediation", "account", "region", "feature_group",
)  # fmt: skip
"""What the texts of an action's parameters may be filled from, as ``{name}``."""

MOST_MOMENTS = 60
"""Lines of a remediation's timeline that are kept; the first and the newest."""


class RemediationState(StrEnum):
    """How far a remediation is.

    ``requested``: the gates have not been asked. ``asked``: waits for approval. ``acting``: may act, and
    whoever dies at it acts again by the same token. ``running``: the action's end is awaited.
    ``verifying``: monitoring runs have to prove it.

    Over: ``suggested`` (a person may start it), ``blocked``, ``rejected``, ``expired``, ``failed``,
    ``not_proven``, ``recorded`` (nothing to prove) and ``proven``.
    """

    REQUESTED = "requested"
    ASKED = "asked"
    ACTING = "acting"
    RUNNING = "running"
    VERIFYING = "verifying"
    SUGGESTED = "suggested"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
    NOT_PROVEN = "not_proven"
    RECORDED = "recorded"
    PROVEN = "proven"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in _UNDER_WAY

    @property
    def holds_its_target(self) -> bool:
        """Whether it may be changing something at this moment."""
        return self in (
            RemediationState.ACTING,
            RemediationState.RUNNING,
            RemediationState.VERIFYING,
        )


_UNDER_WAY = frozenset(
    {
        RemediationState.REQUESTED,
        RemediationState.ASKED,
        RemediationState.ACTING,
        RemediationState.RUNNING,
        RemediationState.VERIFYING,
    }
)


class Gate(StrEnum):
    """What has to let a remediation pass, in the order in which they are asked."""

    KILL_SWITCH = "kill_switch"
    ACTION = "action"
    INCIDENT = "incident"
    CAUSE = "cause"
    FREEZE = "freeze"
    ATTEMPTS = "attempts"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    COST = "cost"
    BLAST_RADIUS = "blast_radius"
    LOCK = "lock"
    MODE = "mode"
    APPROVAL = "approval"


class GateAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one gate said; every gate is asked, so that a person sees all that stands in the way."""

    gate: Gate
    passed: bool
    reason: Reason
    text: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a remediation's timeline."""

    at: datetime
    state: RemediationState
    reason: Reason
    by: str = ""
    text: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody's word for a remediation."""

    by: str
    at: datetime
    origin: str = ""
    comment: str = ""


class Remediation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt; ``version`` counts its writes.

    Attributes:
        id: ``<UTC time requested>-<digest>``: it sorts by time, and the same request has the same id.
        action: Its name in the policy.
        target: What is locked: ``endpoint/<name>``, ``schedule/<name>`` or ``feature_group/<name>``.
        incidents: Ids of the incidents that it is for, all of one ledger.
        groups: Group ids that people know these by.
        facts: What parameters may be filled from; the names are ``FACTS``.
        parameters: What the action is given, filled in.
        doubts: Reasons of the run's report that forbid to act on it by itself.
        gates: What the gates said when they were asked last.
        overrides: Gates that whoever started it by hand told to let it pass.
        changes: How often its conditions changed (approved, ended, proven …); ``seen`` is how many of
            these its state machine took notice of.
        token: The state machine's task token while it waits; never shown.
        handle: What the action made: the ARN or name of a pipeline execution, job, execution.
        look_at: When somebody has to look at it again, whatever events came.
        expires_at: Until when it may be approved.
        ends_by: When an action that has not ended is taken as failed.
        verify_from: Runs whose data begins before this prove nothing.
        verify_until: When what is not proven is given up.
        result: What the action left: a model package, rows written.
        before: What a rollback of the action itself needs: the former baseline or endpoint config.
    """

    id: str
    action: str
    kind: ActionKind
    mode: RemediationMode
    scope: Scope
    target: str
    incidents: tuple[str, ...]
    requested_at: datetime
    requested_by: str = GUIDERAIL
    groups: tuple[str, ...] = ()
    state: RemediationState = RemediationState.REQUESTED
    reason: Reason = Reason.REMEDIATION_REQUESTED
    version: int = 0
    cause: Cause | None = None
    doubts: tuple[Reason, ...] = ()
    facts: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    policy_version: str = ""
    cost: float = 0.0
    gates: tuple[GateAnswer, ...] = ()
    approvals: tuple[Approval, ...] = ()
    rejected_by: str = ""
    overrides: tuple[Gate, ...] = ()
    changes: int = 0
    seen: int = 0
    token: str = ""
    handle: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    look_at: datetime | None = None
    expires_at: datetime | None = None
    ends_by: datetime | None = None
    verify_from: datetime | None = None
    verify_until: datetime | None = None
    result: dict[str, str] = {}
    before: dict[str, str] = {}
    timeline: tuple[Moment, ...] = ()

    @property
    def ledger(self) -> str:
        """The ledger of its incidents."""
        return self.scope.ledger_id

    @property
    def endpoint(self) -> str:
        """The endpoint, or the schedule where there is none: what the kill switch may name."""
        return self.scope.endpoint or self.scope.schedule

    def __repr__(self) -> str:
        """Without the task token: whoever holds it can answer for a person."""
        return f"Remediation({self.id}, {self.action}, {self.state})"


def remediation_id(requested_at: datetime, about: str) -> str:
    """Sortable by time; derived from what it is about."""
    return f"{requested_at.astimezone(UTC):%Y%m%dT%H%M%S}-{digest(about, 12)}"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """That a remediation acted: what budgets, cooldowns and attempts are counted by.

    ``incidents`` are those whose episode it was for, each as ``<id>#<occurrence>``.
    """

    remediation: str
    at: datetime
    action: str
    target: str
    endpoint: str
    cost: float = 0.0
    incidents: tuple[str, ...] = ()


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes a target; after ``until`` anybody may take it, whatever became of the owner."""

    owner: str
    endpoint: str
    until: datetime


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A kill switch that somebody threw."""

    by: str
    at: datetime
    why: str = ""


class Guard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all remediations of a stack share, as one item; ``version`` counts its writes.

    Attributes:
        starts: Of the last 31 days, oldest first.
        locks: By target.
        stops: By endpoint, or ``EVERYTHING``.
    """

    version: int = 0
    starts: tuple[Start, ...] = ()
    locks: dict[str, Lock] = {}
    stops: dict[str, Stop] = {}


class ActionState(StrEnum):
    """How an action stands; ``done`` means that it ended well."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class ActionReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an action says of itself.

    Attributes:
        handle: What events and polling know it by; empty for what is done at once.
        text: A sentence for people, without secrets.
        result: What it left, by name.
        before: What going back needs.
    """

    state: ActionState
    handle: str = ""
    text: str = ""
    result: dict[str, str] = {}
    before: dict[str, str] = {}


class Lineage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the deployed model and of the baseline that its runs are compared with.

    Attributes:
        model: ARN of the deployed model package, or else the model's name; empty if unknown.
        made_by: The pipeline execution that made it, if it says so.
        deployed_at: When the endpoint last changed.
        baseline: S3 URI of the constraints in use.
        belongs: Whether that baseline is this model's; None: nothing says so.
        text: The evidence in a sentence.
    """

    model: str = ""
    made_by: str = ""
    deployed_at: datetime | None = None
    baseline: str = ""
    belongs: bool | None = None
    text: str = ""
