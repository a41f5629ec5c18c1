"""The rule takes the events that SageMaker sends for finished jobs, and no near misses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.template import ROOT, Json

EVENTS = ROOT / "events" / "on_job_finished"
FINISHED: Json = {
    "version": "0",
    "id": "0f6c1a52-4f0e-4e0c-9a53-3c1f5d2b7a10",
    "source": "aws.sagemaker",
    "account": "111122223333",
    "time": "2026-03-02T10:14:07Z",
    "region": "eu-central-1",
    "resources": [
        "arn:aws:sagemaker:eu-central-1:111122223333:processing-job/churn-quality-202603021000"
    ],
    "detail-type": "SageMaker Processing Job State Change",
    "detail": {
        "ProcessingJobName": "churn-quality-202603021000",
        "ProcessingJobStatus": "Completed",
    },
}


def matches(stack: Json, event: Any) -> bool:
    """Whether the deployed rule would take an event."""
    pattern = stack["JobFinishedRule"]["Properties"]["EventPattern"]
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(event))


def changed(path: str, value: Any) -> Json:
    """The finished job's event with one thing different; None leaves it out."""
    event = deepcopy(FINISHED)
    *parents, last = path.split("/")
    place = event
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return event


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
@pytest.mark.parametrize("source", ["aws.sagemaker", "guiderail.probe"])
def test_takes_finished_jobs(stack: Json, source: str, status: str) -> None:
    event = changed("detail/ProcessingJobStatus", status) | {"source": source}
    assert matches(stack, event)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(changed("detail/ProcessingJobStatus", "InProgress"), id="still running"),
        pytest.param(changed("detail/ProcessingJobStatus", "Stopping"), id="still stopping"),
        pytest.param(changed("detail/ProcessingJobStatus", "completed"), id="other case"),
        pytest.param(changed("detail/ProcessingJobStatus", None), id="no status"),
        pytest.param(changed("detail", {"TrainingJobStatus": "Completed"}), id="other field"),
        pytest.param(
            changed("detail-type", "SageMaker Training Job State Change"), id="training job"
        ),
        pytest.param(
            changed("detail-type", "SageMaker Transform Job State Change"), id="transform job"
        ),
        pytest.param(changed("detail-type", "SageMaker Endpoint State Change"), id="endpoint"),
        pytest.param(changed("source", "aws.sagemaker.eu"), id="longer source"),
        pytest.param(changed("source", "guiderail"), id="our own events"),
        pytest.param(changed("source", "Guiderail.Probe"), id="source in other case"),
        pytest.param(changed("source", None), id="no source"),
    ],
)
def test_leaves_near_misses(stack: Json, event: Json) -> None:
    assert not matches(stack, event)


def test_listens_to_the_bus_that_sagemaker_sends_to(stack: Json) -> None:
    rule = stack["JobFinishedRule"]["Properties"]
    assert "EventBusName" not in rule
    assert [target["Arn"] for target in rule["Targets"]] == ["<ReportsQueue.Arn>"]


def shipped() -> Iterator[Any]:
    """Every event in events/on_job_finished, unwrapped, with what the rule should make of it."""
    for file in sorted(EVENTS.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        bodies = (
            [json.loads(record["body"]) for record in content["Records"]]
            if "Records" in content
            else [content]
        )
        for number, event in enumerate(bodies):
            yield pytest.param(
                event, not file.stem.startswith("near_miss"), id=f"{file.stem}[{number}]"
            )


@pytest.mark.parametrize(("event", "taken"), list(shipped()))
def test_shipped_events(stack: Json, event: Json, taken: bool) -> None:
    assert matches(stack, event) is taken


def test_events_of_both_kinds_are_shipped() -> None:
    assert {taken for _, taken in (one.values for one in shipped())} == {True, False}
