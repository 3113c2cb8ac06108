"""The policy: its limits, and the one rule by which evidence is judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gates.evidence import Evidence, Figure, Outcome
from pipelines.gates.limits import Limit, OverOpenings
from pipelines.gates.policy import DEFAULT, Policy, judge, load_policy
from research_lab.errors import PolicyError
from research_lab.validation.family_wise import holdout_level

POLICY = load_policy()
RESEARCH_P = 0.01


def _evidence(gate: str, **changed: float) -> Evidence:
    """Return evidence that meets every limit exactly, but for what was changed."""
    figures = {name: limit.figure(0.0, 1, RESEARCH_P).limit for name, limit in POLICY.gates[gate].items()}
    return Evidence(gate, {"research_p": RESEARCH_P, **figures, **changed}, {"spec": "0" * 64})


@pytest.mark.parametrize("gate", POLICY.gates)
def test_figures_exactly_at_their_limits_pass(gate: str) -> None:
    assert judge(_evidence(gate), POLICY).outcome is Outcome.PASS


@pytest.mark.parametrize(("gate", "name"), [(g, n) for g, limits in POLICY.gates.items() for n in limits])
def test_a_figure_just_beyond_its_limit_does_not_pass(gate: str, name: str) -> None:
    limit = POLICY.gates[gate][name]
    if limit.at_least is not None:
        beyond = math.nextafter(limit.at_least, -math.inf)
    else:
        beyond = math.nextafter(limit.figure(0.0, 1, RESEARCH_P).limit, math.inf)
    verdict = judge(_evidence(gate, **{name: beyond}), POLICY)
    assert verdict.outcome.value == limit.unmet
    assert len(verdict.reasons) == 1 and name in verdict.reasons[0] and limit.why in verdict.reasons[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("gate", "name"), [(g, n) for g, limits in POLICY.gates.items() for n in limits])
def test_what_was_not_measured_never_passes(gate: str, name: str, value: float) -> None:
    verdict = judge(_evidence(gate, **{name: value}), POLICY)
    assert verdict.outcome is Outcome.INSUFFICIENT


@pytest.mark.parametrize("gate", POLICY.gates)
def test_missing_evidence_never_passes(gate: str) -> None:
    assert judge(Evidence(gate, {}, {}), POLICY).outcome is not Outcome.PASS


def test_a_fault_fails_even_when_every_figure_is_met() -> None:
    met = _evidence("data")
    verdict = judge(Evidence("data", met.figures, {}, faults=("row 7: high below low",)), POLICY)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons == ("row 7: high below low",)


def test_a_failure_outweighs_missing_data_and_both_are_told() -> None:
    verdict = judge(_evidence("backtest", n_trades=3.0, sharpe=-1.0), POLICY)
    assert verdict.outcome is Outcome.FAIL
    assert len(verdict.reasons) == 2


@pytest.mark.parametrize(("opening", "level"), [(1, 0.0304), (2, 0.0076), (3, 0.00338)])
def test_each_opening_of_the_holdout_is_judged_harder(opening: int, level: float) -> None:
    verdict = judge(_evidence("holdout", opening=float(opening), research_p=0.02, p=0.0001), POLICY)
    assert verdict.figures["p"].limit == pytest.approx(0.05 * 6 / (math.pi**2 * opening**2))
    assert verdict.figures["p"].limit == pytest.approx(level, rel=0.01)


@pytest.mark.parametrize(
    ("research_p", "weight"), [(0.0002, 3.0), (0.005, 3.0), (0.01, 2.0), (0.02, 1.0), (0.1, 0.2), (1.0, 0.02)]
)
@pytest.mark.parametrize("opening", [1, 2])
def test_the_less_the_research_says_the_more_the_holdout_must(
    research_p: float, weight: float, opening: int
) -> None:
    evidence = _evidence("holdout", opening=float(opening), research_p=research_p)
    assert judge(evidence, POLICY).figures["p"].limit == pytest.approx(weight * holdout_level(opening, 0.05))


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_research_p_that_was_not_measured_helps_nobody(unknown: float | None) -> None:
    figures = {name: value for name, value in _evidence("holdout").figures.items() if name != "research_p"}
    if unknown is not None:
        figures["research_p"] = unknown
    assert judge(Evidence("holdout", figures, {}), POLICY).figures["p"].limit == 0.02 * holdout_level(1, 0.05)


def test_luck_passes_research_and_holdout_once_in_350_worlds() -> None:
    """As the reason of gate 6 says: the first opening, over uniform p of both."""
    rng = np.random.default_rng(3)
    research, sealed = rng.uniform(size=(2, 200_000))
    passed = [
        r <= POLICY.gates["overfitting"]["p"].figure(0.0).limit
        and s <= POLICY.gates["holdout"]["p"].figure(0.0, 1, r).limit
        for r, s in zip(research.tolist(), sealed.tolist(), strict=True)
    ]
    assert np.mean(passed) == pytest.approx(1 / 355, abs=4 * math.sqrt(1 / 355 / research.size))


@given(even=st.floats(1e-6, 1.0), most=st.floats(1.0, 50.0))
def test_weights_that_luck_would_gain_by_are_refused(even: float, most: float) -> None:
    """The mean over luck is the integral of min(most, even / p) over p from 0 to 1."""
    edges = np.geomspace(1e-9, 1.0, 20_001)
    middle = np.sqrt(edges[1:] * edges[:-1])
    mean = float((np.minimum(most, even / middle) * np.diff(edges)).sum())
    if abs(mean - 1.0) < 1e-3:
        return
    if mean > 1.0:
        with pytest.raises(ValueError, match="mean weight over luck"):
            OverOpenings(even_p=even, most_times=most)
    else:
        OverOpenings(even_p=even, most_times=most)


@given(p=st.floats(1e-6, 0.99), opening=st.integers(1, 9))
def test_the_research_p_that_is_enough_is_just_enough(p: float, opening: int) -> None:
    rule = OverOpenings(even_p=0.02, most_times=3.0)
    enough = rule.research_p_for(0.05, opening, p)
    if enough == 0.0:
        assert p > rule.level(0.05, opening, 1e-9)
    else:
        assert p <= rule.level(0.05, opening, enough * (1.0 - 1e-9))
        assert enough == 1.0 or p > rule.level(0.05, opening, enough * (1.0 + 1e-9))


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e9, 1e9))
def test_a_figure_is_met_only_when_finite_and_on_its_side(value: float, limit: float) -> None:
    assert Figure(value, limit, ">=").met == (math.isfinite(value) and value >= limit)
    assert Figure(value, limit, "<=").met == (math.isfinite(value) and value <= limit)


def test_a_policy_that_leaves_a_limit_out_is_refused(tmp_path: Path) -> None:
    lines = DEFAULT.read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "policy.yaml"
    path.write_text("".join(line for line in lines if "own_close_faults" not in line), encoding="utf-8")
    with pytest.raises(PolicyError, match="own_close_faults"):
        load_policy(path)


def test_the_verdict_is_bound_to_evidence_and_policy() -> None:
    evidence = _evidence("static")
    verdict = judge(evidence, POLICY)
    assert verdict.evidence_hash == evidence.hash
    assert verdict.policy_hash == POLICY.hash


def test_the_hash_changes_with_a_limit_and_the_protocol_hash_does_not() -> None:
    limits = dict(POLICY.gates["backtest"])
    limits["sharpe"] = Limit(at_least=0.9, why="harder")
    harder = POLICY.model_copy(update={"gates": {**POLICY.gates, "backtest": limits}})
    fresh = Policy.model_validate(harder.model_dump())
    assert fresh.hash != POLICY.hash
    assert fresh.protocol_hash == POLICY.protocol_hash


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("holdout_share: 0.4", "holdout_share: 1.4", "holdout_share"),
        ("policy: 1", "policy: 2", "policy"),
        ("shadow_days: 60", "shadow_weeks: 60", "shadow_days"),
        ("at_most: 400, why", "at_most: 400, at_least: 1, why", "give one of"),
        ("even_p: 0.02, most_times: 3}", "even_p: 0.5, most_times: 3}", "mean weight over luck is 1.4"),
        ("even_p: 0.02, most_times: 3}", "even_p: 0.02, most_times: 0.5}", "most_times"),
        ("over_openings: {even_p: 0.02, most_times: 3}", "scaled_by_opening: true", "write over_openings"),
        ("p: {at_most: 0.05, over", "p: {at_most: 5, over", "above 0 and below 1"),
    ],
)
def test_a_broken_policy_is_refused_with_its_line(old: str, new: str, told: str, tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "policy.yaml"
    broken.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"policy.yaml:\d+.*{told}"):
        load_policy(broken)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("scheme: anchored", "scheme: sliding", "scheme"),
        ("sampler: tpe", "sampler: bayes", "sampler"),
        ("objectives: [sharpe]", "objectives: []", "objectives"),
        ("objectives: [sharpe]", "objectives: [sharpe, sharpe]", "named twice"),
        ("sampler: tpe, objectives: [sharpe]", "sampler: cmaes, objectives: [sharpe, turnover]", "nsga2"),
    ],
)
def test_tuning_that_cannot_be_done_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "policy.yaml"
    broken.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"policy.yaml:\d+.*{told}"):
        load_policy(broken)


def test_a_policy_says_how_parameters_are_tuned_and_older_ones_need_not(tmp_path: Path) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    path = tmp_path / "policy.yaml"
    path.write_text(
        text.replace("scheme: anchored, sampler: tpe, objectives: [sharpe]",
                     "scheme: rolling, sampler: nsga2, objectives: [sharpe, max_drawdown]"), encoding="utf-8"
    )  # fmt: skip
    found = load_policy(path).walk_forward
    assert (found.scheme, found.sampler, found.objectives) == ("rolling", "nsga2", ("sharpe", "max_drawdown"))
    path.write_text(
        text.replace(",\n   scheme: anchored, sampler: tpe, objectives: [sharpe]", ""), encoding="utf-8"
    )
    assert load_policy(path).walk_forward == POLICY.walk_forward
