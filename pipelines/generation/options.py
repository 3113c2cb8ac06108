"""Options of a search, which `pipeline generate` and `pipeline run` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GeneratorOption = Annotated[str, typer.Option("--generator", help="grammar, evolve or llm.")]
BriefOption = Annotated[
    str,
    typer.Option(
        "--brief", help="What is wanted: words, or a YAML file of `pipeline brief new`.", show_default=False
    ),
]
LooksOption = Annotated[int, typer.Option("--n", min=1, max=1_000_000, help="Looks to spend: sets scored.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, max=5_000, help="Proposals a generation.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=256, help="Processes; their number changes no result.")
]
SchedulerOption = Annotated[
    str,
    typer.Option(
        "--scheduler", help="Dask scheduler, tcp://host:port; in place of --workers.", show_default=False
    ),
]
FundingOption = Annotated[list[str] | None, typer.Option("--funding", help="Funding rates of a perpetual.")]
SpotOption = Annotated[list[str] | None, typer.Option("--spot", help="Spot candles, for the premium.")]
IdeasOption = Annotated[
    Path | None,
    typer.Option("--ideas", help="Folder of YAML, or for llm a text file with one idea a line."),
]
ModelConfigOption = Annotated[
    Path | None, typer.Option("--model-config", help="Which language model, and for how much; YAML.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Ask nothing new: answers of an earlier run only.")
]
