from __future__ import annotations

import os
import re
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import fftconvolve

from research_lab.errors import UsageError
from research_lab.validation.causality.check import check_callable
from research_lab.validation.causality.given import POISONS, Given
from research_lab.validation.causality.outputs import columns_of, difference
from research_lab.validation.causality.search import in_order
from research_lab.validation.causality.target import load_target, target_of
from tests.research_lab.validation.causality.corpus import candles

GIVEN = Given.of_frame(candles(300))
Frame = pd.DataFrame


def trend(df: Frame) -> Any:
    return df.close > df.close.rolling(20).mean()


def slow(df: Frame) -> Any:
    time.sleep(0.05)
    return trend(df)


def peek(df: Frame) -> Any:
    return trend(df).where(np.arange(len(df)) != 137, df.close.shift(-1) > df.close * 10)


def checked(function: Any, given: Given = GIVEN, **options: Any) -> Any:
    return check_callable(function, given, **{"n_workers": 1, "starts": False, **options})


def test_every_bar_is_cut_after_and_other_futures_are_tried() -> None:
    report = checked(trend)
    assert report.outcome == "PASS"
    assert report.n_cuts == report.n_possible == 299
    assert report.n_poisoned >= 32 * len(POISONS)
    assert set(report.missed.values()) == {0.0}


def test_a_leak_of_one_bar_is_told_with_its_place() -> None:
    def leaky(df: Frame) -> Any:
        return trend(df).where(np.arange(len(df)) != 137, df.close.shift(-2) > 0)

    found = checked(leaky).counter_example
    assert (found.bar, found.cut, found.before, found.after) == (137, 137, "True", "False")
    assert "shift(-2)" in found.cause


def test_what_was_made_beforehand_cannot_be_cut_off_and_is_told() -> None:
    beforehand = candles(300).close.shift(-1) > candles(300).close

    def from_a_file(df: Frame) -> Any:
        return beforehand.reindex(df.index)

    def by_the_clock(df: Frame) -> Any:
        return pd.Series(df.index.hour == 9, df.index)

    def rarely(df: Frame) -> Any:
        return df.close > 1.2 * df.close.shift(1)

    for function in (from_a_file, by_the_clock):
        report = checked(function)
        assert report.outcome == "PASS" and "a file or values of its own" in report.notes[-1]
    for function in (trend, rarely):
        assert not any("of its own" in note for note in checked(function).notes)


def test_any_number_of_workers_gives_the_same_report() -> None:
    def centred(df: Frame) -> Any:
        return df.close.rolling(7, center=True).mean()

    for function in (trend, centred):
        assert asdict(checked(function)) == asdict(checked(function, n_workers=3))


def test_without_a_value_that_changes_nothing_is_known() -> None:
    report = checked(lambda df: {"enter": pd.Series(False, df.index), "size": 0.5})
    assert report.outcome == "INSUFFICIENT"
    assert report.silent == ("enter",)
    assert "no value changes" in report.lacking[0]


@pytest.mark.parametrize("still", [False, 0.0, 0.01, np.nan, "flat"])
def test_a_column_that_never_changes_is_no_pass_unless_it_is_named(still: Any) -> None:
    def two(df: Frame) -> Any:
        return {"long": trend(df), "short": pd.Series(still, df.index), "risk": 0.01}

    report = checked(two)
    assert (report.outcome, report.silent) == ("INSUFFICIENT", ("short",))
    assert "--constant short" in report.lacking[0]
    report = checked(two, constant=("short",))
    assert (report.outcome, report.silent, report.lacking) == ("PASS", (), ())
    assert "as was said: short" in report.notes[0]
    with pytest.raises(UsageError, match="no column shorts; it returned long, short, risk"):
        checked(two, constant=("shorts",))


def test_a_column_that_may_stay_the_same_is_compared_nevertheless() -> None:
    def leaky(df: Frame) -> Any:
        return {"long": trend(df), "short": df.close.shift(-1) > df.close}

    assert checked(leaky, constant=("short",)).counter_example.column == "short"


def test_a_small_budget_says_what_was_left_out() -> None:
    report = checked(slow, budget_s=3.0)
    assert report.outcome == "PASS"
    assert 5 < report.n_cuts < 100
    k, chance = next(iter(report.missed.items()))
    assert k == 1
    assert chance == pytest.approx(1.0 - report.n_cuts / 299)
    assert list(report.missed.values()) == sorted(report.missed.values(), reverse=True)


def test_when_time_runs_out_a_budget_is_told_that_would_do() -> None:
    report = checked(slow, budget_s=0.2, starts=True)
    assert report.outcome == "INSUFFICIENT"
    assert "time ran out" in report.warmup.sentence
    assert report.silent == ()
    found = re.search(
        r"time ran out after (\d+) of 299 cuts.* a call takes 0.0\d+ s.*--budget (\d+)", report.lacking[0]
    )
    assert found is not None
    assert int(found[1]) == report.n_cuts < 16
    assert checked(slow, budget_s=float(found[2])).outcome == "PASS"


def test_the_first_calls_are_cuts_too_and_find_a_plain_leak() -> None:
    report = checked(_late_next, budget_s=0.2)
    assert report.outcome == "FAIL"
    assert "time ran out" in report.counter_example.cause or "shift(-1)" in report.counter_example.cause


def _late_next(df: Frame) -> Any:
    time.sleep(0.05)
    return df.close.shift(-1)


def test_signals_come_first_when_there_is_little_time() -> None:
    order = in_order(1_000, np.array([10, 500, 900]))
    assert {10, 500, 900} <= set(order[:4].tolist())
    assert sorted(order.tolist()) == list(range(1_000))
    gaps = np.diff(np.sort(in_order(10_000, np.empty(0, np.int64))[:100]))
    assert gaps.max() < 4 * 100


def test_rounding_within_a_tolerance_is_no_leak() -> None:
    def hairy(df: Frame) -> Any:
        return df.close * (1.0 + 1e-10 * np.sign(df.close.shift(-1) - df.close).fillna(0.0))

    assert checked(hairy).outcome == "FAIL"
    assert checked(hairy, tolerance=1e-9).outcome == "PASS"


def test_what_raises_on_all_bars_is_told_with_the_exception() -> None:
    with pytest.raises(UsageError, match="KeyError: 'nothing', given all 300 bars"):
        checked(lambda df: df["nothing"])


def test_what_raises_on_many_bars_is_told_with_the_cut() -> None:
    def late(df: Frame) -> Any:
        if len(df) < 250:
            raise ValueError("too short")
        return trend(df)

    with pytest.raises(UsageError, match="ValueError: too short, given the bars up to bar 248"):
        checked(late)


def test_what_raises_in_places_without_a_sign_of_the_future_is_no_pass() -> None:
    def refusing(df: Frame) -> Any:
        if len(df) % 100 == 50:
            raise ValueError("stale")
        return trend(df)

    report = checked(refusing)
    assert report.outcome == "INSUFFICIENT"
    assert "up to bar 49 it raises ValueError: stale" in report.lacking[0]
    assert "so at 2 more" in report.lacking[0]
    assert report.first_bar == 0


def test_a_warm_up_that_raises_for_all_but_the_shortest_frames_is_none_of_it() -> None:
    def seeded(df: Frame) -> Any:
        mean = np.full(len(df), np.nan)
        if len(df) > 2:
            mean[59] = df.close.iloc[:60].mean()
            for t in range(60, len(df)):
                mean[t] = 0.9 * mean[t - 1] + 0.1 * df.close.iloc[t]
        return mean

    report = checked(seeded)
    assert (report.outcome, report.first_bar) == ("PASS", 59)


def test_what_raises_for_want_of_later_bars_reaches_beyond_them() -> None:
    def touching(df: Frame) -> Any:
        close, found = df.close.to_numpy(), trend(df).to_numpy().copy()
        found[200:201] &= close[201 if len(df) > 200 else 0] > 0.0
        return found

    found = checked(touching).counter_example
    assert (found.bar, found.cut, found.column, found.before) == (200, 200, "the run", "complete")
    assert found.after.startswith("IndexError: index 201 is out of bounds")
    assert "beyond the last bar" in found.cause


def test_what_is_kept_of_the_first_call_shows_though_most_parts_agree_by_chance() -> None:
    fitted: dict[str, float] = {}

    def fitted_once(df: Frame) -> Any:
        return df.close / fitted.setdefault("top", float(df.close.max()))

    early = candles(300)
    early.iloc[20:30] *= 2.0  # the highest close of all is that of most parts
    report = checked(fitted_once, Given.of_frame(early))
    assert report.outcome == "FAIL"
    assert report.counter_example.done == "given bars up to 1 after a call with all bars"
    assert "kept between calls" in report.counter_example.cause


def _weights(n: int) -> Any:
    return np.tril(0.9 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))))


def test_zero_times_a_missing_later_value_is_no_leak() -> None:
    def weighted(df: Frame) -> Any:
        return _weights(len(df)) @ df.close.to_numpy() / _weights(len(df)).sum(axis=1) < df.close.to_numpy()

    report = checked(weighted)
    assert report.outcome == "PASS" and report.n_cuts == 299
    assert any("the weight zero" in note for note in report.notes)
    holes = candles(300)
    holes.iloc[290, 4] = np.nan  # where bars are missing, it matters
    report = checked(weighted, Given.of_frame(holes))
    assert report.outcome == "FAIL" and "missing values" in report.counter_example.done


def test_a_transform_whose_last_digits_mix_all_rows_passes_within_a_tolerance() -> None:
    def transformed(df: Frame) -> Any:
        return fftconvolve(df.close.to_numpy(), np.full(20, 0.05))[: len(df)]

    found = checked(transformed).counter_example
    assert "the size of rounding" in found.cause
    assert checked(transformed, tolerance=1e-9).outcome == "PASS"


def test_a_leak_that_other_futures_show_too_is_found_beside_a_weight_of_zero() -> None:
    def both(df: Frame) -> Any:
        ahead = df.close[::-1].cummax()[::-1] > 1.5 * df.close  # not so on these bars
        return {"mean": _weights(len(df)) @ df.close.to_numpy(), "out": ahead ^ trend(df)}

    assert checked(both).outcome == "FAIL"


@pytest.mark.parametrize("none", [1e9, 1e18, float(np.finfo(float).max)])
def test_a_placeholder_for_no_stop_hides_no_difference(none: float) -> None:
    def by_length(df: Frame) -> Any:
        return {"stop": (df.close / df.close.iloc[0] - 1e-4 / len(df)).where(trend(df), none)}

    report = checked(by_length)
    assert report.outcome == "FAIL"
    assert "number of bars" in report.counter_example.cause


def test_a_fault_at_the_end_of_a_longer_bar_is_no_higher_timeframe() -> None:
    def peeking(due: Any) -> Any:
        return checked(lambda df: df.close.where(~due[: len(df)], df.close.shift(-1))).counter_example.cause

    first_of_two = np.arange(300) % 6 == 0
    assert "bar of 2h" in peeking(first_of_two)
    mostly = first_of_two | (np.arange(300) == 137)
    assert "shift(-1)" in peeking(mostly) and "bar of" not in peeking(mostly)


def test_lists_and_dictionaries_by_time_give_one_value_a_bar() -> None:
    def honest(df: Frame) -> Any:
        found = [None if np.isnan(c) else c > o for c, o in zip(df.close, df.open, strict=True)]
        words = ["up" if up else "down" for up in found]
        return {"list": found, "words": words, "by time": dict(zip(df.index, found, strict=True))}

    report = checked(honest)
    assert (report.outcome, report.columns) == ("PASS", ("list", "words", "by time"))

    def leaky(df: Frame) -> Any:
        return (df.close.shift(-1) > df.close).to_dict()

    found = checked(leaky).counter_example
    assert "shift(-1)" in found.cause and found.column == "result"


def test_dates_periods_and_intervals_are_values_like_others() -> None:
    def helped(df: Frame) -> Any:
        df["day"], df["clock"] = df.index.date, df.index.time
        df["week"] = df.index.tz_localize(None).to_period("W")
        df["move"] = pd.cut(df.close.pct_change(), [-1.0, -0.01, 0.0, 0.01, 1.0])
        df["top"] = df.groupby("day").high.cummax()
        return df

    assert checked(helped).outcome == "PASS"
    found = checked(lambda df: pd.qcut(df.close, 4)).counter_example
    assert "whole sample" in found.cause and "Interval" in found.before


def test_a_series_may_have_lost_its_time_zone() -> None:
    assert checked(lambda df: trend(df).tz_localize(None)).outcome == "PASS"


def test_what_raises_after_other_calls_alone_keeps_something() -> None:
    calls: list[int] = []

    def tiring(df: Frame) -> Any:
        calls.append(len(df))
        if len(calls) > 200 and len(df) < 300:
            raise ValueError("tired")
        return trend(df)

    report = checked(tiring)
    assert report.outcome == "FAIL"
    assert "between calls" in report.counter_example.cause


def test_a_leak_where_short_frames_raise_is_found_by_other_futures() -> None:
    def fitted_on_the_first(df: Frame) -> Any:
        if len(df) < 100:
            raise ValueError("too short")
        return df.close > df.close.iloc[:100].mean()

    report = checked(fitted_on_the_first)
    assert report.outcome == "FAIL"
    assert report.counter_example.cut < 99


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda df: trend(df).iloc[1:], "299 labels instead of 300"),
        (lambda df: trend(df)[::-1], "same labels in another order"),
        (lambda df: trend(df).shift(1, freq="1h"), "another index"),
        (lambda df: trend(df).tz_localize(None).shift(1, freq="1h"), "another index"),
        (lambda df: np.zeros(7), "7 values for 300 bars"),
        (lambda df: [{"entry": t, "profit": 1.0} for t in df.index[::10]], "30 values for 300 bars"),
        (lambda df: list(zip(df.index, trend(df), strict=True)), "values of type tuple"),
        (lambda df: {t: {"enter": True} for t in df.index}, "values of type dict"),
        (lambda df: object(), "of type object"),
        (lambda df: None, "returned nothing"),
        (lambda df: os._exit(1), "ended its process"),
    ],
)
def test_what_cannot_be_compared_is_refused(function: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked(function)


def test_what_fits_all_bars_but_not_every_cut_depends_on_the_rows_or_on_other_calls() -> None:
    kept: dict[str, Any] = {}

    def kept_from_the_first_call(df: Frame) -> Any:
        return kept.setdefault("signals", trend(df).to_numpy())

    def without_a_row_in_places(df: Frame) -> Any:
        return trend(df).iloc[1:] if len(df) % 50 == 20 else trend(df)

    def nothing_for_few_bars(df: Frame) -> Any:
        return trend(df) if len(df) >= 60 else pd.Series(dtype=float)

    stale, odd, honest = map(
        checked, (kept_from_the_first_call, without_a_row_in_places, nothing_for_few_bars)
    )
    assert stale.outcome == odd.outcome == "FAIL" and honest.outcome == "PASS"
    assert "kept between calls" in stale.counter_example.cause
    assert "number of bars" in odd.counter_example.cause and odd.counter_example.cut == 19
    assert "19 labels instead of 20 (given 20 bars) (6 such cuts)" in odd.notes[0]
    assert honest.first_bar == 59 and any("0 labels instead of 59" in note for note in honest.notes)


def test_few_bars_and_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="wanted 10 at least"):
        checked(trend, Given.of_frame(candles(9)))
    for options, words in (
        ({"budget_s": -1.0}, "-1 seconds"),
        ({"budget_s": np.inf}, "inf seconds"),
        ({"budget_s": np.nan}, "nan seconds"),
        ({"tolerance": np.inf}, "a tolerance of inf"),
        ({"tolerance": 0.5}, "a tolerance of 0.5"),
        ({"tolerance": -1e-9}, "a tolerance of -1e-09"),
        ({"warmup_bars": 0}, "a warm-up of 0 bars"),
    ):
        with pytest.raises(UsageError, match=words):
            checked(trend, **options)


def test_what_later_starts_need_is_compared_with_what_was_told() -> None:
    report = checked(trend, starts=True, warmup_bars=20)
    assert report.warmup.needed_bars == 20
    assert report.warmup.passed
    assert not checked(trend, starts=True, warmup_bars=19).warmup.passed


def test_what_depends_on_the_first_bar_is_no_leak_but_said() -> None:
    report = checked(lambda df: df.close / df.close.iloc[0], starts=True)
    assert report.outcome == "PASS"
    assert report.warmup.needed_bars is None
    assert "where its data begins" in report.warmup.sentence


@pytest.mark.parametrize("at_open", [False, True])
@pytest.mark.parametrize("kind", POISONS)
def test_other_futures_leave_what_was_known(kind: str, at_open: bool) -> None:
    given, cut = Given.of_frame(candles(50), at_open=at_open), 20
    frame, known = given.poisoned(cut, kind)[0].to_numpy(), given.known(cut)[0].to_numpy()
    last = cut if at_open else cut + 1
    assert frame[:last].tobytes() == known[:last].tobytes() == given.values[:last].tobytes()
    assert frame[cut, 0] == known[cut, 0] == given.values[cut, 0]
    assert (frame[cut + 1 :] != given.values[cut + 1 :]).any()
    assert (known[cut] != given.values[cut]).any() == at_open


def test_columns_are_compared_to_the_bit_whatever_pandas_keeps_them_in() -> None:
    index = pd.date_range("2020", periods=3, freq="1h", tz="UTC")
    result = {
        "a": pd.Series([1, 2, 3], index, dtype="Int64"),
        "b": pd.Series([True, None, False], index, dtype="boolean"),
        "c": pd.Series(["x", None, "z"], index),
        "d": pd.Series(["x", "y", "x"], index, dtype="category"),
        "e": (np.zeros((3, 2)), 5),
        "f": pd.Series(index, index),
    }
    one = columns_of(result, index)
    assert list(one) == ["a", "b", "c", "d", "e.0.0", "e.0.1", "e.1", "f"]
    assert difference(one, columns_of(result, index), 2) is None
    for name, values in one.items():
        moved = {**one, name: values.copy()}
        moved[name][1] = "other" if values.dtype == object else np.nextafter(0.0, 1.0) + 7.0
        apart = difference(one, moved, 2)
        assert apart is not None
        assert (apart.column, apart.first, apart.n) == (name, 1, 1)
        assert difference(one, moved, 0) is None


def test_a_column_that_comes_later_counts_as_zeros() -> None:
    one = {"a": np.zeros(3), "b": np.array([0.0, 0.0, 1.0])}
    assert difference(one, {"a": np.zeros(3)}, 1) is None
    apart = difference(one, {"a": np.zeros(3)}, 2)
    assert apart is not None
    assert apart.after == "no such column"


def test_a_target_is_asked_for_what_it_takes(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class A:\n    @staticmethod\n    def f(df, series): return series\nx = 3\n")
    assert load_target(f"{file}:A.f").takes_series
    assert not target_of(lambda df, n=20: df).takes_series
    for text, words in (
        (f"{file}:x", "of type int"),
        (f"{file}:nothing", "there is no nothing"),
        ("no_such_module:f", "ModuleNotFoundError"),
        (f"{tmp_path}/none.py:f", "no such file"),
        ("words", "names no function"),
    ):
        with pytest.raises(UsageError, match=words):
            load_target(text)
    with pytest.raises(UsageError, match="asks for a, b, c"):
        target_of(lambda a, b, c: a)
    with pytest.raises(UsageError, match="takes a frame alone"):
        target_of(lambda df: df, series=True)
