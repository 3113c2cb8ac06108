"""What a strategy's conditions compare, as lines to be drawn: on the candles, or in panels below them.

Found in the trees, so that a new strategy has its picture without being told: the sides of every comparison
are what the strategy looks at. Sides that share a panel are compared with each other, or with a third.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from research_lab.dsl.compiler import program_of
from research_lab.dsl.dimensions import PRICE, Dimension
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.linker import written_out
from research_lab.dsl.registry import FUNCTIONS
from research_lab.dsl.spec import Spec
from research_lab.dsl.tree import LEAVES, Node
from research_lab.engine.backtest import Tape
from research_lab.engine.evaluation import evaluate
from research_lab.engine.jit import FloatArray
from research_lab.errors import SpecError
from research_lab.strict_yaml import load_text

_COMPARISONS = ("less", "less_equal", "equal", "crosses", "crosses_above", "crosses_below")
_COUNTERS = ("count", "bars_since")  # of conditions: these are shown, not how often they held
_NEAR = (0.5, 2.0)  # times the close: a price within is a level, one outside a distance
_LONGEST = 34
_CUT = 80  # characters of a label
_ALONE = re.compile(r"(?<![a-z0-9_])\(([a-z][a-z0-9_]*)\)")


@dataclass(frozen=True, eq=False)
class Line:
    """One value by bar, and what it is called."""

    name: str
    values: FloatArray


@dataclass(frozen=True, eq=False)
class Panel:
    """Lines on one scale, and the numbers that they are compared with."""

    lines: list[Line] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)


def definitions(text: str, spec: Spec) -> dict[str, str]:
    """Return what a strategy's file defines: the name of each tree at the parameters' values, by its text."""
    ranges = {name: (p.low, p.high, p.step) for name, p in spec.params.items()}
    trees: dict[str, Node] = {}
    for name, said in load_text(text, spec.name, SpecError).data.get("define", {}).items():
        trees[name] = parse_expression(str(said), Scope(ranges, FixedNumbers(ranges), trees))
    return {tree.bind(spec.values).text: name for name, tree in trees.items()}


def shown_values(
    spec: Spec, tape: Tape, side: str, names: Mapping[str, str]
) -> tuple[list[Line], list[Panel]]:
    """Return the lines on the candles, and the panels below, of a side's conditions.

    Parameters
    ----------
    tape : bars of the strategy's timeframe.
    side : "long" or "short".
    names : as `definitions` returns.
    """
    conditions = [spec.conditions.get(f"{way}_{side}") for way in ("enter", "exit")]
    pairs = [pair for node in conditions if node is not None for pair in _pairs(node.bind(spec.values), spec)]
    sides = {node.text: node for pair in pairs for node in pair if node.op != "constant"}
    series = dict(zip(sides, _computed(list(sides.values()), tape, spec.step_ms), strict=True))
    levels = {
        text for text, node in sides.items() if node.dimension == PRICE and _is_level(series[text], tape)
    }
    on_candles = [
        Line(_label(sides[text], names), series[text])
        for text in sides
        if text in levels and _drawn(sides[text])
    ]
    return on_candles, _panels(pairs, levels, series, names)


def _pairs(node: Node, spec: Spec) -> Iterator[tuple[Node, Node]]:
    """Yield the two sides of every comparison in a condition, those inside conditions of conditions too."""
    if node.op in _COMPARISONS and not any(arg.op in _COUNTERS for arg in node.args):
        yield node.args[0], node.args[1]
        return
    function = FUNCTIONS.get(node.op)
    if function is not None and function.body and node.dimension.condition:
        yield from _pairs(written_out(node, spec.step_ms), spec)
        return
    for arg in node.args:
        if arg.dimension.condition or arg.op in _COUNTERS:
            yield from _pairs(arg, spec)


def _computed(nodes: Sequence[Node], tape: Tape, step_ms: int) -> FloatArray:
    code, _ = program_of(nodes, step_ms)
    return evaluate(code, step_ms, tape)[0]


def _is_level(values: FloatArray, tape: Tape) -> bool:
    share = np.nanmedian(values / tape.inputs[3]) if np.isfinite(values).any() else np.nan
    return bool(_NEAR[0] < share < _NEAR[1])


def _drawn(node: Node) -> bool:
    """Whether a level is no price of the candle itself, this one's or an earlier one's."""
    return node.op != "input" and not (node.op == "prev" and node.args[0].op == "input")


def _panels(
    pairs: Iterable[tuple[Node, Node]],
    levels: set[str],
    series: Mapping[str, FloatArray],
    names: Mapping[str, str],
) -> list[Panel]:
    """Return comparisons that are not of levels, those that look at one thing in one panel, in order."""
    panels: list[tuple[set[str], set[str], Panel]] = []
    for pair in pairs:
        sides = [node for node in pair if node.op != "constant"]
        if any(node.text in levels for node in sides):
            continue
        parts = {node.text for node in sides}
        parts.update(text for node in sides for text in _parts(node, node.dimension.plain()))
        fits = (k for k, (_, known, _) in enumerate(panels) if known & parts)
        place = next(fits, len(panels))
        if place == len(panels):
            panels.append((set(), set(), Panel()))
        drawn, known, panel = panels[place]
        for node in sides:
            if node.text not in drawn and not (node.op == "prev" and node.args[0].text in drawn):
                panel.lines.append(Line(_label(node, names), series[node.text]))
                drawn.add(node.text)
        known |= parts
        numbers = [float(node.value or 0.0) for node in pair if node.op == "constant"]
        panel.levels.extend(number for number in numbers if number not in panel.levels)
    return [panel for _, _, panel in panels]


def _parts(node: Node, dimension: Dimension) -> Iterator[str]:
    """Yield the computed values of one dimension in a tree: what shares one shares its scale."""
    if node.op not in LEAVES and node.dimension.plain() == dimension:
        yield node.text
    for arg in node.args:
        yield from _parts(arg, dimension)


def _label(node: Node, names: Mapping[str, str]) -> str:
    """Return a tree's text in the words of its file; what has a name there is told with it."""
    if node.text in names:
        told = f"{names[node.text]}: {node.text}"
        return told if len(told) <= _LONGEST else names[node.text]
    text = node.text
    for said in sorted(names, key=len, reverse=True):
        text = text.replace(said, names[said])
    text = _ALONE.sub(r"\1", text)
    return text if len(text) <= _CUT else f"{text[: _CUT - 3]}..."
