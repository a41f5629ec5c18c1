"""What people called noise, and which policy would tell it all the same."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from guiderail.errors import SettingsError
from guiderail.model.delivery import Feedback
from guiderail.model.policy import Effect, Layer, LifeCycle, Match, Policy, Rule, RunsNeeded
from guiderail_cli.backtest.feedback import read_feedback
from guiderail_cli.backtest.result import Backtest, NoiseTold
from guiderail_cli.backtest.run import backtest
from guiderail_cli.backtest.shelves import shelf_at
from guiderail_cli.backtest.stored_runs import find_runs
from guiderail_cli.backtest_command import backtest as command
from typer.testing import CliRunner

from tests import builders as b
from tests.unit.backtest.conftest import FIRST, MAX_BYTES, History

LENIENT = Policy(
    rules=(
        Rule(
            name="income moves",
            layer=Layer.RULE,
            line=3,
            match=Match(feature=("income",)),
            effect=Effect(threshold=0.35),
        ),
    ),
    life_cycle=LifeCycle(resolve_after=1),
)
STRICT = Policy(life_cycle=LifeCycle(resolve_after=1))


def said(incident: str, hours: float, **fields: Any) -> Feedback:
    """Somebody says so some hours after the first run."""
    at = FIRST + timedelta(hours=hours)
    return Feedback(
        id=f"{incident}{hours}",
        at=at,
        actor="ana",
        incident=incident,
        labels={"endpoint": "loan-risk-prod", "feature": "income", "check": "drift"},
        observed=0.3,
        **fields,
    )


def replayed(history: History, feedback: list[Feedback], *policies: Policy) -> Backtest:
    shelf = shelf_at(str(history.folder), MAX_BYTES)
    named = list(zip(("new", "old"), policies, strict=False))
    return backtest(shelf, find_runs(shelf), named, 30, feedback=feedback)


@pytest.fixture
def incident(history: History) -> str:
    """Drift of 0.3, a pause, drift of 0.5, a pause; an hour each."""
    history.add_distances([0.3, None, None, 0.5, None, None])
    (summary,) = replayed(history, [], STRICT).policy.noisiest
    return summary.id


def test_each_finding_is_told_or_not_by_itself(history: History, incident: str) -> None:
    feedback = [said(incident, 0.5), said(incident, 2.5), said(incident, 3.5)]
    result = replayed(history, feedback, LENIENT, STRICT).feedback
    assert result
    assert (result.said, result.known) == (3, 3)
    # what is said between the two drifts is about the first
    assert result.policies == (NoiseTold("new", 1), NoiseTold("old", 3))
    (still,) = result.still_told
    assert (still.incident, still.by, still.observed) == (incident, "ana", 0.3)
    assert still.at == (FIRST + timedelta(hours=3.5)).isoformat(timespec="seconds")


def test_one_that_waits_for_more_runs_is_not_told(history: History, incident: str) -> None:
    effect = Effect(runs_needed=RunsNeeded(2, 2))
    waits = Policy(rules=(Rule(name="twice", layer=Layer.DEFAULTS, effect=effect),))
    result = replayed(history, [said(incident, 0.5)], waits).feedback
    assert result
    assert result.policies == (NoiseTold("new", 0),)


def test_what_is_not_in_the_runs_counts_for_nobody(history: History, incident: str) -> None:
    feedback = [said("another-incident", 0.5), said(incident, -1)]
    result = replayed(history, feedback, STRICT).feedback
    assert result
    assert (result.said, result.known) == (2, 0)
    assert result.policies == (NoiseTold("new", 0),)


def test_runs_without_an_account_are_known_by_their_labels(tmp_path: Path) -> None:
    """As Model Monitor lays them down: the path tells endpoint, schedule and hour."""
    place = tmp_path / "loan-risk-prod" / "loan-risk-prod-hourly" / f"{FIRST:%Y/%m/%d/%H}"
    place.mkdir(parents=True)
    (place / "statistics.json").write_bytes(b.statistics())
    (place / "constraint_violations.json").write_bytes(b.violations(b.drifted("income", "0.3")))
    shelf = shelf_at(str(tmp_path), MAX_BYTES)
    labels = {
        "account": "123456789012",
        "endpoint": "loan-risk-prod",
        "schedule": "loan-risk-prod-hourly",
        "monitor": "data_quality",
        "check": "baseline_drift_check",
        "feature": "income",
    }
    one = msgspec.structs.replace(said("id-with-the-account", 5), labels=labels)
    other = msgspec.structs.replace(one, labels={**labels, "feature": "age"}, incident="x")
    named = [("new", STRICT)]
    result = backtest(shelf, find_runs(shelf), named, 30, feedback=[one, other]).feedback
    assert result
    assert (result.said, result.known) == (2, 1)
    assert result.policies == (NoiseTold("new", 1),)


def test_nobody_asked(history: History, incident: str) -> None:
    shelf = shelf_at(str(history.folder), MAX_BYTES)
    assert backtest(shelf, find_runs(shelf), [("new", STRICT)], 30).feedback is None


# --- the file and the command


def written(path: Path, feedback: list[Feedback]) -> Path:
    path.write_bytes(msgspec.json.encode({"since": "2026-11-01", "feedback": feedback}))
    return path


def test_the_command_tells_it(history: History, incident: str, tmp_path: Path) -> None:
    file = written(tmp_path / "noise.json", [said(incident, 0.5), said("other", 1)])
    page = tmp_path / "page.html"
    app = typer.Typer()
    app.command()(command)

    def run(*more: str) -> str:
        arguments = ["--reports", str(history.folder), "--feedback", str(file), *more]
        ran = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    words = "Of 1 finding that people called noise built-in tells 1; 1 more are not in these runs."
    out = run("--html", str(page))
    assert words in out
    assert "loan-risk-prod: income" in out
    assert words in page.read_text()
    assert json.loads(run("--json"))["feedback"]["known"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"[]", "Expected `object`"),
        (b'{"feedback": [{"id": 1}]}', "$.feedback[0].id"),
        (b"\xff", "malformed"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "noise.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        read_feedback(file)
    assert str(error.value).startswith(f"{file}: ")
    assert told in str(error.value)
    assert "guiderail incidents feedback --json" in str(error.value)
