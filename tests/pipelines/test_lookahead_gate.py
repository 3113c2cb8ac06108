"""Gate 3: what it measures has limits in the policy, and a leak never passes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.gates import lookahead
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import judge, load_policy
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_spec
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise
from research_lab.validation.lookahead import LookaheadReport, check_lookahead
from research_lab.validation.recording import Recording, record

LIBRARY = Path(__file__).parents[2] / "research_lab" / "strategies"
POLICY = load_policy()


def measured(spec: Spec, n: int = 4000) -> Evidence:
    bars, regimes = noise(6, n).bars, load_regimes(LIBRARY / "regimes.yaml")
    return lookahead.measure(spec, bars, Terms(), regimes, seed=9, bound_to={"spec": spec.hash})


def test_a_strategy_of_the_library_passes() -> None:
    evidence = measured(load_spec(LIBRARY / "ema_atr.yaml"))
    verdict = judge(evidence, POLICY)
    assert verdict.outcome is Outcome.PASS, verdict.reasons
    assert set(POLICY.gates["lookahead"]) <= set(evidence.figures)
    assert evidence.figures["warmup_sufficient_bars"] <= evidence.figures["warmup_derived_bars"]


def test_the_same_seed_gives_the_same_evidence() -> None:
    spec = load_spec(LIBRARY / "ema_atr.yaml")
    assert measured(spec).hash == measured(spec).hash


def test_a_leak_fails_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_spec(LIBRARY / "ema_atr.yaml")

    def peek(bars: Bars) -> Recording:
        inputs = bars.inputs.copy()
        inputs[3] = np.append(bars.close[1:], bars.close[-1])
        return record(compile_spec(spec), replace(bars, inputs=inputs), Terms())

    def planted(*given: object, seed: int, n_cuts: int) -> LookaheadReport:
        return check_lookahead(*given, seed=seed, n_cuts=n_cuts, runner=peek)  # type: ignore[arg-type]

    monkeypatch.setattr(lookahead, "check_lookahead", planted)
    evidence = measured(spec)
    verdict = judge(evidence, POLICY)
    assert verdict.outcome is Outcome.FAIL
    assert evidence.figures["lookahead_faults"] > 0
    assert evidence.faults[0].startswith("close at bar")
    assert evidence.faults[0] in verdict.reasons


def test_without_signals_the_gate_cannot_tell() -> None:
    silent = parse_spec(
        "spec: 1\nname: silent\nhypothesis: none\ntimeframe: 1h\nside: long\n"
        "enter_long: close < 0\nexit_long: close > 0\nsize: {fraction: 0.5}\n"
    )
    evidence = measured(silent)
    assert judge(evidence, POLICY).outcome is Outcome.INSUFFICIENT
    assert np.isnan(evidence.figures["lookahead_faults"])
    assert "no entry signal" in evidence.insufficient


def test_too_few_bars_for_the_warmup_cannot_tell() -> None:
    evidence = measured(load_spec(LIBRARY / "ema_atr.yaml"), n=700)
    assert judge(evidence, POLICY).outcome is Outcome.INSUFFICIENT
    assert np.isnan(evidence.figures["warmup_shortfall_bars"])
