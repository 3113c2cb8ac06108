"""A portfolio whose strategies read series, other markets and macro states, beside the backtest of each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.sources import Sources, with_sources
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import parse_macro, parse_regimes, parse_spec
from research_lab.engine import reasons
from research_lab.engine.account import NO_CAPS, Caps
from research_lab.engine.backtest import backtest, regime_codes
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, InsufficientError
from research_lab.market_data.worlds import noise
from research_lab.scoring.portfolio_scorer import Member, PortfolioScore, PortfolioScorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.series import Series
from research_lab.timeframe import DAY_MS

N = 24 * 150
TERMS = Terms(perpetual=True, leverage=20.0)
HEAD = "spec: 1\nname: {name}\nhypothesis: none\ntimeframe: {timeframe}\nside: {side}\n"
TAIL = "size: {fraction: 0.2}\n"


def strategy(name: str, body: str, timeframe: str = "1h") -> Spec:
    side = "short" if "enter_short" in body else "long"
    return parse_spec(HEAD.format(name=name, timeframe=timeframe, side=side) + body + TAIL)


FEAR = strategy("fear", "series: {vix: {lag: 0, max_age: 3d}}\nenter_long: vix > 20\nexit_long: vix < 20\n")
DOLLAR = strategy(
    "dollar",
    "series: {gold: {lag: 0, max_age: 3d}, dxy: {lag: 1d, max_age: 3d}}\n"
    "enter_short: dxy > 100 and gold > 100\nexit_short: dxy < 100\n",
    "4h",
)
LEADER = strategy(
    "leader",
    'enter_long: on("ETH/USDT", close) > on("ETH/USDT", sma(close, 9))\n'
    'exit_long: on("ETH/USDT", close) < on("ETH/USDT", sma(close, 9))\n',
)
PLAIN = strategy("plain", "enter_long: close > open\nexit_long: close < open\nregimes: [trend_up]\n")
UNREAD = strategy(
    "unread", "series: {euro: {lag: 0, max_age: 3d}}\nenter_long: euro > 1\nexit_long: euro < 1\n"
)
ALL = [LEADER, FEAR, DOLLAR, PLAIN]
MACRO = parse_macro(
    "spec: 1\ntimeframe: 1h\nseries:\n  vix: {lag: 0, max_age: 3d}\nmacro:\n"
    "  risk_off: vix > 22\n  risk_small: vix > 20.5\n  risk_on: vix <= 20.5\n"
)
REGIMES = replace(
    parse_regimes(
        "spec: 1\ntimeframe: 4h\nregimes:\n  trend_up: close > prev(close)\n  trend_down: close <= prev(close)\n"
    ),
    macro=MACRO,
)


def index(seed: int, level: float, bars: Bars) -> Series:
    days = np.arange(bars.time[0] - 9 * DAY_MS, bars.time[-1] + DAY_MS, DAY_MS) // DAY_MS * DAY_MS
    return Series("index.csv", days, level + 2.0 * np.random.default_rng(seed).normal(size=days.shape[0]))


def market(seed: int, readers: Sequence[Spec] = (DOLLAR, FEAR, LEADER)) -> Bars:
    """Return bars with what all readers read, in an order that is no strategy's own."""
    bars, eth = noise(seed, N).bars, noise(99, N).bars
    eth = replace(eth, market=replace(eth.market, symbol="ETH/USDT"))
    series = {name: index(k, level, bars) for k, (name, level) in enumerate(
        {"vix": 20.0, "gold": 100.0, "dxy": 100.0, "euro": 1.0}.items())}  # fmt: skip
    bars = replace(bars, market=replace(bars.market, symbol=f"M{seed}/USDT", perpetual=True))
    return with_sources(bars, [UNREAD, *readers, MACRO], Sources(series, {"ETH/USDT": eth}))


BARS = {"one": market(1), "two": market(2)}


def scored(
    folder: Path, members: Sequence[Member], bars: dict[str, Bars] = BARS, caps: Caps = NO_CAPS,
    regimes: RegimeSet | None = REGIMES,
) -> PortfolioScore:  # fmt: skip
    scorer = PortfolioScorer(TrialLedger(folder), bars, dict.fromkeys(bars, TERMS), regimes, "test")
    return scorer.score(members, caps, records=True)


def test_the_markets_hold_more_than_any_strategy_reads_and_in_another_order() -> None:
    for spec in ALL:
        series = compile_spec(spec).program.series
        assert series != BARS["one"].series[: len(series)] or not series
    assert len(BARS["one"].series) == 6


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: str(spec.name))
def test_a_strategy_alone_is_worth_what_its_backtest_is(spec: Spec, tmp_path: Path) -> None:
    together = scored(tmp_path, [Member(spec, "one")]).portfolio
    codes = regime_codes(REGIMES.compiled, BARS["one"])
    alone = backtest(compile_spec(spec), BARS["one"], TERMS, regime=codes)
    assert alone.fills.shape[0] > 10
    assert together.equity.tobytes() == alone.equity.tobytes()
    assert together.fills["bar"].tolist() == alone.fills["bar"].tolist()
    assert together.reason is not None and together.reason[0].tobytes() == alone.reason.tobytes()


def test_decisions_are_those_of_the_series_that_a_strategy_names(tmp_path: Path) -> None:
    bars = BARS["one"]
    vix = bars.inputs[7 + next(k for k, name in enumerate(bars.series) if name.startswith("vix"))]
    found = scored(tmp_path, [Member(FEAR, "one")], regimes=None).portfolio
    assert found.position is not None
    wanted = np.concatenate([[False], vix[:-1] > 20.0])
    assert np.array_equal(found.position[0] > 0.0, wanted)


def test_slots_together_decide_as_alone_where_there_is_room_for_all(tmp_path: Path) -> None:
    members = [Member(spec, name) for name in BARS for spec in ALL]
    together = scored(tmp_path, members, caps=Caps(leverage=100.0)).portfolio
    assert together.position is not None and together.reason is not None
    for member, position, reason in zip(members, together.position, together.reason, strict=True):
        bars = BARS[member.market]
        codes = regime_codes(REGIMES.compiled, bars)
        alone = backtest(compile_spec(member.spec), bars, TERMS, regime=codes)
        assert np.array_equal(np.sign(position), np.sign(alone.position))
        assert np.array_equal(reason, alone.reason)
    assert (together.reason == reasons.MACRO).any() and (together.reason == reasons.REGIME).any()


def test_a_market_without_what_a_strategy_reads_is_refused_and_not_counted(tmp_path: Path) -> None:
    bare = {"one": market(1, [DOLLAR])}
    with pytest.raises(InsufficientError, match="leader reads"):
        scored(tmp_path, [Member(LEADER, "one")], bare)
    with pytest.raises(DataError, match="no values of vix"):
        scored(tmp_path, [Member(PLAIN, "one")], {"one": noise(1, N).bars})
    assert not list(tmp_path.rglob("*.jsonl"))
