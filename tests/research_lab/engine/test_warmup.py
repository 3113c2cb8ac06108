"""The derived warm-up is enough: wherever the bars begin, decisions after it are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import research_lab
from research_lab.dsl import compiler
from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import SETTLED
from research_lab.dsl.spec import compile_spec, warmup_bars
from research_lab.dsl.spec_reader import load_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import walk
from tests.research_lab.engine.test_function_table import ROWS

STRATEGIES = Path(research_lab.__file__).parent / "strategies"
LIBRARY = {
    p.stem: load_spec(p) for p in sorted(STRATEGIES.glob("*.yaml")) if p.stem not in ("regimes", "macro")
}
OFFSETS = (1, 2, 17, 100, 333)
LEVELS = ("running_sum", "obv", "accumulation_distribution")  # sums since the data begin
REMEMBERING = ("bars_since(", *LEVELS)


@pytest.mark.parametrize("text", [r.text for r in ROWS if not r.text.startswith(REMEMBERING)])
def test_a_value_after_its_warm_up_does_not_depend_on_where_the_bars_begin(text: str) -> None:
    """Within what a recursion may keep of its first value; bars_since remembers for ever by its nature."""
    tape = walk(np.random.default_rng(7), 1500)
    program, warmup = compiler.program_of([parse_expression(text, Scope())], 3_600_000)
    whole = invariants.run(ProgramMachine(program), tape).rows[0]
    for offset in OFFSETS:
        late = invariants.run(ProgramMachine(program), tape.window(offset, tape.n)).rows[0]
        a, b = whole[offset + warmup - 1 :], late[warmup - 1 :]
        if "premium" not in text:
            assert np.isfinite(b[: tape.n]).all() or "/ (close - open)" in text, text
        settled = warmup + 60 if "premium" in text else 0  # windows of known values reach further back
        # What is left of a first price is a share of the price, however small a difference of prices is.
        level = float(tape.inputs[1].max()) if parse_expression(text, Scope()).dimension == PRICE else 0.0
        np.testing.assert_allclose(
            a[settled:], b[settled:], rtol=2e-5, atol=1e-9 + SETTLED * level, err_msg=text
        )


@pytest.mark.parametrize("text", [row.text for row in ROWS if row.text.startswith(LEVELS)])
def test_a_sum_since_the_data_begin_moves_alike_wherever_that_is(text: str) -> None:
    tape = walk(np.random.default_rng(7), 1500)
    program, warmup = compiler.program_of([parse_expression(text, Scope())], 3_600_000)
    whole = invariants.run(ProgramMachine(program), tape).rows[0]
    for offset in OFFSETS:
        late = invariants.run(ProgramMachine(program), tape.window(offset, tape.n)).rows[0]
        shift = (whole[offset:] - late)[warmup - 1 :]
        shift = shift[np.isfinite(shift)]
        assert shift.size > 1000 and np.abs(shift).max() > 0.0
        np.testing.assert_allclose(shift, shift[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", LIBRARY)
def test_decisions_after_the_warm_up_do_not_depend_on_where_the_bars_begin(name: str) -> None:
    spec = LIBRARY[name]
    spec = spec.bind({n: p.low for n, p in spec.params.items()})
    tape = walk(np.random.default_rng(21), 5000, step_ms=spec.step_ms)
    compiled, warmup = compile_spec(spec), warmup_bars(spec)
    # A fresh book from the same bar on: only what the program remembers can differ.
    first = max(OFFSETS) + warmup
    terms = Terms(perpetual=True)
    codes = np.full(tape.n, 3.0)
    whole = backtest(compiled, tape, terms, regime=codes, start=first)
    assert len(whole.fills) > 0
    for offset in OFFSETS:
        late = backtest(
            compiled, tape.window(offset, tape.n), terms, regime=codes[offset:], start=first - offset
        )
        assert np.array_equal(late.reason[first - offset :], whole.reason[first:]), offset
        assert np.array_equal(late.fills["bar"] + offset, whole.fills["bar"])
        assert late.equity[-1] == pytest.approx(whole.equity[-1], rel=1e-3)


@pytest.mark.parametrize("name", LIBRARY)
def test_nothing_is_decided_while_warming(name: str) -> None:
    spec = LIBRARY[name]
    tape = walk(np.random.default_rng(3), warmup_bars(spec) + 200, step_ms=spec.step_ms)
    reason = backtest(compile_spec(spec), tape, Terms(perpetual=True), regime=np.full(tape.n, 3.0)).reason
    warming = reason == reasons.WARMING
    assert warming[: warmup_bars(spec) - 1].all()
    assert not warming[warmup_bars(spec) - 1 :].any()
    assert np.isin(reason[: warmup_bars(spec) - 1], [reasons.WARMING]).all()
