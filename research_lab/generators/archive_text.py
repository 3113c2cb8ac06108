"""An archive as text: one line of JSON each elite, in an order that the archive decides; read back as it was.

The text of a strategy is read like anybody's. The sign of its position goes along, two bits a bar.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np

from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import DataError, SpecError, UsageError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import Behaviour, Signal
from research_lab.scoring.origin import Origin

VERSION: Final = 1


def archive_text(archive: Archive) -> str:
    """Return an archive as lines of JSON: a head, then every island's elites, the fittest first.

    Two archives with the same elites give the same bytes.
    """
    lines: list[dict[str, Any]] = [{"archive": VERSION, "islands": archive.n_islands}]
    lines += [_told(elite, k) for k in range(archive.n_islands) for elite in archive.island(k)]
    return "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines)


def read_archive(text: str, where: str = "archive") -> Archive:
    """Return the archive that a text describes.

    Raises
    ------
    DataError
        It is none; with the line.
    """
    lines = text.splitlines()
    head = _object(lines[0] if lines else "", where, 1)
    n_islands = head.get("islands")
    if head.get("archive") != VERSION or not isinstance(n_islands, int) or not 1 <= n_islands <= 1_000:
        raise DataError("this is no archive of version 1", f"{where}:1", "name a file that a search wrote")
    archive = Archive(n_islands)
    for number, line in enumerate(lines[1:], start=2):
        told = _object(line, where, number)
        try:
            archive.settle(_elite(told), int(told["island"]))
        except (KeyError, TypeError, ValueError, IndexError, SpecError, UsageError) as fault:
            raise DataError(
                f"no elite: {str(fault)[:200]}", f"{where}:{number}", "take the file as it was written"
            ) from None
    return archive


def _told(elite: Elite, island: int) -> dict[str, Any]:
    signal = elite.signal
    return {
        "island": island,
        "spec": elite.spec.canonical(),
        "origin": {name: value for name, value in asdict(elite.origin).items() if value},
        "fitness": elite.fitness,
        "sharpe": elite.sharpe,
        "behaviour": asdict(elite.behaviour),
        "signal": None if signal is None else {"n": int(signal.shape[0]), "signs": _packed(signal)},
    }


def _elite(told: dict[str, Any]) -> Elite:
    behaviour = dict(told["behaviour"])
    if set(behaviour) != {field.name for field in fields(Behaviour)}:
        raise ValueError("its behaviour has other fields")
    regimes = tuple(float(share) for share in behaviour.pop("regimes"))
    signal = told["signal"]
    return Elite(
        parse_spec(told["spec"], "elite"),
        Origin(**told["origin"]),
        float(told["fitness"]),
        float(told["sharpe"]),
        Behaviour(**{name: float(value) for name, value in behaviour.items()}, regimes=regimes),
        None if signal is None else _unpacked(signal["signs"], int(signal["n"])),
    )


def _object(line: str, where: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError("wanted an object of JSON", f"{where}:{number}", "take the file as it was written")
    return found


def _packed(signal: Signal) -> str:
    """Return signs as text: whether there is a position, then whether it is long, a bit each."""
    bits = np.concatenate([signal != 0, signal > 0])
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def _unpacked(text: str, n: int) -> Signal:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as fault:
        raise ValueError(f"its signal is no base64: {fault}") from None
    bits = np.unpackbits(np.frombuffer(raw, np.uint8))
    if n < 0 or not 2 * n <= bits.shape[0] < 2 * n + 8:
        raise ValueError(f"its signal has not {n} bars")
    held, long = bits[:n].astype(np.int8), bits[n : 2 * n].astype(np.int8)
    return held * (2 * long - 1)
