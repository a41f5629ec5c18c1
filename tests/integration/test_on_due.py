"""From an ended run to a message: both handlers with their adapters on moto."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail.adapters import clients
from guiderail.bootstrap import build_acts, now
from guiderail.errors import GuiderailError, MalformedEventError
from guiderail.model.delivery import DeliveryState
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


def partitions(stack: Stack) -> Counter[str]:
    return Counter(item["pk"]["S"].partition("#")[0] for item in stack.items())


def test_a_run_becomes_one_message_for_people_and_one_for_programs(stack: Stack) -> None:
    low(stack)
    assert stack.minute(0) == {
        "messages": 0,
        "groups": 0,
        "notices": 0,
        "failed": 0,
        "remediations": 0,
    }

    assert stack.minute(1) == {
        "messages": 1,
        "groups": 1,
        "notices": 1,
        "failed": 0,
        "remediations": 0,
    }

    (alert,) = stack.alerts()
    assert alert.detail_type == "IncidentOpened"
    assert alert.attributes == {
        "endpoint": "loan-risk-prod",
        "monitor": "model_quality",
        "outcome": "violations",
        "reason": "first_seen",
        "receiver": "default",
        "route": "default",
        "severity": "error",
    }
    assert alert.rows[0].line.startswith("auc: LessThanThreshold: observed 0.61, threshold 0.83")
    assert {d.channel for d in stack.deliveries()} == {"topic", "bus"}
    assert all(d.state is DeliveryState.DELIVERED and d.receipt for d in stack.deliveries())


def test_a_minute_that_comes_twice_tells_once(stack: Stack) -> None:
    low(stack)
    stack.minute(1)
    assert stack.minute(1)["messages"] == 0
    assert len(stack.alerts()) == 1


def test_what_was_told_is_kept_and_expires(stack: Stack) -> None:
    low(stack)
    stack.minute(1)
    assert partitions(stack) == {
        "run": 1, "ledger": 1, "audit": 2, "group": 1, "due": 1, "message": 1, "deliveries": 2,
    }  # fmt: skip
    kept = [i for i in stack.items() if i["pk"]["S"].startswith(("message#", "deliveries#"))]
    assert all("expires_at" in item for item in kept)
    (turn,) = [i for i in stack.items() if i["pk"]["S"] == "due"]
    assert "#group#" in turn["sk"]["S"], "the repeat"


def test_a_queue_that_refuses_loses_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    low(stack)
    monkeypatch.setattr(clients.client("sqs"), "send_message_batch", _refused)
    with pytest.raises(GuiderailError):
        stack.minute(1)
    assert stack.alerts() == []

    forget()
    stack.minute(5)

    assert len(stack.alerts()) == 1


def _refused(**_: object) -> None:
    answer: Any = {
        "Error": {"Code": "AccessDeniedException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    raise ClientError(answer, "SendMessageBatch")


def test_the_life_of_an_incident(stack: Stack) -> None:
    # opened, known, repeated after four hours, acknowledged, over after two clean runs
    stack.push(Policy(route=Route(name="default", receiver="team", repeat_interval=14400.0)))
    low(stack, 1)
    stack.minute(1)
    low(stack, 2)
    stack.minute(20)
    assert [a.detail_type for a in stack.alerts()] == ["IncidentOpened"]
    stack.minute(60 * 5)
    assert _types(stack) == ["IncidentOpened", "IncidentRepeated"]
    incident = stack.alerts()[0].detail["incidents"][0]["id"]
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
    return sorted(a.detail_type for a in stack.alerts())


def test_a_silence_hides_and_says_so(stack: Stack) -> None:
    acts = build_acts(settings_from(), now)
    acts.silence({"endpoint": "loan-*"}, now() + timedelta(hours=1), "ann")
    low(stack)
    assert stack.minute(1)["messages"] == 0
    assert stack.minute(70)["messages"] == 1


def test_two_routes_make_two_messages(stack: Stack) -> None:
    first = Route(name="risk", receiver="risk", match=Match(endpoint=("loan-*",)), goes_on=True)
    root = Route(
        name="root", receiver="root", routes=(first, Route(name="all", receiver="everybody"))
    )
    stack.push(Policy(route=root))
    low(stack)
    assert stack.minute(1)["messages"] == 2
    assert {a.attributes["receiver"] for a in stack.alerts()} == {"risk", "everybody"}


@pytest.mark.parametrize("time", ["soon", "2026-11-23T14:00:00", 5, ""])
def test_a_time_that_is_none_is_refused(stack: Stack, time: object) -> None:
    with pytest.raises(MalformedEventError):
        handler({"time": time}, None)


def test_without_a_time_it_is_now(stack: Stack) -> None:
    low(stack)
    assert handler({}, None)["messages"] == 0


def test_a_quiet_minute_takes_four_reads(stack: Stack, calls: Counter[str]) -> None:
    stack.minute()
    assert calls == {"GetObject": 1, "GetItem": 1, "Query": 3}
    calls.clear()
    stack.minute()
    assert calls == {"GetItem": 1, "Query": 3}


def test_a_message_takes_few_calls(stack: Stack, calls: Counter[str]) -> None:
    run_again(stack, 1, BROKEN_FEED, FEATURES, "DataQuality")
    calls.clear()
    assert handler({"time": (now() + timedelta(minutes=1)).isoformat()}, None)["messages"] == 1
    assert calls["TransactWriteItems"] == calls["SendMessageBatch"] == 1
    assert calls.total() <= 12, calls


def test_a_delivery_takes_three_calls_and_the_channels_own(
    stack: Stack, calls: Counter[str]
) -> None:
    low(stack)
    assert handler({"time": (now() + timedelta(minutes=1)).isoformat()}, None)["messages"] == 1
    calls.clear()
    assert stack.deliver() == 2
    # the policy is read once for all
    assert calls == {
        "GetObject": 1, "BatchGetItem": 1, "TransactWriteItems": 4, "Publish": 1, "PutEvents": 1,
    }  # fmt: skip
