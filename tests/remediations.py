"""Remediations over in-memory ports: actions with memory, and a state machine that steps as the real one does."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from guiderail.errors import GuiderailError, PermanentError, TransientError
from guiderail.model.policy import (
    ActionKind,
    GuardRails,
    Policy,
    RemediationAction,
    RemediationMode,
    Replies,
    Rule,
)
from guiderail.model.remediation import (
    ActionReport,
    ActionState,
    Lineage,
    Remediation,
    RemediationState,
)
from guiderail.services.remediating import Remediate
from guiderail.services.remediation_acts import RemediationActs
from guiderail.services.waking import Waking

from tests.fakes import Cloud, Crash, _Queue

RETRAIN = "retrain loans"
ANA, BEN = "slack:T0123/ANA", "slack:T0123/BEN"


def retrain(mode: RemediationMode = RemediationMode.ASK, **fields: Any) -> RemediationAction:
    """An action that retrains, whatever the cause."""
    fields = {"cooldown": 0.0, "attempts": 10, **fields}
    return RemediationAction(name=RETRAIN, kind=ActionKind.RETRAIN, mode=mode, **fields)


def policy_with(*actions: RemediationAction, **fields: Any) -> Policy:
    """A policy with these actions and hardly any limit."""
    rails = fields.pop("guard_rails", GuardRails(per_hour=None, per_day=None, per_month=None))
    return Policy(
        remediations={action.name: action for action in actions},
        guard_rails=rails,
        replies=Replies(allowed=("slack:*",)),
        **fields,
    )


class FakeActions:
    """Actions that remember what was begun; each remediation begins once, however often it is asked.

    Attributes:
        begun: Effects on the world: ids of remediations, each time something was really begun.
        states: How each action stands; ``running`` until a test says otherwise.
        errors: Raised by the next calls, once each.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.begun: list[str] = []
        self.states: dict[str, ActionReport] = {}
        self.at_once: set[ActionKind] = {ActionKind.TICKET, ActionKind.PAUSE}
        self.errors: list[GuiderailError] = []
        self.known_lineage = Lineage(belongs=True, text="its baseline is the model's")

    def begin(self, remediation: Remediation, now: datetime) -> ActionReport:
        def work() -> ActionReport:
            if self.errors:
                raise self.errors.pop(0)
            if remediation.id not in self.states:
                self.begun.append(remediation.id)
                done = remediation.kind in self.at_once
                self.states[remediation.id] = ActionReport(
                    state=ActionState.DONE if done else ActionState.RUNNING,
                    handle=f"handle-{remediation.id}",
                )
            return self.states[remediation.id]

        return self._cloud._step("begin action", work)  # type: ignore[no-any-return]

    def look(self, remediation: Remediation, now: datetime) -> ActionReport:
        return self._cloud._step("look at action", lambda: self.states[remediation.id])  # type: ignore[no-any-return]

    def lineage(self, remediation: Remediation) -> Lineage:
        made_by = self.known_lineage.made_by or remediation.handle
        known = Lineage(
            made_by=made_by, belongs=self.known_lineage.belongs, text=self.known_lineage.text
        )
        return self._cloud._step("lineage", lambda: known)  # type: ignore[no-any-return]

    def end(self, remediation: str, state: ActionState = ActionState.DONE, text: str = "") -> None:
        """Let an action end in the world; nobody is told."""
        was = self.states[remediation]
        self.states[remediation] = ActionReport(state=state, handle=was.handle, text=text)


@dataclass
class _Execution:
    remediation: str
    at: datetime
    doing: str = "judge"
    token: str = ""
    waits_until: datetime | None = None
    tries: int = 0
    over: bool = False
    error: str = ""


_WAITS = {"ask": "judge", "follow": "look", "verify": "prove"}
_RETRIES = 4


@dataclass
class Machine:
    """Steps as ``statemachines/remediation.asl.yaml`` does; implements RemediationDriver.

    A step that dies is tried again; what fails for good, or too often, is given up.
    """

    cloud: RemediationCloud
    executions: dict[str, _Execution] = field(default_factory=dict)
    tokens: int = 0
    is_deaf: bool = False

    def start(self, remediation_id: str, at: datetime, again: str = "") -> None:
        def work() -> None:
            name = f"{remediation_id}-{again}" if again else remediation_id
            self.executions.setdefault(name, _Execution(remediation_id, at))

        self.cloud._step("start machine", work)

    def go_on(self, token: str, at: datetime) -> bool:
        def work() -> bool:
            waiting = next((e for e in self.executions.values() if e.token == token), None)
            if waiting is None or waiting.over or self.is_deaf:
                return False
            waiting.token, waiting.waits_until = "", None
            waiting.at = max(waiting.at, at)
            return True

        return self.cloud._step("go on", work)  # type: ignore[no-any-return]

    def kill(self, remediation_id: str) -> None:
        """Let the executions of a remediation end by somebody's hand."""
        for execution in self.executions.values():
            if execution.remediation == remediation_id:
                execution.over, execution.token = True, ""

    def run(self) -> None:
        """Go on with whatever does not wait."""
        while ready := self.ready():
            for execution in ready:
                self.step(execution)

    def ready(self) -> list[_Execution]:
        """Executions that wait for nothing."""
        return [e for e in self.executions.values() if self._is_ready(e)]

    def _is_ready(self, execution: _Execution) -> bool:
        if execution.over:
            return False
        if execution.waits_until and self.cloud.now >= execution.waits_until:
            # the polling fallback: a wait's time-out leads on as well
            execution.token, execution.waits_until = "", None
            execution.at = max(execution.at, self.cloud.now)
        return execution.waits_until is None

    def step(self, execution: _Execution) -> None:
        """Take one step of one execution."""
        event: dict[str, Any] = {
            "step": execution.doing,
            "remediation": execution.remediation,
            "at": execution.at.isoformat(),
        }
        if execution.doing == "give_up":
            event["error"] = execution.error
        try:
            answer = self.cloud.remediate()(event)
            execution.tries = 0
            following = answer["next"]
            execution.at = datetime.fromisoformat(answer["at"])
            if following in _WAITS:
                self._wait(execution, following, answer["wait"])
            elif following == "over":
                execution.over = True
            else:
                execution.doing = following
        except (Crash, TransientError, PermanentError) as error:
            self._failed(execution, error)

    def _wait(self, execution: _Execution, following: str, seconds: int) -> None:
        self.tokens += 1
        execution.token = token = f"token-{self.tokens}"
        execution.doing = _WAITS[following]
        execution.waits_until = self.cloud.now + timedelta(seconds=seconds)
        for _ in range(_RETRIES):
            try:
                self.cloud.remediate()(
                    {
                        "step": "wait",
                        "remediation": execution.remediation,
                        "at": execution.at.isoformat(),
                        "token": token,
                    }
                )
                return
            except (Crash, TransientError):
                continue
        # the task failed: its catch leads to giving up
        if execution.token == token:
            execution.token, execution.waits_until = "", None
            execution.doing, execution.error = "give_up", "the wait failed"

    def _failed(self, execution: _Execution, error: BaseException) -> None:
        execution.tries += 1
        if execution.tries <= _RETRIES and not isinstance(error, PermanentError):
            return
        if execution.doing == "give_up":
            execution.over = True
            return
        execution.tries = 0
        execution.doing, execution.error = "give_up", repr(error)


class RemediationCloud(Cloud):
    """All ports, with actions and the state machine that drives remediations."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy=policy or policy_with(retrain()))
        self.actions = FakeActions(self)
        self.machine = Machine(self)

    def remediate(self) -> Remediate:
        """The use case of ``remediate``, as in a fresh process."""
        return Remediate(
            remediations=self.incidents,
            incidents=self.incidents,
            policies=self,
            actions=self.actions,
            driver=self.machine,
            acts=self.acts(),
            queue=_Queue(self),
            meter=self,
            journal=self,
            clock=self.clock,
        )

    def remediation_acts(self) -> RemediationActs:
        """What people do with remediations."""
        return RemediationActs(
            remediations=self.incidents,
            incidents=self.incidents,
            policies=self,
            driver=self.machine,
            queue=_Queue(self),
            journal=self,
            clock=self.clock,
        )

    def waking(self) -> Waking:
        """What OnDue does for remediations."""
        return Waking(remediations=self.incidents, driver=self.machine, journal=self)

    def pass_time(self, tick: float = 60.0, **duration: float) -> None:
        """Let time pass: people are told, and state machines go on."""
        end = self.now + timedelta(**duration)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=tick))
            self.due_changes()(self.now)
            self.machine.run()

    @property
    def all(self) -> list[Remediation]:
        """All remediations, oldest first."""
        kept = self.store.kept_remediations
        return [kept[key] for key in sorted(kept)]

    @property
    def only(self) -> Remediation:
        """The only remediation there is."""
        (found,) = self.all
        return found

    def states(self) -> list[RemediationState]:
        """The states of all remediations, oldest first."""
        return [remediation.state for remediation in self.all]


def rule(remediation: str = RETRAIN, **match: Any) -> Rule:
    """A rule that asks for a remediation."""
    from guiderail.model.policy import Effect, Layer, Match

    return Rule(
        name="mend it",
        layer=Layer.RULE,
        match=Match(**match),
        effect=Effect(remediation=remediation),
    )
