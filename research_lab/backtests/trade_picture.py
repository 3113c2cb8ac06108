"""The picture of one trade: candles, what the conditions look at, entry, stop, takes and exit."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from research_lab.backtests.shown_values import Panel
from research_lab.backtests.trade_story import TradeStory
from research_lab.dsl.spec import Spec
from research_lab.durable import atomic_write
from research_lab.engine import reasons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI, _WIDTH = 100, 9.0  # inches; 900 pixels
_PRICES, _PANEL, _MARGINS = 3.9, 0.95, 1.15  # heights in inches
_N_COLOURS = 160
_LETTER, _HANDLE, _AXIS = 6, 46, 70  # pixels: of a legend's letter, of the rest of an entry, left of the axis
_BARS_A_LETTER = 0.65  # width of a letter beside a trade, in bars
_UP, _DOWN, _HELD = "#5aa897", "#d98880", "#eef3f8"
_STOP, _TAKE, _ENTRY, _EXIT = "#c0392b", "#1e8449", "#1f4e9c", "#333333"
LINE_COLOURS = ("#e08e0b", "#7d3c98", "#2e86c1", "#7f8c8d", "#6e2c00", "#b7950b", "#148f77")
_ENDS = {
    reasons.EXIT_SIGNAL: "exit: condition",
    reasons.TIME_STOP: "exit: time stop",
    reasons.REGIME_EXIT: "exit: regime",
    reasons.STOP: "exit: stop",
    reasons.TAKE: "exit: last take",
    reasons.LIQUIDATION: "exit: liquidation",
}


def draw_trade(spec: Spec, story: TradeStory, path: Path) -> None:
    """Draw a trade as a PNG of 900 pixels' width, in few colours so that it stays small."""
    from matplotlib.figure import Figure
    from PIL import Image

    heights = [_PRICES, *[_PANEL] * len(story.panels)]
    figure = Figure(figsize=(_WIDTH, sum(heights) + _MARGINS), dpi=_DPI, layout="constrained")
    _compose(figure, spec, story, heights)
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_N_COLOURS).save(small, format="PNG", optimize=True)
    atomic_write(path, small.getvalue())


def _compose(figure: Figure, spec: Spec, story: TradeStory, heights: list[float]) -> None:
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    side = "long" if story.side > 0 else "short"
    figure.suptitle(
        f"{spec.name}: a {side} on a made-up {spec.timeframe} market", fontsize=11, x=0.01, ha="left"
    )
    for axis in axes:
        axis.axvspan(story.entry - 0.5, story.exit + 0.5, color=_HELD, zorder=0, lw=0)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    _candles(axes[0], story)
    _levels(axes[0], story)
    _fills(axes[0], story)
    axes[0].set_ylabel("price", fontsize=8)
    _legend(axes[0])
    for axis, panel in zip(axes[1:], story.panels, strict=True):
        _panel(axis, panel)
    n = story.candles.shape[1]
    axes[0].set_xlim(-1, n)
    ticks = [k for k in range(n) if (k - story.entry) % 10 == 0]
    axes[-1].set_xticks(ticks, [str(k - story.entry) for k in ticks])
    axes[-1].set_xlabel(f"bars of {spec.timeframe} from the entry", fontsize=8)


def _candles(axis: Axes, story: TradeStory) -> None:
    opened, high, low, close = story.candles
    places = np.arange(close.shape[0])
    colours = np.where(close >= opened, _UP, _DOWN).tolist()
    axis.vlines(places, low, high, colors=colours, lw=0.8, zorder=2)
    axis.use_sticky_edges = False  # bodies would leave no margin below them
    least = 0.0015 * float(np.ptp(story.candles))
    axis.bar(
        places,
        np.maximum(np.abs(close - opened), least),
        bottom=np.minimum(opened, close),
        width=0.62,
        color=colours,
        zorder=2,
    )


def _levels(axis: Axes, story: TradeStory) -> None:
    """Draw what the conditions look at, the stop's path and the takes."""
    places = np.arange(story.candles.shape[1])
    for line, colour in zip(story.lines, LINE_COLOURS, strict=False):
        axis.plot(places, line.values, color=colour, lw=1.2, label=line.name, zorder=3)
    edges = np.arange(story.entry, story.exit + 2) - 0.5
    path = story.stop[story.entry : story.exit + 1]
    if np.isfinite(path).any():
        axis.stairs(path, edges, baseline=None, color=_STOP, lw=1.6, label="stop", zorder=4)
    for k, take in enumerate(story.takes):
        label = "takes" if k == 0 else "_"
        axis.hlines(take, edges[0], edges[-1], color=_TAKE, ls="--", lw=1.2, label=label, zorder=3)


def _fills(axis: Axes, story: TradeStory) -> None:
    """Mark entry, partial takes and the exit; a word beside the first and the last."""
    side = "long" if story.side > 0 else "short"
    entry, *parts, last = story.fills
    if parts:
        places, prices = [int(fill["bar"]) for fill in parts], [float(fill["price"]) for fill in parts]
        axis.plot(
            places, prices, "o", color=_TAKE, ms=8, mec="white", mew=0.8, zorder=6, label="take reached"
        )
    for fill, marker, colour, word in (
        (entry, "^" if story.side > 0 else "v", _ENTRY, f"entry {side}"),
        (last, "X", _EXIT, _ENDS[int(last["reason"])]),
    ):
        place, price = int(fill["bar"]), float(fill["price"])
        axis.plot(place, price, marker, color=colour, ms=8, mec="white", mew=0.8, zorder=6)
        _word(axis, story, place, price, word, colour)


def _word(axis: Axes, story: TradeStory, place: int, price: float, word: str, colour: str) -> None:
    """Write a word beside a fill: before the entry, after the exit, where no candle stands."""
    from matplotlib.patheffects import withStroke

    before = place == story.entry
    reach = round(_BARS_A_LETTER * len(word)) + 1
    bars = slice(max(0, place - reach), place + 1) if before else slice(place, place + reach + 1)
    height, above = _free_height(story, bars, price)
    said = axis.annotate(
        word, (place, height), (-5 if before else 5, 7 if above else -7), textcoords="offset points",
        ha="right" if before else "left", va="center", fontsize=8.5, fontweight="bold", color=colour,
        zorder=7, path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip
    said.set_in_layout(False)


def _free_height(story: TradeStory, bars: slice, price: float) -> tuple[float, bool]:
    """Return where a word beside a price covers no candle of some bars, and whether that is above them."""
    top, bottom = float(story.candles[1, bars].max()), float(story.candles[2, bars].min())
    above = abs(top - price) <= abs(price - bottom)
    return (top, True) if above else (bottom, False)


def _panel(axis: Axes, panel: Panel) -> None:
    for line, colour in zip(panel.lines, LINE_COLOURS, strict=False):
        axis.plot(np.arange(line.values.shape[0]), line.values, color=colour, lw=1.2, label=line.name)
    for level in panel.levels:
        axis.axhline(level, color="#555555", ls=":", lw=1.0)
    axis.margins(y=0.12)
    _legend(axis)


def _legend(axis: Axes) -> None:
    """Put the legend above the axis, where it covers nothing; in one row where that is wide enough."""
    names = axis.get_legend_handles_labels()[1]
    in_one_row = sum(_LETTER * len(name) + _HANDLE for name in names) < 100 * _WIDTH - _AXIS
    axis.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncol=len(names) if in_one_row else 4, fontsize=8,
        frameon=False, borderaxespad=0.1, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
