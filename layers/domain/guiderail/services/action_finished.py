"""The use case behind ``on_action_finished``: what ended wakes the remediation that awaits it.

The event is only a reason to look: the woken step asks how the action stands. So an event that comes twice,
late, or in another order has one effect, and one that is lost is made up for by the polling step.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, GuiderailError, PermanentError, TransientError
from guiderail.model.action_event import ActionEvent, parse_action_event
from guiderail.model.outcome import Reason
from guiderail.ports import Clock, DeadLetters, Journal, Meter, RemediationDriver, Remediations

_TRIES = 5


class ActionFinished(msgspec.Struct, frozen=True, kw_only=True):
    """React to one event of something that may be a remediation's action."""

    remediations: Remediations
    driver: RemediationDriver
    dead_letters: DeadLetters
    meter: Meter
    journal: Journal
    clock: Clock

    def __call__(self, body: str) -> Reason:
        """Handle one message of the queue.

        Returns:
            What became of it: ``action_ended`` where a remediation was woken.

        Raises:
            TransientError: The message must come again. Permanent errors do not come out: the
                message goes to the dead letters with its reason.
        """
        try:
            return self._react(parse_action_event(body))
        except PermanentError as error:
            return self._give_up(body, error)
        except TransientError as error:
            self.journal.warning("message will come again", reason=error.code, error=str(error))
            raise
        except Exception as error:
            # a bug loses no message: it comes again, and the queue keeps it as dead letter in the end
            self.journal.error("unexpected error", reason="unexpected_error", error=repr(error))
            raise

    def _react(self, event: ActionEvent) -> Reason:
        if not event.ended:
            return self._say(event, Reason.ACTION_NOT_ENDED)
        known = (self.remediations.by_handle(handle) for handle in event.handles)
        name = next(filter(None, known), event.remediation)
        woken = bool(name) and self._wake(name)
        return self._say(event, Reason.ACTION_ENDED if woken else Reason.NOBODY_WAITS, name)

    def _wake(self, name: str) -> bool:
        """Note that something changed, and let its state machine go on; False if it is over.

        The row that wakes is written first: should what follows fail, OnDue does it in a minute.
        """
        for attempt in range(_TRIES):
            known = self.remediations.remediation(name)
            if known is None or known.state.is_over:
                return False
            now = self.clock()
            try:
                kept = self.remediations.keep_remediation(
                    known, replace(known, changes=known.changes + 1), wake_at=now
                )
            except ConflictError:
                # its own step wrote meanwhile, perhaps without having seen this
                if attempt == _TRIES - 1:
                    raise
                continue
            if kept.token:
                self.driver.go_on(kept.token, now)
            return True
        raise AssertionError("unreachable")

    def _say(self, event: ActionEvent, reason: Reason, remediation: str = "") -> Reason:
        self.journal.info(
            "action event",
            what=event.what,
            status=event.status,
            handles=list(event.handles),
            remediation=remediation,
            reason=reason.value,
        )
        return reason

    def _give_up(self, body: str, error: GuiderailError) -> Reason:
        self.dead_letters.put(body, error)
        self.journal.warning("message kept as dead letter", reason=error.code, error=str(error))
        self.meter.record("DeadLetters", 1, {"reason": error.code})
        return Reason.DEAD_LETTER
