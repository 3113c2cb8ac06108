"""The commands `pipeline model ...`: check, explain and fit models.

Exit codes: 0 done, 2 a file is wrong, 4 too little data to fit on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command_options import (
    FundingOption,
    PolicyOption,
    SpotOption,
    WorkspaceOption,
    limits_of,
    place_of,
)

if TYPE_CHECKING:
    from research_lab.models.walk_forward_fit import Progress, Scores
    from research_lab.scoring.model_look import ModelLook

app = typer.Typer(
    help="Check, explain and fit models for strategies.\n\n"
    "A strategy reads a model's score with model().\n\n"
    "Example: pipeline model check drift.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

ModelArgument = Annotated[Path, typer.Argument(help="A model file.")]


@app.command()
def check(file: ModelArgument) -> None:
    """Say whether a model file is right, and what a strategy writes to read its score.

    Example: pipeline model check drift.yaml
    """
    from research_lab.models.model_reader import load_model

    model = load_model(file)
    n = len(model.features)
    typer.echo(
        f"{file}: ok, {model.name} {model.hash[:12]}, {n} feature{'s' * (n != 1)}, "
        f"{model.compiled[1]} bars of {model.timeframe} to warm up\nmodels:\n  {model.declaration}"
    )


@app.command()
def explain(file: ModelArgument) -> None:
    """Say what a model is fitted on, when, and what its score is.

    Example: pipeline model explain drift.yaml
    """
    from pipelines.model_text import explanation
    from research_lab.models.model_reader import load_model

    typer.echo(explanation(load_model(file)))


@app.command()
def fit(
    file: ModelArgument,
    data: Annotated[Path, typer.Option("--data", help="Candles, Parquet: exchange_BASE-QUOTE_1h.parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the score, Parquet.")],
    funding: FundingOption = None,
    spot: SpotOption = None,
    workspace: WorkspaceOption = "",
    blind: Annotated[
        bool, typer.Option("--blind", help="Write the score alone: nothing is looked at, nothing counted.")
    ] = False,
    policy: PolicyOption = None,
) -> None:
    """Fit a model walk-forward, write its score as a published series, and show what it told.

    The file covers all bars; a replay reads it. What the score told is shown for research bars only, by year, and
    is a look that the trial ledger counts: the holdout is sealed first, and stays unseen. With --blind nothing is
    shown: for the newest score of a model that is in use.

    Example: pipeline model fit drift.yaml --data binance_BTC-USDT_1h.parquet --out drift.parquet
    """
    from pipelines.inputs import candles_beside
    from pipelines.model_fitting import fit_and_look, fit_blind
    from pipelines.output_files import check_output
    from research_lab.models.model_reader import load_model

    check_output(out, "--out")
    model, limits = load_model(file), limits_of(policy)
    candles = candles_beside(data, funding, spot)
    if blind:
        _show_scores(fit_blind(model, candles, out, _progress()), candles.market.name, out)
        return
    done = fit_and_look(place_of(workspace).create(), model, candles, limits, out, _progress())
    _show_scores(done.scores, candles.market.name, out)
    _show_look(done.look, done.until, done.n_looks, candles.market.charged_to)


def _progress() -> Progress | None:
    """Return what tells on a terminal how many of the fits are done; None in a log."""
    if not sys.stderr.isatty():
        return None

    def told(share: float) -> None:
        end = "\r\033[K" if share >= 1.0 else ""
        sys.stderr.write(f"\r\033[K[{share:4.0%}] fitting{end}")
        sys.stderr.flush()

    return told


def _show_scores(scores: Scores, market: str, out: Path) -> None:
    import numpy as np

    n_fits = sum(refit.gave_model for refit in scores.refits)
    n = int(np.isfinite(scores.score).sum())
    model = scores.model
    typer.echo(
        f"{model.name} {model.hash[:12]} on {market}: {n_fits} fits, {n:,} scores of {model.timeframe}"
    )
    typer.echo(f"{out}: written; a replay reads it with --series {model.name}={out}, a strategy with")
    typer.echo(f"models:\n  {model.declaration}")


def _show_look(look: ModelLook, until: str, n_looks: int, charged_to: str) -> None:
    counted = "a look, counted" if look.new else "a look counted before"
    typer.echo(f"\nbefore {until}, out of sample: {counted}; {n_looks} so far at {charged_to} in this time")
    typer.echo(f"{'year':6}{'rank correlation':>18}{'bars':>10}{'without overlap':>18}")
    for each in look.correlations:
        typer.echo(f"{each.name:6}{each.value:>+18.3f}{each.n:>10,}{each.n_apart:>18,.0f}")
    typer.echo(f"followed without costs: a Sharpe ratio of {look.sharpe:+.2f} a year")
