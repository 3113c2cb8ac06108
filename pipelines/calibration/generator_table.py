"""The table of the generators: how often each finds what is there, and promotes what is not, as Markdown and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from pipelines.calibration.generator_rows import ROWS, GeneratorRow
from pipelines.calibration.hunt import Hunt
from pipelines.calibration.table import Rate, grid

TIMES_AS_OFTEN: Final = 2.0  # as random grammar, or as often at half the looks
LEAST_VALID: Final = 0.99
LEAST_CANDIDATES: Final = 5_000.0
LEAST_FINALISTS: Final = 10.0
BUDGETS: Final = (250, 500, 1_000, 2_000)


@dataclass(frozen=True)
class Line:
    """One row: what came of its worlds.

    Parameters
    ----------
    promoted : worlds in which anything passed gates 1 to 7; right : in which that is alike the planted edge.
    handed : worlds in which a planted strategy passes when it is handed over, with nothing else looked at.
    found : worlds in which an elite is alike each planted edge, or, of five, enough of them.
    kinds : worlds by the number of kinds found. n_twice : elites that behave as another one, of all worlds.
    first_look : look at which the first candidate alike came, of the median world; infinite where that has none.
    by_look : worlds in which it had come by a number of looks.
    refused : finalists by the limit that refused them. n_looks : of the median world.
    seconds : search and finalists of the median world. met : as in the other table.
    """

    row: GeneratorRow
    n: int
    promoted: Rate
    right: Rate
    handed: Rate
    found: Rate
    kinds: dict[int, int]
    n_twice: int
    first_look: float
    by_look: dict[int, int]
    refused: dict[str, int]
    n_looks: float
    seconds: tuple[float, float]
    met: str

    @property
    def wanted(self) -> str:
        """The row's target in words."""
        if self.row.wanted is None:
            return "published"
        if self.row.together:
            return f"at least {self.row.wanted:g} kinds, none twice"
        return f"at {'least' if self.row.sharpe else 'most'} {100 * self.row.wanted:.0f} %"


def lines(records: Sequence[Hunt]) -> list[Line]:
    """Return the table's rows that have records, in the order of `ROWS`."""
    found = ((row, [r for r in records if r.row == row.name]) for row in ROWS)
    return [_line(row, own) for row, own in found if own]


def _line(row: GeneratorRow, own: Sequence[Hunt]) -> Line:
    n = len(own)
    enough = int(row.wanted or 4) if row.together else 1
    looks = [min(r.first_look.values(), default=math.inf) for r in own]
    right = Rate(sum(r.right for r in own), n)
    promoted = Rate(sum(r.promoted for r in own), n)
    kinds = Counter(len(r.found) for r in own)
    n_twice = sum(r.n_twice for r in own)
    refused = Counter(limit for r in own for f in r.finalists for limit in f["stopped_by"])
    return Line(
        row,
        n,
        promoted,
        right,
        Rate(sum(bool(r.handed) for r in own), n),
        Rate(sum(len(r.found) >= enough for r in own), n),
        dict(sorted(kinds.items())),
        n_twice,
        float(np.quantile(looks, 0.5, method="higher")),
        {budget: sum(look <= budget for look in looks) for budget in BUDGETS},
        dict(refused.most_common()),
        float(np.median([r.n_looks for r in own])),
        (float(np.median([r.seconds[0] for r in own])), float(np.median([r.seconds[1] for r in own]))),
        _met(row, promoted, float(np.median([len(r.found) for r in own])), n_twice),
    )


def _met(row: GeneratorRow, promoted: Rate, kinds: float, n_twice: int) -> str:
    """Return whether the target is met: of five kinds by the median world, of others by the worlds that promoted."""
    if row.wanted is None:
        return ""
    if row.together:
        return "met" if kinds >= row.wanted and n_twice == 0 else "missed"
    if row.sharpe:
        return "met" if promoted.share >= row.wanted else "missed"
    if promoted.share > row.wanted:
        return "missed"
    return "met" if promoted.n >= 1.0 / row.wanted - 0.5 else "too few worlds to say"


@dataclass(frozen=True)
class Comparison:
    """Evolution beside random grammar on the same worlds: worlds in which something was promoted.

    Parameters
    ----------
    evolution, grammar : with the same looks. half : evolution with half of them.
    """

    evolution: Rate
    half: Rate
    grammar: Rate

    @property
    def met(self) -> str:
        """Whether evolution finds at least twice as often, or at half the looks as often."""
        as_often = self.evolution.k >= TIMES_AS_OFTEN * self.grammar.k
        at_half = self.half.k >= self.grammar.k
        return "met" if (self.evolution.k > 0 and as_often) or (self.half.k > 0 and at_half) else "missed"


def comparison(records: Sequence[Hunt]) -> Comparison | None:
    """Return evolution beside grammar on the worlds that all three rows have; None where there are none."""
    rows = ("edge_evolution", "edge_evolution_1000", "edge_grammar")
    promoted = [{r.number: r.promoted for r in records if r.row == row} for row in rows]
    numbers = set(promoted[0]).intersection(*promoted[1:])
    if not numbers:
        return None
    return Comparison(*(Rate(sum(own[k] for k in numbers), len(numbers)) for own in promoted))


@dataclass(frozen=True)
class Pace:
    """What is measured without a world: texts that are strategies, and how fast candidates and finalists go.

    Parameters
    ----------
    valid : texts of the grammar. candidates, finalists : a minute, by generator and in all.
    """

    valid: Rate
    candidates: dict[str, float]
    finalists: float

    @property
    def met(self) -> tuple[str, str, str]:
        """Whether each target is met: valid texts, candidates a minute of every generator, finalists a minute."""
        said = (
            self.valid.share >= LEAST_VALID,
            min(self.candidates.values(), default=0.0) >= LEAST_CANDIDATES,
            self.finalists >= LEAST_FINALISTS,
        )
        valid, candidates, finalists = ("met" if each else "missed" for each in said)
        return valid, candidates, finalists


def markdown(table: Sequence[Line], beside: Comparison | None, pace: Pace | None) -> str:
    """Return what was found and what was promoted, what refused finalists, evolution beside grammar, and the pace."""
    parts = [
        grid(
            ["world", "promoted", "the right one", "handed over", "in the archive", "wanted", "", "looks"],
            [
                [line.row.words, str(line.promoted), str(line.right.k) if line.row.sharpe else "",
                 str(line.handed.k) if line.row.sharpe else "",
                 _in_archive(line), line.wanted, line.met, f"{line.n_looks:,.0f}"]
                for line in table
            ],
        ),
    ]  # fmt: skip
    edges = [line for line in table if line.row.sharpe]
    if edges:
        parts += [
            "Worlds in which a candidate alike a planted edge had been scored, by looks:",
            grid(
                ["world", *(f"{budget:,}" for budget in BUDGETS), "median"],
                [
                    [
                        line.row.words,
                        *(f"{k} of {line.n}" for k in line.by_look.values()),
                        _looks(line.first_look),
                    ]
                    for line in edges
                ],
            ),
        ]
    if beside is not None:
        parts.append(
            f"On the same worlds evolution finds an edge in {beside.evolution}, with half the looks in "
            f"{beside.half}, random grammar in {beside.grammar}. Wanted: at least twice as often, or as often at half "
            f"the looks: {beside.met}."
        )
    parts += [_refusals(line) for line in table if line.refused]
    if pace is not None:
        parts.append(_pace(pace))
    return "\n\n".join(parts) + "\n"


def _in_archive(line: Line) -> str:
    if not line.row.sharpe:
        return ""
    if not line.row.together:
        return str(line.found)
    kinds = ", ".join(f"{k} kinds in {n}" for k, n in sorted(line.kinds.items(), reverse=True))
    return f"{kinds}; {line.n_twice} elites twice"


def _looks(look: float) -> str:
    return f"{look:,.0f}" if math.isfinite(look) else "never"


def _refusals(line: Line) -> str:
    most = ", ".join(f"{limit} {n}" for limit, n in list(line.refused.items())[:6])
    return f"Finalists refused, {line.row.words}: {most}."


def _pace(pace: Pace) -> str:
    valid, candidates, finalists = pace.met
    each = [
        [f"candidates a minute: {name}", f"{rate:,.0f}", f"at least {LEAST_CANDIDATES:,.0f}", candidates]
        for name, rate in pace.candidates.items()
    ]
    rows = [
        [
            "texts of the grammar that are strategies",
            str(pace.valid),
            f"at least {100 * LEAST_VALID:.0f} %",
            valid,
        ],
        *each,
        ["finalists a minute", f"{pace.finalists:,.1f}", f"at least {LEAST_FINALISTS:,.0f}", finalists],
    ]
    return grid(["measure", "", "wanted", ""], rows)


def to_json(table: Sequence[Line], beside: Comparison | None, pace: Pace | None) -> dict[str, Any]:
    """Return the table as data."""
    rows = [
        {
            "row": line.row.name,
            "words": line.row.words,
            "n": line.n,
            "promoted": line.promoted.k,
            "right": line.right.k,
            "handed": line.handed.k,
            "interval": list((line.right if line.row.sharpe else line.promoted).interval),
            "found": line.found.k,
            "kinds": {str(k): n for k, n in line.kinds.items()},
            "twice": line.n_twice,
            "first_look": line.first_look if math.isfinite(line.first_look) else None,
            "by_look": {str(k): n for k, n in line.by_look.items()},
            "refused": line.refused,
            "looks": line.n_looks,
            "seconds": list(line.seconds),
            "wanted": line.wanted,
            "verdict": line.met,
        }
        for line in table
    ]
    return {
        "rows": rows,
        "evolution_beside_grammar": None if beside is None else beside.met,
        "pace": None if pace is None else asdict(pace) | {"verdicts": list(pace.met)},
    }
