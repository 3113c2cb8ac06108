"""Random-entry twins: what the candidate's trades would have earned had they begun at other times.

A twin has as many trades as the candidate, each with the side, the size (notional over equity at the entry) and the
holding time of one of the candidate's, in another order and with the time between them divided anew. So it is in the
market as often, as long and as much, pays the same fees and slippage, and knows nothing. What sets the candidate
apart from many such twins is when it enters, and where inside its bars it leaves.

**A twin's trade** enters at the open of its first bar and leaves at the open of the bar in which it ends, or, when it
lasts less than a bar, at that bar's close; what the data do not reach stays open. It is left whole: takes that close
a part of it earlier make the candidate smaller than its twins, and are part of what sets it apart. Fees are charged on
the notional of both fills, slippage moves both prices, funding that falls due is paid at the open. Stops and takes
are not run: they are in the holding times. Regimes do not keep a twin out of the market.

**Order.** Permutation and free time are uniform: places among all free bars are drawn for every trade, and sorted.
The same seed gives the same twins.

Source: the permutation test of D. Aronson (2007), Evidence-Based Technical Analysis, chapter 6, here of the times of
entry rather than of the market's returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from research_lab.bars import DAY_MS, Bars
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.scoring.scorer import sharpe_of

N_TWINS = 1000
_CELLS = 1_000_000  # trades of twins made at a time


@dataclass(frozen=True, eq=False)
class RandomTwins:
    """Many twins of one candidate.

    Parameters
    ----------
    sharpes : (n_twins,) Sharpe ratio a year of each twin; 0 for one that never moved.
    mean_daily : (n_days,) mean daily return of all twins, from `first_day` (days since 1970) on.
    """

    sharpes: FloatArray
    mean_daily: FloatArray
    first_day: int

    def percentile(self, sharpe: float) -> float:
        """Return the share of twins with a lower Sharpe ratio, half of those with the same; NaN for NaN."""
        if math.isnan(sharpe):
            return math.nan
        return float(((self.sharpes < sharpe) + 0.5 * (self.sharpes == sharpe)).mean())

    def p(self, sharpe: float) -> float:
        """Return the one-sided p of a Sharpe ratio among twins, (1 + those as good) / (1 + n); NaN for NaN."""
        if math.isnan(sharpe):
            return math.nan
        return float((1.0 + (self.sharpes >= sharpe).sum()) / (1.0 + self.sharpes.shape[0]))


def random_twins(
    bars: Bars,
    trades: NDArray[np.void],
    equity: FloatArray,
    terms: Terms,
    *,
    n_twins: int = N_TWINS,
    seed: int = 0,
) -> RandomTwins:
    """Return many twins of the candidate whose trades these are.

    Parameters
    ----------
    bars : those that the candidate ran on. terms : fee and slippage.
    trades : as `engine.backtest.Backtest.trades`, finished positions in order.
    equity : (n_bars,) the candidate's, beginning from a capital of 1; for the size of its trades.
    n_twins, seed : how many, and of the random order.

    Raises
    ------
    InsufficientError
        There is no trade.
    """
    if n_twins < 1:
        raise UsageError(f"{n_twins} twins", remedy="make at least 1, better 1000")
    if trades.shape[0] == 0:
        raise InsufficientError("the candidate has no finished trade", remedy="bring more data")
    account = TwinAccount.of(bars, trades, equity, terms)
    rng = np.random.default_rng(seed)
    sharpes, total = np.empty(n_twins), np.zeros(account.n_days)
    each = max(1, _CELLS // max(trades.shape[0], account.n_days))
    for first in range(0, n_twins, each):
        n = min(each, n_twins - first)
        daily = account.daily(*_shuffled(account.held, bars.n, n, rng))
        sharpes[first : first + n] = [sharpe_of(row) for row in daily]
        for (
            row
        ) in daily:  # one after the other, so that the sum does not depend on how many are made at a time
            total += row
    return RandomTwins(np.nan_to_num(sharpes, nan=0.0), total / n_twins, account.first_day)


@dataclass(frozen=True, eq=False)
class TwinAccount:
    """A market and a candidate's trades on it, ready to be run at other times.

    Parameters
    ----------
    first_day : of the bars, days since 1970. entered : (n_trades,) first bars of the candidate's trades.
    held, sized : (n_trades,) bars held, and signed notional over equity at the entry.
    """

    first_day: int
    entered: IntArray
    held: IntArray
    sized: FloatArray
    _opens: FloatArray
    _closes: FloatArray
    _owed: FloatArray
    _costs: FloatArray
    _day_ends: IntArray

    @classmethod
    def of(cls, bars: Bars, trades: NDArray[np.void], equity: FloatArray, terms: Terms) -> TwinAccount:
        """Return the account of trades that ran on bars; parameters as those of `random_twins`."""
        before = np.concatenate([[1.0], equity])[trades["entry_bar"]]
        worth = np.where(before > 0.0, before, np.inf)
        days = bars.time // DAY_MS
        first_day = int(days[0])
        return cls(
            first_day,
            trades["entry_bar"],
            trades["exit_bar"] - trades["entry_bar"],
            trades["side"] * trades["quantity"] * trades["entry_price"] / worth,
            np.ascontiguousarray(bars.open),
            np.ascontiguousarray(bars.close),
            np.cumsum(bars.funding_due * bars.open),
            np.array([terms.fee, terms.slippage]),
            np.searchsorted(days, np.arange(first_day, int(days[-1]) + 1), side="right") - 1,
        )

    @property
    def n_days(self) -> int:
        return int(self._day_ends.shape[0])

    def daily(self, order: IntArray, entries: IntArray) -> FloatArray:
        """Return the daily returns (n_twins, n_days) of twins.

        Parameters
        ----------
        order, entries : (n_twins, n_trades) which trade comes in turn, and its first bar, ascending.
        """
        daily = np.empty((order.shape[0], self.n_days))
        held, sized = np.ascontiguousarray(self.held[order]), np.ascontiguousarray(self.sized[order])
        _run(entries, held, sized, self._opens, self._closes, self._owed, self._costs, self._day_ends, daily)
        return daily


def _shuffled(
    held: IntArray, n_bars: int, n_twins: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return for each twin which of the candidate's trades come in turn, and the bars of their entries."""
    order = np.empty((n_twins, held.shape[0]), dtype=np.int64)
    entries = np.empty_like(order)
    taken = np.maximum(held, 1)
    free = max(0, n_bars - int(taken.sum()))
    for twin in range(n_twins):
        order[twin] = rng.permutation(held.shape[0])
        gaps = np.sort(rng.integers(0, free + 1, held.shape[0]))
        entries[twin] = gaps + np.cumsum(taken[order[twin]]) - taken[order[twin]]
    return order, entries


@kernel
def _run(
    entries: IntArray,
    held: IntArray,
    sized: FloatArray,
    opens: FloatArray,
    closes: FloatArray,
    owed: FloatArray,
    costs: FloatArray,
    day_ends: IntArray,
    daily: FloatArray,
) -> None:
    """Write the daily returns of each twin.

    Parameters
    ----------
    entries, held, sized : (n_twins, n_trades) first bar, bars held, signed notional over equity.
    opens, closes : (n_bars,) prices. owed : (n_bars,) funding of one unit due up to each bar's open.
    costs : fee and slippage, fractions. day_ends : (n_days,) last bar up to the end of each day.
    daily : (n_twins, n_days), in place.
    """
    n_bars, n_days = opens.shape[0], day_ends.shape[0]
    fee, slip = costs[0], costs[1]
    for twin in range(entries.shape[0]):
        equity = worth = 1.0
        day = 0
        for k in range(entries.shape[1]):
            entry = entries[twin, k]
            if entry >= n_bars or equity <= 0.0:
                break
            while day < n_days and day_ends[day] < entry:
                daily[twin, day] = equity / worth - 1.0 if worth > 0.0 else 0.0
                worth = equity
                day += 1
            size = sized[twin, k]
            way = 1.0 if size > 0.0 else -1.0
            paid = opens[entry] * (1.0 + way * slip)
            units = size * equity / paid
            begun = equity - fee * abs(units) * paid
            leave = entry + held[twin, k]
            while day < n_days and day_ends[day] < leave:
                at = day_ends[day]
                equity = max(0.0, begun + units * (closes[at] - paid) - units * (owed[at] - owed[entry]))
                daily[twin, day] = equity / worth - 1.0 if worth > 0.0 else 0.0
                worth = equity
                day += 1
            at = min(leave, n_bars - 1)
            price = opens[at] if held[twin, k] > 0 and leave < n_bars else closes[at]
            got = price * (1.0 - way * slip)
            ended = begun + units * (got - paid) - units * (owed[at] - owed[entry]) - fee * abs(units) * got
            equity = max(0.0, ended)
        while day < n_days:
            daily[twin, day] = equity / worth - 1.0 if worth > 0.0 else 0.0
            worth = equity
            day += 1
