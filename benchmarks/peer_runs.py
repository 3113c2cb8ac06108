"""Work A in peers that are no part of our environment: each in a virtual environment made for it, pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markets, work_a
from benchmarks.results import Figure, Result, Timing, difference, in_turns
from research_lab.bars import Bars
from research_lab.engine.jit import FloatArray

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Peer:
    """A peer: its name, the packages pinned for it, its script, its threads, and what must be said of it."""

    name: str
    requirements: tuple[str, ...]
    script: str
    threads: tuple[int, ...] = (1,)
    note: str = ""


PEERS = (
    Peer("raptorbt", ("raptorbt==0.13.4", "numpy==2.4.6"), "raptorbt_a.py", (1, 2)),
    Peer(
        "vectorbt-rust",
        ("vectorbt==1.2.0", "vectorbt-rust==1.2.0"),
        "vectorbt_rust_a.py",
        note="vectorbt-rust is timed for the final equity alone, like vectorbt.",
    ),
    Peer(
        "backtesting",
        ("backtesting==0.6.6",),
        "backtesting_a.py",
        note="backtesting.py runs four of the pairs, its time is scaled per combination; it trades whole units only, "
        "and its Sharpe ratio is one of daily returns and not compared. Its commission and spread are set such "
        "that a fill costs what our fee and slippage cost.",
    ),
)


class PeerUnavailableError(Exception):
    """A peer's environment could not be made, or its script failed; the message is the last it said."""


def measure(n_bars: int, repeats: int) -> Result:
    """Compare work A with each peer; one that cannot be installed is said to be unavailable, and why."""
    bars, specs = markets.made(n_bars), work_a.strategies()
    ours = work_a.ours(specs, bars, 1)
    seconds = in_turns({f"ours, {n} thread{'s' * (n > 1)}": lambda n=n: work_a.ours(specs, bars, n) for n in (1, 2)},  # type: ignore[misc]
                       repeats)  # fmt: skip
    figures, differences, notes = [], {}, []
    timings = [Timing(name, taken, True) for name, taken in seconds.items()]
    for peer in PEERS:
        try:
            python = environment(peer)
            for n in peer.threads:
                threads = f"{n} thread{'s' * (n > 1)}"
                found = run(peer, python, bars, repeats, n)
                same = _compared(ours, found)
                differences[f"{peer.name}, {threads}"] = same
                label = f"{peer.name} {found['version']}, {threads}"
                timings.append(Timing(label, found["seconds"]))
                ratio = found["seconds"] / seconds[f"ours, {threads}"]
                figures.append(Figure(f"A, {threads}, times {peer.name} {found['version']}", ratio, "x"))
            if peer.note:
                notes.append(peer.note)
        except PeerUnavailableError as reason:
            notes.append(f"{peer.name} is not available: {reason}")
    title = f"Work A beside peers in environments of their own, {n_bars:,} bars of 15 minutes"
    return Result("peers", title, tuple(figures), tuple(timings), differences, tuple(notes))


def environment(peer: Peer) -> Path:
    """Return the Python of the peer's environment, made when it is not there with just these pins."""
    folder = PLACE / peer.name
    python, made = folder / "bin" / "python", folder / "made-from.txt"
    wanted = "\n".join(peer.requirements) + "\n"
    if made.exists() and made.read_text(encoding="utf-8") == wanted:
        return python
    _call([sys.executable, "-m", "venv", "--clear", str(folder)])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _call([str(python), *install, *peer.requirements])
    made.write_text(wanted, encoding="utf-8")
    return python


def run(peer: Peer, python: Path, bars: Bars, repeats: int, n_threads: int) -> dict[str, Any]:
    """Run the peer's script on the bars; return its version, median seconds and results by pair."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "bars.npz", Path(folder) / "result.json"
        given: dict[str, Any] = {
            name: getattr(bars, name)
            for name in ("open", "high", "low", "close", "volume", "time", "step_ms")
        }
        given |= {"fee": work_a.TERMS.fee, "slippage": work_a.TERMS.slippage}
        np.savez(source, pairs=np.array(work_a.PAIRS), repeats=repeats, **given)
        script = ROOT / "benchmarks" / "peers" / peer.script
        _call(
            [str(python), "-I", str(script), str(source), str(target)], {"RAYON_NUM_THREADS": str(n_threads)}
        )
        said: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return said


def _compared(ours: FloatArray, found: dict[str, Any]) -> float:
    """Return the largest difference on the pairs and metrics that the peer gives."""
    theirs = np.array(found["results"], np.float64)
    chosen = [work_a.PAIRS.index((fast, slow)) for fast, slow in found.get("pairs", work_a.PAIRS)]
    given = ~np.isnan(theirs)
    return difference(ours[chosen][given], theirs[given])


def _call(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    ended = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip() or "no message").splitlines()[-1]
        raise PeerUnavailableError(last)
