"""What a search is given: a brief in words or as a file, ideas, and bars with all that ideas read beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from pipelines.command_options import regimes_of
from pipelines.gates.policy import Policy
from pipelines.generation.generator_registry import Made, check_options, read_ideas
from pipelines.generation.search_wish import Wish
from pipelines.inputs import own_file, read_bars
from research_lab.bars import INPUTS, Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import SpecError, UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.brief_form import brief_of
from research_lab.timeframe import timeframe_ms
from research_lab.workspace import Workspace


def wish_of(
    generator: str,
    brief: str,
    n: int,
    seed: int,
    batch: int,
    settings: Path | None,
    ideas: Path | None,
    *,
    offline: bool,
) -> Wish:
    """Return what is asked of a search; raises `UsageError` for what does not fit, together or by itself."""
    check_options(generator, Made(settings, offline=offline))
    if settings is not None and not settings.is_file():
        raise UsageError("there is no such file", str(settings), "name the YAML file of a language model")
    if settings is not None:
        check_settings(settings, offline=offline)
    return Wish(generator, brief_of(brief), n, seed, batch, settings, offline, read_ideas(ideas, generator))


def check_settings(path: Path, *, offline: bool) -> None:
    """Refuse settings of a language model that do not fit, or lack their key, before any data are read."""
    from research_lab.generators.language_model.key import Key
    from research_lab.generators.language_model.settings import read_settings

    settings = read_settings(path)
    if not offline:
        Key(settings.key_variable).value()


def check_one_market(data: Sequence[Path], *, pool: bool) -> None:
    """Refuse what a search has no use for: several markets.

    Raises
    ------
    UsageError
        Naming the option, and how to come to a pool.
    """
    remedy = (
        "search on one market, then try on the pool what was found: pipeline run --pool --strategies FOLDER"
    )
    if pool:
        raise UsageError("a search takes one market, and no pool", "--pool", remedy)
    if len(data) > 1:
        raise UsageError(f"a search takes one market, and this is given {len(data)} times", "--data", remedy)


def read_search_bars(
    data: Path,
    wish: Wish,
    place: Workspace,
    limits: Policy,
    *,
    funding: list[str] | None = None,
    spot: list[str] | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
) -> Bars:
    """Read candles, with the series and markets that regimes read and strategies brought along.

    Parameters
    ----------
    funding, spot : a file each, of the market's own rates and spot candles.

    Raises
    ------
    UsageError
        The brief asks for what these data do not have; several files of one kind.
    """
    brought = [spec for _, text in wish.ideas.texts if (spec := _spec(text)) is not None]
    bars = read_bars(
        data, brought, regimes_of(place), place, limits,
        funding=own_file(funding, "--funding"), spot=own_file(spot, "--spot"), series=series, markets=markets,
    )  # fmt: skip
    check_brief(wish.brief, bars)
    for name, given in (("funding", funding), ("premium", spot)):
        if given and name not in wish.brief.inputs:
            what = f"the brief's inputs leave {name} out, so no strategy of this search reads it"
            typer.echo(f"--{'funding' if name == 'funding' else 'spot'}: {what}", err=True)
    return bars


def check_brief(brief: Brief, bars: Bars) -> None:
    """Refuse a brief that asks for what bars do not have, before looks are spent on it.

    Raises
    ------
    UsageError
        Naming what is missing, and the option that brings it.
    """
    for name, option in (("funding", "--funding"), ("premium", "--spot")):
        if name in brief.inputs and not np.isfinite(bars.inputs[INPUTS.index(name)]).any():
            raise UsageError(
                f"the brief asks for {name}, which these data do not have", bars.market.name,
                f"give it with {option}, or take {name} out of the brief's inputs",
            )  # fmt: skip
    if tuple(brief.sides) == ("short",) and not bars.market.perpetual:
        raise UsageError("the brief asks for shorts, and spot has none", bars.market.name, "use a perpetual")
    if not any(timeframe_ms(one) % bars.step_ms == 0 for one in brief.timeframes):
        raise UsageError(
            f"the brief asks for {', '.join(brief.timeframes)}, which bars of {bars.timeframe} do not make",
            bars.market.name, "name multiples of them in the brief's timeframes",
        )  # fmt: skip


def _spec(text: str) -> Spec | None:
    try:
        return parse_spec(text, "idea")
    except SpecError:
        return None  # it is proposed as it is, and recorded as refused
