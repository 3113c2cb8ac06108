"""The strategies that come with the package: well formed, small enough to tune, and alive."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import research_lab.strategies
from research_lab.bars import HOUR_MS, Bars, read_candles
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_spec
from research_lab.engine.backtest import Backtest, backtest, regime_codes
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.market_data.worlds import noise

FOLDER = Path(next(iter(research_lab.strategies.__path__)))
LIBRARY = {
    path.stem: load_spec(path)
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.stem not in ("regimes", "macro")
}
REGIMES = load_regimes(FOLDER / "regimes.yaml").compiled
TERMS = Terms(perpetual=True, leverage=3.0)
# Days of warm-up of the packaged regimes, and two years: what a strategy is given to trade in.
N_HOURS = 20_000
EACH = pytest.mark.parametrize("name", LIBRARY)


@cache
def world(step_ms: int) -> tuple[Bars, FloatArray]:
    bars = noise(11, N_HOURS, min(step_ms, HOUR_MS)).bars
    return bars, regime_codes(REGIMES, bars)


def run(spec: Spec, bars: Bars, codes: FloatArray) -> Backtest:
    return backtest(compile_spec(spec), bars, TERMS, regime=codes)


@EACH
def test_it_is_called_like_its_file_and_says_why_it_should_work(name: str) -> None:
    spec = LIBRARY[name]
    assert spec.name == name
    assert 60 < len(spec.hypothesis) < 400
    assert 1 <= spec.hypothesis.count(".") <= 2


@EACH
def test_its_canonical_text_is_the_same_strategy(name: str) -> None:
    spec = LIBRARY[name]
    assert (parse_spec(spec.canonical()).hash, spec.hash) == (spec.hash,) * 2


@EACH
def test_its_parameters_are_few_and_without_tuning_stand_on_the_grid(name: str) -> None:
    spec = LIBRARY[name]
    assert 2 <= len(spec.params) <= 4
    assert spec.n_combinations <= 2_000
    for param in spec.params.values():
        assert param.default in param.values
        assert param.high in param.values


@EACH
def test_it_is_protected_and_risks_little(name: str) -> None:
    spec = LIBRARY[name]
    assert spec.stop is not None
    assert spec.trail or spec.takes or spec.time_stop or {"exit_long", "exit_short"} & set(spec.conditions)
    if name != "ema_atr":  # the example of the first page
        assert spec.size.value is not None and 0.0 < float(spec.size.value) <= 0.01


def test_no_strategy_stands_twice() -> None:
    assert len({spec.template_hash for spec in LIBRARY.values()}) == len(LIBRARY)


@EACH
def test_it_trades_on_a_random_walk(name: str) -> None:
    spec = LIBRARY[name]
    bars, codes = world(spec.step_ms)
    if "funding" in spec.needs:
        pytest.skip("a random walk pays no funding")
    if not codes.any():
        codes = codes + 3.0  # a world of minutes is too short for regimes of days: range_lowvol throughout
    trades = run(spec, bars, codes).trades
    assert len(trades) >= 10
    if spec.side == "both":
        assert set(trades["side"].tolist()) == {-1, 1}


def test_they_trade_on_real_candles(real_data: Callable[[str], Path]) -> None:
    bars = read_candles(real_data("candles/binance_BTC-USDT_1h.parquet"))
    codes = regime_codes(REGIMES, bars)
    for name, spec in LIBRARY.items():
        if spec.step_ms >= HOUR_MS and "funding" not in spec.needs:
            assert len(run(spec, bars, codes).trades) >= 50, name
