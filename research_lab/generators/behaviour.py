"""How a strategy trades: the axes along which the archive keeps strategies apart, and what makes two of them one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from research_lab.dsl.spec import REGIMES
from research_lab.engine import layout
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.metrics import DAY_MS
from research_lab.scoring.scorer import Score, Scorer

TWINS: Final = 0.98  # correlation of signals above which two strategies are one
N_SIGNS: Final = 4_096  # bars at which a signal is kept; sums of their squares are exact in float32
_MONTHS_A_YEAR: Final = 12.0
_HOURS_A_YEAR: Final = 8_760.0

Signal = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a strategy traded the research bars.

    Parameters
    ----------
    trades_a_month : closed trades. holding_hours : mean time of a trade. exposure : share of bars in a position.
    market_correlation : of its daily returns with those of holding; 0 where either never moved.
    regimes : share of its days with a result that lay in each of `REGIMES`; empty where none are known.
    """

    trades_a_month: float
    holding_hours: float
    exposure: float
    market_correlation: float
    regimes: tuple[float, ...] = ()


def behaviour_of(score: Score, market: FloatArray, regimes: IntArray | None = None) -> Behaviour:
    """Return how a scored strategy traded.

    Parameters
    ----------
    market : (n_days,) daily returns of holding, on the days of the score.
    regimes : (n_days,) codes of `daily_regimes`; None where there are none.
    """
    years, n_trades = score.metrics["years"], score.metrics["n_trades"]
    exposure = score.metrics["exposure"]
    hours = exposure * years * _HOURS_A_YEAR
    return Behaviour(
        n_trades / (years * _MONTHS_A_YEAR) if years > 0.0 else 0.0,
        hours / n_trades if n_trades else hours,
        exposure,
        correlation(score.daily, market),
        () if regimes is None else _profile(score.daily, regimes),
    )


def daily_regimes(scorer: Scorer) -> IntArray:
    """Return the regime in which each UTC day of the scorer's bars spent most bars, 0 for none; ties to the first."""
    days = scorer.bars.time // DAY_MS - int(scorer.bars.time[0]) // DAY_MS
    counts = np.zeros((int(days[-1]) + 1, len(REGIMES) + 1), np.int64)
    np.add.at(counts, (days, scorer.regime.astype(np.int64) % layout.MACRO), 1)
    found: IntArray = np.argmax(counts, axis=1)
    return found


def _profile(daily: FloatArray, regimes: IntArray) -> tuple[float, ...]:
    """Return the share of days with a result in each regime."""
    moved = np.nonzero(np.nan_to_num(daily))[0]
    counts = np.bincount(regimes[moved], minlength=len(REGIMES) + 1)[1:]
    return tuple((counts / max(1, moved.shape[0])).tolist())


def signal_of(scorer: Scorer, score: Score) -> Signal:
    """Return the sign of a scored strategy's position at bars spread evenly over the research: no new look."""
    position = scorer.run(score.spec).position
    at = np.linspace(0, position.shape[0] - 1, min(N_SIGNS, position.shape[0])).astype(np.int64)
    return np.sign(position[at]).astype(np.int8)


def correlations(ones: Sequence[Signal], others: Sequence[Signal]) -> FloatArray:
    """Return the correlation of each signal with each of others, all of one length; 1 for equal ones, 0 for a constant.

    Signs are small whole numbers, whose sums float32 holds exactly: in whatever order a library adds them.

    Returns
    -------
    Array of shape (n_ones, n_others).
    """
    if not ones or not others:
        return np.zeros((len(ones), len(others)))
    a, b = np.stack(ones).astype(np.float32), np.stack(others).astype(np.float32)
    n = a.shape[1]
    sums = [table.sum(axis=1).astype(np.float64) for table in (a, b)]
    squares = [(table * table).sum(axis=1).astype(np.float64) for table in (a, b)]
    products = (a @ b.T).astype(np.float64)
    spread = [n * square - total * total for square, total in zip(squares, sums, strict=True)]
    scale = np.sqrt(np.outer(*spread))
    found: FloatArray = np.divide(
        n * products - np.outer(*sums), scale, out=np.zeros_like(scale), where=scale > 0.0
    )
    apart = squares[0][:, None] + squares[1][None, :] - 2.0 * products
    found[apart == 0.0] = 1.0
    return found


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the correlation of daily returns; 0 where either never moved."""
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return 0.0
    a, b = one[known] - one[known].mean(), other[known] - other[known].mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else 0.0
