"""Tuning: parameter sets that Optuna asks for, a batch of them as one sweep, judged on in-sample days only.

The sampler is named by the protocol: `tpe` (tree-structured Parzen estimator), `nsga2` (for several
objectives), `cmaes`, and `random`, the control that any of them has to beat. A grid no larger than the number
of trials is run whole, without a sampler. Each set is scored by the scorer, hence counted, once.

A later fold goes on from what the folds before it tried, whose days all lie before its own exam, and asks for
a few more sets: fewer looks than starting anew, and less of the sampler's time.

Source: James Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization; Kalyanmoy Deb et al. (2002),
NSGA-II; Nikolaus Hansen and Andreas Ostermeier (2001), Completely Derandomized Self-Adaptation.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import UsageError
from research_lab.scoring.scorer import Score, Scoring, drawdown_of, neighbours
from research_lab.validation.holding import turnover_of_days

if TYPE_CHECKING:
    import optuna

Scheme = Literal["anchored", "rolling"]
Sampler = Literal["tpe", "nsga2", "cmaes", "random"]
Objective = Literal["sharpe", "return", "max_drawdown", "turnover"]
Days = tuple[int, int]

UNSCORED: Final = -1e6  # merit of a parameter set that never moved: worse than any that did
BEST_KEPT, LATEST_KEPT = 40, 80  # what the Parzen estimator is told: its time grows with all that it was told
MAX_FITS: Final = 200  # of it a study; of more trials the others are neighbours of those asked for
LEADERS: Final = 10


@dataclass(frozen=True)
class Protocol:
    """How a walk-forward is done.

    Parameters
    ----------
    n_folds : out-of-sample stretches, of equal length. n_trials : parameter sets for the first fold.
    first_share : share of the days that only tunes. purge_days, embargo_days : least number of days cut off
        before each border and after it; see `validation.holding`.
    batch : parameter sets asked for at once. seed : of the sampler.
    scheme : in-sample days that begin with the first day, or that roll on at constant length.
    sampler, objectives : how sets are asked for, and by what they are judged, the first one foremost.
    n_refine : parameter sets asked for in each later fold, and on all research days.
    """

    n_folds: int = 5
    n_trials: int = 100
    first_share: float = 0.4
    purge_days: int = 5
    embargo_days: int = 1
    batch: int = 20
    seed: int = 0
    scheme: Scheme = "anchored"
    sampler: Sampler = "tpe"
    objectives: tuple[Objective, ...] = ("sharpe",)
    n_refine: int = 25

    def __post_init__(self) -> None:
        if not self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise UsageError("objectives are missing or named twice", "tuning", "name each one once")
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            raise UsageError("cmaes takes one objective", "tuning", "name one, or take nsga2 for several")


def tune(
    template: Spec, scorer: Scoring, days: Days, protocol: Protocol, seed: int, known: Sequence[Score] = ()
) -> list[Score]:
    """Return the scores of all parameter sets that were considered, judged on some days only.

    Parameters
    ----------
    days : half-open range; nothing outside it is looked at.
    known : scores of sets that were asked for on earlier days; they are considered too.
    """
    if template.n_combinations <= protocol.n_trials:
        return scorer.score([template.bind(values) for values in template.grid()])
    search = _Search(template, scorer, days, protocol, seed)
    search.told(known)
    n_left = protocol.n_refine if known else protocol.n_trials
    while n_left > 0:
        asked = search.ask(min(protocol.batch, n_left))
        n_left -= len(asked)
        search.told(scorer.score(asked))
    return list(search.scores.values())


def best(scores: Sequence[Score], days: Days, protocol: Protocol, scorer: Scoring) -> Score:
    """Return the best score on some days; the first of equal ones."""
    return scores[int(ranking(np.array([merits(s, days, protocol, scorer) for s in scores]))[0])]


def merits(score: Score, days: Days, protocol: Protocol, scorer: Scoring) -> list[float]:
    """Return the objectives on some days, turned so that more is better.

    A set that did not move on these days has the worst of each: it neither falls nor trades, and is no answer.
    """
    sharpe = score.sharpe(slice(*days))
    if not math.isfinite(sharpe):
        return [UNSCORED] * len(protocol.objectives)
    known: dict[str, Callable[[], float]] = {
        "sharpe": lambda: sharpe,
        "return": lambda: float(np.prod(1.0 + score.daily[slice(*days)])) - 1.0,
        "max_drawdown": lambda: -drawdown_of(score.daily[slice(*days)]),
        "turnover": lambda: -turnover_of_days(scorer, score, days),
    }
    return [known[name]() for name in protocol.objectives]


def ranking(values: FloatArray) -> np.ndarray:
    """Return the order of merit of (n_sets, n_objectives) values, more being better; ties keep their order.

    With one objective by its value. With several, the sets that no other one dominates come first, and among
    equals the smallest sum of ranks decides: the middle of the front rather than one of its ends.

    Examples
    --------
    >>> ranking(np.array([[1.0, 5.0], [3.0, 3.0], [2.0, 2.0], [4.0, 0.0]])).tolist()
    [1, 3, 0, 2]
    """
    if values.shape[1] == 1:
        return np.argsort(-values[:, 0], kind="stable")
    at_least = (values[:, None, :] >= values[None, :, :]).all(axis=2)
    dominated = (at_least & ~at_least.T).any(axis=0)
    ranks = (values[None, :, :] > values[:, None, :]).sum(axis=(1, 2))
    return np.lexsort((np.arange(values.shape[0]), -values[:, 0], ranks, dominated))


def choose_on_plateau(
    template: Spec, scorer: Scoring, protocol: Protocol, known: Sequence[Score] = ()
) -> tuple[Score, float]:
    """Return the final parameters, tuned on all research days, and how flat their surroundings are.

    Of the ten best, the one is taken of which the lesser is largest: its own Sharpe ratio, or the median of it and
    its neighbours, one step in one parameter. A needle is worth what surrounds it, a hole what it is itself.
    The plateau is that median over its own Sharpe ratio: 1 on flat ground, 0 on a needle's point.
    """
    days = (0, scorer.score([template])[0].daily.shape[0])
    scores = tune(template, scorer, days, protocol, protocol.seed + protocol.n_folds, known)
    order = ranking(np.array([merits(score, days, protocol, scorer) for score in scores]))
    leaders = [scores[k] for k in order[:LEADERS]]
    around = [neighbours(score.spec) for score in leaders]
    scorer.score([spec for group in around for spec in group])
    own = [_sharpe(leader) for leader in leaders]
    medians = [
        float(np.median([sharpe, *map(_sharpe, scorer.score(group))]))
        for sharpe, group in zip(own, around, strict=True)
    ]
    k = int(np.argmax(np.minimum(own, medians)))
    return leaders[k], medians[k] / own[k] if own[k] > 0 else math.nan


def _sharpe(score: Score) -> float:
    sharpe = score.sharpe()
    return sharpe if math.isfinite(sharpe) else UNSCORED


class _Search:
    """An Optuna study that is asked and told in batches."""

    def __init__(self, template: Spec, scorer: Scoring, days: Days, protocol: Protocol, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.template, self.scorer, self.days, self.protocol = template, scorer, days, protocol
        self.values = {name: param.values for name, param in template.params.items()}
        self.places: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.IntDistribution(0, len(v) - 1) for name, v in self.values.items()
        }
        self.sampler, self.rng = _sampler(protocol, seed), np.random.default_rng(seed)
        self.study = self._new_study()
        self.scores: dict[str, Score] = {}
        self._asked: list[optuna.Trial] = []
        self._finished: list[optuna.trial.FrozenTrial] = []

    def ask(self, n: int) -> list[Spec]:
        """Return at most n parameter sets, with each one asked for some of its neighbours; they may be known."""
        n_neighbours = -(-self.protocol.n_trials // MAX_FITS) - 1 if self.protocol.sampler == "tpe" else 0
        self._asked = [self.study.ask(self.places) for _ in range(-(-n // (1 + n_neighbours)))]
        sets = [
            self.template.bind({name: self.values[name][trial.params[name]] for name in self.values})
            for trial in self._asked
        ]
        around = [self._some_neighbours(spec, n_neighbours) for spec in sets]
        return [*sets, *(spec for group in around for spec in group)][:n]

    def _some_neighbours(self, spec: Spec, n: int) -> list[Spec]:
        if n == 0:
            return []
        near = neighbours(spec)
        return [near[k] for k in self.rng.permutation(len(near))[:n]]

    def told(self, scores: Sequence[Score]) -> None:
        """Tell the study what the sets asked for, their neighbours, or sets known from before are worth."""
        import optuna

        found = [merits(score, self.days, self.protocol, self.scorer) for score in scores]
        n = len(self._asked)
        for trial, merit in zip(self._asked, found[:n], strict=True):
            self._finished.append(self.study.tell(trial, merit))
        for score, merit in zip(scores[n:], found[n:], strict=True):
            params = {name: v.index(score.spec.values[name]) for name, v in self.values.items()}
            added = optuna.trial.create_trial(params=params, distributions=self.places, values=merit)
            self.study.add_trial(added)
            self._finished.append(added)
        if self._is_long:
            self.study = self._new_study()
            self.study.add_trials(self._kept())
        self._asked = []
        self.scores.update((score.spec.hash, score) for score in scores)

    @property
    def _is_long(self) -> bool:
        return self.protocol.sampler == "tpe" and len(self._finished) > BEST_KEPT + LATEST_KEPT

    def _kept(self) -> list[optuna.trial.FrozenTrial]:
        """Return the best and the latest trials, in the order of asking."""
        order = ranking(np.array([trial.values for trial in self._finished]))
        n = len(self._finished)
        kept = {*order[:BEST_KEPT].tolist(), *range(n - LATEST_KEPT, n)}
        return [self._finished[k] for k in sorted(kept)]

    def _new_study(self) -> optuna.Study:
        import optuna

        upwards = [optuna.study.StudyDirection.MAXIMIZE] * len(self.protocol.objectives)
        return optuna.create_study(directions=upwards, sampler=self.sampler)


def _sampler(protocol: Protocol, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    if protocol.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=max(2, protocol.batch))
    if protocol.sampler == "cmaes":
        if importlib.util.find_spec("cmaes") is None:
            raise UsageError(
                "the package cmaes is missing", "sampler cmaes", "pip install cmaes, or name tpe"
            )
        return samplers.CmaEsSampler(
            seed=seed, popsize=max(4, protocol.batch), warn_independent_sampling=False
        )
    if protocol.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, n_startup_trials=protocol.batch, constant_liar=True)
