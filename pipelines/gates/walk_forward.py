"""Gate 5: parameters tuned on the past keep earning on the days that follow."""

from __future__ import annotations

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World, thinned
from research_lab.dsl.spec import Spec
from research_lab.validation.walk_forward import WalkForward


def measure(spec: Spec, world: World, done: WalkForward | None, insufficient: str = "") -> Evidence:
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
            }
            for fold in done.folds
        ],
        "first_day": done.first_day,
        "equity": thinned(np.multiply.accumulate(1.0 + done.daily)),
    }
    return Evidence("walk_forward", figures, world.bound_to(spec), series=series)
