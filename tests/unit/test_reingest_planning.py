"""Plans of re-ingestions: parameters, objects, the way by size, and how it is summed up."""

from __future__ import annotations

from typing import Any

import pytest
from guiderail.errors import NotFoundError, PermanentError, RejectedRequestError
from guiderail.services import reingest_planning
from guiderail.services.reingest_planning import (
    DEFAULT_RATE,
    LAMBDA_BYTES,
    LAMBDA_OBJECTS,
    MAP_BYTES,
    MAP_OBJECTS,
    MOST_WORKERS,
    JobTerms,
    Listing,
    ObjectOutcome,
    Plan,
    SourceObject,
    Way,
    job_of,
    listing_of,
    manifest_of,
    plan_of,
    request_of,
    summary_of,
    told_by,
)

RUN = "20261123T101500-0a1b2c3d4e5f"
SOURCE = "s3://feeds/loans/"
NEEDED = {"feature_group": "loans", "source": SOURCE}


def item(key: str, size: int = 10, etag: str = "e") -> SourceObject:
    return SourceObject(key=key, size=size, etag=etag)


def listing(objects: int, size: int = 10) -> Listing:
    return Listing(
        bucket="feeds", objects=tuple(item(f"loans/{i:06d}.csv", size) for i in range(objects))
    )


def plan(objects: int = 3, size: int = 10, machines: int = 0, **parameters: Any) -> Plan:
    return plan_of(RUN, request_of(NEEDED | parameters), listing(objects, size), machines)


def test_parameters_are_read_and_empty_ones_count_as_left_out() -> None:
    request = request_of(
        NEEDED
        | {
            "format": "parquet",
            "features": ["income", "age,amount", ""],
            "from": "2026-11-22T00:00:00Z",
            "until": "2026-11-23T00:00:00+00:00",
            "rate": "12.5",
            "rejects": "s3://kept/rejects/",
        }
    )
    assert request.features == ("income", "age", "amount")
    assert (request.since, request.until) == (
        "2026-11-22T00:00:00+00:00",
        "2026-11-23T00:00:00+00:00",
    )
    assert (request.rate, request.rejects) == (12.5, "s3://kept/rejects")
    bare = request_of(NEEDED | {"features": "", "from": "", "rejects": "", "rate": None})
    assert bare == request_of(NEEDED)
    assert (bare.format, bare.rate) == ("auto", DEFAULT_RATE)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("feature_group", None, "text"),
        ("feature_group", "not a name", "name or the ARN"),
        ("source", "/data/loans", "s3://bucket/prefix"),
        ("source", 3, "text"),
        ("rejects", "rejects", "s3://bucket/prefix"),
        ("format", "orc", "csv, parquet, jsonl"),
        ("features", [1], "list of names"),
        ("from", "yesterday", "ISO time"),
        ("from", "2026-11-22T00:00:00", "zone"),
        ("until", 5, "ISO time"),
        ("rate", 0, "above 0"),
        ("rate", "fast", "above 0"),
        ("rate", True, "above 0"),
        ("rate", float("inf"), "above 0"),
        ("speed", 1, "feature_group"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_remedy(name: str, value: Any, remedy: str) -> None:
    with pytest.raises(PermanentError) as caught:
        request_of(NEEDED | {name: value})
    assert f"parameter {name} of reingest" in str(caught.value)
    assert remedy in caught.value.remedy


def test_a_time_range_runs_forward() -> None:
    moment = "2026-11-22T00:00:00Z"
    with pytest.raises(RejectedRequestError, match="parameter until"):
        request_of(NEEDED | {"from": moment, "until": moment})


def test_a_listing_is_in_the_order_of_keys_without_what_holds_nothing() -> None:
    found = [
        item("loans/b.csv"),
        item("loans/", 0),
        item("loans/_SUCCESS"),
        item("loans/a.csv"),
        item("loans/.x.crc"),
    ]
    listed = listing_of(SOURCE, found)
    assert [one.key for one in listed.objects] == ["loans/a.csv", "loans/b.csv"]
    assert (listed.bucket, listed.passed_over, listed.size) == ("feeds", 3, 20)


def test_a_source_that_is_an_object_is_that_object_alone() -> None:
    found = [item("loans/a"), item("loans/ab")]
    assert [one.key for one in listing_of("s3://feeds/loans/a", found).objects] == ["loans/a"]
    assert len(listing_of("s3://feeds/loans/", found).objects) == 2


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(NotFoundError, match=r"holds nothing to read \(1 empty"):
        listing_of(SOURCE, [item("loans/_SUCCESS")])


def test_too_much_to_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reingest_planning, "MOST_OBJECTS", 2)
    assert len(listing_of(SOURCE, listing(2).objects).objects) == 2
    with pytest.raises(RejectedRequestError, match="more than 2 objects"):
        listing_of(SOURCE, listing(3).objects)


@pytest.mark.parametrize(
    ("objects", "size", "machines", "way"),
    [
        (1, 10, 4, Way.LAMBDA),
        (LAMBDA_OBJECTS, LAMBDA_BYTES // LAMBDA_OBJECTS, 4, Way.LAMBDA),
        (LAMBDA_OBJECTS + 1, 10, 4, Way.MAP),
        (1, LAMBDA_BYTES + 1, 4, Way.MAP),
        (MAP_OBJECTS, MAP_BYTES // MAP_OBJECTS, 4, Way.MAP),
        (MAP_OBJECTS + 1, 10, 4, Way.PROCESSING),
        (1, MAP_BYTES + 1, 4, Way.PROCESSING),
        (1, MAP_BYTES + 1, 0, Way.MAP),
    ],
)
def test_the_way_is_chosen_by_number_and_size(
    objects: int, size: int, machines: int, way: Way
) -> None:
    chosen = plan(objects, size, machines)
    assert chosen.way is way
    assert chosen.why in chosen.text
    assert ("no image" in chosen.why) == (size > MAP_BYTES and not machines)


def test_workers_share_the_rate_of_the_group() -> None:
    for made in (
        plan(rate=900),
        plan(200, rate=900),
        plan(1, MAP_BYTES * 2, 4),
        plan(20_000, machines=4),
    ):
        assert made.rate_of_a_worker * made.workers == pytest.approx(made.request.rate)
    assert plan(rate=900).workers == 1
    assert plan(200, rate=900).workers == 4
    assert plan(200, rate=1).workers == 1
    assert plan(200, rate=1e9).workers == MOST_WORKERS
    assert plan(20_000, machines=3).workers == 3


def test_a_plan_says_what_it_costs_and_what_it_leaves_out() -> None:
    listed = listing_of(SOURCE, [*listing(60).objects, item("loans/_SUCCESS")])
    made = plan_of(RUN, request_of(NEEDED), listed, 0)
    assert made.transitions == 5 + 3 * 60
    assert "60 objects (600 bytes; 1 empty or hidden passed over)" in made.text
    assert "s3://feeds/loans/ into loans, at most 2000 records/s" in made.text


def test_another_list_has_another_name() -> None:
    assert plan(3).listing == plan(3).listing != plan(4).listing
    changed = Listing(bucket="feeds", objects=(item("loans/000000.csv", etag="f"),))
    assert plan_of(RUN, request_of(NEEDED), changed).listing != plan(1).listing


@pytest.mark.parametrize("run", ["", "a b", "x" * 52, "../other", "-a"])
def test_an_id_is_one_step_of_a_path(run: str) -> None:
    with pytest.raises(RejectedRequestError, match="parameter id"):
        plan_of(run, request_of(NEEDED), listing(1))


def test_a_job_shares_the_objects_of_the_plan_out() -> None:
    made = plan(20_000, 2 * 1024**2, 4)
    terms = JobTerms(image="image", role="role", instances=4, region="eu-west-1")
    job = job_of(made, terms, "s3://kept/run")
    assert len(job["ProcessingJobName"]) <= 61  # the state machine appends which try it is
    (objects,) = job["ProcessingInputs"]
    assert objects["S3Input"]["S3DataDistributionType"] == "ShardedByS3Key"
    assert objects["S3Input"]["S3Uri"] == "s3://kept/run/objects.manifest"
    cluster = job["ProcessingResources"]["ClusterConfig"]
    assert cluster["InstanceCount"] == made.workers == 4
    assert cluster["VolumeSizeInGB"] * 1024**3 * 4 > 2 * made.size
    assert manifest_of("feeds", listing(2).objects) == [
        {"prefix": "s3://feeds/"},
        "loans/000000.csv",
        "loans/000001.csv",
    ]


def summed(outcomes: list[ObjectOutcome], **more: Any) -> Any:
    keys = [one.key for one in listing(3).objects]
    return summary_of(plan(3), keys, outcomes, "s3://kept/rejects", **more)


def test_all_objects_read_and_a_record_written_is_done() -> None:
    summary = summed([ObjectOutcome(object=i, written=5, passed_over=2) for i in range(3)])
    assert (summary.state, summary.written, summary.finished) == ("done", 15, 3)
    assert summary.text == "15 records written into loans, 6 outside the time range"
    assert summary.rejects == ""


def test_rejected_records_are_done_and_told() -> None:
    summary = summed([ObjectOutcome(object=i, written=5, rejected=1) for i in range(3)])
    assert (summary.state, summary.rejected) == ("done", 3)
    assert "3 rejected (under s3://kept/rejects, each with its reason)" in summary.text
    assert summary.rejects == "s3://kept/rejects"


def test_if_every_record_is_rejected_it_failed() -> None:
    summary = summed([ObjectOutcome(object=i, rejected=1) for i in range(3)])
    assert summary.state == "failed"
    assert "every record was rejected" in summary.text


def test_if_no_record_was_meant_it_failed() -> None:
    summary = summed([ObjectOutcome(object=i, passed_over=4) for i in range(3)])
    assert summary.state == "failed"
    assert "no record lies in the time range" in summary.text


def test_an_object_that_failed_is_named() -> None:
    outcomes = [ObjectOutcome(object=i, written=5) for i in range(3)]
    outcomes[1] = ObjectOutcome(object=1, written=2, error="unreadable: it is no CSV")
    summary = summed(outcomes)
    assert (summary.state, summary.finished, summary.written) == ("failed", 2, 12)
    assert "loans/000001.csv: unreadable: it is no CSV" in summary.text


def test_an_object_that_nobody_finished_is_not_done() -> None:
    summary = summed([ObjectOutcome(object=0, written=5)])
    assert (summary.state, summary.finished) == ("failed", 1)
    assert "not finished: loans/000001.csv and 1 more" in summary.text


def test_many_failures_stay_a_short_text() -> None:
    outcomes = [ObjectOutcome(object=i, error="x" * 500) for i in range(50)]
    keys = [one.key for one in listing(50).objects]
    summary = summary_of(plan(50), keys, outcomes, "s3://kept/rejects")
    assert "47 more objects failed" in summary.text
    assert len(summary.text) <= 2000


def test_of_an_object_the_last_word_counts() -> None:
    outcomes = [ObjectOutcome(object=0, error="died"), ObjectOutcome(object=0, written=5)]
    outcomes += [ObjectOutcome(object=i, written=5) for i in (1, 2)]
    assert summed(outcomes).state == "done"


def test_what_ended_early_says_so() -> None:
    done = [ObjectOutcome(object=i, written=5) for i in range(3)]
    assert summed(done, error="the map ended").state == "failed"
    assert summed(done, error="by hand", stopped=True).state == "stopped"


def test_the_cause_of_a_failed_call_is_unwrapped() -> None:
    lambdas = '{"errorMessage": "no such bucket", "errorType": "NotFoundError"}'
    assert told_by(lambdas) == "no such bucket"
    assert told_by('{"Error": "NotFoundError", "Cause": "plain"}') == "plain"
    assert told_by("[1]") == "[1]"
    assert told_by("plain") == "plain"
