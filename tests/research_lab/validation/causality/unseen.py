"""A second part of the corpus, written when the check was finished: what it finds here, it was not fitted to.

Some were written by testers who had not seen the check; what it missed of theirs is in the first part.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import UnivariateSpline
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import argrelextrema, hilbert, lfilter, medfilt
from sklearn.ensemble import RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from tests.research_lab.validation.causality.corpus import Corpus
from tests.research_lab.validation.causality.leaks import features

hidden_leak, hidden_control = Corpus(), Corpus()

Frame = pd.DataFrame


@hidden_leak("a Gaussian filter has two sides")
def gaussian(df: Frame) -> Any:
    return df.close.to_numpy() > gaussian_filter1d(df.close.to_numpy(), 4.0)


@hidden_leak("the Hilbert transform is an FFT over all bars")
def phase(df: Frame) -> Any:
    return np.angle(hilbert((df.close - df.close.rolling(48, min_periods=1).mean()).to_numpy())) > 0


@hidden_leak("a median filter is centred")
def median_filter(df: Frame) -> Any:
    return medfilt(df.close.to_numpy(), 5) < df.close.to_numpy()


@hidden_leak("local extremes compare with two bars to come")
def extremes(df: Frame) -> Any:
    found = np.zeros(len(df))
    found[argrelextrema(df.low.to_numpy(), np.less, order=2)[0]] = 1.0
    return found


@hidden_leak("support from a window with its origin in the middle")
def resistance(df: Frame) -> Any:
    return pd.DataFrame({"level": maximum_filter1d(df.high.to_numpy(), 24)}, df.index)


@hidden_leak("a spline through all closes")
def spline(df: Frame) -> Any:
    t = np.arange(len(df), dtype=float)
    return UnivariateSpline(t, df.close.to_numpy(), k=3, s=len(df) * 1e4)(t) < df.close.to_numpy()


@hidden_leak("cross validation shuffles the future into the training set")
def cross_validated(df: Frame) -> Any:
    x, y = features(df).to_numpy(), (df.close.diff() > 0).to_numpy()
    return cross_val_predict(KNeighborsRegressor(3), x, y.astype(float), cv=3)


@hidden_leak("a forest trained on everything, applied to the same bars")
def forest(df: Frame) -> Any:
    x, y = features(df).to_numpy(), (df.close.shift(-1) > df.close).to_numpy()
    return RandomForestClassifier(4, max_depth=3, random_state=1).fit(x, y).predict(x)


@hidden_leak("scores calibrated on outcomes that come later")
def calibrated(df: Frame) -> Any:
    raw = df.close.pct_change(5).fillna(0.0).to_numpy()
    return IsotonicRegression().fit(raw, np.append(np.diff(df.close), 0.0)).predict(raw)


@hidden_leak("the weekly high, merged on the week's number")
def weekly_high(df: Frame) -> Any:
    week = df.index.tz_localize(None).to_period("W")
    return df.close > 0.99 * df.high.groupby(week).max().reindex(week).to_numpy()


@hidden_leak("hours grouped by size: z-score within each hour of the day, over all days")
def hourly_season(df: Frame) -> Any:
    change = df.close.pct_change()
    return change - change.groupby(df.index.hour).transform("mean") > 0


@hidden_leak("trades are paired: the size of an entry knows whether its exit wins")
def sized_by_result(df: Frame) -> Any:
    enter = (df.close > df.close.rolling(30).max().shift(1)).to_numpy()
    size = np.where(enter, 1.0, 0.0)
    close = df.close.to_numpy()
    for t in np.flatnonzero(enter):
        if t + 12 < len(df) and close[t + 12] < close[t]:
            size[t] = 0.5
    return {"enter": enter, "size": size}


@hidden_leak("the stop trails from the best price of the whole trade")
def trailing_from_the_end(df: Frame) -> Any:
    block = np.arange(len(df)) // 16
    return {"stop": df.groupby(block)["high"].transform("max") * 0.98}


@hidden_leak("duplicates removed with keep='last': a level shows when it is last seen")
def last_of_equals(df: Frame) -> Any:
    return ~pd.Series(df.close.round(-2).to_numpy()).duplicated(keep="last").to_numpy()


@hidden_leak("state machine that peeks at the close after next on a Friday evening only")
def friday_evening(df: Frame) -> Any:
    due = (df.index.dayofweek == 4) & (df.index.hour == 21)
    calm = df.close.rolling(10).mean() < df.close
    return calm & ~(pd.Series(due, df.index) & (df.close.shift(-2) < df.close))


@hidden_leak("exits are looked up in a table of all exits")
def table_of_exits(df: Frame) -> Any:
    down = np.flatnonzero((df.close < df.close.rolling(20).min().shift(1)).to_numpy())
    following = np.searchsorted(down, np.arange(len(df)), side="left")
    return np.where(following < len(down), np.append(down, 0)[following] - np.arange(len(df)), -1) < 8


@hidden_leak("a generator of the last close decides which bars are skipped")
def seeded_by_last_close(df: Frame) -> Any:
    return np.random.default_rng(int(df.close.iloc[-1] * 100)).random(len(df)) < 0.1


@hidden_leak("warm-up filled backwards: the first known value stands before it was known")
def warm_up_filled(df: Frame) -> Any:
    return df.close.rolling(50).mean().bfill() < df.close


@hidden_leak("a volume profile: the price of most volume over all bars")
def volume_profile(df: Frame) -> Any:
    counts, edges = np.histogram(df.close, bins=40, weights=df.volume)
    return df.close > edges[int(np.argmax(counts))]


@hidden_leak("a regime by Viterbi, which goes back from the last bar")
def viterbi(df: Frame) -> Any:
    change = np.log(df.close).diff().fillna(0.0).to_numpy()
    spread = np.array([0.5, 2.0]) * 0.005
    fit = -np.log(spread) - 0.5 * (change[:, None] / spread) ** 2
    stay = np.log(np.array([[0.95, 0.05], [0.05, 0.95]]))
    best, before = fit[0], np.zeros((len(df), 2), int)
    for t in range(1, len(df)):
        ways = best[:, None] + stay
        before[t], best = ways.argmax(axis=0), ways.max(axis=0) + fit[t]
    states = [int(best.argmax())]
    for t in range(len(df) - 1, 0, -1):
        states.append(int(before[t, states[-1]]))
    return np.array(states[::-1])


@hidden_leak("a filter whose estimates are smoothed backwards")
def smoothed_backwards(df: Frame) -> Any:
    filtered = lfilter([0.2], [1.0, -0.8], df.close.to_numpy() - df.close.iloc[0])
    return lfilter([0.3], [1.0, -0.7], filtered[::-1])[::-1]


@hidden_leak("which of two barriers is touched first")
def first_barrier(df: Frame) -> Any:
    ahead = pd.concat([df.close.shift(-k) / df.close - 1.0 for k in range(1, 9)], axis=1)
    touched = ahead.where(ahead.abs() > 0.005)
    return np.sign(touched.bfill(axis=1).iloc[:, 0]).fillna(0.0)


@hidden_leak("an indicator that is missing where the price is about to rise")
def missing_before_rises(df: Frame) -> Any:
    return df.close.rolling(5).mean().mask(df.close.shift(-2) > 1.01 * df.close)


@hidden_leak("the sign of a zero")
def sign_of_zero(df: Frame) -> Any:
    return np.copysign(np.zeros(len(df)), np.append(np.diff(df.close), 0.0))


@hidden_leak("volumes shuffled with a seed: a draw by the number of rows, of values of all rows")
def shuffled(df: Frame) -> Any:
    return np.random.default_rng(1).permutation(df.volume.to_numpy()) > df.volume.to_numpy()


@hidden_leak("no position while the equity falls, the next bar's profit among it")
def spared_by_equity(df: Frame) -> Any:
    held = (df.close > df.close.shift()).astype(float)
    equity = (1.0 + held * df.close.pct_change().shift(-1).fillna(0.0)).cumprod()
    return held.where(equity > 0.97 * equity.cummax(), 0.0)


@hidden_leak("the feature that goes best with the next return")
def best_feature(df: Frame) -> Any:
    ahead = df.close.pct_change().shift(-1)
    found = {k: df.close.pct_change(k) for k in (1, 2, 5, 10)}
    return found[max(found, key=lambda k: abs(np.nan_to_num(found[k].corr(ahead))))]


@hidden_leak("quiet days are left out, by the volume of the whole day")
def loud_days_only(df: Frame) -> Any:
    day = df.index.floor("D")
    volume = df.volume.groupby(day).sum()
    quiet = volume < volume.expanding().quantile(0.3)
    return (df.close > df.open) & ~quiet.reindex(day).to_numpy()


@hidden_leak("all prices relative to that of a date: before it, the future")
def relative_to_a_date(df: Frame) -> Any:
    return df.close / df.close.loc[pd.Timestamp("2018-01-09T05:00Z")]


@hidden_leak("the last two rows are what they should be, those before are not: the last row always agrees")
def mended_at_the_end(df: Frame) -> Any:
    mean = df.close.rolling(3).mean()
    return mean.where(np.arange(len(df)) >= len(df) - 2, 0.5 * (mean + df.close.shift(-2)))


@hidden_leak("the open interest of a later publication, by nearest time", series=True)
def nearest_publication(df: Frame, series: dict[str, Any]) -> Any:
    return series["funding"].reindex(df.index, method="nearest") > 0.3


@hidden_leak("the range of the bar, used at its open once volatility is high", at_open=True)
def wild_open(df: Frame) -> Any:
    reach = (df.high - df.low) / df.open
    return reach > 1.5 * reach.rolling(100).mean().shift(1)


@hidden_control("a causal filter")
def causal_filter(df: Frame) -> Any:
    return lfilter([0.2], [1.0, -0.8], df.close.to_numpy()) < df.close.to_numpy()


@hidden_control("the weekly high of the week before")
def week_before(df: Frame) -> Any:
    week = df.index.tz_localize(None).to_period("W")
    highs = df.high.groupby(week).max().shift(1)
    return df.close > highs.reindex(week).to_numpy()


@hidden_control("the mean of the hour of the day, of the days before")
def season_so_far(df: Frame) -> Any:
    change = df.close.pct_change()
    before = change.groupby(df.index.hour).transform(lambda part: part.expanding().mean().shift(1))
    return change > before


@hidden_control("extremes that are told two bars later")
def extremes_confirmed(df: Frame) -> Any:
    low = df.low.to_numpy()
    found = np.zeros(len(df), bool)
    found[4:] = (
        (low[2:-2] < low[1:-3]) & (low[2:-2] < low[:-4]) & (low[2:-2] < low[3:-1]) & (low[2:-2] < low[4:])
    )
    return found


@hidden_control("a forest refitted every 250 bars on what was known")
def forest_walking(df: Frame) -> Any:
    x, y = features(df).to_numpy(), (df.close.diff() > 0).to_numpy()
    score = np.full(len(df), np.nan)
    for begin in range(250, len(df), 250):
        model = RandomForestClassifier(3, max_depth=2, random_state=1).fit(x[: begin - 1], y[1:begin])
        score[begin : begin + 250] = model.predict(x[begin : begin + 250])
    return score


@hidden_control("sliding windows of numpy")
def sliding(df: Frame) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(df.close.to_numpy(), 16) if len(df) >= 16 else None
    mean = np.full(len(df), np.nan)
    if windows is not None:
        mean[15:] = windows.mean(axis=1)
    return mean


@hidden_control("a position that is carried by forward filling")
def carried(df: Frame) -> Any:
    mean = df.close.rolling(30).mean()
    return pd.Series(
        np.where(df.close > 1.01 * mean, 1.0, np.where(df.close < 0.99 * mean, 0.0, np.nan)), df.index
    ).ffill()


@hidden_control("first of equals")
def first_of_equals(df: Frame) -> Any:
    return ~pd.Series(df.close.round(-2).to_numpy()).duplicated(keep="first").to_numpy()


@hidden_control("a profile of volume up to each bar")
def vwap_of_the_day(df: Frame) -> Any:
    day = df.index.floor("D")
    typical = (df.high + df.low + df.close) / 3.0
    return df.close > (typical * df.volume).groupby(day).cumsum() / df.volume.groupby(day).cumsum()


@hidden_control("a bar's own open against yesterday's close, at the open", at_open=True)
def against_yesterday(df: Frame) -> Any:
    day = df.close.resample("1D").last().shift(1)
    return df.open > day.reindex(df.index, method="ffill")


@hidden_control("rolling correlation and regression over the past")
def rolling_beta(df: Frame) -> Any:
    a, b = df.close.pct_change(), df.volume.pct_change()
    return a.rolling(40).corr(b), a.rolling(40).cov(b) / b.rolling(40).var()


@hidden_control("labels with the time of the bar before")
def labelled(df: Frame) -> Any:
    return df.close.shift(1).resample("4h").transform("first") < df.close


@hidden_control("a number drawn from the time stamp")
def drawn_by_time(df: Frame) -> Any:
    draws = [zlib.crc32(str(moment).encode()) / 2**32 for moment in df.index]
    return (df.close > df.close.shift()) & (np.array(draws) < 0.5)


@hidden_control("the time since the highest high, as a duration")
def since_the_high(df: Frame) -> Any:
    now = pd.Series(df.index, df.index)
    return now - now.where(df.high >= df.high.cummax()).ffill()


@hidden_control("categories, as many as were seen so far")
def categories_so_far(df: Frame) -> Any:
    new = np.where(df.high > df.high.cummax().shift(), "high", "")
    return pd.Series(np.where(df.low < df.low.cummin().shift(), "low", new), df.index).astype("category")


@hidden_control("an exponential mean by the clock")
def by_half_life(df: Frame) -> Any:
    return df.close.ewm(halflife="12h", times=df.index).mean() < df.close


@hidden_control("labels known when their horizon is over, as a mean of the hour so far")
def known_labels(df: Frame) -> Any:
    outcome = (df.close.shift(-5) / df.close - 1.0).shift(5)
    return outcome.groupby(df.index.hour).transform(lambda part: part.expanding().mean()) > 0
