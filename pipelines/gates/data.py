"""Gate 2: the snapshot passed its quality suite, is long enough, and fine enough for the strategy."""

from __future__ import annotations

from pipelines.gates.evidence import Evidence
from pipelines.gates.world import World
from research_lab.bars import DAY_MS, HOUR_MS
from research_lab.dsl.spec import Spec
from research_lab.errors import InsufficientError
from research_lab.market_data.quality import QualityReport
from research_lab.scoring.scorer import check_timeframe, unknown_inputs


def measure(spec: Spec, world: World, quality: QualityReport) -> Evidence:
    """Return what the quality suite found, and whether the strategy's timeframe can be had."""
    research = world.research
    start_ms, end_ms = research.interval
    insufficient = ""
    try:
        check_timeframe(spec, research)
    except InsufficientError as fault:
        insufficient = f"{fault.what}; {fault.remedy}" if fault.remedy else fault.what
    missing = unknown_inputs(spec, research)
    if missing and not insufficient:
        insufficient = f"{spec.name} reads {', '.join(missing)}, which these data do not have"
    figures = {
        "faults": float(len(quality.faults)),
        "research_days": (end_ms - start_ms) / DAY_MS,
        "strategy_bars": (end_ms - start_ms) / spec.step_ms,
        "missing_share": quality.n_missing / (research.n + quality.n_missing),
        "longest_gap_hours": quality.longest_gap_bars * research.step_ms / HOUR_MS,
        "n_gaps": float(quality.n_gaps),
        "n_missing": float(quality.n_missing),
        "n_flat": float(quality.n_flat),
        "n_bars": float(research.n),
    }
    return Evidence("data", figures, world.bound_to(spec), insufficient, quality.faults)
