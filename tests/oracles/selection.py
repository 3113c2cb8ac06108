"""What the statistics of selection mean, slowly and obviously: one draw, one split, one trade at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np

from research_lab.bars import FloatArray


def slow_logits(x: FloatArray, n_splits: int) -> list[float]:
    """Return CSCV's logits straight from the definition; len(x) is a multiple of n_splits."""
    blocks = np.split(x, n_splits)
    logits = []
    for chosen in itertools.combinations(range(n_splits), n_splits // 2):
        inside = np.vstack([blocks[i] for i in chosen])
        outside = np.vstack([blocks[i] for i in range(n_splits) if i not in chosen])
        winner = (inside.mean(axis=0) / inside.std(axis=0)).argmax()
        performance = outside.mean(axis=0) / outside.std(axis=0)
        rank = 1 + (performance < performance[winner]).sum()
        share = rank / (x.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return logits


def slow_cpcv_splits(
    n_days: int, n_folds: int, n_test_folds: int, purge: int, embargo: int
) -> list[tuple[list[int], list[list[int]]]]:
    """Return training days and test folds of each split, day by day from the rule.

    A day trains unless it is tested, or a test begins within the `purge` days after it, or a test ended
    within the `purge + embargo` days before it.
    """
    fold_of = [min(day // (n_days // n_folds), n_folds - 1) for day in range(n_days)]
    splits = []
    for chosen in itertools.combinations(range(n_folds), n_test_folds):
        tested = [fold_of[day] in chosen for day in range(n_days)]
        training = [
            day
            for day in range(n_days)
            if not tested[day]
            and not any(tested[day + 1 : day + 1 + purge])
            and not any(tested[max(0, day - purge - embargo) : day])
        ]
        splits.append((training, [[d for d in range(n_days) if fold_of[d] == fold] for fold in chosen]))
    return splits


def slow_cpcv_sharpes(
    x: FloatArray, n_folds: int, n_test_folds: int, purge: int, embargo: int
) -> list[float]:
    """Return the Sharpe ratio a year of each path, from the splits: the k-th test of each fold is path k."""
    tests: dict[int, list[FloatArray]] = {fold: [] for fold in range(n_folds)}
    splits = slow_cpcv_splits(len(x), n_folds, n_test_folds, purge, embargo)
    for chosen, (training, folds) in zip(
        itertools.combinations(range(n_folds), n_test_folds), splits, strict=True
    ):
        inside = x[training]
        best = int((inside.mean(axis=0) / inside.std(axis=0)).argmax())
        for fold, days in zip(chosen, folds, strict=True):
            tests[fold].append(x[days, best])
    sharpes = []
    for k in range(len(tests[0])):
        path = np.concatenate([tests[fold][k] for fold in range(n_folds)])
        sharpes.append(float(path.mean() / path.std(ddof=1) * math.sqrt(365)))
    return sharpes


def slow_reality_check(
    x: FloatArray, benchmark: FloatArray, starts: FloatArray, length: int
) -> dict[str, float]:
    """Return White's p and SPA's three, one draw of explicit days and one trial at a time."""
    n, d = len(x), x - benchmark[:, None]
    means = d.mean(axis=0)
    blocks = np.array([d[[(s + k) % n for k in range(length)]].sum(axis=0) for s in range(n)])
    omega = np.sqrt(((blocks - length * means) ** 2).sum(axis=0) / (n * length))
    near = math.sqrt(n) * means / omega >= -math.sqrt(2 * math.log(math.log(n)))
    centres = {
        "lower": np.maximum(means, 0.0),
        "consistent": np.where(near, means, 0.0),
        "upper": means,
    }
    hits = {"white": 0, "lower": 0, "consistent": 0, "upper": 0}
    best = max(0.0, float((math.sqrt(n) * means / omega).max()))
    for draw in starts:
        days = [(s + k) % n for s in draw for k in range(length)][:n]
        drawn = d[days].mean(axis=0)
        hits["white"] += (drawn - means).max() >= means.max()
        for kind, centre in centres.items():
            hits[kind] += max(0.0, float((math.sqrt(n) * (drawn - centre) / omega).max())) >= best
    return {kind: (1 + n_hits) / (1 + len(starts)) for kind, n_hits in hits.items()}


def slow_twin_equity(
    trades: list[tuple[int, int, float]],
    opens: FloatArray,
    closes: FloatArray,
    due: FloatArray,
    fee: float,
    slippage: float,
) -> FloatArray:
    """Return equity after every bar of trades (entry bar, bars held, signed size), bar by bar.

    A trade of no bars leaves at its own bar's close. Funding is paid at a bar's open by what was held before it.
    """
    cash, units = 1.0, 0.0
    equity = []
    for bar in range(len(opens)):
        cash -= units * due[bar] * opens[bar]
        for entry, held, size in trades:
            if units and bar == entry + held and held > 0:
                price = opens[bar] * (1 - math.copysign(slippage, units))
                cash += units * price - abs(units) * price * fee
                units = 0.0
            if bar == entry:
                price = opens[bar] * (1 + math.copysign(slippage, size))
                units = size * cash / price
                cash -= units * price + abs(units) * price * fee
                if held == 0:
                    price = closes[bar] * (1 - math.copysign(slippage, size))
                    cash += units * price - abs(units) * price * fee
                    units = 0.0
        equity.append(cash + units * closes[bar])
    return np.array(equity)


def slow_psr(daily: FloatArray, benchmark: float) -> float:
    """Return the probabilistic Sharpe ratio of returns, with scipy's moments and normal distribution."""
    from scipy import stats

    sharpe = float(daily.mean() / daily.std(ddof=1))
    skewness, kurtosis = stats.skew(daily), stats.kurtosis(daily, fisher=False)
    deviation = math.sqrt((1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2) / (len(daily) - 1))
    return float(stats.norm.cdf((sharpe - benchmark) / deviation))


def slow_deflated_sharpe(daily: FloatArray, sharpes: FloatArray) -> float:
    """Return the Deflated Sharpe ratio of returns, among trials with these Sharpe ratios a day."""
    from scipy import stats

    n, gamma = len(sharpes), float(np.euler_gamma)
    quantiles = stats.norm.ppf([1 - 1 / n, 1 - 1 / (n * math.e)])
    largest = (1 - gamma) * quantiles[0] + gamma * quantiles[1]
    return slow_psr(daily, float(np.std(sharpes, ddof=1) * largest))


def slow_min_track_record(daily: FloatArray, benchmark: float, confidence: float) -> float:
    """Return the number of observations at which the PSR formula reaches a confidence, by root finding."""
    from scipy import optimize, stats

    sharpe = float(daily.mean() / daily.std(ddof=1))
    skewness, kurtosis = stats.skew(daily), stats.kurtosis(daily, fisher=False)
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2

    def short(n: float) -> float:
        return float(stats.norm.cdf((sharpe - benchmark) * math.sqrt((n - 1) / spread)) - confidence)

    return float(optimize.brentq(short, 1.0, 1e9, xtol=1e-6, rtol=1e-14))
