"""``explain``: the decision trail in plain words, from what the services really decide and keep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.finding import Finding, Subject
from guiderail.model.outcome import Direction, MonitorKind, Outcome, Reason
from guiderail.model.policy import (
    Effect,
    FeatureGroup,
    Layer,
    Match,
    Policy,
    Route,
    Rule,
    RunsNeeded,
    Severity,
    Upstream,
    WeeklyHours,
)
from guiderail.services.explaining import (
    OUTCOME_TEXTS,
    REASON_TEXTS,
    Explanation,
    Fact,
    span,
)
from guiderail.services.judging import PolicyIndex, RunLabels, judge
from guiderail_cli.explain_command import explained, lines_of

from tests import builders as b
from tests.fakes import Cloud, scope_of

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
AMOUNT = Finding(
    kind=MonitorKind.DATA_QUALITY,
    check="baseline_drift_check",
    subject=Subject(feature="amount"),
    observed=0.31,
    threshold=0.1,
    direction=Direction.ABOVE,
    parsed=True,
    description="Baseline drift distance: 0.31 exceeds threshold: 0.1",
    distance=0.21,
)


class World(Cloud):
    """Hourly runs whose findings the policy judges, and what is said of them."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy=policy)
        self.now = START

    def run(
        self,
        *findings: Finding,
        outcome: Outcome | None = None,
        endpoint: str = b.ENDPOINT,
    ) -> str:
        """A run that ends now; its job's ARN."""
        scope = scope_of(endpoint, monitor=MonitorKind.DATA_QUALITY)
        labels = RunLabels(
            account=scope.account,
            region=scope.region,
            endpoint=endpoint,
            schedule=scope.schedule,
            monitor=scope.monitor,
        )
        rules = PolicyIndex(self.in_force.policy).for_run(labels)
        reading = b.reading(*findings, outcome=outcome)
        judgements = judge(rules, reading, b.parsed({}), self.now)
        followed = self.run_ends(*judgements, outcome=reading.outcome, scope=scope)
        assert followed
        return followed.record.run.job_arn

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)

    def tell(self) -> None:
        """A minute later the clock rings."""
        self.pass_time(minutes=1)

    def hour(self, *findings: Finding, outcome: Outcome | None = None) -> str:
        """An hour passes, then a run, then the clock rings."""
        self.passes(minutes=59)
        arn = self.run(*findings, outcome=outcome)
        self.tell()
        return arn

    def only(self, check: str = "baseline_drift_check") -> str:
        """Id of the one incident with this check."""
        (found,) = (i for i in self.all_incidents() if i.check == check)
        return found.id

    def explain(self, name: str) -> Explanation:
        return explained(self.acts(), self.store, name, self.now)

    def text(self, name: str) -> str:
        return "\n".join(lines_of(self.explain(name)))


def rule(name: str, line: int, effect: Effect, **match: Sequence[str]) -> Rule:
    globs = msgspec.convert(match, Match)
    return Rule(name=name, layer=Layer.RULE, line=line, match=globs, effect=effect)


def section(explanation: Explanation, heading: str) -> tuple[Fact, ...]:
    (facts,) = (s.facts for s in explanation.sections if s.heading.startswith(heading))
    return facts


def reasons(facts: Sequence[Fact]) -> list[Reason]:
    return [fact.reason for fact in facts if fact.reason]


# --- words


def test_every_reason_has_a_sentence() -> None:
    assert [reason.name for reason in Reason if reason not in REASON_TEXTS] == []


@pytest.mark.parametrize("reason", REASON_TEXTS, ids=lambda r: str(r.value))
def test_a_reason_is_one_whole_sentence_and_says_more_than_its_code(reason: Reason) -> None:
    text = REASON_TEXTS[reason]
    assert text[0].isupper() and text.endswith(".") and ". " not in text
    assert text.rstrip(".").lower() != reason.value.replace("_", " ")


def test_no_two_reasons_read_the_same() -> None:
    assert len(set(REASON_TEXTS.values())) == len(REASON_TEXTS)


def test_every_outcome_has_words() -> None:
    assert set(OUTCOME_TEXTS) == set(Outcome)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (45, "45 s"),
        (61, "1 min 1 s"),
        (7200, "2 h"),
        (187_200, "2 d 4 h"),
        (86_399.6, "1 d"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said


# --- incidents


def test_a_policys_threshold_is_told_beside_the_services_with_its_line() -> None:
    world = World(
        Policy(rules=(rule("night drift", 12, Effect(threshold=0.3), feature=["amount"]),))
    )
    world.hour(AMOUNT)

    text = world.text(world.only())

    assert (
        "Observed 0.31; the service's threshold is 0.1, the policy's is 0.3, set by night drift "
        "(line 12)." in text
    )
    assert "policy: night drift (line 12) sets threshold" in text


def test_without_a_policy_the_threshold_is_the_services_own() -> None:
    world = World()
    world.hour(AMOUNT)

    assert "Observed 0.31; the threshold is 0.1, the service's own." in world.text(world.only())


def test_n_of_m_is_told_with_its_numbers_and_nobody_was_told() -> None:
    needed = Effect(runs_needed=RunsNeeded(2, 3))
    world = World(Policy(rules=(rule("two of three", 7, needed, feature=["amount"]),)))
    world.hour()
    world.hour()
    world.hour(AMOUNT)

    explanation = world.explain(world.only())
    text = "\n".join(lines_of(explanation))

    assert "In 1 of the last 3 judged runs; 2 needed to open." in text
    assert "Runs, oldest first: ..x" in text
    assert "policy: two of three (line 7) sets runs_needed" in text
    assert reasons(section(explanation, "Who was told")) == [Reason.WAITING_N_OF_M]


def test_each_decision_to_wait_has_the_numbers_of_its_own_moment() -> None:
    needed = Effect(runs_needed=RunsNeeded(3, 4))
    world = World(Policy(rules=(rule("three of four", 7, needed, feature=["amount"]),)))
    first, second = world.hour(AMOUNT), world.hour(AMOUNT)
    world.hour(AMOUNT)

    assert "(in 1 of the last 4 judged runs, 3 needed)" in world.text(first)
    assert "(in 2 of the last 4 judged runs, 3 needed)" in world.text(second)


def test_a_clean_run_of_the_past_counts_what_was_clean_then() -> None:
    world = World()
    world.hour(AMOUNT)
    world.hour()
    world.hour(AMOUNT)

    (_, waited, _) = section(world.explain(world.only()), "What was decided")

    assert waited.reason is Reason.WAITING_FOR_CLEAN_RUNS
    assert "(1 clean run, 2 needed)" in waited.text


def test_policy_lines_are_gathered_by_rule_and_not_repeated() -> None:
    effect = Effect(threshold=0.3, owner="risk")
    world = World(Policy(rules=(rule("night drift", 12, effect),)))
    for _ in range(3):
        world.hour(AMOUNT)

    assert (
        world.text(world.only()).count("policy: night drift (line 12) sets owner, threshold") == 1
    )


def test_unhealthy_runs_do_not_count_for_n_of_m_nor_for_clean_runs() -> None:
    world = World()
    world.hour(AMOUNT)
    world.hour(outcome=Outcome.FAILED)
    world.hour()

    text = world.text(world.only())

    assert "Runs, oldest first: x-." in text
    assert "1 clean run since it was last seen; 2 in a row resolve it." in text
    assert "amount: baseline_drift_check: not in this run (1 clean run, 2 needed)" in text


def test_the_incident_of_an_unhealthy_run_counts_every_run() -> None:
    world = World()
    world.hour()
    world.hour(outcome=Outcome.FAILED)

    text = world.text(world.only("failed"))

    assert "failed of the run itself on loan-risk-prod" in text
    assert "In 1 of the last 1 run; 1 needed to open." in text


def test_before_the_group_wait_is_over_it_is_said_until_when() -> None:
    world = World()
    world.run(AMOUNT)

    facts = section(world.explain(world.only()), "Who was told")

    assert reasons(facts) == [Reason.WAITING_GROUP_WAIT]
    assert "waits until 2026-11-23 08:00:30 UTC" in facts[1].text


def test_after_that_it_is_said_when_people_were_told_and_when_the_next_turn_is() -> None:
    world = World()
    world.run(AMOUNT)
    world.tell()

    text = world.text(world.only())

    assert "Told 1 time, last at 2026-11-23 08:01:00 UTC." in text
    assert "Its next turn comes in 1 d, at 2026-11-24 08:01:00 UTC." in text
    assert "people know" in text


def test_news_soon_after_a_message_wait_for_the_groups_interval() -> None:
    world = World()
    world.run(AMOUNT)
    world.tell()
    other = b.finding(subject=Subject(feature="income"), direction=Direction.ABOVE)
    world.passes(minutes=1)
    world.run(AMOUNT, other)
    (income,) = (i for i in world.all_incidents() if i.subject.feature == "income")
    facts = section(world.explain(income.id), "Who was told")

    assert Reason.WAITING_GROUP_INTERVAL in reasons(facts)


def test_a_silence_is_named_with_its_end_author_and_comment() -> None:
    world = World()
    world.acts().silence(
        {"endpoint": "loan-*"}, START + timedelta(hours=8), "ana", comment="load test"
    )
    world.hour(AMOUNT)

    explanation = world.explain(world.only())
    held = [f for f in section(explanation, "Who was told") if f.reason is Reason.SILENCED]

    assert "people do not know yet" in held[0].text
    assert "until 2026-11-23 16:00:00 UTC (load test)" in held[0].text
    assert "of ana" in held[0].text


def test_an_inhibition_names_what_hides_the_incident() -> None:
    world = World()
    world.passes(minutes=30)
    world.run(
        AMOUNT,
        b.finding(check="missing_column_check", subject=Subject(columns=("age",)), distance=None),
    )
    world.tell()

    facts = section(world.explain(world.only()), "Who was told")
    hidden = [f for f in facts if f.reason is Reason.INHIBITED_BY]

    assert hidden and f"incident {world.only('missing_column_check')}" in hidden[0].text
    assert "broken run or schema hides drift and quality" in hidden[0].text


def test_outside_hours_says_when_the_hours_begin() -> None:
    night = WeeklyHours(start=20 * 60, end=22 * 60)
    world = World(
        Policy(
            route=Route(name="desk", receiver="desk", active=("desk",)), hours={"desk": (night,)}
        )
    )
    world.run(AMOUNT)
    world.tell()

    explanation = world.explain(world.only())
    facts = section(explanation, "Who was told")

    assert Reason.OUTSIDE_HOURS in reasons(facts)
    assert any("at 2026-11-23 20:00:00 UTC" in fact.text for fact in facts)
    assert "Nobody has been told anything yet." in "\n".join(lines_of(explanation))


def test_who_acknowledged_from_where_and_why() -> None:
    world = World()
    world.hour(AMOUNT)
    world.acts().acknowledge(world.only(), "ana", "cli@desk", "feed is being mended")
    world.hour(AMOUNT)

    text = world.text(world.only())

    assert "Acknowledged by ana." in text
    assert "by ana: acknowledged: A person has taken it on" in text
    assert "feed is being mended (from cli@desk)" in text


def test_a_worsening_after_an_acknowledgement_is_in_the_trail() -> None:
    world = World()
    world.hour(AMOUNT)
    world.acts().acknowledge(world.only(), "ana")
    world.hour(b.finding(subject=AMOUNT.subject, observed=0.9, distance=0.8))

    trail = section(world.explain(world.only()), "What was decided")

    assert reasons(trail) == [Reason.FIRST_SEEN, Reason.ACKNOWLEDGED, Reason.WORSENED]


def test_the_same_decision_many_times_is_told_once_with_its_count() -> None:
    world = World()
    for _ in range(9):
        world.hour(AMOUNT)

    first, same = section(world.explain(world.only()), "What was decided")

    assert (first.reason, first.times) == (Reason.FIRST_SEEN, 1)
    assert (same.reason, same.times) == (Reason.SUPPRESSED_DUPLICATE, 8)
    assert same.since == START + timedelta(hours=2) - timedelta(minutes=1)
    assert same.at == START + timedelta(hours=9) - timedelta(minutes=1)


def test_a_resolved_incident_says_until_when_it_would_open_again() -> None:
    world = World()
    world.hour(AMOUNT)
    world.hour()
    world.hour()

    text = world.text(world.only())

    assert "Resolved, severity warning, since 2026-11-23 10:59:00 UTC." in text
    assert "Seen again until 2026-11-24 10:59:00 UTC, it opens again; later it opens anew." in text


def test_a_trend_is_told_with_its_values() -> None:
    world = World()
    for observed in (0.2, 0.25, 0.31):
        world.hour(b.finding(subject=AMOUNT.subject, observed=observed, distance=0.2))

    assert "Values, oldest first: 0.2, 0.25, 0.31 (rising)." in world.text(world.only())


def test_an_upstream_incident_names_its_members_and_counts_no_runs() -> None:
    world = World(
        Policy(
            upstream=Upstream(endpoints=3),
            feature_groups=(FeatureGroup(name="payments", features=("amount",)),),
        )
    )
    for endpoint in ("loan-eu", "loan-us", "loan-asia"):
        world.run(AMOUNT, endpoint=endpoint)
    world.tell()

    explanation = world.explain(world.only("upstream"))
    text = "\n".join(lines_of(explanation))

    assert explanation.title == "upstream of amount on payments"
    assert "It stands for 3 incidents:" in text
    members = {fact.about for fact in section(explanation, "How it stands") if fact.about}
    assert len(members) == 3
    assert "judged run" not in text
    assert Reason.PART_OF_UPSTREAM in reasons(
        section(world.explain(next(iter(members))), "Who was told")
    )


def test_a_finding_without_numbers_is_told_by_its_description() -> None:
    world = World()
    world.run(
        b.finding(
            check="missing_column_check",
            subject=Subject(columns=("age",)),
            observed=None,
            threshold=None,
            distance=None,
            description="There are missing columns",
        )
    )

    assert "The report says: There are missing columns" in world.text(
        world.only("missing_column_check")
    )


# --- runs


def test_a_run_is_told_with_its_outcome_its_findings_and_their_incidents() -> None:
    quiet = rule("quiet", 9, Effect(mute_until=START + timedelta(days=9)), feature=["income"])
    world = World(Policy(version="3fa2", rules=(quiet,)))
    arn = world.hour(AMOUNT, b.finding(subject=Subject(feature="income")))

    explanation = world.explain(arn)
    text = "\n".join(lines_of(explanation))

    assert explanation.kind == "run"
    assert "Data quality of loan-risk-prod, schedule loan-risk-prod-hourly" in text
    assert "900 rows" in text
    assert "Outcome violations: the report was read and lists violations." in text
    assert "Judged by policy 3fa2" in text
    became = section(explanation, "What became of its findings")
    assert {(f.reason, f.policy) for f in became} == {
        (Reason.FIRST_SEEN, ()),
        (Reason.MUTED, ("mute_until: quiet (line 9)",)),
    }
    assert Reason.RETRAINING_OFF in reasons(section(explanation, "The run"))
    (now,) = section(explanation, "Its incidents now")
    assert now.about == world.only() and "open, severity warning" in now.text
    assert any("Told 1 time" in f.text for f in section(explanation, "Who was told"))


def test_a_clean_run_says_that_nobody_was_told() -> None:
    world = World()
    arn = world.hour()

    text = world.text(arn)

    assert "Outcome clean: the report was read and shows nothing wrong." in text
    assert "Nobody: nothing of this run went to a group." in text
    assert "0 findings in the report" in text


def test_decisions_that_the_audit_only_counts_are_told_as_a_number() -> None:
    world = World()
    findings = [b.finding(subject=Subject(feature=f"f{n:04}")) for n in range(130)]
    arn = world.hour(*findings)

    became = section(world.explain(arn), "What became of its findings")

    assert became[-1].text == "and 30 more that the audit entry only counts"
    assert became[-1].reason is Reason.FIRST_SEEN


def test_an_old_run_is_found_behind_hundreds_of_newer_ones() -> None:
    world = World()
    arn = world.hour(AMOUNT)
    for _ in range(405):
        world.hour()

    assert Reason.FIRST_SEEN in reasons(section(world.explain(arn), "What became of its findings"))


def test_codes_that_this_version_does_not_know_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    arn = world.hour()
    record = {**(world.store.run(arn) or {}), "reasons": ["from_the_future"], "outcome": "new"}
    monkeypatch.setattr(world.store, "run", lambda _: record)

    text = world.text(arn)

    assert "from_the_future: this version does not know the code." in text
    assert "Outcome new: not known to this version." in text


# --- groups and silences


def test_a_group_tells_what_it_holds_and_what_was_decided() -> None:
    world = World()
    world.hour(AMOUNT)
    (group,) = world.store.groups

    explanation = world.explain(group)
    text = "\n".join(lines_of(explanation))

    assert explanation.kind == "group"
    assert "incidents share endpoint=loan-risk-prod, monitor=data_quality." in text
    assert [f.about for f in section(explanation, "What it holds")] == [world.only()]
    assert reasons(section(explanation, "What was decided")) == [Reason.FIRST_SEEN]


def test_a_group_that_has_not_spoken_yet_tells_what_waits_for_it() -> None:
    world = World()
    world.run(AMOUNT)
    (group,) = (i.groups for i in world.all_incidents())

    explanation = world.explain(next(iter(group)))

    assert explanation.kind == "group"
    facts = section(explanation, "How it stands")
    assert facts[0].text.endswith("share endpoint=loan-risk-prod, monitor=data_quality.")
    assert reasons(facts) == [Reason.WAITING_GROUP_WAIT]


def test_a_ledgers_id_leads_to_its_only_incident() -> None:
    world = World()
    world.hour(AMOUNT)

    assert world.explain(world.only()[:20]).kind == "incident"


def test_a_silence_tells_what_it_silences_now_and_who_set_it() -> None:
    world = World()
    world.hour(AMOUNT)
    silence = world.acts().silence({"endpoint": "loan-*"}, world.now + timedelta(hours=2), "ana")

    explanation = world.explain(silence.id)
    text = "\n".join(lines_of(explanation))

    assert explanation.kind == "silence"
    assert "it ends at 2026-11-23 11:00:00 UTC, in 2 h" in text
    assert [f.about for f in section(explanation, "What it silences now")] == [world.only()]
    assert reasons(section(explanation, "What was decided")) == [Reason.SILENCE_SET]


def test_a_silence_that_has_ended_is_told_from_its_audit() -> None:
    world = World()
    silence = world.acts().silence({"endpoint": "x"}, START + timedelta(hours=2), "ana")
    world.acts().end_silence(silence.id, "ben")
    world.passes(seconds=1)

    explanation = world.explain(silence.id)

    assert "It has ended; nothing is silenced by it." in "\n".join(lines_of(explanation))
    assert Reason.SILENCE_ENDED in reasons(section(explanation, "What was decided"))


# --- names


def test_an_incident_is_found_by_the_beginning_of_either_half_of_its_id() -> None:
    world = World()
    world.hour(AMOUNT)
    key = world.only()

    for name in (key, key[:22], key[:6], key.partition("-")[2][:6], key.upper()):
        assert world.explain(name).id == key


def test_nothing_known_says_what_to_try() -> None:
    world = World()
    with pytest.raises(NotFoundError, match="guiderail incidents list --all"):
        world.explain(f"{b.ARN}:processing-job/nobody")


def test_several_beginnings_are_listed() -> None:
    world = World()
    world.hour(AMOUNT, b.finding(subject=Subject(feature="income")))
    ((ledger_id, ledger),) = world.store.ledgers.items()

    with pytest.raises(RejectedRequestError) as refused:
        world.explain(ledger_id[:10])

    assert all(key in str(refused.value) for key in ledger.incidents)


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    world = World()
    world.hour(b.finding(subject=Subject(feature="a\x1b[31mb\nc")))

    text = world.text(world.only())

    assert "\x1b" not in text and "a [31mb c" in text


def test_severity_and_labels_of_the_policy_are_told() -> None:
    effect = Effect(
        severity=Severity.CRITICAL,
        owner="risk",
        runbook="https://wiki.example/drift",
        labels={"team": "loans"},
    )
    world = World(Policy(rules=(rule("loans", 3, effect),)))
    world.hour(AMOUNT)

    text = world.text(world.only())

    assert "severity critical" in text
    for line in ("Owner: risk.", "Runbook: https://wiki.example/drift.", "Labels: team=loans."):
        assert line in text


# --- the document


def test_the_sample_in_the_document_is_what_explain_prints() -> None:
    effect = Effect(threshold=0.3, runs_needed=RunsNeeded(2, 3), owner="risk")
    world = World(
        Policy(
            version="d3b07384d113", rules=(rule("amount drifts", 14, effect, feature=["amount"]),)
        )
    )
    for observed in (None, 0.31, 0.31, 0.33, 0.33, 0.52):
        found = b.finding(
            subject=AMOUNT.subject,
            observed=observed,
            direction=Direction.ABOVE,
            description=f"Baseline drift distance: {observed} exceeds threshold: 0.1",
        )
        world.hour(*([found] if observed else []))
        if world.now.hour == 11:
            world.acts().acknowledge(world.only(), "ana", "cli@desk", "feed is being mended")

    document = (Path(__file__).parents[2] / "docs" / "incidents.md").read_text()

    assert (
        f"```\n$ guiderail explain {world.only()[-16:-8]}\n{world.text(world.only())}\n```"
        in document
    )
