"""What asking a model took, and whether there is any budget left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

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


@dataclass(frozen=True, slots=True)
class Charge:
    """What a question took.

    Parameters
    ----------
    number : in the order of asking. spent : on all tries. fault : why it has no answer, "" when it has.
    """

    number: int
    spent: Spent
    fault: str = ""


@dataclass
class Purse:
    """What each question of a search took, by its hash: one that is answered from the store is not paid twice.

    Parameters
    ----------
    budget : for all of them. failed_calls : in a row, after which nothing is asked. charges : so far.
    """

    budget: Budget
    failed_calls: int
    charges: dict[str, Charge] = field(default_factory=dict)

    @property
    def total(self) -> Spent:
        return _sum(self._until(""))

    @property
    def calls_left(self) -> int:
        """Requests that may still be sent."""
        return self.budget.calls - self.total.calls

    @property
    def seconds_left(self) -> float | None:
        """Time that may still be waited; None for any."""
        return None if self.budget.seconds is None else self.budget.seconds - self.total.seconds

    def refuses(self, key: str = "") -> str:
        """Return why a question is not asked, "" when it is: by what stood here before it was asked first.

        So a replay ends where the search did.

        Parameters
        ----------
        key : of the question; "" for any that is new.
        """
        earlier = self._until(key)
        faults = [c.fault for c in takewhile(lambda charge: charge.fault, reversed(earlier))]
        over = _sum(earlier).over(self.budget)
        if over or len(faults) < self.failed_calls:
            return over
        calls = "a call failed" if len(faults) == 1 else f"{len(faults)} calls in a row failed, the last one"
        return f"{calls}: {faults[0]}"

    def charge(self, key: str, spent: Spent, fault: str = "", *, anew: bool) -> None:
        """Enter what a question took.

        Parameters
        ----------
        anew : whether it was just asked; else it keeps its place in the order, where it has one.
        """
        known = self.charges.get(key)
        number = (
            known.number
            if known and not anew
            else 1 + max((c.number for c in self.charges.values()), default=0)
        )
        self.charges[key] = Charge(number, spent, fault)

    def _until(self, key: str) -> list[Charge]:
        """Return the charges before that of a question, in order; all for one that is new."""
        last = self.charges[key].number if key in self.charges else math.inf
        return sorted((c for c in self.charges.values() if c.number < last), key=lambda c: c.number)


def _sum(charges: Sequence[Charge]) -> Spent:
    return sum((charge.spent for charge in charges), Spent())


def charge_of(told: Mapping[str, object]) -> Charge:
    """Return what a call's record says it took; what is no number counts as nothing.

    Examples
    --------
    >>> charge_of({"number": 3, "spent": {"calls": 2, "money": 0.5, "seconds": "long"}})
    Charge(number=3, spent=Spent(calls=2, prompt_tokens=0, answer_tokens=0, money=0.5, seconds=0.0), fault='')
    """
    spent = told.get("spent")
    figures: Mapping[str, object] = spent if isinstance(spent, dict) else {}
    calls, asked, answered = (v if isinstance(v := figures.get(name), int) else 0 for name in _WHOLE)
    money, seconds = (float(v) if isinstance(v := figures.get(name), (int, float)) else 0.0 for name in _REAL)
    number = v if isinstance(v := told.get("number"), int) else 0
    return Charge(number, Spent(calls, asked, answered, money, seconds), str(told.get("fault") or ""))


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
