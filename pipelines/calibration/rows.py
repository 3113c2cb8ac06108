"""The rows of the calibration: kinds of worlds whose truth is known, how many of each, and what is wanted.

A *Sharpe of s* means: the planted strategy with its true parameters earns s a year after costs, over all bars
but the forward ones. Its parameters are drawn anew in each world, and the campaign does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.gates.policy import Policy
from research_lab.bars import DAY_MS, HOUR_MS, Bars
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_spec
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError
from research_lab.market_data import null_worlds
from research_lab.market_data.planted import Plan, planted_by

STRATEGIES: Final = Path(__file__).parent / "strategies"
EDGES: Final = ("momentum", "reversion", "breakout", "loud_momentum", "crowding")
TEMPTED: Final = {"drifting": ("uptrend",), "seasonal": ("season",)}  # who gains most by what is no edge
N_PROPOSED: Final = 4  # strategies a campaign proposes
N_FIRST_LOOKS: Final = (
    750  # parameter sets looked at before any strategy is tuned: about 1,000 a world in all
)
HOURS_A_YEAR: Final = 8_760
YEARS_AFTERWARDS: Final = 3  # after a promotion, until somebody notices that the edge is gone
_FIRST_SEED: Final = 900_000  # limits were chosen on worlds of other seeds
_N_SEEDS_TRIED: Final = 20
_MARKETS_APART: Final = 10_000_000  # seeds of the markets of one pool


@dataclass(frozen=True)
class Target:
    """What is wanted of a row: at most, or at least, a share of its worlds promoted.

    Parameters
    ----------
    share : of the worlds. of_bound : the share is that of what the bound finds.
    """

    share: float
    sense: str
    of_bound: bool = False


@dataclass(frozen=True)
class Row:
    """One kind of worlds.

    Parameters
    ----------
    name, words : for commands and for people.
    n_markets : more than one are examined as a pool; an edge is planted in each, with the same parameters.
    n_worlds : of the whole table.
    years : of hours in research and holdout.
    sharpe : planted; 0 where there is no edge.
    target : None for figures that are published beside the bound.
    dies : where the edge ends: "holdout", where that begins, and it is measured before; "promotion", after the
        holdout; "" never.
    """

    name: str
    words: str
    n_worlds: int
    years: int = 4
    sharpe: float = 0.0
    target: Target | None = None
    dies: str = ""
    n_markets: int = 1

    @property
    def has_edge(self) -> bool:
        return self.sharpe > 0.0

    @property
    def n_bars(self) -> int:
        """Hours of research and holdout."""
        return self.years * HOURS_A_YEAR


NULL: Final = Target(1 / 300, "<=")
ROWS: Final = (
    Row("clustered", "no edge: volatility clusters, tails are fat", 300, target=NULL),
    Row("resampled", "no edge: blocks of real candles, upright or upside down", 300, target=NULL),
    Row("drifting", "no edge: a strong drift that only holding deserves", 300, target=NULL),
    Row("seasonal", "no edge: a season of luck in the research", 300, target=NULL),
    Row("edge_3", "Sharpe 3, 4 years", 200, sharpe=3.0, target=Target(0.95, ">=")),
    Row("edge_2.5", "Sharpe 2.5, 4 years", 200, sharpe=2.5, target=Target(0.80, ">=")),
    Row("edge_2", "Sharpe 2, 4 years", 200, sharpe=2.0, target=Target(0.75, ">=", of_bound=True)),
    Row("edge_1.5", "Sharpe 1.5, 4 years", 100, sharpe=1.5, target=Target(0.75, ">=", of_bound=True)),
    Row("edge_2_6y", "Sharpe 2, 6 years", 100, 6, 2.0, Target(0.75, ">=", of_bound=True)),
    Row("edge_2_8y", "Sharpe 2, 8 years", 100, 8, 2.0, Target(0.75, ">=", of_bound=True)),
    Row("edge_1.5_6y", "Sharpe 1.5, 6 years", 100, 6, 1.5, Target(0.75, ">=", of_bound=True)),
    Row("edge_1.5_8y", "Sharpe 1.5, 8 years", 100, 8, 1.5, Target(0.75, ">=", of_bound=True)),
    Row("dying", "Sharpe 3 in the research, nothing after", 100, 4, 3.0, Target(0.05, "<="), "holdout"),
    Row("fading", "Sharpe 3 until the promotion, nothing after", 100, 4, 3.0, None, "promotion"),
    Row("pooled_noise", "no edge: four markets as a pool", 100, target=NULL, n_markets=4),
    Row("pooled_1", "Sharpe 1 on each of four markets, 4 years", 100, sharpe=1.0,
        target=Target(0.75, ">=", of_bound=True), n_markets=4),
)  # fmt: skip
QUICK: Final = {"clustered": 100, "edge_3": 100, "edge_2": 100}


@dataclass(frozen=True, eq=False)
class Made:
    """One world of a row.

    Parameters
    ----------
    bars : with the forward days at their end; of the first market of a pool, whose others are `beside`.
    proposals : what the campaign examines.
    planted : name of the oracle and its parameters; empty without an edge. oracle_sharpe : what it earns.
    afterwards : the same bars and those of three more years; None where nobody looks at them.
    """

    bars: Bars
    proposals: tuple[Spec, ...]
    planted: str = ""
    values: Mapping[str, float] | None = None
    oracle_sharpe: float = 0.0
    afterwards: Bars | None = None
    beside: tuple[Bars, ...] = ()


@cache
def strategies() -> dict[str, Spec]:
    """Return the strategies that campaigns propose, and edges are planted with, by name."""
    return {spec.name: spec for spec in (load_spec(path) for path in sorted(STRATEGIES.glob("*.yaml")))}


def first_looks(proposals: Sequence[Spec], number: int) -> list[Spec]:
    """Return parameter sets drawn at random, no two alike, that somebody looks at before anything is tuned.

    Strategies take turns; one that has no other sets left leaves its turns to the others. All are counted.
    """
    random = np.random.default_rng([_FIRST_SEED, number, N_FIRST_LOOKS])
    drawn = [[(spec, k) for k in random.permutation(spec.n_combinations)] for spec in proposals]
    turns = chain.from_iterable(zip_longest(*drawn))
    return [_nth_set(*looked_at) for looked_at in islice(filter(None, turns), N_FIRST_LOOKS)]


def _nth_set(spec: Spec, k: int) -> Spec:
    """Return the k-th of all parameter sets of a strategy."""
    places = np.unravel_index(k, [len(param.values) for param in spec.params.values()])
    return spec.bind(
        {name: float(param.values[i]) for (name, param), i in zip(spec.params.items(), places, strict=True)}
    )


def row_named(name: str) -> Row | None:
    """Return the row of a name."""
    return next((row for row in ROWS if row.name == name), None)


def make(row: Row, number: int, policy: Policy, terms: Terms, real: Bars | None = None) -> Made:
    """Return one world of a row.

    Parameters
    ----------
    number : counted from 0; edges take turns with it.
    terms : costs of the planted strategy.
    real : candles that `resampled` draws from.

    Raises
    ------
    InsufficientError
        `resampled` without candles, or an edge that cannot be planted.
    """
    seed = _FIRST_SEED + number
    n = row.n_bars + policy.zones.forward_days * DAY_MS // HOUR_MS
    if row.has_edge:
        return _planted(row, number, n, policy, terms)
    n_research = round(row.n_bars * (1.0 - policy.zones.holdout_share))
    if row.n_markets > 1:
        tables = [null_worlds.clustered(seed + k * _MARKETS_APART, n).bars for k in range(row.n_markets)]
        return Made(tables[0], _proposals((), seed), beside=_named(tables))
    makers: dict[str, Callable[[], Bars]] = {
        "clustered": lambda: null_worlds.clustered(seed, n).bars,
        "drifting": lambda: null_worlds.drifting(seed, n).bars,
        "seasonal": lambda: null_worlds.seasonal(seed, n, n_research).bars,
        "resampled": lambda: null_worlds.resampled(_given(real), seed, n).bars,
    }
    return Made(makers[row.name](), _proposals(TEMPTED.get(row.name, ()), seed))


def _given(real: Bars | None) -> Bars:
    if real is None:
        raise InsufficientError("no real candles", "resampled", "name a file of hours with --real")
    return real


def _planted(row: Row, number: int, n: int, policy: Policy, terms: Terms) -> Made:
    """Plant a strategy with drawn parameters; where no drift gives the Sharpe ratio, draw others."""
    template = strategies()[EDGES[number % len(EDGES)]]
    random = np.random.default_rng([_FIRST_SEED, number])
    n_research = round(row.n_bars * (1.0 - policy.zones.holdout_share))
    until = {"": None, "holdout": n_research, "promotion": row.n_bars}[row.dies]
    plan = Plan(row.sharpe, 0, row.n_bars if until is None else until, until)
    n_all = n + YEARS_AFTERWARDS * HOURS_A_YEAR if row.dies == "promotion" else n
    for attempt in range(_N_SEEDS_TRIED):
        spec = template.bind({name: float(random.choice(p.values)) for name, p in template.params.items()})
        seeds = [_FIRST_SEED + 1_000 * attempt + number + k * _MARKETS_APART for k in range(row.n_markets)]
        try:
            worlds = [planted_by(compile_spec(spec), terms, seed, n_all, plan) for seed in seeds]
        except InsufficientError:
            continue
        first = worlds[0]
        return Made(
            first.bars.window(0, n),
            _proposals((template.name,), _FIRST_SEED + number),
            template.name,
            spec.values,
            first.oracle_sharpe,
            first.bars if n_all > n else None,
            _named([world.bars.window(0, n) for world in worlds]),
        )
    raise InsufficientError(f"{template.name} could not be planted", row.name, "plant a weaker edge")


def _named(tables: Sequence[Bars]) -> tuple[Bars, ...]:
    """Return the markets of a pool beside the first, each with a symbol of its own."""
    return tuple(
        replace(bars, market=replace(bars.market, symbol=f"MADE{k}/USDT"))
        for k, bars in enumerate(tables[1:], start=1)
    )


def _proposals(first: Sequence[str], seed: int) -> tuple[Spec, ...]:
    """Return the strategies that a campaign proposes: those named and others, in an order of chance."""
    random = np.random.default_rng([seed, N_PROPOSED])
    others = [name for name in strategies() if name not in first]
    names = [*first, *random.permutation(others)[: N_PROPOSED - len(first)].tolist()]
    return tuple(strategies()[name] for name in random.permutation(names).tolist())
