"""Scores are told under the strategy that was asked for, whichever template was scored for it first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.market_data import worlds
from research_lab.scoring.pooled_scorer import PooledScorer
from research_lab.scoring.scorer import Scorer, Scoring
from research_lab.scoring.trial_ledger import TrialLedger

TEXT = """
spec: 1
name: cross
hypothesis: one template says with a parameter what another says with a number
timeframe: 1h
side: long
params: {params}
enter_long: close > ema(close, {n})
time_stop: {hold}
size: {{fraction: 1}}
"""
ONE = parse_spec(TEXT.format(params="{n: {range: [10, 30], step: 10, default: 20}}", n="n", hold="6"), "one")
OTHER = parse_spec(
    TEXT.format(params="{hold: {range: [4, 8], step: 2, default: 6}}", n="20", hold="hold"), "other"
)


def scorer(folder: Path, symbol: str = "BTC/USDT") -> Scorer:
    bars = worlds.noise(1, 3_000).bars
    named = replace(bars, market=replace(bars.market, symbol=symbol))
    return Scorer(TrialLedger(folder), named, Terms(), None, "test")


def check(scoring: Scoring) -> None:
    assert ONE.hash == OTHER.hash and ONE.template_hash != OTHER.template_hash
    (first,) = scoring.score([ONE])
    (second,) = scoring.score([OTHER])
    assert (first.spec.values, second.spec.values) == ({"n": 20.0}, {"hold": 6.0})
    np.testing.assert_array_equal(first.daily, second.daily)
    scoring.score([OTHER.bind({"hold": 4.0})])
    for template, n in ((ONE, 1), (OTHER, 2)):
        tried = scoring.tried(template)
        assert len(tried) == n and {s.spec.template_hash for s in tried} == {template.template_hash}


def test_two_templates_that_are_one_strategy_at_their_values_are_one_look_and_two_answers(
    tmp_path: Path,
) -> None:
    one = scorer(tmp_path)
    check(one)
    assert one.n_scored == 2 and len(one.ledger.trials(one.bars.market.charged_to, *one.bars.interval)) == 2


def test_a_pool_answers_likewise(tmp_path: Path) -> None:
    check(PooledScorer((scorer(tmp_path), scorer(tmp_path, "ETH/USDT"))))
