"""What a strategy is said to need: the inputs without which what it computes is unknown, and no others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from research_lab.dsl import compiler
from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.explanation import figures
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.needs import inputs_of, needed_inputs
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec_reader import LIBRARY, load_spec
from research_lab.engine.jit import FloatArray
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import HOUR_MS, walk

_SAMPLES = {
    "number": "premium",
    "condition": "premium > 0",
    "window": "4",
    "share": "0.1",
    "exponent": "2",
}
_TAPE = walk(np.random.default_rng(3), 400)


def values(text: str, unknown: str) -> FloatArray:
    inputs = _TAPE.inputs.copy()
    inputs[list(INPUTS).index(unknown)] = math.nan
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    machine = ProgramMachine(program)
    return machine.advance(machine.start(), replace(_TAPE, inputs=inputs), 0, _TAPE.n)[0]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_reads_what_it_is_never_known_or_never_true_without(name: str) -> None:
    arguments = FUNCTIONS[name].arguments
    texts = ["2 * high" if a.name == "stop" else _SAMPLES[a.kind] for a in arguments]
    text = f"{name}({', '.join(texts)})"
    acts = FUNCTIONS[name].dimension([]) == CONDITION if not arguments else False
    for given in ("open", "high", "low", "close", "volume"):
        if f"2 * {given}" not in texts:
            found = values(text, given)
            no_longer_true = acts and not (found == 1.0).any()
            assert (no_longer_true or np.isnan(found).all()) == (given in inputs_of(name)), given


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("close > sma(open, 5)", {"close", "open"}),
        ("atr(14) > 0", {"high", "low", "close"}),
        ("coalesce(premium, 0) >= 0", set()),
        ("fused(rsi(14) / 100, funding) > 0.5", {"close"}),
        ('tf("4h", adx(14)) > 20', {"high", "low", "close"}),
        ("hour() > 3", set()),
        ("obv() > 0 or funding > 0", {"close", "volume", "funding"}),
    ],
)
def test_what_something_else_replaces_is_not_needed(text: str, needed: set[str]) -> None:
    assert needed_inputs([parse_expression(text, Scope())]) == needed


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("council_1h", "close, high, low"),
        ("flat_range", "close, high, low"),
        ("funding_reversion", "close, funding, high, low"),
    ],
)
def test_explain_tells_what_functions_read_as_well(name: str, needed: str) -> None:
    assert figures(load_spec(LIBRARY / f"{name}.yaml"))["needs"] == needed
