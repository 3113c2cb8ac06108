"""Arguments of functions: what may be left out, and numbers that are fixed before the run."""

from __future__ import annotations

import pytest

from research_lab.dsl import compiler
from research_lab.dsl.dimensions import RATIO, Dimension
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import compile_spec, compile_union
from research_lab.dsl.spec_reader import parse_spec
from research_lab.dsl.tree import Node
from research_lab.errors import DimensionError, SpecError

RANGES = {"k": (2.0, 6.0, 1.0), "half": (0.5, 2.5, 0.5), "large": (2.0, 12.0, 1.0)}


def tree(text: str) -> Node:
    return parse_expression(text, Scope(tuple(RANGES), FixedNumbers(RANGES)))


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("rsi(14)", "rsi(close, 14)"),
        ("change(open)", "change(open, 1)"),
        ("log_return()", "log_return(close, 1)"),
        ("log_return(5)", "log_return(close, 5)"),
        ("log_return(k)", "log_return(close, k)"),
        ("log_return(open)", "log_return(open, 1)"),
        ("stochastic_k(14)", "stochastic_k(14, 1)"),
        ("bollinger_upper(20, 2)", "bollinger_upper(close, 20, 2)"),
        ("macd_signal(12, 26, 9)", "macd_signal(close, 12, 26, 9)"),
    ],
)
def test_an_argument_with_a_default_may_be_left_out(short: str, whole: str) -> None:
    assert tree(short).text == whole
    assert tree(short) == tree(whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rsi()", "rsi() got 0 arguments"),
        ("macd(12)", "macd() got 1 argument; write macd(x=close, fast, slow)"),
        ("stochastic_k()", "write stochastic_k(n, smooth=1)"),
        ("stochastic_d(14, 3, 3, 3)", "write stochastic_d(n, smooth=1, signal)"),
        ("rsi(close)", "n of rsi() must be fixed before the run, got close"),
        ("aroon(5000)", "write 1 to 4999 bars"),
        ("supertrend(10)", "write supertrend(n, k)"),
    ],
)
def test_one_argument_too_few_or_too_many_is_one_clear_message(text: str, words: str) -> None:
    with pytest.raises(SpecError) as told:
        tree(text)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("pow(close, 2)", Dimension(price=2)),
        ("pow(close, -1)", Dimension(price=-1)),
        ("pow(close * volume, 3)", Dimension(price=3, volume=3)),
        ("pow(close, 0)", RATIO),
        ("pow(close / open, k)", RATIO),
        ("pow(2, k)", RATIO),
    ],
)
def test_a_power_raises_the_dimension(text: str, dimension: Dimension) -> None:
    assert tree(text).dimension == dimension


@pytest.mark.parametrize(
    ("text", "words", "error"),
    [
        ("pow(close, k)", "pow() of price takes a number as exponent, got k", DimensionError),
        ("pow(close, 2) > sma(close, 5)", "compares price^2 with price", DimensionError),
        ("pow(close > open, 2)", "pow() does not take condition", DimensionError),
        ("pow(close, 9)", "write a whole number from -8 to 8", SpecError),
        ("pow(close, 0.5)", "k of pow() is 0.5", SpecError),
        ("pow(close / open, half)", "k of pow() is 0.5", SpecError),
        ("pow(close / open, large)", "k of pow() is 12", SpecError),
        ("pow(close, volume)", "must be fixed before the run", SpecError),
    ],
)
def test_an_exponent_that_does_not_fit_is_refused(text: str, words: str, error: type[SpecError]) -> None:
    with pytest.raises(error) as told:
        tree(text)
    assert words in str(told.value)


def test_an_exponent_bound_off_its_range_is_refused_when_compiled() -> None:
    bound = tree("pow(close / open, k)").bind({"k": 2.5})
    with pytest.raises(SpecError, match="bind a whole number from -8 to 8"):
        compiler.program_of([bound], 60_000)


@pytest.mark.parametrize(
    "text",
    [
        "bollinger_upper(20, close)",
        "keltner_lower(20, volume)",
        "supertrend(10, close)",
        "squeeze(20, 2, close)",
        "bollinger_percent_b(20, bars_since(close > open))",
        "clip(close, 0, volume)",
        "clip(close, open, 1)",
        "exp(close)",
        "sign(close > open)",
        "rsi(close > open, 14)",
        "tsi(close > open, 25, 13)",
        "macd(close > open, 12, 26)",
        "log_return(close > open)",
        "latch(close, close > open)",
        "held_for(close, 3)",
        "crosses(close, volume)",
        "pow(close, 1) > 3",
        "psar(0.02, 0.2) > rsi(14)",
    ],
)
def test_dimensions_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(DimensionError):
        tree(text)


@pytest.mark.parametrize("name", sorted(name for name, function in FUNCTIONS.items() if function.fixed))
def test_a_functions_further_numbers_are_floats_as_those_that_are_written(name: str) -> None:
    """A whole number of Python's own has no is_integer before 3.12, and a sweep asks."""
    function = FUNCTIONS[name]
    given = {argument.name: 9.0 for argument in function.arguments if argument.kind in FIXED_KINDS}
    assert {type(rule(given)) for rule in function.fixed.values()} == {float}


@pytest.mark.parametrize("name", ["hma", "ema", "donchian_middle", "linreg"])
def test_a_window_that_is_bound_to_no_number_is_refused_by_its_name(name: str) -> None:
    arguments = FUNCTIONS[name].arguments
    given = ["n + 0 * (1 / k)" if a.kind == "window" else "close" for a in arguments]
    spec = parse_spec(
        "spec: 1\nname: none\nhypothesis: none\ntimeframe: 1h\nside: long\n"
        "params:\n  n: {range: [9, 12], step: 1, default: 9}\n  k: {range: [-1, 1], step: 2, default: 1}\n"
        f"enter_long: close > {name}({', '.join(given)})\nexit_long: close < open\nsize: {{fraction: 0.9}}\n"
    )
    for bound in ({"k": 0.0}, {"n": 9.5}):
        for compiled in (compile_spec, lambda one: compile_union([one, spec])):
            with pytest.raises(SpecError, match="whole bars"):
                compiled(spec.bind(bound))
