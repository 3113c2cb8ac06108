"""`make bench`: measure, print each figure as it is found, and write reports/bench/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    comparisons,
    costs,
    generators,
    lookahead,
    many_strategies,
    markets,
    peer_runs,
    report,
    selection,
    streaming,
)
from benchmarks.results import TOLERANCE, Result

REPORTS = Path(__file__).parents[1] / "reports" / "bench"


def works(quick: bool) -> dict[str, Callable[[], Result]]:
    """Return the benchmarks by name, at their sizes or at sizes that only try them."""
    repeats = 2 if quick else 7
    n, minutes = (4_000, 20_000) if quick else (35_040, 525_600)
    return {
        "work_a": lambda: comparisons.work_a_15m(n, repeats),
        "minutes": lambda: comparisons.work_a_minutes(minutes, 16, 1 if quick else 3),
        "work_b": lambda: comparisons.work_b_15m(n, repeats),
        "memory": lambda: comparisons.memory(minutes),
        "streaming": lambda: streaming.measure(
            markets.made(n // 4, seed=2), markets.made(n * 10, seed=2), repeats
        ),
        "start": lambda: comparisons.start(n),
        "strategies": lambda: many_strategies.measure(200 if quick else 10_000, 1_000 if quick else 8_760),
        "generators": lambda: generators.measure(*((200, 300) if quick else (10_000, 5_000))),
        "costs": lambda: costs.measure(n, repeats),
        "selection": lambda: selection.measure(*((100, 400, 1) if quick else (1_000, 1_460, repeats))),
        "lookahead": lambda: lookahead.measure(600 if quick else 2_500, 1_000 if quick else 10_000),
        "peers": lambda: peer_runs.measure(n, repeats),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks and return 0; results that differ return 1, a missed target does not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--only", nargs="+", choices=sorted(works(True)), help="these benchmarks only")
    parser.add_argument("--peers", action="store_true", help="peers in environments of their own, installed")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    chosen = parser.parse_args(arguments)
    found = []
    for name, work in works(chosen.quick).items():
        if name not in chosen.only if chosen.only else (name == "peers" and not chosen.peers):
            continue
        found.append(work())
        _tell(found[-1])
        report.write(found, chosen.out)  # after each, so that a run cut short leaves what it found
    print(f"written: {chosen.out}")
    return 0 if all(result.equal for result in found) else 1


def _tell(result: Result) -> None:
    print(result.title, flush=True)
    for figure in result.figures:
        print(f"  {figure.line}")
    for name, apart in result.differences.items():
        if apart > TOLERANCE:
            print(f"  DIFFERENT: {name}, {apart:.1e}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
