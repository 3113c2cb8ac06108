"""Files that a command writes at its end, checked before its work begins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from research_lab.errors import UsageError


def check_output(path: Path | None, option: str, *, appended: bool = False) -> None:
    """Refuse a file that could not be written in the end; its folder is made when it is missing.

    Parameters
    ----------
    path : None for an option that was not given.
    option : as it is written.
    appended : whether it is added to, as also a pipe can be, and not replaced.

    Raises
    ------
    UsageError
        It is a folder, or the file or its folder cannot be written to.
    """
    if path is None:
        return
    if path.is_dir() or (path.exists() and not (path.is_file() or appended)):
        raise UsageError(f"{path} is no file", option, "name a file")
    try:
        if appended and path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as fault:
        raise UsageError(
            f"{path} cannot be written: {fault.strerror or fault}",
            option,
            "name a file in a folder that can be written to",
        ) from None
