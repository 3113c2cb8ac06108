"""Which pictures a report shows, out of the series that gates stored; without data there is no picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from markupsafe import Markup

from pipelines import report_charts as charts
from pipelines.gates.evidence import Evidence, Verdict
from pipelines.report_charts import Bar, Curve, Zone
from pipelines.report_text import number, percent
from research_lab.engine.jit import FloatArray

ZONES = (("backtest", "research"), ("holdout", "holdout"), ("shadow", "shadow"))
_RUINED = 1e-3  # equity below this multiple of the start is drawn here


@dataclass(frozen=True)
class Picture:
    """A drawing, what it shows, and how to read it.

    Parameters
    ----------
    legend : style and words of each line. note : a sentence beneath.
    """

    title: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Stretch:
    """One zone of data as it was run: equity and price as multiples that go on from the zone before."""

    zone: str
    time: FloatArray
    equity: FloatArray
    price: FloatArray
    drawdown: FloatArray


def pictures(evidence: Mapping[str, Evidence], verdicts: Mapping[str, Verdict]) -> list[Picture]:
    """Return every picture that the evidence has data for."""
    found = [
        _equity(stretches(evidence)),
        _drawdown(stretches(evidence), evidence, _limit(verdicts, "backtest", "max_drawdown")),
        _folds(_series(evidence, "walk_forward"), _limit(verdicts, "walk_forward", "sharpe")),
        _stitched(_series(evidence, "walk_forward")),
        _parameters(_series(evidence, "backtest")),
        _trades(_series(evidence, "backtest")),
    ]
    return [picture for picture in found if picture is not None]


def stretches(evidence: Mapping[str, Evidence]) -> list[Stretch]:
    """Return the zones that were run, oldest first, each going on where the one before ended."""
    found: list[Stretch] = []
    worth = held = 1.0
    for gate, zone in ZONES:
        series = _series(evidence, gate)
        time, equity = _array(series, "time"), _array(series, "equity")
        if time.size < 2 or time.shape != equity.shape or not (np.isfinite(time) & np.isfinite(equity)).all():
            continue
        price = _array(series, "close")
        price = held * price / price[0] if price.shape == time.shape else np.full(time.shape, math.nan)
        fallen = _array(series, "drawdown")
        if fallen.shape != time.shape:
            fallen = 1.0 - equity / np.maximum.accumulate(np.maximum(equity, 1.0))
        equity = worth * np.maximum(equity, _RUINED)
        found.append(Stretch(zone, time, equity, price, fallen))
        worth, held = float(equity[-1]), float(price[-1])
    return found


def day(ms: float) -> str:
    """Return a UTC date."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"


def _equity(runs: Sequence[Stretch]) -> Picture | None:
    if not runs:
        return None
    time = charts.time_axis(runs[0].time[0], runs[-1].time[-1])
    curves = [Curve("held", run.time, run.price) for run in runs]
    curves += [Curve("own", run.time, run.equity) for run in runs]
    growth = charts.growth_axis(np.concatenate([curve.y for curve in curves]))
    worth = float(runs[-1].equity[-1])
    prices = [float(run.price[-1]) for run in runs if math.isfinite(run.price[-1])]
    legend = [("own", f"strategy after costs ×{worth:.2f}")]
    if prices:
        until = "" if len(prices) == len(runs) else f", {runs[len(prices) - 1].zone} only"
        legend.append(("held", f"buying and holding ×{prices[-1]:.2f}{until}"))
    unseen = [zone for _, zone in ZONES if zone not in [run.zone for run in runs]]
    note = "Multiples of the capital at the start; equal distances are equal ratios. "
    note += " ".join(_told(run, before) for run, before in zip(runs, [None, *runs[:-1]], strict=True))
    note += f" Not opened: {' and '.join(unseen)}." if unseen else ""
    alt = f"Equity from {day(runs[0].time[0])} to {day(runs[-1].time[-1])}: "
    alt += "; ".join(told for _, told in legend)
    drawing = charts.line_chart(alt, curves, time, growth, zones=_zones(runs))
    return Picture("What it would have made of 1", drawing, tuple(legend), note)


def _told(run: Stretch, before: Stretch | None) -> str:
    gain = float(run.equity[-1]) / (float(before.equity[-1]) if before else 1.0) - 1.0
    begin, end = day(run.time[0]), day(run.time[-1])
    return f"{run.zone.capitalize()}, {begin} to {end}: {percent(gain, signed=True)}."


def _zones(runs: Sequence[Stretch]) -> list[Zone]:
    ends = [float(run.time[0]) for run in runs[1:]] + [float(runs[-1].time[-1])]
    return [Zone(run.zone, run.zone, float(run.time[0]), end) for run, end in zip(runs, ends, strict=True)]


def _drawdown(runs: Sequence[Stretch], evidence: Mapping[str, Evidence], limit: float) -> Picture | None:
    if not runs:
        return None
    time = charts.time_axis(runs[0].time[0], runs[-1].time[-1])
    curves = [Curve("fall", run.time, -run.drawdown, filled=True) for run in runs]
    falls = {run.zone: _deepest(run, evidence) for run in runs}
    deepest = max(falls.values())
    if deepest == 0.0:
        return None
    near = limit if math.isfinite(limit) and limit <= 2.5 * deepest else deepest
    axis = charts.value_axis(-max(deepest, near, 0.01), 0.0, percent=True)
    told = ", ".join(f"{zone} {percent(fall)}" for zone, fall in falls.items())
    legend = [("fall", f"deepest: {told}")]
    if near == limit:
        legend.append(("limit", f"limit for research {percent(limit)}"))
    note = "How far equity stood below its last peak; every zone begins afresh."
    drawing = charts.line_chart(
        f"Drawdown, {legend[0][1]}", curves, time, axis, zones=_zones(runs), limit=-limit, small=True
    )
    return Picture("How far it fell", drawing, tuple(legend), note)


def _deepest(run: Stretch, evidence: Mapping[str, Evidence]) -> float:
    """Return the deepest drawdown as the gate measured it; the curve has fewer points than that."""
    gate = next(gate for gate, zone in ZONES if zone == run.zone)
    told = evidence[gate].figures.get("max_drawdown", math.nan)
    return told if math.isfinite(told) else float(run.drawdown.max())


def _folds(series: Mapping[str, Any], limit: float) -> Picture | None:
    folds = [fold for fold in series.get("folds", ()) if isinstance(fold, Mapping)]
    if not folds:
        return None
    inside = [float(fold["inside_sharpe"]) for fold in folds]
    outside = [float(fold["outside_sharpe"]) for fold in folds]
    bars: list[Bar] = []
    named = len(folds) <= 8
    for k, (before, after) in enumerate(zip(inside, outside, strict=True)):
        bars.append(Bar("inside", k + 0.16, k + 0.49, before, number("", before) if named else ""))
        bars.append(Bar("outside", k + 0.51, k + 0.84, after, number("", after) if named else ""))
    finite = [value for value in [*inside, *outside] if math.isfinite(value)] or [0.0]
    top = max(*finite, limit if math.isfinite(limit) else 0.0, 0.0)
    bottom = min(*finite, 0.0)
    room = 0.12 * ((top - bottom) or 1.0)
    y = charts.value_axis(bottom - (room if bottom < 0 else 0.0), top + room)
    first_day = int(series.get("first_day", 0))
    ticks = tuple((k + 0.5, _months(fold, first_day)) for k, fold in enumerate(folds))
    legend = [("inside", "in-sample, tuned there"), ("outside", "out-of-sample, afterwards")]
    if math.isfinite(limit):
        legend.append(("limit", f"limit for all out-of-sample days {limit:g}"))
    alt = "Sharpe ratio by fold, in-sample then out-of-sample: " + "; ".join(
        f"{number('', before)}, {number('', after)}" for before, after in zip(inside, outside, strict=True)
    )
    note = (
        "Sharpe ratio of each fold, by when its out-of-sample days begin. Orange much below grey means that "
    )
    note += "tuning found what did not last."
    drawing = charts.bar_chart(alt, bars, charts.Axis(0.0, float(len(folds)), ticks), y, limit=limit)
    return Picture("Tuned on the past, judged on what followed", drawing, tuple(legend), note)


def _months(fold: Mapping[str, Any], first_day: int) -> str:
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=first_day + int(fold["outside_days"][0]))
    return f"{begin:%b %Y}"


def _stitched(series: Mapping[str, Any]) -> Picture | None:
    equity = _array(series, "equity")
    folds = [fold for fold in series.get("folds", ()) if isinstance(fold, Mapping)]
    if equity.size < 2 or not np.isfinite(equity).all() or not folds:
        return None
    lengths = [float(fold["outside_days"][1]) - float(fold["outside_days"][0]) for fold in folds]
    ends = np.cumsum(lengths)
    days = np.linspace(1.0, float(ends[-1]), equity.size)
    zones = [
        Zone(f"fold {k + 1}", "research" if k % 2 else "odd", float(end - length), float(end))
        for k, (end, length) in enumerate(zip(ends, lengths, strict=True))
    ]
    axis = charts.value_axis(0.0, float(ends[-1]))
    x = charts.Axis(0.0, float(ends[-1]), tuple((v, f"day {v:,.0f}") for v, _ in axis.ticks if v > 0.0))
    drawn = np.maximum(equity, _RUINED)
    drawing = charts.line_chart(
        f"Out-of-sample equity of all folds, ending at {equity[-1]:.2f} times the start",
        [Curve("outside", days, drawn)], x, charts.growth_axis(drawn), zones=zones, small=True,
    )  # fmt: skip
    legend = (("outside", f"out-of-sample days ×{equity[-1]:.2f}"),)
    note = (
        "One account on days that its parameters were not tuned on. At each border new ones take over, once "
        "nothing is open that the old ones entered."
    )
    return Picture("The out-of-sample days in one line", drawing, legend, note)


def _parameters(series: Mapping[str, Any]) -> Picture | None:
    points = [point for point in series.get("parameters", ()) if isinstance(point, Mapping)]
    chosen = series.get("chosen", {})
    drawing = charts.parameter_map(points, chosen) if points and isinstance(chosen, Mapping) else Markup("")
    if not drawing:
        return None
    values = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
    others = ", median over the other parameters" if len(chosen) > 2 else ""
    note = (
        f"Sharpe ratio by parameter{others}; {len(points)} sets were scored. The frame marks what was "
        f"chosen: {values}. It should stand on a plateau, not on a lonely peak. A dot was not tried."
    )
    return Picture("The neighbourhood of its parameters", drawing, (), note)


def _trades(series: Mapping[str, Any]) -> Picture | None:
    values, unit = _trade_values(series)
    if values.size < 2:
        return None
    low, high = (float(v) for v in np.percentile(values, [1.0, 99.0]))
    pad = 0.02 * (high - low) or 0.01
    edges = _edges(low - pad, high + pad)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    bars = [
        Bar("gain" if left >= -1e-12 else "loss", left, right, float(count))
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True)
        if count
    ]
    marks = charts.value_axis(float(edges[0]), float(edges[-1])).ticks

    def show(value: float) -> str:
        return f"{number('', value)} R" if unit == "R" else percent(value)

    x = charts.Axis(float(edges[0]), float(edges[-1]), tuple((v, show(v)) for v, _ in marks))
    won, middle = float((values > 0).mean()), float(np.median(values))
    what = f"{values.size} trades, {percent(won)} won; "
    what += f"median {show(middle)}, mean {show(float(values.mean()))}"
    meaning = "1 R is what a trade risked at its stop." if unit == "R" else "Per cent of the first capital."
    note = f"{what}.{_concentration(values)} What lies far out is counted in the outermost bars. {meaning}"
    drawing = charts.bar_chart(f"Histogram of {what}", bars, x, charts.value_axis(0.0, float(counts.max())))
    return Picture("What single trades brought", drawing, (("gain", "won"), ("loss", "lost")), note)


def _trade_values(series: Mapping[str, Any]) -> tuple[FloatArray, str]:
    """Return what each trade brought, in R where most trades had a stop, else as pnl."""
    r, pnl = _array(series, "trade_r"), _array(series, "trade_pnl")
    with_r = r[np.isfinite(r)]
    return (with_r, "R") if with_r.size > r.size / 2 else (pnl[np.isfinite(pnl)], "pnl")


def _edges(low: float, high: float) -> FloatArray:
    """Return about fifty bins of a round width with an edge at zero."""
    rough = (high - low) / 50.0
    unit: float = 10.0 ** math.floor(math.log10(rough))
    width = next(unit * k for k in (1.0, 2.0, 2.5, 5.0, 10.0) if unit * k >= rough * 0.999)
    first, last = math.floor(min(low, 0.0) / width), math.ceil(max(high, 0.0) / width)
    edges: FloatArray = width * np.arange(first, max(last, first + 1) + 1, dtype=np.float64)
    return edges


def _concentration(values: FloatArray) -> str:
    """Return how much of all gains the five best trades made; empty when there are few or no gains."""
    gains = np.sort(values[values > 0])[::-1]
    if values.size < 20 or gains.size < 6:
        return ""
    return f" The five best made {percent(float(gains[:5].sum() / gains.sum()))} of all gains."


def _limit(verdicts: Mapping[str, Verdict], gate: str, name: str) -> float:
    figure = verdicts[gate].figures.get(name) if gate in verdicts else None
    return figure.limit if figure is not None and figure.judged else math.nan


def _series(evidence: Mapping[str, Evidence], gate: str) -> Mapping[str, Any]:
    return evidence[gate].series if gate in evidence else {}


def _array(series: Mapping[str, Any], name: str) -> FloatArray:
    """Return a series of numbers; empty when it is not there or holds something else."""
    values = series.get(name, ())
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, (int, float)) for v in values):
        return np.empty(0)
    return np.array(values, np.float64)
