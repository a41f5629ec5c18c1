"""What every store of remediations does: the same tests for the one in memory and for DynamoDB's.

A suite is a subclass of ``RemediationContract`` with the fixtures ``incidents``, ``outbox`` and
``remediations``, over one store.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from guiderail.errors import ConflictError
from guiderail.model.delivery import ref_of
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import (
    Guard,
    Lock,
    Remediation,
    RemediationState,
    Start,
    Stop,
    remediation_id,
)
from guiderail.ports import Deliveries, Incidents, Remediations, Wake
from msgspec.structs import replace

from tests.outbox_contract import outgoing
from tests.store_contract import SCOPE, T0, audit, later, ledger, record


def remediation(at: datetime = T0, about: str = "income") -> Remediation:
    """A remediation that nobody looked at yet."""
    return Remediation(
        id=remediation_id(at, about),
        action="retrain",
        kind=ActionKind.RETRAIN,
        mode=RemediationMode.ASK,
        scope=SCOPE,
        target="endpoint/loan-risk",
        incidents=("i-1",),
        requested_at=at,
        look_at=at + timedelta(minutes=1),
    )


class RemediationContract:
    """The tests."""

    def test_what_was_kept_is_read_again(self, remediations: Remediations) -> None:
        made = remediation()
        kept = remediations.keep_remediation(None, made, audit("asked"))
        assert kept == replace(made, version=1)
        assert remediations.remediation(made.id) == kept
        assert remediations.remediation("another") is None

    def test_only_one_of_two_writers_gets_through(self, remediations: Remediations) -> None:
        kept = remediations.keep_remediation(None, remediation())
        with pytest.raises(ConflictError):
            remediations.keep_remediation(None, remediation())
        after = replace(kept, state=RemediationState.ASKED)
        remediations.keep_remediation(kept, after)
        with pytest.raises(ConflictError):
            remediations.keep_remediation(kept, after)

    def test_a_guard_that_changed_keeps_the_remediation_from_being_written(
        self, remediations: Remediations
    ) -> None:
        kept = remediations.keep_remediation(None, remediation())
        guard = remediations.guard()
        assert guard == Guard()
        remediations.keep_guard(replace(guard, stops={"*": Stop(by="ana", at=T0)}), audit("stop"))
        after = replace(kept, state=RemediationState.ACTING)
        with pytest.raises(ConflictError):
            remediations.keep_remediation(kept, after, guard=guard)
        assert remediations.remediation(kept.id) == kept
        with pytest.raises(ConflictError):
            remediations.keep_guard(guard, audit("stop again"))

    def test_the_guard_is_written_with_it(self, remediations: Remediations) -> None:
        kept = remediations.keep_remediation(None, remediation())
        start = Start(
            remediation=kept.id,
            at=T0,
            action="retrain",
            target=kept.target,
            endpoint="loan-risk",
            cost=12.5,
            incidents=("i-1#1",),
        )
        lock = Lock(owner=kept.id, endpoint="loan-risk", until=later(hours=1))
        guard = Guard(starts=(start,), locks={kept.target: lock})
        remediations.keep_remediation(kept, replace(kept, started_at=T0), guard=guard)
        assert remediations.guard() == replace(guard, version=1)

    def test_what_wakes_is_handed_out_when_it_is_due_until_it_was_heard(
        self, remediations: Remediations
    ) -> None:
        kept = remediations.keep_remediation(None, remediation(), wake_at=later(seconds=5))
        first, second = Wake(kept.id, later(seconds=5)), Wake(kept.id, later(minutes=1))
        assert list(remediations.wakes(T0)) == []
        assert list(remediations.wakes(later(seconds=5))) == [first]
        assert list(remediations.wakes(later(hours=1))) == [first, second]
        remediations.woken(first)
        remediations.woken(first)
        assert list(remediations.wakes(later(hours=1))) == [second]

    def test_a_new_time_to_look_takes_the_place_of_the_old_one(
        self, remediations: Remediations
    ) -> None:
        kept = remediations.keep_remediation(None, remediation())
        kept = remediations.keep_remediation(kept, replace(kept, look_at=later(days=1)))
        assert list(remediations.wakes(later(hours=1))) == []
        assert list(remediations.wakes(later(days=1))) == [Wake(kept.id, later(days=1))]
        remediations.keep_remediation(kept, replace(kept, look_at=None), wake_at=later(days=1))
        assert list(remediations.wakes(later(days=2))) in (
            [],
            [Wake(kept.id, later(days=1))],
        )

    def test_it_is_found_by_what_its_action_made(self, remediations: Remediations) -> None:
        kept = remediations.keep_remediation(None, remediation())
        arn = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/x"
        remediations.keep_remediation(kept, replace(kept, handle=arn))
        assert remediations.by_handle(arn) == kept.id
        assert remediations.by_handle("another") is None

    def test_those_of_a_time_are_listed_newest_first(self, remediations: Remediations) -> None:
        made = [remediation(later(hours=n), f"r{n}") for n in range(4)]
        for one in made:
            remediations.keep_remediation(None, one)
        listed = remediations.remediations(later(hours=1), later(hours=2))
        assert [r.id for r in listed] == [made[2].id, made[1].id]
        assert not list(remediations.remediations(T0, later(days=1), "another ledger"))
        assert len(list(remediations.remediations(T0, later(days=1), SCOPE.ledger_id))) == 4

    def test_a_message_is_kept_with_it(
        self, remediations: Remediations, outbox: Deliveries
    ) -> None:
        sent = outgoing()
        remediations.keep_remediation(None, remediation(), outgoing=[sent])
        ref = ref_of(sent.deliveries[0], sent.notification, T0)
        assert outbox.recall_deliveries([ref])[ref.id].notification == sent.notification

    def test_a_run_brings_requests_and_wakes_or_nothing(
        self, remediations: Remediations, incidents: Incidents
    ) -> None:
        asked, other = remediation(), remediation(later(hours=1), "other")
        wake = Wake(other.id, later(seconds=1))
        assert incidents.commit_run(record(), ledger(), None, [], audit("run"), [asked], [wake])
        assert remediations.remediation(asked.id) == replace(asked, version=1)
        assert wake in remediations.wakes(later(hours=1))
        again = remediation(about="again")
        assert not incidents.commit_run(
            record(), ledger(version=1), None, [], audit("run"), [again]
        )
        assert remediations.remediation(again.id) is None
