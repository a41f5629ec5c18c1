"""The stores behind the ports, in this process: for backtests, demonstrations and tests.

The conditions are those of DynamoDB's store; one suite of tests runs against both.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

import msgspec
from guiderail.errors import ConflictError, TooLargeToKeepError
from guiderail.model.delivery import (
    ChannelState,
    Delivery,
    DeliveryRef,
    DeliveryState,
    Feedback,
    Outgoing,
    ReplyToken,
    ref_of,
)
from guiderail.model.incident import IncidentState, Ledger
from guiderail.model.message import Notification, Thread
from guiderail.model.notice import AuditEntry, Group, InhibitionSource, Notice, Silence
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Policy
from guiderail.model.record import RunRecord
from guiderail.model.remediation import Remediation
from guiderail.ports import MOST_DUE, MOST_OVERDUE, Due, PolicyInForce, Remembered, Wake
from guiderail.services.alerting import recorded_values

from guiderail_cli.in_memory_remediations import InMemoryRemediations

MOST_ACTIONS = 100
"""Rows of one commit: what a transaction of DynamoDB takes."""

_Key = tuple[datetime, str, str]
_Row = Notice | Outgoing | str


class InMemoryIncidents(InMemoryRemediations):
    """Implements Incidents, Deliveries, ReplyTokens and Remediations; may be used from many threads.

    Attributes:
        outcomes: Outcome of each run, by run key.
        runs: Record of each run, by run key; empty if they are not kept.
        ledgers: By ledger id.
        groups: By group id.
        sources_of: What hides others, by place (``account#region#endpoint``, or the schedule where
            there is no endpoint) and ledger id.
        kept_silences: By silence id, also those that have ended.
        due_rows: What waits, by due time, kind and id.
        messages: Notifications that were made, by id, in the order in which they were.
        outbox: Deliveries by id.
        turns: Of deliveries that are not over: when to look at them, by id.
        channels: State of each channel, by name.
        threads: By channel, and group with episode.
        tokens: Reply tokens, by digest.
        feedback_rows: What people called noise, by id.
        sent_in: Messages by route and start of its rate window.
        audit_rows: By subject, time and id, in the order in which they were written.
    """

    def __init__(self, *, keep_runs: bool = True) -> None:
        """Begin empty; without ``keep_runs`` only the outcomes of runs stay in memory."""
        super().__init__()
        self._lock = Lock()
        self._keep_runs = keep_runs
        self._due_keys: list[_Key] = []
        self.outcomes: dict[str, Outcome] = {}
        self.runs: dict[str, RunRecord] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.groups: dict[str, Group] = {}
        self.sources_of: dict[str, dict[str, tuple[InhibitionSource, ...]]] = {}
        self.kept_silences: dict[str, Silence] = {}
        self.due_rows: dict[_Key, _Row] = {}
        self.messages: dict[str, Notification] = {}
        self.outbox: dict[str, Delivery] = {}
        self.turns: dict[str, tuple[datetime, DeliveryRef]] = {}
        self.channels: dict[str, ChannelState] = {}
        self.threads: dict[tuple[str, str], Thread] = {}
        self.tokens: dict[str, ReplyToken] = {}
        self.feedback_rows: dict[str, Feedback] = {}
        self.sent_in: Counter[tuple[str, datetime]] = Counter()
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
        requests: Sequence[Remediation] = (),
        wakes: Sequence[Wake] = (),
    ) -> bool:
        """Record a run with all that follows from it."""
        with self._lock:
            key, outcome = record.run.key, record.reading.outcome
            known = self.outcomes.get(key)
            if known is not None and (known is not Outcome.UNREADABLE or known is outcome):
                return False
            self._keep_ledger(ledger, sources, notices, audit, with_run=True)
            self._request(requests, wakes)
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
        notices, groups, digested = [], [], []
        with self._lock:
            for key in self._due_keys[:MOST_DUE]:
                if key[0] > until:
                    break
                row = self.due_rows[key]
                if isinstance(row, Notice):
                    notices.append(row)
                elif isinstance(row, Outgoing):
                    digested.append(row)
                else:
                    groups.append(row)
        return Due(tuple(notices), tuple(groups), tuple(digested))

    def group(self, group_id: str) -> Group | None:
        """Read a group."""
        with self._lock:
            return self.groups.get(group_id)

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        outgoing: Sequence[Outgoing],
        audit: AuditEntry | None,
    ) -> None:
        """Keep a group after ``previous``; ConflictError also if a notice was absorbed before."""
        turn = previous.due_at if previous else None
        turns = len({turn, group.due_at} - {None})
        rows = sum(map(_rows_of, outgoing))
        _few_enough(1 + len(absorbed) + rows + turns + (audit is not None))
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
            for one in outgoing:
                self._keep_outgoing(one)
            version = previous.version + 1 if previous else 1
            self.groups[group.id] = msgspec.structs.replace(group, version=version)
            if audit:
                self._keep_audit(audit)

    def commit_digest(self, outgoing: Outgoing, instead_of: Sequence[Outgoing]) -> None:
        """Keep a digest; ConflictError if one of its notifications was in another before."""
        with self._lock:
            keys = [_digest_key(one) for one in instead_of]
            if any(key not in self.due_rows for key in keys):
                raise ConflictError("a notification was in a digest before")
            for key in keys:
                self._drop_due(key)
            self._keep_outgoing(outgoing)

    def sent(self, route: str, window: datetime) -> int:
        """How many messages a route sent in a window."""
        return self.sent_in[route, window]

    def recall_deliveries(self, refs: Sequence[DeliveryRef]) -> Mapping[str, Remembered]:
        """Deliveries and what is read beside them."""
        known = {}
        with self._lock:
            for ref in refs:
                delivery, message = self.outbox.get(ref.id), self.messages.get(ref.notification)
                if delivery and message:
                    channel = self.channels.get(ref.channel, ChannelState())
                    thread = self.threads.get((ref.channel, ref.thread))
                    known[ref.id] = Remembered(delivery, message, channel, thread)
        return known

    def claim(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        tokens: Sequence[ReplyToken] = (),
        thread: Thread | None = None,
    ) -> Delivery:
        """Keep a delivery as being sent, with its tokens and its thread."""
        with self._lock:
            known = self.threads.get((after.channel, ref.thread))
            if thread and known and known.number > thread.number:
                raise ConflictError(f"message {known.number} of the thread is newer")
            kept = self._keep_delivery(before, after, ref)
            if thread:
                self.threads[after.channel, ref.thread] = thread
            self.tokens.update({token.digest: token for token in tokens})
            return kept

    def keep(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        thread: Thread | None = None,
        instead: Sequence[Outgoing] = (),
    ) -> Delivery:
        """Keep what became of a delivery."""
        with self._lock:
            kept = self._keep_delivery(before, after, ref)
            known = self.threads.get((after.channel, ref.thread))
            if thread and (known is None or known.number <= thread.number):
                self.threads[after.channel, ref.thread] = thread
            for outgoing in instead:
                self._keep_outgoing(outgoing, with_message=False)
            return kept

    def keep_channel(self, name: str, state: ChannelState) -> None:
        """Keep a channel's state."""
        with self._lock:
            known = self.channels.get(name, ChannelState())
            _same_version(f"channel {name}", known.version, state.version)
            self.channels[name] = msgspec.structs.replace(state, version=state.version + 1)

    def overdue(self, now: datetime) -> Sequence[DeliveryRef]:
        """Deliveries that have to be looked at, oldest first."""
        with self._lock:
            due = [ref for at, ref in self.turns.values() if at <= now]
        return sorted(due, key=lambda ref: (ref.made_at, ref.id))[:MOST_OVERDUE]

    def look_later(self, ref: DeliveryRef, at: datetime) -> None:
        """Have a delivery looked at again at a time, unless it is over by now."""
        with self._lock:
            if ref.id in self.turns:
                self.turns[ref.id] = at, ref

    def deliveries(
        self, since: datetime, until: datetime, states: Collection[DeliveryState] = ()
    ) -> Iterator[Delivery]:
        """Deliveries made within a time, oldest first."""
        with self._lock:
            rows = sorted(self.outbox.values(), key=lambda d: (d.made_at, d.id))
        for row in rows:
            if since <= row.made_at <= until and (not states or row.state in states):
                yield row

    def deliveries_of(self, notification: str, made_at: datetime) -> Sequence[Delivery]:
        """The deliveries of one notification."""
        made = self.deliveries(made_at, made_at)
        return [delivery for delivery in made if delivery.notification == notification]

    def notification(self, notification_id: str) -> Notification | None:
        """Read a notification."""
        return self.messages.get(notification_id)

    def send_test(self, outgoing: Outgoing) -> None:
        """Keep a notification that belongs to no group."""
        with self._lock:
            self._keep_outgoing(outgoing)

    def token(self, digest: str) -> ReplyToken | None:
        """Read a token."""
        return self.tokens.get(digest)

    def use(self, digest: str, by: str, at: datetime) -> bool:
        """Mark a token as used."""
        with self._lock:
            token = self.tokens.get(digest)
            if token is None or token.used_at:
                return False
            self.tokens[digest] = msgspec.structs.replace(token, used_at=at, used_by=by)
            return True

    def keep_audit(self, entry: AuditEntry) -> None:
        """Keep an audit entry of an answer that changed nothing."""
        with self._lock:
            self._keep_audit(entry)

    def keep_feedback(self, feedback: Feedback, audit: AuditEntry) -> None:
        """Keep feedback; the same id again changes nothing."""
        with self._lock:
            if feedback.id not in self.feedback_rows:
                self.feedback_rows[feedback.id] = feedback
                self._keep_audit(audit)

    def feedback(self, since: datetime) -> Iterator[Feedback]:
        """What people called noise, oldest first."""
        rows = sorted(self.feedback_rows.values(), key=lambda f: (f.at, f.id))
        yield from (row for row in rows if row.at >= since)

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

    def _keep_outgoing(self, outgoing: Outgoing, *, with_message: bool = True) -> None:
        message = outgoing.notification
        if outgoing.digest_at:
            self._add_due(_digest_key(outgoing), outgoing)
        if with_message:
            self.messages[message.id] = message
        for delivery in outgoing.deliveries:
            self._keep_delivery(delivery, delivery, ref_of(delivery, message, delivery.made_at))
        if outgoing.window:
            self.sent_in[message.route, outgoing.window] += 1

    def _keep_delivery(self, before: Delivery, after: Delivery, ref: DeliveryRef) -> Delivery:
        known = self.outbox.get(before.id)
        _same_version(f"delivery {before.id}", known.version if known else 0, before.version)
        if after.look_at:
            self.turns[after.id] = after.look_at, ref
        else:
            self.turns.pop(after.id, None)
        kept = msgspec.structs.replace(after, version=before.version + 1)
        self.outbox[before.id] = kept
        return kept

    def _keep_audit(self, entry: AuditEntry) -> None:
        self.audit_rows[entry.subject, entry.at, entry.id] = entry

    def _add_due(self, key: _Key, row: _Row) -> None:
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


def _key_of(notice: Notice) -> _Key:
    return notice.due_at, "notice", notice.id


def _digest_key(outgoing: Outgoing) -> _Key:
    at = outgoing.digest_at or outgoing.notification.made_at
    return at, "digest", outgoing.notification.id


def _rows_of(outgoing: Outgoing) -> int:
    digest, window = outgoing.digest_at is not None, outgoing.window is not None
    return 1 + 2 * len(outgoing.deliveries) + digest + window


def _few_enough(rows: int) -> None:
    if rows > MOST_ACTIONS:
        raise TooLargeToKeepError(f"{rows} rows at once, a transaction takes {MOST_ACTIONS}")


def _same_version(what: str, known: int, expected: int) -> None:
    if known != expected:
        raise ConflictError(f"{what} has version {known}, not {expected}: read it again")
