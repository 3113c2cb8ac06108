"""Random portfolios for differential tests: markets with gaps and different starts, slots that want too much.

A market whose slots are several is never optimistic: what a take leaves of a net position's liquidation
level is drawn anew at the next bar only.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from .random_markets import (
    BINARY_GRIDS,
    DECIMAL_GRIDS,
    World,
    chance,
    pick,
    random_bars,
    random_macros,
    random_plan,
    random_regimes,
    random_signals,
    random_terms,
)
from .slow_broker import Signal, SlowBars, SlowPlan, SlowTerms
from .slow_portfolio import SlowAccount, SlowBar, SlowCaps, SlowPortfolioResult

REFUSALS = ("NO_ROOM", "SYMBOL_ROOM", "OPEN_RISK", "POSITIONS", "TOO_SMALL")


@dataclass(frozen=True)
class RandomMarket:
    """One market: bars on the rows where it has some."""

    name: str
    bars: SlowBars
    rows: list[int]
    terms: SlowTerms
    regimes: list[int]
    macros: list[str]


@dataclass(frozen=True)
class RandomSlot:
    """One slot: its market's number, plan, share, and signals by the market's bars."""

    market: int
    plan: SlowPlan
    share: float
    signals: list[list[Signal]]


@dataclass(frozen=True)
class PortfolioCase:
    """One run, complete."""

    n: int
    markets: list[RandomMarket]
    slots: list[RandomSlot]
    caps: SlowCaps
    start: int
    cash: float

    def run(self) -> SlowPortfolioResult:
        """Trade it with the slow portfolio."""
        account = SlowAccount(self.caps, self.cash)
        for market in self.markets:
            account.mark[market.name] = 0.0
            account.maintenance[market.name] = market.terms.maintenance if market.terms.perpetual else 0.0
        for slot in self.slots:
            market = self.markets[slot.market]
            account.add(market.name, market.terms, slot.plan, slot.share)
        for row in range(self.n):
            bars, regimes, macros, at = {}, {}, {}, {}
            for number, market in enumerate(self.markets):
                if row in market.rows:
                    i = market.rows.index(row)
                    b = market.bars
                    bars[market.name] = SlowBar(
                        (b.open[i], b.high[i], b.low[i], b.close[i]), b.funding_due[i]
                    )
                    regimes[market.name], macros[market.name] = market.regimes[i], market.macros[i]
                    at[number] = i
            signals = [slot.signals[at[slot.market]] if slot.market in at else [] for slot in self.slots]
            account.step(bars, signals, regimes, macros, active=row >= self.start)
        return account.result


def random_portfolio(rng: np.random.Generator, n: int = 60, *, decimal: bool = False) -> PortfolioCase:
    """Return a random portfolio of one to three markets and one to five slots."""
    cash = pick(rng, (1.0, 1000.0, 37.5))
    n_markets, n_slots = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    of_slot = [int(rng.integers(0, n_markets)) for _ in range(n_slots)]
    rows = _rows(rng, n_markets, n)
    markets, worlds = [], []
    for number in range(n_markets):
        world = _world(rng, cash, decimal)
        terms = random_terms(rng, world)
        if of_slot.count(number) > 1:
            terms = dataclasses.replace(terms, optimistic=False)
        length = len(rows[number])
        bars, regimes = random_bars(rng, world, length), random_regimes(rng, length)
        macros = random_macros(rng, length)
        markets.append(RandomMarket(f"M{number}", bars, rows[number], terms, regimes, macros))
        worlds.append(world)
    slots = []
    for number in of_slot:
        plan, market = random_plan(rng), markets[number]
        signals = random_signals(rng, worlds[number], market.terms, plan, len(market.rows))
        slots.append(RandomSlot(number, plan, pick(rng, (1.0, 0.5, 0.3)), signals))
    start = int(rng.integers(0, 10)) if chance(rng, 0.3) else 0
    return PortfolioCase(n, markets, slots, _caps(rng), start, cash)


def with_a_signal_every_bar(case: PortfolioCase) -> PortfolioCase:
    """Return the case with one signal at each close: the first that it had, or one that wants nothing."""
    nothing = Signal(0.0, 0.0, 0.0, 0.0, math.nan, math.nan, math.nan)
    slots = [
        dataclasses.replace(slot, signals=[[*row, nothing][:1] for row in slot.signals])
        for slot in case.slots
    ]
    return dataclasses.replace(case, slots=slots)


def _rows(rng: np.random.Generator, n_markets: int, n: int) -> list[list[int]]:
    """Return the rows on which each market has a bar; every row has one of some market."""
    there = np.ones((n_markets, n), bool)
    for market in range(1, n_markets):
        if chance(rng, 0.5):
            there[market, : int(rng.integers(0, n // 2))] = False
    there &= rng.random((n_markets, n)) >= pick(rng, (0.0, 0.1, 0.4))
    there[0, ~there.any(axis=0)] = True
    there[:, 0] |= ~there.any(axis=1)
    return [np.flatnonzero(row).tolist() for row in there]


def _world(rng: np.random.Generator, cash: float, decimal: bool) -> World:
    price, volatility = float(rng.uniform(20, 200)), pick(rng, (0.003, 0.01, 0.03, 0.06))
    coarse = price * volatility * pick(rng, (0.1, 0.6, 1.5))
    grid = min(DECIMAL_GRIDS if decimal else BINARY_GRIDS, key=lambda step: abs(math.log(step / coarse)))
    return World(
        grid, price, volatility, pick(rng, (0.7, 2.0, 5.0, 12.0)), pick(rng, (0.2, 1.0)), chance(rng, 0.7),
        cash, decimal,
    )  # fmt: skip


def _caps(rng: np.random.Generator) -> SlowCaps:
    return SlowCaps(
        leverage=pick(rng, (math.inf, 1.0, 2.5, 8.0)),
        symbol=pick(rng, (math.inf, math.inf, 0.3, 1.0, 3.0)),
        open_risk=pick(rng, (math.inf, math.inf, 0.02, 0.2)),
        positions=pick(rng, (math.inf, math.inf, 1.0, 2.0)),
    )
