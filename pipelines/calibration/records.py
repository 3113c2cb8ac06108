"""Records of many worlds in a file, one line each: a run that was interrupted goes on where it was.

A line is written when its world is done, so a kill loses at most the worlds that were running. Lines are bound
to all that they depend on; those of another state are left alone and not counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from research_lab.errors import GauntletError, WorkspaceError


class OfWorld(Protocol):
    """Which world something is of."""

    @property
    def row(self) -> str: ...
    @property
    def number(self) -> int: ...


class Recorded(OfWorld, Protocol):
    """What came of one world."""

    def to_json(self) -> dict[str, Any]: ...


J = TypeVar("J", bound=OfWorld)
R = TypeVar("R", bound=Recorded)


@dataclass(frozen=True)
class Crash:
    """A world whose campaign ended in an error; it has no record, and is run again the next time."""

    row: str
    number: int
    error: str


def in_turn(wanted: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Return row and number of all worlds: the first of each row, the second of each, and so on."""
    for number in range(max(wanted.values(), default=0)):
        for name, n in wanted.items():
            if number < n:
                yield name, number


def run_missing(
    file: Path,
    bound: str,
    jobs: Sequence[J],
    run: Callable[[J], R],
    of_json: Callable[..., R],
    n_workers: int | None,
    progress: Callable[[int, int, R], None],
) -> list[R]:
    """Run the jobs that the file has no record of; return the records of all, in the order of rows and numbers.

    Parameters
    ----------
    file : JSON lines, made when missing. bound : hash of all that a record depends on.
    run : makes a record, in a worker. of_json : makes one from the fields of a line.
    n_workers : processes; one a core when None. Their number changes nothing but the time.
    progress : told after each world: how many are done, of how many, and its record.

    Raises
    ------
    GauntletError
        A world's campaign crashed; all others were run and recorded first.
    """
    from joblib import Parallel, delayed

    wanted = [(job.row, job.number) for job in jobs]
    known = {(r.row, r.number): r for r in read_records(file, of_json, bound)}
    missing = [job for job in jobs if (job.row, job.number) not in known]
    n_done = len(jobs) - len(missing)
    file.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_end(file)
    crashes: list[Crash] = []
    workers = Parallel(n_jobs=n_workers or os.cpu_count() or 1, return_as="generator_unordered", batch_size=1)
    with file.open("a", encoding="utf-8") as out:
        for record in workers(delayed(_attempt)(run, job) for job in missing):
            if isinstance(record, Crash):
                crashes.append(record)
                continue
            out.write(json.dumps({"bound_to": bound, **record.to_json()}) + "\n")
            out.flush()
            known[record.row, record.number] = record
            n_done += 1
            progress(n_done, len(jobs), record)
    if crashes:
        first = crashes[0]
        raise GauntletError(
            f"{len(crashes)} of {len(jobs)} worlds crashed; {first.error}",
            f"{first.row} {first.number}",
            "the others are recorded; the same command tries these again",
        )
    rows = list(dict.fromkeys(name for name, _ in wanted))
    return [known[place] for place in sorted(wanted, key=lambda place: (rows.index(place[0]), place[1]))]


def _attempt(run: Callable[[J], R], job: J) -> R | Crash:
    """Run one world; whatever goes wrong in it is told at the end, not in the middle of hours of others."""
    try:
        return run(job)
    except Exception as fault:  # noqa: BLE001 - it is told when all others are done
        return Crash(job.row, job.number, f"{type(fault).__name__}: {fault}")


def _cut_torn_end(file: Path) -> None:
    """Cut off a last line without its end, which a kill may leave: what follows would be glued to it."""
    if file.exists():
        content = file.read_bytes()
        os.truncate(file, content.rfind(b"\n") + 1)


def read_records(file: Path, of_json: Callable[..., R], bound: str | None = None) -> list[R]:
    """Return the records of a file, those bound to one state of the code only when it is given.

    Raises
    ------
    WorkspaceError
        A line is damaged; a last one without its end is left out, for a kill leaves such.
    """
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    found = []
    for k, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            if content.pop("bound_to") == bound or bound is None:
                found.append(of_json(**content))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WorkspaceError(f"line {k} is no record", str(file), "move the file away") from None
    return found
