"""The bars that a command is given, with everything that strategies and regimes read beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from research_lab.bars import Bars, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.sources import read_sources, with_sources
from research_lab.dsl.spec import Spec
from research_lab.series import named_files


def read_bars(
    data: Path,
    templates: Sequence[Spec],
    regimes: RegimeSet,
    *,
    funding: Path | None = None,
    spot: Path | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
) -> Bars:
    """Read candles, funding, and the series and markets that strategies read.

    Parameters
    ----------
    series, markets : as --series and --market are written, name=file.
    """
    sources = read_sources(named_files(series or [], "--series"), named_files(markets or [], "--market"))
    candles = read_candles(data, funding=funding, spot=spot)
    return with_sources(candles, [*templates, *regimes.readers], sources)
