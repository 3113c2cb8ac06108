"""Many worlds side by side, one line each in a file: interrupted, it goes on where it was.

A line is written when its world is done, so a kill loses at most the worlds that were running. Lines are bound
to code, policy and strategies; those of others are left alone and not counted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import research_lab
from live_shadow.symbols import read_symbols
from pipelines.calibration import rows
from pipelines.calibration.one_world import Record, run_world
from pipelines.gates.policy import Policy, load_policy
from pipelines.gates.world import code_hash
from research_lab.bars import read_candles
from research_lab.dsl.spec_reader import load_regimes
from research_lab.errors import GauntletError, WorkspaceError
from research_lab.market_data.planted import PERPETUAL

REGIMES: Final = Path(research_lab.__file__).parent / "strategies" / "regimes.yaml"

Progress = Callable[[int, int, Record], None]


@dataclass(frozen=True)
class Crash:
    """A world whose campaign ended in an error; it has no record, and is run again the next time."""

    row: str
    number: int
    error: str


@dataclass(frozen=True)
class Job:
    """One world to run; everything a worker needs to make it."""

    row: str
    number: int
    policy: str
    real: str


def bound_to(policy: Policy, real: Path | None) -> str:
    """Return the hash of all that a record depends on."""
    parts = [code_hash(), policy.hash, *(s.template_hash for s in rows.strategies().values())]
    parts += [
        Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("rows.py", "one_world.py")
    ]
    parts += [repr(read_symbols().research_terms(PERPETUAL)), load_regimes(REGIMES).hash]
    parts.append("" if real is None else read_candles(real).snapshot)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run_rows(
    file: Path,
    wanted: Mapping[str, int],
    policy_file: Path,
    real: Path | None,
    n_workers: int | None,
    progress: Progress,
) -> list[Record]:
    """Run the first worlds of some rows, those that the file does not have yet; return all records wanted.

    Parameters
    ----------
    file : JSON lines, made when missing. wanted : worlds by row.
    n_workers : processes; one a core when None. Their number changes nothing but the time.
    progress : told after each world: how many are done, of how many, and its record.

    Raises
    ------
    GauntletError
        A world's campaign crashed; all others were run and recorded first.
    """
    from joblib import Parallel, delayed

    bound = bound_to(load_policy(policy_file), real)
    known = {(r.row, r.number): r for r in read_records(file, bound)}
    jobs = [
        Job(name, number, str(policy_file), "" if real is None else str(real))
        for number in range(max(wanted.values(), default=0))
        for name, n in wanted.items()
        if number < n and (name, number) not in known
    ]
    n_all, n_done = sum(wanted.values()), sum((n, k) in known for n, w in wanted.items() for k in range(w))
    file.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_end(file)
    crashes: list[Crash] = []
    workers = Parallel(n_jobs=n_workers or os.cpu_count() or 1, return_as="generator_unordered", batch_size=1)
    with file.open("a", encoding="utf-8") as out:
        for record in workers(delayed(_attempt)(job) for job in jobs):
            if isinstance(record, Crash):
                crashes.append(record)
                continue
            out.write(json.dumps({"bound_to": bound, **record.to_json()}) + "\n")
            out.flush()
            known[record.row, record.number] = record
            n_done += 1
            progress(n_done, n_all, record)
    if crashes:
        first = crashes[0]
        raise GauntletError(
            f"{len(crashes)} of {n_all} worlds crashed; {first.error}",
            f"{first.row} {first.number}",
            "the others are recorded; the same command tries these again",
        )
    return [known[name, k] for name, n in wanted.items() for k in range(n)]


def _attempt(job: Job) -> Record | Crash:
    """Run one world; whatever goes wrong in it is told at the end, not in the middle of hours of others."""
    try:
        return run_job(job)
    except Exception as fault:  # noqa: BLE001 - it is told when all others are done
        return Crash(job.row, job.number, f"{type(fault).__name__}: {fault}")


def _cut_torn_end(file: Path) -> None:
    """Cut off a last line without its end, which a kill may leave: what follows would be glued to it."""
    if file.exists():
        content = file.read_bytes()
        os.truncate(file, content.rfind(b"\n") + 1)


def run_job(job: Job) -> Record:
    """Make and run one world, in a worker."""
    policy = load_policy(Path(job.policy))
    row = next(row for row in rows.ROWS if row.name == job.row)
    terms = read_symbols().research_terms(PERPETUAL)
    real = read_candles(job.real) if job.real else None
    made = rows.make(row, job.number, policy, terms, real)
    return run_world(row, job.number, made, terms, load_regimes(REGIMES), policy)


def read_records(file: Path, bound: str | None = None) -> list[Record]:
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
                found.append(Record(**content))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WorkspaceError(f"line {k} is no record", str(file), "move the file away") from None
    return found
