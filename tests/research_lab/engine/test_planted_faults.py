"""Each check must find its fault: a machine that is wrong on purpose goes through the same harness."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import averages, broker, layout
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from tests.research_lab.engine import invariants
from tests.research_lab.engine.differential import Step, difference, play
from tests.research_lab.engine.invariants import ProgramMachine, SlotMachine
from tests.research_lab.engine.tapes import Tape, walk
from tests.research_lab.engine.test_broker_differential import (
    case_number,
    same_but_watch,
    step_without_quiet_bars,
)
from tests.research_lab.engine.test_function_table import compiled

TAPE = walk(np.random.default_rng(4), 300)
CUTS = [3, 50, 51, 170, 290]
SPEC = parse_spec(
    "spec: 1\nname: busy\nhypothesis: none\ntimeframe: 2h\nside: long\nenter_long: close > prev(close)\n"
    "exit_long: close < prev(close)\nstop: 2 * atr(3)\nsize: {fraction: 0.9}\n"
)
Advance = Callable[[FloatArray, FloatArray], FloatArray]


class ColumnMachine:
    """A machine of one column, advanced by a function of its state and a block of closes."""

    def __init__(self, advance: Advance, n_state: int = 8) -> None:
        self.advance_column = advance
        self.n_state = n_state

    def start(self) -> FloatArray:
        return np.zeros(self.n_state)

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        rows = self.advance_column(state, tape.named("close")[first:last])[None, :]
        return rows, np.empty((0, layout.FILL_SIZE))


def peek(state: FloatArray, x: FloatArray) -> FloatArray:
    """Give the next close, where the block knows it."""
    return np.append(x[1:], x[-1:])


def look_at_the_block(state: FloatArray, x: FloatArray) -> FloatArray:
    """Normalise by the block's mean, as a research notebook would."""
    return x / np.mean(x)


def sum_by_numpy(state: FloatArray, x: FloatArray) -> FloatArray:
    """Carry a total that was added up block by block: the order of additions depends on the cut."""
    out = state[0] + np.cumsum(x)
    state[0] += np.sum(x)
    return out


def forget(state: FloatArray, x: FloatArray) -> FloatArray:
    """Keep what was seen outside the state."""
    out = np.empty_like(x)
    averages.ema(MEMORY_ELSEWHERE, x, out, 5)
    return out


MEMORY_ELSEWHERE = np.zeros(2)
CHANCE = np.random.default_rng()


def draw(state: FloatArray, x: FloatArray) -> FloatArray:
    return x + CHANCE.normal(size=x.shape)


def honest(state: FloatArray, x: FloatArray) -> FloatArray:
    out = np.empty_like(x)
    averages.ema.py_func.__globals__["_recursive_average"].py_func(state, x, out, 0.4, 5)
    return out


def test_an_honest_machine_passes_every_check() -> None:
    invariants.check_all(ColumnMachine(honest), TAPE, CUTS, 77)
    invariants.check_all(SlotMachine(compile_spec(SPEC), Terms()), TAPE, CUTS, 77)


@pytest.mark.parametrize("fault", [peek, look_at_the_block])
def test_a_look_ahead_inside_a_block_is_found(fault: Advance) -> None:
    with pytest.raises(AssertionError, match="knows what follows"):
        invariants.check_causality(ColumnMachine(fault), TAPE, 77)


@pytest.mark.parametrize("fault", [peek, look_at_the_block, sum_by_numpy])
def test_what_depends_on_the_cut_is_found(fault: Advance) -> None:
    with pytest.raises(AssertionError, match="cut at"):
        invariants.check_block_invariance(ColumnMachine(fault), TAPE, CUTS)


@pytest.mark.parametrize("fault", [draw, forget])
def test_what_differs_from_run_to_run_is_found(fault: Advance) -> None:
    with pytest.raises(AssertionError, match="a second run"):
        invariants.check_determinism(ColumnMachine(fault), TAPE)


def test_memory_outside_the_state_is_found_when_restored() -> None:
    MEMORY_ELSEWHERE[:] = 0.0
    with pytest.raises(AssertionError, match="restored"):
        invariants.check_restore(ColumnMachine(forget), TAPE, 3)


class HurriedMachine(SlotMachine):
    """Fills what was decided at a close at that same close, as careless backtests do."""

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        rows, fills = super().advance(state, tape, first, last)
        entries = fills[:, layout.FILL_REASON] == broker.reasons.ENTRY
        fills[entries, layout.FILL_BAR] -= 1
        decided = fills[entries, layout.FILL_BAR].astype(int)
        fills[entries, layout.FILL_PRICE] = tape.named("close")[decided]
        return rows, fills


class PeekingMachine(SlotMachine):
    """Trades the next bar's close as if it were this one's: a label that is shifted the wrong way."""

    def advance(self, state: FloatArray, tape: Tape, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        shifted = tape.inputs.copy()
        shifted[3, :-1] = np.clip(tape.inputs[3, 1:], tape.inputs[2, :-1], tape.inputs[1, :-1])
        seen = Tape(tape.step_ms, tape.time, shifted, tape.funding_due)
        return super().advance(state, seen, first, last)


def test_a_bar_that_trades_on_its_own_close_is_found_by_the_own_close_check() -> None:
    """The ordinary look-ahead check is blind to it: the close of a bar is no future of that bar."""
    machine = HurriedMachine(compile_spec(SPEC), Terms())
    bars = invariants.run(machine, TAPE).records[:, 0].astype(int)
    with pytest.raises(AssertionError, match="traded on its own close"):
        for bar in bars[:20]:
            invariants.check_own_close(machine, TAPE, bar, share=0.5)


def test_a_strategy_that_sees_the_next_close_is_found() -> None:
    machine = PeekingMachine(compile_spec(SPEC), Terms())
    with pytest.raises(AssertionError, match="knows what follows"):
        for bar in range(40, 80):
            invariants.check_causality(machine, TAPE, bar)


def test_a_negligent_sum_of_the_language_would_be_found() -> None:
    """The engine's rolling sum passes where a sum without compensation and renewal does not."""

    def running(state: FloatArray, x: FloatArray) -> FloatArray:
        out = np.empty_like(x)
        for start in range(0, len(x), 16):  # adds a stride at a time, as a vectorised loop would
            part = x[start : start + 16]
            out[start : start + 16] = state[0] + np.cumsum(part)
            state[0] += float(np.add.reduce(part))
        return out

    with pytest.raises(AssertionError, match="cut at"):
        invariants.check_block_invariance(ColumnMachine(running), TAPE, CUTS)
    invariants.check_block_invariance(ProgramMachine(compiled("sum(close, 9)", "std(close, 9)")), TAPE, CUTS)


BROKER_MODULES = ("settlement", "protection", "decision", "quiet", "broker")


def faulty_broker(old: str, new: str, folder: Path) -> Step:
    """Return `step` of a broker in plain Python, its sources changed in one place."""
    sources = {
        n: (Path(broker.__file__).parent / f"{n}.py").read_text(encoding="utf-8") for n in BROKER_MODULES
    }
    assert any(old in source for source in sources.values()), f"the broker no longer says {old!r}"
    package = folder / "faulty_engine"
    package.mkdir()
    jit = "from typing import Any\n\nFloatArray = IntArray = Any\nkernel = inlined_kernel = lambda f: f\n"
    (package / "jit.py").write_text(jit, encoding="utf-8")
    for name, source in sources.items():
        ours = re.sub(
            rf"research_lab\.engine\.({'|'.join((*BROKER_MODULES, 'jit'))}) ", r"faulty_engine.\1 ", source
        )
        (package / f"{name}.py").write_text(ours.replace(old, new), encoding="utf-8")
    (package / "__init__.py").touch()
    sys.path.insert(0, str(folder))
    try:
        step: Step = importlib.import_module("faulty_engine.broker").step
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "faulty_engine"]:
            del sys.modules[name]
    return step


def first_difference(step: Step, n_cases: int) -> str:
    """Return what the slow broker finds wrong in the first case that it does not agree with."""
    for case, cuts in map(case_number, range(n_cases)):
        with np.errstate(all="ignore"):
            found = difference(case.run(), play(case, cuts, step))
        if found:
            return found
    return ""


def test_the_broker_in_plain_python_is_the_compiled_one(tmp_path: Path) -> None:
    step = faulty_broker("return n_fills", "return n_fills", tmp_path)
    for case, cuts in map(case_number, range(20)):
        with np.errstate(all="ignore"):
            assert same_but_watch(play(case, cuts, step), play(case, cuts))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("market = price * (1.0 - terms[SLIPPAGE] * side)", "market = price * (1.0 + terms[SLIPPAGE] * side)"),
        ("    if (worst - stop) * side <= 0.0:", "    if (worst - stop) * side < 0.0:"),
        ("if terms[OPTIMISTIC] == 1.0:", "if terms[OPTIMISTIC] == 0.0:"),
        ("book[HELD] >= plan[TIME_STOP]", "book[HELD] > plan[TIME_STOP]"),
        ("if book[QUANTITY] * side > 0.0:", "if book[QUANTITY] * side > 1e9:"),
        ("& 1 == 1", "& 1 == 0"),
        ("np.floor(price / tick + 0.5)", "np.floor(price / tick)"),
        ("np.floor(quantity / lot + LOT_TOLERANCE)", "np.ceil(quantity / lot)"),
        ("rate = terms[FEE] + terms[LIQUIDATION_FEE]", "rate = terms[FEE]"),
        ("book[PENDING_QUANTITY], affordable", "book[PENDING_QUANTITY], 1e9"),
        ("(lows[j] <= floor) | (highs[j] >= ceiling)", "lows[j] <= floor"),
    ],
)  # fmt: skip
def test_a_changed_rule_of_the_broker_is_found_by_the_slow_one(old: str, new: str, tmp_path: Path) -> None:
    assert first_difference(faulty_broker(old, new, tmp_path), n_cases=120)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if (favourable[t] - best) * side > 0.0:", "if True:"),
        ("plan[TIME_STOP] - 1.0 - book[HELD]", "plan[TIME_STOP] - book[HELD]"),
        ("(lows[j] <= floor) | (highs[j] >= ceiling)", "(lows[j] < floor) | (highs[j] >= ceiling)"),
        ("(adverse[t] - guard) * side <= 0.0", "(adverse[t] - guard) * side < 0.0"),
        ("if funding_due[k] != 0.0 or cash", "if cash"),
        ("if funding_due[t] != 0.0 or cash", "if cash"),
        ("guard, stop, trail, best\n    return t", "guard, stop, trail, book[BEST]\n    return t"),
        ("        book[HELD] += s_end - s\n", ""),
        ("if emitted_at[middle] < t:", "if emitted_at[middle] <= t:"),
        ("while s < s_end and emitted_at[s] == t:", "while False:"),
        ("        if regime_exit(plan, regime[emitted_at[k]]) != reasons.NONE:", "        if False:"),
    ],
)
def test_a_shortcut_that_skips_too_much_is_found(old: str, new: str, tmp_path: Path) -> None:
    step = faulty_broker(old, new, tmp_path)
    with np.errstate(all="ignore"):
        agree = (
            same_but_watch(play(case, cuts, step), play(case, cuts, step_without_quiet_bars))
            for case, cuts in map(case_number, range(300))
        )
        assert not all(agree)
