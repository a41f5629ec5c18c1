"""The rules take the ends that remediations wait for, and no near misses; the functions take the rest."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.infrastructure.conftest import FULL
from tests.infrastructure.test_durability import RULES
from tests.template import ACCOUNT, REGION, ROOT, Json

EVENTS = ROOT / "events" / "on_action_finished"
MACHINES = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine"


def rules_for(stack: Json, event: Any) -> list[str]:
    """The rules that take an event; names that only AWS knows are those of a stack `guiderail`."""
    taken = []
    for rule in RULES["ActionsQueue"]:
        pattern = json.dumps(stack[rule]["Properties"]["EventPattern"])
        for machine in ("remediation", "reingestion"):
            reference = f"<{machine.title()}Machine>"
            pattern = pattern.replace(reference, f"{MACHINES}:guiderail-{machine}")
        if EventPattern.load(pattern).matches_event(event):
            taken.append(rule)
    return taken


def shipped() -> Iterator[Any]:
    """Every event that is shipped by itself, with whether a rule should take it."""
    for file in sorted(EVENTS.glob("*.json")):
        event = json.loads(file.read_text(encoding="utf-8"))
        if "Records" not in event:
            yield pytest.param(event, not file.stem.startswith("near_miss"), id=file.stem)


@pytest.mark.parametrize(("event", "taken"), list(shipped()))
def test_each_event_is_taken_once_or_not_at_all(stack: Json, event: Json, taken: bool) -> None:
    assert len(rules_for(stack, event)) == taken


def test_every_rule_has_its_event(stack: Json) -> None:
    found = {rule for one in shipped() for rule in rules_for(stack, one.values[0])}
    assert found == set(RULES["ActionsQueue"])


@pytest.mark.parametrize("rule", RULES["ActionsQueue"])
def test_probes_are_heard_too(stack: Json, rule: str) -> None:
    pattern = stack[rule]["Properties"]["EventPattern"]
    assert pattern["source"][1:] == ["guiderail.probe"]
    assert pattern["source"][0] in ("aws.sagemaker", "aws.states")


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_machines_that_parameters_name_are_heard(full_stack: Json, status: str) -> None:
    machine = FULL["RemediationTargetArns"].split(",")[1]
    event = json.loads((EVENTS / "reingestion_succeeded.json").read_text(encoding="utf-8"))
    event["detail"] |= {"stateMachineArn": machine, "status": status}
    assert rules_for(full_stack, event) == ["ExecutionEndedRule"]


# --- the functions


def app(function: str, monkeypatch: pytest.MonkeyPatch, entry: str, use: Any) -> ModuleType:
    """A function's module, with a use case of ours in place of its own."""
    spec = importlib.util.spec_from_file_location(function, ROOT / f"functions/{function}/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, entry, lambda: use)
    return module


def batch() -> Json:
    """The shipped batch of messages."""
    content: Json = json.loads((EVENTS / "sqs_mixed_batch.json").read_text(encoding="utf-8"))
    return content


def test_handles_each_message_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[str] = []
    handler = app("on_action_finished", monkeypatch, "action_finished", handled.append).handler
    assert handler(batch(), None) == {"batchItemFailures": []}
    assert handled == [record["body"] for record in batch()["Records"]]


def test_one_message_that_fails_does_not_repeat_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(body: str) -> None:
        if "Endpoint" in body:
            raise TimeoutError

    handler = app("on_action_finished", monkeypatch, "action_finished", handle).handler
    failed = batch()["Records"][1]["messageId"]
    assert handler(batch(), None) == {"batchItemFailures": [{"itemIdentifier": failed}]}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "events" / "remediate").glob("*.json")), ids=lambda file: file.stem
)
def test_remediate_hands_the_step_on(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    event = json.loads(file.read_text(encoding="utf-8"))
    handler = app("remediate", monkeypatch, "remediate", lambda given: {"next": "over"} | given)
    assert handler.handler(event, None) == {"next": "over"} | event


def test_an_error_of_a_step_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_event: Json) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        app("remediate", monkeypatch, "remediate", refuse).handler({}, None)
