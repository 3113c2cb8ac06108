"""The command `pipeline calibrate`: how often the whole gauntlet is wrong, in numbers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from research_lab.errors import UsageError

if TYPE_CHECKING:
    from pipelines.calibration.one_world import Record


def calibrate(
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Folder for records, table and picture.")
    ] = "",
    whole: Annotated[
        bool, typer.Option("--all", help="Every row in full (hours); else noise and Sharpe 3 and 2.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A row, or row=worlds; repeatable.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Worlds of each row.")] = None,
    real: Annotated[Path | None, typer.Option("--real", help="Candles of an hour to draw from.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Limits to judge by.", show_default="the program's")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes.", show_default="one a core")
    ] = None,
) -> None:
    """Measure the error rates of the whole gauntlet.

    Complete campaigns run on worlds without an edge (false promotions) and with a planted one (power), beside
    naive pipelines, gates left out, and the bound. Interrupted, it goes on where it was.

    Example: pipeline calibrate --workspace calibration
    """
    from pipelines.calibration import picture, runs, table
    from pipelines.gates.policy import DEFAULT
    from research_lab.workspace import Workspace

    wanted = _wanted(whole, only or [], n, real)
    folder = Workspace.find(workspace).create().root / "calibration"
    shown = _Shown()
    records = runs.run_rows(folder / "worlds.jsonl", wanted, policy or DEFAULT, real, workers, shown)
    shown.end()
    found = table.lines(records)
    text = table.markdown(found)
    typer.echo(text)
    (folder / "error_rates.md").write_text(f"# Error rates of the gauntlet\n\n{text}", encoding="utf-8")
    (folder / "error_rates.json").write_text(
        json.dumps(table.to_json(found), indent=1) + "\n", encoding="utf-8"
    )
    typer.echo(
        f"written: {folder}/error_rates.md, .json and {picture.draw(found, folder / 'error_rates.png').name}"
    )
    raise typer.Exit(3 if any(line.met == "missed" for line in found) else 0)


def _wanted(whole: bool, only: list[str], n: int | None, real: Path | None) -> dict[str, int]:
    """Return how many worlds of which rows.

    Raises
    ------
    UsageError
        There is no such row, or `resampled` without candles.
    """
    from pipelines.calibration import rows

    if only:
        wanted = {}
        for each in only:
            name, _, count = each.partition("=")
            row = rows.row_named(name)
            if row is None or not (count == "" or (count.isdecimal() and int(count) > 0)):
                known = ", ".join(row.name for row in rows.ROWS)
                raise UsageError(f"no row {each!r}", "--only", f"rows are {known}; write row or row=worlds")
            wanted[name] = int(count) if count else n or row.n_worlds
    else:
        wanted = {row.name: n or row.n_worlds for row in rows.ROWS} if whole else dict(rows.QUICK)
        if n is not None:
            wanted = dict.fromkeys(wanted, n)
    if "resampled" in wanted and real is None:
        if only:
            raise UsageError("resampled draws from real candles", "--only", "name a file with --real")
        del wanted["resampled"]
        typer.echo("resampled is left out: it draws from real candles, name a file with --real", err=True)
    return wanted


class _Shown:
    """Progress on stderr: worlds done, the last one's outcome, time left if the rest goes as fast."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._first = 0
        self._live = sys.stderr.isatty()
        self._told = time.monotonic()

    def __call__(self, n_done: int, n_all: int, record: Record) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._first = now, n_done
        gone = now - self._begun
        each = gone / (n_done - self._first) if n_done > self._first else record.seconds
        left = each * (n_all - n_done) / 60.0
        outcome = "promoted" if record.promoted["gauntlet"] else "refused"
        line = (
            f"{n_done} of {n_all} worlds, about {left:.0f} min left; {record.row} {record.number}: {outcome}"
        )
        if self._live:
            sys.stderr.write(f"\r\033[K{line}")
        elif now - self._told > 10.0 or n_done == n_all:
            sys.stderr.write(line + "\n")
            self._told = now
        sys.stderr.flush()

    def end(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
