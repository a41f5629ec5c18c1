"""What the clock sends to OnDue, and what the function makes of it."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from guiderail.errors import MalformedEventError
from guiderail.services.due import Told

from tests.template import ROOT

EVENTS = sorted((ROOT / "events" / "on_due").glob("tick_*.json"))


@pytest.fixture
def asked() -> list[datetime | None]:
    """The times with which the use case was asked."""
    return []


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, asked: list[datetime | None]) -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_due", ROOT / "functions/on_due/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def tell(now: datetime | None) -> Told:
        asked.append(now)
        return Told(messages=3, groups=2)

    monkeypatch.setattr(module, "due_changes", lambda: tell)
    return module


def test_answers_with_counts(app: ModuleType) -> None:
    assert app.handler({}, None) == {
        "messages": 3, "groups": 2, "notices": 0, "failed": 0, "remediations": 0,
    }  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda file: file.stem)
def test_takes_every_event(app: ModuleType, asked: list[datetime | None], event: Any) -> None:
    content = json.loads(event.read_text(encoding="utf-8"))
    app.handler(content, None)
    time = content.get("time")
    assert asked == [datetime(2026, 3, 9, 8, 21, tzinfo=UTC) if time else None]


@pytest.mark.parametrize(
    "time", ["", "soon", "2026-03-09T08:21:00", "<aws.scheduler.scheduled-time>", 7]
)
def test_refuses_a_time_that_is_none(
    app: ModuleType, asked: list[datetime | None], time: object
) -> None:
    with pytest.raises(MalformedEventError, match="with its zone"):
        app.handler({"time": time}, None)
    assert asked == []
