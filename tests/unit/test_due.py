"""What waited long enough is told: the use case of on_due over in-memory ports."""

from __future__ import annotations

import random
import zlib
from datetime import timedelta

import msgspec
import pytest
from guiderail.adapters.dynamo_table import LARGEST_CONTENT
from guiderail.errors import (
    AccessDeniedError,
    ConflictError,
    GuiderailError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.delivery import DeliveryState
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    EscalationStep,
    Inhibition,
    Match,
    Policy,
    Receiver,
    Route,
    RunsNeeded,
    Severity,
)
from guiderail.ports import Due
from guiderail.services.incident_cycle import Act
from guiderail_cli.policy_file.receivers import MOST_CHANNELS

from tests import builders as b
from tests.fakes import Cloud, Crash, scope_of, text_of

INCOME = b.id_of(b.judgement())


def waiting(cloud: Cloud | None = None, **route: object) -> Cloud:
    """A cloud with one incident that nobody has heard of yet."""
    policy = Policy(route=Route(name="default", receiver="team", **route))  # type: ignore[arg-type]
    cloud = cloud or Cloud(policy=policy)
    cloud.run_ends(b.judgement())
    return cloud


def reasons(cloud: Cloud) -> list[str]:
    """Why each message was sent."""
    return [alert.attributes["reason"] for alert in cloud.alerts]


def decided(cloud: Cloud) -> set[str]:
    """Every reason in the audit."""
    return {reason for entry in cloud.store.audit_entries for reason in entry.counts}


# --- waiting


def test_nothing_is_told_before_the_group_wait_is_over() -> None:
    cloud = waiting(group_wait=90.0)
    cloud.pass_time(seconds=89, tick=30)
    assert cloud.alerts == []
    cloud.pass_time(seconds=1)
    assert reasons(cloud) == ["first_seen"]


def test_runs_of_many_schedules_of_an_endpoint_are_one_message() -> None:
    cloud = Cloud()
    for n in range(30):
        cloud.now += timedelta(seconds=1)
        cloud.run_ends(b.judgement(f"f{n}"), scope=scope_of(schedule=f"hourly-{n}"))
    cloud.pass_time(minutes=2)
    (alert,) = cloud.alerts
    assert alert.detail["incident_count"] == 30
    assert alert.detail["runs"] == 30


def test_what_is_due_in_a_few_minutes_comes_along() -> None:
    cloud = waiting()
    cloud.now += timedelta(seconds=29)
    cloud.run_ends(b.judgement("age"), scope=scope_of(schedule="other"))
    cloud.now += timedelta(seconds=2)

    told = cloud.due_changes()()

    assert (told.messages, told.groups, told.notices, told.failed) == (1, 1, 2, 0)
    assert cloud.alerts[0].detail["incident_count"] == 2


def test_with_nothing_due_a_few_reads_are_all() -> None:
    cloud = Cloud()
    assert cloud.due_changes()().messages == 0
    assert cloud.steps == ["policy", "ledger", "overdue", "due"]


def test_the_time_of_the_event_is_the_time_it_works_with() -> None:
    cloud = waiting()
    assert cloud.due_changes()(cloud.now + timedelta(days=1)).messages == 1
    assert next(iter(cloud.store.messages.values())).made_at == cloud.now + timedelta(days=1)


def test_a_message_is_marked_measured_and_logged() -> None:
    cloud = waiting()
    cloud.pass_time(minutes=1)
    assert cloud.metric("Notifications") == [{"receiver": "team", "reason": "first_seen"}]
    assert [d.state for d in cloud.store.outbox.values()] == [DeliveryState.DELIVERED] * 2
    (line,) = [fields for message, fields in cloud.lines if message == "people are told"]
    assert line["reasons"] == ["first_seen"]
    assert line["channels"] == ["topic", "bus"]
    assert {"endpoint": "loan-risk-prod", "monitor": "custom", "reason": "first_seen"} in (
        cloud.metric("Decisions")
    )
    told = [e for e in cloud.store.audit_entries if e.what == "told"]
    assert told[0].run == {"notifications": list(cloud.store.messages)}


def test_a_repeat_is_no_latency_of_an_alert() -> None:
    cloud = waiting(repeat_interval=4 * 3600.0)
    cloud.pass_time(hours=9, tick=600)
    assert reasons(cloud) == ["first_seen", "repeat_due", "repeat_due"]
    assert len(cloud.metric("AlertLatency")) == 1


# --- the order of what comes in


@pytest.mark.parametrize("group_wait", [30.0, 900.0])
def test_what_was_resolved_by_hand_before_anybody_heard_is_never_told(group_wait: float) -> None:
    cloud = waiting(group_wait=group_wait)
    cloud.now += timedelta(seconds=20)
    cloud.acts().resolve(INCOME, "ann")
    cloud.pass_time(hours=30, tick=60)
    assert cloud.alerts == []


@pytest.mark.parametrize("group_wait", [30.0, 900.0])
def test_what_was_acknowledged_before_anybody_heard_is_not_told(group_wait: float) -> None:
    cloud = waiting(group_wait=group_wait)
    cloud.now += timedelta(seconds=20)
    cloud.acts().acknowledge(INCOME, "ann")
    cloud.pass_time(hours=30, tick=60)
    assert cloud.alerts == []

    cloud.acts().withdraw(INCOME, "ann")
    cloud.pass_time(hours=1)
    assert len(cloud.alerts) == 1


def test_what_was_resolved_by_hand_stays_resolved_though_older_news_wait() -> None:
    cloud = waiting(group_wait=900.0)
    cloud.pass_time(minutes=20)
    cloud.run_ends(b.judgement(distance=3.0))
    cloud.pass_time(minutes=1)
    cloud.acts().resolve(INCOME, "ann")
    cloud.pass_time(hours=30, tick=60)
    assert cloud.alerts[-1].detail_type == "IncidentResolved"
    assert not any(h.entry.firing for g in cloud.store.groups.values() for h in g.held.values())


def test_what_came_back_is_not_over_because_its_end_waited_longer() -> None:
    # Given an end that waits for 15 minutes, and then a policy that waits for half a minute only
    cloud = waiting(group_wait=900.0)
    cloud.pass_time(minutes=20)
    cloud.run_ends()
    cloud.now += timedelta(seconds=1)
    cloud.run_ends()
    cloud.in_force.policy = Policy(route=Route(name="default", receiver="team"))
    cloud.now += timedelta(minutes=1)
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=30)
    (group,) = cloud.store.groups.values()
    assert group.held[INCOME].entry.firing
    assert cloud.alerts[-1].detail_type != "IncidentResolved"


def test_an_acknowledgement_in_the_minute_of_the_repeat_comes_first() -> None:
    cloud = waiting(repeat_interval=3600.0)
    cloud.pass_time(minutes=60)
    cloud.now += timedelta(seconds=30)
    cloud.acts().acknowledge(INCOME, "ann")
    cloud.pass_time(hours=5, tick=60)
    assert reasons(cloud) == ["first_seen"]


def test_more_rows_than_one_look_takes_keep_their_order() -> None:
    # Given 300 groups with one incident each, and one of them resolved at once
    policy = Policy(
        route=Route(
            name="default",
            receiver="team",
            group_by=("endpoint",),
            group_wait=60.0,
            repeat_interval=4 * 3600.0,
        )
    )
    cloud = Cloud(policy=policy)
    for n in range(300):
        cloud.run_ends(b.judgement(), scope=scope_of(f"endpoint-{n:03}"))
    cloud.now += timedelta(seconds=30)
    for n in range(250, 300):
        cloud.acts().resolve(b.id_of(b.judgement(), f"endpoint-{n:03}"), "ann")
    # Then all others are told, and it is over for these
    cloud.pass_time(minutes=10)
    firing = {a.attributes["endpoint"] for a in cloud.alerts}
    assert firing == {f"endpoint-{n:03}" for n in range(250)}
    assert len(cloud.alerts) == 250
    cloud.pass_time(hours=4.2, tick=600)
    assert len(cloud.alerts) == 500


# --- errors


def two_groups() -> Cloud:
    cloud = Cloud()
    cloud.run_ends(b.judgement(), scope=scope_of("churn"))
    cloud.run_ends(b.judgement(), scope=scope_of("fraud"))
    cloud.now += timedelta(minutes=1)
    return cloud


@pytest.mark.parametrize("step", ["group", "commit group", "sources"])
@pytest.mark.parametrize("error", [ThrottledError("slow down"), AccessDeniedError("no")])
def test_one_group_that_cannot_be_told_does_not_keep_the_other_waiting(
    step: str, error: GuiderailError
) -> None:
    cloud = two_groups()
    cloud.failures[step] = [error]

    with pytest.raises(type(error)):
        cloud.due_changes()()
    assert len({a.attributes["endpoint"] for a in cloud.alerts}) >= 1

    cloud.due_changes()()
    assert sorted(a.attributes["endpoint"] for a in cloud.alerts) == ["churn", "fraud"]
    assert len(cloud.store.messages) == 2
    assert all(isinstance(row, str) for row in cloud.store.due_rows.values()), "repeats alone wait"


@pytest.mark.parametrize("step", ["policy", "ledger", "due", "silences"])
def test_an_error_at_any_other_step_loses_nothing(step: str) -> None:
    cloud = two_groups()
    cloud.failures[step] = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        cloud.due_changes()()
    cloud.due_changes()()
    assert len(cloud.alerts) == 2


def test_a_delivery_that_could_not_be_queued_is_looked_at_again() -> None:
    cloud = waiting()
    cloud.now += timedelta(minutes=1)
    cloud.failures["queue"] = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        cloud.due_changes()()
    assert cloud.sent == []

    cloud.pass_time(minutes=5)

    assert sorted(s.channel.name for s in cloud.sent) == ["bus", "topic"]
    cloud.pass_time(minutes=30)
    assert len(cloud.sent) == 2


def test_a_conflict_at_one_overdue_delivery_holds_back_no_other() -> None:
    cloud = waiting()
    cloud.now += timedelta(minutes=1)
    cloud.failures["queue"] = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        cloud.due_changes()()
    cloud.now += timedelta(minutes=3)
    cloud.failures["look later"] = [ConflictError("somebody is at it")]

    cloud.due_changes()()

    assert sorted(s.channel.name for s in cloud.sent) == ["bus", "topic"]


def test_a_receiver_with_all_its_channels_is_told_of_many_notices() -> None:
    channels = tuple(Channel(kind=ChannelKind.TOPIC, name=f"t{n}") for n in range(MOST_CHANNELS))
    team = Receiver(name="team", channels=channels)
    cloud = Cloud(
        policy=Policy(route=Route(name="default", receiver="team"), receivers={"team": team})
    )
    for n in range(120):
        cloud.run_ends(b.judgement(f"f{n}"), scope=scope_of(schedule=f"hourly-{n}"))
    cloud.pass_time(minutes=2)
    (alert,) = cloud.alerts
    assert alert.detail["incident_count"] == 120
    assert all(len(cloud.sent_over(channel.name)) == 1 for channel in channels)


def test_a_crash_at_any_step_of_a_busy_hour_tells_everything_once() -> None:
    # Given an hour with news, acts, a repeat, an escalation and an end
    def hour(cut: int | None) -> Cloud:
        cloud = Cloud(
            policy=Policy(
                route=Route(
                    name="default",
                    receiver="team",
                    repeat_interval=1800.0,
                    escalation=(EscalationStep(1200.0, "boss"),),
                )
            )
        )
        cloud.run_ends(b.judgement(), b.judgement("age"))
        tick(cloud, cut)
        cloud.acts().acknowledge(INCOME, "ann")
        for _ in range(40):
            tick(cloud, cut)
        cloud.run_ends(b.judgement("age", distance=2.0))
        for _ in range(10):
            tick(cloud, cut)
        cloud.now += timedelta(seconds=1)
        cloud.run_ends()
        for _ in range(10):
            tick(cloud, cut)
        return cloud

    def tick(cloud: Cloud, cut: int | None) -> None:
        cloud.now += timedelta(minutes=1)
        if cut is not None:
            cloud.steps.clear()
            cloud.crash_after = cut
            try:
                cloud.due_changes()()
            except Crash:
                pass
            cloud.crash_after = None
        cloud.due_changes()()

    calm = hour(None)
    assert len(calm.alerts) >= 5
    # When the process dies after the n-th step of every minute
    for cut in range(1, 13):
        cloud = hour(cut)
        assert cloud.published == calm.published, cut
        assert cloud.store.groups == calm.store.groups, cut
        assert cloud.store.due_rows == calm.store.due_rows, cut


# --- what hides, across schedules


def test_a_failed_run_hides_drift_that_another_schedule_sees_until_it_is_over() -> None:
    cloud = Cloud()
    quality = scope_of(schedule="quality")
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=quality)
    cloud.now += timedelta(seconds=1)
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    (alert,) = cloud.alerts
    assert alert.detail_type == "RunUnhealthy"
    assert "1 inhibited_by: incident" in text_of(alert)
    assert "inhibited_by" in decided(cloud)

    for _ in range(2):
        cloud.now += timedelta(minutes=30)
        cloud.run_ends(scope=quality)
    cloud.pass_time(minutes=10)

    assert INCOME in {i["id"] for a in cloud.alerts[1:] for i in a.detail["incidents"] if i["news"]}


def test_an_inhibition_that_is_pushed_later_hides_from_the_next_run_on() -> None:
    cloud = Cloud(policy=Policy(inhibitions=()))
    quality = scope_of(schedule="quality")
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=quality)
    cloud.pass_time(minutes=10)
    cloud.in_force.policy = Policy()
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=quality)
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert len(cloud.alerts) == 1
    assert "inhibited_by" in decided(cloud)


def test_a_schedule_that_moves_to_another_endpoint_takes_what_it_hides_with_it() -> None:
    # Given a schedule whose failed run hides the endpoint's drift
    cloud = Cloud()
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=scope_of("old", "moving"))
    # When it is moved to another endpoint, where it runs well
    for _ in range(3):
        cloud.pass_time(minutes=10)
        cloud.run_ends(scope=scope_of("new", "moving"))
    # Then drift of the endpoint that it left is told
    cloud.run_ends(b.judgement(), scope=scope_of("old", "staying"))
    cloud.pass_time(minutes=20)
    told = {i["id"] for a in cloud.alerts for i in a.detail["incidents"] if i["news"]}
    assert b.id_of(b.judgement(), "old", "staying") in told


def test_an_inhibition_that_is_gone_hides_no_longer() -> None:
    everything = Inhibition(name="all", source=Match(check=("failed",)), target=Match())
    cloud = Cloud(policy=Policy(inhibitions=(everything,)))
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=scope_of(schedule="quality"))
    cloud.run_ends(b.judgement("age", "of_our_own"))
    cloud.pass_time(minutes=10)
    assert len(cloud.alerts) == 1
    cloud.in_force.policy = Policy(inhibitions=())
    cloud.pass_time(minutes=10)
    assert len(cloud.alerts) == 2


def test_what_is_muted_after_it_opened_is_not_repeated() -> None:
    cloud = waiting()
    cloud.pass_time(minutes=10)
    cloud.run_ends(b.judgement(reason=Reason.MUTED))
    cloud.pass_time(hours=30, tick=300)
    assert reasons(cloud) == ["first_seen"]


# --- routes


def test_a_policy_that_renames_a_route_tells_the_groups_of_the_old_one() -> None:
    cloud = waiting()
    cloud.pass_time(minutes=10)
    cloud.in_force.policy = Policy(route=Route(name="new", receiver="others"))
    cloud.run_ends(b.judgement(severity=Severity.CRITICAL))
    cloud.pass_time(minutes=10)
    assert [a.attributes["receiver"] for a in cloud.alerts] == ["team", "others"]


def test_after_a_new_policy_nothing_stays_firing_in_an_old_group() -> None:
    cloud = waiting()
    cloud.pass_time(minutes=10)
    for doing in (Act.START_REMEDIATION, Act.FINISH_REMEDIATION):
        cloud.acts().do(doing, INCOME, "bot")
    cloud.pass_time(minutes=10)
    cloud.in_force.policy = Policy(route=Route(name="new", receiver="others"))
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert cloud.alerts[-1].attributes["reason"] == "verification_failed"
    for _ in range(2):
        cloud.run_ends()
        cloud.pass_time(minutes=10)
    before = len(cloud.alerts)
    assert not any(i.state.is_firing for i in cloud.all_incidents())
    cloud.pass_time(hours=30, tick=300)
    assert len(cloud.alerts) == before


def test_both_receivers_of_two_routes_hear_it_once() -> None:
    children = (
        Route(name="a", receiver="a", match=Match(endpoint=("loan-*",)), goes_on=True),
        Route(name="b", receiver="b"),
    )
    cloud = Cloud(policy=Policy(route=Route(name="root", receiver="root", routes=children)))
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert [a.attributes["receiver"] for a in cloud.alerts] == ["a", "b"]


# --- the policy itself


def about_policy(cloud: Cloud) -> list[tuple[str, str]]:
    return [
        (a.detail_type, a.detail["incidents"][0]["labels"]["check"])
        for a in cloud.alerts
        if "policy" in a.detail["incidents"][0]["labels"]["check"]
    ]


@pytest.mark.parametrize("trouble", [Reason.POLICY_MISSING, Reason.POLICY_UNREADABLE])
def test_trouble_with_the_policy_is_an_incident_about_itself(trouble: Reason) -> None:
    cloud = Cloud()
    cloud.in_force.trouble, cloud.in_force.evidence = trouble, "no object policy.json"
    cloud.pass_time(minutes=30)
    assert about_policy(cloud) == [("IncidentOpened", trouble.value)]
    assert "no object policy.json" in cloud.alerts[0].rows[0].line
    (incident,) = cloud.all_incidents()
    missing = trouble is Reason.POLICY_MISSING
    assert incident.severity is (Severity.INFO if missing else Severity.ERROR)

    cloud.in_force.trouble = None
    cloud.pass_time(minutes=30)
    assert about_policy(cloud)[1:] == [("IncidentResolved", trouble.value)]
    cloud.pass_time(hours=30, tick=600)
    assert len(cloud.alerts) == 2


def test_other_trouble_takes_the_place_of_the_first() -> None:
    cloud = Cloud()
    cloud.in_force.trouble = Reason.POLICY_MISSING
    cloud.pass_time(minutes=10)
    cloud.in_force.trouble = Reason.POLICY_UNREADABLE
    cloud.pass_time(minutes=10)
    firing = [i.check for i in cloud.all_incidents() if i.state.is_firing]
    assert firing == ["policy_unreadable"]


def test_a_policy_that_comes_and_goes_is_told_as_flapping_and_ends() -> None:
    cloud = Cloud()
    for _ in range(3):
        cloud.in_force.trouble = Reason.POLICY_UNREADABLE
        cloud.pass_time(minutes=20)
        cloud.in_force.trouble = None
        cloud.pass_time(minutes=20)
    assert "flapping" in reasons(cloud)
    cloud.pass_time(hours=30, tick=600)
    before = len(cloud.alerts)
    cloud.pass_time(hours=24, tick=600)
    assert len(cloud.alerts) == before


def test_runs_are_told_while_the_incident_about_the_policy_cannot_be_kept() -> None:
    cloud = waiting()
    cloud.in_force.trouble = Reason.POLICY_UNREADABLE
    cloud.now += timedelta(minutes=1)
    cloud.failures["commit act"] = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        cloud.due_changes()()
    assert reasons(cloud) == ["first_seen"]


# --- and so on


def test_n_of_m_waits_in_silence_and_then_is_told() -> None:
    cloud = Cloud()
    needs = b.judgement(runs_needed=RunsNeeded(2, 3))
    cloud.run_ends(needs)
    cloud.pass_time(minutes=30)
    assert cloud.alerts == []
    assert "waiting_n_of_m" in decided(cloud)
    cloud.run_ends(needs)
    cloud.pass_time(minutes=2)
    assert reasons(cloud) == ["first_seen"]


def test_silence_then_news_then_its_end() -> None:
    cloud = Cloud()
    cloud.acts().silence({"endpoint": "loan-*"}, cloud.now + timedelta(hours=2), "ann")
    cloud.run_ends(b.judgement())
    cloud.pass_time(hours=1)
    assert cloud.alerts == []
    assert {"silence_set", "silenced"} <= decided(cloud)
    cloud.pass_time(hours=1.1)
    assert reasons(cloud) == ["first_seen"]
    assert "silence_ended" in decided(cloud)


def test_a_silence_that_is_ended_by_hand_frees_what_it_hid() -> None:
    cloud = Cloud()
    silence = cloud.acts().silence({"endpoint": "*"}, cloud.now + timedelta(days=9), "ann")
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    cloud.acts().end_silence(silence.id, "ann")
    cloud.pass_time(minutes=6)
    assert reasons(cloud) == ["first_seen"]


def test_one_minute_of_a_storm_ends_in_good_time() -> None:
    # Given more to tell than one invocation's time allows
    cloud = Cloud()
    for n in range(900):
        cloud.run_ends(b.judgement(), scope=scope_of(f"endpoint-{n}"))
    cloud.pass_time(minutes=1)
    cloud.pass_time(minutes=4)
    assert len(cloud.alerts) == 900
    assert cloud.store.due(cloud.now) == Due()


def test_a_group_of_200_schedules_with_50_findings_each_fits_its_item() -> None:
    chance = random.Random(7)
    cloud = Cloud()
    for n in range(200):
        found = [
            b.judgement(f"feature_{k}_{chance.randrange(10**6)}", distance=chance.random())
            for k in range(50)
        ]
        cloud.run_ends(*found, scope=scope_of(schedule=f"loan-risk-hourly-{n}"))
    cloud.pass_time(minutes=2)
    assert len(cloud.alerts) == 1
    assert cloud.alerts[0].detail["incident_count"] == 10_000
    for group in cloud.store.groups.values():
        content = zlib.compress(msgspec.msgpack.encode(group), 9)
        assert len(content) <= LARGEST_CONTENT
