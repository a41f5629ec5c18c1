"""Playing runs through the local cloud, and watching what becomes of each.

Nothing waits here: the player is the clock, and lets it go on to whatever is due next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.model.outcome import Reason
from guiderail.model.policy import ChannelKind
from guiderail.services.outbox import TOPIC
from guiderail.settings import settings_from

from guiderail_local.cloud import LocalCloud
from guiderail_local.remediations import RemediationWatch
from guiderail_local.runs import DETAIL_TYPE, RunFolder
from guiderail_local.sagemaker import PipelineStart
from guiderail_local.staging import stage

SETTLES_WITHIN = timedelta(minutes=6)
"""More than ``group_wait`` and ``group_interval`` of a route that sets neither."""

_MOST_TICKS = 200
_MINUTE = timedelta(minutes=1)
_RUN_SECONDS = 40.0
_RECORD_SECONDS = 5.0
_POLL_SECONDS = 0.05
_WAITED_FOR = timedelta(seconds=5)
"""A try that comes again within this time is waited for; for a later one the clock goes on."""

_WAITED_FOR_THREADS = timedelta(seconds=16)
"""One that only waits for the thread it belongs into: Deliver looks again after 5 to 15 s."""

T = TypeVar("T")


@dataclass(frozen=True)
class HeardAlert:
    """A message that came out of the alert topic, as a subscriber gets it."""

    subject: str
    message: str
    sent_at: float


@dataclass(frozen=True)
class HeardEvent:
    """An event that came out of the bus ``guiderail``."""

    detail_type: str
    detail: Mapping[str, Any]

    @property
    def why_now(self) -> tuple[str, ...]:
        """The reason codes for which it was told."""
        return tuple(str(reason) for reason in self.detail.get("why_now", ()))


@dataclass(frozen=True)
class Told:
    """What came out of topic and bus while the clock went on, and what became of each delivery."""

    alerts: tuple[HeardAlert, ...] = ()
    events: tuple[HeardEvent, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def why_now(self) -> tuple[str, ...]:
        """The reason codes of all messages, each once."""
        return tuple(dict.fromkeys(reason for event in self.events for reason in event.why_now))


@dataclass(frozen=True)
class Ending:
    """What became of one run; times are seconds since its event was put on the bus.

    ``why_told`` holds the reason codes of its messages.
    """

    run: RunFolder
    outcome: str | None = None
    monitor: str | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    finding_count: int = 0
    findings: tuple[Mapping[str, Any], ...] = ()
    retraining: str | None = None
    ignored: str | None = None
    dead_letter: str | None = None
    alerts: tuple[HeardAlert, ...] = ()
    bus_events: tuple[str, ...] = ()
    why_told: tuple[str, ...] = ()
    pipelines: tuple[PipelineStart, ...] = ()
    recorded_after: float | None = None
    alerted_after: float | None = None
    trouble: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Compare with the manifest once."""
        object.__setattr__(self, "problems", (*self.trouble, *_differences(self)))

    @property
    def as_expected(self) -> bool:
        """Whether the run ended as its manifest says; without one, whether it ended at all."""
        return not self.problems


class Player:
    """Plays runs one after the other; each is followed to its end before the next begins.

    Attributes:
        now: What the clock showed last.
        remediations: What becomes of those that runs ask for.
    """

    def __init__(self, cloud: LocalCloud) -> None:
        """Listen at the alert topic and the bus like any other subscriber."""
        self._cloud = cloud
        self.now = datetime.now(UTC)
        stack = cloud.stack
        self._table = stack.physical_id("RunTable")
        self._reports = stack.physical_id("ReportsQueue")
        self._dead_letters = stack.physical_id("ReportsDeadLetterQueue")
        self._deliveries = stack.physical_id("DeliveriesQueue")
        self._actions = stack.physical_id("ActionsQueue")
        self.remediations = RemediationWatch(cloud)
        cloud.sagemaker.live_by(self.clock, cloud.put_event)
        events = cloud.client("events")
        self._sqs = cloud.client("sqs")
        self._dynamodb = cloud.client("dynamodb")
        settings = settings_from(cloud.variables("OnDue"))
        self._outbox = DynamoDeliveries(settings.table, settings.audit_days)
        self._began = self.now
        self._over: set[str] = set()
        self._alerts_heard, arn = self._make_queue("alerts-heard")
        cloud.client("sns").subscribe(
            TopicArn=stack.physical_id("AlertTopic"), Protocol="sqs", Endpoint=arn
        )
        self._events_heard, arn = self._make_queue("events-heard")
        bus = stack.physical_id("GuiderailBus")
        events.put_rule(
            Name="everything", EventBusName=bus, EventPattern='{"source": [{"exists": true}]}'
        )
        events.put_targets(
            Rule="everything", EventBusName=bus, Targets=[{"Id": "events-heard", "Arn": arn}]
        )

    def clock(self) -> datetime:
        """The time; never behind the computer's own."""
        return max(self.now, datetime.now(UTC))

    def set_back(self) -> None:
        """Show the computer's time again: what was told before counts as told in the future."""
        self.now = datetime.now(UTC)

    def play(self, run: RunFolder) -> Ending:
        """Send a run's event and follow it to its end, messages included."""
        started_before = len(self._cloud.sagemaker.starts)
        sent_at = time.time()
        trouble = self.send([run])
        item, ignored = _until(lambda: self._end_of(run, sent_at), _RECORD_SECONDS) or ({}, None)
        told = self.tell()
        trouble += told.trouble
        trouble += [_given_up(d) for d in told.deliveries if d.state is DeliveryState.DEAD]
        if trouble:
            trouble += self._warnings(sent_at)
        return Ending(
            run=run,
            outcome=_text(item, "outcome"),
            monitor=_text(item, "monitor"),
            reasons=_texts(item, "reasons"),
            evidence=_texts(item, "evidence"),
            finding_count=int(item.get("finding_count", {}).get("N", 0)),
            findings=tuple(json.loads(_text(item, "findings") or "[]")),
            retraining=_text(item, "retraining"),
            ignored=ignored,
            dead_letter=self._dead_letter(run),
            alerts=told.alerts,
            bus_events=tuple(event.detail_type for event in told.events),
            why_told=told.why_now,
            pipelines=tuple(self._cloud.sagemaker.starts[started_before:]),
            recorded_after=_since(sent_at, _text(item, "recorded_at")),
            alerted_after=max(0.0, told.alerts[0].sent_at - sent_at) if told.alerts else None,
            trouble=tuple(trouble),
        )

    def send(self, runs: Sequence[RunFolder]) -> list[str]:
        """Send the events of runs and wait until the queue is empty; returns what went wrong."""
        stage(self._cloud, runs)
        for run in runs:
            for _ in range(run.send):
                self._cloud.put_event({"detail-type": DETAIL_TYPE, **run.event})
        if _until(lambda: self._left(self._reports) == 0, _RUN_SECONDS):
            return []
        return [f"{self._left(self._reports)} message(s) still wait for another try"]

    def tell(self, within: timedelta = SETTLES_WITHIN) -> Told:
        """Let the clock go on to all that is due within a time, and hear what comes of it.

        Raises:
            FunctionFailedError: OnDue ended with an error.
        """
        until = self.clock() + within
        due: datetime | None = None
        for _ in range(_MOST_TICKS):
            if not self._settle():
                return Told(trouble=tuple(self._unsettled()))
            before, due = due, self._next_due(until)
            if due is None or self.now > until:
                break
            if due == before:
                self.now += _MINUTE  # what one minute could not do is tried again in the next
            self.now = max(self.now, _whole_minute(due))
            self._cloud.tick(self.now)
        else:
            return Told(trouble=(f"the clock was told {_MOST_TICKS} times, and more is due",))
        self.now = self.clock()
        made = [d for d in self._outgoing() if d.id not in self._over]
        self._over.update(d.id for d in made if d.state.is_over)
        delivered = [d for d in made if d.state is DeliveryState.DELIVERED]
        return Told(
            alerts=self._heard_alerts(sum(d.channel == TOPIC.name for d in delivered)),
            events=self._heard_events(sum(d.kind is ChannelKind.BUS for d in delivered)),
            deliveries=tuple(made),
            trouble=tuple(_on_its_way(d) for d in made if not d.state.is_over),
        )

    def _settle(self) -> bool:
        """Wait for what goes on by itself: remediations, tries, and tries that come again within seconds."""
        return _until(lambda: not self._under_way(), _RUN_SECONDS)

    def _unsettled(self) -> Iterator[str]:
        """What goes on, and was not waited for any longer."""
        for name in self.remediations.restless():
            yield from self.remediations.history(name)
        for queue in (self._actions, self._deliveries):
            yield f"{self._left(queue)} message(s) in {queue.rpartition('/')[2]}"

    def _under_way(self) -> bool:
        if self._left(self._actions) or self.remediations.restless():
            return True
        if self._left(self._deliveries):
            return True
        now = self.clock()
        return any(_comes_soon(d, now) for d in self._outgoing() if not d.state.is_over)

    def _outgoing(self) -> list[Delivery]:
        with self._cloud.in_environment():
            return list(self._outbox.deliveries(self._began, self.now))

    def _next_due(self, until: datetime) -> datetime | None:
        """When the first of all that waits is due, if that is not later than a time."""
        first = [row["sk"]["S"].partition("#")[0] for row in self._rows("due", Limit=1)]
        turns = [row["look_at"]["S"] for row in self._rows("due#deliveries")]
        wakes = [row["sk"]["S"].partition("#")[0] for row in self._rows("due#remediations")]
        due = min(map(datetime.fromisoformat, first + turns + wakes), default=None)
        return due if due and due <= until else None

    def _rows(self, pk: str, **more: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
            **more,
        )["Items"]
        return rows

    def _make_queue(self, name: str) -> tuple[str, str]:
        url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        described = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, described["Attributes"]["QueueArn"]

    def _left(self, queue: str) -> int:
        """Messages that are handled or may be, without those that are put off."""
        counted = self._sqs.get_queue_attributes(
            QueueUrl=queue,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(int(value) for value in counted["Attributes"].values())

    def _end_of(self, run: RunFolder, since: float) -> tuple[dict[str, Any], str | None] | None:
        """The run's record, or why the function ignored the job; None while there is neither."""
        item = self._record(run)
        ignored = None if item else self._ignored(run, since)
        return (item, ignored) if item or ignored else None

    def _record(self, run: RunFolder) -> dict[str, Any]:
        answer = self._dynamodb.get_item(
            TableName=self._table,
            Key={"pk": {"S": f"run#{run.job_arn}"}, "sk": {"S": run.status}},
            ConsistentRead=True,
        )
        item: dict[str, Any] = answer.get("Item", {})
        return item

    def _log_lines(self, since: float) -> Iterator[dict[str, Any]]:
        return self._cloud.log_lines("OnJobFinishedLogGroup", since - 1)

    def _ignored(self, run: RunFolder, since: float) -> str | None:
        """The reason code with which the function's log says that it ignored the job."""
        name = run.job["ProcessingJobName"]
        for line in self._log_lines(since):
            if line.get("message") == "job ignored" and line.get("job") == name:
                return str(line.get("reason"))
        return None

    def _warnings(self, since: float) -> list[str]:
        """What the function logged as a warning or worse: why something went wrong."""
        return [
            f"log: {line.get('message')}: {line.get('error', line.get('exception', ''))}"
            for line in self._log_lines(since)
            if line.get("level") in ("WARNING", "ERROR", "CRITICAL")
        ]

    def _heard_alerts(self, expected: int) -> tuple[HeardAlert, ...]:
        heard = []
        for message in self._receive(self._alerts_heard, expected):
            content = json.loads(message["Body"])
            sent_at = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
            heard.append(
                HeardAlert(content.get("Subject", ""), content.get("Message", ""), sent_at)
            )
        return tuple(heard)

    def _heard_events(self, expected: int) -> tuple[HeardEvent, ...]:
        bodies = [json.loads(m["Body"]) for m in self._receive(self._events_heard, expected)]
        return tuple(HeardEvent(str(body["detail-type"]), body["detail"]) for body in bodies)

    def _dead_letter(self, run: RunFolder) -> str | None:
        for message in self._receive(self._dead_letters, 0):
            if run.job_arn in message["Body"]:
                attributes = message.get("MessageAttributes", {})
                told = [
                    attributes[key]["StringValue"]
                    for key in ("reason", "remedy")
                    if key in attributes
                ]
                return ": ".join(told) or "no reason given"
        return None

    def _receive(self, queue: str, expected: int) -> list[dict[str, Any]]:
        """Take all messages out of a queue; wait for as many as have to come."""
        taken: list[dict[str, Any]] = []
        while True:
            messages = self._sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=5 if len(taken) < expected else 0,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not messages:
                return taken
            for message in messages:
                self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            taken += messages


def _comes_soon(delivery: Delivery, now: datetime) -> bool:
    at = delivery.next_attempt_at
    for_thread = delivery.reason is Reason.WAITING_FOR_DELIVERY
    return at is not None and at <= now + (_WAITED_FOR_THREADS if for_thread else _WAITED_FOR)


def _on_its_way(delivery: Delivery) -> str:
    said = f": {delivery.error}" if delivery.error else ""
    return f"{delivery.channel} has not got {delivery.subject!r}, it is {delivery.state}{said}"


def _given_up(delivery: Delivery) -> str:
    return f"{delivery.channel} was given up for {delivery.subject!r}: {delivery.error}"


def _whole_minute(moment: datetime) -> datetime:
    """The next minute, when the schedule would ring."""
    return moment + timedelta(seconds=-moment.timestamp() % 60)


def _until(attempt: Callable[[], T], seconds: float) -> T:
    """Repeat an attempt until it gives something true, or give up; returns what it gave last."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(_POLL_SECONDS)


def _text(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return str(value) if value is not None else None


def _texts(item: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(str(entry["S"]) for entry in item.get(name, {}).get("L", []))


def _since(sent_at: float, moment: str | None) -> float | None:
    return max(0.0, datetime.fromisoformat(moment).timestamp() - sent_at) if moment else None


def _differences(ending: Ending) -> Iterator[str]:
    """In what a run ended otherwise than its manifest says."""
    if ending.outcome is None and ending.ignored is None:
        yield f"no outcome{f'; dead letter: {ending.dead_letter}' if ending.dead_letter else ''}"
    if len(ending.bus_events) != len(ending.alerts):
        yield f"{len(ending.alerts)} message(s) to people, {len(ending.bus_events)} event(s) on the bus"
    expected = ending.run.expectation
    if expected is None:
        return
    found = {
        "outcome": ending.outcome,
        "monitor": ending.monitor,
        "findings": ending.finding_count,
        "alerts": len(ending.alerts),
        "pipelines": len(ending.pipelines),
        "ignored": ending.ignored,
    }
    for name, value in found.items():
        wanted = getattr(expected, name)
        if wanted is not None and wanted != value:
            yield f"{name}: {value}, expected {wanted}"
    if expected.ignored is None and ending.ignored is not None:
        yield f"ignored: {ending.ignored}"
