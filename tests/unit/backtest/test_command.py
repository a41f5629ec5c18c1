"""``guiderail backtest`` as it is called: output, exit codes, errors that name what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from guiderail_cli.backtest_command import backtest
from typer.testing import CliRunner, Result

from tests.unit.backtest.conftest import History

OLD = "version: 1\n"
NEW = """version: 1
rules:
  - name: twice
    match: {check: baseline_drift_check}
    set: {for: 2 of 3}
  - name: nowhere
    match: {endpoint: gone-prod}
    set: {severity: info}
"""

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(backtest)

    def call(*arguments: object) -> Result:
        wide = {"COLUMNS": "200"}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=wide)

    return call


@pytest.fixture
def policies(tmp_path: Path) -> tuple[Path, Path]:
    new, old = tmp_path / "new.yaml", tmp_path / "old.yaml"
    new.write_text(NEW)
    old.write_text(OLD)
    return new, old


def test_json_holds_both_policies_and_what_differs(
    history: History, command: Command, policies: tuple[Path, Path]
) -> None:
    history.add_distances([0.3, None, None])
    new, old = policies

    ran = command("--reports", history.folder, "--policy", new, "--against", old, "--json")

    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document["runs"] == 3
    assert document["outcomes"] == {"clean": 2, "violations": 1}
    assert (document["policy"]["messages"], document["against"]["messages"]) == (0, 2)
    assert [i["subject"] for i in document["comparison"]["only_old"]] == ["income"]
    assert {(n["name"], n["line"]) for n in document["policy"]["never"]} == {
        ("twice", 3),
        ("nowhere", 6),
    }


def test_the_table_names_what_changed_and_what_never_fires(
    history: History, command: Command, policies: tuple[Path, Path]
) -> None:
    history.add_distances([0.3, None, None])
    new, old = policies

    ran = command("--reports", history.folder, "--policy", new, "--against", old)

    assert ran.exit_code == 0, ran.output
    assert "3 runs" in ran.stdout
    assert "only with old.yaml" in ran.stdout
    assert "nowhere (line 6)" in ran.stdout


def test_without_a_policy_the_built_in_one_is_tried(history: History, command: Command) -> None:
    history.add_distances([0.3])

    document = json.loads(command("--reports", history.folder, "--json").stdout)

    assert document["policy"]["name"] == "built-in"
    assert document["against"] is None


def test_a_page_is_written(history: History, command: Command, tmp_path: Path) -> None:
    history.add_distances([0.3])
    file = tmp_path / "page.html"

    ran = command("--reports", history.folder, "--html", file)

    assert ran.exit_code == 0
    assert file.read_text().startswith("<!doctype html>")
    assert str(file) in ran.stdout


def test_folders_left_out_are_named(history: History, command: Command) -> None:
    history.add_distances([None])
    damaged = history.add([])
    (damaged / "job.json").write_text("{")

    ran = command("--reports", history.folder, "--json")

    assert ran.exit_code == 0
    assert f"{damaged} is left out: job.json" in ran.stderr
    assert json.loads(ran.stdout)["skipped"][0]["place"] == str(damaged)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--reports", "/nowhere"), "/nowhere: no such folder. Pass a folder of run folders"),
        (("--reports", "ftp://x"), "no place on S3"),
        (("--reports", "{history}", "--since", "soon"), "'soon' is no length of time. Write 12h, 90d or 8w"),
        (("--reports", "{history}", "--since", "0d"), "no length of time"),
        (("--reports", "{history}", "--policy", "/nowhere.yaml"), "/nowhere.yaml: No such file or directory"),
        (("--reports", "{history}", "--policy", "{wrong}"), "wrong.yaml:3:"),
        (("--reports", "{history}", "--html", "/nowhere/page.html"), "--html /nowhere/page.html: No such file"),
    ],
)  # fmt: skip
def test_unusable_input_exits_with_3_and_says_what_to_do(
    history: History, command: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    history.add_distances([None])
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nrules:\n  - nmae: x\n")
    filled = [a.format(history=history.folder, wrong=wrong) for a in arguments]

    ran = command(*filled)

    assert ran.exit_code == 3
    assert said in ran.stderr
    assert all(line.startswith("guiderail backtest: ") for line in ran.stderr.splitlines())


def test_two_policies_of_one_name_are_told_apart(
    history: History, command: Command, tmp_path: Path
) -> None:
    history.add_distances([0.3])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "guiderail.yaml").write_text(OLD)

    new, old = tmp_path / "a/guiderail.yaml", tmp_path / "b/guiderail.yaml"
    ran = command("--reports", history.folder, "--policy", new, "--against", old, "--json")

    document = json.loads(ran.stdout)
    assert document["policy"]["name"] != document["against"]["name"]
