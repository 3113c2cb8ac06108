"""The archive: the fittest strategy of each way of behaving (MAP-Elites, Mouret and Clune 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from research_lab.dsl.spec import Spec
from research_lab.generators.behaviour import Behaviour
from research_lab.scoring.origin import Origin

_TRADES: Final = (1.0, 4.0, 12.0, 40.0)  # a month
_HOURS: Final = (6.0, 24.0, 96.0, 384.0)
_EXPOSURES: Final = (0.1, 0.3, 0.6)
_CORRELATIONS: Final = (-0.2, 0.2, 0.6)

Niche = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Elite:
    """A strategy that was scored, and what the search made of it.

    Parameters
    ----------
    spec, origin : the strategy and who proposed it.
    fitness : what selection asks for. sharpe : annual, in-sample.
    behaviour : how it trades.
    """

    spec: Spec
    origin: Origin
    fitness: float
    sharpe: float
    behaviour: Behaviour

    @property
    def niche(self) -> Niche:
        """The cell of the map that it competes for."""
        b = self.behaviour
        measured = (b.trades_a_month, b.holding_hours, b.exposure, b.market_correlation)
        borders = (_TRADES, _HOURS, _EXPOSURES, _CORRELATIONS)
        return tuple(sum(v > at for at in edges) for v, edges in zip(measured, borders, strict=True))


class Archive:
    """The elites by niche; the same offers in the same order leave the same archive."""

    def __init__(self) -> None:
        self._elites: dict[Niche, Elite] = {}

    def __len__(self) -> int:
        return len(self._elites)

    def __iter__(self) -> Iterator[Elite]:
        """Return the elites, the fittest first."""
        return iter(sorted(self._elites.values(), key=lambda e: (-e.fitness, e.spec.hash)))

    def offer(self, elite: Elite) -> bool:
        """Take a strategy in where it is fitter than the one in its niche; return whether it was taken."""
        now = self._elites.get(elite.niche)
        if now is not None and now.fitness >= elite.fitness:
            return False
        self._elites[elite.niche] = elite
        return True
