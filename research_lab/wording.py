"""Numbers of things as people say them."""

from __future__ import annotations


def count(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    Parameters
    ----------
    plural : where an s is not enough.

    Examples
    --------
    >>> count(1, "look"), count(2_000, "look"), count(0, "strategy", "strategies")
    ('1 look', '2,000 looks', '0 strategies')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
