"""The command `live-shadow`: parse, call, print. Heavy modules are imported where they are used."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from research_lab.errors import GauntletError, UsageError

app = typer.Typer(
    name="live-shadow",
    help="Paper trading of what the enable_map enables: one engine, the backtest's, a bar at a time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Folder of the workspace. [env: GAUNTLET_WORKSPACE]"),
]


@app.command(epilog="Example: live-shadow init --workspace ws")
def init(workspace: WorkspaceOption = None) -> None:
    """Give a workspace its pinned limits, an empty enable_map and the symbols' rules.

    What exists is left alone: running it again changes nothing.
    """
    from live_shadow import governance, symbols
    from live_shadow.enable_map import EnableMap, dump_map, read_map
    from research_lab.durable import atomic_write
    from research_lab.workspace import Workspace

    place = Workspace.find(workspace)
    place.executor.mkdir(parents=True, exist_ok=True)
    limits = governance.init(place.root)
    if not place.enable_map.exists():
        atomic_write(place.enable_map, dump_map(EnableMap()))
    rules = place.root / symbols.FILE
    if not rules.exists():
        atomic_write(rules, symbols.DEFAULTS.read_bytes())
    enabled = read_map(place.enable_map)
    print(f"workspace  {place.root}")
    print(f"limits     pinned {limits.hash[:12]}: {limits.risk_per_trade:.2%} risk per trade, "
          f"{limits.daily_loss:.2%} daily loss, {limits.drawdown_72h:.2%} drawdown, leverage "
          f"{limits.leverage:g}, {limits.max_slots} slots")  # fmt: skip
    print(f"map        version {enabled.version}, {len(enabled.entries)} entries")


@app.command(epilog="Example: live-shadow replay --data binance_BTC-USDT_1h.parquet --workspace ws")
def replay(
    data: Annotated[Path, typer.Option("--data", help="Parquet file of candles: the feed.")],
    funding: Annotated[
        Path | None,
        typer.Option("--funding", help="Parquet file of funding rates, for a perpetual."),
    ] = None,
    spot: Annotated[
        Path | None,
        typer.Option("--spot", help="Spot candles on the same grid, for the premium."),
    ] = None,
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
    capital: Annotated[
        float | None,
        typer.Option("--capital", help="Capital of a new account, quote currency. [default: 10000]"),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Replay a candle file through the enable_map, and go on where the ledger ends.

    Ctrl-C stops between two bars; the next start continues with the bar after.
    """
    from live_shadow import replay as runner
    from research_lab.series import named_files
    from research_lab.workspace import Workspace

    series_files, market_files = (
        named_files(given or [], option) for given, option in ((series, "--series"), (market, "--market"))
    )
    feed = runner.Feed(data, funding, spot, capital, series_files, market_files)
    outcome = runner.replay(Workspace.find(workspace), feed, _say)
    print(
        f"{outcome.n_taken:,} bars taken, {outcome.n_warm:,} to warm up, {outcome.n_known:,} known before, "
        f"{outcome.n_refused:,} refused"
    )
    if outcome.interrupted:
        _say("interrupted; start it again to go on with the next bar")
        raise typer.Exit(INTERRUPTED)


@app.command(epilog="Example: live-shadow why --at 2024-03-01T12:00:00Z --workspace ws")
def why(
    at: Annotated[
        str | None,
        typer.Option("--at", help="A time such as 2024-03-01T12:00:00Z; the last bar when left out."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Count the reasons of all bars opened from this time on instead."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Say why it is trading or not: each slot's decision, what stands in the way, what must happen next."""
    from live_shadow import why as answers
    from live_shadow.ledger import Ledger
    from research_lab.workspace import Workspace

    if at is not None and since is not None:
        raise UsageError("--at and --since together", "why", "give one of them")
    moment = _time(at, "--at")
    first = _time(since, "--since")
    with Ledger.open(Workspace.find(workspace).ledger) as ledger:
        if first is None:
            print(answers.describe(answers.standing(ledger, moment)))
        else:
            print(answers.describe_counts(answers.counts(ledger, first)))


@app.command(epilog="Example: live-shadow status --workspace ws")
def status(workspace: WorkspaceOption = None) -> None:
    """Print equity, profit, positions and the last bar."""
    from live_shadow import why as answers
    from live_shadow.ledger import Ledger
    from research_lab.workspace import Workspace

    with Ledger.open(Workspace.find(workspace).ledger) as ledger:
        print(answers.describe_status(ledger))


def _time(text: str | None, option: str) -> int | None:
    """Return a time in ms UTC; a date alone is its midnight."""
    if text is None:
        return None
    from datetime import UTC, datetime

    if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?", text, re.ASCII):
        try:
            return int(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            pass
    raise UsageError(f"{text[:40]!r} is no time", option, "write it like 2024-03-01T12:00:00Z, UTC")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command; an error raised on purpose is one message and its exit code."""
    try:
        app()
    except GauntletError as error:
        _say(f"live-shadow: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
