"""The family of a pool: what a candidate's pooled returns must be held against, decision 0021.

One column for each candidate that was charged to markets of the pool: the mean of its daily returns over the
markets that it was scored on, on the days that these have, as `scoring.pooled_score` takes it. Unless one campaign
looked at it on all markets of the pool, its returns on each market are columns of their own besides:
whoever chose by them has looked at them one by one.

Holding is taken off market by market, before the mean: a strategy that is long where the drift is, and
flat elsewhere, earns by that drift, though the market of equal shares hardly moves with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_lab.bars import DAY_MS
from research_lab.engine.jit import FloatArray
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.pooled_scorer import PooledScorer, pooled_daily
from research_lab.scoring.scorer import Scorer


@dataclass(frozen=True, eq=False)
class PooledFamily:
    """All that was charged to the markets of a pool, on the days of its research bars.

    Parameters
    ----------
    daily, timed : (n_days, n_columns) returns, and these less what holding would have earned; NaN where none.
    candidates, templates : hashes of the columns'. whole : whether a column is of all markets.
    n_trades : closed on the markets that a column is of, together.
    holding : (n_days,) returns of holding all markets at equal shares.
    """

    daily: FloatArray
    timed: FloatArray
    candidates: tuple[str, ...]
    templates: tuple[str, ...]
    whole: tuple[bool, ...]
    n_trades: tuple[int, ...]
    holding: FloatArray

    def columns(self, candidate: str) -> list[int]:
        """Return the columns of a candidate that are of all markets."""
        return [k for k, c in enumerate(self.candidates) if c == candidate and self.whole[k]]


@dataclass(frozen=True, eq=False)
class _Charged:
    """What was charged to one market: returns, and of each candidate columns, template, campaigns, most trades."""

    daily: FloatArray
    timed: FloatArray
    of: dict[str, list[int]]
    templates: dict[str, str]
    campaigns: dict[str, set[str]]
    n_trades: dict[str, int]


def pooled_family(scorer: PooledScorer) -> PooledFamily:
    """Return the family of a pool's candidates, in the order of markets and of the ledger."""
    intervals = [member.bars.interval for member in scorer.members]
    first = min(start for start, _ in intervals) // DAY_MS
    last = max(-(-end // DAY_MS) for _, end in intervals)
    charged = [_charged(member, first, last) for member in scorer.members]
    raw: list[FloatArray] = []
    timed: list[FloatArray] = []
    names: list[tuple[str, str, bool, int]] = []
    for candidate in dict.fromkeys(name for market in charged for name in market.of):
        here = [market for market in charged if candidate in market.of]
        template, is_whole = here[0].templates[candidate], len(here) == len(charged)
        n_trades = sum(market.n_trades[candidate] for market in here)
        for k in range(max(len(market.of[candidate]) for market in here)):
            columns = [market.of[candidate][min(k, len(market.of[candidate]) - 1)] for market in here]
            raw.append(_mean([m.daily[:, c] for m, c in zip(here, columns, strict=True)]))
            timed.append(_mean([m.timed[:, c] for m, c in zip(here, columns, strict=True)]))
            names.append((candidate, template, is_whole, n_trades))
        if len(here) == 1 or (is_whole and set.intersection(*(m.campaigns[candidate] for m in here))):
            continue
        for market in here:
            raw += [market.daily[:, c] for c in market.of[candidate]]
            timed += [market.timed[:, c] for c in market.of[candidate]]
            names += [(candidate, template, False, market.n_trades[candidate])] * len(market.of[candidate])
    return PooledFamily(
        _stacked(raw, last - first),
        _stacked(timed, last - first),
        tuple(candidate for candidate, _, _, _ in names),
        tuple(template for _, template, _, _ in names),
        tuple(is_whole for _, _, is_whole, _ in names),
        tuple(n_trades for _, _, _, n_trades in names),
        _on_days(pooled_daily(market_daily(member.bars) for member in scorer.members), first, last),
    )


def _stacked(columns: list[FloatArray], n_days: int) -> FloatArray:
    return np.stack(columns).T if columns else np.empty((n_days, 0))


def _charged(scorer: Scorer, first: int, last: int) -> _Charged:
    symbol = scorer.bars.market.charged_to
    daily, candidates = scorer.ledger.daily_returns(symbol, first, last)
    of: dict[str, list[int]] = {}
    for column, candidate in enumerate(candidates):
        of.setdefault(candidate, []).append(column)
    templates: dict[str, str] = {}
    campaigns: dict[str, set[str]] = {}
    n_trades: dict[str, int] = {}
    for trial in scorer.ledger.trials(symbol, first * DAY_MS, last * DAY_MS):
        if trial.candidate in of:
            templates[trial.candidate] = trial.template
            campaigns.setdefault(trial.candidate, set()).add(trial.campaign)
            n_trades[trial.candidate] = max(trial.n_trades, n_trades.get(trial.candidate, 0))
    timed = less_holding(daily, _on_days(market_daily(scorer.bars), first, last))
    return _Charged(daily, timed, of, templates, campaigns, n_trades)


def _mean(columns: list[FloatArray]) -> FloatArray:
    """Return the mean by day over those that have the day; NaN where none has."""
    total, count = np.zeros(columns[0].shape[0]), np.zeros(columns[0].shape[0])
    for column in columns:
        known = np.isfinite(column)
        total += np.where(known, column, 0.0)
        count += known
    mean: FloatArray = np.divide(total, count, out=np.full(total.shape[0], np.nan), where=count > 0)
    return mean


def _on_days(found: tuple[int, FloatArray], first: int, last: int) -> FloatArray:
    placed = np.full(last - first, np.nan)
    at = found[0] - first
    placed[at : at + found[1].shape[0]] = found[1]
    return placed
