"""The commands `pipeline trials`: who looked how often, what the next look costs, and whether all is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command_options import (
    INSUFFICIENT,
    REFUSED,
    PolicyOption,
    WorkspaceOption,
    limits_of,
    place_of,
)
from research_lab.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from pipelines.tracking.ledger_store import LedgerStore
    from research_lab.scoring.trial_ledger import TrialLedger

app = typer.Typer(
    help="Show who looked how often, and what the next look costs.\n\n"
    "Every parameter set that was scored is a look; a proposal that was refused before it ran is none. "
    "How the cost of further looks is found stands in docs/counting.md.\n\n"
    "Example: pipeline trials --market BTC/USDT",
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@app.callback()
def trials(
    context: typer.Context,
    market: Annotated[
        str, typer.Option("--market", help="Of one symbol only, such as BTC/USDT.", show_default="all")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
) -> None:
    """Show looks and costs; see the help above."""
    if context.invoked_subcommand is not None:
        return
    from pipelines.trials import looks, next_looks
    from pipelines.trials_text import as_text, to_json
    from research_lab.market_data.lake import Lake

    place, limits = place_of(workspace), limits_of(policy)
    ledger = _ledger(workspace)
    found = [trial for trial in ledger.every() if market in ("", trial.market)]
    tell = to_json if as_json else as_text
    typer.echo(tell(looks(found), next_looks(ledger, Lake(place.root), found, limits)))


@app.command()
def verify(workspace: WorkspaceOption = "") -> None:
    """Check every line, every row, and every anchor in MLflow.

    Exit code 3 when something is broken or gone, with file and line; 4 when there are looks and no anchor.

    Example: pipeline trials verify
    """
    from pipelines import ledger_exchange

    with _Refusing():
        done = ledger_exchange.verify(_ledger(workspace), _store(workspace))
    typer.echo(f"{done.n_segments} segments with {done.n_trials:,} trials: every line and row is whole")
    typer.echo(f"{done.n_anchors} anchors in MLflow hold")
    if done.n_others:
        told = "`pipeline trials pull` brings what they pushed"
        typer.echo(f"{done.n_others} other ledgers are anchored in this store; {told}")
    if done.n_trials and not done.n_anchors:
        typer.echo("without an anchor nobody can tell whether looks at the end were cut off", err=True)
        raise typer.Exit(INSUFFICIENT)


@app.command()
def push(workspace: WorkspaceOption = "") -> None:
    """Put this workspace's looks and openings of the holdout into the MLflow store.

    What the store has already is left out.

    Example: pipeline trials push
    """
    from pipelines import ledger_exchange

    with _Refusing():
        names = ledger_exchange.push(_ledger(workspace), _store(workspace))
    n_lists = sum(name.startswith("opened-") for name in names)
    told = ", and the openings of the holdout" if n_lists else ""
    typer.echo(f"{len(names) - n_lists} segments pushed{told}")


@app.command()
def pull(workspace: WorkspaceOption = "") -> None:
    """Take in the looks and the openings of the holdout that others pushed; the workspace is made where it is missing.

    Each file is checked; one that parts from what is here is refused with exit code 3, and nothing of its push is
    taken in.

    Example: pipeline trials pull
    """
    from pipelines import ledger_exchange

    with _Refusing():
        place_of(workspace).create()
        done = ledger_exchange.pull(_ledger(workspace), _store(workspace))
    new, longer, n_trials = len(done.merged.new), len(done.merged.longer), done.merged.n_trials
    told = f"{n_trials:,} trials and {done.n_openings} openings of the holdout gained"
    typer.echo(f"{new} segments new, {longer} longer, {told}")


class _Refusing:
    """Turns a broken ledger into one message and exit code 3."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        if isinstance(fault, LedgerError):
            typer.echo(f"pipeline: {fault}", err=True)
            raise typer.Exit(REFUSED)


def _ledger(option: str) -> TrialLedger:
    place = place_of(option)
    if not place.trials.is_dir():
        raise UsageError("no trials here", str(place.root), "name the workspace with --workspace")
    from research_lab.scoring.trial_ledger import TrialLedger

    return TrialLedger(place.trials)


def _store(option: str) -> LedgerStore:
    from pipelines.tracking.connection import Connection
    from pipelines.tracking.ledger_store import LedgerStore

    return LedgerStore(Connection(place_of(option)))
