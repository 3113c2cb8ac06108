"""Processes that hold the callable: each is forked before its first call, so none knows what another did.

A fork needs no copy of the callable, so it may be a closure or a notebook's function. What it prints goes
nowhere. Where the system cannot fork, one worker runs in this process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from research_lab.errors import UsageError

Order = tuple[str, tuple[Any, ...]]

CAN_FORK: Final = hasattr(os, "fork")


class Workers:
    """Copies of one object in processes of their own; each keeps what it did.

    Parameters
    ----------
    subject : its methods are called in the processes, with arguments and results that can be pickled.
    n : how many. name : of the callable, for errors.
    """

    def __init__(self, subject: Any, n: int, name: str) -> None:
        self._subject, self._name = subject, name
        self._ends: list[Connection] = []
        self._processes: list[Any] = []
        if CAN_FORK:
            for _ in range(n):
                self._fork()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for end in self._ends:
            end.close()

    @property
    def n(self) -> int:
        return len(self._ends) or 1

    def ask(self, worker: int, method: str, *arguments: Any, patience_s: float | None = None) -> Any:
        """Return what a method returns in one worker, or raise what it raised."""
        return self.ask_each({worker: (method, arguments)}, patience_s)[worker]

    def ask_all(self, method: str, shares: Sequence[Any], patience_s: float | None = None) -> list[Any]:
        """Hand one share of work to each worker, and return the results in their order."""
        orders: dict[int, Order] = {k: (method, (share,)) for k, share in enumerate(shares)}
        found = self.ask_each(orders, patience_s)
        return [found[k] for k in orders]

    def gather(self, method: str, shares: Sequence[Any], patience_s: float | None = None) -> list[Any]:
        """Hand one share of work to each worker, and return their lists of results as one."""
        return list(chain.from_iterable(self.ask_all(method, shares, patience_s)))

    def ask_each(self, orders: Mapping[int, Order], patience_s: float | None = None) -> dict[int, Any]:
        """Hand an order to some workers at once.

        Raises
        ------
        UsageError
            The callable ended its process, or did not return within `patience_s`.
        """
        if not self._ends:
            return {k: getattr(self._subject, method)(*given) for k, (method, given) in orders.items()}
        for k, order in orders.items():
            self._ends[k].send(order)
        found: dict[int, Any] = {}
        while len(found) < len(orders):
            waiting = [self._ends[k] for k in orders if k not in found]
            ready = wait(waiting, patience_s)
            if not ready:
                what = f"a call did not return within {patience_s:.0f} s"
                raise UsageError(what, self._name, "give a larger --budget, or fewer bars")
            for end in ready:
                assert isinstance(end, Connection)
                found[self._ends.index(end)] = self._result(end)
        return found

    def _result(self, end: Connection) -> Any:
        try:
            failed, result = end.recv()
        except (EOFError, OSError):
            what = "the callable ended its process"
            raise UsageError(what, self._name, "run it on its own to see why") from None
        if failed:
            raise result
        return result

    def _fork(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # threads of imported libraries are idle here
            process = multiprocessing.get_context("fork").Process(
                target=_serve, args=(self._subject, theirs, [*self._ends, ours]), daemon=False
            )
            process.start()
        theirs.close()
        self._ends.append(ours)
        self._processes.append(process)


def _serve(subject: Any, end: Connection, others: list[Connection]) -> None:
    """Carry out orders until the other end is closed."""
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_quiet()
    while True:
        try:
            method, arguments = end.recv()
        except EOFError:
            return
        try:
            answer = (False, getattr(subject, method)(*arguments))
        except Exception as fault:  # noqa: BLE001 - it is raised again where it was asked for
            answer = (True, fault)
        end.send(answer)


def _be_quiet() -> None:
    """Turn off what the callable prints, its warnings, and threads that would fight over the cores."""
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(1)
