"""S3: the operator's policy, read again only when it has changed."""

from __future__ import annotations

import threading

import msgspec
from botocore.exceptions import ClientError

from guiderail.adapters.clients import client, translated
from guiderail.errors import NotFoundError, PermanentError, TransientError
from guiderail.model.outcome import Reason
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy
from guiderail.ports import Clock, PolicyInForce

LARGEST_POLICY = 2 * 1024 * 1024
"""Bytes of the stored object: source and compiled policy."""

VERSIONS_TRIED = 5
"""Earlier versions that are read in search of a good one."""

_REMEDY = "Push a policy: guiderail policy push FILE"


class UnreadablePolicyError(PermanentError):
    """The stored object is no policy that this version of Guiderail reads."""

    code = "unreadable_policy"


class _Format(msgspec.Struct, frozen=True):
    format: int


_FORMAT = msgspec.json.Decoder(_Format)
_STORED = msgspec.json.Decoder(StoredPolicy)


class S3Policies:
    """Implements Policies: one object of a versioned bucket, kept between the calls of a process.

    It makes no call within ``seconds``, then one GetObject (answered 304 where nothing changed). When
    the policy turns out missing or unreadable and the process has no good one, a ListObjectVersions
    and up to five GetObject follow, once.
    """

    def __init__(self, bucket: str, key: str, seconds: float, clock: Clock) -> None:
        """Read ``key`` of ``bucket``, at most once in so many seconds; no bucket means no policy."""
        self._bucket = bucket
        self._key = key
        self._seconds = seconds
        self._clock = clock
        self._held: PolicyInForce | None = None
        self._good: Policy | None = None
        self._etag = ""
        self._asked_at = 0.0
        self._reading = threading.Lock()

    def current(self) -> PolicyInForce:
        """The policy to judge by; what is wrong with the stored one is its ``trouble``."""
        if not self._bucket:
            evidence = (
                "No policy bucket is set (GUIDERAIL_POLICY_BUCKET); deploy the template again."
            )
            return PolicyInForce(Policy(), Reason.POLICY_MISSING, evidence)
        # threads that come meanwhile take what the first one reads
        with self._reading:
            now = self._clock().timestamp()
            # a clock that was put back does not keep an old policy in force
            if self._held and 0 <= now - self._asked_at < self._seconds:
                return self._held
            try:
                self._held = self._read(self._held)
            except TransientError:
                if self._held is None:
                    raise
            self._asked_at = now
            return self._held

    def _read(self, held: PolicyInForce | None) -> PolicyInForce:
        try:
            read = self._fetch(IfNoneMatch=self._etag) if held and self._etag else self._fetch()
        except TransientError:
            raise
        except PermanentError as error:
            self._etag = ""
            missing = isinstance(error, NotFoundError)
            reason = Reason.POLICY_MISSING if missing else Reason.POLICY_UNREADABLE
            if self._good is None and not (held and held.trouble is reason):
                self._good = self._earlier()
            policy = self._good or Policy()
            said = str(error).rstrip(".")
            evidence = f"{said}. In force is version {policy.version}. {_REMEDY}"
            return PolicyInForce(policy, reason, evidence)
        if read is None:
            assert held, "304 answers an ETag only"
            return held
        self._etag, self._good = read
        return PolicyInForce(self._good)

    def _fetch(self, **which: str) -> tuple[str, Policy] | None:
        """ETag and policy of the object or of one version; None where the ETag has not changed."""
        uri = f"s3://{self._bucket}/{self._key}"
        with translated(f"GetObject {uri}"):
            try:
                answer = client("s3").get_object(Bucket=self._bucket, Key=self._key, **which)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                    return None
                raise
            uri += f" (version {answer.get('VersionId', 'null')})"
            if answer["ContentLength"] > LARGEST_POLICY:
                answer["Body"].close()
                raise UnreadablePolicyError(
                    f"{uri} has {answer['ContentLength']} bytes, the limit is {LARGEST_POLICY}"
                )
            content = answer["Body"].read()
        return answer["ETag"], _decoded(content, uri)

    def _earlier(self) -> Policy | None:
        """The newest readable one of the latest earlier versions."""
        try:
            for version in self._earlier_versions():
                try:
                    read = self._fetch(VersionId=version)
                except PermanentError:
                    continue
                return read[1] if read else None
        except PermanentError:
            # the list is refused: the reason is the one already known, or the same role lacks it
            return None
        return None

    def _earlier_versions(self) -> list[str]:
        with translated(f"ListObjectVersions s3://{self._bucket}/{self._key}"):
            answer = client("s3").list_object_versions(Bucket=self._bucket, Prefix=self._key)
        versions = [
            version["VersionId"]
            for version in answer.get("Versions", [])
            if version["Key"] == self._key and not version["IsLatest"]
        ]
        return versions[:VERSIONS_TRIED]


def _decoded(content: bytes, uri: str) -> Policy:
    try:
        written = _FORMAT.decode(content).format
        if written != STORED_FORMAT:
            raise UnreadablePolicyError(
                f"{uri} has format {written}, this version of Guiderail reads format {STORED_FORMAT}"
            )
        return _STORED.decode(content).policy
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadablePolicyError(f"{uri} is no stored policy: {error}") from error
