"""What follows from one run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from guiderail.model.incident import IncidentState, Ledger
from guiderail.model.judgement import Judgement
from guiderail.model.notice import MOST_DECISIONS
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Policy, Receiver, Severity
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading
from guiderail.reports.run_files import ParsedRun
from guiderail.services.following import Followed, Judged, follow

from tests import builders as b
from tests.fakes import ENDED_AT, scope_of

SCOPE = scope_of(schedule="Loan-Risk-Hourly", monitor=MonitorKind.DATA_QUALITY)


class Runs:
    """Runs of one schedule, one an hour."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.ledger = Ledger(scope=SCOPE)
        self.asked: list[Reading] = []
        self.hour = 0

    def run(
        self,
        *judgements: Judgement,
        outcome: Outcome | None = None,
        answer: Reason = Reason.RETRAINING_OFF,
        parsed: ParsedRun | None = None,
        **fields: Any,
    ) -> Followed:
        self.hour += 1
        now = ENDED_AT + timedelta(hours=self.hour)
        findings = [j.finding for j in judgements]
        reading = b.reading(*findings, outcome=outcome)

        def retrain(asked: Reading) -> RetrainingDecision:
            self.asked.append(asked)
            return RetrainingDecision(reason=answer)

        followed = follow(
            self.ledger,
            b.run(key=f"run-{self.hour}#Completed", ended_at=now, **fields),
            Judged(
                scope=SCOPE,
                reading=reading,
                judgements=judgements,
                parsed=parsed,
            ),
            self.policy,
            retrain,
            now,
        )
        self.ledger = followed.ledger
        return followed


def test_a_run_that_the_ledger_never_saw_begins_it() -> None:
    followed = Runs().run(b.judgement())
    (incident,) = followed.ledger.incidents.values()
    assert followed.ledger.id == SCOPE.ledger_id == followed.record.ledger
    (notice,) = followed.notices
    (entry,) = notice.entries
    assert entry.incident == incident.id
    assert list(incident.groups) == [notice.group]
    assert notice.detail["outcome"] == "violations"
    assert notice.run is not None and notice.run.outcome == "violations"
    assert followed.record.policy_version == followed.audit.policy_version == "built-in"


def test_the_line_of_an_entry_is_what_the_run_saw() -> None:
    (notice,) = Runs().run(b.judgement()).notices
    assert notice.entries[0].line.startswith("income: baseline_drift_check: observed 0.4")


def test_the_facts_of_an_entry_are_what_the_run_measured() -> None:
    runs = Runs()
    runs.run(b.judgement(observed=0.4))
    (notice,) = runs.run(b.judgement(observed=0.9, distance=0.8)).notices
    (facts,) = notice.facts.values()
    assert list(notice.facts) == [notice.entries[0].incident]
    assert (facts.observed, facts.threshold) == (0.9, 0.1)
    assert (facts.trend, facts.times_seen) == ((0.4, 0.9), 2)


def test_the_facts_of_an_end_are_what_the_ledger_remembers() -> None:
    runs = Runs()
    runs.run(b.judgement(observed=0.4))
    runs.run()
    (notice,) = runs.run().notices
    (facts,) = notice.facts.values()
    assert not notice.entries[0].firing
    assert (facts.observed, facts.times_seen) == (0.4, 1)


def test_distributions_go_with_the_notices() -> None:
    files = {"statistics.json": b.statistics(b.numerical("income"))}
    shows = Policy(receivers={"team": Receiver(name="team")})
    (notice,) = Runs(shows).run(b.judgement(), parsed=b.parsed(files, files)).notices
    (shown,) = notice.distributions
    (notice,) = Runs().run(b.judgement(), parsed=b.parsed(files, files)).notices
    assert notice.distributions == (), "the topic alone shows none"
    assert shown.feature == "income"
    assert shown.baseline == shown.current


def test_a_clean_run_without_incidents_tells_nobody() -> None:
    followed = Runs().run()
    assert followed.notices == ()
    assert followed.sources is None
    assert followed.audit.counts == {}
    assert followed.audit.run["outcome"] == "clean"


def test_an_unhealthy_run_counts_for_nothing_but_itself() -> None:
    runs = Runs()
    runs.run(b.judgement())
    followed = runs.run(
        b.unhealthy(), b.judgement(reason=Reason.UNHEALTHY_RUN), outcome=Outcome.FAILED
    )
    assert followed.audit.counts == {
        "first_seen": 1,
        "unhealthy_run": 1,
        "waiting_group_wait": 1,
    }
    assert [r.judged for r in runs.ledger.runs] == [True, False]


def test_sources_are_handed_over_when_something_begins_or_ends_to_hide_others() -> None:
    runs = Runs()
    assert runs.run(b.judgement()).sources in (None, ())
    (source,) = runs.run(b.unhealthy(), outcome=Outcome.FAILED).sources or ()
    assert source.labels["check"] == "failed"
    for _ in range(4):
        followed = runs.run(b.judgement())
        if followed.sources == ():
            break
    assert followed.sources == ()


def test_only_so_many_decisions_are_kept_in_full_the_worst_first() -> None:
    many = [b.judgement(f"f{n}") for n in range(MOST_DECISIONS + 50)]
    followed = Runs().run(*many, b.judgement("worst", severity=Severity.CRITICAL))
    assert followed.audit.counts["first_seen"] == MOST_DECISIONS + 51
    assert len(followed.audit.decisions) == MOST_DECISIONS
    assert followed.audit.decisions[0].text.startswith("worst:")
    assert len(followed.decisions) == MOST_DECISIONS + 51


# --- retraining


def test_a_known_incident_is_no_reason_to_retrain_again() -> None:
    runs = Runs()
    runs.run(b.judgement())
    followed = runs.run(b.judgement(), answer=Reason.RETRAINING_NO_FINDINGS)
    assert followed.record.retraining.reason is Reason.RETRAINING_INCIDENT_KNOWN


def test_what_waits_for_n_of_m_or_is_left_out_is_no_reason_either() -> None:
    runs = Runs()
    runs.run(b.judgement(reason=Reason.SHADOW), answer=Reason.RETRAINING_NO_FINDINGS)
    assert [r.findings for r in runs.asked] == [()]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TOO_FEW_ROWS])
def test_the_plan_sees_an_unhealthy_run_as_it_is(outcome: Outcome) -> None:
    runs = Runs()
    runs.run(b.unhealthy(outcome), outcome=outcome)
    assert runs.asked[0].outcome is outcome


def test_the_same_run_again_from_the_same_ledger_is_the_same() -> None:
    first, second = Runs().run(b.judgement()), Runs().run(b.judgement())
    assert first == second


def test_names_of_256_characters_in_any_script() -> None:
    endpoint, feature = "💸" * 256, "名" * 256
    runs = Runs()
    followed = runs.run(b.judgement(feature), endpoint=endpoint)
    (incident,) = followed.ledger.incidents.values()
    assert incident.subject.feature == feature
    assert incident.state is IncidentState.OPEN
    assert len(incident.id) == 20 + 1 + 16
