"""What people are told, channel-neutral: one notification, made of blocks that every channel renders.

Nothing in here is escaped: names come from data as they are, and each renderer makes them harmless in
its own language.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import ActionKind, Cause, RemediationMode, Severity
from guiderail.model.remediation import GateAnswer, RemediationState


class MessageKind(StrEnum):
    """What a notification does to what people, or their incident tools, know of its group.

    ``acknowledged`` and ``remediation`` change what is known without asking anybody to act: only
    channels that keep an incident of their own are given them. ``proposal`` asks people to decide on a
    remediation, or tells them that nothing more happens by itself.
    """

    NEWS = "news"
    REPEAT = "repeat"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    REMEDIATION = "remediation"
    PROPOSAL = "proposal"
    DIGEST = "digest"
    TEST = "test"


class RowState(StrEnum):
    """How one incident of a notification stands."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    FLAPPING = "flapping"
    OVER = "over"


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is measured of one incident.

    Attributes:
        report_threshold: The report's own threshold where the policy sets another one.
        direction: On which side of the threshold a value is bad.
        notes: Baseline against current, each a phrase: ``mean 41.2 (baseline 38.9)``.
        trend: Observed values of the last runs, oldest first, in ``unit``.
        times_seen: Runs that had it since ``first_seen``.
    """

    observed: float | None = None
    threshold: float | None = None
    report_threshold: float | None = None
    unit: str | None = None
    direction: Direction | None = None
    notes: tuple[str, ...] = ()
    trend: tuple[float, ...] = ()
    first_seen: datetime | None = None
    times_seen: int = 0
    description: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One incident of a notification; ``news`` says whether it is why the message is sent.

    ``line`` says all of it in one line; ``facts`` is None where no more than that is known. ``count``
    is above 1 where many incidents of one run share a row.
    """

    incident: str
    name: str
    check: str
    severity: Severity
    reason: Reason
    state: RowState
    line: str
    news: bool = False
    count: int = 1
    endpoint: str = ""
    facts: Facts | None = None


class Link(msgspec.Struct, frozen=True):
    """A link of ours or of the operator's, never one from data."""

    label: str
    url: str


class RunPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a notification says of one run.

    Attributes:
        window_start, window_end: ISO times of the data window; empty where unknown.
        rows: Rows analysed.
        evidence: One sentence per reason that needs one.
        likely_cause: What a person would most likely do next, and why.
        retraining: Facts about retraining, one a line.
        command: Shell command that does what is suggested.
    """

    outcome: str
    monitor: str
    endpoint: str = ""
    schedule: str = ""
    window_start: str = ""
    window_end: str = ""
    rows: int | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    likely_cause: str = ""
    retraining: tuple[str, ...] = ()
    command: str = ""
    links: tuple[Link, ...] = ()


class RemediationPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a notification says of one remediation.

    Attributes:
        parameters: What the action is given, by name; what looks like a secret is not in it.
        cost: Estimate for it, US dollars; 0 where the policy has none.
        approvals: Who approved it so far.
        approvals_needed: How many people have to.
        handle: What the action made: an ARN or a name.
        result: What it left, by name.
        next_step: What a person has to do now; empty if nothing.
        command: Shell command that does that.
    """

    id: str
    action: str
    kind: ActionKind
    mode: RemediationMode
    state: RemediationState
    reason: Reason
    target: str
    cause: Cause | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    cost: float = 0.0
    gates: tuple[GateAnswer, ...] = ()
    expires_at: datetime | None = None
    approvals: tuple[str, ...] = ()
    approvals_needed: int = 1
    handle: str = ""
    result: tuple[tuple[str, str], ...] = ()
    next_step: str = ""
    command: str = ""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Baseline and current distribution of one feature over the same buckets, as shares of rows (0 to 1).

    ``labels`` name the buckets and are raw data: shown only where the policy allows it.
    """

    feature: str
    labels: tuple[str, ...]
    baseline: tuple[float, ...]
    current: tuple[float, ...]


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to one receiver; ``id`` is derived from the group and the number of its message.

    Attributes:
        number: Which message of its group; later ones know more.
        episode: When people first heard of what is firing now, as text; a group's episodes are separate
            incidents in the tools of others.
        title: One line, without any prefix of ours.
        subject: The title as SNS takes it: ASCII, at most 99 characters.
        place: What the group's incidents have in common, in words.
        reasons: Why this is sent now.
        why: Sentences: what changed, and why this receiver gets it.
        rows: Incidents, worst first, at most ``MOST_LINES`` of telling; ``more`` counts the rest.
        over, firing: How many incidents are over with this message, and how many fire.
        hidden: What is not shown and why, one a line.
        runs: Newest runs behind it, newest last; ``more_runs`` counts the rest.
        attributes: What subscribers of the topic filter by.
        detail: What the bus carries.
        fingerprint: Labels that the group's incidents have in common; a silence of it matches these.
        listed: Of a digest: subjects of the notifications that it stands for.
        remediation: What it is about if not the incidents themselves; it then changes nothing of what
            tools of others know of these, and has the number of the group's newest message.
    """

    id: str
    group: str
    route: str
    receiver: str
    kind: MessageKind
    reasons: tuple[Reason, ...]
    severity: Severity
    title: str
    subject: str
    made_at: datetime
    number: int = 1
    episode: str = ""
    place: str = ""
    why: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    more: int = 0
    firing: int = 0
    over: int = 0
    hidden: tuple[str, ...] = ()
    runs: tuple[RunPart, ...] = ()
    more_runs: int = 0
    owner: str = ""
    runbook: str = ""
    fingerprint: dict[str, str] = {}
    distributions: tuple[Distribution, ...] = ()
    listed: tuple[str, ...] = ()
    remediation: RemediationPart | None = None
    detail_type: str = ""
    attributes: dict[str, str] = {}
    detail: dict[str, Any] = {}


class ReplyAction(StrEnum):
    """What a reader can answer."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE_1H = "silence_1h"
    SILENCE_24H = "silence_24h"
    SILENCE_7D = "silence_7d"
    ASSIGN = "assign"
    NOISE = "noise"
    APPROVE = "approve"
    REJECT = "reject"


INCIDENT_ANSWERS = (
    ReplyAction.ACKNOWLEDGE,
    ReplyAction.SILENCE_1H,
    ReplyAction.SILENCE_24H,
    ReplyAction.SILENCE_7D,
    ReplyAction.ASSIGN,
    ReplyAction.NOISE,
)
"""What can be answered to incidents."""

REMEDIATION_ANSWERS = (ReplyAction.APPROVE, ReplyAction.REJECT)
"""What can be answered to a remediation that asks for approval."""

REPLY_LABELS = {
    ReplyAction.ACKNOWLEDGE: "Acknowledge",
    ReplyAction.SILENCE_1H: "Silence 1 h",
    ReplyAction.SILENCE_24H: "Silence 24 h",
    ReplyAction.SILENCE_7D: "Silence 7 d",
    ReplyAction.ASSIGN: "Assign",
    ReplyAction.NOISE: "This is noise",
    ReplyAction.APPROVE: "Approve",
    ReplyAction.REJECT: "Reject",
}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A way to answer: an opaque one-time token, and the page that asks before it does anything."""

    action: ReplyAction
    token: str
    url: str

    @property
    def label(self) -> str:
        """What the button says."""
        return REPLY_LABELS[self.action]

    def __repr__(self) -> str:
        """Without the token: whoever holds it may answer."""
        return f"Reply({self.action})"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A PNG picture; ``alt`` says in words what it shows."""

    name: str
    alt: str
    png: bytes


class Thread(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a channel calls the incident that a group's episode has there.

    ``number`` is that of the newest message it was given; ``root`` and ``place`` are the channel's own
    ids (Slack: time stamp and channel).
    """

    root: str = ""
    place: str = ""
    number: int = 0


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """What a renderer may use besides the notification.

    Attributes:
        show_values: Whether the policy lets raw data values (bucket labels) be shown.
        note: A sentence about the delivery itself, such as why it comes over the fallback.
        thread: What the channel was given of this episode before.
    """

    replies: tuple[Reply, ...] = ()
    pictures: tuple[Picture, ...] = ()
    show_values: bool = False
    note: str = ""
    thread: Thread | None = None
