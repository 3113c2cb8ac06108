"""Walk-forward: parameters tuned in-sample with Optuna, judged out-of-sample on one continuous run.

Folds are anchored: each fold's in-sample days begin with the first day and end before its out-of-sample
days, with `purge` days cut off in between, so that what is still open from tuning does not reach the exam,
and `embargo` days left out at the exam's beginning. A batch of parameter sets is one sweep.

Source: Robert Pardo (2008), The Evaluation and Optimization of Trading Strategies, chapter 11.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.scoring.scorer import Score, Scorer, neighbours, sharpe_of

_UNSCORED = -1e6  # objective of a parameter set that never moved: worse than any that did


@dataclass(frozen=True)
class Protocol:
    """How a walk-forward is done.

    Parameters
    ----------
    n_folds : out-of-sample stretches, of equal length. n_trials : parameter sets a fold.
    first_share : share of the days that only tunes. purge_days, embargo_days : cut off at each border.
    batch : parameter sets asked for at once. seed : of the sampler.
    """

    n_folds: int = 5
    n_trials: int = 100
    first_share: float = 0.4
    purge_days: int = 5
    embargo_days: int = 1
    batch: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: half-open ranges of days, the parameters tuned, and what they were worth."""

    inside: tuple[int, int]
    outside: tuple[int, int]
    values: dict[str, float]
    inside_sharpe: float
    outside_sharpe: float
    outside_return: float


@dataclass(frozen=True, eq=False)
class WalkForward:
    """All folds, and the daily returns of the out-of-sample stretches one after the other."""

    folds: tuple[Fold, ...]
    daily: FloatArray
    first_day: int

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of all out-of-sample days."""
        return sharpe_of(self.daily)

    @property
    def efficiency(self) -> float:
        """Out-of-sample over in-sample Sharpe ratio, means over folds; NaN when in-sample is not positive."""
        inside = float(np.mean([fold.inside_sharpe for fold in self.folds]))
        outside = float(np.mean([fold.outside_sharpe for fold in self.folds]))
        return outside / inside if inside > 0 else math.nan

    @property
    def share_profitable(self) -> float:
        """Share of folds with a positive out-of-sample return; NaN when no position was ever held."""
        if not self.daily.any():
            return math.nan
        return float(np.mean([fold.outside_return > 0 for fold in self.folds]))


def fold_days(n_days: int, protocol: Protocol) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return half-open ranges of in-sample and out-of-sample days, fold by fold.

    Examples
    --------
    >>> fold_days(100, Protocol(n_folds=2, first_share=0.4, purge_days=5, embargo_days=1))
    [((0, 35), (41, 70)), ((0, 65), (71, 100))]
    """
    first = round(n_days * protocol.first_share)
    borders = [first + round((n_days - first) * k / protocol.n_folds) for k in range(protocol.n_folds + 1)]
    folds = []
    for begin, end in itertools.pairwise(borders):
        inside, outside = (0, begin - protocol.purge_days), (begin + protocol.embargo_days, end)
        if inside[1] < 30 or outside[1] - outside[0] < 10:
            raise InsufficientError(
                f"{n_days} days give folds of {inside[1]} and {outside[1] - outside[0]} days",
                "walk-forward",
                "bring more data, or ask for fewer folds",
            )
        folds.append((inside, outside))
    return folds


def walk_forward(template: Spec, scorer: Scorer, protocol: Protocol) -> WalkForward:
    """Tune and judge a strategy fold by fold.

    Raises
    ------
    InsufficientError
        The days do not make the folds, or the timeframe does not fit the data.
    """
    n_days, first_day = _days(scorer, template)
    folds, stretches = [], []
    for k, (inside, outside) in enumerate(fold_days(n_days, protocol)):
        score = best(tune(template, scorer, inside, protocol, seed=protocol.seed + k), inside)
        stretch = score.daily[slice(*outside)]
        stretches.append(stretch)
        folds.append(
            Fold(
                inside,
                outside,
                score.spec.values,
                score.sharpe(slice(*inside)),
                score.sharpe(slice(*outside)) if stretch.any() else 0.0,
                float(np.prod(1.0 + stretch) - 1.0),
            )
        )
    return WalkForward(tuple(folds), np.concatenate(stretches), first_day)


def tune(template: Spec, scorer: Scorer, days: tuple[int, int], protocol: Protocol, seed: int) -> list[Score]:
    """Return the scores of the parameter sets that Optuna asked for, judged on some days only.

    A grid that is no larger than the number of trials is run whole; otherwise the tree-structured Parzen
    estimator chooses, told in batches.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=protocol.batch, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    values = {name: param.values for name, param in template.params.items()}
    places: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.IntDistribution(0, len(v) - 1) for name, v in values.items()
    }
    n_trials = min(protocol.n_trials, template.n_combinations)
    if n_trials == template.n_combinations:
        for spec in template.grid():
            study.enqueue_trial({name: values[name].index(spec[name]) for name in values})
    scores: dict[str, Score] = {}
    while n_trials > 0:
        asked = [study.ask(places) for _ in range(min(protocol.batch, n_trials))]
        n_trials -= len(asked)
        specs = [
            template.bind({name: values[name][trial.params[name]] for name in values}) for trial in asked
        ]
        for trial, score in zip(asked, scorer.score(specs), strict=True):
            study.tell(trial, _objective(score, days))
            scores[score.spec.hash] = score
    return list(scores.values())


def best(scores: Sequence[Score], days: tuple[int, int]) -> Score:
    """Return the score with the highest Sharpe ratio on some days; the first of equal ones."""
    return max(scores, key=lambda score: _objective(score, days))


def choose_on_plateau(template: Spec, scorer: Scorer, protocol: Protocol) -> tuple[Score, float]:
    """Return the final parameters, tuned on all research days, and how flat their surroundings are.

    Of the ten best, the one whose neighbours (one step in one parameter) do best in the median is taken.
    The plateau is that median over its own Sharpe ratio: 1 on flat ground, 0 on a needle's point.
    """
    n_days, _ = _days(scorer, template)
    days = (0, n_days)
    scores = tune(template, scorer, days, protocol, seed=protocol.seed + protocol.n_folds)
    leaders = sorted(scores, key=lambda score: -_objective(score, days))[:10]
    around = [neighbours(score.spec) for score in leaders]
    scorer.score([spec for group in around for spec in group])
    medians = [
        float(np.median([_objective(s, days) for s in [leader, *scorer.score(group)]]))
        for leader, group in zip(leaders, around, strict=True)
    ]
    chosen = int(np.argmax(medians))
    own = leaders[chosen].sharpe()
    plateau = medians[chosen] / own if own > 0 else math.nan
    return leaders[chosen], plateau


def _days(scorer: Scorer, template: Spec) -> tuple[int, int]:
    score = scorer.score([template])[0]
    return score.daily.shape[0], score.first_day


def _objective(score: Score, days: tuple[int, int]) -> float:
    sharpe = score.sharpe(slice(*days))
    return sharpe if math.isfinite(sharpe) else _UNSCORED
