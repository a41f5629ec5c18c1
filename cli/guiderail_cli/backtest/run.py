"""A whole backtest: runs read once, replayed under each policy, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guiderail.model.delivery import Feedback
from guiderail.model.policy import Policy

from guiderail_cli.backtest.comparing import compare
from guiderail_cli.backtest.feedback import FeedbackWatch, feedback_result
from guiderail_cli.backtest.replay import Replay
from guiderail_cli.backtest.result import Backtest, SkippedRun
from guiderail_cli.backtest.shelves import Shelf
from guiderail_cli.backtest.stored_runs import Found, Reader
from guiderail_cli.backtest.tally import Tally


def backtest(
    shelf: Shelf,
    found: Found,
    policies: Sequence[tuple[str, Policy]],
    minimum_rows: int,
    after_run: Callable[[], object] = lambda: None,
    feedback: Sequence[Feedback] | None = None,
) -> Backtest:
    """Replay runs under one policy, or under two and compare them.

    Args:
        shelf: Where the runs lie.
        found: The runs, in time order.
        policies: Names and policies: the one to try, then the one to compare it with.
        minimum_rows: Rows that a run needs where a policy says nothing.
        after_run: Called after each run, for a progress bar.
        feedback: What people called noise; None if nobody asks about it.
    """
    watches = [(name, FeedbackWatch(feedback or ())) for name, _ in policies]
    tallies = [
        Tally(name, policy, watch)
        for (name, policy), (_, watch) in zip(policies, watches, strict=True)
    ]
    replays = [
        Replay(policy, tally, minimum_rows)
        for (_, policy), tally in zip(policies, tallies, strict=True)
    ]
    tightens = any(
        rule.effect.threshold is not None for _, policy in policies for rule in policy.rules
    )
    for stored, parsed in Reader(shelf, with_baselines=tightens).all_of(found.runs):
        for replay in replays:
            replay.see(stored, parsed)
        after_run()
    for replay in replays:
        replay.finish()
    begin, end = found.runs[0].ended_at, found.runs[-1].ended_at
    results = [tally.result(begin, end) for tally in tallies]
    both = len(tallies) > 1
    return Backtest(
        reports=shelf.place,
        begin=begin.isoformat(),
        end=end.isoformat(),
        runs=len(found.runs),
        outcomes=dict(tallies[0].outcomes.most_common()),
        ignored=found.ignored,
        skipped=tuple(SkippedRun(s.place, s.why) for s in found.skipped),
        policy=results[0],
        against=results[1] if both else None,
        comparison=compare(tallies[1].summaries(), tallies[0].summaries()) if both else None,
        feedback=None if feedback is None else feedback_result(feedback, watches),
    )
