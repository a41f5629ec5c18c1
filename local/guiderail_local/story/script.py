"""The story's steps, and what each of them has to come to.

Reason codes are read back from the stack: ``decided`` from the audit entry of the run or act,
``settled`` from those of the groups that the incident belongs to, ``told`` from what came out of the bus,
``delivered`` from Deliver's log, ``answered`` from the answer and from OnReply's log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from guiderail.model.policy import ChannelKind

from guiderail_local.runs import RunFolder
from guiderail_local.sink import Fault
from guiderail_local.story.run_files import RunWriter

Run = Callable[[RunWriter], RunFolder]

DRIFT = "baseline_drift_check"


@dataclass(frozen=True)
class About:
    """The incident that a step is about; ``subject`` is its feature or metric."""

    endpoint: str
    monitor: str = "data_quality"
    check: str = DRIFT
    subject: str = ""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at a channel while a step is played; without ``times`` every time."""

    channel: ChannelKind
    fault: Fault
    times: int | None = None


@dataclass(frozen=True)
class Step:
    """One line of the story: runs that end, or something that a person does.

    Attributes:
        act: What a person does, a method of ``People``, ``Operators`` or ``Harbour``.
        trouble: What goes wrong at a channel meanwhile.
        decided: Reason codes with which the run, or the act, was decided.
        settled: Reason codes with which the incident's groups were settled, in order.
        told: Reason codes of the messages that people got; none: nobody was told.
        delivered: Each try over a channel of the policy: its name and the reason code, by name, then in
            order.
        answered: Status of the answer that a person got, and its reason code.
        remediated: States that remediations of the endpoint came to, each with its reason code.
        gates: Gates that did not let one pass, each with its reason code.
        stands: State of the incident afterwards; not looked at where it is empty.
    """

    says: str
    about: About
    runs: tuple[Run, ...] = ()
    act: str = ""
    trouble: Trouble | None = None
    decided: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    remediated: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    stands: str = ""


@dataclass(frozen=True)
class Scene:
    """Steps that show one thing."""

    title: str
    steps: tuple[Step, ...] = field(default=())


def _drift(about: About, distance: float) -> Run:
    drifted: Mapping[str, float] = {about.subject: distance}
    return lambda writer: writer.data_quality(about.endpoint, drifted)


def _clean(about: About) -> Run:
    return lambda writer: writer.data_quality(about.endpoint, {})


def _failed(endpoint: str) -> Run:
    return lambda writer: writer.failed(endpoint)


def _quality(endpoint: str, auc: float) -> Run:
    return lambda writer: writer.model_quality(endpoint, auc)


def _opened(
    says: str,
    about: About,
    run: Run,
    delivered: tuple[str, ...] = (),
    trouble: Trouble | None = None,
) -> Step:
    new = ("first_seen",)
    return Step(says, about, (run,), "", trouble, new, new, new, delivered)


def _to_everyone(*kinds: ChannelKind) -> tuple[str, ...]:
    return tuple(sorted(f"everyone/{kind} delivered" for kind in kinds))


# a feature of its own for each endpoint, or they would have a source in common
_BERTH = About("berth-time-prod", subject="wind_speed")
_CRANE = About("crane-load-prod", subject="gust_speed")
_LOCK = About("lock-queue-prod", subject="queue_length")
_PILOT = About("pilot-roster-prod", check="failed")
_PILOT_AUC = About("pilot-roster-prod", "model_quality", "LessThanThreshold", "auc")
_TIDE = About("tide-level-prod", subject="water_level")
_DREDGE = About("dredge-cost-prod", subject="draught_m")
_BRIDGE, _QUAY, _BUOY = (
    About(endpoint, subject="air_pressure")
    for endpoint in ("bridge-lift-prod", "quay-power-prod", "buoy-drift-prod")
)

_FERRY = About("ferry-load-prod", subject="load_factor")
_MOORING = About("mooring-time-prod", subject="rope_pull_kn")
_GATE = About("gate-count-prod", subject="gate_wait_s")
_SCALE = About("weigh-bridge-prod", subject="axle_load_t")

RETRY_AFTER = 2.0
"""Seconds that the busy channel asks for."""

_BUSY = Trouble(ChannelKind.TEAMS, Fault.rate_limited(RETRY_AFTER), times=1)
_DEAD = Trouble(ChannelKind.WEBHOOK, Fault.status_of(500))
_EVERY_CHANNEL = _to_everyone(*(kind for kind in ChannelKind if kind is not ChannelKind.BUS))
# an acknowledgement concerns only those who keep an incident of their own
_THOSE_WHO_KEEP = _to_everyone(*(kind for kind in ChannelKind if kind.keeps_incidents))

STORY = (
    Scene(
        "The same drift again is no news, and two clean runs end it",
        (
            _opened("wind_speed drifts", _BERTH, _drift(_BERTH, 0.31)),
            Step(
                "it drifts as before",
                _BERTH,
                (_drift(_BERTH, 0.33),),
                decided=("suppressed_duplicate",),
            ),
            Step(
                "a clean run",
                _BERTH,
                (_clean(_BERTH),),
                decided=("waiting_for_clean_runs",),
            ),
            Step(
                "a second clean run",
                _BERTH,
                (_clean(_BERTH),),
                decided=("resolved",),
                settled=("resolved",),
                told=("resolved",),
            ),
        ),
    ),
    Scene(
        "A rule says `for: 2 of 3`",
        (
            Step(
                "gust_speed drifts once",
                _CRANE,
                (_drift(_CRANE, 0.24),),
                decided=("waiting_n_of_m",),
            ),
            _opened("it drifts in a second run", _CRANE, _drift(_CRANE, 0.26)),
        ),
    ),
    Scene(
        "A silence",
        (
            Step(
                "ana silences lock-queue-prod for two hours",
                _LOCK,
                act="silence",
                decided=("silence_set",),
            ),
            Step(
                "queue_length drifts",
                _LOCK,
                (_drift(_LOCK, 0.28),),
                decided=("first_seen",),
                settled=("silenced",),
            ),
            Step(
                "ana ends the silence",
                _LOCK,
                act="end_silence",
                decided=("silence_ended",),
                settled=("silence_ended", "first_seen"),
                told=("first_seen",),
            ),
        ),
    ),
    Scene(
        "A broken run hides what follows from it",
        (
            _opened("the data-quality job fails", _PILOT, _failed("pilot-roster-prod")),
            Step(
                "auc falls on the same endpoint",
                _PILOT_AUC,
                (_quality("pilot-roster-prod", 0.81),),
                decided=("first_seen",),
                settled=("inhibited_by",),
            ),
        ),
    ),
    Scene(
        "An incident that comes and goes is said to flap, once",
        (
            _opened("water_level drifts", _TIDE, _drift(_TIDE, 0.22)),
            Step(
                "two clean runs",
                _TIDE,
                (_clean(_TIDE), _clean(_TIDE)),
                decided=("waiting_for_clean_runs", "resolved"),
                settled=("resolved",),
                told=("resolved",),
            ),
            Step(
                "it drifts again",
                _TIDE,
                (_drift(_TIDE, 0.23),),
                decided=("flapping",),
                settled=("flapping",),
                told=("flapping",),
            ),
            Step(
                "and two clean runs again",
                _TIDE,
                (_clean(_TIDE), _clean(_TIDE)),
                decided=("waiting_for_clean_runs", "flapping"),
            ),
        ),
    ),
    Scene(
        "An acknowledgement holds until it gets worse",
        (
            _opened("draught_m drifts", _DREDGE, _drift(_DREDGE, 0.2)),
            Step("ben acknowledges", _DREDGE, act="acknowledge", decided=("acknowledged",)),
            Step(
                "it drifts as before",
                _DREDGE,
                (_drift(_DREDGE, 0.21),),
                decided=("acknowledged",),
            ),
            Step(
                "it drifts three times as far",
                _DREDGE,
                (_drift(_DREDGE, 0.62),),
                decided=("worsened",),
                settled=("worsened",),
                told=("worsened",),
            ),
        ),
    ),
    Scene(
        "The same feature on three endpoints is one incident of its source",
        (
            Step(
                "air_pressure drifts on three endpoints",
                _BRIDGE,
                tuple(_drift(about, 0.4) for about in (_BRIDGE, _QUAY, _BUOY)),
                decided=("first_seen",),
                settled=("part_of_upstream",),
                told=("upstream_suspected",),
            ),
        ),
    ),
    Scene(
        "A message goes over every channel of its receiver",
        (_opened("load_factor drifts", _FERRY, _drift(_FERRY, 0.35), _EVERY_CHANNEL),),
    ),
    Scene(
        "A busy channel gets the time that it asks for",
        (
            _opened(
                "gate_wait_s drifts, and Teams says 429",
                _GATE,
                _drift(_GATE, 0.27),
                ("gatekeepers/teams channel_busy", "gatekeepers/teams delivered"),
                _BUSY,
            ),
        ),
    ),
    Scene(
        "A dead channel falls back, and opens an incident of its own",
        (
            Step(
                "axle_load_t drifts, and the webhook is down",
                _SCALE,
                (_drift(_SCALE, 0.29),),
                trouble=_DEAD,
                decided=("first_seen",),
                settled=("first_seen",),
                # the channel's own incident is news in the group of all that has no endpoint
                told=("first_seen", "new_findings"),
                delivered=(
                    "standby/slack_webhook delivered",
                    "weighers/webhook channel_failed",
                    "weighers/webhook channel_failed",
                    "weighers/webhook given_up",
                ),
            ),
        ),
    ),
    Scene(
        "A link asks first, works once, and cannot be guessed",
        (
            Step("ana opens the mail's link", _FERRY, act="open_link", answered=("200",)),
            Step(
                "she confirms: acknowledge",
                _FERRY,
                act="confirm_link",
                decided=("acknowledged",),
                delivered=_THOSE_WHO_KEEP,
                answered=("200 reply_done",),
            ),
            Step(
                "she confirms again",
                _FERRY,
                act="confirm_link",
                settled=("reply_used",),
                answered=("409 reply_used",),
            ),
            Step("somebody guesses one", _FERRY, act="guess_link", answered=("404 reply_unknown",)),
        ),
    ),
    Scene(
        "A button in Slack works once, and only if Slack signed it",
        (
            _opened("rope_pull_kn drifts", _MOORING, _drift(_MOORING, 0.33), _EVERY_CHANNEL),
            Step(
                "a forged press",
                _MOORING,
                act="forge_press",
                answered=("401 reply_bad_signature",),
            ),
            Step(
                "an old press, replayed",
                _MOORING,
                act="replay_old_press",
                answered=("401 reply_stale",),
            ),
            Step(
                "ben presses: acknowledge",
                _MOORING,
                act="press",
                decided=("acknowledged",),
                delivered=_THOSE_WHO_KEEP,
                answered=("200 reply_done",),
            ),
            Step(
                "the same press, replayed",
                _MOORING,
                act="press",
                settled=("reply_used",),
                answered=("200 reply_used",),
            ),
        ),
    ),
)
"""What ``guiderail demo`` plays after the built-in runs."""
