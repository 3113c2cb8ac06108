"""Models in a campaign: their scores are made from its own candles, fold by fold, and the models are kept.

A file of scores might have been made by someone who had seen the exam, so none is read here: what is given is
the model, and every score comes from a fit on what was known before. Models that strategies read are kept in
the workspace by their hash, so that evidence can be made again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pipelines.gates.models import fold_borders, keep_model, kept_model
from pipelines.gates.policy import Policy
from pipelines.gates.world import code_hash
from research_lab.bars import DAY_MS, Bars
from research_lab.dsl.sources import Reads
from research_lab.dsl.spec import Spec
from research_lab.errors import UsageError
from research_lab.market_data.lake import Lake, Zones, divide
from research_lab.models.model import Model
from research_lab.models.model_reader import load_model
from research_lab.models.publication import published
from research_lab.models.walk_forward_fit import fit
from research_lab.series import ModelRule, Series
from research_lab.workspace import Workspace


def model_series(
    workspace: Workspace,
    policy: Policy,
    candles: Bars,
    readers: Sequence[Reads],
    given: Sequence[Path],
    files: Collection[str] = (),
) -> dict[str, Series]:
    """Return the scores that strategies read, by the models' names, made from the candles alone.

    Parameters
    ----------
    given : model files; one that nothing reads is left alone. What is not given may be kept in the workspace.
    files : names for which a file of a series was given.

    Raises
    ------
    UsageError
        A model is missing, is another one than a strategy is pinned to, or a file of scores was given for it.
    InsufficientError
        The candles do not suffice to fit one.
    """
    wanted = _wanted(readers)
    if not wanted:
        return {}
    models = {name: _found(workspace, name, rule, given, reader) for name, (rule, reader) in wanted.items()}
    for name in models:
        if name in files:
            remedy = f"leave it out, and give --model {name}.yaml"
            raise UsageError(
                "in a campaign a model's score is made from the candles", f"--series {name}", remedy
            )
    borders = fold_borders(policy.walk_forward, research_end(workspace.root, candles, policy), candles)
    made = {}
    for name, model in models.items():
        made[name] = published(fit(model, candles, borders=borders), candles, code_hash())
        keep_model(workspace.create().root, model)
    return made


def research_end(root: Path, bars: Bars, policy: Policy) -> int:
    """Return when the research zone ends, ms UTC: where it is sealed, else where the policy will seal it."""
    return zones_of(root, bars, policy).research.end_ms


def zones_of(root: Path, bars: Bars, policy: Policy) -> Zones:
    """Return the zones of some bars; nothing is sealed by asking."""
    try:
        return Lake(root).zones(bars)
    except UsageError:
        return divide(bars, policy.zones.holdout_share, policy.zones.forward_days * DAY_MS)


def _wanted(readers: Sequence[Reads]) -> dict[str, tuple[ModelRule, str]]:
    wanted: dict[str, tuple[ModelRule, str]] = {}
    for reader in readers:
        for name, rule in (reader.models if isinstance(reader, Spec) else {}).items():
            other, first = wanted.setdefault(name, (rule, reader.name))
            if other.hash != rule.hash:
                what = f"{name} is pinned to {rule.hash[:12]}, and in {first} to {other.hash[:12]}"
                raise UsageError(what, reader.name, "call one of the models otherwise, or run them apart")
    return wanted


def _found(workspace: Workspace, name: str, rule: ModelRule, given: Sequence[Path], reader: str) -> Model:
    models = [load_model(path) for path in given]
    for model in models:
        if model.hash == rule.hash:
            return model
    for path, model in zip(given, models, strict=True):
        if model.name == name:
            raise UsageError(
                f"{reader} pins model {name} to {rule.hash[:12]}, and this file's hash is {model.hash[:12]}",
                str(path),
                "give the file that was pinned, or pin the one that is given",
            )
    kept = kept_model(workspace.root, rule.hash)
    if kept is None:
        raise UsageError(f"reads model {name}, and no file was given", reader, f"give --model {name}.yaml")
    return kept
