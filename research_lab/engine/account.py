"""The account: several books on one cash, and the room that each has beside the others.

One definition for the executor, whose books all hold one market, and for the portfolio backtest, whose books
hold several. The caller takes all books, in map order, through the bar's open, then through its inside, then
through its close. So what a stop frees inside a bar pays for no entry at that bar's open; at the open itself
a later book may use what an earlier one frees. Other positions are marked at `prices`: by the caller's choice
the open for the open and the inside, and the close for the close.

Caps bind entries only, where they are filled: a price that moves may carry a position beyond a cap, and
nothing is sold for it. An order is cut to the room there is, and refused with a reason where nothing tradable
is left. The leverage bounds orders at the close as well.

An account is liquidated market by market, by its net quantity in each: inside a bar every position on the net
side has the net position's level, and one on the other side has none, since it gains there. What the other
markets' positions are worth above their maintenance margin stands behind it. As positions close in map order,
the level of those that remain is drawn anew: the account may be saved by closing a part, and a take of an
earlier book counts for a later one whatever the price reached first. A gap at the open is looked at with
others marked there and one's own maintenance margin only; what that leaves below the net margin is liquidated
at the open's price, by the inside of the same bar.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from research_lab.engine import broker, layout, reasons
from research_lab.engine.jit import FloatArray, IntArray, inlined_kernel, kernel
from research_lab.engine.layout import BOOK_SIZE
from research_lab.engine.settlement import whole_lots

QUANTUM: Final = 1e-8  # quote currency; the executor's cash is a whole number of these
MAX_QUANTA: Final = 2.0**53  # above it float64 cannot count in ones

# The first cells of every account's state.
CASH: Final = 0  # in units: whole quanta where money is counted so, else quote currency
EQUITY: Final = 1  # at the last close, quote currency


class Caps(NamedTuple):
    """What bounds the entries of the whole account; infinite for no bound.

    Parameters
    ----------
    leverage : all positions' notional over equity.
    symbol : the notional of all positions in one market, over equity.
    open_risk : what all positions lose from entry to stop, over equity: the sum of the stop distances frozen
        at the decisions times the quantities. An entry without a stop is then refused.
    positions : how many positions may be open.
    """

    leverage: float = math.inf
    symbol: float = math.inf
    open_risk: float = math.inf
    positions: float = math.inf


NO_CAPS: Final = Caps()


class Books(NamedTuple):
    """The account's K books on M markets, in map order.

    Parameters
    ----------
    plans : (K, PLAN_SIZE). terms : (K, TERMS_SIZE), the leverage is written before each step.
    book_at : (K,) places in the state. market_of : (K,) which of the prices is a book's.
    leverage : (K,) what the book's market and the account allow. margins : (M,) maintenance, 0 on spot.
    net : (M,) room for the quantities by market. unit : quote currency of one unit of cash. caps : as said.
    dust : room of less than this share of the equity is what rounding leaves, and none.
    """

    plans: FloatArray
    terms: FloatArray
    book_at: IntArray
    market_of: IntArray
    leverage: FloatArray
    margins: FloatArray
    net: FloatArray
    unit: float
    caps: Caps
    dust: float


@inlined_kernel
def worth(books: Books, state: FloatArray, prices: FloatArray) -> float:
    """Return the account's equity at the prices."""
    equity: float = state[CASH] * books.unit
    for k in range(books.book_at.shape[0]):
        equity += state[books.book_at[k] + layout.QUANTITY] * prices[books.market_of[k]]
    return equity


@inlined_kernel
def open_bar(
    books: Books,
    state: FloatArray,
    prices: FloatArray,
    k: int,
    price: float,
    funding_due: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> tuple[int, int]:
    """Take book k through the open; return rows of fills, and why the entry ordered was refused, 0 if not."""
    book = state[books.book_at[k] : books.book_at[k] + BOOK_SIZE]
    book[layout.CASH] = state[CASH]
    book[layout.OTHERS], tightest = give_room(books, state, prices, k)
    ordered = book[layout.PENDING_SIDE] * book[layout.PENDING_QUANTITY]
    refusal = reasons.NONE if ordered == 0.0 else admit(books, state, prices, k)
    admitted = book[layout.PENDING_QUANTITY]
    positions = book[layout.POSITION_ID]
    n_fills = broker.at_open(
        book, books.plans[k], books.terms[k], price, funding_due, bar, fills, n_fills
    )  # fmt: skip
    state[CASH] = book[layout.CASH]
    if ordered != 0.0 and refusal == reasons.NONE and book[layout.POSITION_ID] == positions:
        market = price * (1.0 + books.terms[k, layout.SLIPPAGE] * math.copysign(1.0, ordered))
        refusal = tightest
        if not _tradable(admitted, market, books.terms[k]):
            refusal = reasons.OPEN_RISK
        if not _tradable(abs(ordered), market, books.terms[k]):
            refusal = reasons.TOO_SMALL
    return n_fills, refusal


@inlined_kernel
def go_through_bar(
    books: Books,
    state: FloatArray,
    prices: FloatArray,
    k: int,
    open_: float,
    high: float,
    low: float,
    bar: int,
    fills: FloatArray,
    n_fills: int,
) -> int:
    """Take book k through the inside of the bar; return rows of fills."""
    book = state[books.book_at[k] : books.book_at[k] + BOOK_SIZE]
    book[layout.CASH] = state[CASH]
    book[layout.OTHERS] = net_margin(books, state, prices, k)
    n_fills = broker.inside(
        book, books.plans[k], books.terms[k], open_, high, low, bar, fills, n_fills
    )  # fmt: skip
    state[CASH] = book[layout.CASH]
    return n_fills


@inlined_kernel
def close_bar(
    books: Books,
    state: FloatArray,
    prices: FloatArray,
    k: int,
    high: float,
    low: float,
    regime: float,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    bar: int,
    t: int,
    s: int,
    barred: int,
    fills: FloatArray,
    n_fills: int,
) -> tuple[int, int, int]:
    """Take book k through the close; return rows of fills, the next strategy bar, the decision."""
    book = state[books.book_at[k] : books.book_at[k] + BOOK_SIZE]
    book[layout.CASH] = state[CASH]
    book[layout.OTHERS], _ = give_room(books, state, prices, k)
    n_fills, s, decision = broker.at_close(
        book, books.plans[k], books.terms[k], high, low, prices[books.market_of[k]], regime, registers,
        outputs, emitted_at, m, bar, t, s, barred, fills, n_fills,
    )  # fmt: skip
    state[CASH] = book[layout.CASH]
    return n_fills, s, decision


@inlined_kernel
def give_room(books: Books, state: FloatArray, prices: FloatArray, k: int) -> tuple[float, int]:
    """Leave book k the leverage that the others do not use; return their value, and which cap is tightest."""
    value, gross, here = 0.0, 0.0, 0.0
    for j in range(books.book_at.shape[0]):
        if j != k:
            position = state[books.book_at[j] + layout.QUANTITY] * prices[books.market_of[j]]
            value += position
            gross += abs(position)
            if books.market_of[j] == books.market_of[k]:
                here += abs(position)
    terms = books.terms[k]
    equity = state[CASH] * books.unit + value
    equity += state[books.book_at[k] + layout.QUANTITY] * prices[books.market_of[k]]
    terms[layout.LEVERAGE] = _rest(books.leverage[k], gross, equity, terms[layout.FEE], books.dust)
    tightest = reasons.NO_ROOM
    if books.caps.symbol < math.inf:
        rest = _rest(books.caps.symbol, here, equity, terms[layout.FEE], books.dust)
        if rest < terms[layout.LEVERAGE]:
            terms[layout.LEVERAGE] = rest
            tightest = reasons.SYMBOL_ROOM
    return value, tightest


@inlined_kernel
def _rest(allowed: float, used: float, equity: float, fee: float, dust: float) -> float:
    """Return the leverage to tell the broker, such that all notional stays within what is allowed.

    With x the largest new notional over equity such that used and new notional stay within `allowed` times
    the equity after the fee, x = (allowed - used / equity) / (1 + allowed * fee); the broker is told the
    leverage that gives x by its own formula, x / (1 - fee * x).
    """
    if used == 0.0:
        return allowed
    x = max(0.0, allowed - used / equity) / (1.0 + allowed * fee) if equity > 0.0 else 0.0
    return x / (1.0 - fee * x) if x > dust else 0.0


@inlined_kernel
def admit(books: Books, state: FloatArray, prices: FloatArray, k: int) -> int:
    """Cut book k's order to the risk that may still be open; strike it, and say why, where none may."""
    caps = books.caps
    if caps.positions == math.inf and caps.open_risk == math.inf:
        return reasons.NONE
    book = state[books.book_at[k] : books.book_at[k] + BOOK_SIZE]
    held, risked = 0.0, 0.0
    for j in range(books.book_at.shape[0]):
        quantity = abs(state[books.book_at[j] + layout.QUANTITY])
        if j != k and quantity != 0.0:
            held += 1.0
            risked += quantity * state[books.book_at[j] + layout.R]
    if held >= caps.positions:
        book[layout.PENDING_SIDE] = 0.0
        return reasons.POSITIONS
    if caps.open_risk < math.inf:
        equity = worth(books, state, prices)
        rest = caps.open_risk * equity - risked
        if not (rest > books.dust * equity and book[layout.PENDING_STOP] > 0.0):
            book[layout.PENDING_SIDE] = 0.0
            return reasons.OPEN_RISK
        most = rest / book[layout.PENDING_STOP]
        book[layout.PENDING_QUANTITY] = min(book[layout.PENDING_QUANTITY], most)
    return reasons.NONE


@kernel
def _tradable(quantity: float, market: float, terms: FloatArray) -> bool:
    """Whether whole lots of a quantity are something, and not below the minimum notional."""
    lots = whole_lots(quantity, terms)
    return bool(lots > 0.0 and lots * market >= terms[layout.MIN_NOTIONAL])


@inlined_kernel
def net_margin(books: Books, state: FloatArray, prices: FloatArray, k: int) -> float:
    """Return what makes the broker find the net position's liquidation level for book k's part of it.

    With `free` the other markets' positions less their maintenance margin, the net quantity is liquidated
    where cash + free + net x price = maintenance x |net| x price. The broker asks cash + others + own x price
    = maintenance x |own| x price: the same price when the book has cash and `free` in the proportion
    own / net. Against the net side it has no level, as with endless money.
    """
    net = books.net
    net[:] = 0.0
    for j in range(books.book_at.shape[0]):
        net[books.market_of[j]] += state[books.book_at[j] + layout.QUANTITY]
    here = books.market_of[k]
    own = state[books.book_at[k] + layout.QUANTITY]
    if own * net[here] <= 0.0:
        return math.inf
    free = 0.0
    for market in range(net.shape[0]):
        if market != here:
            free += (net[market] - books.margins[market] * abs(net[market])) * prices[market]
    share = own / net[here]
    others: float = state[CASH] * books.unit * (share - 1.0) + free * share
    return others
