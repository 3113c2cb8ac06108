"""Random strategies as YAML, as the grammar proposes them: the same seed gives the same texts."""

from __future__ import annotations

import numpy as np

from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.grammar import Grammar
from research_lab.generators.protocol import Feedback


def texts(n: int, seed: int = 1, timeframe: str = "1h") -> list[str]:
    """Return n long strategies of one timeframe as YAML texts, no two of them the same strategy."""
    brief = Brief(timeframes=(timeframe,))
    rng = np.random.default_rng(seed)
    return [proposal.text for proposal in Grammar().propose(brief, Feedback(Archive()), n, rng)]
