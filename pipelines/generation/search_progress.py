"""How far a search is, on one line: looks, candidates, best, refusals by kind, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pipelines.console import CampaignProgress
from research_lab.generators.search import Search
from research_lab.wording import count


class SearchProgress(CampaignProgress):
    """Progress of a search: `CampaignProgress`, told by generations, of which a log has only some.

    What remains is estimated from the second generation on: the first one compiles.
    """

    first = enough = 0.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._stage = "the first generation", 0.0

    def told(self, search: Search, n: int) -> None:
        """Take note of a generation."""
        share = search.feedback.n_looks / n
        self.note(line_of(search, n), share, kept=search.was_kept)
        if self.is_live or self.is_due or share >= 1.0:
            self.show()


def line_of(search: Search, n: int) -> str:
    """Return a search's state in one line."""
    state = search.feedback
    elites = state.archive.fittest
    best = next(iter(elites), None)
    told = "none yet" if best is None else f"fitness {best.fitness:.2f}, Sharpe {best.sharpe:.2f}"
    n_candidates = state.n_looks + sum(search.refused.values()) - search.refused["crashed"]
    return (
        f"{state.n_looks:,} of {count(n, 'look')}, {count(n_candidates, 'candidate')}, "
        f"{count(len(elites), 'elite')}, best: {told}; refused: {refusals(search.refused)}"
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
