"""Costs and symbol rules: shipped, overridden by the workspace, unknown, malformed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from live_shadow.symbols import DEFAULTS, FILE, read_symbols
from research_lab.bars import Market
from research_lab.errors import WorkspaceError
from research_lab.workspace import Workspace

SPOT = Market("binance", "BTC/USDT")
PERPETUAL = Market("binanceusdm", "BTC/USDT", True)
STRANGE = Market("synthetic", "BTC/USDT")
COSTS = "costs:\n  spot: {fee: 0.002, slippage: 0}\n  perpetual: {fee: 0.001, slippage: 0, leverage: 5.0}\n"


def test_shipped_rules_are_positive_and_a_strange_market_has_none() -> None:
    symbols = read_symbols()
    for rules in symbols.rules.values():
        assert min(rules.lot, rules.tick, rules.min_notional) > 0.0
    assert symbols.account_terms(SPOT).tick == 0.01
    assert symbols.account_terms(STRANGE) == symbols.research_terms(STRANGE)


@pytest.mark.parametrize("market", [SPOT, PERPETUAL])
def test_the_account_pays_what_the_backtest_paid(market: Market) -> None:
    symbols = read_symbols()
    account = symbols.account_terms(market)
    assert account.lot > 0.0
    assert replace(account, lot=0.0, tick=0.0, min_notional=0.0) == symbols.research_terms(market)


def test_only_a_perpetual_has_leverage() -> None:
    symbols = read_symbols()
    assert symbols.research_terms(PERPETUAL).leverage > 1.0
    assert symbols.research_terms(PERPETUAL).perpetual
    assert symbols.research_terms(SPOT).leverage == 1.0


def test_a_workspaces_own_file_goes_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.symbols == DEFAULTS
    (tmp_path / FILE).write_text(COSTS)
    assert read_symbols(workspace.symbols).research_terms(SPOT).fee == 0.002
    assert read_symbols(workspace.symbols).account_terms(PERPETUAL).lot == 0.0


@pytest.mark.parametrize(
    "text",
    [
        COSTS + 'rules:\n  "synthetic BTC/USDT": {lot: -1, tick: 0, min_notional: 0}',
        COSTS + 'rules:\n  "synthetic BTC/USDT": {lot: 1, step: 1}',
        COSTS + "rules:\n  BTC: {lot: 1}",
        COSTS.replace("fee: 0.002", "fee: 2"),
        COSTS.replace("leverage: 5.0", "leverage: 0.5"),
        "[]",
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(WorkspaceError, match=FILE):
        read_symbols(tmp_path / FILE)
