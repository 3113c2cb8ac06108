"""Macro states: their order, what is unknown, and what they make of entries, against plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow.executor import shadow_run
from research_lab.bars import Bars
from research_lab.dsl.regimes import MACRO_STATES, MacroSet
from research_lab.dsl.sources import Sources, with_sources
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import LIBRARY, load_regimes, parse_macro, parse_regimes, parse_spec
from research_lab.engine import reasons
from research_lab.engine.backtest import backtest, regime_codes
from research_lab.engine.terms import Terms
from research_lab.errors import DimensionError, LimitError, SpecError, UsageError
from research_lab.series import Series
from tests.live_shadow.made_up import DAY_MS, GREEN, HOUR_MS, QUICK, candles

MARKET = parse_regimes(QUICK)
STATES = """
spec: 1
timeframe: 4h
macro:
  risk_off: close < 0.99 * prev(close, 3)
  neutral: close < 0.995 * prev(close, 3)
  risk_small: close < prev(close, 3)
  risk_on: close >= prev(close, 3)
"""
FUNDED = """
spec: 1
timeframe: 1h
macro:
  risk_off: funding > 0.0003
  risk_on: close > 0
"""


OUTSIDE = """
spec: 1
timeframe: 1h
series:
  dxy: {lag: 1d, max_age: 3d}
events:
  fomc: {known_ahead: true}
macro:
  risk_off: dxy > 105
  neutral: hours_to(fomc) <= 24 or hours_since(fomc) <= 8
  risk_small: dxy > 102
  risk_on: dxy <= 102
"""


def outside(bars: Bars) -> dict[str, Series]:
    """Return a daily index with holes of days, and an event every 20 days."""
    rng = np.random.default_rng(6)
    days = np.arange(bars.time[0] // DAY_MS - 3, bars.time[-1] // DAY_MS + 1)
    value = 102.0 + 4.0 * np.sin(np.arange(days.shape[0]) / 5.0) + rng.normal(size=days.shape[0])
    there = np.ones(days.shape[0], bool)
    there[20:27] = there[50:55] = False
    meetings = days[::20] * DAY_MS + 18 * HOUR_MS
    return {
        "dxy": Series("dxy.csv", days[there] * DAY_MS, value[there]),
        "fomc": Series("fomc.csv", meetings),
    }


def state_told(close: int, files: dict[str, Series]) -> float:
    """Return the state at a close by looking the numbers up, one by one."""
    dxy, meetings = files["dxy"], files["fomc"].time.tolist()
    assert dxy.value is not None
    seen = [(t, v) for t, v in zip(dxy.time.tolist(), dxy.value.tolist(), strict=True) if t + DAY_MS <= close]
    if not seen or close - (seen[-1][0] + DAY_MS) > 3 * DAY_MS:
        return 3.0
    value = seen[-1][1]
    if value > 105.0:
        return 4.0
    ahead = [m for m in meetings if m >= close]
    behind = [m for m in meetings if m <= close]
    near = (ahead and ahead[0] - close <= 24 * HOUR_MS) or (behind and close - behind[-1] <= 8 * HOUR_MS)
    if near or not ahead or not behind:
        return 3.0
    return 2.0 if value > 102.0 else 1.0


def test_states_of_series_and_events_are_what_a_look_at_the_files_gives() -> None:
    bare = candles(8, 2_400)
    files, macro = outside(bare), parse_macro(OUTSIDE)
    bars = with_sources(bare, [macro], Sources(files))
    wanted = [state_told(int(opened) + HOUR_MS, files) for opened in bare.time]
    assert states_of(macro, bars).tolist() == wanted
    assert all(wanted.count(state) > 50 for state in (1.0, 2.0, 3.0, 4.0))
    with pytest.raises(UsageError, match=r"macro.yaml: reads dxy, fomc, and no file was given"):
        with_sources(bare, [macro], Sources())


def test_the_executor_reads_the_same_series_and_only_the_rows_that_are_meant() -> None:
    bare, macro = candles(8, 1_500), parse_macro(OUTSIDE)
    files = outside(bare)
    other = parse_macro(OUTSIDE.replace("lag: 1d", "lag: 2d"))
    bars = with_sources(bare, [other, macro], Sources(files))
    regimes, spec = replace(MARKET, macro=macro), parse_spec(GREEN)
    codes = regime_codes(regimes.compiled, bars)
    batch, live = (
        backtest(compile_spec(spec), bars, Terms(), regime=codes),
        shadow_run(spec, bars, Terms(), regimes),
    )
    assert np.count_nonzero(batch.reason == reasons.MACRO) > 50 and batch.fills.shape[0] > 50
    assert (batch.equity.tobytes(), batch.reason.tobytes()) == (live.equity.tobytes(), live.reason.tobytes())
    assert macro.hash != other.hash and (codes // 16).tolist() != states_of(other, bars).tolist()


def test_the_example_knows_all_four_states() -> None:
    macro = parse_macro((LIBRARY / "macro.yaml").read_bytes())
    bare = candles(9, 24 * 400)
    files = outside(bare)
    files["btc_dominance"] = Series("btc_dominance.csv", files["dxy"].time, files["dxy"].value[::-1].copy())
    states = states_of(macro, with_sources(bare, [macro], Sources(files)))
    assert set(states.tolist()) == {1.0, 2.0, 3.0, 4.0}


def test_what_a_macro_file_declares_is_read() -> None:
    with pytest.raises(SpecError, match="nothing reads gold"):
        parse_macro(OUTSIDE.replace("series:\n", "series:\n  gold: {lag: 1d, max_age: 3d}\n"))
    with pytest.raises(SpecError, match=r"macro:5:.*whenever is no length of time"):
        parse_macro(OUTSIDE.replace("lag: 1d", "lag: whenever"))


def states_of(macro: MacroSet, bars: object) -> np.ndarray:
    return regime_codes(replace(MARKET, macro=macro).compiled, bars) // 16  # type: ignore[arg-type]


def test_the_code_holds_both_and_the_first_condition_that_is_true_names_the_state() -> None:
    bars = candles(3, 2_000)
    codes = regime_codes(replace(MARKET, macro=parse_macro(STATES)).compiled, bars)
    assert (codes % 16).tolist() == regime_codes(MARKET.compiled, bars).tolist()
    # The closes of 4h bars by plain grouping; a state holds from the bar that completes its 4h bar on.
    ends = np.flatnonzero(np.append(np.diff(bars.time // (4 * HOUR_MS)) != 0, False))
    closes = bars.close[ends]
    gain = closes[3:] / closes[:-3]
    wanted = np.select([gain < 0.99, gain < 0.995, gain < 1.0], [4.0, 3.0, 2.0], 1.0)
    whole = (bars.time[ends] + HOUR_MS) % (4 * HOUR_MS) == 0
    seen = codes[ends] // 16
    assert np.count_nonzero(whole[3:]) > 300 and len(set(wanted)) == 4
    warm = slice(2, None)  # the first 4h bar lacks its beginning and does not count
    assert seen[3:][warm][whole[3:][warm]].tolist() == wanted[warm][whole[3:][warm]].tolist()


def test_before_the_first_state_and_on_bars_that_cannot_make_its_clock_it_is_neutral() -> None:
    states = states_of(parse_macro(STATES), candles(3, 100))
    first = int(np.flatnonzero(states != 3)[0])
    assert (states[:first] == 3).all() and first >= 11
    assert (states_of(parse_macro(STATES), candles(3, 100, DAY_MS)) == 3).all()
    assert (regime_codes(MARKET.compiled, candles(3, 100)) // 16 == 0).all()


def test_what_is_unknown_is_neutral_even_where_a_later_state_is_true() -> None:
    perpetual, spot = candles(5, 500, perpetual=True), candles(5, 500)
    known = states_of(parse_macro(FUNDED), perpetual)
    assert known.tolist() == np.where(perpetual.funding > 0.0003, 4.0, 1.0).tolist()
    assert (states_of(parse_macro(FUNDED), spot) == 3).all()
    later = parse_macro(FUNDED.replace("risk_on: close > 0", "").replace("funding > 0.0003", "funding > 9"))
    assert (states_of(later, perpetual) == 3).all()


def test_a_true_state_counts_though_one_after_it_is_unknown() -> None:
    text = "spec: 1\ntimeframe: 1h\nmacro:\n  risk_off: close > 0\n  risk_on: funding > 0\n"
    assert (states_of(parse_macro(text), candles(5, 50)) == 4).all()


def test_states_share_sizes_and_refuse_entries_with_their_own_reason() -> None:
    bars = candles(7, 1_000)
    spec, terms = compile_spec(parse_spec(GREEN)), Terms(fee=0.0, slippage=0.0)
    plain = backtest(spec, bars, terms)
    entries = plain.fills[plain.fills["reason"] == reasons.ENTRY]
    assert entries.shape[0] > 100
    for state, name in enumerate(MACRO_STATES, start=1):
        run = backtest(spec, bars, terms, regime=np.full(bars.n, 16.0 * state))
        first = run.fills[:1]
        if name == "risk_on":
            assert run.equity.tobytes() == plain.equity.tobytes()
        elif name == "risk_small":
            assert run.fills["bar"].tolist() == plain.fills["bar"].tolist()
            assert first["quantity"][0] == pytest.approx(entries["quantity"][0] / 2, rel=1e-12)
        else:
            assert run.fills.shape[0] == 0
            refused = run.reason == reasons.MACRO
            assert refused.tolist() == (bars.close > bars.open).tolist()


def test_only_risk_off_closes_and_only_what_leaves_with_its_regime() -> None:
    bars = candles(7, 200)
    stays = GREEN.replace("exit_long: close < open", "exit_long: close < 0")
    leaves = stays + "regimes: [trend_up]\nregime_exit: true\n"
    late = np.arange(bars.n) >= 50
    for text, state, wanted in ((stays, 4, 0), (leaves, 3, 0), (leaves, 2, 0), (leaves, 4, 1)):
        codes = 1.0 + 16.0 * np.where(late, state, 1)
        run = backtest(compile_spec(parse_spec(text)), bars, Terms(), regime=codes)
        out = run.fills[run.fills["reason"] == reasons.MACRO_EXIT]
        assert out.shape[0] == wanted
        assert (out["bar"] == 51).all()


def test_macro_states_are_part_of_the_hash_and_bad_files_are_refused_with_their_place() -> None:
    macro = parse_macro(STATES)
    assert replace(MARKET, macro=macro).hash != MARKET.hash
    assert replace(MARKET, macro=macro).hash != replace(MARKET, macro=parse_macro(FUNDED)).hash
    with pytest.raises(SpecError, match=r"macro:8:\d+: risk_up is no macro state; known: risk_on"):
        parse_macro(STATES.replace("risk_on", "risk_up"))
    with pytest.raises(DimensionError, match="macro must be a condition"):
        parse_macro(STATES.replace("close >= prev(close, 3)", "close"))
    with pytest.raises(SpecError, match="macro"):
        parse_macro("spec: 1\ntimeframe: 1d\n")


def test_states_that_need_too_much_memory_are_refused_when_read() -> None:
    parts = " and ".join(f"close > quantile(close, {n}, 0.5)" for n in range(4900, 4960))
    with pytest.raises(LimitError, match=r"^m\.yaml:1:1: needs \d+ cells of memory, more than 200000; use"):
        parse_macro(f"spec: 1\ntimeframe: 1h\nmacro:\n  risk_on: {parts}\n", "m.yaml")


def test_a_file_of_states_is_loaded_beside_the_regimes(tmp_path: Path) -> None:
    regimes, macro = tmp_path / "regimes.yaml", tmp_path / "macro.yaml"
    regimes.write_text(QUICK)
    macro.write_text(STATES)
    assert load_regimes(regimes).macro is None
    assert load_regimes(regimes).hash == MARKET.hash
    loaded = load_regimes(regimes, macro).macro
    assert loaded is not None and loaded.hash == parse_macro(STATES).hash
