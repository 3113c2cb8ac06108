"""A published score: the same row from file and memory, and every way in which a file is not the one meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research_lab.bars import Market
from research_lab.dsl import builder
from research_lab.dsl.explanation import explanation
from research_lab.dsl.sources import Sources, with_sources
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import DataError, InsufficientError, SpecError, UsageError
from research_lab.models.publication import published, write_score
from research_lab.models.walk_forward_fit import fit
from research_lab.score_note import KEY
from research_lab.series import ModelRule, SeriesRule, read_series
from research_lab.timeframe import HOUR_MS
from tests.research_lab.models.made_up import TEXT, bars, model

MARKET = bars()
MODEL = model()
SERIES = published(fit(MODEL, MARKET), MARKET, "0" * 64)
RULE = ModelRule(MODEL.hash, 2 * HOUR_MS)
CLOSES = MARKET.time + HOUR_MS
STRATEGY = """spec: 1
name: told
hypothesis: The model knows.
timeframe: 1h
side: long
models:
  %s
enter_long: model("drift") > 0.5
exit_long: model("drift") < 0
size: {fraction: 0.5}
"""


def strategy(declared: str = MODEL.declaration) -> Spec:
    return parse_spec(STRATEGY % declared)


def file_of(tmp_path: Path, note: object = None) -> Path:
    path = write_score(SERIES, tmp_path / "drift.parquet")
    if note is not None:
        raw = note if isinstance(note, bytes) else json.dumps(note).encode()
        pq.write_table(pq.read_table(path).replace_schema_metadata({KEY: raw}), path)
    return path


def told_note() -> dict[str, object]:
    assert SERIES.note is not None
    return dict(json.loads(SERIES.note.metadata[KEY]))


def test_a_file_gives_the_row_that_memory_gives(tmp_path: Path) -> None:
    read = read_series(file_of(tmp_path))
    assert read.note == SERIES.note and SERIES.note is not None and SERIES.note.data == MARKET.snapshot
    seen, made = (RULE.row("drift", series, CLOSES) for series in (read, SERIES))
    assert seen.tobytes() == made.tobytes() and np.isfinite(made).any()


def test_what_a_strategy_reads_at_a_close_is_the_score_of_that_bar() -> None:
    scores = fit(MODEL, MARKET)
    row = with_sources(MARKET, [strategy()], Sources({"drift": SERIES})).row(7)
    np.testing.assert_array_equal(row, scores.score)


def test_a_score_published_later_is_read_later() -> None:
    late = model(TEXT.replace("lag: 0", "lag: 1m"))
    scores = fit(late, MARKET)
    row = ModelRule(late.hash, 2 * HOUR_MS).row("drift", published(scores, MARKET, "0" * 64), CLOSES)
    np.testing.assert_array_equal(row[1:], scores.score[:-1])


def test_a_score_that_became_unknown_is_unknown_at_once_and_a_missing_one_with_its_age(
    tmp_path: Path,
) -> None:
    assert SERIES.value is not None
    value = SERIES.value.copy()
    value[500] = np.nan
    holed = replace(SERIES, value=value)
    path = write_score(holed, tmp_path / "holed.parquet")
    at = int(np.flatnonzero(SERIES.time[500] == CLOSES)[0])
    row = RULE.row("drift", read_series(path), CLOSES)
    assert np.isnan(row[at]) and np.isfinite(row[[at - 1, at + 1]]).all()
    ended = replace(SERIES, time=SERIES.time[:500], value=value[:500])
    row = RULE.row("drift", ended, CLOSES)
    assert np.isfinite(row[at - 1 : at + 2]).all() and np.isnan(row[at + 2 :]).all()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (ModelRule("f" * 64, HOUR_MS), f"the score of model drift {MODEL.hash[:12]}, and x is pinned to ffffffffffff"),
        (ModelRule(MODEL.hash, 3 * HOUR_MS), "takes a score for 3h, and its model lets one count for 2h"),
    ],
)  # fmt: skip
def test_another_models_score_is_refused(rule: ModelRule, said: str) -> None:
    with pytest.raises(DataError) as caught:
        rule.row("x", SERIES, CLOSES)
    assert said in str(caught.value)


def test_a_plain_series_is_no_score_and_a_score_no_plain_series() -> None:
    with pytest.raises(DataError, match="the file holds none; make the file with pipeline model fit"):
        RULE.row("drift", replace(SERIES, note=None), CLOSES)
    with pytest.raises(DataError, match="the file holds a model's score; declare it under models:"):
        SeriesRule(0, HOUR_MS).row("drift", SERIES, CLOSES)


def test_a_score_of_another_market_is_refused() -> None:
    other = replace(MARKET, market=Market("synthetic", "ELSE/USDT"))
    with pytest.raises(DataError, match="a model on synthetic BTC/USDT, wanted synthetic ELSE/USDT"):
        with_sources(other, [strategy()], Sources({"drift": SERIES}))


@pytest.mark.parametrize(
    "note",
    [
        b"{",
        b"[" * 100_000,
        b"[]",
        b"null",
        {**told_note(), "format": 2},
        {**told_note(), "more": 1},
        {**told_note(), "model": "abc"},
        {**told_note(), "max_age_ms": True},
        {**told_note(), "max_age_ms": 1.5},
        {key: value for key, value in told_note().items() if key != "data"},
    ],
)
def test_a_malformed_note_is_refused(note: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its note about a model"):
        read_series(file_of(tmp_path, note))


def test_infinity_in_a_score_and_nan_without_a_note_are_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    table = pq.read_table(path)
    values = table["value"].to_numpy().copy()
    values[3] = np.inf
    bad = table.set_column(1, "value", pa.array(values))
    pq.write_table(bad, path)
    with pytest.raises(DataError, match="value is inf"):
        read_series(path)
    values[3] = np.nan
    pq.write_table(table.set_column(1, "value", pa.array(values)).replace_schema_metadata(None), path)
    with pytest.raises(DataError, match="value is nan"):
        read_series(path)


def test_a_model_that_was_never_fitted_publishes_nothing() -> None:
    short = MARKET.window(0, 600)
    with pytest.raises(InsufficientError, match="model drift was never fitted"):
        published(fit(MODEL, short), short, "0" * 64)


def test_a_score_is_kept_as_parquet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name it \*.parquet"):
        write_score(SERIES, tmp_path / "drift.csv")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (MODEL.hash, "abc", "t.yaml:7:18: 'abc' is no hash of a model"),
        ("max_age: 2h", "max_age: soon", "soon is no length of time"),
        ('model("drift") > 0.5', 'model("drip") > 0.5', "'drip' is no model; write model(\"name\")"),
        ('model("drift") > 0.5', "model(drift) > 0.5", "model() takes the name of a model, in quotes"),
        ('model("drift") > 0.5', "model > 0.5", 'model is a function; write model("name")'),
        ('model("drift") > 0.5', 'model("drift") > close', "compares"),
        ('model("drift") > 0.5', 'on("BTC/USDT", model("drift")) > 0.5', "is no value of BTC/USDT's bars"),
        ("enter_long", "series:\n  drift: {lag: 0, max_age: 1h}\nenter_long", "drift is taken"),
    ],
)  # fmt: skip
def test_a_declaration_or_use_that_does_not_fit_is_refused(old: str, new: str, said: str) -> None:
    text = STRATEGY % MODEL.declaration
    assert old in text
    with pytest.raises(SpecError) as caught:
        parse_spec(text.replace(old, new), "t.yaml")
    assert said in str(caught.value)


def test_a_model_that_nothing_reads_is_refused() -> None:
    text = (STRATEGY % MODEL.declaration).replace('model("drift")', "funding")
    with pytest.raises(SpecError, match="nothing reads drift"):
        parse_spec(text)


def test_the_hash_of_a_strategy_covers_that_of_its_model() -> None:
    spec, other = strategy(), strategy(MODEL.declaration.replace(MODEL.hash, "a" * 64))
    assert spec.hash != other.hash and spec.template_hash != other.template_hash
    assert parse_spec(spec.canonical()).hash == spec.hash
    assert spec.rows == {'model("drift")': f'model("drift") {{hash: "{MODEL.hash}", max_age: 2h}}'}


def test_a_strategy_made_in_python_is_the_one_of_the_file() -> None:
    drift = builder.model("drift", hash=MODEL.hash, max_age="2h")
    made = builder.strategy(
        name="told", hypothesis="The model knows.", timeframe="1h", side="long",
        enter_long=drift > 0.5, exit_long=drift < 0, size={"fraction": 0.5},
    )  # fmt: skip
    assert made.hash == strategy().hash and made.canonical() == strategy().canonical()
    with pytest.raises(SpecError, match="is no hash of a model"):
        builder.model("drift", hash="abc", max_age="2h")


def test_a_strategy_says_in_words_which_model_it_reads() -> None:
    told = explanation(strategy())
    assert (
        f"Reads the score of model drift {MODEL.hash[:12]}, unknown once 2 hours old, or when it is missing."
        in told
    )
    assert "when the score of model drift is above 0.5" in told
