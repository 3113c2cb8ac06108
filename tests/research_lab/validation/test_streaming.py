from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise
from research_lab.validation import streaming
from research_lab.validation.lookahead import check_lookahead
from research_lab.validation.streaming import streamed_difference
from tests.research_lab.validation.test_lookahead import after, checked, peek

TEXT = """
spec: 1
name: crossing
hypothesis: none
timeframe: 4h
side: long
enter_long: close > sma(close, 12) and tf("1d", close > prev(close))
exit_long: close < sma(close, 12)
stop: 2 * atr(10)
size: {risk: 0.01}
"""
SPEC, BARS, TERMS = parse_spec(TEXT), noise(5, 5_000).bars, Terms()


def streamed() -> Any:
    return streamed_difference(compile_spec(SPEC), BARS, TERMS, None, np.zeros(BARS.n), 0)


def test_bars_one_at_a_time_give_the_same_bits() -> None:
    assert streamed() is None
    report = check_lookahead(SPEC, BARS, TERMS, seed=1, n_cuts=4)
    assert report.outcome == "PASS"
    assert report.n_streamed == BARS.n


@pytest.mark.parametrize("bar", [3, 2_047, 2_500, 4_998])
def test_a_block_that_looks_one_bar_ahead_once_is_found(bar: int, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = streaming.advance_slot

    def peeking(*given: Any) -> int:
        inputs, first = given[11].copy(), given[14]
        k = bar - first
        if 0 <= k < inputs.shape[1] - 1:
            inputs[3, k] = inputs[3, k + 1]
        return honest(*given[:11], inputs, *given[12:])

    monkeypatch.setattr(streaming, "advance_slot", peeking)
    apart = streamed()
    if bar == 2_047:  # the last of its block has nothing to look at
        assert apart is None
    else:
        assert apart is not None
        assert bar <= apart.bar < bar + 4
    report = check_lookahead(SPEC, BARS, TERMS, seed=1, n_cuts=4)
    assert report.outcome == ("PASS" if bar == 2_047 else "FAIL")


def test_a_fault_names_the_bar_that_moves_it_alone() -> None:
    report = checked(after(peek))
    found = re.fullmatch(r"bar (\d+) alone moves close at bar (\d+)", report.culprit)
    assert found is not None
    assert int(found[1]) == int(found[2]) + 1
    assert report.culprit in report.sentence
