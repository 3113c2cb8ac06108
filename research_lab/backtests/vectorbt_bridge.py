"""The bridge to vectorbt: a portfolio written by somebody else, which must come to the same equity.

`replay_equity` hands our fills to `Portfolio.from_orders` and takes its value after each bar: what is
checked is our accounting. `signals_equity` hands conditions to `Portfolio.from_signals`, which makes its own
orders from them: what is checked is, for simple strategies, our execution too.

What vectorbt cannot express, and what is done about it:

- It takes one order a bar, and we may fill several. The time axis gets one row more for each fill, before
  the row in which its bar is valued.
- It knows no funding. Funding is not handed over, but computed here from the fills, and added to its value.
- It knows no margin: a purchase never takes cash below zero. On a perpetual it is lent at the beginning
  twice what the fills need at most, and that is taken off its value. On spot nothing is lent, so that fills
  which spend more than there is are refused.
- By default it refuses orders of less than 1e-8; here any size will do. It treats amounts below 1e-12, and
  differences below 1e-9 of a value, as zero: money and quantities are scaled up by a power of two, which
  changes no digit.

vectorbt takes seconds to import and compiles at first use, so it is imported when a function is called.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research_lab.backtests.both_orders import BothOrders
from research_lab.bars import Bars, BoolArray, FloatArray
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, UsageError

ORDER: Final = np.dtype(
    [("bar", np.int64), ("quantity", np.float64), ("price", np.float64), ("fee", np.float64)]
)

_WORKING_CASH: Final = 1e12  # about what vectorbt is given: a ruined account is above its tolerances still
_NOTHING_LENT: Final = 1e-9  # share of the cash below which a shortage is rounding


def replay_equity(bars: Bars, fills: NDArray[np.void], terms: Terms, cash: float = 1.0) -> FloatArray:
    """Return the equity after each bar when vectorbt fills our orders at our prices and fees.

    Parameters
    ----------
    bars : base bars, whose closes value the position. Spot and perpetual.
    fills : structured, with at least bar, quantity (signed), price, fee; in order.
    terms : `perpetual` decides about funding and about what is lent. Money in whole quanta is not rounded.
    cash : at the beginning, above zero, quote currency.

    Returns
    -------
    (n,) float64, quote currency, funding included.

    Raises
    ------
    DataError : when vectorbt refuses an order, as it does with one that spends more than there is.
    """
    _check_cash(cash)
    scale = _scale(cash)
    fill_rows = fills["bar"] + np.arange(fills.shape[0])
    bar_rows = np.arange(bars.n) + np.searchsorted(fills["bar"], np.arange(bars.n), side="right")
    n_rows = bars.n + fills.shape[0]
    close, size, fee = np.empty(n_rows), np.full(n_rows, np.nan), np.zeros(n_rows)
    close[bar_rows], close[fill_rows] = bars.close, fills["price"]
    size[fill_rows], fee[fill_rows] = fills["quantity"] * scale, fills["fee"] * scale
    lent = _lent(fills, cash) * scale if terms.perpetual else 0.0
    value = _from_orders(close, size, fee, cash * scale + lent, fills.shape[0])
    equity: FloatArray = (value[bar_rows] - lent) / scale + np.cumsum(funding_flow(bars, fills, terms))
    return equity


def replay_both(bars: Bars, orders: BothOrders, terms: Terms) -> tuple[float, float]:
    """Return what a backtest earned by vectorbt's account, from a cash of 1: stops first, then takes first.

    Fills and terms as for `replay_equity`.
    """
    first, second = (replay_equity(bars, run.fills, terms) for run in (orders.pessimistic, orders.optimistic))
    return float(first[-1]) - 1.0, float(second[-1]) - 1.0


def deviation(ours: FloatArray, theirs: FloatArray, cash: float = 1.0) -> float:
    """Return the largest difference of two equity curves, as a share of the equity.

    An equity below a thousandth of the beginning counts as that: what was lent to vectorbt takes the last
    digits of a ruined account. NaN when there is no bar, or an equity is NaN.
    """
    if not ours.shape[0]:
        return math.nan
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(ours), 1e-3 * cash)))


def funding_flow(bars: Bars, fills: NDArray[np.void], terms: Terms) -> FloatArray:
    """Return what funding brings at each bar's open, quote currency; below zero when it is paid.

    Due is the rate on the position held before the bar's own fills, valued at the open.
    """
    if not terms.perpetual:
        return np.zeros(bars.n)
    traded = np.zeros(bars.n)
    np.add.at(traded, fills["bar"], fills["quantity"])
    held = np.concatenate([[0.0], np.cumsum(traded)[:-1]])
    brought: FloatArray = -held * bars.open * bars.funding_due
    return brought


def signals_equity(
    bars: Bars, enter: BoolArray, leave: BoolArray, terms: Terms, *, short: bool = False, cash: float = 1.0
) -> tuple[FloatArray, NDArray[np.void]]:
    """Return the equity and the orders that vectorbt makes of conditions at closes.

    All cash goes in at the open after an entry condition, and out at the open after an exit condition, at
    the open with slippage, fee on notional. That is `size: {fraction: 1}` without stop, take, trail, time
    stop or regime, on one side. Our quantity is frozen at the close; the two agree while no entry's open
    lies further from that close, in favour of the entry, than fee and slippage take.

    Parameters
    ----------
    enter, leave : (n,) true where the condition is definitely true at that bar's close, never both: what
        we do then depends on the position, and what vectorbt does is fixed.
    terms : fee and slippage; without leverage, lots or smallest notional.
    short : sell to enter; perpetuals only.

    Returns
    -------
    equity, orders : (n,) float64, and a structured array of `ORDER`.

    Raises
    ------
    UsageError : for terms or conditions that vectorbt cannot express.
    """
    _check_cash(cash)
    _check_expressible(bars, terms, short=short)
    if np.any(enter & leave):
        n_both = np.count_nonzero(enter & leave)
        raise UsageError(f"entry and exit at once on {n_both} bars", "vectorbt's signals", "replay the fills")
    scale = _scale(cash)
    entries, exits = (np.concatenate([[False], condition[:-1]]) for condition in (enter, leave))
    with _quiet_vectorbt() as vbt:
        portfolio = vbt.Portfolio.from_signals(
            bars.close.copy(),
            entries=entries,
            exits=exits,
            price=bars.open.copy(),
            fees=terms.fee,
            slippage=terms.slippage,
            min_size=0.0,
            direction="shortonly" if short else "longonly",
            init_cash=cash * scale,
            engine="numba",
        )
        value = portfolio.value().to_numpy()
        records = portfolio.orders.records_arr
    orders = np.empty(records.shape[0], ORDER)
    orders["bar"], orders["price"], orders["fee"] = records["idx"], records["price"], records["fees"] / scale
    orders["quantity"] = np.where(records["side"] == 0, 1.0, -1.0) * records["size"] / scale
    return value / scale, orders


def _from_orders(
    close: FloatArray, size: FloatArray, fee: FloatArray, cash: float, n_orders: int
) -> FloatArray:
    with _quiet_vectorbt() as vbt:
        try:
            portfolio = vbt.Portfolio.from_orders(
                close,
                size=size,
                price=close.copy(),
                fixed_fees=fee,
                size_type="amount",
                direction="both",
                fees=0.0,
                slippage=0.0,
                min_size=0.0,
                init_cash=cash,
                allow_partial=False,
                raise_reject=True,
                max_orders=max(1, n_orders),
                engine="numba",
            )
        except vbt.portfolio.enums.RejectedOrderError as fault:
            raise DataError(
                f"vectorbt refuses a fill: {fault}", "replay", "compare the broker's cash with the fills"
            ) from None
        value: FloatArray = portfolio.value().to_numpy()
    return value


def _lent(fills: NDArray[np.void], cash: float) -> float:
    """Return twice the most that the fills take cash below zero."""
    if not fills.shape[0]:
        return 0.0
    left = cash - np.cumsum(fills["quantity"] * fills["price"] + fills["fee"])
    short_of = -float(left.min())
    return 2.0 * short_of if short_of > _NOTHING_LENT * cash else 0.0


def _scale(cash: float) -> float:
    return float(2.0 ** round(math.log2(_WORKING_CASH / cash)))


def _check_cash(cash: float) -> None:
    if not 0.0 < cash < math.inf:
        raise UsageError(f"cash of {cash!r}", "replay", "begin with an amount above zero")


def _check_expressible(bars: Bars, terms: Terms, *, short: bool) -> None:
    wanted = {
        "a leverage of 1": not terms.perpetual or terms.leverage == 1.0,
        "no lot, tick or smallest notional": terms.lot == terms.tick == terms.min_notional == 0.0,
        "no quantum": terms.quantum == 0.0,
        "all of the strategy's size": terms.risk_share == 1.0 and terms.risk_cap == math.inf,
        "no funding": not terms.perpetual or not bars.funding_due.any(),
        "a perpetual for shorts": terms.perpetual or not short,
    }
    missing = [what for what, met in wanted.items() if not met]
    if missing:
        raise UsageError(
            f"vectorbt's signals need {', '.join(missing)}", bars.market.name, "replay the fills"
        )


@contextmanager
def _quiet_vectorbt() -> Iterator[Any]:
    """Give vectorbt, with its warnings left out: they are about its own use of other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield _vectorbt()


@cache
def _vectorbt() -> Any:
    """Import vectorbt, with a numba cache of its own version.

    The engine names numba's cache folder by a hash of its sources. What vectorbt compiles does not depend
    on them, and takes longer than anything of ours. Its longest function, that of signals, is not cached by
    itself.
    """
    from numba import config

    ours = config.CACHE_DIR
    if ours:
        config.CACHE_DIR = str(Path(ours).parent / f"vectorbt-{version('vectorbt')}")
    try:
        import vectorbt

        vectorbt.portfolio.nb.simulate_from_signals_nb.enable_caching()
    finally:
        config.CACHE_DIR = ours
    return vectorbt
