"""Generators: texts that are strategies, candidates a minute from proposal to in-sample score, finalists a minute."""

from __future__ import annotations

from benchmarks.results import Figure, Result
from pipelines.calibration import generator_pace
from pipelines.calibration.generator_table import LEAST_CANDIDATES, LEAST_FINALISTS, LEAST_VALID
from pipelines.gates.policy import load_policy


def measure(n_texts: int, n_candidates: int) -> Result:
    """Measure what `pipeline calibrate --generators` measures without a world, on all cores."""
    pace = generator_pace.measure(load_policy(), n_texts, n_candidates)
    each = (
        Figure(f"candidates a minute, {name}", rate, "", LEAST_CANDIDATES)
        for name, rate in pace.candidates.items()
    )
    return Result(
        "generators",
        f"{n_candidates:,} candidates through generation, gate 1 and in-sample scores on 8,760 bars; five finalists",
        (
            Figure("texts of the grammar that are strategies", pace.valid.share, "", LEAST_VALID),
            *each,
            Figure("finalists a minute through gates 2 to 7, tuned", pace.finalists, "", LEAST_FINALISTS),
        ),
        notes=(
            "Candidates are read, judged by gate 1, swept and charged to the ledger. Finalists have 168 to 637 parameter "
            "sets and four years of hours; tuning asks for 100 of them, over five folds.",
        ),
    )
