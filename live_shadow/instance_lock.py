"""One executor a workspace: a lock that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from research_lab.errors import LockedError


@contextmanager
def instance_lock(path: Path) -> Iterator[None]:
    """Hold the lock of an executor; its folder is made when missing.

    Raises
    ------
    LockedError
        Another process holds it; the message names its process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(32).decode("ascii", errors="replace").strip() or "unknown"
            raise LockedError(
                f"an executor is running here, process {holder}",
                str(path),
                "stop it first, or use another workspace",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        yield
