"""Looks, and openings of holdouts, through the MLflow store: what this workspace has goes up, what others have comes.

Nothing that comes is trusted: every chain and row is checked, and must continue what is here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.anchoring import check_openings
from pipelines.tracking.ledger_store import LedgerStore
from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError
from research_lab.market_data.lake import Lake
from research_lab.market_data.openings import Openings
from research_lab.scoring.ledger_merge import Merged, copy_segments, merge
from research_lab.scoring.ledger_segment import Segment
from research_lab.scoring.trial_ledger import TrialLedger


@dataclass(frozen=True)
class Checked:
    """What was found whole: segments, trials, and anchors that still hold; and how many other ledgers have some."""

    n_segments: int
    n_trials: int
    n_anchors: int
    n_others: int


@dataclass(frozen=True)
class Pulled:
    """What a pull brought: a union of segments, and openings of holdouts."""

    merged: Merged
    n_openings: int

    def __add__(self, other: Pulled) -> Pulled:
        one, two = self.merged, other.merged
        both = Merged(one.new + two.new, one.longer + two.longer, one.n_trials + two.n_trials)
        return Pulled(both, self.n_openings + other.n_openings)


def verify(ledger: TrialLedger, store: LedgerStore) -> Checked:
    """Check every line and row, and every anchor that was ever dropped for this workspace, openings included.

    Raises
    ------
    LedgerError
        Naming file and line of the first break.
    """
    ledger.verify()
    anchors = store.anchors()
    for anchor in anchors:
        ledger.verify_heads(check_openings(Lake(store.connection.workspace.root), anchor))
    return Checked(len(ledger.heads()), len(ledger.every()), len(anchors), store.n_other_ledgers())


def push(ledger: TrialLedger, store: LedgerStore) -> list[str]:
    """Put what the store has not into it, segments and the list of openings, and return the names."""
    there = {(name, head) for _, heads in store.pushed() for name, head in heads.items()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        heads = copy_segments(ledger, folder) | Lake(store.connection.workspace.root).openings.copy(folder)
        fresh = {name: head for name, head in heads.items() if (name, head) not in there}
        for path in list(folder.iterdir()):
            if path.with_suffix(".jsonl").name not in fresh:
                path.unlink()
        if fresh:
            store.push_segments(folder, fresh)
    return sorted(fresh)


def pull(ledger: TrialLedger, store: LedgerStore) -> Pulled:
    """Take in what is not here, or is longer in the store, segments and lists of openings: all, or none of a push.

    A push that is refused keeps no other from coming in.

    Raises
    ------
    LedgerError
        A file is broken, tells of what cannot be, is not what its push said, or parts from the one of the same
        name here. It is raised when all other pushes are in.
    """
    openings = Lake(store.connection.workspace.root).openings
    found, refused = Pulled(Merged((), (), 0), 0), []
    for run, heads in store.pushed():
        wanted = {name: head for name, head in heads.items() if _is_missing(name, head, ledger, openings)}
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as place:
            store.fetch_segments(run, sorted(wanted), Path(place))
            try:
                found += _taken_in(Path(place), wanted, ledger, openings)
            except LedgerError as fault:
                where = fault.where.replace(f"{place}/", "")
                refused.append(
                    LedgerError(fault.what, where, f"nothing of it was taken in (MLflow run {run})")
                )
    if refused:
        n, first = found.merged.n_trials, refused[0]
        others = f"; {len(refused) - 1} more were refused" if len(refused) > 1 else ""
        remedy = f"{first.remedy}{others}; all other pushes are in, {n:,} trials gained"
        raise LedgerError(first.what, first.where, remedy)
    return found


def _taken_in(folder: Path, wanted: dict[str, str], ledger: TrialLedger, openings: Openings) -> Pulled:
    """Take in the files of one push, all or none."""
    _check_heads(folder, wanted)
    lists = [folder / name for name in sorted(wanted) if Openings.is_one(name)]
    for path in lists:
        openings.gained(path)  # one that is broken stops the push before anything is taken in
    merged = merge(ledger, folder)
    return Pulled(merged, sum(map(openings.take, lists)))


def _is_missing(name: str, head: str, ledger: TrialLedger, openings: Openings) -> bool:
    """Whether a file of a push is wanted here; a name that leads elsewhere is not."""
    if Openings.is_one(name):
        return not openings.has(name, head)
    return Path(name).name == name and Segment.is_one(Path(name)) and not ledger.has({name: head})


def _check_heads(folder: Path, wanted: dict[str, str]) -> None:
    for name, head in wanted.items():
        path = folder / name
        if not path.exists():
            raise LedgerError("it was pushed, and the store does not have it", name, "push it again")
        found = ChainedLog(path).anchor()[1] if Openings.is_one(name) else _verified(path)
        if found != head:
            raise LedgerError(
                f"its last line has {found[:12]}, it was pushed with {head[:12]}",
                name,
                "push it again from where it was written",
            )


def _verified(path: Path) -> str:
    segment = Segment(path)
    segment.verify()
    return segment.head
