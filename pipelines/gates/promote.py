"""Gate 10: against the champions of its market, better than one, or unlike them all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.gates.policy import judge as judge_limits
from pipelines.gates.shadow import shadow_bars
from pipelines.gates.world import World
from research_lab.dsl.spec import Spec
from research_lab.engine.backtest import daily_returns
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.validation.block_bootstrap import drawn_days

_AGAINST = ("probability_better", "drawdown_excess", "correlation")


@dataclass(frozen=True)
class Decision:
    """Gate 10's verdict, and the hash of the champion that leaves; empty to add."""

    verdict: Verdict
    replaces: str


def measure(spec: Spec, world: World, champions: Sequence[Spec]) -> Evidence:
    """Return how the candidate compares with each champion, on all bars up to the shadow's end.

    These hold the holdout, so that must have been opened for the candidate before.
    Both are run on the same bars; entries count from the first bar on. The figures judged are those of
    the champion that the candidate resembles most.
    """
    bound = world.bound_to(spec, context=" ".join(sorted(champion.hash for champion in champions)))
    try:
        bars, _ = shadow_bars(spec, world)
    except InsufficientError as fault:
        return Evidence("promote", {}, bound, str(fault))
    own = world.run(spec, bars)
    _, mine = daily_returns(bars.time, own.equity)
    rows: list[dict[str, Any]] = []
    for champion in champions:
        result = world.run(champion, bars)
        _, theirs = daily_returns(bars.time, result.equity)
        rows.append(
            {
                "champion": champion.hash,
                "probability_better": probability_better(mine - theirs, world.policy),
                "drawdown_excess": own.metrics["max_drawdown"] - result.metrics["max_drawdown"],
                "correlation": correlation(mine, theirs),
            }
        )
    figures = {
        "n_champions": float(len(rows)),
        "n_days": float(mine.shape[0]),
        "max_drawdown": own.metrics["max_drawdown"],
    }
    if rows:
        nearest = max(rows, key=lambda row: _finite(row["correlation"]))
        figures.update({name: float(nearest[name]) for name in _AGAINST})
    return Evidence("promote", figures, bound, series={"champions": rows})


def decide(evidence: Evidence, policy: Policy) -> Decision:
    """Judge gate 10: no champion, or better than the nearest one, or unlike all of them.

    Replacing wants a high probability of being better and no deeper drawdown; adding wants a low
    correlation. Either is enough.
    """
    strict = judge_limits(evidence, policy)
    if evidence.insufficient or evidence.faults:
        return Decision(strict, "")
    n_champions = evidence.figures.get("n_champions", math.nan)
    better = all(strict.figures[name].met for name in ("probability_better", "drawdown_excess"))
    other = strict.figures["correlation"].met
    if n_champions == 0:
        figures = {name: figure for name, figure in strict.figures.items() if name == "n_champions"}
        return Decision(_verdict(strict, Outcome.PASS, figures, ()), "")
    if better or other:
        passed = {n: f for n, f in strict.figures.items() if f.met}
        replaces = _nearest(evidence.series) if better else ""
        return Decision(_verdict(strict, Outcome.PASS, passed, ()), replaces)
    return Decision(strict, "")


def _verdict(
    strict: Verdict, outcome: Outcome, figures: Mapping[str, object], reasons: tuple[str, ...]
) -> Verdict:
    kept = {name: strict.figures[name] for name in figures}
    return Verdict(strict.gate, outcome, kept, reasons, strict.evidence_hash, strict.policy_hash)


def _nearest(series: Mapping[str, object]) -> str:
    rows = series["champions"]
    if not isinstance(rows, list):
        return ""
    return str(max(rows, key=lambda row: _finite(row["correlation"]))["champion"])


def _finite(value: object) -> float:
    return float(value) if isinstance(value, float) and math.isfinite(value) else -math.inf


def probability_better(difference: FloatArray, policy: Policy) -> float:
    """Return the share of resampled histories in which the mean daily difference is above zero."""
    rules, n = policy.bootstrap, difference.shape[0]
    draws = drawn_days(n, n, rules.n_draws, rules.seed)
    return float(np.mean([difference[days].sum() > 0 for days in draws]))


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Return the correlation of daily returns; 0 where one of them never moves."""
    if a.std() == 0.0 or b.std() == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
