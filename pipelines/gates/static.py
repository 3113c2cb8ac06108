"""Gate 1: the strategy parses, is bounded, simple enough to be read, and not a second copy."""

from __future__ import annotations

from collections.abc import Collection

from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy, judge
from pipelines.gates.world import Ground
from research_lab.dsl.spec import Spec, warmup_bars


def measure(spec: Spec, world: Ground, known: Collection[str] = ()) -> Evidence:
    """Return complexity, parameters and duplicates of a parsed strategy.

    Parameters
    ----------
    known : hashes of the candidates examined before it in this campaign.
    """
    return Evidence(
        "static",
        {
            "n_nodes": float(spec.n_nodes),
            "n_params": float(len(spec.params)),
            "n_combinations": float(spec.n_combinations),
            "warmup_bars": float(warmup_bars(spec)),
            "duplicates": float(spec.hash in known),
        },
        world.bound_to(spec, context=" ".join(sorted(known))),
    )


def refusal(spec: Spec, policy: Policy) -> str:
    """Return why gate 1 would refuse a strategy whatever else was examined; empty where it would not."""
    limits = policy.gates["static"]
    figures = {
        "n_nodes": float(spec.n_nodes),
        "n_params": float(len(spec.params)),
        "n_combinations": float(spec.n_combinations),
        "duplicates": 0.0,
    }
    if "warmup_bars" in limits:  # dear: it compiles
        figures["warmup_bars"] = float(warmup_bars(spec))
    verdict = judge(Evidence("static", figures, {"spec": spec.hash}), policy)
    return "" if verdict.outcome is Outcome.PASS else f"gate 1: {'; '.join(verdict.reasons)}"
