"""Numbers of things as people say them, and what somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection


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


def nearest(name: str, known: Collection[str]) -> str:
    """Return what somebody may have meant, or all that there is.

    Examples
    --------
    >>> nearest("temprature", ["temperature", "seed"]), nearest("x", ["temperature", "seed"])
    ('did you mean temperature?', 'known: temperature, seed')
    """
    near = difflib.get_close_matches(name[:40].lower(), [*known], n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
