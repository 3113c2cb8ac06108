"""How a strategy trades: the axes along which the archive keeps strategies apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_lab.engine.jit import FloatArray
from research_lab.scoring.scorer import Score

_MONTHS_A_YEAR = 12.0
_HOURS_A_YEAR = 8_760.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a strategy traded the research bars.

    Parameters
    ----------
    trades_a_month : closed trades. holding_hours : mean time of a trade. exposure : share of bars in a position.
    market_correlation : of its daily returns with those of holding; 0 where either never moved.
    """

    trades_a_month: float
    holding_hours: float
    exposure: float
    market_correlation: float


def behaviour_of(score: Score, market: FloatArray) -> Behaviour:
    """Return how a scored strategy traded.

    Parameters
    ----------
    market : (n_days,) daily returns of holding, on the days of the score.
    """
    years, n_trades = score.metrics["years"], score.metrics["n_trades"]
    exposure = score.metrics["exposure"]
    hours = exposure * years * _HOURS_A_YEAR
    return Behaviour(
        n_trades / (years * _MONTHS_A_YEAR) if years > 0.0 else 0.0,
        hours / n_trades if n_trades else hours,
        exposure,
        _correlation(score.daily, market),
    )


def _correlation(one: FloatArray, other: FloatArray) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    a, b = one[known] - one[known].mean(), other[known] - other[known].mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else 0.0
