"""Symbol rules: shipped, overridden, unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_shadow.symbols import FILE, SymbolRules, read_rules, rules_of
from research_lab.errors import WorkspaceError


def test_shipped_rules_are_positive_and_a_strange_market_has_none() -> None:
    for rules in read_rules().values():
        assert min(rules.lot, rules.tick, rules.min_notional) > 0.0
        assert rules.known
    assert rules_of("binance BTC/USDT").tick == 0.01
    assert rules_of("synthetic BTC/USDT") == SymbolRules(0.0, 0.0, 0.0)
    assert not rules_of("synthetic BTC/USDT").known


def test_a_workspaces_own_rules_go_before(tmp_path: Path) -> None:
    assert rules_of("binance BTC/USDT", tmp_path).known
    (tmp_path / FILE).write_text('"synthetic BTC/USDT": {lot: 1, tick: 0, min_notional: 0}\n')
    assert rules_of("synthetic BTC/USDT", tmp_path) == SymbolRules(lot=1.0)
    assert not rules_of("binance BTC/USDT", tmp_path).known


@pytest.mark.parametrize(
    "text",
    [
        '"synthetic BTC/USDT": {lot: -1, tick: 0, min_notional: 0}',
        '"synthetic BTC/USDT": {lot: 1, tick: 0}',
        '"synthetic BTC/USDT": {lot: 1, tick: 0, min_notional: 0, step: 1}',
        "BTC: {lot: 1, tick: 0, min_notional: 0}",
        "[]",
    ],
)
def test_malformed_rules_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(WorkspaceError, match=FILE):
        read_rules(tmp_path)
