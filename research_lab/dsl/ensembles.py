"""Ensembles: strategies combined into one, written out as ordinary trees when the text is read.

A member says where it would stand: 1 long, -1 short, 0 neither, from its own entries and exits alone. What
the members say together gives the entries and exits of the whole. A member that does not know abstains: it
counts neither for nor against. Where no member knows, nothing is entered and nothing left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.tree import Node, constant
from research_lab.errors import SpecError

# Weights are decimal numbers, whose sums are not exact: so far below the confidence wanted it counts as reached.
_TIE = constant(1e-9)
CONFIDENCE_LEAST = 1e-6  # well above the tie: no stance at all must never reach it


@dataclass(frozen=True)
class Member:
    """One member of an ensemble.

    Parameters
    ----------
    stance : tree of 1, -1, 0, or unknown. weight : a fixed number above zero.
    """

    stance: Node
    weight: Node


def stance_of(conditions: Mapping[str, Node]) -> Node:
    """Return where a strategy would stand: in from an entry until an exit, which wins on the same bar.

    Raises
    ------
    SpecError : it enters no side, or one that no condition leaves. No place is named.
    """
    sides = [side for side in ("long", "short") if f"enter_{side}" in conditions]
    if not sides:
        raise SpecError("it never enters", remedy="give enter_long or enter_short")
    for side in sides:
        if f"exit_{side}" not in conditions:
            raise SpecError(
                f"no condition leaves {side}: stops, takes and time stops of a member do not count",
                remedy=f"give exit_{side}",
            )
    inside = [f"if_else(latch(enter_{side}, exit_{side}), 1, 0)" for side in sides]
    text = " - ".join(inside) if sides[0] == "long" else f"-{inside[0]}"
    return _written(text, conditions)


def combine(how: str, members: Sequence[Member], confidence: Node, sides: Sequence[str]) -> dict[str, Node]:
    """Return the entries and exits of an ensemble.

    Parameters
    ----------
    how : "first", the first member that stands anywhere; "vote", where more than half of those that know
        stand; "weighted", where the mean stance by weight reaches the confidence.
    confidence : for "weighted". sides : of "long" and "short", those wanted.
    """
    names = {f"s{k}": member.stance for k, member in enumerate(members)}
    names |= {f"w{k}": member.weight for k, member in enumerate(members)}
    names |= {"confidence": confidence, "tie": _TIE}
    conditions = {}
    for side in sides:
        stands = _written(_stands(how, len(members), side), names)
        conditions[f"enter_{side}"] = stands
        conditions[f"exit_{side}"] = _written("not stands", {"stands": stands})
    return conditions


def _stands(how: str, n: int, side: str) -> str:
    """Return the condition, over the names of stances and weights, that the whole stands on a side."""
    sign = ">" if side == "long" else "<"
    if how == "first":
        return f"{_first(n)} {sign} 0"
    if how == "vote":
        for_it = _sum(f"coalesce(if_else(s{k} {sign} 0, 1, 0), 0)" for k in range(n))
        return f"({for_it}) / ({_sum(f'coalesce(1 + 0 * s{k}, 0)' for k in range(n))}) > 0.5"
    mean = f"({_sum(f'coalesce(w{k} * s{k}, 0)' for k in range(n))})"
    mean += f" / ({_sum(f'coalesce(w{k} + 0 * s{k}, 0)' for k in range(n))})"
    return f"{mean} >= confidence - tie" if side == "long" else f"{mean} <= tie - confidence"


def _first(n: int) -> str:
    """Return the stance of the first that stands anywhere: 1 / stance is unknown for one that stands nowhere.

    After all of them come their stances, 0 for the first that knows.
    """
    parts = [f"1 / s{k}" for k in range(n)] + [f"s{k}" for k in range(n)]
    text = parts.pop()
    while parts:
        text = f"coalesce({parts.pop()}, {text})"
    return text


def _sum(parts: Iterable[str]) -> str:
    return " + ".join(parts)


def _written(text: str, names: Mapping[str, Node]) -> Node:
    return parse_expression(text, Scope(definitions=names))
