"""The life of incidents: what each run and each act changes in a ledger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.incident import (
    LONGEST_RING,
    TREND_LENGTH,
    Change,
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    LedgerRun,
    SetBy,
)
from guiderail.model.judgement import Judgement
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import LifeCycle, RunsNeeded, Severity
from guiderail.services import incident_cycle
from guiderail.services.incident_cycle import (
    OTHERS,
    Act,
    Observed,
    act,
    clean_runs,
    observe,
    policy_lines,
)

from tests import builders as b
from tests.fakes import ENDED_AT, scope_of

INCOME = b.id_of(b.judgement())
S = IncidentState


class Life:
    """A ledger and the runs that it sees, one an hour unless told otherwise."""

    def __init__(self, **life_cycle: float) -> None:
        self.ledger = Ledger(scope=scope_of())
        self.life_cycle = LifeCycle(**life_cycle)  # type: ignore[arg-type]
        self.changes: list[Change] = []
        self.hour = 0.0
        self.seen: Observed = Observed(self.ledger)

    def run(
        self,
        *judgements: Judgement,
        hour: float | None = None,
        outcome: Outcome | None = None,
        judged: bool = True,
        key: str = "",
    ) -> Observed:
        """Let a run end at an hour; without one, an hour after the latest."""
        at = self.hour + 1 if hour is None else hour
        self.hour = max(self.hour, at)
        outcome = outcome or (Outcome.VIOLATIONS if judgements else Outcome.CLEAN)
        seen = LedgerRun(stamp(at), key or f"run-{at:g}", outcome, judged)
        self.seen = observe(self.ledger, seen, judgements, self.life_cycle, self.now)
        self.ledger = self.seen.ledger
        self.changes += self.seen.changes
        return self.seen

    def runs(self, pattern: str, judgement: Judgement | None = None) -> None:
        """Let runs end: x has the finding, - is clean, ! failed, ? had too few rows to say."""
        income = judgement or b.judgement()
        for letter in pattern:
            if letter == "x":
                self.run(income)
            elif letter == "-":
                self.run()
            elif letter == "!":
                self.run(b.unhealthy(), outcome=Outcome.FAILED, judged=False)
            else:
                self.run(b.judgement(reason=Reason.BELOW_MIN_ROWS))

    def act(self, doing: Act, incident: str = INCOME, actor: str = "ann") -> Change | None:
        self.ledger, change = act(self.ledger, incident, doing, actor, self.now)
        if change:
            self.changes.append(change)
        return change

    @property
    def now(self) -> datetime:
        return ENDED_AT + timedelta(hours=self.hour)

    @property
    def income(self) -> Incident:
        return self.ledger.incidents[INCOME]

    @property
    def reasons(self) -> list[Reason]:
        """The reason of every decision of the latest run."""
        return [d.reason for d in self.seen.decisions]

    @property
    def told(self) -> list[Reason]:
        """The reason of every change so far."""
        return [c.reason for c in self.changes]


def stamp(hour: float) -> int:
    return int((ENDED_AT + timedelta(hours=hour)).timestamp() * 1000)


# --- opening


def test_a_finding_opens_an_incident_at_once_where_no_policy_asks_for_more() -> None:
    life = Life()

    life.run(b.judgement(owner="risk", runbook="https://runbooks/1", labels={"team": "a"}))

    (change,) = life.changes
    assert (change.kind, change.reason) == (ChangeKind.OPENED, Reason.FIRST_SEEN)
    assert change.incident == life.income
    incident = life.income
    assert (incident.state, incident.severity) == (S.OPEN, Severity.WARNING)
    assert (incident.first_seen, incident.last_seen) == (life.now, life.now)
    assert (incident.opened_at, incident.changed_at) == (life.now, life.now)
    assert (incident.times_seen, incident.occurrence) == (1, 1)
    assert (incident.observed, incident.threshold, incident.service_threshold) == (0.4, 0.1, 0.1)
    assert (incident.distance, incident.told_distance) == (0.3, 0.3)
    assert (incident.owner, incident.runbook) == ("risk", "https://runbooks/1")
    assert incident.labels == {"team": "a"}
    assert life.reasons == [Reason.FIRST_SEEN]


def test_the_same_again_is_no_news() -> None:
    life = Life()
    life.runs("xxx")
    assert life.told == [Reason.FIRST_SEEN]
    assert life.reasons == [Reason.SUPPRESSED_DUPLICATE]
    assert life.income.times_seen == 3
    assert life.income.values == (0.4, 0.4, 0.4)


def test_each_finding_of_a_run_has_its_own_incident_and_decision() -> None:
    life = Life()
    life.run(b.judgement("income"), b.judgement("age"), b.judgement("age", "completeness_check"))
    assert len(life.ledger.incidents) == len(life.changes) == len(life.reasons) == 3


def test_the_same_finding_twice_in_one_report_is_one() -> None:
    life = Life()
    life.run(b.judgement(distance=0.3), b.judgement(distance=0.9))
    assert len(life.changes) == 1
    assert life.income.times_seen == 1


@pytest.mark.parametrize(
    "reason", [Reason.WITHIN_THRESHOLD, Reason.BELOW_MIN_ROWS, Reason.MUTED, Reason.SHADOW]
)
def test_a_finding_that_does_not_count_opens_nothing_and_says_why(reason: Reason) -> None:
    life = Life()
    life.run(b.judgement(reason=reason))
    assert life.ledger.incidents == {}
    assert life.changes == []
    assert life.reasons == [reason]


def test_one_that_counts_beside_one_that_does_not_is_there() -> None:
    for judgements in itertools.permutations([b.judgement(), b.judgement(reason=Reason.SHADOW)]):
        life = Life()
        life.run(*judgements)
        assert life.income.state is S.OPEN
        life.run(*judgements)
        assert life.income.times_seen == 2
        assert stamp(2) not in life.income.unknown


def test_findings_beyond_the_most_share_an_incident_and_each_has_its_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incident_cycle, "MOST_INCIDENTS", 3)
    life = Life()
    life.run(*(b.judgement(f"f{n}") for n in range(10)))
    assert len(life.ledger.incidents) == 4
    assert life.reasons == [Reason.FIRST_SEEN] * 10
    others = [c.incident for c in life.changes if c.incident.subject == OTHERS]
    assert len(others) == 1
    life.run(*(b.judgement(f"f{n}") for n in range(10)))
    assert len(life.changes) == 4
    assert set(life.reasons) == {Reason.SUPPRESSED_DUPLICATE}


@pytest.mark.parametrize("reason", [Reason.MUTED, Reason.SHADOW])
def test_a_rule_that_mutes_an_open_incident_stills_it_and_later_it_is_heard_again(
    reason: Reason,
) -> None:
    life = Life()
    life.runs("x")
    life.run(b.judgement(reason=reason))
    life.run(b.judgement(reason=reason))
    assert [c.kind for c in life.changes] == [ChangeKind.OPENED, ChangeKind.STILLED]
    assert life.income.state is S.OPEN
    life.runs("x")
    assert life.changes[-1].kind is ChangeKind.HEARD_AGAIN
    life.runs("x")
    assert len(life.changes) == 3


def test_the_trend_keeps_the_newest_values() -> None:
    life = Life(worse_by=1e9)
    for n in range(TREND_LENGTH + 5):
        life.run(b.judgement(distance=float(n)))
    assert life.income.values == tuple(0.1 + n for n in range(5, TREND_LENGTH + 5))
    assert life.income.observed == 0.1 + TREND_LENGTH + 4


def test_a_finding_without_a_number_leaves_the_trend() -> None:
    life = Life()
    life.run(b.judgement())
    life.run(b.judgement(distance=None))
    assert life.income.values == (0.4,)
    assert life.income.observed is None


# --- N of M


@pytest.mark.parametrize(
    ("needed", "pattern", "opens_at"),
    [
        ((1, 1), "x", 1),
        ((2, 2), "xx", 2),
        ((2, 3), "x-x", 3),
        ((2, 3), "x--x", None),
        ((3, 5), "x-x-x", 5),
        ((3, 5), "xx---x", None),
        ((3, 5), "xx--x", 5),
        ((2, 3), "x!x", 3),  # a failed run is no run without the finding
        ((2, 3), "x!!!x", 5),
        ((2, 3), "x?-x", 4),  # nor is one that could not say
        ((2, 3), "x??x", 4),
        ((2, 2), "x-xx", 4),
        ((24, 24), "x" * 24, 24),
    ],
)
def test_an_incident_opens_with_the_nth_of_m_runs(
    needed: tuple[int, int], pattern: str, opens_at: int | None
) -> None:
    judgement = b.judgement(runs_needed=RunsNeeded(*needed))
    life = Life(resolve_after=30)
    opened = None
    for number, letter in enumerate(pattern, 1):
        life.runs(letter, judgement)
        if opened is None and INCOME in life.ledger.incidents and life.income.state is S.OPEN:
            opened = number
        elif opened is None and letter == "x":
            assert life.reasons == [Reason.WAITING_N_OF_M]
            assert life.income.state is S.PENDING
    assert opened == opens_at
    opened_changes = [c for c in life.changes if c.incident.id == INCOME]
    assert len(opened_changes) == (opens_at is not None)


def test_what_waits_is_forgotten_when_no_late_run_can_make_n_of_m_of_it() -> None:
    life = Life(resolve_after=2)
    life.runs("x--", b.judgement(runs_needed=RunsNeeded(2, 3)))
    assert life.reasons == [Reason.WAITING_N_OF_M]
    life.runs("--")
    assert life.reasons == []
    assert life.income.state is S.PENDING
    life.run()
    assert life.ledger.incidents == {}
    assert life.changes == []


def test_what_waits_is_not_forgotten_by_failed_runs() -> None:
    life = Life()
    life.runs("x!!!!", b.judgement(runs_needed=RunsNeeded(2, 3)))
    assert life.income.state is S.PENDING


def test_n_of_m_of_unhealthy_runs_counts_every_run() -> None:
    life = Life()
    twice = b.unhealthy(runs_needed=RunsNeeded(2, 3))
    for judgement in (twice, None, None, twice, None, twice):
        if judgement:
            life.run(judgement, outcome=Outcome.FAILED, judged=False)
        else:
            life.run()
    failed = life.ledger.incidents[b.id_of(twice)]
    assert failed.state is S.OPEN
    assert len(life.changes) == 1


def test_fewer_runs_needed_open_what_waits() -> None:
    life = Life()
    life.runs("x", b.judgement(runs_needed=RunsNeeded(3, 5)))
    life.runs("x", b.judgement(runs_needed=RunsNeeded(2, 3)))
    assert life.told == [Reason.FIRST_SEEN]


# --- resolving


@pytest.mark.parametrize(
    ("resolve_after", "pattern", "resolved"),
    [
        (1, "x-", True),
        (2, "x-", False),
        (2, "x--", True),
        (2, "x-x-", False),
        (2, "x-!-", True),
        (3, "x--", False),
        (2, "x!!!!", False),  # a run that failed proves nothing
        (2, "x", False),  # and neither does one that never came
        (2, "x????", False),
        (2, "x-?-", False),  # in a row: one that could not say begins anew
        (2, "x-?--", True),
        (30, "x" + "-" * 29, False),
        (30, "x" + "-" * 30, True),
    ],
)
def test_an_incident_ends_after_enough_clean_runs(
    resolve_after: int, pattern: str, resolved: bool
) -> None:
    life = Life(resolve_after=resolve_after)
    life.runs(pattern)
    assert (life.income.state is S.RESOLVED) is resolved
    assert (Reason.RESOLVED in life.told) is resolved
    if resolved:
        change = next(c for c in life.changes if c.reason is Reason.RESOLVED)
        assert change.kind is ChangeKind.RESOLVED
        assert life.reasons[0] is Reason.RESOLVED
        assert life.income.acknowledged_by == ""


def test_a_clean_run_that_is_not_enough_says_so() -> None:
    life = Life()
    life.runs("x-")
    assert life.reasons == [Reason.WAITING_FOR_CLEAN_RUNS]
    assert life.income.reason is Reason.WAITING_FOR_CLEAN_RUNS


@pytest.mark.parametrize("reason", [Reason.MUTED, Reason.SHADOW, Reason.BELOW_MIN_ROWS])
def test_a_finding_that_is_left_out_is_no_clean_run_of_its_incident(reason: Reason) -> None:
    life = Life(resolve_after=1)
    life.run(b.judgement())
    life.run(b.judgement(reason=reason))
    assert life.income.state is not S.RESOLVED
    assert clean_runs(life.ledger.runs, life.income) == 0
    assert Reason.RESOLVED not in life.told


def test_a_finding_within_the_policys_threshold_is_a_clean_run() -> None:
    life = Life(resolve_after=1)
    life.run(b.judgement())
    life.run(b.judgement(reason=Reason.WITHIN_THRESHOLD))
    assert life.income.state is S.RESOLVED


def test_an_unhealthy_incident_ends_when_runs_are_judged_again() -> None:
    life = Life(resolve_after=2)
    life.runs("!")
    failed = b.id_of(b.unhealthy())
    assert life.ledger.incidents[failed].state is S.OPEN
    life.runs("x-")
    assert life.ledger.incidents[failed].state is S.RESOLVED


@pytest.mark.parametrize("state", [S.ACKNOWLEDGED, S.REMEDIATING])
def test_clean_runs_end_an_incident_whatever_people_did(state: IncidentState) -> None:
    life = Life()
    life.runs("x")
    for doing in (Act.ACKNOWLEDGE, Act.START_REMEDIATION, Act.FINISH_REMEDIATION):
        if life.income.state is not state:
            life.act(doing)
    assert life.income.state is state
    life.runs("--")
    assert life.income.state is S.RESOLVED


def test_what_is_verified_waits_for_its_remediation_but_not_for_ever() -> None:
    life = Life()
    life.runs("x")
    life.act(Act.START_REMEDIATION)
    life.act(Act.FINISH_REMEDIATION)
    life.runs("-" * 19)
    before = life.income.state
    life.runs("-")
    assert (before, life.income.state) == (S.VERIFYING, S.RESOLVED)


def test_a_resolved_incident_is_forgotten_when_it_can_neither_reopen_nor_flap() -> None:
    life = Life(resolve_after=1, reopen_within=7200, flap_window=10800)
    life.runs("x-")
    life.runs("---")
    assert INCOME in life.ledger.incidents
    life.runs("-")
    assert life.ledger.incidents == {}


# --- reopening


@pytest.mark.parametrize(("hours", "reopens"), [(1, True), (5, True), (6, False)])
def test_within_the_window_an_incident_opens_again_and_later_anew(
    hours: int, reopens: bool
) -> None:
    life = Life(resolve_after=1, reopen_within=5 * 3600, flap_changes=99)
    life.runs("x-")
    life.run(b.judgement(), hour=life.hour + hours)
    assert life.income.state is S.OPEN
    assert life.income.occurrence == (1 if reopens else 2)
    change = life.changes[-1]
    assert (change.kind, change.reason) == (
        (ChangeKind.REOPENED, Reason.REOPENED)
        if reopens
        else (ChangeKind.OPENED, Reason.FIRST_SEEN)
    )
    assert life.income.opened_at == life.now


def test_an_incident_that_opens_again_is_not_acknowledged_any_more() -> None:
    life = Life(resolve_after=1)
    life.runs("x")
    life.act(Act.ACKNOWLEDGE)
    life.runs("-x")
    assert (life.income.state, life.income.acknowledged_by) == (S.OPEN, "")


def test_one_that_comes_back_waits_for_n_of_m_again() -> None:
    needs = b.judgement(runs_needed=RunsNeeded(2, 2))
    life = Life(resolve_after=2)
    life.runs("xx--x", needs)
    assert life.income.state is S.PENDING
    life.runs("x", needs)
    assert life.told == [Reason.FIRST_SEEN, Reason.RESOLVED, Reason.REOPENED]


def test_one_that_waits_after_it_was_over_stays_over() -> None:
    life = Life(resolve_after=2)
    life.runs("xx--x----", b.judgement(runs_needed=RunsNeeded(2, 2)))
    assert life.income.state is S.RESOLVED
    assert life.told == [Reason.FIRST_SEEN, Reason.RESOLVED]


# --- worsening


@pytest.mark.parametrize(
    ("distances", "told"),
    [
        ((0.3, 0.44), [Reason.FIRST_SEEN]),
        ((0.3, 0.46), [Reason.FIRST_SEEN, Reason.WORSENED]),
        ((0.3, 0.4, 0.46), [Reason.FIRST_SEEN, Reason.WORSENED]),  # since people heard
        ((0.3, 0.46, 0.5), [Reason.FIRST_SEEN, Reason.WORSENED]),
        ((0.3, 0.46, 0.7), [Reason.FIRST_SEEN, Reason.WORSENED, Reason.WORSENED]),
        ((0.3, 0.1, 0.3), [Reason.FIRST_SEEN]),
        ((0.0, 0.1), [Reason.FIRST_SEEN, Reason.WORSENED]),
        ((0.0, 0.0), [Reason.FIRST_SEEN]),
        ((math.inf, math.inf), [Reason.FIRST_SEEN]),
        ((0.3, math.inf), [Reason.FIRST_SEEN, Reason.WORSENED]),
        ((0.3, None), [Reason.FIRST_SEEN]),
        ((None, 9.0), [Reason.FIRST_SEEN]),
        ((0.3, math.nan), [Reason.FIRST_SEEN]),
    ],
)
def test_it_is_worse_when_it_is_farther_than_people_were_told(
    distances: Sequence[float | None], told: list[Reason]
) -> None:
    life = Life()
    for distance in distances:
        life.run(b.judgement(distance=distance))
    assert life.told == told


def test_a_higher_severity_is_news_and_a_lower_one_is_not() -> None:
    life = Life()
    for severity in (Severity.WARNING, Severity.INFO, Severity.CRITICAL):
        life.run(b.judgement(severity=severity))
    assert life.told == [Reason.FIRST_SEEN, Reason.SEVERITY_RAISED]
    assert life.changes[-1].kind is ChangeKind.WORSENED
    assert life.income.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    "worse", [b.judgement(distance=0.9), b.judgement(severity=Severity.CRITICAL)]
)
def test_a_worsening_overrides_an_acknowledgement(worse: Judgement) -> None:
    life = Life()
    life.runs("x")
    life.act(Act.ACKNOWLEDGE)
    life.runs("x")
    assert life.reasons == [Reason.ACKNOWLEDGED]
    assert life.income.state is S.ACKNOWLEDGED

    life.run(worse)

    assert (life.income.state, life.income.acknowledged_by) == (S.OPEN, "")
    assert life.changes[-1].kind is ChangeKind.WORSENED


def test_a_worsening_does_not_stop_a_remediation() -> None:
    life = Life()
    life.runs("x")
    life.act(Act.START_REMEDIATION)
    life.run(b.judgement(distance=0.9))
    assert life.income.state is S.REMEDIATING
    assert life.told[-1] is Reason.WORSENED


def test_the_finding_in_the_run_that_verifies_is_no_proof() -> None:
    life = Life()
    life.runs("x")
    life.act(Act.START_REMEDIATION)
    life.runs("x")
    assert life.reasons == [Reason.SUPPRESSED_DUPLICATE]
    life.act(Act.FINISH_REMEDIATION)

    life.runs("x")

    assert life.income.state is S.OPEN
    assert life.changes[-1].kind is ChangeKind.REOPENED
    assert life.changes[-1].reason is Reason.VERIFICATION_FAILED


# --- late runs and duplicates


def test_a_run_that_was_seen_changes_nothing() -> None:
    life = Life()
    life.runs("x-")
    before = life.ledger
    life.run(b.judgement(distance=9.0), hour=2)
    life.run(hour=1)
    assert life.ledger == before
    assert life.seen == Observed(before)


def test_a_late_run_counts_where_it_belongs() -> None:
    # Given 2 of 3 and runs 1 and 3 without and with the finding
    needs = b.judgement(runs_needed=RunsNeeded(2, 3))
    life = Life()
    life.run(hour=1)
    life.run(needs, hour=3)
    # When run 2 had it too
    life.run(needs, hour=2)
    assert life.seen.late
    assert life.income.state is S.OPEN
    assert life.told == [Reason.FIRST_SEEN]


def test_a_late_clean_run_helps_to_resolve() -> None:
    life = Life(resolve_after=2)
    life.run(b.judgement(), hour=1)
    life.run(hour=3)
    life.run(hour=2)
    assert life.income.state is S.RESOLVED


def test_a_late_clean_run_before_the_finding_does_not() -> None:
    life = Life(resolve_after=1)
    life.run(b.judgement(), hour=3)
    life.run(hour=2)
    assert life.income.state is S.OPEN


def test_what_came_and_went_before_a_late_run_was_read_is_not_told() -> None:
    life = Life(resolve_after=2)
    life.run(hour=2)
    life.run(hour=3)
    life.run(b.judgement(), hour=1)
    assert life.reasons == [Reason.LATE_RUN]
    assert life.income.state is S.RESOLVED
    assert life.changes == []


def test_what_came_late_and_may_still_be_there_is_told() -> None:
    life = Life(resolve_after=2)
    life.run(hour=2)
    life.run(b.judgement(), hour=1)
    assert life.income.state is S.OPEN
    assert life.told == [Reason.FIRST_SEEN]


def test_a_late_run_of_an_open_incident_is_counted_and_not_told() -> None:
    life = Life()
    life.run(b.judgement(), hour=1)
    life.run(b.judgement(distance=0.2), hour=3)
    life.run(b.judgement(distance=5.0), hour=2)
    assert life.reasons == [Reason.LATE_RUN]
    assert life.told == [Reason.FIRST_SEEN]
    assert life.income.times_seen == 3
    assert life.income.distance == 0.2
    assert life.income.observed == pytest.approx(0.3)
    assert life.income.last_seen == ENDED_AT + timedelta(hours=3)


def test_a_severity_that_a_late_run_raised_is_told_with_the_next_run() -> None:
    critical = b.judgement(severity=Severity.CRITICAL)
    life = Life()
    life.run(b.judgement(), hour=1)
    life.run(hour=3)
    life.run(critical, hour=2)
    life.run(critical, hour=4)
    assert Reason.SEVERITY_RAISED in life.told


def test_a_late_run_without_the_finding_breaks_no_acknowledgement() -> None:
    life = Life()
    life.run(b.judgement(), hour=1)
    life.run(b.judgement(), hour=3)
    life.act(Act.ACKNOWLEDGE)
    life.run(hour=2)
    assert life.income.state is S.ACKNOWLEDGED


def test_runs_of_the_same_millisecond_are_told_apart() -> None:
    life = Life()
    for key in ("a", "b", "c"):
        life.run(b.judgement(runs_needed=RunsNeeded(3, 3)), hour=1, key=key)
    assert [r.stamp for r in life.ledger.runs] == [stamp(1), stamp(1) + 1, stamp(1) + 2]
    assert life.income.state is S.OPEN


def test_a_run_that_could_not_be_read_and_now_can_is_seen_again() -> None:
    life = Life()
    unread = b.unhealthy(Outcome.UNREADABLE)
    life.run(unread, hour=1, outcome=Outcome.UNREADABLE, judged=False)
    life.run(b.judgement(), hour=1)
    assert [(r.outcome, r.judged) for r in life.ledger.runs] == [(Outcome.VIOLATIONS, True)]
    assert life.income.state is S.OPEN
    # nothing is unreadable any more
    assert life.ledger.incidents[b.id_of(unread)].state is S.RESOLVED


def test_a_run_that_was_judged_is_never_unread_again() -> None:
    life = Life()
    life.run(b.judgement(), hour=1)
    before = life.ledger
    life.run(b.unhealthy(Outcome.UNREADABLE), hour=1, outcome=Outcome.UNREADABLE, judged=False)
    assert life.ledger == before


def test_the_ledger_remembers_the_newest_runs_and_their_findings_only() -> None:
    life = Life()
    life.runs("x" * (LONGEST_RING + 10))
    assert len(life.ledger.runs) == LONGEST_RING
    assert set(life.income.seen) == {r.stamp for r in life.ledger.runs}
    life.run(b.judgement(), hour=-500)
    assert len(life.ledger.runs) == LONGEST_RING
    assert life.reasons == [Reason.LATE_RUN]


# --- flapping


def test_many_openings_and_resolutions_are_told_once_as_flapping() -> None:
    life = Life(resolve_after=1, flap_changes=4)
    life.runs("x-x-")
    assert life.told == [Reason.FIRST_SEEN, Reason.RESOLVED, Reason.REOPENED, Reason.FLAPPING]
    assert life.changes[-1].kind is ChangeKind.FLAPPING
    assert life.income.flapping
    life.runs("x-x-x-")
    assert len(life.changes) == 4
    assert life.reasons == [Reason.FLAPPING]


@pytest.mark.parametrize(
    ("pattern", "kind", "state"),
    [("-", ChangeKind.RESOLVED, S.RESOLVED), ("x", ChangeKind.OPENED, S.OPEN)],
)
def test_when_it_is_calm_again_people_hear_how_it_is(
    pattern: str, kind: ChangeKind, state: IncidentState
) -> None:
    life = Life(resolve_after=1, flap_changes=4, flap_window=10 * 3600)
    life.runs("x-x-" + ("x" if pattern == "x" else ""))
    told = len(life.changes)
    while life.income.flapping:
        life.runs(pattern)
        assert life.hour < 30
    assert len(life.changes) == told + 1
    assert (life.changes[-1].kind, life.changes[-1].reason) == (kind, Reason.FLAPPING_ENDED)
    assert life.income.state is state
    life.runs(pattern)
    assert len(life.changes) == told + 1


def test_changes_beyond_the_window_are_no_flapping() -> None:
    life = Life(resolve_after=1, flap_changes=3, flap_window=3600)
    life.runs("x-x-x-x-")
    assert not life.income.flapping
    assert Reason.FLAPPING not in life.told


def test_what_is_worse_is_told_even_while_it_flaps() -> None:
    life = Life(resolve_after=1, flap_changes=4)
    life.runs("x-x-xx")
    life.run(b.judgement(severity=Severity.CRITICAL))
    assert life.told[-1] is Reason.SEVERITY_RAISED


def test_resolving_by_hand_ends_the_flapping() -> None:
    life = Life(resolve_after=1, flap_changes=4)
    life.runs("x-x-x")
    assert life.income.flapping
    life.act(Act.RESOLVE)
    assert (life.income.state, life.income.flapping) == (S.RESOLVED, False)


# --- acts

FIRING = (S.OPEN, S.ACKNOWLEDGED, S.REMEDIATING, S.VERIFYING)
ALLOWED = {
    Act.ACKNOWLEDGE: ((S.OPEN,), S.ACKNOWLEDGED, ChangeKind.ACKNOWLEDGED, Reason.ACKNOWLEDGED),
    Act.ASSIGN: (
        (S.OPEN, S.ACKNOWLEDGED),
        S.ACKNOWLEDGED,
        ChangeKind.ACKNOWLEDGED,
        Reason.ASSIGNED,
    ),
    Act.WITHDRAW: (
        (S.ACKNOWLEDGED,),
        S.OPEN,
        ChangeKind.ACKNOWLEDGED,
        Reason.ACKNOWLEDGEMENT_WITHDRAWN,
    ),
    Act.RESOLVE: (FIRING, S.RESOLVED, ChangeKind.RESOLVED, Reason.RESOLVED_BY_HAND),
    Act.START_REMEDIATION: (
        (S.OPEN, S.ACKNOWLEDGED),
        S.REMEDIATING,
        ChangeKind.REMEDIATING,
        Reason.REMEDIATION_STARTED,
    ),
    Act.FINISH_REMEDIATION: (
        (S.REMEDIATING,),
        S.VERIFYING,
        ChangeKind.VERIFYING,
        Reason.REMEDIATION_FINISHED,
    ),
    Act.FAIL_REMEDIATION: (
        (S.REMEDIATING,),
        S.OPEN,
        ChangeKind.REOPENED,
        Reason.REMEDIATION_FAILED,
    ),
    Act.PROVE_REMEDIATION: (
        (S.VERIFYING,),
        S.RESOLVED,
        ChangeKind.RESOLVED,
        Reason.REMEDIATION_PROVEN,
    ),
    Act.REFUTE_REMEDIATION: (
        (S.VERIFYING,),
        S.OPEN,
        ChangeKind.REOPENED,
        Reason.VERIFICATION_FAILED,
    ),
}


def in_state(state: IncidentState) -> Life:
    life = Life(resolve_after=1)
    life.runs(
        "x", b.judgement(runs_needed=RunsNeeded(2, 2) if state is S.PENDING else RunsNeeded())
    )
    for doing in {
        S.ACKNOWLEDGED: [Act.ACKNOWLEDGE],
        S.REMEDIATING: [Act.START_REMEDIATION],
        S.VERIFYING: [Act.START_REMEDIATION, Act.FINISH_REMEDIATION],
        S.RESOLVED: [Act.RESOLVE],
    }.get(state, []):
        life.act(doing)
    assert life.income.state is state
    return life


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("doing", Act)
def test_every_act_in_every_state(doing: Act, state: IncidentState) -> None:
    come_from, go_to, kind, reason = ALLOWED[doing]
    life = in_state(state)
    before = life.ledger

    if state in come_from:
        change = life.act(doing, actor="bea")
        assert change == Change(life.income, kind, reason, "bea")
        assert (life.income.state, life.income.reason) == (go_to, reason)
        takes_it_on = doing in (Act.ACKNOWLEDGE, Act.ASSIGN)
        assert life.income.acknowledged_by == ("bea" if takes_it_on else "")
        assert life.act(doing, actor="bea") is None, "done already"
    elif state is go_to:
        assert life.act(doing) is None
        assert life.ledger == before
    else:
        with pytest.raises(RejectedRequestError, match=f"is {state.value}; .* needs") as caught:
            life.act(doing)
        assert INCOME in caught.value.remedy
        assert life.ledger == before


def test_an_incident_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="there is no incident no-such"):
        act(Ledger(scope=scope_of()), "no-such", Act.ACKNOWLEDGE, "ann", ENDED_AT)


def test_one_resolved_by_hand_opens_again_with_the_next_run_that_has_it() -> None:
    life = in_state(S.RESOLVED)
    life.runs("x")
    assert (life.income.state, life.told[-1]) == (S.OPEN, Reason.REOPENED)


def test_resolving_by_hand_counts_towards_flapping() -> None:
    life = Life(flap_changes=4)
    life.runs("x")
    life.act(Act.RESOLVE)
    life.runs("x")
    life.act(Act.RESOLVE)
    life.runs("x")
    assert life.income.flapping


def test_what_is_worse_is_measured_from_the_acknowledgement() -> None:
    life = Life()
    life.run(b.judgement(distance=0.3))
    life.run(b.judgement(distance=0.4))
    life.act(Act.ACKNOWLEDGE)
    life.run(b.judgement(distance=0.5))
    assert life.income.state is S.ACKNOWLEDGED
    life.run(b.judgement(distance=0.61))
    assert life.told[-1] is Reason.WORSENED


def test_policy_lines_name_field_rule_and_line() -> None:
    lines = policy_lines({"threshold": SetBy("night", 12), "severity": SetBy("defaults", 3)})
    assert lines == ("severity: defaults (line 3)", "threshold: night (line 12)")
