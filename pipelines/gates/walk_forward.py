"""Gate 5: parameters tuned on the past keep earning on the days that follow, in one account that never stops.

What judges is Sharpe ratio, efficiency and the share of profitable folds. Drift of parameters, rank correlation
and decay are reported beside them: over five folds they are too uncertain to refuse anything.
"""

from __future__ import annotations

import math

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import Ground, thinned
from research_lab.dsl.spec import Spec
from research_lab.scoring.scorer import sharpe_of
from research_lab.validation.robustness import COST_MULTIPLES
from research_lab.validation.walk_forward import WalkForward


def measure(spec: Spec, world: Ground, done: WalkForward | None, insufficient: str = "") -> Evidence:
    """Return the figures of a walk-forward of the strategy's template.

    Parameters
    ----------
    done : the walk-forward; None when it could not be done, for the reason in `insufficient`.
    """
    if done is None:
        return Evidence("walk_forward", {}, world.bound_to(spec), insufficient)
    figures = {
        "sharpe": done.sharpe,
        "efficiency": done.efficiency,
        "share_profitable": done.share_profitable,
        "n_folds": float(len(done.folds)),
        "n_days": float(done.daily.shape[0]),
        "n_trades": done.n_trades,
        "max_drawdown": done.max_drawdown,
        "purge_days": float(max(fold.border - fold.inside[1] for fold in done.folds)),
        "embargo_days": float(max(fold.outside[0] - fold.border for fold in done.folds)),
        "parameter_drift": done.parameter_drift,
        "rank_correlation": done.rank_correlation,
        "decay_a_year": done.decay[0],
        "decay_error": done.decay[1],
        "decay_since_tuning": done.decay_since_tuning[0],
        "decay_since_tuning_error": done.decay_since_tuning[1],
        "n_considered": float(len(done.scores)),
    }
    series = {
        "folds": [
            {
                "inside_days": list(fold.inside),
                "outside_days": list(fold.outside),
                "values": dict(fold.values),
                "inside_sharpe": fold.inside_sharpe,
                "outside_sharpe": fold.outside_sharpe,
                "outside_return": fold.outside_return,
                "rank_correlation": fold.rank_correlation if math.isfinite(fold.rank_correlation) else None,
            }
            for fold in done.folds
        ],
        "first_day": done.first_day - done.folds[0].outside[0],
        "ranges": {name: [param.low, param.high] for name, param in done.template.params.items()},
        "cost_curve": _cost_curve(done),
        "equity": thinned(np.multiply.accumulate(1.0 + done.daily)),
    }
    return Evidence("walk_forward", figures, world.bound_to(spec), series=series)


def _cost_curve(done: WalkForward) -> list[dict[str, float | None]]:
    """Return the Sharpe ratio at multiples of today's costs, to first order: the same fills at other prices."""
    sharpes = [sharpe_of(done.daily + (1.0 - multiple) * done.costs) for multiple in COST_MULTIPLES]
    return [
        {"multiple": multiple, "sharpe": sharpe if math.isfinite(sharpe) else None}
        for multiple, sharpe in zip(COST_MULTIPLES, sharpes, strict=True)
    ]
