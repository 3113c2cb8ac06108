"""Higher bars against a plain table by bucket: what they hold, when they complete, on any grid with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.engine import resampling
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.engine.program import N_INPUTS
from tests.research_lab.engine.invariants import block_cuts
from tests.research_lab.engine.tapes import HOUR_MS, Tape, walk, with_gaps

DAY_MS, WEEK_MS = 24 * HOUR_MS, 7 * 24 * HOUR_MS
STEPS = [HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS, 4 * HOUR_MS, 5 * HOUR_MS, DAY_MS, WEEK_MS, 2 * WEEK_MS]


def resampled(tape: Tape, step_ms: int, cuts: Sequence[int] = ()) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return the higher bars, the base bar at whose close each completes, and the state at the end."""
    state = np.zeros(resampling.SIZE)
    bars, completed = [], []
    for first, last in pairwise([0, *cuts, tape.n]):
        block = tape.window(first, last)
        out, emitted_at = np.empty((N_INPUTS, block.n + 1)), np.empty(block.n + 1, np.int64)
        m = resampling.resample(state, block.time, block.inputs, tape.step_ms, step_ms, out, emitted_at)
        bars.append(out[:, :m])
        completed.append(emitted_at[:m] + first)
    return np.concatenate(bars, axis=1), np.concatenate(completed), state


def expected(tape: Tape, step_ms: int) -> tuple[list[list[float]], list[int]]:
    """Return the same from a dictionary of buckets, counted from the epoch or its first Monday.

    The first bucket counts only when the tape begins with it.
    """
    origin = 4 * DAY_MS if step_ms % WEEK_MS == 0 else 0
    buckets: dict[int, list[int]] = {}
    for i, opened in enumerate(tape.time):
        buckets.setdefault((int(opened) - origin) // step_ms, []).append(i)
    bars, completed = [], []
    for number, members in buckets.items():
        end = origin + (number + 1) * step_ms
        closes = [i for i in range(members[0], tape.n) if tape.time[i] + tape.step_ms >= end]
        if closes and not (members[0] == 0 and tape.time[0] > origin + number * step_ms):
            o, h, low, c, v, f, p = tape.inputs[:, members]
            volume = 0.0
            for one in v:
                volume += one
            bars.append([o[0], h.max(), low.min(), c[-1], volume, f[-1], p[-1], end])
            completed.append(closes[0])
    return bars, completed


@pytest.mark.parametrize("step_ms", STEPS)
@pytest.mark.parametrize("gaps", [False, True])
def test_higher_bars_are_those_of_their_buckets(step_ms: int, gaps: bool) -> None:
    rng = np.random.default_rng(6)
    tape = walk(rng, 24 * 70)
    tape = with_gaps(rng, tape) if gaps else tape
    bars, completed, _ = resampled(tape, step_ms)
    wanted, wanted_at = expected(tape, step_ms)
    assert completed.tolist() == wanted_at
    assert bars.T.tobytes() == np.array(wanted).tobytes()
    assert len(wanted) > 2


@given(cuts=block_cuts(300), step_ms=st.sampled_from(STEPS), seed=st.integers(0, 20))
def test_any_cut_gives_the_same_bars(cuts: list[int], step_ms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape = with_gaps(rng, walk(rng, 400)).window(0, 300)
    cuts = [cut for cut in cuts if cut < tape.n]
    whole, pieces = resampled(tape, step_ms), resampled(tape, step_ms, cuts)
    assert [part.tobytes() for part in whole] == [part.tobytes() for part in pieces]


def test_a_week_ends_on_sunday_night() -> None:
    tape = walk(np.random.default_rng(1), 24 * 21)
    _, completed, _ = resampled(tape, WEEK_MS)
    closed = (tape.time[completed] + HOUR_MS).astype("datetime64[ms]")
    assert [str(t)[:16] for t in closed] == ["2021-01-11T00:00", "2021-01-18T00:00"]


def test_a_bar_whose_end_is_missing_completes_with_the_next_bar_there_is_beside_its_own() -> None:
    """Hours 0, 1, then 3 of the next bucket of two hours: both complete at the close of hour 3."""
    tape = walk(np.random.default_rng(1), 10)
    start = tape.time[0] + HOUR_MS  # 08:00, a border of two hours
    tape = Tape(HOUR_MS, start + HOUR_MS * np.array([0, 3, 4, 5]), tape.inputs[:, :4].copy(), np.zeros(4))
    bars, completed, _ = resampled(tape, 2 * HOUR_MS)
    assert completed.tolist() == [1, 1, 3]
    assert bars[3].tolist() == [tape.inputs[3, 0], tape.inputs[3, 1], tape.inputs[3, 3]]


def test_data_that_begin_inside_a_bucket_give_no_bar_for_it() -> None:
    tape = walk(np.random.default_rng(1), 12)  # begins at 07:00
    for begin, wanted in ((0, ["12:00", "16:00"]), (1, ["12:00", "16:00"]), (2, ["16:00"])):
        _, completed, _ = resampled(tape.window(begin, 12), 4 * HOUR_MS)
        closed = (tape.time[begin:][completed] + HOUR_MS).astype("datetime64[ms]")
        assert [str(t)[11:16] for t in closed] == wanted


def test_an_empty_bucket_is_no_bar() -> None:
    tape = walk(np.random.default_rng(1), 48)
    there = np.r_[0:9, 33:48]
    gap = Tape(HOUR_MS, tape.time[there], tape.inputs[:, there].copy(), tape.funding_due[there])
    _, completed, _ = resampled(gap, 4 * HOUR_MS)
    hours = (gap.time[completed] - gap.time[0]) // HOUR_MS
    assert hours.tolist() == [4, 8, 36, 40, 44]


def test_regimes_are_held_from_the_bar_that_completed_them() -> None:
    out = np.empty(6)
    last = resampling.expand(np.array([2.0, np.nan, 5.0]), np.array([1, 3, 4]), 3, 4.0, out)
    assert out.tolist() == [4.0, 2.0, 2.0, 0.0, 5.0, 5.0]
    assert last == 5.0
