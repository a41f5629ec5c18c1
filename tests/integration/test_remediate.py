"""From an incident to a proven remediation: functions and adapters on moto, stepped as the machine's file says.

The way is: a run opens an incident, OnDue starts the machine, it asks, somebody approves, the pipeline runs and
ends, its event comes, the model is deployed, and a clean run of data that came after proves it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from guiderail.adapters import clients
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.bootstrap import (
    action_finished,
    build_remediation_acts,
    build_remediations,
    now,
    remediate,
)
from guiderail.model.incident import Incident, IncidentState
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    ActionKind,
    Cause,
    Effect,
    GuardRails,
    Layer,
    Match,
    Policy,
    RemediationAction,
    RemediationMode,
    Replies,
    Rule,
)
from guiderail.model.remediation import Lock, Remediation, RemediationState
from guiderail.settings import settings_from
from guiderail_local.sagemaker import Ending

from benchmarks.machine_here import MACHINE, Execution
from functions.on_action_finished.app import handler as on_action_finished
from functions.on_due.app import handler as on_due
from functions.remediate.app import handler as take_step
from tests.integration.conftest import BUCKET, Stack, forget
from tests.integration.test_on_job_finished import finished, invoke
from tests.unit.test_job_finished import ARN, LOW_AUC, METRICS, SCHEDULE_ARN
from tests.unit.test_job_finished import event as job_event

CLEAN: dict[str, list[object]] = {"violations": []}
ANA = "slack:T0123/ANA"
ROLE = "arn:aws:iam::123456789012:role/guiderail"
BASELINE = f"s3://{BUCKET}/baseline/new-constraints.json"
REGISTER = {
    "Name": "Register",
    "Type": "RegisterModel",
    "Arguments": {
        "ModelPackageGroupName": "loans",
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {"ModelQuality": {"Constraints": {"S3Uri": BASELINE}}},
    },
}


def policy(kind: ActionKind, **parameters: Any) -> Policy:
    effect = Effect(remediation="mend loans")
    match = Match(monitor=("model_quality",))
    return Policy(
        version="v1",
        rules=(Rule(name="lost quality", layer=Layer.RULE, match=match, effect=effect),),
        remediations={
            "mend loans": RemediationAction(
                name="mend loans",
                kind=kind,
                mode=RemediationMode.ASK,
                causes=(Cause.QUALITY,),
                parameters=parameters,
            )
        },
        guard_rails=GuardRails(),
        replies=Replies(allowed=("slack:*",)),
    )


class Story:
    """A stack in which somebody plays Step Functions: executions are those of the machine's file."""

    def __init__(self, stack: Stack, machine: str) -> None:
        self.stack = stack
        self.calls: Counter[str] = Counter()
        self.told: list[Any] = []
        self.execution: Execution | None = None
        self.twice = False
        """Whether each step comes again, as after a crash that nobody saw it end before."""
        self._machine, self._answered = machine, list[tuple[str, Any]]()
        self.sagemaker = stack.client("sagemaker")
        stack.sagemaker.live_by(lambda: datetime.now(UTC), self.told.append)
        clients._session().register("before-call", self._called)

    def _called(self, **call: Any) -> Any:
        operation = call["model"].name
        self.calls[operation] += 1
        if operation != "SendTaskSuccess":
            return None
        # moto has executions, but none of their tasks
        body = json.loads(call["params"]["body"])
        self._answered.append((body["taskToken"], json.loads(body["output"])))
        return SimpleNamespace(status_code=200), {}

    def counted(self) -> Counter[str]:
        """AWS calls of the functions since this was asked last."""
        counts = self.calls.copy()
        self.calls.clear()
        return counts

    def minute(self, minutes: float = 1) -> int:
        """The clock strikes; how many remediations were woken."""
        struck = now() + timedelta(minutes=minutes)
        woken: int = on_due({"time": struck.isoformat()}, None)["remediations"]
        if self.execution is None:
            self._start()
        return woken

    def _start(self) -> None:
        stepfunctions = self.stack.client("stepfunctions")
        for one in stepfunctions.list_executions(stateMachineArn=self._machine)["executions"]:
            found = stepfunctions.describe_execution(executionArn=one["executionArn"])
            self._given = json.loads(found["input"])

    def begin(self) -> Execution:
        """Let the machine begin what OnDue started."""
        self.execution = Execution(self._task, self._given)
        return self.execution

    def _task(self, event: dict[str, Any], context: object) -> dict[str, Any]:
        answer = take_step(event, context)
        return take_step(event, context) if self.twice else answer

    def go_on(self) -> list[str]:
        """Hand the answers to tokens to the machine; the states that it enters by them."""
        assert self.execution
        before = len(self.execution.entered)
        while self._answered:
            self.execution.go_on(*self._answered.pop(0))
        return self.execution.entered[before:]

    def event(self) -> None:
        """Events that SageMaker told arrive through the queue."""
        records = [
            {"messageId": f"m{n}", "body": json.dumps(told, default=str)}
            for n, told in enumerate(self.told)
        ]
        self.told.clear()
        assert on_action_finished({"Records": records}, None) == {"batchItemFailures": []}

    def run(self, number: int, violations: object, begins: datetime | None = None) -> None:
        """A run of the schedule ends, by default of the data that everything began with."""
        name = f"model-quality-monitoring-{number}"
        named = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"{ARN.rpartition('/')[0]}/{name}",
        }
        more: dict[str, Any] = {}
        if begins:
            ends = begins + timedelta(hours=1)
            more = {
                "ProcessingEndTime": ends.isoformat(),
                "Environment": {
                    "sagemaker_endpoint_name": "loan-risk-prod",
                    "sagemaker_monitoring_schedule_name": "Loan-Risk-Quality",
                    "start_time": begins.isoformat(),
                    "end_time": ends.isoformat(),
                },
            }
        finished(self.stack, violations, METRICS, "ModelQuality", **named, **more)
        assert invoke(job_event(**named)) == []

    def remediation(self) -> Remediation:
        today = now()
        (made,) = build_remediations(settings_from()).remediations(
            today - timedelta(days=1), today + timedelta(days=1)
        )
        return made

    def incident(self) -> Incident:
        store = DynamoIncidents(self.stack.table, 1, 1)
        ledger = store.ledger(self.remediation().ledger)
        assert ledger
        (found,) = ledger.incidents.values()
        return found

    def audited(self) -> Counter[str]:
        """Reasons of the audit entries that are about the remediation."""
        made = self.remediation()
        store = DynamoIncidents(self.stack.table, 1, 1)
        entries = [e for e in store.audit(made.ledger, 50) if e.origin == made.id]
        return Counter(reason for entry in entries for reason in entry.counts)

    def locks(self) -> dict[str, Lock]:
        return build_remediations(settings_from()).guard().locks

    def approve(self) -> None:
        made = self.remediation().id
        self.calls.clear()
        build_remediation_acts(settings_from(), now).approve(made, ANA, "slack")

    def serve(self, package: str, config: str) -> None:
        """Let the endpoint serve a model package."""
        self.sagemaker.create_model(
            ModelName=f"model-{config}",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"ModelPackageName": package},
        )
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": f"model-{config}",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=config, ProductionVariants=[variant]
        )
        self.sagemaker.create_endpoint(EndpointName="loan-risk-prod", EndpointConfigName=config)

    def watch_against(self, constraints: str) -> None:
        """Let the schedule compare with a baseline."""
        definition = {"BaselineConfig": {"ConstraintsResource": {"S3Uri": constraints}}}
        self.stack.sagemaker.register_schedule(
            {
                "MonitoringScheduleName": "Loan-Risk-Quality",
                "MonitoringScheduleArn": SCHEDULE_ARN,
                "MonitoringScheduleStatus": "Scheduled",
                "MonitoringType": "ModelQuality",
                "MonitoringScheduleConfig": {"MonitoringJobDefinition": definition},
            }
        )


@pytest.fixture
def story(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    queue = stack.client("sqs").create_queue(QueueName="ActionsDeadLetterQueue")["QueueUrl"]
    machine = stack.client("stepfunctions").create_state_machine(
        name="guiderail-remediation",
        definition=MACHINE.read_text(encoding="utf-8"),
        roleArn=ROLE,
    )["stateMachineArn"]
    monkeypatch.setenv("GUIDERAIL_ACTIONS_DEAD_LETTER_QUEUE", queue)
    monkeypatch.setenv("GUIDERAIL_REMEDIATION_MACHINE", machine)
    forget()
    for cached in (remediate, action_finished):
        cached.cache_clear()
    yield Story(stack, machine)
    for cached in (remediate, action_finished):
        cached.cache_clear()


@pytest.fixture
def retraining(story: Story) -> Story:
    """A story whose rule asks for a pipeline that registers an approved model."""
    story.stack.push(
        policy(ActionKind.RETRAIN, pipeline="retrain-loans", parameters={"Rows": "10"})
    )
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Rows", "Type": "Integer"}],
        "Steps": [REGISTER],
    }
    story.sagemaker.create_pipeline(
        PipelineName="retrain-loans",
        PipelineDefinition=json.dumps(definition),
        ClientRequestToken="x" * 32,
        RoleArn=ROLE,
    )
    return story


def is_asked(story: Story) -> Execution:
    """Play it until somebody is asked."""
    story.run(1, LOW_AUC)
    story.minute(1)
    return story.begin()


def is_running(story: Story) -> str:
    """Play it until its pipeline runs; the ARN of what runs."""
    is_asked(story)
    story.approve()
    story.go_on()
    (start,) = story.stack.sagemaker.starts
    return start.arn


def test_a_retraining_is_asked_for_approved_followed_and_proven(retraining: Story) -> None:
    """Calls at most: 27 until it is asked, 5 to approve, 34 to begin, 4 and 12 at its end, 16 to prove it.

    Of those until it is asked, and of those to begin, 16 are the queries for what fires. A minute in which
    OnDue wakes somebody takes 3 calls more than another one.
    """
    story = retraining
    # When a run opens an incident, the run's own write asks for the remediation
    story.run(1, LOW_AUC)
    assert story.counted()["TransactWriteItems"] == 1
    assert story.remediation().state is RemediationState.REQUESTED

    # people hear of the incident, then the machine starts, once
    assert story.minute(1) == 0
    assert story.counted()["StartExecution"] == 1
    execution = story.begin()
    asking = story.counted()
    assert execution.entered == ["Judge", "WhatIsNext", "WaitForApproval"]
    assert asking["TransactWriteItems"] == 2, "the judgement, and the token"
    assert asking.total() <= 27, asking
    assert story.remediation().state is RemediationState.ASKED
    assert story.minute(2) == 0
    assert story.counted()["StartExecution"] == 0
    assert story.go_on() == []

    # And somebody approves it
    story.approve()
    approving = story.counted()
    assert approving.total() <= 5, approving
    began = story.go_on()
    acting = story.counted()
    assert began == ["Judge", "WhatIsNext", "Act", "WhatIsNext", "WaitForEnd"]
    assert acting["StartPipelineExecution"] == acting["DescribePipeline"] == 1
    assert acting.total() <= 34, acting
    (start,) = story.stack.sagemaker.starts
    made = story.remediation()
    assert (made.state, made.handle) == (RemediationState.RUNNING, start.arn)
    assert start.parameters == {"Rows": "10"}
    assert story.incident().state is IncidentState.REMEDIATING
    story.minute(3)
    story.go_on()
    assert execution.entered[-1] == "WaitForEnd"

    # And the pipeline ends
    story.stack.sagemaker.pipelines.end(start.arn)
    story.counted()
    story.event()
    telling = story.counted()
    assert telling["SendTaskSuccess"] == 1
    assert telling.total() <= 5, telling
    assert story.go_on() == ["Look", "WhatIsNext", "WaitForProof"]
    looking = story.counted()
    assert looking.total() <= 12, looking
    assert story.remediation().state is RemediationState.VERIFYING
    assert story.incident().state is IncidentState.VERIFYING
    story.minute(4)
    story.go_on()
    assert execution.entered[-1] == "WaitForProof"

    # And its model is deployed, and a run of newer data finds nothing
    story.serve(story.remediation().result["model_package_arn"], "loans-2")
    story.run(2, CLEAN, now() + timedelta(minutes=5))
    story.watch_against(BASELINE)
    assert story.minute(6) == 1
    story.counted()
    assert story.go_on() == ["Prove", "WhatIsNext", "Closed"]
    proving = story.counted()

    # Then it is proven, and everything says so
    assert proving["StartPipelineExecution"] == 0
    assert proving.total() <= 16, proving
    assert len(execution.entered) <= 20, execution.entered
    proven, incident = story.remediation(), story.incident()
    assert (proven.state, proven.reason) == (
        RemediationState.PROVEN,
        Reason.REMEDIATION_PROVEN,
    )
    assert (incident.state, incident.reason) == (
        IncidentState.RESOLVED,
        Reason.REMEDIATION_PROVEN,
    )
    assert story.locks() == {}
    assert story.audited() == {
        "remediation_asked": 1,
        "remediation_approved": 2,  # by a person, and by the gates
        "remediation_started": 1,  # the incident's
        "action_started": 1,
        "remediation_finished": 1,
        "action_ended": 1,
        "remediation_proven": 2,  # the incident's, and its own
    }
    assert not any(i["pk"]["S"] == "due#remediations" for i in story.stack.items())


def test_every_step_twice_has_one_effect(retraining: Story) -> None:
    story = retraining
    story.twice = True
    arn = is_running(story)
    story.stack.sagemaker.pipelines.end(arn)
    story.told *= 2
    story.event()
    story.go_on()
    story.serve(story.remediation().result["model_package_arn"], "loans-2")
    story.run(2, CLEAN, now() + timedelta(minutes=5))
    story.watch_against(BASELINE)
    story.minute(6)
    story.go_on()
    assert len(story.stack.sagemaker.starts) == 1
    assert story.remediation().state is RemediationState.PROVEN
    assert set(story.audited().values()) <= {1, 2}
    assert story.audited()["action_started"] == story.audited()["remediation_started"] == 1


def test_the_event_of_its_end_is_lost(retraining: Story) -> None:
    arn = is_running(retraining)
    retraining.stack.sagemaker.pipelines.end(arn)
    assert retraining.execution
    retraining.execution.time_over()
    assert retraining.execution.entered[-3:] == ["Look", "WhatIsNext", "WaitForProof"]
    assert retraining.remediation().reason is Reason.ACTION_ENDED


def test_a_pipeline_that_fails_escalates(retraining: Story) -> None:
    arn = is_running(retraining)
    retraining.stack.sagemaker.pipelines.end(arn, Ending("Failed", "no rows", "Register"))
    retraining.event()
    assert retraining.go_on() == ["Look", "WhatIsNext", "Escalated"]
    made = retraining.remediation()
    assert (made.state, made.reason) == (RemediationState.FAILED, Reason.ACTION_FAILED)
    assert "no rows" in made.timeline[-1].text
    assert retraining.incident().state is IncidentState.OPEN
    assert retraining.locks() == {}


def test_a_baseline_of_the_former_model_is_no_proof(retraining: Story) -> None:
    arn = is_running(retraining)
    retraining.stack.sagemaker.pipelines.end(arn)
    retraining.event()
    retraining.go_on()
    retraining.serve(retraining.remediation().result["model_package_arn"], "loans-2")
    retraining.run(2, CLEAN, now() + timedelta(minutes=5))
    retraining.watch_against(f"s3://{BUCKET}/baseline/constraints.json")
    retraining.minute(6)
    assert retraining.go_on() == ["Prove", "WhatIsNext", "Escalated"]
    made = retraining.remediation()
    assert (made.state, made.reason) == (RemediationState.NOT_PROVEN, Reason.BASELINE_STALE)


def test_what_the_kill_switch_stops_takes_three_states(retraining: Story) -> None:
    acts = build_remediation_acts(settings_from(), now)
    acts.stop("loan-risk-prod", ANA, "audit week")
    execution = is_asked(retraining)
    assert execution.entered == ["Judge", "WhatIsNext", "Closed"]
    made = retraining.remediation()
    assert (made.state, made.reason) == (RemediationState.BLOCKED, Reason.SWITCHED_OFF)
    assert retraining.stack.sagemaker.starts == []


def test_a_ticket_is_recorded_once_it_is_approved(story: Story) -> None:
    story.stack.push(policy(ActionKind.TICKET))
    execution = is_asked(story)
    story.approve()
    assert story.go_on() == ["Judge", "WhatIsNext", "Act", "WhatIsNext", "Closed"]
    assert len(execution.entered) == 8
    made = story.remediation()
    assert (made.state, made.reason) == (RemediationState.RECORDED, Reason.NOTHING_TO_PROVE)
    assert story.incident().state is IncidentState.OPEN
    assert story.locks() == {}
