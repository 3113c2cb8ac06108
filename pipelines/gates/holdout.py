"""Gate 7: the sealed part of the data, opened once for the candidate, must confirm by itself."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.knowledge import before_and_after
from pipelines.gates.world import World, thinned
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import daily_returns
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import HoldoutKey, Opening
from research_lab.market_data.quality import check
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.validation.family_wise import single_p, stouffer


def key_of(spec: Spec, world: World) -> HoldoutKey:
    """Return the key under which a strategy opens the holdout: with the same one it is shown again, not opened."""
    bound = world.bound_to(spec)
    fixed = sorted((name, bound[name]) for name in ("spec", "data", "protocol", "code"))
    return HoldoutKey(spec.hash, hashlib.sha256(repr(fixed).encode()).hexdigest())


def open_for(spec: Spec, world: World) -> Opening:
    """Open the holdout of a market for a candidate, which is charged there; again for the same one is none."""
    return world.lake.holdout(world.bars, key_of(spec, world))


def measure(spec: Spec, world: World, luck: Evidence) -> Evidence:
    """Return the p of the candidate's timing on the holdout, combined with that on the research bars.

    Parameters
    ----------
    luck : the evidence of gate 6, whose p is combined with that of the holdout.
    """
    bound = world.bound_to(spec, context=luck.hash)
    try:
        opened = open_for(spec, world)
    except InsufficientError as fault:
        return Evidence("holdout", {}, bound, str(fault))
    orders = world.both_orders(spec, opened.bars, opened.start)
    result = orders.pessimistic
    _, daily = daily_returns(opened.bars.time, result.equity, opened.start)
    rules, zones = world.policy.bootstrap, world.lake.zones(world.bars)
    lengths = [math.sqrt(zone.end_ms - zone.start_ms) for zone in (zones.research, zones.holdout)]
    figures = {"opening": float(opened.k), "n_days": float(daily.shape[0]), **result.metrics}
    figures["return_optimistic"] = orders.returns[1]
    figures["research_p"] = luck.figures["p"]
    figures["p"] = figures["combined_p"] = math.nan
    figures |= before_and_after(spec, world, opened.bars, result)
    insufficient = ""
    try:
        _, market = market_daily(opened.bars, opened.start)
        p = single_p(less_holding(daily, market), n_draws=rules.n_draws, seed=rules.seed)
        figures["p"] = p
        figures["combined_p"] = stouffer(luck.figures["p"], p, *lengths)
    except InsufficientError as fault:
        insufficient = str(fault)
    part = slice(opened.start, None)
    series = {
        "time": [int(t) for t in thinned(opened.bars.time[part].astype(np.float64))],
        "equity": thinned(result.equity[part]),
        "close": thinned(opened.bars.close[part]),
    }
    faults = check(opened.bars.window(opened.start, opened.bars.n)).faults
    return Evidence("holdout", figures, bound, insufficient, faults, series)
