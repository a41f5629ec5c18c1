"""The stores behind the ports, in this process: for backtests, demonstrations and tests.

The conditions are those of DynamoDB's store; one suite of tests runs against both.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

import msgspec
from guiderail.errors import ConflictError, TooLargeToKeepError
from guiderail.model.incident import IncidentState, Ledger
from guiderail.model.notice import (
    AuditEntry,
    Group,
    InhibitionSource,
    Notice,
    Notification,
    Silence,
)
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Policy
from guiderail.model.record import RunRecord
from guiderail.ports import Due, PolicyInForce

MOST_ACTIONS = 100
"""Rows of one commit: what a transaction of DynamoDB takes."""

MOST_DUE = 1000
"""Due rows that one call hands out."""

_Key = tuple[datetime, str, str]


class InMemoryIncidents:
    """Implements Incidents; may be used from many threads.

    Attributes:
        outcomes: Outcome of each run, by run key.
        runs: Record of each run, by run key; empty if they are not kept.
        ledgers: By ledger id.
        groups: By group id.
        sources_of: What hides others, by place (``account#region#endpoint``, or the schedule where
            there is no endpoint) and ledger id.
        kept_silences: By silence id, also those that have ended.
        due_rows: Notices, notifications and group ids that wait, by due time, kind and id.
        notifications_told: By notification id, in the order in which they were told.
        told_at: When each of them was.
        audit_rows: By subject, time and id, in the order in which they were written.
    """

    def __init__(self, *, keep_runs: bool = True) -> None:
        """Begin empty; without ``keep_runs`` only the outcomes of runs stay in memory."""
        self._lock = Lock()
        self._keep_runs = keep_runs
        self._due_keys: list[_Key] = []
        self.outcomes: dict[str, Outcome] = {}
        self.runs: dict[str, RunRecord] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.groups: dict[str, Group] = {}
        self.sources_of: dict[str, dict[str, tuple[InhibitionSource, ...]]] = {}
        self.kept_silences: dict[str, Silence] = {}
        self.due_rows: dict[_Key, Notice | Notification | str] = {}
        self.notifications_told: dict[str, Notification] = {}
        self.told_at: dict[str, datetime] = {}
        self.audit_rows: dict[tuple[str, datetime, str], AuditEntry] = {}

    @property
    def audit_entries(self) -> list[AuditEntry]:
        """All audit entries, in the order in which they were written."""
        return list(self.audit_rows.values())

    @property
    def next_due(self) -> datetime | None:
        """When the next row that waits is due; None if nothing waits."""
        with self._lock:
            return self._due_keys[0][0] if self._due_keys else None

    def recall(self, run_key: str, ledger_id: str) -> tuple[Outcome | None, Ledger | None]:
        """The recorded outcome of a run and the ledger."""
        with self._lock:
            return self.outcomes.get(run_key), self.ledgers.get(ledger_id)

    def run(self, job_arn: str) -> Mapping[str, Any] | None:
        """What is recorded of a job's newest run."""
        from guiderail.adapters.dynamodb import recorded_values

        with self._lock:
            found = [r for key, r in self.runs.items() if key.rpartition("#")[0] == job_arn]
        newest = max(found, key=lambda record: record.recorded_at, default=None)
        return recorded_values(newest) if newest else None

    def ledger(self, ledger_id: str) -> Ledger | None:
        """Read a ledger."""
        with self._lock:
            return self.ledgers.get(ledger_id)

    def firing_ledgers(self) -> Iterator[Ledger]:
        """Ledgers with an incident that is not resolved."""
        with self._lock:
            ledgers = list(self.ledgers.values())
        for ledger in ledgers:
            if any(i.state is not IncidentState.RESOLVED for i in ledger.incidents.values()):
                yield ledger

    def commit_run(
        self,
        record: RunRecord,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> bool:
        """Record a run with all that follows from it."""
        with self._lock:
            key, outcome = record.run.key, record.reading.outcome
            known = self.outcomes.get(key)
            if known is not None and (known is not Outcome.UNREADABLE or known is outcome):
                return False
            self._keep_ledger(ledger, sources, notices, audit, with_run=True)
            self.outcomes[key] = outcome
            if self._keep_runs:
                self.runs[key] = record
        return True

    def commit_act(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> None:
        """Keep a ledger changed by a person, by a remediation or by the clock."""
        with self._lock:
            self._keep_ledger(ledger, sources, notices, audit)

    def due(self, until: datetime) -> Due:
        """What waits and is due, oldest first."""
        notices, groups, notifications = [], [], []
        with self._lock:
            for key in self._due_keys[:MOST_DUE]:
                if key[0] > until:
                    break
                row = self.due_rows[key]
                if isinstance(row, Notice):
                    notices.append(row)
                elif isinstance(row, Notification):
                    notifications.append(row)
                else:
                    groups.append(row)
        return Due(tuple(notices), tuple(groups), tuple(notifications))

    def group(self, group_id: str) -> Group | None:
        """Read a group."""
        with self._lock:
            return self.groups.get(group_id)

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        notifications: Sequence[Notification],
        audit: AuditEntry | None,
    ) -> None:
        """Keep a group after ``previous``; ConflictError also if a notice was absorbed before."""
        turn = previous.due_at if previous else None
        turns = len({turn, group.due_at} - {None})
        _few_enough(1 + len(absorbed) + len(notifications) + turns + (audit is not None))
        with self._lock:
            known = self.groups.get(group.id)
            _same_version(
                f"group {group.id}",
                known.version if known else 0,
                previous.version if previous else 0,
            )
            if any(_key_of(notice) not in self.due_rows for notice in absorbed):
                raise ConflictError(f"a notice of group {group.id} was absorbed before")
            for notice in absorbed:
                self._drop_due(_key_of(notice))
            if turn:
                self._drop_due((turn, "group", group.id))
            if group.due_at:
                self._add_due((group.due_at, "group", group.id), group.id)
            for notification in notifications:
                self._add_due(_key_of(notification), notification)
            version = previous.version + 1 if previous else 1
            self.groups[group.id] = msgspec.structs.replace(group, version=version)
            if audit:
                self._keep_audit(audit)

    def told(self, notification: Notification, at: datetime) -> None:
        """Mark a notification as published."""
        with self._lock:
            self._drop_due(_key_of(notification))
            self.notifications_told[notification.id] = notification
            self.told_at[notification.id] = at

    def sources(self, endpoint: str) -> Sequence[InhibitionSource]:
        """What hides others at a place: ``account#region#endpoint``, or the schedule's name."""
        with self._lock:
            by_ledger = sorted(self.sources_of.get(endpoint, {}).items())
        return [source for _, sources in by_ledger for source in sources]

    def silences(self, now: datetime) -> Sequence[Silence]:
        """Silences that have not ended, by id."""
        with self._lock:
            return [s for _, s in sorted(self.kept_silences.items()) if s.ends_at > now]

    def keep_silence(self, silence: Silence, audit: AuditEntry) -> None:
        """Write a silence, or one with the same id anew."""
        with self._lock:
            self.kept_silences[silence.id] = silence
            self._keep_audit(audit)

    def audit(self, subject: str, limit: int) -> Sequence[AuditEntry]:
        """Audit entries of a ledger, group or silence, newest first."""
        with self._lock:
            rows = [(key, entry) for key, entry in self.audit_rows.items() if key[0] == subject]
        rows.sort(key=lambda row: row[0], reverse=True)
        return [entry for _, entry in rows[:limit]]

    def _keep_ledger(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
        *,
        with_run: bool = False,
    ) -> None:
        _few_enough(2 + with_run + (sources is not None) + len(notices))
        known = self.ledgers.get(ledger.id)
        _same_version(f"ledger {ledger.id}", known.version if known else 0, ledger.version)
        self.ledgers[ledger.id] = msgspec.structs.replace(ledger, version=ledger.version + 1)
        if sources is not None:
            by_ledger = self.sources_of.setdefault(ledger.scope.place, {})
            by_ledger[ledger.id] = tuple(sources)
        for notice in notices:
            self._add_due(_key_of(notice), notice)
        self._keep_audit(audit)

    def _keep_audit(self, entry: AuditEntry) -> None:
        self.audit_rows[entry.subject, entry.at, entry.id] = entry

    def _add_due(self, key: _Key, row: Notice | Notification | str) -> None:
        if key not in self.due_rows:
            insort(self._due_keys, key)
        self.due_rows[key] = row

    def _drop_due(self, key: _Key) -> None:
        if self.due_rows.pop(key, None) is not None:
            del self._due_keys[bisect_left(self._due_keys, key)]


class FixedPolicies:
    """Implements Policies with one that is set by hand."""

    def __init__(
        self, policy: Policy | None = None, trouble: Reason | None = None, evidence: str = ""
    ) -> None:
        """Hand out ``policy``, or the built-in one."""
        self.policy = policy or Policy()
        self.trouble = trouble
        self.evidence = evidence

    def current(self) -> PolicyInForce:
        """The policy as it is set now."""
        return PolicyInForce(self.policy, self.trouble, self.evidence)


def _key_of(row: Notice | Notification) -> _Key:
    if isinstance(row, Notice):
        return row.due_at, "notice", row.id
    return row.made_at, "notification", row.id


def _few_enough(rows: int) -> None:
    if rows > MOST_ACTIONS:
        raise TooLargeToKeepError(f"{rows} rows at once, a transaction takes {MOST_ACTIONS}")


def _same_version(what: str, known: int, expected: int) -> None:
    if known != expected:
        raise ConflictError(f"{what} has version {known}, not {expected}: read it again")
