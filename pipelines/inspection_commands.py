"""Commands that look at candidates again and change no map: verify, compare, recheck, gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command_options import (
    CandidateArgument,
    FundingOption,
    MarketsOption,
    ModelsOption,
    PolicyOption,
    SeriesOption,
    SpotOption,
    WhyOption,
    WorkspaceOption,
    leave,
    limits_of,
    place_of,
    regimes_of,
)

if TYPE_CHECKING:
    from pipelines.recheck import Rechecked


def verify(
    candidate: CandidateArgument, workspace: WorkspaceOption = "", policy: PolicyOption = None
) -> None:
    """Measure a candidate again, and compare the bytes.

    No look is counted and no opening spent. Exit code 3 when a figure differs, 4 when data, code or ledger
    are no longer what they were.

    Example: pipeline verify ema_atr
    """
    from pipelines.candidates import resolve
    from pipelines.verification import verify as measure_again

    place = place_of(workspace)
    found = resolve(place, candidate)
    done = measure_again(place, found, regimes_of(place), limits_of(policy))
    typer.echo(str(found))
    for gate in done.gates:
        word = {True: "same", False: "DIFFERENT", None: "not verified"}[gate.same]
        typer.echo(f"  {gate.gate:13} {word}{': ' + gate.told if gate.told else ''}")
    for told in done.changed:
        typer.echo(f"  {told}")
    leave(done.outcome)


def compare(
    first: CandidateArgument,
    second: CandidateArgument,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw both equities into this PNG.", show_default="none")
    ] = None,
) -> None:
    """Show two candidates side by side, on research bars only.

    Metrics, gates, how alike their daily returns are, and how surely the first is better. Nothing is scored
    that was not scored before, so no look is counted.

    Example: pipeline compare ema_atr breakout_4h
    """
    from pipelines.candidates import resolve
    from pipelines.comparison import as_text, compared, draw
    from pipelines.output_files import check_output

    check_output(picture, "--picture")
    place = place_of(workspace)
    both = compared(
        place, resolve(place, first), resolve(place, second), regimes_of(place), limits_of(policy)
    )
    typer.echo(as_text(both))
    if picture is not None:
        typer.echo(draw(both, picture))


def recheck(
    data: Annotated[Path, typer.Option("--data", help="Candles that go on after those of the promotion.")],
    funding: FundingOption = None,
    spot: SpotOption = None,
    series: SeriesOption = None,
    market: MarketsOption = None,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    retire: Annotated[
        bool, typer.Option("--retire", help="Take those out of the map that should be rolled back.")
    ] = False,
    why: WhyOption = "",
) -> None:
    """Judge the champions of a market again, on newer bars.

    Keep, watch or roll back, each with its reasons. The map is changed with --retire only. Exit code 3 when
    one should be rolled back, 4 when one should be watched.

    Example: pipeline recheck --data binance_BTC-USDT_1h.parquet
    """
    from pipelines.gates.evidence import Outcome
    from pipelines.inputs import read_bars
    from pipelines.lifecycle import take_out
    from pipelines.recheck import champions_on, market_in, recheck_all

    place = place_of(workspace)
    regimes, champions = regimes_of(place), champions_on(place, market_in(data))
    limits = limits_of(policy)
    bars = read_bars(
        data, [champion.spec for champion in champions], regimes, place, limits,
        funding=funding, spot=spot, series=series, markets=market,
    )  # fmt: skip
    done = recheck_all(place, champions, bars, regimes, limits)
    for found in done:
        _show_rechecked(found)
        if retire and found.advice is Outcome.FAIL:
            reason = why or f"recheck: {found.reasons[0]}"
            change = take_out(place, found.candidate, why=reason).promotion
            told = f"retired: enable_map.yaml is now version {change.new_map.version}"
            typer.echo(f"  {told if change.written else '; '.join(('not retired', *change.reasons))}")
    advice = [found.advice for found in done]
    leave(next((o for o in (Outcome.FAIL, Outcome.INSUFFICIENT) if o in advice), Outcome.PASS))


def gate(
    strategy: Annotated[str, typer.Argument(help="A strategy file, or a candidate.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Candles, Parquet.", show_default="a candidate's own")
    ] = None,
    funding: FundingOption = None,
    spot: SpotOption = None,
    series: SeriesOption = None,
    market: MarketsOption = None,
    model: ModelsOption = None,
    workspace: WorkspaceOption = "",
    policy: PolicyOption = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML, one case a gate.", show_default="none")
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", help="Append Markdown, for $GITHUB_STEP_SUMMARY.", show_default="none"),
    ] = None,
) -> None:
    """Run the gates for one strategy, for continuous integration.

    It is a campaign of one: its looks are counted, and the holdout is opened when gates 1 to 6 pass.

    Example: pipeline gate my_trend.yaml --data binance_BTC-USDT_1h.parquet --junit gates.xml
    """
    from pipelines.gate_run import run_gates, write_junit, write_summary
    from pipelines.output_files import check_output

    check_output(junit, "--junit")
    check_output(summary, "--summary", appended=True)
    place, limits = place_of(workspace), limits_of(policy)
    done = run_gates(
        place, strategy, data, limits,
        funding=funding, spot=spot, series=series, markets=market, models=model,
    )  # fmt: skip
    if junit is not None:
        write_junit(done, limits, junit)
    if summary is not None:
        write_summary(done, limits, summary)
    leave(done.outcome)


def _show_rechecked(found: Rechecked) -> None:
    typer.echo(f"{found.candidate}: {found.word}")
    for name, value in found.evidence.figures.items():
        typer.echo(f"  {name:24} {value:.4g}")
    for reason in found.reasons:
        typer.echo(f"  {reason}")
