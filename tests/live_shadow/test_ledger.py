"""The ledger: all or nothing, money that adds up in whole units, and nothing lost or doubled when killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from live_shadow import core
from live_shadow.bookkeeping import Books, client_order_id, units
from live_shadow.enable_map import Stage, utc_time
from live_shadow.executor import Executor, quanta, shadow_run
from live_shadow.ledger import Ledger, Rows, SlotRecord
from live_shadow.replay import Feed, replay
from live_shadow.symbols import read_symbols
from research_lab.bars import Bars, utc, write_candles
from research_lab.engine import reasons
from research_lab.engine.backtest import to_fills
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.errors import LedgerError
from research_lab.workspace import Workspace
from tests.conftest import WHOLE
from tests.live_shadow.made_up import (
    candles,
    entry,
    executor,
    packaged_regimes,
    slot,
    strategy,
    workspace,
)

N_KILLS = 50 if WHOLE else 4


def perpetual_run(path: Path, n: int = 3_000, blocks: int = 250) -> tuple[Executor, Bars]:
    """Run a perpetual strategy with funding into a ledger; return the executor and its bars."""
    bars = candles(21, n, perpetual=True)
    spec = strategy("funding_reversion")
    slots = [
        slot(spec, bars.market, risk_share=0.6),
        slot(strategy("ema_atr"), bars.market, risk_share=0.4),
    ]
    run = executor(slots, terms=Terms(perpetual=True, leverage=3.0))
    with Ledger.open(path, write=True) as ledger:
        ids = [
            ledger.slot_id(s.entry.candidate, s.entry.market, s.entry.name, s.entry.timeframe, 1, "")
            for s in slots
        ]
        layout = [SlotRecord(k, s.entry.model_dump_json(), 0, False) for k, s in zip(ids, slots, strict=True)]
        ledger.begin({"capital": "1000000000000"}, "hash", "{}", layout, run.state)
        books = Books(slots, ids)
        for first in range(0, n, blocks):
            block = bars.window(first, first + blocks)
            ledger.commit([books.rows(block, run.advance(block))], run.state)
    return run, bars


def test_capital_fills_fees_and_funding_add_up_to_the_cash_in_whole_units(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    run, _ = perpetual_run(path)
    with Ledger.open(path) as ledger:
        cash, fee, n = ledger.query("SELECT sum(cash), sum(fee), count(*) FROM fills")[0]
        funding, n_funding = ledger.query("SELECT sum(amount), count(*) FROM funding")[0]
        last = ledger.query("SELECT cash FROM account ORDER BY time DESC LIMIT 1")[0][0]
    assert n > 30 and n_funding > 30
    assert all(isinstance(amount, int) for amount in (cash, fee, funding, last))
    assert quanta(10_000.0) + cash - fee + funding == last == int(run.state[core.CASH])


def test_cash_adds_up_on_every_bar(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    perpetual_run(path)
    with Ledger.open(path) as ledger:
        flows = dict(
            ledger.query(
                "SELECT time, sum(amount) FROM (SELECT time, cash - fee AS amount FROM fills "
                "UNION ALL SELECT time, amount FROM funding) GROUP BY time"
            )
        )
        cash = quanta(10_000.0)
        for bar_time, stated in ledger.query("SELECT time, cash FROM account ORDER BY time"):
            cash += flows.get(bar_time, 0)
            assert cash == stated


def test_funding_is_quantity_times_open_times_rate(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    _, bars = perpetual_run(path)
    at = {int(bar_time): t for t, bar_time in enumerate(bars.time)}
    with Ledger.open(path) as ledger:
        paid = ledger.query("SELECT time, slot, amount FROM funding")
        held = {
            (bar_time, number): position
            for bar_time, number, position in ledger.query(
                "SELECT time, slot, account_position FROM decisions"
            )
        }
    for bar_time, number, amount in paid:
        t = at[bar_time]
        before = held[int(bars.time[t - 1]), number]
        assert amount == -units(before * bars.open[t] * bars.funding_due[t])


def test_cash_that_does_not_add_up_is_refused() -> None:
    bars = candles(22, 1_500)
    slots = [slot(strategy("ema_atr"))]
    run = executor(slots)
    events = run.advance(bars)
    Books(slots, [1]).rows(bars, events)
    events.account_fills[0, 3] *= 1.0001
    with pytest.raises(LedgerError, match="off by"):
        Books(slots, [1]).rows(bars, events)


def test_the_ledger_cut_into_bars_or_blocks_holds_the_same_rows(tmp_path: Path) -> None:
    tables = ("bars", "account", "decisions", "orders", "fills", "funding")
    contents = []
    for blocks in (1, 250):
        path = tmp_path / f"{blocks}.sqlite"
        perpetual_run(path, 250, blocks)
        with Ledger.open(path) as ledger:
            contents.append([ledger.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables])
    assert contents[0] == contents[1]


def test_client_order_ids_depend_on_candidate_market_bar_and_kind_alone() -> None:
    first = client_order_id("a" * 64, "synthetic BTC/USDT", 1, "exit")
    assert first == client_order_id("a" * 64, "synthetic BTC/USDT", 1, "exit")
    others = {
        client_order_id("b" * 64, "synthetic BTC/USDT", 1, "exit"),
        client_order_id("a" * 64, "synthetic ETH/USDT", 1, "exit"),
        client_order_id("a" * 64, "synthetic BTC/USDT", 2, "exit"),
        client_order_id("a" * 64, "synthetic BTC/USDT", 1, "enter_long"),
    }
    assert len({first, *others}) == 5 and len(first) == 24


def test_every_entry_of_the_account_was_ordered_at_the_bar_before(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    _, bars = perpetual_run(path)
    before = dict(zip(bars.time[1:].tolist(), bars.time[:-1].tolist(), strict=True))
    with Ledger.open(path) as ledger:
        ordered = set(ledger.query("SELECT time, slot FROM orders WHERE kind LIKE 'enter_%'"))
        entries = ledger.query("SELECT time, slot FROM fills WHERE reason = ?", reasons.ENTRY)
    assert entries and {(before[bar_time], number) for bar_time, number in entries} <= ordered


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    run, bars = perpetual_run(path, 250)
    with Ledger.open(path, write=True) as ledger:
        before = ledger.snapshot()
        again = Rows({"bars": [(10**15, 10**6, 0, b""), (int(bars.time[0]), 10**7, 0, b"")]})
        with pytest.raises(sqlite3.IntegrityError):
            ledger.commit([again], run.state + 1.0)
        after = ledger.snapshot()
        assert ledger.query("SELECT count(*) FROM bars") == [(250,)]
    assert before is not None and after is not None
    assert before.state.tobytes() == after.state.tobytes()


def test_the_snapshot_gives_back_the_bytes_of_the_state(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    run, bars = perpetual_run(path, 500)
    with Ledger.open(path) as ledger:
        snapshot = ledger.snapshot()
    assert snapshot is not None and snapshot.bar_time == int(bars.time[-1])
    assert snapshot.state.tobytes() == run.state.tobytes()


def test_a_snapshot_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    run, _ = perpetual_run(path, 250)
    spoilt = run.state.copy()
    spoilt[0] += 1.0
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE snapshot SET state = ?", (spoilt.tobytes(),))
    connection.close()
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match="damaged"):
        ledger.snapshot()


def test_money_that_is_not_whole_is_refused_by_the_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    perpetual_run(path, 250)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE account SET cash = 0.5")
    connection.close()


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match="SQLite"), Ledger.open(path):
        pass


def test_a_missing_ledger_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="live-shadow replay"), Ledger.open(tmp_path / "ledger.sqlite"):
        pass


def test_a_ledger_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    perpetual_run(path, 250)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    connection.close()
    with pytest.raises(LedgerError, match="format 99"), Ledger.open(path):
        pass


def killed_workspace(root: Path, bars: Bars) -> tuple[Workspace, Path]:
    since = utc_time(utc(int(bars.time[1_200])))
    entries = [
        (strategy("ema_atr"), entry(strategy("ema_atr"), since=since, risk_share=0.6)),
        (
            strategy("breakout_4h"),
            entry(strategy("breakout_4h"), since=since, risk_share=0.0, stage=Stage.SHADOW),
        ),
    ]
    data = write_candles(bars, root / "candles.parquet")
    return workspace(root / "ws", entries), data


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    tables = ("slots", "bars", "account", "decisions", "slot_fills", "orders", "fills", "funding", "snapshot")
    with Ledger.open(path) as ledger:
        return {table: ledger.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


def kill_at(workspace: Workspace, data: Path, goal: int) -> bool:
    """Start a replay in a process of its own, kill it after `goal` bars; return whether it was alive then."""
    command = [
        sys.executable,
        "-m",
        "live_shadow.cli",
        "replay",
        "--data",
        str(data),
        "-w",
        str(workspace.root),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and n_taken(workspace.ledger) < goal:
            os.sched_yield()
    finally:
        alive = process.poll() is None
        if alive:
            process.send_signal(signal.SIGKILL)
        process.wait()
    return alive


def n_taken(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.0)
        try:
            return int(connection.execute("SELECT count(*) FROM account").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return 0  # being created or written


@pytest.mark.proof
def test_killed_again_and_again_the_ledger_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    bars = candles(23, 1_200 + 12 * N_KILLS + 2_400)  # enough that a killer on a busy machine is not too late
    calm, data = killed_workspace(tmp_path / "calm", bars)
    replay(calm, Feed(data), lambda _: None)
    rough, data = killed_workspace(tmp_path / "rough", bars)
    rng = np.random.default_rng(23)
    n_killed = 0
    for _ in range(N_KILLS):
        goal = max(n_taken(rough.ledger) + int(rng.integers(1, 12)), 1_201)
        n_killed += kill_at(rough, data, goal)
    assert n_killed == N_KILLS
    replay(rough, Feed(data), lambda _: None)
    assert contents(rough.ledger) == contents(calm.ledger)


def test_a_bar_written_in_two_transactions_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = candles(23, 1_230)
    workspace, data = killed_workspace(tmp_path, bars)
    real = Ledger._put_state

    def die_before_the_snapshot(self: Ledger, bar_time: int | None, state: FloatArray) -> None:
        if bar_time == int(bars.time[1_210]):
            raise KeyboardInterrupt
        real(self, bar_time, state)

    with monkeypatch.context() as planted:
        planted.setattr(Ledger, "_transaction", lambda _: nullcontext())
        planted.setattr(Ledger, "_put_state", die_before_the_snapshot)
        with pytest.raises(KeyboardInterrupt):
            replay(workspace, Feed(data), lambda _: None)
    with pytest.raises(LedgerError, match="UNIQUE"):
        replay(workspace, Feed(data), lambda _: None)


def test_the_slots_of_the_ledger_are_the_shadow_run(tmp_path: Path) -> None:
    bars = candles(23, 1_300)
    workspace, data = killed_workspace(tmp_path, bars)
    replay(workspace, Feed(data), lambda _: None)
    live = shadow_run(
        strategy("ema_atr"), bars, read_symbols().research_terms(bars.market), packaged_regimes(), 1_200
    )
    with Ledger.open(workspace.ledger) as ledger:
        rows = ledger.query(
            "SELECT slot_equity, slot_position, slot_reason FROM decisions WHERE slot = 1 ORDER BY time"
        )
        fills = ledger.query(
            "SELECT bar, position_id, reason, quantity, price, fee, stop_distance FROM slot_fills "
            "WHERE slot = 1 ORDER BY time, n"
        )
    assert np.array([row[0] for row in rows]).tobytes() == live.equity.tobytes()
    assert np.array([row[1] for row in rows]).tobytes() == live.position.tobytes()
    assert [row[2] for row in rows] == live.reason.tolist()
    assert to_fills(np.array(fills, np.float64)).tobytes() == live.fills.tobytes()
