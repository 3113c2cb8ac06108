"""Pictures of what selection and circumstance made: regimes, random entries, other splits, overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from pipelines import report_charts as charts
from pipelines.gates.evidence import Evidence
from pipelines.report_charts import Bar
from pipelines.report_pictures import Picture
from pipelines.report_text import number, percent
from research_lab.engine.jit import FloatArray

_MOST_BINS: Final = 32


def selection_pictures(evidence: Mapping[str, Evidence]) -> list[Picture]:
    """Return every picture that the evidence has data for."""
    found: list[Picture | None] = []
    if "backtest" in evidence:
        found.append(_regimes(evidence["backtest"].series.get("regimes")))
    if "overfitting" in evidence:
        luck = evidence["overfitting"]
        found += [_twins(luck), _splits(luck), _logits(luck)]
    return [picture for picture in found if picture is not None]


def _regimes(shares: object) -> Picture | None:
    told = (
        [share for share in shares if isinstance(share, Mapping)] if isinstance(shares, (list, tuple)) else []
    )
    known = [share for share in told if math.isfinite(_value(share, "bars_sharpe"))]
    if len(known) < 2:
        return None
    values = [_value(share, "bars_sharpe") for share in known]
    bars = [
        Bar("gain" if v >= 0.0 else "loss", k + 0.2, k + 0.8, v, number("", v)) for k, v in enumerate(values)
    ]
    ticks = tuple((k + 0.5, str(share.get("regime", ""))) for k, share in enumerate(known))
    words = "; ".join(map(_regime_words, known))
    note = (
        f"Sharpe ratio a year of the equity on the bars of each regime, after costs. {words}. p is the chance that what "
        "was decided there does not lose after all; below ten trades there is none."
    )
    drawing = charts.bar_chart(
        f"Sharpe ratio by regime: {words}", bars, charts.Axis(0.0, float(len(known)), ticks), _roomy(values)
    )
    return Picture("What each regime brought", drawing, (("gain", "earned"), ("loss", "lost")), note)


def _regime_words(share: Mapping[str, Any]) -> str:
    p = _value(share, "p_against")
    words = f"{share.get('regime', '')} {percent(_value(share, 'bars_share'))} of the time"
    words += f", {number('n_trades', _value(share, 'n_trades'))} trades"
    return words + (f", p {number('p', p)}" if math.isfinite(p) else "")


def _twins(luck: Evidence) -> Picture | None:
    own, others = _value(luck.series, "sharpe"), _numbers(luck.series, "twin_sharpes")
    if others.size < 10 or not math.isfinite(own):
        return None
    better = float((others < own).mean())
    note = (
        f"{others.size} twins enter at random, as often and for as long as the strategy: Sharpe ratios beyond holding. Its "
        f"own, {number('', own)}, is above {percent(better)} of them. Only timing sets it apart from them."
    )
    drawing = _histogram("Sharpe ratios of random twins", others, own)
    return Picture(
        "Beside random entries", drawing, (("inside", "random twins"), ("gain", "it stands here")), note
    )


def _splits(luck: Evidence) -> Picture | None:
    paths = _numbers(luck.series, "cpcv_sharpes")
    if paths.size < 5:
        return None
    middle, low = float(np.median(paths)), float(np.quantile(paths, 0.05))
    note = (
        f"Sharpe ratios of {paths.size} paths through the research bars, each put together from stretches that took no "
        f"part in choosing its parameters (CPCV). Median {number('', middle)}; one in twenty lies below {number('', low)}."
    )
    return Picture(
        "Other ways to split the past", _histogram("Sharpe ratios of CPCV paths", paths, math.nan), (), note
    )


def _logits(luck: Evidence) -> Picture | None:
    edges, counts = _numbers(luck.series, "pbo_logit_edges"), _numbers(luck.series, "pbo_logit_counts")
    if edges.size != counts.size + 1 or counts.sum() <= 0.0:
        return None
    bars = [
        Bar("gain" if left >= 0.0 else "loss", left, right, float(count))
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True)
        if count
    ]
    low, high = min(-1.0, bars[0].low), max(1.0, bars[-1].high)
    x = charts.Axis(low, high, charts.value_axis(low, high).ticks)
    pbo = luck.figures.get("pbo", math.nan)
    note = (
        f"{int(counts.sum()):,} ways to halve the research bars: how the best parameter set of one half ranks in the other, "
        f"as a logit. Left of zero it is below the median there: {percent(pbo)} of the ways, the probability of backtest "
        "overfitting (PBO, Bailey and others 2017)."
    )
    drawing = charts.bar_chart(
        f"Ranks of the best set: PBO {percent(pbo)}", bars, x, charts.value_axis(0.0, counts.max())
    )
    legend = (("gain", "above the median"), ("loss", "below it"))
    return Picture("Does the best of one half hold in the other?", drawing, legend, note)


def _histogram(alt: str, values: FloatArray, own: float) -> Markup:
    ends = [*values.tolist(), *([own] if math.isfinite(own) else [])]
    low, high = min(ends), max(ends)
    pad = 0.03 * (high - low) or 0.1
    n_bins = min(_MOST_BINS, max(8, round(2.0 * math.sqrt(values.size))))
    edges = np.linspace(low - pad, high + pad, n_bins + 1)
    counts, _ = np.histogram(values, edges)
    bars = [
        Bar("inside", left, right, float(count))
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True)
        if count
    ]
    if math.isfinite(own):
        half = 0.15 * float(edges[1] - edges[0])
        bars.append(Bar("gain", own - half, own + half, float(counts.max()), number("", own)))
    x = charts.Axis(
        float(edges[0]), float(edges[-1]), charts.value_axis(float(edges[0]), float(edges[-1])).ticks
    )
    return charts.bar_chart(alt, bars, x, charts.value_axis(0.0, 1.12 * float(counts.max())))


def _roomy(values: Sequence[float]) -> charts.Axis:
    """Return an axis with room for the words above and below bars."""
    low, high = min(*values, 0.0), max(*values, 0.0)
    room = 0.12 * (high - low or 1.0)
    return charts.value_axis(low - (room if low < 0.0 else 0.0), high + (room if high > 0.0 else 0.0))


def _value(source: Mapping[str, Any], name: str) -> float:
    value = source.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _numbers(series: Mapping[str, Any], name: str) -> FloatArray:
    """Return finite numbers of a series; empty when it is not there or holds something else."""
    values = series.get(name, ())
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, (int, float)) for v in values):
        return np.empty(0)
    found = np.array(values, np.float64)
    return found[np.isfinite(found)] if "edges" not in name and "counts" not in name else found
