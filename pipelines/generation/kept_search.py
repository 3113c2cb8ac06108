"""What is kept of a search while it runs, so that one that was killed goes on as if it had not been.

A folder a search, named by the hash of all that it depends on. Each generation is one file, written whole or not
at all once its looks are counted; the ledger has the returns. The next run takes generations from the disk as
long as they can be read and the ledger has every look, and runs the others again, which counts none twice.

    search.json      what the search depends on, and what was asked for
    000000.json      texts, who proposed them, and what was measured, one file a generation
    archive.json     the elites and figures of where it last ended, for `pipeline archive`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from research_lab.durable import atomic_write
from research_lab.errors import LockedError, UsageError, WorkspaceError
from research_lab.generators.protocol import Proposal
from research_lab.generators.search import Generation, Measured
from research_lab.scoring.origin import Origin

FORMAT: Final = 1
SEARCH, ARCHIVE = "search.json", "archive.json"
_SAME: Final = ("data", "brief", "ideas", "generator")  # of which another search is told


@dataclass(frozen=True)
class KeptSearch:
    """One search's folder.

    Parameters
    ----------
    folder : of this search alone; made when it is opened.
    bound : all that its archive depends on, by name.
    """

    folder: Path
    bound: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.folder.name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against other processes, with what a killed one left half written swept out.

        Raises
        ------
        LockedError
            Another process runs this search.
        """
        with alone_in(self.folder):
            for leftover in self.folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            content = {"format": FORMAT, "bound": dict(self.bound)}
            atomic_write(self.folder / SEARCH, json.dumps(content, indent=1) + "\n")
            yield

    def keep(self, generation: Generation) -> None:
        """Keep a generation; when it returns, it is on the disk."""
        content = {
            "format": FORMAT,
            "number": generation.number,
            "proposals": [
                {"text": p.text, "origin": asdict(p.origin), "hash": digest}
                for p, digest in zip(generation.proposals, generation.hashes, strict=True)
            ],
            "measured": {digest: asdict(measured) for digest, measured in generation.measured.items()},
        }
        atomic_write(self._path(generation.number), json.dumps(content) + "\n")

    def generations(self) -> Iterator[Generation]:
        """Yield what was kept, from the first on, up to what is missing or cannot be read."""
        number = 0
        while (found := _generation(self._path(number))) is not None and found.number == number:
            yield found
            number += 1

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder of searches, made where it is missing, against other processes.

    Raises
    ------
    LockedError
        Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=1.0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(
            "another process runs this search", str(folder), "wait for it, or ask for another seed"
        ) from None
    try:
        yield
    finally:
        lock.release()


def kept_search(folder: Path, bound: Mapping[str, str]) -> KeptSearch:
    """Return the folder of a search among all of a workspace, by what it depends on."""
    text = json.dumps(dict(bound), sort_keys=True)
    return KeptSearch(folder / f"search-{hashlib.sha256(text.encode()).hexdigest()[:8]}", bound)


def left_behind(folder: Path, bound: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return the searches on the same data with the same brief and generator that did not end, and what differs."""
    found = []
    for path in sorted(folder.glob(f"search-*/{SEARCH}")):
        try:
            other = dict(json.loads(path.read_text(encoding="utf-8"))["bound"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        differs = sorted(name for name in {*bound, *other} if bound.get(name) != other.get(name))
        if differs and not set(differs) & set(_SAME) and not _ended(path.parent):
            found.append((path.parent.name, differs))
    return found


def write_archive(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write what a search found so far, and return where."""
    atomic_write(folder / ARCHIVE, json.dumps({"format": FORMAT, **content}, indent=1) + "\n")
    return folder / ARCHIVE


def find_archive(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a search by the first letters of its name, the latest without one, and its archive.

    Raises
    ------
    UsageError
        There is none, or several have such a name.
    WorkspaceError
        The archive cannot be read.
    """
    paths = sorted(folder.glob(f"*/{ARCHIVE}"), key=lambda path: (path.stat().st_mtime_ns, path))
    wanted = [p for p in paths if p.parent.name.startswith((name, f"search-{name}"))] if name else paths[-1:]
    if len(wanted) != 1:
        known = ", ".join(path.parent.name for path in paths)
        called = f"{len(wanted)} searches are" if wanted else "no search is"
        what = f"{called} called {name[:40]!r}" if name else "no search was run here"
        remedy = f"there is {known}" if known else "pipeline generate runs one"
        raise UsageError(what, str(folder.parent), remedy)
    try:
        found = json.loads(wanted[0].read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError
        return wanted[0].parent, found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise WorkspaceError(
            "this is no archive of a search", str(wanted[0]), "run the search again"
        ) from None


def _ended(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / ARCHIVE).read_text(encoding="utf-8"))["ended"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _generation(path: Path) -> Generation | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            return None
        proposals = tuple(Proposal(p["text"], Origin(**p["origin"])) for p in raw["proposals"])
        measured = {digest: Measured(**told) for digest, told in raw["measured"].items()}
        return Generation(raw["number"], proposals, tuple(p["hash"] for p in raw["proposals"]), measured)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError):
        return None
