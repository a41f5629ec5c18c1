"""Many monitoring jobs that end at once, delivered to the local cloud.

Every event takes the real way: bus, rule, queue, Lambda workers; the functions are those of
``template.yaml``. Each schedule has one life, so what people have to hear does not depend on the order
of arrival: half of them are clean, the others drift in every run, or fail in every run. A fault is an
incident on its first run and known on all others. Runs of one kind share one small report.

Four schedules watch one endpoint; where one of them fails, its incident hides the drift of the others.
One endpoint in ten belongs to a route that brings all of its endpoints together in one group.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.services.outbox import TOPIC
from guiderail_local.cloud import ACCOUNT, PROBE, REGION, LocalCloud
from guiderail_local.policies import store_policy
from guiderail_local.runs import event_of

from benchmarks.report_files import (
    constraints_file,
    no_violations_file,
    statistics_file,
    violations_file,
)
from benchmarks.result import Result, counted, of_pairs

SMALL, LARGE = 1_000, 10_000
RUNS_EACH = 10
"""Runs of one schedule; a larger storm is one of more schedules.

There have to be more schedules than messages on their way (five workers with ten each): workers that all
write the same ledgers at once send messages back to the queue, for six minutes.
"""

BUCKET = "storm-reports"
FEATURES = 10
FINDINGS = FEATURES // 5 + FEATURES // 10
"""Findings of a run that drifts."""

POLICY = """
version: 1
routes:
  receiver: everybody
  group_by: [endpoint, monitor]
  group_wait: 30s
  group_interval: 5m
  routes:
    - name: bulk
      receiver: bulk
      match: {endpoint: "bulk-*"}
      group_by: [account]
"""
_GROUP_INTERVAL = timedelta(minutes=5)
PARAMETERS = {
    "ReportBucketArns": f"arn:aws:s3:::{BUCKET}",
    "RetrainingPlan": "*=off",
    "ClockState": "DISABLED",
    "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
}
_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_LOOK_EVERY = 0.1
_MOST_TICKS = 12


class Life(StrEnum):
    """How all runs of a schedule end."""

    CLEAN = "clean"
    DRIFTING = "violations"
    FAILING = "failed"


@dataclass(frozen=True)
class Schedule:
    """A data-quality schedule of a wave; its number gives it its endpoint and its life."""

    wave: str
    number: int

    @property
    def name(self) -> str:
        """Unique in the storm."""
        return f"{self.wave}-schedule-{self.number:05d}"

    @property
    def endpoint(self) -> str:
        """Four schedules share one."""
        number = self.number // 4
        return f"{'bulk-' if number % 10 == 9 else ''}{self.wave}-endpoint-{number:05d}"

    @property
    def life(self) -> Life:
        """Two of four are clean, one drifts, one fails or drifts."""
        of_endpoint = self.number % 4
        if of_endpoint == 3 and self.number // 4 % 2:
            return Life.FAILING
        return Life.DRIFTING if of_endpoint in (0, 3) else Life.CLEAN

    @property
    def group(self) -> str:
        """What the route of its endpoint groups it by."""
        return "bulk" if self.endpoint.startswith("bulk-") else self.endpoint

    def described(self) -> dict[str, Any]:
        """What DescribeMonitoringSchedule answers."""
        return {
            "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{self.name}",
            "MonitoringScheduleName": self.name,
            "MonitoringScheduleStatus": "Scheduled",
            "MonitoringType": "DataQuality",
            "EndpointName": self.endpoint,
            "CreationTime": 1763900000.0,
            "LastModifiedTime": 1763900000.0,
            "MonitoringScheduleConfig": {"MonitoringType": "DataQuality"},
        }


@dataclass(frozen=True)
class Completion:
    """One ended job."""

    schedule: Schedule
    number: int
    ended_at: datetime

    @property
    def name(self) -> str:
        """The job's name."""
        return f"{self.schedule.name}-run-{self.number:03d}"

    @property
    def status(self) -> str:
        """As SageMaker has it."""
        return "Failed" if self.schedule.life is Life.FAILING else "Completed"

    def event(self) -> dict[str, Any]:
        """The event that SageMaker sends of it, which names no schedule."""
        return event_of(self.described())

    def described(self) -> dict[str, Any]:
        """What DescribeProcessingJob answers."""
        failed = {"FailureReason": "AlgorithmError: out of memory", "ExitMessage": ""}
        return {
            "ProcessingJobName": self.name,
            "ProcessingJobArn": f"{_ARN}:processing-job/{self.name}",
            "ProcessingJobStatus": self.status,
            "MonitoringScheduleArn": f"{_ARN}:monitoring-schedule/{self.schedule.name}",
            **(failed if self.status == "Failed" else {}),
            "AppSpecification": {"ImageUri": "registry/sagemaker-model-monitor-analyzer"},
            "CreationTime": (self.ended_at - timedelta(minutes=5)).isoformat(),
            "ProcessingEndTime": self.ended_at.isoformat(),
            "Environment": {
                "sagemaker_endpoint_name": self.schedule.endpoint,
                "sagemaker_monitoring_schedule_name": self.schedule.name,
                "start_time": (self.ended_at - timedelta(hours=1)).isoformat(),
                "end_time": self.ended_at.isoformat(),
            },
            "ProcessingInputs": [
                {"InputName": name, "S3Input": {"S3Uri": f"s3://{BUCKET}/baseline/{file}"}}
                for name, file in (
                    ("baseline", "statistics.json"),
                    ("constraints", "constraints.json"),
                )
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "result",
                        "S3Output": {"S3Uri": f"s3://{BUCKET}/{self.schedule.life.value}"},
                    }
                ]
            },
        }


@dataclass(frozen=True)
class Account:
    """What became of a wave; times are seconds.

    Attributes:
        recorded: Runs with a record, by outcome.
        wrong: Runs without the record that they have to have.
        messages: Messages that were delivered over the topic, by group; its subscriber got as many.
        unheard: Firing incidents that no message told of and nothing of the policy hides, and messages
            that were not delivered, over the topic or the bus.
        excess: Messages beyond one per group and group_interval, and of groups that nobody expects.
        hidden: Firing incidents that another one hides.
        dead_letters: Messages that nobody could handle.
        taking: From the first event to the last record.
        telling: All of the clock's ticks after that.
        processor: Of all processes of the local cloud in both; 0 where the machine has no /proc.
    """

    completions: int
    recorded: Mapping[str, int]
    wrong: Sequence[str]
    messages: Mapping[str, int]
    unheard: Sequence[str]
    excess: Sequence[str]
    hidden: int
    dead_letters: int
    taking: float
    telling: float
    processor: float

    @property
    def per_run(self) -> float:
        """Seconds from the first event to the last message, per run."""
        return (self.taking + self.telling) / self.completions

    @property
    def processor_per_run(self) -> float:
        """The same in seconds of the processor."""
        return self.processor / self.completions


@dataclass
class Storm:
    """Waves of completions through one local cloud."""

    cloud: LocalCloud
    _now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Put policy and reports where the functions look for them, and listen to the alert topic."""
        stack = self.cloud.stack
        self._table = stack.physical_id("RunTable")
        self._queue = stack.physical_id("ReportsQueue")
        self._deliveries = stack.physical_id("DeliveriesQueue")
        self._dead_letters = [
            stack.physical_id(f"{name}DeadLetterQueue") for name in ("Reports", "Deliveries")
        ]
        self._outbox = DynamoDeliveries(self._table, 400)
        self._known: set[str] = set()
        self._events, self._sqs = self.cloud.client("events"), self.cloud.client("sqs")
        self._dynamodb = self.cloud.client("dynamodb")
        store_policy(self.cloud, POLICY, "the storm's policy")
        s3 = self.cloud.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for key, content in objects().items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        self._heard = self._sqs.create_queue(QueueName="storm-heard")["QueueUrl"]
        described = self._sqs.get_queue_attributes(
            QueueUrl=self._heard, AttributeNames=["QueueArn"]
        )
        self.cloud.client("sns").subscribe(
            TopicArn=stack.physical_id("AlertTopic"),
            Protocol="sqs",
            Endpoint=described["Attributes"]["QueueArn"],
        )

    def blow(self, wave: Sequence[Completion], *, twice: int = 0, redelivered: int = 0) -> Account:
        """Deliver a wave, wait until it is taken, and let the clock tell what is due.

        Args:
            wave: Its completions; those of one schedule have to be all there are of it.
            twice: Every so manieth event is put on the bus twice; 0 is none.
            redelivered: Every so manieth message is put into the queue again after all were taken.
        """
        for schedule in dict.fromkeys(c.schedule for c in wave):
            self.cloud.sagemaker.register_schedule(schedule.described())
        for completion in wave:
            self.cloud.sagemaker.register_job(completion.described())
        events = [c.event() for c in wave]
        began, used = time.perf_counter(), _processor_seconds()
        self._put([*events, *(events[::twice] if twice else ())])
        self._wait_until_taken(len(events))
        taking = time.perf_counter() - began
        if redelivered:
            self._redeliver(events[::redelivered])
        ticks, telling, heard = self._tell()
        used = _processor_seconds() - used
        if redelivered:
            self._redeliver(events[::redelivered])
            heard += self._tell()[2]
        return self._account(wave, ticks, heard, (taking, telling, used))

    def _put(self, events: Sequence[Mapping[str, Any]]) -> None:
        for at in range(0, len(events), 10):
            entries = [
                {
                    "Source": PROBE,
                    "DetailType": event["detail-type"],
                    "Detail": json.dumps(event["detail"]),
                }
                for event in events[at : at + 10]
            ]
            answer = self._events.put_events(Entries=entries)
            if answer.get("FailedEntryCount"):
                raise RuntimeError(f"the bus refused events: {answer['Entries']}")

    def _redeliver(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hand messages over again, past the bus: what SQS may do with any of them."""
        for event in events:
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=json.dumps(event))
        self._wait_until_taken(len(events))

    def _wait_until_taken(self, messages: int) -> None:
        deadline = time.monotonic() + 60 + messages
        while left := self._waiting(self._queue):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{left} messages still wait; the log ends with\n{self.cloud.log_tail()}"
                )
            # each look walks the whole queue
            time.sleep(min(5.0, max(_LOOK_EVERY, left / 500)))

    def _waiting(self, queue: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        described = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(int(value) for value in described["Attributes"].values())

    def _tell(self) -> tuple[int, float, int]:
        """Let the clock go on by group intervals until a tick tells nothing; returns how many messages came."""
        began = time.perf_counter()
        ticks = 0
        while ticks < _MOST_TICKS:
            # later than all that was noted, and than what the last tick told
            self._now = max(self._now + _GROUP_INTERVAL, datetime.now(UTC) + timedelta(minutes=1))
            ticks += 1
            if not self.cloud.tick(self._now)["messages"]:
                break
            # the clock goes on by minutes: what still waits would be looked at again
            self._wait_until_delivered()
        return ticks - 1, time.perf_counter() - began, self._receive()

    def _wait_until_delivered(self) -> None:
        deadline = time.monotonic() + 600
        while left := self._waiting(self._deliveries):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{left} deliveries still wait; the log ends with\n{self.cloud.log_tail()}"
                )
            time.sleep(min(2.0, max(_LOOK_EVERY, left / 500)))

    def _receive(self) -> int:
        """Take what the subscriber of the topic got."""
        taken = 0
        while messages := self._sqs.receive_message(
            QueueUrl=self._heard, MaxNumberOfMessages=10
        ).get("Messages"):
            taken += len(messages)
            for message in messages:
                self._sqs.delete_message(
                    QueueUrl=self._heard, ReceiptHandle=message["ReceiptHandle"]
                )
        return taken

    def _made(self) -> list[Delivery]:
        """Deliveries of this wave."""
        with self.cloud.in_environment():
            found = self._outbox.deliveries(self._began, self._now + _GROUP_INTERVAL)
            made = [delivery for delivery in found if delivery.id not in self._known]
        self._known.update(delivery.id for delivery in made)
        return made

    def _account(
        self,
        wave: Sequence[Completion],
        ticks: int,
        heard: int,
        times: tuple[float, float, float],
    ) -> Account:
        recorded = self._outcomes(wave)
        names = {schedule.name: schedule for schedule in {c.schedule for c in wave}}
        groups: dict[str, str] = {}
        unheard, hidden, firing = [], 0, Counter[str]()
        with self.cloud.in_environment():
            incidents = DynamoIncidents(self._table, 90, 400)
            known: dict[str, Mapping[str, Any]] = {}
            for ledger in incidents.firing_ledgers():
                schedule = names.get(ledger.scope.schedule)
                if schedule is None:
                    continue
                for incident in ledger.incidents.values():
                    firing[schedule.name] += incident.state.is_firing
                    for group_id in incident.groups:
                        groups[group_id] = schedule.group
                        if group_id not in known:
                            group = incidents.group(group_id)
                            known[group_id] = group.held if group else {}
                        held = known[group_id].get(incident.id)
                        hidden += held is not None and held.hidden is not None
                        if held is None or not (held.told or held.hidden):
                            unheard.append(incident.id)
        made = self._made()
        delivered = [d for d in made if d.state is DeliveryState.DELIVERED]
        told = [d for d in delivered if d.channel == TOPIC.name]
        messages = Counter(groups.get(delivery.group, "unknown") for delivery in told)
        faults = {schedule.name: _faults(schedule) for schedule in names.values()}
        return Account(
            completions=len(wave),
            recorded=Counter(recorded.values()),
            wrong=[c.name for c in wave if recorded.get(c.name) != c.schedule.life.value]
            + [name for name, count in faults.items() if firing[name] != count],
            messages=messages,
            unheard=[
                *unheard,
                *sorted({s.group for s in names.values()} - messages.keys()),
                *(f"{d.channel}: {d.state} {d.error}" for d in made if d not in delivered),
                *(
                    ["a message that the topic took and its subscriber did not get"]
                    * (len(told) - heard)
                ),
            ],
            excess=[
                *(g for g, count in messages.items() if count > ticks or g == "unknown"),
                *(["a message that the subscriber got twice"] * (heard - len(told))),
            ],
            hidden=hidden,
            dead_letters=sum(map(self._waiting, self._dead_letters)),
            taking=times[0],
            telling=times[1],
            processor=times[2],
        )

    def _outcomes(self, wave: Sequence[Completion]) -> dict[str, str]:
        """Recorded outcomes by job name."""
        keys = [
            {
                "pk": {"S": f"run#{_ARN}:processing-job/{completion.name}"},
                "sk": {"S": completion.status},
            }
            for completion in wave
        ]
        found = {}
        for at in range(0, len(keys), 100):
            answer = self._dynamodb.batch_get_item(
                RequestItems={
                    self._table: {
                        "Keys": keys[at : at + 100],
                        "ProjectionExpression": "pk, outcome",
                    }
                }
            )
            for item in answer["Responses"][self._table]:
                found[item["pk"]["S"].rpartition("/")[2]] = item["outcome"]["S"]
        return found


def wave_of(name: str, schedules: int, runs_each: int) -> list[Completion]:
    """Completions of so many schedules; those of one schedule are far apart, as an hour's are."""
    began = datetime.now(UTC) - timedelta(hours=runs_each)
    return [
        Completion(Schedule(name, number), run, began + timedelta(hours=run, seconds=number))
        for run in range(runs_each)
        for number in range(schedules)
    ]


def measure(quick: bool) -> Iterator[Result]:
    """Deliver a large storm between small ones in one cloud; one before them warms it up."""
    small, large, runs_each = (100, 300, 1) if quick else (SMALL, LARGE, RUNS_EACH)
    with LocalCloud(PARAMETERS) as cloud:
        storm = Storm(cloud)
        accounts = {}
        for name, schedules in (
            ("warming", 100),
            ("first", small // runs_each),
            ("second", small // runs_each),
            ("large", large // runs_each),
            ("third", small // runs_each),
        ):
            each = 1 if name == "warming" else runs_each
            accounts[name] = storm.blow(wave_of(name, schedules, each))
    big = accounts["large"]
    smaller = [accounts[name] for name in ("first", "second", "third")]
    for name, problems in (
        ("runs not accounted for", [p for a in accounts.values() for p in a.wrong]),
        ("incidents that nobody heard of", [p for a in accounts.values() for p in a.unheard]),
        ("messages beyond what the routes allow", [p for a in accounts.values() for p in a.excess]),
    ):
        note = f"first: {problems[0]}" if problems else _told(big)
        yield counted(f"storm of {large:,}, {name}", len(problems), "", 0, note)
    yield of_pairs(
        f"storm, time per run, {large:,} / {small:,} completions",
        [(big.per_run, one.per_run) for one in smaller],
        1.3,
        f"{_millis(big.per_run)} / {', '.join(_millis(one.per_run) for one in smaller)}",
    )
    if big.processor:
        yield of_pairs(
            f"storm, time of the processor per run, {large:,} / {small:,} completions",
            [(big.processor_per_run, one.processor_per_run) for one in smaller],
            None,
            f"{_millis(big.processor_per_run)} / "
            f"{', '.join(_millis(one.processor_per_run) for one in smaller)}",
        )


def _told(account: Account) -> str:
    return (
        f"{sum(account.recorded.values()):,} records, {sum(account.messages.values())} messages to "
        f"{len(account.messages)} groups, {account.hidden} incidents hidden by others"
    )


def _millis(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _processor_seconds() -> float:
    """Of this process, which answers for SageMaker, and of the groups that its children lead."""
    ticks = 0
    of_group: Counter[int] = Counter()
    groups = {os.getpid()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            content = (folder / "stat").read_text()
        except OSError:
            continue
        # state, parent, group …; times in user and system mode are the 12th and 13th
        fields = content.rpartition(")")[2].split()
        if int(fields[1]) == os.getpid():
            groups.add(int(folder.name))
        if int(folder.name) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
        else:
            of_group[int(fields[2])] += int(fields[11]) + int(fields[12])
    ticks += sum(of_group[group] for group in groups)
    return ticks / os.sysconf("SC_CLK_TCK")


def _faults(schedule: Schedule) -> int:
    """Incidents that a schedule must have."""
    return {Life.CLEAN: 0, Life.DRIFTING: FINDINGS, Life.FAILING: 1}[schedule.life]


def objects() -> dict[str, bytes]:
    """The reports that all runs share, by key."""
    statistics = statistics_file(FEATURES, 100)
    return {
        f"{Life.CLEAN.value}/constraint_violations.json": no_violations_file(),
        f"{Life.CLEAN.value}/statistics.json": statistics,
        f"{Life.DRIFTING.value}/constraint_violations.json": violations_file(FEATURES),
        f"{Life.DRIFTING.value}/statistics.json": statistics,
        "baseline/statistics.json": statistics_file(FEATURES, 1_000, seed=2),
        "baseline/constraints.json": constraints_file(FEATURES),
    }
