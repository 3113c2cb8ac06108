"""Dimensions of expressions: powers of price, volume and bars; conditions stand apart.

`close > rsi(14)` compares price with a ratio and is refused, which catches nonsense for free. A literal
number or a parameter fits a ratio or a count of bars, never a price: a strategy knows no price level.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Dimension:
    """The dimension of a value.

    Parameters
    ----------
    price, volume, bars : powers; all 0 for a ratio.
    condition : true, false or unknown, rather than a number.
    literal : a number written in the text or a parameter: a ratio that may stand for bars.
    zero : the literal 0, which fits every number.
    """

    price: Fraction = Fraction(0)
    volume: Fraction = Fraction(0)
    bars: Fraction = Fraction(0)
    condition: bool = False
    literal: bool = False
    zero: bool = False

    def __hash__(self) -> int:
        """Hash the powers' whole parts, once: a fraction's own hash costs more than all else of a look-up."""
        found: int | None = self.__dict__.get("_hash")
        if found is None:
            powers = (self.price, self.volume, self.bars)
            found = hash(
                (*((p.numerator, p.denominator) for p in powers), self.condition, self.literal, self.zero)
            )
            object.__setattr__(self, "_hash", found)
        return found

    def __str__(self) -> str:
        if self.condition:
            return "condition"
        powers = [("price", self.price), ("volume", self.volume), ("bars", self.bars)]
        words = [name if power == 1 else f"{name}^{power}" for name, power in powers if power]
        return " x ".join(words) or "ratio"

    def times(self, other: Dimension, sign: int = 1) -> Dimension:
        """Return the dimension of a product, or of a quotient with `sign` -1."""
        if not (other.price or other.volume or other.bars):
            return Dimension(self.price, self.volume, self.bars, literal=self.literal and other.literal)
        return Dimension(
            self.price + sign * other.price,
            self.volume + sign * other.volume,
            self.bars + sign * other.bars,
            literal=self.literal and other.literal,
        )

    def root(self) -> Dimension:
        return Dimension(self.price / 2, self.volume / 2, self.bars / 2, literal=self.literal)

    def raised(self, exponent: int) -> Dimension:
        return Dimension(self.price * exponent, self.volume * exponent, self.bars * exponent, self.condition)

    def plain(self) -> Dimension:
        """Return the same powers without being a literal."""
        return Dimension(self.price, self.volume, self.bars, self.condition)


RATIO = Dimension()
PRICE = Dimension(price=Fraction(1))
VOLUME = Dimension(volume=Fraction(1))
BARS = Dimension(bars=Fraction(1))
CONDITION = Dimension(condition=True)
LITERAL = Dimension(literal=True)
ZERO = Dimension(literal=True, zero=True)


def unify(a: Dimension, b: Dimension) -> Dimension | None:
    """Return the dimension that two values share, or None when they cannot be compared or added."""
    if a.condition or b.condition:
        return CONDITION if a.condition and b.condition else None
    if a.zero:
        return b
    if b.zero:
        return a
    if a.literal and b.literal:
        return LITERAL
    if a.literal or b.literal:
        fixed = b if a.literal else a
        return fixed if fixed in (RATIO, BARS) else None
    return a if a == b else None
