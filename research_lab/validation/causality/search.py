"""Which cuts are tried, in what order, and what was found: every bar when there is time for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from research_lab.candle_table import IntArray
from research_lab.validation.causality.given import CUT_OFF, FINITE, MISSING, POISONS, TENTH
from research_lab.validation.causality.runs import Seen
from research_lab.validation.causality.workers import Workers

FIRST_ROUND: Final = 128  # cuts all over the bars, which show most leaks at once
ROUND: Final = 1_024
ENOUGH: Final = 8  # cuts with a fault after which a round is the last one
LEAST_POISONED, MOST_POISONED = 32, 128  # cuts with other futures, every fiftieth bar between these
N_EARLY: Final = 16  # of them where it raises for want of earlier bars
N_GAPS: Final = 32  # of them where it raises, though not when it is given fewer bars
_DECIDING: Final = (*POISONS, TENTH)  # prices above and below all known ones among them
_GOLDEN: Final = 0.6180339887498949


@dataclass
class Findings:
    """What all runs showed.

    Parameters
    ----------
    possible : cuts that could be tried. tested : those that were. poisoned : runs with other futures.
    faults : runs that moved the past, by cut. rounding : runs that moved it by the size of rounding alone.
    weightless : runs that moved it with missing values, where no other future did.
    raised : what was raised by the cut; refused : by the kind of another future.
    """

    possible: int
    tested: set[int] = field(default_factory=set)
    poisoned: int = 0
    faults: list[Seen] = field(default_factory=list)
    rounding: list[Seen] = field(default_factory=list)
    weightless: list[Seen] = field(default_factory=list)
    raised: dict[int, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first bar after its warm-up: the beginning in which raising cuts exceed the others most."""
        tried = sorted([*self.tested, *self.raised])
        surplus = np.cumsum([1 if cut in self.raised else -1 for cut in tried])
        last = int(np.argmax(surplus)) if tried else 0
        return tried[last] + 1 if tried and surplus[last] > 0 else 0

    @property
    def gaps(self) -> list[int]:
        """Cuts after the warm-up at which it raised."""
        first = self.first
        return sorted(cut for cut in self.raised if cut >= first)

    @property
    def n_plain(self) -> int:
        """Faults that need no missing values."""
        return sum(seen.kind != MISSING for seen in self.faults)

    @property
    def n_tried(self) -> int:
        return len(self.tested) + len(self.raised)

    def take(self, seen: Seen) -> None:
        if seen.kind == CUT_OFF:
            self.tested.add(seen.cut)
        else:
            self.poisoned += 1
        if seen.raised and seen.kind == CUT_OFF:
            self.tested.discard(seen.cut)
            self.raised[seen.cut] = seen.raised
        elif seen.raised:
            self.refused.setdefault(seen.kind, seen.raised)
        elif seen.apart is not None:
            (self.rounding if seen.apart.tiny else self.faults).append(seen)


def in_order(n: int, preferred: IntArray) -> IntArray:
    """Return cuts 0 to n - 1: three preferred ones for each other, both spread evenly over the bars.

    The order is that of the multiples of the golden ratio: any first part of it lies evenly, whatever the
    period of what is looked for.
    """
    rank = np.argsort(np.argsort(np.arange(1, n + 1) * _GOLDEN % 1.0))
    wanted = np.zeros(n, np.bool_)
    wanted[preferred[(preferred >= 0) & (preferred < n)]] = True
    first, rest = rank[wanted[rank]], rank[~wanted[rank]]
    place = np.concatenate([np.arange(first.shape[0]) * 4 // 3, np.arange(rest.shape[0]) * 4 + 3])
    return np.asarray(np.concatenate([first, rest])[np.argsort(place, kind="stable")])


def cut_off(
    workers: Workers, found: Findings, order: IntArray, call_s: float, deadline: float, patience_s: float
) -> None:
    """Cut the future off at one bar after another until all are tried, the time is over or a leak is plain.

    Cuts that were tried before are left out.

    Parameters
    ----------
    call_s : seconds of a call, about.
    """
    order = order[~np.isin(order, [*found.tested, *found.raised])]
    for cuts in _rounds(order, workers.n, call_s, deadline):
        shares = [(cuts[k :: workers.n].tolist(), deadline) for k in range(workers.n)]
        for seen in sorted(workers.gather("cuts", shares, patience_s), key=lambda s: s.cut):
            found.take(seen)
        if len(found.faults) >= ENOUGH or time.monotonic() > deadline:
            return


def poison(workers: Workers, found: Findings, order: IntArray, deadline: float, patience_s: float) -> None:
    """Give other futures where it raises when cut off, and at a share of the cuts."""
    n = found.possible
    cuts = order[: min(MOST_POISONED, max(LEAST_POISONED, n // 50))]
    wanted = [(int(cut), POISONS[(i + j) % 4]) for j in range(4) for i, cut in enumerate(cuts)]
    early = _evenly(list(range(found.first)), N_EARLY)
    wanted = [(cut, kind) for kind in _DECIDING for cut in early] + wanted
    wanted = [(cut, kind) for kind in _DECIDING for cut in _evenly(found.gaps, N_GAPS)] + wanted
    size = 64 * workers.n
    for begin in range(0, len(wanted), size):
        part = wanted[begin : begin + size]
        shares = [(part[k :: workers.n], deadline) for k in range(workers.n)]
        for seen in sorted(workers.gather("poisons", shares, patience_s), key=lambda s: (s.cut, s.kind)):
            found.take(seen)
        if found.n_plain >= ENOUGH or time.monotonic() > deadline:
            return


def set_weightless_aside(workers: Workers, found: Findings, deadline: float, patience_s: float) -> None:
    """Set faults aside that missing values alone make, at cuts that move nothing.

    Zero times NaN is NaN: a bar of weight zero in a matrix product or an FFT spoils the past when it is missing,
    and has no say when it is not. Where a cut raised, missing values stand in for it, and the faults stay; so they
    do when time runs out.
    """
    if found.n_plain or any(seen.cut not in found.tested for seen in found.faults):
        return
    cuts = _evenly(sorted({seen.cut for seen in found.faults}), ENOUGH)
    wanted = [(cut, kind) for cut in cuts for kind in FINITE]
    shares = [(wanted[k :: workers.n], deadline) for k in range(workers.n)]
    answers = workers.gather("poisons", shares, patience_s)
    for seen in sorted(answers, key=lambda s: (s.cut, s.kind)):
        found.take(seen)
    if len(answers) == len(wanted) and all(seen.kind == MISSING for seen in found.faults):
        found.faults, found.weightless = [], found.faults


def _evenly(cuts: list[int], most: int) -> list[int]:
    """Return so many of some cuts, the first and the last one among them."""
    if len(cuts) <= most:
        return cuts
    return [cuts[round(k * (len(cuts) - 1) / (most - 1))] for k in range(most)]


def _rounds(order: IntArray, n_workers: int, call_s: float, deadline: float) -> Iterator[IntArray]:
    """Give parts of an order, each ascending: as a callable would see bars come in."""
    n = order.shape[0]
    fits = time.monotonic() + 1.2 * call_s * n / n_workers < deadline
    size = ROUND if fits else max(1, min(ROUND, int(2.0 / max(call_s, 1e-9)))) * n_workers
    begin = min(FIRST_ROUND, size) if fits else size
    yield np.sort(order[:begin])
    while begin < n:
        yield np.sort(order[begin : begin + size])
        begin += size
