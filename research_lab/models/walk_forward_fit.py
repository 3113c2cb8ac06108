"""A score for every bar from what was known before it: fitted again and again, each time on the past alone.

Fits happen at fixed times: whole multiples of the model's period since 1970, wherever the data begin, and at
borders given besides. The fit of time T sees a bar only when its label, embargo added, was complete by T; its
score goes to bars that completed after T, until the next fit. A bar of T itself belongs to the fit before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from research_lab.bars import Bars, FloatArray, IntArray
from research_lab.models.estimators import Predict, Rows, learn
from research_lab.models.model import Model
from research_lab.models.samples import NEVER, Samples, samples_of

Learned = dict[str, Predict | None]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Refit:
    """One fit: its time, the rows it saw, from when to when (last label complete), and whether it gave a model."""

    time_ms: int
    n_rows: int
    first_ms: int
    last_known_ms: int
    gave_model: bool


@dataclass(frozen=True, eq=False)
class Scores:
    """The score of every bar of the model's timeframe, NaN where none is known.

    Parameters
    ----------
    visible : (n,) ms at which each bar was complete. score : (n,), without dimension.
    label, known, close : as in `Samples`: what came of it, when, and the bar's close.
    refits : every fit that was asked for, in order.
    """

    model: Model
    visible: IntArray
    score: FloatArray
    label: FloatArray
    known: IntArray
    close: FloatArray
    refits: tuple[Refit, ...]


def fit(
    model: Model,
    bars: Bars,
    *,
    borders: Iterable[int] = (),
    until_ms: int = NEVER,
    learned: Learned | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Return the walk-forward scores of a model on some bars.

    Parameters
    ----------
    bars : of the market alone; external series are not read.
    borders : times besides the model's own at which it is fitted, ms UTC.
    until_ms : scores are wanted for bars complete by then; later ones are left NaN, their fits undone.
    learned : fits by what they saw, taken and kept; for the same model on bars that share a past.
    progress : told the share of the fits that are done.

    Raises
    ------
    InsufficientError
        The bars do not make the model's.
    """
    samples = samples_of(model, bars)
    score = np.full(samples.visible.shape[0], np.nan)
    times = refit_times(model, samples.visible, borders, until_ms)
    complete, refits = samples.complete, []
    for k, time in enumerate(times):
        later = times[k + 1] if k + 1 < len(times) else NEVER
        scored = complete & (samples.visible > time) & (samples.visible <= min(later, until_ms))
        rows = training_rows(model, samples, time)
        predict = _learn_once(model, rows, learned) if covers_enough(model, rows) else None
        refits.append(_refit(time, rows, predict))
        if predict is not None:
            score[scored] = predict(samples.features[scored])
        if progress is not None:
            progress((k + 1) / len(times))
    return Scores(model, samples.visible, score, samples.label, samples.known, samples.close, tuple(refits))


def refit_times(model: Model, visible: IntArray, borders: Iterable[int], until_ms: int = NEVER) -> list[int]:
    """Return the times of fits, ascending, from the first bar's on to before the last one wanted."""
    if not visible.shape[0]:
        return []
    first, last = int(visible[0]), min(int(visible[-1]), until_ms)
    regular = range(-(-first // model.refit_ms) * model.refit_ms, last, model.refit_ms)
    return sorted({*regular, *(time for time in borders if first <= time < last)})


def training_rows(model: Model, samples: Samples, time: int) -> Rows:
    """Return the rows that a fit of a time may see: known features, and labels complete embargo before it."""
    last = time - model.embargo_ms
    seen = samples.complete & np.isfinite(samples.label) & (samples.known <= last)
    if model.window_ms is not None:
        seen &= samples.visible > time - model.window_ms
    return Rows(samples.features, samples.label, samples.visible, samples.known).part(np.flatnonzero(seen))


def covers_enough(model: Model, rows: Rows) -> bool:
    """Whether rows cover the time that the model asks for."""
    return rows.n > 1 and int(rows.known[-1] - rows.visible[0]) >= model.at_least_ms


def _learn_once(model: Model, rows: Rows, learned: Learned | None) -> Predict | None:
    """Return the fit on some rows, a known one where exactly the same rows were fitted before."""
    if learned is None:
        return learn(model, rows)
    digest = hashlib.sha256(model.hash.encode())
    for column in (rows.features, rows.label, rows.visible, rows.known):
        digest.update(np.ascontiguousarray(column).tobytes())
    key = digest.hexdigest()
    if key not in learned:
        learned[key] = learn(model, rows)
    return learned[key]


def _refit(time: int, rows: Rows, predict: Predict | None) -> Refit:
    first, last = (int(rows.visible[0]), int(rows.known[-1])) if rows.n else (0, 0)
    return Refit(time, rows.n, first, last, predict is not None)
