"""Combinatorial purged cross-validation: many histories out of sample instead of one.

Time is cut into folds. Each choice of some of them is tested once by what the rest of the days chose, less
the days near a test's borders. Each fold is thus tested in several splits; the first of each, the second of
each and so on are stitched into paths, each of which runs through all days out of sample.

**Borders.** `purge` training days are left out before a test and after it, and `embargo` more after it. The
last fold has the days that do not divide evenly. The index sets are those of skfolio's CombinatorialPurgedCV.

Source: M. López de Prado (2018), Advances in Financial Machine Learning, chapter 12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError, UsageError
from research_lab.scoring.scorer import sharpe_of


@dataclass(frozen=True)
class Division:
    """How days are divided: so many folds, so many of them tested at once, and days left out at borders."""

    n_folds: int = 10
    n_test_folds: int = 3
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.n_test_folds < self.n_folds or min(self.purge, self.embargo) < 0:
            raise UsageError(
                f"{self.n_test_folds} of {self.n_folds} folds tested, purge {self.purge}, embargo {self.embargo}",
                remedy="test at least 2 folds and fewer than all; purge and embargo 0 days or more",
            )
        if self.n_splits > 100_000:
            raise UsageError(
                f"{self.n_splits:,} splits", remedy="ask for fewer folds; 100,000 splits at most"
            )

    @property
    def n_splits(self) -> int:
        """Choices of test folds."""
        return math.comb(self.n_folds, self.n_test_folds)

    @property
    def n_paths(self) -> int:
        """Paths through all days: in how many splits a fold is tested."""
        return math.comb(self.n_folds - 1, self.n_test_folds - 1)

    @property
    def tested(self) -> list[tuple[int, ...]]:
        """The folds that each split tests, in lexicographic order."""
        return list(itertools.combinations(range(self.n_folds), self.n_test_folds))

    @property
    def paths(self) -> IntArray:
        """Array of shape (n_folds, n_paths): the split whose test of a fold belongs to a path."""
        of = [
            [split for split, folds in enumerate(self.tested) if fold in folds]
            for fold in range(self.n_folds)
        ]
        return np.array(of, dtype=np.int64)

    def borders(self, n_days: int) -> IntArray:
        """Return the first day of each fold, and the number of days.

        Raises
        ------
        InsufficientError
            A fold would have nothing left to train on between two tests, or the last one would have more than
            twice the days of the others.
        """
        size = n_days // self.n_folds
        if n_days % self.n_folds > size:
            raise InsufficientError(
                f"{n_days} days do not make {self.n_folds} folds",
                "CPCV",
                "bring more days, or ask for fewer folds",
            )
        if self.purge + self.embargo >= size - 1:
            raise InsufficientError(
                f"{n_days} days give folds of {size} days, less {self.purge} purged and {self.embargo} embargoed",
                "CPCV",
                "bring more days, or ask for fewer folds",
            )
        return np.append(np.arange(self.n_folds, dtype=np.int64) * size, n_days)


def cpcv_splits(n_days: int, division: Division) -> Iterator[tuple[IntArray, list[IntArray]]]:
    """Yield the training days and the days of each test fold, split by split.

    Examples
    --------
    >>> train, tests = next(cpcv_splits(12, Division(3, 2, purge=1)))
    >>> train.tolist(), [test.tolist() for test in tests]
    ([9, 10, 11], [[0, 1, 2, 3], [4, 5, 6, 7]])
    """
    borders = division.borders(n_days)
    for folds in division.tested:
        parts = [np.arange(*_training(fold, folds, borders, division)) for fold in _others(folds, division)]
        yield np.concatenate(parts), [np.arange(borders[fold], borders[fold + 1]) for fold in folds]


def _others(tested: tuple[int, ...], division: Division) -> list[int]:
    return [fold for fold in range(division.n_folds) if fold not in tested]


def _training(
    fold: int, tested: tuple[int, ...], borders: IntArray, division: Division
) -> tuple[np.int64, np.int64]:
    """Return the half-open range of days that a fold gives for training."""
    first, last = borders[fold], borders[fold + 1]
    if fold - 1 in tested:
        first = first + division.purge + division.embargo
    if fold + 1 in tested:
        last = last - division.purge
    return first, last


@dataclass(frozen=True, eq=False)
class Cpcv:
    """What parameters chosen on the training days of each split were worth on its test days.

    Parameters
    ----------
    sharpes : (n_paths,) Sharpe ratio a year of each path; NaN for one that never moved.
    chosen : (n_splits,) column chosen on the training days; -1 where none moved, and the path rests.
    paths : (n_days, n_paths) daily returns.
    """

    sharpes: FloatArray
    chosen: IntArray
    paths: FloatArray

    @property
    def mean(self) -> float:
        """Mean of the paths' Sharpe ratios, a path that never moved counted as 0."""
        return float(np.nan_to_num(self.sharpes, nan=0.0).mean())

    @property
    def share_below_0(self) -> float:
        """Share of paths that did not earn."""
        return float((np.nan_to_num(self.sharpes, nan=0.0) <= 0.0).mean())

    def quantile(self, q: float) -> float:
        """Return a quantile of the paths' Sharpe ratios, interpolated."""
        return float(np.quantile(np.nan_to_num(self.sharpes, nan=0.0), q))


def cpcv(daily: FloatArray, division: Division) -> Cpcv:
    """Return the paths of a strategy whose parameters are chosen anew in every split.

    In each split the column with the highest Sharpe ratio on the training days is held on the test days.
    Nothing is scored: the returns are those of runs that were counted before.

    Parameters
    ----------
    daily : array of shape (n_days, n_trials), n_trials at least 1
        Daily returns of the parameter sets of one strategy; NaN counts as a flat day.

    Raises
    ------
    InsufficientError
        The days do not make the folds.
    """
    x = np.asarray(daily, dtype=np.float64)
    x = np.ascontiguousarray(np.where(np.isnan(x), 0.0, x))
    if x.ndim != 2 or x.shape[1] == 0 or not np.isfinite(x).all():
        raise UsageError(f"daily returns of shape {x.shape}", remedy="give finite (n_days, n_trials)")
    borders = division.borders(x.shape[0])
    chosen = _best_in_training(x, borders, division)
    paths = np.zeros((x.shape[0], division.n_paths))
    for fold, splits in enumerate(division.paths):
        days = slice(borders[fold], borders[fold + 1])
        held = chosen[splits]
        paths[days, held >= 0] = x[days][:, held[held >= 0]]
    return Cpcv(np.array([sharpe_of(path) for path in paths.T]), chosen, paths)


def _best_in_training(x: FloatArray, borders: IntArray, division: Division) -> IntArray:
    """Return the first of the best columns on each split's training days; -1 where none moved.

    Columns are compared by sum / sqrt(sum of squares), which orders them as the Sharpe ratio does. A fold's
    sums are made once for each way its ends are cut.
    """
    known: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}
    chosen = np.empty(division.n_splits, dtype=np.int64)
    for split, tested in enumerate(division.tested):
        total, square, n = np.zeros(x.shape[1]), np.zeros(x.shape[1]), 0
        for fold in _others(tested, division):
            first, last = (int(day) for day in _training(fold, tested, borders, division))
            if (first, last) not in known:
                days = x[first:last]
                known[first, last] = days.sum(axis=0), (days * days).sum(axis=0)
            total, square = total + known[first, last][0], square + known[first, last][1]
            n += last - first
        varies = square - total * total / n > 1e-14 * square
        ratio = np.where(varies, total / np.sqrt(np.where(varies, square, 1.0)), -np.inf)
        chosen[split] = int(ratio.argmax()) if varies.any() else -1
    return chosen
