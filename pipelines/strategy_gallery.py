"""The page of the library, docs/strategies.md: each strategy's idea, text, parameters and a picture of a trade."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines import strategy_files
from research_lab.dsl.explanation import range_text
from research_lab.dsl.spec import Spec, warmup_bars
from research_lab.dsl.spec_reader import load_spec
from research_lab.dsl.tree import number_text
from research_lab.durable import atomic_write
from research_lab.errors import UsageError

PAGE, PICTURES = "strategies.md", "strategies"
_TOLD_APART = ("spec", "name", "hypothesis", "timeframe", "side", "params")  # not in the excerpt of a file
_SIDES = {"long": "long", "short": "short", "both": "long and short"}

_INTRODUCTION = """\
# The library

Ideas that traders know by name, written in [the language](language.md): something to begin with, to change and to
put through the gates. That a strategy stands here says nothing about whether it earns; most do not survive costs,
and the gates say so. The values without tuning are customary ones, not found by search.

    pipeline strategy explain supertrend
    pipeline run --data binance_BTC-USDT_1h.parquet --strategies research_lab/strategies

Each picture shows one trade on a made-up market without any edge, in a regime in which the strategy may enter. It
is the first, by seed and time, that shows the parts at work: a take that was reached, or a stop that trailed, or
an exit by condition. So it looks better than a usual one. The shaded bars are those of the trade; the lines
are what its conditions compare, by their names in the file; the red line is the stop that held in each bar.
This page and its pictures are made by `make docs`."""

_GRID = """\
## Why there is no grid

A grid rests orders on rungs below and above the price, buys at each rung on the way down and sells each lot one
rung higher. The language cannot say that, and `flat_range` is not one. What is missing:

- **Resting orders.** An entry is a market order at the next open; it cannot wait at a price.
- **Several entries.** A position has one entry; an entry while in it is ignored, so nothing is added on the way down.
- **A goal for each lot.** Takes close shares of the one position, at multiples of its stop's distance.
- **Rungs that are used again.** A take is done once; a grid's rung is armed anew when its lot is sold.
- **Levels that stay.** `latch` keeps a condition, but nothing keeps a number: a line drawn on one bar cannot be read
  on a later one, unless it is so many bars ago.

`flat_range` does the nearest: one entry in the lowest step of a flat range, sold in steps above, with a stop below
the range. What makes a grid dangerous, an inventory that grows while the price runs away, it does not have."""


def write_gallery(folder: Path) -> int:
    """Write the page and all pictures below a folder; return how many strategies there are.

    Raises
    ------
    UsageError
        There is no such folder, or it cannot be written to.
    """
    from research_lab.backtests.shown_values import definitions
    from research_lab.backtests.trade_picture import draw_trade
    from research_lab.backtests.trade_story import tell_trade

    if not folder.is_dir():
        raise UsageError("there is no such folder", str(folder), "make it, or name another")
    library = _library()
    try:
        (folder / PICTURES).mkdir(exist_ok=True)
        for text, spec in library:
            picture = folder / PICTURES / f"{spec.name}.png"
            draw_trade(spec, tell_trade(spec, definitions(text, spec)), picture)
        atomic_write(folder / PAGE, library_page())
    except OSError as fault:
        raise UsageError(f"cannot be written: {fault.strerror}", str(folder), "name another folder") from None
    return len(library)


def library_page() -> str:
    """Return the page."""
    library = _library()
    rows = [
        f"| [{spec.name}](#{spec.name}) | {spec.timeframe} | {_SIDES[spec.side]} | "
        f"{', '.join(spec.regimes) or 'any'} | {spec.n_combinations:,} |"
        for _, spec in library
    ]
    head = ["| strategy | timeframe | sides | regimes | combinations |", "| --- | --- | --- | --- | --- |"]
    parts = [_INTRODUCTION, "\n".join([*head, *rows])]
    parts += [part for text, spec in library for part in _section(text, spec)]
    return "\n\n".join([*parts, _GRID]) + "\n"


def _library() -> list[tuple[str, Spec]]:
    """Return the text and the strategy of each file of the library, by name."""
    return [(path.read_text(encoding="utf-8"), load_spec(path)) for path in strategy_files.library()]


def _section(text: str, spec: Spec) -> Iterator[str]:
    yield f"## {spec.name}"
    yield spec.hypothesis
    yield f"```yaml\n{_excerpt(text)}```"
    rows = [
        f"| `{name}` | {range_text(param)} | {number_text(param.default)} |"
        for name, param in spec.params.items()
    ]
    yield "\n".join(["| parameter | tuned over | without tuning |", "| --- | --- | --- |", *rows])
    yield (
        f"Bars of {spec.timeframe}, {_SIDES[spec.side]}; {warmup_bars(spec):,} bars of warm-up; "
        f"{spec.n_combinations:,} combinations."
    )
    yield f"![A trade of {spec.name} on a made-up market]({PICTURES}/{spec.name}.png)"


def _excerpt(text: str) -> str:
    """Return the fields of a strategy file that say what it does, as they stand in it."""
    kept, keeps = [], False
    for line in text.splitlines(keepends=True):
        if line[:1].isalpha():
            keeps = line.split(":", 1)[0] not in _TOLD_APART
        if keeps:
            kept.append(line)
    return "".join(kept)
