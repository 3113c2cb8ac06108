"""The bars that a command is given, with everything that strategies and regimes read beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.gates.policy import Policy
from pipelines.model_scores import model_series
from research_lab.bars import Bars, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.sources import read_sources, with_sources
from research_lab.dsl.spec import Spec
from research_lab.series import named_files
from research_lab.workspace import Workspace


def read_bars(
    data: Path,
    templates: Sequence[Spec],
    regimes: RegimeSet,
    workspace: Workspace,
    policy: Policy,
    *,
    funding: Path | None = None,
    spot: Path | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
    models: Sequence[Path] | None = None,
) -> Bars:
    """Read candles, funding, and the series and markets that strategies read; make the scores of their models.

    Parameters
    ----------
    workspace, policy : where models are kept, and where the exams of a walk-forward begin.
    series, markets : as --series and --market are written, name=file.
    models : files of models, besides those that the workspace keeps.
    """
    sources = read_sources(named_files(series or [], "--series"), named_files(markets or [], "--market"))
    candles = read_candles(data, funding=funding, spot=spot)
    scores = model_series(workspace, policy, candles, templates, models or (), sources.series)
    sources = replace(sources, series={**sources.series, **scores})
    return with_sources(candles, [*templates, *regimes.readers], sources)
