"""How a sweep is cut so that it fits: into groups within a memory limit, each with one chunk a thread.

What a sweep needs is estimated before it starts: what would not fit is refused with the estimate, what would
not fit at once is cut.
"""

from __future__ import annotations

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
            f"than the {_size(most)} that a sweep may take here",
            remedy=f"score about {fitting:,} at a time with larger steps or fewer parameters, or raise "
            "GAUNTLET_MEMORY_MB",
        )

    def groups(self, specs: Sequence[Spec]) -> Iterator[tuple[Sequence[Spec], list[CompiledUnion]]]:
        """Return the strategies group by group, each compiled into chunks that fit side by side."""
        for first in range(0, len(specs), GROUP):
            yield from self._fitting(specs[first : first + GROUP])

    def _fitting(self, specs: Sequence[Spec]) -> Iterator[tuple[Sequence[Spec], list[CompiledUnion]]]:
        each = -(-len(specs) // self.n_threads)
        chunks = [compile_union(specs[k : k + each]) for k in range(0, len(specs), each)]
        if len(specs) == 1 or sum(chunk.n_bytes(self.n_days) for chunk in chunks) <= self.n_working:
            yield specs, chunks
            return
        half = len(specs) // 2
        yield from self._fitting(specs[:half])
        yield from self._fitting(specs[half:])


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 10**9 else f"{n_bytes / 1e6:.0f} MB"
