"""When a group is told, of what, and why not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from guiderail.model.incident import ChangeKind
from guiderail.model.message import (
    Distribution,
    Facts,
    MessageKind,
    Notification,
    Row,
    RowState,
    RunPart,
)
from guiderail.model.notice import (
    Entry,
    Group,
    Held,
    InhibitionSource,
    Notice,
    Silence,
)
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    EscalationStep,
    Inhibition,
    Match,
    Policy,
    Route,
    Severity,
    WeeklyHours,
)
from guiderail.rendering.wording import SUBJECT_LIMIT
from guiderail.services.telling import (
    MOST_BYTES_OF_MESSAGE,
    MOST_FACTS,
    MOST_LINES,
    MOST_RUNS,
    Settled,
    Surroundings,
    hiding_place,
    sentence_of,
    settle,
)
from msgspec.structs import replace

from tests.fakes import ENDED_AT

PLACE = "1#eu-west-1#loan-risk"
LABELS = {
    "account": "1",
    "region": "eu-west-1",
    "endpoint": "loan-risk",
    "monitor": "data_quality",
    "check": "baseline_drift_check",
}
KINDS = {
    Reason.FIRST_SEEN: ChangeKind.OPENED,
    Reason.REOPENED: ChangeKind.REOPENED,
    Reason.WORSENED: ChangeKind.WORSENED,
    Reason.SEVERITY_RAISED: ChangeKind.WORSENED,
    Reason.FLAPPING: ChangeKind.FLAPPING,
    Reason.RESOLVED: ChangeKind.RESOLVED,
    Reason.ACKNOWLEDGED: ChangeKind.ACKNOWLEDGED,
    Reason.ACKNOWLEDGEMENT_WITHDRAWN: ChangeKind.ACKNOWLEDGED,
    Reason.REMEDIATION_STARTED: ChangeKind.REMEDIATING,
    Reason.REMEDIATION_FINISHED: ChangeKind.VERIFYING,
    Reason.REMEDIATION_FAILED: ChangeKind.REOPENED,
}
RUN = RunPart(outcome="violations", monitor="data_quality")
_QUIET = (MessageKind.ACKNOWLEDGED, MessageKind.REMEDIATION)


def entry(name: str = "income", reason: Reason = Reason.FIRST_SEEN, **fields: Any) -> Entry:
    known: dict[str, Any] = {
        "incident": f"ledger-{name}",
        "kind": KINDS[reason],
        "reason": reason,
        "severity": Severity.WARNING,
        "firing": reason is not Reason.RESOLVED,
        "line": f"{name} is off",
        "labels": {**LABELS, "feature": name},
        "name": name,
        "acknowledged": reason is Reason.ACKNOWLEDGED,
    }
    return Entry(**{**known, **fields})


class Watch:
    """One group over time."""

    def __init__(self, policy: Policy | None = None, **route: Any) -> None:
        self.route = Route(name="default", receiver="team", **{"repeat_interval": 14400.0, **route})
        self.policy = policy or Policy()
        self.silences: list[Silence] = []
        self.sources: dict[str, Sequence[InhibitionSource]] = {}
        self.upstream: dict[str, str] = {}
        self.versions = itertools.count(1)
        self.now = ENDED_AT
        self.group = Group(
            id="g1", route="default", labels={"endpoint": "loan-risk", "monitor": "data_quality"}
        )
        self.told: list[Notification] = []
        self.quiet: list[Notification] = []
        self.settled = Settled(group=self.group)

    def look(self, *entries: Entry, after: float = 0, **notice: Any) -> tuple[Notification, ...]:
        """Let minutes pass and look at the group, with what came in since; what people are told."""
        self.now += timedelta(minutes=after)
        notices = [self.notice(*entries, **notice)] if entries else []
        return self.take(*notices)

    def take(self, *notices: Notice) -> tuple[Notification, ...]:
        around = Surroundings(
            policy=self.policy,
            silences=self.silences,
            sources=self.sources,
            upstream=self.upstream,
        )
        self.settled = settle(self.group, notices, self.route, around, self.now)
        self.group = self.settled.group
        told = [n for n in self.settled.notifications if n.kind not in _QUIET]
        self.quiet += [n for n in self.settled.notifications if n.kind in _QUIET]
        self.told += told
        return tuple(told)

    def notice(self, *entries: Entry, **fields: Any) -> Notice:
        """What a run or an act tells; each is numbered as its ledger would."""
        known: dict[str, Any] = {
            "id": f"n{self.now}",
            "group": "g1",
            "route": "default",
            "group_labels": {},
            "ledger": "ledger",
            "entries": entries,
            "made_at": self.now,
            "due_at": self.now,
            "version": next(self.versions),
        }
        return Notice(**{**known, **fields})

    def rest(self, hours: float) -> list[Notification]:
        """Look at the group whenever it asks for it, for some hours; what was told."""
        end = self.now + timedelta(hours=hours)
        before = len(self.told)
        while self.group.due_at and self.group.due_at <= end:
            assert self.group.due_at > self.now, "a group must not ask to be looked at for ever"
            self.now = self.group.due_at
            self.take()
        self.now = end
        return self.told[before:]

    @property
    def decisions(self) -> list[tuple[str, Reason]]:
        return [(d.about.removeprefix("ledger-"), d.reason) for d in self.settled.decisions]


def news(notification: Notification) -> dict[str, str]:
    """Incidents that a message has news of, with the reason."""
    return {
        i["id"].removeprefix("ledger-"): i["reason"]
        for i in notification.detail["incidents"]
        if i["news"]
    }


def silence(hours: float, **match: str) -> Silence:
    return Silence(
        id="s1",
        match=match or {"endpoint": "loan-*"},
        starts_at=ENDED_AT,
        ends_at=ENDED_AT + timedelta(hours=hours),
        author="ann",
    )


# --- first message, changes, repeats


def test_what_is_new_is_told() -> None:
    watch = Watch()
    (told,) = watch.look(entry(), entry("age"), subject="2 findings", run=RUN)
    assert (told.receiver, told.route, told.group) == ("team", "default", "g1")
    assert told.reasons == (Reason.FIRST_SEEN,)
    assert told.detail_type == "IncidentOpened"
    assert news(told) == {"income": "first_seen", "age": "first_seen"}
    assert watch.decisions == [("income", Reason.FIRST_SEEN), ("age", Reason.FIRST_SEEN)]
    assert [row.line for row in told.rows] == ["income is off", "age is off"]
    assert told.runs == (RUN,)
    assert (told.title, told.subject) == ("2 findings", "[Guiderail] 2 findings")
    assert watch.group.first_told_at == watch.group.last_told_at == watch.now
    assert watch.group.due_at == watch.now + timedelta(hours=4)


def test_a_second_look_tells_nothing() -> None:
    watch = Watch()
    watch.look(entry())
    assert watch.look(after=1) == ()
    assert watch.decisions == []


def test_more_within_the_group_interval_waits_for_its_end() -> None:
    watch = Watch()
    watch.look(entry())

    assert watch.look(entry("age"), after=1) == ()
    assert watch.decisions == [("age", Reason.WAITING_GROUP_INTERVAL)]
    assert watch.group.due_at == ENDED_AT + timedelta(minutes=5)

    (told,) = watch.look(after=4)
    assert news(told) == {"age": "first_seen"}
    assert told.reasons == (Reason.NEW_FINDINGS,)
    assert [(row.name, row.news) for row in told.rows] == [("age", True), ("income", False)]
    assert watch.decisions == [("age", Reason.NEW_FINDINGS)]


def test_nothing_is_repeated_before_the_repeat_interval() -> None:
    watch = Watch(repeat_interval=3600.0)
    watch.look(entry())
    assert watch.look(after=59) == ()

    (told,) = watch.look(after=1)

    assert told.reasons == (Reason.REPEAT_DUE,)
    assert told.detail_type == "IncidentRepeated"
    assert told.subject.startswith("[Guiderail] still open: ")
    assert news(told) == {}
    assert watch.decisions == [("income", Reason.REPEAT_DUE)]
    assert len(watch.rest(10)) == 10


def test_news_put_the_repeat_off() -> None:
    watch = Watch(repeat_interval=3600.0)
    watch.look(entry())
    watch.look(entry("age"), after=50)
    assert watch.look(after=20) == ()
    assert watch.group.due_at == ENDED_AT + timedelta(minutes=110)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (Reason.WORSENED, "worse: "),
        (Reason.SEVERITY_RAISED, "worse: "),
        (Reason.FLAPPING, "flapping: "),
    ],
)
def test_a_change_of_what_people_know_is_told(reason: Reason, word: str) -> None:
    watch = Watch()
    watch.look(entry())
    (told,) = watch.look(entry(reason=reason), after=10)
    assert told.reasons == (reason,)
    assert told.detail_type == "IncidentWorsened"
    assert word in told.subject


def test_what_is_over_is_told_once_and_leaves() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))

    (told,) = watch.look(entry(reason=Reason.RESOLVED), after=10)
    assert told.detail_type == "IncidentResolved"
    assert (told.kind, told.over, told.firing) == (MessageKind.NEWS, 1, 1)
    assert [(row.name, row.state) for row in told.rows] == [
        ("income", RowState.OVER),
        ("age", RowState.FIRING),
    ]
    assert [k for k, h in watch.group.held.items() if h.entry.firing] == ["ledger-age"]
    assert watch.group.first_told_at == ENDED_AT

    (told,) = watch.look(entry("age", Reason.RESOLVED), after=10)
    assert told.subject == "[Guiderail] resolved: data quality of loan-risk"
    assert (told.kind, told.over, told.firing) == (MessageKind.RESOLVED, 1, 0)
    group = watch.group
    assert not any(h.entry.firing or h.told for h in group.held.values())
    assert not (group.run_parts or group.details or group.facts or group.distributions)
    assert not (group.first_told_at or group.due_at)


def test_after_the_end_the_next_message_is_a_first_one() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.RESOLVED), after=10)
    (told,) = watch.look(entry(reason=Reason.REOPENED), after=1)
    assert told.reasons == (Reason.REOPENED,)


def test_what_came_and_went_before_anybody_heard_is_nobodys_news() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.now += timedelta(seconds=20)
    over = watch.notice(entry(reason=Reason.RESOLVED), id="b")
    assert watch.take(over, opened) == ()
    assert not any(h.entry.firing for h in watch.group.held.values())
    assert watch.rest(48) == []
    watch.now += timedelta(days=2)
    watch.take()
    assert watch.group.held == {}, "in the end it is forgotten"


def test_a_group_is_not_looked_at_for_what_nobody_will_hear() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    opened = watch.notice(entry("age"), id="a")
    watch.now += timedelta(seconds=20)
    watch.take(opened, watch.notice(entry("age", Reason.RESOLVED), id="b"))
    assert watch.group.due_at is None or watch.group.due_at > watch.now + timedelta(hours=1)


def test_the_end_of_what_nobody_knew_is_no_news() -> None:
    assert Watch().look(entry(reason=Reason.RESOLVED)) == ()


def test_an_older_notice_does_not_undo_a_newer_one() -> None:
    # Given an end that is looked at before the beginning
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.now += timedelta(minutes=1)
    watch.look(entry(reason=Reason.RESOLVED))
    # When the beginning's long wait is over
    watch.now += timedelta(minutes=14)
    assert watch.take(opened) == ()
    assert not any(h.entry.firing for h in watch.group.held.values())


def test_an_older_notice_does_not_undo_an_acknowledgement() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.now += timedelta(minutes=1)
    watch.look(entry(reason=Reason.ACKNOWLEDGED))
    watch.now += timedelta(minutes=14)
    watch.take(opened)
    assert watch.group.held["ledger-income"].entry.acknowledged
    assert watch.rest(24) == []


def test_messages_have_ids_of_their_own_that_come_again_with_the_same_look() -> None:
    first, second = Watch(repeat_interval=600.0), Watch(repeat_interval=600.0)
    for watch in (first, second):
        watch.look(entry())
        watch.rest(1)
    ids = [n.id for n in first.told]
    assert ids == [n.id for n in second.told]
    assert len(set(ids)) == len(ids) == 7


# --- acknowledged


def test_what_is_acknowledged_is_not_repeated() -> None:
    watch = Watch()
    watch.look(entry())
    assert watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10) == ()
    assert watch.rest(48) == []


def test_the_others_are_repeated_and_it_is_named_as_acknowledged() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    (told,) = watch.rest(5)
    assert {row.name: row.state for row in told.rows} == {
        "income": RowState.ACKNOWLEDGED,
        "age": RowState.FIRING,
    }
    assert ("income", Reason.REPEAT_DUE) not in watch.decisions


def test_what_was_acknowledged_before_anybody_heard_is_not_told() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.now += timedelta(seconds=20)
    assert watch.take(opened, watch.notice(entry(reason=Reason.ACKNOWLEDGED), id="b")) == ()
    assert watch.rest(24) == []


def test_a_withdrawn_acknowledgement_brings_back_what_nobody_heard() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.now += timedelta(seconds=20)
    watch.take(opened, watch.notice(entry(reason=Reason.ACKNOWLEDGED), id="b"))
    watch.look(entry(reason=Reason.ACKNOWLEDGEMENT_WITHDRAWN), after=10)
    watch.rest(24)
    assert "income" in news(watch.told[0])


def test_a_withdrawn_acknowledgement_brings_back_the_repeats() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    watch.look(entry(reason=Reason.ACKNOWLEDGEMENT_WITHDRAWN), after=10)
    told = watch.rest(5)
    assert [n.reasons for n in told] == [(Reason.REPEAT_DUE,)]


def test_a_worsening_of_what_is_acknowledged_is_told() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    (told,) = watch.look(entry(reason=Reason.WORSENED), after=10)
    assert news(told) == {"income": "worsened"}


# --- silences


def test_what_is_silenced_is_not_told_and_says_so() -> None:
    watch = Watch()
    watch.silences = [silence(2)]
    assert watch.look(entry()) == ()
    assert watch.decisions == [("income", Reason.SILENCED)]
    assert watch.settled.decisions[0].text == "silence s1 of ann"
    assert watch.look(after=1) == ()
    assert watch.decisions == [], "said once"


def test_it_comes_out_when_the_silence_ends() -> None:
    watch = Watch()
    watch.silences = [silence(2)]
    watch.look(entry())
    (told,) = watch.rest(3)
    assert told.made_at == ENDED_AT + timedelta(hours=2)
    assert news(told) == {"income": "first_seen"}


def test_it_comes_out_within_the_group_interval_when_the_silence_is_ended_by_hand() -> None:
    watch = Watch()
    watch.silences = [silence(200)]
    watch.look(entry())
    watch.silences = []
    (told,) = watch.rest(1)
    assert told.made_at <= ENDED_AT + timedelta(minutes=5)


def test_what_is_over_when_the_silence_ends_is_not_told() -> None:
    watch = Watch()
    watch.silences = [silence(2)]
    watch.look(entry())
    watch.look(entry(reason=Reason.RESOLVED), after=60)
    assert watch.rest(9) == []


def test_people_who_knew_hear_of_the_end_after_the_silence() -> None:
    watch = Watch()
    watch.look(entry())
    watch.silences = [silence(2)]
    assert watch.look(entry(reason=Reason.RESOLVED), after=10) == ()
    (told,) = watch.rest(3)
    assert told.detail_type == "IncidentResolved"


def test_a_silence_stops_repeats_and_later_tells_no_old_news() -> None:
    watch = Watch()
    watch.look(entry())
    watch.silences = [silence(10)]
    told = watch.rest(12)
    assert [n.reasons for n in told] == [(Reason.REPEAT_DUE,)]
    assert told[0].made_at == ENDED_AT + timedelta(hours=10)


def test_a_silence_hides_only_what_it_matches() -> None:
    watch = Watch()
    watch.silences = [silence(2, feature="inc*")]
    (told,) = watch.look(entry(), entry("age"))
    assert news(told) == {"age": "first_seen"}
    assert told.hidden == ("1 silenced: silence s1 of ann",)
    assert [row.name for row in told.rows] == ["age"]


def test_one_that_has_not_begun_hides_nothing() -> None:
    watch = Watch()
    watch.silences = [replace(silence(2), starts_at=ENDED_AT + timedelta(hours=1))]
    assert len(watch.look(entry())) == 1


# --- inhibitions


def source(check: str = "failed", **labels: str) -> InhibitionSource:
    return InhibitionSource(incident="other-1", labels={**LABELS, "check": check, **labels})


def test_drift_is_hidden_while_the_run_is_broken() -> None:
    watch = Watch()
    watch.sources = {PLACE: [source()]}
    assert watch.look(entry()) == ()
    assert watch.decisions == [("income", Reason.INHIBITED_BY)]
    assert "other-1 (failed)" in watch.settled.decisions[0].text

    watch.sources = {PLACE: []}
    (told,) = watch.rest(1)
    assert news(told) == {"income": "first_seen"}


@pytest.mark.parametrize(
    ("sources", "hidden"),
    [
        ({PLACE: [source()]}, True),
        ({PLACE: [source("completeness_check")]}, False),  # no source of the inhibition
        ({PLACE: [source(endpoint="another")]}, False),
        ({"1#eu-west-1#another": [source()]}, False),
        ({PLACE: [replace(source(), incident="ledger-income")]}, False),  # not itself
        ({}, False),
    ],
)
def test_what_hides(sources: dict[str, list[InhibitionSource]], hidden: bool) -> None:
    watch = Watch()
    watch.sources = dict(sources)
    assert (watch.look(entry()) == ()) is hidden


def test_a_target_that_the_inhibition_does_not_name_is_told() -> None:
    watch = Watch()
    watch.sources = {PLACE: [source()]}
    assert len(watch.look(entry(labels={**LABELS, "check": "failed"}))) == 1


def test_an_inhibition_of_the_policy_compares_what_it_says_is_the_same() -> None:
    same_feature = Inhibition(
        name="feed before drift",
        source=Match(check=("completeness_check",)),
        target=Match(check=("baseline_drift_check",)),
        same=("endpoint", "feature"),
    )
    watch = Watch(Policy(inhibitions=(same_feature,)))
    watch.sources = {PLACE: [source("completeness_check", feature="income")]}
    (told,) = watch.look(entry(), entry("age"))
    assert news(told) == {"age": "first_seen"}


def test_the_end_of_what_people_know_is_told_though_something_else_is_broken() -> None:
    watch = Watch()
    watch.look(entry())
    watch.sources = {PLACE: [source()]}
    (told,) = watch.look(entry(reason=Reason.RESOLVED), after=10)
    assert told.detail_type == "IncidentResolved"


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ({"account": "1", "region": "r", "endpoint": "e", "schedule": "s"}, "1#r#e"),
        ({"account": "1", "region": "r", "schedule": "s"}, "1#r#s"),
        ({}, "##"),
    ],
)
def test_the_place_of_what_hides(labels: dict[str, str], place: str) -> None:
    assert hiding_place(labels) == place


def test_a_part_of_an_upstream_incident_is_hidden_behind_it() -> None:
    watch = Watch()
    watch.upstream = {"ledger-income": "up-1"}
    assert watch.look(entry()) == ()
    assert watch.decisions == [("income", Reason.PART_OF_UPSTREAM)]
    watch.upstream = {}
    assert len(watch.rest(1)) == 1


# --- hours

OFFICE: dict[str, tuple[WeeklyHours, ...]] = {
    "office": (WeeklyHours(days=(0, 1, 2, 3, 4), start=9 * 60, end=17 * 60),)
}
EVENING = timedelta(hours=4)


def test_outside_its_hours_a_route_waits_for_their_beginning() -> None:
    watch = Watch(Policy(hours=OFFICE), active=("office",))
    watch.now += EVENING
    assert watch.look(entry()) == ()
    assert watch.decisions == [("income", Reason.OUTSIDE_HOURS)]
    (told,) = watch.rest(16)
    assert told.made_at == datetime.fromisoformat("2026-11-24T09:00+00:00")
    assert news(told) == {"income": "first_seen"}


def test_what_comes_at_night_to_a_group_that_people_know_says_so_too() -> None:
    watch = Watch(Policy(hours=OFFICE), active=("office",))
    watch.look(entry())
    assert watch.look(entry("age"), after=4 * 60) == ()
    assert watch.decisions == [("age", Reason.OUTSIDE_HOURS)]
    watch.look()
    assert watch.decisions == [], "said once"


def test_nobody_is_woken_for_a_repeat_an_escalation_or_an_end() -> None:
    watch = Watch(
        Policy(hours=OFFICE), active=("office",), escalation=(EscalationStep(4 * 3600.0, "boss"),)
    )
    watch.look(entry(), entry("age"))
    watch.look(entry("age", Reason.RESOLVED), after=4 * 60)
    told = watch.rest(30)
    assert min(n.made_at for n in told) == datetime.fromisoformat("2026-11-24T09:00+00:00")
    assert {n.receiver for n in told} == {"team", "boss"}


def test_hours_that_nobody_defined_are_looked_at_again() -> None:
    watch = Watch(active=("office",))
    watch.look(entry())
    assert watch.group.due_at == watch.now + timedelta(hours=1)


# --- escalation

STEPS = (EscalationStep(3600.0, "lead"), EscalationStep(7200.0, "boss"))


def test_what_nobody_answers_goes_one_step_up_after_the_other() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    told = watch.rest(3)
    assert [(n.receiver, n.reasons) for n in told] == [
        ("lead", (Reason.ESCALATED,)),
        ("boss", (Reason.ESCALATED,)),
    ]
    assert told[0].subject.startswith("[Guiderail] nobody answered: ")
    assert [n.made_at - ENDED_AT for n in told] == [timedelta(hours=1), timedelta(hours=2)]


def test_an_acknowledgement_stops_the_escalation() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=30)
    assert watch.rest(24) == []


def test_the_escalation_of_what_comes_later_begins_with_it() -> None:
    # Given one that is acknowledged
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=30)
    # When another comes the next day
    told = watch.look(entry("age"), after=24 * 60)
    assert [n.receiver for n in told] == ["team"]
    later = watch.rest(3)
    assert [n.receiver for n in later] == ["lead", "boss"]


def test_after_the_end_escalation_begins_anew() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    watch.rest(3)
    watch.look(entry(reason=Reason.RESOLVED))
    watch.look(entry(reason=Reason.REOPENED), after=10)
    assert [n.receiver for n in watch.rest(3)] == ["lead", "boss"]


def test_what_is_hidden_is_not_escalated() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    watch.silences = [silence(24)]
    assert watch.rest(20) == []


# --- the message


def test_the_worst_news_come_first_and_many_are_counted() -> None:
    watch = Watch()
    many = [entry(f"f{n:02}") for n in range(MOST_LINES + 10)]
    worst = entry("worst", severity=Severity.CRITICAL)
    (told,) = watch.look(*many, worst)
    assert told.rows[0] == Row(
        incident="ledger-worst",
        name="worst",
        check="baseline_drift_check",
        severity=Severity.CRITICAL,
        reason=Reason.FIRST_SEEN,
        state=RowState.FIRING,
        line="worst is off",
        news=True,
        endpoint="loan-risk",
    )
    assert (len(told.rows), told.more, told.firing) == (MOST_LINES, 11, MOST_LINES + 11)
    assert told.severity is Severity.CRITICAL
    assert told.detail["incident_count"] == MOST_LINES + 11
    assert len(told.detail["incidents"]) == MOST_LINES


def test_an_entry_that_stands_for_many_counts_for_them() -> None:
    watch = Watch()
    (told,) = watch.look(entry(), entry("rest", count=40))
    assert told.detail["incident_count"] == told.firing == 41
    assert sorted(row.count for row in told.rows) == [1, 40]


def test_the_newest_run_of_each_ledger_is_described() -> None:
    watch = Watch()
    watch.take(
        *(
            watch.notice(
                replace(entry(), incident=f"ledger{n}-income"),
                id=f"n{n}",
                ledger=f"ledger{n}",
                run=replace(RUN, schedule=f"hourly-{n}"),
                subject=f"run {n}",
                detail={"outcome": "violations", "run_key": f"r{n}"},
            )
            for n in range(MOST_RUNS + 2)
        )
    )
    (told,) = watch.told
    assert [run.schedule for run in told.runs] == [f"hourly-{n + 2}" for n in range(MOST_RUNS)]
    assert told.more_runs == 2
    assert told.detail["runs"] == MOST_RUNS + 2
    assert told.attributes["outcome"] == "violations"


def test_attributes_are_never_empty() -> None:
    watch = Watch()
    (told,) = watch.look(entry(labels={}))
    assert all(told.attributes.values())
    assert told.attributes["receiver"] == "team"
    assert told.attributes["severity"] == "warning"
    assert told.attributes["reason"] == "first_seen"


@pytest.mark.parametrize(
    ("check", "detail_type"),
    [
        ("failed", "RunUnhealthy"),
        ("no_data", "RunUnhealthy"),
        ("completeness_check", "IncidentOpened"),
    ],
)
def test_a_run_that_is_unhealthy_has_its_own_event(check: str, detail_type: str) -> None:
    (told,) = Watch().look(entry(labels={**LABELS, "check": check}))
    assert told.detail_type == detail_type


def test_names_of_256_characters_in_any_script_fit_what_sns_and_the_bus_take() -> None:
    watch = Watch()
    names = ["💸" * 256, "ä\n\x1b[31m" * 64, "名" * 256]
    labels = {**LABELS, "endpoint": names[0], "monitor": names[1]}
    watch.group = replace(watch.group, labels={"endpoint": names[0], "monitor": names[1]})
    many = [
        entry(f"{n}", line=f"{name} is off", labels={**labels, "feature": name})
        for name in names
        for n in range(40)
    ]
    (told,) = watch.look(*many, subject="x" * 300, run=RUN)
    assert 0 < len(told.subject) <= SUBJECT_LIMIT
    assert all(" " <= c <= "~" for c in told.subject)
    assert len(msgspec.msgpack.encode(told)) <= MOST_BYTES_OF_MESSAGE
    assert all(0 < len(value) <= 256 for value in told.attributes.values())
    said = [told.title, told.place, *told.why, *(row.line for row in told.rows)]
    assert not any("\x1b" in text or "\n" in text for text in said)


def test_whatever_reports_hold_a_message_fits_its_item() -> None:
    watch = Watch()
    line = "💸" * 1600
    labels = {**LABELS, "feature": line, "metric": line, "facet": line}
    run = replace(RUN, evidence=(line,) * 10, command="aws " + "x" * 4000)
    watch.take(
        *(
            watch.notice(
                *(entry(f"{n}-{k}", line=line, labels=labels) for k in range(20)),
                id=f"n{n}",
                ledger=f"ledger{n}",
                run=run,
                facts={
                    f"ledger-{n}-{k}": Facts(description=line, notes=(line,)) for k in range(20)
                },
                detail={"evidence": [line] * 20},
            )
            for n in range(8)
        )
    )
    (told,) = watch.told
    assert len(msgspec.msgpack.encode(told)) <= MOST_BYTES_OF_MESSAGE
    assert len(told.rows) == MOST_LINES
    assert told.rows[0].line.startswith("💸")
    assert told.runs[-1].command == run.command


def test_what_fits_is_whole() -> None:
    watch = Watch()
    run = replace(RUN, evidence=("a", "b"))
    shown = distribution("income")
    (told,) = watch.look(entry(), run=run, facts={"ledger-income": FACTS}, distributions=(shown,))
    assert (told.runs, told.distributions, told.rows[0].facts) == ((run,), (shown,), FACTS)


def test_an_empty_group_is_left_in_peace() -> None:
    watch = Watch()
    assert watch.look() == ()
    assert watch.group.due_at is None
    assert watch.settled.decisions == ()


def test_what_is_told_once_is_held_as_told() -> None:
    watch = Watch()
    watch.look(entry())
    held = watch.group.held["ledger-income"]
    assert (held.told, held.news, held.hidden) == (True, False, None)
    assert isinstance(held, Held)


# --- what the message says besides

FACTS = Facts(observed=0.4, threshold=0.1, trend=(0.2, 0.4))


def distribution(feature: str) -> Distribution:
    return Distribution(feature=feature, labels=("a",), baseline=(1.0,), current=(1.0,))


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (Reason.FIRST_SEEN, "New: it was not there before."),
        (Reason.REOPENED, "It was over and has come back."),
        (Reason.FLAPPING, "It comes and goes; you will hear of it again when it is calm."),
        (Reason.REMEDIATION_FAILED, "An attempt to fix it failed."),
    ],
)
def test_a_message_says_why_now_and_why_you(reason: Reason, sentence: str) -> None:
    (told,) = Watch().look(entry(reason=reason))
    assert told.why == (
        sentence,
        "Route default sends incidents of loan-risk, data quality to team.",
    )


def test_several_reasons_have_a_sentence_each() -> None:
    watch = Watch()
    watch.look(entry())
    (told,) = watch.look(entry("age"), entry(reason=Reason.WORSENED), after=10)
    assert told.why[:-1] == (
        "More was found since the last message.",
        "It is much farther off than in the last message.",
    )


def test_a_reminder_and_an_escalation_say_so() -> None:
    watch = Watch(repeat_interval=3600.0, escalation=(EscalationStep(1800.0, "lead"),))
    watch.look(entry())
    escalated, repeated = watch.rest(1.5)
    assert escalated.why == (
        "Nobody acknowledged it in time.",
        "Route default tells lead what nobody acknowledges.",
    )
    assert repeated.why[0] == "Nobody acknowledged it; this is a reminder."


def test_every_reason_to_tell_has_a_sentence() -> None:
    told = [*KINDS, Reason.NEW_FINDINGS, Reason.REPEAT_DUE, Reason.ESCALATED, Reason.ASSIGNED]
    told += [Reason.RESOLVED_BY_HAND, Reason.ENDPOINT_CHANGED, Reason.UPSTREAM_SUSPECTED]
    told += [Reason.FLAPPING_ENDED, Reason.VERIFICATION_FAILED, Reason.SUPPRESSED_DUPLICATE]
    for reason in told:
        assert not sentence_of(reason).startswith("Something changed")
    assert sentence_of(Reason.LATE_RUN) == "Something changed: late_run."


def test_a_group_without_common_labels_says_what_its_route_does() -> None:
    watch = Watch()
    watch.group = replace(watch.group, labels={"endpoint": ""})
    (told,) = watch.look(entry())
    assert told.why[-1] == "Route default sends its incidents to team."
    assert told.fingerprint == {}


@pytest.mark.parametrize(
    ("happens", "kind"),
    [
        (entry(reason=Reason.WORSENED), MessageKind.NEWS),
        (entry("age"), MessageKind.NEWS),
        (entry(reason=Reason.RESOLVED), MessageKind.RESOLVED),
        (None, MessageKind.REPEAT),
    ],
)
def test_what_a_message_does_to_what_people_know(happens: Entry | None, kind: MessageKind) -> None:
    watch = Watch(repeat_interval=600.0)
    (first,) = watch.look(entry())
    (told,) = watch.look(*([happens] if happens else []), after=10)
    assert (first.kind, told.kind) == (MessageKind.NEWS, kind)


def test_an_escalation_is_news_to_its_receiver() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    assert {n.kind for n in watch.rest(3)} == {MessageKind.NEWS}


def test_an_end_is_no_resolution_while_something_that_people_know_is_out_of_sight() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    watch.silences = [silence(2, feature="age")]
    (told,) = watch.look(entry(reason=Reason.RESOLVED), after=10)
    assert told.kind is MessageKind.NEWS
    assert told.title == "1 over: data quality of loan-risk"


def test_numbers_rise_and_the_episode_stays_until_the_end() -> None:
    watch = Watch(repeat_interval=3600.0, escalation=STEPS)
    watch.look(entry())
    watch.rest(3)
    watch.look(entry(reason=Reason.ACKNOWLEDGED))
    watch.look(entry(reason=Reason.RESOLVED), after=10)
    ended = len(watch.told)
    watch.look(entry(reason=Reason.REOPENED), after=10)
    made = sorted([*watch.told, *watch.quiet], key=lambda n: n.number)
    assert sorted({n.number for n in made}) == list(range(1, made[-1].number + 1))
    assert len({(n.number, n.receiver) for n in made}) == len(made)
    assert [n.made_at for n in made] == sorted(n.made_at for n in made)
    assert len({n.id for n in made}) == len(made)
    assert {n.episode for n in watch.told[:ended]} == {ENDED_AT.isoformat()}
    assert watch.told[-1].episode == watch.now.isoformat()


def test_whom_an_escalation_reached_hears_of_the_end_once() -> None:
    watch = Watch(repeat_interval=3600.0, escalation=STEPS)
    watch.look(entry())
    watch.rest(3)
    reached = {n.receiver for n in watch.told if Reason.ESCALATED in n.reasons}
    assert reached
    watch.look(entry(reason=Reason.ACKNOWLEDGED))
    assert {n.receiver for n in watch.quiet} == {"team", *reached}
    watch.look(entry(reason=Reason.RESOLVED), after=10)
    over = [n.receiver for n in watch.told if n.kind is MessageKind.RESOLVED]
    assert sorted(over) == sorted({"team", *reached})
    # the next episode begins with the team alone
    watch.look(entry(reason=Reason.REOPENED), after=10)
    watch.look(entry(reason=Reason.RESOLVED), after=10)
    assert watch.told[-1].receiver == "team"


def test_owner_and_runbook_are_those_of_the_worst_that_has_one() -> None:
    mild = entry("mild", labels={**LABELS, "owner": "mild-team"}, runbook="https://wiki/mild")
    bad = entry(
        "bad",
        severity=Severity.ERROR,
        labels={**LABELS, "owner": "risk"},
        runbook="https://wiki/bad",
    )
    (told,) = Watch().look(entry("none", severity=Severity.CRITICAL), mild, bad)
    assert (told.owner, told.runbook) == ("risk", "https://wiki/bad")


def test_the_fingerprint_is_what_the_group_has_in_common() -> None:
    watch = Watch()
    watch.group = replace(watch.group, labels={"endpoint": "loan-risk", "feature": ""})
    (told,) = watch.look(entry())
    assert told.fingerprint == {"endpoint": "loan-risk"}
    assert told.place == "loan-risk" or told.place.endswith("of loan-risk")


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, RowState.FIRING),
        ({"flapping": True}, RowState.FLAPPING),
    ],
)
def test_a_row_says_how_its_incident_stands(fields: dict[str, Any], state: RowState) -> None:
    (told,) = Watch().look(entry(**fields))
    assert told.rows[0].state is state


# --- facts and distributions


def test_facts_go_with_their_row_and_an_act_does_not_change_them() -> None:
    watch = Watch(repeat_interval=3600.0)
    less = Facts(observed=0.4)
    watch.look(entry(), entry("age"), facts={"ledger-income": FACTS})
    watch.look(entry(reason=Reason.ACKNOWLEDGED), facts={"ledger-income": less}, after=10)
    (told,) = watch.rest(1)
    assert {row.name: row.facts for row in told.rows} == {"income": FACTS, "age": None}


def test_newer_facts_replace_older_ones_and_not_the_other_way_round() -> None:
    watch = Watch()
    watch.look(entry())
    late = watch.notice(entry(reason=Reason.WORSENED), id="a", facts={"ledger-income": Facts()})
    watch.look(entry(reason=Reason.WORSENED), facts={"ledger-income": FACTS}, after=1)
    watch.now += timedelta(minutes=1)
    watch.take(late)
    assert watch.group.facts == {"ledger-income": FACTS}


def test_a_group_keeps_facts_of_the_newest_that_fire() -> None:
    watch = Watch()
    for n in range(MOST_FACTS + 10):
        name = f"f{n}"
        watch.look(entry(name), facts={f"ledger-{name}": Facts(times_seen=n)}, after=1)
    assert len(watch.group.facts) == MOST_FACTS
    assert "ledger-f0" not in watch.group.facts
    assert f"ledger-f{MOST_FACTS + 9}" in watch.group.facts
    watch.look(entry("f50", Reason.RESOLVED), after=10)
    assert "ledger-f50" not in watch.group.facts


def test_distributions_are_those_of_the_newest_runs() -> None:
    watch = Watch()
    watch.take(
        *(
            watch.notice(
                replace(entry(), incident=f"ledger{n}-income"),
                id=f"n{n}",
                ledger=f"ledger{n}",
                run=RUN,
                distributions=(distribution(f"{n}a"), distribution(f"{n}b")),
            )
            for n in range(2)
        )
    )
    (told,) = watch.told
    assert [d.feature for d in told.distributions] == ["1a", "1b", "0a"]


def test_a_newer_run_without_distributions_has_none() -> None:
    watch = Watch()
    watch.look(entry(), run=RUN, distributions=(distribution("income"),))
    (told,) = watch.look(entry(reason=Reason.WORSENED), run=RUN, after=10)
    assert told.distributions == ()


# --- what only incident tools are told


def test_an_acknowledgement_of_all_is_told_to_tools_once() -> None:
    watch = Watch(repeat_interval=3600.0)
    watch.look(entry(), entry("age"))
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    assert watch.quiet == [], "the other one is not"
    watch.look(entry("age", Reason.ACKNOWLEDGED), after=10)
    (made,) = watch.quiet
    assert (made.kind, made.reasons) == (MessageKind.ACKNOWLEDGED, (Reason.ACKNOWLEDGED,))
    assert made.detail_type == "IncidentAcknowledged"
    assert made.why[0] == "Somebody looks after it."
    assert {row.state for row in made.rows} == {RowState.ACKNOWLEDGED}
    assert made.episode == watch.told[0].episode
    assert made.title == "acknowledged: 2 incidents: data quality of loan-risk"
    watch.look(after=1)
    assert watch.rest(24) == [] and len(watch.quiet) == 1


def test_it_does_not_count_as_told() -> None:
    watch = Watch(escalation=STEPS)
    watch.look(entry())
    before = watch.group
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    after = watch.group
    assert after.messages == before.messages
    assert after.last_told_at == before.last_told_at == ENDED_AT
    assert after.first_told_at == before.first_told_at
    assert watch.decisions == []


def test_an_acknowledgement_of_what_nobody_heard_is_told_to_nobody() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    watch.take(opened, watch.notice(entry(reason=Reason.ACKNOWLEDGED), id="b"))
    watch.rest(24)
    assert watch.quiet == []


def test_a_withdrawal_is_told_to_nobody_and_the_next_acknowledgement_is() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    watch.look(entry(reason=Reason.ACKNOWLEDGEMENT_WITHDRAWN), after=10)
    assert len(watch.quiet) == 1
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    assert [n.kind for n in watch.quiet] == [MessageKind.ACKNOWLEDGED] * 2


def test_what_comes_after_an_acknowledgement_is_acknowledged_anew() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    watch.look(entry("age"), after=10)
    watch.look(entry("age", Reason.ACKNOWLEDGED), after=10)
    assert len(watch.quiet) == 2


def test_the_end_of_one_of_two_that_are_acknowledged_is_no_acknowledgement() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    watch.look(entry(reason=Reason.ACKNOWLEDGED), entry("age", Reason.ACKNOWLEDGED), after=10)
    (told,) = watch.look(entry(reason=Reason.RESOLVED), after=10)
    assert told.kind is MessageKind.NEWS
    assert len(watch.quiet) == 1


def test_an_end_and_an_acknowledgement_at_once_are_told_in_this_order() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    (told,) = watch.look(entry(reason=Reason.RESOLVED), entry("age", Reason.ACKNOWLEDGED), after=10)
    (made,) = watch.quiet
    assert (told.kind, made.kind) == (MessageKind.NEWS, MessageKind.ACKNOWLEDGED)
    assert made.number == told.number + 1
    assert [row.name for row in made.rows] == ["age"], "the end was told"


def test_an_acknowledgement_out_of_hours_is_told_to_tools_at_once() -> None:
    watch = Watch(Policy(hours=OFFICE), active=("office",))
    watch.look(entry())
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=4 * 60)
    assert [n.made_at for n in watch.quiet] == [watch.now]


def test_what_is_out_of_sight_is_told_to_tools_when_it_is_seen() -> None:
    watch = Watch()
    watch.look(entry())
    watch.silences = [silence(2)]
    watch.look(entry(reason=Reason.ACKNOWLEDGED), after=10)
    assert watch.quiet == []
    watch.rest(3)
    assert [n.kind for n in watch.quiet] == [MessageKind.ACKNOWLEDGED]


def test_each_step_of_a_remediation_is_told_to_tools_once() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    for reason, detail_type in (
        (Reason.REMEDIATION_STARTED, "RemediationStarted"),
        (Reason.REMEDIATION_FINISHED, "RemediationFinished"),
    ):
        watch.look(entry(reason=reason), after=10)
        watch.look(after=1)
        made = watch.quiet.pop()
        assert watch.quiet == []
        assert (made.kind, made.reasons) == (MessageKind.REMEDIATION, (reason,))
        assert made.detail_type == detail_type
        assert [row.name for row in made.rows if row.news] == ["income"]
    assert len(watch.told) == 1


def test_a_remediation_out_of_sight_is_told_to_tools_when_it_is_seen() -> None:
    watch = Watch()
    watch.look(entry(), entry("age"))
    watch.silences = [silence(2, feature="income")]
    watch.look(entry(reason=Reason.REMEDIATION_STARTED), after=10)
    assert watch.quiet == []
    watch.rest(3)
    (made,) = watch.quiet
    assert [row.name for row in made.rows if row.news] == ["income"]


def test_a_second_attempt_is_told_to_tools_too() -> None:
    watch = Watch()
    watch.look(entry())
    watch.look(entry(reason=Reason.REMEDIATION_STARTED), after=10)
    (told,) = watch.look(entry(reason=Reason.REMEDIATION_FAILED), after=10)
    assert told.reasons == (Reason.REMEDIATION_FAILED,)
    watch.look(entry(reason=Reason.REMEDIATION_STARTED), after=10)
    assert [n.reasons for n in watch.quiet] == [(Reason.REMEDIATION_STARTED,)] * 2


def test_a_remediation_of_what_is_news_itself_is_news_to_people() -> None:
    watch = Watch()
    opened = watch.notice(entry(), id="a")
    (told,) = watch.take(opened, watch.notice(entry(reason=Reason.REMEDIATION_STARTED), id="b"))
    assert told.kind is MessageKind.NEWS
    assert [n.kind for n in watch.quiet] == [MessageKind.REMEDIATION]
