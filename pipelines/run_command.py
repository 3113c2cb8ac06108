"""The command `pipeline run`: strategies of a folder, or those that a generator finds, through all gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command_options import (
    REFUSED,
    FundingsOption,
    MarketsOption,
    ModelsOption,
    PolicyOption,
    SeriesOption,
    SpotsOption,
    WorkspaceOption,
    leave,
    limits_of,
    place_of,
    regimes_of,
)
from pipelines.generation import options
from research_lab.errors import SpecError, UsageError
from research_lab.wording import count

if TYPE_CHECKING:
    from pipelines.campaign import CampaignResult
    from pipelines.candidates import Candidate
    from pipelines.gates.evidence import Outcome
    from pipelines.gates.policy import Policy
    from pipelines.lifecycle import Promoted, Wish
    from pipelines.proposals import Proposals
    from research_lab.bars import Bars
    from research_lab.dsl.regimes import RegimeSet
    from research_lab.workspace import Workspace

# What belongs to a search only, and what a search has no use for; by the parameters' names.
_OF_SEARCHES = (
    "brief", "n", "finalists", "seed", "batch", "workers", "scheduler", "ideas", "model_config", "offline",
)  # fmt: skip
_OF_FOLDERS = ("pool", "model", "skip_broken")


def run(
    context: typer.Context,
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", help="Candles, Parquet: exchange_BASE-QUOTE_1h.parquet; of a pool, repeatable."
        ),
    ],
    strategies: Annotated[
        Path | None, typer.Option("--strategies", help="A strategy file, or a folder of them.")
    ] = None,
    generator: Annotated[
        str, typer.Option("--generator", help="Search for them: grammar, evolve or llm.", show_default=False)
    ] = "",
    brief: options.BriefOption = "",
    n: options.LooksOption = 500,
    finalists: Annotated[
        int, typer.Option("--finalists", min=1, max=20, help="Elites that go on to all gates.")
    ] = 3,
    seed: options.SeedOption = 1,
    batch: options.BatchOption = 100,
    workers: options.WorkersOption = 1,
    scheduler: options.SchedulerOption = "",
    ideas: options.IdeasOption = None,
    model_config: options.ModelConfigOption = None,
    offline: options.OfflineOption = False,
    pool: Annotated[
        bool, typer.Option("--pool", help="One parameter set for several markets, judged as one.")
    ] = False,
    funding: FundingsOption = None,
    spot: SpotsOption = None,
    series: SeriesOption = None,
    market: MarketsOption = None,
    model: ModelsOption = None,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    promote_best: Annotated[bool, typer.Option("--promote", help="Promote what passes all gates.")] = False,
    open_for: Annotated[
        int, typer.Option("--open-for", min=1, help="Finalists to open the holdout for; each is an opening.")
    ] = 1,
    skip_broken: Annotated[
        bool,
        typer.Option("--skip-broken", help="Go on without what is no strategy; it is recorded as refused."),
    ] = False,
) -> None:
    """Run every strategy through gates 1 to 8.

    Interrupted, it goes on where it was when the same command is run again. With --pool and several --data,
    parameters are tuned on all markets together, and judged on each without it as well. With --generator,
    candidates are searched for first, as by `pipeline generate`, and the best few that are unlike go on.

    Example: pipeline run --data binance_BTC-USDT_1h.parquet --strategies research_lab/strategies

    Example: pipeline run --data binance_BTC-USDT_1h.parquet --generator evolve --n 1500
    """
    from pipelines.proposals import read_proposals

    _check_mixture(context, data, strategies, generator, pool=pool, model=model)
    place = place_of(workspace)
    limits, regimes = limits_of(policy), regimes_of(place)
    if strategies is not None:
        try:
            proposals = read_proposals(strategies, skip_broken=skip_broken)
        except SpecError:
            from pipelines.refused_proposals import record_refused

            record_refused(place, strategies, data, limits)
            raise
        bars = _bars_of(
            data, proposals, regimes, place, limits,
            pool=pool, funding=funding, spot=spot, series=series, market=market, model=model,
        )  # fmt: skip
    else:
        from pipelines.generation import command, inputs

        wish = inputs.wish_of(generator, brief, n, seed, batch, model_config, ideas, offline=offline)
        bars = inputs.read_search_bars(
            data[0], wish, place, limits, funding=funding, spot=spot, series=series, markets=market,
        )  # fmt: skip
        found = command.search(place, bars, wish, policy, workers, scheduler)
        command.show_found(place, found)
        proposals = command.proposals_of(found, finalists, wish.brief)
        if not proposals.templates:
            typer.echo("no finalist: the archive is empty; the page says what was refused")
            raise typer.Exit(REFUSED)
    outcome = _examined(place, bars, proposals, regimes, policy, open_for, promote=promote_best)
    leave(outcome)


def _examined(
    place: Workspace,
    bars: Bars | list[Bars],
    proposals: Proposals,
    regimes: RegimeSet,
    policy: Path | None,
    open_for: int,
    *,
    promote: bool,
) -> Outcome:
    """Run the campaign, print it, and promote the best where it was asked for."""
    from pipelines.campaign import Wanted, run_campaign
    from pipelines.console import CampaignProgress, show_campaign
    from pipelines.lifecycle import Wish

    limits, templates = limits_of(policy), proposals.templates
    n_templates = count(len(templates), "strategy", "strategies")
    for one in bars if isinstance(bars, list) else [bars]:
        typer.echo(f"{one.market.name}: {one.n:,} bars of {one.timeframe}, {n_templates}")
    for refusal in proposals.refusals:
        typer.echo(f"refused: {refusal.reason}", err=True)
    with CampaignProgress() as progress:
        wanted = Wanted.of(proposals, open_for)
        result = run_campaign(place.create(), bars, templates, regimes, limits, progress, wanted)
    show_campaign(place, result, limits)
    if not promote or not result.passed:
        return result.outcome
    best = best_passed(result)
    wish = Wish(1.0 / len(best) if isinstance(bars, list) else None)  # a pool's capital is split evenly
    outcomes = [promote_wanted(place, f"{c.hash}@{c.market}", policy, wish) for c in best]
    return max(outcomes, key=["PASS", "INSUFFICIENT", "FAIL"].index)


def best_passed(result: CampaignResult) -> list[Candidate]:
    """Return the candidate that passed all gates with the least p at gate 6; of a pool, one a market."""
    from pipelines.campaign import GATES, by_evidence

    passed = [e for e in result.distinct if e.passed(GATES)]
    best = min(passed, key=by_evidence).spec.hash
    return [candidate for candidate in result.passed if candidate.hash == best]


def _check_mixture(
    context: typer.Context,
    data: list[Path],
    strategies: Path | None,
    generator: str,
    *,
    pool: bool,
    model: list[Path] | None,
) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises
    ------
    UsageError
        Naming the option, and what it belongs to.
    """
    if (strategies is None) == (not generator):
        what = "neither strategies nor a generator" if strategies is None else "strategies and a generator"
        raise UsageError(what, "--strategies --generator", "give one of them")
    if generator:
        from pipelines.generation.inputs import check_one_market

        check_one_market(data, pool=pool)
    others, belongs = (_OF_SEARCHES, "--generator") if strategies else (_OF_FOLDERS, "--strategies")
    for name in others:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} belongs to {belongs}, which was not given", option, "leave it out")
    if len(data) > 1 and not pool:
        raise UsageError("several files of candles", "--data", "add --pool, or run once for each")
    if pool and model:
        raise UsageError("a pool reads no models", "--model", "run on one market at a time")


def _bars_of(
    data: list[Path],
    proposals: Proposals,
    regimes: RegimeSet,
    place: Workspace,
    limits: Policy,
    *,
    pool: bool,
    funding: list[str] | None,
    spot: list[str] | None,
    series: list[str] | None,
    market: list[str] | None,
    model: list[Path] | None,
) -> Bars | list[Bars]:
    """Return the bars of one market, or of a pool, with all that strategies read."""
    from pipelines.inputs import own_file, read_bars, read_pool

    if pool:
        return read_pool(
            data, proposals.templates, regimes, place, limits,
            funding=funding or (), spot=spot or (), series=series, markets=market,
        )  # fmt: skip
    return read_bars(
        data[0], proposals.templates, regimes, place, limits,
        funding=own_file(funding, "--funding"), spot=own_file(spot, "--spot"),
        series=series, markets=market, models=model,
    )  # fmt: skip


def promote_wanted(workspace: Workspace, wanted: str, limits: Path | None, wish: Wish) -> Outcome:
    """Promote a candidate if it passes all gates, print what became of it, and return the verdict."""
    from pipelines.candidates import resolve
    from pipelines.gates.policy import DEFAULT, load_policy
    from pipelines.lifecycle import promote_candidate
    from research_lab.dsl.spec_reader import load_regimes

    candidate = resolve(workspace, wanted)
    policy = load_policy(limits or DEFAULT)
    regimes = load_regimes(workspace.regimes, workspace.macro)
    done = promote_candidate(workspace, candidate, regimes, policy, wish)
    change = done.promotion
    said = "promoted" if change.written else "would be promoted" if change.diff else change.outcome.value
    typer.echo(f"{candidate}: {said}")
    show_promoted(done)
    return change.outcome


def show_promoted(done: Promoted) -> None:
    """Print what a change of the map came to."""
    change = done.promotion
    for reason in change.reasons:
        typer.echo(f"  {reason}")
    if change.diff:
        typer.echo(change.diff.rstrip("\n"))
    if change.written:
        typer.echo(f"enable_map.yaml is now version {change.new_map.version}")
    else:
        typer.echo(f"enable_map.yaml stays at version {change.old_map.version}")
    for line in done.registered:
        typer.echo(f"MLflow: {line}")
