"""``guiderail demo``: runs played through the project's own stack on this computer."""

from __future__ import annotations

import contextlib
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from guiderail_local.errors import LocalCloudError
from guiderail_local.runs import BUILT_IN, RunFolder, read_runs
from guiderail_local.timeline import JsonTimeline, PrintedTimeline, Summary, Timeline

PIPELINE = "retrain-parcel-delay"
"""The SageMaker pipeline that exists in the demo."""

_AUTO_ENDPOINTS = "parcel-delay-*"
_EXIT_OTHERWISE = 1
_EXIT_NO_SET_UP = 3
_EXIT_INTERRUPTED = 130


def demo(
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs", help="Play these run folders (or this one) instead of the built-in ones."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", help="Judge the runs by this guiderail.yaml; the story has its own."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Leave the local cloud running afterwards, with a page of the messages, until Ctrl-C.",
        ),
    ] = False,
) -> None:
    """Play monitoring runs through the whole stack on this computer; no AWS account is used.

    After the built-in runs a story shows what a policy makes of runs, how messages reach people, what
    they answer, and what is done about incidents: each step with the reason codes that are read back
    from the stack.

    Exit status: 0 if every run ended as its manifest says and every step as its script says, 1 if one
    did not, 3 if the local cloud could not be set up or a run or the policy cannot be read.

    Example: guiderail demo --runs my-runs --policy guiderail.yaml --json
    """
    timeline: Timeline = JsonTimeline() if as_json else PrintedTimeline()
    try:
        played = read_runs(runs or BUILT_IN)
        summary = play(
            played, timeline, plan=_plan(runs), policy=policy, story=runs is None, keep=keep
        )
    except LocalCloudError as exc:
        print(f"guiderail demo: {exc}", file=sys.stderr)
        for note in getattr(exc, "__notes__", ()):
            print(note, file=sys.stderr)
        raise typer.Exit(_EXIT_NO_SET_UP) from exc
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    if not summary.ok:
        raise typer.Exit(_EXIT_OTHERWISE)


def play(
    runs: Sequence[RunFolder],
    timeline: Timeline,
    *,
    plan: str,
    policy: Path | None = None,
    story: bool = False,
    keep: bool = False,
) -> Summary:
    """Deploy the stack, play runs, and take everything down again.

    Args:
        runs: What to play, in this order.
        timeline: Is told what happens.
        plan: The template's RetrainingPlan.
        policy: The policy file that the runs are judged by; without one nothing is set.
        story: Play the story after the runs.
        keep: Show the messages on a local page, and wait for Ctrl-C before taking down.

    Raises:
        LocalCloudError: The stack could not be set up, or its clock does not run.
    """
    # boto3 and moto take a second to import, which other commands need not wait for.
    from guiderail_local.cloud import LocalCloud
    from guiderail_local.messages_page import Arrived, served
    from guiderail_local.player import Player
    from guiderail_local.policies import NOTHING_SET, read_policy, store_policy
    from guiderail_local.story.remediation_script import ENDPOINTS, REMEDIATION
    from guiderail_local.story.run_files import BUCKET
    from guiderail_local.story.script import STORY
    from guiderail_local.story.telling import story_teller

    began = time.monotonic()
    buckets = sorted({bucket for run in runs for bucket in run.buckets()} | {BUCKET})
    parameters = {
        "ReportBucketArns": ",".join(f"arn:aws:s3:::{bucket}" for bucket in buckets),
        "RetrainingPlan": plan,
        "PipelineParameters": "Endpoint={endpoint},WindowStart={window_start},Features={features}",
        "ClockState": "DISABLED",  # the player is the clock
        "PolicySeconds": "0",
        "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
    }
    with (
        LocalCloud(parameters, pipelines=[PIPELINE], note=timeline.note) as cloud,
        cloud.in_environment(),
    ):
        if policy is None:
            store_policy(cloud, NOTHING_SET, "the policy that sets nothing")
        else:
            store_policy(cloud, read_policy(policy), policy)
        player = Player(cloud)
        # a stack whose code does not run says so now, not after every run's time is up
        cloud.tick(player.now)
        set_up_seconds = time.monotonic() - began
        timeline.deployed(cloud.stack, set_up_seconds)
        endings = []
        for run in runs:
            ending = player.play(run)
            timeline.ended(ending)
            endings.append(ending)
        steps = []
        arrived: list[Arrived] = []
        if story:
            with story_teller(cloud, player) as teller:
                for scenes in (STORY, REMEDIATION):
                    if scenes is REMEDIATION:
                        teller.enter_harbour(ENDPOINTS)
                    for step in teller.play(scenes):
                        timeline.stepped(step)
                        steps.append(step)
                arrived = teller.receiving.arrived()
        summary = Summary(
            endings,
            cloud.stack.left_out,
            set_up_seconds,
            time.monotonic() - began - set_up_seconds,
            steps,
        )
        timeline.finished(summary)
        if keep:
            with served(arrived) as page:
                timeline.note(f"the messages are shown on {page}")
                timeline.note(
                    f"the local cloud listens on {cloud.url}, SageMaker and SES on {cloud.sagemaker.url}; "
                    "Ctrl-C ends it"
                )
                # Ctrl-C is how this is meant to end.
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    return summary


def _plan(runs: Path | None) -> str:
    # Real runs are not retrained by a demo; for the built-in ones some endpoints show how it goes.
    return "*=suggest" if runs else f"*=suggest,{_AUTO_ENDPOINTS}=auto"


if __name__ == "__main__":
    typer.run(demo)
