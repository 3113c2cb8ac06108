"""The command `pipeline`: parses and prints; everything it does lives elsewhere and is imported when used.

Exit codes: 0 passed, 1 internal error, 2 wrong usage or bad data, 3 refused, 4 insufficient, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import inspection_commands, model_commands, strategy_commands, trials_commands
from pipelines.calibration.command import calibrate
from pipelines.command_options import (
    CandidateArgument,
    DryRunOption,
    FundingsOption,
    MarketsOption,
    ModelsOption,
    PolicyOption,
    SeriesOption,
    SpotsOption,
    WhyOption,
    WorkspaceOption,
    leave,
    limits_of,
    place_of,
    regimes_of,
)
from pipelines.lookahead_command import lookahead
from research_lab.errors import GauntletError, UsageError

if TYPE_CHECKING:
    from pipelines.gates.evidence import Outcome
    from pipelines.lifecycle import Promoted, Wish
    from research_lab.bars import Bars
    from research_lab.workspace import Workspace

USAGE, INTERRUPTED = 2, 130
_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    help="From candles to an audited promotion: run strategies through the gauntlet, promote, look back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(strategy_commands.app, name="strategy")
app.add_typer(trials_commands.app, name="trials")
app.add_typer(model_commands.app, name="model")
app.command()(calibrate)
app.command()(lookahead)

for command in (
    inspection_commands.verify,
    inspection_commands.compare,
    inspection_commands.recheck,
    inspection_commands.gate,
):
    app.command()(command)


def main() -> None:
    """Run the command; an error on purpose, a disk that refuses and Ctrl-C are one message and an exit code."""
    try:
        app()
    except GauntletError as fault:
        typer.echo(f"pipeline: {fault}", err=True)
        sys.exit(fault.exit_code)
    except OSError as fault:
        if fault.errno not in _DISK:
            raise
        typer.echo(f"pipeline: {fault.filename or 'the disk'}: {fault.strerror}", err=True)
        sys.exit(USAGE)
    except SystemExit as ended:  # typer turns an interrupt into this, without a word
        if ended.code == INTERRUPTED:
            typer.echo("pipeline: interrupted", err=True)
        raise


@app.command()
def run(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", help="Candles, Parquet: exchange_BASE-QUOTE_1h.parquet; of a pool, repeatable."
        ),
    ],
    strategies: Annotated[Path, typer.Option("--strategies", help="A strategy file, or a folder of them.")],
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
        bool, typer.Option("--skip-broken", help="Record what is no strategy as refused, and go on.")
    ] = False,
) -> None:
    """Run every strategy through gates 1 to 8.

    Interrupted, it goes on where it was when the same command is run again. With --pool and several --data,
    parameters are tuned on all markets together, and judged on each without it as well.

    Example: pipeline run --data binance_BTC-USDT_1h.parquet --strategies research_lab/strategies
    """
    from pipelines.campaign import Wanted, run_campaign
    from pipelines.console import CampaignProgress, show_campaign
    from pipelines.inputs import beside, read_bars, read_pool
    from pipelines.lifecycle import Wish
    from pipelines.proposals import read_proposals

    place = place_of(workspace)
    proposals = read_proposals(strategies, skip_broken=skip_broken)
    limits, regimes, templates = limits_of(policy), regimes_of(place), proposals.templates
    if len(data) > 1 and not pool:
        raise UsageError("several files of candles", "--data", "add --pool, or run once for each")
    if pool and model:
        raise UsageError("a pool reads no models", "--model", "run on one market at a time")
    bars: Bars | list[Bars]
    if pool:
        bars = read_pool(
            data, templates, regimes, place, limits,
            funding=funding or (), spot=spot or (), series=series, markets=market,
        )  # fmt: skip
    else:
        own = [""]  # one market: whatever file is given is its own
        rates, spots = beside(funding or (), own, "--funding"), beside(spot or (), own, "--spot")
        bars = read_bars(
            data[0], templates, regimes, place, limits,
            funding=rates.get(""), spot=spots.get(""), series=series, markets=market, models=model,
        )  # fmt: skip
    count = f"{len(templates)} {'strategy' if len(templates) == 1 else 'strategies'}"
    for one in bars if isinstance(bars, list) else [bars]:
        typer.echo(f"{one.market.name}: {one.n:,} bars of {one.timeframe}, {count}")
    for refusal in proposals.refusals:
        typer.echo(f"refused: {refusal.reason}", err=True)
    wanted = Wanted.of(proposals, open_for)
    with CampaignProgress() as progress:
        result = run_campaign(place.create(), bars, templates, regimes, limits, progress, wanted)
    show_campaign(place, result, limits)
    outcome = result.outcome
    if promote_best and result.passed:
        best = [c for c in result.passed if c.hash == result.passed[0].hash]  # of a pool, one a market
        wish = Wish(1.0 / len(best) if pool else None)  # the capital of a pool is split evenly
        outcomes = [_promote(place, f"{c.hash}@{c.market}", policy, wish) for c in best]
        outcome = max(outcomes, key=["PASS", "INSUFFICIENT", "FAIL"].index)
    leave(outcome)


@app.command()
def promote(
    candidate: CandidateArgument,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            min=0.0,
            max=1.0,
            help="Of the risk budget; of one in the map: its new share.",
            show_default="what the map leaves free",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    why: WhyOption = "",
) -> None:
    """Put a candidate into the map, if it passes all gates.

    It is judged against the champions of its market: better than one it takes its place, unlike them it
    stands beside them.

    Example: pipeline promote ema_atr --dry-run
    """
    from pipelines.lifecycle import Wish

    leave(_promote(place_of(workspace), candidate, policy, Wish(share, why, dry_run)))


@app.command()
def status(workspace: WorkspaceOption = "") -> None:
    """Show the map, its history, and every candidate.

    Example: pipeline status
    """
    from pipelines.console import show_status

    show_status(place_of(workspace))


@app.command()
def rollback(
    workspace: WorkspaceOption = "",
    to: Annotated[
        int | None, typer.Option("--to", help="Version to restore.", show_default="the one before")
    ] = None,
    dry_run: DryRunOption = False,
    why: WhyOption = "",
) -> None:
    """Restore an earlier enable_map.yaml, as a new version.

    Example: pipeline rollback --why "drawdown on the first day"
    """
    from pipelines.lifecycle import roll_back

    _show_promoted(roll_back(place_of(workspace), to, dry_run=dry_run, why=why))


@app.command()
def retire(
    candidate: CandidateArgument,
    workspace: WorkspaceOption = "",
    dry_run: DryRunOption = False,
    why: WhyOption = "",
) -> None:
    """Take a candidate out of the map.

    A position that is open is kept until its exit.

    Example: pipeline retire ema_atr --why "regime is over"
    """
    from pipelines.candidates import resolve
    from pipelines.lifecycle import take_out

    place = place_of(workspace)
    _show_promoted(take_out(place, resolve(place, candidate), dry_run=dry_run, why=why))


@app.command()
def adopt(
    workspace: WorkspaceOption = "",
    why: WhyOption = "",
) -> None:
    """Accept a map that was changed by hand.

    It becomes a new version, if it is within the limits.

    Example: pipeline adopt --why "halved the share during maintenance"
    """
    from pipelines.lifecycle import take_over

    _show_promoted(take_over(place_of(workspace), why=why))


@app.command()
def report(
    candidate: CandidateArgument, workspace: WorkspaceOption = "", policy: PolicyOption = None
) -> None:
    """Write a candidate's report anew, and print where it lies.

    It is written from the stored evidence; nothing is measured.

    Example: pipeline report ema_atr
    """
    from pipelines.candidates import resolve
    from pipelines.gates.policy import DEFAULT, load_policy
    from pipelines.report import write_report

    typer.echo(write_report(resolve(place_of(workspace), candidate), load_policy(policy or DEFAULT)))


@app.command()
def ui(
    workspace: WorkspaceOption = "",
    port: Annotated[int, typer.Option("--port", help="On the loopback address.")] = 5000,
) -> None:
    """Serve the workspace's MLflow pages until Ctrl-C.

    They are at http://127.0.0.1:PORT, on this machine only.

    Example: pipeline ui --workspace demo
    """
    from pipelines.tracking import Tracker

    tracker = Tracker(place_of(workspace))
    typer.echo(f"{tracker.ui_address(port)}\nCtrl-C ends it")
    raise typer.Exit(tracker.serve_ui(port))


@app.command()
def demo(
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Folder that everything is written to.")
    ] = "demo",
    seed: Annotated[int, typer.Option("--seed", help="Of both synthetic worlds.")] = 1,
) -> None:
    """Run two campaigns: a planted edge, and pure noise.

    On synthetic worlds, nothing is downloaded: the first should end in a promotion and paper trades, the
    second in a refusal.

    Example: pipeline demo --workspace demo
    """
    from pipelines.demo import run_demo

    raise typer.Exit(run_demo(place_of(workspace).create(), seed))


def _promote(workspace: Workspace, wanted: str, limits: Path | None, wish: Wish) -> Outcome:
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
    _show_promoted(done)
    return change.outcome


def _show_promoted(done: Promoted) -> None:
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


if __name__ == "__main__":
    main()
