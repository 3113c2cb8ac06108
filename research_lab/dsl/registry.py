"""The registry: every function of the language, once, for parser, types, compiler and documents."""

from __future__ import annotations

from research_lab.dsl.dimensions import BARS, CONDITION, PRICE, RATIO, VOLUME, Dimension
from research_lab.dsl.function import Function
from research_lab.dsl.vocabulary import (
    averages,
    blends,
    calendar,
    candles,
    channels,
    costs,
    dispersion,
    logic,
    momentum,
    order,
    shape,
    statistics,
    trend,
    volume,
)
from research_lab.engine import program as engine

INPUTS: dict[str, tuple[Dimension, str]] = {
    "open": (PRICE, "first price of the bar"),
    "high": (PRICE, "highest price of the bar"),
    "low": (PRICE, "lowest price of the bar"),
    "close": (PRICE, "last price of the bar"),
    "volume": (VOLUME, "volume traded in the bar, base currency"),
    "funding": (RATIO, "last funding rate published before the close; unknown on spot"),
    "premium": (RATIO, "perpetual over spot - 1 at the close; unknown where spot is not given"),
}
# Read by functions of the language only: when the bar closes, ms since 1970, UTC, and its length in ms.
CLOSING_TIME = "closing_time"
BAR_LENGTH = "bar_length"

FAMILIES: dict[str, tuple[Function, ...]] = {
    "averages": averages.FUNCTIONS,
    "dispersion": dispersion.FUNCTIONS,
    "order": order.FUNCTIONS,
    "statistics": statistics.FUNCTIONS,
    "momentum": momentum.FUNCTIONS,
    "trend": trend.FUNCTIONS,
    "channels": channels.FUNCTIONS,
    "volume": volume.FUNCTIONS,
    "logic": logic.FUNCTIONS,
    "shape": shape.FUNCTIONS,
    "blends": blends.FUNCTIONS,
    "calendar": calendar.FUNCTIONS,
    "candles": candles.FUNCTIONS,
    "costs": costs.FUNCTIONS,
}
FUNCTIONS: dict[str, Function] = {f.name: f for family in FAMILIES.values() for f in family}

# What is evaluated on other bars than the strategy's; the first argument is text.
CLOCKS: dict[str, str] = {"tf": 'tf("4h", x)', "on": 'on("BTC/USDT", x)'}
# What is told of a calendar of events that the strategy declares.
EVENT_FUNCTIONS: dict[str, str] = {
    "hours_since": "hours since the last event, 0 at it",
    "hours_to": "hours to the next event that is known of, 0 at it",
}
# What is read of a model that the strategy declares; its argument is text.
MODEL_FORM = 'model("name")'
MODEL_MEANING = "score of a model, made from what was known before; unknown where it is missing or old"
SERIES_KINDS: dict[str, Dimension] = {
    "ratio": RATIO,
    "price": PRICE,
    "volume": VOLUME,
    "bars": BARS,
    "condition": CONDITION,
}

OPERATOR_CODES: dict[str, int] = {
    "add": engine.ADD,
    "subtract": engine.SUBTRACT,
    "multiply": engine.MULTIPLY,
    "divide": engine.DIVIDE,
    "negate": engine.NEGATE,
    "less": engine.LESS,
    "less_equal": engine.LESS_EQUAL,
    "equal": engine.EQUAL,
    "and": engine.AND,
    "or": engine.OR,
    "not": engine.NOT,
}
