"""What a trade costs, and what it is worth after that.

The spread is estimated from high, low and close: F. Abdi and A. Ranaldo (2017), "A simple estimation of bid-ask
spreads from daily close, high, and low prices", Review of Financial Studies 30(12), the two-day corrected
estimator with bars for days. A strategy that declares a series named `spread` reads that instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from research_lab.dsl.dimensions import PRICE, RATIO, Dimension, unify
from research_lab.dsl.function import Argument, Function, N, always, pure

SPREAD = "spread_estimate(32)"  # what `spread` stands for where no series of that name is declared
ROUND_TRIP = "spread + 0.002"  # the spread once and a fee of 0.1 % twice

# A close lies half a spread from the middle of the ranges around it, to the same side of both.
_MIDDLE = "sqrt(high * low)"
_SQUARE = f"4 * log(prev(close) / prev({_MIDDLE})) * log(prev(close) / {_MIDDLE})"


def _after_costs(dimensions: Sequence[Dimension]) -> Dimension | None:
    """A ratio, of two ratios, a distance in price and a ratio."""
    p, reward, stop, cost = dimensions
    fits = all(pure([ratio]) is not None for ratio in (p, reward, cost)) and unify(stop, PRICE) == PRICE
    return RATIO if fits and not stop.zero else None


FUNCTIONS = (
    Function("spread_estimate", "estimate of the spread as a ratio of price, from high, low and close; mean of "
             "the last n", (N,), always(RATIO), body=f"sma(sqrt(max({_SQUARE}, 0)), n)"),
    Function("edge", "R expected of a trade after costs: p * reward - (1 - p) - cost * close / stop; p the "
             "chance of the reward in R, stop the distance in price, cost of a round trip as a ratio of price",
             (Argument("p"), Argument("reward"), Argument("stop", dimension=PRICE), Argument("cost", default=ROUND_TRIP)),
             _after_costs, body="p * reward - (1 - p) - cost * close / stop"),
)  # fmt: skip
