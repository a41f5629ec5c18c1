"""What became of remediations since somebody last looked, in the words of the script."""

from __future__ import annotations

from dataclasses import dataclass

from guiderail.model.remediation import GateAnswer, Moment, Remediation

from guiderail_local.remediations import RemediationWatch


@dataclass(frozen=True)
class GatesSaid:
    """What the gates said of one remediation, in the order in which they are asked."""

    action: str
    answers: tuple[GateAnswer, ...]

    @property
    def forbade(self) -> tuple[str, ...]:
        """The gates that did not let it pass."""
        return tuple(
            f"{self.action}: {answer.gate} {answer.reason}"
            for answer in self.answers
            if not answer.passed
        )


@dataclass(frozen=True)
class Became:
    """One line of a remediation's timeline."""

    action: str
    moment: Moment

    def __str__(self) -> str:
        """As the script has it."""
        return f"{self.action}: {self.moment.state} {self.moment.reason}"


class Remedies:
    """Remembers how much of each remediation was told."""

    def __init__(self, watch: RemediationWatch) -> None:
        """Nothing was told yet."""
        self._watch = watch
        self._told: dict[str, Remediation] = {}

    def news_of(self, endpoint: str) -> tuple[tuple[Became, ...], tuple[GatesSaid, ...]]:
        """New lines of the timelines of an endpoint's remediations, and what gates said since."""
        lines: list[Became] = []
        gates: list[GatesSaid] = []
        for one in self._watch.of(endpoint):
            before = self._told.get(one.id)
            news = one.timeline[len(before.timeline) if before else 0 :]
            lines += [Became(one.action, moment) for moment in news]
            if one.gates and (before is None or one.gates != before.gates):
                gates.append(GatesSaid(one.action, one.gates))
            self._told[one.id] = one
        return tuple(lines), tuple(gates)
