"""Walk-forward fits: causal to the bit, deterministic, and the same numbers as written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab.bars import Bars, FloatArray
from research_lab.errors import InsufficientError
from research_lab.models.model import Model
from research_lab.models.samples import NEVER, samples_of
from research_lab.models.walk_forward_fit import Scores, fit, refit_times, training_rows
from research_lab.timeframe import DAY_MS, HOUR_MS
from research_lab.validation.poison import poisoned
from tests.research_lab.models.made_up import N_BARS, TEXT, bars, model

LOGISTIC = TEXT.replace("return_over", "sign_over").replace("{ridge: {alpha: 10}}", "{logistic: {c: 0.1}}")
BOOSTED = TEXT.replace("{ridge: {alpha: 10}}", "{hist_gradient_boosting: {trees: 10, leaf: 50}}")
FOREST = LOGISTIC.replace("{logistic: {c: 0.1}}", "{random_forest: {trees: 5, leaf: 50}}")
FOUR_HOURS = TEXT.replace("timeframe: 1h", "timeframe: 4h").replace("window: expanding", "window: 40d")
KINDS = {"ridge": TEXT, "logistic": LOGISTIC, "boosting": BOOSTED, "forest": FOREST, "four hours": FOUR_HOURS}
MARKET = bars()
BORDERS = (int(MARKET.time[0]) + 55 * DAY_MS + 7 * HOUR_MS,)
WHOLE = {name: fit(model(text), MARKET, borders=BORDERS) for name, text in KINDS.items()}


def same_bits(one: FloatArray, other: FloatArray) -> bool:
    return one.tobytes() == other.tobytes()


@settings(max_examples=25)
@given(kind=st.sampled_from(sorted(KINDS)), cut=st.integers(40, N_BARS - 2), seed=st.integers(0, 99))
def test_no_score_of_the_past_depends_on_the_future(kind: str, cut: int, seed: int) -> None:
    whole, closed = WHOLE[kind], int(MARKET.time[cut]) + HOUR_MS
    past = whole.score[whole.visible <= closed]
    for what, tape in poisoned(MARKET, cut, np.random.default_rng(seed)):
        other = fit(whole.model, tape, borders=BORDERS, until_ms=closed)
        assert same_bits(past, other.score[other.visible <= closed]), what


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_input_gives_the_same_bytes_with_known_fits_or_without(kind: str) -> None:
    whole, learned = WHOLE[kind], {}
    assert np.isfinite(whole.score).sum() > 300
    for _ in range(2):
        again = fit(whole.model, MARKET, borders=BORDERS, learned=learned)
        assert same_bits(whole.score, again.score)
    assert len(learned) == sum(refit.gave_model for refit in whole.refits)


def test_fits_happen_at_whole_periods_and_at_borders_wherever_data_begin() -> None:
    told = model()
    samples = samples_of(told, MARKET)
    times = refit_times(told, samples.visible, BORDERS)
    assert [time for time in times if time % (10 * DAY_MS)] == list(BORDERS)
    later = samples_of(told, MARKET.window(24 * 17, N_BARS))
    assert refit_times(told, later.visible, ()) == [
        t for t in times if t > later.visible[0] and t not in BORDERS
    ]


def test_a_border_moves_scores_up_to_the_next_fit_only() -> None:
    whole, without = WHOLE["ridge"], fit(model(), MARKET)
    after = -(-BORDERS[0] // (10 * DAY_MS)) * 10 * DAY_MS
    outside = (whole.visible <= BORDERS[0]) | (whole.visible > after)
    assert same_bits(whole.score[outside], without.score[outside])
    assert not same_bits(whole.score[~outside], without.score[~outside])


def test_a_fit_sees_only_labels_that_were_complete_embargo_before_it() -> None:
    told = model(window_ms=20 * DAY_MS)
    samples = samples_of(told, MARKET)
    time = int(MARKET.time[0]) // DAY_MS * DAY_MS + 60 * DAY_MS
    rows = training_rows(told, samples, time)
    assert rows.known.max() == time - DAY_MS and rows.visible.max() == time - DAY_MS - 6 * HOUR_MS
    assert rows.visible.min() == time - 20 * DAY_MS + HOUR_MS
    assert rows.n == (20 - 1) * 24 - 6


def test_the_first_fit_waits_for_labels_enough() -> None:
    first = next(refit for refit in WHOLE["ridge"].refits if refit.gave_model)
    assert first.last_known_ms - first.first_ms >= 30 * DAY_MS
    before = [refit for refit in WHOLE["ridge"].refits if refit.time_ms < first.time_ms]
    assert before and all(r.n_rows == 0 or r.last_known_ms - r.first_ms < 30 * DAY_MS for r in before)


def ridge_by_hand(
    features: FloatArray, label: FloatArray, alpha: float
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    z = np.clip((features - mean) / deviation, -10.0, 10.0)
    centred = z - z.mean(axis=0)
    gram = centred.T @ centred + alpha * np.eye(z.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (label - label.mean()))
    return mean, deviation, slopes, float(label.mean() - z.mean(axis=0) @ slopes)


def predicted(fitted: tuple[FloatArray, FloatArray, FloatArray, float], features: FloatArray) -> FloatArray:
    mean, deviation, slopes, constant = fitted
    return np.clip((features - mean) / deviation, -10.0, 10.0) @ slopes + constant


def test_the_score_is_that_of_normal_equations_written_out() -> None:
    close = MARKET.close
    momentum = np.full(N_BARS, np.nan)
    momentum[24:] = close[24:] / close[:-24] - 1.0
    mean = np.convolve(close, np.ones(12) / 12, mode="valid")
    stretch = np.append(np.full(11, np.nan), close[11:] / mean - 1.0)
    samples = samples_of(model(), MARKET)
    strong = samples.features[:, [node.text for node in model().columns].index("60 < rsi(close, 14)")]
    features = np.column_stack([stretch, momentum, strong])  # of any order: least squares do not mind
    visible = MARKET.time + HOUR_MS
    label = np.append(close[6:] / close[:-6] - 1.0, np.full(6, np.nan))
    time = [refit.time_ms for refit in WHOLE["ridge"].refits if refit.gave_model][2]
    seen = np.isfinite(features).all(axis=1) & (visible + 6 * HOUR_MS <= time - DAY_MS)
    x, y, at = features[seen], label[seen], visible[seen]
    first = len(y) - int(0.2 * len(y))
    inner = at[:first] + 6 * HOUR_MS <= at[first]
    trial = ridge_by_hand(x[:first][inner], y[:first][inner], 10.0)
    size = np.sqrt(np.mean(predicted(trial, x[first:]) ** 2))
    bar = int(np.searchsorted(visible, time, side="right"))
    wanted = predicted(ridge_by_hand(x, y, 10.0), features[bar : bar + 24]) / size
    np.testing.assert_allclose(
        WHOLE["ridge"].score[bar : bar + 24], np.clip(wanted, -4, 4), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(
    ("kind", "most"), [("ridge", 4.0), ("boosting", 4.0), ("logistic", 1.0), ("forest", 1.0)]
)
def test_scores_have_no_dimension_and_stay_within_their_bounds(kind: str, most: float) -> None:
    told = WHOLE[kind].score[np.isfinite(WHOLE[kind].score)]
    assert (np.abs(told) <= most).all() and told.std() > 0.0
    tenfold = MARKET.inputs.copy()
    tenfold[:4] *= 8.0  # a power of two leaves the bits of ratios alone
    assert same_bits(
        WHOLE[kind].score, fit(WHOLE[kind].model, replace(MARKET, inputs=tenfold), borders=BORDERS).score
    )


def test_a_feature_that_is_unknown_gives_no_score_at_that_bar() -> None:
    inputs = MARKET.inputs.copy()
    inputs[5] = 1e-4
    inputs[5, 2_000:2_005] = np.nan
    told = fit(model(TEXT.replace("rsi(14) > 60", "funding")), replace(MARKET, inputs=inputs))
    unknown = np.flatnonzero(np.isnan(told.score[1_500:])) + 1_500
    assert unknown.tolist() == list(range(2_000, 2_005))


def test_a_model_learns_what_there_is_to_learn_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(5)
    n = N_BARS
    signal = rng.normal(0.0, 1e-4, n)
    steps = rng.normal(0.0, 0.004, n)
    steps[1:] += 10.0 * signal[:-1]
    close = 100.0 * np.exp(np.cumsum(steps))
    inputs = MARKET.inputs.copy()
    inputs[0], inputs[3] = np.append(100.0, close[:-1]), close
    inputs[1], inputs[2] = inputs[[0, 3]].max(axis=0), inputs[[0, 3]].min(axis=0)
    inputs[5] = signal
    text = TEXT.replace("rsi(14) > 60", "funding").replace("return_over: 6", "return_over: 1")
    told = fit(model(text), replace(MARKET, inputs=inputs))
    both = np.isfinite(told.score) & np.isfinite(told.label)
    expected = 10.0 * 1e-4 / np.hypot(10.0 * 1e-4, 0.004)  # correlation of the signal with the return
    assert np.corrcoef(told.score[both], told.label[both])[0, 1] == pytest.approx(expected, abs=0.05)
    noise = fit(model(text), MARKET.with_series({}))
    assert not np.isfinite(noise.score).any()  # spot has no funding: unknown, so no score


def test_bars_that_complete_together_after_a_gap_are_one_row() -> None:
    told = model(TEXT.replace("timeframe: 1h", "timeframe: 2h"))
    keep = np.ones(N_BARS, np.bool_)
    first = int(np.flatnonzero(MARKET.time % (4 * HOUR_MS) == 0)[100])
    keep[first + 1 : first + 3] = False  # the second half of one bar of 2h, the first of the next
    part = np.flatnonzero(keep)
    holed = Bars(MARKET.market, HOUR_MS, MARKET.time[part], MARKET.inputs[:, part], MARKET.funding_due[part])
    samples = samples_of(told, holed)
    assert (np.diff(samples.visible) > 0).all()


def test_the_last_labels_are_never_known() -> None:
    samples = samples_of(model(), MARKET)
    assert np.isnan(samples.label[-6:]).all() and (samples.known[-6:] == NEVER).all()
    assert samples.known[-7] == samples.visible[-1]


def test_bars_that_do_not_make_the_models_are_too_little() -> None:
    with pytest.raises(InsufficientError, match="fitted on 30m, which bars of 1h do not make"):
        fit(model(TEXT.replace("timeframe: 1h", "timeframe: 30m")), MARKET)


def test_no_bars_give_no_scores() -> None:
    empty: Scores = fit(model(), MARKET.window(0, 0))
    assert empty.score.shape == (0,) and empty.refits == ()


def test_labels_all_alike_give_no_model() -> None:
    inputs = MARKET.inputs.copy()
    inputs[:4] = 100.0 * np.exp(1e-4 * np.arange(N_BARS))
    told: Model = model(LOGISTIC)
    assert not np.isfinite(fit(told, replace(MARKET, inputs=inputs)).score).any()
