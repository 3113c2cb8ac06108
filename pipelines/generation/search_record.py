"""What of a search goes into its MLflow run: what people ask first, its figures, its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from pipelines.generation.search_wish import Wish
from research_lab.bars import Bars
from research_lab.generators.search import Search

_TRANSCRIPTS: Final = "transcripts"


def facts_of(bars: Bars, wish: Wish) -> dict[str, Any]:
    """Return what people ask of a search first."""
    return {
        "market": bars.market.name,
        "symbol": bars.market.charged_to,
        "snapshot": bars.snapshot,
        "generator": wish.generator,
        "goal": wish.brief.goal,
        "looks_asked": wish.n,
        "seed": wish.seed,
        "batch": wish.batch,
    }


def figures_of(search: Search) -> dict[str, float]:
    """Return what a search took, how many elites it has, and how good the fittest is."""
    elites = search.feedback.archive.fittest
    best = next(iter(elites), None)
    told = {f"refused/{kind}": float(n) for kind, n in search.refused.items()}
    return {
        "n_looks": float(search.feedback.n_looks),
        "n_generations": float(search.feedback.generation),
        "n_elites": float(len(elites)),
        "best_fitness": math.nan if best is None else best.fitness,
        "best_sharpe": math.nan if best is None else best.sharpe,
        **told,
    }


def files_of(archive: Path, memory: Path) -> dict[str, Path]:
    """Return the artifacts of a search: its archive, and every call of a language model."""
    calls = sorted((memory / _TRANSCRIPTS).glob("*"))
    return {
        archive.name: archive,
        **{f"{_TRANSCRIPTS}/{path.name}": path for path in calls if path.is_file()},
    }
