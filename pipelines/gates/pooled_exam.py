"""The exam of a pool: gates 2, 3 and 8 market by market, gates 4 to 7 on the pool's daily returns.

Where every market must pass by itself, the worst value of each figure stands for all, and the verdict names whose it
is. Sharpe ratios, drawdowns and p are those of the pool's daily returns (`scoring.pooled_scorer`); trades are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from pipelines.gates import backtest, holdout, overfitting, pooled_stresses, stresses, walk_forward
from pipelines.gates.evidence import Evidence
from pipelines.gates.exam import MarketExam, Told
from pipelines.gates.knowledge import both_sides
from pipelines.gates.policy import IS_POOL, WORST
from pipelines.gates.pool import Pool
from pipelines.gates.world import World, thinned
from research_lab.backtests.both_orders import BothOrders
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.market_data.quality import check
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.pooled_scorer import daily_metrics, pooled_daily
from research_lab.scoring.scorer import Score, sharpe_of
from research_lab.validation.family_wise import single_p, stouffer
from research_lab.validation.leave_one_out import LeftOut, leave_one_out
from research_lab.validation.pooled_family import PooledFamily, pooled_family
from research_lab.validation.pooled_twin import on_days, pooled_twins
from research_lab.validation.regime_attribution import attribute, evidence_against
from research_lab.validation.robustness import jittered
from research_lab.validation.walk_forward import WalkForward

# Figures of which the smallest is the worst; of all others, the largest.
_SMALLEST: Final = frozenset(
    {
        "research_days", "strategy_bars", "n_bars", "n_cuts", "n_own_closes", "n_signals", "n_fills", "n_streamed",
        "n_starts", "n_days", "n_trades", "return", "band_probability",
    }
)  # fmt: skip


class _Part(NamedTuple):
    """One market's run in a stretch of its bars."""

    world: World
    bars: Bars
    orders: BothOrders

    @property
    def result(self) -> Backtest:
        return self.orders.pessimistic

    def daily(self, result: Backtest | None = None) -> tuple[int, FloatArray]:
        return daily_returns(self.bars.time, (result or self.result).equity, self.result.start)


@dataclass(frozen=True, eq=False)
class PooledExam:
    """The exam on several markets."""

    ground: Pool

    @cached_property
    def _each(self) -> dict[str, MarketExam]:
        worlds = self.ground.worlds
        return {s: MarketExam(world) for s, world in zip(self.ground.symbols, worlds, strict=True)}

    def data(self, spec: Spec) -> Evidence:
        return self._worst("data", spec, lambda exam: exam.data(spec))

    def lookahead(self, spec: Spec) -> Evidence:
        return self._worst("lookahead", spec, lambda exam: exam.lookahead(spec))

    def shadow(self, spec: Spec) -> Evidence:
        return self._worst("shadow", spec, lambda exam: exam.shadow(spec))

    def _worst(self, gate: str, spec: Spec, measure: Callable[[MarketExam], Evidence]) -> Evidence:
        found = {symbol: measure(exam) for symbol, exam in self._each.items()}
        figures, of = worst_of({symbol: evidence.figures for symbol, evidence in found.items()})
        return Evidence(
            gate,
            {**figures, IS_POOL: float(len(found))},
            self.ground.bound_to(spec),
            "; ".join(f"{symbol}: {e.insufficient}" for symbol, e in found.items() if e.insufficient),
            tuple(f"{symbol}: {fault}" for symbol, e in found.items() for fault in e.faults),
            {WORST: of, "symbols": [{"symbol": s, **_known(e.figures)} for s, e in found.items()]},
        )

    def backtest(self, spec: Spec, plateau: float, tried: Sequence[Score]) -> Evidence:
        """Return the pool's backtest on the research bars, with its stresses."""
        pool = self.ground
        parts = [_Part(w, w.research, w.both_orders(spec, w.research)) for w in pool.worlds]
        first_day, daily = pooled_daily(part.daily() for part in parts)
        told = [backtest.replay_difference(part.world, part.result) for part in parts]
        worth = daily_metrics(daily)
        stressed, shown = pooled_stresses.measure(spec, pool, [part.result for part in parts])
        near = jittered(pool.scorer, spec, pool.policy.bootstrap.seed)
        figures = {
            **worth,
            IS_POOL: float(len(parts)),
            "n_days": float(daily.shape[0]),
            "n_trades": _n_trades(parts),
            **_optimistic(parts, worth["sharpe"]),
            "plateau": plateau,
            **stressed,
            **stresses.jitter_figures(near, worth["sharpe"]),
            **stresses.interval_figures(daily, pool.policy),
            "regime_p": _regime_p(spec, parts),
            "vectorbt_difference": max((gap for gap, _ in told), key=_nan_last),
            **both_sides(spec, pool, first_day, daily, _closed_ms(parts)),
        }
        series = {
            **_curve(first_day, daily),
            "trade_r": thinned(np.concatenate([part.result.trades["r"] for part in parts])),
            "trade_pnl": thinned(np.concatenate([part.result.trades["pnl"] for part in parts])),
            "parameters": [{**score.spec.values, "sharpe": score.metrics["sharpe"]} for score in tried],
            "chosen": spec.values,
            **shown,
            "symbols": [_row(part) for part in parts],
        }
        faults = tuple(
            f"{symbol}: {fault}"
            for symbol, (_, ones) in zip(pool.symbols, told, strict=True)
            for fault in ones
        )
        return Evidence("backtest", figures, pool.bound_to(spec), faults=faults, series=series)

    def walk_forward(
        self, template: Spec, spec: Spec, done: WalkForward | None, why: str, told: Told
    ) -> Evidence:
        """Return the pool's walk-forward, and each market judged with parameters tuned on the others."""
        pool = self.ground
        left_out = leave_one_out(
            template, pool.scorer, pool.policy.walk_forward, lambda symbol: told(f"tuning without {symbol}")
        )
        found = walk_forward.measure(spec, pool, done, why)
        series = {**found.series, "left_out": [_known(asdict(one)) for one in left_out]}
        figures = {**found.figures, **_left_out_figures(left_out), IS_POOL: float(len(pool.worlds))}
        return replace(found, figures=figures, series=series)

    def overfitting(self, spec: Spec) -> Evidence:
        """Return the pool's p among the pooled returns of all that was charged to its markets."""
        pool = self.ground
        bound = pool.bound_to(spec, context=pool.scorer.ledger.head())
        family = pooled_family(pool.scorer)
        columns = family.columns(spec.hash)
        tuned = [k for k, t in enumerate(family.templates) if t == spec.template_hash and family.whole[k]]
        rivals = overfitting.rivals_among(family.n_trades, columns, pool.policy)
        among = overfitting.Among(family.daily, family.timed, columns, tuned, rivals)

        def beside() -> overfitting.Beside:
            return _benchmarks(spec, pool, family, columns[0])

        found = overfitting.measured_among(among, pool.policy, bound, beside)
        return replace(found, figures={**found.figures, IS_POOL: float(len(pool.worlds))})

    def holdout(self, spec: Spec, luck: Evidence) -> Evidence:
        """Open the holdout of every market, and return the p of the pool's timing on all of them together.

        Each market is charged with an opening, and the largest k among them sets the level.
        """
        pool = self.ground
        bound = pool.bound_to(spec, context=luck.hash)
        if missing := [
            s for s, world in zip(pool.symbols, pool.worlds, strict=True) if not _has_holdout(world)
        ]:
            return Evidence("holdout", {}, bound, f"no bars in the holdout of {', '.join(missing)}")
        opened = [holdout.open_for(spec, world) for world in pool.worlds]
        parts = [
            _Part(w, o.bars, w.both_orders(spec, o.bars, o.start))
            for w, o in zip(pool.worlds, opened, strict=True)
        ]
        first_day, daily = pooled_daily(part.daily() for part in parts)
        worth = daily_metrics(daily)
        figures = {
            "opening": float(max(o.k for o in opened)),
            IS_POOL: float(len(parts)),
            "n_days": float(daily.shape[0]),
            **worth,
            "n_trades": _n_trades(parts),
            **_optimistic(parts, worth["sharpe"]),
            "research_p": luck.figures["p"],
            "p": math.nan,
            "combined_p": math.nan,
            **both_sides(spec, pool, first_day, daily, _closed_ms(parts)),
        }
        insufficient = ""
        try:
            _, timed = pooled_daily(_timed(part) for part in parts)
            rules = pool.policy.bootstrap
            p = figures["p"] = single_p(timed, n_draws=rules.n_draws, seed=rules.seed)
            figures["combined_p"] = stouffer(luck.figures["p"], p, *_lengths(parts))
        except InsufficientError as fault:
            insufficient = str(fault)
        faults = tuple(
            f"{symbol}: {fault}"
            for symbol, o in zip(pool.symbols, opened, strict=True)
            for fault in check(o.bars.window(o.start, o.bars.n)).faults
        )
        series = {**_curve(first_day, daily), "symbols": [_row(part) for part in parts]}
        return Evidence("holdout", figures, bound, insufficient, faults, series)


def worst_of(figures: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, float], dict[str, str]]:
    """Return each figure's worst value over markets, and whose it is; what one has not measured is the worst.

    Parameters
    ----------
    figures : by symbol and name; a figure that only some have stands for those.
    """
    worst: dict[str, float] = {}
    of: dict[str, str] = {}
    for name in dict.fromkeys(name for found in figures.values() for name in found):
        sign = 1.0 if name in _SMALLEST else -1.0
        known = {symbol: found[name] for symbol, found in figures.items() if name in found}
        of[name] = min(known, key=lambda s: -math.inf if math.isnan(known[s]) else sign * known[s])
        worst[name] = known[of[name]]
    return worst, of


def _optimistic(parts: Sequence[_Part], pessimistic: float) -> dict[str, float]:
    """Return the return with takes before stops, and how far the Sharpe ratios of both orders are apart."""
    worth = daily_metrics(pooled_daily(part.daily(part.orders.optimistic) for part in parts)[1])
    gap = worth["sharpe"] - pessimistic
    return {"return_optimistic": worth["return"], "fill_interval": 0.0 if abs(gap) < 1e-12 else gap}


def _benchmarks(spec: Spec, pool: Pool, family: PooledFamily, own: int) -> overfitting.Beside:
    """Return SPA and reality check against holding and random-entry twins, and where the pool stands among these."""
    runs = [(world.research, world.run(spec, world.research), world.terms) for world in pool.worlds]
    figures: dict[str, float] = {"twin_percentile": math.nan, "twin_p": math.nan}
    shown: dict[str, Any] = {}
    against: dict[str, FloatArray | None] = {"hold": family.holding, "twin": None}
    if any(result.trades.shape[0] for _, result, _ in runs):
        twins = pooled_twins(runs, seed=pool.policy.bootstrap.seed)
        daily = family.daily[:, own]
        figures, shown = overfitting.among_twins(twins, sharpe_of(daily[np.isfinite(daily)]))
        first_day = min(world.research.interval[0] for world in pool.worlds) // DAY_MS
        against["twin"] = on_days(twins, first_day, daily.shape[0])
    for name, benchmark in against.items():
        figures |= overfitting.against_benchmark(name, family.daily, benchmark, own, pool.policy)
    return figures, shown


def _regime_p(spec: Spec, parts: Sequence[_Part]) -> float:
    """Return the smallest p against a declared regime on any market, times how many markets there are."""
    found = []
    for world, bars, orders in parts:
        rules = world.policy.bootstrap
        codes = world.regime(bars)
        shares = attribute(orders.pessimistic, bars, codes, n_draws=rules.n_draws, seed=rules.seed)
        found.append(evidence_against(shares, spec.regimes)[0])
    return min(1.0, len(found) * min(found))


def _left_out_figures(left_out: Sequence[LeftOut]) -> dict[str, float]:
    names = ("share_symbols_profitable", "sharpe_worst_symbol", "sharpe_left_out_mean")
    if not left_out:
        return dict.fromkeys(names, math.nan)
    sharpes = [one.sharpe for one in left_out]
    share = float(np.mean([one.total_return > 0.0 for one in left_out]))
    return dict(zip(names, (share, min(sharpes), math.fsum(sharpes) / len(sharpes)), strict=True))


def _timed(part: _Part) -> tuple[int, FloatArray]:
    first_day, daily = part.daily()
    return first_day, less_holding(daily, market_daily(part.bars, part.result.start)[1])


def _lengths(parts: Sequence[_Part]) -> tuple[float, float]:
    """Return the roots of the time of all markets in research and in holdout: the weights of their p."""
    research = sum(w.research.interval[1] - w.research.interval[0] for w, _, _ in parts)
    behind = sum(bars.interval[1] - int(bars.time[o.pessimistic.start]) for _, bars, o in parts)
    return math.sqrt(research), math.sqrt(behind)


def _has_holdout(world: World) -> bool:
    """Whether there is a bar in the zone, so that no other market's holdout is opened for nothing."""
    zone, time = world.lake.zones(world.bars).holdout, world.bars.time
    first = int(np.searchsorted(time, zone.start_ms))
    return first < time.shape[0] and int(time[first]) + world.bars.step_ms <= zone.end_ms


def _n_trades(parts: Sequence[_Part]) -> float:
    return math.fsum(part.result.metrics["n_trades"] for part in parts)


def _closed_ms(parts: Sequence[_Part]) -> IntArray:
    return np.concatenate([part.bars.time[part.result.trades["exit_bar"]] for part in parts])


def _curve(first_day: int, daily: FloatArray) -> dict[str, Any]:
    """Return the pool's equity after each day, for pictures."""
    worth: FloatArray = np.multiply.accumulate(1.0 + daily)
    ends = np.arange(first_day + 1, first_day + 1 + daily.shape[0]) * float(DAY_MS)
    return {
        "time": [int(t) for t in thinned(ends)],
        "equity": thinned(worth),
        "drawdown": thinned(1.0 - worth / np.maximum.accumulate(np.maximum(worth, 1.0))),
    }


def _row(part: _Part) -> dict[str, Any]:
    """Return one market's own figures, of its daily returns."""
    worth = daily_metrics(part.daily()[1])
    return {
        "symbol": part.world.bars.market.charged_to,
        **_known(worth),
        "n_trades": part.result.metrics["n_trades"],
    }


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
