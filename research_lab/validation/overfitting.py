"""Overfitting statistics, reported beside the family-wise p and deciding nothing on their own.

Sharpe ratios here are per observation (mean / standard deviation, not annualised) unless a name or a
docstring says otherwise. Two conventions are on the market for the variance of a Sharpe ratio; this
module uses the older one throughout: it is evaluated at the *observed* Sharpe ratio, the kurtosis is raw
(3 for a normal), and the degrees of freedom are T - 1. The later convention evaluates it at the null and
divides by T. NaN in gives NaN out, and NaN also says that a figure is not defined.
"""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np

from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError, UsageError

EULER_GAMMA = 0.57721566490153286
_NORMAL = NormalDist()
_CHUNK = 1024  # combinations of blocks at a time


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
    sharpe: float, n: int, skewness: float, kurtosis: float, trial_variance: float, n_trials: int
) -> float:
    """Return the deflated Sharpe ratio: `psr` against the best of that many trials without edge.

    Parameters
    ----------
    sharpe, n, skewness, kurtosis : as in `psr`.
    trial_variance : variance of the trials' Sharpe ratios, per observation; at least 0.
    n_trials : independent trials, at least 1. Trials that depend on each other count for less, which
        is why this figure is reported and the family-wise p decides.

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


def deflated_threshold(trial_variance: float, n_trials: int) -> float:
    """Return the Sharpe ratio, per observation, expected of the best of n trials without edge."""
    if trial_variance < 0:
        raise UsageError(f"a variance of {trial_variance}", remedy="give the variance of the trials' Sharpe")
    return math.sqrt(trial_variance) * expected_max_normals(n_trials)


def expected_max_normals(n: int) -> float:
    """Return the expected maximum of n independent standard normals, by the extreme-value formula.

    (1 - g) Phi^-1(1 - 1/n) + g Phi^-1(1 - 1/(n e)), g Euler's constant; 0 for n = 1, where the formula
    has no value. It lies above the exact one, by 0.9 % at n = 100 (2.5306 against 2.5076).

    Source: D. Bailey, M. López de Prado (2014), The Deflated Sharpe Ratio, appendix.

    Examples
    --------
    >>> round(expected_max_normals(100), 6)
    2.530603
    """
    if n < 1:
        raise UsageError(f"the maximum of {n} normals", remedy="count at least one trial")
    if n == 1:
        return 0.0
    near = -_NORMAL.inv_cdf(1 / n)
    far = -_NORMAL.inv_cdf(1 / (n * math.e))
    return (1 - EULER_GAMMA) * near + EULER_GAMMA * far


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


def min_backtest_length(n_trials: int, annual_sharpe: float) -> float:
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


def pbo(daily: FloatArray, n_splits: int = 16) -> float:
    """Return the probability of backtest overfitting: how often the best in-sample is below the median.

    The share of `cscv_logits` that are zero or less. About one half for noise, near zero when one
    trial is better throughout, 1 when every mean over the whole is the same.

    Parameters
    ----------
    daily, n_splits : as in `cscv_logits`.

    Returns
    -------
    float
        In [0, 1].
    """
    return float((cscv_logits(daily, n_splits) <= 0).mean())


def cscv_logits(daily: FloatArray, n_splits: int = 16) -> FloatArray:
    """Return, for each halving of the time blocks, the logit of the in-sample winner's rank outside.

    Combinatorially symmetric cross-validation: time is cut into S equal blocks; each choice of S / 2 is
    in-sample once, the rest out-of-sample. The winner's relative rank w outside, in (0, 1), becomes
    ln(w / (1 - w)). Rank by Sharpe ratio; a constant trial has 0; ties share their average rank, and the
    first of equal winners wins.

    Parameters
    ----------
    daily : array of shape (n_days, n_trials)
        Daily returns, finite; at least 2 trials and 2 days a block. Leave trials with missing days out.
    n_splits : S, even, from 2 to 20.

    Returns
    -------
    array of shape (binomial(S, S / 2),)

    Source: D. Bailey, J. Borwein, M. López de Prado, Q. Zhu (2017), The Probability of Backtest
    Overfitting.
    """
    x = np.asarray(daily, dtype=np.float64)
    _check_cscv(x, n_splits)
    edges = np.linspace(0, x.shape[0], n_splits + 1).astype(np.int64)[:-1]
    lengths = np.diff(np.append(edges, x.shape[0]))
    sums = np.add.reduceat(x, edges, axis=0)
    squares = np.add.reduceat(x * x, edges, axis=0)
    choices = np.array(list(itertools.combinations(range(n_splits), n_splits // 2)))
    inside = np.zeros((len(choices), n_splits), dtype=bool)
    inside[np.arange(len(choices))[:, None], choices] = True
    pieces = [
        _logits(inside[first : first + _CHUNK], lengths, sums, squares)
        for first in range(0, len(inside), _CHUNK)
    ]
    return np.concatenate(pieces)


def _check_cscv(x: FloatArray, n_splits: int) -> None:
    if n_splits % 2 or not 2 <= n_splits <= 20:
        raise UsageError(f"{n_splits} splits", remedy="choose an even number from 2 to 20")
    if x.ndim != 2 or not np.isfinite(x).all():
        raise UsageError(
            f"daily returns of shape {x.shape} with {int((~np.isfinite(x)).sum())} missing",
            remedy="give (n_days, n_trials) and leave trials with missing days out",
        )
    if x.shape[1] < 2 or x.shape[0] < 2 * n_splits:
        raise InsufficientError(
            f"{x.shape[0]} days of {x.shape[1]} trials; PBO needs {2 * n_splits} days and 2 trials"
        )


def _logits(inside: np.ndarray, lengths: np.ndarray, sums: FloatArray, squares: FloatArray) -> FloatArray:
    """Return one logit for each row of `inside`, which says for each block whether it is in-sample."""
    winners = _sharpes(inside, lengths, sums, squares).argmax(axis=1)
    outside = _sharpes(~inside, lengths, sums, squares)
    own = np.take_along_axis(outside, winners[:, None], axis=1)
    below = (outside < own).sum(axis=1)
    equal = (outside == own).sum(axis=1)
    n_trials = sums.shape[1]
    rank = (below + (equal + 1) / 2) / (n_trials + 1)
    logits: FloatArray = np.log(rank / (1 - rank))
    return logits


def _sharpes(chosen: np.ndarray, lengths: np.ndarray, sums: FloatArray, squares: FloatArray) -> FloatArray:
    """Return the Sharpe ratio of each trial (columns) over each choice of blocks (rows).

    Blocks are added one by one, so that the order of sums never depends on a library's threads.
    """
    total = np.zeros((len(chosen), sums.shape[1]))
    square = np.zeros_like(total)
    for block in range(len(lengths)):
        total += np.where(chosen[:, block, None], sums[block], 0.0)
        square += np.where(chosen[:, block, None], squares[block], 0.0)
    n = (chosen * lengths).sum(axis=1)[:, None]
    mean = total / n
    variance = square / n - mean * mean
    varies = variance > 1e-14 * square / n
    sharpes: FloatArray = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return sharpes


def _sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Return T - 1 times the variance of a Sharpe ratio, evaluated at the observed one."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe


def _probability(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
