"""The other side of the market: a condition that says of falls what another says of rises.

Prices are reflected, p to 1 / p, and with them whatever follows their direction: highs become lows, a rise becomes a
fall, rsi becomes 100 - rsi, a rate of funding changes its sign. What has no direction (volume, ranges, hours) stays
as it is. Most of what moves a market both ways is found with half the looks when one condition writes both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from research_lab.dsl.dimensions import PRICE
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.tree import Node, constant
from research_lab.errors import DimensionError
from research_lab.generators.nodes import arithmetic, call, given, negative, number

EVEN, ODD, LEVEL = "even", "odd", "level"


@dataclass(frozen=True, slots=True)
class _Image:
    """What a value becomes: offset + image, or offset - image where it turns; a level turns like -image.

    Parameters
    ----------
    kind : EVEN stays, ODD changes its sign, LEVEL is a price: two of them are compared the other way round.
    """

    kind: str
    node: Node
    offset: float = 0.0


_PAIRS: Final = {
    "highest": "lowest", "bars_since_highest": "bars_since_lowest", "min": "max",
    "plus_dm": "minus_dm", "plus_di": "minus_di", "aroon_up": "aroon_down",
    "bollinger_upper": "bollinger_lower", "keltner_upper": "keltner_lower",
    "donchian_upper": "donchian_lower", "upper_wick": "lower_wick",
    "crosses_above": "crosses_below",
}  # fmt: skip
_OTHER: Final = {**_PAIRS, **{b: a for a, b in _PAIRS.items()}}
_INPUTS: Final = {
    "open": (LEVEL, "open"), "high": (LEVEL, "low"), "low": (LEVEL, "high"), "close": (LEVEL, "close"),
    "volume": (EVEN, "volume"), "funding": (ODD, "funding"), "premium": (ODD, "premium"),
}  # fmt: skip
# What they give turns as what they are given does.
_FOLLOWS: Final = frozenset({
    "sma", "ema", "rma", "wma", "hma", "kama", "vwma", "linreg", "intercept", "median", "prev",
    "bollinger_middle", "coalesce", "confirmed", "running_sum", "day_sum", "sum", "highest", "lowest", "min", "max",
    "bollinger_upper", "bollinger_lower", "quantile",
})  # fmt: skip
# Of a level they tell its direction, whose sign changes.
_DIRECTION: Final = frozenset({
    "change", "slope", "macd", "macd_signal", "macd_histogram", "roc", "log_return", "zscore", "tsi", "skew", "sign",
})  # fmt: skip
# Without arguments that turn: their own direction.
_OF_THEMSELVES: Final = {
    **dict.fromkeys(("body", "gap", "cci", "cmf", "money_flow_volume", "obv", "accumulation_distribution",
                     "aroon", "supertrend_direction", "psar_direction"), (ODD, 0.0)),
    **dict.fromkeys(("supertrend", "psar", "typical_price", "vwap", "vwap_day", "donchian_middle",
                     "ichimoku_conversion", "ichimoku_base", "ichimoku_span_a", "ichimoku_span_b",
                     "keltner_upper", "keltner_lower", "donchian_upper", "donchian_lower"), (LEVEL, 0.0)),
    **dict.fromkeys(("stochastic_k", "stochastic_d", "mfi"), (ODD, 100.0)),
    "williams_r": (ODD, -100.0),
}  # fmt: skip
_BETWEEN: Final = {"rsi": 100.0, "bollinger_percent_b": 1.0}  # of a level: the sum of both ends
_OF_PAIRS: Final = frozenset({"correlation", "covariance", "beta"})


def mirrored(condition: Node) -> Node | None:
    """Return the condition that holds in the reflected market where this one holds in the market.

    Returns
    -------
    Node or None
        None where something in it has no reflection known here.

    Examples
    --------
    >>> from research_lab.dsl.expressions import Scope, parse_expression
    >>> print(mirrored(parse_expression("close > prev(highest(high, 20)) and rsi(14) < 70", Scope())).text)
    30 < rsi(close, 14) and close < prev(lowest(low, 20), 1)
    """
    try:
        return _condition(condition)
    except DimensionError:
        return None


def _condition(node: Node) -> Node | None:
    if node.op in ("less", "less_equal", "equal", "crosses_above", "crosses_below", "crosses"):
        return _comparison(node)
    images = [_condition(arg) if arg.dimension.condition else _plain(arg) for arg in node.args]
    if any(image is None for image in images):
        return None
    args = tuple(image for image in images if image is not None)
    return Node(node.op, args, node.dimension, node.value)


def _plain(node: Node) -> Node | None:
    """Return the image of a number that does not turn; None of one that does."""
    image = _image(node)
    return image.node if image is not None and image.kind == EVEN and not image.offset else None


def _comparison(node: Node) -> Node | None:
    sides = [_image(arg) for arg in node.args]
    if sides[0] is None or sides[1] is None:
        return None
    left, right = sides[0], sides[1]
    turns = [side.kind != EVEN for side in (left, right)]
    if not any(turns):
        return _said(node, left.node, right.node)
    if all(turns):
        gap = right.offset - left.offset
        return _turned(node, left.node, right.node) if not gap else None
    # offset - image stands against what does not turn: image stands the other way against offset - that.
    if turns[0]:
        return _turned(node, left.node, _less(left.offset, right.node))
    return _turned(node, _less(right.offset, left.node), right.node)


def _said(node: Node, left: Node, right: Node) -> Node:
    return Node(node.op, (left, right), node.dimension)


def _turned(node: Node, left: Node, right: Node) -> Node:
    """Return the comparison of two values whose signs both changed."""
    if node.op in _OTHER:
        return Node(_OTHER[node.op], (left, right), node.dimension)
    return Node(node.op, (right, left), node.dimension)


def _less(offset: float, node: Node) -> Node:
    """Return offset - node, without two signs in a row."""
    if not offset:
        return node.args[0] if node.op == "negate" else negative(node)
    if node.op == "constant":
        return number(offset - float(node.value or 0.0))
    if node.op == "subtract" and node.args[0] == constant(offset):
        return node.args[1]
    return arithmetic("subtract", constant(offset), node)


def _image(node: Node) -> _Image | None:
    """Return what a number becomes; None where that is not known."""
    if node.op in ("constant", "param"):
        return _Image(EVEN, node)
    if node.op == "input":
        kind = _INPUTS.get(str(node.value))
        return None if kind is None else _Image(kind[0], given(kind[1]))
    if node.op == "on":
        return None
    if node.op == "tf":
        inner = _image(node.args[0])
        return inner and _Image(
            inner.kind, Node("tf", (inner.node,), node.dimension, node.value), inner.offset
        )
    if node.op in _ARITHMETIC:
        images = [_image(arg) for arg in node.args]
        if any(image is None for image in images):
            return None
        return _ARITHMETIC[node.op](node.op, *images)
    return _image_of_call(node)


def _image_of_call(node: Node) -> _Image | None:
    name = node.op
    images = [_Image(EVEN, c) if c is not None else None for c in map(_condition_or_none, node.args)]
    images = [
        image if arg.dimension.condition else _image(arg)
        for image, arg in zip(images, node.args, strict=True)
    ]
    known = [image for image in images if image is not None]
    if len(known) < len(images):
        return None
    args = [image.node for image in known]
    if name in _OF_THEMSELVES:
        kind, offset = _OF_THEMSELVES[name]
        return _Image(kind, call(_OTHER.get(name, name), *args), offset)
    if name in _OTHER and not known:
        return _Image(EVEN, call(_OTHER[name]))
    if name in ("plus_di", "minus_di", "aroon_up", "aroon_down"):
        return _Image(EVEN, call(_OTHER[name], *args))
    if name == "if_else":
        return _Image(known[1].kind, call(name, *args)) if _alike(known[1], known[2]) else None
    if name in _OF_PAIRS:
        odd = (known[0].kind != EVEN) != (known[1].kind != EVEN)
        return None if known[0].offset or known[1].offset else _Image(ODD if odd else EVEN, call(name, *args))
    first = known[0] if known else None
    if first is None or first.kind == EVEN:
        return (
            _Image(EVEN, call(name, *args)) if all(i.kind == EVEN and not i.offset for i in known) else None
        )
    return _image_of_turning(name, first, known, args)


def _image_of_turning(name: str, first: _Image, known: list[_Image], args: list[Node]) -> _Image | None:
    """Return the image of a call whose first argument turns."""
    if first.offset and name not in ("sma", "ema", "rma", "wma", "prev", "median", "highest", "lowest"):
        return None
    if name in ("min", "max", "coalesce") and not _alike(first, known[1]):
        return None
    if name in ("bars_since_highest", "bars_since_lowest"):
        return _Image(EVEN, call(_OTHER[name], *args))
    if name == "quantile":
        args[2] = _less(1.0, args[2])
    if name in _FOLLOWS:
        return _Image(first.kind, call(_OTHER.get(name, name), *args), first.offset)
    if name in _DIRECTION:
        return _Image(EVEN if first.kind == ODD and name in ("roc", "log_return") else ODD, call(name, *args))
    if name == "rank":  # from 1 / n to 1
        n = float(args[1].value or 0.0) if args[1].op == "constant" else 0.0
        return _Image(ODD, call(name, *args), 1.0 + 1.0 / n) if n else None
    if name in _BETWEEN:
        return _Image(ODD, call(name, *args), _BETWEEN[name])
    spread = ("std", "var", "mad", "ewm_std", "abs", "r2", "bollinger_width")
    return _Image(EVEN, call(name, *args)) if name in spread else None


def _alike(one: _Image, other: _Image) -> bool:
    return one.kind == other.kind and one.offset == other.offset == 0.0


def _condition_or_none(node: Node) -> Node | None:
    return _condition(node) if node.dimension.condition else None


def _sum(op: str, one: _Image, other: _Image) -> _Image | None:
    """Return the image of a sum or a difference."""
    if one.kind == other.kind == LEVEL and op == "subtract":
        return _Image(ODD, arithmetic(op, one.node, other.node))
    if one.offset or other.offset:
        return None
    if op == "add" and one.kind == EVEN:
        one, other = other, one
    turns = [image.kind != EVEN for image in (one, other)]
    kind = LEVEL if LEVEL in (one.kind, other.kind) else ODD if any(turns) else EVEN
    if turns[0] == turns[1]:
        return _Image(kind, arithmetic(op, one.node, other.node))
    opposite = "subtract" if op == "add" else "add"
    if turns[0]:
        return _Image(kind, arithmetic(opposite, one.node, other.node))
    return _Image(kind, arithmetic(op, _less(0.0, one.node), other.node)) if kind == ODD else None


def _product(op: str, one: _Image, other: _Image) -> _Image | None:
    if one.offset or other.offset:
        return None
    if one.kind == other.kind == LEVEL:
        return _Image(EVEN, arithmetic("divide", other.node, one.node)) if op == "divide" else None
    if LEVEL in (one.kind, other.kind):
        return _scaled(op, one, other)
    turns = (one.kind == ODD) != (other.kind == ODD)
    return _Image(ODD if turns else EVEN, arithmetic(op, one.node, other.node))


def _scaled(op: str, one: _Image, other: _Image) -> _Image | None:
    """Return the image of a level times or over something, or of something over a level, which is its scale."""
    level, by = (one, other) if one.kind == LEVEL else (other, one)
    if op == "divide" and other.kind == LEVEL:
        return _Image(by.kind, arithmetic("divide", one.node, other.node))
    if by.node.op == "constant" and float(by.node.value or 0.0) > 0.0:
        return _Image(LEVEL, arithmetic("divide" if op == "multiply" else "multiply", level.node, by.node))
    if level.node.dimension == PRICE and by.node.op == "input":  # price times volume: a turnover
        return _Image(EVEN, arithmetic(op, one.node, other.node))
    return None


def _negated(op: str, image: _Image) -> _Image | None:
    return None if image.offset or image.kind == LEVEL else _Image(image.kind, _less(0.0, image.node))


_ARITHMETIC: Final[dict[str, Callable[..., _Image | None]]] = {
    "add": _sum, "subtract": _sum, "multiply": _product, "divide": _product, "negate": _negated,
}  # fmt: skip
assert set(_OTHER) | set(_OF_THEMSELVES) | _FOLLOWS | _DIRECTION <= set(FUNCTIONS)
