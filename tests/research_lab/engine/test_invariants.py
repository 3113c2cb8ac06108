"""The five invariants of whole strategies: those of the library and random ones, through the full backtest."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import research_lab
from research_lab.dsl.spec import Spec, compile_spec, compile_union
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_regimes, parse_spec
from research_lab.engine.backtest import backtest, daily_returns, regime_codes
from research_lab.engine.metrics import NAMES
from research_lab.engine.program import N_INPUTS, Program
from research_lab.engine.slot import CompiledRegimes
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.timeframe import timeframe_ms
from tests.research_lab.engine import invariants
from tests.research_lab.engine.invariants import ProgramMachine, SlotMachine, block_cuts
from tests.research_lab.engine.tapes import HOUR_MS, SHAPES, Tape, shaped, walk, with_gaps
from tests.strategies_of_specs import specs

STRATEGIES = Path(research_lab.__file__).parent / "strategies"
LIBRARY = {
    path.stem: load_spec(path)
    for path in sorted(STRATEGIES.glob("*.yaml"))
    if path.stem not in ("regimes", "macro")
}
REGIMES = load_regimes(STRATEGIES / "regimes.yaml")
SPOT = Terms()
PERPETUAL = Terms(perpetual=True, leverage=5.0, lot=1e-5, tick=0.05, min_notional=0.001)
FEW = settings(
    max_examples=max(20, settings.get_profile(settings.get_current_profile_name()).max_examples),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
BOTH_TERMS = pytest.mark.parametrize("terms", [SPOT, PERPETUAL], ids=["spot", "perpetual"])


def quick_regimes(timeframe: str) -> str:
    """Return regimes that change often on a short tape."""
    return (
        f"spec: 1\ntimeframe: {timeframe}\nregimes:\n  panic: close < prev(close, 3) - 2 * sma(true_range(), 5)\n"
        "  range_highvol: sma(true_range(), 3) > 1.2 * sma(true_range(), 9)\n"
        "  range_lowvol: sma(true_range(), 3) < 0.9 * sma(true_range(), 9)\n"
    )


def tape_for(spec: Spec, n_bars: int, *, seed: int = 3, base_ms: int | None = None) -> Tape:
    """Return a walk with gaps whose base bars are a quarter of the strategy's, an hour at most."""
    rng = np.random.default_rng(seed)
    step = base_ms or min(spec.step_ms // 4, HOUR_MS)
    return with_gaps(rng, walk(rng, n_bars, step_ms=step, volatility=0.012), share=0.03)


def machine_for(spec: Spec, terms: Terms, start: int = 0) -> SlotMachine:
    return SlotMachine(compile_spec(spec), terms, _read_regimes("1h") if spec.regimes else None, start)


@pytest.mark.parametrize("name", LIBRARY)
@BOTH_TERMS
def test_a_strategy_of_the_library_keeps_the_invariants(name: str, terms: Terms) -> None:
    spec = lively(LIBRARY[name])
    tape = tape_for(spec, 12_000)
    machine = machine_for(spec, terms)
    answer = invariants.run(machine, tape)
    rng = np.random.default_rng(5)
    cuts = sorted({int(c) for c in rng.integers(1, tape.n, size=60)} | {2048, 4096} | set(range(5000, 5400)))
    invariants.check_block_invariance(machine, tape, cuts)
    invariants.check_determinism(machine, tape)
    bars = [*answer.records[:: max(1, len(answer.records) // 4), 0].astype(int), tape.n // 2, tape.n - 1]
    for bar in bars:
        invariants.check_causality(machine, tape, bar, seed=bar)
        invariants.check_restore(machine, tape, bar)
        invariants.check_own_close(machine, tape, bar, share=0.3)


def lively(spec: Spec) -> Spec:
    """Return a strategy at the short end of its windows, and without a regime that seldom comes."""
    text = spec.canonical().replace(
        "regimes: [range_lowvol]", "regimes: [range_lowvol, range_highvol, trend_up]"
    )
    loose = parse_spec(text.replace("rsi(close, 14) < oversold", "rsi(close, 14) < 1.4 * oversold"))
    return loose.bind({name: param.low for name, param in loose.params.items()})


def test_the_library_trades_on_these_tapes() -> None:
    """Otherwise the tests above would prove nothing."""
    for spec in map(lively, LIBRARY.values()):
        terms = PERPETUAL if spec.side == "both" else SPOT
        assert len(invariants.run(machine_for(spec, terms), tape_for(spec, 12_000)).records) > 4, spec.name


@pytest.mark.proof
@FEW
@given(data=st.data(), spec=specs(depth=4), shape=st.sampled_from(SHAPES))
def test_a_random_program_keeps_the_invariants(data: st.DataObject, spec: Spec, shape: str) -> None:
    tape = shaped(shape, 90)
    cuts = data.draw(block_cuts(tape.n))
    invariants.check_all(
        ProgramMachine(_all_outputs(spec)), tape, cuts, data.draw(st.integers(1, tape.n - 1))
    )


def _all_outputs(spec: Spec) -> Program:
    program = compile_spec(spec).program
    every = np.flatnonzero(program.on_own_bars())[N_INPUTS:]
    return program._replace(outputs=every)


@pytest.mark.proof
@pytest.mark.parametrize("timeframe", ["1h", "4h", "3h", "1d", "1w"])
@FEW
@given(data=st.data())
def test_a_random_strategy_keeps_the_invariants(timeframe: str, data: st.DataObject) -> None:
    spec = data.draw(specs(timeframe))
    seed = data.draw(st.integers(0, 50))
    terms = data.draw(
        st.sampled_from([SPOT, PERPETUAL, Terms(perpetual=True, leverage=20.0, optimistic=True)])
    )
    base_ms = {"1d": 4 * HOUR_MS, "1w": 24 * HOUR_MS}.get(timeframe, HOUR_MS)
    tape = tape_for(spec, 600, seed=seed, base_ms=base_ms)
    regimes = _read_regimes(data.draw(st.sampled_from(["1h", "2h", "4h"]))) if spec.regimes else None
    machine = SlotMachine(compile_spec(spec), terms, regimes, data.draw(st.integers(0, 200)))
    bar = data.draw(st.integers(1, tape.n - 1))
    invariants.check_all(machine, tape, data.draw(block_cuts(tape.n)), bar)
    invariants.check_own_close(machine, tape, bar, data.draw(st.floats(0.0, 1.0)))


def _read_regimes(timeframe: str) -> CompiledRegimes:
    return parse_regimes(quick_regimes(timeframe)).compiled


@pytest.mark.proof
@FEW
@given(data=st.data())
def test_the_backtest_gives_what_its_blocks_give(data: st.DataObject) -> None:
    spec = data.draw(specs())
    tape = tape_for(spec, 300, seed=data.draw(st.integers(0, 9)))
    start = data.draw(st.integers(0, 80))
    codes = regime_codes(_read_regimes("2h"), tape, block=data.draw(st.integers(1, 70)))
    cuts = [0, *data.draw(block_cuts(tape.n)), tape.n]
    blocks = list(itertools.pairwise(cuts))
    whole = backtest(compile_spec(spec), tape, PERPETUAL, regime=codes, start=start)
    pieces = backtest(compile_spec(spec), tape, PERPETUAL, regime=codes, start=start, blocks=blocks)
    for name in ("equity", "position", "reason", "fills", "trades", "state"):
        assert getattr(whole, name).tobytes() == getattr(pieces, name).tobytes(), name
    assert list(map(repr, whole.metrics.values())) == list(map(repr, pieces.metrics.values()))
    assert not np.any(whole.fills["bar"] <= start)


@pytest.mark.parametrize("block", [1, 7, 64, 2048, 5000])
def test_regime_codes_do_not_depend_on_the_block(block: int) -> None:
    rng = np.random.default_rng(8)
    tape = with_gaps(rng, walk(rng, 6000), share=0.05)
    for regimes in (_read_regimes("4h"), REGIMES.compiled):
        whole = regime_codes(regimes, tape, block=tape.n)
        assert len(set(whole)) >= 4
        assert regime_codes(regimes, tape, block=block).tobytes() == whole.tobytes()


@given(bar=st.integers(1, 2999), seed=st.integers(0, 99))
def test_regime_codes_do_not_know_the_future(bar: int, seed: int) -> None:
    tape = walk(np.random.default_rng(8), 3000)
    poisoned = invariants.poisoned_from(tape, bar, seed)
    for regimes in (_read_regimes("4h"), REGIMES.compiled):
        honest = regime_codes(regimes, tape)[:bar]
        assert honest.tobytes() == regime_codes(regimes, poisoned)[:bar].tobytes()


def test_random_strategies_trade() -> None:
    """Otherwise the tests of random strategies would prove little."""
    n_trading, reasons_seen = [], set()

    @settings(max_examples=150, database=None)
    @given(spec=specs("2h"))
    def trade(spec: Spec) -> None:
        machine = SlotMachine(compile_spec(spec), PERPETUAL, _read_regimes("1h") if spec.regimes else None)
        records = invariants.run(machine, tape_for(spec, 600, base_ms=HOUR_MS)).records
        n_trading.append(len(records) > 0)
        reasons_seen.update(records[:, 2].astype(int))

    trade()
    assert np.mean(n_trading) > 0.3
    assert reasons_seen >= {1, 2, 3, 5, 6}, "entries, exits by signal and time, stops and takes"


@pytest.mark.proof
@FEW
@given(data=st.data())
def test_a_sweep_equals_its_backtests_on_any_number_of_threads(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(specs(), min_size=1, max_size=5))
    combinations = [spec.bind(values) for spec in drawn for values in spec.grid()[:3]]
    start = data.draw(st.integers(0, 150))
    tape = tape_for(drawn[0], 2600 if data.draw(st.booleans()) else 400, seed=data.draw(st.integers(0, 9)))
    check_sweep(combinations, tape, start)


def check_sweep(combinations: list[Spec], tape: Tape, start: int) -> None:
    codes = regime_codes(_read_regimes("4h"), tape)
    whole = [compile_union(combinations)]
    thirds = [compile_union(combinations[k : k + 3]) for k in range(0, len(combinations), 3)]
    one = sweep(whole, tape, PERPETUAL, regime=codes, start=start, n_threads=1)
    two = sweep(thirds, tape, PERPETUAL, regime=codes, start=start, n_threads=2)
    assert one.metrics.tobytes() == two.metrics.tobytes()
    assert one.daily_returns.tobytes() == two.daily_returns.tobytes()
    for k, spec in enumerate(combinations):
        alone = backtest(compile_spec(spec), tape, PERPETUAL, regime=codes, start=start)
        single = np.array([alone.metrics[name] for name in NAMES])
        assert single.tobytes() == one.metrics[k].tobytes(), spec.canonical()
        first_day, returns = daily_returns(tape.time, alone.equity, start)
        assert first_day == one.first_day
        assert returns.tobytes() == one.daily_returns[k].tobytes(), spec.canonical()


@pytest.mark.parametrize("name", LIBRARY)
def test_a_grid_of_the_library_swept_equals_its_backtests(name: str) -> None:
    spec = LIBRARY[name]
    grid = spec.grid()
    combinations = [spec.bind(values) for values in grid[:: max(1, len(grid) // 12)]]
    check_sweep(combinations, tape_for(spec, 6000), start=1000)


def test_a_fourth_register_is_read_by_every_worker_of_a_sweep() -> None:
    """The parabolic reads four, and the last of them differs from strategy to strategy here."""
    spec = parse_spec(
        "spec: 1\nname: turning\nhypothesis: none\ntimeframe: 1h\nside: long\n"
        "params:\n  most: {range: [0.1, 0.5], step: 0.1, default: 0.1}\n"
        "enter_long: close > psar(0.1, most)\nexit_long: close < psar(0.1, most)\nsize: {fraction: 0.9}\n"
    )
    combinations = [spec.bind(values) for values in spec.grid()]
    assert len(combinations) == 5
    tape = tape_for(spec, 2_000, base_ms=HOUR_MS)
    check_sweep(combinations, tape, start=300)
    equity = {backtest(compile_spec(one), tape, PERPETUAL, start=300).equity[-1] for one in combinations}
    assert len(equity) == 5


def test_a_week_begins_on_monday_for_every_strategy() -> None:
    text = (
        "spec: 1\nname: weekly\nhypothesis: none\ntimeframe: 1w\nside: long\nenter_long: close > 0 * close\n"
        "time_stop: 1\nsize: {fraction: 0.5}\n"
    )
    rng = np.random.default_rng(2)
    tape = walk(rng, 24 * 40)
    reasons = backtest(compile_spec(parse_spec(text)), tape, SPOT).reason
    decided = tape.time[reasons != 20] + HOUR_MS
    # From Friday, 1 January 2021, 40 days: the Mondays of 11 January to 8 February; the first week began unseen.
    assert decided.shape[0] == 5
    assert all((int(t) // timeframe_ms("1d") + 3) % 7 == 0 and t % timeframe_ms("1d") == 0 for t in decided)
