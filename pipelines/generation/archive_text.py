"""An archive for the terminal: a table of elites, and the line that one came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipelines.generation.elites import Ancestor
from pipelines.generation.search_progress import refusals
from research_lab.wording import count

if TYPE_CHECKING:
    from rich.table import Table

ROWS: Final = 20
_DIGITS: Final = 8


def summary(content: Mapping[str, Any]) -> str:
    """Return what a search took and how it ended, in two lines."""
    facts, ended = content["facts"], content["ended"] or "it was interrupted"
    return (
        f"{content['name']}: {facts['generator']} on {facts['market']}, seed {facts['seed']}; {ended}\n"
        f"{count(content['n_looks'], 'look')} in {count(content['n_generations'], 'generation')}, "
        f"{count(len(content['elites']), 'elite')}; refused: {refusals(content['refused'])}"
    )


def table(elites: Sequence[Mapping[str, Any]]) -> Table:
    """Return the elites, the fittest first, for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0), show_edge=False)
    found.add_column("hash", no_wrap=True, min_width=_DIGITS)
    found.add_column("name", overflow="ellipsis", no_wrap=True, min_width=6, max_width=18)
    for name, width in (("fitness", 7), ("Sharpe", 6), ("trades\n/month", 6), ("expo-\nsure", 5)):
        found.add_column(name, justify="right", no_wrap=True, min_width=width)
    found.add_column("niche", no_wrap=True, min_width=5)
    found.add_column("origin", overflow="ellipsis", no_wrap=True, min_width=6, max_width=8)
    found.add_column("parents", no_wrap=True, min_width=_DIGITS + 3)
    for elite in elites:
        how, origin = elite["behaviour"], elite["origin"]
        first, *others = origin["parent"].split() or ["-"]
        cells = (
            elite["hash"][:_DIGITS], elite["name"], _number(elite["fitness"]), _number(elite["sharpe"]),
            f"{how['trades_a_month']:.1f}", f"{how['exposure']:.0%}",
            "".join(map(str, elite["niche"])), f"{origin['generator']} {origin['version']}".strip(),
            first[:_DIGITS] + " +1" * len(others),
        )  # fmt: skip
        found.add_row(*(Text(cell) for cell in cells))
    return found


def family(line: Sequence[Ancestor]) -> str:
    """Return a strategy and its ancestors, one a line, the farther back the farther in."""
    if not line:
        return "what it was made from is not kept any more"
    return "\n".join(f"{'  ' * one.back}{_ancestor(one)}" for one in line)


def _ancestor(one: Ancestor) -> str:
    metrics, origin = one.measured.metrics, one.proposal.origin
    result = f"Sharpe {_number(metrics.get('sharpe'))}, {count(int(metrics.get('n_trades', 0)), 'trade')}"
    who = " ".join(part for part in (origin.generator, origin.version, origin.model) if part)
    return f"{one.hash[:_DIGITS]} {one.name}: {one.kind if one.measured.crash else result}; {who}"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"
