"""Campaigns of generated candidates side by side: what a record is bound to, and how a worker runs one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from live_shadow.symbols import read_symbols
from pipelines.calibration import generator_rows, rows
from pipelines.calibration.hunt import Hunt, run_world
from pipelines.calibration.records import in_turn, run_missing
from pipelines.calibration.runs import REGIMES
from pipelines.gates.policy import Policy, load_policy
from pipelines.gates.world import code_hash
from pipelines.generation.generator_registry import Made, make
from research_lab.dsl.spec_reader import load_regimes
from research_lab.market_data.planted import PERPETUAL

Progress = Callable[[int, int, Hunt], None]

_SOURCES: Final = ("generator_rows.py", "hunt.py")


@dataclass(frozen=True)
class Job:
    """One world to run; everything a worker needs to make it."""

    row: str
    number: int
    policy: str


def bound_to(policy: Policy) -> str:
    """Return the hash of all that a record depends on."""
    parts = [code_hash(), policy.hash, *(s.template_hash for s in rows.strategies().values())]
    parts += [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _SOURCES]
    parts += [repr(read_symbols().research_terms(PERPETUAL)), load_regimes(REGIMES).hash]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run_rows(
    file: Path, wanted: Mapping[str, int], policy_file: Path, n_workers: int | None, progress: Progress
) -> list[Hunt]:
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
    jobs = [Job(name, number, str(policy_file)) for name, number in in_turn(wanted)]
    bound = bound_to(load_policy(policy_file))
    return run_missing(file, bound, jobs, _run, Hunt, n_workers, progress)


def _run(job: Job) -> Hunt:
    return run_job(job)


def run_job(job: Job, first_seed: int = generator_rows.FIRST_SEED) -> Hunt:
    """Make and run one world, in a worker."""
    policy = load_policy(Path(job.policy))
    row = next(row for row in generator_rows.ROWS if row.name == job.row)
    terms = read_symbols().research_terms(PERPETUAL)
    hidden = generator_rows.make(row, job.number, policy, terms, first_seed)
    generator = make(row.generator, Made())
    return run_world(row, job.number, hidden, generator, terms, load_regimes(REGIMES), policy)
