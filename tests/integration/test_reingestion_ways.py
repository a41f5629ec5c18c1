"""Re-ingestions in each of the three ways, by the real core: S3 by moto, records in the local feature store."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from guiderail.adapters import processing_entry
from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
from guiderail.adapters.record_files import RecordFiles
from guiderail.adapters.reingestion_files import S3ReingestionFiles
from guiderail.errors import PermanentError, TransientError, UnavailableError
from guiderail.services import reingest_planning
from guiderail.services.reingest_planning import JobTerms, ObjectOutcome, Plan
from guiderail.services.reingest_tasks import ListedObject, ObjectIngestion, ReingestTasks
from guiderail.services.reingesting import Reingest
from guiderail_local.feature_store import Fault, FeatureStore

from tests.moto_region import REGION, region

SOURCE, BUCKET = "feeds", "kept"
RUN = "20261123T101500-0a1b2c3d4e5f"
HOME = f"s3://{BUCKET}/{RUN}"
START = datetime(2026, 11, 22, tzinfo=UTC)
GROUP = {
    "FeatureGroupName": "loans",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "income", "FeatureType": "Fractional"},
    ],
}


def rows(first: int, count: int, hours: float = 0.0, income: int = 1) -> str:
    at = (START + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = (f"loan-{number},{at},{income}\n" for number in range(first, first + count))
    return "id,at,income\n" + "".join(lines)


class World:
    """A source bucket, a bucket of the stack's own, a feature group, and the tasks over them."""

    def __init__(self, aws: Any, store: FeatureStore) -> None:
        self.s3 = aws.client("s3")
        self.runtime = aws.client("sagemaker-featurestore-runtime")
        self.store = store
        self.files = S3ReingestionFiles()
        core = Reingest(
            groups=SageMakerFeatureGroups(),
            records=RecordFiles(),
            store=FeatureStoreRuntime(connections=4),
            kept=self.files,
            clock=time.monotonic,
            sleep=lambda seconds: time.sleep(min(seconds, 0.01)),
            jitter=random.Random(7).random,
            connections=4,
        )
        self.tasks = ReingestTasks(
            files=self.files,
            groups=SageMakerFeatureGroups(),
            ingestion=ObjectIngestion(core, BUCKET),
            bucket=BUCKET,
            terms=JobTerms(image="image", role="role", instances=2, region=REGION),
        )

    def feed(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket=SOURCE, Key=f"loans/{key}", Body=text.encode())

    def plan(self, **parameters: Any) -> dict[str, Any]:
        request = {"feature_group": "loans", "source": f"s3://{SOURCE}/loans/", "rate": 1e6}
        return self.tasks(
            {"step": "plan", "id": RUN, "request": request | parameters}, lambda: 900.0
        )

    def ingest(self, seconds: Callable[[], float] = lambda: 900.0, **event: Any) -> bool:
        """One call; whether there is more."""
        asked = {"step": "ingest", "plan": f"{HOME}/plan.json", **event}
        return bool(self.tasks(asked, seconds)["more"])

    def items(self, planned: dict[str, Any]) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(
            self.files.read(f"s3://{BUCKET}/{planned['manifest']}")
        )
        return listed

    def sum_up(self) -> dict[str, Any]:
        return self.tasks({"step": "sum_up", "plan": f"{HOME}/plan.json"}, lambda: 900.0)

    def income(self, loan: str) -> str | None:
        answer = self.runtime.get_record(
            FeatureGroupName="loans", RecordIdentifierValueAsString=loan
        )
        values = {v["FeatureName"]: v["ValueAsString"] for v in answer.get("Record", [])}
        return values.get("income")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with region() as sagemaker, FeatureStore(sagemaker.feature_groups.described) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME", store.url)
        aws = boto3.Session(region_name=REGION)
        for name in (SOURCE, BUCKET):
            aws.client("s3").create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        aws.client("sagemaker").create_feature_group(
            **GROUP, OnlineStoreConfig={"EnableOnlineStore": True}
        )
        yield World(aws, store)


@pytest.fixture
def as_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object for each worker, few as they are."""
    monkeypatch.setattr(reingest_planning, "LAMBDA_OBJECTS", 0)


@pytest.fixture
def as_bulk(monkeypatch: pytest.MonkeyPatch, as_map: None) -> None:
    """On machines, few as they are."""
    monkeypatch.setattr(reingest_planning, "MAP_OBJECTS", 0)


def test_one_call_after_the_other(world: World) -> None:
    world.feed("a.csv", rows(0, 60, income=1))
    world.feed("b.csv", rows(60, 40, income=2))
    assert world.plan()["way"] == "lambda"
    assert not world.ingest()
    summary = world.sum_up()
    assert (summary["state"], summary["written"]) == ("done", 100)
    assert world.store.online.count("loans") == 100
    assert (world.income("loan-0"), world.income("loan-99")) == ("1", "2")


def test_objects_written_out_of_order_leave_the_newest_record(world: World, as_map: None) -> None:
    """The online store goes by event time, whatever comes first; the offline store gets them all."""
    world.feed("1.csv", rows(0, 30, hours=1, income=1))
    world.feed("2.csv", rows(0, 30, hours=2, income=2))
    world.feed("3.csv", rows(0, 30, hours=3, income=3))
    planned = world.plan()
    assert planned["way"] == "map"
    for item in reversed(world.items(planned)):
        assert not world.ingest(item=item)
    assert world.sum_up()["written"] == 90
    assert {world.income(f"loan-{number}") for number in range(30)} == {"3"}
    assert world.store.online.count("loans") == 30
    assert world.store.written["loans"] == 90


def test_a_worker_that_dies_between_chunks_goes_on_where_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.feed("a.csv", rows(0, 500))
    world.plan(rate=10_000.0)
    monkeypatch.setattr("guiderail.services.reingesting.CHUNK", 100)
    write = S3ReingestionFiles.write
    kept: list[str] = []

    def dies(self: S3ReingestionFiles, uri: str, content: bytes) -> None:
        if "/checkpoints/" in uri:
            if len(kept) == 2:
                raise MemoryError  # the third chunk is written, and nobody knows
            kept.append(uri)
        write(self, uri, content)

    monkeypatch.setattr(S3ReingestionFiles, "write", dies)
    with pytest.raises(MemoryError):
        world.ingest()
    monkeypatch.setattr(S3ReingestionFiles, "write", write)
    assert world.store.written["loans"] == 300
    assert not world.ingest()
    assert world.store.written["loans"] == 600  # that chunk, once more; the first two are not
    assert world.sum_up()["written"] == world.store.online.count("loans") == 500


def test_a_call_whose_time_is_up_is_followed_by_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.feed("a.csv", rows(0, 300))
    world.plan()
    monkeypatch.setattr("guiderail.services.reingesting.CHUNK", 100)
    calls, until, more = 0, 0, True

    def seconds_left() -> float:
        # time passes as records are written: enough for a chunk
        return 900.0 if world.store.written["loans"] < until else 10.0

    while more:
        calls += 1
        until = world.store.written["loans"] + 100
        more = world.ingest(seconds_left)
        assert calls < 20
    assert calls >= 3
    assert world.sum_up()["written"] == world.store.online.count("loans") == 300


def test_an_object_that_was_changed_since_is_not_read_and_stops_no_other(world: World) -> None:
    world.feed("a.csv", rows(0, 10))
    world.feed("b.csv", rows(10, 10))
    world.plan()
    world.feed("a.csv", rows(0, 10, income=9))
    assert not world.ingest()
    summary = world.sum_up()
    assert (summary["state"], summary["written"]) == ("failed", 10)
    assert "loans/a.csv: source_changed" in summary["text"]


def test_rejected_records_are_kept_where_the_summary_says(world: World) -> None:
    world.feed("a.csv", rows(0, 5) + ",2026-11-22T00:00:00Z,1\nloan-7,2026-11-22T00:00:00Z,much\n")
    world.plan()
    world.ingest()
    summary = world.sum_up()
    assert (summary["state"], summary["written"], summary["rejected"]) == ("done", 5, 2)
    lines = [
        json.loads(line)
        for item in world.files.objects(summary["rejects"])
        for line in world.files.read(f"s3://{BUCKET}/{item.key}").splitlines()
    ]
    assert [line["row"] for line in lines] == [6, 7]
    assert {line["object"] for line in lines} == {"s3://feeds/loans/a.csv"}


def test_only_the_time_range_is_written(world: World) -> None:
    world.feed("a.csv", rows(0, 10, hours=1))
    world.feed("b.csv", rows(10, 10, hours=3))
    until = (START + timedelta(hours=2)).isoformat()
    world.plan(**{"from": START.isoformat(), "until": until})
    world.ingest()
    summary = world.sum_up()
    assert (summary["state"], summary["written"], summary["passed_over"]) == ("done", 10, 10)
    assert world.store.online.count("loans") == 10


def test_a_store_that_is_down_is_left_to_the_machine_to_try_again(world: World) -> None:
    world.feed("a.csv", rows(0, 10))
    world.plan()
    world.store.fail("BatchWriteRecord", Fault.throttled(), times=None)
    with pytest.raises(TransientError):
        world.ingest()
    world.store.heal()
    assert not world.ingest()
    assert world.sum_up()["state"] == "done"


# --- on machines


def machine(world: World, tmp_path: Path, host: str, keys: list[str]) -> Path:
    """What SageMaker makes of the job's input on one machine."""
    root = tmp_path / host
    for key in keys:
        copy = root / "processing" / "input" / "objects" / "loans" / key
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(world.s3.get_object(Bucket=SOURCE, Key=f"loans/{key}")["Body"].read())
    (root / "config").mkdir(parents=True)
    (root / "config" / "resourceconfig.json").write_text(
        json.dumps({"current_host": host, "hosts": ["algo-1", "algo-2"]})
    )
    return root


def upload(world: World, root: Path) -> None:
    """What SageMaker does with the job's output."""
    for file in (root / "processing" / "output" / "outcomes").rglob("*"):
        world.files.write(f"{HOME}/outcomes/{file.name}", file.read_bytes())


def test_machines_share_the_objects(world: World, tmp_path: Path, as_bulk: None) -> None:
    for place, key in enumerate(("a.csv", "b.csv", "c.csv")):
        world.feed(key, rows(place * 20, 20))
    planned = world.plan()
    assert (planned["way"], planned["workers"]) == ("processing", 2)
    arguments = planned["job"]["AppSpecification"]["ContainerArguments"]
    shares = {"algo-1": ["a.csv", "c.csv"], "algo-2": ["b.csv"]}
    for host, keys in shares.items():
        root = machine(world, tmp_path, host, keys)
        assert processing_entry.main(arguments, root) == 0
        made = root / "processing" / "output" / "outcomes"
        assert [file.name for file in made.iterdir()] == [f"{host}.json"]
        upload(world, root)
    summary = world.sum_up()
    assert (summary["state"], summary["written"], summary["finished"]) == ("done", 60, 3)
    assert world.store.online.count("loans") == 60


def test_a_machine_that_is_lost_leaves_its_objects_unfinished(
    world: World, tmp_path: Path, as_bulk: None
) -> None:
    world.feed("a.csv", rows(0, 20))
    world.feed("b.csv", rows(20, 20))
    arguments = world.plan()["job"]["AppSpecification"]["ContainerArguments"]
    root = machine(world, tmp_path, "algo-1", ["a.csv"])
    assert processing_entry.main(arguments, root) == 0
    upload(world, root)
    summary = world.sum_up()
    assert (summary["state"], summary["written"]) == ("failed", 20)
    assert "not finished: loans/b.csv" in summary["text"]


def test_a_copy_that_is_not_the_planned_object_is_not_read(
    world: World, tmp_path: Path, as_bulk: None
) -> None:
    world.feed("a.csv", rows(0, 20))
    arguments = world.plan()["job"]["AppSpecification"]["ContainerArguments"]
    world.feed("a.csv", rows(0, 21))
    root = machine(world, tmp_path, "algo-1", ["a.csv"])
    assert processing_entry.main(arguments, root) == 0
    upload(world, root)
    assert "loans/a.csv: source_changed" in world.sum_up()["text"]


def test_a_job_that_cannot_run_says_why(
    world: World, tmp_path: Path, as_bulk: None, capsys: pytest.CaptureFixture[str]
) -> None:
    world.feed("a.csv", rows(0, 20))
    arguments = world.plan()["job"]["AppSpecification"]["ContainerArguments"]
    root = machine(world, tmp_path, "algo-1", ["a.csv"])
    (root / "processing" / "input" / "objects" / "loans" / "z.csv").write_text("id\n")
    assert processing_entry.main(arguments, root) == 1
    assert "has no object loans/z.csv" in capsys.readouterr().err
    assert processing_entry.main(["--plan", f"{HOME}/other.json"], root) == 1
    assert "not_found" in capsys.readouterr().err


def test_a_machine_tries_an_object_again_before_it_gives_it_up(
    world: World, tmp_path: Path, as_bulk: None
) -> None:
    keys = ["a.csv", "b.csv", "c.csv"]
    for key in keys:
        world.feed(key, rows(0, 1))
    uri = world.plan()["uri"]
    root = machine(world, tmp_path, "algo-1", keys)
    tried: list[str] = []

    def ingestion(
        plan: Plan, item: ListedObject, seconds_left: Callable[[], float]
    ) -> ObjectOutcome | None:
        key = item.key.rpartition("/")[2]
        tried.append(key)
        if key == "a.csv" or (key == "b.csv" and tried.count(key) < 3):
            raise UnavailableError("S3 is down")
        if key == "c.csv":
            raise PermanentError("it is no CSV")
        return ObjectOutcome(object=item.object, written=1)

    waited: list[float] = []
    processing_entry.ingest_share(uri, root, world.files, ingestion, waited.append)
    assert [tried.count(key) for key in keys] == [5, 3, 1]
    assert waited == [*processing_entry.WAITS, *processing_entry.WAITS[:2]]
    upload(world, root)
    summary = world.sum_up()
    assert (summary["state"], summary["written"], summary["finished"]) == ("failed", 1, 1)
    assert "loans/a.csv: unavailable: S3 is down" in summary["text"]
    assert "loans/c.csv: permanent_error: it is no CSV" in summary["text"]
