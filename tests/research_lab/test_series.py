"""External series and calendars: what is visible at a close, against pandas and plain counting; bad files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.errors import DataError, UsageError
from research_lab.series import EventRule, Series, SeriesRule, align, named_files, read_series
from research_lab.timeframe import DAY_MS, HOUR_MS

T0 = 1_700_000_000_000 - 1_700_000_000_000 % DAY_MS
GOOD = [("2024-01-01", 1.0), ("2024-01-02", 2.0), ("2024-01-04", 3.0)]


@given(
    stamps=st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True).map(sorted),
    lag=st.integers(0, 50),
    age=st.integers(0, 90),
)
def test_the_last_visible_value_is_that_of_pandas(stamps: list[int], lag: int, age: int) -> None:
    closes = T0 + HOUR_MS * np.arange(0, 480, dtype=np.int64)
    time = T0 + HOUR_MS * np.array(stamps, np.int64)
    values = np.arange(len(stamps), dtype=float)
    seen = SeriesRule(lag * HOUR_MS, age * HOUR_MS).row("x", Series("x", time, values), closes)
    told = pd.DataFrame({"at": pd.to_datetime(time + lag * HOUR_MS, unit="ms"), "value": values})
    asked = pd.DataFrame({"at": pd.to_datetime(closes, unit="ms")})
    wanted = pd.merge_asof(asked, told, on="at", tolerance=pd.Timedelta(hours=age))["value"]
    np.testing.assert_array_equal(seen, wanted)


def test_a_value_is_seen_at_its_lag_and_gone_after_its_age_to_the_millisecond() -> None:
    closes = T0 + np.array([DAY_MS - 1, DAY_MS, 3 * DAY_MS, 3 * DAY_MS + 1])
    row = SeriesRule(DAY_MS, 2 * DAY_MS).row("x", Series("x", np.array([T0]), np.array([7.0])), closes)
    np.testing.assert_array_equal(row, [np.nan, 7.0, 7.0, np.nan])


def test_no_value_yet_is_unknown() -> None:
    assert np.isnan(align(np.empty(0, np.int64), np.empty(0), np.array([T0]), DAY_MS)).all()


def slow_hours(events: list[tuple[int, int]], close: int) -> tuple[float, float]:
    """Return hours since and to, of events (time, announced), by looking at each."""
    past = [(close - at) / HOUR_MS for at, told in events if at <= close and told <= close]
    future = [(at - close) / HOUR_MS for at, told in events if at >= close and told <= close]
    return min(past, default=np.nan), min(future, default=np.nan)


@given(
    stamps=st.lists(st.tuples(st.integers(0, 300), st.integers(-80, 20)), min_size=1, max_size=12,
                    unique_by=lambda pair: pair[0]).map(sorted)
)  # fmt: skip
def test_hours_are_those_of_events_known_at_the_close(stamps: list[tuple[int, int]]) -> None:
    time = T0 + HOUR_MS * np.array([at for at, _ in stamps], np.int64)
    announced = time + HOUR_MS * np.array([lead for _, lead in stamps], np.int64)
    closes = T0 + HOUR_MS * np.arange(-20, 330, 3, dtype=np.int64)
    series = Series("fomc.csv", time, announced=announced)
    pairs = list(zip(time.tolist(), announced.tolist(), strict=True))
    wanted = np.array([slow_hours(pairs, int(close)) for close in closes])
    for k, name in enumerate(("hours_since(fomc)", "hours_to(fomc)")):
        np.testing.assert_array_equal(EventRule().row(name, series, closes), wanted[:, k])


def test_a_calendar_as_long_as_the_bars_is_read_in_time() -> None:
    minutes = T0 + 60_000 * np.arange(500_000, dtype=np.int64)
    series = Series("ticks.csv", minutes[:200_000])
    began = time.process_time()
    ahead = EventRule(known_ahead=True).row("hours_to(ticks)", series, minutes + 30_000)
    assert (
        time.process_time() - began < 5.0
    )  # 0.4 s; 20 s where each event is written over all bars before it
    assert (ahead[:199_999] == 30_000 / HOUR_MS).all() and np.isnan(ahead[199_999:]).all()


def test_dates_known_ahead_need_no_announcement_and_others_do() -> None:
    series = Series("fomc.csv", T0 + DAY_MS * np.array([1, 3]))
    closes = T0 + DAY_MS * np.array([0, 1, 2, 4])
    np.testing.assert_array_equal(
        EventRule(known_ahead=True).row("hours_to(fomc)", series, closes), [24, 0, 24, np.nan]
    )
    with pytest.raises(DataError, match="add a column announced, or declare known_ahead: true"):
        EventRule().row("hours_to(fomc)", series, closes)
    np.testing.assert_array_equal(EventRule().row("hours_since(fomc)", series, closes), [np.nan, 0, 24, 24])


@pytest.mark.parametrize(
    "form", ["date.csv", "text.csv", "ms.csv", "stamp.parquet", "text.parquet", "ms.parquet"]
)
def test_one_series_from_any_form_of_file(form: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(GOOD, columns=["time", "value"])
    times = pd.to_datetime(frame["time"], utc=True)
    kind = form.split(".")[0]
    if kind == "text":
        frame["time"] = frame["time"] + "T00:00:00Z"
    elif kind == "ms":
        frame["time"] = times.dt.as_unit("ms").astype("int64")
    elif kind == "stamp":
        frame["time"] = times
    path = tmp_path / form
    frame.to_csv(path, index=False) if form.endswith("csv") else frame.to_parquet(path)
    series = read_series(path)
    assert series.time.tolist() == [1704067200000, 1704153600000, 1704326400000]
    assert series.value is not None and series.value.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,value\n2024-01-02,1\n2024-01-01,2\n2024-01-03,2\n", "row 1, 2024-01-01T00:00:00Z: earlier than"),
        ("time,value\n2024-01-01,1\n2024-01-01,2\n", "the same time as the row before"),
        ("time,value\n2024-01-01,1\n2024-01-02,nan\n", "row 1, 2024-01-02T00:00:00Z: value is nan"),
        ("time,value\n2024-01-01,1\n2024-01-02,inf\n", "value is inf; wanted a finite number"),
        ("time,value\n2024-01-01,1\n2024-01-02,\n", "value is nan"),
        ("time,value\n2024-01-01,one\n", "column value is of type string; wanted numbers"),
        ("time,value\nyesterday,1\n", "a column of times holds what is no time; write 2024-03-20T18:00:00Z"),
        ("time,value\n1704067200,1\n", "1704067200 is no time in milliseconds"),
        ("day,value\n2024-01-01,1\n", "wanted one column time among day, value"),
        ("time,date,value\n2024-01-01,2024-01-01,1\n", "wanted one column time among time, date, value"),
        ("time, announced\n2024-01-01,2023-12-01\n", "a column is called ' announced'; write announced"),
        ("time,Announced\n2024-01-01,2023-12-01\n", "a column is called 'Announced'; write announced"),
        ("time,announced,announced\n2024-01-01,2024-01-01,\n", "there is more than one column announced"),
        ("time,value\n", "the file has no rows"),
        ("", "not a readable CSV file"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_first_bad_row(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_series(path)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_a_bad_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    frame = pd.DataFrame(
        {"time": pd.to_datetime(["2024-01-01"]), "Announced": pd.to_datetime(["2024-02-01"])}
    )
    frame.to_parquet(path)
    with pytest.raises(DataError, match="a column is called 'Announced'; write announced"):
        read_series(path)
    pd.DataFrame({"time": np.array([2**63 + 5], np.uint64), "value": [1.0]}).to_parquet(path)
    with pytest.raises(DataError, match="time holds what is no time in milliseconds"):
        read_series(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_series(tmp_path / "none.csv")


def test_values_of_a_condition_are_zero_and_one() -> None:
    series = Series("flag.csv", np.array([T0, T0 + DAY_MS]), np.array([1.0, 0.5]))
    with pytest.raises(DataError, match="other than 0 and 1"):
        SeriesRule(0, DAY_MS, "condition").row("flag", series, np.array([T0]))


def test_options_name_their_files() -> None:
    assert named_files(["dxy=a/b=c.csv"], "--series") == {"dxy": Path("a/b=c.csv")}
    for wrong in (["dxy"], ["=x.csv"], ["dxy="], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            named_files(wrong, "--series")


def test_an_unscheduled_meeting_among_known_dates_is_not_counted_down_to_before_it(tmp_path: Path) -> None:
    path = tmp_path / "fomc.csv"
    path.write_text(
        "date,announced\n2020-01-29,\n2020-03-03,2020-03-03T15:00:00Z\n2020-03-18,\n", encoding="utf-8"
    )
    series = read_series(path)
    days = np.array(["2020-01-28", "2020-02-28", "2020-03-04", "2020-03-17", "2020-03-19"], "datetime64[ms]")
    closes = days.astype(np.int64)
    ahead = EventRule(known_ahead=True).row("hours_to(fomc)", series, closes)
    np.testing.assert_array_equal(ahead, [24, 19 * 24, 14 * 24, 24, np.nan])
    np.testing.assert_array_equal(EventRule().row("hours_to(fomc)", series, closes), [np.nan] * 5)
    since = EventRule(known_ahead=True).row("hours_since(fomc)", series, closes)
    np.testing.assert_array_equal(since, [np.nan, 30 * 24, 24, 14 * 24, 24])
    at_noon = np.array(["2020-03-03T12:00"], "datetime64[ms]").astype(np.int64)
    assert EventRule(known_ahead=True).row("hours_since(fomc)", series, at_noon)[0] == 34 * 24 + 12


def test_real_files_are_read_as_they_are(real_data: Callable[[str], Path]) -> None:
    dollar = read_series(real_data("macro/yahoo_DXY_1d.parquet"))
    assert dollar.value is not None and dollar.value[0] == pytest.approx(80.63)
    assert read_series(real_data("macro/macro_BTC-DOMINANCE_1d.parquet")).value is not None
    meetings = read_series(real_data("macro/fomc_dates.csv"))
    assert meetings.value is None and meetings.time[0] == np.datetime64("2000-02-02", "ms").astype(np.int64)
