"""What the benchmarks measure with: files of realistic size, a stand-in for AWS, honest ratios."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest
from guiderail.model.outcome import Outcome
from guiderail.reports.run_files import parse_run
from guiderail.services.reading import read_outcome

from benchmarks import report_files, result
from benchmarks.parsing import BASELINE_ROWS, ROWS, files_of_a_run
from benchmarks.stub_aws import StubAws


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
    with StubAws() as stub:
        connection = http.client.HTTPConnection(stub.url.removeprefix("http://"), timeout=5)
        for _ in range(20):
            connection.request("POST", "/", b"{}", {"X-Amz-Target": "SageMaker.GetItem"})
            assert connection.getresponse().read() == b"{}"
        connection.request("GET", "/loan-reports/no/such/key")
        missing = connection.getresponse()
        connection.close()

    assert stub.calls["GetItem"] == 20
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
        "usual",
    }
