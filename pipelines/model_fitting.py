"""Fitting a model by hand: its score for all bars as a file, and a counted look at research bars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.anchoring import Anchor, check_openings
from pipelines.gates.policy import Policy
from pipelines.gates.world import code_hash
from pipelines.tracking.tracker import Tracker
from research_lab.bars import DAY_MS, Bars
from research_lab.market_data.lake import Lake, divide
from research_lab.models.model import Model
from research_lab.models.publication import published, write_score
from research_lab.models.walk_forward_fit import Learned, Progress, Scores, fit
from research_lab.scoring.model_look import ModelLook, look
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import utc
from research_lab.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Fitting:
    """What was fitted on all bars, what it told before the seal (`until`), and the looks counted there so far."""

    scores: Scores
    look: ModelLook
    until: str
    n_looks: int


def fit_blind(model: Model, candles: Bars, out: Path, progress: Progress | None = None) -> Scores:
    """Write a model's score for all bars; nothing is told of what it was worth, so nothing is counted."""
    scores = fit(model, candles, progress=progress)
    write_score(published(scores, candles, code_hash()), out)
    return scores


def fit_and_look(
    workspace: Workspace,
    model: Model,
    candles: Bars,
    policy: Policy,
    out: Path,
    progress: Progress | None = None,
) -> Fitting:
    """Seal the market, count a look at the model on research bars, and write its score for all bars.

    The look's scores are made from research bars alone, so that no label of theirs reaches into the holdout. It is
    anchored in MLflow before it is told.

    Raises
    ------
    LedgerError
        Looks or openings that were anchored are gone.
    """
    lake, tracker, ledger = Lake(workspace.root), Tracker(workspace), TrialLedger(workspace.trials)
    ledger.verify(check_openings(lake, tracker.ledgers.anchored_heads()))
    zones = divide(candles, policy.zones.holdout_share, policy.zones.forward_days * DAY_MS)
    until = lake.seal(candles.market.charged_to, zones).research.end_ms
    research, learned = lake.research(candles), Learned()
    seen = look(fit(model, research, learned=learned, progress=progress), research, ledger)
    if seen.new:
        _anchor(tracker, model, ledger, lake)
    scores = fit(model, candles, learned=learned, progress=progress)
    write_score(published(scores, candles, code_hash()), out)
    charged = ledger.trials(candles.market.charged_to, *research.interval)
    n_looks = sum(trial.kind != "refused" for trial in charged)
    return Fitting(scores, seen, utc(until)[:10], n_looks)


def _anchor(tracker: Tracker, model: Model, ledger: TrialLedger, lake: Lake) -> None:
    run = tracker.start_campaign(f"fit-{model.name}", {"model": model.name, "hash": model.hash})
    Anchor(tracker.ledgers, run, ledger, lake).drop()
    tracker.finish(run)
