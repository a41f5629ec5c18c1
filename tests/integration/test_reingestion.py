"""Re-ingestion from moto's S3 into the local feature store, over the real protocols."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as arrow_parquet
import pytest
from guiderail.adapters import record_files
from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
from guiderail.adapters.record_files import RecordFiles, S3Object
from guiderail.adapters.reingestion_files import S3ReingestionFiles
from guiderail.errors import (
    AccessDeniedError,
    GuiderailError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.ingestion import (
    FeatureGroup,
    FeatureType,
    ObjectTask,
    Progress,
    Reject,
    RejectCode,
    SourceChangedError,
)
from guiderail.services.reingesting import Reingest
from guiderail_local.feature_store import Fault, FeatureStore
from guiderail_local.sagemaker import SageMaker

from tests.moto_region import REGION, region

LAKE, KEPT = "lake", "kept"
AT = "2026-11-23T10:00:00Z"

LOANS: dict[str, Any] = {
    "FeatureGroupName": "loans",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "age", "FeatureType": "Integral"},
        {"FeatureName": "city", "FeatureType": "String"},
    ],
    "FeatureGroupStatus": "Created",
    "OnlineStoreConfig": {"EnableOnlineStore": True},
}
GROUP = FeatureGroup(
    name="loans",
    identifier="id",
    event_time="at",
    features={
        "id": FeatureType.STRING,
        "at": FeatureType.STRING,
        "age": FeatureType.INTEGRAL,
        "city": FeatureType.STRING,
    },
)


class Described:
    """Implements FeatureGroups: the group as it is above."""

    def describe(self, name: str) -> FeatureGroup:
        return GROUP


@dataclass
class Place:
    """Buckets, a store, and a core that knows both."""

    sagemaker: SageMaker
    store: FeatureStore
    s3: Any
    core: Reingest

    def put(self, key: str, content: bytes | str) -> ObjectTask:
        """Store an object; the task that a plan would make of it now."""
        etag = self.s3.put_object(Bucket=LAKE, Key=key, Body=content)["ETag"].strip('"')
        return ObjectTask(
            uri=f"s3://{LAKE}/{key}",
            size=len(content),
            etag=etag,
            feature_group="loans",
            checkpoint=f"s3://{KEPT}/run/checkpoints/000000.json",
            rejects=f"s3://{KEPT}/run/rejects/000000",
            rate=1e6,
        )

    def ingest(self, task: ObjectTask) -> Progress:
        return self.core.ingest(task, lambda: 1e6)

    def record(self, identifier: str) -> dict[str, str]:
        """What GetRecord says."""
        client = boto3.client("sagemaker-featurestore-runtime", endpoint_url=self.store.url)
        answer = client.get_record(
            FeatureGroupName="loans", RecordIdentifierValueAsString=identifier
        )
        return {v["FeatureName"]: v["ValueAsString"] for v in answer.get("Record", [])}

    def rejects(self) -> list[dict[str, Any]]:
        listed = self.s3.list_objects_v2(Bucket=KEPT, Prefix="run/rejects/").get("Contents", [])
        contents = (self.s3.get_object(Bucket=KEPT, Key=o["Key"])["Body"].read() for o in listed)
        return [json.loads(line) for content in contents for line in content.splitlines()]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with region() as sagemaker, FeatureStore({"loans": LOANS}.get) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME", store.url)
        s3 = boto3.client("s3")
        for bucket in (LAKE, KEPT):
            s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        core = Reingest(
            groups=Described(),
            records=RecordFiles(),
            store=FeatureStoreRuntime(connections=4),
            kept=S3ReingestionFiles(),
            clock=time.monotonic,
            sleep=lambda seconds: None,
            jitter=lambda: 0.5,
            connections=4,
        )
        yield Place(sagemaker, store, s3, core)


def csv_of(count: int, **special: str) -> str:
    rows = (special.get(f"i{i}", f"i{i},{AT},{i},city {i}") for i in range(count))
    return "id,at,age,city\n" + "\n".join(rows) + "\n"


def test_records_can_be_read_back(place: Place) -> None:
    """Given CSV, Parquet and JSON Lines, when they are ingested, then the store hands their records out."""
    tricky = 'Z"ü\\rich\n€'
    table = pa.table({"id": ["p"], "at": [AT], "age": [7], "city": [tricky]})
    sink = io.BytesIO()
    arrow_parquet.write_table(table, sink)
    line = json.dumps({"id": "j", "at": AT, "age": 8, "city": tricky, "unknown": 1})
    contents: dict[str, str | bytes] = {
        "a.csv": csv_of(60),
        "a.parquet": sink.getvalue(),
        "a.jsonl": line,
    }
    for key, content in contents.items():
        task = place.put(key, content)
        progress = place.core.ingest(task, lambda: 1e6)
        assert (progress.done, progress.rejected) == (True, 0)
    assert place.store.online.count("loans") == 62
    assert place.record("i59") == {"id": "i59", "at": AT, "age": "59", "city": "city 59"}
    assert place.record("p") == {"id": "p", "at": AT, "age": "7", "city": tricky}
    assert place.record("j") == {"id": "j", "at": AT, "age": "8", "city": tricky}


def test_the_newest_event_time_wins_whatever_order_rows_have(place: Place) -> None:
    rows = [f"same,2026-11-{day:02}T00:00:00Z,{day},x" for day in (3, 20, 7, 1)]
    progress = place.ingest(place.put("a.csv", "id,at,age,city\n" + "\n".join(rows)))
    assert progress.written == 4
    assert place.record("same")["age"] == "20"


def test_rows_that_are_none_are_kept_and_retried_after_they_were_mended(place: Place) -> None:
    place.put("other.csv", "")
    task = place.put("a.csv", csv_of(30, i7=f"i7,{AT},seven,x", i9=",,9,x", i11="i11"))
    progress = place.ingest(task)
    assert (progress.written, progress.rejected) == (27, 3)
    kept = place.rejects()
    assert [(reject["row"], reject["code"]) for reject in kept] == [
        (8, "wrong_type"), (10, "missing_event_time"), (12, "malformed_row"),
    ]  # fmt: skip
    assert kept[0]["values"] == {"id": "i7", "at": AT, "age": "seven", "city": "x"}
    key = place.s3.list_objects_v2(Bucket=KEPT, Prefix="run/rejects/")["Contents"][0]["Key"]
    kept[0]["values"]["age"] = 7
    kept[2] |= {"values": {"id": "i11", "at": AT, "city": "y"}}
    lines = "".join(json.dumps(reject) + "\n" for reject in kept)
    place.s3.put_object(Bucket=KEPT, Key=key, Body=lines)
    again = place.core.retry(f"s3://{KEPT}/run/rejects/", lambda: 1e6, 1e6)
    assert (again.written, again.reasons) == (2, {RejectCode.MISSING_EVENT_TIME: 1})
    assert (place.record("i7")["age"], place.record("i11")["city"]) == ("7", "y")
    assert [reject["row"] for reject in place.rejects()] == [10]


# --- the object


@pytest.mark.parametrize("layout", ["csv", "parquet", "jsonl"])
def test_an_object_that_is_replaced_in_the_middle_is_not_mixed(
    layout: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an object in many ranges, when it is replaced after the first of them, then reading it is an error."""
    monkeypatch.setattr(record_files, "READ_BYTES", 4096)
    monkeypatch.setattr(record_files, "BLOCK_BYTES", 4096)
    # Arrow reads 32 of these ahead
    monkeypatch.setattr(record_files, "CSV_BYTES", 1024)
    rows = 5000
    if layout == "csv":
        content = csv_of(rows).encode()
    elif layout == "jsonl":
        content = "\n".join(json.dumps({"id": f"i{i}", "at": AT}) for i in range(rows)).encode()
    else:
        sink = io.BytesIO()
        columns = {"id": [f"i{i}" for i in range(rows)], "at": [AT] * rows}
        arrow_parquet.write_table(pa.table(columns), sink, row_group_size=100)
        content = sink.getvalue()
    task = place.put(f"a.{layout}", content)
    blocks = RecordFiles().blocks(task, GROUP, 0, 100)
    next(blocks)
    place.put(f"a.{layout}", content.replace(b"i4999", b"other"))
    with pytest.raises(SourceChangedError, match=f"s3://lake/a.{layout} was changed"):
        for _ in blocks:
            pass


def test_an_object_that_is_gone_is_not_the_one_that_was_listed(place: Place) -> None:
    task = place.put("a.csv", csv_of(3))
    place.s3.delete_object(Bucket=LAKE, Key="a.csv")
    with pytest.raises(SourceChangedError, match="s3://lake/a.csv is gone"):
        place.ingest(task)
    assert place.store.online.count("loans") == 0


def test_an_object_that_became_shorter(place: Place) -> None:
    task = place.put("a.csv", csv_of(3))
    file = S3Object(task.uri, task.size, task.etag)
    file.seek(task.size - 10)
    place.put("a.csv", "x")
    with pytest.raises(SourceChangedError):
        file.read(10)


def test_an_object_is_read_in_ranges_anywhere(place: Place) -> None:
    task = place.put("a", bytes(range(256)))
    file = S3Object(task.uri, task.size, task.etag)
    assert (file.read(3), file.tell()) == (b"\x00\x01\x02", 3)
    assert (file.seek(-2, io.SEEK_END), file.read(10), file.read(1)) == (254, b"\xfe\xff", b"")
    assert (file.seek(10), file.seek(5, io.SEEK_CUR), file.read(1)) == (10, 15, b"\x0f")


# --- the store


def test_unprocessed_entries_are_sent_until_all_are_written(place: Place) -> None:
    place.store.fail("BatchWriteRecord", Fault.unprocessed(7), times=3)
    progress = place.ingest(place.put("a.csv", csv_of(100)))
    assert (progress.written, progress.rejected) == (100, 0)
    assert place.store.online.count("loans") == 100


def test_entries_that_fail_become_rejects_by_their_own_identifier(place: Place) -> None:
    fault = Fault.entry_errors(2, "ValidationError", "not this one")
    place.store.fail("BatchWriteRecord", fault, times=1)
    progress = place.ingest(place.put("a.csv", csv_of(20)))
    assert (progress.written, progress.rejected) == (18, 2)
    assert [(r["values"]["id"], r["message"]) for r in place.rejects()] == [
        ("i18", "ValidationError: not this one"), ("i19", "ValidationError: not this one"),
    ]  # fmt: skip
    assert place.record("i18") == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault.throttled(),
        Fault.unavailable(),
        Fault.unavailable(taken=True),
        Fault.reset(),
        Fault.reset(taken=True),
        Fault.entry_errors(5, "InternalFailure"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.code}-{fault.taken}",
)
def test_what_passes_is_sent_again(fault: Fault, place: Place) -> None:
    place.store.fail("BatchWriteRecord", fault, times=4)
    progress = place.ingest(place.put("a.csv", csv_of(60)))
    assert (progress.written, progress.rejected) == (60, 0)
    assert place.store.online.count("loans") == 60


@pytest.mark.parametrize("fault", [Fault.unknown_operation(), Fault.denied()])
def test_records_are_put_one_by_one_where_batches_are_not_known_or_allowed(
    fault: Fault, place: Place
) -> None:
    place.store.fail("BatchWriteRecord", fault, times=None)
    progress = place.ingest(place.put("a.csv", csv_of(60)))
    assert (progress.written, progress.one_by_one) == (60, True)
    assert place.store.calls["PutRecord"] == 60
    assert place.record("i59")["age"] == "59"


ERRORS: list[tuple[Fault, type[GuiderailError], str]] = [
    (Fault.throttled(), ThrottledError, "BatchWriteRecord: ThrottlingException: Rate exceeded"),
    (Fault.unavailable(), UnavailableError, "ServiceUnavailable"),
    (Fault.reset(), UnavailableError, "BatchWriteRecord"),
    (Fault.denied(), AccessDeniedError, "AccessForbidden: You do not have permission"),
    (Fault.refused(400, "ValidationError", "wrong"), GuiderailError, "ValidationError: wrong"),
    (Fault.refused(404, "ResourceNotFound", "gone"), NotFoundError, "ResourceNotFound: gone"),
]


@pytest.mark.parametrize(("fault", "error", "message"), ERRORS, ids=[e[2] for e in ERRORS])
def test_errors_are_translated(
    fault: Fault, error: type[GuiderailError], message: str, place: Place
) -> None:
    place.store.fail("BatchWriteRecord", fault, times=1)
    body = b'[{"FeatureName":"id","ValueAsString":"a"},{"FeatureName":"at","ValueAsString":"%s"}]'
    runtime = FeatureStoreRuntime()
    with pytest.raises(error, match=message) as raised:
        runtime.write(GROUP, ["a"], [body % AT.encode()])
    assert raised.type is not UnavailableError or error is UnavailableError
    # and the next request goes through
    assert not runtime.write(GROUP, ["a"], [body % AT.encode()]).errors


def test_a_group_by_its_arn(place: Place) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:feature-group/loans"
    group = FeatureGroup(name=arn, identifier="id", event_time="at", features=GROUP.features)
    body = b'[{"FeatureName":"id","ValueAsString":"%s"},{"FeatureName":"at","ValueAsString":"%s"}]'
    runtime = FeatureStoreRuntime()
    runtime.put(group, body % (b"one", AT.encode()))
    runtime.write(group, ["two"], [body % (b"two", AT.encode())])
    assert place.record("one")
    assert place.record("two")


def test_requests_are_signed_for_the_service(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    runtime = FeatureStoreRuntime()
    http = runtime._connection._http
    real: Callable[[Any], Any] = http.send

    def send(request: Any) -> Any:
        sent.append(request)
        return real(request)

    monkeypatch.setattr(http, "send", send)
    runtime.write(GROUP, ["a"], [b'[{"FeatureName":"id","ValueAsString":"a"}]'])
    (request,) = sent
    signed = request.headers["Authorization"]
    signed = signed.decode() if isinstance(signed, bytes) else signed
    assert f"/{REGION}/sagemaker/aws4_request" in signed
    assert request.url == f"{place.store.url.rstrip('/')}/BatchWriteRecord"


def test_a_group_is_described(place: Place) -> None:
    client = boto3.client("sagemaker")
    client.create_feature_group(
        FeatureGroupName="many",
        RecordIdentifierFeatureName="id",
        EventTimeFeatureName="at",
        FeatureDefinitions=[
            {"FeatureName": "id", "FeatureType": "String"},
            {"FeatureName": "at", "FeatureType": "Fractional"},
            {
                "FeatureName": "list",
                "FeatureType": "Integral",
                "CollectionType": "List",
            },
        ],
        OnlineStoreConfig={"EnableOnlineStore": True},
        RoleArn="arn:aws:iam::123456789012:role/features",
    )
    group = SageMakerFeatureGroups().describe("many")
    assert (group.identifier, group.event_time) == ("id", "at")
    assert group.features["at"] is FeatureType.FRACTIONAL
    assert group.collections == {"list"}
    with pytest.raises(NotFoundError, match="DescribeFeatureGroup none"):
        SageMakerFeatureGroups().describe("none")


def test_a_checkpoint_lets_another_process_go_on(place: Place) -> None:
    """Given an object half done, when another process is asked for it, then it writes the rest alone."""
    task = place.put("a.csv", csv_of(60))
    done = Progress(etag=task.etag, rows=40, written=40)
    place.s3.put_object(
        Bucket=KEPT,
        Key="run/checkpoints/000000.json",
        Body=json.dumps({"etag": done.etag, "rows": done.rows, "written": done.written}),
    )
    assert place.ingest(task).written == 60
    assert place.store.online.count("loans") == 20
    assert place.record("i39") == {}
    assert place.record("i40")["age"] == "40"


def test_a_reject_names_all_that_a_retry_needs(place: Place) -> None:
    task = place.put("a.csv", csv_of(1, i0=f"i0,{AT},zero,x"))
    place.ingest(task)
    (line,) = place.rejects()
    assert line == {
        "feature_group": "loans",
        "object": "s3://lake/a.csv",
        "etag": task.etag,
        "row": 1,
        "code": "wrong_type",
        "message": "age: 'zero' is no integer of 64 bits",
        "values": {"id": "i0", "at": AT, "age": "zero", "city": "x"},
    }
    assert set(Reject.__struct_fields__) >= set(line)
