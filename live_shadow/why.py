"""Why is it (not) trading: every slot's last decision, what stands in the way, and what must happen next.

Everything is read from the ledger, so the answer is the same while the executor runs and after it died.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from live_shadow.enable_map import ANY, REGIMES, Entry, Stage, utc_text
from live_shadow.ledger import Ledger
from research_lab.dsl.regimes import MACRO_STATES
from research_lab.engine import reasons
from research_lab.engine.layout import MACRO
from research_lab.errors import LedgerError, UsageError
from research_lab.timeframe import timeframe_name, utc

UNITS = 100_000_000

NAMES = {
    value: name for name, value in vars(reasons).items() if isinstance(value, int) and name.isupper()
}  # fmt: skip

_ORDERED = (reasons.LONG_ORDERED, reasons.SHORT_ORDERED)


@dataclass(frozen=True)
class Place:
    """What is known of one slot after one bar."""

    entry: Entry
    retired: bool
    warmup: int
    n_seen: int
    slot_reason: int
    account_reason: int
    veto: int
    slot_position: float
    account_position: float


@dataclass(frozen=True)
class Standing:
    """The account and every slot after one bar; money in whole units of 1e-8, limits as in `slots.Limits`."""

    market: str
    base_ms: int
    time: int
    regime: int
    macro: int
    confirmed: int
    run: int
    cash: int
    equity: int
    day_start: int
    peak: int
    day_lost: bool
    drawn: bool
    limits: dict[str, Any]
    places: tuple[Place, ...]


def regime_name(code: int) -> str:
    """Return a regime's name, "unknown" for code 0."""
    return REGIMES[code - 1] if code else "unknown"


def macro_name(code: int) -> str:
    """Return a macro state's name, "not in use" for code 0."""
    return MACRO_STATES[code - 1] if code else "not in use"


def standing(ledger: Ledger, at: int | None = None) -> Standing:
    """Return where everything stood after the last bar that was closed at a time, ms UTC; None for now.

    Raises
    ------
    LedgerError
        No bar has been taken. UsageError: none was closed at that time.
    """
    meta = ledger.meta()
    if not ledger.query("SELECT 1 FROM account LIMIT 1"):
        raise LedgerError("no bar has been taken yet", str(ledger.path), "run `live-shadow replay` first")
    base_ms = int(meta["step_ms"])
    latest = 2**62 if at is None else at - base_ms
    found = ledger.query("SELECT * FROM account WHERE time <= ? ORDER BY time DESC LIMIT 1", latest)
    if not found:
        first = ledger.query("SELECT min(time) FROM account")[0][0] + base_ms
        raise UsageError(f"no bar was closed by {utc(at or 0)}; the first closed {utc(first)}", "--at")
    time, code, confirmed, run, cash, equity, day_start, peak, lost, drawn = found[0]
    macro, regime = divmod(code, MACRO)
    limits, layout = ledger.query(
        "SELECT limits, layout FROM maps WHERE after_bar IS NULL OR after_bar < ? ORDER BY id DESC LIMIT 1",
        time,
    )[0]
    places = [_place(ledger, time, record) for record in json.loads(layout)]
    return Standing(
        meta["market"], base_ms, time, regime, macro, confirmed, run, cash, equity, day_start, peak, bool(lost),
        bool(drawn), json.loads(limits), tuple(place for place in places if place is not None),
    )  # fmt: skip


def _place(ledger: Ledger, time: int, record: dict[str, Any]) -> Place | None:
    found = ledger.query(
        "SELECT slot_reason, account_reason, veto, slot_position, account_position, warmup, "
        "(SELECT count(*) FROM decisions d WHERE d.slot = s.id AND d.time <= ? AND d.slot_reason <> ?) "
        "FROM decisions JOIN slots s ON s.id = slot WHERE time = ? AND slot = ?",
        time, reasons.NO_STRATEGY_BAR, time, record["id"],
    )  # fmt: skip
    if not found:
        return None
    slot_reason, account_reason, veto, own, held, warmup, n_seen = found[0]
    entry = Entry.model_validate_json(record["entry"])
    return Place(entry, record["retired"], warmup, n_seen, slot_reason, account_reason, veto, own, held)


def next_step(place: Place, now: Standing) -> str:
    """Return what must happen before the slot trades in the account, or before its position closes."""
    if place.account_reason in _ORDERED:
        return "the next open: the entry is filled there as far as cash and leverage reach"
    if place.account_reason == reasons.EXIT_ORDERED:
        return "the next open: the position is closed there"
    if place.account_position != 0.0:
        return "an exit condition, the stop, a take or the time stop"
    if place.slot_reason == reasons.WARMING:
        missing = max(place.warmup - place.n_seen, 1)
        return f"{missing} more bars of {place.entry.timeframe}, of the {place.warmup} that warm it up"
    told = _NEXT_BY_VETO.get(place.veto)
    if told is not None:
        return told(place, now)
    if place.account_reason in _NEXT_BY_REASON:
        return _NEXT_BY_REASON[place.account_reason]
    return f"an entry condition true at a close of {place.entry.timeframe}"


def _until_selected(place: Place, now: Standing) -> str:
    wanted = " or ".join(place.entry.regimes)
    held = f"{regime_name(now.regime)} {now.run} times in a row so far"
    return f"the regime confirmed as {wanted}: {now.limits['min_bars_hold']} equal closes ({held})"


def _until_midnight(place: Place, now: Standing) -> str:
    day_ms = 86_400_000
    midnight = -(-(now.time + now.base_ms) // day_ms) * day_ms
    return f"the next UTC day: a close after {utc(midnight)}"


_NEXT_BY_VETO: dict[int, Callable[[Place, Standing], str]] = {
    reasons.INACTIVE: lambda place, _: f"the bar that opens {utc_text(place.entry.since)}, its `since`",
    reasons.STAGE_SHADOW: lambda *_: "promotion to canary: a shadow trades in its own book only",
    reasons.EXPIRED: lambda place, _: (
        "nothing: it left the map" if place.retired else "a new promotion: the map's entry has expired"
    ),
    reasons.LATE_BAR: lambda *_: "a bar that comes in time",
    reasons.NOT_SELECTED: _until_selected,
    reasons.COOLDOWN: lambda place, now: (
        f"{now.limits['cooldown_bars']} bars of {place.entry.timeframe} after its last exit"
    ),
    reasons.DAILY_LOSS: _until_midnight,
    reasons.DRAWDOWN: lambda _, now: (
        f"equity above {_money(now.peak * (1.0 - now.limits['drawdown']) / UNITS)}, "
        "or the peak more than 72 hours old"
    ),
}
_NEXT_BY_REASON = {
    reasons.UNKNOWN: "a value for every input that its entry condition reads (is funding or spot missing?)",
    reasons.REGIME: "a regime that the strategy itself declares",
    reasons.MACRO: "the macro state risk_on or risk_small; it is neutral where its series are not known",
    reasons.INVALID_STOP: "an entry with a stop distance above 0; the account needs one to cap the risk",
    reasons.TOO_SMALL: "more equity, a larger share or a nearer stop: the order was below lot or minimum",
    reasons.RUN_ENDED: "nothing: equity reached zero",
    reasons.SHORT_NEEDS_PERPETUAL: "a long entry, or the perpetual instead of spot",
}  # fmt: skip


def describe(now: Standing) -> str:
    """Return the standing as text for a terminal."""
    close = utc(now.time + now.base_ms)
    lines = [
        f"{now.market} {timeframe_name(now.base_ms)}, after the close of {close}",
        f"regime {regime_name(now.confirmed)} (last close {regime_name(now.regime)}, {now.run} in a row)",
        f"macro  {macro_name(now.macro)}",
        "",
    ]
    for place in now.places:
        lines += [*_describe_place(place), f"  next      {next_step(place, now)}", ""]
    return "\n".join([*lines, *_describe_account(now)])


def _describe_place(place: Place) -> list[str]:
    entry = place.entry
    where = "anywhere" if ANY in entry.regimes else ", ".join(entry.regimes)
    stage = "retired" if place.retired else entry.stage.value
    lines = [
        f"{entry.name} {entry.candidate[:12]}  {stage}, share {entry.risk_share:g}, {entry.timeframe}, "
        f"{where}"
    ]
    if entry.stage is not Stage.SHADOW or place.account_position:
        lines.append(f"  account   {_code(place.account_reason)}{_held(place.account_position)}")
    lines.append(f"  own book  {_code(place.slot_reason)}{_held(place.slot_position)}")
    lines.append(f"  veto      {_code(place.veto) if place.veto else 'none stands'}")
    return lines


def _describe_account(now: Standing) -> list[str]:
    limits = now.limits
    lost = 1.0 - now.equity / now.day_start
    fallen = 1.0 - now.equity / now.peak
    return [
        f"account   equity {_money(now.equity / UNITS)}, cash {_money(now.cash / UNITS)}",
        f"  loss today      {_limit(lost, limits['daily_loss'])}{'  REACHED' if now.day_lost else ''}",
        f"  fall in 72 h    {_limit(fallen, limits['drawdown'])}{'  REACHED' if now.drawn else ''}",
        f"  risk per trade  at most {limits['risk_per_trade']:.2%} of equity at the stop",
        f"  leverage        at most {min(limits['leverage'], limits['account']['leverage']):g}",
    ]


def counts(ledger: Ledger, since: int) -> list[tuple[str, str, str, int]]:
    """Return (strategy, book, reason, bars) for all decisions of bars opened at a time or later."""
    found = ledger.query(
        "SELECT name, 'account', account_reason, count(*) FROM decisions JOIN slots ON slots.id = slot "
        "WHERE time >= ? GROUP BY slot, account_reason UNION ALL "
        "SELECT name, 'own book', slot_reason, count(*) FROM decisions JOIN slots ON slots.id = slot "
        "WHERE time >= ? GROUP BY slot, slot_reason ORDER BY 1, 2, 4 DESC",
        since, since,
    )  # fmt: skip
    return [(name, book, NAMES.get(code, str(code)), n) for name, book, code, n in found]


def describe_counts(rows: Sequence[tuple[str, str, str, int]]) -> str:
    """Return counted reasons as a table."""
    head = ("strategy", "book", "reason", "bars")
    table = [head, *((name, book, reason, f"{n:,}") for name, book, reason, n in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row[:3], widths, strict=True)) + f"  {row[3]:>9}"
        for row in table
    )


def describe_status(ledger: Ledger) -> str:
    """Return money, positions and the last bar as text."""
    now = standing(ledger)
    capital = int(ledger.meta()["capital"])
    fees, n_fills = ledger.query("SELECT coalesce(sum(fee), 0), count(*) FROM fills")[0]
    paid = ledger.query("SELECT coalesce(sum(amount), 0) FROM funding")[0][0]
    gain = now.equity - capital
    lines = [
        f"{now.market} {timeframe_name(now.base_ms)}, last bar closed {utc(now.time + now.base_ms)}",
        f"equity    {_money(now.equity / UNITS)}",
        f"cash      {_money(now.cash / UNITS)}",
        f"pnl       {gain / UNITS:+,.2f} ({gain / capital:+.2%} of {_money(capital / UNITS)})",
        f"fills     {n_fills}, fees {_money(fees / UNITS)}, funding {paid / UNITS:+,.2f}",
        "positions",
    ]
    held = [place for place in now.places if place.account_position]
    lines += [f"  {place.entry.name} {place.account_position:+.8g}" for place in held] or ["  none"]
    return "\n".join(lines)


def _code(code: int) -> str:
    return f"{NAMES.get(code, str(code))}: {reasons.MEANING.get(code, 'unknown code')}"


def _held(position: float) -> str:
    return f"; position {position:+.8g}" if position else ""


def _limit(fall: float, limit: float) -> str:
    return f"{max(fall, 0.0):.2%} of {limit:.2%}, {max(limit - fall, 0.0):.2%} away"


def _money(amount: float) -> str:
    return f"{amount:,.2f}"
