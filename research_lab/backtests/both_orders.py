"""A backtest as an interval: candles do not tell whether stop or take came first inside a bar.

The result is the pessimistic run, in which a bar that reaches both is the stop's. The optimistic run says how
much hangs on that. A strategy without takes has one order only, and is run once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from research_lab.engine import layout
from research_lab.engine.backtest import Backtest, Tape, backtest
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import Compiled
from research_lab.engine.terms import Terms


@dataclass(frozen=True, eq=False)
class BothOrders:
    """What a strategy did under both orders.

    The optimistic return is not always the higher one: after another exit other trades follow.
    """

    pessimistic: Backtest
    optimistic: Backtest

    @property
    def returns(self) -> tuple[float, float]:
        """Returns after costs: stops first, then takes first."""
        return self.pessimistic.metrics["return"], self.optimistic.metrics["return"]

    def apart(self, metric: str) -> float:
        """Return the optimistic metric less the pessimistic one; 0 where they differ by rounding only."""
        gap = self.optimistic.metrics[metric] - self.pessimistic.metrics[metric]
        return 0.0 if abs(gap) < 1e-12 else gap

    def __str__(self) -> str:
        first, second = self.returns
        return f"return {100 * first:.2f} % with stops first, {100 * second:.2f} % with takes first"


def run(
    strategy: Compiled, tape: Tape, terms: Terms, *, regime: FloatArray | None = None, start: int = 0
) -> BothOrders:
    """Run a strategy over a tape under both orders; parameters as for `engine.backtest.backtest`."""
    runs = [
        backtest(strategy, tape, replace(terms, optimistic=flag), regime=regime, start=start)
        for flag in ((False, True) if strategy.plan[layout.N_TAKES] else (False,))
    ]
    return BothOrders(runs[0], runs[-1])
