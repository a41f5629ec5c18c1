"""AlertStateMachine: the definition that is deployed, as CloudFormation gets it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template import Json, state_machine_definition

# What OnDue starts an execution with.
INPUT: Json = {
    "alert_id": "0c4f",
    "subject": "churn-live: 3 findings",
    "message": "feature tenure drifted",
    "detail_type": "IncidentOpened",
    "attributes": {"receiver": "default", "endpoint": "churn-live", "severity": "warning"},
    "detail": {"findings": []},
}


@pytest.fixture(scope="module")
def definition(stack: Json) -> Json:
    parsed: Json = json.loads(state_machine_definition(stack["AlertStateMachine"]["Properties"]))
    return parsed


def states(definition: Json) -> Iterator[tuple[str, Json]]:
    for name, state in definition["States"].items():
        yield name, state
        for branch in state.get("Branches", []):
            yield from states(branch)


def expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for item in node.values():
            yield from expressions(item)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)
    elif isinstance(node, str) and node.startswith("{%"):
        yield node


def tasks(definition: Json) -> Json:
    return {name: state for name, state in states(definition) if state["Type"] == "Task"}


def test_runs_each_alert_once(stack: Json) -> None:
    # Only Standard refuses a second execution of the same name.
    assert stack["AlertStateMachine"]["Properties"]["StateMachineType"] == "STANDARD"


def test_tells_topic_and_bus(definition: Json) -> None:
    arguments = {name: task["Arguments"] for name, task in tasks(definition).items()}
    assert arguments["SendMessage"]["TopicArn"] == "<AlertTopic>"
    (entry,) = arguments["PublishEvent"]["Entries"]
    assert (entry["EventBusName"], entry["Source"]) == ("<GuiderailBus>", "guiderail")
    assert {task["Resource"] for task in tasks(definition).values()} == {
        "arn:aws:states:::sns:publish",
        "arn:aws:states:::events:putEvents",
    }


def test_every_attribute_that_is_given_goes_along_for_subscription_filters(
    definition: Json,
) -> None:
    # Whatever the names are: what this makes was compared with JSONata's reference implementation.
    assert tasks(definition)["SendMessage"]["Arguments"]["MessageAttributes"] == (
        "{% $merge([$each($sift($states.input.attributes, function($value) { $value != '' }), "
        "function($value, $name) { {$name: {'DataType': 'String', 'StringValue': $value}} })]) %}"
    )


def test_no_reference_is_left_unresolved(definition: Json) -> None:
    assert "${" not in json.dumps(definition)


def test_every_expression_finds_its_input(definition: Json) -> None:
    paths = re.findall(r"\$states\.input\.([a-z_.]+)", " ".join(expressions(definition)))
    used = set()
    for path in paths:
        value: Any = INPUT
        for key in path.split("."):
            value = value[key]
        used.add(path.partition(".")[0])
    assert used == INPUT.keys()


def test_every_task_ends_and_is_tried_again(definition: Json) -> None:
    for task in tasks(definition).values():
        assert task["TimeoutSeconds"] <= 60
        *permanent, anything = task["Retry"]
        assert anything["ErrorEquals"] == ["States.ALL"]
        assert anything["MaxAttempts"] >= 5
        assert [retry["MaxAttempts"] for retry in permanent] == [1]
        # A branch that fails ends its neighbour: it must not fail before that had its time.
        assert all(retry["IntervalSeconds"] >= 10 for retry in permanent)
