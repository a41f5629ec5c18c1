"""In-memory ports with memory: what was asked of them stays readable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from guiderail.errors import GuiderailError
from guiderail.model.delivery import DeliveryRef, DeliveryState, Receipt
from guiderail.model.incident import Incident, Scope
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.judgement import Judgement
from guiderail.model.message import Distribution, Notification, Picture, Rendering, Thread
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Channel, ChannelKind, Policy
from guiderail.model.record import RunRecord
from guiderail.model.retraining import RetrainingDecision, RetrainingMode, RetrainingRule
from guiderail.model.run import Reading, Run
from guiderail.ports import PolicyInForce
from guiderail.rendering import plain_text
from guiderail.reports.run_files import Files
from guiderail.services.acts import Acts
from guiderail.services.delivering import Deliver
from guiderail.services.due import DueChanges, Told
from guiderail.services.following import Followed, Judge, Judged, keep_run
from guiderail.services.job_finished import JobFinished
from guiderail.services.retraining import RetrainingPlan
from guiderail.services.waking import Waking
from guiderail_cli.in_memory import FixedPolicies, InMemoryIncidents

PIPELINE = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/retrain-loan-risk"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
ENDED_AT = datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)
"""When the first job of most tests ended: a Monday."""


class Crash(BaseException):
    """The process dies: no handler of ours may catch it."""


class _Steps:
    """A port whose every call is a step of the cloud."""

    def __init__(self, port: object, step: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._port = port
        self._step = step

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._port, name)
        return lambda *given, **named: self._step(
            name.replace("_", " "), lambda: call(*given, **named)
        )


class _Queue:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def put(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        self._cloud.put_refs(refs, delay)


class _Channels:
    """Channels that accept everything, except for the errors that are laid ready by channel."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def send(self, channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
        cloud = self._cloud

        def work() -> Receipt:
            if cloud.refusals.get(channel.name):
                error = cloud.refusals[channel.name]
                raise error[0] if len(error) == 1 else error.pop(0)
            cloud.sent.append(Sent(channel, notification, rendering, cloud.now))
            thread = rendering.thread if channel.kind is ChannelKind.SLACK else None
            if channel.kind is ChannelKind.SLACK:
                number = max(notification.number, thread.number if thread else 0)
                root = thread.root if thread and thread.root else f"root-{len(cloud.sent)}"
                thread = msgspec.structs.replace(thread or Thread(), root=root, number=number)
            return Receipt(id=f"{channel.name}-{len(cloud.sent)}", thread=thread)

        return cloud._step("send", work)  # type: ignore[no-any-return]


class Sent(msgspec.Struct, frozen=True):
    """A message that a channel accepted."""

    channel: Channel
    notification: Notification
    rendering: Rendering
    at: datetime


class Cloud:
    """All ports over one memory, which outlives crashes of the functions.

    Every port call counts as a step; ``crash_after`` names the step after which the process dies, and
    ``failures`` the errors that a step raises instead of working, once each.
    """

    def __init__(
        self,
        job: ProcessingJob | None = None,
        schedule: MonitoringSchedule | None = None,
        files: Mapping[str, bytes | GuiderailError] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.described = job
        self.scheduled = schedule
        self.stored = dict(files or {})
        self.tags: Mapping[str, str] | GuiderailError = {}
        self.in_force = FixedPolicies(policy)
        self.store = InMemoryIncidents()
        self.queue: list[tuple[datetime, DeliveryRef]] = []
        self.sent: list[Sent] = []
        self.refusals: dict[str, list[GuiderailError]] = {}
        self.picture_error: GuiderailError | None = None
        self.tokens_made = 0
        self.reply_url = ""
        self.executions: dict[tuple[str, str], dict[str, str]] = {}
        self.dead: list[tuple[str, GuiderailError]] = []
        self.metrics: list[tuple[str, float, dict[str, str]]] = []
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.steps: list[str] = []
        self.crash_after: int | None = None
        self.failures: dict[str, list[GuiderailError]] = {}
        self.now = (job.ended_at if job else None) or ENDED_AT
        self.now += timedelta(minutes=2)
        self.incidents: Any = _Steps(self.store, self._step)
        self.outbox: Any = self.incidents
        self.channels: Any = _Channels(self)

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        done = work()
        self.steps.append(name)
        if self.crash_after == len(self.steps):
            raise Crash(name)
        return done

    @property
    def recorded(self) -> dict[str, RunRecord]:
        """Records of runs, by run key."""
        return self.store.runs

    @property
    def alerts(self) -> list[Notification]:
        """What the bus was given, each once, in order: all but quiet changes."""
        return list(self.published.values())

    @property
    def published(self) -> dict[str, Notification]:
        """What the bus was given, by id."""
        return {s.notification.id: s.notification for s in self.sent_over("bus")}

    def sent_over(self, channel: str) -> list[Sent]:
        """What a channel accepted, in order."""
        return [sent for sent in self.sent if sent.channel.name == channel]

    def clock(self) -> datetime:
        return self.now

    # JobDescriptions
    def job(self, name: str) -> ProcessingJob:
        return self._step("describe job", lambda: self.described)  # type: ignore[no-any-return]

    def schedule(self, name: str) -> MonitoringSchedule | None:
        return self._step("describe schedule", lambda: self.scheduled)  # type: ignore[no-any-return]

    # ReportFiles
    def fetch(self, places: Mapping[str, str]) -> Files:
        def work() -> Files:
            files = Files({}, {})
            for name, uri in places.items():
                content = self.stored.get(uri)
                if isinstance(content, bytes):
                    files.contents[name] = content
                elif content is not None:
                    files.failures[name] = content
            return files

        return self._step("fetch", work)  # type: ignore[no-any-return]

    # Policies
    def current(self) -> PolicyInForce:
        return self._step("policy", self.in_force.current)  # type: ignore[no-any-return]

    # Tags
    def of(self, schedule_arn: str) -> Mapping[str, str]:
        def work() -> Mapping[str, str]:
            if isinstance(self.tags, GuiderailError):
                raise self.tags
            return self.tags

        return self._step("tags", work)  # type: ignore[no-any-return]

    # DeliveryQueue
    def put_refs(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        def work() -> None:
            at = self.now + timedelta(seconds=delay)
            # a queue hands out what it likes, and as text
            self.queue += [
                (at, msgspec.json.decode(msgspec.json.encode(r), type=DeliveryRef)) for r in refs
            ]

        self._step("queue", work)

    # Pictures
    def draw(
        self,
        distributions: Sequence[Distribution],
        trends: Mapping[str, Sequence[float]],
        show_values: bool = False,
    ) -> Sequence[Picture]:
        def work() -> Sequence[Picture]:
            if self.picture_error:
                raise self.picture_error
            return [Picture(name=d.feature, alt=d.feature, png=b"png") for d in distributions]

        return self._step("draw", work)  # type: ignore[no-any-return]

    def _new_token(self) -> str:
        self.tokens_made += 1
        return f"token-{self.tokens_made}"

    # Pipelines: a token starts once
    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        self._step(
            "start pipeline",
            lambda: self.executions.setdefault((pipeline_arn, token), dict(parameters)),
        )
        return f"{pipeline_arn}/execution/{token[:12]}"

    # DeadLetters
    def put(self, body: str, error: GuiderailError) -> None:
        self._step("dead letter", lambda: self.dead.append((body, error)))

    # Meter
    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        self.metrics.append((name, value, dict(dimensions)))

    # Journal
    def info(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def error(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def metric(self, name: str) -> list[dict[str, str]]:
        """Dimensions of every value recorded under a name."""
        return [dimensions for recorded, _, dimensions in self.metrics if recorded == name]

    # --- the use cases, each a fresh process over this cloud

    def use_case(
        self, mode: RetrainingMode = RetrainingMode.SUGGEST, minimum_rows: int = 30
    ) -> JobFinished:
        return JobFinished(
            descriptions=self,
            files=self,
            incidents=self.incidents,
            policies=self,
            tags=self,
            pipelines=self,
            dead_letters=self,
            meter=self,
            journal=self,
            clock=self.clock,
            plan=RetrainingPlan(
                [RetrainingRule("*", mode)], [PIPELINE], {"Endpoint": "{endpoint}"}
            ),
            judge=Judge(minimum_rows),
        )

    def due_changes(self) -> Callable[..., Told]:
        """Tell what is due, and deliver it."""

        def tell(now: datetime | None = None) -> Told:
            try:
                told = self.on_due()(now)
            except GuiderailError:
                self.deliver_all()
                raise
            self.deliver_all()
            return told

        return tell

    def on_due(self) -> DueChanges:
        return DueChanges(
            incidents=self.incidents,
            policies=self,
            outbox=self.outbox,
            queue=_Queue(self),
            meter=self,
            journal=self,
            clock=self.clock,
            waking=self.waking(),
            account=ACCOUNT,
            region=REGION,
        )

    def waking(self) -> Waking | None:
        """What wakes remediations; nothing, where none are looked at."""
        return None

    def deliver(self) -> Deliver:
        return Deliver(
            outbox=self.outbox,
            queue=_Queue(self),
            channels=self.channels,
            pictures=self,
            policies=self,
            incidents=self.incidents,
            dead_letters=self,
            meter=self,
            journal=self,
            clock=self.clock,
            new_token=self._new_token,
            chance=lambda: 0.5,
            reply_url=self.reply_url,
            account=ACCOUNT,
            region=REGION,
        )

    def deliver_all(self) -> list[DeliveryState | None]:
        """Hand out what the queue has ready; a message whose handling dies or fails stays there."""
        states = []
        while ready := [entry for entry in self.queue if entry[0] <= self.now]:
            body = msgspec.json.encode(ready[0][1]).decode()
            states.append(self.deliver()(body))
            self.queue.remove(ready[0])
        return states

    def acts(self) -> Acts:
        return Acts(incidents=self.incidents, policies=self, clock=self.clock)

    # --- time, and runs that need no files

    def pass_time(self, tick: float = 60.0, **duration: float) -> None:
        """Let time pass with a tick of the clock's function each ``tick`` seconds."""
        end = self.now + timedelta(**duration)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=tick))
            self.due_changes()(self.now)

    def run_ends(
        self,
        *judgements: Judgement,
        key: str = "",
        ended_at: datetime | None = None,
        outcome: Outcome | None = None,
        scope: Scope | None = None,
        data_from: datetime | None = None,
    ) -> Followed | None:
        """Let a run end and follow from it what ``JobFinished`` would; None if it was recorded before."""
        ended_at = ended_at or self.now
        scope = scope or scope_of()
        outcome = outcome or (Outcome.VIOLATIONS if judgements else Outcome.CLEAN)
        arn = f"arn:aws:sagemaker:{scope.region}:{scope.account}:processing-job/"
        name = key or f"{scope.schedule}-{ended_at:%Y%m%d%H%M%S}".lower()
        run = Run(
            key=f"{arn}{name}#Completed",
            job_name=name,
            job_arn=arn + name,
            status="Completed",
            endpoint=scope.endpoint,
            schedule=scope.schedule,
            report_uri="s3://loan-reports/1",
            window_start=data_from.isoformat() if data_from else "",
            ended_at=ended_at,
        )
        findings = tuple(j.finding for j in judgements if j.finding.check != outcome.value)
        judged = Judged(
            scope=scope,
            reading=Reading(
                outcome=outcome,
                monitor=scope.monitor,
                reasons=(Reason.VIOLATIONS_REPORTED,),
                findings=findings,
                rows=900,
            ),
            judgements=judgements,
        )
        known, ledger = self.incidents.recall(run.key, scope.ledger_id)
        if known and known is not Outcome.UNREADABLE:
            return None
        return keep_run(
            self.incidents,
            run,
            judged,
            self.current().policy,
            lambda _: RetrainingDecision(reason=Reason.RETRAINING_OFF),
            self.clock,
            ledger,
        )

    def all_incidents(self) -> Sequence[Incident]:
        """All incidents of all ledgers."""
        return [i for ledger in self.store.ledgers.values() for i in ledger.incidents.values()]


def scope_of(endpoint: str = "loan-risk-prod", schedule: str = "", **fields: Any) -> Scope:
    """A schedule of an endpoint; its name comes from the endpoint's."""
    known = {"account": ACCOUNT, "region": REGION, "schedule": schedule or f"{endpoint}-hourly"}
    return Scope(endpoint=endpoint, **{**known, **fields})


def text_of(notification: Notification) -> str:
    """A notification as plain text."""
    return plain_text.render(notification, Rendering())
