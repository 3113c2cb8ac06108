"""The quality suite: clean tables pass, and each kind of dirt is named with its rows, all at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from research_lab.bars import HOUR_MS
from research_lab.errors import DataError
from research_lab.market_data.quality import QualityReport, check, check_file
from research_lab.market_data.worlds import noise

RealData = Callable[[str], Path]
N = 300


def clean() -> pd.DataFrame:
    bars = noise(3, N).bars
    columns = {
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "volume": bars.volume,
    }
    return pd.DataFrame({"timestamp": pd.to_datetime(bars.time, unit="ms", utc=True), **columns})


def broken(report: QualityReport) -> dict[str, tuple[int, ...]]:
    return {e.name: e.first_unexpected_rows for e in report.expectations if not e.success}


def test_a_clean_world_passes_every_expectation() -> None:
    report = check(noise(3, N).bars)
    assert report.passed and report.faults == ()
    assert (report.n_bars, report.timeframe, report.n_gaps, report.n_flat) == (N, "1h", 0, 0)
    assert check(clean()) == report


def test_gaps_are_counted_and_do_not_fail() -> None:
    report = check(clean().drop(index=[10, 11, 12, 50]))
    assert report.passed
    assert (report.n_gaps, report.n_missing, report.longest_gap_bars) == (2, 4, 3)


def test_flat_candles_without_volume_are_counted_and_do_not_fail() -> None:
    frame = clean()
    close = frame["close"][6]
    frame.loc[7:9, ["open", "high", "low", "close"]] = close
    frame.loc[7:9, "volume"] = 0.0
    frame.loc[20, "volume"] = 0.0  # not flat
    report = check(frame)
    assert report.passed and report.n_flat == 3


def swap(frame: pd.DataFrame, one: int, other: int) -> pd.DataFrame:
    order = np.arange(len(frame))
    order[[one, other]] = other, one
    return frame.iloc[order].reset_index(drop=True)


def put(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    return change


DIRT: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, tuple[int, ...]]]] = {
    "no time": (put("timestamp", 5, pd.NaT), {"times_known": (5,)}),
    "shuffled": (lambda f: swap(f, 5, 6), {"ordered": (6,)}),
    "twice": (lambda f: f.iloc[[*range(9), 8, *range(9, N)]], {"unique": (8, 9)}),
    "off the grid": (
        lambda f: f.assign(timestamp=f["timestamp"] + pd.to_timedelta((f.index == 7) * 60, unit="s")),
        {"on_grid": (7,)},
    ),
    "NaN": (put("close", 7, np.nan), {"finite": (7,)}),
    "infinite": (put("volume", 7, np.inf), {"finite": (7,)}),
    "negative volume": (put("volume", 7, -1.0), {"volume_not_negative": (7,)}),
    "low high": (put("high", 7, 1.0), {"high_on_top": (7,)}),
    "high low": (put("low", 7, 1e9), {"low_at_bottom": (7,)}),
    "zero price": (put("low", 7, 0.0), {"positive_prices": (7,)}),
    "swapped volumes": (
        lambda f: f.assign(volume=f["volume"].where(f.index < 200, f["volume"] * f["close"])),
        {"steady_volume": (200,)},
    ),
    "another price": (
        lambda f: f.assign(
            **{c: f[c].where(f.index < 40, f[c] * 3) for c in ("open", "high", "low", "close")}
        ),
        {"continuous": (40,)},
    ),
}


@pytest.mark.parametrize("kind", DIRT)
def test_each_kind_of_dirt_is_named_with_its_rows(kind: str) -> None:
    change, wanted = DIRT[kind]
    report = check(change(clean()))
    assert not report.passed
    assert broken(report) == wanted


def test_everything_wrong_is_listed_at_once() -> None:
    frame = swap(clean(), 100, 101)
    frame.loc[3, "volume"] = -1.0
    frame.loc[20:40, "high"] = 1.0
    report = check(frame)
    assert broken(report) == {
        "ordered": (101,),
        "volume_not_negative": (3,),
        "high_on_top": tuple(range(20, 30)),
    }
    assert report.faults[2] == (
        "high_on_top: 21 rows, first 20, 21, 22, 23, 24, 25, 26, 27, 28, 29; wanted high >= open and close"
    )


def test_seconds_are_no_milliseconds() -> None:
    frame = clean()
    frame["timestamp"] = noise(3, N).bars.time // 1000
    assert set(broken(check(frame, HOUR_MS))) >= {"times_in_ms", "on_grid"}


def test_text_in_numbers_and_times_is_unknown() -> None:
    frame = clean().astype({"close": object, "timestamp": object})
    frame.loc[4, "close"] = "n/a"
    frame.loc[5, "timestamp"] = "yesterday"
    report = check(frame)
    assert broken(report) == {"times_known": (5,), "finite": (4,)}


def test_an_empty_table_does_not_pass() -> None:
    assert set(broken(check(clean().iloc[:0]))) == {"not_empty"}


def test_a_frame_without_a_column_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="columns volume are missing"):
        check(clean().drop(columns="volume"))


def test_what_is_no_parquet_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        check_file(tmp_path / "none.parquet")


def test_the_suite_says_nothing_and_sends_nothing() -> None:
    program = """
import os, socket, warnings
warnings.simplefilter("error")
def refuse(*_): raise AssertionError("somebody calls home")
socket.socket.connect = socket.getaddrinfo = refuse
from research_lab.market_data.quality import check
from research_lab.market_data.worlds import noise
assert check(noise(1, 300).bars).passed
assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "n_gaps", "n_missing", "n_flat"),
    [
        ("candles/binance_BTC-USDT_1h", 27, 122, 3),
        ("candles/binance_AVAX-USDT_5m", 1, 16, 14),
        ("candles/binanceusdm_ETH-USDT-PERP_15m", 0, 0, 4),
        ("dirty/binanceusdm_BTC-USDT-PERP_5m__shin", 0, 0, 16),
        ("dirty/freqtrade_UNITTEST-BTC_1m", 538, 717, 0),
        ("dirty/freqtrade_ADA-BTC_5m", 5, 40, 0),
    ],
)
def test_known_findings_in_real_files_are_reported(
    real_data: RealData, name: str, n_gaps: int, n_missing: int, n_flat: int
) -> None:
    report = check_file(real_data(f"{name}.parquet"))
    assert report.passed
    assert (report.n_gaps, report.n_missing, report.n_flat) == (n_gaps, n_missing, n_flat)


def test_the_joined_file_is_shuffled_and_has_times_twice(real_data: RealData) -> None:
    report = check_file(real_data("dirty/binance_BTC-USDT_1h__cdd.parquet"))
    found = {e.name: e.unexpected_count for e in report.expectations if not e.success}
    assert set(found) == {"ordered", "unique"}
    assert found["unique"] == 2 * 2_649  # both rows of each pair
    assert report.n_flat >= 109  # the candles invented inside outages


def test_the_file_with_swapped_volumes_is_found_out(real_data: RealData) -> None:
    report = check_file(real_data("dirty/bitstamp_BTC-USD_1h.parquet"))
    assert {"ordered", "steady_volume"} == set(broken(report))
