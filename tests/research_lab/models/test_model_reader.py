"""Model files: what is read, what is refused, and what the hash is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.errors import DimensionError, LimitError, SpecError
from research_lab.models.model_reader import parse_model
from tests.research_lab.models.made_up import TEXT


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new)


def test_the_canonical_text_is_the_same_model() -> None:
    model = parse_model(TEXT)
    again = parse_model(model.canonical())
    assert again.hash == model.hash and again.canonical() == model.canonical()
    assert parse_model(model.canonical().encode()).identity == model.identity


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: drift", "name: other"),
        ("What rose", "Who knows what"),
        ("momentum:", "anything:"),
        ("refit: 10d", "refit: 240h"),
        ("features:\n  momentum: roc(close, 24)", "define: {n: 24}\nfeatures:\n  momentum: roc(close, n)"),
        ("train: {window: expanding, at_least: 30d}", "train: {window: expanding, at_least: 30d, embargo: 24h}"),
        ("  stretch: close / sma(close, 12) - 1\n  strong: rsi(14) > 60\n",
         "  strong: rsi(close, 14) > 60  # a comment\n  stretch: close / sma(close, 12) - 1\n"),
    ],
)  # fmt: skip
def test_what_is_not_fitted_is_no_part_of_the_hash(old: str, new: str) -> None:
    assert parse_model(changed(old, new)).hash == parse_model(TEXT).hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("roc(close, 24)", "roc(close, 25)"),
        ("timeframe: 1h", "timeframe: 2h"),
        ("return_over: 6", "return_over: 7"),
        ("alpha: 10", "alpha: 11"),
        ("{ridge: {alpha: 10}}", "{random_forest: {}}"),
        ("refit: 10d", "refit: 11d"),
        ("window: expanding", "window: 60d"),
        ("at_least: 30d", "at_least: 31d"),
        ("at_least: 30d", "at_least: 30d, embargo: 2d"),
        ("lag: 0", "lag: 1m"),
        ("max_age: 2h", "max_age: 3h"),
    ],
)
def test_what_is_fitted_and_published_is_part_of_the_hash(old: str, new: str) -> None:
    assert parse_model(changed(old, new)).hash != parse_model(TEXT).hash


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (changed("model: 1", "model: 2"), SpecError, "m.yaml:1:8: model"),
        (changed("name: drift", "name: Drift!"), SpecError, "m.yaml:2:7: name"),
        (TEXT + "seed: 3\n", SpecError, "seed: this field is not known; known: model, name"),
        (changed("roc(close, 24)", "roc(close, n)"), SpecError, "m.yaml:6:24: n is not known"),
        (changed("roc(close, 24)", "close - prev(close)"), DimensionError, "is a price, whose size changes"),
        (changed("roc(close, 24)", "volume"), DimensionError, "m.yaml:6:13: volume is a volume"),
        (changed("roc(close, 24)", "0.5"), SpecError, "is the same at every bar"),
        (changed("roc(close, 24)", "rsi(14) > 60"), SpecError, "strong says the same as momentum"),
        (changed("roc(close, 24)", 'model("x")'), SpecError, "'x' is no model"),
        (changed("roc(close, 24)", 'on("BTC/USDT", roc(close, 24))'), SpecError, "on() stands in strategies only"),
        (changed("roc(close, 24)", "__import__('os')"), SpecError, "m.yaml:6:"),
        (changed("roc(close, 24)", "roc(close, 200000000)"), SpecError, "m.yaml:6:"),
        (changed("{return_over: 6}", "{return_over: 6, sign_over: 6}"), SpecError, "target has return_over and sign_over"),
        (changed("{return_over: 6}", "{}"), SpecError, "target has nothing"),
        (changed("{return_over: 6}", "{return_over: 0}"), SpecError, "m.yaml:9:"),
        (changed("{return_over: 6}", "{sign_over: 6}"), SpecError, "ridge does not predict sign_over"),
        (changed("{ridge: {alpha: 10}}", "{logistic: {}}"), SpecError, "logistic does not predict return_over"),
        (changed("{ridge: {alpha: 10}}", "{ridge: {alpha: 0}}"), SpecError, "estimator.ridge.alpha"),
        (changed("{ridge: {alpha: 10}}", "{svm: {}}"), SpecError, "known: ridge, logistic"),
        (changed("{ridge: {alpha: 10}}", "{ridge: {}, random_forest: {}}"), SpecError, "give one of ridge"),
        (changed("{ridge: {alpha: 10}}", "{random_forest: {trees: 100000}}"), SpecError, "random_forest.trees"),
        (changed("refit: 10d", "refit: 36h"), SpecError, "36h is not a number of days"),
        (changed("refit: 10d", "refit: 0"), SpecError, "refit"),
        (changed("window: expanding", "window: 20d"), SpecError, "at_least is longer than window"),
        (changed("window: expanding", "window: all"), SpecError, "all is no length of time"),
        (changed("lag: 0, ", ""), SpecError, "publish.lag: this field is missing"),
        (TEXT.replace("features:", "features: &a"), SpecError, "anchors"),
        (TEXT + "x" * 20_000, LimitError, "larger than 16384 bytes"),
        ("[" * 5_000, SpecError, "nested deeper"),
        ("", SpecError, "no fields found"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, error: type[SpecError], said: str) -> None:
    with pytest.raises(error) as caught:
        parse_model(text, "m.yaml")
    assert said in str(caught.value)


def test_more_features_than_there_is_room_for_are_refused() -> None:
    many = "".join(f"  f{k}: roc(close, {k + 1})\n" for k in range(33))
    with pytest.raises(SpecError, match="features"):
        parse_model(TEXT.replace("features:\n", f"features:\n{many}"))


LINES = TEXT.splitlines(keepends=True)
WILD = st.sampled_from([
    "", "&a", "*a", "!!python/object:os.system", "null", "1e400", "-1", "[]", "{}", "'", '"', ": ", "\t", "\x00", "9" * 41,
    "close", "model(model)", "prev(close, -1)", "roc(close, 24) > rsi(14)", "0d", "9999w", "10000d", "expanding", "ridge",
])  # fmt: skip


@given(
    at=st.integers(0, len(TEXT)), length=st.integers(0, 30), text=WILD | st.text(max_size=12),
    twice=st.none() | st.integers(0, len(LINES) - 1),
)  # fmt: skip
def test_a_wild_text_is_a_model_or_refused(at: int, length: int, text: str, twice: int | None) -> None:
    whole = TEXT if twice is None else TEXT + LINES[twice]
    try:
        model = parse_model(whole[:at] + text + whole[at + length :])
    except SpecError as fault:
        assert str(fault)
    else:
        assert parse_model(model.canonical()).hash == model.hash
