"""Candidates, evidence and verdicts for the tests of promotion, and its crash and concurrency drivers."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from live_shadow.enable_map import Stage
from pipelines import candidates, map_file, promotion
from pipelines.candidates import Candidate, Facts
from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict
from research_lab.workspace import Workspace

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
ALL_GATES = promotion.REQUIRED[Stage.CHAMPION]


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def facts(name: str, market: str = "synthetic BTC/USDT") -> Facts:
    return Facts(name=name, market=market, timeframe="1h", snapshot=digest("snapshot"))


def candidate(
    workspace: Workspace, name: str, gates: Sequence[str] = ALL_GATES, market: str = "synthetic BTC/USDT"
) -> Candidate:
    """Return a stored candidate with evidence for the gates."""
    made = candidates.save(workspace, f"name: {name}\n", digest(name), facts(name, market))
    for gate in gates:
        candidates.save_evidence(made, evidence(made, gate))
    return made


def evidence(made: Candidate, gate: str, sharpe: float = 1.5) -> Evidence:
    return Evidence(gate, {"sharpe": sharpe}, {"spec": made.hash})


def verdict(
    made: Candidate, gate: str, outcome: Outcome = Outcome.PASS, reasons: tuple[str, ...] = ()
) -> Verdict:
    figures = {"sharpe": Figure(1.5, 1.0, ">=")}
    return Verdict(gate, outcome, figures, reasons, evidence(made, gate).hash, digest("policy"))


def passed(made: Candidate, gates: Sequence[str] = ALL_GATES) -> list[Verdict]:
    return [verdict(made, gate) for gate in gates]


def promote_often(
    root: Path, name: str, n_times: int, locked: bool, start: threading.Barrier | None = None
) -> None:
    """Promote one candidate again and again, each time with another expiry; see the lock's tests."""
    if start is not None:
        start.wait()
    workspace = Workspace(root)
    made = candidates.load(workspace, digest(name))
    lock: AbstractContextManager[object] = nullcontext()
    if not locked:
        lock = mock.patch.object(map_file, "FileLock", lambda *_, **__: nullcontext())
    with lock:
        for i in range(n_times):
            promotion.promote(
                workspace,
                made,
                Stage.SHADOW,
                passed(made, ["static"]),
                now=NOW,
                action=promotion.add(expires=NOW + timedelta(days=i + 1), why=f"{name} {i}"),
                required=["static"],
            )


def promote_and_die(root: Path, call: str, nth: int) -> None:
    """Promote the candidate "second", and die without any clean-up in the nth call of `os.<call>`."""
    workspace = Workspace(root)
    made = candidates.load(workspace, digest("second"))
    real, seen = getattr(os, call), 0

    def fatal(*arguments: object) -> object:
        nonlocal seen
        seen += 1
        if seen == nth:
            os._exit(9)
        return real(*arguments)

    with mock.patch.object(os, call, fatal):
        promotion.promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)


if __name__ == "__main__":
    promote_and_die(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
