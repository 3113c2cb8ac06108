from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from research_lab.bars import write_candles
from research_lab.errors import DataError, UsageError
from research_lab.market_data.worlds import noise
from tests.research_lab.validation.causality.corpus import candles

MINE = """
import pandas as pd

def honest(df):
    return df.close > df.close.rolling(20).mean()

def raising(df):
    raise RuntimeError("options are looked at first")

def leaky(df):
    return {"enter": honest(df), "size": 1.0 / df.close.shift(-1).fillna(1.0)}

def silent(df):
    return pd.Series(False, df.index)

def never_enters(df):
    return {"mean": df.close.rolling(20).mean(), "entry": df.close < 0}

def by_index(df):
    close, found = df.close.to_numpy(), honest(df).to_numpy().copy()
    for i in range(len(df)):
        if i % 50 == 25:
            found[i] = close[i + 1] > close[i]
    return found

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


def arguments(place: Path, function: str, *more: str) -> list[str]:
    return ["lookahead", f"{place}/mine.py:{function}", "--data", f"{place}/candles.csv", *more]


def called(place: Path, function: str, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments(place, function, "--budget", "20", *more))
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


def test_a_warmup_that_could_not_be_tried_is_insufficient(place: Path) -> None:
    candles(90).to_csv(place / "candles.csv", index_label="time")
    code, text = called(place, "honest", "--warmup", "20")
    assert code == 4, text
    assert "not tested, too few bars" in text


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


def test_an_entry_that_never_comes_is_insufficient_unless_it_is_named(place: Path) -> None:
    code, text = called(place, "never_enters")
    assert code == 4
    assert "entry never changes" in text and "--constant entry" in text
    assert called(place, "never_enters", "--constant", "entry")[0] == 0


def test_a_peek_by_index_is_a_leak_and_no_wrong_usage(place: Path) -> None:
    code, text = called(place, "by_index")
    assert code == 3, text
    assert "shift(-1)" in text
    assert "it raises IndexError" in text


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
        (["--budget", "inf"], "inf seconds"),
        (["--tolerance", "inf"], "a tolerance of inf"),
        (["--seed", "2"], "for strategy files"),
        (["--workspace", "x"], "for strategy files"),
        (["--json", "/dev/null/x.json"], "cannot be written"),
        (["--json", "/dev/null"], "is no file"),
    ],
)
def test_wrong_options_are_refused(place: Path, more: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments(place, "raising", *more))
    assert isinstance(result.exception, UsageError | DataError), result.output
    assert words in str(result.exception)


@pytest.mark.parametrize(
    "more",
    [
        ["--lag", "dxy=1d"],
        ["--acts", "banana"],
        ["--acts", "close"],
        ["--budget", "-5"],
        ["--tolerance", "0"],
        ["--warmup", "5"],
        ["--constant", "x"],
        ["--json", "/dev/null/x.json"],
    ],
)
def test_options_of_functions_are_refused_for_a_strategy_file(more: list[str]) -> None:
    result = CliRunner().invoke(app, ["lookahead", "ema_atr", "--data", "none.parquet", *more])
    assert isinstance(result.exception, UsageError), result.output
    assert more[0] in str(result.exception)


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
