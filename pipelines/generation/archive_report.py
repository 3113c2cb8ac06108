"""The page of a search: what it was asked, what it took, the map of its archive, every elite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.generation.archive_map import archive_map, bins
from pipelines.report import render
from pipelines.report_pictures import Picture
from research_lab.durable import atomic_write
from research_lab.generators.archive import AXES
from research_lab.wording import count


def write_search_report(content: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a search from its archive, and return where it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    refused = sorted(content["refused"].items(), key=lambda row: (-row[1], row[0]))
    atomic_write(
        path,
        render(
            "search.html.j2", **{**content, "map": picture(content), "refused": refused, "counted": count}
        ),
    )
    return path


def picture(content: Mapping[str, Any]) -> Picture:
    """Return the map of a search's archive, with how to read it."""
    up, across = AXES[2], AXES[3]
    note = (
        "Each square is a way of trading, and shows the fittest strategy that trades so. Inside a field: "
        f"{up.name} upwards ({', '.join(bins(2))}), {across.name} to the right ({', '.join(bins(3))}). "
        "The number is the best fitness of the field: above zero is more than luck had to offer in as many looks. "
        "All of it was measured on research bars alone; the gates decide."
    )
    drawing = archive_map([elite for elite in content["elites"] if elite["fitness"] is not None])
    legend = (("gain", "fitness above zero"), ("loss", "below zero"))
    return Picture("The map of the archive", drawing, legend, note)
