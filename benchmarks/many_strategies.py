"""Ten thousand different strategies, from YAML texts to scores."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import markets, random_strategies
from benchmarks.results import Figure, Result, difference
from benchmarks.scored import CHUNK, scored
from research_lab.dsl.spec import compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms


def measure(n_strategies: int, n_bars: int) -> Result:
    """Load, compile and score random strategies, two threads; no ledger, as nothing is promoted by it."""
    texts = random_strategies.texts(n_strategies)
    bars = markets.made(n_bars, "1h", seed=3)
    scored([parse_spec(text) for text in texts[:4]], bars, Terms(), 2)
    begun = time.perf_counter()
    specs = [parse_spec(text) for text in texts]
    loaded = time.perf_counter()
    found = scored(specs, bars, Terms(), 2)
    done = time.perf_counter()
    # Compiled once more alone, to tell the two apart.
    for first in range(0, n_strategies, CHUNK):
        compile_union(specs[first : first + CHUNK])
    compiled = time.perf_counter() - done
    sample = list(range(0, n_strategies, max(1, n_strategies // 20)))
    alone = scored([specs[k] for k in sample], bars, Terms(), 1)
    share = float(np.mean(found[:, 0] != 1.0))
    return Result(
        "strategies",
        f"{n_strategies:,} different random strategies on {n_bars:,} bars of 1 hour, 2 threads",
        (
            Figure(
                "loaded from YAML, compiled and scored", done - begun, "s",
                300.0 * n_strategies / 10_000, 120.0 * n_strategies / 10_000, False,
            ),
            Figure("of which loading", loaded - begun, "s", more=False),
            Figure("of which compiling", compiled, "s", more=False),
            Figure("of which the sweep", done - loaded - compiled, "s", more=False),
        ),
        differences={"a sample scored alone, 1 thread": difference(found[sample], alone)},
        notes=(f"{len({spec.hash for spec in specs}):,} distinct, {share:.0%} of them traded.",),
    )  # fmt: skip
