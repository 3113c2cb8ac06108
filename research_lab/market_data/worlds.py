"""Synthetic markets whose truth is known: pure noise, and noise with a momentum edge planted in it.

Prices follow a path of 12 steps inside each bar, so that highs, lows and stops are consistent with it. Each
step's simple return has a mean of exactly zero (or the planted drift), given everything before it: on noise
no strategy, stop or size can earn anything before costs. It follows that the median price falls by half the
variance, as that of any fair game does. Volatility clusters within days (GARCH) and over weeks (a slow tide),
and bars have fat tails (Student's t, six degrees of freedom). The same seed gives the same bytes, and a
longer world begins with the shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from research_lab.bars import (
    HOUR_MS,
    INPUTS,
    Bars,
    FloatArray,
    IntArray,
    Market,
    grid_origin_ms,
    timeframe_name,
    utc,
)
from research_lab.engine.averages import ema
from research_lab.engine.jit import inlined_kernel, kernel
from research_lab.errors import InsufficientError, UsageError

SYNTHETIC = Market("synthetic", "BTC/USDT", False)
START_MS = 1_514_764_800_000  # 2018-01-01
FIRST_PRICE = 20_000.0
HOURLY_SIGMA = 0.006

_N_STEPS = 12
_FREEDOM = 6
_ALPHA, _BETA = 0.05, 0.94  # of the GARCH recursion; the fourth moment exists with six degrees of freedom
_TIDE_HOURS, _TIDE_SPREAD = 500.0, 0.35  # half-life and standard deviation of the slow part of log sigma
_SIGMA_BOUNDS = (0.25, 6.0)  # of the GARCH part, times its long-run level
_WIDEST_STEP = 0.25  # of the price; cuts both sides alike, so the mean stays zero
_GAP = 0.02  # of the bar's sigma
_STRONGEST = 1.0
_N_HALVINGS = 24
_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class World:
    """A synthetic market and the truth about it.

    Parameters
    ----------
    bars : its candles.
    kind : "noise" or "planted".
    seed : of all its random numbers.
    strength : drift of a bar as a multiple of its sigma; 0.0 for noise.
    begin : first bar that may drift.
    oracle_sharpe : what the best parameters earned in it, as measured by the caller's function; NaN when
        nobody measured.
    """

    bars: Bars
    kind: str
    seed: int
    strength: float = 0.0
    begin: int = 0
    oracle_sharpe: float = math.nan


@dataclass(frozen=True, eq=False)
class Weather:
    """The random numbers of a world, drawn once and shared by every strength of its edge.

    Parameters
    ----------
    sigma : (n,) of each bar's return, known before the bar.
    steps : (n, 12) simple returns inside the bar, without drift.
    gaps : (n,) simple return from the close before to the open.
    volume : (n,) base currency.
    step_ms, start_ms : the grid, and the first bar's opening time.
    """

    sigma: FloatArray
    steps: FloatArray
    gaps: FloatArray
    volume: FloatArray
    step_ms: int
    start_ms: int

    @property
    def time(self) -> IntArray:
        """Opening times, ms UTC."""
        return self.start_ms + self.step_ms * np.arange(len(self.sigma), dtype=np.int64)

    def first(self, n: int) -> Weather:
        """Return the weather of the first `n` bars."""
        arrays = (self.sigma[:n], self.steps[:n], self.gaps[:n], self.volume[:n])
        return Weather(*arrays, self.step_ms, self.start_ms)


@dataclass(frozen=True)
class _Edge:
    """What is planted: drift / sigma, the fast and slow span, the first bar that drifts."""

    strength: float
    spans: tuple[int, int]
    begin: int


def noise(seed: int, n_bars: int, step_ms: int = HOUR_MS, start_ms: int = START_MS) -> World:
    """Return a world in which nothing can be known about the next price.

    Parameters
    ----------
    n_bars : at least 1.
    step_ms : the grid; volatility grows with its square root from 0.6 % an hour.
    start_ms : opening time of the first bar, on the grid.
    """
    weather = draw(seed, n_bars, step_ms, start_ms)
    return World(_build(weather, _Edge(0.0, (1, 1), 1)), "noise", seed)


def planted(
    seed: int,
    n_bars: int,
    strength: float,
    *,
    spans: tuple[int, int] = (24, 96),
    step_ms: int = HOUR_MS,
    start_ms: int = START_MS,
) -> World:
    """Return a world with momentum: each bar drifts towards the side of its moving averages.

    The drift of a bar's simple return is strength * sigma when ema(close, fast) > ema(close, slow) at the
    close before, and the opposite when it is below. Long while fast is above slow, filled at the next open,
    is therefore the oracle. Up and down are symmetric, so the price does not run away.

    Parameters
    ----------
    strength : drift as a multiple of the bar's sigma, in [-1, 1]; 0.05 is a strong edge. Below zero prices
        return to their averages instead.
    spans : fast and slow, bars. The drift begins when the slow average is warm.
    """
    weather = draw(seed, n_bars, step_ms, start_ms)
    bars = _build(weather, _Edge(strength, spans, spans[1]))
    return World(bars, "planted", seed, strength, spans[1])


def planted_with_sharpe(
    seed: int,
    n_bars: int,
    sharpe: float,
    sharpe_of: Callable[[Bars], float],
    n_measured: int,
    *,
    spans: tuple[int, int] = (24, 96),
) -> World:
    """Return the hourly world whose oracle earns a given Sharpe ratio on its first bars.

    The strength is found by halving, always on the same random numbers; a rest that halving cannot remove
    goes into the bar at which the drift begins.

    Parameters
    ----------
    sharpe : wanted, a year.
    sharpe_of : what the oracle's parameters earn on bars, after costs.
    n_measured : the first bars that it is measured on.

    Returns
    -------
    World
        With `oracle_sharpe` within 0.01 of `sharpe`.

    Raises
    ------
    InsufficientError
        When no strength in [-1, 1] gives it, or the oracle's Sharpe ratio is not finite.
    """
    weather = draw(seed, n_bars, HOUR_MS, START_MS)
    measured = weather.first(n_measured)

    def miss(edge: _Edge) -> float:
        found = sharpe_of(_build(measured, edge)) - sharpe
        if not math.isfinite(found):
            raise InsufficientError(
                f"the oracle's Sharpe ratio on {n_measured} bars at strength {edge.strength:g} is not finite",
                f"planted world {seed}",
                "measure on more bars",
            )
        return found

    edge, missed = _edge_with(miss, spans, n_measured)
    if abs(missed) > _TOLERANCE:
        raise InsufficientError(
            f"no strength gives a Sharpe ratio of {sharpe:g} on {n_measured} bars; nearest "
            f"{sharpe + missed:.3f} at strength {edge.strength:g}",
            f"planted world {seed}",
            "use another seed or more bars",
        )
    return World(_build(weather, edge), "planted", seed, edge.strength, edge.begin, sharpe + missed)


def _edge_with(
    miss: Callable[[_Edge], float], spans: tuple[int, int], n_measured: int
) -> tuple[_Edge, float]:
    """Return the edge at which `miss` is within the tolerance of zero, or the nearest found, and its miss.

    `miss` grows with the strength but jumps where a bar changes sides and takes a whole trade with it. Where
    halving ends at such a jump, the stronger side is taken and its drift begins later, which takes the rest
    away in small steps.
    """
    tried: dict[_Edge, float] = {}

    def attempt(strength: float, begin: int = spans[1]) -> float:
        edge = _Edge(strength, spans, begin)
        tried[edge] = miss(edge)
        return tried[edge]

    def nearest() -> tuple[_Edge, float]:
        return min(tried.items(), key=lambda item: abs(item[1]))

    sign = 1.0 if attempt(0.0) < 0.0 else -1.0
    weaker, stronger = 0.0, 0.02 * sign
    while abs(nearest()[1]) > _TOLERANCE and attempt(stronger) * sign < 0.0:
        if abs(stronger) >= _STRONGEST:
            return nearest()
        weaker, stronger = stronger, max(-_STRONGEST, min(_STRONGEST, 2.0 * stronger))
    for _ in range(_N_HALVINGS):
        if abs(nearest()[1]) <= _TOLERANCE:
            return nearest()
        middle = 0.5 * (weaker + stronger)
        weaker, stronger = (middle, stronger) if attempt(middle) * sign < 0.0 else (weaker, middle)
    for begin in range(spans[1], n_measured // 4, 6):
        if abs(attempt(stronger, begin)) <= _TOLERANCE:
            break
    return nearest()


def draw(seed: int, n_bars: int, step_ms: int, start_ms: int) -> Weather:
    """Draw all random numbers of a world, each kind from its own stream so that longer worlds agree."""
    if n_bars < 1:
        raise UsageError(f"{n_bars} bars make no world", remedy="ask for at least one")
    if (start_ms - grid_origin_ms(step_ms)) % step_ms:
        raise UsageError(
            f"{utc(start_ms)} is not on the grid of {timeframe_name(step_ms)}", "synthetic world"
        )
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    normals = streams[0].standard_normal((n_bars, _N_STEPS))
    tails = np.sqrt((_FREEDOM - 2) / streams[1].chisquare(_FREEDOM, n_bars))
    shocks = tails * normals.sum(axis=1) / math.sqrt(_N_STEPS)
    level = HOURLY_SIGMA * math.sqrt(step_ms / HOUR_MS)
    sigma = np.empty(n_bars)
    _cluster(shocks, streams[4].standard_normal(n_bars), 0.5 ** (step_ms / HOUR_MS / _TIDE_HOURS), sigma)
    sigma *= level
    steps = (sigma * tails)[:, None] * normals / math.sqrt(_N_STEPS)
    np.clip(steps, -_WIDEST_STEP, _WIDEST_STEP, out=steps)
    gaps = np.clip(_GAP * sigma * streams[2].standard_normal(n_bars), -_WIDEST_STEP, _WIDEST_STEP)
    moved = np.sqrt((steps * steps).sum(axis=1)) / level
    volume = 400.0 * (step_ms / HOUR_MS) * moved**0.9 * np.exp(0.45 * streams[3].standard_normal(n_bars))
    return Weather(sigma, steps, gaps, np.maximum(volume, 1e-3), step_ms, start_ms)


def _build(weather: Weather, edge: _Edge) -> Bars:
    """Walk the path and return its candles."""
    if not abs(edge.strength) <= _STRONGEST:
        raise UsageError(f"strength {edge.strength:g}; wanted a number in [-1, 1]", "planted world")
    if not 1 <= edge.spans[0] <= edge.spans[1]:
        raise UsageError(f"spans {edge.spans}; wanted 1 <= fast <= slow", "planted world")
    n = len(weather.sigma)
    drift = edge.strength * weather.sigma / _N_STEPS
    drift[: edge.begin] = 0.0
    inputs = np.full((len(INPUTS), n), np.nan)
    scratch = np.array([0.0, 0.0, 0.0, 0.0, math.nan, math.nan])
    _walk(weather.steps, weather.gaps, drift, *edge.spans, FIRST_PRICE, scratch, inputs)
    inputs[4] = weather.volume
    return Bars(SYNTHETIC, weather.step_ms, weather.time, inputs, np.zeros(n))


@kernel
def _cluster(shocks: FloatArray, swell: FloatArray, memory: float, sigma: FloatArray) -> None:
    """GARCH(1,1) times a slow tide: each bar's sigma from the bars before it, with a mean square of one.

    Parameters
    ----------
    shocks : (n,) the bars' returns in units of sigma.
    swell : (n,) standard normals that move the tide.
    memory : share of the tide's level that remains after one bar.
    sigma : (n,) out.

    Source: T. Bollerslev (1986), Generalized autoregressive conditional heteroskedasticity.
    """
    variance = 1.0
    tide = 0.0
    for t in range(shocks.shape[0]):
        tide = memory * tide + math.sqrt(1.0 - memory * memory) * _TIDE_SPREAD * swell[t]
        sigma[t] = math.sqrt(variance) * math.exp(tide - _TIDE_SPREAD * _TIDE_SPREAD)
        variance = (1.0 - _ALPHA - _BETA) + (_ALPHA * shocks[t] * shocks[t] + _BETA) * variance
        variance = min(max(variance, _SIGMA_BOUNDS[0] ** 2), _SIGMA_BOUNDS[1] ** 2)


@inlined_kernel
def walk_bar(steps: FloatArray, towards: float, price: float, candles: FloatArray, t: int) -> float:
    """Walk one bar from its open, `towards` added to each step; write its candle, and return its close."""
    high = price
    low = price
    candles[0, t] = price
    for k in range(steps.shape[0]):
        price *= 1.0 + steps[k] + towards
        high = max(high, price)
        low = min(low, price)
    candles[1, t] = high
    candles[2, t] = low
    candles[3, t] = price
    return price


@kernel
def _walk(
    steps: FloatArray,
    gaps: FloatArray,
    drift: FloatArray,
    fast: int,
    slow: int,
    price: float,
    scratch: FloatArray,
    candles: FloatArray,
) -> None:
    """Walk from `price` and write open, high, low and close of each bar into the first rows of `candles`.

    Parameters
    ----------
    steps : (n, k) simple returns inside the bars.
    gaps : (n,) simple returns from the close before; the first is left out.
    drift : (n,) added to each step while the fast average of the closes is above the slow one, and taken
        off while it is below.
    scratch : 6 cells: the states of the two averages, zero at first; the averages, NaN at first.
    """
    averages = scratch[4:6]
    for t in range(steps.shape[0]):
        towards = 0.0
        if averages[0] > averages[1]:
            towards = drift[t]
        elif averages[0] < averages[1]:
            towards = -drift[t]
        if t > 0:
            price *= 1.0 + gaps[t]
        price = walk_bar(steps[t], towards, price, candles, t)
        ema(scratch[0:2], candles[3, t : t + 1], averages[0:1], fast)
        ema(scratch[2:4], candles[3, t : t + 1], averages[1:2], slow)
