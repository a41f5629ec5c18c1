"""Incidents about Guiderail itself: its policy, its channels. They go the way of all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from guiderail.model.finding import Finding, Subject
from guiderail.model.identity import digest
from guiderail.model.incident import Change, Ledger, LedgerRun, Scope
from guiderail.model.judgement import Effective, Judgement
from guiderail.model.notice import MOST_DECISIONS, AuditEntry, Decision
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import SELF_MONITOR, Policy, Severity
from guiderail.ports import Incidents
from guiderail.services.incident_cycle import observe
from guiderail.services.notices import Telling, notices_of, with_groups


def own_judgement(check: str, about: str, description: str, severity: Severity) -> Judgement:
    """A finding of Guiderail's about a part of itself."""
    return Judgement(
        finding=Finding(
            kind=SELF_MONITOR,
            check=check,
            subject=Subject(metric=about),
            observed=None,
            threshold=None,
            direction=None,
            parsed=True,
            description=description,
        ),
        reason=Reason.COUNTS,
        effective=Effective(severity=severity),
    )


def see(
    incidents: Incidents,
    ledger: Ledger,
    judgements: Sequence[Judgement],
    policy: Policy,
    what: str,
    now: datetime,
) -> None:
    """Let a ledger of Guiderail's own see how a part of it is; without judgements it is well.

    Raises:
        ConflictError: Somebody else wrote the ledger.
        TransientError: The store throttled or failed.
    """
    identity = f"{what}|{now}"
    outcome = Outcome.VIOLATIONS if judgements else Outcome.CLEAN
    seen = LedgerRun(int(now.timestamp() * 1000), identity, outcome, judged=True)
    once = replace(policy.life_cycle, resolve_after=1)
    observed = observe(ledger, seen, judgements, once, now)
    keep_changes(incidents, observed.ledger, observed.changes, policy, identity, now)


def keep_changes(
    incidents: Incidents,
    ledger: Ledger,
    changes: Sequence[Change],
    policy: Policy,
    identity: str,
    now: datetime,
) -> None:
    """Keep a ledger that the clock or a delivery changed, with what people are to hear of it."""
    after, routed, _ = with_groups(ledger, changes, policy, {})
    notices = notices_of(after, routed, policy, Telling(id=identity), now)
    audit = AuditEntry(
        id=digest(identity, 16),
        subject=after.id,
        at=now,
        actor="guiderail",
        what="clock",
        policy_version=policy.version,
        counts=dict(Counter(change.reason.value for change in routed)),
        decisions=tuple(
            Decision(about=c.incident.id, reason=c.reason, text=c.incident.description)
            for c in routed[:MOST_DECISIONS]
        ),
    )
    incidents.commit_act(after, None, notices, audit)


def own_ledger(incidents: Incidents, account: str, region: str, part: str) -> Ledger:
    """The ledger of a part of Guiderail's own; a new one if nothing was ever wrong with it."""
    scope = Scope(account=account, region=region, schedule=f"guiderail-{part}")
    return incidents.ledger(scope.ledger_id) or Ledger(scope=scope)
