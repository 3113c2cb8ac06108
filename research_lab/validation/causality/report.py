"""What the look-ahead check of a callable says: the verdict, the smallest difference found, and what is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from research_lab.validation.causality.starts import StartsReport

RARITIES: Final = (0, 1_000, 500, 100)  # a leak shows at one bar, or at one bar in so many


@dataclass(frozen=True)
class CounterExample:
    """The smallest difference found.

    Parameters
    ----------
    column, bar, time : the first value that moved, its bar and that bar's opening time, UTC.
    before, after : the value over all bars, and the other one. done : what was done, as the end of a sentence.
    cut : the last bar known. cause : in words. change : one change of a later bar that suffices; may be empty.
    """

    column: str
    bar: int
    time: str
    before: str
    after: str
    done: str
    cut: int
    cause: str
    change: str = ""

    @property
    def sentence(self) -> str:
        """The difference and its cause."""
        change = f"; {self.change}" if self.change else ""
        return (
            f"{self.column} at bar {self.bar} ({self.time}) was {self.before} and became {self.after} "
            f"{self.done}{change}. Likely cause: {self.cause}"
        )


@dataclass(frozen=True)
class CausalityReport:
    """What the check of a callable looked at, and what it found.

    Parameters
    ----------
    outcome : "PASS", "FAIL", or "INSUFFICIENT" for what `lacking` says.
    n_bars, first_bar : bars given, and the first tested one: with fewer the callable raises.
    n_cuts, n_possible : cuts tried, and bars that could be cut after. n_poisoned : runs with other futures.
    n_faults : runs that moved the past. counter_example : None unless it failed.
    columns : what was returned. silent : those, single numbers left out, that never change.
    missed : by how many bars a leak shows at, the chance that none of them was cut at.
    warmup : what later starts showed; None when they were not run. notes : what a reader should know besides.
    lacking : why nothing found is not a pass, a sentence each.
    """

    outcome: str
    n_bars: int
    first_bar: int
    n_cuts: int
    n_possible: int
    n_poisoned: int
    n_faults: int
    counter_example: CounterExample | None
    columns: tuple[str, ...]
    silent: tuple[str, ...]
    missed: dict[int, float] = field(default_factory=dict)
    warmup: StartsReport | None = None
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        seen = f"{self.n_cuts} of {self.n_possible} bars cut after, {self.n_poisoned} runs with other futures"
        if self.counter_example is not None:
            return f"{self.counter_example.sentence} ({self.n_faults} of the runs differ; {seen})"
        if self.outcome == "PASS":
            return f"the past did not move: {seen}"
        return f"not a pass: {'; '.join(self.lacking)}; {seen}"


def missed_chances(n_tested: int, n_possible: int) -> dict[int, float]:
    """Return the chance that none of k bars, anywhere, was among those cut after, by k."""
    found = {}
    for rarity in RARITIES:
        k = max(1, n_possible // rarity) if rarity else 1
        left = n_possible - n_tested
        log = [math.log(left - i) - math.log(n_possible - i) for i in range(k)] if left >= k else [-math.inf]
        found[k] = math.exp(sum(log))
    return found
