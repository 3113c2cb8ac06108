"""The table of error rates: counts with exact intervals, beside what is wanted, as Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.calibration.one_world import BOUND, LEFT_OUT, NAIVE, OURS, Record
from pipelines.calibration.rows import ROWS, Row

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Rate:
    """How many worlds of how many, with an exact interval for the rate behind it."""

    k: int
    n: int

    @property
    def share(self) -> float:
        return self.k / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the rate at 95 %.

        Source: C. Clopper, E. Pearson (1934), The Use of Confidence or Fiducial Limits.
        """
        from scipy.stats import beta

        rest = (1.0 - CONFIDENCE) / 2.0
        low = 0.0 if self.k == 0 else float(beta.ppf(rest, self.k, self.n - self.k + 1))
        high = 1.0 if self.k == self.n else float(beta.ppf(1.0 - rest, self.k + 1, self.n - self.k))
        return low, high

    def __str__(self) -> str:
        if not self.n:
            return "not run"
        low, high = self.interval
        return f"{self.k} of {self.n} ({100 * low:.1f} to {100 * high:.1f} %)"


@dataclass(frozen=True)
class Line:
    """One row of the table: rates by pipeline.

    Parameters
    ----------
    right : worlds in which what the gauntlet promoted is the planted strategy.
    n_sets : parameter sets scored in the median world. met : "met", "missed", "too few worlds to say", "" without a target.
    rollback_days : from the promotion to the alarm, of worlds whose edge died then; infinite for never.
    """

    row: Row
    rates: dict[str, Rate]
    right: Rate
    n_sets: float
    met: str
    rollback_days: tuple[float, ...] = ()

    @property
    def wanted(self) -> str:
        """The row's target in words."""
        target = self.row.target
        if target is None:
            return "published"
        if target.of_bound:
            return f"at least {100 * target.share:.0f} % of the bound"
        if target.sense == ">=":
            return f"at least {100 * target.share:.0f} %"
        return "at most 1 in 300" if target.share < 0.01 else f"at most {100 * target.share:.0f} %"


def lines(records: Sequence[Record]) -> list[Line]:
    """Return the table's rows that have records, in the order of `ROWS`."""
    found = []
    for row in ROWS:
        own = [record for record in records if record.row == row.name]
        if not own:
            continue
        names = list(own[0].promoted)
        rates = {name: Rate(sum(r.promoted[name] for r in own), len(own)) for name in names}
        right = Rate(sum(record.right for record in own), len(own))
        n_sets = float(np.median([record.n_sets for record in own]))
        days = (record.figures.get("days_to_rollback", math.nan) for record in own)
        kept = tuple(sorted(each for each in days if not math.isnan(each)))
        found.append(Line(row, rates, right, n_sets, _met(row, rates), kept))
    return found


def _met(row: Row, rates: dict[str, Rate]) -> str:
    """Return whether the target is met; a rare event needs many worlds before its absence says anything."""
    if row.target is None:
        return ""
    ours, limit = rates[OURS], row.target.share
    if row.target.of_bound:
        limit *= rates[BOUND].share
    if row.target.sense == ">=":
        return "met" if ours.share >= limit else "missed"
    if ours.share > limit:
        return "missed"
    return "met" if ours.n >= 1.0 / limit - 0.5 else "too few worlds to say"


def markdown(table: Sequence[Line]) -> str:
    """Return three tables: the gauntlet beside the bound, beside naive pipelines, and with gates left out."""
    parts = [
        "## The gauntlet",
        grid(
            ["world", "promoted", "the right one", "bound", "wanted", "", "sets"],
            [
                [line.row.words, str(line.rates[OURS]), str(line.right.k) if line.row.has_edge else "",
                 str(line.rates[BOUND]), line.wanted, line.met, f"{line.n_sets:,.0f}"]
                for line in table
            ],
        ),
        "## Beside pipelines that count no looks",
        grid(
            ["world", "the gauntlet", *NAIVE],
            [[line.row.words, *(_percent(line.rates[name]) for name in (OURS, *NAIVE))] for line in table],
        ),
        "## What each gate buys",
        grid(
            ["world", "all gates", *(f"without {gate}" for gate in LEFT_OUT)],
            [
                [line.row.words, _percent(line.rates[OURS]),
                 *(_percent(line.rates[f"without {gate}"]) for gate in LEFT_OUT)]
                for line in table
            ],
        ),
    ]  # fmt: skip
    parts += [_rollbacks(line) for line in table if line.rollback_days]
    return "\n\n".join(parts) + "\n"


def _rollbacks(line: Line) -> str:
    days = np.array(line.rollback_days)
    quartiles = ", ".join(f"{each:,.0f}" for each in np.quantile(days, (0.25, 0.5, 0.75), method="higher"))
    return (
        f"## After the edge has died\n\n{line.row.words}: of {len(days)} promoted strategies "
        f"{int(np.isfinite(days).sum())} were rolled back within three years; days from the promotion (first "
        f"quarter, half, three quarters of them): {quartiles}. In bars of an hour, times 24."
    )


def _percent(rate: Rate) -> str:
    if not rate.n:
        return "not run"
    low, high = rate.interval
    return f"{100 * rate.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in body)])


def to_json(table: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the table as data."""
    return [
        {
            "row": line.row.name,
            "words": line.row.words,
            "n": line.rates[OURS].n,
            "promoted": {name: rate.k for name, rate in line.rates.items()},
            "interval": list(line.rates[OURS].interval),
            "intervals": {name: list(rate.interval) for name, rate in line.rates.items()},
            "right": line.right.k,
            "sets": line.n_sets,
            "wanted": line.wanted,
            "verdict": line.met,
            "rollback_days": [days if math.isfinite(days) else None for days in line.rollback_days],
        }
        for line in table
    ]
