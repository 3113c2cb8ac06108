"""Every error the system raises on purpose, so that a caller can catch one base class.

::

    GauntletError                 exit code 2: wrong usage or bad data
    ├── SpecError                 a strategy text, with file, line, column and a remedy
    │   ├── LimitError            the text is larger, deeper or heavier than allowed
    │   └── DimensionError        price is compared with ratio, a condition is used as a number
    ├── DataError                 a data file: what was seen, where, what was wanted
    ├── UsageError                a command or call with arguments that do not fit
    ├── WorkspaceError            a file of the workspace is missing, malformed or newer than this code
    │   ├── MapError              enable_map.yaml cannot be used
    │   ├── GovernanceError       a limit is exceeded, or governance.yaml is not the pinned one
    │   ├── PolicyError           policy.yaml is malformed or leaves a limit out
    │   ├── LedgerError           the trial ledger or the executor's ledger is broken
    │   └── LockedError           another process holds the lock
    ├── TrackingError             MLflow cannot be reached or refuses
    ├── ServerError               the server of a language model cannot be reached, or knows no such key or model
    └── InsufficientError         exit code 4: there is too little data to answer

Errors store their arguments and format in ``__str__``, so that they survive pickling between workers.
"""

from __future__ import annotations


class GauntletError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    what : what was seen, and where it is not obvious, what was wanted.
    where : the file, command or field; empty when there is none.
    remedy : what to do about it; empty when nothing sensible can be said.
    """

    exit_code = 2

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


class SpecError(GauntletError):
    """A strategy text is wrong at a known line and column, both counted from 1."""

    def __init__(self, what: str, where: str = "", line: int = 0, column: int = 0, remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.args = (what, where, line, column, remedy)
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = self.where or "spec"
        if self.line:
            place += f":{self.line}:{self.column}"
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: {self.what}{advice}"


class LimitError(SpecError):
    """A text exceeds a limit of the language: bytes, depth, nodes, windows, state."""


class DimensionError(SpecError):
    """Operands whose dimensions do not fit, such as price and ratio."""


class DataError(GauntletError):
    """A data file cannot be used as it is."""


class UsageError(GauntletError):
    """A command or a call has arguments that do not fit together."""


class WorkspaceError(GauntletError):
    """A file of the workspace is missing, malformed or written by newer code."""


class MapError(WorkspaceError):
    """enable_map.yaml is missing, malformed or was changed by somebody else meanwhile."""


class GovernanceError(WorkspaceError):
    """A LOCKED limit is exceeded, or governance.yaml is not the one that was pinned."""


class PolicyError(WorkspaceError):
    """policy.yaml is malformed, or leaves out a limit."""


class LedgerError(WorkspaceError):
    """A ledger's chain is broken, or its file cannot be read."""


class LockedError(WorkspaceError):
    """Another process holds the lock of this workspace."""


class TrackingError(GauntletError):
    """The MLflow store cannot be reached, or refuses what was sent."""


class ServerError(GauntletError):
    """The server of a language model cannot be reached, or knows no such key, address or model."""


class InsufficientError(GauntletError):
    """There is too little data, or data too coarse, to answer the question."""

    exit_code = 4
