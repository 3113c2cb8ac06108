"""Strategies in plain English, from their trees: what acts, when, and with how much.

A function without a phrase of its own is named by its call; the registry says what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import Spec
from research_lab.dsl.tree import CHAINS, OPERATORS, Node, number_text
from research_lab.engine import layout
from research_lab.timeframe import DAY_MS, HOUR_MS, MINUTE_MS

# Phrases by function, over the names of its arguments as in the registry.
_PHRASES = {
    "prev": "{x} {n} ago",
    "sma": "the mean of {x} over {n}",
    "ema": "the exponential average of {x} over {n}",
    "rma": "Wilder's average of {x} over {n}",
    "std": "the standard deviation of {x} over {n}",
    "highest": "the highest {x} of the last {n}",
    "lowest": "the lowest {x} of the last {n}",
    "sum": "the sum of {x} over {n}",
    "quantile": "the {share} quantile of {x} over {n}",
    "slope": "the slope of {x} over {n}",
    "true_range": "the true range",
    "crosses_above": "{a} crosses above {b}",
    "crosses_below": "{a} crosses below {b}",
    "bars_since": "the number of bars since {condition}",
    "if_else": "({a} if {condition}, else {b})",
    "coalesce": "{x} ({y} where that is unknown)",
    "min": "the smaller of {a} and {b}",
    "max": "the larger of {a} and {b}",
    "abs": "the size of {x}",
    "change": "the change of {x} over {n}",
}
_COMPARED = {
    # operation: words with the sides as they stand, and with the sides exchanged
    "less": ("is below", "is above"),
    "less_equal": ("is at or below", "is at or above"),
    "equal": ("equals", "equals"),
}
_NOT_COMPARED = {
    "less": ("is at or above", "is at or below"),
    "less_equal": ("is above", "is below"),
    "equal": ("differs from", "differs from"),
}


def sentences(spec: Spec) -> list[str]:
    """Return what a strategy does, a sentence for each thing it does, in the order in which they come."""
    words = _Words(spec)
    return [
        f"At each close of its {spec.timeframe} bars it decides; what it decides is done at the next open.",
        *words.entries(),
        *words.exits(),
        *words.protection(),
        words.size(),
        *words.regimes(),
    ]


def glossary(spec: Spec) -> list[str]:
    """Return what each function used means, one line each, as the registry has it."""
    trees = [*spec.conditions.values(), spec.stop, spec.trail, spec.size]
    names = sorted(set(_operations(tree for tree in trees if tree is not None)) & set(FUNCTIONS))
    return [f"{FUNCTIONS[name].signature}: {FUNCTIONS[name].meaning}" for name in names]


def duration(ms: int) -> str:
    """Return a time span in words: 45 minutes, 6.5 hours, 62.7 days."""
    for unit, name, least in ((DAY_MS, "day", 2), (HOUR_MS, "hour", 1), (MINUTE_MS, "minute", 0)):
        if ms >= least * unit:
            n = round(ms / unit, 1)
            return f"{n:g} {name}{'' if n == 1 else 's'}"
    raise ValueError(f"{ms} ms is no time span")


def _operations(trees: Iterable[Node]) -> Iterable[str]:
    for tree in trees:
        yield tree.op
        yield from _operations(tree.args)


class _Words:
    """One strategy's trees as words, parameters with their values now."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.values: Mapping[str, float] = spec.values

    def entries(self) -> list[str]:
        return [
            f"Goes {side} when {self._condition(f'enter_{side}')}."
            for side in ("long", "short")
            if f"enter_{side}" in self.spec.conditions
        ]

    def exits(self) -> list[str]:
        said = [
            f"Leaves a {side} when {self._condition(f'exit_{side}')}."
            for side in ("long", "short")
            if f"exit_{side}" in self.spec.conditions
        ]
        held = self.spec.time_stop
        if held is not None:
            said.append(f"Leaves at the latest after {self._bars(held)}{self._duration(held)}.")
        return said

    def protection(self) -> list[str]:
        """Return stop, takes, breakeven and trail, which act inside a bar."""
        spec, said = self.spec, []
        if spec.stop is not None:
            said.append(f"A stop lies {self._inner(spec.stop)} away from the entry; that distance is R.")
        if spec.takes:
            parts = [f"{self._percent(share)} at {self._fixed(at)} R" for at, share in spec.takes]
            said.append(f"Takes profit, each time of what remains: {', '.join(parts)}.")
        if spec.breakeven:
            said.append("After the first take the stop moves to the entry price.")
        if spec.trail is not None:
            after = f", once the gain is {self._fixed(spec.trail_after)} R"
            once = "" if spec.trail_after.text == "0" else after
            distance = self._inner(spec.trail)
            said.append(f"The stop trails {distance} behind the best price since the entry{once}.")
        return said

    def size(self) -> str:
        share = self._percent(self.spec.size)
        if self.spec.size_kind == layout.RISK:
            return f"Each entry risks {share} of equity: that is lost when the stop is hit at its price."
        return f"Each entry puts {share} of equity into the position."

    def regimes(self) -> list[str]:
        spec = self.spec
        if not spec.regimes:
            return []
        leaves = ", and leaves when the regime is another" if spec.regime_exit else ""
        return [f"Enters only in the market regimes {_listed(spec.regimes, 'or')}{leaves}."]

    def _condition(self, name: str) -> str:
        return self._said(self.spec.conditions[name])

    def _said(self, node: Node) -> str:
        """Return a tree as words."""
        if not node.inputs and node.dimension.literal:
            return self._fixed(node)
        if node.op in CHAINS:
            return _listed([self._inner(part) for part in node.args], node.op, comma=True)
        if node.op == "not":
            return self._denied(node.args[0])
        if node.op in _COMPARED:
            return self._compared(node, _COMPARED)
        return self._called(node) if node.op in FUNCTIONS else node.text

    def _denied(self, node: Node) -> str:
        if node.op in _COMPARED:
            return self._compared(node, _NOT_COMPARED)
        return f"it is not so that {self._inner(node)}"

    def _compared(self, node: Node, words: Mapping[str, tuple[str, str]]) -> str:
        """Return a comparison with the more telling side first: close before an average, that before 70."""
        left, right = node.args
        swapped = _telling(right) < _telling(left)
        first, second = (right, left) if swapped else (left, right)
        return f"{self._inner(first)} {words[node.op][swapped]} {self._inner(second)}"

    def _called(self, node: Node) -> str:
        if node.op == "prev" and node.args[0].op in ("highest", "lowest") and node.args[1].text == "1":
            x, n = node.args[0].args
            return f"the {node.args[0].op} {self._part(x)} of the {self._bars(n)} before"
        function = FUNCTIONS[node.op]
        said = {}
        for argument, arg in zip(function.arguments, node.args, strict=True):
            ways = {"window": self._bars, "share": self._percent}
            said[argument.name] = ways.get(argument.kind, self._part)(arg)
        if node.op in _PHRASES and set(said) == set(_names(_PHRASES[node.op])):
            return _PHRASES[node.op].format(**said)
        args = list(node.args)
        if args and function.arguments[0].default == args[0].text:
            args = args[1:]
        return f"{node.op}({', '.join(arg.text for arg in args)})"

    def _inner(self, node: Node) -> str:
        """Return a part as words, a list of conditions in brackets."""
        said = self._said(node)
        return f"({said})" if node.op in CHAINS else said

    def _part(self, node: Node) -> str:
        """Return what a phrase is about, in brackets when it is more than one thing."""
        said = self._said(node)
        return f"({said})" if node.op in OPERATORS and node.inputs else said

    def _fixed(self, node: Node) -> str:
        """Return a number fixed before the run: its text, and its value where that is not the same."""
        value = node.bind(self.values).text
        return value if value == node.text else f"{node.text} (now {value})"

    def _bars(self, node: Node) -> str:
        return f"{self._fixed(node)} bar{'' if node.text == '1' else 's'}"

    def _percent(self, node: Node) -> str:
        bound = node.bind(self.values)
        if bound.op != "constant":
            return f"the share {self._inner(node)}"
        share = f"{number_text(round(100.0 * float(bound.value or 0.0), 10))} %"
        return share if not node.params else f"{node.text} (now {share})"

    def _duration(self, bars: Node) -> str:
        bound = bars.bind(self.values)
        if bound.op != "constant":
            return ""
        return f", {duration(round(float(bound.value or 0.0)) * self.spec.step_ms)}"


def _names(phrase: str) -> list[str]:
    return [part.split("}")[0] for part in phrase.split("{")[1:]]


def _telling(node: Node) -> tuple[int, int]:
    """Return the rank of a side as the subject of a sentence: inputs first, fixed numbers last."""
    if not node.inputs and node.dimension.literal:
        return (2, 0)
    return (0, 0) if node.op == "input" else (1, node.size)


def _listed(parts: Sequence[str], word: str, *, comma: bool = False) -> str:
    """Return parts as a list of English: a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    pause = "," if comma or len(parts) > 2 else ""
    return f"{', '.join(parts[:-1])}{pause} {word} {parts[-1]}"
