"""Champions judged again on bars that came after their promotion: keep, watch, or roll back.

As at gate 8 the executor must decide bit for bit as the batch engine, and what was earned since must lie in
the band of the candidate's own past, and the deepest fall since in that of its falls. The limits are those of
gate 8 in the policy. A detector of drift, whose false alarms are rare however often one looks, says when the
edge that was promised has gone (`research_lab.validation.drift`). The map is not changed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from live_shadow.enable_map import Entry
from live_shadow.executor import shadow_run
from pipelines import candidates
from pipelines.campaign import open_world
from pipelines.candidates import Candidate
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy
from pipelines.gates.shadow import differing_bits
from pipelines.gates.world import World
from pipelines.map_file import opened_map
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.durable import atomic_write
from research_lab.engine.backtest import daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.errors import DataError, UsageError
from research_lab.market_data.lake import Lake
from research_lab.scoring.scorer import sharpe_of
from research_lab.timeframe import utc
from research_lab.validation.block_bootstrap import default_block_length, drawn_days
from research_lab.validation.drift import ALARM, e_detector
from research_lab.workspace import Workspace

WATCHED = 10.0  # times a limit: what comes this near to it is watched
_WORDS = {Outcome.PASS: "keep", Outcome.INSUFFICIENT: "watch", Outcome.FAIL: "roll back"}


@dataclass(frozen=True)
class Champion:
    """A strategy of the map that holds capital."""

    entry: Entry
    spec: Spec
    candidate: Candidate


@dataclass(frozen=True)
class Rechecked:
    """What newer bars say of a champion.

    Parameters
    ----------
    advice : PASS to keep, INSUFFICIENT to watch, FAIL to roll back. reasons : a sentence each.
    """

    candidate: Candidate
    evidence: Evidence
    advice: Outcome
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        return _WORDS[self.advice]


def champions_on(workspace: Workspace, market: str) -> list[Champion]:
    """Return the strategies of the map that hold capital on a market.

    Raises
    ------
    UsageError
        There is none.
    """
    with opened_map(workspace) as opened:
        entries = [e for e in opened.map().entries if e.market == market and e.stage.holds_capital]
    if not entries:
        raise UsageError(
            f"no champion on {market}", str(workspace.enable_map), "`pipeline status` shows the map"
        )
    found = []
    for entry in entries:
        candidate = candidates.load(workspace, entry.candidate, market)
        spec = parse_spec(candidates.spec_text(candidate, parse_spec), str(candidate.spec_path))
        found.append(Champion(entry, spec, candidate))
    return found


def recheck(
    workspace: Workspace, champion: Champion, bars: Bars, regimes: RegimeSet, policy: Policy
) -> Rechecked:
    """Judge one champion on bars since it may trade, and keep the evidence in its folder.

    Parameters
    ----------
    bars : of its market, going on after those of its promotion; earlier ones may be left out, unless it reads a
        model: that is fitted walk-forward, from the first bar on.

    Raises
    ------
    DataError
        The bars do not go on after those of its promotion, or begin later than its model has to.
    """
    stored = Lake(workspace.root).load(champion.candidate.facts.snapshot)
    if champion.spec.models and bars.time[0] > stored.time[0]:
        first = utc(int(stored.time[0]))
        what = f"{champion.entry.name} reads a model, which is fitted on all bars from {first} on"
        raise DataError(what, bars.market.name, "give a file that begins there, or before")
    whole = joined(stored, bars)
    world = open_world(workspace, whole, regimes, policy, champion.candidate.facts.campaign)
    evidence = measure(champion, world)
    advice, reasons = advise(evidence, policy)
    folder = champion.candidate.folder / "recheck"
    folder.mkdir(exist_ok=True)
    atomic_write(folder / f"{whole.snapshot[:12]}.json", evidence.canonical() + "\n")
    return Rechecked(champion.candidate, evidence, advice, reasons)


def measure(champion: Champion, world: World) -> Evidence:
    """Return parity, place in the band, and drift on the bars from the champion's first possible trade on.

    The band is drawn from all bars before, those of the holdout among them: only for whom that was opened.
    """
    spec, bars = champion.spec, world.bars
    since_ms = max(int(champion.entry.since.timestamp()) * 1000, world.lake.zones(bars).forward.start_ms)
    bound = world.bound_to(spec, context=utc(since_ms))
    if not _was_opened(champion, world):
        return Evidence(
            "recheck", {}, bound, "the holdout was never opened for it, and the bars before hold it"
        )
    start = int(np.searchsorted(bars.time, since_ms))
    if start >= bars.n:
        return Evidence("recheck", {}, bound, f"no bar since {utc(since_ms)}")
    orders = world.both_orders(spec, bars, start)
    batch = orders.pessimistic
    live = shadow_run(spec, bars, world.terms, world.regimes, start)
    _, now = daily_returns(bars.time, batch.equity, start)
    past = bars.window(0, start)
    _, before = daily_returns(past.time, world.run(spec, past).equity) if start else (0, np.empty(0))
    band, fall = _places(before, now, world.policy)
    figures = {
        "differing_bits": float(differing_bits(batch, live)),
        "n_bars": float(bars.n - start),
        "n_days": (bars.interval[1] - int(bars.time[start])) / DAY_MS,
        "n_trades": batch.metrics["n_trades"],
        "return": batch.metrics["return"],
        "return_optimistic": orders.returns[1],
        "max_drawdown": batch.metrics["max_drawdown"],
        "sharpe": sharpe_of(now),
        "sharpe_before": sharpe_of(before),
        "band_probability": band,
        "drawdown_probability": fall,
        "drift": _drift(now, before),
    }
    return Evidence("recheck", figures, bound)


def _was_opened(champion: Champion, world: World) -> bool:
    """Whether the holdout was ever opened for a champion, with whatever code and data."""
    openings = world.lake.openings.past(world.bars.market.charged_to)
    return any(line["candidate"] == champion.candidate.hash for line in openings)


def advise(evidence: Evidence, policy: Policy) -> tuple[Outcome, tuple[str, ...]]:
    """Return what to do, by gate 8's limits: pure."""
    if evidence.insufficient:
        return Outcome.INSUFFICIENT, (evidence.insufficient,)
    limits, found = policy.gates["shadow"], evidence.figures
    least_days = limits["n_days"].at_least or 0.0
    rare = limits["band_probability"].at_least or 0.0
    against, doubts = [], []
    if not found["differing_bits"] <= 0.0:
        against.append(
            f"{found['differing_bits']:g} bits differ from the batch engine: executor and backtest part"
        )
    for name, what in (("band_probability", "return"), ("drawdown_probability", "drawdown")):
        value = found[name]
        if math.isnan(value):
            doubts.append(f"its {what} has no band to be held against: too little past")
        elif value < rare:
            against.append(
                f"a {what} as bad has a chance of {value:.4f} in its own past, wanted at least {rare:g}"
            )
        elif value < WATCHED * rare:
            doubts.append(
                f"a {what} as bad has a chance of {value:.4f} in its own past, near the limit of {rare:g}"
            )
    drift = found["drift"]
    if math.isnan(drift):
        doubts.append("its past promised nothing that a drift could be held against")
    elif drift >= ALARM:
        against.append(
            f"the drift detector reached {drift:,.0f}; an alarm at {ALARM:,.0f} is false once in {ALARM:,.0f} days"
        )
    if found["n_days"] < least_days:
        doubts.append(f"{found['n_days']:.0f} days since it may trade, {least_days:g} are wanted")
    if against:
        return Outcome.FAIL, (*against, *doubts)
    if doubts:
        return Outcome.INSUFFICIENT, tuple(doubts)
    return Outcome.PASS, (f"what came since lies in its band: {found['band_probability']:.2f}",)


def joined(stored: Bars, new: Bars) -> Bars:
    """Return stored bars up to where newer ones begin, and the newer ones.

    Raises
    ------
    DataError
        They are of another market, another grid or other series, or say something else of the same bar.
    """
    if (stored.market, stored.step_ms, stored.series) != (new.market, new.step_ms, new.series):
        raise DataError(
            f"bars of {new.market.name} {new.timeframe} do not go on after {stored.market.name} "
            f"{stored.timeframe} with the same series",
            new.market.name,
            "bring the same market, timeframe and series as in the campaign",
        )
    _refuse_revised(stored, new)
    n_kept = int(np.searchsorted(stored.time, new.time[0]))
    if n_kept == 0:
        return new
    return replace(
        new,
        time=np.concatenate([stored.time[:n_kept], new.time]),
        inputs=np.ascontiguousarray(np.concatenate([stored.inputs[:, :n_kept], new.inputs], axis=1)),
        funding_due=np.concatenate([stored.funding_due[:n_kept], new.funding_due]),
    )


def _refuse_revised(stored: Bars, new: Bars) -> None:
    times, ours, theirs = np.intersect1d(stored.time, new.time, assume_unique=True, return_indices=True)
    other = (stored.inputs[:4, ours] != new.inputs[:4, theirs]).any(axis=0)
    if other.any():
        at = int(times[int(np.argmax(other))])
        raise DataError(
            f"{int(other.sum())} bars have other prices than in the campaign, the first at {utc(at)}",
            new.market.name,
            "leave out the bars that are known, or run the campaign on the revised ones",
        )


def _drift(now: FloatArray, before: FloatArray) -> float:
    """Return the highest that the drift detector stood since; NaN when nothing was promised."""
    try:
        return float(e_detector(now, before).max(initial=0.0))
    except UsageError:  # too short or no gain before: there is nothing to drift from, which is told as NaN
        return math.nan


def _places(before: FloatArray, now: FloatArray, policy: Policy) -> tuple[float, float]:
    """Return the shares of resampled pasts that end no better, and that fall at least as deep.

    NaN when the past has fewer days than two blocks.
    """
    n = now.shape[0]
    if n == 0 or before.shape[0] < 2 * default_block_length(n):
        return math.nan, math.nan
    rules = policy.bootstrap
    logs = np.log1p(np.maximum(before, -0.999999))
    n_better = n_shallower = 0
    seen = _path(np.log1p(np.maximum(now, -0.999999)))
    for days in drawn_days(before.shape[0], n, rules.n_draws, rules.seed):
        end, fall = _path(logs[days])
        n_better += end > seen[0]
        n_shallower += fall < seen[1]
    n_draws = rules.n_draws
    return (1 + n_draws - n_better) / (1 + n_draws), (1 + n_draws - n_shallower) / (1 + n_draws)


def _path(logs: FloatArray) -> tuple[float, float]:
    """Return where logarithmic returns end, and the deepest fall from a peak, both as logarithms."""
    path = np.concatenate([[0.0], np.cumsum(logs)])
    return float(path[-1]), float((np.maximum.accumulate(path) - path).max())


def recheck_all(
    workspace: Workspace, champions: Sequence[Champion], bars: Bars, regimes: RegimeSet, policy: Policy
) -> list[Rechecked]:
    """Judge every champion of a market."""
    return [recheck(workspace, champion, bars, regimes, policy) for champion in champions]


def market_in(data: Path) -> str:
    """Return the market that a file of candles is of."""
    from research_lab.bars import read_candles

    return read_candles(data).market.name
