"""The command `pipeline`: parses and prints; everything it does lives elsewhere and is imported when used.

Exit codes: 0 passed, 1 internal error, 2 wrong usage or bad data, 3 refused, 4 insufficient, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import inspection_commands, model_commands, strategy_commands, trials_commands
from pipelines.calibration.command import calibrate
from pipelines.command_options import (
    CandidateArgument,
    DryRunOption,
    PolicyOption,
    WhyOption,
    WorkspaceOption,
    leave,
    place_of,
)
from pipelines.generation import command as generation_commands
from pipelines.interruption import sigterm_as_ctrl_c
from pipelines.lookahead_command import lookahead
from pipelines.run_command import promote_wanted, run, show_promoted
from research_lab.errors import GauntletError

if TYPE_CHECKING:
    from pipelines.lifecycle import Promoted

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
app.add_typer(generation_commands.brief_app, name="brief")
app.command()(run)
app.command()(generation_commands.generate)
app.command()(generation_commands.archive)
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
        with sigterm_as_ctrl_c():
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

    leave(promote_wanted(place_of(workspace), candidate, policy, Wish(share, why, dry_run)))


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

    _shown(roll_back(place_of(workspace), to, dry_run=dry_run, why=why))


@app.command()
def retire(
    candidate: CandidateArgument,
    workspace: WorkspaceOption = "",
    dry_run: DryRunOption = False,
    why: WhyOption = "",
) -> None:
    """Take a candidate out of the map, on its market.

    A position that is open is kept until its exit.

    Example: pipeline retire ema_atr --why "regime is over"
    """
    from pipelines.candidates import resolve
    from pipelines.lifecycle import take_out

    place = place_of(workspace)
    _shown(take_out(place, resolve(place, candidate), dry_run=dry_run, why=why))


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

    _shown(take_over(place_of(workspace), why=why))


def _shown(done: Promoted) -> None:
    """Print what a change of the map came to, and end with its exit code: 3 where the limits refuse it."""
    show_promoted(done)
    leave(done.promotion.outcome)


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
    from pipelines.tracking.connection import Connection
    from pipelines.tracking.mlflow_ui import serve_ui, ui_address

    store = Connection(place_of(workspace))
    typer.echo(f"{ui_address(store, port)}\nCtrl-C ends it")
    raise typer.Exit(serve_ui(store, port))


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


if __name__ == "__main__":
    main()
