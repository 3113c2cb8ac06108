"""The bars that a command is given, with everything that strategies and regimes read beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from pipelines.gates.policy import Policy
from pipelines.model_scores import model_series
from research_lab.bars import Bars, market_of, read_candles, unpaid_funding
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.sources import read_sources, with_sources
from research_lab.dsl.spec import Spec
from research_lab.errors import DataError, UsageError
from research_lab.scoring.pooled_scorer import check_pool
from research_lab.series import named_files
from research_lab.workspace import Workspace


def candles_beside(data: Path, funding: Path | None, spot: Path | None) -> Bars:
    """Read candles with funding rates and spot candles beside them, and say on stderr where rates are not paid."""
    candles = read_candles(data, funding=funding, spot=spot)
    told = "" if funding is None else unpaid_funding(candles.market)
    if told:
        typer.echo(told, err=True)
    return candles


def read_bars(
    data: Path,
    templates: Sequence[Spec],
    regimes: RegimeSet,
    workspace: Workspace,
    policy: Policy,
    *,
    funding: Path | None = None,
    spot: Path | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
    models: Sequence[Path] | None = None,
) -> Bars:
    """Read candles, funding, and the series and markets that strategies read; make the scores of their models.

    Parameters
    ----------
    workspace, policy : where models are kept, and where the exams of a walk-forward begin.
    series, markets : as --series and --market are written, name=file.
    models : files of models, besides those that the workspace keeps.
    """
    sources = read_sources(named_files(series or [], "--series"), named_files(markets or [], "--market"))
    candles = candles_beside(data, funding, spot)
    scores = model_series(workspace, policy, candles, templates, models or (), sources.series)
    sources = replace(sources, series={**sources.series, **scores})
    return with_sources(candles, [*templates, *regimes.readers], sources)


def read_pool(
    data: Sequence[Path],
    templates: Sequence[Spec],
    regimes: RegimeSet,
    workspace: Workspace,
    policy: Policy,
    *,
    funding: Sequence[str] = (),
    spot: Sequence[str] = (),
    series: list[str] | None = None,
    markets: list[str] | None = None,
) -> list[Bars]:
    """Read the candles of several markets, each with its own funding and spot market; see `beside`.

    Raises
    ------
    UsageError
        A symbol comes twice, a file cannot be told to belong to one market, or a strategy reads a model: scores
        are made for the exams of one market, and the exams of a pool begin on other days.
    """
    for spec in templates:
        if spec.models:
            raise UsageError(f"{spec.name} reads a model", "--pool", "run it on one market at a time")
    symbols = [market_of(path).symbol for path in data]
    check_pool(symbols)
    rates, spots = beside(funding, symbols, "--funding"), beside(spot, symbols, "--spot")
    return [
        read_bars(
            path, templates, regimes, workspace, policy,
            funding=rates.get(symbol), spot=spots.get(symbol), series=series, markets=markets,
        )
        for path, symbol in zip(data, symbols, strict=True)
    ]  # fmt: skip


def beside(texts: Sequence[str], symbols: Sequence[str], option: str) -> dict[str, Path]:
    """Return the file that stands beside each market's candles, by symbol.

    Parameters
    ----------
    texts : BASE/QUOTE=FILE, or a FILE whose name tells its symbol; with one market, any FILE.
    symbols : of the markets.

    Raises
    ------
    UsageError
        A file is of none of the markets, of one that has another, or its name does not tell whose it is.
    """
    found: dict[str, Path] = {}
    for text in texts:
        named, sign, rest = text.partition("=")
        is_named = bool(sign) and named in symbols
        path = Path(rest if is_named else text)
        try:
            symbol = named if is_named else symbols[0] if len(symbols) == 1 else market_of(path).symbol
        except DataError:
            remedy = f"write {option} {symbols[0]}={path.name}"
            raise UsageError(f"{text[:80]!r} does not tell its market", option, remedy) from None
        if symbol not in symbols:
            known = ", ".join(symbols)
            raise UsageError(f"{text[:80]!r} is of {symbol}", option, f"the markets are {known}")
        if symbol in found:
            raise UsageError(f"{symbol or 'one market'} has two files", option, "give one a market")
        found[symbol] = path
    return found


def own_file(texts: Sequence[str] | None, option: str) -> Path | None:
    """Return the file that stands beside the candles of one market, whatever it is called; None without one.

    Raises
    ------
    UsageError
        There are two.
    """
    return beside(texts or (), [""], option).get("")
