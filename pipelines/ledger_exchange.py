"""Segments of the trial ledger through the MLflow store: what this workspace has goes up, what others have comes.

Nothing that comes is trusted: each segment's chain and rows are checked, and it must continue what is here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.anchoring import check_openings
from pipelines.tracking import Tracker
from research_lab.errors import LedgerError
from research_lab.market_data.lake import Lake
from research_lab.scoring.ledger_merge import Merged, copy_segments, merge
from research_lab.scoring.ledger_segment import Segment
from research_lab.scoring.trial_ledger import TrialLedger


@dataclass(frozen=True)
class Checked:
    """What was found whole: segments, trials, and anchors of this workspace that still hold."""

    n_segments: int
    n_trials: int
    n_anchors: int


def verify(ledger: TrialLedger, tracker: Tracker) -> Checked:
    """Check every line and row, and every anchor that was ever dropped for this workspace, openings included.

    Raises
    ------
    LedgerError
        Naming file and line of the first break.
    """
    ledger.verify()
    anchors = tracker.anchors()
    for anchor in anchors:
        ledger.verify_heads(check_openings(Lake(tracker.workspace.root), anchor))
    return Checked(len(ledger.heads()), len(ledger.every()), len(anchors))


def push(ledger: TrialLedger, tracker: Tracker) -> list[str]:
    """Put the segments that the store has not into it, and return their names."""
    there = {(name, head) for _, heads in tracker.pushed() for name, head in heads.items()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        heads = copy_segments(ledger, folder)
        fresh = {name: head for name, head in heads.items() if (name, head) not in there}
        for path in list(folder.iterdir()):
            if path.with_suffix(".jsonl").name not in fresh:
                path.unlink()
        if fresh:
            tracker.push_segments(folder, fresh)
    return sorted(fresh)


def pull(ledger: TrialLedger, tracker: Tracker) -> Merged:
    """Take in the segments of the store that are not here, or are longer there: all, or none of a push.

    Raises
    ------
    LedgerError
        A segment is broken, is not what its push said, or parts from the one of the same name here.
    """
    new: list[str] = []
    longer: list[str] = []
    n_trials = 0
    for run, heads in tracker.pushed():
        names = [n for n in heads if Path(n).name == n and Segment.is_one(Path(n))]  # none leads elsewhere
        wanted = {n: heads[n] for n in names if not ledger.has({n: heads[n]})}
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as place:
            tracker.fetch_segments(run, sorted(wanted), Path(place))
            _check_heads(Path(place), wanted)
            merged = merge(ledger, Path(place))
        new += merged.new
        longer += merged.longer
        n_trials += merged.n_trials
    return Merged(tuple(new), tuple(longer), n_trials)


def _check_heads(folder: Path, wanted: dict[str, str]) -> None:
    for name, head in wanted.items():
        segment = Segment(folder / name)
        if not segment.path.exists():
            raise LedgerError("it was pushed, and the store does not have it", name, "push it again")
        segment.verify()
        if segment.head != head:
            raise LedgerError(
                f"its last line has {segment.head[:12]}, it was pushed with {head[:12]}",
                name,
                "push it again from where it was written",
            )
