"""What the file of a model's score says of itself: which model made it, from which candles, with which code.

The note stands in the metadata of the Parquet file. Like any text from a file it is not trusted: what is
malformed is refused, and nothing in it is acted on but the hash, the market and the age.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from research_lab.errors import DataError

KEY = b"gauntlet.score"
FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_BYTES = 4_096


@dataclass(frozen=True)
class ScoreNote:
    """Where a score comes from.

    Parameters
    ----------
    model : SHA-256 of the model's identity. name : what it is called.
    market : of the candles, in words. max_age_ms : how long the model lets a score count.
    data, code : SHA-256 of the candles and of the program's sources. sklearn : version of scikit-learn.
    """

    model: str
    name: str
    market: str
    max_age_ms: int
    data: str
    code: str
    sklearn: str

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The note as a Parquet file keeps it."""
        return {KEY: json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode()}


def note_in(metadata: Mapping[bytes, bytes] | None, where: str) -> ScoreNote | None:
    """Return the note in a file's metadata; None where there is none.

    Raises
    ------
    DataError
        It is malformed, or newer than this code.
    """
    raw = (metadata or {}).get(KEY)
    if raw is None:
        return None
    try:
        told: Any = json.loads(raw) if len(raw) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        told = None
    wanted = {field.name: int if field.name == "max_age_ms" else str for field in fields(ScoreNote)}
    plain = isinstance(told, dict) and told.pop("format", None) == FORMAT and told.keys() == wanted.keys()
    if not plain or any(type(told[name]) is not kind for name, kind in wanted.items()):
        raise DataError("its note about a model is malformed or newer than this code", where, _AGAIN)
    if not all(_HASH.fullmatch(told[name]) for name in ("model", "data", "code")):
        raise DataError("its note about a model holds what is no hash", where, _AGAIN)
    return ScoreNote(**told)


_AGAIN = "make it again with pipeline model fit"
