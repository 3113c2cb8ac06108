"""Random runs in which every rule of the broker is on at once, on a clock with gaps and bars resampled.

A run is told in bars of the strategy's timeframe, one signal each, and in base bars on a finer grid; which
base bar completes which signal bar is worked out here once more, in plain Python.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from . import slow_broker
from .random_markets import (
    BINARY_GRIDS,
    DECIMAL_GRIDS,
    World,
    chance,
    distance,
    pick,
    random_bars,
    random_macros,
    random_regimes,
    random_size,
    random_terms,
)
from .slow_broker import FRACTION, NAN, RISK, Signal, SlowBars, SlowPlan, SlowResult, SlowTerms

MINUTE_MS = 60_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
FIRST_MS = 1_609_459_200_000  # 2021-01-01T00:00Z, a Friday
N_SIZES = 4


@dataclass(frozen=True)
class TimedCase:
    """One run, complete: `signals` holds one signal for each timeframe bar that has a base bar, in order.

    Entries may be decided from base bar `start` on. `sizes` are the sizes that the signals choose among.
    """

    base_ms: int
    step_ms: int
    time: list[int]
    bars: SlowBars
    signals: list[Signal]
    terms: SlowTerms
    plan: SlowPlan
    regimes: list[int]
    start: int = 0
    sizes: tuple[float, ...] = (1.0,) * N_SIZES
    macros: tuple[str, ...] = ()

    def buckets(self) -> list[list[int]]:
        """Return the base bars of each timeframe bar."""
        found: dict[int, list[int]] = {}
        for i, time in enumerate(self.time):
            found.setdefault(self.begin_of(time), []).append(i)
        return list(found.values())

    def begin_of(self, time: int) -> int:
        """Return when the timeframe bar that holds a time begins; weeks begin on Monday."""
        monday = 4 * DAY_MS if self.step_ms % WEEK_MS == 0 else 0
        return (time - monday) // self.step_ms * self.step_ms + monday

    def completed(self) -> list[list[Signal]]:
        """Return the signals that complete at each base bar's close.

        A timeframe bar completes at the first base close at or after its end. One whose beginning the data
        do not hold is none, and one that is still open at the end has not completed.
        """
        rows: list[list[Signal]] = [[] for _ in self.time]
        for members, signal in zip(self.buckets(), self.signals, strict=True):
            begin = self.begin_of(self.time[members[0]])
            if members[0] == 0 and self.time[0] > begin and self.step_ms > self.base_ms:
                continue
            for i in range(members[-1], len(self.time)):
                if self.time[i] + self.base_ms >= begin + self.step_ms:
                    rows[i].append(signal)
                    break
        return rows

    def run(self, broker: ModuleType = slow_broker) -> SlowResult:
        """Trade it with the slow broker, or with a changed copy of it."""
        terms = broker.SlowTerms(**vars(self.terms))
        active = [i >= self.start for i in range(len(self.time))]
        result: SlowResult = broker.run(
            self.bars, self.completed(), terms, self.plan, active, 1.0, self.regimes, self.macros or None
        )
        return result


def crowded_case(rng: np.random.Generator, n_bars: int = 60) -> TimedCase:
    """Return a random run with everything on, each feature left out in a tenth of the runs or so."""
    price, volatility = float(rng.uniform(20, 200)), pick(rng, (0.003, 0.01, 0.03, 0.06))
    coarse = price * volatility * pick(rng, (0.1, 0.6, 1.5))
    decimal = chance(rng, 0.5)
    grids = DECIMAL_GRIDS if decimal else BINARY_GRIDS
    world = World(
        grid=min(grids, key=lambda grid: abs(math.log(grid / coarse))),
        price=price,
        volatility=volatility,
        reach=pick(rng, (0.7, 2.0, 5.0, 12.0, 30.0)),
        whole_p=pick(rng, (0.2, 1.0)),
        perpetual=chance(rng, 0.85),
        cash=1.0,
        decimal=decimal,
    )
    plan = crowded_plan(rng)
    terms = crowded_terms(rng, world, plan)
    weekly = chance(rng, 0.05)
    base_ms = DAY_MS if weekly else MINUTE_MS
    step_ms = WEEK_MS if weekly else MINUTE_MS * int(pick(rng, (1, 1, 1, 2, 3, 5)))
    case = TimedCase(
        base_ms=base_ms,
        step_ms=step_ms,
        time=time_with_gaps(rng, n_bars, base_ms),
        bars=random_bars(rng, world, n_bars),
        signals=[],
        terms=terms,
        plan=plan,
        regimes=random_regimes(rng, n_bars),
        start=int(rng.integers(0, 12)) if chance(rng, 0.3) else 0,
        sizes=tuple(random_size(rng, world, terms, plan) for _ in range(N_SIZES)),
        macros=tuple(random_macros(rng, n_bars)),
    )
    return replace(case, signals=crowded_signals(rng, world, case))


def crowded_plan(rng: np.random.Generator) -> SlowPlan:
    """Return a plan with stop, one to four takes, trail, breakeven, time stop, warm-up and regimes."""
    has_stop = chance(rng, 0.9)
    levels = sorted(pick(rng, (0.5, 1.0, 1.5, 2.0, 3.0)) for _ in range(int(rng.integers(1, 5))))
    takes = tuple((level, pick(rng, (0.05, 0.3, 0.5, 0.75, 1.0))) for level in levels)
    mask = sum(2**code for code in range(1, 6) if chance(rng, 0.6)) if chance(rng, 0.8) else 0
    return SlowPlan(
        has_stop=has_stop,
        has_trail=chance(rng, 0.85),
        size_kind=RISK if has_stop and chance(rng, 0.5) else FRACTION,
        takes=takes if has_stop and chance(rng, 0.9) else (),
        trail_after_r=pick(rng, (0.0, 0.5, 1.0)) if has_stop else 0.0,
        breakeven=chance(rng, 0.6),
        time_stop=int(rng.integers(1, 15)) if chance(rng, 0.7) else 0,
        regime_mask=mask,
        regime_exit=mask != 0 and chance(rng, 0.7),
        warmup=int(rng.integers(2, 8)) if chance(rng, 0.3) else 1,
    )


def crowded_terms(rng: np.random.Generator, world: World, plan: SlowPlan) -> SlowTerms:
    """Return costs, leverage, lots, ticks and the account's caps on risk."""
    terms = random_terms(rng, world)
    return replace(
        terms,
        tick=world.grid if chance(rng, 0.7) else 0.0,
        min_notional=terms.min_notional if chance(rng, 0.3) else 0.0,
        risk_share=pick(rng, (1.0, 0.5, 0.1)),
        risk_cap=pick(rng, (math.inf, 0.02, 0.1)) if plan.has_stop or chance(rng, 0.2) else math.inf,
    )


def time_with_gaps(rng: np.random.Generator, n_bars: int, base_ms: int) -> list[int]:
    """Return opening times, some bars missing, that begin anywhere in a bar of the timeframe."""
    missing_p = pick(rng, (0.0, 0.05, 0.3))
    time, now = [], FIRST_MS + base_ms * int(rng.integers(0, 8))
    for _ in range(n_bars):
        time.append(now)
        now += base_ms * (1 + (int(rng.integers(1, 12)) if chance(rng, missing_p) else 0))
    return time


def crowded_signals(rng: np.random.Generator, world: World, case: TimedCase) -> list[Signal]:
    """Return one signal for each timeframe bar."""
    enter_p, exit_p = pick(rng, (0.1, 0.3, 0.6)), pick(rng, (0.02, 0.1, 0.3))
    unknown_p = pick(rng, (0.0, 0.1))

    def condition(p: float) -> float:
        return NAN if chance(rng, unknown_p) else float(chance(rng, p))

    return [
        Signal(
            enter_long=condition(enter_p),
            exit_long=condition(exit_p),
            enter_short=condition(enter_p),
            exit_short=condition(exit_p),
            stop=distance(rng, world, 0.08) if case.plan.has_stop else NAN,
            trail=distance(rng, world, 0.25, 0.4) if case.plan.has_trail else NAN,
            size=case.sizes[int(rng.integers(N_SIZES))],
        )
        for _ in case.buckets()
    ]


def occurrences(case: TimedCase, result: SlowResult) -> Counter[str]:
    """Return how often each fill, decision and rare situation occurred in a run."""
    seen: Counter[str] = Counter(result.decisions)
    seen["bars with two signals"] += sum(len(row) > 1 for row in case.completed())
    seen["gaps in time"] += sum(b - a > case.base_ms for a, b in zip(case.time, case.time[1:], strict=False))
    funding = case.bars.funding_due if case.terms.perpetual else [0.0] * len(case.time)
    held = [0.0, *result.position]
    seen["funding paid"] += sum(bool(rate and q) for rate, q in zip(funding, held, strict=False))
    for before, fill in zip([None, *result.fills], result.fills, strict=False):
        side = "long" if (fill.quantity > 0) == (fill.reason == "ENTRY") else "short"
        seen[f"{fill.reason} {side}"] += 1
        seen[f"{fill.reason} {'optimistic' if case.terms.optimistic else 'pessimistic'}"] += 1
        if fill.reason in ("STOP", "TAKE", "LIQUIDATION"):
            slipped = 1.0 + case.terms.slippage * (1 if fill.quantity > 0 else -1)
            at_open = case.bars.open[fill.bar] * (1.0 if fill.reason == "TAKE" else slipped)
            seen[f"{fill.reason} through a gap"] += fill.price == at_open
        if fill.reason == "TAKE" and result.position[fill.bar] != 0:
            seen["partial TAKE"] += 1
        if before is not None and before.bar == fill.bar:
            seen[f"{before.reason} then {fill.reason} in one bar"] += 1
    return seen
