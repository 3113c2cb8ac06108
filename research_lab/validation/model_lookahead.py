"""The look-ahead check of fitted models: poison the future, fit again, and no score of the past may move.

A model leaks where a strategy cannot: through labels that reach past a fit, a scaler that saw everything, or a
fit whose score is given to bars before it. So cuts lie just after fits, just before them and between them; after
each cut everything is replaced in six ways, features, labels and fits are made anew, and all scores of bars
that were complete by the cut must be the same bits. The score that strategies read is compared as well with
one made from these bars alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.bars import Bars, FloatArray
from research_lab.models.model import Model
from research_lab.models.walk_forward_fit import Learned, Scores, fit
from research_lab.series import align
from research_lab.timeframe import utc
from research_lab.validation.poison import poisoned

Fit = Callable[..., Scores]
N_REFITS: Final = 4  # looked at: the first two and the last two that gave a model


@dataclass(frozen=True)
class ModelReport:
    """What the check of a model looked at, and what it found.

    Parameters
    ----------
    outcome : "PASS", "FAIL", or "INSUFFICIENT" where no score was made.
    n_cuts, n_scores : cuts at which the future was replaced, scores in the bars.
    faults : a sentence each, the earliest first.
    """

    outcome: str
    n_cuts: int
    n_scores: int
    faults: tuple[str, ...]


def check_model(
    model: Model,
    bars: Bars,
    read: FloatArray | None = None,
    max_age_ms: int = 0,
    *,
    borders: Sequence[int] = (),
    seed: int,
    fitter: Fit = fit,
) -> ModelReport:
    """Look for anything in a model's scores that depends on bars after them.

    Parameters
    ----------
    bars : research bars. borders : times at which it was fitted besides its own.
    read : (n,) the score that strategies read at each bar's close, which may have been made from more bars;
        None where there is none to compare. max_age_ms : how long they take a score.
    seed : of noise. fitter : makes the scores; another one to test the check.
    """
    market = bars.with_series({})
    whole = fitter(model, market, borders=borders)
    n_scores = int(np.isfinite(whole.score).sum())
    if not n_scores:
        return ModelReport("INSUFFICIENT", 0, 0, (f"model {model.name}: no score in {bars.n} bars",))
    faults: list[str] = []
    if read is not None:
        faults += _differing_from_read(whole, market, read, max_age_ms)
    cuts, learned = _cuts(whole, market), Learned()
    for cut in cuts:
        faults += _moved(whole, market, cut, borders, seed, fitter, learned)
    return ModelReport("FAIL" if faults else "PASS", len(cuts), n_scores, tuple(faults))


def _differing_from_read(whole: Scores, bars: Bars, read: FloatArray, max_age_ms: int) -> Iterator[str]:
    closes = bars.time + bars.step_ms
    made = align(whole.visible + whole.model.lag_ms, whole.score, closes, max_age_ms)
    apart = np.flatnonzero(made.view(np.int64) != np.ascontiguousarray(read).view(np.int64))
    apart = apart[~(np.isnan(made[apart]) & np.isnan(read[apart]))]
    if apart.shape[0]:
        at = int(apart[0])
        yield (
            f"model {whole.model.name}: fitted on these bars alone, its score read at {utc(int(closes[at]))} is "
            f"{made[at]!r}, with all bars {read[at]!r}; {apart.shape[0]} bars differ"
        )


def _cuts(whole: Scores, bars: Bars) -> list[int]:
    """Return base bars to cut after: the first one scored by a fit, one amid, and the last before the next fit."""
    gave = [refit.time_ms for refit in whole.refits if refit.gave_model]
    chosen = sorted({*gave[:2], *gave[-2:]})
    ends = dict(zip(gave, [*gave[1:], int(whole.visible[-1])], strict=True))
    found: set[int] = set()
    for time in chosen:
        scored = np.flatnonzero((whole.visible > time) & (whole.visible <= ends[time]))
        found.update(int(whole.visible[k]) for k in (scored[:1].tolist() + scored[-1:].tolist()))
        found.update(int(whole.visible[k]) for k in scored[scored.shape[0] // 2 :][:1].tolist())
    closes = bars.time + bars.step_ms
    cuts = np.searchsorted(closes, sorted(found))
    return [int(cut) for cut in cuts if cut < bars.n - 1]


def _moved(
    whole: Scores,
    bars: Bars,
    cut: int,
    borders: Sequence[int],
    seed: int,
    fitter: Fit,
    learned: Learned,
) -> Iterator[str]:
    closed = int(bars.time[cut]) + bars.step_ms
    past = whole.visible <= closed
    for kind, tape in poisoned(bars, cut, np.random.default_rng([seed, cut])):
        other = fitter(whole.model, tape, borders=borders, until_ms=closed, learned=learned)
        seen = other.score[other.visible <= closed]
        moved = _first_moved(whole.score[past], seen)
        if moved is not None:
            before, after = (float(values[moved]) if moved < values.shape[0] else np.nan
                             for values in (whole.score[past], seen))  # fmt: skip
            at = utc(int(whole.visible[min(moved, whole.visible.shape[0] - 1)]))
            told = f"{kind.format(cut=cut)}, its score of {at} is {after!r}, and was {before!r}"
            yield f"model {whole.model.name}: {told}"


def _first_moved(one: FloatArray, other: FloatArray) -> int | None:
    """Return the first place at which two rows of scores are not the same bits, or one has ended."""
    n = min(one.shape[0], other.shape[0])
    same = (one[:n].view(np.int64) == other[:n].view(np.int64)) | (np.isnan(one[:n]) & np.isnan(other[:n]))
    if not same.all():
        return int(np.argmin(same))
    return None if one.shape[0] == other.shape[0] else n
