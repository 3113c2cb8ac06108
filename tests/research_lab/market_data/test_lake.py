"""The lake: zones and their seal, counted openings of the holdout, snapshots that cannot change unseen."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.bars import DAY_MS, HOUR_MS, Bars, Market
from research_lab.errors import InsufficientError, LedgerError, UsageError, WorkspaceError
from research_lab.market_data.lake import HoldoutKey, Lake, Span, Zones, divide
from research_lab.market_data.worlds import START_MS, noise

DAYS = 100
WORLD = noise(1, DAYS * 24).bars
SYMBOL = "BTC/USDT"


def days(*numbers: float) -> list[int]:
    return [START_MS + round(number * DAY_MS) for number in numbers]


def sealed(folder: Path, bars: Bars = WORLD) -> Lake:
    lake = Lake(folder)
    lake.seal(SYMBOL, divide(bars, forward_ms=20 * DAY_MS))
    return lake


def at_another_place(bars: Bars) -> Bars:
    return replace(bars, market=Market("binanceusdm", SYMBOL, True))


def test_the_last_part_is_forward_and_of_the_rest_the_last_share_holdout() -> None:
    start, holdout, forward, end = days(0, 48, 80, 100)  # 80 days remain, 40 % of them are 32
    assert divide(WORLD, 0.4, 20 * DAY_MS) == Zones(
        Span(start, holdout), Span(holdout, forward), Span(forward, end)
    )


@given(
    n=st.integers(24, 24 * 60),
    share=st.floats(0.05, 0.95),
    forward_days=st.floats(0, 70),
    first=st.integers(0, 47),
)
def test_zones_are_in_order_at_midnight_and_cover_the_bars(
    n: int, share: float, forward_days: float, first: int
) -> None:
    bars = WORLD.window(first, first + n)
    try:
        zones = divide(bars, share, round(forward_days * DAY_MS))
    except InsufficientError:
        return
    borders = [*zones.research, *zones.holdout, *zones.forward]
    assert borders == sorted(borders)
    assert zones.research.end_ms == zones.holdout.start_ms and zones.holdout.end_ms == zones.forward.start_ms
    assert (zones.research.start_ms, zones.forward.end_ms) == bars.interval
    assert zones.holdout.start_ms % DAY_MS == 0 and zones.forward.start_ms % DAY_MS == 0


def test_too_little_data_cannot_be_divided() -> None:
    with pytest.raises(InsufficientError, match="cannot be divided"):
        divide(WORLD, 0.4, 100 * DAY_MS)
    with pytest.raises(UsageError, match="holdout share"):
        divide(WORLD, 1.0)


def test_research_ends_where_the_holdout_begins(tmp_path: Path) -> None:
    research = sealed(tmp_path).research(WORLD)
    assert research.interval == tuple(days(0, 48))
    assert research.snapshot == WORLD.window(0, 48 * 24).snapshot


def test_research_cannot_reach_behind_the_border(tmp_path: Path) -> None:
    research = sealed(tmp_path).research(WORLD)
    for array in (research.time, research.inputs, research.funding_due):
        assert array.base is None and not np.shares_memory(array, WORLD.inputs)


def test_a_bar_across_a_border_belongs_to_no_side(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    n = 14
    coarse = Bars(
        WORLD.market,
        7 * DAY_MS,
        START_MS + 7 * DAY_MS * np.arange(n),
        np.ones((7, n)),
        np.zeros(n),
    )
    # Days 42 to 49 contain the border at day 48, days 77 to 84 that at day 80.
    assert lake.research(coarse).n == 6
    opening = lake.holdout(coarse, HoldoutKey("a"))
    assert (opening.start, opening.bars.n) == (7, 11)
    assert lake.forward(coarse, HoldoutKey("a")).start == 12


def test_holdout_and_forward_come_with_what_was_before_them(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    opening, forward = lake.holdout(WORLD, HoldoutKey("a")), lake.forward(WORLD, HoldoutKey("a"))
    assert (opening.start, opening.bars.n) == (48 * 24, 80 * 24)
    assert (forward.start, forward.bars.n) == (80 * 24, 100 * 24)


@pytest.mark.parametrize("key", [HoldoutKey("b"), HoldoutKey("a", "other"), HoldoutKey("")])
def test_nobody_gets_forward_bars_past_a_holdout_that_was_not_opened_for_him(
    tmp_path: Path, key: HoldoutKey
) -> None:
    """They come with all bars before them."""
    lake = sealed(tmp_path)
    with pytest.raises(InsufficientError, match="was not opened for"):
        lake.forward(WORLD, HoldoutKey("a"))
    lake.holdout(WORLD, HoldoutKey("a"))
    with pytest.raises(InsufficientError, match="was not opened for"):
        lake.forward(WORLD, key)


def test_borders_never_move_once_they_are_sealed(tmp_path: Path) -> None:
    lake = sealed(tmp_path, WORLD)
    before = (tmp_path / "lake" / "seal.json").read_bytes()
    longer = noise(1, 200 * 24).bars
    asked = divide(longer, 0.1, 0)
    held = Lake(tmp_path).seal(SYMBOL, asked)
    start, holdout, forward, end = days(0, 48, 80, 200)
    assert held == Zones(Span(start, holdout), Span(holdout, forward), Span(forward, end))
    assert lake.research(longer).interval == tuple(days(0, 48))
    lake.holdout(longer, HoldoutKey("a"))
    assert lake.forward(longer, HoldoutKey("a")).bars.n == 200 * 24
    assert (tmp_path / "lake" / "seal.json").read_bytes() == before


def test_borders_hold_at_other_exchanges_and_grids(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    assert lake.research(at_another_place(WORLD)).interval == tuple(days(0, 48))
    later = noise(1, 30 * 24, start_ms=days(60)[0]).bars
    with pytest.raises(InsufficientError, match="no bar of synthetic BTC/USDT lies in research"):
        lake.research(later)


def test_other_symbols_have_their_own_borders(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    other = replace(WORLD, market=Market("synthetic", "ETH/USDT"))
    lake.seal("ETH/USDT", divide(other, 0.5, 0))
    assert lake.research(other).interval == tuple(days(0, 50))
    assert lake.research(WORLD).interval == tuple(days(0, 48))


def test_an_unsealed_market_is_not_served(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    key = HoldoutKey("a")
    for ask in (lake.research, lambda bars: lake.forward(bars, key), lambda bars: lake.holdout(bars, key)):
        with pytest.raises(UsageError, match="not sealed"):
            ask(WORLD)
    assert lake.openings.past() == []


def test_openings_of_the_same_market_and_time_are_counted(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    assert lake.holdout(WORLD, HoldoutKey("a")).k == 1
    assert lake.holdout(WORLD, HoldoutKey("b")).k == 2
    assert Lake(tmp_path).holdout(at_another_place(WORLD), HoldoutKey("a")).k == 3
    assert lake.holdout(WORLD, HoldoutKey("a", "other costs")).k == 4
    lines = lake.openings.past(SYMBOL)
    assert [line["k"] for line in lines] == [1, 2, 3, 4]
    assert [line["candidate"] for line in lines] == ["a", "b", "a", "a"]
    assert lines[0]["interval_ms"] == days(48, 80)


def test_looking_again_at_the_same_counts_once_but_is_recorded(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    ks = [lake.holdout(WORLD, HoldoutKey(name)).k for name in "abaabc"]
    assert ks == [1, 2, 1, 1, 2, 3]
    assert [line["again"] for line in lake.openings.past()] == [False, False, True, True, True, False]


def test_more_forward_data_does_not_change_what_the_holdout_shows(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    first = lake.holdout(WORLD, HoldoutKey("a"))
    again = lake.holdout(noise(1, 150 * 24).bars, HoldoutKey("a"))
    assert (again.k, again.bars.snapshot) == (1, first.bars.snapshot)


def test_openings_of_other_symbols_and_other_times_are_not_counted(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    other = replace(WORLD, market=Market("synthetic", "ETH/USDT"))
    lake.seal("ETH/USDT", divide(other, forward_ms=20 * DAY_MS))
    assert lake.holdout(WORLD, HoldoutKey("a")).k == 1
    assert lake.holdout(other, HoldoutKey("b")).k == 1
    early, late = WORLD.window(0, 60 * 24), WORLD.window(70 * 24, 100 * 24)
    assert lake.holdout(early, HoldoutKey("c")).k == 2
    assert lake.holdout(late, HoldoutKey("d")).k == 2
    # Overlaps the openings of a, c and d.
    assert lake.holdout(WORLD, HoldoutKey("e")).k == 4


def test_a_moved_seal_is_noticed_at_the_next_opening(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    lake.holdout(WORLD, HoldoutKey("a"))
    file = tmp_path / "lake" / "seal.json"
    whole = json.loads(file.read_text())
    whole["markets"][SYMBOL]["holdout_start_ms"] += DAY_MS
    file.write_text(json.dumps(whole))
    with pytest.raises(LedgerError, match=r"restore seal\.json"):
        lake.holdout(WORLD, HoldoutKey("b"))


def test_a_deleted_opening_is_noticed(tmp_path: Path) -> None:
    lake = sealed(tmp_path)
    for name in "abc":
        lake.holdout(WORLD, HoldoutKey(name))
    file = tmp_path / "lake" / "openings.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[2])
    with pytest.raises(LedgerError):
        lake.holdout(WORLD, HoldoutKey("d"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "markets": {}}',
        '{"format": 1, "markets": {"BTC/USDT": {}}}',
        '{"format": 1, "markets": {"BTC/USDT": {"holdout_start_ms": 2, "forward_start_ms": 1}}}',
        '{"format": 1, "markets": {"BTC/USDT": {"holdout_start_ms": "1", "forward_start_ms": 2}}}',
    ],
)
def test_a_malformed_seal_serves_nothing_and_is_not_replaced(tmp_path: Path, text: str) -> None:
    lake = sealed(tmp_path)
    file = tmp_path / "lake" / "seal.json"
    file.write_text(text)
    with pytest.raises(WorkspaceError):
        lake.research(WORLD)
    with pytest.raises(WorkspaceError):
        lake.seal(SYMBOL, divide(WORLD))
    assert file.read_text() == text


def _open(workspace: str, name: str) -> int:
    return Lake(Path(workspace)).holdout(WORLD, HoldoutKey(name)).k


def test_openings_at_the_same_time_get_different_numbers(tmp_path: Path) -> None:
    sealed(tmp_path)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        ks = pool.starmap(_open, [(str(tmp_path), str(k)) for k in range(12)])
    assert sorted(ks) == list(range(1, 13))


def test_a_kept_snapshot_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    bars = replace(at_another_place(WORLD), inputs=WORLD.inputs.copy(), funding_due=WORLD.funding_due.copy())
    bars.inputs[5, ::3] = 1e-4
    bars.funding_due[8::8] = 1e-4
    snapshot = lake.keep(bars)
    assert snapshot == bars.snapshot == lake.keep(bars)
    for name in (snapshot, snapshot[:16]):
        again = lake.load(name)
        assert again.snapshot == snapshot and again.market == bars.market
    manifest = json.loads((tmp_path / "lake" / "snapshots" / f"{snapshot[:16]}.json").read_text())
    assert (manifest["n_bars"], manifest["timeframe"]) == (bars.n, "1h")


def test_a_changed_snapshot_is_refused_and_can_be_kept_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    snapshot = lake.keep(WORLD)
    file = tmp_path / "lake" / "snapshots" / f"{snapshot[:16]}.parquet"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(bytes(whole))
    with pytest.raises(WorkspaceError, match="not the one that was stored"):
        lake.load(snapshot)
    lake.keep(WORLD)
    assert lake.load(snapshot).snapshot == snapshot


def test_another_snapshot_under_its_name_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    one, other = lake.keep(WORLD), lake.keep(WORLD.window(0, 100))
    folder = tmp_path / "lake" / "snapshots"
    for ending in (".parquet", ".json"):
        (folder / f"{one[:16]}{ending}").write_bytes((folder / f"{other[:16]}{ending}").read_bytes())
    with pytest.raises(WorkspaceError, match=f"holds {other[:16]}, not {one[:16]}"):
        lake.load(one)


def test_unknown_snapshots_and_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no snapshot"):
        Lake(tmp_path).load("0" * 64)
    for name in ("../seal", "", "0" * 15, "G" * 64):
        with pytest.raises(UsageError, match="is no snapshot"):
            Lake(tmp_path).load(name)


def test_the_grid_of_a_kept_snapshot_survives_gaps(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    sparse = replace(
        WORLD.window(0, 3),
        time=START_MS + HOUR_MS * np.array([0, 5, 10]),
    )
    again = lake.load(lake.keep(sparse))
    assert again.step_ms == HOUR_MS and again.time.tolist() == sparse.time.tolist()
