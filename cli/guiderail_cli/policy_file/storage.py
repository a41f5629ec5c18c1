"""The policy's object in its versioned bucket, as the command line writes it.

Writes are optimistic: a new version is put under the condition that the newest one is still the one that
was looked at (``If-Match`` on its ETag, ``If-None-Match: *`` where there was none).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from guiderail.adapters.clients import translated
from guiderail.adapters.policies import LARGEST_POLICY
from guiderail.errors import (
    ConflictError,
    GuiderailError,
    NotFoundError,
    TooLargeToKeepError,
)
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy

KEY = "policy.json"

_LOST_RACE = frozenset(
    {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
)


class Base(msgspec.Struct, frozen=True):
    """Which stored version a local file comes from."""

    bucket: str
    key: str
    etag: str


class Kept(msgspec.Struct, frozen=True):
    """One stored version; ``stored`` is None if it cannot be read (then ``trouble`` says why)."""

    version_id: str
    etag: str
    at: datetime | None
    stored: StoredPolicy | None
    trouble: str = ""

    @property
    def who(self) -> str:
        """Who pushed it and when, for a sentence."""
        if self.stored is None:
            return "an object that is no policy"
        return (
            f"version {self.stored.policy.version}, pushed by {self.stored.pushed_by or 'somebody'}"
            f" at {self.stored.pushed_at or self.at}"
        )


class PolicyStore:
    """Reads and writes one policy; raises ``GuiderailError`` where S3 refuses or fails."""

    def __init__(self, bucket: str, key: str = KEY) -> None:
        """Work on ``key`` of ``bucket``."""
        import boto3

        self.bucket, self.key = bucket, key
        with translated("S3"):
            self._s3 = boto3.client("s3")

    @property
    def place(self) -> str:
        """The object as an S3 URI."""
        return f"s3://{self.bucket}/{self.key}"

    def current(self) -> Kept | None:
        """The newest version; None if there is none."""
        try:
            return self.version("")
        except NotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise NotFoundError(
                    f"there is no bucket {self.bucket}",
                    remedy="Pass --bucket or --stack, and look at the region",
                ) from error
            return None

    def version(self, version_id: str) -> Kept:
        """Read a version, the newest for an empty id. Raises NotFoundError."""
        wanted = {"VersionId": version_id} if version_id else {}
        with translated(f"GetObject {self.place} {version_id}".rstrip()):
            answer = self._s3.get_object(Bucket=self.bucket, Key=self.key, **wanted)
            content = answer["Body"].read(LARGEST_POLICY + 1)
        return _kept(content, answer)

    def version_ids(self) -> Iterator[str]:
        """Ids of the stored versions, newest first; deletions are left out."""
        with translated(f"ListObjectVersions {self.place}"):
            for page in self._s3.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=self.key
            ):
                for version in page.get("Versions", ()):
                    if version["Key"] == self.key:
                        yield str(version["VersionId"])

    def find(self, version: str) -> Kept:
        """Find a version by S3's id, or by the beginning of the policy's own. Raises NotFoundError."""
        ids = list(self.version_ids())
        if version in ids:
            return self.version(version)
        for version_id in ids if len(version) >= 6 else ():
            kept = self.version(version_id)
            if kept.stored and kept.stored.policy.version.startswith(version):
                return kept
        raise NotFoundError(
            f"{self.place} has no version {version!r}", remedy="guiderail policy history lists them"
        )

    def put(self, stored: StoredPolicy, etag: str) -> Kept:
        """Store a new version after the one with ``etag``; empty: there is none yet.

        Raises:
            ConflictError: Somebody else pushed in between.
            TooLargeToKeepError: The compiled policy is larger than functions read.
        """
        from botocore.exceptions import ClientError

        content = msgspec.json.encode(stored)
        if len(content) > LARGEST_POLICY:
            raise TooLargeToKeepError(
                f"source and compiled policy are {len(content)} bytes, the limit is {LARGEST_POLICY}",
                remedy="Use globs instead of one rule per name, and fewer aliases",
            )
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with translated(f"PutObject {self.place}"):
            try:
                answer = self._s3.put_object(
                    Bucket=self.bucket,
                    Key=self.key,
                    Body=content,
                    ContentType="application/json",
                    **condition,
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _LOST_RACE:
                    raise self._lost_race() from error
                raise
        return Kept(str(answer.get("VersionId", "")), str(answer["ETag"]), None, stored)

    def _lost_race(self) -> GuiderailError:
        now = self.current()
        there = now.who if now else "nothing: the object was deleted"
        return ConflictError(
            f"{self.place} has changed since it was read: it now holds {there}",
            remedy="Look at it with guiderail policy pull, take its changes over, and push again",
        )


def _kept(content: bytes, answer: dict[str, Any]) -> Kept:
    trouble, stored = "", None
    if len(content) > LARGEST_POLICY:
        trouble = f"more than {LARGEST_POLICY} bytes"
    else:
        try:
            stored = msgspec.json.decode(content, type=StoredPolicy)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            trouble = str(error)
    if stored and stored.format != STORED_FORMAT:
        trouble, stored = f"format {stored.format}, this version reads {STORED_FORMAT}", None
    return Kept(
        str(answer.get("VersionId", "")),
        str(answer["ETag"]),
        answer["LastModified"],
        stored,
        trouble,
    )


def stored_policy(source: str, policy: Policy, who: str, now: datetime) -> StoredPolicy:
    """What is put into the bucket."""
    return StoredPolicy(
        format=STORED_FORMAT,
        source=source,
        policy=policy,
        pushed_by=who,
        pushed_at=now.isoformat(timespec="seconds"),
    )
