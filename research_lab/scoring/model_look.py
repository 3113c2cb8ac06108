"""How well a model's score told what came: the look that fitting it is, counted before it is told.

Who fits ten models and keeps the one whose score correlates best has looked ten times, as with strategies. So a
model's look is a trial of kind "scored" and origin "model", its candidate the model's hash, and its daily
returns those of following its score without costs. They join the family of returns that gate 6 draws from, among
the rivals where the score's side changed as often as a strategy has to trade (decision 0023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_lab.bars import Bars, FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.models.walk_forward_fit import Scores
from research_lab.scoring.scorer import sharpe_of
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import DAY_MS

ORIGIN = "model"
LEAST_PAIRS = 30


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of score and label over some bars; NaN with fewer than 30, or where one never moves.

    Parameters
    ----------
    name : the year, or "all". n : bars with a score and a complete label.
    n_apart : of these, as many as do not share a part of their labels: n over the horizon.
    """

    name: str
    value: float
    n: int
    n_apart: float


@dataclass(frozen=True, eq=False)
class ModelLook:
    """What a model's score was worth on research bars.

    Parameters
    ----------
    correlations : by year of the score, and over all. new : whether the look was not counted before.
    sharpe : a year, of following the score without costs.
    """

    correlations: tuple[Correlation, ...]
    sharpe: float
    new: bool


def look(scores: Scores, bars: Bars, ledger: TrialLedger, campaign: str = "model fit") -> ModelLook:
    """Count a look at a model on some bars in the ledger, and return what it saw.

    Parameters
    ----------
    scores : of these bars. bars : research bars alone, ending at the seal.

    Raises
    ------
    InsufficientError
        There is no bar with a score and a complete label: nothing was seen, and nothing is counted.
    """
    both = np.isfinite(scores.score) & np.isfinite(scores.label)
    if not both.any():
        raise InsufficientError(
            f"no score of model {scores.model.name} has a complete label", bars.market.name, "bring candles"
        )
    first_day, daily = followed(scores, bars)
    sharpe = sharpe_of(daily)
    new = ledger.append([_trial(scores, bars, campaign, sharpe)], daily[None, :], first_day)
    return ModelLook(_correlations(scores), sharpe, new > 0)


def followed(scores: Scores, bars: Bars) -> tuple[int, FloatArray]:
    """Return the first UTC day, and by day the returns of holding the score, clipped to [-1, 1], for one bar.

    What is held from a bar's close to the next one's is the score of the first; nothing where none is known.
    Returns are simple, without costs, and added within a day: that of the bar's completion.
    """
    start_ms, end_ms = bars.interval
    first_day, n_days = start_ms // DAY_MS, (end_ms - 1) // DAY_MS - start_ms // DAY_MS + 1
    held = _held(scores)[:-1]
    moved = scores.close[1:] / scores.close[:-1] - 1.0
    gained = np.where(held == 0.0, 0.0, held * moved)
    daily = np.zeros(n_days)
    np.add.at(daily, (scores.visible[1:] - 1) // DAY_MS - first_day, gained)
    return first_day, daily


def n_stretches(scores: Scores) -> int:
    """Return how often following the score opened a position, long or short, and closed it again."""
    side = np.sign(_held(scores))
    begun = np.diff(side, prepend=0.0) != 0.0
    return int((begun & (side != 0.0)).sum()) - int(side[-1] != 0.0)


def _held(scores: Scores) -> FloatArray:
    """Return what is held from each bar's close to the next one's, as a share of equity."""
    return np.where(np.isfinite(scores.score), np.clip(scores.score, -1.0, 1.0), 0.0)


def rank_correlation(one: FloatArray, other: FloatArray) -> float:
    """Return Spearman's rank correlation, equals sharing their mean rank; NaN with fewer than 30 pairs."""
    from scipy.stats import rankdata

    if one.shape[0] < LEAST_PAIRS:
        return float("nan")
    a, b = (rankdata(values) - (values.shape[0] + 1) / 2 for values in (one, other))
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else float("nan")


def _correlations(scores: Scores) -> tuple[Correlation, ...]:
    both = np.flatnonzero(np.isfinite(scores.score) & np.isfinite(scores.label))
    years = scores.visible[both].astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
    groups = [(str(year), both[years == year]) for year in np.unique(years)]
    return tuple(_correlation(scores, name, rows) for name, rows in (*groups, ("all", both)))


def _correlation(scores: Scores, name: str, rows: IntArray) -> Correlation:
    n = int(rows.shape[0])
    value = rank_correlation(scores.score[rows], scores.label[rows])
    return Correlation(name, value, n, n / scores.model.horizon)


def _trial(scores: Scores, bars: Bars, campaign: str, sharpe: float) -> Trial:
    model, (start_ms, end_ms) = scores.model, bars.interval
    return Trial(
        kind="scored",
        candidate=model.hash,
        template=model.hash,
        name=model.name,
        market=bars.market.charged_to,
        start_ms=start_ms,
        end_ms=end_ms,
        timeframe=model.timeframe,
        snapshot=bars.snapshot,
        campaign=campaign,
        origin=ORIGIN,
        sharpe=sharpe,
        n_trades=n_stretches(scores),
    )
