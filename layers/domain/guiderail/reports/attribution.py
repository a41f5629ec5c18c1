"""How the ranking of features moved: nDCG, as Clarify's feature attribution drift monitor defines it.

With the features ordered by falling baseline attribution F = [f1 … fm], by falling current attribution
F' = [f'1 … f'm], and a(f) the *baseline* attribution of f::

    DCG  = Σ a(f'i) / log2(i + 1)      iDCG = Σ a(fi) / log2(i + 1)      nDCG = DCG / iDCG

1 means the order is unchanged; the monitor reports a violation below 0.9. Source: Amazon SageMaker
Developer Guide, "Feature Attribution Drift for Models in Production" (after Järvelin and Kekäläinen,
"Cumulated gain-based evaluation of IR techniques", 2002). The violation names no feature, so each
feature's part of the loss is worked out here: a(f) (1/log2(rank + 1) - 1/log2(rank' + 1)) / iDCG,
which adds up to 1 - nDCG.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, log2

from guiderail.model.finding import AttributionShift


def attribution_shifts(
    baseline: Mapping[str, float], current: Mapping[str, float]
) -> tuple[AttributionShift, ...]:
    """Compare the attributions of one label, largest loss of score first.

    Args:
        baseline: Global SHAP values of the baseline by feature (mean absolute values, unit of the output).
        current: The same of the current run; only features in both are compared.

    Returns:
        One shift per compared feature; empty when nothing can be compared.
    """
    shared = [
        f for f in baseline if f in current and isfinite(baseline[f]) and isfinite(current[f])
    ]
    baseline_rank = {f: i for i, f in enumerate(sorted(shared, key=lambda f: -baseline[f]), 1)}
    current_rank = {f: i for i, f in enumerate(sorted(shared, key=lambda f: -current[f]), 1)}
    ideal = sum(baseline[f] / log2(rank + 1) for f, rank in baseline_rank.items())
    if not ideal or not isfinite(ideal):
        return ()
    shifts = (
        AttributionShift(
            feature=f,
            baseline=baseline[f],
            current=current[f],
            baseline_rank=baseline_rank[f],
            current_rank=current_rank[f],
            score_loss=baseline[f]
            * (1 / log2(baseline_rank[f] + 1) - 1 / log2(current_rank[f] + 1))
            / ideal,
        )
        for f in shared
    )
    return tuple(sorted(shifts, key=lambda s: (-abs(s.score_loss), s.baseline_rank)))


def ndcg(shifts: tuple[AttributionShift, ...]) -> float | None:
    """The score that the shifts add up to; None where nothing was compared."""
    return 1 - sum(s.score_loss for s in shifts) if shifts else None
