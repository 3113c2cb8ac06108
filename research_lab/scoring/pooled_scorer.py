"""Scores strategies on several markets as one: the same parameters on each, the capital split evenly.

A pool's return on a day is the mean over the markets that have data on that day, each with the same weight: the
capital is split evenly and brought back to even shares at every midnight UTC, at no cost. A market has data
from its first bar to its last; days without a bar in between are flat, as in its own score. So a market
with a shorter history leaves the pool to the others before it begins.

A look at a pool is a look at each of its markets: each has its own sweep, and each is charged in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import UsageError
from research_lab.scoring.origin import Origin, Refusal
from research_lab.scoring.scorer import Score, Scorer, check_timeframe, drawdown_of, sharpe_of
from research_lab.scoring.trial_ledger import TrialLedger


@dataclass(eq=False)
class PooledScorer:
    """The door to scores of a pool.

    Parameters
    ----------
    everyone : the scorers of all markets, with one ledger; each is run, and charged, with every look.
    members : those whose returns are pooled; all of them, but for the view that leaves one out.
    """

    everyone: tuple[Scorer, ...]
    members: tuple[Scorer, ...] = ()
    _known: dict[str, Score] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.members = self.members or self.everyone
        check_pool([scorer.bars.market.charged_to for scorer in self.everyone])

    @property
    def ledger(self) -> TrialLedger:
        return self.everyone[0].ledger

    @property
    def n_scored(self) -> int:
        """How many distinct parameter sets were scored on every market."""
        return len(self._known)

    def without(self, left_out: Scorer) -> PooledScorer:
        """Return the pool of the others, which looks through this one: all are charged, one is not seen."""
        others = tuple(scorer for scorer in self.members if scorer is not left_out)
        return PooledScorer(self.everyone, others)

    def tried(self, template: Spec) -> list[Score]:
        """Return the scores of all parameter sets of a template that every market has run, whoever asked."""
        sets = [score.spec for score in self.everyone[0].tried(template)]
        whole = set.intersection(*({s.spec.hash for s in one.tried(template)} for one in self.everyone))
        return self.score([spec for spec in sets if spec.hash in whole])

    def score(self, specs: Sequence[Spec]) -> list[Score]:
        """Return the pool's score for each strategy; raises what `Scorer.score` raises, before anything runs."""
        new = {spec.hash: spec for spec in specs if spec.hash not in self._known}
        for scorer in self.everyone:
            for spec in new.values():
                check_timeframe(spec, scorer.bars)
        for scorer in self.everyone:
            scorer.score(specs)
        for spec in new.values():
            self._known[spec.hash] = pooled_score([scorer.score([spec])[0] for scorer in self.members])
        return [replace(self._known[spec.hash], spec=spec) for spec in specs]

    def refuse(self, proposals: Sequence[Spec | Refusal], reason: str = "") -> None:
        """Record proposals that are not run, for each market."""
        for scorer in self.everyone:
            scorer.refuse(proposals, reason)

    def origin_of(self, spec: Spec) -> Origin:
        """Return who proposed a strategy."""
        return self.everyone[0].origin_of(spec)


def check_pool(symbols: Sequence[str]) -> None:
    """Refuse a pool of one market, and one that has a symbol twice: spot and perpetual, or two exchanges, are one bet."""
    if len(symbols) < 2:
        raise UsageError("a pool of one market", "--pool", "name several with --data, or leave --pool out")
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise UsageError(f"{twice[0]} is in the pool twice", "--pool", "name one market of each symbol")


def pooled_score(scores: Sequence[Score]) -> Score:
    """Return the score of one strategy on several markets as one; metrics are of its daily returns."""
    first_day, daily = pooled_daily((score.first_day, score.daily) for score in scores)
    n_trades = sum(score.metrics["n_trades"] for score in scores)
    return Score(scores[0].spec, {**daily_metrics(daily), "n_trades": n_trades}, first_day, daily)


def pooled_daily(returns: Iterable[tuple[int, FloatArray]]) -> tuple[int, FloatArray]:
    """Return the first day and the mean of daily returns by day, over those that have the day.

    Parameters
    ----------
    returns : first UTC day and (n_days,) daily returns, one a market. Days that none has are 0.

    Examples
    --------
    >>> pooled_daily([(10, np.array([0.5, 0.25])), (11, np.array([0.75, 1.0]))])
    (10, array([0.5, 0.5, 1. ]))
    """
    parts = list(returns)
    first = min(day for day, _ in parts)
    n_days = max(day + daily.shape[0] for day, daily in parts) - first
    total, count = np.zeros(n_days), np.zeros(n_days)
    for day, daily in parts:
        days = slice(day - first, day - first + daily.shape[0])
        total[days] += daily
        count[days] += 1.0
    return first, np.divide(total, count, out=np.zeros(n_days), where=count > 0.0)


def daily_metrics(daily: FloatArray) -> dict[str, float]:
    """Return Sharpe ratio a year, return and deepest drawdown of daily returns, as fractions."""
    gain = float(np.multiply.accumulate(1.0 + daily)[-1]) - 1.0 if daily.shape[0] else math.nan
    return {"sharpe": sharpe_of(daily), "return": gain, "max_drawdown": drawdown_of(daily)}
