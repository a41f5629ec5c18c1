"""Replays of small histories with a known result, and against the services ticking every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from guiderail.model.incident import Ledger
from guiderail.model.message import Notification
from guiderail.model.policy import (
    Effect,
    Layer,
    LifeCycle,
    Match,
    Policy,
    Route,
    Rule,
    RunsNeeded,
    Severity,
)
from guiderail.services.due import DueChanges
from guiderail.services.following import Judge, follow
from guiderail_cli.backtest import replay
from guiderail_cli.backtest.shelves import shelf_at
from guiderail_cli.backtest.stored_runs import Reader, find_runs
from guiderail_cli.backtest.tally import Tally
from guiderail_cli.in_memory import FixedPolicies, InMemoryIncidents

from tests import builders as b
from tests.unit.backtest.conftest import MAX_BYTES, History, Tell

DRIFT = Match(check=("baseline_drift_check",))


def rule(name: str, line: int, match: Match, **effect: object) -> Rule:
    return Rule(name=name, layer=Layer.RULE, line=line, match=match, effect=Effect(**effect))  # type: ignore[arg-type]


def test_one_incident_is_told_repeated_and_resolved(history: History, told: Tell) -> None:
    # first run at 06:00; clean from 16:00 on, so over at 17:00
    history.add_distances([0.3] * 10 + [None, None])

    every_four_hours = Route(name="default", receiver="default", repeat_interval=14400)
    result = told(Policy(route=every_four_hours)).policy

    assert (result.incidents, result.resolved) == (1, 1)
    # told at 06:01, repeated at 10:01 and 14:01, over at 17:01
    assert result.told == {"repeat_due": 2, "first_seen": 1, "resolved": 1}
    assert result.messages == 4
    assert result.findings == {"suppressed_duplicate": 9, "first_seen": 1}
    assert [(d.date, d.messages, d.incidents) for d in result.days] == [("2026-11-02", 4, 1)]


def test_two_of_three_keeps_a_single_finding_quiet(history: History, told: Tell) -> None:
    history.add_distances([0.3, None, None, None, 0.2, None, None])
    twice = Policy(rules=(rule("twice", 7, DRIFT, runs_needed=RunsNeeded(2, 3)),))

    result = told(twice, Policy())

    assert result.policy.messages == 0
    assert result.against and result.against.incidents == 2
    assert result.comparison
    assert [i.subject for i in result.comparison.only_old] == ["income"]
    assert result.comparison.only_new == ()
    [never] = result.policy.never
    assert (never.name, never.line, never.findings, never.counted) == ("twice", 7, 2, 2)


def test_severity_owner_receiver_and_remediation_are_the_rules(
    history: History, told: Tell
) -> None:
    history.add_distances([0.3, 0.3])
    history.add_distances([0.3, 0.3], endpoint="churn-prod")
    new = Policy(
        rules=(
            rule(
                "risk",
                4,
                Match(endpoint=("loan-*",)),
                owner="risk",
                severity=Severity.CRITICAL,
                remediation="retrain",
            ),
        ),
        route=Route(
            name="default",
            receiver="everybody",
            routes=(Route(name="risk", receiver="risk-oncall", match=Match(owner=("risk",))),),
        ),
    )

    result = told(new, Policy())

    policy = result.policy
    assert [(s.name, s.incidents, s.messages) for s in policy.owners] == [
        ("", 1, 1),
        ("risk", 1, 1),
    ]
    assert {s.name: s.messages for s in policy.receivers} == {"everybody": 1, "risk-oncall": 1}
    assert policy.remediations == {"retrain": 1}
    assert policy.severities["critical"] == 1
    lines = {
        (line.name, line.line): (line.findings, line.incidents, line.messages)
        for line in policy.lines
    }
    assert lines == {("risk", 4): (2, 1, 1), ("no line of the policy", 0): (2, 1, 1)}
    assert result.comparison
    [change] = result.comparison.severity
    assert (change.incident.endpoint, change.old, change.new) == (
        "loan-risk-prod",
        "warning",
        "critical",
    )


def test_a_milder_threshold_and_a_shadow_rule_hold_findings_back(
    history: History, told: Tell
) -> None:
    history.add_distances([0.15, 0.3, 0.15])
    policy = Policy(
        rules=(
            rule("milder", 3, DRIFT, threshold=0.2),
            rule("watched", 9, Match(feature=("income",)), shadow=True),
        )
    )

    result = told(policy).policy

    assert result.incidents == 0
    assert result.findings == {"within_threshold": 2, "shadow": 1}
    held = {line.name: line.held_back for line in result.never}
    assert held["watched"] == {"within_threshold": 2, "shadow": 1}


def test_retraining_is_counted_once_per_incident(history: History, told: Tell) -> None:
    history.add_distances([0.3, 0.3, 0.3])
    history.add(None, ProcessingJobStatus="Failed", FailureReason="AlgorithmError: out of memory")

    result = told().policy

    assert result.retraining == {
        "retraining_blocked_unhealthy_run": 1,
        "retraining_started": 1,
    }


def test_a_policy_judges_by_the_time_of_the_run(history: History, told: Tell) -> None:
    history.add_distances([0.3, 0.3, 0.3])
    muted = datetime(2026, 11, 2, 7, 30, tzinfo=UTC)

    result = told(Policy(rules=(rule("holiday", 2, DRIFT, mute_until=muted),))).policy

    assert result.findings == {"muted": 2, "first_seen": 1}


def test_ticking_only_when_something_is_due_tells_the_same_as_every_minute(
    history: History,
) -> None:
    history.add_distances([0.3, 0.5, None, None, 0.2, None, 0.4, 0.4, None, None, None])
    history.add(None, ProcessingJobStatus="Failed", FailureReason="AlgorithmError: out of memory")
    history.add([b.drifted("income", "0.3"), b.off_metric("f1", "0.5", "0.8")])
    history.add_distances([None, None])
    policy = Policy(life_cycle=LifeCycle(resolve_after=2, reopen_within=3600.0))
    shelf = shelf_at(str(history.folder), MAX_BYTES)
    runs = list(Reader(shelf, with_baselines=False).all_of(find_runs(shelf).runs))

    seen: list[tuple[datetime, tuple[str, ...], str]] = []

    class Noting(Tally):
        def see_message(self, notification: Notification) -> None:
            reasons = tuple(reason.value for reason in notification.reasons)
            seen.append((notification.made_at, reasons, notification.subject))

    replayed = replay.Replay(policy, Noting("policy", policy), 30)
    for stored, parsed in runs:
        replayed.see(stored, parsed)
    replayed.finish()

    store, judge = InMemoryIncidents(), Judge(30)
    tell = DueChanges(
        incidents=store,
        policies=FixedPolicies(policy),
        outbox=store,
        queue=replay._Nobody(),
        meter=replay._Unmeasured(),
        journal=replay._Unwritten(),
        clock=lambda: datetime.max.replace(tzinfo=UTC),
    )
    minute = runs[0][0].ended_at.replace(second=0, microsecond=0)
    waiting = list(runs)
    while minute <= runs[-1][0].ended_at + timedelta(hours=1):
        tell(minute)
        while waiting and waiting[0][0].ended_at <= minute:
            stored, parsed = waiting.pop(0)
            judged = judge(
                stored.run,
                stored.job,
                stored.schedule,
                parsed,
                policy,
                replay._NO_TAGS,
                replay._NO_FILES,
                stored.ended_at,
            )
            ledger = store.ledger(judged.scope.ledger_id) or Ledger(scope=judged.scope)
            run = stored.run
            done = follow(
                ledger,
                run,
                judged,
                policy,
                lambda reading, run=run: replay._RETRAIN_ALL.decide(run, reading),  # type: ignore[misc]
                stored.ended_at,
            )
            store.commit_run(done.record, done.ledger, done.sources, done.notices, done.audit)
        minute += timedelta(minutes=1)

    every_minute = [
        (n.made_at, tuple(r.value for r in n.reasons), n.subject) for n in store.messages.values()
    ]
    assert seen == every_minute
    assert len(seen) > 5
