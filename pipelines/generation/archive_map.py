"""The archive as a map: trades a month across, holding time down, and in each cell exposure by correlation.

Inline SVG in a table, as in the candidates' reports: no script, no network, colours from the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from markupsafe import Markup

from research_lab.generators.archive import AXES
from research_lab.wording import count

_ACROSS, _DOWN, _INNER_UP, _INNER_ACROSS = 0, 1, 2, 3  # numbers of axes in a niche
_SIDE: Final = 10  # of an inner square, in the drawing's own units


def archive_map(elites: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the map of an archive's elites as they stand in `archive.json`; empty without any."""
    if not elites:
        return Markup("")
    cells: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for elite in elites:
        cells.setdefault((elite["niche"][_DOWN], elite["niche"][_ACROSS]), []).append(elite)
    tops = tuple(max(sign * elite["fitness"] for elite in elites) for sign in (1.0, -1.0))
    columns, rows = bins(_ACROSS), bins(_DOWN)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in columns)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            name, Markup("").join(_cell(cells.get((i, j), []), tops) for j in range(len(columns)))
        )
        for i, name in enumerate(rows)
    )
    corner = Markup("{} ↓ &nbsp;{} →").format(AXES[_DOWN].name, AXES[_ACROSS].name)
    return Markup(
        '<div class="scroll"><table class="map niches"><thead><tr><td>{}</td>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(corner, head, body)


def bins(axis: int) -> list[str]:
    """Return what the cells along an axis are called, lowest first."""
    at = [f"{border:g}" for border in AXES[axis].borders]
    between = [f"{low} to {high}" for low, high in pairwise(at)]
    return [f"to {at[0]}", *between, f"over {at[-1]}"]


def _cell(elites: Sequence[Mapping[str, Any]], tops: tuple[float, ...]) -> Markup:
    if not elites:
        return Markup('<td class="none"><span class="sr">nobody</span></td>')
    n_up, n_across = len(bins(_INNER_UP)), len(bins(_INNER_ACROSS))
    best: dict[tuple[int, int], float] = {}
    for elite in elites:
        place = (elite["niche"][_INNER_UP], elite["niche"][_INNER_ACROSS])
        best[place] = max(best.get(place, elite["fitness"]), elite["fitness"])
    squares = Markup("").join(
        _square(i, j, n_up, best.get((i, j)), tops) for i in range(n_up) for j in range(n_across)
    )
    told = max(best.values())
    alt = f"{count(len(elites), 'elite')}, the best of fitness {told:.2f}"
    return Markup(
        '<td><svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg><span>{}</span></td>'
    ).format(_SIDE * n_across, _SIDE * n_up, alt, alt, squares, f"{told:.2f}".replace("-", "−"))


def _square(i: int, j: int, n_up: int, value: float | None, tops: tuple[float, ...]) -> Markup:
    """Return an inner square, the stronger the nearer its value is to the best above zero, or the worst below."""
    style = "nobody" if value is None else "up" if value >= 0.0 else "down"
    top = tops[style == "down"]
    share = 1.0 if value is None or top <= 0.0 else 0.25 + 0.75 * abs(value) / top
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1.5" style="--a:{}"/>').format(
        style, j * _SIDE + 1, (n_up - 1 - i) * _SIDE + 1, _SIDE - 2, _SIDE - 2, f"{share:.2f}"
    )
