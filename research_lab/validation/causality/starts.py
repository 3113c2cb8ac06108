"""Warm-up of a callable: started at later bars, it must come to decide as from the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.validation.causality.given import Given
from research_lab.validation.causality.workers import Workers

N_STARTS: Final = 16
LONGEST: Final = 2_000  # bars that each later start is followed for
LEAST: Final = 50


@dataclass(frozen=True)
class StartsReport:
    """What later starts needed.

    Parameters
    ----------
    n_starts : how many gave values. n_followed : the most bars that one was, or would have been, followed for.
    needed_bars : bars after which all starts decided as the run from the first bar, quantities within a
        millionth; None when one never did, or none could be run.
    told_bars : the warm-up that the user told, None for none.
    """

    n_starts: int
    n_followed: int
    needed_bars: int | None
    told_bars: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the told warm-up suffices; true when none was told."""
        return self.told_bars is None or (self.needed_bars is not None and self.needed_bars <= self.told_bars)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.n_starts:
            why = "time ran out, or it raises there" if self.n_followed else "too few bars for a later start"
            return f"warm-up: not tested, {why}"
        told = "" if self.told_bars is None else f"; told {self.told_bars}"
        if not self.passed:
            told += ", which is too short"
        if self.needed_bars is None:
            return (
                f"warm-up: {self.n_starts} later starts, and not all agreed within {self.n_followed} bars: what it "
                f"says depends on where its data begins{told}"
            )
        return f"warm-up: {self.n_starts} later starts decided alike after {self.needed_bars} bars{told}"


def check_starts(
    workers: Workers, given: Given, told: int | None, deadline: float, patience_s: float
) -> StartsReport:
    """Start at bars all over the first half, and compare every later bar with the run from the first one."""
    followed = min(LONGEST, given.n // 2)
    if followed < LEAST:
        return StartsReport(0, 0, None, told)
    at = np.unique(np.linspace(1, given.n - followed, N_STARTS).round().astype(int)).tolist()
    shares = [(at[k :: workers.n], followed, deadline) for k in range(workers.n)]
    found = workers.gather("needed", shares, patience_s)
    if not found:
        return StartsReport(0, followed, None, told)
    settled = all(2 * needed <= ran for _, needed, ran in found)
    needed = max(needed for _, needed, _ in found) + 1 if settled else None
    return StartsReport(len(found), followed, needed, told)
