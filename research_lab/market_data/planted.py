"""Markets with an edge by construction: while a strategy holds a position, the price drifts its way.

The strategy, called the oracle, is any strategy of the language. It trades in the world while that is being
made, bar by bar through the engine itself, so it knows no more than it could: what it orders at a close, and
what it holds, decides the drift of the next bar. Several can be planted in one world; their drifts add up. The
same random numbers without the drift are a world of noise. Rates of funding come and go around zero; nothing
but the oracles' own drift follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.bars import HOUR_MS, INPUTS, Bars, FloatArray, IntArray, Market
from research_lab.engine import layout, metrics
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data.trading_along import walk
from research_lab.market_data.worlds import START_MS, Weather, World, draw

PERPETUAL: Final = Market("synthetic", "BTC/USDT", perpetual=True)
TOLERANCE: Final = 0.02  # of the Sharpe ratio asked for
TOLERANCE_TOGETHER: Final = 0.1  # others' trades jump with each strength; the error of six years is 0.4
_STRONGEST: Final = 1.0
_N_DOUBLINGS: Final = 8
_N_HALVINGS: Final = 16
_N_HALVINGS_TOGETHER: Final = 8  # others move in between: no use in finding a jump exactly
_N_ROUNDS: Final = 4  # times the oracles
_FUNDING_HOURS: Final = 8
_FUNDING_SPREAD: Final = 0.00005  # standard deviation of a rate: real ones are around 0.0001
_FUNDING_MEMORY: Final = 0.9  # of one rate in the next: they come and go within days
_FUNDING_STREAM: Final = 77  # apart from the streams of the prices

Strengths = tuple[float, ...]


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


@dataclass(frozen=True, eq=False)
class Together:
    """A world with several edges, and what each oracle earns in it.

    Parameters
    ----------
    bars : of a perpetual.
    strengths : drift while an oracle is long, as a multiple of the bar's sigma; several add up.
    sharpes : of the oracles, a year, after costs, on the bars of their plans.
    """

    bars: Bars
    strengths: tuple[float, ...]
    sharpes: tuple[float, ...]


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
    found = planted_together([oracle], terms, seed, n_bars, [plan])
    return World(found.bars, "planted", seed, found.strengths[0], 0, found.sharpes[0])


def planted_together(
    oracles: Sequence[Compiled], terms: Terms, seed: int, n_bars: int, plans: Sequence[Plan]
) -> Together:
    """Return the hourly world in which several strategies earn what is asked of each, by the drifts that follow them.

    One's drift moves the prices that the others trade at, so their strengths are found together: that of the
    strategy that is furthest from its Sharpe ratio is found anew, the others held, until all are near.

    Parameters
    ----------
    oracles, terms, plans : as in `planted_by`; a plan for each oracle.

    Returns
    -------
    Together
        `sharpes` within 0.02 of what was asked for where there is one oracle, within 0.1 where there are more.

    Raises
    ------
    InsufficientError
        When no strengths up to one sigma a bar give them.
    UsageError
        A stretch to measure is no part of the world, or there is no oracle, or no plan for each.
    """
    if not oracles or len(oracles) != len(plans):
        raise UsageError(
            f"{len(oracles)} oracles and {len(plans)} plans", "planted world", "give each a plan"
        )
    for plan in plans:
        if not 0 <= plan.first < plan.last <= n_bars:
            raise UsageError(f"bars {plan.first} to {plan.last} of {n_bars}", "planted world")
    weather = draw(seed, n_bars, HOUR_MS, START_MS)
    funding = rates(seed, n_bars)
    n_measured = max(plan.last for plan in plans)

    def misses(strengths: Strengths) -> FloatArray:
        _, equity = _made(weather, funding, oracles, terms, strengths, plans, n_measured)
        earned = [sharpe_of(own[plan.first : plan.last]) for own, plan in zip(equity, plans, strict=True)]
        return np.array([sharpe - plan.sharpe for sharpe, plan in zip(earned, plans, strict=True)])

    tolerance = TOLERANCE if len(oracles) == 1 else TOLERANCE_TOGETHER
    strengths, missed = _strengths(misses, len(oracles), tolerance)
    worst = _furthest(missed)
    if not abs(missed[worst]) <= tolerance:
        who = "the oracle" if len(oracles) == 1 else f"oracle {worst + 1} of {len(oracles)}"
        wanted = plans[worst].sharpe
        raise InsufficientError(
            f"no drift gives {who} a Sharpe ratio of {wanted:g}; nearest {wanted + missed[worst]:.2f}",
            f"planted world {seed}",
            "use another seed, or a strategy that trades more often",
        )
    bars, _ = _made(weather, funding, oracles, terms, strengths, plans, n_bars)
    sharpes = (plan.sharpe + float(m) for plan, m in zip(plans, missed, strict=True))
    return Together(bars, strengths, tuple(sharpes))


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


def _strengths(
    misses: Callable[[Strengths], FloatArray], n: int, tolerance: float
) -> tuple[Strengths, FloatArray]:
    """Return the strengths at which no miss is beyond the tolerance, or the last ones tried, and the misses there."""
    tried: dict[Strengths, FloatArray] = {}

    def attempt(strengths: Strengths) -> FloatArray:
        if strengths not in tried:
            tried[strengths] = misses(strengths)
        return tried[strengths]

    near, n_halvings = (TOLERANCE, _N_HALVINGS) if n == 1 else (tolerance / 2.0, _N_HALVINGS_TOGETHER)
    strengths, k = (0.0,) * n, 0
    for _ in range(1 if n == 1 else _N_ROUNDS * n):
        before, behind = strengths[:k], strengths[k + 1 :]

        def miss(
            strength: float, k: int = k, before: Strengths = before, behind: Strengths = behind
        ) -> float:
            return float(attempt((*before, strength, *behind))[k])

        strengths = (*before, _strength(miss, strengths[k], near, n_halvings), *behind)
        k = _furthest(attempt(strengths))
        if abs(attempt(strengths)[k]) <= tolerance:
            break
    return strengths, attempt(strengths)


def _furthest(missed: FloatArray) -> int:
    """Return whose miss is largest; one that is not known is."""
    return int(np.argmax(np.where(np.isfinite(missed), np.abs(missed), np.inf)))


def _strength(miss: Callable[[float], float], at: float, near: float, n_halvings: int) -> float:
    """Return the strength at which `miss` is nearest to zero, or `near` enough, looking first around `at`.

    `miss` grows with the strength but jumps where another drift makes other trades.
    """
    tried: dict[float, float] = {}

    def attempt(strength: float) -> float:
        found = miss(strength)
        tried[strength] = found if math.isfinite(found) else -math.inf
        return tried[strength]

    def nearest() -> tuple[float, float]:
        return min(tried.items(), key=lambda item: abs(item[1]))

    sign = 1.0 if attempt(at) < 0.0 else -1.0
    weaker, stronger = at, at + 0.01 * sign
    for _ in range(_N_DOUBLINGS):
        if attempt(stronger) * sign >= 0.0 or abs(stronger) >= _STRONGEST:
            break
        further = at + 2.0 * (stronger - at)
        weaker, stronger = stronger, max(-_STRONGEST, min(_STRONGEST, further))
    for _ in range(n_halvings):
        if abs(nearest()[1]) <= near:
            break
        middle = 0.5 * (weaker + stronger)
        weaker, stronger = (middle, stronger) if attempt(middle) * sign < 0.0 else (weaker, middle)
    return nearest()[0]


def _made(
    weather: Weather,
    funding: FloatArray,
    oracles: Sequence[Compiled],
    terms: Terms,
    strengths: Strengths,
    plans: Sequence[Plan],
    n: int,
) -> tuple[Bars, FloatArray]:
    """Return the first n bars of the world, and each oracle's equity after each, (n_oracles, n)."""
    weather = weather.first(n)
    drift = np.stack([strength * weather.sigma / weather.steps.shape[1] for strength in strengths])
    for own, plan in zip(drift, plans, strict=True):
        own[slice(plan.until, None) if plan.until is not None else slice(n, n)] = 0.0
    inputs = np.full((len(INPUTS), n), np.nan)
    inputs[INPUTS.index("volume")] = weather.volume
    inputs[INPUTS.index("funding")] = funding[:n]
    bars = Bars(PERPETUAL, weather.step_ms, weather.time, inputs, _due(weather.time, funding[:n]))
    return bars, walk(weather, bars, oracles, terms, drift)
