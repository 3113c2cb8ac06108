"""Fitting once: what one fit makes of the labels it may see, and the score it gives to other bars.

A fit is a function of its rows alone: nothing is drawn but from a fixed seed, nothing runs on more than one
thread, and the value of a row does not depend on which others are scored with it, to the last bit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research_lab.bars import FloatArray, IntArray
from research_lab.models.model import Model

LEAST_ROWS: Final = 100
HELD_BACK: Final = 0.2  # share of the rows, the last ones, on which the deviation of a prediction is measured
MOST_DEVIATIONS: Final = 4.0  # a score of a return ends there
_FARTHEST: Final = 10.0  # deviations from its mean at which a feature ends
_SEED: Final = 0

Predict = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Rows:
    """What a fit sees, in the order of time: features, labels, and when each was known and complete, ms."""

    features: FloatArray
    label: FloatArray
    visible: IntArray
    known: IntArray

    @property
    def n(self) -> int:
        return int(self.label.shape[0])

    def part(self, keep: NDArray[Any]) -> Rows:
        """Return some of the rows, by their places."""
        return Rows(self.features[keep], self.label[keep], self.visible[keep], self.known[keep])


def learn(model: Model, rows: Rows) -> Predict | None:
    """Return what gives a score to features, or None where the rows are too few or all alike.

    A sign is scored 2 p - 1, in [-1, 1], where p is the fitted probability of a rise. A return is scored by
    its prediction over the root mean square of predictions out of sample, clipped to [-4, 4]: 1 is a
    prediction of the usual size. That size is measured inside the fit: the last fifth of the rows is
    predicted by a fit on those before, of which labels that reach into that fifth are left out.
    """
    if rows.n < LEAST_ROWS:
        return None
    with _one_thread():
        if model.classifies:
            return _fitted(model, rows)
        first = rows.n - int(rows.n * HELD_BACK)
        before = rows.part(np.flatnonzero(rows.known[:first] <= rows.visible[first]))
        trial = _fitted(model, before) if before.n >= LEAST_ROWS * (1.0 - HELD_BACK) / 2 else None
        final = _fitted(model, rows)
        if trial is None or final is None:
            return None
        size = math.sqrt(float(np.mean(np.square(trial(rows.features[first:])))))
    return _scaled(final, size) if size > 0.0 else None


def _scaled(predict: Predict, size: float) -> Predict:
    def score(features: FloatArray) -> FloatArray:
        return np.asarray(np.clip(predict(features) / size, -MOST_DEVIATIONS, MOST_DEVIATIONS))

    return score


def _fitted(model: Model, rows: Rows) -> Predict | None:
    """Return the prediction of one fit on standardised features; None where there is nothing to tell apart."""
    centre, spread = rows.features.mean(axis=0), rows.features.std(axis=0)
    scale = np.where(spread > 0.0, spread, np.inf)

    def standardised(features: FloatArray) -> FloatArray:
        return np.asarray(np.clip((features - centre) / scale, -_FARTHEST, _FARTHEST))

    label: Any = rows.label > 0.0 if model.classifies else rows.label
    if np.unique(label).shape[0] < 2:
        return None
    made = _ESTIMATORS[model.estimator.kind](model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of slow convergence: the coefficients reached are those that count
        made.fit(standardised(rows.features), label)
    raw = _linear(made) if model.estimator.kind in ("ridge", "logistic") else _of_trees(made, model)

    def predict(features: FloatArray) -> FloatArray:
        if not features.shape[0]:
            return np.empty(0)
        return raw(standardised(features))

    return predict


def _linear(made: Any) -> Predict:
    """Return a linear prediction, its products added feature by feature.

    A product of matrices may add in another order when it has fewer rows; then the future would move the past.
    """
    coefficients, constant = np.ravel(made.coef_), float(np.ravel(made.intercept_)[0])
    squashed = hasattr(made, "classes_")

    def raw(features: FloatArray) -> FloatArray:
        total = np.full(features.shape[0], constant)
        for k, coefficient in enumerate(coefficients):
            total += coefficient * features[:, k]
        return _twice_p_less_1(total) if squashed else total

    return raw


def _of_trees(made: Any, model: Model) -> Predict:
    def raw(features: FloatArray) -> FloatArray:
        with _one_thread():
            if not model.classifies:
                return np.asarray(made.predict(features), np.float64)
            if model.estimator.kind == "random_forest":
                return np.asarray(2.0 * made.predict_proba(features)[:, 1] - 1.0)
            return _twice_p_less_1(np.asarray(made.decision_function(features), np.float64))

    return raw


def _twice_p_less_1(logit: FloatArray) -> FloatArray:
    """Return 2 p - 1 of log odds, one by one: a vectorised function may round its last values otherwise."""
    return np.array([math.tanh(value / 2.0) for value in logit.tolist()])


def _ridge(model: Model) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=model.estimator.options["alpha"], solver="cholesky")


def _logistic(model: Model) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=model.estimator.options["c"], solver="newton-cholesky", max_iter=100)


def _boosting(model: Model) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    told = model.estimator.options
    kind = HistGradientBoostingClassifier if model.classifies else HistGradientBoostingRegressor
    return kind(
        max_iter=int(told["trees"]),
        learning_rate=told["learning_rate"],
        max_depth=int(told["depth"]),
        min_samples_leaf=int(told["leaf"]),
        l2_regularization=told["l2"],
        early_stopping=False,
        random_state=_SEED,
    )


def _forest(model: Model) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    told = model.estimator.options
    kind = RandomForestClassifier if model.classifies else RandomForestRegressor
    return kind(
        n_estimators=int(told["trees"]),
        max_depth=int(told["depth"]),
        min_samples_leaf=int(told["leaf"]),
        max_features=1 / 3,
        random_state=_SEED,
        n_jobs=1,
    )


_ESTIMATORS: dict[str, Callable[[Model], Any]] = {
    "ridge": _ridge,
    "logistic": _logistic,
    "hist_gradient_boosting": _boosting,
    "random_forest": _forest,
}


def _one_thread() -> AbstractContextManager[Any]:
    """Return what keeps OpenMP and BLAS to one thread: sums of several would depend on how many there are."""
    context: AbstractContextManager[Any] = _pools().limit(limits=1)
    return context


@cache
def _pools() -> Any:
    """Return the thread pools of this process, looked for once, when all that have some are loaded."""
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
