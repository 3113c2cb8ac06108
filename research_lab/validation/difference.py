"""Where two recordings part that should agree to the last bit, told in words a reader can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research_lab.dsl.registry import INPUTS
from research_lab.engine import layout
from research_lab.engine.backtest import FILL, Tape
from research_lab.timeframe import utc
from research_lab.validation.recording import Recording


@dataclass(frozen=True)
class Difference:
    """Where two recordings part: what, at which base bar, and the two values as text."""

    what: str
    bar: int
    before: str
    after: str


@dataclass(frozen=True)
class Fault:
    """A difference between two runs that should agree, and what was done to the second one.

    Parameters
    ----------
    kind : what was done, as the end of a sentence that may name {cut}.
    cut : the bar that it was done at, counted from the first bar given, as is `bar`.
    what : the expression, signal, fill or curve that moved. bar : where it moved first. time : that bar's
        opening time, UTC. before, after : its values, as text.
    """

    kind: str
    cut: int
    what: str
    bar: int
    time: str
    before: str
    after: str

    @classmethod
    def of(cls, apart: Difference, kind: str, cut: int, tape: Tape, offset: int) -> Fault:
        """Return the fault that a difference is, on a tape that begins at bar `offset`."""
        time = utc(int(tape.time[apart.bar]))
        return cls(kind, cut + offset, apart.what, apart.bar + offset, time, apart.before, apart.after)

    @property
    def sentence(self) -> str:
        """The fault in one sentence."""
        done = self.kind.format(cut=self.cut)
        return f"{self.what} at bar {self.bar} ({self.time}) was {self.before} and became {self.after} {done}"


def first_difference(one: Recording, other: Recording, last_bar: int) -> Difference | None:
    """Return the earliest difference up to and including a bar, None when every bit is the same.

    Among differences at one bar, the one nearest to the inputs is told. NaN equals NaN; 0.0 and -0.0 differ.
    """
    m = int(np.searchsorted(one.decided_at, last_bar, side="right"))
    theirs = int(np.searchsorted(other.decided_at, last_bar, side="right"))
    parted = differing(one.decided_at[:m], other.decided_at[:theirs])
    if parted >= 0:
        bars = [r.decided_at[parted] for r, n in ((one, m), (other, theirs)) if parted < n]
        return Difference(f"end of strategy bar {parted}", int(min(bars)), f"{m} bars", f"{theirs} bars")
    found = [_register_difference(one, other, m), fill_difference(one.fills, other.fills, last_bar)]
    for name in ("regime", "reason", "position", "equity"):
        a, b = getattr(one, name)[: last_bar + 1], getattr(other, name)[: last_bar + 1]
        t = differing(a, b)
        if t >= 0:
            found.append(Difference(name, t, _text(a, t), _text(b, t)))
    return min((each for each in found if each is not None), key=lambda each: each.bar, default=None)


def fill_difference(one: NDArray[np.void], other: NDArray[np.void], last_bar: int) -> Difference | None:
    """Return the first fill up to and including a bar that is not the same in both runs."""
    a, b = one[one["bar"] <= last_bar], other[other["bar"] <= last_bar]
    rows = [differing(a[name], b[name]) for name in FILL.names or ()]
    parted = min((row for row in rows if row >= 0), default=-1)
    if parted < 0:
        return None
    bars = [int(fills["bar"][parted]) for fills in (a, b) if parted < fills.shape[0]]
    return Difference("fill", min(bars), _fill_text(a, parted), _fill_text(b, parted))


def differing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Return the first index along the last axis at which two arrays differ in any bit, -1 for none.

    NaN equals NaN, whatever its payload. A longer array differs where the shorter one ends.
    """
    n = min(a.shape[-1], b.shape[-1])
    apart = np.atleast_2d(_apart(a[..., :n], b[..., :n])).any(axis=0)
    if apart.any():
        return int(np.argmax(apart))
    return -1 if a.shape[-1] == b.shape[-1] else n


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    if a.dtype != np.float64:
        return np.asarray(a != b)
    same_value = (a == b) & (np.signbit(a) == np.signbit(b))
    return np.asarray(~(same_value | (np.isnan(a) & np.isnan(b))))


def _register_difference(one: Recording, other: Recording, m: int) -> Difference | None:
    a, b = one.registers[:, :m], other.registers[:, :m]
    s = differing(a, b)
    if s < 0:
        return None
    register = int(np.argmax(_apart(a[:, s], b[:, s])))
    roles = np.flatnonzero(one.signals == register)
    signal = f"{layout.SIGNALS[roles[0]]}: " if roles.size and register >= len(INPUTS) else ""
    what = signal + one.names[register]
    return Difference(what, int(one.decided_at[s]), _text(a[register], s), _text(b[register], s))


def _text(values: NDArray[Any], t: int) -> str:
    return repr(values[t].item()) if t < values.shape[0] else "none"


def _fill_text(fills: NDArray[np.void], row: int) -> str:
    if row >= fills.shape[0]:
        return "none"
    fill = fills[row]
    side = "buy" if fill["quantity"] > 0 else "sell"
    return f"{side} {abs(fill['quantity'])!s} at {fill['price']!s} in bar {fill['bar']}"
