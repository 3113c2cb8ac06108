"""Pictures of how far a result can be trusted: stresses, parameters by fold, and markets left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelines import report_charts as charts
from pipelines.gates.evidence import Evidence
from pipelines.report_charts import Bar
from pipelines.report_pictures import Picture
from pipelines.report_text import number, percent

# Figures of gate 4 by the words beneath their bars.
_STRESSES = (
    ("sharpe", "as it is"),
    ("sharpe_at_double_costs", "costs ×2"),
    ("sharpe_at_triple_costs", "costs ×3"),
    ("sharpe_one_bar_late", "a bar late"),
    ("sharpe_without_best_trades", "no best 1 %"),
    ("sharpe_bars_dropped", "bars lost"),
    ("sharpe_start_shifted", "later start"),
    ("sharpe_low", "95 % from"),
)
_MANY = 24  # bars with their value above them


def robustness_pictures(evidence: Mapping[str, Evidence]) -> list[Picture]:
    """Return every picture that the evidence has data for."""
    found = []
    if "backtest" in evidence:
        found.append(_stresses(evidence["backtest"].figures))
    if "walk_forward" in evidence:
        found.append(_parameters_by_fold(evidence["walk_forward"].series))
        found.append(_left_out(evidence["walk_forward"].series))
    return [picture for picture in found if picture is not None]


def _stresses(figures: Mapping[str, float]) -> Picture | None:
    known = [
        (figures[name], words) for name, words in _STRESSES if math.isfinite(figures.get(name, math.nan))
    ]
    if len(known) < 3 or not math.isfinite(figures.get("sharpe", math.nan)):
        return None
    bars = [
        Bar("inside" if k == 0 else "outside", k + 0.2, k + 0.8, value, number("", value))
        for k, (value, _) in enumerate(known)
    ]
    values = [value for value, _ in known]
    room = 0.12 * ((max(*values, 0.0) - min(*values, 0.0)) or 1.0)
    low = min(*values, 0.0)
    y = charts.value_axis(low - (room if low < 0.0 else 0.0), max(*values, 0.0) + room)
    x = charts.Axis(0.0, float(len(known)), tuple((k + 0.5, words) for k, (_, words) in enumerate(known)))
    told = "; ".join(f"{words} {number('', value)}" for value, words in known)
    note = (
        "Sharpe ratio on the research bars, after costs, under one stress at a time: fee and slippage doubled and "
        "tripled; each signal one bar late; without the best of a hundred trades; 1 % of the bars missing and a "
        f"start up to 30 days later, the worst of several.{_beyond(figures)}"
    )
    drawing = charts.bar_chart(f"Sharpe ratio under stresses: {told}", bars, x, y)
    return Picture(
        "What stresses leave of it", drawing, (("inside", "as it is"), ("outside", "stressed")), note
    )


def _left_out(series: Mapping[str, Any]) -> Picture | None:
    """Return the Sharpe ratio of each market of a pool with parameters of the others; None without a pool."""
    left_out = series.get("left_out", ())
    if len(left_out) < 2:
        return None
    values = [one["sharpe"] for one in left_out]
    bars = [Bar("outside", k + 0.2, k + 0.8, value, number("", value)) for k, value in enumerate(values)]
    room = 0.12 * ((max(*values, 0.0) - min(*values, 0.0)) or 1.0)
    y = charts.value_axis(min(*values, 0.0) - (room if min(values) < 0.0 else 0.0), max(*values, 0.0) + room)
    ticks = tuple((k + 0.5, one["symbol"]) for k, one in enumerate(left_out))
    told = "; ".join(f"{one['symbol']} {number('', one['sharpe'])}" for one in left_out)
    drawing = charts.bar_chart(
        f"Sharpe ratio left out: {told}", bars, charts.Axis(0.0, float(len(values)), ticks), y
    )
    note = "Sharpe ratio of each market on the research bars, with parameters that were tuned on the other markets alone."
    return Picture("What each market is worth to parameters that never saw it", drawing, (), note)


def _beyond(figures: Mapping[str, float]) -> str:
    low, high, money = (figures.get(name, math.nan) for name in ("sharpe_low", "sharpe_high", "capacity"))
    told = ""
    if math.isfinite(low) and math.isfinite(high):
        told += f" In 95 % of resampled histories it lies between {number('', low)} and {number('', high)}."
    if math.isfinite(money):
        told += f" Half of what it earns would go into its own impact at about {number('', money)} of quote currency."
    return told


def _parameters_by_fold(series: Mapping[str, Any]) -> Picture | None:
    folds, ranges = series.get("folds", ()), series.get("ranges", {})
    moving = [name for name, (low, high) in ranges.items() if high > low]
    if len(folds) < 2 or not moving:
        return None
    bars, width = [], 0.8 / len(folds)
    for j, name in enumerate(moving):
        low, high = ranges[name]
        for k, fold in enumerate(folds):
            left = j + 0.1 + k * width
            label = f"{fold['values'][name]:g}" if len(moving) * len(folds) <= _MANY else ""
            share = (fold["values"][name] - low) / (high - low)
            bars.append(Bar("outside", left + 0.1 * width, left + 0.9 * width, share, label))
    ticks = tuple(
        (j + 0.5, f"{name} {ranges[name][0]:g}–{ranges[name][1]:g}") for j, name in enumerate(moving)
    )
    alt = "Parameters by fold: " + "; ".join(
        f"{name} " + ", ".join(f"{fold['values'][name]:g}" for fold in folds) for name in moving
    )
    drawing = charts.bar_chart(
        alt, bars, charts.Axis(0.0, float(len(moving)), ticks), charts.value_axis(0.0, 1.1, percent=True)
    )
    note = (
        f"What tuning chose in each of {len(folds)} folds, oldest first, as a share of each parameter's range. Bars "
        f"of one height are parameters that last; even chance moves them by {percent(1 / 3)} from fold to fold."
    )
    return Picture("What tuning chose, fold by fold", drawing, (), note)
