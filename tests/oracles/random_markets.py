"""Random markets and strategies for differential tests, made so that the rare rules happen often.

Prices lie on a coarse grid, so that levels are touched exactly; there are gaps, spikes, funding (sometimes
absurd, since only that exhausts a short account outside liquidation), several signal bars at one close,
unknown and impossible stops, trails and sizes. `python -m oracles.random_markets`, run in the folder of the
tests, prints how often everything occurred.

Stops of whole grid steps are even multiples of it, so no level falls on half a tick: which way that rounds
is left to tests of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .slow_broker import FRACTION, NAN, RISK, Signal, SlowBars, SlowPlan, SlowResult, SlowTerms, run

BINARY_GRIDS = tuple(2.0**k for k in range(-5, 4))
DECIMAL_GRIDS = (0.01, 0.03, 0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 3.0, 7.0)
REASONS = (
    "ENTRY", "EXIT_SIGNAL", "TIME_STOP", "REGIME_EXIT", "MACRO_EXIT", "STOP", "TAKE", "LIQUIDATION", "ENDED",
)  # fmt: skip
MACROS = ("risk_on", "risk_small", "neutral", "risk_off")


@dataclass(frozen=True)
class Case:
    """One run, complete: everything `slow_broker.run` takes, as plain lists."""

    bars: SlowBars
    signals: list[list[Signal]]
    terms: SlowTerms
    plan: SlowPlan
    active: list[bool]
    cash: float
    regimes: list[int]
    macros: list[str]

    def run(self) -> SlowResult:
        """Trade it with the slow broker."""
        return run(
            self.bars, self.signals, self.terms, self.plan, self.active, self.cash, self.regimes, self.macros
        )


@dataclass(frozen=True)
class World:
    """The choices that prices, terms and signals share."""

    grid: float  # coarse price step; every price is a whole number of it
    price: float  # the first one
    volatility: float  # of one bar, as a fraction
    reach: float  # typical stop and trail distance, in volatilities
    whole_p: float  # share of the distances that are whole grid steps
    perpetual: bool
    cash: float
    decimal: bool  # grid and lot are decimal numbers, not powers of two


def chance(rng: np.random.Generator, p: float) -> bool:
    """Return True with probability p."""
    return bool(rng.random() < p)


def pick(rng: np.random.Generator, choices: tuple[float, ...]) -> float:
    """Return one of the numbers."""
    return float(choices[int(rng.integers(len(choices)))])


def random_case(rng: np.random.Generator, n_bars: int = 60, *, decimal: bool = False) -> Case:
    """Return a random run.

    Parameters
    ----------
    rng : the only source of chance; equal generators give equal cases.
    n_bars : base bars.
    decimal : ticks and lots are decimal (0.05, 0.001) instead of powers of two, whose arithmetic is exact.
    """
    price, volatility = float(rng.uniform(20, 200)), pick(rng, (0.003, 0.01, 0.03, 0.06))
    coarse = price * volatility * pick(rng, (0.1, 0.6, 1.5))
    world = World(
        grid=min(DECIMAL_GRIDS if decimal else BINARY_GRIDS, key=lambda grid: abs(math.log(grid / coarse))),
        price=price,
        volatility=volatility,
        reach=pick(rng, (0.7, 2.0, 5.0, 12.0)),
        whole_p=pick(rng, (0.2, 1.0)),
        perpetual=chance(rng, 0.7),
        cash=pick(rng, (1.0, 1.0, 1000.0, 37.5)),
        decimal=decimal,
    )
    terms = random_terms(rng, world)
    plan = random_plan(rng)
    start = int(rng.integers(0, 6)) if chance(rng, 0.5) else 0
    stop = n_bars - int(rng.integers(0, 10)) if chance(rng, 0.5) else n_bars
    return Case(
        bars=random_bars(rng, world, n_bars),
        signals=random_signals(rng, world, terms, plan, n_bars),
        terms=terms,
        plan=plan,
        active=[start <= i < stop - 1 for i in range(n_bars)],
        cash=world.cash,
        regimes=random_regimes(rng, n_bars),
        macros=random_macros(rng, n_bars),
    )


def on_grid(world: World, price: float) -> float:
    """Return the price on the coarse grid, as a data file would hold it, never below one step."""
    return float(f"{max(round(price / world.grid), 1) * world.grid:.6f}")


def random_bars(rng: np.random.Generator, world: World, n_bars: int) -> SlowBars:
    """Return a random walk with gaps, spikes and ties."""
    bars = SlowBars([], [], [], [], random_funding(rng, world, n_bars))
    gap_p = pick(rng, (0.05, 0.3, 1.0))
    spike_p = pick(rng, (0.0, 0.05, 0.2, 0.5))
    last = on_grid(world, world.price)
    for _ in range(n_bars):
        scale = world.volatility * last
        jump = scale * rng.normal() * pick(rng, (0.5, 1.0, 6.0)) if chance(rng, gap_p) else 0.0
        open_ = on_grid(world, max(last + jump, 0.3 * last))
        close = on_grid(world, max(open_ + scale * rng.normal(), 0.3 * open_))
        wild_p = 0.5 if abs(jump) > 3 * scale else spike_p
        wicks = [abs(scale * rng.normal()) * (10 if chance(rng, wild_p) else 0.5) for _ in range(2)]
        high = on_grid(world, max(open_, close) + wicks[0])
        low = on_grid(world, max(min(open_, close) - wicks[1], 0.2 * open_))
        bars.open.append(open_)
        bars.high.append(max(high, open_, close))
        bars.low.append(min(low, open_, close))
        bars.close.append(close)
        last = close
    return bars


def random_funding(rng: np.random.Generator, world: World, n_bars: int) -> list[float]:
    """Return the rate due at each open: mostly 0, now and then absurd; on spot it must not matter."""
    if chance(rng, 0.3):
        return [0.0] * n_bars
    every = int(rng.integers(1, 9))
    rates = [float(rng.normal(0, 0.003)) if i % every == 0 else 0.0 for i in range(n_bars)]
    if world.perpetual and chance(rng, 0.35):
        for i in rng.integers(n_bars // 4, n_bars, size=4):
            rates[int(i)] = float(rng.uniform(-4, -1))
    return rates


def random_terms(rng: np.random.Generator, world: World) -> SlowTerms:
    """Return costs, leverage and symbol rules; leverage on spot must not matter."""
    lot = 0.0
    if chance(rng, 0.5):
        coarse = world.cash / world.price * pick(rng, (0.003, 0.03, 0.15))
        lot = (
            10.0 ** math.floor(math.log10(coarse)) if world.decimal else 2.0 ** math.floor(math.log2(coarse))
        )
        lot = float(f"{lot:.9g}")
    leverage = pick(rng, (1.0, 2.0, 5.0, 10.0, 10.0))
    typical = world.cash * (leverage if world.perpetual and chance(rng, 0.5) else 1.0)
    return SlowTerms(
        fee=pick(rng, (0.0, 0.0004, 0.001, 0.01)),
        slippage=pick(rng, (0.0, 0.0, 0.0005, 0.004)),
        leverage=leverage,
        maintenance=pick(rng, (0.004, 0.005, 0.02, 0.05)),
        liquidation_fee=pick(rng, (0.0, 0.005, 0.02)),
        perpetual=world.perpetual,
        lot=lot,
        tick=world.grid if chance(rng, 0.5) else 0.0,
        min_notional=typical * pick(rng, (0.0503, 0.403, 0.953)) if chance(rng, 0.4) else 0.0,
        optimistic=chance(rng, 0.35),
    )


def random_plan(rng: np.random.Generator) -> SlowPlan:
    """Return a plan with each feature on or off; what needs a stop has one."""
    has_stop = chance(rng, 0.65)
    takes: tuple[tuple[float, float], ...] = ()
    if has_stop and chance(rng, 0.6):
        n_takes = int(rng.integers(1, 5))
        levels = sorted(pick(rng, (0.5, 1.0, 1.5, 2.0, 3.0)) for _ in range(n_takes))
        if chance(rng, 0.1):
            levels.reverse()
        takes = tuple((level, pick(rng, (0.05, 0.3, 0.5, 0.75, 1.0))) for level in levels)
    mask = int(rng.integers(1, 32)) << 1 if chance(rng, 0.5) else 0
    return SlowPlan(
        has_stop=has_stop,
        has_trail=chance(rng, 0.5),
        size_kind=RISK if has_stop and chance(rng, 0.6) else FRACTION,
        takes=takes,
        trail_after_r=pick(rng, (0.0, 0.5, 1.0)) if has_stop else 0.0,
        breakeven=chance(rng, 0.5),
        time_stop=int(rng.integers(1, 12)) if chance(rng, 0.4) else 0,
        regime_mask=mask,
        regime_exit=mask != 0 and chance(rng, 0.7),
    )


def random_signals(
    rng: np.random.Generator, world: World, terms: SlowTerms, plan: SlowPlan, n_bars: int
) -> list[list[Signal]]:
    """Return the signal bars that complete at each close: every k bars, sometimes two or three at once."""
    every = int(rng.integers(1, 5))
    twice_p = pick(rng, (0.0, 0.0, 0.3))
    enter_p, exit_p, unknown_p = pick(rng, (0.1, 0.3, 0.6)), pick(rng, (0.05, 0.2)), pick(rng, (0.0, 0.1))
    signals: list[list[Signal]] = []
    for i in range(n_bars):
        n = 0 if (i + 1) % every else 1 + int(chance(rng, twice_p)) + int(chance(rng, twice_p / 2))
        row = []
        for _ in range(n):
            row.append(
                Signal(
                    enter_long=condition(rng, enter_p, unknown_p),
                    exit_long=condition(rng, exit_p, unknown_p),
                    enter_short=condition(rng, enter_p, unknown_p),
                    exit_short=condition(rng, exit_p, unknown_p),
                    stop=distance(rng, world, 0.08) if plan.has_stop else NAN,
                    trail=distance(rng, world, 0.25, 0.4) if plan.has_trail else NAN,
                    size=random_size(rng, world, terms, plan),
                )
            )
        signals.append(row)
    return signals


def condition(rng: np.random.Generator, p: float, unknown_p: float) -> float:
    """Return 1.0 with probability p, unless it is unknown."""
    return NAN if chance(rng, unknown_p) else float(chance(rng, p))


def distance(rng: np.random.Generator, world: World, impossible_p: float, scale: float = 1.0) -> float:
    """Return a distance of a few bars' ranges; sometimes in whole grid steps, sometimes impossible."""
    if chance(rng, impossible_p):
        return pick(rng, (NAN, 0.0, -1.0))
    wanted = float(scale * world.price * world.volatility * world.reach * rng.uniform(0.3, 2))
    if chance(rng, world.whole_p):
        return float(f"{2 * max(round(wanted / world.grid / 2), 1) * world.grid:.6f}")
    return wanted


def random_size(rng: np.random.Generator, world: World, terms: SlowTerms, plan: SlowPlan) -> float:
    """Return a size: timid, above the cap, about the minimum notional, sometimes impossible."""
    if chance(rng, 0.05):
        return pick(rng, (NAN, 0.0, -0.5))
    if plan.size_kind == FRACTION and terms.min_notional > 0 and chance(rng, 0.5):
        return terms.min_notional / world.cash * float(rng.uniform(0.97, 1.05))
    share = float(rng.uniform(0.05, 1.3)) * (terms.leverage if world.perpetual else 1.0)
    return share if plan.size_kind == FRACTION else share * world.volatility * world.reach


def random_regimes(rng: np.random.Generator, n_bars: int) -> list[int]:
    """Return regime codes that persist for a while."""
    codes: list[int] = []
    stay_p = pick(rng, (0.5, 0.85, 0.97))
    for _ in range(n_bars):
        codes.append(codes[-1] if codes and chance(rng, stay_p) else int(rng.integers(0, 6)))
    return codes


def random_macros(rng: np.random.Generator, n_bars: int) -> list[str]:
    """Return macro states that persist for a while, in half of the cases none at all."""
    if chance(rng, 0.5):
        return [""] * n_bars
    states: list[str] = []
    stay_p = pick(rng, (0.5, 0.85, 0.97))
    for _ in range(n_bars):
        stays = bool(states) and chance(rng, stay_p)
        states.append(states[-1] if stays else MACROS[int(rng.choice(4, p=(0.4, 0.25, 0.15, 0.2)))])
    return states


def count_occurrences(n_cases: int, seed: int, *, decimal: bool = False) -> Counter[str]:
    """Return how often each fill reason and each rare situation occurs in random cases."""
    seen: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    for i in range(n_cases):
        case = random_case(np.random.default_rng([seed, i]), decimal=decimal)
        result = case.run()
        seen["cases"] += 1
        seen["cases with a trade"] += bool(result.fills)
        seen["runs ended"] += result.ended
        for before, fill in zip([None, *result.fills], result.fills, strict=False):
            seen[fill.reason] += 1
            if case.terms.slippage == 0 and fill.reason in ("STOP", "TAKE"):
                edge = case.bars.low if (fill.quantity < 0) == (fill.reason == "STOP") else case.bars.high
                seen[f"{fill.reason} touched exactly"] += fill.price == edge[fill.bar]
                seen[f"{fill.reason} at the open"] += fill.price == case.bars.open[fill.bar]
            if before is not None and before.bar == fill.bar:
                seen[f"{before.reason} then {fill.reason} in one bar"] += 1
    return seen


if __name__ == "__main__":
    for grid in (False, True):
        print("decimal ticks and lots" if grid else "binary ticks and lots")
        for what, count in count_occurrences(2000, seed=1, decimal=grid).most_common():
            print(f"{count:8d}  {what}")
