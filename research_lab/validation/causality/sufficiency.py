"""Whether nothing found is a pass: enough cuts that can be compared, and values that change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from research_lab.errors import UsageError
from research_lab.validation.causality.search import Findings

LEAST_CUTS: Final = 16  # fewer, for want of time, are no pass
CUTTING: Final = 0.7  # share of the budget after which no more cuts are tried
SLOWER: Final = 1.25  # times as long as measured, to be safe
NO_TIME: Final = (
    "time ran out after {n:,} of {possible:,} cuts, and {least} are the least for a verdict: a call takes "
    "{call_s:.2g} s, give --budget {budget_s:,.0f} or more"
)
NO_CHANGE: Final = "no value changes in the tested bars: give more or other bars"
SILENT: Final = (
    "{names} never changes in the tested bars, so nothing is known of it: give more or other bars, or say "
    "that it may stay the same with {options}"
)
IN_PLACES: Final = (
    "given the bars up to bar {cut} it raises {what}, though not when given fewer{more}: what it says there "
    "cannot be compared"
)


@dataclass(frozen=True)
class Cost:
    """What calls take: seconds of one over all bars, of the first calls together, and how many run at once."""

    call_s: float
    first_s: float
    n_workers: int

    @property
    def sufficient_s(self) -> int:
        """A budget, whole seconds, in which the least number of cuts fits after the first calls."""
        cutting_s = self.call_s * math.ceil(LEAST_CUTS / self.n_workers)
        return math.ceil(SLOWER * (self.first_s + cutting_s) / CUTTING)


def refuse_raising(found: Findings, name: str) -> None:
    """Raise `UsageError` for a callable that raises at most of the cuts tried."""
    if len(found.raised) > len(found.tested) and found.n_tried >= _least(found):
        last = max(found.raised)
        what = f"raised {found.raised[last]}, given the bars up to bar {last}"
        often = f"it raises at {len(found.raised):,} of {found.n_tried:,} cuts"
        raise UsageError(what, name, f"{often}, make it return missing values there")


def too_little(found: Findings, cost: Cost) -> Iterator[str]:
    """Give the reasons why the cuts tried do not suffice."""
    if found.n_tried < _least(found):
        yield NO_TIME.format(
            n=found.n_tried, possible=found.possible, least=_least(found), call_s=cost.call_s,
            budget_s=cost.sufficient_s,
        )  # fmt: skip
    if found.gaps:
        cut, n = found.gaps[0], len(found.gaps) - 1
        more = f" (so at {n:,} more)" if n else ""
        yield IN_PLACES.format(cut=cut, what=found.raised[cut], more=more)


def unmoved(silent: Sequence[str], *, moving: bool) -> Iterator[str]:
    """Give the reason why columns that never change are no pass.

    Parameters
    ----------
    silent : those that nobody said may stay the same. moving : whether any column changes.
    """
    if not moving:
        yield NO_CHANGE
    elif silent:
        options = " ".join(f"--constant {name}" for name in silent)
        yield SILENT.format(names=", ".join(silent), options=options)


def _least(found: Findings) -> int:
    return min(LEAST_CUTS, found.possible)
