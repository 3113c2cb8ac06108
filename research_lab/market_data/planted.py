"""Markets with an edge by construction: while a strategy holds a position, the price drifts its way.

The strategy, called the oracle, is any strategy of the language. It trades in the world while that is being
made, bar by bar through the engine itself, so it knows no more than it could: what it orders at a close, and
what it holds, decides the drift of the next bar. The same random numbers without the drift are a world of
noise. Rates of funding come and go around zero; nothing but the oracle's own drift follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.bars import HOUR_MS, INPUTS, Bars, FloatArray, IntArray, Market
from research_lab.engine import layout, metrics, reasons
from research_lab.engine.backtest import regime_codes
from research_lab.engine.jit import inlined_kernel, kernel
from research_lab.engine.slot import BOOK_AT, PROGRAM_AT, Compiled, advance_slot
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data.worlds import FIRST_PRICE, START_MS, Weather, World, draw, walk_bar

PERPETUAL: Final = Market("synthetic", "BTC/USDT", perpetual=True)
TOLERANCE: Final = 0.02  # of the Sharpe ratio asked for
_STRONGEST: Final = 1.0
_N_DOUBLINGS: Final = 8
_N_HALVINGS: Final = 16
_FUNDING_HOURS: Final = 8
_FUNDING_SPREAD: Final = 0.00005  # standard deviation of a rate: real ones are around 0.0001
_FUNDING_MEMORY: Final = 0.9  # of one rate in the next: they come and go within days
_FUNDING_STREAM: Final = 77  # apart from the streams of the prices


@dataclass(frozen=True)
class Plan:
    """What is to be planted.

    Parameters
    ----------
    sharpe : a year, after costs, that the oracle earns on bars `first` to `last`.
    first, last : half-open; drift ends at `until`, the world's end when None.
    """

    sharpe: float
    first: int
    last: int
    until: int | None = None


def planted_by(oracle: Compiled, terms: Terms, seed: int, n_bars: int, plan: Plan) -> World:
    """Return the hourly world in which a strategy earns a given Sharpe ratio by the drift that follows it.

    The strength is found by doubling and halving, always on the same random numbers.

    Parameters
    ----------
    oracle : on one hour, reading no regimes and no series but the market's.
    terms : its costs.

    Returns
    -------
    World
        A perpetual, with `oracle_sharpe` within 0.02 of what was asked for.

    Raises
    ------
    InsufficientError
        When no strength up to one sigma a bar gives it.
    UsageError
        The stretch to measure is no part of the world.
    """
    if not 0 <= plan.first < plan.last <= n_bars:
        raise UsageError(f"bars {plan.first} to {plan.last} of {n_bars}", "planted world")
    weather = draw(seed, n_bars, HOUR_MS, START_MS)
    funding = rates(seed, n_bars)

    def miss(strength: float) -> float:
        _, equity = _walk(weather, funding, oracle, terms, strength, plan.until, plan.last)
        return sharpe_of(equity[plan.first :]) - plan.sharpe

    strength, missed = _strength(miss)
    if not abs(missed) <= TOLERANCE:
        raise InsufficientError(
            f"no drift gives the oracle a Sharpe ratio of {plan.sharpe:g}; nearest {plan.sharpe + missed:.2f}",
            f"planted world {seed}",
            "use another seed, or a strategy that trades more often",
        )
    bars, _ = _walk(weather, funding, oracle, terms, strength, plan.until, n_bars)
    return World(bars, "planted", seed, strength, 0, plan.sharpe + missed)


def sharpe_of(equity: FloatArray) -> float:
    """Return the annual Sharpe ratio of hourly equity: mean over deviation (n - 1) times the root of a year."""
    accumulators, out = np.empty(metrics.SIZE), np.empty(len(metrics.NAMES))
    metrics.begin(accumulators, float(equity[0]))
    metrics.accumulate(accumulators, equity)
    metrics.summarise(accumulators, np.zeros(layout.BOOK_SIZE), HOUR_MS, out)
    return float(out[metrics.NAMES.index("sharpe")])


def rates(seed: int, n_bars: int) -> FloatArray:
    """Return the funding rate visible at each close of a world of hours, around zero."""
    n = n_bars // _FUNDING_HOURS + 2
    noise = np.random.default_rng([seed, _FUNDING_STREAM]).standard_normal(n)
    rate = np.empty(n)
    rate[0] = noise[0]
    for k in range(1, n):
        rate[k] = _FUNDING_MEMORY * rate[k - 1] + math.sqrt(1.0 - _FUNDING_MEMORY**2) * noise[k]
    return _FUNDING_SPREAD * np.repeat(rate, _FUNDING_HOURS)[:n_bars]


def with_funding(bars: Bars, funding: FloatArray) -> Bars:
    """Return hours as those of a perpetual with these rates, each due eight hours after it is first seen."""
    inputs = bars.inputs.copy()
    inputs[INPUTS.index("funding")] = funding
    return replace(bars, market=PERPETUAL, inputs=inputs, funding_due=_due(bars.time, funding))


def _due(time: IntArray, funding: FloatArray) -> FloatArray:
    """Return what falls due at each open: at 0, 8 and 16 hours the rate seen at the close before."""
    due = np.zeros(len(time))
    due[1:] = np.where(time[1:] % (_FUNDING_HOURS * HOUR_MS) == 0, funding[:-1], 0.0)
    return due


def _strength(miss: Callable[[float], float]) -> tuple[float, float]:
    """Return the strength at which `miss` is nearest to zero, and its miss there.

    `miss` grows with the strength but jumps where another drift makes other trades.
    """
    tried: dict[float, float] = {}

    def attempt(strength: float) -> float:
        found = miss(strength)
        tried[strength] = found if math.isfinite(found) else -math.inf
        return tried[strength]

    def nearest() -> tuple[float, float]:
        return min(tried.items(), key=lambda item: abs(item[1]))

    sign = 1.0 if attempt(0.0) < 0.0 else -1.0
    weaker, stronger = 0.0, 0.01 * sign
    for _ in range(_N_DOUBLINGS):
        if attempt(stronger) * sign >= 0.0 or abs(stronger) >= _STRONGEST:
            break
        weaker, stronger = stronger, max(-_STRONGEST, min(_STRONGEST, 2.0 * stronger))
    for _ in range(_N_HALVINGS):
        if abs(nearest()[1]) <= TOLERANCE:
            break
        middle = 0.5 * (weaker + stronger)
        weaker, stronger = (middle, stronger) if attempt(middle) * sign < 0.0 else (weaker, middle)
    return nearest()


def _walk(
    weather: Weather,
    funding: FloatArray,
    oracle: Compiled,
    terms: Terms,
    strength: float,
    until: int | None,
    n: int,
) -> tuple[Bars, FloatArray]:
    """Return the first n bars of the world, and the oracle's equity after each."""
    weather = weather.first(n)
    drift = strength * weather.sigma / weather.steps.shape[1]
    drift[slice(until, None) if until is not None else slice(n, n)] = 0.0
    inputs = np.full((len(INPUTS), n), np.nan)
    inputs[INPUTS.index("volume")] = weather.volume
    inputs[INPUTS.index("funding")] = funding[:n]
    bars = Bars(PERPETUAL, weather.step_ms, weather.time, inputs, _due(weather.time, funding[:n]))
    program, plan, step_ms = oracle
    equity = np.empty(n)
    _walk_with(
        weather.steps,
        weather.gaps,
        drift,
        FIRST_PRICE,
        program.code,
        program.values,
        program.outputs,
        plan,
        terms.array(),
        weather.step_ms,
        step_ms,
        oracle.new_state(),
        np.zeros((program.n_registers, 2)),
        np.zeros(2, np.int64),
        np.full((len(INPUTS), 1), np.nan),
        bars.time,
        bars.funding_due,
        regime_codes(None, bars),
        np.empty(0),
        np.empty(0, np.int64),
        np.empty((0, layout.FILL_SIZE)),
        equity,
        inputs,
    )
    return bars, equity


@kernel
def _walk_with(
    steps: FloatArray,
    gaps: FloatArray,
    drift: FloatArray,
    price: float,
    code: IntArray,
    values: FloatArray,
    outputs: IntArray,
    plan: FloatArray,
    terms: FloatArray,
    base_ms: int,
    step_ms: int,
    state: FloatArray,
    registers: FloatArray,
    emitted_at: IntArray,
    bar: FloatArray,
    time: IntArray,
    funding_due: FloatArray,
    regime: FloatArray,
    no_positions: FloatArray,
    no_reasons: IntArray,
    no_fills: FloatArray,
    equity: FloatArray,
    candles: FloatArray,
) -> None:
    """Walk from `price`, the oracle trading along; what is not described here is as in `advance_slot`.

    Parameters
    ----------
    steps, gaps : as in `Weather`. drift : (n,) added to each step while the oracle is long, taken off while it is
        short.
    bar : (7, 1) scratch. equity : (n,) out.
    candles : (7, n), of which volume and funding are given and prices are written.
    """
    side = 0.0
    for t in range(steps.shape[0]):
        if t > 0:
            price *= 1.0 + gaps[t]
        price = walk_bar(steps[t], side * drift[t], price, candles, t)
        for row in range(bar.shape[0]):
            bar[row, 0] = candles[row, t]
        advance_slot(
            code, values, outputs, plan, terms, base_ms, step_ms, state, registers, emitted_at,
            time[t : t + 1], bar, funding_due[t : t + 1], regime[t : t + 1], t, 0, reasons.NONE,
            equity[t : t + 1], no_positions, no_reasons, no_fills,
        )  # fmt: skip
        side = _wanted_side(state[BOOK_AT:PROGRAM_AT])


@inlined_kernel
def _wanted_side(book: FloatArray) -> float:
    """Return the side that the oracle will have at the next open: 1, -1, or 0."""
    if book[layout.PENDING_SIDE] != 0.0:
        return float(book[layout.PENDING_SIDE])
    if book[layout.PENDING_EXIT] != 0.0 or book[layout.QUANTITY] == 0.0:
        return 0.0
    return math.copysign(1.0, book[layout.QUANTITY])
