"""Proposals that are no strategies, recorded as refused although nothing was run beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from live_shadow.symbols import read_symbols
from pipelines.gates.policy import Policy
from pipelines.proposals import read_all
from research_lab.bars import DAY_MS, Bars, read_candles
from research_lab.errors import GauntletError
from research_lab.market_data.lake import Lake, divide
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace


def record_refused(workspace: Workspace, folder: Path, data: Sequence[Path], policy: Policy) -> None:
    """Record what is no strategy in a folder, or one file, for each market whose candles can be read.

    No market is sealed by it: until one is, the time that is charged is what its research would be.
    """
    ledger = TrialLedger(workspace.create().trials)
    refusals = [refusal for refusal, _ in read_all(folder)[1]]
    for path in data:
        try:
            research = _research(Lake(workspace.root), read_candles(path), policy)
            terms = read_symbols(workspace.symbols).research_terms(research.market)
        except GauntletError:
            continue  # the market, or its time, is not known
        Scorer(ledger, research, terms, None, "").refuse(refusals)


def _research(lake: Lake, bars: Bars, policy: Policy) -> Bars:
    if lake.is_sealed(bars.market.charged_to):
        return lake.research(bars)
    end_ms = divide(bars, policy.zones.holdout_share, policy.zones.forward_days * DAY_MS).research.end_ms
    return bars.window(0, int(np.searchsorted(bars.time, end_ms - bars.step_ms, side="right")))
