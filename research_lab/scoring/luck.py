"""What the best of many looks has by luck alone."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from research_lab.errors import UsageError

EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


def expected_max_normals(n: float) -> float:
    """Return the expected maximum of n independent standard normals, by the extreme-value formula.

    (1 - g) Phi^-1(1 - 1/n) + g Phi^-1(1 - 1/(n e)), g Euler's constant; 0 for n = 1, where the formula
    has no value, and never below 0. It lies above the exact one, by 0.9 % at n = 100 (2.5306 against 2.5076).

    Source: D. Bailey, M. López de Prado (2014), The Deflated Sharpe Ratio, appendix.

    Examples
    --------
    >>> round(expected_max_normals(100), 6)
    2.530603
    """
    if math.isnan(n):
        return math.nan
    if not 1 <= n < math.inf:
        raise UsageError(f"the maximum of {n} normals", remedy="count at least one trial")
    if n == 1:
        return 0.0
    near = -_NORMAL.inv_cdf(1 / n)
    far = -_NORMAL.inv_cdf(1 / (n * math.e))
    return max(0.0, (1 - EULER_GAMMA) * near + EULER_GAMMA * far)
