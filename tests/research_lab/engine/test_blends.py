"""Confirmation over timeframes on tapes long enough for weeks to count, and what may not be blended."""

from __future__ import annotations

import numpy as np
import pytest

from research_lab.dsl import compiler
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.jit import FloatArray
from research_lab.engine.program import Program
from research_lab.errors import DimensionError, SpecError
from research_lab.timeframe import timeframe_ms
from tests.oracles import blends
from tests.oracles.indicators import ORACLES as O
from tests.research_lab.engine import invariants
from tests.research_lab.engine.blend_rows import prices
from tests.research_lab.engine.invariants import ProgramMachine
from tests.research_lab.engine.tapes import Tape, walk, with_gaps

SCORE = "close / sma(close, 3)"


def compiled(text: str, timeframe: str) -> tuple[Program, int]:
    step_ms = timeframe_ms(timeframe)
    return compiler.program_of([parse_expression(text, Scope(step_ms=step_ms))], step_ms)


def outputs(text: str, tape: Tape, timeframe: str) -> FloatArray:
    return invariants.run(ProgramMachine(compiled(text, timeframe)[0]), tape).rows[0]


def tape_of(timeframe: str, n: int, *, gaps: bool = True) -> Tape:
    rng = np.random.default_rng(31)
    tape = walk(rng, n, step_ms=timeframe_ms(timeframe))
    return with_gaps(rng, tape, 0.02) if gaps else tape


def score(bars: blends.Bars) -> FloatArray:
    return O["div"](bars["close"], O["sma"](bars["close"], 3))


@pytest.mark.parametrize(
    ("timeframe", "n", "n_timeframes"),
    [
        ("1h", 10_000, 4),
        ("15m", 6_000, 3),
        ("3h", 3_400, 2),
        ("4h", 2_600, 3),
        ("1d", 600, 2),
        ("1w", 300, 1),
    ],
)
def test_confirmation_is_the_plain_mean_over_the_timeframes_that_are_known(
    timeframe: str, n: int, n_timeframes: int
) -> None:
    tape = tape_of(timeframe, n)
    got = outputs(f"confirmed({SCORE})", tape, timeframe)
    wanted = blends.confirmed(tape.time, prices(tape), tape.step_ms, score)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=0)
    known = [
        step_ms
        for step_ms, _ in blends.STEPS.values()
        if step_ms >= tape.step_ms and step_ms % tape.step_ms == 0 and tape.n * tape.step_ms > 53 * step_ms
    ]
    assert len(known) == n_timeframes
    assert np.isfinite(got).sum() > 10


def test_the_weights_are_normalised_and_shift_towards_calm_timeframes() -> None:
    tape = tape_of("1h", 2_000)
    one = outputs("confirmed(close / close)", tape, "1h")
    np.testing.assert_allclose(one[np.isfinite(one)], 1.0, rtol=1e-12)
    calm = outputs("calm()", tape, "1h")
    assert np.nanmin(calm) >= 0.5 and np.nanmax(calm) <= 2.0
    # Hourly ranges twice as large for the last 14 hours: the hour's weight falls against the rest.
    wild = tape.inputs.copy()
    wild[1, -14:] *= 1.03
    louder = Tape(tape.step_ms, tape.time, wild, tape.funding_due)
    assert outputs("calm()", louder, "1h")[-1] < calm[-1]
    hour = f'({SCORE}) - tf("4h", {SCORE})'
    gap = outputs(hour, tape, "1h")[-1]
    moved = outputs(f"confirmed({SCORE})", louder, "1h")[-1] - outputs(f"confirmed({SCORE})", tape, "1h")[-1]
    assert abs(gap) > 1e-4 and moved != 0.0


def test_where_no_timeframe_is_known_the_mean_is_unknown() -> None:
    tape = tape_of("1h", 40, gaps=False)
    assert np.isnan(outputs(f"confirmed({SCORE})", tape, "1h")).all()
    assert np.isfinite(outputs(SCORE, tape, "1h")).any()


def test_any_cut_gives_the_same_bytes_and_nothing_ahead_counts() -> None:
    tape = tape_of("4h", 900)
    machine = ProgramMachine(compiled(f"confirmed({SCORE})", "4h")[0])
    for cuts in ([1, 2, 3, 400, 899], list(range(7, 900, 13))):
        invariants.check_all(machine, tape, cuts, 450)


def test_the_warm_up_is_that_of_the_longest_timeframe() -> None:
    # 51 weekly bars for calm(), the first of which may have begun before the tape: 52 weeks less a bar.
    assert compiled("confirmed(close)", "1d")[1] == 52 * 7
    assert compiled("confirmed(close)", "1w")[1] == 51


@pytest.mark.parametrize(
    ("text", "timeframe", "error", "what"),
    [
        ('confirmed(tf("4h", close))', "1h", SpecError, r"tf\(\) stands inside confirmed\(\)"),
        ('tf("4h", confirmed(close))', "1h", SpecError, r"tf\(\) stands inside tf\(\)"),
        ("confirmed(confirmed(close))", "1h", SpecError, r"stands inside confirmed\(\)"),
        ("confirmed(close)", "2w", SpecError, "needs bars that make up 1h, 4h, 1d or 1w"),
        ("confirmed(close > open)", "1h", DimensionError, r"confirmed\(\) does not take condition"),
        ("fused(close, volume)", "1h", DimensionError, "does not take price and volume"),
        ("fused(close, open, 2)", "1h", SpecError, "share of fused"),
        ("fused(close, open, close)", "1h", SpecError, "must be fixed before the run"),
    ],
)
def test_what_cannot_be_blended_is_refused(
    text: str, timeframe: str, error: type[SpecError], what: str
) -> None:
    with pytest.raises(error, match=what):
        compiled(text, timeframe)


def test_a_model_that_is_missing_is_not_needed() -> None:
    spec = parse_spec(
        "spec: 1\nname: f\nhypothesis: none\ntimeframe: 1h\nside: long\nenter_long: fused(rsi(14), premium) > 50\n"
        "exit_long: rsi(14) < 40\nsize: {fraction: 1}\n"
    )
    assert "premium" not in spec.needs
    tape = tape_of("1h", 500)
    alone = np.where(np.isnan(tape.named("premium")), tape.named("funding"), np.nan)
    got = outputs("fused(funding, premium)", tape, "1h")
    missing = np.isnan(tape.named("premium"))
    assert missing.sum() > 20
    np.testing.assert_array_equal(got[missing], alone[missing])
