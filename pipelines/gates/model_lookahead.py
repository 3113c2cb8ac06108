"""Gate 3 for the models that a strategy reads: their fits see nothing that came after them."""

from __future__ import annotations

import math
from dataclasses import replace

from pipelines.gates.evidence import Evidence
from pipelines.gates.models import fold_borders, kept_model
from pipelines.gates.world import World
from research_lab.bars import INPUTS
from research_lab.dsl.spec import Spec
from research_lab.validation.model_lookahead import ModelReport, check_model


def with_models(seen: Evidence, spec: Spec, world: World) -> Evidence:
    """Return the evidence of gate 3 with that of the models; as it is where the strategy reads none.

    Each model is fitted anew on the research bars alone, which must give the score that the strategy reads,
    made from all bars; then on pasts with other futures.
    """
    if not spec.models:
        return seen
    reports, lacking = [], [seen.insufficient] if seen.insufficient else []
    for name in spec.models:
        found = _report(name, spec, world)
        if found is None:
            lacking.append(f"model {name} is not kept in the workspace")
            continue
        reports.append(found)
        if found.outcome == "INSUFFICIENT":
            lacking += found.faults
    faults = [fault for report in reports if report.outcome == "FAIL" for fault in report.faults]
    tested = len(reports) == len(spec.models)
    figures = {
        **seen.figures,
        "model_faults": float(len(faults)) if tested else math.nan,
        "n_model_cuts": float(sum(report.n_cuts for report in reports)),
        "n_model_scores": float(sum(report.n_scores for report in reports)),
    }
    return replace(seen, figures=figures, faults=(*seen.faults, *faults[:3]), insufficient="; ".join(lacking))


def _report(name: str, spec: Spec, world: World) -> ModelReport | None:
    rule, research = spec.models[name], world.research
    model = kept_model(world.lake.workspace, rule.hash)
    if model is None:
        return None
    read = research.row(len(INPUTS) + research.series.index(spec.rows[f'model("{name}")']))
    end_ms = world.lake.zones(world.bars).research.end_ms
    borders = fold_borders(world.policy.walk_forward, end_ms, world.bars)
    seed = world.policy.bootstrap.seed
    return check_model(model, research, read, rule.max_age_ms, borders=borders, seed=seed)
