"""Every look at a portfolio is charged to each market that it touches, before anything is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.bars import Bars, Market
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.account import Caps
from research_lab.engine.backtest import backtest
from research_lab.engine.portfolio import Portfolio
from research_lab.engine.terms import Terms
from research_lab.errors import GauntletError, InsufficientError, UsageError
from research_lab.market_data import worlds
from research_lab.scoring import portfolio_scorer
from research_lab.scoring.portfolio_scorer import Member, PortfolioScorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import DAY_MS

N = 24 * 60
CROSS = parse_spec(
    "spec: 1\nname: cross\nhypothesis: none\ntimeframe: 4h\nside: long\n"
    "params:\n  fast: {range: [3, 9], step: 3, default: 3}\n"
    "enter_long: sma(close, fast) > sma(close, 12)\nexit_long: sma(close, fast) < sma(close, 12)\n"
    "size: {fraction: 0.5}\n"
)


def bars_of(symbol: str, seed: int, first: int = 0) -> Bars:
    bars = worlds.noise(seed, N).bars
    return replace(bars.window(first, N), market=Market("synthetic", symbol))


BARS = {
    "btc": bars_of("BTC/USDT", 1),
    "eth": bars_of("ETH/USDT", 2, 24 * 20 + 5),
    "sol": bars_of("SOL/USDT", 3),
}
MEMBERS = [Member(CROSS, "btc"), Member(CROSS.bind({"fast": 6}), "eth", 0.5)]


@pytest.fixture
def ledger(tmp_path: Path) -> TrialLedger:
    return TrialLedger(tmp_path / "trials")


def scorer(ledger: TrialLedger, bars: dict[str, Bars] | None = None, **terms: Terms) -> PortfolioScorer:
    known = BARS if bars is None else bars
    return PortfolioScorer(ledger, known, {**dict.fromkeys(known, Terms()), **terms}, None, "test")


def looks(ledger: TrialLedger, name: str) -> int:
    bars = BARS[name]
    return ledger.n_looks(bars.market.charged_to, *bars.interval)


def test_a_look_is_charged_to_each_market_it_touches_and_to_no_other(ledger: TrialLedger) -> None:
    score = scorer(ledger).score(MEMBERS)
    assert [looks(ledger, name) for name in BARS] == [1, 1, 0]
    for name in ("btc", "eth"):
        (trial,) = ledger.trials(BARS[name].market.charged_to, *BARS[name].interval)
        assert (trial.start_ms, trial.end_ms) == BARS[name].interval
        assert trial.candidate == score.hash and trial.snapshot == BARS[name].snapshot
        assert trial.sharpe == score.portfolio.metrics["sharpe"]
    ledger.verify()


def test_each_charge_has_the_accounts_returns_on_its_markets_days(ledger: TrialLedger) -> None:
    score = scorer(ledger).score(MEMBERS, capital=500.0)
    assert np.prod(1.0 + score.daily) == pytest.approx(score.portfolio.equity[-1] / 500.0)
    for name in ("btc", "eth"):
        start_ms, end_ms = BARS[name].interval
        first, last = start_ms // DAY_MS, -(-end_ms // DAY_MS)
        matrix, candidates = ledger.daily_returns(BARS[name].market.charged_to, first, last)
        assert candidates == [score.hash]
        rows = score.daily[first - score.first_day : last - score.first_day]
        assert np.array_equal(matrix[:, 0], rows) and np.abs(rows).max() > 0.0


def test_the_same_look_is_counted_once_and_another_order_cap_or_share_again(ledger: TrialLedger) -> None:
    door = scorer(ledger)
    hashes = {door.score(MEMBERS).hash, door.score(MEMBERS).hash}
    assert looks(ledger, "btc") == len(hashes) == 1
    hashes.add(door.score(MEMBERS, Caps(leverage=0.2)).hash)
    hashes.add(door.score(MEMBERS[::-1]).hash)
    hashes.add(door.score([replace(MEMBERS[0], risk_share=0.3), MEMBERS[1]]).hash)
    hashes.add(door.score([replace(MEMBERS[0], spec=CROSS.bind({"fast": 9})), MEMBERS[1]]).hash)
    assert looks(ledger, "btc") == looks(ledger, "eth") == len(hashes) == 5
    templates = {t.template for t in ledger.trials("BTC/USDT", *BARS["btc"].interval)}
    assert len(templates) == 2  # another order; values, caps and shares are of the same form


def test_one_member_is_worth_what_its_backtest_is(ledger: TrialLedger) -> None:
    score = scorer(ledger).score(MEMBERS[:1])
    alone = backtest(compile_spec(CROSS), BARS["btc"], Terms())
    assert score.portfolio.equity.tobytes() == alone.equity.tobytes()


def test_a_look_that_crashes_is_counted_and_the_crash_goes_on(
    ledger: TrialLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> Portfolio:
        raise MemoryError

    monkeypatch.setattr(portfolio_scorer, "portfolio", crash)
    with pytest.raises(MemoryError):
        scorer(ledger).score(MEMBERS)
    assert [looks(ledger, name) for name in BARS] == [1, 1, 0]
    assert ledger.trials("BTC/USDT", *BARS["btc"].interval)[0].kind == "crashed"


def test_nothing_is_told_when_a_charge_cannot_be_written(
    ledger: TrialLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def refuse_the_second(trials: list[object], *_: object) -> int:
        written.append(trials)
        if len(written) == 2:
            raise OSError
        return 1

    monkeypatch.setattr(ledger, "append", refuse_the_second)
    with pytest.raises(OSError):
        scorer(ledger).score(MEMBERS)


@pytest.mark.parametrize(
    ("members", "options", "error", "words"),
    [
        ([], {}, UsageError, "without members"),
        ([Member(CROSS, "xrp")], {}, UsageError, "'xrp' has no bars or no terms.*known: btc, eth, sol"),
        ([Member(CROSS, "btc", 0.0)], {}, UsageError, "risk share of 0"),
        ([Member(CROSS, "btc")], {"caps": Caps(leverage=-1.0)}, UsageError, "leverage -1"),
        ([Member(CROSS, "btc")], {"capital": float("inf")}, UsageError, "capital inf"),
        ([Member(CROSS, "btc"), Member(CROSS, "coarse")], {}, UsageError, "btc 1h, coarse 2h"),
        ([Member(CROSS, "none")], {}, InsufficientError, "no bars"),
        ([Member(CROSS, "btc"), Member(CROSS, "quanta")], {}, UsageError, "different quanta"),
    ],
)
def test_what_cannot_be_one_account_is_refused_and_not_counted(
    ledger: TrialLedger,
    members: list[Member],
    options: dict[str, object],
    error: type[GauntletError],
    words: str,
) -> None:
    two_hours = worlds.noise(4, 200, step_ms=2 * 3_600_000).bars
    bars = {**BARS, "coarse": two_hours, "none": BARS["btc"].window(0, 0), "quanta": BARS["sol"]}
    known = {name: bars[name] for name in (*BARS, *(m.market for m in members if m.market in bars))}
    with pytest.raises(error, match=words):
        scorer(ledger, known, quanta=Terms(quantum=1e-8)).score(members, **options)
    assert [looks(ledger, name) for name in BARS] == [0, 0, 0]


def test_both_orders_inside_a_bar_are_told_and_are_one_look(ledger: TrialLedger) -> None:
    tight = parse_spec(
        CROSS.canonical() + "stop: 0.2 * atr(14)\ntake:\n  - {at: 1 R, close: 1}\ntime_stop: 30\n"
    )
    told = scorer(ledger).score([Member(tight, "btc")], Caps())
    alone = [
        backtest(compile_spec(tight), BARS["btc"], Terms(optimistic=flag)).metrics["return"]
        for flag in (False, True)
    ]
    assert list(told.returns) == alone and alone[1] > alone[0]
    assert told.portfolio.metrics["return"] == alone[0]
    assert looks(ledger, "btc") == 1


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[3] / "docs" / "portfolio.md"
    (code,) = re.findall(r"```python\n(.+?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 6 and told[0].startswith("Sharpe ") and told[-1].endswith("entries without room")
    assert TrialLedger(tmp_path / "workspace" / "trials").n_looks(*_span(worlds.noise(1, 20_000).bars)) == 1


def _span(bars: Bars) -> tuple[str, int, int]:
    return bars.market.charged_to, *bars.interval
