"""From an ended run to a message: both handlers with their adapters on moto."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail.adapters import clients
from guiderail.bootstrap import build_acts, now
from guiderail.errors import GuiderailError, MalformedEventError, UnavailableError
from guiderail.model.policy import Match, Policy, Route
from guiderail.settings import settings_from

from functions.on_due.app import handler
from tests.integration.conftest import Stack, forget
from tests.integration.test_on_job_finished import run_again
from tests.unit.test_job_finished import BROKEN_FEED, FEATURES, LOW_AUC, METRICS

CLEAN: dict[str, list[object]] = {"violations": []}


@pytest.fixture
def calls(stack: Stack) -> Counter[str]:
    """Counts AWS calls by operation, as the functions' own session makes them."""
    counted: Counter[str] = Counter()

    def count(**call: Any) -> None:
        counted.update([call["model"].name])

    clients._session().register("before-call", count)
    return counted


def low(stack: Stack, number: int = 1) -> None:
    run_again(stack, number, LOW_AUC, METRICS, "ModelQuality")


def executions(stack: Stack) -> list[str]:
    """Names of the executions that were started."""
    answer = stack.client("stepfunctions").list_executions(stateMachineArn=stack.state_machine)
    return [execution["name"] for execution in answer["executions"]]


def partitions(stack: Stack) -> Counter[str]:
    return Counter(item["pk"]["S"].partition("#")[0] for item in stack.items())


def test_a_run_becomes_one_execution_that_is_named_by_the_message(stack: Stack) -> None:
    low(stack)
    assert stack.minute(0) == {"messages": 0, "groups": 0, "notices": 0, "failed": 0}

    assert stack.minute(1) == {"messages": 1, "groups": 1, "notices": 1, "failed": 0}

    (alert,) = stack.alerts()
    assert alert["detail_type"] == "IncidentOpened"
    assert alert["attributes"] == {
        "endpoint": "loan-risk-prod",
        "monitor": "model_quality",
        "outcome": "violations",
        "reason": "first_seen",
        "receiver": "default",
        "route": "default",
        "severity": "error",
    }
    assert "auc: LessThanThreshold: observed 0.61, threshold 0.83" in alert["message"]
    assert executions(stack) == [alert["alert_id"]]
    assert alert["detail"]["alert_id"] == alert["alert_id"]


def test_a_minute_that_comes_twice_tells_once(stack: Stack) -> None:
    low(stack)
    stack.minute(1)
    assert stack.minute(1)["messages"] == 0
    assert len(stack.alerts()) == 1


def test_what_was_told_stays_with_its_group_and_expires(stack: Stack) -> None:
    low(stack)
    stack.minute(1)
    assert partitions(stack) == {"run": 1, "ledger": 1, "audit": 2, "group": 2, "due": 1}
    (told,) = [i for i in stack.items() if i["sk"]["S"].startswith("notification#")]
    assert "told_at" in told and "expires_at" in told
    (turn,) = [i for i in stack.items() if i["pk"]["S"] == "due"]
    assert "#group#" in turn["sk"]["S"], "the repeat"


def test_a_process_that_dies_before_the_mark_tells_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a message that was published, and a process that died before it could say so
    low(stack)
    dynamodb = clients.client("dynamodb")
    transact = dynamodb.transact_write_items
    writes: list[int] = []

    def dies(**call: Any) -> Any:
        writes.append(len(call["TransactItems"]))
        if len(writes) == 2:
            answer: Any = {
                "Error": {"Code": "InternalServerError", "Message": "down"},
                "ResponseMetadata": {"HTTPStatusCode": 500},
            }
            raise ClientError(answer, "TransactWriteItems")
        return transact(**call)

    monkeypatch.setattr(dynamodb, "transact_write_items", dies)
    with pytest.raises(UnavailableError):
        stack.minute(1)
    assert len(executions(stack)) == 1

    # When the next minute comes, in a new process
    forget()
    assert stack.minute(2)["messages"] == 1

    # Then it is the same execution
    assert len(executions(stack)) == 1
    assert not [
        i for i in stack.items() if "#notification#" in i["sk"]["S"] and i["pk"]["S"] == "due"
    ]


def test_state_machines_that_refuse_lose_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    low(stack)
    monkeypatch.setattr(clients.client("stepfunctions"), "start_execution", _refused)
    with pytest.raises(GuiderailError):
        stack.minute(1)
    assert executions(stack) == []

    forget()
    stack.minute(2)

    assert len(executions(stack)) == 1


def _refused(**_: object) -> None:
    answer: Any = {
        "Error": {"Code": "AccessDeniedException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    raise ClientError(answer, "StartExecution")


def test_the_life_of_an_incident(stack: Stack) -> None:
    # opened, known, repeated after four hours, acknowledged, over after two clean runs
    stack.push(Policy(route=Route(name="default", receiver="team", repeat_interval=14400.0)))
    low(stack, 1)
    stack.minute(1)
    low(stack, 2)
    stack.minute(20)
    assert [a["detail_type"] for a in stack.alerts()] == ["IncidentOpened"]
    stack.minute(60 * 5)
    assert _types(stack) == ["IncidentOpened", "IncidentRepeated"]
    incident = stack.alerts()[0]["detail"]["incidents"][0]["id"]
    build_acts(settings_from(), now).acknowledge(incident, "ann", "laptop")
    stack.minute(60 * 24)
    assert len(stack.alerts()) == 2
    run_again(stack, 3, CLEAN, METRICS, "ModelQuality")
    run_again(stack, 4, CLEAN, METRICS, "ModelQuality")
    stack.minute(60 * 48)
    assert _types(stack) == ["IncidentOpened", "IncidentRepeated", "IncidentResolved"]
    (ledger,) = [i for i in stack.items() if i["pk"]["S"].startswith("ledger#")]
    assert "listing" not in ledger


def _types(stack: Stack) -> list[str]:
    return sorted(a["detail_type"] for a in stack.alerts())


def test_a_silence_hides_and_says_so(stack: Stack) -> None:
    acts = build_acts(settings_from(), now)
    acts.silence({"endpoint": "loan-*"}, now() + timedelta(hours=1), "ann")
    low(stack)
    assert stack.minute(1)["messages"] == 0
    assert stack.minute(70)["messages"] == 1


def test_two_routes_make_two_executions(stack: Stack) -> None:
    first = Route(name="risk", receiver="risk", match=Match(endpoint=("loan-*",)), goes_on=True)
    root = Route(
        name="root", receiver="root", routes=(first, Route(name="all", receiver="everybody"))
    )
    stack.push(Policy(route=root))
    low(stack)
    assert stack.minute(1)["messages"] == 2
    assert {a["attributes"]["receiver"] for a in stack.alerts()} == {"risk", "everybody"}


@pytest.mark.parametrize("time", ["soon", "2026-11-23T14:00:00", 5, ""])
def test_a_time_that_is_none_is_refused(stack: Stack, time: object) -> None:
    with pytest.raises(MalformedEventError):
        handler({"time": time}, None)


def test_without_a_time_it_is_now(stack: Stack) -> None:
    low(stack)
    assert handler({}, None)["messages"] == 0


def test_a_quiet_minute_takes_two_reads(stack: Stack, calls: Counter[str]) -> None:
    stack.minute()
    assert calls == {"GetObject": 1, "GetItem": 1, "Query": 1}
    calls.clear()
    stack.minute()
    assert calls == {"GetItem": 1, "Query": 1}


def test_a_message_takes_few_calls(stack: Stack, calls: Counter[str]) -> None:
    run_again(stack, 1, BROKEN_FEED, FEATURES, "DataQuality")
    calls.clear()
    stack.minute()
    assert calls["TransactWriteItems"] == 2
    assert calls["StartExecution"] == 1
    assert calls.total() <= 12, calls
