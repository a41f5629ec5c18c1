"""The policy in S3: when it is read, and what holds when it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from guiderail.adapters.clients import client
from guiderail.adapters.policies import LARGEST_POLICY, VERSIONS_TRIED, S3Policies
from guiderail.adapters.sagemaker import SageMakerTags
from guiderail.errors import AccessDeniedError, ThrottledError, UnavailableError
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import (
    STORED_FORMAT,
    Effect,
    Layer,
    Match,
    Policy,
    Route,
    Rule,
    StoredPolicy,
)
from guiderail_local.sagemaker import SageMaker

from tests.moto_region import region

BUCKET = "policy-bucket"
KEY = "policy.json"
SECONDS = 60


class SetClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 9, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[SageMaker]:
    """A server that all tests here share."""
    with region() as server:
        yield server


@pytest.fixture
def s3(server: SageMaker) -> Iterator[Any]:
    """A client, with an empty bucket that keeps versions."""
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield s3
    found = s3.list_object_versions(Bucket=BUCKET)
    for row in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=BUCKET, Key=row["Key"], VersionId=row["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def calls(s3: Any) -> Iterator[list[str]]:
    """S3 operations called, in order."""
    made: list[str] = []

    def note(model: Any, **_: Any) -> None:
        made.append(model.name)

    s3.meta.events.register("before-call.s3", note)
    yield made
    s3.meta.events.unregister("before-call.s3", note)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def policies(s3: Any, clock: SetClock) -> S3Policies:
    return S3Policies(BUCKET, KEY, SECONDS, clock)


def policy(version: str) -> Policy:
    rule = Rule(
        name="loan",
        layer=Layer.RULE,
        line=12,
        match=Match(endpoint=("loan-*",)),
        effect=Effect(threshold=0.2, direction=Direction.ABOVE),
    )
    child = Route(name="night", receiver="ops", match=Match(severity=("error",)))
    return Policy(
        version=version,
        rules=(rule,),
        route=Route(name="default", receiver="default", routes=(child,)),
    )


def put(s3: Any, version: str, **changes: Any) -> None:
    stored = StoredPolicy(format=STORED_FORMAT, source="rules: []", policy=policy(version))
    content = msgspec.json.encode(msgspec.structs.replace(stored, **changes))
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=content)


def put_text(s3: Any, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=content)


def refuse(monkeypatch: pytest.MonkeyPatch, operation: str, code: str, status: int) -> None:
    def refused(**_: Any) -> None:
        answer: Any = {
            "Error": {"Code": code, "Message": "no"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(answer, operation)

    monkeypatch.setattr(client("s3"), operation, refused)


# ------------------------------------------------------------------------------------ when read


def test_a_stored_policy_is_in_force(s3: Any, policies: S3Policies) -> None:
    put(s3, "v1")
    now = policies.current()
    assert now.policy == policy("v1")
    assert now.trouble is None
    assert now.evidence == ""


def test_within_its_seconds_nothing_is_read(
    s3: Any, policies: S3Policies, clock: SetClock, calls: list[str]
) -> None:
    put(s3, "v1")
    calls.clear()
    policies.current()
    put(s3, "v2")
    calls.remove("PutObject")
    clock.forward(SECONDS - 0.001)
    assert policies.current().policy.version == "v1"
    assert calls == ["GetObject"]
    clock.forward(0.001)
    assert policies.current().policy.version == "v2"
    assert calls == ["GetObject", "GetObject"]


def test_an_unchanged_policy_is_asked_for_by_etag(
    s3: Any, policies: S3Policies, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v1")
    first = policies.current()
    answers: list[int] = []
    s3.meta.events.register(
        "after-call.s3.GetObject", lambda http_response, **_: answers.append(http_response.status_code),
        unique_id="answers",
    )  # fmt: skip
    for _ in range(2):
        clock.forward(SECONDS)
        assert policies.current() is first
    s3.meta.events.unregister("after-call.s3.GetObject", unique_id="answers")
    assert answers == [304, 304]


def test_a_clock_put_back_keeps_no_old_policy(
    s3: Any, policies: S3Policies, clock: SetClock
) -> None:
    put(s3, "v1")
    policies.current()
    put(s3, "v2")
    clock.forward(-3600)
    assert policies.current().policy.version == "v2"


# --------------------------------------------------------------------------------- not there


def test_without_a_bucket_everything_alerts(clock: SetClock) -> None:
    now = S3Policies("", KEY, SECONDS, clock).current()
    assert now.policy == Policy()
    assert now.trouble is Reason.POLICY_MISSING
    assert "GUIDERAIL_POLICY_BUCKET" in now.evidence


def test_without_an_object_everything_alerts_until_one_is_pushed(
    s3: Any, policies: S3Policies, clock: SetClock, calls: list[str]
) -> None:
    now = policies.current()
    assert now.policy == Policy()
    assert now.trouble is Reason.POLICY_MISSING
    assert f"s3://{BUCKET}/{KEY}" in now.evidence
    assert "built-in" in now.evidence
    assert "guiderail policy push" in now.evidence
    assert calls == ["GetObject", "ListObjectVersions"]
    clock.forward(SECONDS)
    assert policies.current() == now
    assert calls[2:] == ["GetObject"]
    put(s3, "v1")
    clock.forward(SECONDS)
    assert policies.current().policy.version == "v1"
    assert policies.current().trouble is None


def test_a_bucket_that_is_gone_is_a_missing_policy(s3: Any, clock: SetClock) -> None:
    now = S3Policies("no-such-bucket", KEY, SECONDS, clock).current()
    assert (now.policy, now.trouble) == (Policy(), Reason.POLICY_MISSING)
    assert "NoSuchBucket" in now.evidence


def test_a_deleted_policy_stays_in_force(s3: Any, policies: S3Policies, clock: SetClock) -> None:
    put(s3, "v1")
    policies.current()
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    clock.forward(SECONDS)
    for place in (policies, S3Policies(BUCKET, KEY, SECONDS, clock)):
        now = place.current()
        assert now.policy == policy("v1")
        assert now.trouble is Reason.POLICY_MISSING
        assert "version v1" in now.evidence
    # the very same object again: its ETag is the old one
    put(s3, "v1")
    clock.forward(SECONDS)
    assert policies.current().trouble is None


# -------------------------------------------------------------------------------- unreadable

UNREADABLE = {
    "empty": b"",
    "yaml": b"rules: []",
    "not UTF-8": b'{"format": 1, "source": "\xff"}',
    "no format": b"{}",
    "list": b"[]",
    "a newer format": msgspec.json.encode({"format": STORED_FORMAT + 1, "policy": {"rules": {}}}),
    "no policy": msgspec.json.encode({"format": STORED_FORMAT, "source": ""}),
    "wrong severity": msgspec.json.encode(
        {
            "format": STORED_FORMAT,
            "source": "",
            "policy": {"rules": [{"name": "x", "layer": "rule", "effect": {"severity": "bad"}}]},
        }
    ),
    "nested": b'{"format": 1, "x": ' + b"[" * 100_000,
    "routes without end": b'{"format":1,"source":"","policy":{"route":'
    + b'{"name":"a","receiver":"b","routes":[' * 20_000,
    "too large": b" " * (LARGEST_POLICY + 1),
}  # fmt: skip


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_policy_leaves_the_last_good_one_in_force(
    s3: Any, policies: S3Policies, clock: SetClock, content: bytes
) -> None:
    put(s3, "v1")
    policies.current()
    put_text(s3, content)
    version = s3.head_object(Bucket=BUCKET, Key=KEY)["VersionId"]
    clock.forward(SECONDS)
    for place in (policies, S3Policies(BUCKET, KEY, SECONDS, clock)):
        now = place.current()
        assert now.policy == policy("v1")
        assert now.trouble is Reason.POLICY_UNREADABLE
        for word in (f"s3://{BUCKET}/{KEY}", version, "version v1", "guiderail policy push"):
            assert word in now.evidence
        # trouble lasts until it is mended, also when nothing changed since
        clock.forward(SECONDS)
        assert place.current() == now
    put(s3, "v2")
    clock.forward(SECONDS)
    assert policies.current() == msgspec.structs.replace(
        now, policy=policy("v2"), trouble=None, evidence=""
    )


def test_the_newest_readable_version_is_looked_for_once(
    s3: Any, policies: S3Policies, clock: SetClock, calls: list[str]
) -> None:
    put(s3, "v0")
    put(s3, "v1")
    s3.put_object(Bucket=BUCKET, Key=f"{KEY}.backup", Body=b"{}")
    put_text(s3, b"bad")
    put_text(s3, b"worse")
    calls.clear()
    assert policies.current().policy.version == "v1"
    assert calls == ["GetObject", "ListObjectVersions", "GetObject", "GetObject"]
    clock.forward(SECONDS)
    assert policies.current().policy.version == "v1"
    assert calls[4:] == ["GetObject"]


def test_not_every_version_is_looked_at(
    s3: Any, policies: S3Policies, clock: SetClock, calls: list[str]
) -> None:
    put(s3, "v0")
    for number in range(VERSIONS_TRIED + 1):
        put_text(s3, b"bad" * number)
    calls.clear()
    now = policies.current()
    assert (now.policy, now.trouble) == (Policy(), Reason.POLICY_UNREADABLE)
    assert calls == ["GetObject", "ListObjectVersions", *["GetObject"] * VERSIONS_TRIED]
    clock.forward(SECONDS)
    policies.current()
    assert calls.count("ListObjectVersions") == 1


def test_a_policy_that_may_not_be_read_says_what_to_grant(
    s3: Any, policies: S3Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v1")
    for operation in ("get_object", "list_object_versions"):
        refuse(monkeypatch, operation, "AccessDenied", 403)
    now = policies.current()
    assert (now.policy, now.trouble) == (Policy(), Reason.POLICY_UNREADABLE)
    assert "Grant the function's role" in now.evidence


# ------------------------------------------------------------------------------------ S3 is away


def test_while_s3_is_away_the_last_policy_holds(
    s3: Any, policies: S3Policies, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v1")
    first = policies.current()
    with monkeypatch.context() as away:
        refuse(away, "get_object", "ServiceUnavailable", 503)
        clock.forward(SECONDS)
        assert policies.current() is first
    put(s3, "v2")
    clock.forward(SECONDS)
    assert policies.current().policy.version == "v2"


def test_without_any_policy_yet_the_run_has_to_wait(
    s3: Any, policies: S3Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v1")
    with monkeypatch.context() as away:
        refuse(away, "get_object", "ServiceUnavailable", 503)
        with pytest.raises(UnavailableError):
            policies.current()
    assert policies.current().policy.version == "v1"


def test_a_search_that_breaks_off_is_made_again(
    s3: Any, policies: S3Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v1")
    put_text(s3, b"bad")
    with monkeypatch.context() as away:
        refuse(away, "list_object_versions", "SlowDown", 503)
        with pytest.raises(ThrottledError):
            policies.current()
    assert policies.current().policy.version == "v1"


# ------------------------------------------------------------------------------------------ tags


class Tagged:
    """SageMaker's ListTags, two tags a page."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.tags = {"team": "risk", "stage": "prod", "owner": "ann"}

    def list_tags(self, ResourceArn: str, NextToken: str | None = None) -> dict[str, Any]:
        self.asked.append((ResourceArn, NextToken))
        start = int(NextToken or 0)
        listed = [{"Key": k, "Value": v} for k, v in self.tags.items()]
        page: dict[str, Any] = {"Tags": listed[start : start + 2]}
        if start + 2 < len(listed):
            page["NextToken"] = str(start + 2)
        return page


@pytest.fixture
def tagged(server: SageMaker, monkeypatch: pytest.MonkeyPatch) -> Tagged:
    tagged = Tagged()
    monkeypatch.setattr(client("sagemaker"), "list_tags", tagged.list_tags)
    return tagged


def test_all_pages_of_tags_are_read(tagged: Tagged) -> None:
    assert SageMakerTags().of("arn:1") == {"team": "risk", "stage": "prod", "owner": "ann"}
    assert tagged.asked == [("arn:1", None), ("arn:1", "2")]


def test_tags_are_kept_for_some_minutes(tagged: Tagged) -> None:
    at = [0.0]
    tags = SageMakerTags(300, lambda: at[0])
    tagged.tags = {"team": "risk"}
    tags.of("arn:1")
    tagged.tags = {"team": "fraud"}
    at[0] = 299.0
    assert tags.of("arn:1") == {"team": "risk"}
    assert tags.of("arn:2") == {"team": "fraud"}
    at[0] = 300.0
    assert tags.of("arn:1") == {"team": "fraud"}
    assert len(tagged.asked) == 3


def test_no_more_than_a_thousand_schedules_tags_are_kept(tagged: Tagged) -> None:
    tagged.tags = {}
    tags = SageMakerTags()
    for number in range(1001):
        tags.of(f"arn:{number}")
    tags.of("arn:1")
    assert len(tagged.asked) == 1001
    tags.of("arn:0")
    assert len(tagged.asked) == 1002


def test_tags_that_may_not_be_read_are_asked_for_again(
    tagged: Tagged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> None:
        answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
        raise ClientError(answer, "ListTags")

    tags = SageMakerTags()
    with monkeypatch.context() as denied:
        denied.setattr(client("sagemaker"), "list_tags", refused)
        with pytest.raises(AccessDeniedError):
            tags.of("arn:1")
    assert tags.of("arn:1")
