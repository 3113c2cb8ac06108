"""Leave one market out: are parameters tuned on the others of a pool worth anything on one that they never saw.

The search is done anew for each market, with the pool's protocol, on the returns of the others alone. Parameter
sets that were tried before are known and cost nothing, a grid is known whole; a set that is asked for the
first time is a look at every market of the pool, and counted there, so that the family has its pooled column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from research_lab.dsl.spec import Spec
from research_lab.scoring.pooled_scorer import PooledScorer, daily_metrics
from research_lab.validation.tuning import Protocol, choose_on_plateau


@dataclass(frozen=True)
class LeftOut:
    """One market, judged with the parameters that the others gave.

    Parameters
    ----------
    symbol : the market's. values : tuned without it.
    inside_sharpe : a year, of the others with these parameters.
    sharpe, total_return, n_trades : on the market left out, all its research days; a Sharpe ratio of 0 where it
        never moved.
    """

    symbol: str
    values: dict[str, float]
    inside_sharpe: float
    sharpe: float
    total_return: float
    n_trades: int


def leave_one_out(
    template: Spec,
    scorer: PooledScorer,
    protocol: Protocol,
    progress: Callable[[str], None] = lambda symbol: None,
) -> list[LeftOut]:
    """Return what each market is worth with parameters tuned on the others; none of a pool of one.

    Parameters
    ----------
    progress : told the symbol of each market before it is left out.
    """
    found = []
    for market in scorer.members if len(scorer.members) > 1 else ():
        symbol = market.bars.market.charged_to
        progress(symbol)
        chosen, _ = choose_on_plateau(template, scorer.without(market), protocol)
        outside = market.score([chosen.spec])[0]
        worth = daily_metrics(outside.daily)
        sharpe = worth["sharpe"] if math.isfinite(worth["sharpe"]) else 0.0
        found.append(
            LeftOut(
                symbol,
                chosen.spec.values,
                chosen.sharpe(),
                sharpe,
                worth["return"],
                int(outside.metrics["n_trades"]),
            )
        )
    return found
