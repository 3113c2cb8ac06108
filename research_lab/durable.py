"""Files that survive a crash: whole-file replacement, appended lines, and a log chained by hash.

A call that returns has its bytes on the disk. A call that is interrupted leaves either the old
content or the new one, or, for appended lines, a torn last line that the next append cuts off.
Standard library only; every package may import this module.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from research_lab.errors import LedgerError

GENESIS = "0" * 64
_TAIL = 1 << 16


def atomic_write(path: Path, data: bytes | str) -> str:
    """Replace a file's whole content, or leave it exactly as it was.

    The data go to a temporary file in the same folder, which is synced and renamed over the
    target; then the folder is synced, without which the rename itself may be lost.

    Parameters
    ----------
    path : its folder must exist.
    data : text is written as UTF-8.

    Returns
    -------
    str
        SHA-256 of the bytes written.

    Raises
    ------
    OSError
        The disk refused. Before the rename the old content stands; if syncing the folder failed,
        the new content stands but may not survive a power loss.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(raw).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make created, renamed and deleted names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> int:
    """Delete temporary files that killed writers of `path` left behind, and count them.

    Call it only while holding the lock under which `path` is written.
    """
    leftovers = list(path.parent.glob(f".{path.name}.*.tmp"))
    for leftover in leftovers:
        with suppress(FileNotFoundError):
            leftover.unlink()
    return len(leftovers)


def append_line(path: Path, line: str) -> None:
    """Append one line and sync it; a torn last line of an earlier crash is cut off first.

    Safe among processes: the file itself is locked meanwhile.

    Raises
    ------
    ValueError
        The line contains a line break.
    """
    append_lines(path, (line,))


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append several lines with one sync: all of them, or after a crash the first few."""
    raw = _joined(lines)
    with _locked(path) as file:
        _write_at_end(file, raw)


@dataclass(frozen=True)
class Line:
    """One line of a chained log.

    Parameters
    ----------
    n : number from 1.
    hash : SHA-256 over the number, the previous line's hash and the payload.
    payload : what the writer handed in.
    """

    n: int
    hash: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class ChainedLog:
    """Append-only JSON lines, each bound by hash to all lines before it.

    A line is ``{"n": 3, "prev": "<hash of line 2>", "payload": {...}, "hash": "<sha256>"}`` in canonical
    JSON. A changed, removed or inserted line breaks the chain and is found by `read`. A cut at the
    end is not visible in the file itself; it shows against a head kept elsewhere (`anchor`).

    Parameters
    ----------
    path : created by the first append.
    """

    path: Path

    def append(self, payload: Mapping[str, Any]) -> Line:
        """Append one line durably and return it. The cost does not grow with the log."""
        return self.extend((payload,))[0]

    def extend(self, payloads: Sequence[Mapping[str, Any]]) -> list[Line]:
        """Append several lines with one sync; after a crash the first few may stand."""
        with _locked(self.path) as file:
            head = self._tail(file)
            n, previous = (head.n, head.hash) if head else (0, GENESIS)
            lines: list[Line] = []
            for payload in payloads:
                n += 1
                plain = json.loads(_canonical(payload))
                previous = _link(n, previous, plain)
                lines.append(Line(n, previous, plain))
            earlier = head.hash if head else GENESIS
            _write_at_end(file, _joined(_texts(lines, earlier)))
        return lines

    def read(self) -> list[Line]:
        """Return all lines after checking the whole chain; a torn last line is left out.

        Raises
        ------
        LedgerError
            A line was changed, removed or inserted.
        """
        lines: list[Line] = []
        previous = GENESIS
        for number, text in enumerate(self._whole_lines(), start=1):
            line = _next(text, number, previous) or self._checked(text, number, previous)
            lines.append(line)
            previous = line.hash
        return lines

    def head(self) -> str:
        """Return the last line's hash, or 64 zeros for an empty or missing log."""
        try:
            with open(self.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                tail = self._tail(file)
        except FileNotFoundError:
            return GENESIS
        return tail.hash if tail else GENESIS

    def anchor(self) -> tuple[int, str]:
        """Return number and hash of the last line, to be kept where the log cannot be rewritten."""
        lines = self.read()
        return (lines[-1].n, lines[-1].hash) if lines else (0, GENESIS)

    def check_anchor(self, n: int, head: str) -> None:
        """Check that line `n` still is what it was when `anchor` was taken.

        Raises
        ------
        LedgerError
            The log is shorter than the anchor, or line `n` has another hash.
        """
        lines = self.read()
        if len(lines) < n:
            raise LedgerError(
                f"{len(lines)} lines, but line {n} was anchored",
                str(self.path),
                "the end was cut off; restore the file",
            )
        if n and lines[n - 1].hash != head:
            raise LedgerError(
                f"line {n} has hash {lines[n - 1].hash[:12]}, but {head[:12]} was anchored",
                str(self.path),
                "the log was rewritten; restore the file",
            )

    def _whole_lines(self) -> Iterator[str]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return
        whole = raw[: raw.rfind(b"\n") + 1]
        for piece in whole.split(b"\n")[:-1]:
            yield piece.decode("utf-8", errors="replace")

    def _tail(self, file: BinaryIO) -> Line | None:
        """Return the last whole line, checked in itself but not against those before it."""
        end = _whole_end(file)
        if end == 0:
            return None
        start = _line_start(file, end - 1)
        file.seek(start)
        text = file.read(end - 1 - start).decode("utf-8", errors="replace")
        return self._checked(text, None, None)

    def _checked(self, text: str, n: int | None, previous: str | None) -> Line:
        where = f"{self.path}:{n}" if n else str(self.path)
        remedy = "somebody changed the file, or the disk did; restore it from a copy"
        try:
            raw = json.loads(text)
            line = Line(raw.pop("n"), raw.pop("hash"), raw.pop("payload"))
            link = raw.pop("prev")
            expected = _link(line.n, link, line.payload)
            if raw or type(line.n) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise LedgerError(f"no line of a chained log: {text[:60]!r}", where, remedy) from None
        if expected != line.hash:
            raise LedgerError("the line does not have the hash that it names", where, remedy)
        if n is not None and (line.n != n or link != previous):
            raise LedgerError("the chain of hashes is broken", where, remedy)
        return line


def _next(text: str, n: int, previous: str) -> Line | None:
    """Return a line as `_texts` wrote it, hashed as it stands there; None when it must be looked at closely."""
    head, tail = f'","n":{n},"payload":', f',"prev":"{previous}"}}'
    begin = 9 + len(GENESIS)
    if not (text.startswith(head, begin) and text.endswith(tail) and text.startswith('{"hash":"')):
        return None
    plain, digest = text[begin + len(head) : -len(tail)], text[9:begin]
    if hashlib.sha256(f"{n}\n{previous}\n{plain}".encode()).hexdigest() != digest:
        return None
    try:
        return Line(n, digest, json.loads(plain))
    except (ValueError, RecursionError):
        return None


def _canonical(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _link(n: int, previous: str, payload: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{n}\n{previous}\n{_canonical(payload)}".encode()).hexdigest()


def _texts(lines: Sequence[Line], previous: str) -> Iterator[str]:
    for line in lines:
        yield _canonical({"n": line.n, "prev": previous, "payload": line.payload, "hash": line.hash})
        previous = line.hash


def _joined(lines: Sequence[str] | Iterator[str]) -> bytes:
    pieces = []
    for line in lines:
        if "\n" in line or "\r" in line:
            raise ValueError("a line of a log must not contain a line break")
        pieces.append(line.encode() + b"\n")
    return b"".join(pieces)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open for reading and appending, alone among processes; a new name is synced into its folder."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if fresh:
            sync_folder(path.parent)
        yield cast(BinaryIO, file)


def _write_at_end(file: BinaryIO, raw: bytes) -> None:
    """Append and sync. When the disk refuses, what was there stays and nothing else."""
    end = _whole_end(file)
    file.truncate(end)
    file.seek(end)
    try:
        written = 0
        while written < len(raw):
            written += file.write(raw[written:])
        os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            file.truncate(end)
        raise


def _whole_end(file: BinaryIO) -> int:
    """Return the offset just after the last line break; what follows it is a torn line."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    file.seek(size - 1)
    return size if file.read(1) == b"\n" else _line_start(file, size)


def _line_start(file: BinaryIO, end: int) -> int:
    """Return the offset just after the last line break before `end`, 0 if there is none."""
    while end > 0:
        start = max(0, end - _TAIL)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
