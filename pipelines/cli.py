"""The command `pipeline`: parses and prints; everything it does lives elsewhere and is imported when used.

Exit codes: 0 passed, 1 internal error, 2 wrong usage or bad data, 3 refused, 4 insufficient, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import strategy_commands, trials_commands
from pipelines.calibration.command import calibrate
from research_lab.errors import GauntletError

if TYPE_CHECKING:
    from pipelines.gates.evidence import Outcome
    from pipelines.lifecycle import Promoted, Wish
    from research_lab.workspace import Workspace

USAGE, REFUSED, INSUFFICIENT, INTERRUPTED = 2, 3, 4, 130
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
app.command()(calibrate)

WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder that everything is written to.",
        show_default="GAUNTLET_WORKSPACE, else the current folder",
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", help="Limits to judge by.", show_default="the program's policy.yaml"),
]
CandidateArgument = Annotated[str, typer.Argument(help="Name, or the first digits of the hash.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the difference, write nothing.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit log.", show_default=False)]


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
    data: Annotated[Path, typer.Option("--data", help="Candles, Parquet: exchange_BASE-QUOTE_1h.parquet.")],
    strategies: Annotated[Path, typer.Option("--strategies", help="A strategy file, or a folder of them.")],
    funding: Annotated[Path | None, typer.Option("--funding", help="Funding rates of a perpetual.")] = None,
    spot: Annotated[Path | None, typer.Option("--spot", help="Spot candles, for the premium.")] = None,
    series: Annotated[
        list[str] | None,
        typer.Option("--series", help="name=file of a series or calendar that strategies read; repeatable."),
    ] = None,
    market: Annotated[
        list[str] | None,
        typer.Option(
            "--market", help="BASE/QUOTE=candles of another market that strategies read; repeatable."
        ),
    ] = None,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    promote_best: Annotated[bool, typer.Option("--promote", help="Promote what passes all gates.")] = False,
) -> None:
    """Run every strategy through gates 1 to 8.

    Example: pipeline run --data binance_BTC-USDT_1h.parquet --strategies research_lab/strategies
    """
    from pipelines.campaign import load_templates, run_campaign
    from pipelines.console import CampaignProgress, show_campaign
    from pipelines.gates.policy import DEFAULT, load_policy
    from pipelines.lifecycle import Wish
    from research_lab.bars import read_candles
    from research_lab.dsl.sources import read_sources, with_sources
    from research_lab.dsl.spec_reader import load_regimes
    from research_lab.series import named_files

    place = _workspace(workspace)
    templates = load_templates(strategies)
    limits = load_policy(policy or DEFAULT)
    market_regimes = load_regimes(place.regimes, place.macro)
    sources = read_sources(named_files(series or [], "--series"), named_files(market or [], "--market"))
    candles = read_candles(data, funding=funding, spot=spot)
    bars = with_sources(candles, [*templates, *market_regimes.readers], sources)
    count = f"{len(templates)} {'strategy' if len(templates) == 1 else 'strategies'}"
    typer.echo(f"{bars.market.name}: {bars.n:,} bars of {bars.timeframe}, {count}")
    with CampaignProgress() as progress:
        result = run_campaign(place.create(), bars, templates, market_regimes, limits, progress)
    show_campaign(place, result, limits)
    outcome = result.outcome
    if promote_best and result.passed:
        outcome = _promote(place, result.passed[0].hash, policy, Wish())
    _leave(outcome)


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

    _leave(_promote(_workspace(workspace), candidate, policy, Wish(share, why, dry_run)))


@app.command()
def status(workspace: WorkspaceOption = "") -> None:
    """Show the map, its history, and every candidate.

    Example: pipeline status
    """
    from pipelines.console import show_status

    show_status(_workspace(workspace))


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

    _show_promoted(roll_back(_workspace(workspace), to, dry_run=dry_run, why=why))


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

    place = _workspace(workspace)
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

    _show_promoted(take_over(_workspace(workspace), why=why))


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

    typer.echo(write_report(resolve(_workspace(workspace), candidate), load_policy(policy or DEFAULT)))


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

    tracker = Tracker(_workspace(workspace))
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

    raise typer.Exit(run_demo(_workspace(workspace).create(), seed))


def _workspace(option: str) -> Workspace:
    from research_lab.workspace import Workspace

    return Workspace.find(option)


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


def _leave(outcome: Outcome) -> None:
    code = {"PASS": 0, "FAIL": REFUSED, "INSUFFICIENT": INSUFFICIENT}[outcome.value]
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
