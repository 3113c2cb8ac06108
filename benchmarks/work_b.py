"""Work B: rich exits. Donchian breakout with an ADX filter, ATR stop, two partial takes, armed trail, time stop.

The rules of a bar are the engine's, in its order: at the open what was ordered at the last close and gaps, inside
the stop before the takes, at the close the trail and the next decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.scored import scored
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec, warmup_bars
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.terms import Terms

if TYPE_CHECKING:
    import pandas as pd

N_BARS = 35_040
TERMS = Terms(fee=0.001, slippage=0.0005)
PERIOD = 14
HOLD = 96
RISK = 0.002
TAKES = ((1.0, 0.5), (2.0, 0.5))
COMBINATIONS = list(product(range(10, 60, 5), (15, 20, 25, 30, 35), (2.0, 3.0)))
TEXT = f"""
spec: 1
name: work_b
hypothesis: a benchmark
timeframe: 15m
side: long
params:
  channel: {{range: [5, 100], step: 1, default: 20}}
  trend: {{range: [5, 50], step: 1, default: 20}}
  width: {{range: [1, 5], step: 0.5, default: 2}}
enter_long: close > prev(highest(high, channel)) and adx({PERIOD}) > trend
stop: width * atr({PERIOD})
take: [{{at: 1R, close: 0.5}}, {{at: 2R, close: 0.5}}]
trail: {{distance: width * atr({PERIOD}), after: 1R}}
time_stop: {HOLD}
size: {{risk: {RISK}}}
"""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What others than ours need of the bars: indicators by bar, parameters by combination.

    Parameters
    ----------
    highest : (n_channels, n) largest high of the bars before; rows : (n_combinations,) which channel.
    atr, adx : (n,). trend, width : (n_combinations,). earliest : (n_combinations,) first bar that may decide.
    """

    highest: FloatArray
    rows: IntArray
    atr: FloatArray
    adx: FloatArray
    trend: FloatArray
    width: FloatArray
    earliest: IntArray


Combination = tuple[int, int, float]


def strategies(combinations: list[Combination] = COMBINATIONS) -> list[Spec]:
    """Return one strategy a combination, at its parameters."""
    template = parse_spec(TEXT)
    return [template.bind({"channel": c, "trend": t, "width": w}) for c, t, w in combinations]


def ours(specs: list[Spec], bars: Bars, n_threads: int) -> FloatArray:
    """Return what the engine makes of the strategies."""
    return scored(specs, bars, TERMS, n_threads)


def earliest(combinations: list[Combination] = COMBINATIONS) -> IntArray:
    """Return the first bar on which each combination may decide: the engine's warm-up, asked once."""
    return np.array([warmup_bars(spec) - 1 for spec in strategies(combinations)], np.int64)


def prepare(bars: Bars, combinations: list[Combination], first_bars: IntArray) -> Prepared:
    """Return the indicators with pandas, each once for all combinations."""
    import pandas as pd

    high, low = pd.Series(bars.high), pd.Series(bars.low)
    channels = sorted({channel for channel, _, _ in combinations})
    highest = np.stack([high.rolling(channel).max().shift(1).to_numpy() for channel in channels])
    before = pd.Series(bars.close).shift(1)
    parts = [high - low, (high - before).abs(), (low - before).abs()]
    true_range = pd.Series(np.fmax(np.fmax(parts[0], parts[1]), parts[2]))
    up, down = high.diff(), -low.diff()
    up_move = up.where((up > down) & (up > 0), 0.0).mask(up.isna())
    down_move = down.where((down > up) & (down > 0), 0.0).mask(down.isna())
    ranges = _wilder(true_range)
    plus, minus = 100 * _wilder(up_move) / ranges, 100 * _wilder(down_move) / ranges
    total = plus + minus
    index = (100 * (plus - minus).abs() / total).mask(total == 0, 0.0)
    return Prepared(
        highest,
        np.array([channels.index(channel) for channel, _, _ in combinations], np.int64),
        ranges.to_numpy(),
        _wilder(index).to_numpy(),
        np.array([trend for _, trend, _ in combinations], np.float64),
        np.array([width for _, _, width in combinations]),
        first_bars,
    )


def _wilder(values: pd.Series) -> pd.Series:
    """Return Wilder's average from the first known value."""
    return values.ewm(alpha=1 / PERIOD, adjust=False, ignore_na=True, min_periods=PERIOD).mean()
