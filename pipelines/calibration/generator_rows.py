"""The rows that measure generators: worlds whose truth is known, who searches in them, and for how many looks.

Unlike in `rows`, nobody proposes the planted strategy: it is to be found. Its parameters are drawn anew in each
world, its kind takes turns, and what searches knows neither; nor does it know that something is planted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.calibration.rows import HOURS_A_YEAR, strategies
from pipelines.gates.policy import Policy
from research_lab.bars import DAY_MS, HOUR_MS, Bars
from research_lab.dsl.registry import INPUTS
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError
from research_lab.generators.brief import Brief
from research_lab.market_data import null_worlds
from research_lab.market_data.planted import Plan, planted_together

KINDS: Final = ("momentum", "reversion", "breakout", "crowding", "weekly")
FIRST_SEED: Final = 900_000  # how many finalists, and all else that was chosen, was chosen on other seeds
YEARS: Final = 6
N_FINALISTS: Final = 3
_N_TRIES: Final = 20
_TRIES_APART: Final = 1_000_000
_DRAWN_BY: Final = 26  # stream of the planted parameters

# What anybody would ask for who has hours of a perpetual: all that they have, on both sides.
BRIEF: Final = Brief(
    goal="an edge on the hours of a perpetual, long or short",
    timeframes=("1h", "4h"),
    sides=("long", "short", "both"),
    inputs=tuple(name for name in INPUTS if name != "premium"),
)


@dataclass(frozen=True)
class GeneratorRow:
    """One kind of worlds, and who searches in them.

    Parameters
    ----------
    name, words : for commands and for people. generator : "evolve" or "grammar".
    n_worlds : of the whole table.
    n_looks : parameter sets that a campaign scores in all, those of its finalists' tuning and stresses included.
    sharpe : of each planted strategy, a year after costs, over `years`; 0 where there is no edge.
    kinds : of edges that take turns; `together`: they are all planted in each world.
    wanted : at least this share of worlds promotes something; of worlds without an edge at most this share
        does; where all kinds are in one world, at least so many of them are found. None: published.
    """

    name: str
    words: str
    generator: str
    n_worlds: int
    n_looks: int = 2_000
    n_finalists: int = N_FINALISTS
    sharpe: float = 0.0
    kinds: tuple[str, ...] = KINDS
    together: bool = False
    wanted: float | None = None
    years: int = YEARS

    @property
    def n_bars(self) -> int:
        """Hours of research and holdout."""
        return self.years * HOURS_A_YEAR


ROWS: Final = (
    GeneratorRow("edge_evolution", "Sharpe 3, 6 years: evolution", "evolve", 100, sharpe=3.0, wanted=0.8),
    GeneratorRow("edge_evolution_1000", "Sharpe 3, 6 years: evolution, 1,000 looks", "evolve", 100, 1_000, sharpe=3.0),
    GeneratorRow("edge_grammar", "Sharpe 3, 6 years: random grammar", "grammar", 100, sharpe=3.0),
    GeneratorRow("five_evolution", "five edges in one world: evolution", "evolve", 20, 20_000, sharpe=3.0,
                 together=True, wanted=4),
    GeneratorRow("five_grammar", "five edges in one world: random grammar", "grammar", 20, 20_000, sharpe=3.0,
                 together=True),
    GeneratorRow("noise_evolution", "no edge: evolution", "evolve", 100, wanted=0.01),
    GeneratorRow("noise_grammar", "no edge: random grammar", "grammar", 100, wanted=0.01),
)  # fmt: skip
QUICK: Final = {"edge_evolution": 10, "edge_evolution_1000": 10, "edge_grammar": 10, "noise_evolution": 10}


@dataclass(frozen=True, eq=False)
class Hidden:
    """One world, and what is hidden in it: oracles by kind, and what each earns a year."""

    bars: Bars
    oracles: Mapping[str, Spec]
    sharpes: Mapping[str, float]


def row_named(name: str) -> GeneratorRow | None:
    """Return the row of a name."""
    return next((row for row in ROWS if row.name == name), None)


def make(
    row: GeneratorRow, number: int, policy: Policy, terms: Terms, first_seed: int = FIRST_SEED
) -> Hidden:
    """Return one world of a row, with the forward days at its end.

    Rows that differ in their generator only have the same worlds.

    Parameters
    ----------
    number : counted from 0; kinds take turns with it. terms : costs of the planted strategies.

    Raises
    ------
    InsufficientError
        An edge cannot be planted, whatever its parameters.
    """
    seed = first_seed + number
    n = row.n_bars + policy.zones.forward_days * DAY_MS // HOUR_MS
    if row.sharpe == 0.0:
        return Hidden(null_worlds.clustered(seed, n).bars, {}, {})
    kinds = row.kinds if row.together else (row.kinds[number % len(row.kinds)],)
    for attempt in range(_N_TRIES):
        random = np.random.default_rng([seed, attempt, _DRAWN_BY])
        oracles = {kind: _drawn(strategies()[kind], random) for kind in kinds}
        plans = [Plan(row.sharpe, 0, row.n_bars)] * len(kinds)
        compiled = [compile_spec(spec) for spec in oracles.values()]
        try:
            found = planted_together(compiled, terms, seed + attempt * _TRIES_APART, n, plans)
        except InsufficientError:
            continue
        if min(found.strengths) > 0.0:  # each has an edge of its own, and does not live on another's
            return Hidden(found.bars, oracles, dict(zip(kinds, found.sharpes, strict=True)))
    raise InsufficientError(f"{', '.join(kinds)} could not be planted", row.name, "plant weaker edges")


def _drawn(template: Spec, random: np.random.Generator) -> Spec:
    return template.bind({name: float(random.choice(p.values)) for name, p in template.params.items()})
