"""What the queue sends to Deliver, and what the function makes of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pytest
from guiderail.errors import UnavailableError
from guiderail.model.delivery import DeliveryRef

from tests.template import ROOT

APP = ROOT / "functions" / "deliver" / "app.py"

# A struct's type is built by the first that decodes it, which msgspec does for one thread at a time only.
COLD_START = """
import importlib.util, sys, threading
import msgspec
sys.setswitchinterval(1e-5)
spec = importlib.util.spec_from_file_location("app", sys.argv[1])
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)
app.deliver()
from guiderail.model.policy import Policy, Route, StoredPolicy
route = Route(name="a", receiver="b", routes=(Route(name="c", receiver="d"),))
stored = msgspec.json.encode(StoredPolicy(format=1, source="", policy=Policy(route=route)))
gate = threading.Barrier(8)
def first():
    gate.wait()
    msgspec.json.decode(stored, type=StoredPolicy)
threads = [threading.Thread(target=first) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.fixture
def app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deliver", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "events" / "deliver" / name).read_text())
    return content


def bodies(name: str) -> list[str]:
    return [record["body"] for record in event(name)["Records"]]


def test_events_carry_deliveries() -> None:
    (only,) = (msgspec.json.decode(body, type=DeliveryRef) for body in bodies("sqs_one.json"))
    assert only.channel == "default/topic"
    first, damaged, last = bodies("sqs_mixed.json")
    assert [msgspec.json.decode(body, type=DeliveryRef).channel for body in (first, last)] == [
        "default/topic",
        "bus",
    ]
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(damaged, type=DeliveryRef)


def test_only_the_message_that_failed_comes_again(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled = []

    def deliver(body: str) -> None:
        handled.append(body)
        if '"bus"' in body:
            raise UnavailableError("the table does not answer")

    monkeypatch.setattr(app, "deliver", lambda: UseCase(deliver))
    answer = app.handler(event("sqs_mixed.json"), None)
    assert sorted(handled) == sorted(bodies("sqs_mixed.json"))
    last = event("sqs_mixed.json")["Records"][-1]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": last}]}


class UseCase:
    """Handles each message of a batch by one function."""

    def __init__(self, handle: Callable[[str], object]) -> None:
        self._handle = handle

    def batch(self, bodies: Sequence[str]) -> Callable[[str], object]:
        return self._handle


def test_one_channel_that_hangs_holds_up_no_other(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = event("sqs_one.json")["Records"]
    batch = [record | {"messageId": str(number)} for number in range(8)]
    # each waits until all are there: one after the other, this would break
    gate = threading.Barrier(len(batch), timeout=20)
    monkeypatch.setattr(app, "deliver", lambda: UseCase(lambda _body: gate.wait()))
    assert app.handler({"Records": batch}, None) == {"batchItemFailures": []}


def test_a_cold_start_survives_its_threads(stack: dict[str, Any]) -> None:
    variables = stack["Deliver"]["Properties"]["Environment"]["Variables"]
    settings = {name: str(value) for name, value in variables.items()}
    settings |= {"AWS_DEFAULT_REGION": "eu-central-1"}
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, "-c", COLD_START, str(APP)],
            env=dict(os.environ) | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
