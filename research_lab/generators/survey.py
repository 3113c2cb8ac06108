"""The first look round the clock: plain strategies that hold through a stretch of hours or days, evenly spread.

Random draws leave gaps. Most ideas are wide: half of all windows of an average show the same trend. Times of
the clock are not: who is in the market at other hours sees nothing of an edge, so each stretch is looked at once.
What lies between is found by moving the borders of the best.
"""

from __future__ import annotations

from typing import Final

from research_lab.dsl.spec import Spec
from research_lab.dsl.tree import Node
from research_lab.generators import nodes
from research_lab.generators.brief import Brief
from research_lab.generators.parts import stretch
from research_lab.generators.risk_blocks import RiskBlocks
from research_lab.generators.spans import Span
from research_lab.generators.symmetry import SIDES
from research_lab.generators.vocabulary import Vocabulary

HANDS: Final = ("hour", "weekday")  # the turns in which people live
_PARTS: Final = 6  # of a turn: four hours of a day, one day of a week
_THESIS: Final = "Some hours and days have buyers that others lack."


def survey(brief: Brief) -> list[Spec]:
    """Return strategies that are in the market for a sixth of each turn of the clock, and begin every twelfth.

    On the shortest timeframe of the brief, on each side that it has; those that it refuses are left out.
    """
    timeframe = brief.timeframes[0]
    words = Vocabulary.of(brief, timeframe)
    sides = [side for side in SIDES if side in brief.sides]
    found = []
    for name in HANDS:
        span = words.span(nodes.call(name)) if name in words.functions else None
        for times in _stretches(nodes.call(name), span) if span is not None else ():
            found += [_spec(timeframe, side, times) for side in sides]
    return [spec for spec in found if not brief.refuses(spec)]


def _stretches(hand: Node, span: Span) -> list[Node]:
    """Return conditions that hold for a sixth of the steps each; neighbours share a half of theirs."""
    n = span.n + 1
    length = max(1, n // _PARTS)
    return [stretch(hand, span, first, length) for first in range(0, n, max(1, length // 2))]


def _spec(timeframe: str, side: str, times: Node) -> Spec:
    blocks = RiskBlocks()
    return Spec(
        "survey", _THESIS, timeframe, side, {},
        {f"enter_{side}": times, f"exit_{side}": nodes.opposite(times)}, blocks.stop, blocks.trail,
        blocks.trail_after, blocks.size_kind, blocks.size, blocks.takes, blocks.time_stop, blocks.breakeven,
        blocks.regimes, blocks.regime_exit,
    )  # fmt: skip
