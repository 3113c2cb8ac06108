from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from research_lab.bars import write_candles
from research_lab.market_data.worlds import noise
from tests.research_lab.validation.causality.corpus import candles

MINE = """
import pandas as pd

def honest(df):
    return df.close > df.close.rolling(20).mean()

def leaky(df):
    return {"enter": honest(df), "size": 1.0 / df.close.shift(-1).fillna(1.0)}

def silent(df):
    return pd.Series(False, df.index)

def with_series(df, series):
    return series["dxy"].reindex(df.index, method="ffill") > 100
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    frame = candles(300)
    frame.rename_axis("Date").rename(columns=str.title).to_csv(tmp_path / "candles.csv")
    index = frame.index[::24]
    lines = [f"{at.isoformat()},{100 + (-1) ** k}" for k, at in enumerate(index)]
    (tmp_path / "dxy.csv").write_text("time,value\n" + "\n".join(lines) + "\n")
    return tmp_path


def called(place: Path, function: str, *more: str) -> tuple[int, str]:
    given = [
        "lookahead",
        f"{place}/mine.py:{function}",
        "--data",
        f"{place}/candles.csv",
        "--budget",
        "20",
        *more,
    ]
    result = CliRunner().invoke(app, given)
    return result.exit_code, result.output or str(result.exception)


def test_a_clean_function_passes_with_its_warmup(place: Path) -> None:
    code, text = called(place, "honest", "--warmup", "20")
    assert code == 0, text
    assert "PASS" in text
    assert "cut after 299 of 299 (100 %)" in text
    assert "after 20 bars; told 20" in text
    code, text = called(place, "honest", "--warmup", "5")
    assert code == 3
    assert "too short" in text


def test_a_leak_is_told_in_words_and_as_json(place: Path) -> None:
    code, text = called(place, "leaky", "--json", str(place / "report.json"))
    assert code == 3
    assert "size at bar" in text
    assert "shift(-1)" in text
    told = json.loads((place / "report.json").read_text())
    assert told["outcome"] == "FAIL"
    assert told["counter_example"]["column"] == "size"


def test_no_signal_is_insufficient(place: Path) -> None:
    code, text = called(place, "silent")
    assert code == 4
    assert "not a pass" in text


def test_a_series_that_is_used_before_it_is_known_is_found(place: Path) -> None:
    assert called(place, "with_series", "--series", f"dxy={place}/dxy.csv")[0] == 0
    code, text = called(place, "with_series", "--series", f"dxy={place}/dxy.csv", "--lag", "dxy=1d")
    assert code == 3
    assert "series dxy" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--acts", "never"], "neither close nor open"),
        (["--lag", "dxy=1d"], "no series dxy"),
        (["--spot", "x.parquet"], "for strategy files"),
        (["--series", "dxy=none.csv"], "no such file"),
    ],
)
def test_wrong_options_are_refused(place: Path, more: list[str], words: str) -> None:
    code, text = called(place, "honest", *more)
    assert code != 0
    assert words in text


def test_a_strategy_file_is_tested_at_every_bar(tmp_path: Path) -> None:
    path = write_candles(noise(4, 4_000).bars, tmp_path / "synthetic_A-B_1h.parquet")
    given = [
        "lookahead",
        "ema_atr",
        "--data",
        str(path),
        "-w",
        str(tmp_path),
        "--json",
        str(tmp_path / "r.json"),
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "4000 bars one at a time" in result.output
    assert json.loads((tmp_path / "r.json").read_text())["lookahead"]["n_streamed"] == 4_000
