"""``guiderail reingest`` from moto's S3 into the local feature store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from guiderail_local.feature_store import Fault, FeatureStore

from tests.commands import Guiderail, command
from tests.moto_region import REGION, region

AT = "2026-11-23T10:00:00Z"
GROUP: dict[str, Any] = {
    "FeatureGroupName": "loans",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "age", "FeatureType": "Integral"},
    ],
    "OnlineStoreConfig": {"EnableOnlineStore": True},
    "RoleArn": "arn:aws:iam::123456789012:role/features",
}
WHAT = ("--group", "loans", "--source", "s3://lake/2026/")
RUN = (*WHAT, "--bucket", "kept", "--id", "mine")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    described = {**GROUP, "FeatureGroupStatus": "Created"}
    with region(), FeatureStore({"loans": described}.get) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME", store.url)
        boto3.client("sagemaker").create_feature_group(**GROUP)
        for bucket in ("lake", "kept"):
            boto3.client("s3").create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        yield store


@pytest.fixture
def guiderail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Guiderail:
    return command(monkeypatch, capsys)


def put(key: str, *rows: str) -> None:
    content = "\n".join(["id,at,age", *rows])
    boto3.client("s3").put_object(Bucket="lake", Key=f"2026/{key}", Body=content)


def kept() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket="kept").get("Contents", [])
    return [item["Key"] for item in listed]


def test_a_plan_says_way_sizes_and_what_records_lose(
    store: FeatureStore, guiderail: Guiderail
) -> None:
    put("a.csv", f"a,{AT},1")
    put("b.csv", f"b,{AT},1")
    put("_SUCCESS")
    ran = guiderail("reingest", "plan", *WHAT, "--json")
    assert ran.code == 0
    plan = ran.document
    assert (plan["way"], plan["objects"], plan["passed_over"], plan["loses"]) == (
        "lambda", 2, 1, [],
    )  # fmt: skip
    assert guiderail("reingest", "plan", *WHAT, "--feature", "id", "--json").document["loses"] == [
        "age"
    ]
    assert "way: lambda" in guiderail("reingest", "plan", *WHAT).out
    assert store.online.count("loans") == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--from", "yesterday"), "parameter from of reingest is 'yesterday'"),
        (("--rate", "0"), "parameter rate"),
        (("--format", "xml"), "parameter format"),
        (("--feature", "agee"), "loans has no feature agee. It has id, at, age"),
        (("--source", "s3://lake/none/"), "holds nothing to read"),
        (("--group", "loan"), "DescribeFeatureGroup loan"),
    ],
)
@pytest.mark.parametrize("name", ["plan", "run"])
def test_wrong_use_is_told_with_a_remedy(
    name: str, more: tuple[str, ...], message: str, store: FeatureStore, guiderail: Guiderail
) -> None:
    put("a.csv", f"a,{AT},1")
    ran = guiderail("reingest", name, *WHAT, *more)
    assert ran.code == 3
    assert f"guiderail reingest {name}: " in ran.err
    assert message in ran.err


def test_a_run_writes_and_is_not_done_twice(store: FeatureStore, guiderail: Guiderail) -> None:
    put("a.csv", *(f"a{i},{AT},{i}" for i in range(30)))
    put("b.csv", f"b,{AT},1")
    ran = guiderail("reingest", "run", *RUN, "--json")
    assert ran.code == 0
    assert ran.document == {
        "dry_run": False, "written": 31, "rejected": 0, "reasons": {}, "passed_over": 0,
        "loses": [], "rejects": "", "failed": [],
    }  # fmt: skip
    assert store.online.count("loans") == 31
    calls = store.calls["BatchWriteRecord"]
    assert guiderail("reingest", "run", *RUN, "--json").document["written"] == 31
    assert store.calls["BatchWriteRecord"] == calls
    # another range is another run, whatever its id
    assert guiderail("reingest", "run", *RUN, "--until", AT, "--json").document["passed_over"] == 31


def test_a_dry_run_writes_nothing_anywhere(store: FeatureStore, guiderail: Guiderail) -> None:
    put("a.csv", f"a,{AT},1", f"b,{AT},old")
    ran = guiderail("reingest", "run", *WHAT, "--dry-run")
    assert ran.code == 1
    assert "1 would be written" in " ".join(ran.out.split())
    assert "rejected: wrong_type" in ran.out
    assert (store.online.count("loans"), kept()) == (0, [])


def test_rejects_are_told_mended_and_retried(store: FeatureStore, guiderail: Guiderail) -> None:
    put("a.csv", f"a,{AT},1", f"b,{AT},old")
    ran = guiderail("reingest", "run", *RUN, "--json")
    assert ran.code == 1
    assert (ran.document["written"], ran.document["reasons"]) == (1, {"wrong_type": 1})
    rejects = ran.document["rejects"]
    assert rejects.startswith("s3://kept/mine-")
    assert guiderail("reingest", "retry", rejects, "--json").document["rejected"] == 1
    (key,) = [key for key in kept() if "/rejects/" in key]
    s3 = boto3.client("s3")
    line = json.loads(s3.get_object(Bucket="kept", Key=key)["Body"].read())
    line["values"]["age"] = 44
    s3.put_object(Bucket="kept", Key=key, Body=json.dumps(line))
    dry = guiderail("reingest", "retry", rejects, "--dry-run", "--json")
    assert (dry.code, dry.document["written"], store.online.count("loans")) == (0, 1, 1)
    ran = guiderail("reingest", "retry", rejects)
    assert ran.code == 0
    assert store.online.count("loans") == 2
    # nothing is left to try
    assert guiderail("reingest", "retry", rejects, "--json").document["written"] == 0
    ran = guiderail("reingest", "retry", "s3://kept/other/")
    assert (ran.code, "no reject file under s3://kept/other/" in ran.err) == (3, True)


def test_an_object_that_cannot_be_read_is_told_and_the_others_are_written(
    store: FeatureStore, guiderail: Guiderail
) -> None:
    put("a.csv", f"a,{AT},1")
    boto3.client("s3").put_object(Bucket="lake", Key="2026/b.csv", Body="name\nx\n")
    put("c.csv", f"c,{AT},1")
    ran = guiderail("reingest", "run", *RUN, "--json")
    assert ran.code == 1
    assert ran.document["written"] == 2
    (failed,) = ran.document["failed"]
    assert failed["object"] == "s3://lake/2026/b.csv"
    assert "malformed_source" in failed["error"]
    assert "has no column at, id" in guiderail("reingest", "run", *RUN).out


def test_a_run_that_broke_off_goes_on_by_the_same_command(
    store: FeatureStore, guiderail: Guiderail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    put("a.csv", f"a,{AT},1")
    put("b.csv", f"b,{AT},1")
    store.fail("BatchWriteRecord", Fault.throttled(), times=None, containing='"b"')
    ran = guiderail("reingest", "run", *RUN)
    assert ran.code == 3
    assert "the same command goes on there" in ran.err
    store.heal()
    calls = store.calls["BatchWriteRecord"]
    assert guiderail("reingest", "run", *RUN, "--json").document["written"] == 2
    assert store.calls["BatchWriteRecord"] == calls + 1
