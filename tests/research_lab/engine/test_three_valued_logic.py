"""Kleene's logic: true, false and unknown; only what is definitely true acts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from tests.research_lab.engine.tapes import Tape, walk
from tests.research_lab.engine.test_function_table import outputs

T, F, U = 1.0, 0.0, math.nan
PREMIUM = {T: 1.0, F: -1.0, U: math.nan}  # premium > 0 has this truth
ROW = {"premium": 6, "funding": 5}


def tape_of(premium: list[float], funding: list[float]) -> Tape:
    tape = walk(np.random.default_rng(0), len(premium))
    tape.inputs[6] = [PREMIUM[v] if v == v else math.nan for v in premium]
    tape.inputs[5] = [PREMIUM[v] if v == v else math.nan for v in funding]
    return tape


def truth(text: str, pairs: list[tuple[float, float]]) -> FloatArray:
    return outputs(text, tape_of([a for a, _ in pairs], [b for _, b in pairs]))


PAIRS = list(itertools.product((T, F, U), repeat=2))


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("premium > 0 and funding > 0", [T, F, U, F, F, F, U, F, U]),
        ("premium > 0 or funding > 0", [T, T, T, T, F, U, T, U, U]),
        ("not premium > 0", [F, F, F, T, T, T, U, U, U]),
        ("premium > funding", [F, T, U, F, F, U, U, U, U]),
        ("premium == funding", [T, F, U, F, T, U, U, U, U]),
        ("premium != funding", [F, T, U, T, F, U, U, U, U]),
        ("premium > 0 and not premium > 0", [F, F, F, F, F, F, U, U, U]),
        ("if_else(premium > 0, funding > 0, not funding > 0)", [T, F, U, F, T, U, U, U, U]),
    ],
)
def test_truth_tables(text: str, table: list[float]) -> None:
    np.testing.assert_array_equal(truth(text, PAIRS), table)


def test_de_morgan_holds_with_unknown_values() -> None:
    np.testing.assert_array_equal(
        truth("not (premium > 0 and funding > 0)", PAIRS), truth("not premium > 0 or not funding > 0", PAIRS)
    )


def test_a_crossing_needs_all_four_values() -> None:
    series = [(F, F), (T, F), (U, F), (T, F), (F, F), (T, F)]
    np.testing.assert_array_equal(truth("crosses_above(premium, 0)", series), [U, T, U, U, F, T])


def strategy(entry: str, stop: str = "0.1 * close", size: str = "0.01") -> str:
    return (
        f"spec: 1\nname: a\nhypothesis: b\ntimeframe: 1h\nside: long\nenter_long: {entry}\nstop: {stop}\n"
        f"size: {{risk: {size}}}\ntime_stop: 1\n"
    )


def reasons_of(text: str, premium: list[float]) -> list[int]:
    result = backtest(compile_spec(parse_spec(text)), tape_of(premium, premium), Terms())
    return [int(code) for code in result.reason]


def test_an_unknown_entry_does_not_act_and_says_so() -> None:
    for text in ("premium > 0", "not premium <= 0"):
        assert reasons_of(strategy(text), [F, U, U, F, T]) == [
            reasons.NO_SIGNAL, reasons.UNKNOWN, reasons.UNKNOWN, reasons.NO_SIGNAL, reasons.LONG_ORDERED,
        ]  # fmt: skip


@pytest.mark.parametrize("distance", ["premium * close", "(premium - 1) * close", "-(premium * close)"])
def test_an_unknown_or_impossible_stop_refuses_the_entry(distance: str) -> None:
    always = strategy("close > 0 * close", stop=distance)
    assert reasons_of(always, [U, U, F if distance[0] == "p" else T])[-1] == reasons.INVALID_STOP
    assert reasons_of(always, [U, U, U])[-1] == reasons.INVALID_STOP


def test_an_unknown_or_impossible_size_refuses_the_entry() -> None:
    for premium in ([U, U], [F, F]):
        assert reasons_of(strategy("close > 0 * close", size="premium"), premium)[-1] == reasons.INVALID_SIZE


@pytest.mark.parametrize(
    ("events", "table"),
    [
        ([(F, F), (T, F), (F, F), (F, T), (F, F)], [U, T, T, F, F]),
        ([(T, T), (F, F), (T, F), (T, T), (F, F)], [F, F, T, F, F]),
        ([(U, F), (F, U), (U, U), (T, U), (F, F)], [U, U, U, U, U]),
        ([(T, F), (U, F), (F, U), (T, U), (F, F)], [T, T, U, U, T]),
        ([(F, T), (U, F), (F, U), (U, T), (F, F)], [F, U, F, F, F]),
        ([(F, T), (T, U), (F, F), (T, F), (U, U)], [F, U, F, T, U]),
    ],
)
def test_a_latch_is_reset_before_it_is_set_and_guesses_nothing(
    events: list[tuple[float, float]], table: list[float]
) -> None:
    np.testing.assert_array_equal(truth("latch(premium > 0, funding > 0)", events), table)


@pytest.mark.parametrize(
    ("series", "table"),
    [
        ([T, T, T, F, T, T, T], [U, U, T, F, F, F, T]),
        ([F, T, T, T, T], [F, F, F, T, T]),
        ([U, T, T, T, U, T, F, U, T], [U, U, U, T, U, U, F, F, F]),
        ([U, U, U, U], [U, U, U, U]),
    ],
)
def test_what_held_for_three_bars_held_on_each(series: list[float], table: list[float]) -> None:
    np.testing.assert_array_equal(truth("held_for(premium > 0, 3)", [(v, v) for v in series]), table)
