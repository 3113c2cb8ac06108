"""What strategies read besides their market, brought onto the market's bars.

Each row is a number that was known at the close of each base bar. A row is named by what it says and by how
it is read, so that strategies which read one series in two ways have two rows. What a strategy says of another
market is computed here, on that market's bars, with the engine's own kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from research_lab.bars import Bars, FloatArray, IntArray, read_candles
from research_lab.dsl.compiler import program_of
from research_lab.dsl.tree import Node
from research_lab.engine.evaluation import evaluate
from research_lab.engine.program import CLOSING_TIME
from research_lab.errors import DataError, UsageError
from research_lab.series import EventRule, ModelRule, Series, SeriesRule, align, read_series
from research_lab.timeframe import is_made_of, timeframe_name

MARKET_MAX_AGE_BARS = 2  # of the strategy's timeframe, since the other market's bar ended


class Reads(Protocol):
    """What reads external series: a strategy, or macro states."""

    @property
    def name(self) -> str: ...
    @property
    def step_ms(self) -> int: ...
    @property
    def rows(self) -> dict[str, str]: ...
    @property
    def markets(self) -> Mapping[str, Node]: ...
    def rule_of(self, name: str) -> SeriesRule | EventRule | ModelRule: ...
    def source_of(self, name: str) -> str: ...


@dataclass(frozen=True)
class Sources:
    """Series, calendars and models' scores by the name that strategies call them, markets by their symbol."""

    series: Mapping[str, Series] = field(default_factory=dict)
    markets: Mapping[str, Bars] = field(default_factory=dict)


def read_sources(series: Mapping[str, Path], markets: Mapping[str, Path]) -> Sources:
    """Read files of series and of other markets' candles.

    Raises
    ------
    DataError
        One cannot be used, or holds another market than it is said to.
    """
    candles = {symbol: read_candles(path) for symbol, path in markets.items()}
    for symbol, bars in candles.items():
        if bars.market.symbol != symbol:
            raise DataError(f"candles of {bars.market.symbol}, wanted {symbol}", str(markets[symbol]))
    return Sources({name: read_series(path) for name, path in series.items()}, candles)


def with_sources(bars: Bars, readers: Sequence[Reads], sources: Sources) -> Bars:
    """Return the bars with every row that strategies and macro states read besides the market.

    Raises
    ------
    UsageError
        Something is missing: it names the strategy and everything that it lacks.
    DataError
        Something is not what the strategy takes it for.
    """
    closes = bars.time + bars.step_ms
    rows: dict[str, FloatArray] = {}
    for reader in readers:
        _refuse_missing(reader, sources)
        for name, row in reader.rows.items():
            if row not in rows:
                rows[row] = _row(reader, name, sources, bars, closes)
    return bars.with_series(rows) if rows else bars


def _row(spec: Reads, name: str, sources: Sources, bars: Bars, closes: IntArray) -> FloatArray:
    source = spec.source_of(name)
    if name in spec.markets:
        return _said_of_market(spec.markets[name], spec.step_ms, sources.markets[source], closes)
    series = sources.series[source]
    if series.note is not None and series.note.market != bars.market.name:
        what = f"the score of a model on {series.note.market[:60]}, wanted {bars.market.name}"
        raise DataError(what, series.where, "fit the model on these candles")
    return spec.rule_of(name).row(name, series, closes)


def _said_of_market(node: Node, step_ms: int, market: Bars, closes: IntArray) -> FloatArray:
    """Return what an expression last was on another market's bars; unknown until it is warm, and when it is old.

    The age of a bar counts from its own end, also where an outage let it be complete only long after.
    """
    if not is_made_of(step_ms, market.step_ms):
        raise DataError(
            f"bars of {market.timeframe} do not make those of {timeframe_name(step_ms)}",
            market.market.name,
            f"give candles of {timeframe_name(step_ms)} or finer",
        )
    program, warmup = program_of([node.args[0]], step_ms)
    outputs = np.append(program.outputs, CLOSING_TIME)
    values, completed = evaluate(program._replace(outputs=outputs), step_ms, market)
    warm = np.where(np.arange(completed.shape[0]) + 1 >= warmup, values[0], np.nan)
    visible = market.time[completed] + market.step_ms
    return align(visible, warm, closes, MARKET_MAX_AGE_BARS * step_ms, values[1].astype(np.int64))


def _refuse_missing(spec: Reads, sources: Sources) -> None:
    options: dict[str, str] = {}
    for name in spec.rows:
        source = spec.source_of(name)
        if name in spec.markets and source not in sources.markets:
            options[source] = f"--market {source}=candles.parquet"
        elif name not in spec.markets and source not in sources.series:
            kind = "parquet" if isinstance(spec.rule_of(name), ModelRule) else "csv"
            options[source] = f"--series {source}={source}.{kind}"
    if options:
        wanted = ", ".join(sorted(options))
        given = " ".join(options[source] for source in sorted(options))
        raise UsageError(f"reads {wanted}, and no file was given", spec.name, f"give {given}")
