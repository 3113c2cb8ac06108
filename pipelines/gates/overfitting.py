"""Gate 6: how often luck alone does as well, over all trials charged to this market and time.

The family-wise p decides. The Deflated Sharpe ratio is reported beside it.
"""

from __future__ import annotations

import math

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World
from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.validation import overfitting
from research_lab.validation.family_wise import family_wise_p


def measure(spec: Spec, world: World) -> Evidence:
    """Return the candidate's p among all trials in the ledger, and what is reported beside it."""
    bound = world.bound_to(spec, context=world.scorer.ledger.head())
    family, candidates = world.scorer.family()
    columns = [k for k, candidate in enumerate(candidates) if candidate == spec.hash]
    if not columns:
        return Evidence("overfitting", {}, bound, "the ledger of this market does not have the candidate")
    rules = world.policy.bootstrap
    try:
        found = family_wise_p(family, columns, n_draws=rules.n_draws, seed=rules.seed)
    except InsufficientError as fault:
        return Evidence("overfitting", {}, bound, str(fault))
    daily = family[:, columns[0]]
    figures = {
        "p": found.p,
        "statistic": found.statistic,
        "critical_99": found.critical_99,
        "n_trials": float(found.n_trials),
        "n_columns": float(found.n_columns),
        "n_days": float(found.n_days),
        "block_days": float(found.block_length),
        "deflated_sharpe": _deflated(daily[np.isfinite(daily)], family),
    }
    return Evidence("overfitting", figures, bound)


def _deflated(daily: FloatArray, family: FloatArray) -> float:
    """Return the Deflated Sharpe ratio, every trial counted as independent (so it is a floor)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        sharpes = np.nanmean(family, axis=0) / np.nanstd(family, axis=0, ddof=1)
    sharpes = sharpes[np.isfinite(sharpes)]
    if sharpes.shape[0] < 2 or daily.std() == 0.0:
        return math.nan
    _, skewness, kurtosis = overfitting.moments(daily)
    return overfitting.deflated_sharpe(
        float(daily.mean() / daily.std(ddof=1)),
        daily.shape[0],
        skewness,
        kurtosis,
        float(sharpes.var(ddof=1)),
        sharpes.shape[0],
    )
