"""The state machines: valid, bounded in time, and never stuck; what remediation's expressions come to."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any, cast

import pytest
import yaml
from cfnlint import api
from cfnlint.core import get_rules
from guiderail import errors
from guiderail.model.remediation import RemediationState
from guiderail.services.remediating import POLL_END, POLL_PROOF
from jsonata import Jsonata
from statelint.config import Config
from statelint.linter import Linter
from statelint.problem import ProblemType

from tests.template import ROOT, Json, transform

FILES = {
    "RemediationMachine": ROOT / "statemachines" / "remediation.asl.yaml",
    "ReingestionMachine": ROOT / "statemachines" / "reingestion.asl.yaml",
}
AT = "2026-03-09T08:00:00+00:00"
WAITS = {"WaitForApproval": "Judge", "WaitForEnd": "Look", "WaitForProof": "Prove"}
STEPS = {"Judge": "judge", "Act": "act", "Look": "look", "Prove": "prove", "GiveUp": "give_up"}
HISTORY = 25_000
"""Events after which Step Functions ends an execution (its quotas)."""


def definition(name: str) -> Json:
    return cast(Json, yaml.safe_load(FILES[name].read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def machine() -> Json:
    return definition("RemediationMachine")


def tasks(machine: Json) -> dict[str, Json]:
    """Tasks and maps by name, within maps too."""
    found: dict[str, Json] = {}
    for name, state in machine["States"].items():
        if state["Type"] in ("Task", "Map"):
            found[name] = state
        if "ItemProcessor" in state:
            found |= tasks(state["ItemProcessor"])
    return found


def plain(value: Any) -> Any:
    """A definition as validators know the language: without expressions where numbers stand."""
    if isinstance(value, dict):
        numbers = ("TimeoutSeconds", "MaxConcurrency")
        return {
            key: 60 if key in numbers and isinstance(inner, str) else plain(inner)
            for key, inner in value.items()
        }
    return [plain(item) for item in value] if isinstance(value, list) else value


def cfn_lint(name: str, machine: Json) -> list[str]:
    """What cfn-lint's rule for state machines says of the transformed template, definition put in."""
    template = transform()
    properties = template["Resources"][name]["Properties"]
    del properties["DefinitionS3Location"]
    properties["Definition"] = plain(machine)
    found = api.lint(json.dumps(template), get_rules([], [], []))
    return [f"{match.rule.id} {match.message}" for match in found]


def state_lint(machine: Json) -> list[str]:
    """What statelint says, but for fields of distributed maps that statelint 3.1 does not know."""
    # BackoffRate may be whole
    found = Linter.validate(plain(machine), Config({ProblemType.FLOAT}))
    newer = re.compile(r'Field "(Label|InputType|WriterConfig)" not allowed in .*ManyAtOnce')
    return [problem for problem in found if not newer.match(problem)]


@pytest.mark.parametrize("name", FILES)
def test_valid_for_cfn_lint(name: str) -> None:
    assert cfn_lint(name, definition(name)) == []


@pytest.mark.parametrize("name", FILES)
def test_valid_for_statelint(name: str) -> None:
    assert state_lint(definition(name)) == []


def test_validators_find_mistakes(machine: Json) -> None:
    of_json_path = deepcopy(machine)
    of_json_path["States"]["Act"]["Parameters"] = {}
    assert any(found.startswith("E3601 ") for found in cfn_lint("RemediationMachine", of_json_path))
    astray = deepcopy(machine)
    astray["States"]["Act"]["Next"] = "Nowhere"
    assert any("Nowhere" in problem for problem in state_lint(astray))
    apart = deepcopy(machine)
    apart["States"]["Alone"] = {"Type": "Succeed"}
    assert any("Alone" in problem for problem in state_lint(apart))


@pytest.mark.parametrize("name", FILES)
def test_written_out_because_cloudformation_takes_anchors_for_text(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    parsed = list(yaml.parse(text, Loader=yaml.SafeLoader))
    assert [event for event in parsed if getattr(event, "anchor", None)] == []


def expressions(value: Any) -> list[str]:
    """Everything between {% and %} in a definition."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in expressions(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in expressions(inner)]
    return [value] if isinstance(value, str) and "{%" in value else []


@pytest.mark.parametrize("name", FILES)
def test_every_expression_is_whole_and_can_be_read(name: str) -> None:
    found = expressions(definition(name))
    assert found
    for expression in found:
        assert expression.startswith("{%")
        assert expression.endswith("%}")
        Jsonata.jsonata(expression[2:-2].strip())


# --- never stuck, never for ever


@pytest.mark.parametrize("name", FILES)
def test_every_task_retries_catches_everything_and_ends(name: str) -> None:
    machine = definition(name)
    assert machine["QueryLanguage"] == "JSONata"
    assert machine["TimeoutSeconds"] <= 90 * 86400
    for task, state in tasks(machine).items():
        assert state["Retry"], task
        for retrier in state["Retry"]:
            assert retrier["BackoffRate"] >= 2, task
            assert retrier["JitterStrategy"] == "FULL", task
            assert 1 <= retrier["MaxAttempts"] <= 20, task
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], task
        if state["Type"] == "Task":  # a map's items have their own
            assert "TimeoutSeconds" in state, task


@pytest.mark.parametrize("name", FILES)
def test_every_choice_has_a_way_for_what_nobody_thought_of(name: str) -> None:
    for state in definition(name)["States"].values():
        if state["Type"] == "Choice":
            assert state["Default"]


def test_delays_of_remediation_are_bounded(machine: Json) -> None:
    for task, state in tasks(machine).items():
        assert all(retrier["MaxDelaySeconds"] <= 900 for retrier in state["Retry"]), task


def test_only_what_may_pass_is_tried_again(machine: Json) -> None:
    for task, state in tasks(machine).items():
        names = {name for retrier in state["Retry"] for name in retrier["ErrorEquals"]}
        if task == "GiveUp":
            assert names == {"States.ALL"}
            continue
        ours = {name for name in names if "." not in name}
        assert ours == {"ThrottledError", "UnavailableError", "ConflictError"}
        assert all(issubclass(getattr(errors, name), errors.TransientError) for name in ours)
        assert {"Lambda.TooManyRequestsException", "Sandbox.Timedout"} <= names
        assert not names & {"States.ALL", "States.TaskFailed"}, task
        # a wait whose time is over is no error
        assert ("States.Timeout" in names) is (task not in WAITS)


def test_whatever_fails_is_given_up_and_what_cannot_be_is_lost(machine: Json) -> None:
    for task, state in tasks(machine).items():
        assert state["Catch"][-1]["Next"] == ("Lost" if task == "GiveUp" else "GiveUp")
    assert machine["States"]["GiveUp"]["Next"] == "Escalated"
    assert machine["States"]["Lost"]["Type"] == "Fail"


def test_waits_go_on_the_same_way_whether_answered_or_not(machine: Json) -> None:
    found = {
        name: state
        for name, state in tasks(machine).items()
        if state["Resource"].endswith(".waitForTaskToken")
    }
    assert found.keys() == WAITS.keys()
    for name, state in found.items():
        timeout, _ = state["Catch"]
        assert timeout["ErrorEquals"] == ["States.Timeout"]
        assert state["Next"] == timeout["Next"] == WAITS[name]


def test_a_function_ends_before_its_state_does(stack: Json, machine: Json) -> None:
    longest = {"Remediate": machine, "Reingest": definition("ReingestionMachine")}
    for function, one in longest.items():
        own = stack[function]["Properties"]["Timeout"]
        for task, state in tasks(one).items():
            if state.get("Resource", "").endswith("lambda:invoke") and task != "NoteFailure":
                assert state["TimeoutSeconds"] > own, task


# --- what expressions come to


def evaluate(expression: str, **bound: Any) -> Any:
    """What Step Functions makes of an expression, with ``$states`` bound."""
    return Jsonata.jsonata(expression[2:-2].strip()).evaluate(None, {"states": bound})


def given(at: str | None = AT, **more: Any) -> Json:
    """A state's input."""
    return ({"at": at} if at else {}) | more


CONTEXT = {
    "Execution": {
        "Input": {"remediation": "20260309T080000-0a1b2c", "at": AT},
        "Name": "20260309T080000-0a1b2c-20260309T09",
    },
    "State": {"Name": "Act"},
    "Task": {"Token": "a task token"},
}


def test_every_step_is_asked_for_the_remediation_of_the_input(machine: Json) -> None:
    asked = {
        name: evaluate(state["Arguments"]["Payload"], input=given(error="E"), context=CONTEXT)
        for name, state in tasks(machine).items()
    }
    about = {"remediation": "20260309T080000-0a1b2c", "at": AT}
    assert asked == {
        **{name: {"step": step, **about} for name, step in STEPS.items()},
        **{name: {"step": "wait", **about, "token": "a task token"} for name in WAITS},
        "GiveUp": {"step": "give_up", **about, "error": "E"},
    }
    for state in tasks(machine).values():
        assert state["Arguments"]["FunctionName"] == "${RemediateArn}"


@pytest.mark.parametrize(
    ("wait", "seconds"), [(0, 1), (0.2, 1), (7, 7), (7.5, 8), (86400, 86400), (10**9, 86400)]
)
@pytest.mark.parametrize("name", WAITS)
def test_a_wait_lasts_as_long_as_the_step_before_said_but_a_day_at_most(
    machine: Json, name: str, wait: float, seconds: int
) -> None:
    state = machine["States"][name]
    lasts = evaluate(state["TimeoutSeconds"], input=given(wait=wait))
    assert lasts == seconds
    after = evaluate(state["Catch"][0]["Output"], input=given(wait=wait))
    hours, rest = divmod(seconds, 3600)
    day, hour = (9, 8 + hours) if hours < 16 else (10, hours - 16)
    assert after == {
        "at": f"2026-03-{day:02}T{hour:02}:{rest // 60:02}:{rest % 60:02}.000Z",
    }


def test_an_answer_brings_its_own_time(machine: Json) -> None:
    for name in WAITS:
        output = machine["States"][name]["Output"]
        assert evaluate(output, result={"at": AT}) == {"at": AT}
        assert evaluate(output, result={}) == {}


def test_errors_are_told_with_the_state_they_come_from(machine: Json) -> None:
    error = {"Error": "NotFoundError", "Cause": '{"errorMessage": "no such pipeline"}'}
    for name, state in tasks(machine).items():
        if name == "GiveUp":
            continue
        output = state["Catch"][-1]["Output"]
        told = evaluate(output, input=given(), errorOutput=error, context=CONTEXT)
        text = 'NotFoundError in Act: {"errorMessage": "no such pipeline"}'
        assert told == {"at": AT, "error": text}
        # nothing can catch what fails here: a field that is missing is left out
        without = evaluate(output, input=given(None), errorOutput=error, context=CONTEXT)
        assert without == {"error": text}


def following(machine: Json, answer: Json) -> str:
    """Where WhatIsNext goes with a step's answer."""
    choice = machine["States"]["WhatIsNext"]
    for one in choice["Choices"]:
        taken = evaluate(one["Condition"], input=answer)
        assert isinstance(taken, bool), one
        if taken:
            return str(one["Next"])
    return str(choice["Default"])


@pytest.mark.parametrize("state", RemediationState)
def test_the_record_says_what_is_next(machine: Json, state: RemediationState) -> None:
    over = "Closed"
    if state in (RemediationState.FAILED, RemediationState.NOT_PROVEN):
        over = "Escalated"
    ways = {
        "ask": "WaitForApproval",
        "act": "Act",
        "follow": "WaitForEnd",
        "verify": "WaitForProof",
    }
    for word, target in (ways | {"over": over}).items():
        assert following(machine, {"next": word, "state": state.value}) == target


@pytest.mark.parametrize("answer", [{}, {"next": None}, {"next": "Act"}, {"errorMessage": "x"}])
def test_an_answer_that_says_nothing_is_given_up(machine: Json, answer: Json) -> None:
    assert following(machine, answer) == "GiveUp"
    assert evaluate(
        machine["States"]["GiveUp"]["Arguments"]["Payload"], input=answer, context=CONTEXT
    ) == {"step": "give_up", "remediation": "20260309T080000-0a1b2c"}


def test_polling_for_as_long_as_policies_allow_fits_into_a_history(machine: Json) -> None:
    # a wait that times out, its step and the choice: what Step Functions notes of each
    events = 6 + 5 + 2
    week = 7 * 86400
    assert week / POLL_END.total_seconds() * events < HISTORY
    assert 30 * 86400 / POLL_PROOF.total_seconds() * events < HISTORY


# --- in the template


@pytest.mark.parametrize("name", FILES)
def test_deployed_with_all_that_its_definition_names(written: Json, name: str) -> None:
    properties = written["Resources"][name]["Properties"]
    assert ROOT / properties["DefinitionUri"] == FILES[name]
    placeholders = set(re.findall(r"\$\{(\w+)\}", FILES[name].read_text(encoding="utf-8")))
    assert properties["DefinitionSubstitutions"].keys() == placeholders
    assert properties["Type"] == "STANDARD"


def test_calls_the_function_that_takes_steps(stack: Json) -> None:
    substitutions = {name: stack[name]["Properties"]["DefinitionSubstitutions"] for name in FILES}
    assert substitutions == {
        "RemediationMachine": {"RemediateArn": "<Remediate.Arn>"},
        "ReingestionMachine": {"ReingestArn": "<Reingest.Arn>"},
    }


def test_functions_know_it_by_the_name_it_gets(stack: Json) -> None:
    name = stack["RemediationMachine"]["Properties"]["StateMachineName"]
    for function in ("OnDue", "OnReply", "OnActionFinished", "Remediate"):
        known = stack[function]["Properties"]["Environment"]["Variables"]
        arn = known["GUIDERAIL_REMEDIATION_MACHINE"]
        assert arn == f"arn:aws:states:eu-central-1:111122223333:stateMachine:{name}"


@pytest.mark.parametrize("name", FILES)
def test_logs_no_task_token_and_is_traced(stack: Json, name: str) -> None:
    properties = stack[name]["Properties"]
    logging = properties["LoggingConfiguration"]
    assert logging["Level"] == "ERROR"
    assert logging["IncludeExecutionData"] is False
    assert properties["TracingConfiguration"] == {"Enabled": True}
    group = stack[f"{name}LogGroup"]["Properties"]["LogGroupName"]
    # CloudWatch Logs limits the policy that each group outside this prefix adds to
    assert group.startswith("/aws/vendedlogs/states/guiderail-")
