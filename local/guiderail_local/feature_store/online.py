"""The online store: the newest record of each identifier, in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from guiderail_local.feature_store.errors import ValidationError
from guiderail_local.feature_store.groups import CheckedRecord, FeatureGroup
from guiderail_local.feature_store.wire import FeatureValue, TargetStore

_TABLE = """
CREATE TABLE IF NOT EXISTS record (
    feature_group TEXT, identifier TEXT, event_time REAL, expires REAL, deleted INTEGER, content BLOB,
    PRIMARY KEY (feature_group, identifier)
) WITHOUT ROWID
"""

# "If a new record's EventTime is greater, the new record is written to both the OnlineStore and OfflineStore.
# Otherwise, the record is a historic record" (API reference, PutRecord); UpdateRecord alone takes an equal one
_WRITE = """
INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET event_time = excluded.event_time, expires = excluded.expires,
    deleted = excluded.deleted, content = excluded.content
WHERE excluded.event_time > event_time OR (expires IS NOT NULL AND expires <= ?)
"""

_RECORD = msgspec.json.Decoder(list[FeatureValue])


@dataclass(frozen=True)
class Kept:
    """What the store holds of an identifier; times are seconds since 1970."""

    record: Sequence[FeatureValue]
    expires: float | None


@dataclass(frozen=True)
class Write:
    """A record that was taken, for the stores named; ``kept_for`` is its time to live in seconds."""

    group: FeatureGroup
    record: CheckedRecord
    stores: Sequence[TargetStore]
    kept_for: int | None = None


class OnlineStore:
    """Records by group and identifier; safe to use from several threads."""

    def __init__(self, file: Path | None = None) -> None:
        """Keep records in memory, or in a file that may be there already."""
        self._database = sqlite3.connect(str(file or ":memory:"), check_same_thread=False)
        self._lock = threading.Lock()
        with self._database:
            self._database.execute(_TABLE)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def write(self, writes: Iterable[Write], now: float) -> None:
        """Keep each record that is for this store, unless one of its identifier is as new."""
        rows = [
            (
                w.group.name,
                w.record.identifier,
                w.record.event_time,
                None if w.kept_for is None else w.record.event_time + w.kept_for,
                0,
                msgspec.json.encode(w.record.values),
                now,
            )
            for w in writes
            if w.group.online and "OnlineStore" in w.stores
        ]
        with self._lock, self._database:
            self._database.executemany(_WRITE, rows)

    def read(self, group: FeatureGroup, identifier: str, now: float) -> Kept | None:
        """The record of an identifier, unless it was deleted or has expired."""
        with self._lock:
            row = self._database.execute(
                "SELECT content, expires FROM record WHERE feature_group = ? AND identifier = ?"
                " AND NOT deleted AND (expires IS NULL OR expires > ?)",
                (group.name, identifier, now),
            ).fetchone()
        return Kept(_RECORD.decode(row[0]), row[1]) if row else None

    def delete(
        self, group: FeatureGroup, identifier: str, event_time: float, now: float, *, hard: bool
    ) -> None:
        """Delete a record if the event time is later than its own.

        A soft delete leaves its event time behind, so that no older record comes back.

        Raises:
            ValidationError: A hard delete is not later.
        """
        if not hard:
            row = (group.name, identifier, event_time, None, 1, b"[]", now)
            with self._lock, self._database:
                self._database.execute(_WRITE, row)
            return
        key = (group.name, identifier)
        with self._lock, self._database:
            found = self._database.execute(
                "SELECT event_time FROM record WHERE feature_group = ? AND identifier = ?", key
            ).fetchone()
            if found and found[0] >= event_time:
                raise ValidationError(
                    "Validation Error: EventTime must be later than that of the existing record"
                )
            self._database.execute(
                "DELETE FROM record WHERE feature_group = ? AND identifier = ?", key
            )

    def count(self, group: str) -> int:
        """How many records of a group can be read, were none to expire."""
        with self._lock:
            (counted,) = self._database.execute(
                "SELECT count(*) FROM record WHERE feature_group = ? AND NOT deleted", (group,)
            ).fetchone()
        return int(counted)
