"""Bars with what stands beside them, and what people are told of it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from live_shadow import governance
from live_shadow.replay import Feed, replay
from pipelines.generation import inputs
from pipelines.generation.search_wish import Wish
from pipelines.inputs import candles_beside
from research_lab.bars import Market
from research_lab.generators.brief import Brief
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

PERPETUAL = Market("synthetic", "EDGE/USDT", perpetual=True)
UNPAID = "synthetic EDGE/USDT is a spot market: strategies may read the rates, but nobody pays or gets them"


def rates(folder: Path) -> Path:
    """Write eight-hourly rates for the days of the small world."""
    times = small.planted(n_days=30).time[::8]
    path = folder / "synthetic_EDGE-USDT-PERP_funding.parquet"
    pq.write_table(
        pa.table(
            {"timestamp": pa.array(times, pa.timestamp("ms")), "funding_rate": np.full(times.size, 1e-4)}
        ),
        path,
    )
    return path


def test_rates_beside_a_spot_market_are_told_to_be_unpaid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spot = small.candle_file(tmp_path, small.planted(n_days=30))
    assert np.isfinite(candles_beside(spot, rates(tmp_path), None).funding).any()
    told = capsys.readouterr()
    assert UNPAID in told.err and told.out == ""
    candles_beside(spot, None, None)
    perpetual = small.candle_file(tmp_path / "perpetual", small.planted(PERPETUAL, n_days=30))
    candles_beside(perpetual, rates(tmp_path), None)
    assert capsys.readouterr().err == ""


def test_every_command_that_takes_rates_tells_so() -> None:
    """Whoever reads candles with funding does it in the one place that tells."""
    found = []
    for path in sorted(Path(pipelines.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_candles":
                found += [path.name for keyword in node.keywords if keyword.arg == "funding"]
    assert found == ["inputs.py"]


def test_the_executor_tells_it_too(tmp_path: Path) -> None:
    place = Workspace.find(tmp_path / "ws").create()
    governance.init(place.root)
    said: list[str] = []
    spot = small.candle_file(tmp_path, small.planted(n_days=30))
    place.enable_map.write_bytes(
        (Path(governance.__file__).parent / "config" / "enable_map.yaml").read_bytes()
    )
    replay(place, Feed(spot, rates(tmp_path)), said.append)
    assert UNPAID in "\n".join(said)


def test_what_a_brief_leaves_out_is_told_to_be_read_by_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perpetual = small.candle_file(tmp_path / "perpetual", small.planted(PERPETUAL, n_days=30))
    spot, funding = small.candle_file(tmp_path, small.planted(n_days=30)), rates(tmp_path)
    place, limits = Workspace.find(tmp_path / "ws"), small.policy(tmp_path)

    def told(*names: str) -> str:
        wish = Wish("grammar", Brief(inputs=("close", *names)), 1)
        inputs.read_search_bars(perpetual, wish, place, limits, funding=[str(funding)], spot=[str(spot)])
        return capsys.readouterr().err

    nobody = "the brief's inputs leave {} out, so no strategy of this search reads it"
    assert told() == f"--funding: {nobody.format('funding')}\n--spot: {nobody.format('premium')}\n"
    assert told("funding", "premium") == ""
