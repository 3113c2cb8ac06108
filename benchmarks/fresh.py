"""What is measured in a process of its own: peak memory, the first compilation, the start with a warm cache.

    python -m benchmarks.fresh memory|backtest|everything BARS.npz

prints one line of JSON. Nothing is imported here that a user of the engine would not import.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import backtest

ROOT = Path(__file__).parents[1]


def measured(what: str, path: Path, environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run one of the works above in a new process; return what it says and its wall seconds."""
    begun = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh", what, str(path)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - begun
    said: dict[str, float] = json.loads(ended.stdout)
    return {**said, "wall_s": wall}


def main(what: str, path: Path) -> dict[str, float]:
    """Do the work; return peak memory in MB and what came out of it."""
    from benchmarks import markets, work_a, work_b

    bars = markets.load(path)
    result = 0.0
    if what in ("backtest", "everything"):
        result = backtest(compile_spec(parse_spec(work_b.TEXT)), bars, work_b.TERMS).metrics["return"]
    if what in ("memory", "everything"):
        timeframe = bars.timeframe
        result = float(work_a.ours(work_a.strategies(timeframe), bars, 2)[0, 0])
    return {"peak_mb": peak_mb(), "result": result}


def peak_mb() -> float:
    """Return the peak resident memory of this process.

    Linux counts into `ru_maxrss` what the process that started this one held, so its own mark comes first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if marks:
            return int(marks[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))) + "\n")
