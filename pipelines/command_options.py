"""Options and endings that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.gates.evidence import Outcome
    from pipelines.gates.policy import Policy
    from research_lab.dsl.regimes import RegimeSet
    from research_lab.workspace import Workspace

REFUSED, INSUFFICIENT = 3, 4

WorkspaceOption = Annotated[
    str,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder that everything is written to.",
        show_default="GAUNTLET_WORKSPACE, else the current folder",
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", help="Limits to judge by.", show_default="the program's policy.yaml"),
]
CandidateArgument = Annotated[
    str, typer.Argument(help="Name, or the first digits of the hash; @MARKET behind it where it has several.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the difference, write nothing.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit log.", show_default=False)]
FundingOption = Annotated[Path | None, typer.Option("--funding", help="Funding rates of a perpetual.")]
SpotOption = Annotated[Path | None, typer.Option("--spot", help="Spot candles, for the premium.")]
FundingsOption = Annotated[
    list[str] | None,
    typer.Option("--funding", help="Funding rates of a perpetual; of a pool BASE/QUOTE=FILE, repeatable."),
]
SpotsOption = Annotated[
    list[str] | None,
    typer.Option("--spot", help="Spot candles, for the premium; of a pool BASE/QUOTE=FILE, repeatable."),
]
SeriesOption = Annotated[
    list[str] | None,
    typer.Option("--series", help="name=file of a series or calendar that strategies read; repeatable."),
]
MarketsOption = Annotated[
    list[str] | None,
    typer.Option("--market", help="BASE/QUOTE=candles of another market that strategies read; repeatable."),
]
ModelsOption = Annotated[
    list[Path] | None,
    typer.Option("--model", help="Model file whose score strategies read; repeatable."),
]


def place_of(option: str) -> Workspace:
    """Return the workspace that is meant."""
    from research_lab.workspace import Workspace

    return Workspace.find(option)


def limits_of(option: Path | None) -> Policy:
    """Return the policy that is meant."""
    from pipelines.gates.policy import DEFAULT, load_policy

    return load_policy(option or DEFAULT)


def regimes_of(place: Workspace) -> RegimeSet:
    """Return the regimes of a workspace."""
    from research_lab.dsl.spec_reader import load_regimes

    return load_regimes(place.regimes, place.macro)


def leave(outcome: Outcome) -> None:
    """End the command with an outcome's exit code."""
    raise typer.Exit({"PASS": 0, "FAIL": REFUSED, "INSUFFICIENT": INSUFFICIENT}[outcome.value])
