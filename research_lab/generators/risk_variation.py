"""Changes of what stands beside the conditions: stop, takes, trail, breakeven, time stop, size, regimes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from research_lab.dsl.spec import REGIMES, Spec
from research_lab.dsl.tree import Node, constant
from research_lab.engine import layout
from research_lab.generators.hand import Hand, Operator
from research_lab.generators.nodes import arithmetic, call, number
from research_lab.generators.number_variation import FACTORS
from research_lab.generators.places import places, with_place, with_roots

STOPS: Final = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # average true ranges from the fill
WINDOWS: Final = (14, 24, 48, 96)  # of those ranges
TIMES: Final = (6, 12, 24, 36, 48, 72, 120, 168)  # bars
TAKES: Final = (1.0, 1.5, 2.0, 3.0, 4.0)  # multiples of R
FRACTIONS: Final = (0.25, 0.5, 0.9, 1.0)  # of equity
RISKS: Final = (0.005, 0.01, 0.02)  # of equity, lost at the stop


def change_stop(spec: Spec, hand: Hand) -> Spec | None:
    """Set the stop further off, nearer, or away."""
    way = hand.rng.random()
    if spec.stop is not None and way < 0.5:
        return _scaled(spec, hand, "stop")
    if spec.stop is not None and way < 0.65:
        return replace(spec, stop=None)
    return with_roots(spec, {"stop": _distance(hand)})


def change_trail(spec: Spec, hand: Hand) -> Spec | None:
    """Let a stop follow the price, at another distance, or no more."""
    if spec.trail is not None and hand.rng.random() < 0.4:
        return replace(spec, trail=None, trail_after=constant(0.0))
    if spec.trail is not None and hand.rng.random() < 0.5:
        return _scaled(spec, hand, "trail")
    trailing = with_roots(spec, {"trail": _distance(hand)})
    after = hand.pick((0.0, 0.0, *TAKES[:3])) if spec.stop is not None else 0.0
    return None if trailing is None else replace(trailing, trail_after=number(after))


def change_takes(spec: Spec, hand: Hand) -> Spec | None:
    """Take a part of a gain at a multiple of R, at others, or nowhere."""
    if spec.stop is None:
        return None
    if spec.takes and hand.rng.random() < 0.5:
        return replace(spec, takes=(), breakeven=False)
    n = hand.pick((1, 1, 2))
    levels = sorted(float(TAKES[int(k)]) for k in hand.rng.choice(len(TAKES), n, replace=False))
    shares = [hand.pick((0.25, 0.5)) for _ in levels[1:]] + [hand.pick((0.5, 1.0))]
    return replace(
        spec, takes=tuple((number(at), number(share)) for at, share in zip(levels, shares, strict=True))
    )


def change_breakeven(spec: Spec, hand: Hand) -> Spec | None:
    """Move the stop to the entry after the first take, or leave it."""
    return replace(spec, breakeven=not spec.breakeven) if spec.takes else None


def change_time_stop(spec: Spec, hand: Hand) -> Spec | None:
    """Leave after more bars, after fewer, or whenever."""
    now, way = spec.time_stop, hand.rng.random()
    if now is not None and way < 0.2:
        return replace(spec, time_stop=None)
    if now is not None and now.op == "constant" and way < 0.8:
        bars = float(now.value or 1.0)
        return replace(spec, time_stop=number(max(1, round(bars * hand.pick(FACTORS)))))
    return replace(spec, time_stop=number(hand.pick(TIMES)))


def change_size(spec: Spec, hand: Hand) -> Spec | None:
    """Put in another share of equity, lose another one at the stop, or aim at a volatility."""
    way = hand.rng.random()
    if spec.stop is not None and way < 0.4:
        return replace(spec, size_kind=layout.RISK, size=number(hand.pick(RISKS)))
    return replace(spec, size_kind=layout.FRACTION, size=number(hand.pick(FRACTIONS)))


def change_regimes(spec: Spec, hand: Hand) -> Spec | None:
    """Enter in all regimes but one or two, or in all."""
    if spec.regimes and hand.rng.random() < 0.5:
        return replace(spec, regimes=(), regime_exit=False)
    gone = set(hand.shuffled(REGIMES)[: hand.pick((1, 1, 2))])
    kept = tuple(name for name in REGIMES if name not in gone)
    return replace(spec, regimes=kept, regime_exit=bool(hand.rng.random() < 0.3))


def simplify_risk(spec: Spec, hand: Hand) -> Spec | None:
    """Leave away one of the blocks that are there."""
    bare: list[Spec] = []
    if spec.takes:
        bare.append(replace(spec, takes=(), breakeven=False))
    if spec.trail is not None:
        bare.append(replace(spec, trail=None, trail_after=constant(0.0)))
    if spec.regimes:
        bare.append(replace(spec, regimes=(), regime_exit=False))
    if spec.time_stop is not None:
        bare.append(replace(spec, time_stop=None))
    return hand.pick(bare) if bare else None


def exchanged(spec: Spec, other: Spec, hand: Hand) -> Spec:
    """Return a strategy with some of the blocks of another one; its parameters must be there already."""
    blocks: tuple[tuple[str, ...], ...] = (
        ("stop", "takes", "breakeven", "trail", "trail_after", "size_kind", "size"),
        ("time_stop",),
        ("regimes", "regime_exit"),
    )
    taken = [block for block in blocks if hand.rng.random() < 0.5] or [hand.pick(blocks)]
    return replace(spec, **{name: getattr(other, name) for block in taken for name in block})


def _distance(hand: Hand) -> Node:
    return arithmetic("multiply", number(hand.pick(STOPS)), call("atr", number(hand.pick(WINDOWS))))


def _scaled(spec: Spec, hand: Hand, root: str) -> Spec | None:
    """Return a strategy whose distance is a multiple of what it was."""
    numbers = [p for p in places(spec, (root,)) if p.node.op == "constant" and p.kind == "number"]
    factor = hand.pick(FACTORS)
    if numbers:
        place = hand.pick(numbers)
        return with_place(spec, place, number(float(f"{float(place.node.value or 1.0) * factor:.3g}")))
    tree = getattr(spec, root)
    return with_roots(spec, {root: arithmetic("multiply", number(factor), tree)})


OPERATORS: Final[dict[str, Operator]] = {
    "stop": change_stop,
    "trail": change_trail,
    "takes": change_takes,
    "breakeven": change_breakeven,
    "time_stop": change_time_stop,
    "size": change_size,
    "regimes": change_regimes,
    "fewer_blocks": simplify_risk,
}
