"""Anchors the ledger's heads in MLflow while a campaign runs, so that its looks cannot be deleted unseen."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.tracking import Tracker
from research_lab.scoring.trial_ledger import TrialLedger

EVERY = 2_000  # looks


@dataclass
class Anchor:
    """Notes where the ledger stands in a campaign's run: after so many looks, and when asked to.

    Parameters
    ----------
    tracker, run : where to. ledger : of which.
    """

    tracker: Tracker
    run: str
    ledger: TrialLedger
    _n_since: int = 0
    _noted: dict[str, str] = field(default_factory=dict)

    def looked(self, n: int) -> None:
        """Take note of `n` more looks."""
        self._n_since += n
        if self._n_since >= EVERY:
            self.drop()

    def drop(self) -> None:
        """Anchor the heads, unless they stand where they stood."""
        heads = self.ledger.heads()
        self._n_since = 0
        if heads != self._noted:
            self.tracker.anchor_ledger(self.run, heads)
            self._noted = heads
