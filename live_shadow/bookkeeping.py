"""From the core's events to the ledger's rows: money in whole units, and proof that it adds up."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from live_shadow import core
from live_shadow.ledger import Rows
from live_shadow.slots import Slot
from research_lab.bars import Bars
from research_lab.engine import layout, reasons
from research_lab.engine.jit import FloatArray
from research_lab.errors import LedgerError

KIND = {
    reasons.ENTRY: "entry",
    reasons.EXIT_SIGNAL: "exit",
    reasons.TIME_STOP: "time_stop",
    reasons.REGIME_EXIT: "regime_exit",
    reasons.STOP: "stop",
    reasons.TAKE: "take",
    reasons.LIQUIDATION: "liquidation",
    reasons.ENDED: "ended",
    reasons.RISK_EXIT: "risk_exit",
    reasons.MACRO_EXIT: "macro_exit",
}


def client_order_id(candidate: str, market: str, bar_time: int, kind: str) -> str:
    """Return an order's identity, the same whenever the same bar is replayed: 24 hex digits."""
    return hashlib.sha256(f"{candidate}\n{market}\n{bar_time}\n{kind}".encode()).hexdigest()[:24]


def units(amount: float) -> int:
    """Return money as whole units of 1e-8, rounded as the broker rounds it."""
    return math.floor(amount / core.QUANTUM + 0.5)


def bar_bytes(bars: Bars, t: int) -> bytes:
    """Return what is known of a bar as bytes: seven inputs and the funding due."""
    return all_bar_bytes(bars.window(t, t + 1))[0]


def all_bar_bytes(bars: Bars) -> list[bytes]:
    """Return every bar as bytes; a missing value has one form."""
    table = np.concatenate([bars.rows(), bars.funding_due[None]]).T
    raw = np.where(np.isnan(table), np.nan, table).astype("<f8")
    return [row.tobytes() for row in raw]


@dataclass(frozen=True)
class Books:
    """Whose events are written: slots in the order of the state, with their numbers in the ledger."""

    slots: Sequence[Slot]
    ids: Sequence[int]

    def rows(self, bars: Bars, events: core.Events, late: FloatArray | None = None) -> Rows:
        """Return the rows of a block of bars.

        Raises
        ------
        LedgerError
            Cash did not change by exactly what was filled and paid: an error of this program.
        """
        times = bars.time.tolist()
        flags = [0] * bars.n if late is None else late.astype(np.int64).tolist()
        fills, funding = self._money(bars, events)
        return Rows(
            {
                "bars": [
                    (time, int(number) - 1, flag, raw)
                    for time, number, flag, raw in zip(
                        times, events.account[:, core.BARS], flags, all_bar_bytes(bars), strict=True
                    )
                ],
                "account": [_account_row(time, events, t) for t, time in enumerate(times)],
                "decisions": list(self._decisions(times, events)),
                "slot_fills": list(self._slot_fills(times, events)),
                "orders": list(self._orders(times, events)),
                "fills": fills,
                "funding": funding,
            }
        )

    def _decisions(self, times: list[int], events: core.Events) -> Iterator[tuple[Any, ...]]:
        codes, figures = events.codes.tolist(), events.figures.tolist()
        for t, time in enumerate(times):
            for k, number in enumerate(self.ids):
                equity, position, held = figures[t][k][: core.ACCOUNT_POSITION + 1]
                yield (time, number, *codes[t][k], equity, position, held)

    def _orders(self, times: list[int], events: core.Events) -> Iterator[tuple[Any, ...]]:
        ordered, exits = events.figures[:, :, core.ORDERED], events.figures[:, :, core.EXIT_ORDERED]
        for t, k in np.argwhere((ordered != 0.0) | (exits != 0.0)).tolist():
            wanted = []
            if exits[t, k] != 0.0:
                wanted.append(("exit", -float(events.figures[t, k, core.ACCOUNT_POSITION])))
            if ordered[t, k] != 0.0:
                wanted.append(("enter_long" if ordered[t, k] > 0.0 else "enter_short", float(ordered[t, k])))
            for kind, quantity in wanted:
                yield self._id(k, times[t], kind), times[t], self.ids[k], kind, quantity

    def _slot_fills(self, times: list[int], events: core.Events) -> Iterator[tuple[Any, ...]]:
        for n, (t, k, fill) in enumerate(_fills(events, events.slot_fills, events.slot_of, 0)):
            yield (
                times[t], self.ids[k], n, int(fill[layout.FILL_BAR]), int(fill[layout.FILL_POSITION]),
                int(fill[layout.FILL_REASON]), *fill[layout.FILL_QUANTITY :].tolist(),
            )  # fmt: skip

    def _money(self, bars: Bars, events: core.Events) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return fills and funding; what cash changed by beyond fills and fees is funding, if any was due."""
        rows: list[tuple[Any, ...]] = []
        rest = events.figures[:, :, core.ACCOUNT_FLOW].astype(np.int64)
        n_of: dict[tuple[int, int], int] = {}
        for t, k, fill in _fills(events, events.account_fills, events.account_of, 1):
            quantity, price = float(fill[layout.FILL_QUANTITY]), float(fill[layout.FILL_PRICE])
            why = int(fill[layout.FILL_REASON])
            cash, fee = -units(quantity * price), units(float(fill[layout.FILL_FEE]))
            rest[t, k] -= cash - fee
            n_of[t, k] = n_of.get((t, k), 0) + 1
            time = int(bars.time[t])
            name = self._id(k, time, f"{KIND[why]} {n_of[t, k]}")
            position = int(fill[layout.FILL_POSITION])
            rows.append((name, time, self.ids[k], position, why, quantity, price, cash, fee))
        paid = np.argwhere(rest != 0).tolist()
        for t, k in paid:
            if not bars.market.perpetual or bars.funding_due[t] == 0.0:
                raise LedgerError(
                    f"cash of {self.slots[k].entry.name} is off by {rest[t, k]} units",
                    f"bar {int(bars.time[t])}",
                    "report it; nothing of this bar was written",
                )
        return rows, [(int(bars.time[t]), self.ids[k], int(rest[t, k])) for t, k in paid]

    def _id(self, k: int, time: int, kind: str) -> str:
        entry = self.slots[k].entry
        return client_order_id(entry.candidate, entry.market, time, kind)


def _fills(
    events: core.Events, records: FloatArray, whose: np.ndarray[Any, Any], which: int
) -> Iterator[tuple[int, int, FloatArray]]:
    """Give bar of the block, slot and record of each fill."""
    if events.n_fills[which] == 0:
        return
    first = int(events.account[0, core.BARS]) - 1
    for record, k in zip(records[: events.n_fills[which]], whose[: events.n_fills[which]], strict=True):
        yield int(record[layout.FILL_BAR]) - first, int(k), record


def _account_row(time: int, events: core.Events, t: int) -> tuple[int, ...]:
    cells = events.account[t]
    return (
        time,
        int(events.regime[t]),
        int(cells[core.CONFIRMED]),
        int(cells[core.RUN]),
        int(cells[core.CASH]),
        units(float(cells[core.EQUITY])),
        units(float(cells[core.DAY_START])),
        units(float(cells[core.PEAK])),
        int(cells[core.DAY_LOST]),
        int(cells[core.DRAWN]),
    )
