"""The trial ledger as it was when evidence was measured: a view that ends where its heads say.

Evidence of gate 6 names the ledger that it was held against by one hash over all heads. Whoever kept those
heads can open the ledger there again, since lines are only ever added. Nothing can be added to the past: a
look that the view does not have is refused, and so shows that something was measured that was not then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from research_lab.errors import LedgerError
from research_lab.scoring.ledger_segment import Segment
from research_lab.scoring.trial_ledger import TrialLedger


class PastSegment(Segment):
    """A segment up to the line with a hash.

    Parameters
    ----------
    until : the hash. LedgerError is raised on reading when no line has it.
    """

    def __init__(self, path: Path, until: str) -> None:
        super().__init__(path)
        self._until = until

    def refresh(self) -> bool:
        changed = super().refresh()
        if self._until not in self.heads:
            raise LedgerError(
                f"no line has the hash {self._until[:12]} that evidence was bound to",
                str(self.path),
                "restore the segment from a copy",
            )
        n_lines = 1 + self.heads.index(self._until)
        del self.heads[n_lines:], self.records[n_lines - 1 :]
        return changed


class PastLedger(TrialLedger):
    """The trials of a workspace up to given heads; reading is all that it can do.

    Parameters
    ----------
    heads : what `TrialLedger.heads` returned then: each segment's last hash by file name.

    Raises
    ------
    LedgerError
        A segment is gone, or has no such line.
    """

    def __init__(self, folder: Path | str, heads: Mapping[str, str]) -> None:
        self._then = dict(heads)
        super().__init__(folder)
        gone = sorted(self._then.keys() - {path.name for path in self._paths()})
        if gone:
            raise LedgerError("a segment is gone", str(self.folder / gone[0]), "restore it from a copy")

    def _paths(self) -> list[Path]:
        return [path for path in super()._paths() if path.name in self._then]

    def _opened(self, path: Path) -> Segment:
        return PastSegment(path, self._then[path.name])

    def _cut_torn_ends(self) -> None:
        """Leave the files alone: what was torn later is not part of the past."""

    def _own_segment(self) -> Segment:
        raise LedgerError(
            "a look that was not counted when the evidence was measured",
            str(self.folder),
            "the evidence does not follow from strategy, data and protocol; run the campaign again",
        )
