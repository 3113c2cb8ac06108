"""A picture of the error rates: false promotions against power, one point a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.calibration.one_world import BOUND, LEFT_OUT, NAIVE, OURS
from pipelines.calibration.table import Line, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {OURS: "#0b6e4f", BOUND: "#8a8a8a"}
_NAIVE_COLOUR: Final = "#b3261e"
_ABLATED_COLOUR: Final = "#3b6fb6"
_FLOOR: Final = 5e-4  # where no false promotion at all is drawn, on a logarithmic axis


def draw(table: Sequence[Line], path: Path) -> Path:
    """Draw false promotions (all worlds without an edge; pools beside pools) against power, a panel a row with an edge."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    edges = [line for line in table if line.row.has_edge and not line.row.dies]
    nulls = [line for line in table if not line.row.has_edge]
    n = max(1, len(edges))
    columns = min(4, n)
    rows = -(-n // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.4 * rows), squeeze=False, dpi=150)
    for ax in axes.flat[len(edges) :]:
        ax.axis("off")
    for ax, line in zip(axes.flat, edges, strict=False):
        _panel(ax, line, [null for null in nulls if null.row.n_markets == line.row.n_markets])
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, fontsize=7, frameon=False)
    figure.suptitle("False promotions against power", fontsize=11)
    figure.tight_layout(rect=(0, 0.16 / rows, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    return path


def _panel(ax: Axes, line: Line, nulls: Sequence[Line]) -> None:
    for place, (name, label, colour, marker) in enumerate(_marks()):
        false = Rate(sum(n.rates[name].k for n in nulls), sum(n.rates[name].n for n in nulls))
        if not false.n:
            continue
        power = line.rates[name]
        (low, high), (left, right) = power.interval, false.interval
        x = max(false.share, _FLOOR * 1.12**place)  # those without any stand side by side
        ax.errorbar(
            x, power.share,
            xerr=[[max(0.0, x - max(left, _FLOOR))], [max(0.0, right - x)]],
            yerr=[[max(0.0, power.share - low)], [max(0.0, high - power.share)]],
            fmt=marker, color=colour, label=label, ms=6, lw=0.8, alpha=0.9,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.axvspan(_FLOOR * 0.7, _FLOOR * 3.2, color="#f2f2f2", zorder=0)
    ax.text(_FLOOR * 0.8, -0.01, "none seen", fontsize=6, color="#666666")
    ax.set_xlim(_FLOOR * 0.7, 1.2)
    ax.set_ylim(-0.03, 1.05)
    ax.set_title(line.row.words, fontsize=9)
    ax.set_xlabel("false promotions, share of worlds without an edge", fontsize=7)
    ax.set_ylabel("power", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.grid(alpha=0.25, lw=0.5)


def _marks() -> list[tuple[str, str, str, str]]:
    return [
        (OURS, "the gauntlet", _COLOURS[OURS], "o"),
        (BOUND, "bound: maximum test, no holdout", _COLOURS[BOUND], "D"),
        *((name, name, _NAIVE_COLOUR, marker) for name, marker in zip(NAIVE, "sv^", strict=True)),
        *((f"without {gate}", f"without {gate}", _ABLATED_COLOUR, marker)
          for gate, marker in zip(LEFT_OUT, "1234", strict=True)),
    ]  # fmt: skip
