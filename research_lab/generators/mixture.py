"""Two generators in one search: a language model's variations among evolution's, say, in one archive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research_lab.errors import UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Feedback, Generator, Proposal

_SEEDS = 1 << 62


@dataclass(frozen=True)
class Mixture:
    """Proposes a share of each generation by one generator, and the rest by another.

    Both see the same archive, and so build on what the other one found. Where the second has no more to propose, the
    first fills its place: a search goes on when the budget of a model is spent. In the first generation the second is
    asked for all ideas of the brief at least.

    Parameters
    ----------
    first, second : such as evolution and a language model. share : of proposals that the second is asked for.

    Raises
    ------
    UsageError
        The share is not between 0 and 1.
    """

    first: Generator
    second: Generator
    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise UsageError(f"a share of {self.share:g} of the proposals", remedy="give one from 0 to 1")

    @property
    def name(self) -> str:
        return f"{self.first.name}+{self.second.name}"

    @property
    def version(self) -> str:
        return f"{self.first.version}+{self.second.version}"

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return up to n proposals, those of the second generator at the end."""
        own = np.random.default_rng(int(rng.integers(_SEEDS)))
        wanted = round(self.share * n)
        if wanted and feedback.generation == 0:
            wanted = max(wanted, min(n, len(brief.ideas)))
        others = self.second.propose(brief, feedback, wanted, own) if wanted else []
        return [*self.first.propose(brief, feedback, n - len(others), rng), *others]
