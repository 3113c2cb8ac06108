"""Which of the anchors in a store are a workspace's own, wherever the workspace lies now.

An anchor names the ledger, the place that it was dropped from (machine and path), and whether the store is the
workspace's own database. A workspace answers for:

- the anchors of its ledger, by id, or by what it was called before ledgers had ids;
- all that were dropped as its own into its own database, also when the ledger here is another one now;
- where its ledger was never anchored: the ledger that was last anchored from this very place. Whoever deletes a
  ledger and begins anew is found by this.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research_lab.scoring.ledger_identity import Identity, former_name


@dataclass(frozen=True)
class Noted:
    """An anchor as a store lists it.

    Parameters
    ----------
    run : that holds it. ledger : id, or what it was called before. place : "" before places were noted.
    own_store : dropped by a workspace into its own database. at : sorts by time.
    """

    run: str
    ledger: str
    place: str
    own_store: bool
    at: str


def place_of(root: Path) -> str:
    """Return what tells this folder on this machine from others."""
    return hashlib.sha256(f"{platform.node()}\n{root}".encode()).hexdigest()[:16]


def answered_for(noted: Sequence[Noted], ledger: Identity, root: Path, *, own_store: bool) -> list[Noted]:
    """Return the anchors that the workspace at `root` answers for, the oldest first.

    Parameters
    ----------
    noted : all anchors in the store. own_store : whether the store is the workspace's own database.
    """
    ordered = sorted(noted, key=lambda one: one.at)
    own = [one for one in ordered if one.ledger in ledger.names or (own_store and one.own_store)]
    if own:
        return own
    last = {one.ledger: one for one in ordered}
    here = [one for one in last.values() if one.place == place_of(root) or one.ledger == former_name(root)]
    if not here:
        return []
    newest = max(here, key=lambda one: one.at).ledger
    return [one for one in ordered if one.ledger == newest]
