"""The derived warm-up is enough: wherever the bars begin, decisions after it are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import research_lab
from research_lab.bars import read_candles
from research_lab.dsl import compiler
from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import MAX_WINDOW, SETTLED, settling
from research_lab.dsl.spec import compile_spec, compile_union, warmup_bars
from research_lab.dsl.spec_reader import load_spec, parse_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import backtest
from research_lab.engine.layout import WARMUP
from research_lab.engine.terms import Terms
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import Tape, walk
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


TURNING = (
    "psar_direction(0.02, 0.2)",
    "psar_direction(0.005, 0.05)",
    "psar_direction(0.002, 0.02)",
    "psar_direction(0.02, 0.002)",
    "supertrend_direction(10, 1)",
    "supertrend_direction(10, 3)",
    "supertrend_direction(10, 8)",
    "supertrend_direction(100, 3)",
)


def differing_starts(text: str, tape: Tape, n_starts: int = 40) -> int:
    """Return in how many of so many later starts a value differs after its warm-up."""
    program, warmup = compiler.program_of([parse_expression(text, Scope())], 3_600_000)
    whole = invariants.run(ProgramMachine(program), tape).rows[0]
    last = tape.n - warmup - 500
    assert last > n_starts
    differing = 0
    for start in np.linspace(1, last, n_starts).astype(int).tolist():
        late = invariants.run(ProgramMachine(program), tape.window(start, start + warmup + 500)).rows[0]
        differing += not np.array_equal(late[warmup - 1 :], whole[start + warmup - 1 : start + late.shape[0]])
    return differing


@pytest.mark.parametrize("text", TURNING)
@pytest.mark.parametrize("volatility", [0.0003, 0.01])
def test_a_line_that_turns_has_forgotten_where_the_bars_begin(text: str, volatility: float) -> None:
    tape = walk(np.random.default_rng(5), 20_000, volatility=volatility)
    assert differing_starts(text, tape) == 0


@pytest.mark.parametrize("text", TURNING)
@pytest.mark.parametrize("market", ["BTC-USDT_1h", "XRP-USDT_1h", "AVAX-USDT_5m"])
def test_a_line_that_turns_has_forgotten_on_real_candles(
    text: str, market: str, real_data: Callable[[str], Path]
) -> None:
    bars = read_candles(real_data(f"candles/binance_{market}.parquet"))
    inputs = np.ascontiguousarray(bars.inputs[:, -40_000:])
    tape = Tape(bars.step_ms, bars.time[-40_000:], inputs, bars.funding_due[-40_000:])
    assert differing_starts(text, tape) == 0


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ("psar(0.002, 0.2)", "psar(0.02, 0.2)"),
        ("psar(0.02, 0.002)", "psar(0.02, 0.2)"),
        ("supertrend(10, 8)", "supertrend(10, 3)"),
        ("supertrend(100, 3)", "supertrend(10, 3)"),
    ],
)
def test_what_turns_less_often_warms_up_longer(slower: str, faster: str) -> None:
    trees = [parse_expression(text, Scope()) for text in (slower, faster)]
    warmups = [compiler.program_of([tree], 3_600_000)[1] for tree in trees]
    assert warmups[0] > 2 * warmups[1]


@pytest.mark.parametrize("text", ["psar(0, 0.2)", "psar(0.02, 0)", "supertrend(10, 1e200)"])
def test_what_never_turns_has_the_longest_warm_up(text: str) -> None:
    warmup = compiler.program_of([parse_expression(text, Scope())], 3_600_000)[1]
    assert settling(1.0 / MAX_WINDOW) <= warmup <= settling(1.0 / MAX_WINDOW) + 200


def test_a_sweep_derives_the_warm_up_of_each_of_its_strategies() -> None:
    spec = parse_spec(
        "spec: 1\nname: turning\nhypothesis: none\ntimeframe: 1h\nside: long\nparams:\n"
        "  step: {range: [0.005, 0.02], step: 0.005, default: 0.01}\n  k: {range: [1, 5], step: 2, default: 3}\n"
        "enter_long: psar_direction(step, 0.2) > supertrend_direction(10, 2 * k)\nstop: atr(14)\nsize: {risk: 0.01}\n"
    )
    specs = [spec.bind(values) for values in spec.grid()]
    assert compile_union(specs).plans[:, WARMUP].tolist() == [warmup_bars(one) for one in specs]


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("ema(x, 20)", 1), ("rma(x, 20)", 1), ("macd(x, 12, 26)", 1), ("macd(x, 5, 6)", 1), ("macd(x, 100, 200)", 1),
        ("macd_signal(x, 12, 26, 9)", 1), ("macd_signal(x, 20, 21, 20)", 1), ("macd_histogram(x, 12, 26, 9)", 1),
        ("ewm_std(x, 20)", 2),
    ],
)  # fmt: skip
def test_a_millionth_of_the_first_value_is_left_after_the_warm_up(text: str, n: int) -> None:
    """A first value of 1 and zeros behind it: what is told then is the share of it that is left."""
    tape = walk(np.random.default_rng(1), 4_000)
    tape.inputs[4] = 0.0
    tape.inputs[4, 0] = 1.0
    program, warmup = compiler.program_of([parse_expression(text.replace("x", "volume"), Scope())], 3_600_000)
    left = invariants.run(ProgramMachine(program), tape).rows[0]
    assert np.abs(left[warmup - 1 :]).max() <= SETTLED
