"""Planted leaks: what users of pandas, scipy and scikit-learn write when they look at the future.

Heavy libraries are imported here and not in the functions: processes that are forked have them already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import butter, detrend, filtfilt, find_peaks, savgol_filter
from scipy.sparse import diags_array, eye_array
from scipy.sparse.linalg import spsolve
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.research_lab.validation.causality.corpus import Corpus

leak = Corpus()

Frame = pd.DataFrame
FAST, SLOW = 8, 24


def trend(df: Frame) -> pd.Series:
    return df.close > df.close.rolling(SLOW).mean()


def atr(df: Frame) -> pd.Series:
    before = df.close.shift()
    parts = [df.high - df.low, (df.high - before).abs(), (df.low - before).abs()]
    return pd.concat(parts, axis=1).max(axis=1).rolling(14).mean()


# Labels of the wrong bar.


@leak("the next close", "shift(-1)")
def next_close(df: Frame) -> Any:
    return df.close.shift(-1) > df.close


@leak("the close of three bars ahead", "shift(-3)")
def close_in_three_bars(df: Frame) -> Any:
    return df.close.shift(-3) > df.close


@leak("a forward return that is filled with zero at the end", "shift(-1)")
def forward_return(df: Frame) -> Any:
    return df.close.pct_change().shift(-1).fillna(0.0)


@leak("the next open, which is where the order fills", "shift(-1)")
def next_open(df: Frame) -> Any:
    return trend(df) & (df.open.shift(-1).fillna(df.close) <= df.close)


@leak("np.roll wraps the last value to the front", "last bar of the data")
def rolled_over(df: Frame) -> Any:
    return np.roll(df.close.to_numpy(), 1) < df.close.to_numpy()


@leak("np.roll backwards", "")
def rolled_back(df: Frame) -> Any:
    return np.roll(df.close.to_numpy(), -1) > df.close.to_numpy()


@leak("np.gradient takes both neighbours", "")
def gradient(df: Frame) -> Any:
    return np.gradient(df.close.to_numpy())


@leak("diff(-1): this bar less the next one", "shift(-1)")
def difference_to_next(df: Frame) -> Any:
    return df.close.diff(-1) < 0


@leak("positions shifted by one too few: an index joined by position", "")
def joined_by_position(df: Frame) -> Any:
    change = df.close.pct_change().dropna().to_numpy()
    return pd.Series(np.append(change, 0.0), df.index) > 0


@leak("dropna, then numbered anew: every value moves to an earlier bar", "")
def dropped_and_numbered(df: Frame) -> Any:
    mean = df.close.rolling(SLOW).mean().dropna().reset_index(drop=True)
    return mean.reindex(range(len(df))).to_numpy()


# Windows that reach ahead.


@leak("a centred window", "ahead have a say")
def centred_mean(df: Frame) -> Any:
    return df.close > df.close.rolling(21, center=True).mean()


@leak("a centred window with min_periods, so that nothing is missing at the end", "")
def centred_mean_without_gaps(df: Frame) -> Any:
    return df.close.rolling(11, center=True, min_periods=1).mean()


@leak("a forward window", "ahead have a say")
def forward_window(df: Frame) -> Any:
    window = pd.api.indexers.FixedForwardWindowIndexer(window_size=5)
    return df.high.rolling(window).max()


@leak("a rolling window over reversed rows", "ahead have a say")
def reversed_rolling(df: Frame) -> Any:
    return df.close[::-1].rolling(10).mean()[::-1] > df.close


@leak("np.convolve with mode same is centred", "")
def convolved(df: Frame) -> Any:
    return df.close.to_numpy() > np.convolve(df.close.to_numpy(), np.full(9, 1 / 9), "same")


@leak("Savitzky-Golay smoothing is centred", "")
def savitzky_golay(df: Frame) -> Any:
    return savgol_filter(df.close.to_numpy(), 11, 2)


@leak("filtfilt runs forth and back", "")
def forth_and_back(df: Frame) -> Any:
    return df.close.to_numpy() > filtfilt(*butter(2, 0.1), df.close.to_numpy())


@leak("an FFT low pass over the whole sample", "whole sample")
def fourier(df: Frame) -> Any:
    spectrum = np.fft.rfft(df.close.to_numpy())
    spectrum[20:] = 0.0
    return df.close.to_numpy() > np.fft.irfft(spectrum, len(df))


@leak("Hodrick-Prescott: a smooth trend solved for all bars at once", "whole sample")
def hodrick_prescott(df: Frame) -> Any:
    n = len(df)
    second = diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
    smooth = spsolve((eye_array(n) + 1600.0 * (second.T @ second)).tocsc(), df.close.to_numpy())
    return df.close.to_numpy() - smooth


@leak("a straight line fitted through all closes", "whole sample")
def straight_line(df: Frame) -> Any:
    t = np.arange(len(df))
    return df.close.to_numpy() > np.polyval(np.polyfit(t, df.close.to_numpy(), 1), t)


@leak("scipy.signal.detrend fits the whole sample", "whole sample")
def detrended(df: Frame) -> Any:
    return detrend(df.close.to_numpy()) > 0


@leak(
    "shift(4), then shift(-3): the same as shift(1), but for the last three rows, which are lost",
    "number of bars",
)
def there_and_back(df: Frame) -> Any:
    return df.close.shift(4).shift(-3) < df.close


@leak("an exponential mean of reversed rows", "")
def reversed_ewm(df: Frame) -> Any:
    return df.close > df.close[::-1].ewm(span=10).mean()[::-1]


@leak("an expanding maximum of reversed rows", "")
def reversed_expanding(df: Frame) -> Any:
    return df.high >= df.high[::-1].expanding().max()[::-1]


# Statistics of the whole sample.


@leak("z-score with mean and deviation of all bars", "whole sample")
def full_zscore(df: Frame) -> Any:
    return (df.close - df.close.mean()) / df.close.std() > 1


@leak("a threshold that is a quantile of all volumes", "whole sample")
def full_quantile(df: Frame) -> Any:
    return df.volume > df.volume.quantile(0.9)


@leak("ranks among all bars", "whole sample")
def full_rank(df: Frame) -> Any:
    return df.close.pct_change().rank(pct=True)


@leak("bins of equal counts over all bars", "whole sample")
def binned(df: Frame) -> Any:
    return pd.qcut(df.volume, 4, labels=["q1", "q2", "q3", "q4"])


@leak("normalised to the range of all bars", "whole sample")
def min_max(df: Frame) -> Any:
    return (df.close - df.close.min()) / (df.close.max() - df.close.min())


@leak("missing values replaced by the median of all", "whole sample")
def filled_with_median(df: Frame) -> Any:
    return df.volume.rolling(SLOW).mean().pipe(lambda mean: mean.fillna(mean.median()))


@leak("outliers clipped at quantiles of all bars", "whole sample")
def winsorised(df: Frame) -> Any:
    change = df.close.pct_change()
    return change.clip(change.quantile(0.01), change.quantile(0.99))


@leak("prices divided by the last one", "")
def relative_to_last(df: Frame) -> Any:
    return df.close / df.close.iloc[-1]


@leak("the bar of the highest close of all", "")
def at_the_top(df: Frame) -> Any:
    signal = np.zeros(len(df), bool)
    signal[int(np.argmax(df.close.to_numpy()))] = True
    return signal


@leak("sorted by value and put back by position", "")
def sorted_by_value(df: Frame) -> Any:
    return np.sort(df.close.to_numpy())


@leak("the best of some windows, chosen by the profit over all bars", "")
def best_window(df: Frame) -> Any:
    change = df.close.pct_change().fillna(0.0)
    signals = {n: (df.close > df.close.rolling(n).mean()).shift(fill_value=False) for n in range(5, 60, 2)}
    best = max(signals, key=lambda n: float((change * signals[n]).sum()))
    return signals[best]


# Models.


def features(df: Frame) -> Frame:
    change = df.close.pct_change()
    return pd.DataFrame({"a": change, "b": change.rolling(5).mean(), "c": change.rolling(20).std()}).fillna(
        0.0
    )


@leak("a scaler that was fitted on all bars", "whole sample")
def scaled(df: Frame) -> Any:
    return StandardScaler().fit_transform(features(df).to_numpy())


@leak("a model fitted on all bars", "whole sample")
def fitted_on_all(df: Frame) -> Any:
    x = features(df).to_numpy() * 100.0
    y = (df.close.shift(-1) > df.close).to_numpy()
    return LogisticRegression().fit(x[:-1], y[:-1]).predict_proba(x)[:, 1]


@leak("a model fitted each 50 bars, whose last label overlaps with what it predicts", "")
def overlapping_labels(df: Frame) -> Any:
    x, horizon = features(df).to_numpy(), 5
    y = (df.close.shift(-horizon) > df.close).to_numpy()
    score = np.zeros(len(df))
    for begin in range(200, len(df), 50):
        model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x[:begin], y[:begin])
        score[begin : begin + 50] = model.predict_proba(x[begin : begin + 50])[:, -1]
    return score


@leak("trained on the first 70 % of the rows, whatever their number", "")
def split_by_share(df: Frame) -> Any:
    x, y = features(df).to_numpy(), df.close.pct_change().fillna(0.0).to_numpy()
    k = int(0.7 * len(df))
    return LinearRegression().fit(x[: k - 1], y[1:k]).predict(x) > 0


@leak("principal components of all bars", "whole sample")
def components(df: Frame) -> Any:
    return PCA(1).fit_transform(features(df).to_numpy())[:, 0] > 0


@leak("regimes by clustering all bars", "")
def clustered(df: Frame) -> Any:
    x = features(df).to_numpy()[:, 2:] * 100.0
    return KMeans(2, n_init=1, random_state=0).fit(x).labels_


# Other clocks.


@leak("a day's close joined by the day's beginning", "bar of 1d")
def unclosed_day(df: Frame) -> Any:
    day = df.close.resample("1D").last()
    return df.close > day.reindex(df.index, method="ffill")


@leak("the 4h trend before the 4h bar has closed", "bar of 4h")
def unclosed_four_hours(df: Frame) -> Any:
    longer = df.close.resample("4h").last()
    rising = longer > longer.rolling(5).mean()
    return rising.reindex(df.index, method="ffill") & trend(df)


@leak("the day's high known in the morning", "bar of 1d")
def high_of_the_day(df: Frame) -> Any:
    return df.high.groupby(df.index.floor("D")).transform("max")


@leak("resample with label right, then shifted back", "")
def label_mistaken(df: Frame) -> Any:
    longer = df.close.resample("6h", label="right", closed="left").last().shift(-1)
    return df.close > longer.reindex(df.index, method="ffill")


@leak("merge_asof forward takes the next bar of the longer timeframe", "")
def merged_forward(df: Frame) -> Any:
    right = df.close.resample("4h", label="right").last().rename("longer").reset_index()
    left = df.close.rename_axis("time").reset_index()
    right.columns = ["time", "longer"]
    right["time"] = right["time"].astype(left["time"].dtype)
    return pd.merge_asof(left, right, on="time", direction="forward")["longer"].to_numpy()


@leak("merge_asof nearest", "")
def merged_nearest(df: Frame) -> Any:
    left = df.close.rename_axis("time").reset_index()
    right = left.iloc[::5].rename(columns={"close": "fifth"})
    return pd.merge_asof(left, right, on="time", direction="nearest")["fifth"].to_numpy()


@leak("holes filled backwards", "differs from bar to bar")
def filled_backwards(df: Frame) -> Any:
    sparse = df.close.where(np.arange(len(df)) % 7 == 3)
    return sparse.bfill() > df.close


@leak("holes interpolated", "")
def interpolated(df: Frame) -> Any:
    return df.close.where(np.arange(len(df)) % 6 == 0).interpolate()


@leak("pivots that are marked at their own bar, not when they are confirmed", "ahead have a say")
def unconfirmed_pivots(df: Frame) -> Any:
    return df.high == df.high.rolling(11, center=True).max()


@leak("a zigzag that is redrawn", "")
def zigzag(df: Frame) -> Any:
    found = np.zeros(len(df), bool)
    found[find_peaks(df.close.to_numpy(), prominence=float(df.close.iloc[0]) * 0.01)[0]] = True
    return found


@leak("funding joined with the rate that falls due next", "", series=True)
def funding_before_its_time(df: Frame, series: dict[str, Any]) -> Any:
    return series["funding"].reindex(df.index, method="bfill") > 0


@leak("a daily figure used on its day, though published the day after", "daily", series=True)
def figure_before_published(df: Frame, series: dict[str, Any]) -> Any:
    return trend(df) & (series["daily"].reindex(df.index, method="ffill") > 0)


@leak("a z-score of a series over its whole length", "", series=True)
def series_standardised(df: Frame, series: dict[str, Any]) -> Any:
    funding = series["funding"]
    return ((funding - funding.mean()) / funding.std()).reindex(df.index, method="ffill")


# In one place only.


@leak("sizes know the next range", "")
def in_sizes_only(df: Frame) -> Any:
    return {"enter": trend(df), "size": 0.01 / (df.high - df.low).shift(-1).fillna(1.0)}


@leak("stops at the low of the next three bars", "")
def in_stops_only(df: Frame) -> Any:
    window = pd.api.indexers.FixedForwardWindowIndexer(window_size=4)
    return trend(df), {"stop": df.low.rolling(window, min_periods=1).min()}


@leak("exits at tops that only the future shows", "")
def in_exits_only(df: Frame) -> Any:
    return pd.DataFrame(
        {"enter": trend(df), "exit": df.high >= df.high[::-1].rolling(6, min_periods=1).max()[::-1]}
    )


@leak("once in 500 bars the next close", "shift(-1)")
def once_in_500(df: Frame) -> Any:
    ahead = (df.close.shift(-1) > df.close).to_numpy()
    due = np.arange(len(df)) % 500 == 251
    return trend(df).where(~due, ahead)


@leak("one bar only, by its time", "")
def at_one_bar(df: Frame) -> Any:
    at = df.index == pd.Timestamp("2018-01-09T05:00Z")
    level = df.close.where(~at, df.close.shift(-1).fillna(0.0))
    return level.rolling(3).mean()


@leak("only when volatility is high", "")
def in_wild_bars_only(df: Frame) -> Any:
    wild = atr(df) > 1.2 * atr(df).rolling(200).mean()
    return trend(df) & ~(wild & (df.close.shift(-1) < df.close))


@leak("a crash is avoided when it comes within two bars", "")
def before_crashes_only(df: Frame) -> Any:
    ahead = df.close.shift(-2) / df.close - 1.0
    return trend(df) & ~(ahead < -0.01)


@leak("only in the first hour of a month", "")
def at_month_begin(df: Frame) -> Any:
    begin = (df.index.day == 1) & (df.index.hour == 0)
    return trend(df).where(~begin, df.close.shift(-6) > df.close)


@leak("an integer column, one unit off where the next bar falls", "")
def in_whole_numbers(df: Frame) -> Any:
    return (df.volume // 1).astype("int64") + (df.close.shift(-1) < df.close).astype("int64")


@leak("the last decimal of a price carries the next bar's direction", "")
def in_last_decimals(df: Frame) -> Any:
    return df.close * (1.0 + 1e-10 * (df.close.shift(-1) > df.close))


# By position or label, without a care for where the data end: cut off, they raise.


def _by_index(df: Frame, bars: range) -> Any:
    close, found = df.close.to_numpy(), trend(df).to_numpy().copy()
    for t in bars:
        found[t] = close[t + 1] > close[t]
    return found


@leak("by index, once in 500 bars the next close", "shift(-1)")
def by_index_once_in_500(df: Frame) -> Any:
    return _by_index(df, range(250, len(df), 500))


@leak("by index, each seventh bar the next close", "shift(-1)")
def by_index_each_seventh(df: Frame) -> Any:
    return _by_index(df, range(3, len(df), 7))


@leak("by index, each second bar the next close: half of the cuts raise", "")
def by_index_each_second(df: Frame) -> Any:
    return _by_index(df, range(0, len(df), 2))


@leak("by index, at a fixed bar: most cuts raise", "shift(-1)")
def by_index_at_a_fixed_bar(df: Frame) -> Any:
    return _by_index(df, range(250, 251))


@leak("by label, the close of the next hour, Wednesdays at seven", "shift(-1)")
def by_label_on_wednesdays(df: Frame) -> Any:
    found = trend(df).copy()
    for at in df.index[(df.index.dayofweek == 2) & (df.index.hour == 7)]:
        found[at] = df.close[at + pd.Timedelta("1h")] > df.close[at]
    return found


@leak("by index, a fall so deep in the next bar that no future tried shows it", "beyond the last bar")
def by_index_before_a_collapse(df: Frame) -> Any:
    close, found = df.close.to_numpy(), trend(df).to_numpy().copy()
    for t in range(250, len(df), 500):
        found[t] &= not close[t + 1] < 1e-9 * close[t]
    return found


@leak("the window after some bars, whose maximum raises when it is empty", "ahead have a say")
def empty_window_ahead(df: Frame) -> Any:
    high, level = df.high.to_numpy(), df.high.to_numpy().copy()
    for t in range(100, len(df), 90):
        level[t] = high[t + 1 : t + 4].max()
    return level


# The number of rows, the last row, calls before.


@leak("a window that is a share of the number of rows", "number of bars")
def window_by_length(df: Frame) -> Any:
    return df.close > df.close.rolling(max(2, len(df) // 100)).mean()


@leak("the last bar is closed by force", "last row")
def closed_at_the_end(df: Frame) -> Any:
    signal = trend(df).copy()
    signal.iloc[-1] = False
    return signal


@leak("bars to the end of the data", "number of bars")
def bars_left(df: Frame) -> Any:
    return np.arange(len(df))[::-1] < 100


@leak("hours to the last time stamp", "number of bars")
def hours_left(df: Frame) -> Any:
    return (df.index[-1] - df.index).total_seconds() / 3600.0


@leak("every k-th row counted from the end", "number of bars")
def counted_from_the_end(df: Frame) -> Any:
    return (len(df) - np.arange(len(df))) % 24 == 0


@leak("folds by the number of rows", "number of bars")
def folds(df: Frame) -> Any:
    return np.arange(len(df)) * 5 // len(df)


_first_seen: dict[str, float] = {}


@leak("the first call's mean is kept for all later calls", "between calls")
def kept_mean(df: Frame) -> Any:
    _first_seen.setdefault("mean", float(df.close.mean()))
    return df.close > _first_seen["mean"]


_longest: dict[str, pd.Series] = {}


@leak("a cache that cuts its answer from the longest frame it has seen", "")
def kept_answer(df: Frame) -> Any:
    known = _longest.get("answer")
    if known is None or len(known) < len(df):
        _longest["answer"] = known = df.close.shift(-1) > df.close
    return known.loc[df.index]


class _Scaler:
    mean = 0.0

    def update(self, values: pd.Series) -> pd.Series:
        self.mean = 0.5 * self.mean + 0.5 * float(values.mean())
        return values - self.mean


_scaler = _Scaler()


@leak("an object that learns from every call", "")
def learning_object(df: Frame) -> Any:
    return _scaler.update(df.close) > 0


@leak("noise without a seed", "randomness")
def without_seed(df: Frame) -> Any:
    return trend(df) & (np.random.default_rng().random(len(df)) > 0.5)


@leak("noise of numpy's global state", "")
def global_random(df: Frame) -> Any:
    return trend(df) & (np.random.rand(len(df)) > 0.5)  # noqa: NPY002


@leak(
    "noise drawn from the end, seeded: the draws belong to other bars with another length", "number of bars"
)
def seeded_by_length(df: Frame) -> Any:
    return np.random.default_rng(len(df)).random(len(df)) > 0.5


_fitted: dict[str, float] = {}


@leak("fitted once, to the highest close of the first call, which is that of most parts too", "between calls")
def fitted_once(df: Frame) -> Any:
    return df.close / _fitted.setdefault("top", float(df.close.max()))


# Kinds of results.


@leak("stops that know the number of bars, beside a placeholder for none", "number of bars")
def stops_with_a_placeholder(df: Frame) -> Any:
    return {"stop": (df.low * (1.0 - 1e-3 / len(df))).where(trend(df), 1e18)}


@leak("bins of equal counts, as intervals", "whole sample")
def binned_in_intervals(df: Frame) -> Any:
    return pd.qcut(df.close, 4)


@leak("a dictionary by time of the next bar's direction", "shift(-1)")
def directions_by_time(df: Frame) -> Any:
    return (df.close.shift(-1) > df.close).to_dict()


@leak("a list in which the last bar is compared with itself", "shift(-1)")
def listed(df: Frame) -> Any:
    close = df.close.tolist()
    return [after > now for now, after in zip(close, [*close[1:], close[-1]], strict=True)]


# Acted on at the open of the same bar.


@leak("a position of the same bar, by its own close", "one shift(1) is missing", at_open=True)
def same_bar_close(df: Frame) -> Any:
    return trend(df)


@leak("bought at the open when the bar will go up", "one shift(1) is missing", at_open=True)
def same_bar_direction(df: Frame) -> Any:
    return df.close > df.open


@leak("the bar's own volume at its open", "volume", at_open=True)
def same_bar_volume(df: Frame) -> Any:
    return df.volume > df.volume.rolling(SLOW).mean().shift(1)


@leak("a stop by the bar's own range", "one shift(1) is missing", at_open=True)
def same_bar_range(df: Frame) -> Any:
    return {"enter": trend(df).shift(1, fill_value=False), "stop": 2.0 * (df.high - df.low)}
