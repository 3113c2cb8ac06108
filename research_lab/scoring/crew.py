"""Who reads texts and sweeps strategies: this process, the processes of a machine, or a Dask cluster.

Work goes out in chunks and comes back in the order in which it was asked for, so that the number of workers
changes nothing but the time. A crew looks, and counts nothing: `Scorer` alone hands a sweep to it, and counts
what comes back before anybody is told.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np

from research_lab.bars import Bars
from research_lab.dsl import limits
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine import metrics
from research_lab.engine.jit import FloatArray
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import GauntletError, SpecError, UsageError
from research_lab.scoring.sweep_plan import SweepPlan, free_memory

READ_AS: Final = "proposal"  # what a fault calls the text
REASON: Final = 600  # characters of a reason that are kept
ANSWER_S: Final = 10.0  # that a scheduler may take to answer
_DIED: Final = "a worker died of it"
_CHUNKS: Final = 2  # a worker and job: the last ones end together
_LEAST: Final = 4  # texts or strategies of a chunk, which costs milliseconds to send

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


@dataclass(frozen=True, eq=False)
class Course:
    """What strategies are run over: bars, costs, and the regime's code after each bar."""

    bars: Bars
    terms: Terms
    regime: FloatArray

    @cached_property
    def key(self) -> str:
        """What tells it from every other."""
        told = f"{self.bars.snapshot} {self.terms!r} ".encode()
        return hashlib.sha256(told + self.regime.tobytes()).hexdigest()

    def owned(self) -> Course:
        """Return it with arrays of its own: those that a process is sent can be read-only maps of a file."""
        bars = self.bars
        own = Bars(
            bars.market, bars.step_ms, np.array(bars.time), np.array(bars.inputs),
            np.array(bars.funding_due), bars.series,
        )  # fmt: skip
        return Course(own, self.terms, np.array(self.regime))


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """What came of one strategy.

    Parameters
    ----------
    metrics : (n_metrics,) as `engine.metrics.NAMES`. first_day : UTC day, since 1970. daily : (n_days,) returns.
    """

    metrics: FloatArray
    first_day: int
    daily: FloatArray


class Crew:
    """Reads and sweeps in chunks, in order.

    It is a context: processes and connections are opened when it is entered, or used, and closed when it is left.

    Parameters
    ----------
    n_workers : processes of this machine; 1 works in this process, on all its cores.
    scheduler : address of a Dask scheduler, such as "tcp://127.0.0.1:8786"; its workers are used then.

    Raises
    ------
    UsageError
        Both are asked for, or the scheduler's address is none.
    """

    def __init__(self, n_workers: int = 1, scheduler: str = "") -> None:
        if n_workers < 1:
            raise UsageError(f"{n_workers} workers", "--workers", "ask for one at least")
        if scheduler and n_workers != 1:
            raise UsageError(
                "workers of this machine and a scheduler's", "--workers --scheduler", "give one of them"
            )
        if scheduler and "://" not in scheduler:
            raise UsageError(
                f"{scheduler[:80]!r} is no address", "--scheduler", "write it as tcp://127.0.0.1:8786"
            )
        self.n_workers = n_workers
        self.scheduler = scheduler
        self._open = ExitStack()
        self._client: Any = None
        self._pool: Any = None
        self._sent: Course | None = None  # what the cluster's workers have of the pool

    @property
    def is_here(self) -> bool:
        """Whether all work is done in this process."""
        return self.n_workers == 1 and not self.scheduler

    @property
    def n_hands(self) -> int:
        """How many chunks are worked on at once."""
        return sum(self._connected().nthreads().values()) if self.scheduler else self.n_workers

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let processes and connections go; the next job opens them anew."""
        self._pool = self._client = self._sent = None
        self._open.close()

    def read(self, texts: Sequence[str]) -> list[Spec | str]:
        """Return the strategy that each text describes, or why it is none; the texts are anybody's."""
        if self.is_here:
            return [_read(text) for text in texts]
        # what is too large is refused here, so that it is not sent about
        short = [text if len(text) <= limits.BYTES else text[: limits.BYTES + 1] for text in texts]
        return self._surviving(_read_all, short, f"{READ_AS}: {_DIED}")

    def sweep(self, course: Course, specs: Sequence[Spec]) -> list[Run | str]:
        """Run strategies over a course; what crashed one is told in its place, and no other's.

        Nothing is counted here: see `Scorer.attempt`.

        Raises
        ------
        UsageError
            The results would not fit into memory; told before anything runs.
        """
        _plan(specs, course, 1, free_memory()).check()
        if self.is_here:
            return _sweep_all(specs, course, os.cpu_count() or 1, free_memory())
        if self.scheduler and self._sent is not course:
            self.close()
            self._sent = course
        _ = course.key  # made once, and sent along
        share = 0 if self.scheduler else free_memory() // self.n_workers
        return self._surviving(_sweep_sent, specs, _DIED, course, 1, share)

    def _surviving(
        self, work: Callable[..., list[_Found | str]], items: Sequence[_Item], why: str, *told: object
    ) -> list[_Found | str]:
        """Return what `work` makes of the items; when a process dies, halves again, down to the one that it dies of.

        Parameters
        ----------
        why : what is said of that one.
        """
        try:
            return self._map(work, items, *told)
        except Exception as fault:  # told of the one item that it is due to, or raised
            if not _is_death(fault):
                raise
            self.close()
            if len(items) == 1:
                return [f"{why}: {type(fault).__name__}"]
        half = len(items) // 2
        halves = (items[:half], items[half:])
        return [found for some in halves for found in self._surviving(work, some, why, *told)]

    def _map(self, work: Callable[..., list[_Found]], items: Sequence[_Item], *told: object) -> list[_Found]:
        """Return what `work` makes of the items, chunk by chunk, in their order."""
        from joblib import delayed

        if not items:
            return []
        size = max(_LEAST, -(-len(items) // (_CHUNKS * self.n_hands)))
        chunks = [items[k : k + size] for k in range(0, len(items), size)]
        jobs = (delayed(work)(chunk, *told) for chunk in chunks)
        return [found for part in self._opened()(jobs) for found in part]

    def _opened(self) -> Any:
        """Return joblib's pool, whose processes stay between jobs; a cluster has the course scattered once."""
        from joblib import Parallel, parallel_config

        if self._pool is None:
            if self.scheduler:
                scatter = None if self._sent is None else [self._sent]
                with parallel_config(backend="dask", n_jobs=-1, client=self._connected(), scatter=scatter):
                    pool = Parallel()
            else:
                pool = Parallel(n_jobs=self.n_workers, backend="loky")
            self._pool = self._open.enter_context(pool)
        return self._pool

    def _connected(self) -> Any:
        """Return the client of the scheduler.

        Raises
        ------
        UsageError
            The extra `cluster` is not installed.
        GauntletError
            The scheduler does not answer, or has no workers.
        """
        if self._client is None:
            try:
                from distributed import Client
            except ImportError:
                raise UsageError(
                    "Dask is not installed",
                    "--scheduler",
                    "run make env, or pip install '.[cluster]' in the checkout",
                ) from None
            try:
                client = Client(self.scheduler, timeout=ANSWER_S, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as fault:
                raise GauntletError(
                    f"the scheduler does not answer: {fault}", self.scheduler, "start it, or use --workers"
                ) from None
            self._client = self._open.enter_context(client)
            if not client.nthreads():
                raise GauntletError("the scheduler has no workers", self.scheduler, "start some: dask worker")
        return self._client


def _read(text: str) -> Spec | str:
    """Return the strategy of a text, or why it is none; sizes are looked at before anything else."""
    if len(text) > limits.BYTES:
        return f"{READ_AS}: larger than {limits.BYTES} bytes; a strategy is a page, not a book"
    try:
        spec = parse_spec(text, READ_AS)
        _ = spec.hash, spec.template_hash  # made here, and sent along
        return spec
    except SpecError as fault:
        return plain(str(fault))
    except Exception as fault:  # noqa: BLE001 - anybody's text: one that breaks the reader is refused as well
        return plain(f"{READ_AS}: the reader failed: {type(fault).__name__}: {fault}")


def plain(text: str) -> str:
    """Return a reason that any file takes, and no longer than one may be."""
    kept = text if len(text) <= REASON else text[: REASON - 3] + "..."
    return kept.encode("utf-8", errors="replace").decode("utf-8")


def _read_all(texts: Sequence[str]) -> list[Spec | str]:
    return [_read(text) for text in texts]


_courses: dict[str, Course] = {}  # of this worker: the last one that it was sent


def _sweep_sent(specs: Sequence[Spec], sent: Course, n_threads: int, free: int) -> list[Run | str]:
    """Sweep in a worker, on its own copy of the course."""
    if sent.key not in _courses:
        _courses.clear()
        _courses[sent.key] = sent.owned()
    return _sweep_all(specs, _courses[sent.key], n_threads, free or free_memory())


def _sweep_all(specs: Sequence[Spec], course: Course, n_threads: int, free: int) -> list[Run | str]:
    """Sweep strategies of any timeframes; those of one that crashes are run one by one.

    Raises
    ------
    UsageError
        The results would not fit here; it is no strategy's own crash.
    """
    _plan(specs, course, n_threads, free).check()
    by_step: dict[int, list[int]] = {}
    for place, spec in enumerate(specs):
        by_step.setdefault(spec.step_ms, []).append(place)
    found: dict[int, Run | str] = {}
    for places in by_step.values():
        found.update(zip(places, _alike([specs[k] for k in places], course, n_threads, free), strict=True))
    return [found[place] for place in range(len(specs))]


def _alike(specs: Sequence[Spec], course: Course, n_threads: int, free: int) -> list[Run | str]:
    try:
        return _swept(specs, course, n_threads, free)
    except Exception as fault:  # noqa: BLE001 - one strategy's crash is recorded as its own, and is no other's
        if len(specs) == 1:
            return [plain(f"{type(fault).__name__}: {fault}")]
    return [_alike([spec], course, n_threads, free)[0] for spec in specs]


def _plan(specs: Sequence[Spec], course: Course, n_threads: int, free: int) -> SweepPlan:
    start_ms, end_ms = course.bars.interval
    return SweepPlan(len(specs), (end_ms - start_ms) // metrics.DAY_MS + 1, n_threads, free)


def _swept(specs: Sequence[Spec], course: Course, n_threads: int, free: int) -> list[Run | str]:
    found: list[Run | str] = []
    for _, chunks in _plan(specs, course, n_threads, free).groups(specs):
        result = sweep(chunks, course.bars, course.terms, regime=course.regime, n_threads=n_threads)
        whole = [bool(np.isfinite(daily).all()) for daily in result.daily_returns]
        found += [
            Run(row, result.first_day, daily) if fine else "a daily return is not finite"
            for row, daily, fine in zip(result.metrics, result.daily_returns, whole, strict=True)
        ]
    return found


def _is_death(fault: Exception) -> bool:
    """Whether a process died, rather than raised: by its signal, or for want of memory."""
    return type(fault).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker")
