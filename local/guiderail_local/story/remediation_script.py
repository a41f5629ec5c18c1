"""The steps of the demo's third part: what is done about incidents, and what each step has to come to.

``remediated`` is read back from the timeline of the endpoint's remediations, ``gates`` from what their
gates said: the gates that did not let it pass.
"""

from __future__ import annotations

from guiderail_local.story.script import About, Run, Scene, Step

_QUALITY, _AUC = "model_quality", "LessThanThreshold"


def _model(endpoint: str) -> About:
    return About(endpoint, _QUALITY, _AUC, "auc")


def _auc(about: About, auc: float) -> Run:
    return lambda writer: writer.model_quality(about.endpoint, auc)


def _arrivals(missing: float) -> Run:
    return lambda writer: writer.data_quality(
        "berth-arrival-prod", {}, {"eta_minutes": missing} if missing else {}
    )


_LIGHT, _TUG, _BERTH, _SILO, _GANGWAY, _REEFER, _CRANE = (
    _model(endpoint)
    for endpoint in (
        "pier-light-prod",
        "tug-dispatch-prod",
        "berth-arrival-prod",
        "silo-level-prod",
        "gangway-wind-prod",
        "reefer-power-prod",
        "quay-crane-prod",
    )
)
_FEED = About("berth-arrival-prod", "data_quality", "completeness_check", "eta_minutes")

ENDPOINTS = tuple(
    about.endpoint for about in (_LIGHT, _TUG, _BERTH, _SILO, _GANGWAY, _REEFER, _CRANE)
)
"""The endpoints that have models behind them."""

_NEWS = ("first_seen",)
_ANSWERED = ("200 reply_done",)


def _arrives(mails: int, slack: int) -> tuple[str, ...]:
    return ("harbour/email delivered",) * mails + ("harbour/slack delivered",) * slack


# two messages: what fires, and what is done about it
_TWICE = _arrives(2, 2)
# nobody is bothered; the incident's message in Slack says how it stands
_EDITED = _arrives(0, 1)


def _opened(
    says: str, about: About, run: Run, remediated: tuple[str, ...], gates: tuple[str, ...]
) -> Step:
    """Something fires, people hear of it, and the gates forbid to act by oneself."""
    return Step(
        says,
        about,
        (run,),
        decided=_NEWS,
        settled=_NEWS,
        told=_NEWS,
        delivered=_TWICE,
        remediated=remediated,
        gates=gates,
        stands="open",
    )


def _acted(says: str, about: About, run: Run) -> Step:
    """Something fires, and is retrained at once."""
    return Step(
        says,
        about,
        (run,),
        decided=("first_seen", "remediation_started"),
        settled=_NEWS,
        told=_NEWS,
        delivered=_arrives(1, 2),
        remediated=("retrain: acting remediation_approved", "retrain: running action_started"),
        stands="remediating",
    )


def _deployed(about: About, action: str) -> tuple[Step, Step]:
    """The pipeline ends well, and what it registered is released."""
    return (
        Step(
            "the pipeline ends and registers a model",
            about,
            act="finish_pipeline",
            stands="remediating",
        ),
        Step(
            "the model is approved and deployed",
            about,
            act="approve_model",
            decided=("remediation_finished",),
            delivered=_EDITED,
            remediated=(f"{action}: verifying action_ended",),
            stands="verifying",
        ),
    )


def _escalated(says: str, about: About, act: str, reason: str) -> Step:
    """The action failed: people hear that the incident is open again, and why."""
    return Step(
        says,
        about,
        act=act,
        decided=("remediation_failed",),
        settled=("remediation_failed",),
        told=("remediation_failed",),
        delivered=_TWICE,
        remediated=(f"retrain: failed {reason}",),
        stands="open",
    )


REMEDIATION = (
    Scene(
        "Mode suggest: people are told what would help, and nothing starts",
        (
            _opened(
                "auc falls",
                _LIGHT,
                _auc(_LIGHT, 0.81),
                ("suggest retraining: suggested remediation_suggested",),
                (
                    "suggest retraining: mode only_suggested",
                    "suggest retraining: approval approval_needed",
                ),
            ),
        ),
    ),
    Scene(
        "Mode ask: approved by a button, retrained, proven by a clean run",
        (
            _opened(
                "auc falls",
                _TUG,
                _auc(_TUG, 0.82),
                ("ask for retraining: asked remediation_asked",),
                ("ask for retraining: approval approval_needed",),
            ),
            Step(
                "ben presses: approve",
                _TUG,
                act="press_approval",
                decided=("remediation_started",),
                delivered=_EDITED,
                answered=_ANSWERED,
                remediated=(
                    "ask for retraining: asked remediation_approved",
                    "ask for retraining: acting remediation_approved",
                    "ask for retraining: running action_started",
                ),
                stands="remediating",
            ),
            *_deployed(_TUG, "ask for retraining"),
            Step(
                "a clean run on the new model",
                _TUG,
                (_auc(_TUG, 0.95),),
                decided=("waiting_for_clean_runs", "remediation_proven"),
                settled=("remediation_proven",),
                told=("remediation_proven",),
                delivered=_arrives(1, 2),
                remediated=("ask for retraining: proven remediation_proven",),
                stands="resolved",
            ),
        ),
    ),
    Scene(
        "Mode auto: while a feed is broken nothing is retrained; the feed is mended",
        (
            _opened(
                "eta_minutes is missing",
                _FEED,
                _arrivals(0.4),
                ("fetch arrivals: asked remediation_asked",),
                ("fetch arrivals: approval approval_needed",),
            ),
            _opened(
                "auc falls",
                _BERTH,
                _auc(_BERTH, 0.8),
                ("retrain: blocked cause_not_eligible",),
                ("retrain: cause cause_not_eligible",),
            ),
            Step("ana opens the mail's link", _FEED, act="open_approval", answered=("200",)),
            Step(
                "she confirms: approve",
                _FEED,
                act="confirm_link",
                decided=("remediation_started", "remediation_finished"),
                delivered=_EDITED,
                answered=_ANSWERED,
                remediated=(
                    "fetch arrivals: asked remediation_approved",
                    "fetch arrivals: acting remediation_approved",
                    "fetch arrivals: running action_started",
                    "fetch arrivals: verifying action_ended",
                ),
                stands="verifying",
            ),
            Step("every record is read back with get_record", _FEED, act="read_back"),
            Step(
                "a clean run",
                _FEED,
                (_arrivals(0.0),),
                decided=("waiting_for_clean_runs", "remediation_proven"),
                settled=("remediation_proven",),
                told=("remediation_proven",),
                delivered=_arrives(1, 2),
                remediated=("fetch arrivals: proven remediation_proven",),
                stands="resolved",
            ),
        ),
    ),
    Scene(
        "A failed pipeline escalates",
        (
            _acted("auc falls", _REEFER, _auc(_REEFER, 0.79)),
            _escalated("the pipeline fails", _REEFER, "break_pipeline", "action_failed"),
        ),
    ),
    Scene(
        "What does not help escalates, and is not tried again",
        (
            _acted("auc falls", _CRANE, _auc(_CRANE, 0.8)),
            *_deployed(_CRANE, "retrain"),
            Step(
                "the next run is no better",
                _CRANE,
                (_auc(_CRANE, 0.81),),
                decided=("verification_failed",),
                settled=("verification_failed",),
                told=("verification_failed",),
                delivered=_TWICE,
                remediated=("retrain: not_proven verification_failed",),
                stands="open",
            ),
        ),
    ),
    Scene(
        "The kill switch",
        (
            Step(
                "ana stops everything", _GANGWAY, act="stop_everything", decided=("switch_thrown",)
            ),
            _opened(
                "auc falls",
                _GANGWAY,
                _auc(_GANGWAY, 0.8),
                ("retrain: blocked switched_off",),
                ("retrain: kill_switch switched_off",),
            ),
            Step("ana lets it go on", _GANGWAY, act="resume_everything", decided=("switch_reset",)),
            Step(
                "ben starts it by hand",
                _GANGWAY,
                act="start_by_hand",
                decided=("remediation_started",),
                delivered=_EDITED,
                remediated=(
                    "retrain: requested started_by_hand",
                    "retrain: acting remediation_approved",
                    "retrain: running action_started",
                ),
                stands="remediating",
            ),
            _escalated("somebody stops the pipeline", _GANGWAY, "stop_pipeline", "action_stopped"),
        ),
    ),
    Scene(
        "The budget",
        (
            Step("ana sets the budget to one a day", _SILO, act="cut_budget"),
            _opened(
                "auc falls",
                _SILO,
                _auc(_SILO, 0.8),
                ("retrain: blocked budget_used",),
                ("retrain: budget budget_used",),
            ),
        ),
    ),
)
"""What ``guiderail demo`` plays last."""
