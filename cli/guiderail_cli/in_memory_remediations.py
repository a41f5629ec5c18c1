"""Remediations in memory: for tests, and for commands that try things out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from threading import Lock

from guiderail.errors import ConflictError
from guiderail.model.delivery import Outgoing
from guiderail.model.notice import AuditEntry
from guiderail.model.remediation import Guard, Remediation
from guiderail.ports import MOST_WAKES, Wake
from msgspec.structs import replace


class InMemoryRemediations:
    """Implements Remediations beside what else a store keeps.

    Attributes:
        kept_remediations: By id.
        guard_kept: The guard.
        wake_rows: What wakes, in no order.
        handles: Remediation ids by handle.
    """

    _lock: Lock

    def __init__(self) -> None:
        """Begin empty."""
        self.kept_remediations: dict[str, Remediation] = {}
        self.guard_kept = Guard()
        self.wake_rows: set[Wake] = set()
        self.handles: dict[str, str] = {}

    def remediation(self, remediation_id: str) -> Remediation | None:
        """Read a remediation."""
        with self._lock:
            return self.kept_remediations.get(remediation_id)

    def remediations(
        self, since: datetime, until: datetime, ledger: str = ""
    ) -> Iterator[Remediation]:
        """Remediations requested within a time, newest first."""
        with self._lock:
            rows = sorted(self.kept_remediations.values(), key=lambda r: r.id, reverse=True)
        for row in rows:
            if since <= row.requested_at <= until and ledger in ("", row.ledger):
                yield row

    def guard(self) -> Guard:
        """Read the guard."""
        with self._lock:
            return self.guard_kept

    def keep_remediation(
        self,
        before: Remediation | None,
        after: Remediation,
        audit: AuditEntry | None = None,
        guard: Guard | None = None,
        outgoing: Sequence[Outgoing] = (),
        wake_at: datetime | None = None,
    ) -> Remediation:
        """Keep a remediation after the version it was read with."""
        with self._lock:
            known = self.kept_remediations.get(after.id)
            if (known.version if known else 0) != (before.version if before else 0):
                raise ConflictError(f"remediation {after.id} was written in between")
            if guard is not None and guard.version != self.guard_kept.version:
                raise ConflictError("the guard was written in between")
            kept = self._put_remediation(before, after)
            if guard is not None:
                self.guard_kept = replace(guard, version=guard.version + 1)
            if wake_at:
                self.wake_rows.add(Wake(after.id, wake_at))
            for one in outgoing:
                self._keep_outgoing(one)
            if audit:
                self._keep_audit(audit)
            return kept

    def keep_guard(self, guard: Guard, audit: AuditEntry) -> None:
        """Keep the guard alone."""
        with self._lock:
            if guard.version != self.guard_kept.version:
                raise ConflictError("the guard was written in between")
            self.guard_kept = replace(guard, version=guard.version + 1)
            self._keep_audit(audit)

    def wakes(self, until: datetime) -> Sequence[Wake]:
        """What has to be woken by now, oldest first."""
        with self._lock:
            due = [wake for wake in self.wake_rows if wake.at <= until]
        return sorted(due, key=lambda wake: (wake.at, wake.remediation))[:MOST_WAKES]

    def woken(self, wake: Wake) -> None:
        """Forget a wake."""
        with self._lock:
            self.wake_rows.discard(wake)

    def by_handle(self, handle: str) -> str | None:
        """The id of the remediation that awaits what is known by a handle."""
        with self._lock:
            return self.handles.get(handle)

    def _put_remediation(self, before: Remediation | None, after: Remediation) -> Remediation:
        kept = replace(after, version=(before.version if before else 0) + 1)
        self.kept_remediations[after.id] = kept
        known = before.look_at if before else None
        if known and known != after.look_at:
            self.wake_rows.discard(Wake(after.id, known))
        if after.look_at and after.look_at != known:
            self.wake_rows.add(Wake(after.id, after.look_at))
        if after.handle:
            self.handles[after.handle] = after.id
        return kept

    def _request(self, requests: Iterable[Remediation], wakes: Iterable[Wake]) -> None:
        for request in requests:
            self._put_remediation(None, request)
        self.wake_rows.update(wakes)

    def _keep_outgoing(self, outgoing: Outgoing, *, with_message: bool = True) -> None:
        raise NotImplementedError

    def _keep_audit(self, audit: AuditEntry) -> None:
        raise NotImplementedError
