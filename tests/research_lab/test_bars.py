"""Candles from files: what is read, what is refused and how it is said, funding and premium in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import (
    DAY_MS,
    HOUR_MS,
    INPUTS,
    MINUTE_MS,
    WEEK_MS,
    Bars,
    Market,
    grid_origin_ms,
    market_of,
    read_candles,
    timeframe_ms,
    timeframe_name,
    write_candles,
)
from research_lab.errors import DataError, UsageError

START = 1_599_998_400_000  # 2020-09-13 12:00
NAME = "binance_AAA-BBB_1h.parquet"
N = 6

RealData = Callable[[str], Path]


def table(**changed: object) -> dict[str, object]:
    """Six good hourly candles as columns, some of them replaced."""
    columns: dict[str, object] = {
        "timestamp": pa.array(START + HOUR_MS * np.arange(N), pa.timestamp("ms", tz="UTC")),
        "open": np.full(N, 10.0),
        "high": np.full(N, 12.0),
        "low": np.full(N, 9.0),
        "close": np.full(N, 11.0),
        "volume": np.full(N, 5.0),
    }
    return columns | changed


def saved(folder: Path, columns: dict[str, object], name: str = NAME) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def row_with(value: float, usual: float, row: int = 3) -> np.ndarray:
    values = np.full(N, usual)
    values[row] = value
    return values


def hourly(market: Market, close: np.ndarray, time: np.ndarray) -> Bars:
    inputs = np.full((len(INPUTS), len(close)), np.nan)
    inputs[:4] = close
    inputs[4] = 1.0
    return Bars(market, HOUR_MS, time.astype(np.int64), inputs, np.zeros(len(close)))


def test_a_good_file_is_read_into_rows_of_inputs(tmp_path: Path) -> None:
    bars = read_candles(saved(tmp_path, table()))
    assert bars.market == Market("binance", "AAA/BBB", False)
    assert (bars.timeframe, bars.n) == ("1h", N)
    assert bars.inputs.flags.c_contiguous and bars.inputs.dtype == np.float64
    assert [bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]] == [10, 12, 9, 11, 5]
    assert np.isnan(bars.funding).all() and np.isnan(bars.premium).all()
    assert (bars.funding_due == 0.0).all()
    assert bars.years == N / (365 * 24)
    assert bars.interval == (START, START + N * HOUR_MS)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_any_unit_of_timestamps_gives_the_same_bars(tmp_path: Path, unit: str, zone: str | None) -> None:
    time = pa.array(START + HOUR_MS * np.arange(N), pa.timestamp("ms", tz=zone)).cast(
        pa.timestamp(unit, tz=zone)
    )
    bars = read_candles(saved(tmp_path, table(timestamp=time)))
    assert bars.time[0] == START and bars.time[-1] == START + (N - 1) * HOUR_MS


def test_whole_milliseconds_are_times(tmp_path: Path) -> None:
    bars = read_candles(saved(tmp_path, table(timestamp=START + HOUR_MS * np.arange(N))))
    assert bars.time[0] == START


def test_dates_are_times_at_midnight(tmp_path: Path) -> None:
    days = pa.array([date(2020, 1, k + 1) for k in range(N)])
    bars = read_candles(saved(tmp_path, table(timestamp=days), "binance_AAA-BBB_1d.parquet"))
    assert bars.step_ms == DAY_MS and bars.time[0] == 1_577_836_800_000


MS = START + HOUR_MS * np.arange(N)
REFUSED = {
    "null time": (table(timestamp=pa.array([*MS[:3].tolist(), None, *MS[4:].tolist()])), "row 3: .* null"),
    "seconds": (table(timestamp=MS // 1000), "row 0.*no time in milliseconds.*multiply seconds"),
    "microseconds": (table(timestamp=MS * 1000), "row 0.*no time in milliseconds"),
    "text times": (table(timestamp=MS.astype(str)), "timestamp is of type string"),
    "half a millisecond": (
        table(timestamp=pa.array(MS * 1000 + np.arange(N) // 3 * 500, pa.timestamp("us"))),
        "row 3, 2020-09-13T15:00:00Z: a fraction of a millisecond",
    ),
    "twice": (table(timestamp=MS[[0, 1, 2, 2, 3, 4]]), "row 3, 2020-09-13T14:00:00Z: the same time"),
    "shuffled": (
        table(timestamp=MS[[0, 2, 1, 3, 4, 5]]),
        "row 2, 2020-09-13T13:00:00Z: earlier than 2020-09",
    ),
    "newest first": (table(timestamp=MS[::-1]), "wanted oldest first.*; reverse"),
    "off the grid": (table(timestamp=MS + (np.arange(N) == 4) * MINUTE_MS), "row 4.*not on the grid of 1h"),
    "coarser than its name": (table(timestamp=START + 2 * HOUR_MS * np.arange(N)), "120 minutes apart"),
    "null price": (table(open=pa.array([1.0, None, 1.0, 1.0, 1.0, 1.0])), "row 1.*open is nan"),
    "infinite": (table(high=row_with(np.inf, 12.0)), "row 3, 2020-09-13T15:00:00Z: high is inf"),
    "NaN volume": (table(volume=row_with(np.nan, 5.0)), "row 3.*volume is nan"),
    "zero price": (table(low=row_with(0.0, 9.0)), "row 3.*low is 0.0; wanted a price above zero"),
    "negative volume": (table(volume=row_with(-1.0, 5.0)), "row 3.*volume is -1.0"),
    "low high": (table(high=row_with(10.5, 12.0)), "row 3.*high 10.5 is below open or close"),
    "high low": (table(low=row_with(10.5, 9.0)), "row 3.*low 10.5 is above open or close"),
    "text prices": (table(close=["11"] * N), "column close is of type string"),
    "no rows": ({name: pa.array([], pa.float64()) for name in table()}, "no rows"),
    "no volume": ({k: v for k, v in table().items() if k != "volume"}, "columns volume are missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_dirty_files_are_refused_with_place_and_remedy(tmp_path: Path, kind: str) -> None:
    columns, said = REFUSED[kind]
    path = saved(tmp_path, columns)
    with pytest.raises(DataError, match=said) as caught:
        read_candles(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy


def test_the_number_of_bad_rows_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 0.*\(6 rows in all\)"):
        read_candles(saved(tmp_path, table(volume=np.full(N, -1.0))))


def test_a_missing_file_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_candles(tmp_path / NAME)
    with pytest.raises(DataError, match="no such file"):
        read_candles(tmp_path)
    text = tmp_path / NAME
    text.write_text("timestamp,open\n1,2\n")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_candles(text)


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    columns = table()
    both = pa.table([*columns.values(), columns["open"]], names=[*columns, "open"])
    pq.write_table(both, tmp_path / NAME)
    with pytest.raises(DataError, match="more than one column open"):
        read_candles(tmp_path / NAME)


def test_flipped_bits_of_our_own_files_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    time = START + HOUR_MS * np.arange(2_000)
    path = write_candles(
        hourly(Market("binance", "AAA/BBB"), rng.uniform(1, 2, 2_000), time), tmp_path / NAME
    )
    whole = path.read_bytes()
    bars = read_candles(path)
    for place in rng.integers(100, len(whole) - 4_000, 60):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        try:
            again = read_candles(path)
        except DataError:
            continue
        assert again.snapshot == bars.snapshot, f"bit flipped at {place} was read as data"


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("binance_BTC-USDT_1h.parquet", Market("binance", "BTC/USDT", False)),
        ("binanceusdm_BTC-USDT-PERP_15m.parquet", Market("binanceusdm", "BTC/USDT", True)),
        ("binanceusdm_1000PEPE-USDT-PERP_funding.parquet", Market("binanceusdm", "1000PEPE/USDT", True)),
        ("binance_BTC-USDT_1h__cdd.parquet", Market("binance", "BTC/USDT", False)),
    ],
)
def test_the_file_name_tells_the_market(name: str, market: Market) -> None:
    assert market_of(Path("some") / "folder" / name) == market


@pytest.mark.parametrize(
    "name", ["btc.parquet", "binance_BTCUSDT_1h.parquet", "binance_BTC-USDT_1x.parquet", ""]
)
def test_other_names_are_refused_unless_the_market_is_given(name: str) -> None:
    with pytest.raises(DataError, match="does not tell the market"):
        market_of(name)


def test_a_given_market_needs_no_name_and_takes_the_most_common_step(tmp_path: Path) -> None:
    time = START + HOUR_MS * np.array([0, 1, 2, 5, 6, 12])
    path = saved(tmp_path, table(timestamp=time), "mine.parquet")
    bars = read_candles(path, market=Market("binance", "X/Y"))
    assert (bars.market.symbol, bars.timeframe) == ("X/Y", "1h")
    assert bars.gaps().tolist() == [[2, 2], [4, 5]]


def test_one_row_without_a_name_is_refused(tmp_path: Path) -> None:
    columns = {name: pa.array(values)[:1] for name, values in table().items()}
    with pytest.raises(DataError, match="one row does not tell the timeframe"):
        read_candles(saved(tmp_path, columns, "mine.parquet"), market=Market("binance", "X/Y"))
    assert read_candles(saved(tmp_path, columns)).n == 1


def test_names_of_markets() -> None:
    assert Market("binance", "BTC/USDT").name == "binance BTC/USDT"
    assert Market("binanceusdm", "BTC/USDT", True).name == "binanceusdm BTC/USDT perpetual"
    assert Market("binanceusdm", "BTC/USDT", True).charged_to == "BTC/USDT"


@pytest.mark.parametrize(
    "name", ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"]
)
def test_timeframes_and_their_names_agree(name: str) -> None:
    assert timeframe_name(timeframe_ms(name)) == name


@pytest.mark.parametrize("name", ["", "h", "0h", "1M", "1.5h", "-1h", "1h ", "01h", "99999m", "\uff11h"])
def test_what_is_no_timeframe_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no timeframe"):
        timeframe_ms(name)


def test_weeks_begin_on_monday(tmp_path: Path) -> None:
    monday = 1_600_041_600_000  # 2020-09-14
    assert (monday - grid_origin_ms(WEEK_MS)) % WEEK_MS == 0
    name = "binance_AAA-BBB_1w.parquet"
    bars = read_candles(saved(tmp_path, table(timestamp=monday + WEEK_MS * np.arange(N)), name))
    assert bars.timeframe == "1w"
    with pytest.raises(DataError, match="not on the grid of 1w"):
        read_candles(saved(tmp_path, table(timestamp=monday + DAY_MS + WEEK_MS * np.arange(N)), name))


@given(
    missing=st.sets(st.integers(1, 38)),
    funded=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_written_bars_are_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, missing: set[int], funded: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    time = START + HOUR_MS * np.array([k for k in range(40) if k not in missing])
    bars = hourly(Market("synthetic", "A/B", True), rng.lognormal(size=len(time)), time)
    if funded:
        bars.inputs[5:] = np.where(rng.random((2, bars.n)) < 0.2, np.nan, rng.normal(size=(2, bars.n)))
        bars.funding_due[:] = rng.normal(size=bars.n)
    path = write_candles(bars, tmp_path_factory.mktemp("bars") / "any name.parquet")
    again = read_candles(path)
    assert again.market == bars.market and again.step_ms == bars.step_ms
    assert again.snapshot == bars.snapshot
    assert again.inputs.tobytes() == bars.inputs.tobytes()


def test_the_snapshot_depends_on_every_part() -> None:
    def make(market: Market = Market("a", "B/C"), shift: int = 0, close: float = 2.0) -> Bars:  # noqa: B008
        return hourly(market, np.array([1.0, close]), START + shift + HOUR_MS * np.arange(2))

    twin = make()
    due = make()
    due.funding_due[1] = 1e-9
    others = [make(Market("a", "B/C", True)), make(shift=HOUR_MS), make(close=2.0000000000000004), due]
    assert make().snapshot == twin.snapshot
    assert len({twin.snapshot, *(other.snapshot for other in others)}) == 5


def test_a_window_is_a_view_of_the_same_numbers() -> None:
    bars = hourly(Market("a", "B/C"), np.arange(1.0, 11.0), START + HOUR_MS * np.arange(10))
    part = bars.window(2, 5)
    assert part.close.tolist() == [3.0, 4.0, 5.0] and part.time[0] == START + 2 * HOUR_MS
    assert np.shares_memory(part.inputs, bars.inputs)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        Bars(Market("a", "B/C"), HOUR_MS, np.zeros(3, np.int64), np.zeros((7, 2)), np.zeros(3))


PERPETUAL = "binanceusdm_AAA-BBB-PERP_1h.parquet"
FUNDING = "binanceusdm_AAA-BBB-PERP_funding.parquet"


def funded(folder: Path, times: list[int], rates: list[float], name: str = PERPETUAL, n: int = N) -> Bars:
    columns = {
        "timestamp": START + HOUR_MS * np.arange(n),
        "open": np.ones(n),
        "high": np.ones(n),
        "low": np.ones(n),
        "close": np.ones(n),
        "volume": np.ones(n),
    }
    path = saved(folder, columns, name)
    rows = {"timestamp": pa.array(times, pa.timestamp("ms")), "funding_rate": rates}
    return read_candles(path, funding=saved(folder, rows, FUNDING))


def test_funding_is_visible_a_minute_after_its_time(tmp_path: Path) -> None:
    close = START + HOUR_MS
    bars = funded(tmp_path, [close - 60_000, close + HOUR_MS - 59_999], [0.1, 0.2])
    assert bars.funding[:3].tolist() == [0.1, 0.1, 0.2]


def test_funding_older_than_a_day_is_unknown(tmp_path: Path) -> None:
    bars = funded(tmp_path, [START - HOUR_MS, START + 40 * HOUR_MS], [0.1, 0.2], n=30)
    # Bar k closes k + 1 hours after START, so the rate is k + 2 hours old.
    assert (bars.funding[:23] == 0.1).all()
    assert np.isnan(bars.funding[23:]).all()


def test_funding_falls_due_between_the_last_open_and_this_one(tmp_path: Path) -> None:
    times = [START - HOUR_MS, START - HOUR_MS + MINUTE_MS, START, START + MINUTE_MS, START + HOUR_MS]
    bars = funded(tmp_path, times, [1.0, 2.0, 4.0, 8.0, 16.0])
    assert bars.funding_due.tolist() == [6.0, 24.0, 0.0, 0.0, 0.0, 0.0]


def test_a_stamp_some_milliseconds_late_falls_due_at_its_minute(tmp_path: Path) -> None:
    bars = funded(tmp_path, [START + HOUR_MS + 16], [0.5])
    assert bars.funding_due.tolist() == [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]


def test_rates_inside_a_gap_fall_due_after_it(tmp_path: Path) -> None:
    time = START + HOUR_MS * np.array([0, 1, 2, 20, 21, 22])
    path = saved(tmp_path, table(timestamp=time), PERPETUAL)
    rates = {"timestamp": START + HOUR_MS * np.array([4, 12, 20]), "funding_rate": [1.0, 2.0, 4.0]}
    bars = read_candles(path, funding=saved(tmp_path, rates, FUNDING))
    assert bars.funding_due.tolist() == [0.0, 0.0, 0.0, 7.0, 0.0, 0.0]


def test_spot_sees_funding_but_never_owes_it(tmp_path: Path) -> None:
    bars = funded(tmp_path, [START], [0.1], name=NAME)
    assert bars.funding[0] == 0.1 and (bars.funding_due == 0.0).all()


def test_rates_of_another_symbol_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, table(), PERPETUAL)
    rates = saved(
        tmp_path, {"timestamp": [START], "funding_rate": [0.1]}, "binanceusdm_X-Y-PERP_funding.parquet"
    )
    with pytest.raises(DataError, match="rates of another market"):
        read_candles(path, funding=rates)


def test_bad_rates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1.*funding_rate is nan"):
        funded(tmp_path, [START, START + HOUR_MS], [0.1, float("nan")])
    with pytest.raises(DataError, match="the same time"):
        funded(tmp_path, [START, START], [0.1, 0.1])


def test_funding_of_the_future_moves_nothing_before_it(tmp_path: Path) -> None:
    times = [START + k * HOUR_MS for k in range(4)]
    known = funded(tmp_path, times, [0.1, 0.2, 0.3, 0.4])
    poisoned = funded(tmp_path, times, [0.1, 0.2, 0.3, 9.0])
    assert known.funding[:3].tobytes() == poisoned.funding[:3].tobytes()
    assert known.funding_due[:3].tobytes() == poisoned.funding_due[:3].tobytes()


def test_the_premium_needs_a_spot_bar_of_the_same_opening(tmp_path: Path) -> None:
    perpetual = saved(tmp_path, table(), PERPETUAL)
    time = START + HOUR_MS * np.array([0, 1, 3])
    spot = hourly(Market("binance", "AAA/BBB"), np.array([10.0, 11.0, 22.0]), time)
    bars = read_candles(perpetual, spot=spot)
    expected = np.array([11 / 10 - 1, 0.0, np.nan, 11 / 22 - 1, np.nan, np.nan])
    np.testing.assert_array_equal(bars.premium, expected)
    from_file = read_candles(perpetual, spot=write_candles(spot, tmp_path / NAME))
    assert from_file.snapshot == bars.snapshot


def test_a_premium_without_meaning_is_refused(tmp_path: Path) -> None:
    perpetual, spot = saved(tmp_path, table(), PERPETUAL), saved(tmp_path, table())
    for path, other in ((spot, spot), (perpetual, perpetual)):
        with pytest.raises(DataError, match="has no meaning"):
            read_candles(path, spot=other)
    daily = table(timestamp=DAY_MS * np.arange(20_000, 20_000 + N))
    with pytest.raises(DataError, match="spot candles of 1d beside 1h"):
        read_candles(perpetual, spot=saved(tmp_path, daily, "binance_AAA-BBB_1d.parquet"))


@pytest.mark.parametrize(
    ("name", "n_bars", "n_gaps", "n_missing"),
    [
        ("binance_AVAX-USDT_5m", 207_788, 1, 16),
        ("binance_BTC-USDT_1h", 67_078, 27, 122),
        ("binance_BTC-USDT_1m", 130_708, 0, 0),
        ("binanceusdm_ETH-USDT-PERP_15m", 58_464, 0, 0),
    ],
)
def test_real_candles_are_read_with_their_gaps(
    real_data: RealData, name: str, n_bars: int, n_gaps: int, n_missing: int
) -> None:
    bars = read_candles(real_data(f"candles/{name}.parquet"))
    gaps = bars.gaps()
    assert (bars.n, len(gaps), gaps[:, 1].sum()) == (n_bars, n_gaps, n_missing)


def test_real_funding_is_all_charged_once(real_data: RealData) -> None:
    perpetual = real_data("candles/binanceusdm_SOL-USDT-PERP_15m.parquet")
    funding = real_data("funding/binanceusdm_SOL-USDT-PERP_funding.parquet")
    bars = read_candles(perpetual, funding=funding)
    rates = pq.read_table(funding)
    times = rates["timestamp"].cast(pa.int64()).to_numpy()
    inside = (times > bars.time[0]) & (times < bars.time[-1] + MINUTE_MS)
    assert bars.funding_due.sum() == pytest.approx(rates["funding_rate"].to_numpy()[inside].sum(), abs=1e-12)
    assert np.count_nonzero(bars.funding_due) == np.count_nonzero(rates["funding_rate"].to_numpy()[inside])
    assert (bars.time[bars.funding_due != 0.0] % (8 * HOUR_MS) == 0).all()


def test_the_premium_of_real_bitcoin_is_small(real_data: RealData) -> None:
    bars = read_candles(
        real_data("candles/binanceusdm_BTC-USDT-PERP_1h.parquet"),
        spot=real_data("candles/binance_BTC-USDT_1h.parquet"),
    )
    known = bars.premium[np.isfinite(bars.premium)]
    assert known.size > 0.99 * bars.n
    assert abs(np.median(known)) < 0.002


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("binance_BTC-USDT_1h__cdd.parquet", "row 1.*earlier than"),
        ("bitstamp_BTC-USD_1h.parquet", "wanted oldest first"),
        ("binance_BTC-USDT_1h__cdd.csv", "not a readable Parquet file"),
        ("bitstamp_BTC-USD_1h.csv", "not a readable Parquet file"),
    ],
)
def test_real_dirty_files_are_refused(real_data: RealData, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_candles(real_data(f"dirty/{name}"))


@pytest.mark.parametrize(
    ("name", "n_gaps", "n_missing"),
    [("freqtrade_UNITTEST-BTC_1m", 538, 717), ("freqtrade_ADA-BTC_5m", 5, 40)],
)
def test_real_files_full_of_gaps_show_each_of_them(
    real_data: RealData, name: str, n_gaps: int, n_missing: int
) -> None:
    gaps = read_candles(real_data(f"dirty/{name}.parquet")).gaps()
    assert (len(gaps), gaps[:, 1].sum()) == (n_gaps, n_missing)
