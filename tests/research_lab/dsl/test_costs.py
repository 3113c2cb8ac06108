"""The spread and the edge: what the names stand for, and whether a spread that is put in is found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research_lab.dsl.compiler import program_of
from research_lab.dsl.dimensions import RATIO
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import DimensionError
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import FIRST_MS, HOUR_MS, Tape

TEXT = """\
spec: 1
name: cheap
hypothesis: none
timeframe: 1h
side: long
{more}enter_long: edge(0.5, 2, 3 * atr(14)) > 0 and spread < 0.01
exit_long: close < open
stop: 3 * atr(14)
size: {{risk: 0.01}}
"""
DECLARED = "series:\n  spread: {lag: 0, max_age: 1h}\n"


def bounced(spread: float, volatility: float, seed: int = 1) -> Tape:
    """Return bars of 400 trades each, at the bid or the ask of a price that walks."""
    rng = np.random.default_rng(seed)
    steps = volatility / math.sqrt(400) * rng.normal(size=(1_500, 400))
    trades = np.exp(
        np.cumsum(steps).reshape(1_500, 400) + spread / 2 * rng.choice([-1, 1], size=(1_500, 400))
    )
    prices = [trades[:, 0], trades.max(axis=1), trades.min(axis=1), trades[:, -1]]
    inputs = 100.0 * np.stack([*prices, *np.ones((3, 1_500))])
    return Tape(HOUR_MS, FIRST_MS + HOUR_MS * np.arange(1_500), inputs, np.zeros(1_500))


@pytest.mark.parametrize("spread", [0.002, 0.01, 0.03])
def test_a_spread_that_is_put_in_is_found(spread: float) -> None:
    tree = parse_expression("spread_estimate(1000)", Scope())
    tape = bounced(spread, volatility=0.25 * spread)
    found = invariants.run(ProgramMachine(program_of([tree], HOUR_MS)[0]), tape).rows[0]
    assert np.isnan(found[:1_000]).all()
    assert found[1_000:] == pytest.approx(spread, rel=0.1)


def test_the_name_is_the_estimate_unless_a_series_is_declared() -> None:
    estimated, declared = parse_spec(TEXT.format(more="")), parse_spec(TEXT.format(more=DECLARED))
    assert estimated.conditions["enter_long"].text == (
        "0 < edge(0.5, 2, 3 * atr(14), 0.002 + spread_estimate(32)) and spread_estimate(32) < 0.01"
    )
    assert declared.conditions["enter_long"].text == (
        "0 < edge(0.5, 2, 3 * atr(14), 0.002 + spread) and spread < 0.01"
    )
    assert estimated.rows == {} and list(declared.rows) == ["spread"]
    for spec in (estimated, declared):
        assert parse_spec(spec.canonical()).hash == spec.hash


def test_the_edge_is_the_arithmetic_it_says() -> None:
    texts = ["edge(0.4, 2, close / 50, 0.005)", "edge(0.4, 2, close - close, 0.005)"]
    program = program_of([parse_expression(text, Scope()) for text in texts], HOUR_MS)[0]
    worth, without_stop = invariants.run(ProgramMachine(program), bounced(0.01, 0.01)).rows
    assert worth == pytest.approx(0.4 * 2 - 0.6 - 0.005 / (1 / 50))
    assert np.isnan(without_stop).all()


@pytest.mark.parametrize(
    "text", ["edge(0.4, 2, 3)", "edge(0.4, 2, 0)", "edge(close, 2, close)", "edge(0.4, 2, close, close)"]
)
def test_an_edge_of_other_dimensions_is_refused(text: str) -> None:
    with pytest.raises(DimensionError, match="does not take"):
        parse_expression(text, Scope(series={"spread": RATIO}))


@pytest.mark.parametrize("kind", ["price", "volume", "condition"])
def test_a_spread_of_another_kind_is_refused_where_the_edge_stands(kind: str) -> None:
    text = TEXT.format(more=DECLARED.replace("1h}", f"1h, kind: {kind}}}"))
    with pytest.raises(DimensionError, match=r"^s.yaml:8:13: cost was left out of edge\(\), and spread"):
        parse_spec(text, "s.yaml")


def test_a_strategy_may_call_something_of_its_own_by_these_names() -> None:
    """Names that were free before the language knew them; a function is told by its brackets."""
    more = "params:\n  edge: {range: [1, 2], step: 1, default: 1}\ndefine:\n  spread: edge * close / open\n"
    spec = parse_spec(TEXT.format(more=more))
    assert spec.conditions["enter_long"].text == (
        "0 < edge(0.5, 2, 3 * atr(14), 0.002 + spread_estimate(32)) and close * edge / open < 0.01"
    )
    assert parse_spec(spec.canonical()).hash == spec.hash
