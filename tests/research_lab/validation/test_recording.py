"""What a register holds is told in words near those of the language."""

from __future__ import annotations

import pytest

from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.validation.recording import names_of

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lowest(low, 5)", "lowest(low, 5)"),
        ("sma(close, 5)", "sma(close, 5)"),
        ("sum(close, 5)", "sum(close, 5)"),
        ("quantile(close, 5, 0.25)", "quantile(close, 5, 0.25)"),
        ("pow(close, -2)", "pow(close, -2)"),
        ("minus_dm()", "minus_dm()"),
        ("weekday()", "weekday()"),
        ("minutes_to_funding()", "minutes_to_funding()"),
        ("psar(0.02, 0.2)", "psar(high, low, 0.02, 0.2)"),
        ("psar_direction(0.02, 0.2)", "psar_direction(high, low, 0.02, 0.2)"),
        ("day_sum(volume)", "day_sum(volume, (closing_time - 3.6e+06))"),
        ("held_for(close > open, 3)", "held_for((open < close), 3)"),
        ("latch(close > open, close < open)", "latch((open < close), (close < open))"),
        ("crosses_below(close, open)", "crosses_above(open, close)"),
        ("not close > open", "not((open < close))"),
    ],
)
def test_a_register_is_named_by_what_it_holds(text: str, name: str) -> None:
    program, _ = compiler.program_of([parse_expression(text, Scope())], HOUR_MS)
    assert names_of(program)[program.outputs[0]] == name


def test_a_name_that_is_long_is_cut() -> None:
    program, _ = compiler.program_of([parse_expression("supertrend_direction(10, 3)", Scope())], HOUR_MS)
    name = names_of(program)[program.outputs[0]]
    assert name.startswith("supertrend_direction(") and len(name) <= 90
