"""The report of a run: Markdown to read, JSON to compare, a picture to look at."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.results import TOLERANCE, Figure, Result

PACKAGES = ("strategy-gauntlet", "numpy", "numba", "llvmlite", "pandas", "vectorbt")
_OURS, _PEER, _MUST, _AIM = "#1b7837", "#8c8c8c", "#d95f02", "#7570b3"


def circumstances() -> dict[str, str]:
    """Return what the numbers depend on besides the code: machine, its load, versions, commit."""
    found = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    if hasattr(os, "getloadavg"):
        found["load at the end"] = f"{os.getloadavg()[1]:.1f} (five minutes' average)"
    root = Path(__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return found
    if asked.returncode == 0:
        found["commit"] = asked.stdout.strip()
    return found


def write(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write bench.md, bench.json and bench.png into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    around = circumstances()
    paths = [folder / f"bench.{ending}" for ending in ("md", "json", "png")]
    paths[0].write_text(markdown(results, around), encoding="utf-8")
    record = {"circumstances": around, "results": [_record(result) for result in results]}
    paths[1].write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    picture(results, paths[2])
    return paths


def _record(result: Result) -> dict[str, Any]:
    figures = [{**asdict(figure), "verdict": figure.verdict} for figure in result.figures]
    return {**asdict(result), "figures": figures, "equal": result.equal}


def markdown(results: Sequence[Result], around: dict[str, str]) -> str:
    """Return the report as Markdown."""
    lines = ["# Benchmarks", "", ", ".join(f"{name} {value}" for name, value in around.items()) + ".", ""]
    lines += ["Ratios of medians; repetitions of ours and theirs take turns. Results must agree to "
              f"{TOLERANCE:.0e} (relative).", ""]  # fmt: skip
    judged = [(figure, figure.verdict) for result in results for figure in result.figures if figure.verdict]
    lines += ["| target | measured | must | aim | verdict |", "| --- | ---: | ---: | ---: | --- |"]
    lines += [
        f"| {f.name} | {_measured(f)} | {_target(f, f.must)} | {_target(f, f.aim)} | {v} |" for f, v in judged
    ]
    for result in results:
        lines += ["", f"## {result.title}", ""]
        others = [figure for figure in result.figures if not figure.verdict]
        if result.timings:
            lines += ["| way | median s |", "| --- | ---: |"]
            lines += [f"| {t.name} | {t.seconds:.4f} |" for t in result.timings] + [""]
        if others:
            lines += ["| measured besides | value |", "| --- | ---: |"]
            lines += [f"| {figure.name} | {_measured(figure)} |" for figure in others] + [""]
        if result.table:
            head, *rows = result.table
            lines += [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
            lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
        for name, apart in result.differences.items():
            verdict = "equal" if apart <= TOLERANCE else "DIFFERENT"
            lines.append(f"- {name}: {verdict}, at most {apart:.1e} apart")
        lines += [f"- {note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _measured(figure: Figure) -> str:
    return f"{figure.value:,.4g} {figure.unit}"


def _target(figure: Figure, target: float | None) -> str:
    return "" if target is None else f"{'≥' if figure.more else '≤'} {target:g}"


def picture(results: Sequence[Result], path: Path) -> None:
    """Draw times beside peers as bars on a logarithmic scale, with the times that the targets ask of us."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn = [result for result in results if result.timings]
    heights = [max(len(result.timings), 2) + 1.5 for result in drawn] or [1.0]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(10, 0.36 * sum(heights) + 0.4), height_ratios=heights, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, result in zip(axes[:, 0], drawn, strict=False):
        _bars(axis, result)
    if not drawn:
        axes[0, 0].set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Any, result: Result) -> None:
    names = [timing.name for timing in result.timings]
    seconds = [timing.seconds for timing in result.timings]
    colours = [_OURS if timing.ours else _PEER for timing in result.timings]
    places = list(range(len(names)))
    axis.barh(places, seconds, color=colours, height=0.7)
    axis.set_xscale("log")
    allowed_times = targets(result)
    axis.set_xlim(min([*seconds, *(allowed for _, _, allowed in allowed_times)]) / 3, max(seconds) * 6)
    axis.set_yticks(places, names, fontsize=8)
    axis.invert_yaxis()
    for place, taken in zip(places, seconds, strict=True):
        axis.text(taken * 1.05, place, f"{taken:.3g} s", va="center", fontsize=7)
    marked = set()
    for way, kind, allowed in allowed_times:
        colour = _MUST if kind == "must" else _AIM
        axis.plot(
            [allowed, allowed],
            [way - 0.45, way + 0.45],
            color=colour,
            lw=2,
            label=None if kind in marked else kind,
        )
        marked.add(kind)
    if marked:
        axis.legend(
            loc="lower right",
            fontsize=7,
            title=f"time allowed beside\n{_reference(result)}",
            title_fontsize=7,
        )
    axis.set_title(result.title, fontsize=9, loc="left")
    axis.set_xlabel("seconds, logarithmic", fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def targets(result: Result) -> list[tuple[int, str, float]]:
    """Return the times that targets allow us: row of the bar, "must" or "aim", seconds.

    A figure that says which times it is the ratio of has its target turned into seconds of ours; of several
    peers, the first counts.
    """
    rows = {timing.name: k for k, timing in enumerate(result.timings)}
    found = []
    for figure in result.figures:
        if not figure.of or figure.of[1] != _reference(result):
            continue
        theirs = result.timings[rows[figure.of[1]]].seconds
        for kind, target in (("must", figure.must), ("aim", figure.aim)):
            if target is not None:
                allowed = theirs / target if figure.more else theirs * target
                found.append((rows[figure.of[0]], kind, allowed))
    return found


def _reference(result: Result) -> str:
    """Return the timing beside which a result's targets are drawn."""
    return next((figure.of[1] for figure in result.figures if figure.of), "")
