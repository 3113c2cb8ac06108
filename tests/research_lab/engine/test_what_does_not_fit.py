"""Kernels check nothing: whatever would make one read or write beyond an array is refused at every door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from live_shadow.executor import Desk, Executor
from live_shadow.slots import Limits
from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import compile_spec, compile_union
from research_lab.dsl.spec_reader import LIBRARY, load_regimes, parse_spec
from research_lab.engine.backtest import backtest, regime_codes
from research_lab.engine.evaluation import evaluate
from research_lab.engine.jit import FloatArray
from research_lab.engine.portfolio import Market, Portfolio, Slot, Stepper, portfolio
from research_lab.engine.slot import Compiled
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import UsageError
from research_lab.market_data.trading_along import walk
from research_lab.market_data.worlds import draw, noise
from research_lab.validation.recording import record
from research_lab.validation.streaming import streamed_difference
from tests.research_lab.engine.tapes import HOUR_MS, Tape

N = 300
SPEC = parse_spec(
    "spec: 1\nname: green\nhypothesis: none\ntimeframe: 1h\nside: long\n"
    "enter_long: close > open\nexit_long: close < open\nsize: {fraction: 1}\n"
)
PLAIN = compile_spec(SPEC)
READER = PLAIN._replace(
    program=PLAIN.program._replace(series=("vix",), n_registers=PLAIN.program.n_registers + 1)
)
BARS = noise(1, N).bars
REGIMES: RegimeSet = load_regimes(LIBRARY / "regimes.yaml")


@dataclass(frozen=True, eq=False)
class LooseTape(Tape):
    """A tape that gives all that it has, whatever is asked for."""

    def rows(self, series: Sequence[str] = ()) -> FloatArray:
        return self.inputs


def loose(bars: Bars = BARS, **changed: Any) -> LooseTape:
    return replace(LooseTape(bars.step_ms, bars.time, bars.inputs, bars.funding_due), **changed)


def alone(strategy: Compiled, tape: Tape, **asked: Any) -> Portfolio:
    regime = asked.pop("regime", None)
    return portfolio([Slot(strategy, 0)], [Market(tape, Terms(), regime)], **asked)


def swept(strategy: Compiled, tape: Tape, **asked: Any) -> Any:
    chunk = compile_union([SPEC])
    shared = chunk.union.shared._replace(series=strategy.program.series)
    return sweep([chunk._replace(union=chunk.union._replace(shared=shared))], tape, Terms(), **asked)


DOORS: dict[str, Callable[..., Any]] = {
    "backtest": lambda strategy, tape, **asked: backtest(strategy, tape, Terms(), **asked),
    "sweep": swept,
    "portfolio": alone,
    "evaluate": lambda strategy, tape: evaluate(strategy.program, strategy.step_ms, tape),
    "record": lambda strategy, tape: record(strategy, tape, Terms()),
    "streaming": lambda strategy, tape: streamed_difference(strategy, tape, Terms(), None, np.zeros(N), 0),
    "regimes": lambda strategy, tape: regime_codes(
        REGIMES.compiled._replace(
            macro=None, program=REGIMES.compiled.program._replace(series=strategy.program.series)
        ),
        tape,
    ),
}
MORE_ROWS = np.concatenate([BARS.inputs, np.full((6, N), 7.7)])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("strategy", "changed"),
    [
        (PLAIN, {"inputs": MORE_ROWS}),
        (PLAIN, {"inputs": BARS.inputs[:5]}),
        (PLAIN, {"inputs": BARS.inputs[:, :-1]}),
        (PLAIN, {"funding_due": BARS.funding_due[:-1]}),
        (READER, {}),
    ],
    ids=["series unasked for", "rows too few", "bars too few", "funding too short", "no such series"],
)
def test_rows_that_do_not_fit_are_refused_at_every_door(
    door: str, strategy: Compiled, changed: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"inputs .* wanted"):
        DOORS[door](strategy, loose(**changed))


@pytest.mark.parametrize("door", ["backtest", "portfolio", "evaluate"])
def test_a_program_without_room_for_its_rows_is_refused(door: str) -> None:
    small = PLAIN._replace(program=PLAIN.program._replace(n_registers=7))
    with pytest.raises(ValueError, match="7 registers for 7 rows"):
        DOORS[door](small, loose())


@pytest.mark.parametrize("door", ["backtest", "sweep", "portfolio"])
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"regime": np.zeros(N - 1)}, "one cell"),
        ({"start": -1}, "start is"),
        ({"start": N + 1}, "start is"),
    ],
)
def test_codes_and_starts_that_do_not_fit_are_refused(door: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DOORS[door](PLAIN, BARS, **asked)


@pytest.mark.parametrize("door", ["backtest", "sweep", "portfolio", "evaluate"])
@pytest.mark.parametrize("step_ms", [HOUR_MS * 4, HOUR_MS // 60 * 35])
def test_bars_that_make_none_of_the_timeframe_are_refused(door: str, step_ms: int) -> None:
    with pytest.raises(ValueError, match="make no bars of"):
        DOORS[door](PLAIN, loose(step_ms=step_ms))


@pytest.mark.parametrize("door", ["backtest", "portfolio"])
@pytest.mark.parametrize(
    "blocks",
    [[(0, N - 1)], [(0, 100), (101, N)], [(0, 100), (50, N)], [(0, -1)], [(0, N + 9)], [(N, 0), (0, N)]],
)
def test_blocks_that_do_not_cover_the_bars_in_order_are_refused(
    door: str, blocks: list[tuple[int, int]]
) -> None:
    with pytest.raises(ValueError, match="blocks do not cover"):
        DOORS[door](PLAIN, BARS, blocks=blocks)


def test_a_stepper_refuses_times_and_states_that_are_not_its_own() -> None:
    stepper = Stepper([Slot(PLAIN, 0)], [Market(BARS, Terms())])
    state = stepper.new_state()
    for first, last, cells in ((0, N + 1, state), (5, 4, state), (-1, 4, state), (0, 4, state[:-1])):
        with pytest.raises(ValueError, match="cells"):
            stepper.advance(cells, first, last)


def test_a_made_world_refuses_what_does_not_fit_it() -> None:
    weather = draw(1, N, HOUR_MS, int(BARS.time[0]))
    for strategy, drift, words in (
        (READER, np.zeros((1, N)), "no vix"),
        (PLAIN, np.zeros((1, N - 1)), "drift"),
        (PLAIN, np.zeros((2, N)), "drift"),
        (PLAIN._replace(step_ms=HOUR_MS // 2), np.zeros((1, N)), "make no bars"),
    ):
        with pytest.raises(ValueError, match=words):
            walk(weather, BARS, [strategy], Terms(), drift)


def test_the_executor_refuses_flags_and_series_that_do_not_fit() -> None:
    limits = Limits(np.inf, np.inf, np.inf, np.inf)
    executor = Executor(Desk(HOUR_MS, None, Terms(), Terms(), limits), [])
    with pytest.raises(UsageError, match="flags of lateness"):
        executor.advance(BARS, np.zeros(N - 1))
    with pytest.raises(UsageError, match="other series"):
        executor.advance(BARS.with_series({"vix": np.zeros(N)}))
