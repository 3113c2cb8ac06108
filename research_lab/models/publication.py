"""A model's score as a published series: what a strategy reads, in a campaign as in a replay."""

from __future__ import annotations

import io
from importlib import metadata
from pathlib import Path

import numpy as np

from research_lab.bars import Bars
from research_lab.durable import atomic_write
from research_lab.errors import InsufficientError, UsageError
from research_lab.models.walk_forward_fit import Scores
from research_lab.score_note import ScoreNote
from research_lab.series import Series


def published(scores: Scores, bars: Bars, code: str) -> Series:
    """Return scores as a series: each stamped with its publication, NaN where the model knew none.

    Parameters
    ----------
    bars : what the scores were made from. code : SHA-256 of the program's sources.

    Raises
    ------
    InsufficientError
        There is no score at all.
    """
    model = scores.model
    found = np.flatnonzero(np.isfinite(scores.score))
    if not found.shape[0]:
        days = model.at_least_ms // 86_400_000
        raise InsufficientError(
            f"model {model.name} was never fitted: {len(scores.refits)} times for it, none with labels of "
            f"{days} days before and all features known",
            bars.market.name,
            "bring more candles, or write a smaller at_least",
        )
    kept = slice(int(found[0]), None)
    note = ScoreNote(
        model=model.hash,
        name=model.name,
        market=bars.market.name,
        max_age_ms=model.max_age_ms,
        data=bars.snapshot,
        code=code,
        sklearn=metadata.version("scikit-learn"),
    )
    return Series(f"model {model.name}", scores.visible[kept] + model.lag_ms, scores.score[kept], note=note)


def write_score(series: Series, path: Path) -> Path:
    """Write a score as Parquet with its note and page checksums; the file appears whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet":
        raise UsageError("a score is kept as Parquet, with its note", str(path), "name it *.parquet")
    if series.note is None or series.value is None:
        raise UsageError("this series is no model's score", str(path))
    columns = {
        "time": pa.array(series.time).cast(pa.timestamp("ms", tz="UTC")),
        "value": pa.array(series.value),
    }
    table = pa.table(columns).replace_schema_metadata(series.note.metadata)
    raw = io.BytesIO()
    pq.write_table(table, raw, compression="zstd", write_page_checksum=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, raw.getvalue())
    return path
