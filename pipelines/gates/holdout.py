"""Gate 7: the sealed part of the data, opened once for the candidate, must confirm by itself."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World, thinned
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import daily_returns
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import HoldoutKey
from research_lab.validation.family_wise import single_p, stouffer


def measure(spec: Spec, world: World, research_p: float) -> Evidence:
    """Return the candidate's p on the holdout, combined with its p on the research bars.

    Parameters
    ----------
    research_p : the family-wise p of gate 6.
    """
    bound = world.bound_to(spec)
    protocol = hashlib.sha256(repr(sorted(bound.items())).encode()).hexdigest()
    try:
        opened = world.lake.holdout(world.bars, HoldoutKey(spec.hash, protocol))
    except InsufficientError as fault:
        return Evidence("holdout", {}, bound, str(fault))
    result = world.run(spec, opened.bars, opened.start)
    _, daily = daily_returns(opened.bars.time, result.equity, opened.start)
    rules, share = world.policy.bootstrap, world.policy.zones.holdout_share
    figures = {"opening": float(opened.k), "n_days": float(daily.shape[0]), **result.metrics}
    figures["p"] = figures["combined_p"] = math.nan
    insufficient = ""
    try:
        p = single_p(daily, n_draws=rules.n_draws, seed=rules.seed)
        figures["p"] = p
        figures["combined_p"] = stouffer(research_p, p, math.sqrt(1.0 - share), math.sqrt(share))
    except InsufficientError as fault:
        insufficient = str(fault)
    part = slice(opened.start, None)
    series = {
        "time": [int(t) for t in thinned(opened.bars.time[part].astype(np.float64))],
        "equity": thinned(result.equity[part]),
        "close": thinned(opened.bars.close[part]),
    }
    return Evidence("holdout", figures, bound, insufficient, series=series)
