"""`make bench`: measure, print, and write reports/bench/ as Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks import streaming, work_a

REPORTS = Path(__file__).parents[1] / "reports" / "bench"


def main() -> int:
    """Run every benchmark and return 0; a difference in results above 1e-9 returns 1."""
    timings, difference = work_a.measure()
    peer = next(t for t in timings if t.name.startswith("vectorbt"))
    lines = [
        "# Benchmarks",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "vectorbt")),
        "",
        f"Work A: {len(work_a.PAIRS)} combinations x {work_a.N_BARS:,} bars; final equities differ by at most "
        f"{difference:.1e} (relative).",
        "",
        "| what | median s | ns per bar and combination | times vectorbt |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {t.name} | {t.seconds:.3f} | {t.nanoseconds:.1f} | {peer.seconds / t.seconds:.1f} |"
        for t in timings
    ]
    found = streaming.measure()
    lines += ["", "| streaming | value |", "| --- | ---: |"]
    lines += [f"| {name} | {value:,.3g} |" for name, value in found.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines += ["", f"Peak memory of this process, vectorbt included: {peak:.0f} MB."]
    text = "\n".join(lines) + "\n"
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "bench.md").write_text(text, encoding="utf-8")
    record = {
        "work_a": [asdict(t) for t in timings],
        "difference": difference,
        "streaming": found,
        "peak_mb": peak,
    }
    (REPORTS / "bench.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(text)
    return 0 if difference <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
