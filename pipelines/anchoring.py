"""Anchors the heads of ledger and openings in MLflow while a campaign runs: neither can be deleted unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.tracking.ledger_store import LedgerStore
from research_lab.market_data.lake import Lake
from research_lab.market_data.openings import OWN, Openings
from research_lab.scoring.trial_ledger import TrialLedger

EVERY = 2_000  # looks


def heads_of(ledger: TrialLedger, lake: Lake) -> dict[str, str]:
    """Return what to anchor: the last hash of each segment and of each list of openings, by file name."""
    return {**ledger.heads(), **lake.openings.heads()}


def check_openings(lake: Lake, anchored: Mapping[str, str]) -> dict[str, str]:
    """Check the openings against an anchor, and return what it says of the ledger.

    Raises
    ------
    LedgerError
        An opening that was anchored is gone.
    """
    opened = {name: head for name, head in anchored.items() if name == OWN or Openings.is_one(name)}
    lake.openings.check(opened)
    return {name: head for name, head in anchored.items() if name not in opened}


@dataclass
class Anchor:
    """Notes where the ledger stands in a campaign's run: after so many looks, and when asked to.

    Parameters
    ----------
    store, run : where to. ledger, lake : of which.
    """

    store: LedgerStore
    run: str
    ledger: TrialLedger
    lake: Lake
    _n_since: int = 0
    _noted: dict[str, str] = field(default_factory=dict)

    def looked(self, n: int) -> None:
        """Take note of `n` more looks."""
        self._n_since += n
        if self._n_since >= EVERY:
            self.drop()

    def drop(self) -> None:
        """Anchor the heads, unless they stand where they stood."""
        heads = heads_of(self.ledger, self.lake)
        self._n_since = 0
        if heads != self._noted:
            self.store.anchor(self.run, heads)
            self._noted = heads
