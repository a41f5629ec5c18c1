"""What every store of incidents does: the same tests for the one in memory and for DynamoDB's.

A suite is a subclass of ``StoreContract`` with a fixture ``store``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from guiderail.errors import ConflictError, TooLargeToKeepError
from guiderail.model.delivery import Outgoing
from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import (
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    LedgerRun,
    Scope,
    Sighting,
    incident_id,
)
from guiderail.model.judgement import Effective, Judgement
from guiderail.model.message import MessageKind, Notification
from guiderail.model.notice import (
    AuditEntry,
    Decision,
    Entry,
    Group,
    Held,
    InhibitionSource,
    Notice,
    Silence,
)
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Severity
from guiderail.model.record import RunRecord
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.ports import MOST_DUE, Due, Incidents

T0 = datetime(2026, 9, 1, 6, tzinfo=UTC)
SCOPE = Scope(
    account="123456789012",
    region="eu-west-1",
    schedule="loan-risk-hourly",
    endpoint="loan-risk",
    monitor=MonitorKind.DATA_QUALITY,
)
PLACE = "123456789012#eu-west-1#loan-risk"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/loan-risk"


def later(**duration: float) -> datetime:
    """The first moment of these tests, and some time after it."""
    return T0 + timedelta(**duration)


def finding(feature: str = "income", observed: float = 0.4) -> Finding:
    """A drift finding."""
    return Finding(
        MonitorKind.DATA_QUALITY,
        "baseline_drift_check",
        Subject(feature=feature),
        observed,
        0.1,
        None,
        True,
        "drifted",
    )


def judgement(reason: Reason = Reason.COUNTS) -> Judgement:
    """A finding under a policy."""
    return Judgement(
        finding=finding(), reason=reason, effective=Effective(severity=Severity.WARNING)
    )


def record(
    job: str = "1",
    *,
    status: str = "Completed",
    outcome: Outcome = Outcome.VIOLATIONS,
    at: datetime = T0,
    rows: int | None = 900,
) -> RunRecord:
    """A run of the schedule."""
    return RunRecord(
        run=Run(
            key=f"{ARN}-{job}#{status}",
            job_name=f"loan-risk-{job}",
            job_arn=f"{ARN}-{job}",
            status=status,
            endpoint="loan-risk",
            schedule="loan-risk-hourly",
            report_uri="s3://reports/1",
            window_start="2026-09-01T05:00:00Z",
        ),
        reading=Reading(
            outcome=outcome,
            monitor=MonitorKind.DATA_QUALITY,
            reasons=(Reason.VIOLATIONS_REPORTED,),
            findings=(finding(), finding("age")),
            rows=rows,
            evidence=("two of nine features",),
        ),
        retraining=RetrainingDecision(reason=Reason.RETRAINING_OFF),
        ledger=SCOPE.ledger_id,
        judgements=(judgement(), judgement(Reason.MUTED), judgement()),
        policy_version="v7",
        recorded_at=at,
    )


def incident(
    feature: str = "income", state: IncidentState = IncidentState.OPEN, scope: Scope = SCOPE
) -> Incident:
    """An incident of a feature's drift."""
    subject = Subject(feature=feature)
    return Incident(
        id=incident_id(scope, scope.monitor, "baseline_drift_check", subject),
        kind=scope.monitor,
        check="baseline_drift_check",
        subject=subject,
        state=state,
        severity=Severity.WARNING,
        reason=Reason.FIRST_SEEN,
        first_seen=T0,
        last_seen=later(hours=1),
    )


def ledger(
    *incidents: Incident, version: int = 0, scope: Scope = SCOPE, runs: tuple[LedgerRun, ...] = ()
) -> Ledger:
    """A ledger with the version that it was read with."""
    return Ledger(scope=scope, version=version, runs=runs, incidents={i.id: i for i in incidents})


def scope_of(schedule: str, endpoint: str = "loan-risk") -> Scope:
    """The scope of another schedule."""
    return msgspec.structs.replace(SCOPE, schedule=schedule, endpoint=endpoint)


def entry(about: str = "i-1") -> Entry:
    """A line of a notice."""
    return Entry(
        incident=about,
        kind=ChangeKind.OPENED,
        reason=Reason.FIRST_SEEN,
        severity=Severity.WARNING,
        firing=True,
        line="income: drift 0.4",
        labels={"endpoint": "loan-risk"},
    )


def notice(name: str, due_at: datetime = T0, group: str = "g1") -> Notice:
    """A notice for a group."""
    return Notice(
        id=name,
        group=group,
        route="default",
        group_labels={"endpoint": "loan-risk"},
        ledger=SCOPE.ledger_id,
        entries=(entry(),),
        made_at=T0,
        due_at=due_at,
        detail={"window": {"start": "2026"}, "observed": [0.5, None]},
    )


def group(name: str = "g1", *, due_at: datetime | None = None, version: int = 0) -> Group:
    """A group that holds one entry."""
    return Group(
        id=name,
        route="default",
        labels={"endpoint": "loan-risk"},
        version=version,
        held={"i-1": Held(entry=entry(), at=T0, told=True)},
        due_at=due_at,
    )


def notification(name: str = "n1", made_at: datetime = T0) -> Notification:
    """A message of group ``g1``."""
    return Notification(
        id=name,
        group="g1",
        route="default",
        receiver="default",
        kind=MessageKind.NEWS,
        reasons=(Reason.NEW_FINDINGS,),
        severity=Severity.WARNING,
        title="1 finding",
        subject="[Guiderail] 1 finding",
        detail_type="IncidentOpened",
        attributes={"endpoint": "loan-risk"},
        detail={"count": 1},
        made_at=made_at,
    )


def digested(name: str = "n1", made_at: datetime = T0) -> Outgoing:
    """A message that waits for a digest, five minutes after the first moment."""
    return Outgoing(notification=notification(name, made_at), digest_at=later(minutes=5))


def silence(name: str, ends_at: datetime) -> Silence:
    """A silence of one endpoint."""
    return Silence(
        id=name, match={"endpoint": "loan-*"}, starts_at=T0, ends_at=ends_at, author="ann"
    )


def audit(
    name: str = "a1", subject: str = SCOPE.ledger_id, at: datetime = T0, what: str = "run"
) -> AuditEntry:
    """An audit entry with one decision."""
    return AuditEntry(
        id=name,
        subject=subject,
        at=at,
        actor="guiderail",
        what=what,
        counts={"first_seen": 1},
        decisions=(Decision(about="i-1", reason=Reason.FIRST_SEEN),),
    )


def source(about: str) -> InhibitionSource:
    """An incident that hides others."""
    return InhibitionSource(incident=about, labels={"check": "no_data"})


@dataclass
class Writes:
    """A store and the shortest way to write to it."""

    store: Incidents

    def run(self, run: RunRecord, version: int = 0, *notices: Notice) -> bool:
        """Commit a run with a ledger of one open incident."""
        return self.store.commit_run(
            run, ledger(incident(), version=version), None, notices, audit()
        )

    def act(self, state: Ledger, sources: list[InhibitionSource] | None = None) -> None:
        """Commit an act."""
        self.store.commit_act(state, sources, (), audit(what="act"))

    def notices(self, *notices: Notice) -> None:
        """Commit notices, with a ledger nobody else writes."""
        other = scope_of(f"schedule of {notices[0].id}")
        self.store.commit_act(ledger(scope=other), None, notices, audit())

    def group(self, previous: Group | None, state: Group, *absorbed: Notice) -> Group:
        """Commit a group and read it again."""
        self.store.commit_group(previous, state, absorbed, (), None)
        after = self.store.group(state.id)
        assert after
        return after


class StoreContract:
    """Behaviour of ``ports.Incidents``."""

    @pytest.fixture
    def writes(self, store: Incidents) -> Writes:
        return Writes(store)

    # ------------------------------------------------------------------------------------ runs

    def test_nothing_is_known_at_first(self, store: Incidents) -> None:
        assert store.recall("arn#Completed", SCOPE.ledger_id) == (None, None)
        assert store.recall("arn#Completed", "") == (None, None)
        assert store.run("arn") is None
        assert store.ledger(SCOPE.ledger_id) is None
        assert store.group("g1") is None
        assert list(store.firing_ledgers()) == []
        assert not store.due(later(days=999))
        assert list(store.sources(PLACE)) == []
        assert list(store.silences(T0)) == []
        assert list(store.audit(SCOPE.ledger_id, 10)) == []

    def test_a_run_and_its_ledger_are_recalled(self, store: Incidents, writes: Writes) -> None:
        run = record()
        assert writes.run(run)
        kept = ledger(incident(), version=1)
        assert store.recall(run.run.key, SCOPE.ledger_id) == (Outcome.VIOLATIONS, kept)
        assert store.recall(run.run.key, "") == (Outcome.VIOLATIONS, None)
        assert store.recall("another#Completed", SCOPE.ledger_id) == (None, kept)
        assert store.ledger(SCOPE.ledger_id) == kept

    def test_what_is_recorded_of_a_run(self, store: Incidents, writes: Writes) -> None:
        writes.run(record())
        values = dict(store.run(f"{ARN}-1") or {})
        findings = values.pop("findings")
        assert values == {
            "job_arn": f"{ARN}-1",
            "status": "Completed",
            "outcome": "violations",
            "monitor": "data_quality",
            "endpoint": "loan-risk",
            "schedule": "loan-risk-hourly",
            "report_uri": "s3://reports/1",
            "window_start": "2026-09-01T05:00:00Z",
            "ledger": SCOPE.ledger_id,
            "policy_version": "v7",
            "retraining": "retraining_off",
            "recorded_at": T0.isoformat(),
            "reasons": ["violations_reported"],
            "evidence": ["two of nine features"],
            "finding_count": 2,
            "judgements": {"counts": 2, "muted": 1},
            "rows": 900,
        }
        assert {f["subject"]["feature"] for f in findings} == {"income", "age"}

    def test_of_a_jobs_runs_the_newest_is_told(self, store: Incidents, writes: Writes) -> None:
        writes.run(record(status="Stopped", at=later(hours=2), rows=None))
        writes.run(record(status="Completed", at=later(hours=1)), 1)
        values = store.run(f"{ARN}-1")
        assert values
        assert values["status"] == "Stopped"
        assert "rows" not in values

    @pytest.mark.parametrize(
        ("first", "second", "recorded"),
        [
            (Outcome.VIOLATIONS, Outcome.VIOLATIONS, False),
            (Outcome.CLEAN, Outcome.VIOLATIONS, False),
            (Outcome.VIOLATIONS, Outcome.UNREADABLE, False),
            (Outcome.UNREADABLE, Outcome.UNREADABLE, False),
            (Outcome.UNREADABLE, Outcome.VIOLATIONS, True),
            (Outcome.UNREADABLE, Outcome.CLEAN, True),
        ],
    )
    def test_a_run_is_recorded_once_unless_it_was_unreadable(
        self, store: Incidents, writes: Writes, first: Outcome, second: Outcome, recorded: bool
    ) -> None:
        assert writes.run(record(outcome=first))
        assert writes.run(record(outcome=second), 1, notice("second")) is recorded
        outcome, known = store.recall(record().run.key, SCOPE.ledger_id)
        assert outcome is (second if recorded else first)
        assert known and known.version == (2 if recorded else 1)
        assert [n.id for n in store.due(T0).notices] == (["second"] if recorded else [])

    def test_a_duplicate_is_no_conflict(self, store: Incidents, writes: Writes) -> None:
        writes.run(record())
        assert writes.run(record(), 0) is False
        assert writes.run(record(), 5) is False

    @pytest.mark.parametrize("version", [0, 2])
    def test_a_run_with_a_stale_ledger_leaves_nothing(
        self, store: Incidents, writes: Writes, version: int
    ) -> None:
        writes.run(record("1"))
        with pytest.raises(ConflictError):
            store.commit_run(
                record("2"),
                ledger(version=version),
                [source("i-1")],
                [notice("lost")],
                audit("a2"),
            )
        assert store.recall(record("2").run.key, SCOPE.ledger_id) == (
            None,
            ledger(incident(), version=1),
        )
        assert not store.due(later(days=1))
        assert list(store.sources(PLACE)) == []
        assert [a.id for a in store.audit(SCOPE.ledger_id, 10)] == ["a1"]

    # --------------------------------------------------------------------------------- ledgers

    def test_versions_count_the_writes(self, store: Incidents, writes: Writes) -> None:
        writes.run(record("1"))
        writes.act(ledger(incident("age"), version=1))
        writes.run(record("2"), 2)
        known = store.ledger(SCOPE.ledger_id)
        assert known and known.version == 3

    @pytest.mark.parametrize("version", [0, 2])
    def test_an_act_on_a_stale_ledger_is_a_conflict(
        self, store: Incidents, writes: Writes, version: int
    ) -> None:
        writes.act(ledger(incident()))
        with pytest.raises(ConflictError):
            store.commit_act(
                ledger(version=version), [source("i-1")], [notice("lost")], audit("a2")
            )
        assert store.ledger(SCOPE.ledger_id) == ledger(incident(), version=1)
        assert not store.due(later(days=1))
        assert list(store.sources(PLACE)) == []
        assert [a.id for a in store.audit(SCOPE.ledger_id, 10)] == ["a1"]

    def test_a_ledger_comes_back_as_it_was(self, store: Incidents, writes: Writes) -> None:
        full = msgspec.structs.replace(
            incident("ä" * 256, IncidentState.ACKNOWLEDGED),
            opened_at=T0,
            changed_at=later(microseconds=1),
            seen=(1, 2**41),
            values=(0.1, math.inf, -math.inf),
            observed=math.inf,
            told_distance=0.0,
            changes=(T0.timestamp(),),
            flapping=True,
            acknowledged_by="åsa",
            labels={"team": "risk"},
            groups={"default": "g1"},
            members=("x", "y"),
        )
        columns = msgspec.structs.replace(
            incident("age"), subject=Subject(columns=("a", "b")), times_seen=3
        )
        state = msgspec.structs.replace(
            ledger(
                full,
                columns,
                runs=(LedgerRun(1, "arn#Completed", Outcome.CLEAN, True),),
            ),
            sightings={"income": (Sighting("loan-risk", "i-1", 1.5),)},
        )
        writes.act(state)
        assert store.ledger(SCOPE.ledger_id) == msgspec.structs.replace(state, version=1)

    def test_ledgers_fire_until_every_incident_is_resolved(
        self, store: Incidents, writes: Writes
    ) -> None:
        resolved = incident("age", IncidentState.RESOLVED)
        states = {
            "none": (),
            "pending": (resolved, incident(state=IncidentState.PENDING)),
            "open": (incident(), resolved),
            "resolved": (resolved,),
        }
        for name, incidents in states.items():
            writes.act(ledger(*incidents, scope=scope_of(name)))
        assert {f.scope.schedule for f in store.firing_ledgers()} == {"pending", "open"}
        writes.act(ledger(resolved, scope=scope_of("open"), version=1))
        assert {f.scope.schedule for f in store.firing_ledgers()} == {"pending"}

    def test_every_firing_ledger_is_found_among_many(
        self, store: Incidents, writes: Writes
    ) -> None:
        # ids begin with any of 16 digits, and more than one batch shares a digit
        scopes = [scope_of(f"schedule-{number}") for number in range(100)]
        for scope in scopes:
            writes.act(ledger(incident(scope=scope), scope=scope))
        found = [f.id for f in store.firing_ledgers()]
        assert sorted(found) == sorted(s.ledger_id for s in scopes)

    def test_a_commit_takes_100_rows(self, store: Incidents, writes: Writes) -> None:
        # run, ledger, sources and audit entry are rows too
        notices = [notice(f"n{number:02}") for number in range(97)]
        sources = [source("i-1")]
        with pytest.raises(TooLargeToKeepError):
            store.commit_run(record(), ledger(), sources, notices, audit())
        assert store.recall(record().run.key, SCOPE.ledger_id) == (None, None)
        assert not store.due(T0)
        assert store.commit_run(record(), ledger(), sources, notices[:96], audit())
        with pytest.raises(TooLargeToKeepError):
            store.commit_group(
                None, group(due_at=T0), notices[:96], [digested()], audit(subject="g1")
            )
        assert store.group("g1") is None
        store.commit_group(
            None, group(due_at=T0), notices[:96], [Outgoing(notification=notification())],
            audit(subject="g1"),
        )  # fmt: skip
        assert store.due(T0) == Due((), ("g1",))

    # --------------------------------------------------------------------------------- sources

    def test_sources_stay_are_replaced_and_go(self, store: Incidents, writes: Writes) -> None:
        writes.act(ledger(), [source("i-1"), source("i-2")])
        writes.act(ledger(version=1))
        assert list(store.sources(PLACE)) == [source("i-1"), source("i-2")]
        writes.act(ledger(version=2), [source("i-3")])
        assert list(store.sources(PLACE)) == [source("i-3")]
        writes.act(ledger(version=3), [])
        assert list(store.sources(PLACE)) == []

    def test_sources_of_an_endpoint_are_those_of_all_its_ledgers(
        self, store: Incidents, writes: Writes
    ) -> None:
        writes.act(ledger(), [source("i-1")])
        writes.act(ledger(scope=scope_of("bias")), [source("i-2")])
        writes.act(ledger(scope=scope_of("other", "fraud")), [source("i-3")])
        writes.act(ledger(scope=scope_of("batch", "")), [source("i-4")])
        assert {s.incident for s in store.sources(PLACE)} == {"i-1", "i-2"}
        assert list(store.sources("123456789012#eu-west-1#batch")) == [source("i-4")]
        assert list(store.sources("999999999999#eu-west-1#loan-risk")) == []

    # ------------------------------------------------------------------------------------- due

    def test_what_is_due_comes_oldest_first_and_nothing_before_its_time(
        self, store: Incidents, writes: Writes
    ) -> None:
        due = [later(seconds=s) for s in (3, 1, 2, 60)]
        writes.notices(*(notice(f"n{number}", at) for number, at in enumerate(due)))
        writes.group(None, group("g2", due_at=later(seconds=2)))
        writes.group(None, group("g1", due_at=later(seconds=1)))
        writes.group(None, group("g3", due_at=later(seconds=60)))
        assert not store.due(T0)
        # at the very moment it is due, a microsecond before it is not
        assert [n.id for n in store.due(later(seconds=3, microseconds=-1)).notices] == ["n1", "n2"]
        now = store.due(later(seconds=3))
        assert [n.id for n in now.notices] == ["n1", "n2", "n0"]
        assert now.groups == ("g1", "g2")
        assert now.notices[0] == notice("n1", due[1])

    def test_due_rows_come_in_portions(self, store: Incidents, writes: Writes) -> None:
        many = MOST_DUE + 50
        made = [notice(f"n{number:04}", later(seconds=number)) for number in range(many)]
        for start in range(0, many, 50):
            writes.notices(*made[start : start + 50])
        seen: list[str] = []
        previous = None
        portions = 0
        while found := store.due(later(hours=2)).notices:
            portions += 1
            seen += [n.id for n in found]
            for start in range(0, len(found), 90):
                previous = writes.group(previous, group(), *found[start : start + 90])
        assert seen == [n.id for n in made]
        assert portions > 1

    # ---------------------------------------------------------------------------------- groups

    def test_a_group_takes_notices_in_and_waits_again(
        self, store: Incidents, writes: Writes
    ) -> None:
        first, second = notice("n1"), notice("n2")
        writes.notices(first, second)
        one = writes.group(None, group(due_at=later(seconds=30)), first)
        assert one == group(due_at=later(seconds=30), version=1)
        assert store.due(T0) == Due(notices=(second,))
        assert store.due(later(seconds=30)).groups == ("g1",)
        two = writes.group(one, group(due_at=later(minutes=5)), second)
        assert two.version == 2
        assert not store.due(later(seconds=60))
        assert store.due(later(minutes=5)) == Due(groups=("g1",))
        same = writes.group(two, two)
        assert store.due(later(minutes=5)) == Due(groups=("g1",))
        assert writes.group(same, group()).version == 4
        assert not store.due(later(days=1))

    @pytest.mark.parametrize("previous", [None, group(version=1), group(version=3)])
    def test_a_stale_group_leaves_nothing(
        self, store: Incidents, writes: Writes, previous: Group | None
    ) -> None:
        one = writes.group(None, group())
        two = writes.group(one, group())
        writes.notices(notice("n1"))
        before = store.due(later(days=1))
        with pytest.raises(ConflictError):
            store.commit_group(
                previous,
                group(due_at=T0),
                [notice("n1")],
                [digested()],
                audit("a2", subject="g1"),
            )
        assert store.group("g1") == two
        assert store.due(later(days=1)) == before
        assert list(store.audit("g1", 10)) == []

    def test_a_notice_is_absorbed_once(self, store: Incidents, writes: Writes) -> None:
        writes.notices(notice("n1"))
        one = writes.group(None, group(), notice("n1"))
        with pytest.raises(ConflictError):
            store.commit_group(one, group(), [notice("n1")], [digested()], None)
        assert store.group("g1") == one
        assert not store.due(T0)

    def test_notifications_wait_for_their_digest(self, store: Incidents) -> None:
        first, second = digested("n1"), digested("n2", later(minutes=5))
        store.commit_group(None, group(), (), [first, second], None)
        assert not store.due(later(minutes=5, microseconds=-1))
        assert store.due(later(minutes=5)).digested == (first, second)
        digest = Outgoing(notification=notification("d1", later(minutes=6)))
        store.commit_digest(digest, [first])
        assert store.due(later(minutes=5)).digested == (second,)
        with pytest.raises(ConflictError):
            store.commit_digest(digest, [first, second])
        assert store.due(later(minutes=5)).digested == (second,)

    def test_a_route_counts_what_it_sent_in_a_window(self, store: Incidents) -> None:
        assert store.sent("default", T0) == 0
        for number in range(3):
            counted = Outgoing(notification=notification(f"n{number}"), window=T0)
            store.commit_group(None, group(f"g{number}"), (), [counted], None)
        store.commit_group(None, group("g9"), (), [Outgoing(notification=notification("n9"))], None)
        assert store.sent("default", T0) == 3
        assert store.sent("default", later(hours=1)) == store.sent("other", T0) == 0

    # ------------------------------------------------------------------------ silences, audit

    def test_silences_end(self, store: Incidents) -> None:
        long, short = silence("s1", later(days=2)), silence("s2", later(hours=1))
        store.keep_silence(short, audit("a2", subject="s2"))
        store.keep_silence(long, audit("a1", subject="s1"))
        assert list(store.silences(T0)) == [long, short]
        assert list(store.silences(later(hours=1))) == [long]
        ended = silence("s1", later(hours=1))
        store.keep_silence(ended, audit("a3", subject="s1", at=later(hours=1)))
        assert list(store.silences(T0)) == [ended, short]
        assert list(store.silences(later(hours=1))) == []
        assert [a.id for a in store.audit("s1", 10)] == ["a3", "a1"]

    def test_audit_entries_come_newest_first(self, store: Incidents) -> None:
        for number, at in enumerate([later(hours=1), T0, later(hours=2), later(hours=2)]):
            store.keep_silence(silence("s", T0), audit(f"a{number}", "subject", at))
        store.keep_silence(silence("s", T0), audit("other", "subject2"))
        assert [a.id for a in store.audit("subject", 10)] == ["a3", "a2", "a0", "a1"]
        assert [a.id for a in store.audit("subject", 2)] == ["a3", "a2"]
        assert store.audit("subject", 10)[3] == audit("a1", "subject", T0)

    def test_every_commit_is_audited(self, store: Incidents, writes: Writes) -> None:
        store.commit_run(record(), ledger(), None, (), audit("a1", at=T0))
        store.commit_act(ledger(version=1), None, (), audit("a2", at=later(seconds=1)))
        store.commit_group(None, group(), (), (), audit("a3", "g1"))
        writes.group(store.group("g1"), group())
        assert [a.id for a in store.audit(SCOPE.ledger_id, 10)] == ["a2", "a1"]
        assert [a.id for a in store.audit("g1", 10)] == ["a3"]
