"""The broker against the slow one, over random markets in which the rare rules happen often."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.engine import broker, layout, protection, settlement
from research_lab.engine.jit import FloatArray, IntArray, kernel
from research_lab.engine.terms import Terms
from tests.oracles.random_markets import Case, random_case
from tests.oracles.slow_broker import floor_lot, nearest_tick
from tests.research_lab.engine.differential import REASON_NAMES, Played, difference, play

N_CASES = 30_000  # whole; a hundredth in the suite
SEED = 20_211


@kernel
def step_without_quiet_bars(
    book: FloatArray,
    plan: FloatArray,
    terms: FloatArray,
    inputs: FloatArray,
    funding_due: FloatArray,
    regime: FloatArray,
    registers: FloatArray,
    outputs: IntArray,
    emitted_at: IntArray,
    m: int,
    first_bar: int,
    start: int,
    veto: int,
    equity: FloatArray,
    position: FloatArray,
    reason: IntArray,
    fills: FloatArray,
) -> int:
    """`broker.step` without its shortcut: every bar goes through every rule."""
    n_fills = 0
    s = 0
    protection.watch(book, terms, plan)
    for t in range(inputs.shape[1]):
        barred = broker.reasons.INACTIVE if first_bar + t < start else veto
        n_fills, s, reason[t] = broker._step_bar(
            book, plan, terms, inputs, funding_due[t], regime[t], registers, outputs, emitted_at, m,
            first_bar + t, t, s, barred, fills, n_fills,
        )  # fmt: skip
        equity[t] = book[layout.EQUITY]
        position[t] = book[layout.QUANTITY]
    return n_fills


def case_number(k: int, *, n_bars: int = 60) -> tuple[Case, list[int]]:
    """Return a random case, decimal ticks and lots in every second, and random cuts."""
    rng = np.random.default_rng([SEED, k])
    case = random_case(rng, n_bars, decimal=k % 2 == 1)
    cuts = sorted(int(cut) for cut in rng.integers(1, n_bars, size=int(rng.integers(0, 12))))
    return case, cuts


@pytest.mark.proof
def test_the_broker_agrees_with_the_slow_one(campaign_share: float) -> None:
    seen: Counter[str] = Counter()
    for k in range(round(N_CASES * campaign_share)):
        case, cuts = case_number(k)
        for optimistic in (False, True):
            asked = dataclasses.replace(case, terms=dataclasses.replace(case.terms, optimistic=optimistic))
            slow, fast = asked.run(), play(asked, cuts)
            assert not (found := difference(slow, fast)), f"case {k}, optimistic {optimistic}: {found}"
            seen.update(fill.reason for fill in slow.fills)
    assert set(seen) == set(REASON_NAMES.values()), (
        f"never happened: {set(REASON_NAMES.values()) - set(seen)}"
    )


@pytest.mark.proof
def test_the_shortcut_over_quiet_bars_changes_no_byte(campaign_share: float) -> None:
    for k in range(round(N_CASES * campaign_share)):
        case, cuts = case_number(k)
        quick, plain = play(case, cuts), play(case, cuts, step_without_quiet_bars)
        assert same_but_watch(quick, plain), f"case {k}"


def same_but_watch(a: Played, b: Played) -> bool:
    """Whether two runs are equal, books too; the levels watched are a by-product, set anew by each block."""
    for played in (a, b):
        played.book[[layout.GUARD, layout.GOAL]] = 0.0
    return a.bytes == b.bytes


@pytest.mark.proof
@given(k=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 79), max_size=20))
def test_any_cut_gives_the_same_bytes(k: int, cuts: list[int]) -> None:
    case, _ = case_number(k, n_bars=80)
    whole = play(case)
    for pieces in (cuts, range(1, 80)):
        assert same_but_watch(play(case, list(pieces)), whole)


def test_a_trail_that_narrows_after_it_was_armed_moves_the_stop() -> None:
    """The price armed the trail earlier and stands lower now: the bar is not quiet."""
    narrow_late = [
        k
        for k in range(400)
        for case in [case_number(k)[0]]
        if case.plan.has_trail and case.plan.trail_after_r > 0 and not case.plan.regime_exit
    ]
    assert len(narrow_late) > 20
    for k in narrow_late:
        case, cuts = case_number(k)
        assert not difference(case.run(), play(case, cuts))


@pytest.mark.parametrize("step", [0.01, 0.05, 0.1, 0.3, 0.7, 0.001, 1e-5, 1e-8, 0.03125, 0.5, 1.0, 5.0, 25.0])
def test_ticks_and_lots_are_the_doubles_that_data_holds(step: float) -> None:
    terms = Terms(lot=step, tick=step).array()
    rng = np.random.default_rng(0)
    for value in [*(step * rng.uniform(1, 1e6, size=300)), *(step * rng.integers(1, 10**6, size=300))]:
        assert settlement.to_tick(value, terms) == nearest_tick(float(value), step)
        assert settlement.whole_lots(value, terms) == floor_lot(float(value), step)


def test_a_step_without_short_decimals_is_multiplied() -> None:
    terms = Terms(lot=1 / 3, tick=2.0**-30).array()
    assert terms[layout.LOT_SCALE] == terms[layout.TICK_SCALE] == 0.0
    assert settlement.whole_lots(1.0, terms) == pytest.approx(1.0, rel=1e-15)
    assert settlement.to_tick(3 * 2.0**-30, terms) == 3 * 2.0**-30
    assert settlement.to_tick(0.123, Terms().array()) == 0.123
    assert math.isnan(settlement.to_tick(math.nan, Terms(tick=0.05).array()))
