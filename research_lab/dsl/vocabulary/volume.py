"""Volume and its flow."""

from __future__ import annotations

from research_lab.dsl.dimensions import PRICE, RATIO, VOLUME
from research_lab.dsl.function import N2, Function, N, X, always, first
from research_lab.engine import program as engine

DAY_MS = 86_400_000

FUNCTIONS = (
    Function("running_sum", "sum of all values so far: its level depends on where the data begin", (X,), first,
             engine.RUNNING_SUM),
    Function("day_sum", "sum since midnight UTC, by the opening time of bars; unknown until a whole day begins",
             (X,), first, engine.DAY_SUM, reads=("x", "closing_time - bar_length"), lookback_ms=DAY_MS),
    Function("obv", "on-balance volume: volume of rising closes less that of falling ones since the data begin, "
             "on which its level depends", (), always(VOLUME),
             body="running_sum(sign(change(close, 1)) * volume)"),
    Function("money_flow_volume", "volume, times -1 for a close at the low to 1 at the high; 0 for a bar without "
             "height", (), always(VOLUME),
             body="if_else(high > low, ((close - low) - (high - close)) / (high - low) * volume, 0)"),
    Function("accumulation_distribution", "Chaikin's line: money flow volume since the data begin, on which its "
             "level depends", (), always(VOLUME), body="running_sum(money_flow_volume())"),
    Function("cmf", "Chaikin's money flow of n bars over their volume, -1 to 1; unknown without volume", (N,), always(RATIO),
             body="sum(money_flow_volume(), n) / sum(volume, n)"),
    Function("vwap", "average typical price of n bars, weighted by volume; unknown without any", (N,), always(PRICE),
             body="sum(typical_price() * volume, n) / sum(volume, n)"),
    Function("vwap_day", "average typical price since midnight UTC, weighted by volume; unknown until a whole "
             "day begins", (), always(PRICE), body="day_sum(typical_price() * volume) / day_sum(volume)"),
    Function("volume_zscore", "deviations of the volume from its mean of n bars", (N2,), always(RATIO),
             body="zscore(volume, n)"),
)  # fmt: skip
