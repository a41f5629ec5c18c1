"""Plays the story's steps through the local cloud and reads back what was decided, and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from guiderail.bootstrap import build_acts, build_remediation_acts
from guiderail.model.notice import AuditEntry
from guiderail.model.outcome import Reason
from guiderail.services.acts import Acts
from guiderail.settings import settings_from

from guiderail_local.cloud import LocalCloud
from guiderail_local.player import HeardAlert, Player
from guiderail_local.runs import RunFolder
from guiderail_local.story.harbour import Harbour
from guiderail_local.story.operators import Operators, scope_of
from guiderail_local.story.people import People
from guiderail_local.story.receiving import Receiving, receiving
from guiderail_local.story.remedies import Became, GatesSaid, Remedies
from guiderail_local.story.run_files import RunWriter
from guiderail_local.story.script import Run, Scene, Step, Trouble

POLICY = Path(__file__).with_name("guiderail.yaml")
"""The policy that holds during the story."""

REMEDIATION_POLICY = Path(__file__).with_name("remediation.yaml")
"""The policy of its part about remediation."""

_SETTLES_WITHIN = timedelta(minutes=2)
_RECORD_SECONDS = 5.0
_NEWEST = 20

T = TypeVar("T")


@dataclass(frozen=True)
class StepEnding:
    """What a step came to.

    Attributes:
        gates: Every gate that was asked, with its answer.
        stands: State of the incident; empty if there is none.
        jobs: ARNs of the processing jobs that ended in it.
        incidents: Ids of the incident it is about and of those that people were told of.
        groups: Ids of the groups that hear of it.
        silence: Id of the silence that it set or ended.
    """

    scene: str
    step: Step
    decided: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    remediated: tuple[Became, ...] = ()
    gates: tuple[GatesSaid, ...] = ()
    stands: str = ""
    alerts: tuple[HeardAlert, ...] = ()
    jobs: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    silence: str = ""
    seconds: float = 0.0
    trouble: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Compare with the script once."""
        differing = [
            f"{name}: {_listed(found)}, expected {_listed(getattr(self.step, name))}"
            for name, found in self._found().items()
            if found != getattr(self.step, name)
        ]
        if self.step.stands not in ("", self.stands):
            differing.append(f"the incident is {self.stands}, expected {self.step.stands}")
        object.__setattr__(self, "problems", (*self.trouble, *differing))

    def _found(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "decided": self.decided,
            "settled": self.settled,
            "told": self.told,
            "delivered": self.delivered,
            "answered": self.answered,
            "remediated": tuple(map(str, self.remediated)),
            "gates": tuple(line for said in self.gates for line in said.forbade),
        }

    @property
    def as_expected(self) -> bool:
        """Whether it came to what the script says."""
        return not self.problems


class StoryTeller:
    """Plays scenes; what people do in them goes the way of the commands or of a reply.

    Attributes:
        receiving: What the messages arrive at.
        operators: What people do at the command line.
    """

    def __init__(
        self, cloud: LocalCloud, player: Player, operators: Operators, receiving: Receiving
    ) -> None:
        """Play through this player, and write the runs' files into the cloud's folder."""
        self.receiving = receiving
        self._player = player
        self.operators = operators
        self._acts = operators.acts
        self._people = People(cloud, receiving)
        self._harbour: Harbour | None = None
        self._cloud = cloud
        self._log_of = cloud.log_lines
        self._writer = RunWriter(cloud.folder / "story")
        self._remedies = Remedies(player.remediations)
        self._seen: set[str] = set()

    def enter_harbour(self, endpoints: Sequence[str]) -> None:
        """Begin the part about remediation: its policy, and what there is to be mended."""
        self.operators.push(REMEDIATION_POLICY.read_text(encoding="utf-8"))
        self._harbour = Harbour(self._cloud, endpoints)
        # hours of the story's clock are not hours of the machines' own
        self._player.set_back()
        # what proves a remediation are runs over data that is newer than it
        self._writer.begin_at(self._player.clock)

    @property
    def acts(self) -> Acts:
        """What the story's people act through."""
        return self._acts

    def play(self, scenes: Sequence[Scene]) -> Iterator[StepEnding]:
        """Play scenes, step by step."""
        for scene in scenes:
            for step in scene.steps:
                yield self._play(scene, step)

    def _play(self, scene: Scene, step: Step) -> StepEnding:
        began, began_at = time.monotonic(), time.time()
        trouble: list[str] = []
        self.operators.audited = None
        before = self.receiving.taken()
        if step.trouble:
            plan = step.trouble
            self.receiving.sink.fail(plan.channel, plan.fault, plan.times)
        jobs = []
        for run in self._written(step.runs):
            trouble += self._player.send([run])
            jobs.append(run.job_arn)
        status = None
        try:
            status = self._do(step) if step.act else None
        except LookupError as nothing:
            # what it was to be done with never arrived: the steps after it may still go well
            trouble.append(str(nothing))
        if jobs and not _until(lambda: all(map(self._acts.incidents.run, jobs))):
            trouble.append("a run was not recorded")
        told = self._player.tell(_SETTLES_WITHIN)
        trouble += self.receiving.missing(before, told.deliveries)
        if step.trouble:
            trouble += self._impatience(step.trouble)
            self.receiving.sink.heal(step.trouble.channel)
        incident = self.operators.incident(step.about)
        about = incident.id if incident else ""
        ledger = scope_of(step.about).ledger_id
        groups = tuple(incident.groups) if incident else ()
        heard = [str(one["id"]) for event in told.events for one in _incidents_of(event.detail)]
        remediated, gates = self._remedies.news_of(step.about.endpoint)
        silence = self.operators.silence_id if "silence" in step.act else ""
        return StepEnding(
            scene=scene.title,
            step=step,
            decided=self._reasons(*(self.operators.audited or (ledger, about))),
            settled=self._reasons_of(groups, about),
            told=told.why_now,
            delivered=self._tries(began_at, len(step.delivered)),
            answered=() if status is None else (self._answer(began_at, status),),
            remediated=remediated,
            gates=gates,
            stands=incident.state.value if incident else "",
            alerts=told.alerts,
            jobs=tuple(jobs),
            incidents=tuple(dict.fromkeys(filter(None, [about, *heard]))),
            groups=groups,
            silence=silence,
            seconds=time.monotonic() - began,
            trouble=(*trouble, *told.trouble),
        )

    def _written(self, runs: Sequence[Run]) -> list[RunFolder]:
        return [write(self._writer) for write in runs]

    def _do(self, step: Step) -> int | None:
        """What a person does; the status of the answer, if there is one."""
        if hasattr(self._people, step.act):
            status: int = getattr(self._people, step.act)()
            return status
        for doer in (self.operators, self._harbour):
            if hasattr(doer, step.act):
                getattr(doer, step.act)(step.about)
                return None
        raise ValueError(f"the story knows no act {step.act}")

    def _tries(self, since: float, expected: int) -> tuple[str, ...]:
        """Each try over a channel of the policy, by channel, then in order."""

        def logged() -> list[tuple[str, str]]:
            return [
                (str(line["channel"]), str(line["reason"]))
                for line in self._log_of("DeliverLogGroup", since)
                if str(line.get("message", "")).startswith("delivery ")
                and "/" in str(line.get("channel", ""))
                # no try: an older message of the same thread is on its way, as it happens
                and line["reason"] != Reason.WAITING_FOR_DELIVERY
            ]

        # the log of an invocation may be written after its message left the queue
        _until(lambda: len(logged()) >= expected)
        return tuple(
            f"{channel} {reason}" for channel, reason in sorted(logged(), key=lambda try_: try_[0])
        )

    def _answer(self, since: float, status: int) -> str:
        """The status with the reason code that OnReply logged for it."""

        def logged() -> list[str]:
            lines = self._log_of("OnReplyLogGroup", since)
            return [str(line.get("reason", "")) for line in lines if line.get("message") == "reply"]

        return f"{status} {''.join((_until(logged) or [''])[-1:])}".strip()

    def _impatience(self, trouble: Trouble) -> Iterator[str]:
        asked = float(trouble.fault.retry_after or 0)
        waited = self.receiving.waited(trouble.channel)
        if waited < asked:
            yield f"{trouble.channel} asked for {asked:g} s and was tried again after {waited:.1f} s"

    def _reasons_of(self, subjects: Sequence[str], about: str) -> tuple[str, ...]:
        return tuple(
            reason
            for subject in dict.fromkeys(subjects)
            for reason in self._reasons(subject, about)
        )

    def _reasons(self, subject: str, about: str) -> tuple[str, ...]:
        """Reasons of new audit entries of a ledger, group or silence, as far as they are about one thing."""
        entries: list[AuditEntry] = []
        for entry in self._acts.incidents.audit(subject, _NEWEST):
            if f"{subject}|{entry.id}" not in self._seen:
                self._seen.add(f"{subject}|{entry.id}")
                entries.append(entry)
        return tuple(
            decision.reason.value
            for entry in sorted(entries, key=lambda entry: entry.at)
            for decision in entry.decisions
            if decision.about == about
        )


@contextmanager
def story_teller(cloud: LocalCloud, player: Player) -> Iterator[StoryTeller]:
    """Put the story's policy into the cloud; acts reach the cloud as long as the context lasts."""
    settings = settings_from(cloud.variables("OnDue"))
    with cloud.in_environment(), receiving(cloud) as receivers:
        # with the computer's time, as OnJobFinished: what was decided first has to look earlier
        operators = Operators(cloud, player, build_acts(settings), build_remediation_acts(settings))
        operators.push(POLICY.read_text(encoding="utf-8"))
        yield StoryTeller(cloud, player, operators, receivers)


def _incidents_of(detail: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The incidents that an event tells of; one about a remediation has only their ids."""
    for one in detail["incidents"]:
        yield one if isinstance(one, Mapping) else {"id": one}


def _listed(reasons: Sequence[str]) -> str:
    return ", ".join(reasons) or "none"


def _until(attempt: Callable[[], T]) -> T:
    deadline = time.monotonic() + _RECORD_SECONDS
    while True:
        result = attempt()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(0.05)
