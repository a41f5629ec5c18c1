"""What use cases need of the world, named by role; adapters and test fakes implement them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from guiderail.errors import GuiderailError
from guiderail.model.delivery import (
    ChannelState,
    Delivery,
    DeliveryRef,
    DeliveryState,
    Feedback,
    Outgoing,
    Receipt,
    ReplyToken,
)
from guiderail.model.incident import Ledger
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.message import Distribution, Notification, Picture, Rendering, Thread
from guiderail.model.notice import (
    AuditEntry,
    Group,
    InhibitionSource,
    Notice,
    Silence,
)
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Channel, Policy
from guiderail.model.record import RunRecord
from guiderail.model.remediation import ActionReport, Guard, Lineage, Remediation
from guiderail.reports.run_files import Files

MOST_DUE = 1000
"""Due rows that one call of ``Incidents.due`` hands out."""

MOST_OVERDUE = 500
"""Deliveries that one call of ``Deliveries.overdue`` hands out."""


MOST_WAKES = 200
"""Wakes of remediations that one call of ``Remediations.wakes`` hands out."""


class Wake(msgspec.Struct, frozen=True):
    """That a remediation's state machine has to be started, or to go on."""

    remediation: str
    at: datetime


class PolicyInForce(msgspec.Struct, frozen=True):
    """The policy to judge by; ``trouble`` is set where it is not the one that was pushed last."""

    policy: Policy
    trouble: Reason | None = None
    evidence: str = ""


class Due(msgspec.Struct, frozen=True):
    """What is due now.

    ``groups`` are ids of groups whose own due time has come, ``digested`` what waits for a digest that is.
    """

    notices: tuple[Notice, ...] = ()
    groups: tuple[str, ...] = ()
    digested: tuple[Outgoing, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is due."""
        return bool(self.notices or self.groups or self.digested)


class Remembered(msgspec.Struct, frozen=True):
    """A delivery with what is read beside it, in one call."""

    delivery: Delivery
    notification: Notification
    channel: ChannelState
    thread: Thread | None = None


class JobDescriptions(Protocol):
    """SageMaker's own word on jobs and schedules."""

    def job(self, name: str) -> ProcessingJob:
        """Describe a processing job. Raises NotFoundError, AccessDeniedError, TransientError."""
        ...

    def schedule(self, name: str) -> MonitoringSchedule | None:
        """Describe a monitoring schedule; None when it is gone. Raises AccessDeniedError, TransientError."""
        ...


class ReportFiles(Protocol):
    """Files under S3 prefixes."""

    def fetch(self, places: Mapping[str, str]) -> Files:
        """Fetch files by S3 URI, keyed by the name they are to have.

        A missing file is left out; one that is forbidden or too large becomes a failure of Files.
        Raises TransientError.
        """
        ...


class Policies(Protocol):
    """The operator's policy."""

    def current(self) -> PolicyInForce:
        """The policy to judge by: the stored one, else the last good one, else the built-in one.

        Never raises for a missing or unreadable policy: its ``trouble`` says what is wrong.
        Raises TransientError only if nothing at all can be read and nothing was before.
        """
        ...


class Tags(Protocol):
    """Tags of monitoring schedules."""

    def of(self, schedule_arn: str) -> Mapping[str, str]:
        """The tags. Raises AccessDeniedError, NotFoundError, TransientError."""
        ...


class Incidents(Protocol):
    """Runs, ledgers and what waits to be told, as one store.

    Every ``commit`` is all or nothing, under the condition that the ledger or group has the version it
    was read with; it writes the version after that. Raises ConflictError otherwise: read again.
    """

    def recall(self, run_key: str, ledger_id: str) -> tuple[Outcome | None, Ledger | None]:
        """The recorded outcome of a run and the ledger, in one call; an empty ledger id asks for none."""
        ...

    def run(self, job_arn: str) -> Mapping[str, Any] | None:
        """What is recorded of a job's run, as plain values by attribute name; None if it is not known."""
        ...

    def ledger(self, ledger_id: str) -> Ledger | None:
        """Read a ledger."""
        ...

    def firing_ledgers(self) -> Iterator[Ledger]:
        """All ledgers with an incident that is not resolved."""
        ...

    def commit_run(
        self,
        record: RunRecord,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
        requests: Sequence[Remediation] = (),
        wakes: Sequence[Wake] = (),
    ) -> bool:
        """Record a run with all that follows from it; an ``unreadable`` record may be replaced.

        Returns False, and writes nothing, if the run was recorded before. ``sources`` replaces what
        hides others on the endpoint; None leaves it. ``requests`` are remediations that begin with it,
        ``wakes`` wake those that wait for its proof.
        """
        ...

    def commit_act(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> None:
        """Keep a ledger changed by a person, by a remediation or by the clock."""
        ...

    def due(self, until: datetime) -> Due:
        """What waits and is due, oldest first.

        At most ``MOST_DUE`` at once; call again until there is nothing.
        """
        ...

    def group(self, group_id: str) -> Group | None:
        """Read a group."""
        ...

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        outgoing: Sequence[Outgoing],
        audit: AuditEntry | None,
    ) -> None:
        """Keep a group after ``previous``, with its notifications and a row per delivery.

        The notices it took in and the due row of ``previous`` go; one for ``group.due_at`` is written.
        """
        ...

    def commit_digest(self, outgoing: Outgoing, instead_of: Sequence[Outgoing]) -> None:
        """Keep a digest with its deliveries; the notifications that it stands for are due no more."""
        ...

    def sent(self, route: str, window: datetime) -> int:
        """How many messages a route sent in its rate window that began at a time."""
        ...

    def sources(self, endpoint: str) -> Sequence[InhibitionSource]:
        """What hides others on an endpoint (or on a schedule that has none)."""
        ...

    def silences(self, now: datetime) -> Sequence[Silence]:
        """Silences that have not ended."""
        ...

    def keep_silence(self, silence: Silence, audit: AuditEntry) -> None:
        """Write a silence, or one with the same id anew (to end it)."""
        ...

    def audit(self, subject: str, limit: int) -> Sequence[AuditEntry]:
        """Audit entries of a ledger, group or silence, newest first."""
        ...


class Deliveries(Protocol):
    """The outbox. Every write is conditional on the delivery's version; it writes the version after that.

    All raise ConflictError if somebody else wrote in between, and TransientError.
    """

    def recall_deliveries(self, refs: Sequence[DeliveryRef]) -> Mapping[str, Remembered]:
        """Deliveries by id, each with its notification, its channel's state and its thread: one call.

        What is not there any more is left out.
        """
        ...

    def claim(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        tokens: Sequence[ReplyToken] = (),
        thread: Thread | None = None,
    ) -> Delivery:
        """Keep a delivery as being sent until ``look_at``, with the tokens of its message.

        A thread is kept with it; ConflictError also if a newer message of it was.
        """
        ...

    def keep(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        thread: Thread | None = None,
        instead: Sequence[Outgoing] = (),
    ) -> Delivery:
        """Keep what became of a delivery, with the deliveries over a fallback.

        The thread is kept unless a newer message of it was.
        """
        ...

    def keep_channel(self, name: str, state: ChannelState) -> None:
        """Keep a channel's state after the version it was read with."""
        ...

    def overdue(self, now: datetime) -> Sequence[DeliveryRef]:
        """Deliveries that are not over and have to be looked at, whatever became of them in the queue.

        At most ``MOST_OVERDUE``, oldest first.
        """
        ...

    def look_later(self, ref: DeliveryRef, at: datetime) -> None:
        """Have a delivery looked at again at a time, unless it is over by now."""
        ...

    def deliveries(
        self, since: datetime, until: datetime, states: Collection[DeliveryState] = ()
    ) -> Iterator[Delivery]:
        """Deliveries of notifications made within a time, oldest first; of some states, or of all."""
        ...

    def deliveries_of(self, notification: str, made_at: datetime) -> Sequence[Delivery]:
        """The deliveries of one notification."""
        ...

    def notification(self, notification_id: str) -> Notification | None:
        """Read a notification."""
        ...

    def send_test(self, outgoing: Outgoing) -> None:
        """Keep a notification with its deliveries that belongs to no group."""
        ...


class DeliveryQueue(Protocol):
    """The queue that wakes ``deliver``."""

    def put(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        """Have deliveries looked at after a delay in seconds (at most 900). Raises TransientError."""
        ...


class Channels(Protocol):
    """The ways to people."""

    def send(self, channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
        """Send one message over one channel; returns only when the channel said that it has it.

        Raises:
            ChannelRefusedError: It will never take it.
            ChannelFailedError: It may take it later.
        """
        ...


class Pictures(Protocol):
    """Charts."""

    def draw(
        self,
        distributions: Sequence[Distribution],
        trends: Mapping[str, Sequence[float]],
        show_values: bool = False,
    ) -> Sequence[Picture]:
        """Draw distributions and trends (values by name, oldest first). Raises GuiderailError."""
        ...


class ReplyTokens(Protocol):
    """Tokens of links and buttons, by digest."""

    def token(self, digest: str) -> ReplyToken | None:
        """Read a token: one call."""
        ...

    def use(self, digest: str, by: str, at: datetime) -> bool:
        """Mark a token as used; False if somebody was faster."""
        ...

    def keep_audit(self, entry: AuditEntry) -> None:
        """Keep an audit entry of an answer that changed nothing."""
        ...

    def keep_feedback(self, feedback: Feedback, audit: AuditEntry) -> None:
        """Keep what somebody called noise; the same id again changes nothing."""
        ...

    def feedback(self, since: datetime) -> Iterator[Feedback]:
        """What people called noise, oldest first."""
        ...


class Pipelines(Protocol):
    """Retraining pipelines."""

    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        """Start a pipeline and return the execution's ARN; the same token starts it once."""
        ...


class Remediations(Protocol):
    """Remediations and the guard they share; every write is conditional on the versions it was read with.

    All raise ConflictError if somebody else wrote in between, and TransientError.
    """

    def remediation(self, remediation_id: str) -> Remediation | None:
        """Read a remediation, consistently."""
        ...

    def remediations(
        self, since: datetime, until: datetime, ledger: str = ""
    ) -> Iterator[Remediation]:
        """Remediations requested within a time, newest first; of one ledger, or of all."""
        ...

    def guard(self) -> Guard:
        """Read the guard, consistently; an empty one if nothing was ever started."""
        ...

    def keep_remediation(
        self,
        before: Remediation | None,
        after: Remediation,
        audit: AuditEntry | None = None,
        guard: Guard | None = None,
        outgoing: Sequence[Outgoing] = (),
        wake_at: datetime | None = None,
    ) -> Remediation:
        """Keep a remediation after the version it was read with (None: it must be new), all or nothing.

        Args:
            before: As it was read.
            after: What is to be written; it gets the next version. Its ``look_at`` is written as a wake,
                and that of ``before`` goes.
            audit: What was decided.
            guard: The guard after this, if it changes; its version is the one it was read with.
            outgoing: Messages that are told of it.
            wake_at: When its state machine has to be woken besides.

        Returns:
            What was written, with its version.
        """
        ...

    def keep_guard(self, guard: Guard, audit: AuditEntry) -> None:
        """Keep the guard alone: a kill switch."""
        ...

    def wakes(self, until: datetime) -> Sequence[Wake]:
        """What has to be woken by now, oldest first; at most ``MOST_WAKES``."""
        ...

    def woken(self, wake: Wake) -> None:
        """Forget a wake; doing it again changes nothing."""
        ...

    def by_handle(self, handle: str) -> str | None:
        """The id of the remediation that awaits what is known by a handle; None if nobody does."""
        ...


class RemediationDriver(Protocol):
    """The state machine that drives remediations."""

    def start(self, remediation_id: str, at: datetime, again: str = "") -> None:
        """Start it; one that was started before, even if it ended, is left as it is.

        ``again`` makes it another one, in place of one that died. Raises TransientError, PermanentError.
        """
        ...

    def go_on(self, token: str, at: datetime) -> bool:
        """Let it go on from where it waits; False if it does not wait with this token any more."""
        ...


class Actions(Protocol):
    """What remediations do to the world, one adapter per kind."""

    def begin(self, remediation: Remediation, now: datetime) -> ActionReport:
        """Begin the action; doing it again for the same remediation begins nothing more.

        Raises:
            PermanentError: It is refused: wrong parameters, no permission, nothing there.
            TransientError: It may work later; whether it began is not known.
        """
        ...

    def look(self, remediation: Remediation, now: datetime) -> ActionReport:
        """How the action stands. Raises PermanentError, TransientError."""
        ...

    def lineage(self, remediation: Remediation) -> Lineage:
        """Which model is deployed now, and whether the baseline in use is its own. Raises TransientError."""
        ...


class DeadLetters(Protocol):
    """Messages that nobody can handle until somebody acts."""

    def put(self, body: str, error: GuiderailError) -> None:
        """Keep a message with the error's reason code and remedy."""
        ...


class Meter(Protocol):
    """Metrics; names and units stand in ``observability.METRICS``."""

    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        """Record one value."""
        ...


class Journal(Protocol):
    """The structured log."""

    def info(self, message: str, **fields: object) -> None:
        """Log a decision."""
        ...

    def warning(self, message: str, **fields: object) -> None:
        """Log what somebody may have to look at."""
        ...

    def error(self, message: str, **fields: object) -> None:
        """Log an error that is being handled, with its traceback."""
        ...


class Clock(Protocol):
    """The time."""

    def __call__(self) -> datetime:
        """Now, aware of its zone."""
        ...
