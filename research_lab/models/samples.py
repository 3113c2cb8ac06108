"""What a model learns from: features and label of every bar, and when each was known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from research_lab.bars import Bars, BoolArray, FloatArray, IntArray
from research_lab.engine.evaluation import evaluate
from research_lab.engine.program import CLOSING_TIME
from research_lab.errors import InsufficientError
from research_lab.models.model import CLOSE, Model
from research_lab.timeframe import is_made_of

NEVER: Final = 2**62  # when a label is known that is not complete


@dataclass(frozen=True, eq=False)
class Samples:
    """One row a bar of the model's timeframe, in the order of time.

    Parameters
    ----------
    visible : (n,) ms at which the bar was complete on the base grid, and its features known; no time twice.
    features : (n, k) in the model's order; NaN where unknown.
    label : (n,) return, a fraction, from the bar's close to that `horizon` bars later; NaN where there is none yet.
    known : (n,) ms at which the label was complete; `NEVER` where it is not.
    close : (n,) of the bar, quote currency.
    """

    visible: IntArray
    features: FloatArray
    label: FloatArray
    known: IntArray
    close: FloatArray

    @property
    def complete(self) -> BoolArray:
        """Which features are all known, and finite."""
        return np.asarray(np.isfinite(self.features).all(axis=1))


def samples_of(model: Model, bars: Bars) -> Samples:
    """Return features and labels of all bars that the base bars make, by one program, block by block.

    Raises
    ------
    InsufficientError
        The base bars do not make the model's.
    """
    if not is_made_of(model.step_ms, bars.step_ms):
        raise InsufficientError(
            f"{model.name} is fitted on {model.timeframe}, which bars of {bars.timeframe} do not make",
            bars.market.name,
            f"bring candles of {model.timeframe} or finer",
        )
    program, warmup = model.compiled
    outputs = np.append(program.outputs, [CLOSE, CLOSING_TIME])
    values, completed = evaluate(program._replace(outputs=outputs), model.step_ms, bars)
    warm = np.arange(completed.shape[0]) + 1 >= warmup
    features = np.where(warm, values[:-2], np.nan).T
    visible = bars.time[completed] + bars.step_ms
    known, label = _labels(values[-2], visible, model.horizon)
    return _last_of_each_time(Samples(visible, np.ascontiguousarray(features), label, known, values[-2]))


def _labels(close: FloatArray, visible: IntArray, horizon: int) -> tuple[IntArray, FloatArray]:
    """Return when each bar's label is complete, and the label."""
    n = close.shape[0]
    known, label = np.full(n, NEVER), np.full(n, np.nan)
    done = max(n - horizon, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        label[:done] = close[horizon:] / close[:done] - 1.0
    known[:done] = visible[horizon:]
    return known, np.where(np.isfinite(label), label, np.nan)


def _last_of_each_time(samples: Samples) -> Samples:
    """Return the samples without those that a later bar replaced at once: after a gap two may complete together."""
    last = np.append(np.diff(samples.visible) > 0, np.ones(min(samples.visible.shape[0], 1), np.bool_))
    if last.all():
        return samples
    return replace(samples, **{name: getattr(samples, name)[last] for name in Samples.__dataclass_fields__})
