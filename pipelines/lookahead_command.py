"""The command `pipeline lookahead`: a strategy file, or any Python function, examined for a look at the future."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.output_files import check_output
from research_lab.durable import atomic_write
from research_lab.errors import UsageError

if TYPE_CHECKING:
    from research_lab.validation.causality.given import Given
    from research_lab.validation.causality.report import CausalityReport

REFUSED, INSUFFICIENT = 3, 4


def lookahead(
    target: Annotated[
        str,
        typer.Argument(help="A strategy file or name of the library, module:function, or file.py:function."),
    ],
    data: Annotated[Path, typer.Option("--data", help="Candles, Parquet or (for functions) CSV.")],
    series: Annotated[
        list[str] | None, typer.Option("--series", help="name=file of a series that it reads; repeatable.")
    ] = None,
    lag: Annotated[
        list[str] | None,
        typer.Option("--lag", help="name=1h: a function's series is known so much later; repeatable."),
    ] = None,
    market: Annotated[
        list[str] | None,
        typer.Option("--market", help="BASE/QUOTE=candles that a strategy file reads; repeatable."),
    ] = None,
    funding: Annotated[
        Path | None, typer.Option("--funding", help="Funding rates, for strategy files.")
    ] = None,
    spot: Annotated[Path | None, typer.Option("--spot", help="Spot candles, for the premium.")] = None,
    acts: Annotated[
        str | None,
        typer.Option(
            "--acts",
            help="When a function's value is acted on: after its bar's close, or at its open. [default: close]",
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Seconds for a function, about. [default: 60]")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="Share of a function's value that may differ, at most 1e-4. [default: 0, every bit counts]",
        ),
    ] = None,
    warmup: Annotated[
        int | None, typer.Option("--warmup", min=1, help="Bars that a function is said to need.")
    ] = None,
    constant: Annotated[
        list[str] | None,
        typer.Option("--constant", help="A column of a function's that may never change; repeatable."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of a strategy file's cuts and noise. [default: 1]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the report here as well.")] = None,
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Where regimes.yaml and macro.yaml are looked for.")
    ] = "",
) -> None:
    """Say whether a strategy, or any function, looks ahead.

    A function takes a frame (open, high, low, close, volume; times in UTC), or a frame and a dictionary of
    series, and returns signals, indicators, sizes or stops on the frame's index. Exit codes: 0 the past did
    not move, 3 it did or the warm-up told is too short, 4 too little to look at, which is said.

    Example: pipeline lookahead my_signals.py:signals --data BTC_1h.csv
    """
    of_functions = {
        "--lag": lag, "--acts": acts, "--budget": budget, "--tolerance": tolerance, "--warmup": warmup,
        "--constant": constant,
    }  # fmt: skip
    of_files = {
        "--market": market, "--funding": funding, "--spot": spot, "--seed": seed,
        "--workspace": workspace or None,
    }  # fmt: skip
    check_output(out, "--json")
    if target.endswith((".yaml", ".yml")) or ":" not in target:
        _refuse(of_functions, "functions")
        outcome, lines, told = _examine_strategy(
            Path(target),
            data,
            series or [],
            market or [],
            funding,
            spot,
            workspace,
            1 if seed is None else seed,
        )
    else:
        _refuse(of_files, "strategy files")
        budget_s, tolerance = 60.0 if budget is None else budget, tolerance or 0.0
        _refuse_numbers(tolerance, budget_s, warmup)
        given = _given(data, series or [], lag or [], "close" if acts is None else acts)
        outcome, lines, told = _examine_function(target, given, budget_s, tolerance, warmup, constant or [])
    for line in lines:
        typer.echo(line)
    if out is not None:
        atomic_write(out, json.dumps({"target": target, **told}, indent=1, allow_nan=False) + "\n")
    raise typer.Exit({"PASS": 0, "FAIL": REFUSED, "INSUFFICIENT": INSUFFICIENT}[outcome])


def _refuse(options: Mapping[str, object], of_what: str) -> None:
    for option, given in options.items():
        if given is not None and given != []:
            raise UsageError(f"this is for {of_what}", option, "leave it out")


def _refuse_numbers(tolerance: float, budget_s: float, warmup: int | None) -> None:
    from research_lab.validation.causality.check import refuse_options

    refuse_options(tolerance, budget_s, warmup)


def _given(data: Path, series: list[str], lag: list[str], acts: str) -> Given:
    from dataclasses import replace

    from research_lab.series import named_files
    from research_lab.timeframe import timeframe_ms
    from research_lab.validation.causality.files import read_auxiliary, read_frame

    if acts not in ("close", "open"):
        raise UsageError(f"{acts[:20]!r} is neither close nor open", "--acts")
    files = named_files(series, "--series")
    lags = {name: timeframe_ms(str(text)) for name, text in named_files(lag, "--lag").items()}
    for name in lags:
        if name not in files:
            raise UsageError(f"there is no series {name}", "--lag", f"give --series {name}=FILE")
    held = {name: read_auxiliary(path, lags.get(name, 0)) for name, path in files.items()}
    return replace(read_frame(data, at_open=acts == "open"), series=held)


def _examine_function(
    text: str, given: Given, budget_s: float, tolerance: float, warmup: int | None, constant: list[str]
) -> tuple[str, list[str], dict[str, Any]]:
    from research_lab.validation.causality.check import check_callable
    from research_lab.validation.causality.target import load_target

    target = load_target(text, series=bool(given.series))
    report = check_callable(
        target, given, tolerance=tolerance, budget_s=budget_s, warmup_bars=warmup, constant=constant
    )
    outcome = report.outcome
    if outcome == "PASS" and report.warmup is not None and not report.warmup.passed:
        outcome = "FAIL" if report.warmup.n_starts else "INSUFFICIENT"
    return outcome, _lines(text, report, outcome), {**asdict(report), "outcome": outcome}


def _lines(text: str, report: CausalityReport, outcome: str) -> list[str]:
    lines = [f"{text}: {outcome}"]
    found = report.counter_example
    if found is not None:
        lines += [
            f"  {found.column} at bar {found.bar} ({found.time}) was {found.before} and became {found.after}",
            f"  {found.done}",
            *([f"  {found.change}"] if found.change else []),
            f"  likely cause: {found.cause}",
        ]
    share = 100.0 * report.n_cuts / max(1, report.n_possible)
    lines.append(
        f"  {report.n_bars:,} bars; cut after {report.n_cuts:,} of {report.n_possible:,} ({share:.3g} %), "
        f"{report.n_poisoned:,} runs with other futures, {report.n_faults:,} of all moved the past"
    )
    if outcome == "PASS" and report.n_cuts < report.n_possible:
        chances = ", ".join(
            f"at {k:,} {'bar' if k == 1 else 'bars'} {p:.1%}" for k, p in report.missed.items()
        )
        lines.append(f"  not every bar fitted into the budget; chance to miss a leak that shows {chances}")
    lines += [f"  not a pass: {reason}" for reason in report.lacking]
    if outcome == "FAIL" and report.silent:
        lines.append(f"  never changes, so nothing is known of it: {', '.join(report.silent)}")
    if report.warmup is not None:
        lines.append(f"  {report.warmup.sentence}")
    return [*lines, *(f"  note: {note}" for note in report.notes)]


def _examine_strategy(
    target: Path,
    data: Path,
    series: list[str],
    market: list[str],
    funding: Path | None,
    spot: Path | None,
    workspace: str,
    seed: int,
) -> tuple[str, list[str], dict[str, Any]]:
    from pipelines.inputs import candles_beside
    from pipelines.strategy_files import strategy_in
    from research_lab.dsl.sources import read_sources, with_sources
    from research_lab.dsl.spec_reader import load_regimes
    from research_lab.engine.terms import Terms
    from research_lab.series import named_files
    from research_lab.validation.lookahead import check_lookahead
    from research_lab.validation.warmup import check_warmup
    from research_lab.workspace import Workspace

    spec, place = strategy_in(target), Workspace.find(workspace)
    regimes = load_regimes(place.regimes, place.macro)
    sources = read_sources(named_files(series, "--series"), named_files(market, "--market"))
    bars = with_sources(
        candles_beside(data, funding, spot),
        [spec, *(regimes.readers if spec.regimes else [])],
        sources,
    )
    perpetual = bars.market.perpetual or spec.side != "long"
    terms = Terms(perpetual=perpetual)
    ahead = check_lookahead(spec, bars, terms, regimes, seed=seed)
    warm = check_warmup(spec, bars, terms, regimes, seed=seed)
    outcome = ahead.outcome
    if outcome == "PASS" and not warm.passed:
        outcome = "INSUFFICIENT" if warm.insufficient else "FAIL"
    lines = [f"{spec.name}: {outcome}", f"  {ahead.sentence}", f"  warm-up: {warm.sentence}"]
    return outcome, lines, {"outcome": outcome, "lookahead": asdict(ahead), "warmup": asdict(warm)}
