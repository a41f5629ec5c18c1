"""docs/remediation.md: its tables agree with the code, and its example compiles."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest
from guiderail.model.outcome import Reason
from guiderail.model.policy import ActionKind, Cause, GuardRails, RemediationAction, RemediationMode
from guiderail.model.remediation import FACTS, Gate, RemediationState
from guiderail.services.gates import OVERRIDABLE
from guiderail.services.reingest_planning import DEFAULT_RATE
from guiderail.services.remediating import POLL_END
from guiderail.services.triage import ELIGIBLE
from guiderail_cli.policy_file import compile_policy
from guiderail_cli.policy_file.remediations import Guarding, Remediation
from guiderail_cli.policy_file.values import seconds_of
from guiderail_cli.remediation_commands import app

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "remediation.md").read_text()


def rows(heading: str, table: int = 0) -> list[list[str]]:
    section = re.split(r"^## ", DOCUMENT.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    tables = re.findall(r"(?:^ *\|.*\n)+", section, flags=re.M)
    lines = [line.strip() for line in tables[table].splitlines()]
    return [[c.strip() for c in line.strip("|").split(" |")] for line in lines[2:]]


def named(heading: str, table: int = 0) -> list[str]:
    return [row[0].strip("`{}") for row in rows(heading, table)]


def codes(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


def test_the_example_is_a_policy() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.S)
    compiled = compile_policy(dedent(text), "p.yaml", datetime(2026, 11, 1, tzinfo=UTC))
    assert compiled.problems == ()


def test_states() -> None:
    listed = {
        row[0].strip("`"): row[1].startswith("over:") for row in rows("The way of a remediation")
    }
    assert listed == {state.value: state.is_over for state in RemediationState}


def test_modes() -> None:
    assert named("Modes") == [*RemediationMode]


def test_actions_and_their_keys() -> None:
    listed = {row[0].strip("`"): codes(row[1]) for row in rows("Actions")}
    assert list(listed) == [*ActionKind]
    for kind, keys in listed.items():
        (model, *_) = get_args(Remediation.model_fields[kind].annotation)
        assert sorted(keys) == sorted(f.alias or name for name, f in model.model_fields.items())
    assert f"{DEFAULT_RATE:,.0f} records per second" in DOCUMENT


def test_fields() -> None:
    assert named("Actions", 1) == [*FACTS]


def test_keys_and_what_is_built_in() -> None:
    assert named("Keys of a remediation") == [
        key for key in Remediation.model_fields if key not in [*ActionKind]
    ]
    built_in = RemediationAction(name="", kind=ActionKind.TICKET)
    for key, told, _ in rows("Keys of a remediation"):
        value = getattr(built_in, key.strip("`"), None)
        if isinstance(value, float) and "`" in told:
            assert seconds_of(told.strip("`")) == value
        elif isinstance(value, bool | str):
            assert told.strip("`") == str(value).lower()


def test_guard_rails() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows("Keys of a remediation", 1)}
    assert list(listed) == [*Guarding.model_fields] == [*GuardRails.__struct_fields__]
    for key, told in listed.items():
        if told.isdigit():
            assert int(told) == getattr(GuardRails(), key)


def test_causes() -> None:
    assert named("Causes") == [*Cause]
    for kind, causes in ELIGIBLE.items():
        told = {row[0].strip("`") for row in rows("Causes") if kind in codes(row[2])}
        assert told == {*causes}


def test_gates_and_their_reasons() -> None:
    assert named("Gates") == [*Gate]
    told = {code for row in rows("Gates") for code in codes(row[2])}
    assert told <= {*Reason}
    (overridable,) = re.findall(r"^(.*) can be overridden", DOCUMENT, flags=re.M)
    assert codes(overridable) == [*OVERRIDABLE]


def test_failures_name_states_and_reasons() -> None:
    known = {*RemediationState, *Reason, "time_out"}
    for row in rows("When things fail"):
        assert {*codes(row[1])} <= known
    assert f"every {POLL_END.total_seconds() / 60:.0f} minutes" in DOCUMENT


def test_commands() -> None:
    made = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    assert {name.split()[0] for name in named("Commands")} == made


@pytest.mark.parametrize(
    "parameter", re.findall(r"`((?:Remediation|Retraining)\w+Arns)`", DOCUMENT)
)
def test_parameters_of_the_stack(parameter: str) -> None:
    assert f"\n  {parameter}:" in (ROOT / "template.yaml").read_text()
