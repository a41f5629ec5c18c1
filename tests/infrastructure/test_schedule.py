"""The clock: every minute, once, and never lost without a trace."""

from __future__ import annotations

import json

import pytest

from tests.template import Json, of_type, resolve, transform


@pytest.fixture
def schedule(stack: Json) -> Json:
    properties: Json = stack["DueSchedule"]["Properties"]
    return properties


def test_wakes_on_due_every_minute_on_the_minute(stack: Json, schedule: Json) -> None:
    assert of_type(stack, "AWS::Scheduler::Schedule").keys() == {"DueSchedule"}
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule["Target"]["Arn"] == "<OnDue.Arn>"
    assert schedule["Target"]["RoleArn"] == "<DueScheduleRole.Arn>"


def test_says_which_minute_it_is(schedule: Json) -> None:
    # EventBridge Scheduler puts the time in the place of this keyword.
    assert json.loads(schedule["Target"]["Input"]) == {"time": "<aws.scheduler.scheduled-time>"}


def test_a_minute_that_failed_is_kept_and_not_repeated(stack: Json, schedule: Json) -> None:
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": "<DueDeadLetterQueue.Arn>"}
    (config,) = of_type(stack, "AWS::Lambda::EventInvokeConfig").values()
    assert config["FunctionName"] == "<OnDue>"
    assert config["MaximumRetryAttempts"] == 0
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": "<DueDeadLetterQueue.Arn>"}}


def test_takes_no_concurrency_from_an_account_that_may_have_ten(stack: Json) -> None:
    function = stack["OnDue"]["Properties"]
    assert "ReservedConcurrentExecutions" not in function
    (config,) = of_type(stack, "AWS::Lambda::EventInvokeConfig").values()
    assert config["MaximumEventAgeInSeconds"] > function["Timeout"]


def test_runs_unless_it_is_switched_off(schedule: Json) -> None:
    parameters = {"ClockState": "DISABLED"}
    stopped = resolve(transform(parameters), parameters)
    assert schedule["State"] == "ENABLED"
    assert stopped["DueSchedule"]["Properties"]["State"] == "DISABLED"
