"""A remediation from its request to its end, over in-memory ports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from guiderail.errors import (
    MalformedEventError,
    NotFoundError,
    RejectedRequestError,
    UnavailableError,
)
from guiderail.model.incident import IncidentState
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import (
    ActionKind,
    Cause,
    GuardRails,
    RemediationAction,
    RemediationMode,
    Verification,
    WeeklyHours,
)
from guiderail.model.remediation import (
    EVERYTHING,
    ActionState,
    Gate,
    Lineage,
    RemediationState,
)

from tests import builders as b
from tests.fakes import scope_of
from tests.remediations import (
    ANA,
    BEN,
    RETRAIN,
    RemediationCloud,
    policy_with,
    retrain,
)

QUALITY = "LessThanThreshold"
REINGEST = RemediationAction(
    name="ingest again",
    kind=ActionKind.REINGEST,
    mode=RemediationMode.ASK,
    parameters={"feature_group": "loans", "source": "s3://feed/{schedule}/"},
)


def worse(feature: str | None = None, action: str = RETRAIN, check: str = QUALITY) -> Any:
    """A finding whose rule asks for a remediation."""
    return b.judgement(feature, check, remediation=action)


def cloud_with(*actions: RemediationAction, **fields: Any) -> RemediationCloud:
    return RemediationCloud(policy_with(*actions, **fields))


def asked(mode: RemediationMode = RemediationMode.ASK, **fields: Any) -> RemediationCloud:
    """A cloud in which a drop of quality asked for retraining, and the gates were asked."""
    cloud = cloud_with(retrain(mode, **fields))
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    return cloud


def running(**fields: Any) -> RemediationCloud:
    """A cloud in which the retraining runs."""
    cloud = asked(RemediationMode.AUTO, **fields)
    assert cloud.only.state is RemediationState.RUNNING
    return cloud


def verifying(**fields: Any) -> RemediationCloud:
    """A cloud in which the retraining ended well."""
    cloud = running(**fields)
    cloud.actions.end(cloud.only.id)
    cloud.pass_time(minutes=20)
    assert cloud.only.state is RemediationState.VERIFYING
    return cloud


def reasons(cloud: RemediationCloud) -> list[str]:
    return [moment.reason.value for moment in cloud.only.timeline]


def incident_state(cloud: RemediationCloud) -> IncidentState:
    (incident,) = [i for i in cloud.all_incidents() if i.remediation]
    return incident.state


# --- the request


def test_a_run_asks_once_for_all_its_incidents() -> None:
    cloud = cloud_with(retrain())
    cloud.run_ends(worse(), worse("income", check="baseline_drift_check"))
    cloud.now += timedelta(hours=1)
    cloud.run_ends(worse(), worse("income", check="baseline_drift_check"))
    assert len(cloud.only.incidents) == 2
    assert cloud.only.facts["features"] == "income"
    assert cloud.only.target == "endpoint/loan-risk-prod"


def test_an_action_that_the_policy_does_not_have_is_not_asked_for() -> None:
    cloud = cloud_with(retrain())
    cloud.run_ends(worse(action="no such action"))
    assert cloud.all == []


def test_it_begins_when_people_have_heard_of_the_incident() -> None:
    cloud = cloud_with(retrain())
    cloud.run_ends(worse())
    cloud.now += timedelta(seconds=20)
    cloud.due_changes()()
    assert cloud.machine.executions == {}
    cloud.now += timedelta(seconds=20)
    cloud.due_changes()()
    assert list(cloud.machine.executions) == [cloud.only.id]


# --- modes


def test_what_is_only_suggested_ends_and_can_be_started_by_hand() -> None:
    cloud = asked(RemediationMode.SUGGEST)
    assert cloud.only.state is RemediationState.SUGGESTED
    assert cloud.actions.begun == []
    started = cloud.remediation_acts().request(cloud.only.incidents[0], RETRAIN, "arn:ana")
    cloud.pass_time(minutes=1)
    assert cloud.actions.begun == [started.id]


def test_what_is_asked_waits_for_approval_and_then_runs() -> None:
    cloud = asked()
    known = cloud.only
    assert (known.state, known.reason) == (RemediationState.ASKED, Reason.REMEDIATION_ASKED)
    assert cloud.actions.begun == []
    cloud.remediation_acts().approve(known.id, ANA)
    cloud.machine.run()
    assert cloud.only.state is RemediationState.RUNNING
    assert incident_state(cloud) is IncidentState.REMEDIATING
    assert reasons(cloud) == [
        "remediation_asked",
        "remediation_approved",
        "remediation_approved",
        "action_started",
    ]


def test_a_clean_run_proves_it_and_closes_the_incident() -> None:
    cloud = verifying()
    assert incident_state(cloud) is IncidentState.VERIFYING
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(minutes=2)
    assert cloud.only.state is RemediationState.PROVEN
    assert incident_state(cloud) is IncidentState.RESOLVED
    assert cloud.store.guard_kept.locks == {}
    (closed,) = [i for i in cloud.all_incidents() if i.remediation]
    assert closed.reason is Reason.REMEDIATION_PROVEN


def test_bias_is_for_a_human_even_where_the_mode_is_auto() -> None:
    action = retrain(RemediationMode.AUTO, causes=(Cause.BIAS,))
    cloud = cloud_with(action)
    cloud.run_ends(
        b.judgement("gender", "bias_drift_check", kind=MonitorKind.BIAS, remediation=RETRAIN)
    )
    cloud.pass_time(minutes=2)
    assert cloud.only.state is RemediationState.ASKED
    assert "human" in cloud.only.gates[-1].text


def test_four_eyes_need_two_people_and_the_same_one_twice_is_one() -> None:
    cloud = asked(four_eyes=True)
    acts = cloud.remediation_acts()
    acts.approve(cloud.only.id, ANA)
    acts.approve(cloud.only.id, ANA)
    cloud.machine.run()
    assert cloud.only.reason is Reason.ANOTHER_APPROVAL_NEEDED
    assert cloud.actions.begun == []
    acts.approve(cloud.only.id, BEN)
    cloud.machine.run()
    assert cloud.actions.begun == [cloud.only.id]


def test_who_starts_it_by_hand_is_one_of_the_four_eyes() -> None:
    cloud = asked(RemediationMode.SUGGEST, four_eyes=True)
    acts = cloud.remediation_acts()
    started = acts.request(cloud.only.incidents[0], RETRAIN, ANA)
    cloud.machine.run()
    with pytest.raises(RejectedRequestError, match="Another person"):
        acts.approve(started.id, ANA)
    acts.approve(started.id, BEN)
    cloud.machine.run()
    assert cloud.actions.begun == [started.id]


# --- approval


def test_a_rejection_is_the_end() -> None:
    cloud = asked()
    cloud.remediation_acts().reject(cloud.only.id, ANA, comment="not now")
    cloud.machine.run()
    assert cloud.only.state is RemediationState.REJECTED
    assert cloud.machine.executions[cloud.only.id].over
    with pytest.raises(RejectedRequestError, match="is rejected"):
        cloud.remediation_acts().approve(cloud.only.id, BEN)
    assert cloud.actions.begun == []


def test_approval_expires_and_says_so() -> None:
    cloud = asked(approval_life=3600.0)
    cloud.pass_time(minutes=70)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.EXPIRED,
        Reason.APPROVAL_EXPIRED,
    )
    with pytest.raises(RejectedRequestError):
        cloud.remediation_acts().approve(cloud.only.id, ANA)


def test_an_approval_that_comes_too_late_is_refused_before_anybody_noticed() -> None:
    cloud = asked(approval_life=3600.0)
    cloud.now += timedelta(hours=2)
    with pytest.raises(RejectedRequestError, match="until"):
        cloud.remediation_acts().approve(cloud.only.id, ANA)


def test_nobody_else_than_the_approvers_may_decide() -> None:
    cloud = asked(approvers=("slack:T0123/BEN",))
    with pytest.raises(RejectedRequestError, match="none of those"):
        cloud.remediation_acts().approve(cloud.only.id, ANA)
    with pytest.raises(RejectedRequestError, match="none of those"):
        cloud.remediation_acts().reject(cloud.only.id, "arn:aws:iam::1:user/eve")
    cloud.remediation_acts().approve(cloud.only.id, BEN)


def test_an_approval_whose_wake_is_lost_is_heard_within_a_minute() -> None:
    cloud = asked()
    cloud.machine.is_deaf = True
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.machine.is_deaf = False
    cloud.machine.run()
    assert cloud.actions.begun == []
    cloud.pass_time(minutes=1)
    assert cloud.actions.begun == [cloud.only.id]


def test_a_policy_that_changed_meanwhile_is_what_counts() -> None:
    cloud = asked()
    cloud.in_force.policy = policy_with(REINGEST)
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.machine.run()
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.BLOCKED,
        Reason.ACTION_UNKNOWN,
    )


# --- gates in the whole


def test_a_broken_feed_that_another_schedule_sees_blocks_retraining_and_asks_to_ingest_again() -> (
    None
):
    cloud = cloud_with(retrain(RemediationMode.AUTO), REINGEST)
    cloud.run_ends(
        worse("income", REINGEST.name, "completeness_check"), scope=scope_of(schedule="inputs")
    )
    cloud.now += timedelta(seconds=5)
    cloud.run_ends(worse(), scope=scope_of(schedule="quality"))
    cloud.pass_time(minutes=2)
    by_action = {r.action: r for r in cloud.all}
    assert by_action[RETRAIN].reason is Reason.CAUSE_NOT_ELIGIBLE
    assert by_action[RETRAIN].state is RemediationState.BLOCKED
    assert by_action[REINGEST.name].state is RemediationState.ASKED
    assert by_action[REINGEST.name].target == "feature_group/loans"


def test_two_incidents_that_want_one_target_get_it_one_after_the_other() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.run_ends(worse(), scope=scope_of(schedule="one"))
    cloud.now += timedelta(seconds=1)
    cloud.run_ends(worse(), scope=scope_of(schedule="two"))
    cloud.pass_time(minutes=2)
    assert cloud.states() == [RemediationState.RUNNING, RemediationState.BLOCKED]
    assert cloud.all[1].reason is Reason.TARGET_LOCKED


def test_a_budget_that_is_used_up_blocks_and_frees_with_time() -> None:
    rails = GuardRails(per_hour=1, per_day=None, per_month=None)
    cloud = cloud_with(retrain(RemediationMode.AUTO), guard_rails=rails)
    cloud.run_ends(worse(), scope=scope_of("one-prod"))
    cloud.now += timedelta(seconds=1)
    cloud.run_ends(worse(), scope=scope_of("two-prod"))
    cloud.pass_time(minutes=2)
    assert cloud.all[1].reason is Reason.BUDGET_USED
    cloud.pass_time(hours=1)
    cloud.run_ends(worse(), scope=scope_of("three-prod"))
    cloud.pass_time(minutes=2)
    assert cloud.all[2].state is RemediationState.RUNNING


def test_the_kill_switch_stops_everything_until_it_is_reset() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.remediation_acts().stop(EVERYTHING, "ana", "the feed is being moved")
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert cloud.only.reason is Reason.SWITCHED_OFF
    assert "the feed is being moved" in cloud.only.gates[0].text
    cloud.remediation_acts().resume(EVERYTHING, "ana")
    cloud.run_ends(worse(), scope=scope_of("other-prod"))
    cloud.pass_time(minutes=2)
    assert cloud.all[1].state is RemediationState.RUNNING
    with pytest.raises(NotFoundError):
        cloud.remediation_acts().resume(EVERYTHING, "ana")


def test_a_kill_switch_that_is_thrown_before_it_begins_stops_it_and_gives_all_back() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.run_ends(worse())
    cloud.now += timedelta(minutes=1)
    cloud.due_changes()()
    cloud.machine.step(cloud.machine.executions[cloud.only.id])
    assert cloud.only.state is RemediationState.ACTING
    assert len(cloud.store.guard_kept.starts) == 1

    cloud.remediation_acts().stop("loan-risk-prod", "ana")
    cloud.machine.run()

    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.BLOCKED,
        Reason.SWITCHED_OFF,
    )
    assert cloud.actions.begun == []
    assert not cloud.store.guard_kept.starts
    assert cloud.store.guard_kept.locks == {}


def test_an_override_lets_a_gate_pass_and_is_on_record() -> None:
    cloud = cloud_with(retrain(RemediationMode.SUGGEST))
    cloud.run_ends(worse("income", check="completeness_check"))
    cloud.pass_time(minutes=2)
    acts = cloud.remediation_acts()
    (incident,) = cloud.only.incidents
    acts.request(incident, RETRAIN, ANA)
    cloud.machine.run()
    assert cloud.all[-1].reason is Reason.CAUSE_NOT_ELIGIBLE
    cloud.now += timedelta(seconds=1)
    acts.request(incident, RETRAIN, ANA, overrides=[Gate.CAUSE])
    cloud.machine.run()
    said = next(a for a in cloud.all[-1].gates if a.gate is Gate.CAUSE)
    assert said.passed
    assert said.reason is Reason.STARTED_BY_HAND
    assert "broken_feed" in said.text
    with pytest.raises(RejectedRequestError, match="kill_switch"):
        acts.request(incident, RETRAIN, ANA, overrides=[Gate.KILL_SWITCH])


def test_a_dry_run_asks_the_gates_and_changes_nothing() -> None:
    cloud = asked(RemediationMode.SUGGEST)
    before = len(cloud.all)
    answers = cloud.remediation_acts().gates(cloud.only.incidents[0], RETRAIN, ANA)
    assert {a.gate for a in answers} == set(Gate)
    assert all(a.passed for a in answers)
    assert len(cloud.all) == before


def test_a_freeze_blocks() -> None:
    always = (WeeklyHours(),)
    rails = GuardRails(freezes=("release week",))
    cloud = cloud_with(
        retrain(RemediationMode.AUTO), guard_rails=rails, hours={"release week": always}
    )
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert cloud.only.reason is Reason.CHANGE_FREEZE


# --- the action


def test_an_action_that_is_refused_escalates_and_opens_the_incident_again() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.actions.errors = [RejectedRequestError("there is no pipeline loans-retrain")]
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.FAILED,
        Reason.ACTION_REFUSED,
    )
    assert incident_state(cloud) is IncidentState.OPEN
    assert cloud.store.guard_kept.locks == {}


def test_throttling_tries_the_same_action_again() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.actions.errors = [UnavailableError("busy")] * 3
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert cloud.actions.begun == [cloud.only.id]
    assert cloud.only.state is RemediationState.RUNNING


def test_what_never_works_is_given_up_with_its_reason() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.actions.errors = [UnavailableError("busy")] * 50
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.FAILED,
        Reason.DRIVER_FAILED,
    )
    assert "busy" in cloud.only.timeline[-1].text
    assert incident_state(cloud) is IncidentState.OPEN


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ActionState.FAILED, Reason.ACTION_FAILED),
        (ActionState.STOPPED, Reason.ACTION_STOPPED),
    ],
)
def test_an_action_that_ends_badly_escalates_though_no_event_came(
    state: ActionState, reason: Reason
) -> None:
    cloud = running()
    cloud.actions.end(cloud.only.id, state, "step Train: out of memory")
    cloud.pass_time(minutes=20)
    assert (cloud.only.state, cloud.only.reason) == (RemediationState.FAILED, reason)
    assert cloud.only.timeline[-1].text == "step Train: out of memory"
    assert incident_state(cloud) is IncidentState.OPEN


def test_an_action_that_never_ends_is_taken_as_failed() -> None:
    cloud = running(time_out=7200.0)
    cloud.pass_time(hours=3)
    assert cloud.only.reason is Reason.ACTION_TIMED_OUT
    # it may still be at it: nothing else touches the target
    assert cloud.store.guard_kept.locks[cloud.only.target].owner == cloud.only.id


def test_what_only_records_needs_no_proof() -> None:
    ticket = RemediationAction(
        name=RETRAIN, kind=ActionKind.TICKET, mode=RemediationMode.AUTO, attempts=5
    )
    cloud = cloud_with(ticket)
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.RECORDED,
        Reason.NOTHING_TO_PROVE,
    )
    assert incident_state(cloud) is IncidentState.OPEN


# --- proof


def test_a_run_whose_data_is_older_than_the_fix_proves_nothing_either_way() -> None:
    cloud = verifying()
    cloud.run_ends(worse(), data_from=cloud.now - timedelta(hours=2))
    cloud.pass_time(minutes=2)
    cloud.run_ends(data_from=cloud.now - timedelta(hours=1))
    cloud.pass_time(minutes=2)
    assert cloud.only.state is RemediationState.VERIFYING
    assert incident_state(cloud) is IncidentState.VERIFYING


def test_a_run_that_still_has_it_refutes_it_and_nothing_is_tried_again() -> None:
    cloud = verifying()
    cloud.run_ends(worse(), data_from=cloud.now)
    cloud.pass_time(minutes=2)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.NOT_PROVEN,
        Reason.VERIFICATION_FAILED,
    )
    assert incident_state(cloud) is IncidentState.OPEN
    cloud.run_ends(worse(), data_from=cloud.now)
    cloud.pass_time(hours=1)
    assert len(cloud.all) == 1


def test_what_comes_back_has_no_second_automatic_try() -> None:
    cloud = verifying(attempts=1)
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(minutes=2)
    assert cloud.only.state is RemediationState.PROVEN
    cloud.run_ends(worse(), data_from=cloud.now)
    cloud.pass_time(minutes=5)
    assert cloud.all[1].reason is Reason.ATTEMPTS_USED


def test_without_runs_it_is_not_proven() -> None:
    cloud = verifying(verification=Verification(within=4 * 3600.0))
    cloud.pass_time(hours=5)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.NOT_PROVEN,
        Reason.PROOF_TIMED_OUT,
    )
    assert incident_state(cloud) is IncidentState.OPEN


def test_more_clean_runs_are_needed_where_the_policy_says_so() -> None:
    cloud = verifying(verification=Verification(clean_runs=2))
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(minutes=5)
    assert cloud.states() == [RemediationState.VERIFYING]
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(minutes=5)
    assert cloud.states() == [RemediationState.PROVEN]


def test_a_stale_baseline_is_no_proof_and_a_finding_of_its_own() -> None:
    cloud = verifying()
    cloud.actions.known_lineage = Lineage(belongs=False, text="made for model 3")
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(minutes=2)
    assert cloud.only.reason is Reason.BASELINE_STALE
    own = [i for i in cloud.all_incidents() if i.check == "stale_baseline"]
    assert [i.state for i in own] == [IncidentState.OPEN]
    assert "made for model 3" in own[0].description


def test_a_baseline_of_which_nothing_is_known_is_no_proof() -> None:
    cloud = verifying(verification=Verification(within=3 * 3600.0))
    cloud.actions.known_lineage = Lineage(belongs=None)
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(hours=4)
    assert cloud.only.reason is Reason.BASELINE_UNKNOWN


def test_an_endpoint_that_serves_the_old_model_is_no_proof() -> None:
    cloud = verifying(verification=Verification(within=3 * 3600.0))
    cloud.actions.known_lineage = Lineage(made_by="another execution", belongs=True)
    cloud.run_ends(data_from=cloud.now)
    cloud.pass_time(hours=4)
    assert cloud.only.reason is Reason.ENDPOINT_UNCHANGED


def test_what_is_resolved_by_hand_is_on_record_as_that() -> None:
    cloud = verifying()
    cloud.acts().resolve(cloud.only.incidents[0], "ann")
    cloud.pass_time(hours=2)
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.RECORDED,
        Reason.RESOLVED_BY_HAND,
    )


# --- the driver


def test_a_state_machine_that_was_killed_is_replaced() -> None:
    cloud = asked()
    cloud.machine.kill(cloud.only.id)
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.pass_time(minutes=45)
    assert cloud.actions.begun == [cloud.only.id]


def test_a_step_that_comes_after_the_end_changes_nothing() -> None:
    cloud = asked(RemediationMode.SUGGEST)
    before = cloud.only
    for step in ("judge", "act", "look", "prove", "give_up"):
        answer = cloud.remediate()({"step": step, "remediation": before.id})
        assert answer["next"] == "over"
    assert cloud.only == before


def test_a_step_that_nobody_knows_says_so() -> None:
    with pytest.raises(MalformedEventError, match="dance"):
        RemediationCloud().remediate()({"step": "dance", "remediation": "x"})
    with pytest.raises(NotFoundError, match="no remediation"):
        RemediationCloud().remediate()({"step": "judge", "remediation": "x"})
    with pytest.raises(MalformedEventError, match="ISO"):
        RemediationCloud().remediate()({"step": "judge", "remediation": "x", "at": "noon"})


def test_a_wait_needs_its_token() -> None:
    cloud = asked()
    with pytest.raises(MalformedEventError, match="token"):
        cloud.remediate()({"step": "wait", "remediation": cloud.only.id})
    assert "token-" not in repr(cloud.only)


def test_a_state_machine_that_dies_before_it_acts_is_replaced_too() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.run_ends(worse())
    cloud.now += timedelta(minutes=1)
    cloud.due_changes()()
    cloud.machine.step(cloud.machine.executions[cloud.only.id])
    assert cloud.only.state is RemediationState.ACTING
    cloud.machine.kill(cloud.only.id)
    cloud.pass_time(hours=1)
    assert cloud.actions.begun == [cloud.only.id]


def test_what_is_approved_before_the_machine_waits_is_not_waited_for() -> None:
    cloud = cloud_with(retrain())
    cloud.run_ends(worse())
    cloud.remediate()({"step": "judge", "remediation": cloud.only.id})
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.steps.clear()
    cloud.remediate()({"step": "wait", "remediation": cloud.only.id, "token": "t-1"})
    assert cloud.steps[-1] == "go on"


# --- what an adversarial reading found


def test_who_may_not_approve_may_not_start_it_either() -> None:
    cloud = asked(RemediationMode.SUGGEST, approvers=(ANA,))
    (incident,) = cloud.only.incidents
    with pytest.raises(RejectedRequestError, match="none of those"):
        cloud.remediation_acts().request(incident, RETRAIN, "arn:aws:iam::1:user/eve")
    cloud.remediation_acts().request(incident, RETRAIN, ANA)


def test_a_wake_between_two_approvals_tells_nobody_again() -> None:
    cloud = asked(four_eyes=True)
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.pass_time(hours=30, tick=3600)
    assert cloud.only.reason is Reason.ANOTHER_APPROVAL_NEEDED or (
        cloud.only.state is RemediationState.EXPIRED
    )
    told = [n.id for n in cloud.published.values() if n.remediation]
    assert len(told) == len(set(told))


def test_an_action_that_cannot_be_seen_keeps_its_target() -> None:
    cloud = running()
    cloud.failures["look at action"] = [RejectedRequestError("no permission")]
    cloud.pass_time(minutes=20)
    assert cloud.only.reason is Reason.DRIVER_FAILED
    assert cloud.store.guard_kept.locks[cloud.only.target].owner == cloud.only.id


def test_what_was_approved_is_what_is_done() -> None:
    cloud = cloud_with(REINGEST)
    cloud.run_ends(worse("income", REINGEST.name, "completeness_check"))
    cloud.pass_time(minutes=2)
    changed = REINGEST.parameters | {"source": "s3://another/"}
    cloud.in_force.policy = policy_with(msgspec.structs.replace(REINGEST, parameters=changed))
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.machine.run()
    assert (cloud.only.state, cloud.only.reason) == (
        RemediationState.BLOCKED,
        Reason.ACTION_UNKNOWN,
    )
    assert cloud.actions.begun == []


def test_a_kill_switch_thrown_while_it_begins_leaves_no_incident_behind() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.run_ends(worse())
    cloud.now += timedelta(minutes=1)
    cloud.due_changes()()
    execution = cloud.machine.executions[cloud.only.id]
    cloud.machine.step(execution)
    cloud.actions.errors = [UnavailableError("the answer is lost")]
    cloud.machine.step(execution)
    assert incident_state(cloud) is IncidentState.REMEDIATING
    cloud.remediation_acts().stop(EVERYTHING, "ana")
    cloud.machine.run()
    assert cloud.only.state is RemediationState.RUNNING


def test_a_schedule_that_watches_another_endpoint_proves_nothing() -> None:
    cloud = verifying(verification=Verification(within=3 * 3600.0))
    cloud.run_ends(scope=scope_of("another-prod", "loan-risk-prod-hourly"), data_from=cloud.now)
    cloud.pass_time(hours=4)
    assert cloud.only.state is RemediationState.NOT_PROVEN


def test_the_kill_switch_of_what_is_changed_stops_it_whatever_its_case() -> None:
    cloud = cloud_with(retrain(RemediationMode.AUTO))
    cloud.remediation_acts().stop("Loan-Risk-Prod", "ana")
    cloud.run_ends(worse())
    cloud.pass_time(minutes=2)
    assert cloud.only.reason is Reason.SWITCHED_OFF
