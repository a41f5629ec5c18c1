"""What people do, with its audit entry, over in-memory ports."""

from __future__ import annotations

from datetime import timedelta

import pytest
from guiderail.errors import ConflictError, NotFoundError, RejectedRequestError, ThrottledError
from guiderail.model.incident import IncidentState
from guiderail.model.outcome import Outcome, Reason
from guiderail.services.acts import LONGEST_SILENCE
from guiderail.services.incident_cycle import Act

from tests import builders as b
from tests.fakes import Cloud, scope_of

INCOME = b.id_of(b.judgement())
LEDGER = scope_of().ledger_id


def with_incident() -> Cloud:
    """An incident that people heard of an hour ago."""
    cloud = Cloud()
    cloud.run_ends(b.judgement())
    cloud.pass_time(hours=1)
    cloud.steps.clear()
    return cloud


def test_an_act_is_one_read_and_one_transaction() -> None:
    cloud = with_incident()
    cloud.acts().acknowledge(INCOME, "ann")
    assert cloud.steps == ["ledger", "policy", "commit act"]


def test_an_act_is_kept_with_who_when_and_from_where() -> None:
    cloud = with_incident()

    incident = cloud.acts().acknowledge(INCOME, "ann", "laptop of ann", "looking at the feed")

    assert (incident.state, incident.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "ann")
    assert cloud.store.ledgers[LEDGER].incidents[INCOME] == incident
    (audit,) = cloud.store.audit(LEDGER, 1)
    assert (audit.at, audit.actor, audit.origin, audit.what) == (
        cloud.now,
        "ann",
        "laptop of ann",
        "acknowledge",
    )
    assert audit.counts == {"acknowledged": 1}
    (decision,) = audit.decisions
    assert (decision.about, decision.text) == (INCOME, "looking at the feed")


def test_done_already_nothing_changes() -> None:
    cloud = with_incident()
    first = cloud.acts().acknowledge(INCOME, "ann")
    cloud.steps.clear()
    assert cloud.acts().acknowledge(INCOME, "bea") == first
    assert cloud.steps == ["ledger"]


@pytest.mark.parametrize("incident", ["no-such", "", "-", f"{LEDGER}-no-such", "ü" * 256])
def test_an_incident_that_is_not_there(incident: str) -> None:
    with pytest.raises(NotFoundError, match="there is no incident"):
        with_incident().acts().acknowledge(incident, "ann")


def test_an_act_that_the_state_does_not_allow() -> None:
    cloud = with_incident()
    with pytest.raises(RejectedRequestError, match="is open; finish remediation needs remediating"):
        cloud.acts().do(Act.FINISH_REMEDIATION, INCOME, "bot")
    assert cloud.steps == ["ledger"]


def test_a_conflict_is_tried_again_with_what_is_there_now() -> None:
    # Given a run that ends between the read and the write
    cloud = with_incident()
    commit = cloud.store.commit_act

    def overtaken(*given: object) -> None:
        cloud.store.commit_act = commit  # type: ignore[method-assign]
        cloud.run_ends(b.judgement(), b.judgement("age"))
        commit(*given)  # type: ignore[arg-type]

    cloud.store.commit_act = overtaken  # type: ignore[method-assign, assignment]
    cloud.acts().acknowledge(INCOME, "ann")

    ledger = cloud.store.ledgers[LEDGER]
    assert ledger.incidents[INCOME].state is IncidentState.ACKNOWLEDGED
    assert len(ledger.incidents) == len(ledger.runs) == 2


def test_conflicts_without_an_end_are_told() -> None:
    cloud = with_incident()
    cloud.failures["commit act"] = [ConflictError("no")] * 5
    with pytest.raises(ConflictError):
        cloud.acts().acknowledge(INCOME, "ann")
    assert cloud.failures["commit act"] == []


def test_four_conflicts_are_borne() -> None:
    cloud = with_incident()
    cloud.failures["commit act"] = [ConflictError("no")] * 4
    assert cloud.acts().acknowledge(INCOME, "ann").state is IncidentState.ACKNOWLEDGED


def test_throttling_comes_out() -> None:
    cloud = with_incident()
    cloud.failures["commit act"] = [ThrottledError("slow down")]
    with pytest.raises(ThrottledError):
        cloud.acts().resolve(INCOME, "ann")


def test_the_group_knows_within_the_minute() -> None:
    cloud = with_incident()
    cloud.acts().acknowledge(INCOME, "ann")
    cloud.pass_time(minutes=1)
    (group,) = cloud.store.groups.values()
    assert group.held[INCOME].entry.acknowledged
    assert len(cloud.alerts) == 1


def test_what_is_resolved_by_hand_is_told_to_those_who_knew() -> None:
    cloud = with_incident()
    cloud.acts().resolve(INCOME, "ann")
    cloud.pass_time(minutes=1)
    assert cloud.alerts[-1].detail_type == "IncidentResolved"
    assert cloud.alerts[-1].attributes["reason"] == "resolved_by_hand"


def test_resolving_what_hides_others_frees_them() -> None:
    cloud = Cloud()
    cloud.run_ends(b.unhealthy(), outcome=Outcome.FAILED, scope=scope_of(schedule="quality"))
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert len(cloud.alerts) == 1
    cloud.acts().resolve(b.id_of(b.unhealthy(), schedule="quality"), "ann")
    cloud.pass_time(minutes=10)
    news = {
        i["id"]: i["reason"] for a in cloud.alerts[1:] for i in a.detail["incidents"] if i["news"]
    }
    assert news[INCOME] == "first_seen"


@pytest.mark.parametrize(
    ("doing", "what"),
    [
        ([Act.START_REMEDIATION], "remediation"),
        ([Act.ACKNOWLEDGE, Act.WITHDRAW], "withdraw"),
        ([Act.RESOLVE], "resolve"),
    ],
)
def test_the_audit_names_the_act(doing: list[Act], what: str) -> None:
    cloud = with_incident()
    for each in doing:
        cloud.now += timedelta(seconds=1)
        cloud.acts().do(each, INCOME, "ann")
    assert cloud.store.audit(LEDGER, 1)[0].what == what


# --- assigning


def test_assigning_acknowledges_in_the_name_of_the_assignee() -> None:
    cloud = with_incident()

    incident = cloud.acts().assign(INCOME, "bea", "ann", "laptop", "she knows the feed")

    assert (incident.state, incident.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "bea")
    assert incident.reason is Reason.ASSIGNED
    (audit,) = cloud.store.audit(LEDGER, 1)
    assert (audit.what, audit.actor, audit.counts) == ("assign", "ann", {"assigned": 1})
    assert audit.decisions[0].text == "to bea: she knows the feed"
    assert cloud.steps == ["ledger", "policy", "commit act"]


def test_assigned_to_the_same_again_nothing_changes() -> None:
    cloud = with_incident()
    first = cloud.acts().assign(INCOME, "bea", "ann")
    cloud.steps.clear()
    assert cloud.acts().assign(INCOME, "bea", "cid") == first
    assert cloud.acts().acknowledge(INCOME, "cid") == first
    assert cloud.steps == ["ledger", "ledger"]


def test_what_somebody_has_can_be_handed_on() -> None:
    cloud = with_incident()
    cloud.acts().acknowledge(INCOME, "ann")
    cloud.now += timedelta(seconds=1)
    assert cloud.acts().assign(INCOME, "bea", "ann").acknowledged_by == "bea"
    assert [a.what for a in cloud.store.audit(LEDGER, 2)] == ["assign", "acknowledge"]
    assert cloud.acts().withdraw(INCOME, "bea").acknowledged_by == ""


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ([Act.RESOLVE], "is resolved; assign needs open or acknowledged"),
        ([Act.START_REMEDIATION], "is remediating; assign needs"),
        ([Act.START_REMEDIATION, Act.FINISH_REMEDIATION], "is verifying; assign needs"),
    ],
)
def test_what_cannot_be_assigned(before: list[Act], says: str) -> None:
    cloud = with_incident()
    for each in before:
        cloud.acts().do(each, INCOME, "ann")
    with pytest.raises(RejectedRequestError, match=says):
        cloud.acts().assign(INCOME, "bea", "ann")


def test_nobody_else_is_named_by_an_acknowledgement() -> None:
    cloud = with_incident()
    assert cloud.acts().acknowledge(INCOME, "ann").acknowledged_by == "ann"


# --- noise


def test_noise_is_kept_with_what_was_measured() -> None:
    cloud = with_incident()
    known = cloud.store.ledgers[LEDGER].incidents[INCOME]

    cloud.acts().noise(INCOME, cloud.store.keep_feedback, "t1", "ann", "laptop", "each Monday")

    (feedback,) = cloud.store.feedback(cloud.now)
    assert (feedback.incident, feedback.actor, feedback.comment) == (INCOME, "ann", "each Monday")
    assert (feedback.observed, feedback.threshold, feedback.distance) == (
        known.observed,
        known.threshold,
        known.distance,
    )
    assert feedback.observed is not None
    assert feedback.labels["feature"] == "income"
    assert feedback.at == cloud.now
    (audit,) = cloud.store.audit(LEDGER, 1)
    assert (audit.what, audit.origin, audit.counts) == ("noise", "laptop", {"marked_noise": 1})
    assert audit.decisions[0].about == INCOME
    assert cloud.store.ledgers[LEDGER].incidents[INCOME] == known


def test_noise_of_the_same_identity_is_kept_once() -> None:
    cloud = with_incident()
    for identity in ("t1", "t1", "t2"):
        cloud.acts().noise(INCOME, cloud.store.keep_feedback, identity, "ann")
    assert len(list(cloud.store.feedback(cloud.now))) == 2


def test_noise_of_what_is_over_is_kept_too() -> None:
    cloud = with_incident()
    cloud.acts().resolve(INCOME, "ann")
    cloud.acts().noise(INCOME, cloud.store.keep_feedback, "t1", "ann")
    assert len(list(cloud.store.feedback(cloud.now))) == 1


def test_noise_of_nothing() -> None:
    cloud = with_incident()
    for name in ("no-such", f"{LEDGER}-no-such"):
        with pytest.raises(NotFoundError, match="there is no incident"):
            cloud.acts().noise(name, cloud.store.keep_feedback, "t1", "ann")
    assert list(cloud.store.feedback(cloud.now)) == []


# --- silences


def test_a_silence_of_the_same_identity_is_one() -> None:
    cloud = Cloud()
    match, hours = {"endpoint": "loan-*"}, timedelta(hours=1)
    first = cloud.acts().silence(match, cloud.now + hours, "ann", identity="t1")
    cloud.now += timedelta(minutes=30)
    assert cloud.acts().silence(match, cloud.now + hours, "bea", identity="t1") == first
    assert cloud.acts().silence(match, cloud.now + hours, "bea", identity="t2") != first
    assert len(cloud.store.kept_silences) == 2
    assert len(cloud.store.audit(first.id, 9)) == 1


def test_an_identity_whose_silence_is_over_may_be_silenced_again() -> None:
    cloud = Cloud()
    for _ in range(2):
        until = cloud.now + timedelta(hours=1)
        made = cloud.acts().silence({"endpoint": "*"}, until, "ann", identity="t1")
        assert made.ends_at == until
        cloud.now = until


def test_a_silence_is_kept_with_its_author() -> None:
    cloud = Cloud()
    until = cloud.now + timedelta(hours=2)

    silence = cloud.acts().silence({"endpoint": "loan-*"}, until, "ann", "known", "laptop")

    assert cloud.store.silences(cloud.now) == [silence]
    assert (silence.match, silence.starts_at, silence.ends_at) == (
        {"endpoint": "loan-*"},
        cloud.now,
        until,
    )
    assert (silence.author, silence.comment) == ("ann", "known")
    (audit,) = cloud.store.audit(silence.id, 9)
    assert (audit.what, audit.actor, audit.origin) == ("silence", "ann", "laptop")
    assert audit.counts == {"silence_set": 1}
    assert "endpoint=loan-*" in audit.decisions[0].text


@pytest.mark.parametrize(
    ("match", "hours", "says"),
    [
        ({}, 1, "something to match"),
        ({"endpoint": "*"}, 0, "would have ended"),
        ({"endpoint": "*"}, -5, "would have ended"),
        ({"endpoint": "*"}, LONGEST_SILENCE / timedelta(hours=1) + 1, "longer than a year"),
    ],
)
def test_a_silence_that_makes_no_sense(match: dict[str, str], hours: float, says: str) -> None:
    cloud = Cloud()
    with pytest.raises(RejectedRequestError, match=says) as caught:
        cloud.acts().silence(match, cloud.now + timedelta(hours=hours), "ann")
    assert caught.value.remedy
    assert cloud.steps == []


def test_a_year_is_not_too_long() -> None:
    cloud = Cloud()
    cloud.acts().silence({"endpoint": "*"}, cloud.now + LONGEST_SILENCE, "ann")
    assert len(cloud.store.kept_silences) == 1


def test_ending_a_silence_ends_it_now() -> None:
    cloud = Cloud()
    silence = cloud.acts().silence({"endpoint": "*"}, cloud.now + timedelta(hours=2), "ann")
    cloud.now += timedelta(minutes=5)

    ended = cloud.acts().end_silence(silence.id, "bea", "laptop")

    assert ended.ends_at == cloud.now
    assert cloud.store.silences(cloud.now) == []
    newest, first = cloud.store.audit(silence.id, 9)
    assert (newest.actor, newest.counts) == ("bea", {Reason.SILENCE_ENDED.value: 1})
    assert first.counts == {Reason.SILENCE_SET.value: 1}


def test_a_silence_that_is_not_in_force_cannot_be_ended() -> None:
    cloud = Cloud()
    silence = cloud.acts().silence({"endpoint": "*"}, cloud.now + timedelta(hours=2), "ann")
    cloud.now += timedelta(hours=3)
    for name in (silence.id, "silence-none"):
        with pytest.raises(NotFoundError, match="no silence"):
            cloud.acts().end_silence(name, "ann")
