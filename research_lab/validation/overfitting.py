"""Overfitting statistics, reported beside the family-wise p and deciding nothing on their own.

Sharpe ratios here are per observation (mean / standard deviation, not annualised) unless a name or a
docstring says otherwise. Two conventions are on the market for the variance of a Sharpe ratio; this
module uses the older one throughout: it is evaluated at the *observed* Sharpe ratio, the kurtosis is raw
(3 for a normal), and the degrees of freedom are T - 1. The later convention evaluates it at the null and
divides by T. NaN in gives NaN out, and NaN also says that a figure is not defined.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from research_lab.engine.jit import FloatArray
from research_lab.errors import UsageError
from research_lab.scoring.luck import expected_max_normals as expected_max_normals

_NORMAL = NormalDist()


def moments(daily: FloatArray) -> tuple[float, float, float]:
    """Return Sharpe ratio (per observation, divisor n - 1), skewness and raw kurtosis of returns.

    Parameters
    ----------
    daily : array of shape (n,), finite.

    Returns
    -------
    tuple of float
        All NaN when the returns are constant or fewer than two.
    """
    x = np.asarray(daily, dtype=np.float64)
    if x.size < 2 or float(np.ptp(x)) == 0.0:
        return math.nan, math.nan, math.nan
    deviation = x - x.mean()
    variance = float((deviation**2).mean())
    skewness = float((deviation**3).mean()) / variance**1.5
    kurtosis = float((deviation**4).mean()) / variance**2
    return float(x.mean()) / math.sqrt(variance * x.size / (x.size - 1)), skewness, kurtosis


def psr(sharpe: float, n: int, skewness: float, kurtosis: float, benchmark: float = 0.0) -> float:
    """Return the probabilistic Sharpe ratio: the chance that the true one exceeds a benchmark.

    Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)).

    Parameters
    ----------
    sharpe, benchmark : SR and SR*, per observation.
    n : T, observations, at least 2.
    skewness, kurtosis : g3 and g4 of the returns; the kurtosis raw.

    Returns
    -------
    float
        In [0, 1]; NaN when the variance is not positive.

    Source: D. Bailey, M. López de Prado (2012), The Sharpe Ratio Efficient Frontier.

    Examples
    --------
    >>> round(psr(1.585 / 12**0.5, 24, -2.448, 10.164), 6)
    0.913234
    """
    if n < 2:
        raise UsageError(f"{n} observations", remedy="a Sharpe ratio needs at least 2")
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    if not variance > 0:
        return math.nan
    return _probability((sharpe - benchmark) * math.sqrt((n - 1) / variance))


def deflated_sharpe(
    sharpe: float, n: int, skewness: float, kurtosis: float, trial_variance: float, n_trials: float
) -> float:
    """Return the deflated Sharpe ratio: `psr` against the best of that many trials without edge.

    Two nulls are of use. With the variance of all trials' Sharpe ratios and their number, as the paper has
    it, dependent trials are counted as strangers. With `null_variance` and the effective number of trials of
    `family_wise_p`, each trial without edge has the variance that its length gives it, and dependence is in
    the number.

    Parameters
    ----------
    sharpe, n, skewness, kurtosis : as in `psr`.
    trial_variance : variance of the trials' Sharpe ratios, per observation; at least 0.
    n_trials : independent trials, at least 1, not always whole. Trials that depend on each other count for
        less, which is why this figure is reported and the family-wise p decides.

    Returns
    -------
    float
        In [0, 1].

    Source: D. Bailey, M. López de Prado (2014), The Deflated Sharpe Ratio.

    Examples
    --------
    >>> round(deflated_sharpe(2.5 / 250**0.5, 1250, -3, 10, 0.5 / 250, 100), 6)
    0.900397
    """
    threshold = deflated_threshold(trial_variance, n_trials)
    return psr(sharpe, n, skewness, kurtosis, threshold)


def null_variance(n: int) -> float:
    """Return the variance of the Sharpe ratio, per observation, of n observations without edge: 1 / (n - 1)."""
    if n < 2:
        raise UsageError(f"{n} observations", remedy="a Sharpe ratio needs at least 2")
    return 1.0 / (n - 1)


def deflated_threshold(trial_variance: float, n_trials: float) -> float:
    """Return the Sharpe ratio, per observation, expected of the best of n trials without edge."""
    if trial_variance < 0:
        raise UsageError(f"a variance of {trial_variance}", remedy="give the variance of the trials' Sharpe")
    return math.sqrt(trial_variance) * expected_max_normals(n_trials)


def min_track_record(
    sharpe: float, skewness: float, kurtosis: float, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Return how many observations `psr` needs to reach a confidence.

    1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (Z / (SR - SR*))^2. Divide by observations per year for years.

    Parameters
    ----------
    sharpe, benchmark, skewness, kurtosis : as in `psr`.
    confidence : in (0.5, 1).

    Returns
    -------
    float
        Observations, above 1; infinite when the Sharpe ratio does not exceed the benchmark.

    Source: D. Bailey, M. López de Prado (2012), The Sharpe Ratio Efficient Frontier.

    Examples
    --------
    >>> round(min_track_record(2 / 250**0.5, 0, 3, 1 / 250**0.5) / 250, 6)
    2.731188
    """
    if not 0.5 < confidence < 1:
        raise UsageError(f"a confidence of {confidence}", remedy="choose one between 0.5 and 1")
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    if math.isnan(variance) or math.isnan(benchmark) or variance <= 0:
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return 1 + variance * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def min_backtest_length(n_trials: float, annual_sharpe: float) -> float:
    """Return the years below which the best of n trials without edge is expected to show that Sharpe.

    (E[max of n normals] / SR)^2 with the formula of `expected_max_normals`.

    Parameters
    ----------
    n_trials : independent trials, at least 1.
    annual_sharpe : annualised, above 0.

    Returns
    -------
    float
        Years, at least 0.

    Source: D. Bailey, J. Borwein, M. López de Prado, Q. Zhu (2014), Pseudo-Mathematics and Financial
    Charlatanism.

    Examples
    --------
    >>> round(min_backtest_length(45, 1.0), 6)
    4.998087
    """
    if not annual_sharpe > 0:
        raise UsageError(f"a Sharpe ratio of {annual_sharpe}", remedy="give one above 0")
    return (expected_max_normals(n_trials) / annual_sharpe) ** 2


def _sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Return T - 1 times the variance of a Sharpe ratio, evaluated at the observed one."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe


def _probability(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
