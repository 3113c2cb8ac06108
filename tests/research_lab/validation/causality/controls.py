"""Clean controls: what looks like a leak and is none."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from tests.research_lab.validation.causality.corpus import Corpus
from tests.research_lab.validation.causality.leaks import SLOW, atr, features, trend

control = Corpus()

Frame = pd.DataFrame


@control("a trailing mean")
def trailing_mean(df: Frame) -> Any:
    return trend(df)


@control("an expanding z-score")
def expanding_zscore(df: Frame) -> Any:
    seen = df.close.expanding(50)
    return (df.close - seen.mean()) / seen.std() > 1


@control("an expanding quantile")
def expanding_quantile(df: Frame) -> Any:
    return df.volume > df.volume.expanding(50).quantile(0.9)


@control("an expanding rank")
def expanding_rank(df: Frame) -> Any:
    return df.close.expanding(20).rank(pct=True)


@control("everything relative to the first close: the state depends on the first bar")
def relative_to_first(df: Frame) -> Any:
    return df.close / df.close.iloc[0]


@control("a cumulative sum from the first bar")
def cumulative(df: Frame) -> Any:
    return (df.volume * np.sign(df.close.diff().fillna(0.0))).cumsum()


@control("an exponential mean, whose memory never ends")
def exponential(df: Frame) -> Any:
    return df.close.ewm(span=50, adjust=False).mean() < df.close


@control("a window reversed twice")
def reversed_twice(df: Frame) -> Any:
    return df[::-1][::-1].close.rolling(9).mean()


@control("a centred window that is shifted by its half")
def centred_and_shifted(df: Frame) -> Any:
    return df.close.rolling(11, center=True).mean().shift(5)


@control("a forward window shifted by its length")
def forward_and_shifted(df: Frame) -> Any:
    window = pd.api.indexers.FixedForwardWindowIndexer(window_size=5)
    return df.high.rolling(window).max().shift(4) > df.close


@control("shift(-3), then shift(4)")
def back_and_there(df: Frame) -> Any:
    return df.close.shift(-3).shift(4) < df.close


@control("a pivot that is marked when it is confirmed")
def confirmed_pivots(df: Frame) -> Any:
    return (df.high == df.high.rolling(11, center=True).max()).shift(5, fill_value=False)


@control("the last day that has closed, joined at its end")
def closed_day(df: Frame) -> Any:
    day = df.close.resample("1D", label="right", closed="left").last()
    complete = day[day.index <= df.index[-1] + pd.Timedelta("1h")]
    return df.close > complete.reindex(df.index + pd.Timedelta("1h"), method="ffill").to_numpy()


@control("yesterday's close by a shift of the daily bars")
def day_before(df: Frame) -> Any:
    day = df.close.resample("1D").last().shift(1)
    return df.close > day.reindex(df.index, method="ffill")


@control("the running high of the day")
def high_so_far(df: Frame) -> Any:
    return df.high.groupby(df.index.floor("D")).cummax()


@control("merge_asof backward, of bars that have closed")
def merged_backward(df: Frame) -> Any:
    right = df.close.resample("4h", label="right").last().rename("longer").reset_index()
    left = pd.DataFrame({"time": df.index + pd.Timedelta("1h")})
    right.columns = ["time", "longer"]
    right["time"] = right["time"].astype(left["time"].dtype)
    return pd.merge_asof(left, right, on="time")["longer"].to_numpy()


@control("holes filled forwards")
def filled_forwards(df: Frame) -> Any:
    return df.close.where(np.arange(len(df)) % 7 == 3).ffill() < df.close


@control("bfill on data without holes, which fills nothing")
def filled_without_holes(df: Frame) -> Any:
    return df.bfill().close > df.bfill().open


@control("bfill of a warm-up is at the head only: it is done from the first known value, so it is cut away")
def dropped_and_reindexed(df: Frame) -> Any:
    return df.close.rolling(SLOW).mean().dropna().reindex(df.index) < df.close


@control("a scaler fitted on the first 200 bars; not known before")
def scaled_by_first_bars(df: Frame) -> Any:
    head = df.close.iloc[:200]
    if len(head) < 200:
        return pd.Series(np.nan, df.index)
    return ((df.close - head.mean()) / head.std()).where(np.arange(len(df)) >= 199)


@control("a walk-forward model with a gap as long as its label")
def walk_forward_model(df: Frame) -> Any:
    x, horizon = features(df).to_numpy(), 5
    y = (df.close.shift(-horizon) > df.close).to_numpy()
    score = np.zeros(len(df))
    for begin in range(200, len(df), 50):
        known = begin - horizon
        model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x[:known], y[:known])
        score[begin : begin + 50] = model.predict_proba(x[begin : begin + 50])[:, -1]
    return score


@control("a matrix product: its last digits depend on the number of rows")
def linear_score(df: Frame) -> Any:
    x = np.column_stack([df.close.pct_change(k).fillna(0.0).to_numpy() for k in range(1, 14)])
    return x @ np.linspace(-1.0, 1.0, 13)


@control("random numbers with a seed, one for each bar from the first")
def seeded(df: Frame) -> Any:
    return trend(df) & (np.random.default_rng(5).random(len(df)) > 0.5)


@control("the global state is seeded before it is used")
def seeded_globally(df: Frame) -> Any:
    np.random.seed(3)  # noqa: NPY002
    return np.random.rand(len(df)) > 0.5  # noqa: NPY002


@functools.lru_cache(maxsize=64)
def _weights(n: int) -> tuple[float, ...]:
    return tuple(np.arange(1, n + 1) / (n * (n + 1) / 2))


@control("a cache of what does not depend on the bars")
def cached_weights(df: Frame) -> Any:
    weights = np.array(_weights(10))
    return df.close > df.close.rolling(10).apply(lambda part: float(part @ weights), raw=True)


_calls = [0]


@control("it counts its calls, and does nothing with the count")
def counting_calls(df: Frame) -> Any:
    _calls[0] += 1
    return df.close > df.close.rolling(10).max().shift(1)


@control("it changes the frame it was given")
def changing_its_frame(df: Frame) -> Any:
    df["close"] = df["close"].rolling(5).mean()
    df.drop(columns=["volume"], inplace=True)
    return df["close"] > df["open"]


_buffer = np.zeros(10_000)


@control("it gives back a view of a buffer that it keeps")
def view_of_a_buffer(df: Frame) -> Any:
    _buffer[: len(df)] = df.close.to_numpy() > df.open.to_numpy()
    return _buffer[: len(df)]


@control("a recursion in plain Python")
def stepwise(df: Frame) -> Any:
    position, found = 0, []
    for close, mean in zip(df.close, df.close.rolling(SLOW).mean(), strict=True):
        position = 1 if close > 1.005 * mean else 0 if close < 0.995 * mean else position
        found.append(position)
    return found_series(found, df)


def found_series(values: list[int], df: Frame) -> pd.Series:
    return pd.Series(values, df.index)


@control("text by bar")
def in_words(df: Frame) -> Any:
    return pd.Series(np.where(trend(df), "long", "flat"), df.index)


@control("several kinds of results, a number among them")
def many_results(df: Frame) -> Any:
    return {
        "enter": trend(df),
        "stop": 2.0 * atr(df),
        "levels": (df.high.cummax(), df.low.cummin()),
        "risk": 0.01,
    }


@control("a label of the past named as if it were of the future")
def future_in_name_only(df: Frame) -> Any:
    future_return = df.close.pct_change(5)
    return future_return.rename("next_return") > 0


@control("sorted by time, which it was already")
def sorted_by_time(df: Frame) -> Any:
    return df.sort_index(ascending=False).sort_index().close.diff() > 0


@control("it raises with fewer than 60 bars")
def raising_when_short(df: Frame) -> Any:
    if len(df) < 60:
        raise ValueError("not enough bars")
    return df.close > df.close.rolling(60).mean()


@control("a list of signals")
def list_of_signals(df: Frame) -> Any:
    return [1 if now > begin else 0 for now, begin in zip(df.close, df.open, strict=True)]


@control("a dictionary of signals by time")
def signals_by_time(df: Frame) -> Any:
    return dict(zip(df.index, ["up" if up else "down" for up in df.close > df.open], strict=True))


@control("the frame with columns of dates, clock times, weeks and bins")
def with_helping_columns(df: Frame) -> Any:
    df["day"], df["clock"] = df.index.date, df.index.time
    df["week"] = df.index.tz_localize(None).to_period("W")
    df["bin"] = pd.cut(df.close.pct_change(), [-1.0, -0.01, 0.0, 0.01, 1.0])
    return df.assign(top=df.groupby("day")["high"].cummax())


@control("a series that lost its time zone")
def without_zone(df: Frame) -> Any:
    return trend(df).tz_localize(None)


@control("funding as it was last published", series=True)
def funding_published(df: Frame, series: dict[str, Any]) -> Any:
    return series["funding"].reindex(df.index, method="ffill") > 0


@control("a daily figure from when it was published on", series=True)
def figure_when_published(df: Frame, series: dict[str, Any]) -> Any:
    daily = series["daily"].copy()
    daily.index = daily.index + pd.Timedelta("30h")
    return daily.reindex(df.index + pd.Timedelta("1h"), method="ffill").to_numpy() > 0


@control("yesterday's signal acted on at the open", at_open=True)
def shifted_by_one(df: Frame) -> Any:
    return trend(df).shift(1, fill_value=False)


@control("the open against the opens before", at_open=True)
def trend_of_opens(df: Frame) -> Any:
    return df.open > df.open.rolling(SLOW).mean()


@control("a score by the time of day")
def by_the_clock(df: Frame) -> Any:
    return pd.Series(df.index.hour.isin([8, 9, 10]), df.index)


@control("the scale is read from the first two time stamps")
def step_of_the_index(df: Frame) -> Any:
    n = max(1, int(pd.Timedelta("12h") / (df.index[1] - df.index[0]))) if len(df) > 1 else 12
    return df.close > df.close.rolling(n).mean()
