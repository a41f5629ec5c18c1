"""Records on their way into a feature group: its schema, an object to read, and how far that is done.

Source of limits: Amazon SageMaker Developer Guide, "Quotas, naming rules and data types" of Feature Store;
botocore's service model sagemaker-featurestore-runtime 2020-07-01.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from guiderail.errors import PermanentError, RejectedRequestError

LARGEST_RECORD = 358_400
"""Bytes of all values of a record, and so of each (350 KB)."""

LONGEST_IDENTIFIER = 2048
"""Bytes of a record's identifier (2 KB)."""

MOST_ENTRIES = 25
"""Records of one BatchWriteRecord."""

DELETED_MARK = "is_deleted"
"""Column that Feature Store adds in its offline store; no feature may be called so."""


class SourceChangedError(PermanentError):
    """An object is not the one any more that was listed."""

    code = "source_changed"


class MalformedSourceError(PermanentError):
    """An object cannot be read as what it is said to be."""

    code = "malformed_source"


class OperationMissingError(PermanentError):
    """The service does not know the operation, in this region or at all."""

    code = "operation_missing"


class FileFormat(StrEnum):
    """How records stand in an object."""

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


class FeatureType(StrEnum):
    """A feature's type, as Feature Store calls it."""

    INTEGRAL = "Integral"
    FRACTIONAL = "Fractional"
    STRING = "String"


class RejectCode(StrEnum):
    """Why a record was not written."""

    MALFORMED_ROW = "malformed_row"
    MISSING_IDENTIFIER = "missing_identifier"
    MISSING_EVENT_TIME = "missing_event_time"
    UNREADABLE_EVENT_TIME = "unreadable_event_time"
    WRONG_TYPE = "wrong_type"
    TOO_LONG = "too_long"
    REFUSED = "refused"


class FeatureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What DescribeFeatureGroup says of a group.

    Attributes:
        features: Type by name, identifier and event time among them.
        collections: Those that hold lists, sets or vectors.
    """

    name: str
    identifier: str
    event_time: str
    features: dict[str, FeatureType]
    collections: frozenset[str] = frozenset()

    def chosen(self, features: Collection[str]) -> dict[str, FeatureType]:
        """The features to write, by name: identifier first, event time, then the others as the group has them.

        Args:
            features: Those that are asked for; none: all.

        Raises:
            RejectedRequestError: The group has no such feature, or one to write is a collection.
        """
        if unknown := sorted(set(features) - self.features.keys()):
            raise RejectedRequestError(
                f"feature group {self.name} has no feature {', '.join(unknown)}",
                remedy=f"It has {', '.join(self.features)}",
            )
        others = [name for name in self.features if not features or name in features]
        names = dict.fromkeys([self.identifier, self.event_time, *others])
        if lists := sorted(names.keys() & self.collections):
            raise RejectedRequestError(
                f"features {', '.join(lists)} of {self.name} are collections, which are not ingested",
                remedy="Select features without them; a record is replaced as a whole",
            )
        return {name: self.features[name] for name in names}

    def left_out(self, features: Collection[str]) -> tuple[str, ...]:
        """Features that records will not have any more: writing one replaces all of it."""
        chosen = self.chosen(features)
        return tuple(name for name in self.features if name not in chosen)


class ObjectTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object to ingest.

    Attributes:
        uri: S3 URI.
        size: Bytes, as it was listed.
        etag: What it has to be still; without quotes.
        feature_group: Name or ARN.
        format: ``auto`` goes by the key's extension.
        features: Those to write besides identifier and event time; empty: all.
        since: Unix seconds; records with an earlier event time are passed over.
        until: Unix seconds; records with this event time or a later one are passed over.
        rate: Records per second.
        checkpoint: S3 URI of the object that says how far this one is.
        rejects: S3 URI that the names of its reject files begin with.
        path: A copy of the object on this machine, to be read instead.
    """

    uri: str
    size: int
    etag: str
    feature_group: str
    checkpoint: str
    rejects: str
    format: str = "auto"
    features: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    rate: float = 2000.0
    path: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an object is; kept after each chunk.

    Attributes:
        etag: Of the object; another one was read from its beginning.
        rows: Rows from its beginning that need not be looked at again.
        passed_over: Records out of the time range, or deleted ones of an offline store.
        reasons: How many records were rejected, by code.
        one_by_one: Whether records had to be written by PutRecord.
        done: Whether it was read to its end.
    """

    etag: str
    rows: int = 0
    written: int = 0
    passed_over: int = 0
    reasons: dict[RejectCode, int] = {}
    one_by_one: bool = False
    done: bool = False

    @property
    def rejected(self) -> int:
        """Records in reject files."""
        return sum(self.reasons.values())


class Reject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that was not written, as a line of a reject file.

    Attributes:
        features: What was asked for, as in ObjectTask.
        object: S3 URI of where it stood.
        row: Its number there, from 1, without a header; lines of JSON Lines.
        values: As they stood there, by feature.
        text: The row itself, where no values could be made of it.
    """

    feature_group: str
    object: str
    etag: str
    row: int
    code: RejectCode
    message: str
    features: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    text: str = ""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of an object, checked, with the records among them encoded; the lists go together.

    Attributes:
        rows: How many rows of the object it stands for.
        identifiers: Of the records.
        times: Their event times in Unix seconds.
        bodies: The records as JSON arrays of FeatureValue, as both operations take them.
        numbers: Their rows' numbers.
        rejects: Rows that are none.
        passed_over: Rows out of the time range.
    """

    rows: int
    identifiers: Sequence[str]
    times: Sequence[float]
    bodies: Sequence[bytes]
    numbers: Sequence[int]
    rejects: Sequence[Reject] = ()
    passed_over: int = 0


_EXTENSIONS: Mapping[str, FileFormat] = {
    "csv": FileFormat.CSV,
    "parquet": FileFormat.PARQUET,
    "pq": FileFormat.PARQUET,
    "jsonl": FileFormat.JSONL,
    "ndjson": FileFormat.JSONL,
    "json": FileFormat.JSONL,
}
_COMPRESSIONS: Mapping[str, str] = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}


def format_of(uri: str, wanted: str = "auto") -> tuple[FileFormat, str]:
    """Format of an object and how it is compressed, in Arrow's words; empty: not.

    Raises:
        MalformedSourceError: The extension says no format, and none is named.
        RejectedRequestError: The named format is none.
    """
    parts = uri.rpartition("/")[2].lower().split(".")
    compression = _COMPRESSIONS.get(parts[-1], "") if len(parts) > 1 else ""
    extension = parts[-2 if compression else -1] if len(parts) > 1 + bool(compression) else ""
    if wanted != "auto":
        if wanted not in set(FileFormat):
            raise RejectedRequestError(
                f"{wanted!r} is no format", remedy="Write auto, csv, parquet or jsonl"
            )
        found = FileFormat(wanted)
    elif extension in _EXTENSIONS:
        found = _EXTENSIONS[extension]
    else:
        raise MalformedSourceError(
            f"the name of {uri} does not say its format", remedy="Name it: csv, parquet or jsonl"
        )
    # Parquet compresses its own pages
    return found, "" if found is FileFormat.PARQUET else compression
