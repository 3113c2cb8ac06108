"""Walk-forward: parameters tuned in-sample with Optuna, judged out-of-sample in one account that never stops.

In-sample days of a fold end before its border, by the purge, and its exam begins behind it, by the embargo:
`validation.holding` sizes both from the trades' own holding times. They begin with the first day (anchored), or
roll on at the length of the first fold's (rolling). From the first exam to the last day one account trades,
each exam by the parameters of its fold: `validation.stitched_account` says how they change hands. A pool has an
account a market; folds are the same days for all of them, and their days are pooled as its scores are.

Source: Robert Pardo (2008), The Evaluation and Optimization of Trading Strategies, chapter 11.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.scoring.pooled_scorer import pooled_daily
from research_lab.scoring.scorer import Score, Scorer, Scoring, drawdown_of, sharpe_of
from research_lab.validation import fold_stability
from research_lab.validation.holding import exam_begins, first_bar_of, purge_days
from research_lab.validation.stitched_account import StitchedAccount, daily_costs, stitch
from research_lab.validation.tuning import Days, Protocol, best, tune

LEAST_INSIDE, LEAST_OUTSIDE = 30, 10  # days


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: half-open ranges of days, the parameters tuned, and what they were worth.

    Parameters
    ----------
    inside, outside : in-sample days, and those of the exam, counted from the first day of all.
    border : the planned border between them; days from `inside` to it are purged, from it on embargoed.
    rank_correlation : Spearman's, of the Sharpe ratios inside and outside over all parameter sets considered.
    n_considered : parameter sets to choose from, those of the folds before included.
    """

    inside: Days
    outside: Days
    border: int
    values: dict[str, float]
    inside_sharpe: float
    outside_sharpe: float
    outside_return: float
    rank_correlation: float = math.nan
    n_considered: int = 0


@dataclass(frozen=True, eq=False)
class WalkForward:
    """All folds, and the daily returns of the one account from the first exam to the last day.

    Parameters
    ----------
    template : the strategy as written.
    accounts : what the daily returns are of, one a market that has bars in an exam, with its scorer.
    first_day : UTC day of the first daily return. scores : all parameter sets that were considered.
    """

    template: Spec
    folds: tuple[Fold, ...]
    accounts: tuple[tuple[Scorer, StitchedAccount], ...]
    daily: FloatArray
    first_day: int
    scores: tuple[Score, ...] = field(repr=False, default=())

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of all out-of-sample days."""
        return sharpe_of(self.daily)

    @property
    def n_trades(self) -> float:
        """Closed trades of all accounts."""
        return sum(account.metrics["n_trades"] for _, account in self.accounts)

    @property
    def max_drawdown(self) -> float:
        """Deepest fall of the account, bar by bar; of several, of their pooled daily returns."""
        if len(self.accounts) == 1:
            return self.accounts[0][1].metrics["max_drawdown"]
        return drawdown_of(self.daily)

    @cached_property
    def costs(self) -> FloatArray:
        """What fees and slippage took each day, beside `daily`; see `stitched_account.daily_costs`."""
        parts = [
            (account.first_day, daily_costs(account, scorer.bars, scorer.terms))
            for scorer, account in self.accounts
        ]
        return _placed(pooled_daily(parts), self.first_day, self.daily.shape[0])

    @property
    def efficiency(self) -> float:
        """Out-of-sample over in-sample Sharpe ratio, means over folds; NaN when in-sample is not positive."""
        inside = float(np.mean([fold.inside_sharpe for fold in self.folds]))
        outside = float(np.mean([fold.outside_sharpe for fold in self.folds]))
        return outside / inside if inside > 0 else math.nan

    @property
    def share_profitable(self) -> float:
        """Share of folds with a positive out-of-sample return; NaN when no position was ever held."""
        if not self.daily.any():
            return math.nan
        return float(np.mean([fold.outside_return > 0 for fold in self.folds]))

    @property
    def parameter_drift(self) -> float:
        """How far parameters move between neighbouring folds; see `fold_stability.parameter_drift`."""
        return fold_stability.parameter_drift(self.template.params, [fold.values for fold in self.folds])

    @property
    def rank_correlation(self) -> float:
        """Mean over folds of how well ranks in-sample tell ranks out-of-sample; NaN where none is known."""
        known = [f.rank_correlation for f in self.folds if math.isfinite(f.rank_correlation)]
        return math.fsum(known) / len(known) if known else math.nan

    @cached_property
    def decay(self) -> tuple[float, float]:
        """Change of the Sharpe ratio a year, over all out-of-sample days, and its standard error."""
        return fold_stability.decay(self.daily, np.arange(self.daily.shape[0], dtype=np.float64))

    @cached_property
    def decay_since_tuning(self) -> tuple[float, float]:
        """Change of the Sharpe ratio a year since the last in-sample day of each fold, and its standard error."""
        ages = [np.arange(*fold.outside, dtype=np.float64) - fold.inside[1] for fold in self.folds]
        return fold_stability.decay(self.daily, np.concatenate(ages))


def fold_days(n_days: int, protocol: Protocol, purge: int | None = None) -> list[tuple[Days, int]]:
    """Return the in-sample days, half-open, and the border of each fold.

    Parameters
    ----------
    purge : days between in-sample and border; those of the protocol when None.

    Raises
    ------
    InsufficientError
        In-sample days are fewer than 30, or days from border to border less embargo fewer than 10.

    Examples
    --------
    >>> fold_days(100, Protocol(n_folds=2, first_share=0.4, purge_days=5, embargo_days=1))
    [((0, 35), 40), ((0, 65), 70)]
    >>> fold_days(100, Protocol(n_folds=2, first_share=0.4, purge_days=5, scheme="rolling"))
    [((0, 35), 40), ((30, 65), 70)]
    """
    cut = protocol.purge_days if purge is None else purge
    borders = _borders(n_days, protocol)
    length = borders[0] - cut
    folds: list[tuple[Days, int]] = []
    for begin, end in itertools.pairwise(borders):
        first = begin - cut - length if protocol.scheme == "rolling" else 0
        if length < LEAST_INSIDE or end - begin - protocol.embargo_days < LEAST_OUTSIDE:
            raise InsufficientError(
                f"{n_days} days give folds of {max(length, 0)} and {end - begin - protocol.embargo_days} days, "
                f"with {cut} days between them since trades are held that long",
                "walk-forward",
                "bring more data, or ask for fewer folds",
            )
        folds.append(((first, begin - cut), begin))
    return folds


def _borders(n_days: int, protocol: Protocol) -> list[int]:
    first = round(n_days * protocol.first_share)
    return [first + round((n_days - first) * k / protocol.n_folds) for k in range(protocol.n_folds + 1)]


def walk_forward(template: Spec, scorer: Scoring, protocol: Protocol) -> WalkForward:
    """Tune and judge a strategy fold by fold.

    Raises
    ------
    InsufficientError
        The days do not make the folds, trades are held so long that an exam would have fewer than 10 days,
        or the timeframe does not fit the data.
    """
    written = scorer.score([template])[0]
    n_days = written.daily.shape[0]
    purge = purge_days(template, scorer, _borders(n_days, protocol)[0], protocol.purge_days)
    tuned, considered = _tune_folds(template, scorer, protocol, fold_days(n_days, protocol, purge))
    begins = [fold.begin for fold in tuned]
    exams = list(itertools.pairwise([*begins, n_days]))
    _refuse_short(exams)
    accounts = _accounts([fold.chosen.spec for fold in tuned], begins, scorer, written.first_day)
    first_day = written.first_day + begins[0]
    found = pooled_daily((account.first_day, account.daily) for _, account in accounts)
    daily = _placed(found, first_day, n_days - begins[0])
    folds = [
        _fold(fold, daily[begin - begins[0] : end - begins[0]], (begin, end))
        for fold, (begin, end) in zip(tuned, exams, strict=True)
    ]
    return WalkForward(template, tuple(folds), accounts, daily, first_day, considered)


def _accounts(
    chosen: Sequence[Spec], begins: Sequence[int], scorer: Scoring, first_day: int
) -> tuple[tuple[Scorer, StitchedAccount], ...]:
    """Return the account of each market through all exams; one whose bars end before the first has none."""
    compiled = [compile_spec(spec) for spec in chosen]
    found = []
    for member in scorer.members:
        bars = [first_bar_of(member.bars, first_day, begin) for begin in begins]
        if bars[0] < member.bars.n:
            found.append((member, stitch(compiled, bars, member.bars, member.terms, member.regime)))
    return tuple(found)


def _placed(found: tuple[int, FloatArray], first_day: int, n_days: int) -> FloatArray:
    """Return daily returns on days of which some may lie in a gap, before the first bar or behind the last: 0."""
    at, daily = found[0] - first_day, np.zeros(n_days)
    daily[at : at + found[1].shape[0]] = found[1]
    return daily


class _Tuned(NamedTuple):
    """A fold after tuning: its in-sample days, its border, the first day of its exam, and all that was scored."""

    inside: Days
    border: int
    begin: int
    chosen: Score
    considered: list[Score]


def _tune_folds(
    template: Spec, scorer: Scoring, protocol: Protocol, plan: Sequence[tuple[Days, int]]
) -> tuple[list[_Tuned], tuple[Score, ...]]:
    """Tune fold by fold, each one going on from what those before it tried; return all scores as well."""
    known: dict[str, Score] = {}
    tuned = []
    for k, (inside, border) in enumerate(plan):
        scores = tune(template, scorer, inside, protocol, protocol.seed + k, list(known.values()))
        known |= {score.spec.hash: score for score in scores}
        chosen = best(scores, inside, protocol, scorer)
        begin = exam_begins(chosen.spec, scorer, inside[1], border, protocol.embargo_days)
        tuned.append(_Tuned(inside, border, begin, chosen, scores))
    return tuned, tuple(known.values())


def _refuse_short(exams: Sequence[Days]) -> None:
    for begin, end in exams:
        if end - begin < LEAST_OUTSIDE:
            raise InsufficientError(
                f"a trade decided in-sample is open so long that an exam has {max(end - begin, 0)} days",
                "walk-forward",
                "bring more data, ask for fewer folds, or leave earlier (time_stop)",
            )


def _fold(tuned: _Tuned, daily: FloatArray, outside: Days) -> Fold:
    inner = np.array([score.sharpe(slice(*tuned.inside)) for score in tuned.considered])
    outer = np.array([score.sharpe(slice(*outside)) for score in tuned.considered])
    return Fold(
        tuned.inside,
        outside,
        tuned.border,
        tuned.chosen.spec.values,
        tuned.chosen.sharpe(slice(*tuned.inside)),
        sharpe_of(daily) if daily.any() else 0.0,
        float(np.prod(1.0 + daily) - 1.0),
        fold_stability.rank_correlation(inner, outer),
        len(tuned.considered),
    )
