"""A strategy's numbers as parameters with ranges around them, so that gates can ask how far it hangs on each.

Search moves numbers one at a time, and pays for parameters; so what it finds has few. Gates 4 and 5 ask whether the
neighbours do as well and whether tuning in one stretch helps in the next, and ask nothing of a strategy without parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.generators.brief import Brief
from research_lab.generators.grammar import Grammar
from research_lab.generators.hand import Hand
from research_lab.generators.nodes import parameter
from research_lab.generators.number_variation import parent_of, range_around, with_the_same_elsewhere
from research_lab.generators.places import Place, places, with_place

N_TUNED: Final = (
    3  # parameters of a finalist: each is a way to fit, and none leaves gates 4 and 5 nothing to ask
)
_KINDS: Final = ("window", "number", "share")  # in the order in which they become parameters
DAYS: Final = ("weekday", "day_of_month")
_LEAST_WINDOW: Final = 3  # bars; below it is a lag, such as the bar before, and comes last


def with_parameters(spec: Spec, brief: Brief, most: int = N_TUNED) -> Spec:
    """Return the same strategy, its identity included, with up to `most` parameters: those that it has, and more.

    Windows and levels of the conditions first, each in the order of its place, then stop and trail.
    """
    while len(spec.params) < most:
        further = next(_with_one_more(spec, brief), None)
        if further is None:
            return spec
        spec = further
    return spec


def _with_one_more(spec: Spec, brief: Brief) -> Iterator[Spec]:
    hand = Hand(brief, Grammar(), np.random.default_rng(0))  # nothing is drawn
    name = next(f"p{k}" for k in range(1, len(spec.params) + 2) if f"p{k}" not in spec.params)
    for place in sorted(_free(spec), key=_order):
        param = range_around(spec, place, hand)
        if param is None or param.n_values < 2:
            continue
        after = with_place(replace(spec, params={**spec.params, name: param}), place, parameter(name))
        whole = None if after is None else with_the_same_elsewhere(after, spec, place, name)
        if whole is not None and whole.hash == spec.hash:
            yield whole


def _free(spec: Spec) -> list[Place]:
    """Return the places of numbers that may become parameters."""
    everywhere = places(spec, (*CONDITIONS, "stop", "trail"))
    numbers = [p for p in everywhere if p.node.op == "constant" and p.kind != "exponent" and p.node.value]
    return [p for p in numbers if not _names_a_day(spec, p)]


def _names_a_day(spec: Spec, place: Place) -> bool:
    """Whether a number says which day it is: Tuesday is no more of anything than Monday is."""
    return place.path != () and any(arg.op in DAYS for arg in parent_of(spec, place).args)


def _order(place: Place) -> tuple[bool, int]:
    kind = _KINDS.index(place.kind) if place.kind in _KINDS else len(_KINDS)
    is_lag = place.kind == "window" and float(place.node.value or 0.0) < _LEAST_WINDOW
    return place.root not in CONDITIONS, len(_KINDS) + 1 if is_lag else kind
