"""The command `pipeline calibrate`: how often the whole gauntlet is wrong, in numbers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from research_lab.errors import UsageError

if TYPE_CHECKING:
    from pipelines.calibration.generator_rows import GeneratorRow
    from pipelines.calibration.records import Recorded
    from pipelines.calibration.rows import Row


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
    generators: Annotated[
        bool, typer.Option("--generators", help="What generators find, and how fast they are.")
    ] = False,
) -> None:
    """Measure the error rates of the whole gauntlet.

    Complete campaigns run on worlds without an edge (false promotions) and with a planted one (power), beside
    naive pipelines, gates left out, and the bound. Interrupted, it goes on where it was. With --generators nobody
    proposes the planted strategy: evolution and random grammar are to find it.

    Example: pipeline calibrate --workspace calibration
    """
    from pipelines.gates.policy import DEFAULT
    from research_lab.workspace import Workspace

    folder = Workspace.find(workspace).create().root / "calibration"
    limits = policy or DEFAULT
    if generators:
        missed = _of_generators(folder, limits, whole, only or [], n, workers)
    else:
        missed = _of_gauntlet(folder, limits, whole, only or [], n, workers, real)
    raise typer.Exit(3 if missed else 0)


def _of_gauntlet(
    folder: Path,
    policy: Path,
    whole: bool,
    only: list[str],
    n: int | None,
    workers: int | None,
    real: Path | None,
) -> bool:
    """Run rows in which the planted strategy is proposed; return whether one missed what is wanted of it."""
    from pipelines.calibration import picture, rows, runs, table

    wanted = _wanted(rows.ROWS, rows.QUICK, whole, only, n)
    if "resampled" in wanted and real is None:
        if only:
            raise UsageError("resampled draws from real candles", "--only", "name a file with --real")
        del wanted["resampled"]
        typer.echo("resampled is left out: it draws from real candles, name a file with --real", err=True)
    shown = _Shown()
    records = runs.run_rows(
        folder / "worlds.jsonl", wanted, policy, real, workers,
        lambda done, of, r: shown(done, of, r, r.promoted["gauntlet"], r.seconds),
    )  # fmt: skip
    shown.end()
    found = table.lines(records)
    text = table.markdown(found)
    _write(folder / "error_rates", "Error rates of the gauntlet", text, table.to_json(found))
    typer.echo(
        f"written: {folder}/error_rates.md, .json and {picture.draw(found, folder / 'error_rates.png').name}"
    )
    return any(line.met == "missed" for line in found)


def _of_generators(
    folder: Path, policy: Path, whole: bool, only: list[str], n: int | None, workers: int | None
) -> bool:
    """Run rows in which generators search; return whether one missed what is wanted of it.

    Speed is measured behind all worlds, when nothing of ours runs beside it, and not where rows are named.
    """
    from pipelines.calibration import generator_pace, generator_rows, generator_runs, generator_table
    from pipelines.gates.policy import load_policy

    wanted = _wanted(generator_rows.ROWS, generator_rows.QUICK, whole, only, n)
    shown = _Shown()
    records = generator_runs.run_rows(
        folder / "generators.jsonl", wanted, policy, workers,
        lambda done, of, r: shown(done, of, r, r.promoted, sum(r.seconds)),
    )  # fmt: skip
    shown.end()
    pace = None if only else generator_pace.measure(load_policy(policy))
    found, beside = generator_table.lines(records), generator_table.comparison(records)
    text = generator_table.markdown(found, beside, pace)
    _write(folder / "generators", "What generators find", text, generator_table.to_json(found, beside, pace))
    typer.echo(f"written: {folder}/generators.md, .json")
    verdicts = [line.met for line in found]
    verdicts += [beside.met] if beside is not None else []
    verdicts += pace.met if pace is not None else ()
    return "missed" in verdicts


def _write(path: Path, title: str, text: str, data: object) -> None:
    typer.echo(text)
    path.with_suffix(".md").write_text(f"# {title}\n\n{text}", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _wanted(
    rows: Sequence[Row | GeneratorRow],
    quick: Mapping[str, int],
    whole: bool,
    only: Sequence[str],
    n: int | None,
) -> dict[str, int]:
    """Return how many worlds of which rows.

    Raises
    ------
    UsageError
        There is no such row.
    """
    if not only:
        wanted = {row.name: n or row.n_worlds for row in rows} if whole else dict(quick)
        return wanted if n is None else dict.fromkeys(wanted, n)
    known = {row.name: row for row in rows}
    wanted = {}
    for each in only:
        name, _, count = each.partition("=")
        if name not in known or not (count == "" or (count.isdecimal() and int(count) > 0)):
            raise UsageError(
                f"no row {each!r}", "--only", f"rows are {', '.join(known)}; write row or row=worlds"
            )
        wanted[name] = int(count) if count else n or known[name].n_worlds
    return wanted


class _Shown:
    """Progress on stderr: worlds done, the last one's outcome, time left if the rest goes as fast."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._first = 0
        self._live = sys.stderr.isatty()
        self._told = time.monotonic()

    def __call__(self, n_done: int, n_all: int, record: Recorded, promoted: bool, seconds: float) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._first = now, n_done
        gone = now - self._begun
        each = gone / (n_done - self._first) if n_done > self._first else seconds
        left = each * (n_all - n_done) / 60.0
        outcome = "promoted" if promoted else "refused"
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
