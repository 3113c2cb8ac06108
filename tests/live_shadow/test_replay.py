"""Replay: it goes on where the ledger ends, whatever happened in between, or says why it cannot."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow import core
from live_shadow import replay as replaying
from live_shadow.enable_map import Entry, Stage, utc_time
from live_shadow.instance_lock import instance_lock
from live_shadow.ledger import Ledger
from live_shadow.replay import Feed, Outcome, regimes_for, replay
from live_shadow.slots import read_slot
from live_shadow.why import describe, next_step, standing
from research_lab.bars import Bars, Market, utc, write_candles
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import reasons
from research_lab.errors import (
    GovernanceError,
    InsufficientError,
    LockedError,
    MapError,
    UsageError,
    WorkspaceError,
)
from research_lab.workspace import Workspace
from tests.live_shadow.made_up import (
    DAY_MS,
    GREEN,
    HOUR_MS,
    START_MS,
    candles,
    entry,
    strategy,
    workspace,
    write_map,
)

N, WARM = 300, 240


class Desk:
    """A workspace, its candles, and what a replay said."""

    def __init__(self, root: Path, bars: Bars, entries: list[tuple[Spec, Entry]] | None = None) -> None:
        self.bars = bars
        self.since = utc_time(utc(int(bars.time[min(WARM, bars.n - 1)])))
        green = parse_spec(GREEN)
        told = entries or [(green, entry(green, since=self.since, risk_share=0.5))]
        self.workspace: Workspace = workspace(root / "ws", told)
        self.data = root / "candles.parquet"
        self.said: list[str] = []

    def replay(self, stop: int | None = None, bars: Bars | None = None, **feed: object) -> Outcome:
        given = self.bars if bars is None else bars
        write_candles(given.window(0, given.n if stop is None else stop), self.data)
        self.said.clear()
        return replay(self.workspace, replace(Feed(self.data), **feed), self.said.append)  # type: ignore[arg-type]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with Ledger.open(self.workspace.ledger) as ledger:
            return ledger.query(sql)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, candles(41, N))


TABLES = ("bars", "account", "decisions", "slot_fills", "orders", "fills", "snapshot")


def contents(desk: Desk) -> list[list[tuple[object, ...]]]:
    return [desk.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def test_warm_up_is_one_transaction_and_then_every_bar_is_taken(desk: Desk) -> None:
    assert desk.replay() == Outcome(n_warm=WARM, n_taken=N - WARM)
    assert desk.query("SELECT count(*), max(number) FROM bars") == [(N, N - 1)]
    assert desk.query(f"SELECT count(*) FROM decisions WHERE veto = {reasons.INACTIVE}") == [(WARM,)]
    assert desk.query("SELECT count(*) FROM fills")[0][0] > 5


def test_in_pieces_it_is_what_it_is_in_one(desk: Desk, tmp_path: Path) -> None:
    desk.replay()
    pieces = Desk(tmp_path / "pieces", desk.bars)
    for stop in (100, 241, 242, 270, N):
        pieces.replay(stop)
    assert contents(pieces) == contents(desk)


def test_a_bar_in_the_ledger_is_not_taken_again(desk: Desk) -> None:
    desk.replay()
    before = contents(desk)
    assert desk.replay() == Outcome(n_known=N)
    assert contents(desk) == before


def test_a_revised_and_a_late_bar_are_logged_once_and_ignored(desk: Desk) -> None:
    gap = np.delete(np.arange(N), 250)
    bars = desk.bars
    without = Bars(bars.market, bars.step_ms, bars.time[gap], bars.inputs[:, gap], bars.funding_due[gap])
    desk.replay(bars=without)
    before = contents(desk)
    revised = Bars(bars.market, bars.step_ms, bars.time, bars.inputs.copy(), bars.funding_due)
    revised.inputs[4, 245] += 1.0
    for _ in range(2):
        assert desk.replay(bars=revised).n_refused == 2
    assert contents(desk) == before
    assert desk.query("SELECT time, why FROM refused_bars ORDER BY time") == [
        (int(bars.time[245]), "revised"),
        (int(bars.time[250]), "late"),
    ]


def test_stopped_between_two_bars_it_goes_on_with_the_next(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Desk(tmp_path / "calm", desk.bars)
    calm.replay()
    real = Ledger.commit

    def commit_and_stop(self: Ledger, *arguments: object) -> None:
        real(self, *arguments)  # type: ignore[arg-type]
        if self.query("SELECT count(*) FROM bars") == [(WARM + 7,)]:
            os.kill(os.getpid(), 2)

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(Ledger, "commit", commit_and_stop)
    first = desk.replay()
    assert first == Outcome(n_warm=WARM, n_taken=7, interrupted=True)
    monkeypatch.setattr(Ledger, "commit", real)
    assert desk.replay() == Outcome(n_taken=N - WARM - 7, n_known=WARM + 7)
    assert contents(desk) == contents(calm)


def test_entries_of_other_markets_are_named_as_not_served(tmp_path: Path) -> None:
    green = parse_spec(GREEN)
    entries = [
        (green, entry(green, risk_share=0.5)),
        (green, entry(green, market=Market("binance", "ETH/USDT"), risk_share=0.5)),
    ]
    desk = Desk(tmp_path, candles(41, 50), entries)
    desk.replay()
    assert "not served: green on binance ETH/USDT; this feed is synthetic BTC/USDT" in desk.said


def test_a_map_without_this_market_takes_no_bar(tmp_path: Path) -> None:
    green = parse_spec(GREEN)
    desk = Desk(tmp_path, candles(41, 50), [(green, entry(green, market=Market("binance", "ETH/USDT")))])
    assert desk.replay() == Outcome()
    assert "enables nothing" in desk.said[-1]


def test_a_slot_that_stays_keeps_its_memory_when_the_map_changes(desk: Desk, tmp_path: Path) -> None:
    calm = Desk(tmp_path / "calm", desk.bars)
    calm.replay()
    desk.replay(270)
    green = parse_spec(GREEN)
    kept = entry(green, since=desk.since, risk_share=0.5)
    new = entry(strategy("ema_atr"), since=desk.since, risk_share=0.0, stage=Stage.SHADOW)
    path = desk.workspace.spec(new.candidate)
    path.parent.mkdir(parents=True)
    path.write_text(strategy("ema_atr").canonical())
    write_map(desk.workspace, [new, kept], version=2)
    desk.replay()
    same = "SELECT time, slot_equity, account_position, account_reason FROM decisions WHERE slot = 1"
    assert desk.query(same) == calm.query(same)
    assert desk.query("SELECT count(*) FROM decisions WHERE slot = 2") == [(30,)]
    assert desk.query("SELECT count(*) FROM maps") == [(2,)]


def test_a_new_slot_is_warmed_on_the_bars_before(desk: Desk, tmp_path: Path) -> None:
    fresh = parse_spec(GREEN.replace("close > open", "close > sma(close, 200)").replace("green", "slow"))
    for root, first in (("early", 0), ("short", 100)):
        made = Desk(tmp_path / root, desk.bars.window(first, N))
        made.since = desk.since
        green = parse_spec(GREEN)
        write_map(made.workspace, [entry(green, since=desk.since, risk_share=0.5)], version=1)
        made.replay(270 - first)
        added = entry(fresh, since=desk.since, risk_share=0.5)
        path = made.workspace.spec(added.candidate)
        path.parent.mkdir(parents=True)
        path.write_text(fresh.canonical())
        write_map(made.workspace, [entry(green, since=desk.since, risk_share=0.5), added], version=2)
        made.replay()
        found = made.query(f"SELECT sum(slot_reason = {reasons.WARMING}) FROM decisions WHERE slot = 2")
        assert found == [(0 if first == 0 else 29,)]


def test_a_slot_that_left_the_map_stays_until_its_position_is_closed(tmp_path: Path) -> None:
    spec = parse_spec(GREEN.replace("exit_long: close < open", "time_stop: 20"))
    other = strategy("breakout_4h")
    bars = candles(42, 120)
    desk = Desk(tmp_path, bars, [(spec, entry(spec, risk_share=0.5)), (other, entry(other, risk_share=0.2))])
    desk.replay(60)
    held = desk.query("SELECT account_position FROM decisions WHERE slot = 1 ORDER BY time")[-1][0]
    assert held
    write_map(desk.workspace, [entry(other, risk_share=0.2)], version=2)
    desk.replay()
    rows = desk.query("SELECT account_position, account_reason FROM decisions WHERE slot = 1 ORDER BY time")
    assert 60 < len(rows) <= 81
    assert rows[-1][0] == 0.0
    assert all(row[0] == held for row in rows[60:-1])
    assert desk.query("SELECT count(*) FROM maps") == [(3,)]
    assert desk.query("SELECT count(*) FROM decisions WHERE slot = 2") == [(120,)]


def test_an_entry_ordered_by_a_slot_that_left_the_map_is_not_filled(tmp_path: Path) -> None:
    spec, other = parse_spec(GREEN), strategy("breakout_4h")
    bars = candles(42, 120)
    desk = Desk(tmp_path, bars, [(spec, entry(spec, risk_share=0.5)), (other, entry(other, risk_share=0.2))])
    ordered = 1 + int(np.argmax(bars.inputs[3] > bars.inputs[0]))
    desk.replay(ordered)
    assert desk.query("SELECT kind, slot FROM orders") == [("enter_long", 1)]
    write_map(desk.workspace, [entry(other, risk_share=0.2)], version=2)
    desk.replay()
    assert desk.query("SELECT count(*) FROM fills WHERE slot = 1") == [(0,)]
    assert desk.query("SELECT count(*) FROM decisions WHERE slot = 1") == [(ordered,)]


def test_why_names_the_midnight_that_ends_the_daily_loss(desk: Desk) -> None:
    desk.replay()
    with Ledger.open(desk.workspace.ledger) as ledger:
        now = standing(ledger)
    loss = reasons.DAILY_LOSS
    place = replace(now.places[0], account_reason=loss, veto=loss, account_position=0.0)
    midnight = START_MS + DAY_MS
    for close in (START_MS + HOUR_MS, midnight):  # a close at midnight is the old day's last
        told = next_step(place, replace(now, time=close - now.base_ms))
        assert told == f"the next UTC day: a close after {utc(midnight)}"


def test_a_stage_reached_later_does_not_stop_the_own_book(tmp_path: Path) -> None:
    green = parse_spec(GREEN)
    desk = Desk(tmp_path, candles(43, 120), [(green, entry(green, stage=Stage.SHADOW, risk_share=0.0))])
    desk.replay(60)
    later = utc_time(utc(int(desk.bars.time[90])))
    write_map(desk.workspace, [entry(green, stage=Stage.CANARY, risk_share=0.2, since=later)], version=2)
    desk.replay()
    calm = Desk(tmp_path / "calm", desk.bars, [(green, entry(green, stage=Stage.SHADOW, risk_share=0.0))])
    calm.replay()
    own = "SELECT time, slot_equity, slot_reason FROM decisions"
    assert desk.query(own) == calm.query(own)
    first = desk.query("SELECT min(time) FROM fills")[0][0]
    assert isinstance(first, int) and first > int(desk.bars.time[90])


@pytest.mark.parametrize("name", ["engine", "core", "regimes"])
def test_another_program_does_not_go_on_with_a_memory_that_may_not_fit(
    name: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.replay(50)
    real = replaying.versions
    monkeypatch.setattr(replaying, "versions", lambda regimes: {**real(regimes), name: "f" * 64})
    with pytest.raises(WorkspaceError, match=f"another {name}.*move executor/ledger.sqlite away"):
        desk.replay()


def test_another_market_and_another_capital_are_refused(desk: Desk) -> None:
    desk.replay(50, capital=5_000.0)
    desk.replay(60, capital=5_000.0)
    with pytest.raises(UsageError, match="began with 5000"):
        desk.replay(capital=10_000.0)
    coarse = Bars(
        desk.bars.market, 2 * desk.bars.step_ms, 2 * desk.bars.time, desk.bars.inputs, desk.bars.funding_due
    )
    with pytest.raises(InsufficientError, match="2h cannot make those of 1h"):
        desk.replay(bars=coarse)


def test_a_second_executor_is_told_who_runs(desk: Desk) -> None:
    with instance_lock(desk.workspace.lock), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        desk.replay()
    assert desk.replay(50).n_warm == 50


def test_a_strategy_that_is_not_the_one_promoted_enables_nothing(desk: Desk) -> None:
    candidate = parse_spec(GREEN).hash
    path = desk.workspace.spec(candidate)
    path.write_text(GREEN.replace("0.5 * close", "0.4 * close"))
    with pytest.raises(MapError, match="the map names"):
        desk.replay()
    path.unlink()
    with pytest.raises(MapError, match="cannot be read"):
        desk.replay()
    assert not desk.query("SELECT 1 FROM bars") if desk.workspace.ledger.exists() else True


def test_a_timeframe_that_the_map_invents_is_refused() -> None:
    green = parse_spec(GREEN)
    with pytest.raises(MapError, match="runs on 1h, the map says 4h"):
        read_slot(entry(green, timeframe="4h"), GREEN, "spec.yaml")


def test_a_map_that_asks_for_more_than_the_limits_is_refused(desk: Desk) -> None:
    green = parse_spec(GREEN)
    write_map(desk.workspace, [entry(green, risk_share=1.5)])
    with pytest.raises(GovernanceError, match="risk_share"):
        desk.replay()
    (desk.workspace.root / "governance.yaml").write_text("risk_per_trade: 1\n")
    with pytest.raises(GovernanceError, match="pinned"):
        desk.replay()


def test_regimes_need_bars_that_make_theirs(desk: Desk) -> None:
    assert regimes_for(desk.workspace.regimes, 3_600_000) is not None
    assert regimes_for(desk.workspace.regimes, 86_400_000) is None


def test_macro_states_of_the_workspace_are_obeyed_named_and_pinned(desk: Desk) -> None:
    path = desk.workspace.root / "macro.yaml"
    path.write_text("spec: 1\ntimeframe: 1h\nmacro:\n  risk_off: close > 0\n")
    assert regimes_for(desk.workspace.regimes, 86_400_000, desk.workspace.macro) is not None
    desk.replay()
    with Ledger.open(desk.workspace.ledger) as ledger:
        assert ledger.query("SELECT count(*) FROM fills")[0][0] == 0
        now = standing(ledger)
        assert (now.macro, now.regime < 16) == (4, True)
        text = describe(now)
    assert "macro  risk_off" in text
    path.write_text("spec: 1\ntimeframe: 1h\nmacro:\n  risk_on: close > 0\n")
    with pytest.raises(WorkspaceError, match="begun with another regimes"):
        desk.replay()


def test_why_names_the_account_limits_and_the_next_step(desk: Desk) -> None:
    desk.replay()
    with Ledger.open(desk.workspace.ledger) as ledger:
        text = describe(standing(ledger))
        now = standing(ledger)
    assert "next " in text and "daily" not in text and "loss today" in text
    assert now.equity / 1e8 == pytest.approx(desk_equity(desk), rel=1e-12)


def desk_equity(desk: Desk) -> float:
    with Ledger.open(desk.workspace.ledger) as ledger:
        snapshot = ledger.snapshot()
    assert snapshot is not None
    return float(snapshot.state[core.EQUITY])


CLOCKS = """
spec: 1
name: clocks
hypothesis: other clocks are as good as any
timeframe: 1h
side: long
series:
  dxy: {lag: 1h, max_age: 2d}
enter_long: close > open and dxy > tf("1d", sma(dxy, 2)) and on("BTC/USDT", tf("4h", close) > 0)
exit_long: close < open
stop: tf("4h", atr(3))
size: {fraction: 0.5}
"""


def test_other_clocks_go_on_where_the_ledger_ends(tmp_path: Path) -> None:
    bars = candles(44, N)
    spec, since = parse_spec(CLOCKS), utc_time(utc(int(bars.time[120])))
    leader = replace(candles(45, N), market=Market(bars.market.exchange, "BTC/USDT"))
    files = {"series": {"dxy": tmp_path / "dxy.csv"}, "markets": {"BTC/USDT": tmp_path / "leader.parquet"}}
    write_candles(leader, files["markets"]["BTC/USDT"])
    told = "".join(f"{t},{100 + 7 * np.sin(k):.3f}\n" for k, t in enumerate(bars.time.tolist()[::3]))
    files["series"]["dxy"].write_text(f"time,value\n{told}")
    whole, pieces = (
        Desk(tmp_path / name, bars, [(spec, entry(spec, since=since, risk_share=0.5))]) for name in ("a", "b")
    )
    whole.replay(**files)
    for stop in (50, 121, 122, 170, 171, N):
        pieces.replay(stop, **files)
    assert contents(pieces) == contents(whole)
    assert whole.query("SELECT count(*) FROM fills")[0][0] > 5
    with pytest.raises(UsageError, match="clocks: reads BTC/USDT, dxy, and no file was given"):
        pieces.replay()
