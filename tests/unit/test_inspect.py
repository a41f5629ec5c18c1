"""``guiderail inspect``: outcome and findings of one run, and exit codes that scripts can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from guiderail.model.outcome import MonitorKind

from tests import builders as b
from tests.commands import Guiderail, command

VIOLATIONS = "constraint_violations.json"


@pytest.fixture
def guiderail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Guiderail:
    """Run the command in this process, as its entry point does."""

    return command(monkeypatch, capsys)


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def described(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


CLEAN = {VIOLATIONS: b.NO_VIOLATIONS, "statistics.json": b.statistics()}
DRIFT = {
    VIOLATIONS: b.violations(b.drifted("income", "0.73")),
    "statistics.json": b.statistics(b.numerical("income")),
}


def is_one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


# --- exit codes


def test_a_clean_run_exits_0_and_says_nothing_on_stderr(
    guiderail: Guiderail, tmp_path: Path
) -> None:
    ran = guiderail("inspect", folder(tmp_path, CLEAN))

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("clean")


def test_violations_exit_1(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, DRIFT))

    assert (ran.code, ran.err) == (1, "")
    assert "violations" in ran.out and "income" in ran.out


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        ({"ProcessingJobStatus": "Failed", "FailureReason": "AlgorithmError"}, "failed"),
        ({"ProcessingJobStatus": "Stopped"}, "stopped"),
        (
            {"ProcessingJobStatus": "Failed", "FailureReason": "Job inputs had no data"},
            "no_data",
        ),
    ],
)
def test_an_unhealthy_run_exits_2(
    guiderail: Guiderail, tmp_path: Path, job: b.Document, outcome: str
) -> None:
    file = described(tmp_path / "answer.json", b.described_job(**job))

    ran = guiderail("inspect", folder(tmp_path / "report", {}), "--job", file, "--json")

    assert (ran.code, ran.document["outcome"]) == (2, outcome)


def test_too_few_rows_exit_2_and_the_minimum_is_an_option(
    guiderail: Guiderail, tmp_path: Path
) -> None:
    few = folder(tmp_path, {**CLEAN, "statistics.json": b.statistics(rows=12)})

    assert guiderail("inspect", few).code == 2
    assert guiderail("inspect", few, "--minimum-rows", 12).code == 0


@pytest.mark.parametrize(
    ("files", "named"),
    [
        pytest.param({VIOLATIONS: b'{"violations": ['}, VIOLATIONS, id="truncated"),
        pytest.param({VIOLATIONS: b"[]"}, VIOLATIONS, id="another shape"),
        pytest.param({**CLEAN, "statistics.json": b"{}"}, "statistics.json", id="statistics"),
        pytest.param({}, "report", id="empty folder"),
    ],
)
def test_an_unreadable_report_exits_3_with_one_line_that_names_the_file(
    guiderail: Guiderail, tmp_path: Path, files: dict[str, bytes], named: str
) -> None:
    ran = guiderail("inspect", folder(tmp_path / "report", files))

    assert ran.code == 3
    assert is_one_line(ran.err)
    assert named in ran.err


def test_an_unreadable_report_is_printed_too(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, {VIOLATIONS: b"{"}), "--json")

    assert ran.document["outcome"] == "unreadable"
    assert "violations_file_unreadable" in ran.document["reasons"]


def test_a_folder_that_is_not_there_exits_3(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", tmp_path / "gone", "--json")

    assert (ran.code, ran.out) == (3, "")
    assert is_one_line(ran.err) and "gone" in ran.err and "Pass a run's report folder" in ran.err


def test_a_file_with_a_line_break_in_its_name_still_makes_one_line(
    guiderail: Guiderail, tmp_path: Path
) -> None:
    ran = guiderail("inspect", tmp_path / "two\nlines")

    assert ran.code == 3 and is_one_line(ran.err)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{}", "ProcessingJobName is missing"),
        (b'{"ProcessingJobName": 7}', "ProcessingJobName"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_description_that_is_none_exits_3_and_names_it(
    guiderail: Guiderail, tmp_path: Path, content: bytes, said: str
) -> None:
    report = folder(tmp_path / "report", CLEAN)
    (tmp_path / "answer.json").write_bytes(content)

    ran = guiderail("inspect", report, "--job", tmp_path / "answer.json")

    assert ran.code == 3
    assert is_one_line(ran.err)
    assert "answer.json" in ran.err and said in ran.err


@pytest.mark.parametrize("option", ["--job", "--schedule"])
def test_a_description_that_is_not_there_exits_3(
    guiderail: Guiderail, tmp_path: Path, option: str
) -> None:
    ran = guiderail("inspect", folder(tmp_path, CLEAN), option, tmp_path / "gone.json")

    assert ran.code == 3
    assert is_one_line(ran.err) and "gone.json" in ran.err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"MonitoringScheduleArn": None}, "ignored_baselining_job"),
        ({"ProcessingJobName": "groundtruth-merge-202611231400-5c1f"}, "ignored_merge_job"),
        ({"ProcessingJobStatus": "InProgress"}, "InProgress"),
    ],
)
def test_a_job_that_is_no_ended_monitoring_run_exits_3(
    guiderail: Guiderail, tmp_path: Path, fields: b.Document, said: str
) -> None:
    file = described(tmp_path / "answer.json", b.described_job(**fields))

    ran = guiderail("inspect", folder(tmp_path / "report", CLEAN), "--job", file)

    assert (ran.code, ran.out) == (3, "")
    assert is_one_line(ran.err) and said in ran.err


def test_a_file_over_the_limit_exits_3(guiderail: Guiderail, tmp_path: Path) -> None:
    large = {VIOLATIONS: b.violations(*(b.drifted(f"ratio_{n}") for n in range(8000)))}

    ran = guiderail("inspect", folder(tmp_path, large), "--max-mib", 1, "--json")

    assert ran.code == 3
    assert "report_too_large" in ran.document["reasons"]
    assert is_one_line(ran.err)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "command"),
        (("inspect",), "path"),
        (("inspect", "report", "--jobs", "x"), "--jobs"),
        (("inspect", "report", "--minimum-rows", "many"), "--minimum-rows"),
        (("inspect", "report", "another"), "another"),
        (("watch",), "watch"),
    ],
)
def test_wrong_use_names_what_was_wrong(
    guiderail: Guiderail, arguments: tuple[str, ...], named: str
) -> None:
    ran = guiderail(*arguments)

    assert ran.code == 3
    assert is_one_line(ran.err)
    assert named in ran.err.casefold()
    assert ".." not in ran.err


@pytest.mark.parametrize("arguments", [("--help",), ("inspect", "--help")])
def test_help_exits_0(guiderail: Guiderail, arguments: tuple[str, ...]) -> None:
    ran = guiderail(*arguments)

    assert (ran.code, ran.err) == (0, "")
    assert "inspect" in ran.out


def test_help_tells_the_exit_codes(guiderail: Guiderail) -> None:
    assert "0 clean, 1 violations, 2 unhealthy run" in guiderail("inspect", "--help").out


# --- JSON


def test_json_is_one_object_on_one_line(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, DRIFT), "--json")

    assert is_one_line(ran.out)
    assert ran.document["outcome"] == "violations"
    assert ran.document["monitor"] == "data_quality"
    assert "violations_reported" in ran.document["reasons"]
    assert ran.document["rows"] == 900


def test_json_of_a_finding_has_the_promised_shape(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, DRIFT), "--json")

    (found,) = ran.document["findings"]
    promised = {
        "check": "baseline_drift_check",
        "subject": {"feature": "income"},
        "observed": 0.73,
        "threshold": 0.1,
        "direction": "above",
        "parsed": True,
        "description": "Baseline drift distance: 0.73 exceeds threshold: 0.1",
    }
    assert promised.items() <= found.items()
    assert found["current"]["mean"] == 41_250.5


@pytest.mark.parametrize(
    ("item", "subject"),
    [
        (b.incomplete("income", "0.5"), {"feature": "income"}),
        (b.off_metric("truePositiveRate", "0.1", "0.9"), {"metric": "true_positive_rate"}),
        (
            b.biased("DI", "0.4", "0.9"),
            {"metric": "DI", "facet": "age_group", "facet_value": "(18, 25]"},
        ),
        (b.reordered("0.4"), {"metric": "shap", "label": "default"}),
        (b.columns_differ("extra_column_check", 3, 2), {}),
    ],
)
def test_json_subjects_hold_only_what_applies(
    guiderail: Guiderail, tmp_path: Path, item: b.Document, subject: dict[str, str]
) -> None:
    ran = guiderail("inspect", folder(tmp_path, {VIOLATIONS: b.violations(item)}), "--json")

    assert ran.document["findings"][0]["subject"] == subject


def test_what_nobody_could_read_is_null_and_unparsed(guiderail: Guiderail, tmp_path: Path) -> None:
    item = b.item("of_our_own", "x" * 3000, feature_name="income")

    ran = guiderail("inspect", folder(tmp_path, {VIOLATIONS: b.violations(item)}), "--json")

    (found,) = ran.document["findings"]
    assert (found["observed"], found["threshold"], found["direction"], found["parsed"]) == (
        None,
        None,
        None,
        False,
    )
    assert found["description"] == "x" * 3000


def test_an_infinite_number_keeps_the_output_json(guiderail: Guiderail, tmp_path: Path) -> None:
    files = {
        VIOLATIONS: b.violations(b.biased("TE", "Infinity", "2.5")),
        "analysis.json": b.bias_analysis(post={"TE": "Infinity"}),
    }

    ran = guiderail("inspect", folder(tmp_path, files), "--json")

    (found,) = ran.document["findings"]
    assert (found["observed"], found["distance"]) == (None, None)
    assert found["observed_text"] == "Infinity"


def test_attribution_shifts_name_the_features(guiderail: Guiderail, tmp_path: Path) -> None:
    files = {
        VIOLATIONS: b.violations(b.reordered("0.86")),
        "analysis.json": b.shap_analysis({"default": {"income": 1, "age_of_account": 4}}),
    }
    baseline = {"analysis.json": b.shap_analysis({"default": {"income": 2, "age_of_account": 1}})}

    ran = guiderail(
        "inspect",
        folder(tmp_path / "report", files),
        "--baseline",
        folder(tmp_path / "then", baseline),
        "--json",
    )

    (found,) = ran.document["findings"]
    assert [s["feature"] for s in found["attribution_shifts"]] == ["income", "age_of_account"]
    assert found["attribution_shifts"][0]["score_loss"] > 0


@pytest.mark.parametrize(
    "name", ["\ud83d", "a\x00b", "line\nbreak", "\x1b[31m", "💸", "[bold]x[/]"]
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_name_breaks_the_output(
    guiderail: Guiderail, tmp_path: Path, name: str, form: list[str]
) -> None:
    ran = guiderail("inspect", folder(tmp_path, {VIOLATIONS: b.violations(b.drifted(name))}), *form)

    # a lone surrogate is no text: refusing the file is as good as printing it
    assert ran.code == 1 or (name == "\ud83d" and ran.code == 3)
    assert "\x1b" not in ran.out


# --- places


def test_a_run_folder_is_read_with_all_that_is_in_it(guiderail: Guiderail, tmp_path: Path) -> None:
    folder(
        tmp_path / "report",
        {VIOLATIONS: b.violations(b.old_wording("income", "data_type_check", "0.5"))},
    )
    folder(tmp_path / "baseline", {"constraints.json": b.constraints("income", type_threshold=0.9)})
    exit_message = "CompletedWithViolations: Job completed successfully with 3 violations."
    described(tmp_path / "job.json", b.described_job(ExitMessage=exit_message))
    described(tmp_path / "schedule.json", b.described_schedule())

    ran = guiderail("inspect", tmp_path, "--json")

    assert ran.code == 1
    assert ran.document["findings"][0]["threshold"] == 0.9
    assert "violation_count_disagrees" in ran.document["reasons"]
    assert "job_state_unknown" not in ran.document["reasons"]


def test_the_report_folder_alone_says_that_the_job_is_unknown(
    guiderail: Guiderail, tmp_path: Path
) -> None:
    ran = guiderail("inspect", folder(tmp_path, CLEAN), "--json")

    assert "job_state_unknown" in ran.document["reasons"]


def test_one_file_is_enough(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, DRIFT) / VIOLATIONS, "--json")

    assert (ran.code, len(ran.document["findings"])) == (1, 1)


def test_a_file_of_another_name_exits_3(guiderail: Guiderail, tmp_path: Path) -> None:
    ran = guiderail("inspect", folder(tmp_path, {"report.json": b.violations()}) / "report.json")

    assert ran.code == 3
    assert is_one_line(ran.err) and VIOLATIONS in ran.err


@pytest.mark.parametrize("name", [VIOLATIONS, "constraints_violations.json"])
def test_both_spellings_of_the_violations_file_are_read(
    guiderail: Guiderail, tmp_path: Path, name: str
) -> None:
    assert guiderail("inspect", folder(tmp_path, {name: DRIFT[VIOLATIONS]})).code == 1


def test_job_and_schedule_tell_the_monitor(guiderail: Guiderail, tmp_path: Path) -> None:
    report = folder(
        tmp_path / "report", {"analysis.json": b.shap_analysis({"default": {"income": 1.0}})}
    )
    kind = MonitorKind.EXPLAINABILITY
    job = described(tmp_path / "j.json", b.described_job(kind, ProcessingJobName="fair-1"))
    schedule = described(tmp_path / "s.json", b.described_schedule(kind))

    ran = guiderail("inspect", report, "--job", job, "--schedule", schedule, "--json")

    assert (ran.code, ran.document["monitor"]) == (0, "explainability")
    assert "clarify_wrote_no_violations_file" in ran.document["reasons"]


def test_baseline_option_goes_before_the_folder_beside_the_report(
    guiderail: Guiderail, tmp_path: Path
) -> None:
    item = b.old_wording("income", "data_type_check", "0.5")
    folder(tmp_path / "report", {VIOLATIONS: b.violations(item)})
    folder(tmp_path / "baseline", {"constraints.json": b.constraints("income", type_threshold=0.9)})
    other = folder(
        tmp_path / "other", {"constraints.json": b.constraints("income", type_threshold=0.7)}
    )

    ran = guiderail("inspect", tmp_path, "--baseline", other, "--json")

    assert ran.document["findings"][0]["threshold"] == 0.7


def test_the_module_is_the_command(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "guiderail_cli.main", "inspect", str(folder(tmp_path, DRIFT))],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )

    assert (ran.returncode, ran.stderr) == (1, "")
