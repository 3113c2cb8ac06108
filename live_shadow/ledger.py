"""The executor's ledger: inputs, decisions, orders, fills and the snapshot in one SQLite transaction a bar.

Money is a whole number of 1e-8 units of the quote currency. The rollback journal is used with full
synchronisation: SQLite's write-ahead log had a corruption bug until 3.51.3, and loses acknowledged rows with
less than full synchronisation. What `commit` has returned from is on the disk; a kill leaves the bar before.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import LedgerError

FORMAT = "1"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE slots (
    id INTEGER PRIMARY KEY, candidate TEXT NOT NULL, market TEXT NOT NULL, name TEXT NOT NULL,
    timeframe TEXT NOT NULL, warmup INTEGER NOT NULL, spec TEXT NOT NULL, UNIQUE (candidate, market)) STRICT;
CREATE TABLE maps (
    id INTEGER PRIMARY KEY, after_bar INTEGER, hash TEXT NOT NULL, limits TEXT NOT NULL,
    layout TEXT NOT NULL) STRICT;
CREATE TABLE bars (time INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE, late INTEGER NOT NULL,
    inputs BLOB NOT NULL) STRICT;
CREATE TABLE account (
    time INTEGER PRIMARY KEY, regime INTEGER NOT NULL, confirmed INTEGER NOT NULL, run INTEGER NOT NULL,
    cash INTEGER NOT NULL, equity INTEGER NOT NULL, day_start INTEGER NOT NULL, peak INTEGER NOT NULL,
    day_lost INTEGER NOT NULL, drawn INTEGER NOT NULL) STRICT;
CREATE TABLE decisions (
    time INTEGER NOT NULL, slot INTEGER NOT NULL REFERENCES slots, slot_reason INTEGER NOT NULL,
    account_reason INTEGER NOT NULL, veto INTEGER NOT NULL, slot_equity REAL NOT NULL,
    slot_position REAL NOT NULL, account_position REAL NOT NULL, PRIMARY KEY (time, slot)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE slot_fills (
    time INTEGER NOT NULL, slot INTEGER NOT NULL REFERENCES slots, n INTEGER NOT NULL, bar INTEGER NOT NULL,
    position_id INTEGER NOT NULL, reason INTEGER NOT NULL, quantity REAL NOT NULL, price REAL NOT NULL,
    fee REAL NOT NULL, stop_distance REAL, PRIMARY KEY (time, slot, n)) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
    id TEXT PRIMARY KEY, time INTEGER NOT NULL, slot INTEGER NOT NULL REFERENCES slots, kind TEXT NOT NULL,
    quantity REAL NOT NULL) STRICT;
CREATE TABLE fills (
    id TEXT PRIMARY KEY, time INTEGER NOT NULL, slot INTEGER NOT NULL REFERENCES slots,
    position_id INTEGER NOT NULL, reason INTEGER NOT NULL, quantity REAL NOT NULL, price REAL NOT NULL,
    cash INTEGER NOT NULL, fee INTEGER NOT NULL) STRICT;
CREATE TABLE funding (
    time INTEGER NOT NULL, slot INTEGER NOT NULL REFERENCES slots, amount INTEGER NOT NULL,
    PRIMARY KEY (time, slot)) STRICT, WITHOUT ROWID;
CREATE TABLE refused_bars (
    time INTEGER NOT NULL, inputs BLOB NOT NULL, why TEXT NOT NULL, after_bar INTEGER NOT NULL,
    PRIMARY KEY (time, inputs)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY CHECK (id = 1), bar_time INTEGER, map INTEGER NOT NULL REFERENCES maps,
    state BLOB NOT NULL, sha256 TEXT NOT NULL) STRICT;
"""

_INSERTS = {
    "bars": 4, "account": 10, "decisions": 8, "slot_fills": 10, "orders": 5, "fills": 9, "funding": 3,
}  # fmt: skip
_REMEDY = "restore the file from a copy, or move it away and replay from the beginning"


@dataclass(frozen=True)
class SlotRecord:
    """A slot as the snapshot's layout names it; order and sizes are those of the state.

    Parameters
    ----------
    id : in the table of slots. entry : the map's entry as JSON. begun_ms, retired : as in `slots.Slot`.
    """

    id: int
    entry: str
    begun_ms: int
    retired: bool


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The executor's memory after a bar.

    Parameters
    ----------
    bar_time : of the last bar taken; None before the first.
    map_hash : of the map that the layout was made from. limits : what bounded the account, as JSON.
    layout : slots in the order of the state.
    state : the one array.
    """

    bar_time: int | None
    map_hash: str
    limits: str
    layout: tuple[SlotRecord, ...]
    state: FloatArray


@dataclass(frozen=True)
class Rows:
    """What some bars leave in the ledger, by table; at least one bar."""

    tables: Mapping[str, Sequence[tuple[Any, ...]]]

    @property
    def last_bar(self) -> int:
        """Opening time of the last bar, ms UTC."""
        return int(self.tables["bars"][-1][0])


class Ledger:
    """One ledger, open. Only the holder of the instance lock may write."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, write: bool = False) -> Iterator[Ledger]:
        """Open a ledger; for writing it is created when missing.

        Raises
        ------
        LedgerError
            It is missing (for reading), no ledger, or of another format.
        """
        if not write and not path.exists():
            raise LedgerError("there is no ledger yet", str(path), "run `live-shadow replay` first")
        with _reported(path), closing(_connected(path, write)) as connection:
            ledger = cls(path, connection)
            ledger._check_format(write)
            yield ledger

    def _check_format(self, write: bool) -> None:
        known = self._db.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchone()
        if known is None and write and not self._db.execute("SELECT name FROM sqlite_master").fetchone():
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} INSERT INTO meta VALUES ('format', '{FORMAT}'); COMMIT;"
            )
        found = self.meta().get("format") if known or write else None
        if found != FORMAT:
            raise LedgerError(
                f"a ledger of format {found}, this program reads {FORMAT}", str(self.path), _REMEDY
            )

    def meta(self) -> dict[str, str]:
        """Return what was fixed when the ledger began: market, grid, capital, versions."""
        return dict(self._db.execute("SELECT key, value FROM meta"))

    def begin(
        self,
        meta: Mapping[str, str],
        map_hash: str,
        limits: str,
        layout: Sequence[SlotRecord],
        state: FloatArray,
    ) -> None:
        """Fix what must not change, and the first snapshot; the slots must be known already."""
        with self._transaction():
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            self._set_map(None, map_hash, limits, layout)
            self._put_state(None, state)

    def change_map(
        self,
        after_bar: int | None,
        map_hash: str,
        limits: str,
        layout: Sequence[SlotRecord],
        state: FloatArray,
    ) -> None:
        """Go over to another map, together with the memory that fits it."""
        with self._transaction():
            self._set_map(after_bar, map_hash, limits, layout)
            self._put_state(after_bar, state)

    def slot_id(self, candidate: str, market: str, name: str, timeframe: str, warmup: int, spec: str) -> int:
        """Return a slot's number, the same for ever."""
        wanted = (candidate, market, name, timeframe, warmup, spec)
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO slots (candidate, market, name, timeframe, warmup, spec) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                wanted,
            )
        found = self.query("SELECT id FROM slots WHERE candidate = ? AND market = ?", *wanted[:2])
        return int(found[0][0])

    def spec_text(self, slot: int) -> str:
        """Return the canonical text of a slot's strategy."""
        return str(self._db.execute("SELECT spec FROM slots WHERE id = ?", (slot,)).fetchone()[0])

    def commit(self, parts: Iterable[Rows], state: FloatArray) -> None:
        """Write what some bars left and the memory after them: all of it or nothing.

        Parameters
        ----------
        parts : consecutive bars, taken one by one while the transaction is open.
        state : read after the last part.
        """
        with self._transaction():
            last_bar = None
            for rows in parts:
                last_bar = rows.last_bar
                for table, content in rows.tables.items():
                    marks = ", ".join("?" * _INSERTS[table])
                    self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", content)
            if last_bar is not None:
                self._put_state(last_bar, state)

    def snapshot(self) -> Snapshot | None:
        """Return the last memory; None when the executor has not begun.

        Raises
        ------
        LedgerError
            The memory is not the one that was written.
        """
        found = self._db.execute(
            "SELECT bar_time, hash, limits, layout, state, sha256 FROM snapshot JOIN maps ON maps.id = map"
        ).fetchone()
        if found is None:
            return None
        bar_time, map_hash, limits, layout, state, digest = found
        if hashlib.sha256(state).hexdigest() != digest:
            raise LedgerError("the snapshot is damaged", str(self.path), _REMEDY)
        records = tuple(SlotRecord(**record) for record in json.loads(layout))
        return Snapshot(bar_time, map_hash, limits, records, np.frombuffer(state, "<f8").astype(np.float64))

    def taken(self) -> tuple[IntArray, list[bytes]]:
        """Return the times of all bars taken and their inputs as bytes."""
        found = self._db.execute("SELECT time, inputs FROM bars ORDER BY time").fetchall()
        return np.array([time for time, _ in found], np.int64), [inputs for _, inputs in found]

    def refuse_bars(self, bars: Iterable[tuple[int, bytes, str, int]]) -> int:
        """Log bars that were not taken; return how many were not logged before."""
        with self._transaction():
            before = self._db.total_changes
            self._db.executemany("INSERT OR IGNORE INTO refused_bars VALUES (?, ?, ?, ?)", bars)
            return self._db.total_changes - before

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return rows for a reader."""
        return self._db.execute(sql, values).fetchall()

    def _set_map(
        self, after_bar: int | None, map_hash: str, limits: str, layout: Sequence[SlotRecord]
    ) -> None:
        text = json.dumps([vars(record) for record in layout])
        self._db.execute(
            "INSERT INTO maps (after_bar, hash, limits, layout) VALUES (?, ?, ?, ?)",
            (after_bar, map_hash, limits, text),
        )

    def _put_state(self, bar_time: int | None, state: FloatArray) -> None:
        raw = state.astype("<f8").tobytes()
        self._db.execute(
            "INSERT OR REPLACE INTO snapshot SELECT 1, ?, max(id), ?, ? FROM maps",
            (bar_time, raw, hashlib.sha256(raw).hexdigest()),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _connected(path: Path, write: bool) -> sqlite3.Connection:
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
    mode = "rwc" if write else "rw"
    # A reader opens for writing too: after a kill it may have to roll the journal back.
    connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=10.0, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if not write:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as fault:
        remedy = "is the disk full, or the file in use?"
        raise LedgerError(f"SQLite refuses: {fault}", str(path), remedy) from fault
    except sqlite3.DatabaseError as fault:
        raise LedgerError(f"SQLite refuses: {fault}", str(path), _REMEDY) from fault
