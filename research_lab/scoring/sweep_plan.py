"""How a sweep is cut so that it fits: into groups within a memory limit, each with one chunk a thread.

What a sweep needs is estimated before it starts: what would not fit at once is cut, and the log says so with the
estimate; results, which are returned all at once, are refused with theirs where they would not fit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from research_lab.dsl.spec import Spec, compile_union
from research_lab.engine import metrics
from research_lab.engine.slot import CompiledUnion
from research_lab.errors import UsageError

GROUP: Final = 512  # strategies scored before the ledger is written: what an interruption loses
_log = logging.getLogger(__name__)

_WORKING: Final = 0.25  # share of the free memory that running chunks may take; results take the rest
_KEPT: Final = 0.75
_OBJECTS: Final = 2_000  # bytes of Python objects a scored strategy keeps


def free_memory() -> int:
    """Return the bytes that a sweep may take: what is free, or GAUNTLET_MEMORY_MB where that is set.

    Raises
    ------
    UsageError : when GAUNTLET_MEMORY_MB is no whole number above zero.
    """
    asked = os.environ.get("GAUNTLET_MEMORY_MB", "")
    if asked:
        if not asked.isdecimal() or int(asked) == 0:
            raise UsageError(
                f"GAUNTLET_MEMORY_MB is {asked[:20]!r}", remedy="write whole megabytes, e.g. 4000"
            )
        return int(asked) * 10**6
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will take.

    Parameters
    ----------
    n_strategies, n_days : how much is scored. n_threads : chunks that run side by side.
    free : bytes that it may take in all.
    """

    n_strategies: int
    n_days: int
    n_threads: int
    free: int

    @property
    def n_kept(self) -> int:
        """Bytes of results: metrics and daily returns of every strategy."""
        return self.n_strategies * (8 * (self.n_days + len(metrics.NAMES)) + _OBJECTS)

    @property
    def n_working(self) -> int:
        """Bytes that chunks may take while they run."""
        return int(self.free * _WORKING)

    def check(self) -> None:
        """Refuse a sweep whose results alone would not fit.

        Raises
        ------
        UsageError : with the estimate, what is free, and how many strategies would fit.
        """
        most = int(self.free * _KEPT)
        if self.n_kept <= most:
            return
        fitting = self.n_strategies * most // self.n_kept
        raise UsageError(
            f"{self.n_strategies:,} strategies over {self.n_days:,} days keep {_size(self.n_kept)} of results, more "
            f"than the {_size(most)} that a sweep may take here, and all are returned at once",
            remedy=f"score about {fitting:,} at a time with larger steps or fewer parameters, or raise "
            "GAUNTLET_MEMORY_MB",
        )

    def groups(self, specs: Sequence[Spec]) -> Iterator[tuple[Sequence[Spec], list[CompiledUnion]]]:
        """Return the strategies group by group, each compiled into chunks that fit side by side.

        The first group that has to be cut for that is told in the log, with its estimate, before it is run.
        """
        told = False
        for first in range(0, len(specs), GROUP):
            whole = specs[first : first + GROUP]
            for part, chunks, estimate in self._fitting(whole):
                if len(part) < len(whole) and not told:
                    self._tell(len(whole), len(part), estimate)
                    told = True
                yield part, chunks

    def _tell(self, n: int, n_part: int, estimate: int) -> None:
        _log.warning(
            "%d strategies over %d days at once would take %s, more than the %s that may run side by side here: "
            "swept in parts, %d first; GAUNTLET_MEMORY_MB sets the limit",
            n, self.n_days, _size(estimate), _size(self.n_working), n_part,
        )  # fmt: skip

    def _fitting(self, specs: Sequence[Spec]) -> Iterator[tuple[Sequence[Spec], list[CompiledUnion], int]]:
        """Return parts that fit, their chunks, and the bytes that all would have taken at once."""
        each = -(-len(specs) // self.n_threads)
        chunks = [compile_union(specs[k : k + each]) for k in range(0, len(specs), each)]
        estimate = sum(chunk.n_bytes(self.n_days) for chunk in chunks)
        if len(specs) == 1 or estimate <= self.n_working:
            yield specs, chunks, estimate
            return
        half = len(specs) // 2
        for some in (specs[:half], specs[half:]):
            for part, fitting, _ in self._fitting(some):
                yield part, fitting, estimate


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 10**9 else f"{n_bytes / 1e6:.0f} MB"
