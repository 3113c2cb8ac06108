"""Arguments that may change places: whichever way they are written, it is one expression and one candidate."""

from __future__ import annotations

import pytest

from research_lab.dsl import compiler, tree
from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import Function
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, SHAPES, Tape, shaped

_SAMPLES = {
    "number": ("close / open", "high / low"),
    "condition": ("close > open", "volume > sma(volume, 9)"),
    "window": ("9", "26"),
    "share": ("0.02", "0.2"),
}
# A value may change places with its lower bound, but nobody writes it so, and a reader is told which is which.
_PAIRS = sorted(
    name
    for name, f in FUNCTIONS.items()
    if len(f.arguments) > 1 and f.arguments[0].kind == f.arguments[1].kind and name != "clip"
)
TEXT = """\
spec: 1
name: pair
hypothesis: none
timeframe: 1h
side: long
params:
  n: {range: [10, 40], step: 5, default: 10}
  m: {range: [10, 40], step: 5, default: 20}
enter_long: %s
time_stop: 4
size: {fraction: 0.5}
"""


def spec_of(condition: str) -> Spec:
    return parse_spec(TEXT % condition)


def call(function: Function, first: str, second: str) -> str:
    further = {**{kind: one for kind, (one, _) in _SAMPLES.items()}, "number": "premium"}
    others = ["high" if a.dimension == PRICE else further[a.kind] for a in function.arguments[2:]]
    return f"{function.name}({', '.join([first, second, *others])})"


def values(text: str, tape: Tape) -> bytes:
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    machine = ProgramMachine(program)
    return machine.advance(machine.start(), tape, 0, tape.n)[0].tobytes()


@pytest.mark.parametrize("name", _PAIRS)
def test_those_are_declared_that_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "COMMUTATIVE", frozenset())  # as written, not as ordered
    function = FUNCTIONS[name]
    first, second = _SAMPLES[function.arguments[0].kind]
    tapes = [shaped(shape, 240) for shape in SHAPES]
    texts = call(function, first, second), call(function, second, first)
    assert all(values(texts[0], tape) == values(texts[1], tape) for tape in tapes) == function.commutative


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("crosses(close, open)", "crosses(open, close)"),
        ("correlation(close, volume, n) > 0", "correlation(volume, close, n) > 0"),
        ("covariance(close, open, 9) > 0", "covariance(open, close, 9) > 0"),
        ("ichimoku_span_a(9, 26) < close", "ichimoku_span_a(26, 9) < close"),
    ],
)
def test_both_ways_are_one_candidate(one: str, other: str) -> None:
    assert spec_of(one).hash == spec_of(other).hash
    assert spec_of(one).template_hash == spec_of(other).template_hash


def test_a_slope_of_one_on_the_other_is_another_than_of_the_other_on_the_one() -> None:
    assert spec_of("beta(close, open, 9) > 1").hash != spec_of("beta(open, close, 9) > 1").hash


def test_names_that_order_arguments_otherwise_are_of_one_family() -> None:
    one = spec_of("correlation(ema(close, n), ema(close, m), n) > 0.5")
    renamed = TEXT.replace("  n:", "  z:") % "correlation(ema(close, z), ema(close, m), z) > 0.5"
    assert parse_spec(renamed).template_hash == one.template_hash
    assert spec_of("correlation(ema(close, n), ema(close, m), m) > 0.5").template_hash == one.template_hash
