"""How far a search is, on one line: looks, best, refusals by kind, time left."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from pipelines.console import CampaignProgress
from research_lab.generators.search import Search

_EVERY_S: Final = 10.0  # in a log, where lines stay


class SearchProgress(CampaignProgress):
    """Progress of a search: `CampaignProgress`, told by generations; in a log one line every ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._last = -math.inf
        self._now = clock

    def told(self, search: Search, n: int) -> None:
        """Take note of a generation."""
        if self._interrupted:
            raise KeyboardInterrupt
        share, now = search.feedback.n_looks / n, self._now()
        if sys.stderr.isatty() or now - self._last >= _EVERY_S or share >= 1.0:
            self._last = now
            self(line_of(search, n), share)

    def say(self, line: str) -> None:
        """Print a sentence of its own."""
        sys.stderr.write(f"\r\033[K{line}\n" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()


def line_of(search: Search, n: int) -> str:
    """Return a search's state in one line."""
    state = search.feedback
    best = next(iter(state.archive), None)
    told = "none yet" if best is None else f"fitness {best.fitness:.2f}, Sharpe {best.sharpe:.2f}"
    return (
        f"{state.n_looks:,} of {n:,} looks, {len(state.archive)} elites, best: {told}; "
        f"refused: {refusals(search.refused)}"
    )


def refusals(refused: Mapping[str, int]) -> str:
    """Return refusals by their kind in words.

    Examples
    --------
    >>> refusals({"twice": 3, "gate 1": 1200})
    'gate 1 1,200, twice 3'
    >>> refusals({})
    'none'
    """
    return ", ".join(f"{kind} {n:,}" for kind, n in sorted(refused.items())) or "none"
