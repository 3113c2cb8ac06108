"""Pictures of a report as inline SVG: no script, no network, colours from the page's style sheet.

A picture stretches with the page. Lines keep their width (`non-scaling-stroke`), and all words stand in HTML
above the drawing, so that they are as large on a phone as on a desk. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from markupsafe import Markup

from research_lab.engine.jit import FloatArray

WIDTH, HEIGHT = 6000, 2400  # of the drawing, in its own units
MAX_CELLS = 12  # of a parameter map, each way
DAY_MS = 86_400_000

Tick = tuple[float, str]


@dataclass(frozen=True)
class Axis:
    """A range of values, and the marks on it.

    Parameters
    ----------
    log : both ends above zero, equal ratios take equal room.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one; within [0, 1]."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-300))
        return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5

    def places(self, values: FloatArray) -> FloatArray:
        """Return where values lie; NaN for NaN."""
        low, high = self.low, self.high
        if self.log:
            low, high, values = math.log(low), math.log(high), np.log(np.maximum(values, 1e-300))
        clipped: FloatArray = np.clip((values - low) / (high - low), 0.0, 1.0)
        return clipped


@dataclass(frozen=True, eq=False)
class Curve:
    """A line, or with `filled` the area between it and the upper edge."""

    style: str
    x: FloatArray
    y: FloatArray
    filled: bool = False


@dataclass(frozen=True)
class Zone:
    """A stretch of the x axis with a name above it."""

    label: str
    style: str
    low: float
    high: float


@dataclass(frozen=True)
class Bar:
    """A bar from zero to its value, at x from `low` to `high`."""

    style: str
    low: float
    high: float
    value: float
    label: str = ""


def line_chart(
    alt: str,
    curves: Sequence[Curve],
    x: Axis,
    y: Axis,
    *,
    zones: Sequence[Zone] = (),
    limit: float = math.nan,
    small: bool = False,
) -> Markup:
    """Return curves over named zones; a finite `limit` is a dashed line across."""
    parts = [_bands(zones, x), _grid(y), _across(limit, y), *(_curve(curve, x, y) for curve in curves)]
    return _plot(alt, parts, [*_x_labels(x), *_y_labels(y), *_zone_labels(zones, x)], small=small)


def bar_chart(alt: str, bars: Sequence[Bar], x: Axis, y: Axis, *, limit: float = math.nan) -> Markup:
    """Return bars that stand on zero, or hang from it."""
    zero = y.place(0.0)
    parts, words = [_grid(y)], [*_x_labels(x), *_y_labels(y)]
    for bar in bars:
        if not math.isfinite(bar.value):
            continue
        left, right, top = x.place(bar.low), x.place(bar.high), y.place(bar.value)
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                bar.style,
                round(WIDTH * left),
                round(HEIGHT * (1.0 - max(top, zero))),
                round(WIDTH * (right - left)),
                max(round(HEIGHT * abs(top - zero)), 6),
            )
        )
        if bar.label:
            side = "above" if bar.value >= 0 else "below"
            words.append(_word(f"v {side}", (left + right) / 2, bar.label, top))
    parts += [_across(0.0, y, "zero"), _across(limit, y)]
    return _plot(alt, parts, words)


def parameter_map(points: Sequence[Mapping[str, float]], chosen: Mapping[str, float]) -> Markup:
    """Return a table of the median Sharpe ratio over the two most varied parameters, the chosen cell marked.

    Parameters
    ----------
    points : parameters and "sharpe" of every set that was scored; those without a finite one are left out.
    """
    scored = [p for p in points if math.isfinite(p.get("sharpe", math.nan))]
    across, down = most_varied(scored, chosen)
    if not scored or not across:
        return Markup("")
    columns, rows = _groups(scored, across), _groups(scored, down) if down else [(-math.inf, math.inf)]
    cells: dict[tuple[int, int], list[float]] = {}
    for point in scored:
        place = (_group_of(rows, point[down]) if down else 0, _group_of(columns, point[across]))
        cells.setdefault(place, []).append(point["sharpe"])
    medians = {place: float(np.median(values)) for place, values in cells.items()}
    top = max(abs(value) for value in medians.values()) or 1.0
    marked = (
        _group_of(rows, chosen.get(down, math.nan)) if down else 0,
        _group_of(columns, chosen.get(across, math.nan)),
    )
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(_group_name(c)) for c in columns)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            _group_name(rows[i]) if down else "Sharpe",
            Markup("").join(
                _cell(medians.get((i, j)), top, is_chosen=(i, j) == marked) for j in range(len(columns))
            ),
        )
        for i in range(len(rows))
    )
    corner = Markup("{} ↓ &nbsp;{} →").format(down, across) if down else Markup("{} →").format(across)
    return Markup(
        '<div class="scroll"><table class="map"><thead><tr><td>{}</td>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(corner, head, body)


def most_varied(points: Sequence[Mapping[str, float]], chosen: Mapping[str, float]) -> tuple[str, str]:
    """Return the two parameters with the most different values, "" where there are fewer that vary."""
    n_values = {name: len({point[name] for point in points if name in point}) for name in chosen}
    varied = sorted((name for name in n_values if n_values[name] > 1), key=lambda name: -n_values[name])
    complete = [name for name in varied if all(name in point for point in points)]
    first, second = [*complete[:2], "", ""][:2]
    return first, second


def _groups(points: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    """Return the values of a parameter as closed ranges, at most `MAX_CELLS`, lowest first."""
    values = sorted({point[name] for point in points})
    parts = np.array_split(np.array(values), min(len(values), MAX_CELLS))
    return [(float(part[0]), float(part[-1])) for part in parts]


def _group_of(groups: Sequence[tuple[float, float]], value: float) -> int:
    return next((k for k, (low, high) in enumerate(groups) if low <= value <= high), -1)


def _group_name(group: tuple[float, float]) -> str:
    return f"{group[0]:g}" if group[0] == group[1] else f"{group[0]:g}–{group[1]:g}"


def _cell(value: float | None, top: float, *, is_chosen: bool) -> Markup:
    if value is None:
        return Markup('<td class="none"><span class="sr">not tried</span></td>')
    mark = Markup('<span class="sr"> chosen</span>') if is_chosen else Markup("")
    return Markup('<td class="{}{}" style="--a:{}">{}{}</td>').format(
        "up" if value >= 0 else "down", " chosen" if is_chosen else "", f"{0.75 * abs(value) / top:.2f}",
        f"{value:.2f}".replace("-", "−"), mark,
    )  # fmt: skip


def growth_axis(values: FloatArray) -> Axis:
    """Return an axis for equity as a multiple of the start: logarithmic, marked ×1, ×2, ×5 and so on."""
    finite = values[np.isfinite(values) & (values > 0.0)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (1.0, 1.0)
    low, high = min(low, 1.0) * 0.97, max(high, 1.0) * 1.03
    if high / low < 3.0:
        return Axis(
            low, high, tuple((v, f"×{v:.2f}".rstrip("0").rstrip(".")) for v in _steps(low, high)), True
        )
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    leads = (1.0, 2.0, 5.0) if high / low < 300.0 else (1.0,)
    marks = [lead * 10.0**e for e in exponents for lead in leads]
    return Axis(low, high, tuple((v, f"×{v:,.10g}") for v in marks if low <= v <= high), True)


def time_axis(low_ms: float, high_ms: float) -> Axis:
    """Return an axis of UTC time marked by years, or by months when it is short."""
    high_ms = max(high_ms, low_ms + DAY_MS)
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (low_ms, high_ms))
    n_months = 12 * (last.year - first.year) + last.month - first.month
    step = next((s for s in (1, 2, 3, 6, 12, 24, 60, 120) if n_months / s <= 8), 240)
    begin = 12 * first.year + first.month - 1
    months = [m for m in range(begin, begin + n_months + 1) if m % step == 0]
    ticks = []
    for month in months:
        at = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        text = f"{at:%Y}" if step >= 12 else f"{at:%b %Y}" if at.month == 1 else f"{at:%b}"
        ticks.append((1000.0 * at.timestamp(), text))
    return Axis(low_ms, high_ms, tuple(t for t in ticks if low_ms <= t[0] <= high_ms))


def value_axis(low: float, high: float, *, percent: bool = False) -> Axis:
    """Return a linear axis from `low` to `high`, with zero on it, and about five marks."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        high = low + 1.0
    marks = _steps(low, high)
    return Axis(low, high, tuple((v, _mark(100.0 * v, " %") if percent else _mark(v)) for v in marks))


def _mark(value: float, unit: str = "") -> str:
    return f"{value:.4g}{unit}".replace("-", "−")


def _steps(low: float, high: float) -> list[float]:
    """Return round values between two ends, about five of them."""
    rough = (high - low) / 5.0
    unit: float = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1.0, 2.0, 2.5, 5.0, 10.0) if unit * k >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _plot(alt: str, parts: Sequence[Markup], words: Sequence[Markup], *, small: bool = False) -> Markup:
    return Markup(
        '<div class="plot{}"><svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '{}</svg><div aria-hidden="true">{}</div></div>'
    ).format(" small" if small else "", WIDTH, HEIGHT, alt, Markup("").join(parts), Markup("").join(words))


def _curve(curve: Curve, x: Axis, y: Axis) -> Markup:
    path = _path(WIDTH * x.places(curve.x), HEIGHT * (1.0 - y.places(curve.y)))
    if not curve.filled or not path:
        return Markup('<path class="{}" d="{}"/>').format(curve.style, path)
    left, right = (round(WIDTH * x.place(float(curve.x[k]))) for k in (0, -1))
    area = f"{path}L{right} 0H{left}z"
    return Markup('<path class="{0} area" d="{1}"/><path class="{0}" d="{2}"/>').format(
        curve.style, area, path
    )


def _path(x: FloatArray, y: FloatArray) -> str:
    """Return path data in whole units, by differences, which are short; broken where a value is missing."""
    pieces: list[str] = []
    last: tuple[int, int] | None = None
    for a, b in zip(x, y, strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            last = None
            continue
        here = (round(float(a)), round(float(b)))
        if last is None:
            pieces.append(f"M{here[0]} {here[1]}l0 0")
        elif here != last:
            dx, dy = here[0] - last[0], here[1] - last[1]
            pieces.append(f" {dx}{dy}" if dy < 0 else f" {dx} {dy}")
        last = here
    return "".join(pieces)


def _grid(y: Axis) -> Markup:
    lines = "".join(f"M0 {round(HEIGHT * (1.0 - y.place(v)))}h{WIDTH}" for v, _ in y.ticks)
    return Markup('<path class="grid" d="{}"/>').format(lines)


def _across(value: float, y: Axis, style: str = "limit") -> Markup:
    if not math.isfinite(value) or not y.low <= value <= y.high:
        return Markup("")
    return Markup('<path class="{}" d="M0 {}h{}"/>').format(
        style, round(HEIGHT * (1.0 - y.place(value))), WIDTH
    )


def _bands(zones: Sequence[Zone], x: Axis) -> Markup:
    drawn = []
    for zone in zones:
        left, right = round(WIDTH * x.place(zone.low)), round(WIDTH * x.place(zone.high))
        drawn.append(
            Markup('<rect class="band {}" x="{}" y="0" width="{}" height="{}"/>').format(
                zone.style, left, right - left, HEIGHT
            )
        )
        if left > 0:
            drawn.append(Markup('<path class="border" d="M{} 0v{}"/>').format(left, HEIGHT))
    return Markup("").join(drawn)


def _x_labels(x: Axis) -> list[Markup]:
    """Return the marks of the x axis; every other one of many may be left out on a narrow page."""
    ticks = x.ticks[:: 1 + len(x.ticks) // 12]
    many = len(ticks) > 5
    return [
        _word("x optional" if many and k % 2 else "x", x.place(value), text)
        for k, (value, text) in enumerate(ticks)
    ]


def _y_labels(y: Axis) -> list[Markup]:
    return [
        Markup('<span class="y" style="top:{}%">{}</span>').format(f"{100 * (1 - y.place(value)):.2f}", text)
        for value, text in y.ticks
    ]


def _zone_labels(zones: Sequence[Zone], x: Axis) -> list[Markup]:
    words = []
    for zone in zones:
        low, high = x.place(zone.low), x.place(zone.high)
        if high - low < 0.1 and high > 0.9:  # too narrow for its name, which then ends where the zone ends
            words.append(
                Markup('<span class="z {}" style="right:{}%">{}</span>').format(
                    zone.style, f"{100 * (1 - high):.2f}", zone.label
                )
            )
        else:
            words.append(_word(f"z {zone.style}", low, zone.label))
    return words


def _word(style: str, x: float, text: str, y: float | None = None) -> Markup:
    bottom = "" if y is None else f";bottom:{100 * y:.2f}%"
    return Markup('<span class="{}" style="left:{}%{}">{}</span>').format(
        style, f"{100 * x:.2f}", bottom, text
    )
