"""What ended wakes the remediation that awaits it, once for each end, whatever else happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.errors import ConflictError, ThrottledError
from guiderail.model.incident import Scope
from guiderail.model.outcome import Reason
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import Remediation, RemediationState
from guiderail.ports import Wake
from guiderail.services.action_finished import ActionFinished
from guiderail_cli.in_memory import InMemoryIncidents
from msgspec.structs import replace

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
NAME = "20261123T141000-0123456789ab"
HANDLE = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/retrain-loans/execution/p4jn"


class World:
    """The use case over memory: what was told, logged and laid aside stays readable."""

    def __init__(self, **fields: Any) -> None:
        self.store = InMemoryIncidents()
        self.went_on: list[tuple[str, datetime]] = []
        self.dead: list[tuple[str, str]] = []
        self.lines: list[dict[str, object]] = []
        self.metrics: list[str] = []
        self.waits = True
        self.driver_error: Exception | None = None
        self.finished = ActionFinished(
            remediations=self.store,
            driver=self,
            dead_letters=self,
            meter=self,
            journal=self,
            clock=lambda: NOW,
        )
        known = Remediation(
            id=NAME,
            action="retrain loans",
            kind=ActionKind.RETRAIN,
            mode=RemediationMode.ASK,
            scope=Scope(account="123456789012", region="eu-west-1", schedule="loans-hourly"),
            target="endpoint/loans",
            incidents=(),
            requested_at=NOW,
            state=RemediationState.RUNNING,
        )
        known = replace(known, **{"handle": HANDLE, "token": "token-1", **fields})
        self.store.keep_remediation(None, known)
        self.store.wake_rows.clear()

    @property
    def known(self) -> Remediation:
        return self.store.kept_remediations[NAME]

    def start(self, remediation_id: str, at: datetime, again: str = "") -> None:
        raise AssertionError("nothing is started here")

    def go_on(self, token: str, at: datetime) -> bool:
        if self.driver_error:
            raise self.driver_error
        self.went_on.append((token, at))
        return self.waits

    def put(self, body: str, error: Exception) -> None:
        self.dead.append((body, str(error)))

    def record(self, name: str, value: float, dimensions: Any) -> None:
        self.metrics.append(name)

    def info(self, message: str, **fields: object) -> None:
        self.lines.append(fields)

    warning = error = info


def ended(status: str = "Succeeded", execution: str = HANDLE) -> str:
    detail = {"currentPipelineExecutionStatus": status, "pipelineExecutionArn": execution}
    return json.dumps(
        {
            "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
            "source": "aws.sagemaker",
            "detail": detail,
        }
    )


def broke_off(status: str, remediation: str = NAME) -> str:
    arn = "arn:aws:states:eu-west-1:123456789012:execution:guiderail-remediation:x"
    detail = {
        "executionArn": arn,
        "status": status,
        "input": json.dumps({"remediation": remediation, "at": NOW.isoformat()}),
    }
    return json.dumps(
        {
            "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states",
            "detail": detail,
        }
    )


def test_an_end_wakes_its_remediation() -> None:
    world = World()

    assert world.finished(ended()) is Reason.ACTION_ENDED

    assert world.known.changes == 1
    assert world.store.wake_rows == {Wake(NAME, NOW)}
    assert world.went_on == [("token-1", NOW)]


def test_an_event_twice_only_wakes_twice() -> None:
    world = World()
    for _ in range(2):
        assert world.finished(ended()) is Reason.ACTION_ENDED
    assert (world.known.changes, world.known.state) == (2, RemediationState.RUNNING)


def test_without_a_token_the_row_is_what_wakes() -> None:
    world = World(token="")
    assert world.finished(ended()) is Reason.ACTION_ENDED
    assert (world.went_on, world.store.wake_rows) == ([], {Wake(NAME, NOW)})


def test_who_does_not_wait_any_more_is_woken_by_the_row() -> None:
    world = World()
    world.waits = False
    assert world.finished(ended()) is Reason.ACTION_ENDED
    assert world.store.wake_rows == {Wake(NAME, NOW)}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ended("Executing"), Reason.ACTION_NOT_ENDED),
        (ended(execution="arn:of:somebody:else"), Reason.NOBODY_WAITS),
        (broke_off("SUCCEEDED"), Reason.NOBODY_WAITS),
        (broke_off("FAILED", "20200101T000000-nobody"), Reason.NOBODY_WAITS),
    ],
)
def test_what_nobody_waits_for_changes_nothing_and_says_why(body: str, reason: Reason) -> None:
    world = World()
    before = world.known
    assert world.finished(body) is reason
    assert world.known == before
    assert world.went_on == []
    assert world.lines[-1]["reason"] == reason.value


@pytest.mark.parametrize("state", [s for s in RemediationState if s.is_over])
def test_what_is_over_stays_over(state: RemediationState) -> None:
    world = World(state=state)
    world.store.handles[HANDLE] = NAME
    assert world.finished(ended()) is Reason.NOBODY_WAITS
    assert (world.known.changes, world.went_on) == (0, [])


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_a_state_machine_that_broke_off_is_noticed(status: str) -> None:
    # Given a remediation whose state machine died, and its token with it
    world = World(state=RemediationState.VERIFYING)
    world.waits = False

    assert world.finished(broke_off(status)) is Reason.ACTION_ENDED

    # Then OnDue finds it, and starts another one
    assert world.store.wake_rows == {Wake(NAME, NOW)}


def test_a_step_that_wrote_meanwhile_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    keep, tries = world.store.keep_remediation, []

    def contested(before: Remediation, after: Remediation, **given: Any) -> Remediation:
        tries.append(before.version)
        if len(tries) == 1:
            keep(before, replace(before, token="token-2"))
        return keep(before, after, **given)

    monkeypatch.setattr(world.store, "keep_remediation", contested)

    assert world.finished(ended()) is Reason.ACTION_ENDED

    assert len(tries) == 2
    assert world.known.changes == 1
    assert world.went_on == [("token-2", NOW)]


def test_who_loses_every_race_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tries = World(), []

    def lost(*_: Any, **__: Any) -> Remediation:
        tries.append(1)
        raise ConflictError("written in between")

    monkeypatch.setattr(world.store, "keep_remediation", lost)
    with pytest.raises(ConflictError):
        world.finished(ended())
    assert len(tries) == 5


def test_a_driver_that_cannot_be_reached_costs_no_event() -> None:
    # Given Step Functions that throttles
    world = World()
    world.driver_error = ThrottledError("SendTaskSuccess")

    with pytest.raises(ThrottledError):
        world.finished(ended())

    # Then the row is there already, whether the message comes again or not
    assert world.store.wake_rows == {Wake(NAME, NOW)}


def test_a_body_that_is_no_event_is_kept_with_its_reason() -> None:
    world = World()
    assert world.finished("no JSON") is Reason.DEAD_LETTER
    ((body, error),) = world.dead
    assert (body, world.metrics) == ("no JSON", ["DeadLetters"])
    assert "not JSON" in error


def test_a_bug_loses_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def broken(handle: str) -> str | None:
        raise KeyError(handle)

    monkeypatch.setattr(world.store, "by_handle", broken)
    with pytest.raises(KeyError):
        world.finished(ended())
    assert (world.dead, world.lines[-1]["reason"]) == ([], "unexpected_error")
