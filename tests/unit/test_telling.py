"""When a group is told, of what, and why not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from guiderail.model.alert import SUBJECT_LIMIT
from guiderail.model.incident import ChangeKind
from guiderail.model.notice import (
    Entry,
    Group,
    Held,
    InhibitionSource,
    Notice,
    Notification,
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
from guiderail.services.telling import (
    MOST_LINES,
    MOST_SECTIONS,
    Settled,
    Surroundings,
    hiding_place,
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
}


def entry(name: str = "income", reason: Reason = Reason.FIRST_SEEN, **fields: Any) -> Entry:
    known: dict[str, Any] = {
        "incident": f"ledger-{name}",
        "kind": KINDS[reason],
        "reason": reason,
        "severity": Severity.WARNING,
        "firing": reason is not Reason.RESOLVED,
        "line": f"{name} is off",
        "labels": {**LABELS, "feature": name},
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
        self.settled = Settled(group=self.group)

    def look(self, *entries: Entry, after: float = 0, **notice: Any) -> tuple[Notification, ...]:
        """Let minutes pass and look at the group, with what came in since."""
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
        self.told += self.settled.notifications
        return self.settled.notifications

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
    (told,) = watch.look(entry(), entry("age"), subject="2 findings", section="Outcome: x")
    assert (told.receiver, told.route, told.group) == ("team", "default", "g1")
    assert told.reasons == (Reason.FIRST_SEEN,)
    assert told.detail_type == "IncidentOpened"
    assert news(told) == {"income": "first_seen", "age": "first_seen"}
    assert watch.decisions == [("income", Reason.FIRST_SEEN), ("age", Reason.FIRST_SEEN)]
    assert "income is off" in told.message and "Outcome: x" in told.message
    assert told.subject == "[Guiderail] 2 findings"
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
    assert "income is off" in told.message
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
    assert "Over (1):" in told.message
    assert [k for k, h in watch.group.held.items() if h.entry.firing] == ["ledger-age"]
    assert watch.group.first_told_at == ENDED_AT

    (told,) = watch.look(entry("age", Reason.RESOLVED), after=10)
    assert told.subject == "[Guiderail] resolved: data quality of loan-risk"
    group = watch.group
    assert not any(h.entry.firing or h.told for h in group.held.values())
    assert not (group.sections or group.details)
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
    assert "income is off [warning, acknowledged]" in told.message
    assert "age is off [warning]" in told.message
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
    assert "Not shown:\n- 1 silenced: silence s1 of ann" in told.message


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
    lines = [line for line in told.message.splitlines() if line.startswith("- ")]
    assert lines[0].startswith("- worst is off [critical, first_seen]")
    assert lines[-1] == "- and 11 more"
    assert f"Firing ({MOST_LINES + 11})" in told.message
    assert told.severity is Severity.CRITICAL
    assert told.detail["incident_count"] == MOST_LINES + 11
    assert len(told.detail["incidents"]) == MOST_LINES


def test_an_entry_that_stands_for_many_counts_for_them() -> None:
    watch = Watch()
    (told,) = watch.look(entry(), entry("rest", count=40))
    assert told.detail["incident_count"] == 41


def test_the_newest_run_of_each_ledger_is_described() -> None:
    watch = Watch()
    watch.take(
        *(
            watch.notice(
                replace(entry(), incident=f"ledger{n}-income"),
                id=f"n{n}",
                ledger=f"ledger{n}",
                section=f"Run {n}",
                subject=f"run {n}",
                detail={"outcome": "violations", "run_key": f"r{n}"},
            )
            for n in range(MOST_SECTIONS + 2)
        )
    )
    (told,) = watch.told
    assert told.message.count("Run ") == MOST_SECTIONS
    assert "and runs of 2 more schedules" in told.message
    assert told.detail["runs"] == MOST_SECTIONS + 2
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
    (told,) = watch.look(*many, subject="x" * 300, section="Outcome: x")
    assert 0 < len(told.subject) <= SUBJECT_LIMIT
    assert all(" " <= c <= "~" for c in told.subject)
    assert len(msgspec.json.encode(told)) < 256 * 1024
    assert all(0 < len(value) <= 256 for value in told.attributes.values())
    assert "\x1b" not in told.message


def test_whatever_reports_hold_a_message_fits_an_execution() -> None:
    watch = Watch()
    line = "💸" * 1600
    section = "\n".join([line] * 25)
    labels = {**LABELS, "feature": line, "metric": line, "facet": line}
    watch.take(
        *(
            watch.notice(
                *(entry(f"{n}-{k}", line=line, labels=labels) for k in range(20)),
                id=f"n{n}",
                ledger=f"ledger{n}",
                section=section,
                detail={"evidence": [line] * 20},
            )
            for n in range(8)
        )
    )
    (told,) = watch.told
    assert len(msgspec.json.encode(told)) < 256 * 1024
    assert told.message.splitlines()[0].startswith("Why now:")
    assert f"guiderail explain {watch.group.id}" in told.message


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
