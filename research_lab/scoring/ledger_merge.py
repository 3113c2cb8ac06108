"""Union of ledgers: segments of other machines taken in, each one checked, nothing that is here replaced.

A segment has one writer and only grows, so of two copies one is the beginning of the other; the longer one
holds. Two that part are no copies of one segment: somebody changed one of them, and nothing is taken in.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research_lab.durable import atomic_write
from research_lab.errors import LedgerError
from research_lab.scoring.ledger_identity import established
from research_lab.scoring.ledger_segment import Segment
from research_lab.scoring.trial import fault_of_time
from research_lab.scoring.trial_ledger import TrialLedger

_LARGEST_DAY = 1e6  # a day's return, a fraction: no account is a million times itself by midnight


@dataclass(frozen=True)
class Merged:
    """What a union brought.

    Parameters
    ----------
    new, longer : segments that were not here, and that were here with fewer lines. n_trials : lines gained.
    """

    new: tuple[str, ...]
    longer: tuple[str, ...]
    n_trials: int


def merge(ledger: TrialLedger, source: Path) -> Merged:
    """Take the segments of a folder into a ledger: all that can be checked, or none.

    Parameters
    ----------
    source : holds seg-<32 hex>.jsonl and .f64 files, of which nothing is trusted.

    Raises
    ------
    LedgerError
        A segment there is broken, tells of a look that cannot be, or parts from the one of the same name here.
        Nothing was written.
    """
    paths = sorted(path for path in Path(source).glob("seg-*.jsonl") if Segment.is_one(path))
    theirs = [Segment(path) for path in paths]
    for segment in theirs:
        segment.verify()
        check_possible(segment, ledger.now())
    with ledger.alone():
        established(ledger.folder)  # before segments of others are here
        changes = [(segment, _gained(segment, ledger.folder)) for segment in theirs]
        for segment, gained in changes:
            if gained:
                _take_in(segment, ledger.folder)
    new = tuple(s.path.name for s, gained in changes if gained == len(s.heads))
    longer = tuple(s.path.name for s, gained in changes if 0 < gained < len(s.heads))
    n_headers = len(new)
    return Merged(new, longer, sum(gained for _, gained in changes) - n_headers)


def check_possible(segment: Segment, now_s: float) -> None:
    """Check that a segment tells of no look at a time that had not been, nor of returns beyond all measure.

    Raises
    ------
    LedgerError
        Naming file and line.
    """
    rows = segment.open_rows()
    for record in segment.records:
        fault = fault_of_time(record.trial, now_s)
        if not fault and record.n_days and np.abs(segment.row(record, rows)).max() > _LARGEST_DAY:
            fault = f"a daily return is above {_LARGEST_DAY:,.0f}"
        if fault:
            raise LedgerError(f"a look that cannot be: {fault}", f"{segment.path}:{record.line}")


def copy_segments(ledger: TrialLedger, target: Path) -> dict[str, str]:
    """Copy the whole lines and rows of every segment into a folder, and return the heads of the copies.

    Raises
    ------
    LedgerError
        A segment is broken, or tells of a look that nobody would take in.
    """
    with ledger.alone():
        for name in ledger.heads():
            path = ledger.folder / name
            shutil.copyfile(path, target / name)
            if path.with_suffix(".f64").exists():
                shutil.copyfile(path.with_suffix(".f64"), (target / name).with_suffix(".f64"))
    copied = TrialLedger(target)  # what a killed writer left at an end is cut off from the copy
    copied.verify()
    for name in copied.heads():
        segment = Segment(target / name)
        segment.refresh()
        check_possible(segment, ledger.now())
    return copied.heads()


def _gained(theirs: Segment, folder: Path) -> int:
    """Return how many lines a segment has that the one here has not; 0 when it has none."""
    here = folder / theirs.path.name
    if not here.exists():
        return len(theirs.heads)
    ours = Segment(here)
    ours.refresh()
    shared = min(len(ours.heads), len(theirs.heads))
    for n, (own, other) in enumerate(zip(ours.heads, theirs.heads, strict=False), start=1):
        if own != other:
            raise LedgerError(
                f"line {n} is another one in the segment that was brought ({other[:12]}, here {own[:12]})",
                f"{here}:{n}",
                "one of the two was changed: find out which, `pipeline trials verify` checks this one",
            )
    return len(theirs.heads) - shared


def _take_in(theirs: Segment, folder: Path) -> None:
    """Write rows first and then lines, so that a crash leaves no line without its row."""
    here = folder / theirs.path.name
    if theirs.rows_path.exists():
        atomic_write(here.with_suffix(".f64"), theirs.rows_path.read_bytes())
    atomic_write(here, theirs.path.read_bytes())
