"""What a benchmark found: figures beside their targets, times, and how far results of two ways lie apart."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from research_lab.engine.jit import FloatArray

TOLERANCE = 1e-9  # relative difference up to which two results count as equal


@dataclass(frozen=True)
class Figure:
    """One measured number and its targets.

    Parameters
    ----------
    name : what was measured. value, unit : the number; "x" for a ratio.
    must, aim : targets; None where nothing is demanded.
    more : whether more is better.
    of : for a ratio with ours, the names of the two timings it stands for, ours first.
    """

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    more: bool = True
    of: tuple[str, str] | None = None

    def reaches(self, target: float) -> bool:
        return self.value >= target if self.more else self.value <= target

    @property
    def verdict(self) -> str:
        """Return "aim met", "must met" or "not met"; empty without a target."""
        if self.aim is not None and self.reaches(self.aim):
            return "aim met"
        if self.must is None:
            return ""
        return "must met" if self.reaches(self.must) else "not met"

    @property
    def line(self) -> str:
        """Return the figure, its targets and the verdict as one line of text."""
        sign = ">=" if self.more else "<="
        targets = [
            f"{word} {sign} {target:g}"
            for word, target in (("must", self.must), ("aim", self.aim))
            if target is not None
        ]
        words = [f"{self.name}: {self.value:,.4g} {self.unit}", ", ".join(targets), self.verdict]
        return "  |  ".join(word for word in words if word)


@dataclass(frozen=True)
class Timing:
    """Median seconds of one way to do a work; ours or a peer's."""

    name: str
    seconds: float
    ours: bool = False


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Parameters
    ----------
    key, title : its name on the command line and in the report; the title says the work and its size.
    figures, timings : in the order of the report.
    differences : largest relative difference by what was compared; above `TOLERANCE` the run has failed.
    notes : sentences for the report. table : rows of a table, its head first.
    """

    key: str
    title: str
    figures: tuple[Figure, ...] = ()
    timings: tuple[Timing, ...] = ()
    differences: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()

    @property
    def equal(self) -> bool:
        return all(difference <= TOLERANCE for difference in self.differences.values())


def in_turns(works: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each work after one run to warm up, repetitions in turns.

    The machine's speed drifts over a run; in turns it drifts for all alike, and ratios stand.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            gc.collect()
            begun = time.perf_counter()
            work()
            if repeat:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def difference(ours: FloatArray, theirs: FloatArray) -> float:
    """Return the largest relative difference, a size below a thousandth counted as that; infinite for a lone NaN."""
    if ours.shape != theirs.shape or bool(np.any(np.isnan(ours) != np.isnan(theirs))):
        return math.inf
    apart = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3)
    known = apart[~np.isnan(apart)]
    return float(known.max()) if known.size else 0.0
