"""The policy: every limit with its reason, and the one rule by which evidence is judged.

Judging is pure: the same evidence and policy give the same verdict. What was not measured never passes.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict
from pipelines.gates.limits import Form, Limit, Rule
from pipelines.gates.remedies import remedy
from research_lab.errors import GauntletError, PolicyError, UsageError
from research_lab.strict_yaml import fit, load_file
from research_lab.validation.tuning import Objective, Protocol, Sampler, Scheme

IS_POOL = "n_symbols"  # a figure that pools have, and single markets have not
WORST = "worst"  # a series of pools: figure to the symbol that it is of

DEFAULT = Path(__file__).with_name("policy.yaml")


class ZoneRule(Form):
    """How the data are divided."""

    holdout_share: Annotated[float, Field(gt=0.0, lt=1.0)]
    forward_days: Annotated[int, Field(ge=0)]


class Tuning(Form):
    """How parameters are tuned; see `validation.tuning.Protocol`."""

    n_folds: Annotated[int, Field(ge=2, le=50)]
    n_trials: Annotated[int, Field(ge=1, le=10_000)]
    first_share: Annotated[float, Field(gt=0.0, lt=1.0)]
    purge_days: Annotated[int, Field(ge=0)]
    embargo_days: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1, le=1_000)]
    seed: Annotated[int, Field(ge=0)]
    scheme: Scheme = "anchored"
    sampler: Sampler = "tpe"
    objectives: list[Objective] = Field(default=["sharpe"], min_length=1, max_length=4)
    n_refine: Annotated[int, Field(ge=1, le=10_000)] = 25

    @model_validator(mode="after")
    def _fits_together(self) -> Tuning:
        try:
            self.protocol()
        except UsageError as fault:
            raise ValueError(str(fault)) from fault
        return self

    def protocol(self) -> Protocol:
        return Protocol(**{**self.model_dump(), "objectives": tuple(self.objectives)})


class Bootstrap(Form):
    """Draws and seed of every bootstrap."""

    n_draws: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]


class Policy(Form):
    """All limits and protocols of one campaign."""

    policy: Literal[1]
    zones: ZoneRule
    tuning: Tuning
    bootstrap: Bootstrap
    shadow_days: Annotated[int, Field(ge=1)]
    gates: dict[str, dict[str, Limit]]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over every value; comments do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @cached_property
    def protocol_hash(self) -> str:
        """SHA-256 over what decides evidence: zones, tuning, bootstraps; limits do not."""
        return hashlib.sha256(self.model_dump_json(exclude={"gates"}).encode()).hexdigest()

    def rule(self, gate: str, name: str) -> Rule:
        """Return what a figure is judged by."""
        return Rule(self.gates[gate][name], self.zones.holdout_share, self.bootstrap.n_draws)

    @property
    def walk_forward(self) -> Protocol:
        return self.tuning.protocol()


def load_policy(path: Path = DEFAULT) -> Policy:
    """Read a policy file.

    Raises
    ------
    PolicyError
        With line and field.
    """
    policy = fit(Policy, load_file(path, PolicyError), str(path), PolicyError)
    if path != DEFAULT:
        _refuse_gaps(policy, load_policy(), path)
    return policy


def _refuse_gaps(policy: Policy, shipped: Policy, path: Path) -> None:
    """Refuse a policy that leaves out a gate or a limit: what is not limited would pass whatever it is."""
    for gate, limits in shipped.gates.items():
        missing = sorted(set(limits) - set(policy.gates.get(gate, {})))
        if missing:
            raise PolicyError(
                f"gate {gate} has no limit for {', '.join(missing)}",
                str(path),
                "write one that always passes, with its reason, if you do not want to judge it",
            )


def judge(evidence: Evidence, policy: Policy) -> Verdict:
    """Return the verdict of a policy on evidence: pure, and the only way to a verdict.

    FAIL when a fault was found or a measured figure misses its limit; otherwise INSUFFICIENT when something
    was not measured, or a figure that says how much there was to measure is too small; otherwise PASS.
    """
    limits = policy.gates.get(evidence.gate)
    if limits is None:
        raise GauntletError(f"the policy has no gate {evidence.gate!r}", "policy", "add its limits")
    opening = _opening(evidence)
    figures: dict[str, Figure] = {}
    failed, lacking = list(evidence.faults), []
    if evidence.insufficient:
        lacking.append(evidence.insufficient)
    for name, limit in limits.items():
        if limit.of_pools and IS_POOL not in evidence.figures:
            continue
        figure = limit.figure(evidence.figures.get(name, math.nan), *opening)
        figures[name] = figure
        if not math.isfinite(figure.value):
            if not evidence.insufficient:
                lacking.append(f"{name} was not measured{_where(evidence, name)}")
        elif not figure.met:
            change = remedy(evidence, name, figure, policy.rule(evidence.gate, name))
            told = _sentence(name, _where(evidence, name), figure, limit, change)
            (lacking if limit.unmet == "INSUFFICIENT" else failed).append(told)
    for name, value in evidence.figures.items():
        figures.setdefault(name, Figure(value))
    outcome = Outcome.FAIL if failed else Outcome.INSUFFICIENT if lacking else Outcome.PASS
    return Verdict(evidence.gate, outcome, figures, (*failed, *lacking), evidence.hash, policy.hash)


def _opening(evidence: Evidence) -> tuple[int, float]:
    """Return which opening of the holdout it was, and p of the research, 1 where it was not measured."""
    research_p = evidence.figures.get("research_p", math.nan)
    return int(evidence.figures.get("opening", 1)), research_p if math.isfinite(research_p) else 1.0


def _where(evidence: Evidence, name: str) -> str:
    """Return the market of a pool on which a figure was the worst, as the end of a phrase."""
    symbol = evidence.series.get(WORST, {}).get(name)
    return f" on {symbol}" if symbol else ""


def _sentence(name: str, where: str, figure: Figure, limit: Limit, change: str) -> str:
    wanted = "at least" if figure.sense == ">=" else "at most"
    unit = f" {figure.unit}" if figure.unit else ""
    told = f"{name} is {figure.value:.4g}{unit}{where}, wanted {wanted} {figure.limit:.4g}: {limit.why}"
    return f"{told}; {change}" if change else told
