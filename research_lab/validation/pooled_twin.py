"""Random-entry twins of a pool: all that the candidate did on all markets, begun at another time.

A pool's twin moves every trade of the candidate by one and the same number of bars, round in a circle: what would run
beyond the last bar begins at the first. Twins of single markets are drawn anew trade by trade (`random_twin`);
drawn so for each market by itself, a pool's twins would enter at different times what the candidate enters
at once. Markets move together, so such twins would spread their luck where the candidate does not, and luck alone
would look like skill. Moved as a whole, a twin keeps which markets are entered together, how trades follow each other, how
long and how large they are, and loses only when.

A market with a shorter history goes round in its own, as do markets with gaps of their own by the bars that they lack: there
a twin's trades fall apart from the others' once they have gone round. A trade that is cut by the last bar stays open.

Source: as `random_twin`; a random circular shift stands in the place of the permutation, since it leaves dependence within
and among the series as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.backtest import Backtest
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.scoring.scorer import sharpe_of
from research_lab.validation.random_twin import N_TWINS, RandomTwins, TwinAccount

_CELLS = 1_000_000  # daily returns made at a time


def pooled_twins(
    runs: Sequence[tuple[Bars, Backtest, Terms]], *, n_twins: int = N_TWINS, seed: int = 0
) -> RandomTwins:
    """Return many twins of a pool's candidate, by their pooled daily returns.

    Parameters
    ----------
    runs : bars, the candidate's run on them, and its costs, one a market.
    n_twins, seed : how many, and of the random moves.

    Raises
    ------
    InsufficientError
        There is no trade on any market.
    """
    if n_twins < 1:
        raise UsageError(f"{n_twins} twins", remedy="make at least 1, better 1000")
    if not any(result.trades.shape[0] for _, result, _ in runs):
        raise InsufficientError("the candidate has no finished trade", remedy="bring more data")
    accounts = [TwinAccount.of(bars, run.trades, run.equity, terms) for bars, run, terms in runs]
    first_day = min(account.first_day for account in accounts)
    n_days = max(account.first_day + account.n_days for account in accounts) - first_day
    days = [slice(one.first_day - first_day, one.first_day - first_day + one.n_days) for one in accounts]
    count = np.zeros(n_days)
    for span in days:
        count[span] += 1.0
    longest = max(bars.interval[1] - bars.interval[0] for bars, _, _ in runs)
    finest = min(bars.step_ms for bars, _, _ in runs)
    moves = np.random.default_rng(seed).integers(1, max(2, longest // finest), n_twins)
    sharpes, total = np.empty(n_twins), np.zeros(n_days)
    each = max(1, _CELLS // n_days)
    for first in range(0, n_twins, each):
        some = moves[first : first + each]
        pooled = np.zeros((some.shape[0], n_days))
        for (bars, _, _), account, span in zip(runs, accounts, days, strict=True):
            if account.held.shape[0]:
                pooled[:, span] += account.daily(
                    *_moved(account.entered, bars.n, some * finest // bars.step_ms)
                )
        pooled = np.divide(pooled, count, out=np.zeros_like(pooled), where=count > 0.0)
        sharpes[first : first + each] = [sharpe_of(row) for row in pooled]
        for (
            row
        ) in pooled:  # one after the other, so that the sum does not depend on how many are made at a time
            total += row
    return RandomTwins(np.nan_to_num(sharpes, nan=0.0), total / n_twins, first_day)


def _moved(entered: IntArray, n_bars: int, moves: IntArray) -> tuple[IntArray, IntArray]:
    """Return for each twin which trades come in turn, and the bars of their entries: all moved, in a circle."""
    places = (entered[None, :] + moves[:, None]) % n_bars
    order = np.argsort(places, axis=1, kind="stable")
    return order, np.ascontiguousarray(np.take_along_axis(places, order, axis=1))


def on_days(twins: RandomTwins, first_day: int, n_days: int) -> FloatArray:
    """Return the mean daily returns of twins on some days, NaN where there are none."""
    placed = np.full(n_days, np.nan)
    at = twins.first_day - first_day
    n = min(n_days - at, twins.mean_daily.shape[0])
    placed[at : at + n] = twins.mean_daily[:n]
    return placed
