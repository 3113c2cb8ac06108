"""A slow and obvious broker: the execution rules in plain Python, one bar after the other.

It shares no code with the engine. Money is a float, quantities are signed (long above zero), and every
rule stands in the order in which it happens inside a bar. Which way each tie falls: a level counts as
reached when it is touched (``<=`` and ``>=``); where a stop and the liquidation level are equal, it is
the stop; halves of a tick round up.

Ticks and lots are decimal in real markets, so a rounded level is the double nearest to the decimal number
(12.35, not ``1235 * 0.01``), and a quantity that already is a whole number of lots stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

NAN = math.nan
LOT_TOLERANCE = 1e-9
RISK, FRACTION = 0, 1


@dataclass(frozen=True)
class SlowBars:
    """The base bars: prices in quote currency, `funding_due` as the rate due at each bar's open."""

    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    funding_due: list[float]


@dataclass(frozen=True)
class Signal:
    """What one completed bar of the strategy's timeframe says.

    The four conditions are 1.0, 0.0 or NaN (unknown); only 1.0 acts. `stop` and `trail` are distances in
    price, `size` is a share of equity; NaN is unknown.
    """

    enter_long: float = 0.0
    exit_long: float = 0.0
    enter_short: float = 0.0
    exit_short: float = 0.0
    stop: float = NAN
    trail: float = NAN
    size: float = NAN


@dataclass(frozen=True)
class SlowTerms:
    """Market and account: rates are fractions; lot, tick and min_notional are 0 where unknown."""

    fee: float = 0.001
    slippage: float = 0.0005
    leverage: float = 1.0
    maintenance: float = 0.005
    liquidation_fee: float = 0.005
    perpetual: bool = False
    lot: float = 0.0
    tick: float = 0.0
    min_notional: float = 0.0
    optimistic: bool = False
    risk_share: float = 1.0
    risk_cap: float = math.inf

    @property
    def leverage_cap(self) -> float:
        return self.leverage if self.perpetual else 1.0


@dataclass(frozen=True)
class SlowPlan:
    """The strategy's part: `takes` holds (level in R, share of what remains to close), in order."""

    has_stop: bool = False
    has_trail: bool = False
    size_kind: int = FRACTION
    takes: tuple[tuple[float, float], ...] = ()
    trail_after_r: float = 0.0
    breakeven: bool = False
    time_stop: int = 0
    regime_mask: int = 0
    regime_exit: bool = False
    warmup: int = 0


@dataclass(frozen=True)
class Fill:
    """One execution: `quantity` is signed (bought above zero), `fee` is money, never a rate."""

    bar: int
    position_id: int
    reason: str
    quantity: float
    price: float
    fee: float


@dataclass
class SlowResult:
    """Equity, signed quantity and decision after each bar, all fills in order, and whether equity ran out."""

    equity: list[float] = field(default_factory=list)
    position: list[float] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    ended: bool = False


@dataclass
class Position:
    """An open position; `r` is the stop distance frozen at the decision, NaN without a stop."""

    id: int
    side: int
    quantity: float
    entry: float
    stop: float
    r: float
    trail: float
    take_levels: list[float]
    best: float
    takes_done: int = 0
    held: int = 0


@dataclass(frozen=True)
class Order:
    """An entry decided at a close; it lives for exactly one open."""

    side: int
    quantity: float
    stop_distance: float
    trail_distance: float


def nearest_tick(level: float, tick: float) -> float:
    """Return the level rounded to the nearest tick, halves up; unchanged without a tick or when NaN.

    Examples
    --------
    >>> nearest_tick(12.3474, 0.05), nearest_tick(12.375, 0.25), nearest_tick(7.7, 0.0)
    (12.35, 12.5, 7.7)
    """
    if tick <= 0 or math.isnan(level):
        return level
    return float(math.floor(level / tick + 0.5) * Decimal(repr(tick)))


def floor_lot(quantity: float, lot: float) -> float:
    """Return the quantity rounded down to whole lots; unchanged without a lot.

    Examples
    --------
    >>> floor_lot(0.35, 0.1), floor_lot(0.3, 0.1), floor_lot(0.35, 0.0)
    (0.3, 0.3, 0.35)
    """
    if lot <= 0 or math.isnan(quantity):
        return quantity
    return float(math.floor(quantity / lot + LOT_TOLERANCE) * Decimal(repr(lot)))


def known(distance: float) -> bool:
    """Return whether a distance or size can be used: finite and above zero."""
    return math.isfinite(distance) and distance > 0


class SlowBroker:
    """The account of one strategy on one market."""

    def __init__(self, terms: SlowTerms, plan: SlowPlan, cash: float) -> None:
        self.terms = terms
        self.plan = plan
        self.cash = cash
        self.position: Position | None = None
        self.pending_exit = ""
        self.pending_entry: Order | None = None
        self.n_positions = 0
        self.bar = -1
        self.signal_bars = 0
        self.result = SlowResult()

    def step(
        self,
        prices: tuple[float, float, float, float],
        funding: float,
        signals: list[Signal],
        regime: int,
        *,
        active: bool,
        macro: str = "",
    ) -> None:
        """Advance by one base bar: `prices` are open, high, low and close."""
        self.bar += 1
        open_, high, low, close = prices
        self.pay_funding(open_, funding)
        self.exit_at_open(open_)
        self.gap(open_)
        self.enter_at_open(open_)
        self.inside(open_, high, low)
        equity = self.cash + self.quantity * close
        self.move_stop(high, low, signals)
        decision = "NO_STRATEGY_BAR"
        if not self.result.ended:
            for signal in signals:
                self.signal_bars += 1
                self.decide_exit(signal, regime, macro)
                decision = self.decide_entry(signal, regime, macro, equity, close, active=active)
        if equity <= 0 and not self.result.ended:
            self.end_run(equity, close)
        self.result.decisions.append("RUN_ENDED" if self.result.ended else decision)
        self.result.equity.append(equity)
        self.result.position.append(self.quantity)

    @property
    def quantity(self) -> float:
        return self.position.quantity if self.position else 0.0

    def pay_funding(self, open_: float, rate: float) -> None:
        """Rule 1: the old position pays or receives what is due now."""
        if self.position and self.terms.perpetual and rate != 0:
            self.cash -= self.position.quantity * open_ * rate

    def exit_at_open(self, open_: float) -> None:
        """Rule 2: an exit decided at the last close is a market order now."""
        if self.position and self.pending_exit:
            price = open_ * (1 - self.terms.slippage * self.position.side)
            self.close_all(price, self.pending_exit, self.terms.fee)
        self.pending_exit = ""

    def liquidation_level(self) -> float:
        """Return the price at which equity equals the maintenance margin; NaN where there is none."""
        if self.position is None or not self.terms.perpetual:
            return NAN
        quantity = self.position.quantity
        if quantity > 0:
            level = -self.cash / (quantity * (1 - self.terms.maintenance)) if self.cash < 0 else NAN
        else:
            level = self.cash / (abs(quantity) * (1 + self.terms.maintenance))
        return level if level > 0 else NAN

    def reached(self, price: float, level: float, side: int) -> bool:
        """Return whether a price touched a level that lies below (side 1) or above (side -1); NaN never."""
        return price <= level if side > 0 else price >= level

    def liquidation_is_nearer(self, liquidation: float, stop: float, side: int) -> bool:
        """Return whether liquidation comes strictly before the stop; a missing stop never comes."""
        if math.isnan(liquidation):
            return False
        if math.isnan(stop):
            return True
        return liquidation > stop if side > 0 else liquidation < stop

    def gap(self, open_: float) -> None:
        """Rule 3: the old position opens beyond liquidation, stop or takes."""
        if self.position is None:
            return
        side, stop = self.position.side, self.position.stop
        liquidation = self.liquidation_level()
        price = open_ * (1 - self.terms.slippage * side)
        if self.liquidation_is_nearer(liquidation, stop, side):
            if self.reached(open_, liquidation, side):
                self.close_all(price, "LIQUIDATION", self.terms.fee + self.terms.liquidation_fee)
                return
        elif self.reached(open_, stop, side):
            self.close_all(price, "STOP", self.terms.fee)
            return
        self.take(open_, open_)

    def enter_at_open(self, open_: float) -> None:
        """Rule 4: an entry decided at the last close, cut to what the account can carry."""
        order, self.pending_entry = self.pending_entry, None
        if order is None or self.position is not None:
            return
        terms, side = self.terms, order.side
        price = open_ * (1 + terms.slippage * side)
        leverage = terms.leverage_cap
        affordable = leverage * self.cash / (price * (1 + terms.fee * leverage))
        size = floor_lot(min(order.quantity, affordable), terms.lot)
        if size <= 0 or size * price < terms.min_notional:
            return
        self.n_positions += 1
        self.position = Position(
            id=self.n_positions,
            side=side,
            quantity=0.0,
            entry=price,
            stop=nearest_tick(price - side * order.stop_distance, terms.tick),
            r=order.stop_distance,
            trail=order.trail_distance,
            take_levels=[
                nearest_tick(price + side * at * order.stop_distance, terms.tick) for at, _ in self.plan.takes
            ],
            best=price,
        )
        self.trade(side * size, price, "ENTRY", terms.fee)

    def inside(self, open_: float, high: float, low: float) -> None:
        """Rules 5 and 6: protection, and takes; pessimistic unless told otherwise."""
        if self.position is None:
            return
        favourable, adverse = (high, low) if self.position.side > 0 else (low, high)
        if self.terms.optimistic:
            self.take(open_, favourable)
            self.protect(open_, adverse)
        else:
            self.protect(open_, adverse)
            self.take(open_, favourable)

    def protect(self, open_: float, adverse: float) -> None:
        """Rule 5: liquidation where it is nearer than the stop, otherwise the stop."""
        if self.position is None:
            return
        side, stop = self.position.side, self.position.stop
        liquidation = self.liquidation_level()
        worse = min if side > 0 else max
        if self.liquidation_is_nearer(liquidation, stop, side):
            if self.reached(adverse, liquidation, side):
                rate = self.terms.fee + self.terms.liquidation_fee
                self.close_all(worse(open_, liquidation), "LIQUIDATION", rate)
        elif self.reached(adverse, stop, side):
            price = worse(open_, stop) * (1 - self.terms.slippage * side)
            self.close_all(price, "STOP", self.terms.fee)

    def take(self, open_: float, reach: float) -> None:
        """Rule 6: fill the takes that `reach` touches, in order, at their level or at a better open."""
        while self.position and self.position.takes_done < len(self.plan.takes):
            position = self.position
            level = position.take_levels[position.takes_done]
            if not self.reached(reach, level, -position.side):
                return
            price = max(open_, level) if position.side > 0 else min(open_, level)
            size = self.take_size(abs(position.quantity), self.plan.takes[position.takes_done][1])
            position.takes_done += 1
            if size > 0:
                self.trade(-position.side * size, price, "TAKE", self.terms.fee)

    def take_size(self, remaining: float, share: float) -> float:
        """Return how much one take closes: all, when less than one lot would be left."""
        if share >= 1:
            return remaining
        size = floor_lot(share * remaining, self.terms.lot)
        left = remaining - size
        return remaining if left < self.terms.lot * (1 - LOT_TOLERANCE) else size

    def move_stop(self, high: float, low: float, signals: list[Signal]) -> None:
        """Rule 8: trailing and breakeven moves, which act from the next bar on."""
        position, plan = self.position, self.plan
        if position is None:
            return
        side = position.side
        position.best = max(position.best, high) if side > 0 else min(position.best, low)
        if signals and known(signals[-1].trail):
            position.trail = signals[-1].trail
        if plan.has_trail and known(position.trail):
            gain = (position.best - position.entry) * side
            if plan.trail_after_r == 0 or gain >= plan.trail_after_r * position.r:
                self.raise_stop(position.best - side * position.trail)
        if plan.breakeven and position.takes_done >= 1:
            self.raise_stop(position.entry)

    def raise_stop(self, level: float) -> None:
        """Move the stop towards the price, never away from it; a NaN stop is replaced."""
        position = self.position
        if position is None:
            return
        level = nearest_tick(level, self.terms.tick)
        nearer = max if position.side > 0 else min
        position.stop = level if math.isnan(position.stop) else nearer(position.stop, level)

    def in_mask(self, regime: int) -> bool:
        """Return whether a regime may trade: no mask lets all pass, an unknown regime passes no mask."""
        mask = self.plan.regime_mask
        return mask == 0 or (regime != 0 and mask >> regime & 1 == 1)

    def decide_exit(self, signal: Signal, regime: int, macro: str) -> None:
        """Rule 9, first half: time stop, signal, regime, then macro state; the first reason stays."""
        position, plan = self.position, self.plan
        if position is None:
            return
        position.held += 1
        reason = ""
        if plan.time_stop > 0 and position.held >= plan.time_stop:
            reason = "TIME_STOP"
        elif (signal.exit_long if position.side > 0 else signal.exit_short) == 1.0:
            reason = "EXIT_SIGNAL"
        elif plan.regime_exit and not self.in_mask(regime):
            reason = "REGIME_EXIT"
        elif plan.regime_exit and macro == "risk_off":
            reason = "MACRO_EXIT"
        self.pending_exit = self.pending_exit or reason

    def decide_entry(
        self, signal: Signal, regime: int, macro: str, equity: float, close: float, *, active: bool
    ) -> str:
        """Rule 9, second half: the latest valid decision of a close is the one that stands; say what it is."""
        if self.position and not self.pending_exit:
            return "HOLDING"
        if self.signal_bars < self.plan.warmup:
            return "EXIT_ORDERED" if self.position else "WARMING"
        long, short = signal.enter_long == 1.0, signal.enter_short == 1.0
        if long and short:
            return "BOTH_SIDES"
        if not long and not short:
            unknown = math.isnan(signal.enter_long) or math.isnan(signal.enter_short)
            return "EXIT_ORDERED" if self.position else "UNKNOWN" if unknown else "NO_SIGNAL"
        side = 1 if long else -1
        if not active:
            return "INACTIVE"
        if self.position and self.position.side == side:
            return "SAME_SIDE"
        if not self.in_mask(regime):
            return "REGIME"
        if macro in ("neutral", "risk_off"):
            return "MACRO"
        if short and not self.terms.perpetual:
            return "SHORT_NEEDS_PERPETUAL"
        return self.order(signal, side, macro, equity, close)

    def order(self, signal: Signal, side: int, macro: str, equity: float, close: float) -> str:
        """Leave the order for the next open, unless stop or size is impossible or it is too small."""
        distance = signal.stop if self.plan.has_stop else NAN
        if self.plan.has_stop and not known(distance):
            return "INVALID_STOP"
        if not known(signal.size * self.terms.risk_share):
            return "INVALID_SIZE"
        if self.terms.risk_cap < math.inf and math.isnan(distance):
            return "INVALID_STOP"
        part = 0.5 if macro == "risk_small" else 1.0
        size = self.decided_size(signal.size * self.terms.risk_share, distance, equity, close, part)
        if math.isnan(size) or size <= 0 or size < self.terms.min_notional / close:
            return "TOO_SMALL"
        self.pending_entry = Order(side, size, distance, signal.trail)
        return "LONG_ORDERED" if side > 0 else "SHORT_ORDERED"

    def decided_size(self, size: float, distance: float, equity: float, close: float, part: float) -> float:
        """Return a part of the unsigned quantity within leverage and risk, in whole lots; NaN when unknown."""
        quantity = equity * size / (distance if self.plan.size_kind == RISK else close)
        caps = [self.terms.leverage_cap * equity / close]
        if self.terms.risk_cap < math.inf:
            caps.append(equity * self.terms.risk_cap / distance)
        for cap in caps:
            quantity = cap if quantity > cap else quantity
        return floor_lot(part * quantity, self.terms.lot)

    def end_run(self, equity: float, close: float) -> None:
        """Rule 10: nothing is left, so the position is closed without cost and no order follows."""
        if self.position:
            self.close_all(close, "ENDED", 0.0)
        self.cash = equity
        self.pending_exit, self.pending_entry = "", None
        self.result.ended = True

    def trade(self, quantity: float, price: float, reason: str, rate: float) -> None:
        """Book one execution of a signed quantity on the open position."""
        position = self.position
        assert position is not None
        fee = abs(quantity) * price * rate
        self.cash -= quantity * price + fee
        position.quantity += quantity
        self.result.fills.append(Fill(self.bar, position.id, reason, quantity, price, fee))
        if position.quantity == 0:
            self.position = None

    def close_all(self, price: float, reason: str, rate: float) -> None:
        """Book the execution that leaves the account flat."""
        self.trade(-self.quantity, price, reason, rate)


def run(
    bars: SlowBars,
    signals: list[list[Signal]],
    terms: SlowTerms,
    plan: SlowPlan,
    active: list[bool],
    cash: float = 1.0,
    regimes: Sequence[int] | None = None,
    macros: Sequence[str] | None = None,
) -> SlowResult:
    """Trade the signals over the bars.

    Parameters
    ----------
    bars : n base bars.
    signals : n lists; `signals[i]` holds the signal bars that complete at the close of bar i, in order.
    terms, plan : the market and account, and the strategy's part.
    active : n flags; an entry may be decided at the close of bar i only where `active[i]`. Exits always may.
    cash : money at the start, quote currency.
    regimes : n codes, 0 (unknown) or 1 to 5; None is unknown throughout.
    macros : n names of macro states, "" where none are in use; None is that throughout.

    Returns
    -------
    SlowResult
        Equity and signed quantity after each bar, and all fills. What is open at the end stays open.
    """
    broker = SlowBroker(terms, plan, cash)
    rows = zip(bars.open, bars.high, bars.low, bars.close, strict=True)
    for i, prices in enumerate(rows):
        regime = regimes[i] if regimes is not None else 0
        macro = macros[i] if macros is not None else ""
        broker.step(prices, bars.funding_due[i], signals[i], regime, active=active[i], macro=macro)
    return broker.result
