"""Gate 3: nothing that a strategy does depends on what came later, nor on where its data began."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pipelines.gates.evidence import Evidence
from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec
from research_lab.engine.terms import Terms
from research_lab.validation.lookahead import LookaheadReport, check_lookahead
from research_lab.validation.warmup import WarmupReport, check_warmup

N_CUTS: Final = 12  # with other futures; every bar is tested besides, by a pass bar by bar


def measure(
    spec: Spec,
    bars: Bars,
    terms: Terms,
    regimes: RegimeSet | None,
    *,
    seed: int,
    bound_to: Mapping[str, str],
) -> Evidence:
    """Return what moved when the future, or a bar's own close, was replaced, and whether warm-up suffices.

    Parameters
    ----------
    bars : the research zone.
    seed : of cuts, noise and later starts.
    bound_to : hashes of all that the evidence depends on.

    Returns
    -------
    Evidence
        Faults are counted; NaN where nothing was tested. Warm-up in bars of the strategy's timeframe.
    """
    ahead = check_lookahead(spec, bars, terms, regimes, seed=seed, n_cuts=N_CUTS)
    warm = check_warmup(spec, bars, terms, regimes, seed=seed)
    lacking = []
    if ahead.outcome == "INSUFFICIENT":
        lacking.append(ahead.sentence)
    if warm.insufficient:
        lacking.append(f"warm-up {warm.sentence}")
    found = [] if ahead.first_fault is None else [ahead.sentence]
    found += [] if warm.first_fault is None else [warm.sentence]
    return Evidence(
        "lookahead",
        {**_lookahead_figures(ahead), **_warmup_figures(warm)},
        bound_to,
        insufficient="; ".join(lacking),
        faults=tuple(found),
    )


def _lookahead_figures(report: LookaheadReport) -> dict[str, float]:
    tested = report.outcome != "INSUFFICIENT"
    return {
        "lookahead_faults": float(report.n_faults) if tested else math.nan,
        "own_close_faults": float(report.n_own_close_faults) if tested else math.nan,
        "n_cuts": float(report.n_cuts),
        "n_own_closes": float(report.n_own_closes),
        "n_signals": float(report.n_signals),
        "n_fills": float(report.n_fills),
        "n_bars": float(report.n_bars),
        "n_streamed": float(report.n_streamed),
    }


def _warmup_figures(report: WarmupReport) -> dict[str, float]:
    sufficient = report.smallest_sufficient_bars
    return {
        "warmup_derived_bars": float(report.derived_bars),
        "warmup_sufficient_bars": math.nan if sufficient is None else float(sufficient),
        "warmup_shortfall_bars": math.nan if report.insufficient else float(report.shortfall_bars),
        "warmup_event_bars": float(report.event_bars),
        "n_starts": float(report.n_starts),
    }
