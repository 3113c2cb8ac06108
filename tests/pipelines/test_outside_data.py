"""The command `pipeline` with series, calendars and other markets: through every gate, or one clear message."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow import governance
from live_shadow.enable_map import read_map
from live_shadow.replay import Feed, replay
from pipelines import cli
from research_lab.bars import Market, utc, write_candles
from research_lab.errors import UsageError
from research_lab.market_data import worlds
from research_lab.timeframe import DAY_MS
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

# The edge of `small.QUICK`, beside conditions on every other clock that are nearly always true.
CLOCKS = (
    small.QUICK.replace("name: quick", "name: clocks")
    .replace(
        "define:\n",
        "series:\n  dxy: {lag: 1d, max_age: 5d}\nevents:\n  fomc: {known_ahead: true}\ndefine:\n"
        '  calm: dxy > 0 and hours_to(fomc) > 1 and tf("1d", volume) > 0\n',
    )
    .replace("enter_long: rising", 'enter_long: rising and calm and on("BTC/USDT", close) > 0')
)


class Place:
    """A workspace and the files of a market, a series, a calendar and another market."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.find(root / "ws").create()
        governance.init(self.workspace.root)
        bars = small.planted()
        self.data = small.candle_file(root, bars)
        self.strategies = small.strategy_folder(root, CLOCKS)
        self.policy = small.policy_file(root)
        first, last = bars.interval
        days = np.arange(first - 20 * DAY_MS, last + 60 * DAY_MS, DAY_MS)
        self.dxy, self.fomc = root / "dxy.csv", root / "fomc.csv"
        rows = [f"{utc(int(t))[:10]},{100 + k % 7}" for k, t in enumerate(days)]
        self.dxy.write_text("\n".join(["time,value", *rows]) + "\n")
        self.fomc.write_text(
            "\n".join(["time", *(f"{utc(int(t))[:10]}T18:00:00Z" for t in days[::42])]) + "\n"
        )
        leader = worlds.noise(9, bars.n).bars
        leader = replace(
            leader, market=Market("synthetic", "BTC/USDT"), time=leader.time + first - leader.time[0]
        )
        self.leader = write_candles(leader, root / "leader.parquet")

    def run(self, *more: str) -> list[str]:
        told = {"data": self.data, "strategies": self.strategies, "policy": self.policy}
        options = {"workspace": self.workspace.root, **told}
        return [
            "run",
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
            *more,
        ]

    @property
    def outside(self) -> list[str]:
        return [
            "--series",
            f"dxy={self.dxy}",
            "--series",
            f"fomc={self.fomc}",
            "--market",
            f"BTC/USDT={self.leader}",
        ]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_through_every_gate_into_the_map_and_the_executor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, *place.run(*place.outside), "--promote") == 0, capsys.readouterr()
    (entry,) = read_map(place.workspace.enable_map).entries
    assert entry.name == "clocks"
    feed = Feed(place.data, series={"dxy": place.dxy, "fomc": place.fomc}, markets={"BTC/USDT": place.leader})
    said: list[str] = []
    outcome = replay(place.workspace, feed, said.append)
    assert outcome.n_taken + outcome.n_warm == small.DAYS * 24
    with pytest.raises(UsageError, match="clocks: reads BTC/USDT, dxy, fomc, and no file was given"):
        replay(place.workspace, Feed(place.data), said.append)


def test_what_is_missing_is_one_message_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    before = small.contents(place.workspace.root)
    assert called(monkeypatch, *place.run(*place.outside[2:])) == 2
    assert capsys.readouterr().err == (
        "pipeline: clocks: reads dxy, and no file was given; give --series dxy=dxy.csv\n"
    )
    assert called(monkeypatch, *place.run("--series", "dxy")) == 2
    assert (
        capsys.readouterr().err == "pipeline: --series: 'dxy' is not name=path; write --series dxy=dxy.csv\n"
    )
    assert small.contents(place.workspace.root) == before
