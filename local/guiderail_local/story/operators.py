"""What the story's people do at the command line; each method is one command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from guiderail.model.incident import Incident, Scope
from guiderail.model.outcome import MonitorKind
from guiderail.model.remediation import EVERYTHING
from guiderail.services.acts import Acts
from guiderail.services.remediation_acts import RemediationActs

from guiderail_local.cloud import LocalCloud
from guiderail_local.player import Player
from guiderail_local.policies import store_policy
from guiderail_local.story.run_files import ACCOUNT, REGION, schedule_of
from guiderail_local.story.script import About

ORIGIN = "guiderail demo"

_SILENCE = timedelta(hours=2)
_SWITCH = "remediation"
_BEN = "slack:T0SINK/U0BEN"
_BUDGET, _CUT_BUDGET = "per_day: 20", "per_day: 1"


class Operators:
    """Acts through the same use cases as the commands.

    Attributes:
        acts: Acts on incidents.
        policy: The text of the policy that was pushed last.
        audited: Of the newest act that is not about an incident: the subject of its audit entry, and what
            the decision in it is about.
        silence_id: The newest silence.
    """

    def __init__(
        self, cloud: LocalCloud, player: Player, acts: Acts, remedies: RemediationActs
    ) -> None:
        """Act on what this cloud holds."""
        self.audited: tuple[str, str] | None = None
        self.silence_id = ""
        self.policy = ""
        self._cloud = cloud
        self._player = player
        self.acts = acts
        self._remedies = remedies

    def silence(self, about: About) -> None:
        """Silence an endpoint for two hours."""
        match: Mapping[str, str] = {"endpoint": about.endpoint}
        until = self._player.now + _SILENCE
        self.silence_id = self.acts.silence(match, until, "ana", "crane works", ORIGIN).id
        self.audited = self.silence_id, self.silence_id

    def end_silence(self, about: About) -> None:
        """End that silence."""
        self.acts.end_silence(self.silence_id, "ana", ORIGIN)
        self.audited = self.silence_id, self.silence_id

    def acknowledge(self, about: About) -> None:
        """Acknowledge the incident."""
        self.acts.acknowledge(self._the(about).id, "ben", ORIGIN)

    def stop_everything(self, about: About) -> None:
        """Throw the kill switch of everything."""
        self._remedies.stop(EVERYTHING, "ana", "storm warning", ORIGIN)
        self.audited = _SWITCH, EVERYTHING

    def resume_everything(self, about: About) -> None:
        """Reset it."""
        self._remedies.resume(EVERYTHING, "ana", "the storm is over", ORIGIN)
        self.audited = _SWITCH, EVERYTHING

    def start_by_hand(self, about: About) -> None:
        """Start what the incident's rule names."""
        incident = self._the(about)
        self._remedies.request(incident.id, incident.remediation, _BEN, ORIGIN)

    def cut_budget(self, about: About) -> None:
        """Push the policy with a smaller budget."""
        text = self.policy.replace(_BUDGET, _CUT_BUDGET)
        assert text != self.policy, f"the policy has no {_BUDGET}"
        self.push(text)

    def push(self, text: str) -> None:
        """Push a policy."""
        self.policy = text
        store_policy(self._cloud, text, "the story's policy")

    def incident(self, about: About) -> Incident | None:
        """The incident that a step is about, if there is one yet."""
        ledger = self.acts.incidents.ledger(scope_of(about).ledger_id)
        for incident in ledger.incidents.values() if ledger else ():
            names = {incident.subject.feature or "", incident.subject.metric or ""} - {""}
            if incident.check == about.check and (names == {about.subject} or not about.subject):
                return incident
        return None

    def _the(self, about: About) -> Incident:
        incident = self.incident(about)
        assert incident is not None, f"{about} was never seen"
        return incident


def scope_of(about: About) -> Scope:
    """The ledger that a step is about."""
    return Scope(
        account=ACCOUNT,
        region=REGION,
        endpoint=about.endpoint,
        schedule=schedule_of(about.endpoint, about.monitor),
        monitor=MonitorKind(about.monitor),
    )
