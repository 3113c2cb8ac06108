"""The worlds of the calibration side by side: what a record is bound to, and how a worker runs one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import research_lab
from live_shadow.symbols import read_symbols
from pipelines.calibration import rows
from pipelines.calibration.one_world import Record, run_world
from pipelines.calibration.records import in_turn, run_missing
from pipelines.gates.policy import Policy, load_policy
from pipelines.gates.world import code_hash
from research_lab.bars import read_candles
from research_lab.dsl.spec_reader import load_regimes
from research_lab.market_data.planted import PERPETUAL

REGIMES: Final = Path(research_lab.__file__).parent / "strategies" / "regimes.yaml"

Progress = Callable[[int, int, Record], None]


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
    n_workers, progress : as in `records.run_missing`.

    Raises
    ------
    GauntletError
        A world's campaign crashed; all others were run and recorded first.
    """
    named = "" if real is None else str(real)
    jobs = [Job(name, number, str(policy_file), named) for name, number in in_turn(wanted)]
    bound = bound_to(load_policy(policy_file), real)
    return run_missing(file, bound, jobs, _run, Record, n_workers, progress)


def _run(job: Job) -> Record:
    return run_job(job)


def run_job(job: Job) -> Record:
    """Make and run one world, in a worker."""
    policy = load_policy(Path(job.policy))
    row = next(row for row in rows.ROWS if row.name == job.row)
    terms = read_symbols().research_terms(PERPETUAL)
    real = read_candles(job.real) if job.real else None
    made = rows.make(row, job.number, policy, terms, real)
    return run_world(row, job.number, made, terms, load_regimes(REGIMES), policy)
