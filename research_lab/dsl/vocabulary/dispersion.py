"""How far values spread: deviations, ranges and volatilities.

Volatilities are those of one bar of the timeframe, in logarithms of price, with a mean of zero taken for
granted; times the root of the bars in a year they are annual.
"""

from __future__ import annotations

from research_lab.dsl.dimensions import PRICE, RATIO
from research_lab.dsl.function import N2, Function, N, X, always, first, number, product, settling
from research_lab.engine import program as engine

_RANGE = "log(high / low) * log(high / low)"
_BODY = "log(close / open) * log(close / open)"
_RETURN = "log(close / prev(close)) * log(close / prev(close))"

FUNCTIONS = (
    Function("std", "population standard deviation of the last n values", (X, N2), first,
             engine.STD, lookback=lambda n: n - 1),
    Function("var", "population variance of the last n values", (X, N2), lambda d: product((d[0], d[0])),
             body="std(x, n) * std(x, n)"),
    Function("zscore", "deviations that the value lies off the mean of the last n; unknown where all are equal",
             (X, N2), number(RATIO), engine.STD, lookback=lambda n: n - 1, constant=lambda n, share: 1.0),
    Function("mad", "mean absolute deviation of the last n values about their mean", (X, N), first,
             engine.MAD, lookback=lambda n: n - 1),
    # A deviation keeps the root of what its square keeps, so the square must settle twice as long.
    Function("ewm_std", "standard deviation, weight 2 / (n + 1), from the first value", (X, N), first,
             engine.EWM_STD, lookback=lambda n: 2 * settling(2.0 / (n + 1.0), n)),
    Function("true_range", "height of the bar, from the close before where that lies outside", (),
             always(PRICE), engine.TRUE_RANGE, reads=("high", "low", "close"), lookback=lambda n: 1),
    Function("atr", "Wilder's average true range", (N,), always(PRICE), body="rma(true_range(), n)"),
    Function("realised_vol", "root mean square of the last n changes of log close, a bar", (N,), always(RATIO),
             body=f"sqrt(sma({_RETURN}, n))"),
    # Michael Parkinson (1980), The Extreme Value Method for Estimating the Variance of the Rate of Return:
    # the divisor is 4 ln 2.
    Function("parkinson_vol", "volatility of a bar from the highs and lows of the last n", (N,), always(RATIO),
             body=f"sqrt(sma({_RANGE}, n) / 2.772588722239781)"),
    # Mark Garman and Michael Klass (1980), On the Estimation of Security Price Volatilities from Historical
    # Data, their practical estimator: the factor of the body is 2 ln 2 - 1. Jumps between bars are left out.
    Function("garman_klass_vol", "volatility of a bar from open, high, low and close of the last n", (N,),
             always(RATIO), body=f"sqrt(sma(0.5 * ({_RANGE}) - 0.3862943611198906 * ({_BODY}), n))"),
)  # fmt: skip
