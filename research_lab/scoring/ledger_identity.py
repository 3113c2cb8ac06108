"""Which ledger this is, wherever its folder lies: an id that stands beside the segments and in their first lines.

Anchors are kept under this id, so a ledger that is moved, copied or mounted elsewhere still finds its own. Every
segment that a ledger begins names it in the header, under the chain of hashes; `ledger.json` tells which
of the ids here is the own one, as segments of others are taken in too. A ledger of before has neither: it is
given an id when it is next written to, and remembers what its anchors were kept under.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from research_lab.durable import atomic_write
from research_lab.errors import LedgerError

NAME = "ledger.json"
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_FORMER = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class Identity:
    """Whose anchors are a ledger's own.

    Parameters
    ----------
    id : 32 hex digits; "" for a folder where nobody wrote yet.
    formerly : what anchors were kept under before ledgers had ids, 16 hex digits each.
    """

    id: str
    formerly: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that anchors of this ledger may be kept under."""
        return tuple(name for name in (self.id, *self.formerly) if name)


def identity_of(folder: Path) -> Identity:
    """Return a ledger's identity without writing anything.

    Parameters
    ----------
    folder : of the segments; it need not exist.

    Raises
    ------
    LedgerError
        `ledger.json` was changed, or is gone while segments of several ledgers are here.
    """
    path = Path(folder) / NAME
    with suppress(FileNotFoundError):
        return _read(path)
    named, has_older = _headers(Path(folder))
    if has_older:
        return Identity("", (former_name(Path(folder).parent),))
    if len(named) > 1:
        raise LedgerError(
            f"segments of {len(named)} ledgers are here, and nothing tells which of them this is",
            str(path),
            "restore the file; or begin with an empty folder, and take the segments in with `pipeline trials pull`",
        )
    return Identity(next(iter(named), ""))


def established(folder: Path) -> Identity:
    """Return a ledger's identity, written down where it was not; raises as `identity_of` does."""
    with FileLock(Path(folder) / ".identity.lock"):
        found = identity_of(folder)
        path = Path(folder) / NAME
        if not path.exists():
            found = Identity(found.id or uuid.uuid4().hex, found.formerly)
            content = {"ledger": found.id, "formerly": list(found.formerly)}
            atomic_write(path, json.dumps(content, indent=1) + "\n")
    return found


def former_name(root: Path) -> str:
    """Return what the anchors of a workspace's ledger were kept under before ledgers had ids."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:16]


def _read(path: Path) -> Identity:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        found = Identity(raw["ledger"], tuple(raw["formerly"]))
        if _ID.fullmatch(found.id) and all(_FORMER.fullmatch(name) for name in found.formerly):
            return found
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise LedgerError("it does not tell which ledger this is", str(path), "restore the file from a copy")


def _headers(folder: Path) -> tuple[set[str], bool]:
    """Return the ids that segments name, and whether a segment names none."""
    named, has_older = set(), False
    for path in sorted(folder.glob("seg-*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
        told = None
        with suppress(
            ValueError, KeyError, TypeError, RecursionError
        ):  # what is broken is told by who reads it
            told = json.loads(first)["payload"].get("ledger")
        if isinstance(told, str) and _ID.fullmatch(told):
            named.add(told)
        else:
            has_older = has_older or told is None
    return named, has_older
