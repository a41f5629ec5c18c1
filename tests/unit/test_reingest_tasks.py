"""The steps of the re-ingestion machine, on files in memory and a core that only counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from guiderail.errors import (
    MalformedEventError,
    NotFoundError,
    PermanentError,
    RejectedRequestError,
    UnavailableError,
)
from guiderail.model.ingestion import FeatureGroup, FeatureType, MalformedSourceError
from guiderail.services.reingest_planning import (
    LAMBDA_OBJECTS,
    MAP_OBJECTS,
    JobTerms,
    ObjectOutcome,
    Plan,
    SourceObject,
)
from guiderail.services.reingest_tasks import ListedObject, ReingestTasks

BUCKET = "kept"
RUN = "20261123T101500-0a1b2c3d4e5f"
HOME = f"s3://{BUCKET}/{RUN}"
REQUEST = {"feature_group": "loans", "source": "s3://feeds/loans/"}


class InMemoryFiles:
    """Objects by URI."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def objects(self, uri: str) -> Iterator[SourceObject]:
        for key in sorted(self.kept):
            if key.startswith(uri):
                name = key.removeprefix("s3://").partition("/")[2]
                content = self.kept[key]
                yield SourceObject(key=name, size=len(content), etag=str(hash(content)))

    def read(self, uri: str) -> bytes:
        try:
            return self.kept[uri]
        except KeyError:
            raise NotFoundError(f"{uri} is not there") from None

    def write(self, uri: str, content: bytes) -> None:
        self.kept[uri] = content

    def write_new(self, uri: str, content: bytes) -> bool:
        if uri in self.kept:
            return False
        self.kept[uri] = content
        return True


class CountingCore:
    """Takes so many chunks per object; remembers where it stopped, as the real one's checkpoint does."""

    def __init__(self, chunks: int = 1) -> None:
        self.chunks = chunks
        self.reached: dict[str, int] = {}
        self.written: list[tuple[str, int]] = []
        self.errors: dict[str, Exception] = {}
        self.dies_before: tuple[str, int] | None = None

    def __call__(
        self, plan: Plan, item: ListedObject, seconds_left: Callable[[], float]
    ) -> ObjectOutcome | None:
        if item.key in self.errors:
            raise self.errors[item.key]
        for chunk in range(self.reached.get(item.key, 0), self.chunks):
            if seconds_left() < 60:
                return None
            if self.dies_before == (item.key, chunk):
                self.dies_before = None
                raise MemoryError
            self.written.append((item.key, chunk))
            self.reached[item.key] = chunk + 1
        return ObjectOutcome(object=item.object, written=self.chunks)


class Groups:
    """One group."""

    def describe(self, name: str) -> FeatureGroup:
        if name != "loans":
            raise NotFoundError(f"DescribeFeatureGroup {name}: ResourceNotFound")
        features = ("id", "at", "income", "age")
        return FeatureGroup(
            name=name,
            identifier="id",
            event_time="at",
            features=dict.fromkeys(features, FeatureType.STRING),
        )


class Machine:
    """Drives the steps as reingestion.asl.yaml does, without its Retry."""

    def __init__(self, objects: int = 3, chunks: int = 1, terms: JobTerms | None = None) -> None:
        self.files = InMemoryFiles()
        for place in range(objects):
            self.files.write(f"s3://feeds/loans/{place:06d}.csv", b"id,at\n1,2\n")
        self.core = CountingCore(chunks)
        self.tasks = ReingestTasks(
            files=self.files,
            groups=Groups(),
            ingestion=self.core,
            bucket=BUCKET,
            terms=terms or JobTerms(),
        )

    def step(self, step: str, seconds: float = 900.0, **event: Any) -> dict[str, Any]:
        answer = self.tasks({"step": step, **event}, lambda: seconds)
        json.dumps(answer)  # as Lambda answers
        return answer

    def plan(self, request: dict[str, Any] = REQUEST, run: str = RUN) -> dict[str, Any]:
        return self.step("plan", id=run, request=request)

    def listed(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """What the Map's ItemReader reads."""
        found: list[dict[str, Any]] = json.loads(
            self.files.read(f"s3://{answer['bucket']}/{answer['manifest']}")
        )
        return found

    def sum_up(self, **event: Any) -> dict[str, Any]:
        return self.step("sum_up", plan=f"{HOME}/plan.json", **event)


def test_a_small_one_is_done_one_call_after_the_other() -> None:
    machine = Machine(3)
    answer = machine.plan()
    assert (answer["way"], answer["uri"], answer["workers"]) == ("lambda", f"{HOME}/plan.json", 1)
    assert machine.step("ingest", plan=answer["uri"]) == {"more": False}
    assert [key for key, _ in machine.core.written] == [f"loans/{i:06d}.csv" for i in range(3)]
    summary = machine.sum_up()
    assert (summary["state"], summary["written"], summary["objects"]) == ("done", 3, 3)


def test_a_plan_holds_whatever_is_put_beside_its_objects_later() -> None:
    machine = Machine(3)
    first = machine.plan()
    machine.files.write("s3://feeds/loans/zzz.csv", b"late")
    again = machine.plan()
    assert again == first
    assert len(machine.listed(again)) == 3


def test_a_plan_says_which_features_records_lose() -> None:
    answer = Machine(1).plan(REQUEST | {"features": ["age"]})
    assert "these will have no more income, which is not selected" in answer["text"]
    assert "no more" not in Machine(1).plan()["text"]


def test_of_two_plans_made_at_once_the_first_holds_with_its_own_list() -> None:
    machine = Machine(2)
    late = machine.files.write_new

    def another_first(uri: str, content: bytes) -> bool:
        # while this one was listing, another call planned, and saw one object more
        machine.files.write_new = late  # type: ignore[method-assign]
        machine.files.write("s3://feeds/loans/zzz.csv", b"late")
        machine.plan()
        return late(uri, content)

    machine.files.write_new = another_first  # type: ignore[method-assign]
    answer = machine.plan()
    assert len(machine.listed(answer)) == 3
    assert "3 objects" in answer["text"]


def test_a_call_that_is_short_of_time_says_that_there_is_more() -> None:
    machine = Machine(2)
    uri = machine.plan()["uri"]
    assert machine.step("ingest", 10.0, plan=uri) == {"more": True}
    assert machine.core.written == []
    assert machine.step("ingest", 40.0, plan=uri) == {"more": True}  # the core ran out of time
    assert machine.step("ingest", plan=uri) == {"more": False}
    assert len(machine.core.written) == 2


def test_a_worker_that_dies_goes_on_where_it_stopped() -> None:
    machine = Machine(3, chunks=4)
    uri = machine.plan()["uri"]
    machine.core.dies_before = ("loans/000001.csv", 2)
    with pytest.raises(MemoryError):
        machine.step("ingest", plan=uri)
    assert machine.step("ingest", plan=uri) == {"more": False}
    assert len(machine.core.written) == len(set(machine.core.written)) == 12
    assert machine.sum_up()["written"] == 12


def test_an_object_that_cannot_be_read_stops_no_other() -> None:
    machine = Machine(3)
    uri = machine.plan()["uri"]
    machine.core.errors["loans/000001.csv"] = PermanentError("it is no CSV")
    assert machine.step("ingest", plan=uri) == {"more": False}
    summary = machine.sum_up()
    assert (summary["state"], summary["written"], summary["finished"]) == ("failed", 2, 2)
    assert "loans/000001.csv: permanent_error: it is no CSV" in summary["text"]


def test_what_may_work_later_is_left_to_the_machine() -> None:
    machine = Machine(2)
    uri = machine.plan()["uri"]
    machine.core.errors["loans/000000.csv"] = UnavailableError("S3 is down")
    with pytest.raises(UnavailableError):
        machine.step("ingest", plan=uri)
    assert machine.sum_up()["state"] == "failed"
    machine.core.errors.clear()
    machine.step("ingest", plan=uri)
    assert machine.sum_up()["state"] == "done"


def test_a_larger_one_has_an_object_per_worker() -> None:
    machine = Machine(LAMBDA_OBJECTS + 1)
    answer = machine.plan(REQUEST | {"rate": 1000})
    assert (answer["way"], answer["workers"]) == ("map", 4)
    assert answer["bucket"] == BUCKET
    for item in machine.listed(answer):
        assert machine.step("ingest", plan=answer["uri"], item=item) == {"more": False}
    assert machine.sum_up()["written"] == LAMBDA_OBJECTS + 1


def test_a_worker_that_was_given_up_is_noted_and_the_summary_says_why() -> None:
    machine = Machine(LAMBDA_OBJECTS + 1)
    answer = machine.plan()
    first, *others = machine.listed(answer)
    for item in others:
        machine.step("ingest", plan=answer["uri"], item=item)
    cause = {"errorMessage": "S3 is down", "errorType": "UnavailableError"}
    error = {"Error": "UnavailableError", "Cause": json.dumps(cause)}
    assert machine.step("note", plan=answer["uri"], item=first, error=error) == {}
    summary = machine.sum_up()
    assert summary["state"] == "failed"
    assert "loans/000000.csv: UnavailableError: S3 is down" in summary["text"]


def test_a_note_never_hides_that_an_object_was_finished() -> None:
    machine = Machine(LAMBDA_OBJECTS + 1)
    answer = machine.plan()
    for item in machine.listed(answer):
        machine.step("ingest", plan=answer["uri"], item=item)
    # the call had kept its outcome, and then its answer was lost
    late = {"Error": "States.Timeout"}
    machine.step("note", plan=answer["uri"], item=machine.listed(answer)[0], error=late)
    assert machine.sum_up()["state"] == "done"


def test_bulk_is_a_job_over_exactly_the_planned_objects() -> None:
    machine = Machine(MAP_OBJECTS + 1, terms=JobTerms(image="image", role="role", region="here"))
    answer = machine.plan()
    assert (answer["way"], answer["workers"]) == ("processing", 4)
    job = answer["job"]
    assert job["AppSpecification"]["ContainerArguments"] == ["--plan", answer["uri"]]
    manifest = json.loads(machine.files.read(job["ProcessingInputs"][0]["S3Input"]["S3Uri"]))
    assert manifest[0] == {"prefix": "s3://feeds/"}
    assert manifest[1:] == [item["key"] for item in machine.listed(answer)]


@pytest.mark.parametrize(
    ("status", "state", "told"),
    [
        ("Stopped", "stopped", "the Processing job bulk-0 was stopped by hand"),
        ("Failed", "failed", "the Processing job bulk-0 ended as Failed: no capacity"),
    ],
)
def test_a_job_that_did_not_end_well_is_told_from_one_that_was_stopped(
    status: str, state: str, told: str
) -> None:
    machine = Machine(1)
    machine.plan()
    job = {
        "ProcessingJobName": "bulk-0",
        "ProcessingJobStatus": status,
        "FailureReason": "no capacity",
    }
    summary = machine.sum_up(error={"Error": "States.TaskFailed", "Cause": json.dumps(job)})
    assert summary["state"] == state
    assert told in summary["text"]


def test_a_way_that_broke_is_failed_even_if_everything_was_written() -> None:
    machine = Machine(1)
    machine.step("ingest", plan=machine.plan()["uri"])
    summary = machine.sum_up(error={"Error": "States.ItemReaderFailed", "Cause": "denied"})
    assert (summary["state"], summary["written"]) == ("failed", 1)
    assert "States.ItemReaderFailed: denied" in summary["text"]


def test_machines_keep_the_outcomes_of_many_objects_in_one_file() -> None:
    machine = Machine(2)
    machine.plan()
    outcomes = [ObjectOutcome(object=place, written=7) for place in range(2)]
    machine.files.write(f"{HOME}/outcomes/algo-1.json", msgspec.json.encode(outcomes))
    assert machine.sum_up()["written"] == 14


def test_wrong_requests_are_refused_by_name() -> None:
    machine = Machine(1)
    with pytest.raises(RejectedRequestError, match="parameter rate of reingest"):
        machine.plan(REQUEST | {"rate": -1})
    with pytest.raises(NotFoundError, match="holds nothing to read"):
        machine.plan(REQUEST | {"source": "s3://feeds/other/"})
    with pytest.raises(NotFoundError, match="DescribeFeatureGroup others"):
        machine.plan(REQUEST | {"feature_group": "others"})
    with pytest.raises(RejectedRequestError, match="loans has no feature wage"):
        machine.plan(REQUEST | {"features": ["wage"]})
    machine.files.write("s3://feeds/notes/read.me", b"x")
    with pytest.raises(MalformedSourceError, match=r"read.me does not say its format"):
        machine.plan(REQUEST | {"source": "s3://feeds/notes/"})
    with pytest.raises(MalformedEventError, match="the request is None"):
        machine.step("plan", id=RUN, request=None)
    with pytest.raises(MalformedEventError, match="no step 'dance'"):
        machine.step("dance")
    with pytest.raises(RejectedRequestError, match="parameter id"):
        machine.plan(run="not an id")
    machine.files.write(f"{HOME}/plan.json", b"[]")
    with pytest.raises(PermanentError, match="no plan of a re-ingestion"):
        machine.plan()
