"""A slow and obvious portfolio: slots on several markets with one cash, in plain Python, time by time.

It shares no code with the engine; the rules of a single position are those of `slow_broker`. What an account
adds, in words:

- Slots come in map order: all through the open, then all through the inside, then all through the close.
- At the open and inside, positions are valued at their markets' opens, at the close at the closes; a market
  without a bar at its last close, and its slots do nothing.
- An entry finds the room that the other slots' positions leave, as it stood before the slot's own funding and
  exit at that open: all notional within the leverage times the equity after the entry's fee, of the account
  and of its market; the stops of all positions within the open risk; the number of positions.
- Inside a bar a market is liquidated by its net quantity; the other markets give what their net positions are
  worth above their maintenance margin. At the open only one's own margin counts.
- Once equity is zero or below at a close, all is closed at the marks without cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .slow_broker import (
    NAN,
    Fill,
    Order,
    Position,
    Signal,
    SlowBroker,
    SlowPlan,
    SlowTerms,
    floor_lot,
    nearest_tick,
)

DUST = 1e-9  # room below this share of the equity is rounding, and none
TIE = 1e-12  # a price this near to a computed level, as a share, touches it or not by rounding
OPEN, INSIDE, CLOSE = "open", "inside", "close"


@dataclass(frozen=True)
class SlowCaps:
    """Bounds of the whole account; infinite for none."""

    leverage: float = math.inf
    symbol: float = math.inf
    open_risk: float = math.inf
    positions: float = math.inf


@dataclass(frozen=True)
class SlowBar:
    """One bar: open, high, low, close, and the funding rate due at its open."""

    prices: tuple[float, float, float, float]
    funding: float


@dataclass(frozen=True)
class Refusal:
    """An entry for which there was no room; `quantity` is signed, 0 when refused at the close."""

    slot: int
    bar: int
    reason: str
    quantity: float


@dataclass
class SlowPortfolioResult:
    """Account after each time, positions by time and slot, fills and refusals, and sums by slot."""

    equity: list[float] = field(default_factory=list)
    cash: list[float] = field(default_factory=list)
    exposure: list[float] = field(default_factory=list)
    position: list[list[float]] = field(default_factory=list)
    fills: list[list[Fill]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    funding: list[float] = field(default_factory=list)
    ended: bool = False
    tied_at: int | None = None  # first time at which only rounding says whether a price reached a liquidation


class SlowSlot(SlowBroker):
    """One slot's position; its money is the account's."""

    def __init__(
        self, account: SlowAccount, number: int, market: str, terms: SlowTerms, plan: SlowPlan, share: float
    ) -> None:
        self.account = account
        self.number = number
        self.market = market
        self.share = share
        self.funding = 0.0
        self.said = ""
        super().__init__(terms, plan, account.cash)

    @property
    def cash(self) -> float:  # type: ignore[override]
        return self.account.cash

    @cash.setter
    def cash(self, value: float) -> None:
        self.account.cash = value

    @property
    def value(self) -> float:
        return self.quantity * self.account.mark[self.market]

    def others(self) -> list[SlowSlot]:
        return [slot for slot in self.account.slots if slot is not self]

    def pay_funding(self, open_: float, rate: float) -> None:
        before = self.cash
        super().pay_funding(open_, rate)
        self.funding += before - self.cash

    def liquidation_level(self) -> float:
        if self.position is None or not self.terms.perpetual:
            return NAN
        account = self.account
        if account.phase == INSIDE:
            quantity, backing = account.net(self.market), account.cash
            for market in account.mark:
                if market != self.market:
                    value = account.net(market) * account.mark[market]
                    backing += value - account.maintenance[market] * abs(value)
            if quantity * self.quantity <= 0:
                return NAN
        else:
            quantity, backing = self.quantity, account.cash + sum(slot.value for slot in self.others())
        level = backing / (self.terms.maintenance * abs(quantity) - quantity)
        return level if level > 0 else NAN

    def reached(self, price: float, level: float, side: int) -> bool:
        """Return whether a price touched a level; a touch of a computed level that rounding decides is noted."""
        near = abs(price - level) <= TIE * price
        if near and level == self.liquidation_level() and self.account.result.tied_at is None:
            self.account.result.tied_at = self.account.bar
        return super().reached(price, level, side)

    def room(self) -> tuple[float, str]:
        """Return the leverage that the others leave to a new position, and which bound is the nearer."""
        equity = self.account.equity()
        bounds = []
        for reason, allowed, used in (
            ("NO_ROOM", min(self.terms.leverage_cap, self.account.caps.leverage), self.others()),
            (
                "SYMBOL_ROOM",
                self.account.caps.symbol,
                [slot for slot in self.others() if slot.market == self.market],
            ),
        ):
            gross = sum(abs(slot.value) for slot in used)
            if gross > 0 and math.isfinite(allowed):
                notional = (allowed * equity - gross) / (1 + allowed * self.terms.fee)
                share = notional / equity if equity > 0 and notional > DUST * equity else 0.0
                allowed = share / (1 - share * self.terms.fee)
            bounds.append((allowed, reason))
        return min(bounds, key=lambda bound: bound[0])

    def enter_at_open(self, open_: float) -> None:
        raise AssertionError("a slot enters by `take_order`, with the room as it stood before the open")

    def go_through_open(self, open_: float, funding: float) -> None:
        """The whole open of this slot: room, funding, exit, gap, entry."""
        leverage, nearer = self.room()
        equity = self.account.equity()
        self.pay_funding(open_, funding)
        self.exit_at_open(open_)
        self.gap(open_)
        order, self.pending_entry = self.pending_entry, None
        if order is None or self.position is not None:
            return
        market = open_ * (1 + self.terms.slippage * order.side)
        money = self.cash + sum(slot.value for slot in self.others())
        affordable = leverage * money / (market * (1 + self.terms.fee * leverage))
        wanted, refusal = order.quantity, ""
        held = [slot for slot in self.others() if slot.position]
        if len(held) >= self.account.caps.positions:
            refusal = "POSITIONS"
        elif math.isfinite(self.account.caps.open_risk):
            risked = sum(abs(slot.quantity) * slot.position.r for slot in held if slot.position)
            rest = self.account.caps.open_risk * equity - risked
            if math.isnan(order.stop_distance) or not rest > DUST * equity:
                refusal = "OPEN_RISK"
            else:
                wanted = min(wanted, rest / order.stop_distance)
        if not refusal:
            if not self.tradable(order.quantity, market):
                refusal = "TOO_SMALL"
            elif not self.tradable(wanted, market):
                refusal = "OPEN_RISK"
            elif not self.tradable(min(wanted, affordable), market):
                refusal = nearer
        if refusal:
            self.account.refuse(self, refusal, order.side * order.quantity)
            return
        size = floor_lot(min(wanted, affordable), self.terms.lot)
        self.begin(order, size, market)

    def begin(self, order: Order, size: float, market: float) -> None:
        """Open the position that an order asked for, at its stop and takes."""
        side, distance = order.side, order.stop_distance
        self.n_positions += 1
        self.position = Position(
            id=self.n_positions,
            side=side,
            quantity=0.0,
            entry=market,
            stop=nearest_tick(market - side * distance, self.terms.tick),
            r=distance,
            trail=order.trail_distance,
            take_levels=[
                nearest_tick(market + side * at * distance, self.terms.tick) for at, _ in self.plan.takes
            ],
            best=market,
        )
        self.trade(side * size, market, "ENTRY", self.terms.fee)

    def tradable(self, quantity: float, market: float) -> bool:
        size = floor_lot(quantity, self.terms.lot)
        return size > 0 and size * market >= self.terms.min_notional

    def decided_size(self, size: float, distance: float, equity: float, close: float, part: float) -> float:
        """Return a part of the quantity within the room at the close; a refusal that only room caused is noted."""
        full = super().decided_size(size, distance, equity, close, part)
        full = floor_lot(min(full, part * self.account.caps.leverage * equity / close), self.terms.lot)
        leverage, nearer = self.room()
        cut = floor_lot(min(full, part * leverage * equity / close), self.terms.lot)
        if self.sized(full, close) and not self.sized(cut, close):
            self.said = nearer
        return cut

    def sized(self, quantity: float, close: float) -> bool:
        return quantity > 0 and quantity >= self.terms.min_notional / close

    def go_through_close(
        self, bar: SlowBar, signals: list[Signal], regime: int, macro: str, *, active: bool
    ) -> None:
        """Move the stop, then decide; the last signal's refusal is the one that is told."""
        _, high, low, close = bar.prices
        self.move_stop(high, low, signals)
        for signal in signals:
            self.said = ""
            self.decide_exit(signal, regime, macro)
            if active:
                signal = Signal(**{**vars(signal), "size": signal.size * self.share})
                self.decide_entry(signal, regime, macro, self.account.equity(), close, active=True)
        if signals and self.said:
            self.account.refuse(self, self.said, 0.0)

    def close_at_mark(self) -> None:
        if self.position:
            self.close_all(self.account.mark[self.market], "ENDED", 0.0)
        self.pending_exit, self.pending_entry = "", None


class SlowAccount:
    """One cash and the slots that share it."""

    def __init__(self, caps: SlowCaps, cash: float) -> None:
        self.caps = caps
        self.cash = cash
        self.phase = OPEN
        self.bar = -1
        self.mark: dict[str, float] = {}
        self.maintenance: dict[str, float] = {}
        self.slots: list[SlowSlot] = []
        self.result = SlowPortfolioResult()

    def add(self, market: str, terms: SlowTerms, plan: SlowPlan, share: float) -> None:
        """Add the next slot of the map."""
        self.maintenance[market] = terms.maintenance if terms.perpetual else 0.0
        self.mark.setdefault(market, 0.0)
        self.slots.append(SlowSlot(self, len(self.slots), market, terms, plan, share))

    def net(self, market: str) -> float:
        return sum(slot.quantity for slot in self.slots if slot.market == market)

    def equity(self) -> float:
        return self.cash + sum(slot.value for slot in self.slots)

    def refuse(self, slot: SlowSlot, reason: str, quantity: float) -> None:
        self.result.refusals.append(Refusal(slot.number, self.bar, reason, quantity))

    def step(
        self,
        bars: dict[str, SlowBar],
        signals: list[list[Signal]],
        regimes: dict[str, int],
        macros: dict[str, str],
        *,
        active: bool,
    ) -> None:
        """Advance by one time; markets that are not among the bars have none."""
        self.bar += 1
        present = [slot for slot in self.slots if slot.market in bars]
        for slot in self.slots:
            slot.bar = self.bar
        self.phase = OPEN
        self.mark.update({market: bar.prices[0] for market, bar in bars.items()})
        for slot in present:
            slot.go_through_open(bars[slot.market].prices[0], bars[slot.market].funding)
        self.phase = INSIDE
        for slot in present:
            slot.inside(*bars[slot.market].prices[:3])
        self.phase = CLOSE
        self.mark.update({market: bar.prices[3] for market, bar in bars.items()})
        over = self.equity() <= 0
        for slot in present:
            if not over and not self.result.ended:
                slot.go_through_close(
                    bars[slot.market], signals[slot.number], regimes[slot.market], macros[slot.market],
                    active=active,
                )  # fmt: skip
        if over and not self.result.ended:
            self.result.ended = True
            for slot in self.slots:
                slot.close_at_mark()
        self.note()

    def note(self) -> None:
        self.result.equity.append(self.equity())
        self.result.cash.append(self.cash)
        self.result.exposure.append(sum(abs(slot.value) for slot in self.slots))
        self.result.position.append([slot.quantity for slot in self.slots])
        self.result.fills = [slot.result.fills for slot in self.slots]
        self.result.funding = [slot.funding for slot in self.slots]
