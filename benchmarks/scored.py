"""How the benchmarks score strategies: the one place that calls the sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from research_lab.bars import Bars
from research_lab.dsl.spec import Spec, compile_union
from research_lab.engine import metrics
from research_lab.engine.jit import FloatArray
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms

CHUNK = 512  # strategies a sweep, as the scorer takes them
COLUMNS = [metrics.NAMES.index(name) for name in ("return", "sharpe", "max_drawdown")]


def scored(specs: Sequence[Spec], bars: Bars, terms: Terms, n_threads: int) -> FloatArray:
    """Return final equity, Sharpe ratio and deepest drawdown of each strategy, (n, 3), from specs on."""
    found = []
    for first in range(0, len(specs), CHUNK):
        some = specs[first : first + CHUNK]
        each = -(-len(some) // n_threads)
        chunks = [compile_union(some[k : k + each]) for k in range(0, len(some), each)]
        swept = sweep(chunks, bars, terms, n_threads=n_threads)
        found.append(swept.metrics[:, COLUMNS])
    out: FloatArray = np.concatenate(found)
    out[:, 0] += 1.0
    return out
