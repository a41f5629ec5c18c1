"""Stored runs in time order through the services of the functions, with a store and a clock of our own.

A run is judged and followed as ``on_job_finished`` does it; what is due is told by the use case behind
``on_due``, which ticks at full minutes as on AWS, but only at those where something is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from guiderail.errors import NotFoundError
from guiderail.model.delivery import DeliveryRef, Outgoing
from guiderail.model.incident import Ledger
from guiderail.model.notice import AuditEntry, Group, InhibitionSource, Notice
from guiderail.model.policy import Policy
from guiderail.model.record import RunRecord
from guiderail.model.remediation import Remediation
from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.ports import Wake
from guiderail.reports.run_files import Files, ParsedRun
from guiderail.services.due import DueChanges
from guiderail.services.following import Judge, follow
from guiderail.services.retraining import RetrainingPlan
from msgspec.structs import replace

from guiderail_cli.in_memory import FixedPolicies, InMemoryIncidents

if TYPE_CHECKING:
    from guiderail_cli.backtest.stored_runs import StoredRun
    from guiderail_cli.backtest.tally import Tally

_TICK = timedelta(minutes=1)
_LAST_NEWS = timedelta(hours=1)
"""How long after the last run what it had to tell is still told."""

_SCHEDULES = 4096
"""Schedules whose rules are kept ready: their runs come in turn."""

_RETRAIN_ALL = RetrainingPlan(
    (RetrainingRule("*", RetrainingMode.AUTO),),
    ("arn:aws:sagemaker:::pipeline/retraining",),
    {},
)
"""What would have been retrained, had every endpoint the mode ``auto``; nothing is started."""


class Replay:
    """One policy's own world: hand in runs in time order, then ``finish``."""

    def __init__(self, policy: Policy, tally: Tally, minimum_rows: int) -> None:
        """Begin with no incident."""
        self._policy = policy
        self._tally = tally
        self._store = _Store(tally)
        self._judge = Judge(minimum_rows, keep=_SCHEDULES, with_distributions=False)
        self._now = datetime.min.replace(tzinfo=UTC)
        self._tell = DueChanges(
            incidents=self._store,
            policies=FixedPolicies(policy),
            outbox=self._store,
            queue=_Nobody(),
            meter=_Unmeasured(),
            journal=_Unwritten(),
            clock=lambda: self._now,
        )

    def see(self, stored: StoredRun, parsed: ParsedRun) -> None:
        """Let time pass until a run ends, and let it be handled."""
        now, run = stored.ended_at, stored.run
        self._tick_until(now)
        judged = self._judge(
            run, stored.job, stored.schedule, parsed, self._policy, _NO_TAGS, _NO_FILES, now
        )
        followed = follow(
            self._store.ledger(judged.scope.ledger_id) or Ledger(scope=judged.scope),
            run,
            judged,
            self._policy,
            lambda reading: _RETRAIN_ALL.decide(run, reading),
            now,
        )
        self._tally.see_run(followed)
        self._store.commit_run(
            followed.record, followed.ledger, followed.sources, followed.notices, followed.audit
        )

    def finish(self) -> None:
        """Tell what the last runs had to tell."""
        self._tick_until(self._now + _LAST_NEWS)

    def _tick_until(self, end: datetime) -> None:
        while (due := self._store.next_due) is not None:
            at = _full_minute(due)
            if at > end:
                break
            self._now = max(at, self._now)
            self._tell(self._now)
        self._now = max(end, self._now)


def _full_minute(moment: datetime) -> datetime:
    floor = moment.replace(second=0, microsecond=0)
    return floor if floor == moment else floor + _TICK


class _Store(InMemoryIncidents):
    """A store that reports to the tally, and keeps nothing that a backtest never asks for."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(keep_runs=False)
        self._tally = tally

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
        # a replay mends nothing: what rules name is counted, not begun
        before = self.ledgers.get(ledger.id)
        self._tally.see_ledger(before, ledger, record.recorded_at)
        return super().commit_run(record, ledger, sources, notices, audit)

    def commit_act(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> None:
        self._tally.see_ledger(self.ledgers.get(ledger.id), ledger, audit.at)
        super().commit_act(ledger, sources, notices, audit)

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        outgoing: Sequence[Outgoing],
        audit: AuditEntry | None,
    ) -> None:
        super().commit_group(previous, group, absorbed, outgoing, audit)
        for one in outgoing:
            self._tally.see_news(one.notification, group)
            if one.digest_at is None:
                self._tally.see_message(one.notification)

    def commit_digest(self, outgoing: Outgoing, instead_of: Sequence[Outgoing]) -> None:
        super().commit_digest(outgoing, instead_of)
        self._tally.see_message(outgoing.notification)

    def _keep_outgoing(self, outgoing: Outgoing, *, with_message: bool = True) -> None:
        super()._keep_outgoing(replace(outgoing, deliveries=()), with_message=False)

    def _keep_audit(self, entry: AuditEntry) -> None:
        """The tally is all that is asked for."""


class _NoTags:
    def of(self, schedule_arn: str) -> Mapping[str, str]:
        raise NotFoundError("stored runs have no tags")


class _NoFiles:
    def fetch(self, places: Mapping[str, str]) -> Files:
        return Files({}, {})


class _Nobody:
    def put(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        """Nobody is told."""


class _Unmeasured:
    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        """Nothing is measured."""


class _Unwritten:
    def info(self, message: str, **fields: object) -> None:
        """Nothing is logged."""

    def warning(self, message: str, **fields: object) -> None:
        """Nothing is logged."""

    def error(self, message: str, **fields: object) -> None:
        """Nothing is logged."""


_NO_TAGS = _NoTags()
_NO_FILES = _NoFiles()
