"""One trade of a strategy on a made-up market, with everything that was seen and moved around it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from research_lab.backtests.shown_values import Line, Panel, shown_values
from research_lab.bars import Bars, Market
from research_lab.dsl.spec import REGIME_CODES, Spec, compile_spec
from research_lab.engine import layout, reasons
from research_lab.engine.backtest import Backtest, backtest
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import BOOK_AT, Compiled
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError
from research_lab.market_data.worlds import noise

TERMS = Terms(perpetual=True, leverage=3.0)
_N_SEEDS = 40
_MORE_BARS = 1_500  # after the warm-up
_HELD = (8, 60)  # bars of a trade that a picture can show
_BEFORE, _AFTER = 24, 14  # bars shown around it, the former at least
_WIDEST = 80
_FUNDING_HOURS = 8


@dataclass(frozen=True, eq=False)
class TradeStory:
    """A trade and the bars around it; arrays begin at the first bar shown.

    Parameters
    ----------
    seed : of the market.
    candles : (4, n) open, high, low, close.
    entry, exit : bars of the first and last fill, counted from the first bar shown.
    side : 1 or -1.
    fills : of the trade, bars counted likewise.
    stop : (n,) the stop that held in each bar; NaN outside the trade and where there is none.
    takes : prices of its takes.
    lines, panels : what its conditions look at.
    """

    seed: int
    candles: FloatArray
    entry: int
    exit: int
    side: int
    fills: NDArray[np.void]
    stop: FloatArray
    takes: list[float]
    lines: list[Line]
    panels: list[Panel]


def tell_trade(spec: Spec, names: dict[str, str]) -> TradeStory:
    """Return the first trade, by seed and time, that shows what the strategy is made of.

    That is one which reached a take where there are takes, was stopped by its trail where there is only
    that, and else ended as its conditions or its time stop say; of a length that can be drawn. The market is
    without any edge, and in a regime that the strategy declares throughout; all bars shown are warm.

    Parameters
    ----------
    names : as `shown_values.definitions` returns.

    Raises
    ------
    InsufficientError
        When no market has such a trade.
    """
    strategy = compile_spec(spec)
    for seed in range(1, _N_SEEDS + 1):
        bars = _market(spec, seed, int(strategy.plan[layout.WARMUP]) + _MORE_BARS)
        codes = np.full(bars.n, REGIME_CODES[spec.regimes[0]] if spec.regimes else 0.0)
        result = backtest(strategy, bars, TERMS, regime=codes)
        for fills in _trades(result):
            if fills["bar"][0] >= strategy.plan[layout.WARMUP] + _WIDEST and _is_telling(spec, fills):
                return _told(spec, strategy, bars, codes, seed, fills, names)
    raise InsufficientError(
        f"no trade of {_HELD[0]} to {_HELD[1]} bars in {_N_SEEDS} made-up markets shows what it is made of",
        spec.name,
        "loosen its conditions, or look at it on real candles",
    )


def _market(spec: Spec, seed: int, n_bars: int) -> Bars:
    """Return noise on the strategy's timeframe, with made-up funding where it wants some."""
    bars = noise(seed, n_bars, spec.step_ms).bars
    if "funding" not in spec.needs:
        return bars
    step = _FUNDING_HOURS * 3_600_000 // spec.step_ms
    shocks = np.random.default_rng(seed).standard_normal(n_bars // step + 1)
    rates = np.empty_like(shocks)
    level = 0.0
    for k, shock in enumerate(shocks):
        level = 0.95 * level + 4e-5 * shock
        rates[k] = 1e-4 + level
    inputs = bars.inputs.copy()
    inputs[5] = np.repeat(rates, step)[:n_bars]
    inputs[6] = 5.0 * (inputs[5] - 1e-4)
    due = np.where(np.arange(n_bars) % step == 0, inputs[5], 0.0)
    return replace(bars, market=Market("synthetic", "BTC/USDT", True), inputs=inputs, funding_due=due)


def _trades(result: Backtest) -> Iterator[NDArray[np.void]]:
    """Yield the fills of each finished trade."""
    finished = set(result.trades["entry_bar"].tolist())
    for _, group in itertools.groupby(result.fills, key=lambda fill: fill["position_id"]):
        fills = np.array(list(group))
        if int(fills["bar"][0]) in finished:
            yield fills


def _is_telling(spec: Spec, fills: NDArray[np.void]) -> bool:
    held = int(fills["bar"][-1] - fills["bar"][0])
    if not _HELD[0] <= held <= _HELD[1]:
        return False
    last = int(fills["reason"][-1])
    if spec.takes:
        return reasons.TAKE in fills["reason"]
    if spec.trail is not None:
        gained = (fills["price"][-1] - fills["price"][0]) * np.sign(fills["quantity"][0])
        return last == reasons.STOP and bool(gained > 0.5 * fills["stop_distance"][0])
    return last in (reasons.EXIT_SIGNAL, reasons.TIME_STOP)


def _told(
    spec: Spec,
    strategy: Compiled,
    bars: Bars,
    codes: FloatArray,
    seed: int,
    fills: NDArray[np.void],
    names: dict[str, str],
) -> TradeStory:
    entry, last = int(fills["bar"][0]), int(fills["bar"][-1])
    first = max(0, entry - max(_BEFORE, _WIDEST - _AFTER - (last - entry)))
    end = min(bars.n, last + _AFTER + 1)
    side = 1 if fills["quantity"][0] > 0 else -1
    lines, panels = shown_values(spec, bars, "long" if side > 0 else "short", names)
    price, distance = float(fills["price"][0]), float(fills["stop_distance"][0])
    shown = fills.copy()
    shown["bar"] -= first
    stop = np.full(end - first, np.nan)
    stop[entry - first] = price - side * distance
    for bar in range(entry + 1, last + 1):
        state = backtest(strategy, bars.window(0, bar), TERMS, regime=codes[:bar]).state
        stop[bar - first] = state[BOOK_AT + layout.STOP]
    n_takes = int(strategy.plan[layout.N_TAKES])
    takes = [price + side * distance * float(strategy.plan[layout.TAKE_AT + k]) for k in range(n_takes)]
    cut = slice(first, end)
    return TradeStory(
        seed,
        bars.inputs[:4, cut],
        entry - first,
        last - first,
        side,
        shown,
        stop,
        takes,
        [Line(line.name, line.values[cut]) for line in lines],
        [Panel([Line(x.name, x.values[cut]) for x in panel.lines], panel.levels) for panel in panels],
    )
