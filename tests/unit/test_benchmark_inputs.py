"""What the benchmarks measure with: files of realistic size, a stand-in for AWS, honest ratios."""

from __future__ import annotations

import http.client
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from guiderail import bootstrap
from guiderail.model.delivery import DeliveryState
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import ChannelKind
from guiderail.reports.run_files import Files, parse_run
from guiderail.services import tightening
from guiderail.services.outbox import BUS, TOPIC
from guiderail.services.reading import read_outcome
from guiderail.settings import settings_from
from guiderail_local.sink import Sink
from msgspec.structs import replace

from benchmarks import __main__ as main
from benchmarks import calls, delivering, mutations, report_files, result, storm
from benchmarks.functions_here import as_deployed
from benchmarks.parsing import (
    BASELINE_ROWS,
    JUDGES_EVERYTHING,
    NEXT_RUN,
    ROWS,
    TIGHTER_POLICY,
    decide,
    files_of_a_run,
)
from benchmarks.stub_aws import StubAws, job_event


@pytest.mark.parametrize(
    ("rows", "smallest", "largest"),
    [(ROWS, 125_000, 156_000), (BASELINE_ROWS, 1_350_000, 1_650_000)],
    ids=["run", "baseline"],
)
def test_statistics_are_as_large_as_real_ones(rows: int, smallest: int, largest: int) -> None:
    assert smallest <= len(report_files.statistics_file(60, rows)) <= largest


def test_other_files_are_as_large_as_real_ones() -> None:
    assert 9_000 <= len(report_files.constraints_file(60)) <= 10_500
    assert len(report_files.no_violations_file()) == 24


@pytest.mark.parametrize("rows", [1, 100, 2_049, 2_051, 41_000, 100_000])
def test_the_levels_of_a_sketch_weigh_as_much_as_its_rows(rows: int) -> None:
    levels = report_files.sketch_levels(rows)

    assert sum(kept << level for level, kept in enumerate(levels)) == rows
    assert sum(levels) <= report_files.SKETCH_SIZE / (1 - report_files.SHRINKING_FACTOR) + 10


def test_the_sketch_in_the_file_has_these_levels() -> None:
    statistics = json.loads(report_files.statistics_file(1, 5_000))

    sketch = statistics["features"][0]["numerical_statistics"]["distribution"]["kll"]["sketch"]
    assert sketch["parameters"] == {"c": 0.64, "k": 2048.0}
    assert tuple(map(len, sketch["data"])) == report_files.sketch_levels(5_000)


def test_files_are_the_same_every_time() -> None:
    assert report_files.statistics_file(12, 300) == report_files.statistics_file(12, 300)
    assert report_files.statistics_file(12, 300) != report_files.statistics_file(12, 300, seed=2)


def test_files_are_laid_out_as_the_analyzer_does() -> None:
    assert report_files.written({"violations": []}) == b'{\n  "violations" : [ ]\n}'
    assert report_files.written({"a": [{"b": 1}, {"c": [2.0, 3.0]}]}) == (
        b'{\n  "a" : [ {\n    "b" : 1\n  }, {\n    "c" : [ 2.0, 3.0 ]\n  } ]\n}'
    )


@pytest.mark.parametrize("features", [60, 500])
def test_the_files_make_a_run_with_violations_that_is_read_whole(features: int) -> None:
    reading = read_outcome(parse_run(*files_of_a_run(features)), None, None, 30)

    assert reading.outcome is Outcome.VIOLATIONS
    assert len(reading.findings) == features // 5 + features // 10
    assert all(f.parsed and (f.subject.columns or f.baseline) for f in reading.findings)


@pytest.mark.enable_socket
def test_the_stand_in_answers_one_request_after_the_other_without_delay() -> None:
    target = "DynamoDB_20120810.TransactWriteItems"
    with StubAws() as stub:
        connection = http.client.HTTPConnection(stub.url.removeprefix("http://"), timeout=5)
        for _ in range(20):
            connection.request("POST", "/", b'{"TransactItems": []}', {"X-Amz-Target": target})
            assert connection.getresponse().read() == b"{}"
        connection.request("GET", "/loan-reports/no/such/key")
        missing = connection.getresponse()
        connection.close()

    assert stub.calls["TransactWriteItems"] == 20
    assert missing.status == 404


def test_a_ratio_is_the_median_of_its_pairs() -> None:
    ratio = result.of_pairs("a / b", [(1.0, 2.0), (3.0, 3.0), (9.0, 3.0)], target=1.0)

    assert (ratio.median, ratio.low, ratio.high, ratio.runs) == (1.0, 0.5, 3.0, 3)
    assert ratio.met


def test_what_was_not_measured_meets_no_target() -> None:
    assert result.not_measured("a / b", "no network").as_json()["median"] is None
    assert result.Result("a / b", None, None, None, 0, target=1.0).met is False
    assert result.not_measured("a / b", "no network").met is None


def test_comparators_are_there() -> None:
    folder = Path(report_files.__file__).parent / "comparators"

    assert {p.stem for p in folder.glob("*.py")} == {
        "bare",
        "imports_evidently",
        "imports_sagemaker",
        "ingests_sagemaker",
        "pictures_cairosvg",
        "pictures_matplotlib",
        "pictures_resvg",
        "pictures_vl_convert",
        "usual",
    }


# --- what decides, and the storm


def test_every_finding_is_news_at_first_and_known_at_the_next_run() -> None:
    parsed = parse_run(*files_of_a_run(60))

    first, messages = decide(parsed)
    again, repeated = decide(parsed, first.ledger, NEXT_RUN)

    assert len(first.ledger.incidents) == len(first.record.reading.findings) == 18
    assert len(messages) == 1
    assert {d.reason for d in again.decisions} == {Reason.SUPPRESSED_DUPLICATE}
    assert repeated == ()


def test_a_tighter_rule_has_drift_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parse_run(*files_of_a_run(60))
    computed = []
    monkeypatch.setattr(tightening, "numerical_distance", lambda *a, **k: computed.append(a))

    decide(parsed)
    assert not computed
    decide(parsed, policy=TIGHTER_POLICY)

    assert 5 <= len(computed) <= 10


def test_damaged_files_are_judged_by_thresholds_that_make_findings_of_them() -> None:
    run = next(r for r in mutations.run_folders() if r.name == "06-clean-clarify")

    followed, _ = decide(run.parsed(), policy=JUDGES_EVERYTHING)

    assert followed.record.judgements
    assert all(j.is_derived for j in followed.record.judgements)


@pytest.mark.enable_socket
def test_the_stand_in_remembers_what_is_written() -> None:
    with StubAws(report_files.violations_file(60)) as stub:
        calls.handle(job_event(), stub.url)
        calls.handle(job_event(), stub.url, just_started=False)
        assert stub.calls["BatchGetItem"] == 2
        assert stub.calls["TransactWriteItems"] == 1, "the second one is a duplicate"
        calls.tell(datetime.now(UTC) + timedelta(minutes=1), stub.url)
        calls.tell(datetime.now(UTC) + timedelta(minutes=1), stub.url)

    assert stub.calls["SendMessageBatch"] == 1
    assert len(stub.queued) == 2, "one for the topic, one for the bus"


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("kind", "calls_to_aws"),
    [
        (ChannelKind.WEBHOOK, {"BatchGetItem": 1, "TransactWriteItems": 6, "GetSecretValue": 1}),
        (ChannelKind.SLACK, {"BatchGetItem": 1, "TransactWriteItems": 6, "GetSecretValue": 1}),
        (ChannelKind.TOPIC, {"BatchGetItem": 1, "TransactWriteItems": 6, "Publish": 2}),
        (ChannelKind.BUS, {"BatchGetItem": 1, "TransactWriteItems": 6, "PutEvents": 2}),
    ],
)
def test_what_is_measured_is_delivered(kind: ChannelKind, calls_to_aws: dict[str, int]) -> None:
    with Sink() as sink:
        there = sink.channels(delivering.RECEIVER)
        channel = there.get(kind, {"topic": TOPIC, "bus": BUS}.get(kind.value, TOPIC))
        channel = replace(channel, pictures=False)
        policy = delivering.policy_of({kind: channel} if kind in there else {})
        with StubAws(policy=policy, secrets=sink.secrets()) as stub, as_deployed(stub.url):
            delivering.deliver_all(delivering.batches(2, channel))
            today = datetime.now(UTC)
            outbox = bootstrap.build_deliveries(settings_from())
            kept = list(outbox.deliveries(today - timedelta(days=1), today))
        taken = sink.taken(kind)

    assert [d.state for d in kept] == [DeliveryState.DELIVERED] * 2
    assert len(taken) == (2 if kind in there else 0)
    assert stub.calls == {**calls_to_aws, "GetObject": 1, "Query": stub.calls["Query"]}


def test_messages_that_are_delivered_are_those_of_a_run_with_18_findings() -> None:
    made = delivering.outgoing(3, TOPIC, datetime.now(UTC))

    assert len({m.notification.id for m in made}) == len({m.notification.group for m in made}) == 3
    assert {len(m.notification.rows) for m in made} == {18}
    assert all(m.notification.distributions for m in made)


def test_schedules_of_a_storm_are_half_clean_and_every_endpoint_has_a_fault() -> None:
    wave = storm.wave_of("w", 200, 3)

    schedules = list(dict.fromkeys(c.schedule for c in wave))
    by_endpoint: dict[str, list[storm.Life]] = {}
    for schedule in schedules:
        by_endpoint.setdefault(schedule.endpoint, []).append(schedule.life)
    assert len({c.name for c in wave}) == len(wave) == 600
    assert sum(s.life is storm.Life.CLEAN for s in schedules) == 100
    assert all(
        any(life is not storm.Life.CLEAN for life in lives) for lives in by_endpoint.values()
    )
    assert len({s.group for s in schedules}) == 45 + 1
    assert "MonitoringScheduleArn" not in wave[0].event()["detail"]


def test_a_drifting_run_of_a_storm_has_the_findings_that_are_counted() -> None:
    left = {
        key.rpartition("/")[2]: content
        for key, content in storm.objects().items()
        if key.startswith(f"{storm.Life.DRIFTING.value}/")
    }

    assert len(read_outcome(parse_run(Files(left)), None, None, 30).findings) == storm.FINDINGS


@pytest.mark.parametrize(("value", "status"), [(1.0, 0), (2.0, 1)])
def test_a_missed_target_is_an_exit_status(
    value: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = [result.counted("speed", value, "calls", 1)]
    monkeypatch.setattr(main, "BENCHMARKS", {"one": lambda quick: measured})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "one", "--json"])

    assert main.main() == status
    assert ("missed: speed" in capsys.readouterr().err) == bool(status)


def test_what_could_not_run_costs_no_other_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(quick: bool) -> list[result.Result]:
        raise RuntimeError("no network")

    whole = [result.counted("speed", 1, "calls", 1)]
    monkeypatch.setattr(main, "BENCHMARKS", {"one": broken, "two": lambda quick: whole})
    monkeypatch.setattr(main, "LATEST", Path("must-not-be-written"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json"])

    assert main.main() == 2
    told = capsys.readouterr()
    assert [r["name"] for r in json.loads(told.out)["results"]] == ["speed"]
    assert "one could not run: no network" in told.err
    assert not Path("must-not-be-written").exists()
