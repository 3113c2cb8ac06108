"""Markets without an edge that look as if they had one: a drift, a season of luck, real candles shuffled.

In each nothing can be known about the next price beyond what buying and holding earns. All are hours of a
perpetual whose funding comes and goes around zero.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from research_lab.bars import HOUR_MS, INPUTS, YEAR_MS, Bars, FloatArray
from research_lab.engine.jit import kernel
from research_lab.errors import InsufficientError
from research_lab.market_data.planted import PERPETUAL, rates, with_funding
from research_lab.market_data.worlds import FIRST_PRICE, START_MS, Weather, World, draw, noise, walk_bar

HOLD_SHARPE: Final = 2.0  # of buying and holding in `drifting`
LUCKY_T: Final = 3.0  # the best of 168 hours of the week has about this t by luck alone
BLOCK_BARS: Final = 24  # mean length of a block in `resampled`
_SWELL: Final = 0.5  # of log volatility over the day, in `seasonal`
_RESAMPLING_STREAM: Final = 78
_SEASON_STREAM: Final = 79
_LEAST_BARS: Final = 1_000


def clustered(seed: int, n_bars: int) -> World:
    """Return hours whose volatility clusters and whose tails are fat, and nothing else (`worlds.noise`)."""
    world = noise(seed, n_bars)
    return World(with_funding(world.bars, rates(seed, n_bars)), "clustered", seed)


def drifting(seed: int, n_bars: int, hold_sharpe: float = HOLD_SHARPE) -> World:
    """Return hours that rise whatever anybody does: holding earns `hold_sharpe` a year, timing nothing."""
    weather = draw(seed, n_bars, HOUR_MS, START_MS)
    share = hold_sharpe / math.sqrt(YEAR_MS / HOUR_MS)
    return World(_walked(weather, share * weather.sigma, seed), "drifting", seed)


def seasonal(seed: int, n_bars: int, n_research: int) -> World:
    """Return hours whose volatility has a daily cycle, and of which one hour of the week was lucky in the research.

    The returns of that hour are shifted until their mean over the first `n_research` bars has a t of 3,
    which is what the best of 168 hours of the week has by luck alone; afterwards nothing is left of it.
    """
    weather = draw(seed, n_bars, HOUR_MS, START_MS)
    random = np.random.default_rng([seed, _SEASON_STREAM])
    hour = weather.time // HOUR_MS
    swell = np.exp(_SWELL * np.cos(2.0 * math.pi * (hour % 24 - random.integers(24)) / 24.0))
    swell /= math.sqrt(float(np.mean(swell**2)))
    weather = Weather(
        weather.sigma * swell,
        weather.steps * swell[:, None],
        weather.gaps * swell,
        weather.volume,
        weather.step_ms,
        weather.start_ms,
    )
    lucky = np.flatnonzero(hour % 168 == random.integers(168))
    lucky = lucky[lucky < n_research]
    drift = np.zeros(n_bars)
    returns = weather.steps[lucky].sum(axis=1)
    drift[lucky] = LUCKY_T * returns.std(ddof=1) / math.sqrt(len(lucky)) - returns.mean()
    return World(_walked(weather, drift, seed), "seasonal", seed)


def resampled(real: Bars, seed: int, n_bars: int) -> World:
    """Return hours drawn from real candles in blocks, each block upright or upside down by a coin.

    Candles are taken relative to the close before. Blocks have geometric lengths with a mean of a day; in
    a block turned upside down every simple return changes its sign, and highs and lows change places. No
    position can then earn anything on average that is held for longer than a block.

    Source: D. Politis, J. Romano (1994), The Stationary Bootstrap.

    Raises
    ------
    InsufficientError
        The candles are fewer than 1,000, or not hours.
    """
    if real.n < _LEAST_BARS or real.step_ms != HOUR_MS:
        raise InsufficientError(
            f"{real.n} bars of {real.timeframe}", real.market.name, "bring at least 1,000 candles of an hour"
        )
    random = np.random.default_rng([seed, _RESAMPLING_STREAM])
    begins = random.random(n_bars) < 1.0 / BLOCK_BARS
    begins[0] = True
    block = np.cumsum(begins) - 1
    starts = random.integers(1, real.n, int(block[-1]) + 1)
    sides = random.choice([-1.0, 1.0], int(block[-1]) + 1)[block]
    first = np.flatnonzero(begins)[block]
    taken = 1 + (starts[block] - 1 + np.arange(n_bars) - first) % (real.n - 1)
    relative = real.inputs[:4, taken] / real.close[taken - 1] - 1.0
    relative *= sides
    relative[1:3] = np.where(sides < 0.0, relative[2:0:-1], relative[1:3])
    closes = FIRST_PRICE * np.cumprod(1.0 + relative[3])
    before = np.concatenate([[FIRST_PRICE], closes[:-1]])
    inputs = np.full((len(INPUTS), n_bars), np.nan)
    inputs[:4] = before * (1.0 + relative)
    inputs[1] = np.maximum(inputs[1], np.maximum(inputs[0], inputs[3]))  # rounding may leave the body outside
    inputs[2] = np.minimum(inputs[2], np.minimum(inputs[0], inputs[3]))
    inputs[4] = real.volume[taken]
    time = START_MS + HOUR_MS * np.arange(n_bars, dtype=np.int64)
    bars = Bars(PERPETUAL, HOUR_MS, time, inputs, np.zeros(n_bars))
    return World(with_funding(bars, rates(seed, n_bars)), "resampled", seed)


def _walked(weather: Weather, drift: FloatArray, seed: int) -> Bars:
    """Return the candles of a weather with a drift added to each bar's simple return."""
    n = len(weather.sigma)
    inputs = np.full((len(INPUTS), n), np.nan)
    _walk(weather.steps, weather.gaps, drift / weather.steps.shape[1], FIRST_PRICE, inputs)
    inputs[4] = weather.volume
    return with_funding(Bars(PERPETUAL, weather.step_ms, weather.time, inputs, np.zeros(n)), rates(seed, n))


@kernel
def _walk(steps: FloatArray, gaps: FloatArray, drift: FloatArray, price: float, candles: FloatArray) -> None:
    """Walk from `price`; arguments as in `planted`, the drift always upwards."""
    for t in range(steps.shape[0]):
        if t > 0:
            price *= 1.0 + gaps[t]
        price = walk_bar(steps[t], drift[t], price, candles, t)
