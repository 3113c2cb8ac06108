"""The commands `pipeline generate`, `pipeline archive` and `pipeline brief`: searches for candidates."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_options import (
    REFUSED,
    MarketsOption,
    PolicyOption,
    SeriesOption,
    WorkspaceOption,
    limits_of,
    place_of,
    regimes_of,
)
from pipelines.generation.options import (
    BatchOption,
    BriefOption,
    FundingOption,
    GeneratorOption,
    IdeasOption,
    LooksOption,
    ModelConfigOption,
    OfflineOption,
    SchedulerOption,
    SeedOption,
    SpotOption,
    WorkersOption,
)
from research_lab.errors import UsageError
from research_lab.wording import count

if TYPE_CHECKING:
    from pipelines.generation.search_campaign import Found
    from pipelines.generation.search_wish import Wish
    from pipelines.proposals import Proposals
    from research_lab.bars import Bars
    from research_lab.generators.brief import Brief
    from research_lab.workspace import Workspace

_LEAST_DIGITS = 4

brief_app = typer.Typer(
    help="Say what a generator is asked for.\n\nExample: pipeline brief new brief.yaml",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def generate(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Candles of one market, Parquet: exchange_BASE-QUOTE_1h.parquet."),
    ],
    generator: GeneratorOption = "evolve",
    brief: BriefOption = "",
    n: LooksOption = 500,
    seed: SeedOption = 1,
    batch: BatchOption = 100,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = "",
    ideas: IdeasOption = None,
    model_config: ModelConfigOption = None,
    offline: OfflineOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="New folder for the elites.", show_default="the search's own folder"),
    ] = None,
    pool: Annotated[bool, typer.Option("--pool", help="A search takes one market.", hidden=True)] = False,
    funding: FundingOption = None,
    spot: SpotOption = None,
    series: SeriesOption = None,
    market: MarketsOption = None,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
) -> None:
    """Search the research bars for candidates.

    The bars are sealed first, every parameter set scored is a look that counts, and refused texts are recorded
    too. The elites are written into a folder that `pipeline run --strategies` takes, with up to three of their
    numbers as parameters to be tuned. Interrupted, it goes on where it was when the same command is run again.

    Example: pipeline generate --data binance_BTC-USDT_1h.parquet --generator evolve --n 500

    Example: pipeline generate --data binance_BTC-USDT_1h.parquet --generator llm --model-config model.yaml
    """
    from pipelines.generation.elites import make_folder, of_families, write_folder
    from pipelines.generation.inputs import check_one_market, read_search_bars, wish_of

    check_one_market(data, pool=pool)
    place, limits = place_of(workspace), limits_of(policy)
    wish = wish_of(generator, brief, n, seed, batch, model_config, ideas, offline=offline)
    bars = read_search_bars(
        data[0], wish, place, limits, funding=funding, spot=spot, series=series, markets=market
    )
    if out is not None:
        make_folder(out)  # looks are not spent before it is known where to put what they find
    found = search(place, bars, wish, policy, workers, scheduler)
    folder = out or found.folder / "elites"
    elites = of_families(found.archive.fittest, wish.brief)
    write_folder(folder, elites, found.name)
    show_found(place, found)
    if not elites:
        typer.echo("no elite: nothing that was scored traded, or everything was refused")
        raise typer.Exit(REFUSED)
    typer.echo(f"{count(len(elites), 'strategy', 'strategies')} written: {folder}")
    them = "it" if len(elites) == 1 else "them"
    given = {"data": data, "strategies": [folder], "funding": funding, "spot": spot, "series": series,
             "market": market, "policy": policy and [policy]}  # fmt: skip
    same = "".join(f" --{name} {shlex.quote(str(one))}" for name, told in given.items() for one in told or ())
    typer.echo(f"to examine {them}: pipeline run{same}{_in(place)}")


def search(
    place: Workspace, bars: Bars, wish: Wish, policy: Path | None, workers: int, scheduler: str
) -> Found:
    """Run a search with its progress shown."""
    from pipelines.generation.search_campaign import Given, run_search
    from pipelines.generation.search_progress import SearchProgress
    from research_lab.generators.evolution import SEEDS
    from research_lab.scoring.crew import Crew

    on = f"{bars.market.name}: {count(bars.n, 'bar')} of {bars.timeframe}"
    typer.echo(f"{on}; {wish.generator}, {count(wish.n, 'look')}")
    if wish.generator == "evolve" and wish.n <= SEEDS:
        typer.echo(
            f"evolution begins after {SEEDS} looks: all that are asked for go to the grammar and a survey"
        )
    with Crew(workers, scheduler) as crew, SearchProgress() as progress:
        given = Given(place.create(), bars, regimes_of(place), limits_of(policy))
        return run_search(given, wish, crew, progress.told, progress.say)


def show_found(place: Workspace, found: Found) -> None:
    """Print what a search found, and write its page."""
    from pipelines.generation import archive_text
    from pipelines.generation.archive_report import write_search_report
    from pipelines.generation.kept_search import find_archive

    _, content = find_archive(place.generations, found.name)
    typer.echo(archive_text.summary(content))
    _print_best(content["elites"], f"pipeline archive {found.name}{_in(place)} --all")
    typer.echo(f"page: {write_search_report(content, place.reports / f'{found.name}.html')}")


def proposals_of(found: Found, n: int, brief: Brief) -> Proposals:
    """Return the n best elites that are not one idea, as what a campaign examines: with parameters to be tuned."""
    from pipelines.generation.elites import finalists
    from pipelines.proposals import Proposals

    chosen = finalists(found.archive, n, brief)
    return Proposals(tuple(e.spec for e in chosen), (), {e.spec.template_hash: e.origin for e in chosen})


def archive(
    name: Annotated[
        str, typer.Argument(help="Of a search, or its first letters.", show_default="the latest")
    ] = "",
    of: Annotated[
        str, typer.Option("--of", help="Hash of an elite: show its text, and what it was made from.")
    ] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Every elite, not the best only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, of every strategy kept.")] = False,
    workspace: WorkspaceOption = "",
) -> None:
    """Show the best elites of a search.

    Each is the fittest of its niche: a way of trading by trades a month, holding time, exposure, correlation with
    holding and the regime that it is at home in. The map as a picture stands in the search's page.

    Example: pipeline archive

    Example: pipeline archive search-1f09c2aa --of 3b1c77
    """
    from pipelines.generation import archive_text
    from pipelines.generation.archive_report import write_search_report
    from pipelines.generation.elites import strategies_of
    from pipelines.generation.kept_search import find_archive

    place = place_of(workspace)
    folder, content = find_archive(place.generations, name)
    strategies = strategies_of(content)
    if of:
        _show_one(place, folder, strategies, of, as_json=as_json)
        return
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    typer.echo(archive_text.summary(content))
    _print_best(content["elites"], "" if everyone else f"pipeline archive {folder.name}{_in(place)} --all")
    typer.echo(
        f"kept in {folder}; page: {write_search_report(content, place.reports / f'{folder.name}.html')}"
    )


@brief_app.command()
def new(
    file: Annotated[Path, typer.Argument(help="To write.")] = Path("brief.yaml"),
) -> None:
    """Write a brief to start from, with every field explained.

    Example: pipeline brief new brief.yaml
    """
    from research_lab.durable import atomic_write
    from research_lab.generators.brief_form import brief_text

    if file.exists():
        raise UsageError("it is there already", str(file), "name another file")
    if not file.parent.is_dir():
        raise UsageError("there is no such folder", str(file.parent), "make it first")
    atomic_write(file, brief_text())
    typer.echo(f"written: {file}; pipeline generate --brief {file} reads it")


def _in(place: Workspace) -> str:
    """Return the option that names a workspace, "" where none is needed."""
    return "" if place_of("") == place else f" -w {shlex.quote(str(place.root))}"


def _show_one(
    place: Workspace, folder: Path, strategies: Sequence[Mapping[str, Any]], of: str, *, as_json: bool
) -> None:
    """Print the strategy whose hash begins with some digits, and what it was made from."""
    from pipelines.generation import archive_text
    from pipelines.generation.elites import lineage
    from pipelines.generation.kept_search import KeptSearch

    if len(of) < _LEAST_DIGITS:
        raise UsageError(f"{of!r} is short for a hash", "--of", f"give {_LEAST_DIGITS} digits or more")
    wanted = [one for one in strategies if one["hash"].startswith(of)]
    if len(wanted) != 1:
        have = f"{len(wanted)} elites have" if wanted else "no elite has"
        raise UsageError(
            f"{have} a hash that begins with {of[:64]!r}",
            "--of",
            f"{'give more of it; ' if wanted else ''}pipeline archive {folder.name}{_in(place)} --all lists them",
        )
    line = lineage(wanted[0]["hash"], KeptSearch(folder, {}).generations())
    if as_json:
        told = [{"back": one.back, "hash": one.hash, "kind": one.kind, "name": one.name} for one in line]
        typer.echo(json.dumps({"elite": wanted[0], "line": told}, indent=1))
    else:
        typer.echo(wanted[0]["text"] + archive_text.family(line))


def _print_best(elites: list[dict[str, object]], how_to_see_all: str) -> None:
    """Print a table of the best elites, and how many more there are; of all without a way to see them."""
    from rich.console import Console

    from pipelines.generation import archive_text

    shown = elites[: archive_text.ROWS] if how_to_see_all else elites
    if shown:
        Console(highlight=False).print(archive_text.table(shown))
    if len(elites) > len(shown):
        typer.echo(f"{len(elites) - len(shown):,} more: {how_to_see_all}")
