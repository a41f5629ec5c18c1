"""What wakes remediations: their state machines are started, or go on, when something is due."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from guiderail.errors import GuiderailError
from guiderail.model.remediation import RemediationState
from guiderail.ports import Journal, RemediationDriver, Remediations, Wake

DRIVER_DIED = timedelta(minutes=30)
"""After which a state machine that does not wait with its token is taken for dead, and another one started."""


class Waking(msgspec.Struct, frozen=True, kw_only=True):
    """Wake what is due; a wake is forgotten only once it was heard."""

    remediations: Remediations
    driver: RemediationDriver
    journal: Journal

    def __call__(self, now: datetime, errors: list[GuiderailError]) -> int:
        """Wake everything that is due; what cannot be woken is tried again the next minute.

        Args:
            now: The time to work with.
            errors: Takes what went wrong; one remediation does not keep the others waiting.

        Returns:
            How many were woken.
        """
        woken = 0
        try:
            wakes = self.remediations.wakes(now)
        except GuiderailError as error:
            errors.append(error)
            return 0
        for wake in wakes:
            try:
                if self._wake(wake, now):
                    self.remediations.woken(wake)
                    woken += 1
            except GuiderailError as error:
                self.journal.error(
                    "remediation not woken", remediation=wake.remediation, reason=error.code
                )
                errors.append(error)
        return woken

    def _wake(self, wake: Wake, now: datetime) -> bool:
        """Wake one; False if it has to be tried again."""
        known = self.remediations.remediation(wake.remediation)
        if known is None:
            self.journal.warning("remediation not known", remediation=wake.remediation)
            return True
        if known.token and self.driver.go_on(known.token, now):
            return True
        if known.state.is_over:
            return True
        if known.state is RemediationState.REQUESTED and not known.token:
            # the wake stays until the first step was taken: a machine can die before that
            self.driver.start(known.id, now)
        if now - wake.at < DRIVER_DIED:
            # it is between two states, and hears of this when it waits again
            return False
        # at most one an hour; the wake stays until it is heard, for that one can die too
        self.driver.start(known.id, now, again=f"{now:%Y%m%dT%H}")
        self.journal.warning("state machine replaced", remediation=known.id, state=known.state)
        return False
