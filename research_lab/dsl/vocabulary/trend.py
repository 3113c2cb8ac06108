"""Trend: its direction and strength, and the lines that trail it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from research_lab.dsl.dimensions import PRICE, RATIO, Dimension
from research_lab.dsl.function import MAX_WINDOW, SETTLED, Argument, Function, K, N, always, pure, settling
from research_lab.engine import program as engine

_SPREAD = "abs(plus_di(n) - minus_di(n))"
_SUM_DI = "(plus_di(n) + minus_di(n))"
_BANDS = ("(high + low) / 2 + k * atr(n)", "(high + low) / 2 - k * atr(n)", "close")
_STOP = ("high", "low", "step", "maximum")
_SHARES = (Argument("step", "share"), Argument("maximum", "share"))
_WINDOWS = (Argument("n_conversion", "window"), Argument("n_base", "window"))
_LONGEST = settling(1.0 / MAX_WINDOW)  # no warm-up of one function is longer
_USUAL = 3.0  # ranges, where their number varies from bar to bar


def _with_multiple(dimension: Dimension) -> Callable[[Sequence[Dimension]], Dimension | None]:
    return lambda dimensions: None if pure(dimensions[-1:]) is None else dimension


_BEFORE = Argument("n", "window", most=MAX_WINDOW - 1)  # n bars ago is one of n + 1


# Where data begin is forgotten once the line has turned, which no number of bars makes certain.


def _supertrend_turning(numbers: Mapping[str, float]) -> int:
    """Return the bars after which a random walk has not fallen k ranges from its height once in a million times.

    The mean range of a bar is sqrt(8 / pi) deviations, so a fall of k takes 8 / pi * k * k bars on average, T; the
    chance that it takes t falls as exp(-pi * pi / 8 * t / T). Source: William Feller (1951), The Asymptotic
    Distribution of the Range of Sums of Independent Random Variables.
    """
    k = _USUAL if math.isnan(numbers["k"]) else abs(numbers["k"])
    bars = -math.log(SETTLED) * 8.0 / math.pi**2 * 8.0 / math.pi * k * k
    return min(math.ceil(bars) + 1, _LONGEST) if math.isfinite(bars) else _LONGEST


def _parabolic_turning(numbers: Mapping[str, float]) -> int:
    """Return the bars after which a stop that never accelerates has come within a millionth of the extreme."""
    weight = min(numbers["step"], numbers["maximum"])
    return min(settling(weight) + 1, _LONGEST) if weight > 1.0 / MAX_WINDOW else _LONGEST


def _one_more(fixed: Mapping[str, float]) -> float:
    return fixed["n"] + 1.0


FUNCTIONS = (
    Function("plus_dm", "Wilder's directional movement up", (), always(PRICE), engine.DIRECTIONAL_MOVE,
             reads=("high", "low"), lookback=lambda n: 1, constant=lambda n, share: 1.0),
    Function("minus_dm", "Wilder's directional movement down", (), always(PRICE),
             engine.DIRECTIONAL_MOVE, reads=("high", "low"), lookback=lambda n: 1,
             constant=lambda n, share: -1.0),
    Function("plus_di", "Wilder's directional indicator up, 0 to 100", (N,), always(RATIO),
             body="100 * rma(plus_dm(), n) / rma(true_range(), n)"),
    Function("minus_di", "Wilder's directional indicator down, 0 to 100", (N,), always(RATIO),
             body="100 * rma(minus_dm(), n) / rma(true_range(), n)"),
    Function("adx", "Wilder's average directional index, 0 to 100", (N,), always(RATIO),
             body=f"rma(if_else({_SUM_DI} > 0, 100 * {_SPREAD} / {_SUM_DI}, 0), n)"),
    Function("aroon_up", "100 for a highest high now, 0 for one n bars ago", (_BEFORE,), always(RATIO),
             body="100 * (n - bars_since_highest(high, n_and_one)) / n", fixed={"n_and_one": _one_more}),
    Function("aroon_down", "100 for a lowest low now, 0 for one n bars ago", (_BEFORE,), always(RATIO),
             body="100 * (n - bars_since_lowest(low, n_and_one)) / n", fixed={"n_and_one": _one_more}),
    Function("aroon", "aroon_up less aroon_down, -100 to 100", (_BEFORE,), always(RATIO),
             body="aroon_up(n) - aroon_down(n)"),
    Function("supertrend", "line that trails price by k average true ranges: below in a rise, above in a fall",
             (N, K), _with_multiple(PRICE), engine.SUPERTREND, reads=_BANDS, turning=_supertrend_turning,
             constant=lambda n, share: 1.0),
    Function("supertrend_direction", "1 where supertrend lies below price, -1 where above", (N, K),
             _with_multiple(RATIO), engine.SUPERTREND, reads=_BANDS, turning=_supertrend_turning),
    Function("psar", "Wilder's parabolic stop and reverse: the stop that held in the bar", _SHARES,
             always(PRICE), engine.PARABOLIC, reads=_STOP, turning=_parabolic_turning,
             constant=lambda n, share: 1.0),
    Function("psar_direction", "1 where the parabolic lies below price after the bar, -1 where above", _SHARES,
             always(RATIO), engine.PARABOLIC, reads=_STOP, turning=_parabolic_turning),
    Function("ichimoku_conversion", "middle of the range of n bars", (N,), always(PRICE),
             body="donchian_middle(n)"),
    Function("ichimoku_base", "middle of the range of n bars", (N,), always(PRICE), body="donchian_middle(n)"),
    Function("ichimoku_span_a", "middle of conversion and base, of this bar: not shifted forward", _WINDOWS,
             always(PRICE), body="(donchian_middle(n_conversion) + donchian_middle(n_base)) / 2",
             commutative=True),
    Function("ichimoku_span_b", "middle of the range of n bars, of this bar: not shifted forward", (N,),
             always(PRICE), body="donchian_middle(n)"),
)  # fmt: skip
