"""What waits to be told: notices of runs, the groups they come together in, and notifications.

Grouping has Alertmanager's semantics (its documentation, "Routing-related settings"): a group waits
``group_wait`` before its first message, ``group_interval`` before it tells of changes, and
``repeat_interval`` before it repeats itself. All waiting is rows with a due time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from guiderail.model.incident import ChangeKind
from guiderail.model.message import Distribution, Facts, RunPart
from guiderail.model.outcome import Reason
from guiderail.model.policy import Severity


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One incident as a group knows it.

    ``labels`` are what routes, silences and inhibitions match: the keys of ``GROUP_KEYS`` that apply,
    and the policy's own labels. ``name`` is the subject as a person would name it. ``count`` is above 1
    where many incidents of one run share an entry.
    """

    incident: str
    kind: ChangeKind
    reason: Reason
    severity: Severity
    firing: bool
    line: str
    labels: dict[str, str]
    name: str = ""
    runbook: str = ""
    acknowledged: bool = False
    flapping: bool = False
    stilled: bool = False
    count: int = 1


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one run, or one human act, has to tell one group.

    Attributes:
        version: The ledger's with this change: it orders notices whatever the clocks of their makers say.
        subject: The run's own subject line.
        run: What is said of the run; None for an act.
        facts: What is measured of the worst entries, by incident.
        distributions: Of the run's worst findings about features.
        detail: What the bus carries of the run.
    """

    id: str
    group: str
    route: str
    group_labels: dict[str, str]
    ledger: str
    entries: tuple[Entry, ...]
    made_at: datetime
    due_at: datetime
    version: int = 0
    subject: str = ""
    run: RunPart | None = None
    facts: dict[str, Facts] = {}
    distributions: tuple[Distribution, ...] = ()
    detail: dict[str, Any] = {}


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry in its group: whether people know of it, have news to hear, and what hides it from them.

    ``version`` is its notice's: an older one that comes later changes nothing.
    """

    entry: Entry
    at: datetime
    version: int = 0
    told: bool = False
    news: bool = False
    hidden: Reason | None = None
    hidden_by: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification group between its messages; ``version`` counts its writes.

    Attributes:
        held: Entries by incident.
        facts: What is measured of the newest entries, by incident.
        subjects, run_parts, details, distributions: What the newest runs say, by ledger; of as many as a
            message tells.
        first_told_at: When people first heard of what is firing now; None while nothing is.
        unanswered_since: When people first heard of something that nobody acknowledged since.
        escalated: Escalation steps taken since then.
        heard_by: Receivers that an escalation reached in this episode: they hear of its end too.
        messages: Messages ever sent to people.
        quiet: Messages ever made for incident tools alone; with ``messages`` it makes numbers and ids.
        answered: What such tools were told: that all is acknowledged, and each step of a remediation.
        due_at: When the group has to be looked at though nothing happens.
    """

    id: str
    route: str
    labels: dict[str, str]
    version: int = 0
    held: dict[str, Held] = {}
    facts: dict[str, Facts] = {}
    subjects: dict[str, str] = {}
    run_parts: dict[str, RunPart] = {}
    details: dict[str, dict[str, Any]] = {}
    distributions: dict[str, tuple[Distribution, ...]] = {}
    first_told_at: datetime | None = None
    last_told_at: datetime | None = None
    unanswered_since: datetime | None = None
    escalated: int = 0
    heard_by: tuple[str, ...] = ()
    messages: int = 0
    quiet: int = 0
    answered: tuple[str, ...] = ()
    due_at: datetime | None = None


class Silence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nobody hears of incidents whose labels match (globs by label) until it ends."""

    id: str
    match: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str = ""


class InhibitionSource(msgspec.Struct, frozen=True, kw_only=True):
    """A firing incident that hides others, as it stands beside its endpoint."""

    incident: str
    labels: dict[str, str]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision for the audit: about what, which code, and the words and policy lines behind it."""

    about: str
    reason: Reason
    text: str = ""
    lines: tuple[str, ...] = ()


MOST_DECISIONS = 100
"""Decisions of one audit entry; the rest are counted."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was decided at one moment: by a run, by the clock, or by a person (``actor``, ``origin``).

    ``subject`` is a ledger or group id; ``counts`` tells all decisions by reason, ``decisions`` the
    worst of them in full.
    """

    id: str
    subject: str
    at: datetime
    actor: str
    what: str
    origin: str = ""
    policy_version: str = ""
    counts: dict[str, int] = {}
    decisions: tuple[Decision, ...] = ()
    run: dict[str, Any] = {}
