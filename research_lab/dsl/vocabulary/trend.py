"""Trend: its direction and strength, and the lines that trail it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from research_lab.dsl.dimensions import PRICE, RATIO, Dimension
from research_lab.dsl.function import MAX_WINDOW, Argument, Function, K, N, always, pure
from research_lab.engine import program as engine

_SPREAD = "abs(plus_di(n) - minus_di(n))"
_SUM_DI = "(plus_di(n) + minus_di(n))"
_BANDS = ("(high + low) / 2 + k * atr(n)", "(high + low) / 2 - k * atr(n)", "close")
_STOP = ("high", "low", "step", "maximum")
_SHARES = (Argument("step", "share"), Argument("maximum", "share"))
_WINDOWS = (Argument("n_conversion", "window"), Argument("n_base", "window"))
# Where data begin is forgotten once the line has turned a few times, which no number of bars makes certain.
_TURNS = 250


def _with_multiple(dimension: Dimension) -> Callable[[Sequence[Dimension]], Dimension | None]:
    return lambda dimensions: None if pure(dimensions[-1:]) is None else dimension


_BEFORE = Argument("n", "window", most=MAX_WINDOW - 1)  # n bars ago is one of n + 1


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
             (N, K), _with_multiple(PRICE), engine.SUPERTREND, reads=_BANDS, lookback=lambda n: _TURNS,
             constant=lambda n, share: 1.0),
    Function("supertrend_direction", "1 where supertrend lies below price, -1 where above", (N, K),
             _with_multiple(RATIO), engine.SUPERTREND, reads=_BANDS, lookback=lambda n: _TURNS),
    Function("psar", "Wilder's parabolic stop and reverse: the stop that held in the bar", _SHARES,
             always(PRICE), engine.PARABOLIC, reads=_STOP, lookback=lambda n: _TURNS,
             constant=lambda n, share: 1.0),
    Function("psar_direction", "1 where the parabolic lies below price after the bar, -1 where above", _SHARES,
             always(RATIO), engine.PARABOLIC, reads=_STOP, lookback=lambda n: _TURNS),
    Function("ichimoku_conversion", "middle of the range of n bars", (N,), always(PRICE),
             body="donchian_middle(n)"),
    Function("ichimoku_base", "middle of the range of n bars", (N,), always(PRICE), body="donchian_middle(n)"),
    Function("ichimoku_span_a", "middle of conversion and base, of this bar: not shifted forward", _WINDOWS,
             always(PRICE), body="(donchian_middle(n_conversion) + donchian_middle(n_base)) / 2",
             commutative=True),
    Function("ichimoku_span_b", "middle of the range of n bars, of this bar: not shifted forward", (N,),
             always(PRICE), body="donchian_middle(n)"),
)  # fmt: skip
