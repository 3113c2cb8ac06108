"""Works A and B: ours beside vectorbt and beside kernels written by hand, in turns, equal results first."""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks import fresh, fused_a, markets, work_a, work_b
from benchmarks.results import Figure, Result, Timing, difference, in_turns
from research_lab.engine.jit import FloatArray

FINAL = "vectorbt, final equity only"
WHOLE = "vectorbt, all three metrics"
_TWICE = (
    "Targets are judged twice: beside vectorbt's final equity, Sharpe ratio and drawdown, which is what ours gives "
    "too, and beside its final equity alone, which asks less of it."
)


def work_a_15m(n_bars: int, repeats: int) -> Result:
    """Compare work A on bars of 15 minutes with vectorbt's from_signals and with the fused kernels."""
    bars, specs = markets.made(n_bars), work_a.strategies()
    ours = work_a.ours(specs, bars, 1)
    differences = {
        "2 threads and 1": difference(work_a.ours(specs, bars, 2), ours),
        "vectorbt": difference(ours, work_a.vectorbt_signals(bars)),
        "fused kernel, readable": difference(ours, fused_a.readable(bars, work_a.PAIRS, work_a.TERMS)),
        "fused kernel, tuned": difference(ours, fused_a.tuned(bars, work_a.PAIRS, work_a.TERMS, 2)),
    }
    seconds = in_turns(
        {
            "ours, 1 thread": lambda: work_a.ours(specs, bars, 1),
            "ours, 2 threads": lambda: work_a.ours(specs, bars, 2),
            "fused kernel readable, 1 thread": lambda: fused_a.readable(bars, work_a.PAIRS, work_a.TERMS, 1),
            "fused kernel readable, 2 threads": lambda: fused_a.readable(bars, work_a.PAIRS, work_a.TERMS, 2),
            "fused kernel tuned, 1 thread": lambda: fused_a.tuned(bars, work_a.PAIRS, work_a.TERMS, 1),
            "fused kernel tuned, 2 threads": lambda: fused_a.tuned(bars, work_a.PAIRS, work_a.TERMS, 2),
            FINAL: lambda: work_a.vectorbt_signals(bars, whole=False),
            WHOLE: lambda: work_a.vectorbt_signals(bars),
        },
        repeats,
    )
    figures = [
        _faster(seconds, "A", n, peer, must, aim)
        for n, must, aim in ((1, 30.0, 75.0), (2, 60.0, 135.0))
        for peer in (WHOLE, FINAL)
    ]
    figures += [
        _over_fused(seconds, "A", n, f" {kind}")
        for n in (1, 2)
        for kind in ("readable", "tuned")
    ]  # fmt: skip
    return Result(
        "work_a",
        f"Work A, {len(work_a.PAIRS)} combinations x {n_bars:,} bars of 15 minutes",
        tuple(figures),
        _timings(seconds),
        differences,
        (_TWICE, _rust()),
    )


def work_a_minutes(n_bars: int, n_peer: int, repeats: int) -> Result:
    """Compare work A on bars of one minute; vectorbt does `n_peer` of the pairs, scaled by their share."""
    bars, specs = markets.made(n_bars, "1m"), work_a.strategies("1m")
    every = len(work_a.PAIRS) // n_peer
    pairs = work_a.PAIRS[::every][:n_peer]
    share = len(work_a.PAIRS) / len(pairs)
    ours = work_a.ours(specs, bars, 2)

    def vectorbt(whole: bool) -> FloatArray:
        return work_a.vectorbt_signals(bars, pairs, "1m", whole=whole)

    differences = {
        "vectorbt, its pairs": difference(ours[::every][:n_peer], vectorbt(True)),
        "fused kernel, tuned": difference(ours, fused_a.tuned(bars, work_a.PAIRS, work_a.TERMS, 2)),
    }
    seconds = in_turns(
        {
            "ours, 2 threads": lambda: work_a.ours(specs, bars, 2),
            "fused kernel tuned, 2 threads": lambda: fused_a.tuned(bars, work_a.PAIRS, work_a.TERMS, 2),
            FINAL: lambda: vectorbt(False),
            WHOLE: lambda: vectorbt(True),
        },
        repeats,
    )
    for peer in (FINAL, WHOLE):
        seconds[peer] *= share
    return Result(
        "minutes",
        f"Work A, {len(work_a.PAIRS)} combinations x {n_bars:,} bars of 1 minute",
        (
            _faster(seconds, "A on minutes", 2, WHOLE, 60.0, 150.0),
            _faster(seconds, "A on minutes", 2, FINAL, 60.0, 150.0),
            _over_fused(seconds, "A on minutes", 2, " tuned"),
        ),
        _timings(seconds),
        differences,
        (f"vectorbt runs {len(pairs)} pairs, {work_a.chunk(n_bars)} at a time, which bounds its memory; its times are "
         f"scaled by {share:.4g} to all combinations.", _TWICE),
    )  # fmt: skip


def work_b_15m(n_bars: int, repeats: int) -> Result:
    """Compare work B with vectorbt's flexible order function and with the fused kernel."""
    from benchmarks import fused_b, vectorbt_b

    combinations, bars = work_b.COMBINATIONS, markets.made(n_bars, seed=2)
    specs, first_bars = work_b.strategies(combinations), work_b.earliest(combinations)

    def given() -> work_b.Prepared:
        return work_b.prepare(bars, combinations, first_bars)

    ours = work_b.ours(specs, bars, 1)
    differences = {
        "2 threads and 1": difference(work_b.ours(specs, bars, 2), ours),
        "vectorbt, flexible order function": difference(
            ours, vectorbt_b.flexible(bars, given(), work_b.TERMS)
        ),
        "fused kernel": difference(ours, fused_b.fused(bars, given(), work_b.TERMS)),
    }
    seconds = in_turns(
        {
            "ours, 1 thread": lambda: work_b.ours(specs, bars, 1),
            "ours, 2 threads": lambda: work_b.ours(specs, bars, 2),
            "fused kernel, 1 thread": lambda: fused_b.fused(bars, given(), work_b.TERMS, 1),
            "fused kernel, 2 threads": lambda: fused_b.fused(bars, given(), work_b.TERMS, 2),
            FINAL: lambda: vectorbt_b.flexible(bars, given(), work_b.TERMS, whole=False),
            WHOLE: lambda: vectorbt_b.flexible(bars, given(), work_b.TERMS),
        },
        repeats,
    )
    return Result(
        "work_b",
        f"Work B, {len(combinations)} combinations x {n_bars:,} bars of 15 minutes, rich exits",
        (
            _faster(seconds, "B", 1, WHOLE, 50.0, 150.0),
            _faster(seconds, "B", 1, FINAL, 50.0, 150.0),
            _over_fused(seconds, "B", 1),
        ),
        _timings(seconds),
        differences,
        ("Indicators of vectorbt and of the fused kernel are made with pandas, each once; that is in their times.",
         "vectorbt's part is its flexible order function.", _TWICE),
    )  # fmt: skip


def memory(n_bars: int) -> Result:
    """Return the peak memory of work A on minutes, ours only, in a process that reads the bars from a file."""
    with tempfile.TemporaryDirectory() as folder:
        bars = markets.made(n_bars, "1m")
        path = markets.save(bars, Path(folder) / "bars.npz")
        fresh.measured("memory", path)  # compiled before, so that the compiler's memory does not count
        found = fresh.measured("memory", path)
        same = difference(
            np.array([found["result"]]), work_a.ours(work_a.strategies("1m")[:1], bars, 1)[:, 0]
        )
    return Result(
        "memory",
        f"Peak memory of work A on {n_bars:,} bars of 1 minute, 2 threads, a process of its own",
        (Figure("peak memory", found["peak_mb"], "MB", 600.0, 400.0, more=False),),
        differences={"the process and this one": same},
        notes=("Bars themselves, read from a file, are in it; kernels come from the cache.",),
    )


def start(n_bars: int) -> Result:
    """Return the wall time of a first backtest and sweep with an empty cache, and of a backtest with a full one."""
    with tempfile.TemporaryDirectory() as folder:
        path = markets.save(markets.made(n_bars, seed=2), Path(folder) / "bars.npz")
        cache = {"NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        cold = fresh.measured("everything", path, cache)
        warm = sorted(fresh.measured("backtest", path, cache)["wall_s"] for _ in range(5))[2]
        swept = sorted(fresh.measured("everything", path, cache)["wall_s"] for _ in range(3))[1]
    return Result(
        "start",
        f"From a new process to the result of {n_bars:,} bars, wall time",
        (
            Figure(
                "cold: first backtest and sweep, empty cache", cold["wall_s"], "s", 60.0, 25.0, more=False
            ),
            Figure("warm: first backtest, full cache", warm, "s", 2.0, 1.0, more=False),
            Figure("warm: first backtest and sweep of work A, full cache", swept, "s", more=False),
        ),
        notes=("The interpreter's own start and all imports are in it.",),
    )


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _faster(seconds: dict[str, float], work: str, n: int, peer: str, must: float, aim: float) -> Figure:
    """Return how many times faster ours is than a peer, judged."""
    ours = f"ours, {_threads(n)}"
    name = f"{work}, {_threads(n)}, times {peer}"
    return Figure(name, seconds[peer] / seconds[ours], "x", must, aim, of=(ours, peer))


def _over_fused(seconds: dict[str, float], work: str, n: int, kind: str = "") -> Figure:
    """Return the time that ours takes over a kernel written by hand, judged."""
    name = f"{work}, {_threads(n)}, time over the fused kernel{',' * bool(kind)}{kind}"
    taken = seconds[f"ours, {_threads(n)}"] / seconds[f"fused kernel{kind}, {_threads(n)}"]
    return Figure(name, taken, "x", 3.0, 1.5, more=False)


def _timings(seconds: dict[str, float]) -> tuple[Timing, ...]:
    return tuple(Timing(name, taken, name.startswith("ours")) for name, taken in seconds.items())


def _rust() -> str:
    try:
        return f"vectorbt dispatches to vectorbt-rust {version('vectorbt-rust')} where that serves a call."
    except PackageNotFoundError:
        return (
            "vectorbt's Rust engine is not available here: vectorbt-rust is a package of its own and no part of "
            "this environment; `make bench PEERS=1` measures it in one."
        )
