"""The state machine of remediations in this process, stepped as its file says, without AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml
from jsonata import Jsonata

from benchmarks.environments import ROOT

MACHINE = ROOT / "statemachines" / "remediation.asl.yaml"


class Execution:
    """One execution; it goes on until it waits for its token, or ends.

    What a task raises comes out: a walk of the way without errors has no use for retries.

    Attributes:
        entered: Names of the states that it came to, in order: what Step Functions bills for
            (https://aws.amazon.com/step-functions/pricing/: each time a step is executed).
        token: What it waits for; empty while it does not.
        result: Answer of the task before.
    """

    def __init__(
        self,
        task: Callable[[dict[str, Any], object], dict[str, Any]],
        given: Mapping[str, Any],
    ) -> None:
        """Start with an input; ``task`` is the function that its tasks invoke."""
        self._machine = cast("dict[str, Any]", yaml.safe_load(MACHINE.read_text(encoding="utf-8")))
        self._task, self._given = task, dict(given)
        self.entered: list[str] = []
        self.token = ""
        self.result: dict[str, Any] = dict(given)
        self._follow(self._machine["StartAt"])

    def go_on(self, token: str, output: Mapping[str, Any]) -> bool:
        """Answer a token, as SendTaskSuccess does; False if nobody waits for it."""
        if not token or token != self.token:
            return False
        state, self.token = self._state, ""
        self.result = self._value(state["Output"], result=dict(output))
        self._follow(state["Next"])
        return True

    def time_over(self) -> None:
        """Let the wait for its token end by its time-out."""
        caught = next(c for c in self._state["Catch"] if "States.Timeout" in c["ErrorEquals"])
        self.token = ""
        self.result = self._value(caught["Output"])
        self._follow(caught["Next"])

    @property
    def _state(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._machine["States"][self.entered[-1]])

    def _follow(self, name: str) -> None:
        while name:
            self.entered.append(name)
            name = self._step(self._state)

    def _step(self, state: Mapping[str, Any]) -> str:
        """Take one state; where it leads, empty if it waits or ends."""
        match state["Type"]:
            case "Choice":
                met = (c["Next"] for c in state["Choices"] if self._value(c["Condition"]))
                return str(next(met, state["Default"]))
            case "Task":
                waits = state["Resource"].endswith(".waitForTaskToken")
                self.token = f"token-{len(self.entered)}" if waits else ""
                answer = self._task(self._value(state["Arguments"]["Payload"]), None)
                if waits:
                    return ""
                self.result = self._value(state["Output"], result={"Payload": answer})
                return str(state["Next"])
            case _:
                return ""

    def _value(self, expression: str, **more: Any) -> Any:
        context = {"Execution": {"Input": self._given}, "Task": {"Token": self.token}}
        states = {"input": self.result, "context": context, **more}
        return Jsonata.jsonata(expression[2:-2].strip()).evaluate(None, {"states": states})
