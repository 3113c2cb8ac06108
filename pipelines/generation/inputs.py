"""What a search is given: a brief in words or as a file, ideas, and bars with all that ideas read beside them."""

from __future__ import annotations

from pathlib import Path

from pipelines.command_options import regimes_of
from pipelines.gates.policy import Policy
from pipelines.generation.generator_registry import Made, check_options, read_ideas
from pipelines.generation.search_campaign import Wish
from pipelines.inputs import read_bars
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import SpecError, UsageError
from research_lab.generators.brief import brief_of
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
    """Return what is asked of a search; raises `UsageError` for what does not fit together."""
    check_options(generator, Made(settings, offline=offline))
    if settings is not None and not settings.is_file():
        raise UsageError("there is no such file", str(settings), "name the YAML file of a language model")
    return Wish(generator, brief_of(brief), n, seed, batch, settings, offline, read_ideas(ideas, generator))


def read_search_bars(
    data: Path,
    wish: Wish,
    place: Workspace,
    limits: Policy,
    *,
    funding: Path | None = None,
    spot: Path | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
) -> Bars:
    """Read candles, with the series and markets that regimes read and strategies brought along."""
    brought = [spec for _, text in wish.ideas.texts if (spec := _spec(text)) is not None]
    return read_bars(
        data, brought, regimes_of(place), place, limits,
        funding=funding, spot=spot, series=series, markets=markets,
    )  # fmt: skip


def _spec(text: str) -> Spec | None:
    try:
        return parse_spec(text, "idea")
    except SpecError:
        return None  # it is proposed as it is, and recorded as refused
