"""What selection asks for: evidence of timing in every part of the research, paid for in size and in trials.

The gates will ask how far a strategy's return lies beyond what holding as much would have earned, among all trials
that were made. So fitness is the same statistic, t = sqrt(n) * mean / std of daily returns less holding, made harder:

- *Quarters.* It is the least of four t, each with one quarter of the days left out, times sqrt(4 / 3): a steady edge
  keeps its t, one lucky stretch loses it. Blocks left out are the jackknife of H. Künsch (1989), "The Jackknife and
  the Bootstrap for General Stationary Observations"; the least rather than the mean, since an edge has to be there
  always.
- *Few trades.* What comes of n trades is worth sqrt(n / (n + 20)) of itself: at 20 trades, half the variance of a t is
  that of the few results that make it. Beyond the trades a month that a brief asks for, it is worth the ratio to them.
- *Size.* A charge for each operation and each parameter, in units of t: what a larger tree must earn more. The idea is
  that of the minimum description length (J. Rissanen 1978, "Modeling by shortest data description"); the prices are
  ours, decision 0023.
- *Trials.* The expected maximum of N independent standard normals is taken off, N the parameter sets scored so far:
  what the best of pure luck would have by then (D. Bailey, M. López de Prado 2014, "The Deflated Sharpe Ratio").
  Above zero is more than luck alone had to offer; and who comes late must be better by that much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.scoring.luck import expected_max_normals
from research_lab.scoring.market_exposure import less_holding
from research_lab.scoring.scorer import Score

N_PARTS: Final = 4
FEW_TRADES: Final = 20.0
A_NODE: Final = 0.01
A_PARAM: Final = 0.05
_MIN_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class Fitness:
    """A fitness and what it is made of, all in units of t.

    Parameters
    ----------
    evidence : the least t of the quarters, after few trades. size, luck : what is taken off.
    """

    evidence: float
    size: float
    luck: float

    @property
    def value(self) -> float:
        """What selection compares; NaN without evidence."""
        return self.evidence - self.size - self.luck


def fitness_of(
    score: Score, market: FloatArray, n_looks: int, wanted: tuple[float, float] | None = None
) -> Fitness:
    """Return the fitness of a scored strategy.

    Parameters
    ----------
    market : (n_days,) daily returns of holding, on the days of the score.
    n_looks : parameter sets scored so far, this one among them.
    wanted : least and most trades a month that a brief asks for.
    """
    found = least_t(less_holding(score.daily, market))
    n_trades = score.metrics["n_trades"]
    if found > 0.0:
        found *= math.sqrt(n_trades / (n_trades + FEW_TRADES)) * _suits(score, wanted)
    return Fitness(found, charge(score.spec), expected_max_normals(max(1, n_looks)))


def _suits(score: Score, wanted: tuple[float, float] | None) -> float:
    """Return 1 for as many trades a month as wanted, less the further off they are."""
    months = 12.0 * score.metrics["years"]
    if wanted is None or not months > 0.0:
        return 1.0
    a_month, (least, most) = score.metrics["n_trades"] / months, wanted
    return min(1.0, a_month / least if least > 0.0 else 1.0, most / a_month if a_month > 0.0 else 1.0)


def least_t(daily: FloatArray) -> float:
    """Return the least t statistic with one of four parts of the days left out, scaled to all days.

    Parameters
    ----------
    daily : (n_days,) returns, NaN for none.

    Returns
    -------
    float
        NaN for fewer than 60 days, or where nothing moved in all parts but one.

    Examples
    --------
    >>> steady = np.tile([0.02, -0.01], 100)
    >>> lucky = np.concatenate([np.tile([0.01, -0.01], 75), np.tile([0.05, -0.01], 25)])
    >>> bool(least_t(steady) > 4.6), round(least_t(lucky), 6)
    (True, 0.0)
    """
    known = daily[np.isfinite(daily)]
    if known.shape[0] < _MIN_DAYS:
        return math.nan
    parts = np.array_split(known, N_PARTS)
    sums = np.array([[part.sum(), (part * part).sum(), part.shape[0]] for part in parts])
    left = sums.sum(axis=0) - sums
    total, squares, n = left[:, 0], left[:, 1], left[:, 2]
    deviation = np.sqrt(np.maximum(squares - total * total / n, 0.0) / (n - 1.0))
    if not (deviation > 0.0).all():
        return math.nan
    return float((total / (np.sqrt(n) * deviation)).min()) * math.sqrt(N_PARTS / (N_PARTS - 1))


def charge(spec: Spec) -> float:
    """Return what a strategy's size costs."""
    return A_NODE * spec.n_nodes + A_PARAM * len(spec.params)
