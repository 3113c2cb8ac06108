"""symbols.yaml: what trading costs, and the steps and minima that an exchange demands of an order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from live_shadow.enable_map import MarketName
from research_lab.bars import Market
from research_lab.engine.terms import Terms
from research_lab.errors import WorkspaceError
from research_lab.strict_yaml import fit, load_file

FILE = "symbols.yaml"
DEFAULTS = Path(__file__).parent / "config" / FILE

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Step = Annotated[float, Field(ge=0.0)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Costs(_Form):
    """Costs of one kind of market, as fractions; leverage is the cap on notional over equity."""

    fee: Share
    slippage: Share
    leverage: Annotated[float, Field(ge=1.0)] = 1.0
    maintenance: Share = 0.0
    liquidation_fee: Share = 0.0


class _Kinds(_Form):
    spot: Costs
    perpetual: Costs


class SymbolRules(_Form):
    """What an order on one market must respect; 0 where a rule is not known.

    Parameters
    ----------
    lot : step of the quantity, base currency.
    tick : step of prices, quote currency.
    min_notional : least worth of an order, quote currency.
    """

    lot: Step = 0.0
    tick: Step = 0.0
    min_notional: Step = 0.0


class Symbols(_Form):
    """The whole file."""

    costs: _Kinds
    rules: dict[MarketName, SymbolRules] = {}

    def research_terms(self, market: Market) -> Terms:
        """Return the terms of a backtest and of a slot's own book, whose capital is 1: costs alone."""
        costs = self.costs.perpetual if market.perpetual else self.costs.spot
        return Terms(perpetual=market.perpetual, **costs.model_dump())

    def account_terms(self, market: Market) -> Terms:
        """Return the account's terms: the same costs, with the symbol's steps and minima."""
        rules = self.rules.get(market.name, SymbolRules())
        return replace(self.research_terms(market), **rules.model_dump())


def read_symbols(path: Path = DEFAULTS) -> Symbols:
    """Read a symbols file.

    Raises
    ------
    WorkspaceError
        It is missing or malformed; the message has line and field.
    """
    return fit(Symbols, load_file(path, WorkspaceError), str(path), WorkspaceError)
