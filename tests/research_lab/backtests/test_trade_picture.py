"""Pictures of trades: what is drawn is what the engine did and what the strategy looks at."""

from __future__ import annotations

import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import research_lab.strategies
from research_lab.backtests.shown_values import Line, definitions, shown_values
from research_lab.backtests.trade_picture import LINE_COLOURS, draw_trade
from research_lab.backtests.trade_story import TERMS, TradeStory, tell_trade
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import load_spec, parse_spec
from research_lab.engine import reasons
from research_lab.errors import InsufficientError
from research_lab.market_data.worlds import noise

FOLDER = Path(next(iter(research_lab.strategies.__path__)))
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in ("regimes", "macro"))
EACH = pytest.mark.parametrize("name", NAMES)
PALETTE = 3  # colour type of a PNG whose pixels are places in a palette


@cache
def told(name: str) -> tuple[Spec, TradeStory]:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    spec = load_spec(FOLDER / f"{name}.yaml")
    return spec, tell_trade(spec, definitions(text, spec))


def line(story: TradeStory, name: str) -> Line:
    (found,) = [line for line in story.lines if line.name == name]
    return found


def place_in_market(story: TradeStory, close: np.ndarray) -> int:
    """Return where the first bar shown stands in its market."""
    windows = np.lib.stride_tricks.sliding_window_view(close, story.candles.shape[1])
    (place,) = np.flatnonzero((windows == story.candles[3]).all(axis=1))
    return int(place)


@EACH
def test_every_fill_lies_in_its_candle_and_the_trade_begins_and_ends_with_one(name: str) -> None:
    _, story = told(name)
    bars, prices = story.fills["bar"], story.fills["price"]
    assert (bars[0], bars[-1]) == (story.entry, story.exit)
    _, high, low, _ = story.candles[:, bars]
    assert np.all(prices <= high * (1.0 + 2.0 * TERMS.slippage))
    assert np.all(prices >= low * (1.0 - 2.0 * TERMS.slippage))
    assert story.fills["quantity"].sum() == pytest.approx(0.0, abs=1e-12)
    assert np.sign(story.fills["quantity"][0]) == story.side


@EACH
def test_the_stop_begins_one_distance_away_only_comes_nearer_and_is_where_a_stop_fills(name: str) -> None:
    _, story = told(name)
    path = story.stop[story.entry : story.exit + 1] * story.side
    assert np.isfinite(path).all()
    assert np.isnan(np.delete(story.stop, slice(story.entry, story.exit + 1))).all()
    price, distance = story.fills["price"][0], story.fills["stop_distance"][0]
    assert path[0] == pytest.approx(story.side * price - distance)
    assert np.all(np.diff(path) >= 0.0)
    end = story.fills[-1]
    if end["reason"] == reasons.STOP:
        opened = story.candles[0, story.exit]
        level = min(story.side * opened, path[-1]) * story.side
        assert end["price"] == pytest.approx(level * (1.0 - TERMS.slippage * story.side))
    worst = story.candles[2 if story.side > 0 else 1, story.entry : story.exit] * story.side
    assert np.all(worst > path[:-1]), "a stop that was reached did not end the trade"


@EACH
def test_the_trade_shows_what_the_strategy_is_made_of(name: str) -> None:
    spec, story = told(name)
    seen = set(story.fills["reason"].tolist())
    if spec.takes:
        assert reasons.TAKE in seen
        first = story.fills[story.fills["reason"] == reasons.TAKE][0]
        assert first["price"] * story.side >= story.takes[0] * story.side - 1e-9
    elif spec.trail is not None:
        assert story.fills["reason"][-1] == reasons.STOP
        assert np.diff(story.stop[story.entry : story.exit + 1]).any()
    else:
        assert story.fills["reason"][-1] in (reasons.EXIT_SIGNAL, reasons.TIME_STOP)


@EACH
def test_what_is_drawn_has_values_and_colours_enough(name: str) -> None:
    _, story = told(name)
    assert story.lines or story.panels
    drawn = [*story.lines, *(line for panel in story.panels for line in panel.lines)]
    for shown in drawn:
        assert shown.values.shape == (story.candles.shape[1],)
        assert np.isfinite(shown.values).all(), shown.name
    assert max(map(len, [story.lines, *(panel.lines for panel in story.panels)])) <= len(LINE_COLOURS)
    assert len(story.panels) <= 3
    assert all(panel.lines for panel in story.panels)
    assert all(0.5 < np.nanmedian(shown.values / story.candles[3]) < 2.0 for shown in story.lines), (
        "a line on the candles is a level of price"
    )


def test_lines_are_those_that_pandas_reckons() -> None:
    _, story = told("breakout_4h")
    inputs = noise(story.seed, 376 + 1_500, 4 * 3_600_000).bars.inputs
    first = place_in_market(story, inputs[3])
    cut = slice(first, first + story.candles.shape[1])
    upper = pd.Series(inputs[1]).rolling(20).max().shift(1).to_numpy()[cut]
    lower = pd.Series(inputs[2]).rolling(20).min().shift(1).to_numpy()[cut]
    assert line(story, "upper: prev(highest(high, 20), 1)").values.tolist() == upper.tolist()
    assert line(story, "lower: prev(lowest(low, 20), 1)").values.tolist() == lower.tolist()
    (panel,) = story.panels
    assert ([shown.name for shown in panel.lines], panel.levels) == (["adx(14)"], [20.0])
    assert np.all(panel.lines[0].values[story.entry - 1] > 20.0), "it entered while the trend was strong"


def test_a_condition_with_a_body_is_shown_by_what_it_compares() -> None:
    _, story = told("keltner_squeeze")
    names = {shown.name for shown in story.lines}
    assert names >= {"bollinger_upper(close, 20, 2)", "keltner_upper(20, 1.5)", "ema(close, 20)"}
    assert not story.panels, "how often the squeeze held is not drawn"


def test_comparisons_of_one_thing_share_a_panel_and_others_do_not() -> None:
    _, story = told("stochastic_adx")
    assert [{shown.name.split(":")[0] for shown in panel.lines} for panel in story.panels] == [
        {"adx(14)"}, {"k", "d"}, {"plus_di(14)", "minus_di(14)"},
    ]  # fmt: skip


def test_lines_are_called_as_in_the_file() -> None:
    _, story = told("flat_range")
    assert {shown.name for shown in story.lines} >= {"bottom", "0.2 * height + bottom"}


def test_the_clock_is_that_of_the_close() -> None:
    spec = parse_spec(
        "spec: 1\nname: early\nhypothesis: none\ntimeframe: 4h\nside: long\nenter_long: hour() < 8\n"
        "time_stop: 9\nsize: {fraction: 0.5}\n"
    )
    bars = noise(1, 50, 4 * 3_600_000).bars
    on_candles, (panel,) = shown_values(spec, bars, "long", {})
    closed = pd.to_datetime(bars.time, unit="ms") + pd.Timedelta(hours=4)
    assert not on_candles
    assert panel.lines[0].values.tolist() == closed.hour.tolist()


def header(path: Path) -> tuple[int, int, int]:
    """Return width, height and colour type of a PNG."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    return width, height, colour


def test_a_picture_is_small_in_few_colours_and_the_same_each_time(tmp_path: Path) -> None:
    spec, story = told("impulse")  # the largest
    for name in ("once", "again"):
        draw_trade(spec, story, tmp_path / name)
    assert header(tmp_path / "once")[::2] == (900, PALETTE)
    assert (tmp_path / "once").stat().st_size < 60_000
    assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_strategy_without_such_a_trade_says_so() -> None:
    text = (
        "spec: 1\nname: never\nhypothesis: none\ntimeframe: 1h\nside: long\nenter_long: close < 0 * close\n"
        "time_stop: 9\nsize: {fraction: 0.5}\n"
    )
    with pytest.raises(InsufficientError, match="never: no trade of 8 to 60 bars in 40 made-up markets"):
        tell_trade(parse_spec(text), {})


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = (
        "import sys, research_lab.backtests.trade_picture, research_lab.backtests.trade_story\n"
        "sys.exit(bool({'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
