"""Models as gates need them: kept in the workspace by their hash, and fitted anew where an exam begins."""

from __future__ import annotations

from pathlib import Path

from research_lab.bars import DAY_MS, Bars
from research_lab.durable import atomic_write
from research_lab.errors import InsufficientError
from research_lab.models.model import Model
from research_lab.models.model_reader import load_model
from research_lab.validation.tuning import Protocol
from research_lab.validation.walk_forward import fold_days


def fold_borders(protocol: Protocol, end_ms: int, bars: Bars) -> tuple[int, ...]:
    """Return the times, ms UTC, at which the exams of a walk-forward over research bars begin.

    Models are fitted there besides their own times. None where the days do not make folds: the walk-forward
    then is insufficient, and says why. In the holdout a model is fitted at its own times only, as it would live.
    """
    first_day = int(bars.time[0]) // DAY_MS
    try:
        folds = fold_days(-(-end_ms // DAY_MS) - first_day, protocol)
    except InsufficientError:
        return ()
    return tuple((first_day + border) * DAY_MS for _, border in folds)


def kept_model(root: Path, digest: str) -> Model | None:
    """Return a model that a campaign of the workspace kept, by its hash; None where there is none."""
    path = _place(root, digest)
    model = load_model(path) if path.exists() else None
    return model if model is not None and model.hash == digest else None


def keep_model(root: Path, model: Model) -> None:
    """Keep a model in a workspace as canonical text, by its hash."""
    path = _place(root, model.hash)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        atomic_write(path, model.canonical())


def _place(root: Path, digest: str) -> Path:
    return root / "models" / f"{digest}.yaml"
