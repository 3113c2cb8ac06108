"""The archive: the fittest strategy of each way of behaving, on several islands.

A map of elites (J.-B. Mouret, J. Clune 2015, "Illuminating search spaces by mapping elites"): strategies compete only
with those that trade alike. Each island has a map of its own and is visited by the best of its neighbour now and
then, so that one early success does not become everybody's ancestor. No island keeps two strategies that are one by
behaviour: the fitter one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.generators.behaviour import TWINS, Behaviour, Signal, correlations
from research_lab.scoring.origin import Origin

N_ISLANDS: Final = 4
ALIKE: Final = 0.7  # correlation of signals above which two finalists would be one idea
_AT_HOME: Final = 0.5  # share of a strategy's days in one regime that makes it a strategy of that regime

Niche = tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """A way in which strategies differ, and the borders between its cells, in its unit."""

    name: str
    borders: tuple[float, ...]


AXES: Final = (
    Axis("trades a month", (1.0, 4.0, 12.0, 40.0)),
    Axis("hours held", (6.0, 24.0, 96.0, 384.0)),
    Axis("exposure", (0.1, 0.3, 0.6)),
    Axis("correlation with holding", (-0.2, 0.2, 0.6)),
)


@dataclass(frozen=True, eq=False)
class Elite:
    """A strategy that was scored, and what the search made of it.

    Parameters
    ----------
    spec, origin : the strategy and who proposed it.
    fitness : what selection asks for. sharpe : annual, in-sample.
    behaviour : how it trades. signal : the sign of its position, see `behaviour.signal_of`; None where not asked for.
    """

    spec: Spec
    origin: Origin
    fitness: float
    sharpe: float
    behaviour: Behaviour
    signal: Signal | None = None

    @property
    def niche(self) -> Niche:
        """The cell of the map that it competes for; the last number is the regime it is at home in, 0 for none."""
        b = self.behaviour
        measured = (b.trades_a_month, b.holding_hours, b.exposure, b.market_correlation)
        home = next((code for code, share in enumerate(b.regimes, start=1) if share > _AT_HOME), 0)
        return (*(sum(v > at for at in axis.borders) for v, axis in zip(measured, AXES, strict=True)), home)

    @property
    def rank(self) -> tuple[float, str]:
        """What the fittest has least of; ties are broken by hash."""
        return -self.fitness, self.spec.hash


class Archive:
    """The elites by island and niche.

    The same offers in the same order leave the same archive. Among strategies that are no twins, the order of offers
    to one island does not count.

    Parameters
    ----------
    n_islands : maps that are kept apart.
    """

    def __init__(self, n_islands: int = N_ISLANDS) -> None:
        self._islands: list[dict[Niche, Elite]] = [{} for _ in range(n_islands)]
        self._distinct: list[Elite] | None = None

    def __len__(self) -> int:
        return len(self.distinct)

    def __iter__(self) -> Iterator[Elite]:
        """Return the elites of all islands, the fittest first, none twice by text or by behaviour."""
        return iter(self.distinct)

    @property
    def distinct(self) -> Sequence[Elite]:
        """The elites of all islands, the fittest first, none twice by text or by behaviour."""
        if self._distinct is None:
            everyone = sorted((e for island in self._islands for e in island.values()), key=lambda e: e.rank)
            self._distinct = _unlike(everyone, TWINS)
        return self._distinct

    @property
    def fittest(self) -> list[Elite]:
        """The fittest of each niche over all islands, the fittest first; what an archive is to people."""
        found: dict[Niche, Elite] = {}
        for elite in self.distinct:
            found.setdefault(elite.niche, elite)
        return list(found.values())

    @property
    def n_islands(self) -> int:
        return len(self._islands)

    def island(self, k: int) -> list[Elite]:
        """Return the elites of one island, the fittest first."""
        return sorted(self._islands[k].values(), key=lambda e: e.rank)

    def offer(self, elite: Elite, signal: Callable[[], Signal] | None = None) -> bool:
        """Take a strategy in where it is fitter than the one in its niche; return whether it was taken.

        It goes to the island of its first parent, or to one that its hash names.

        Parameters
        ----------
        signal : gives the elite's signal; asked only when everything else speaks for it.
        """
        return self.put(elite, self.home(elite), signal)

    def home(self, elite: Elite) -> int:
        """Return the island that a strategy belongs to."""
        parents = elite.origin.parent.split()
        for k, island in enumerate(self._islands):
            if parents and any(other.spec.hash == parents[0] for other in island.values()):
                return k
        return int(elite.spec.hash[:8], 16) % self.n_islands

    def put(self, elite: Elite, k: int, signal: Callable[[], Signal] | None = None) -> bool:
        """Offer a strategy to one island; see `offer`."""
        island = self._islands[k]
        now = island.get(elite.niche)
        if now is not None and now.rank <= elite.rank:
            return False
        if any(other.spec.hash == elite.spec.hash and other.rank <= elite.rank for other in island.values()):
            return False
        if elite.signal is None and signal is not None:
            elite = replace(elite, signal=signal())
        others = list(island.values())
        alike = _table([elite], others)[0] > TWINS
        twins = [
            o for o, is_alike in zip(others, alike, strict=True) if is_alike or o.spec.hash == elite.spec.hash
        ]
        if any(twin.rank <= elite.rank for twin in twins):
            return False
        for twin in twins:
            del island[twin.niche]
        island[elite.niche] = elite
        self._distinct = None
        return True

    def migrate(self) -> None:
        """Let the best of each island visit the next one, in a ring, all at once."""
        best = [min(island.values(), key=lambda e: e.rank, default=None) for island in self._islands]
        for k, elite in enumerate(best):
            if elite is not None:
                self.put(elite, (k + 1) % self.n_islands)

    def finalists(
        self, n: int, alike: float = ALIKE, suits: Callable[[Elite], bool] = lambda elite: True
    ) -> list[Elite]:
        """Return the n fittest that are not one idea: by template, and by signal.

        Parameters
        ----------
        alike : correlation of signals above which the fitter one speaks for both.
        suits : whether one is asked for at all.
        """
        kept: list[Elite] = []
        families: set[str] = set()
        for elite in self.distinct:
            if len(kept) == n:
                break
            if elite.spec.template_hash in families or not suits(elite):
                continue
            if not (_table([elite], kept) > alike).any():
                kept.append(elite)
            families.add(elite.spec.template_hash)
        return kept


def _unlike(elites: Sequence[Elite], limit: float) -> list[Elite]:
    """Return those that no earlier one is equal to, or moves with beyond a limit."""
    alike = _table(elites, elites) > limit
    kept: list[int] = []
    hashes: set[str] = set()
    for k, elite in enumerate(elites):
        if elite.spec.hash not in hashes and not alike[k, kept].any():
            kept.append(k)
            hashes.add(elite.spec.hash)
    return [elites[k] for k in kept]


def _table(ones: Sequence[Elite], others: Sequence[Elite]) -> FloatArray:
    """Return the correlations of signals (n_ones, n_others), 0 where one is not known; all have one length."""
    found = np.zeros((len(ones), len(others)))
    known = [[k for k, e in enumerate(elites) if e.signal is not None] for elites in (ones, others)]
    signals = [[e.signal for e in elites if e.signal is not None] for elites in (ones, others)]
    if all(known):
        found[np.ix_(*known)] = correlations(*signals)
    return found
