"""What is shown of runs that are played: a timeline for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from guiderail.rendering.wording import cut
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from guiderail_local.template import LeftOut

if TYPE_CHECKING:
    from guiderail_local.player import Ending, HeardAlert
    from guiderail_local.stack import Stack
    from guiderail_local.story.remedies import GatesSaid
    from guiderail_local.story.telling import StepEnding

_MOST_FINDINGS = 4
_WIDTH_OF_FILES = 140
_WIDTH_OF_STEPS = 51
_WIDTH_OF_REASONS = 34
_LONGEST_WHY = 140


@dataclass(frozen=True)
class Summary:
    """How a demo went; times in seconds."""

    endings: Sequence[Ending]
    left_out: Sequence[LeftOut]
    set_up_seconds: float
    play_seconds: float
    steps: Sequence[StepEnding] = ()

    @property
    def as_expected(self) -> int:
        """How many runs ended as they had to."""
        return sum(ending.as_expected for ending in self.endings)

    @property
    def steps_as_expected(self) -> int:
        """How many steps of the story came to what they had to."""
        return sum(step.as_expected for step in self.steps)

    @property
    def ok(self) -> bool:
        """Whether all runs and steps did."""
        return (self.as_expected, self.steps_as_expected) == (len(self.endings), len(self.steps))


class Timeline(Protocol):
    """Is told what happens, in the order it happens."""

    def note(self, text: str) -> None:
        """Something is being prepared."""
        ...

    def deployed(self, stack: Stack, seconds: float) -> None:
        """The stack is there."""
        ...

    def ended(self, ending: Ending) -> None:
        """A run ended."""
        ...

    def stepped(self, ending: StepEnding) -> None:
        """A step of the story ended."""
        ...

    def finished(self, summary: Summary) -> None:
        """All runs and steps ended."""
        ...


class PrintedTimeline:
    """For people, on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        """Print to a console; by default to standard output."""
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            # A log file has no edge to wrap at.
            self._console.width = max(self._console.width, _WIDTH_OF_FILES)
        self._scene = ""

    def note(self, text: str) -> None:
        """One dim line."""
        self._console.print(Text(f"· {text}", style="dim"))

    def deployed(self, stack: Stack, seconds: float) -> None:
        """How much was deployed, and what was left out."""
        self._console.print(
            f"· {len(stack.resources)} resources of template.yaml deployed in {seconds:.1f} s"
        )
        for left_out in stack.left_out:
            self._console.print(
                f"  left out: {left_out.logical_id} ({left_out.type}): {left_out.reason}"
            )
        self._console.print()

    def ended(self, ending: Ending) -> None:
        """One block per run: event, outcome, findings, alert, pipeline, verdict."""
        run = ending.run
        self._console.print(Text.assemble((run.name, "bold"), f"  {run.title}"))
        steps = Table.grid(padding=(0, 2))
        steps.add_column(style="dim", min_width=10)
        steps.add_column(justify="right", style="dim", min_width=7)
        steps.add_column(overflow="fold")
        times = "" if run.send == 1 else f", sent {run.send} times"
        steps.add_row(
            "  event", "0.0 s", Text(f"{run.job['ProcessingJobName']} {run.status}{times}")
        )
        steps.add_row("  outcome", _seconds(ending.recorded_after), _outcome(ending))
        for place, line in enumerate(_finding_lines(ending)):
            steps.add_row("  findings" if place == 0 else "", "", Text(line))
        for alert in ending.alerts:
            why = (f"  {', '.join(ending.why_told)}", "dim")
            text = Text.assemble(alert.subject, why)
            steps.add_row("  alert", _seconds(ending.alerted_after), text)
        if not ending.alerts:
            steps.add_row("  alert", "", Text("none", style="dim"))
        steps.add_row("  pipeline", "", _pipeline(ending))
        self._console.print(steps)
        self._console.print(_verdict(ending))
        self._console.print()

    def stepped(self, ending: StepEnding) -> None:
        """One line per step: what happened, the reason codes, what people were told, what gates said."""
        if ending.scene != self._scene:
            self._scene = ending.scene
            self._console.print(Text(f"\n{ending.scene}", style="bold"))
        mark = ("✓", "green") if ending.as_expected else ("✗", "red")
        wide = self._console.width >= _WIDTH_OF_FILES
        line = Table.grid(padding=(0, 2))
        line.add_column(width=_WIDTH_OF_STEPS if wide else None, overflow="fold")
        line.add_column(width=_WIDTH_OF_REASONS if wide else None, overflow="fold")
        line.add_column(overflow="fold")
        line.add_row(
            Text.assemble("  ", mark, f" {ending.step.says}"),
            Text(", ".join(step_reasons(ending)), style="yellow"),
            Text("\n".join(_what_came_of_it(ending)) or "nobody is told", style="dim"),
        )
        self._console.print(line)
        for said in ending.gates:
            self._console.print(Padding(_gates(said), (0, 0, 0, 4)))
        for problem in ending.problems:
            self._console.print(Text(f"    {problem}", style="red"))

    def finished(self, summary: Summary) -> None:
        """One table of all runs, and the sum."""
        if summary.steps:
            self._console.print()
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("", "run", "outcome", "findings", "alerts", "pipelines"):
            table.add_column(
                column, justify="right" if column in ("findings", "alerts", "pipelines") else "left"
            )
        for ending in summary.endings:
            table.add_row(
                Text("✓", style="green") if ending.as_expected else Text("✗", style="red"),
                Text(ending.run.name),
                Text(ending.outcome or ending.ignored or "none"),
                str(ending.finding_count),
                str(len(ending.alerts)),
                str(len(ending.pipelines)),
            )
        self._console.print(table)
        self._console.print(
            f"\n{summary.as_expected} of {len(summary.endings)} runs ended as they had to, in "
            f"{summary.play_seconds:.1f} s after {summary.set_up_seconds:.1f} s of set-up",
            style="green" if summary.ok else "red",
        )
        if summary.steps:
            told = f"{summary.steps_as_expected} of {len(summary.steps)}"
            self._console.print(
                f"{told} steps of the story came to what they had to",
                style="green" if summary.steps_as_expected == len(summary.steps) else "red",
            )
        left_out = ", ".join(f"{part.logical_id} ({part.type})" for part in summary.left_out)
        self._console.print(f"left out of the template: {left_out or 'nothing'}", style="dim")


class JsonTimeline:
    """For programs: one JSON object per line on standard output, progress on standard error."""

    def note(self, text: str) -> None:
        """Progress is nothing for a program."""
        print(text, file=sys.stderr)

    def deployed(self, stack: Stack, seconds: float) -> None:
        """``{"type": "stack"}``."""
        self._print(
            {
                "type": "stack",
                "resources": len(stack.resources),
                "left_out": [asdict(left_out) for left_out in stack.left_out],
                "seconds": round(seconds, 2),
            }
        )

    def ended(self, ending: Ending) -> None:
        """``{"type": "run"}``."""
        self._print({"type": "run", **run_fields(ending)})

    def stepped(self, ending: StepEnding) -> None:
        """``{"type": "step"}``."""
        self._print({"type": "step", **step_fields(ending)})

    def finished(self, summary: Summary) -> None:
        """``{"type": "summary"}``."""
        self._print(
            {
                "type": "summary",
                "ok": summary.ok,
                "runs": len(summary.endings),
                "as_expected": summary.as_expected,
                "steps": len(summary.steps),
                "steps_as_expected": summary.steps_as_expected,
                "left_out": [asdict(part) for part in summary.left_out],
                "set_up_seconds": round(summary.set_up_seconds, 2),
                "play_seconds": round(summary.play_seconds, 2),
            }
        )

    @staticmethod
    def _print(fields: Mapping[str, Any]) -> None:
        print(json.dumps(fields), flush=True)


def run_fields(ending: Ending) -> dict[str, Any]:
    """One run's ending as JSON values."""
    return {
        "run": ending.run.name,
        "title": ending.run.title,
        "ok": ending.as_expected,
        "problems": list(ending.problems),
        "job": ending.run.job["ProcessingJobName"],
        "status": ending.run.status,
        "sent": ending.run.send,
        "outcome": ending.outcome,
        "monitor": ending.monitor,
        "ignored": ending.ignored,
        "reasons": list(ending.reasons),
        "evidence": list(ending.evidence),
        "finding_count": ending.finding_count,
        "findings": list(ending.findings),
        "retraining": ending.retraining,
        "alerts": [{"subject": alert.subject, "message": alert.message} for alert in ending.alerts],
        "events": list(ending.bus_events),
        "why_told": list(ending.why_told),
        "pipelines": [asdict(start) for start in ending.pipelines],
        "dead_letter": ending.dead_letter,
        "recorded_after_seconds": _rounded(ending.recorded_after),
        "alerted_after_seconds": _rounded(ending.alerted_after),
    }


def step_reasons(ending: StepEnding) -> tuple[str, ...]:
    """All reason codes of a step, each once: of the finding, of telling it, of tries, answers, remediations."""
    tries = (reason for line in ending.delivered for reason in line.split()[1:])
    answers = (reason for line in ending.answered for reason in line.split()[1:])
    remedies = (became.moment.reason.value for became in ending.remediated)
    reasons = (*ending.decided, *ending.settled, *ending.told, *tries, *answers, *remedies)
    return tuple(dict.fromkeys(reasons))


def _told(alert: HeardAlert) -> str:
    return f"told: {alert.subject.removeprefix('[Guiderail] ')}"


def _what_came_of_it(ending: StepEnding) -> Iterator[str]:
    for answer in ending.answered:
        status, _, reason = answer.partition(" ")
        yield f"answer: {status}{f', {reason}' if reason else ', a page that asks'}"
    yield from map(_told, ending.alerts)
    for became in ending.remediated:
        why = f", {became.moment.text}" if became.moment.text else ""
        yield f"{became.action}: {became.moment.state}{cut(why, _LONGEST_WHY)}"
    if ending.remediated and ending.stands:
        yield f"the incident is {ending.stands}"
    tries: dict[str, list[str]] = {}
    for line in ending.delivered:
        channel, reason = line.split()
        tries.setdefault(channel, []).append(reason)
    arrived = [channel for channel, reasons in tries.items() if set(reasons) == {"delivered"}]
    if arrived:
        yield f"arrives at: {', '.join(_often(name, len(tries[name])) for name in arrived)}"
    for channel, reasons in tries.items():
        if channel not in arrived:
            yield f"{channel}: {', then '.join(reasons)}"


def _often(name: str, times: int) -> str:
    return name if times == 1 else f"{name} {times} times"


def _gates(said: GatesSaid) -> Text:
    """Every gate with its answer; the words of those that did not let it pass."""
    line = Text(f"gates of {said.action}:", style="dim")
    for answer in said.answers:
        line.append(f" {answer.gate}")
        line.append(" ✓" if answer.passed else " ✗", style="green" if answer.passed else "red")
        if not answer.passed:
            line.append(f" {answer.reason}", style="yellow")
            line.append(f" ({answer.text})" if answer.text else "")
    return line


def step_fields(ending: StepEnding) -> dict[str, Any]:
    """One step of the story as JSON values."""
    return {
        "scene": ending.scene,
        "step": ending.step.says,
        "ok": ending.as_expected,
        "problems": list(ending.problems),
        "decided": list(ending.decided),
        "settled": list(ending.settled),
        "told": list(ending.told),
        "delivered": list(ending.delivered),
        "answered": list(ending.answered),
        "remediated": [
            {
                "action": became.action,
                "state": became.moment.state.value,
                "reason": became.moment.reason.value,
                "by": became.moment.by,
                "text": became.moment.text,
            }
            for became in ending.remediated
        ],
        "gates": [
            {
                "action": said.action,
                "answers": [
                    {
                        "gate": answer.gate.value,
                        "passed": answer.passed,
                        "reason": answer.reason.value,
                        "text": answer.text,
                    }
                    for answer in said.answers
                ],
            }
            for said in ending.gates
        ],
        "stands": ending.stands,
        "alerts": [{"subject": alert.subject, "message": alert.message} for alert in ending.alerts],
        "jobs": list(ending.jobs),
        "incidents": list(ending.incidents),
        "groups": list(ending.groups),
        "silence": ending.silence,
        "seconds": round(ending.seconds, 3),
    }


def _rounded(seconds: float | None) -> float | None:
    return round(seconds, 3) if seconds is not None else None


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.1f} s" if seconds is not None else ""


def _outcome(ending: Ending) -> Text:
    if ending.ignored:
        return Text(f"none: {ending.ignored}", style="dim")
    if ending.outcome is None:
        return Text("none", style="red")
    colour = {"clean": "green", "violations": "yellow"}.get(ending.outcome, "magenta")
    return Text.assemble(
        (ending.outcome, colour), f"  {ending.monitor}  ", (", ".join(ending.reasons), "dim")
    )


def _finding_lines(ending: Ending) -> list[str]:
    lines = [_finding(finding) for finding in ending.findings[:_MOST_FINDINGS]]
    more = ending.finding_count - len(lines)
    if more:
        lines.append(f"and {more} more")
    return lines or ["none"]


def _finding(finding: Mapping[str, Any]) -> str:
    subject = finding.get("subject") or {}
    about = subject.get("feature") or " ".join(
        str(subject[key]) for key in ("metric", "facet", "facet_value", "label") if subject.get(key)
    )
    about = about or ", ".join(subject.get("columns") or ()) or "dataset"
    observed = finding.get("observed_text") or _figure(finding.get("observed"))
    if observed is None:
        return f"{about}: {finding.get('check')}: {finding.get('description')}"
    threshold = _figure(finding.get("threshold"))
    return f"{about}: {finding.get('check')}: {observed}{f', threshold {threshold}' if threshold else ''}"


def _figure(value: Any) -> str | None:
    return f"{value:.4g}" if isinstance(value, int | float) else None


def _pipeline(ending: Ending) -> Text:
    if not ending.pipelines:
        return Text(ending.retraining or "none", style="dim")
    return Text(
        "\n".join(
            f"{start.pipeline} started with "
            + ", ".join(f"{name}={value}" for name, value in start.parameters.items())
            for start in ending.pipelines
        )
    )


def _verdict(ending: Ending) -> Text:
    if not ending.as_expected:
        return Text("  ✗ " + "\n    ".join(ending.problems), style="red")
    return Text("  ✓ as expected" if ending.run.expectation else "  ✓ ended", style="green")
