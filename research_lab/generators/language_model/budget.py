"""What asking a model took, and whether there is any budget left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from research_lab.generators.language_model.settings import Budget, Prices
from research_lab.wording import count

_WHOLE = ("calls", "prompt_tokens", "answer_tokens")
_REAL = ("money", "seconds")
_MILLION = 1_000_000
_MOST_TOKENS = 1_000_000_000  # that a server may claim for one call


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls took.

    Parameters
    ----------
    calls : requests sent, repeated ones too. prompt_tokens, answer_tokens : as the server counted, or estimated.
    money : in the currency of the prices, 0 without any. seconds : of waiting for answers.
    """

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.answer_tokens + other.answer_tokens,
            self.money + other.money,
            self.seconds + other.seconds,
        )

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens:,} + {self.answer_tokens:,} tokens"
        money = f", {self.money:,.4f} of money" if self.money else ""
        return f"{count(self.calls, 'call')}, {tokens}{money}, {self.seconds:,.1f} s"

    def over(self, budget: Budget) -> str:
        """Return which limit is reached, "" while none is."""
        reached = (
            ("calls", self.calls, budget.calls),
            ("tokens", self.prompt_tokens + self.answer_tokens, budget.tokens),
            ("seconds", self.seconds, budget.seconds),
            ("money", self.money, budget.money),
        )
        for noun, now, most in reached:
            if most is not None and now >= most:
                return f"the budget of {most:,g} {noun.removesuffix('s') if most == 1 else noun} is spent"
        return ""


@dataclass
class Purse:
    """What each question took, by its hash, so that one that is asked again from the store is not paid twice.

    Parameters
    ----------
    budget : for all of them. charges : so far.
    """

    budget: Budget
    charges: dict[str, Spent] = field(default_factory=dict)

    @property
    def total(self) -> Spent:
        return sum((self.charges[key] for key in sorted(self.charges)), Spent())

    @property
    def over(self) -> str:
        """Which limit is reached, "" while none is."""
        return self.total.over(self.budget)

    @property
    def seconds_left(self) -> float | None:
        """Time that may still be waited; None for any."""
        return None if self.budget.seconds is None else self.budget.seconds - self.total.seconds


def spent_of(told: Mapping[str, object]) -> Spent:
    """Return what a record says was spent; what is no number counts as nothing.

    Examples
    --------
    >>> spent_of({"calls": 2, "money": 0.5, "seconds": "long"})
    Spent(calls=2, prompt_tokens=0, answer_tokens=0, money=0.5, seconds=0.0)
    """
    calls, asked, answered = (v if isinstance(v := told.get(name), int) else 0 for name in _WHOLE)
    money, seconds = (float(v) if isinstance(v := told.get(name), (int, float)) else 0.0 for name in _REAL)
    return Spent(calls, asked, answered, money, seconds)


def cost_of(prompt_tokens: int, answer_tokens: int, prices: Prices | None) -> float:
    """Return what tokens cost; 0 without prices."""
    if prices is None:
        return 0.0
    return (prompt_tokens * prices.input + answer_tokens * prices.output) / _MILLION


def counted(claimed: object, text: str) -> int:
    """Return the tokens of a text: what the server claims, where that can be, else one for four bytes.

    Examples
    --------
    >>> [counted(claim, "twelve bytes") for claim in (7, 0, -5, None, "many", True)]
    [7, 3, 3, 3, 3, 3]
    """
    if isinstance(claimed, int) and not isinstance(claimed, bool) and 0 < claimed <= _MOST_TOKENS:
        return claimed
    return max(1, len(text.encode("utf-8", errors="surrogatepass")) // 4)
