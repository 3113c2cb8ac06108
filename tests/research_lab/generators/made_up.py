"""Generators that propose what a test needs: strategies from a seeded stream, broken texts, the same twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from research_lab.bars import Bars
from research_lab.engine.terms import Terms
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Feedback, Proposal
from research_lab.generators.search import Search
from research_lab.market_data import worlds
from research_lab.scoring.crew import Crew
from research_lab.scoring.origin import Origin
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger

_CLOCK = itertools.count(1)

CROSS = """spec: 1
name: cross
hypothesis: Trends last.
timeframe: {frame}
side: long
enter_long: ema(close, {fast}) > ema(close, {slow})
exit_long: ema(close, {fast}) < ema(close, {slow})
stop: {stop} * atr(14)
size: {{fraction: 0.5}}
"""


def cross(fast: int = 5, slow: int = 20, stop: int = 3, frame: str = "1h") -> str:
    return CROSS.format(fast=fast, slow=slow, stop=stop, frame=frame)


@dataclass
class Drawing:
    """Draws crossings, breaks one in eight, and says one in eight again that the archive has.

    Parameters
    ----------
    asked : what it was handed, one a call.
    """

    name: str = "drawing"
    version: str = "1"
    asked: list[tuple[Brief, Feedback, int]] = field(default_factory=list)

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        self.asked.append((brief, feedback, n))
        best = next(iter(feedback.archive), None)
        found = []
        for _ in range(n):
            fast, slow, stop, kind = (int(rng.integers(a, b)) for a, b in ((2, 30), (31, 90), (1, 6), (0, 8)))
            parent = best.spec.hash if best is not None and kind % 2 else ""
            text = cross(fast, slow, stop, "4h" if kind == 3 else "1h")
            text = text.replace("atr", "art") if kind == 0 else text
            text = best.spec.canonical() if best is not None and kind == 1 else text
            found.append(Proposal(text, Origin(self.name, self.version, parent)))
        return found


@dataclass
class Saying:
    """Says what it is told, a generation at a time."""

    texts: Sequence[Sequence[str]]
    name: str = "saying"
    version: str = "1"

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        if feedback.generation >= len(self.texts):
            return []
        return [Proposal(text, Origin(self.name, self.version)) for text in self.texts[feedback.generation]]


def held(text: str, among: range, hand: str = "hour") -> set[int]:
    """Return the times at which a condition on one hand of the clock holds, by Python's own reading of its text."""
    found = set()
    for k in among:
        scope: dict[str, Any] = {hand: lambda k=k: k}
        exec(f"told = {text}", scope)
        if scope["told"]:
            found.add(k)
    return found


def bars(n_days: int = 120) -> Bars:
    return worlds.noise(7, n_days * 24).bars


def search(
    folder: Path,
    generator: object,
    over: Bars | None = None,
    *,
    crew: Crew | None = None,
    seed: int = 1,
    batch: int = 24,
) -> Search:
    """Return a search with a ledger of its own in a folder."""
    scorer = Scorer(
        TrialLedger(folder, now=lambda: float(next(_CLOCK))),
        over or bars(),
        Terms(),
        None,
        "search",
        crew=crew or Crew(),
    )
    return Search(Brief(), generator, scorer, seed, batch)  # type: ignore[arg-type]


def rows(folder: Path) -> list[tuple[Trial, bytes]]:
    """Return every trial of a ledger with the bytes of its returns, in order, and without its time."""
    ledger = TrialLedger(folder)
    return [
        (
            replace(record.trial, recorded_s=0.0),
            b"" if not record.n_days else segment.row(record, segment.open_rows()).tobytes(),
        )
        for segment, record in ledger._all()
    ]


def elites(search: Search) -> list[tuple[str, float, object]]:
    """Return what stands in the archive, in order."""
    return [(e.spec.canonical(), e.fitness, e.origin) for e in search.feedback.archive]


def islands(archive: Archive) -> list[list[tuple[str, float, Origin]]]:
    """Return what stands on each island of an archive, in order."""
    return [
        [(e.spec.canonical(), e.fitness, e.origin) for e in archive.island(k)]
        for k in range(archive.n_islands)
    ]
