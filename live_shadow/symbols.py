"""symbols.yaml: the steps and minima that an exchange demands of an order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel

from live_shadow.enable_map import MarketName
from research_lab.errors import WorkspaceError
from research_lab.strict_yaml import fit, load_file

FILE = "symbols.yaml"
DEFAULTS = Path(__file__).parent / "config" / FILE


@dataclass(frozen=True)
class SymbolRules:
    """What an order on one market must respect; 0 where a rule is not known.

    Parameters
    ----------
    lot : step of the quantity, base currency.
    tick : step of prices, quote currency.
    min_notional : least worth of an order, quote currency.
    """

    lot: float = 0.0
    tick: float = 0.0
    min_notional: float = 0.0

    @property
    def known(self) -> bool:
        """Whether any rule is known."""
        return self != SymbolRules()


class _Rules(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    lot: Annotated[float, Field(ge=0.0)]
    tick: Annotated[float, Field(ge=0.0)]
    min_notional: Annotated[float, Field(ge=0.0)]


class _File(RootModel[dict[MarketName, _Rules]]):
    model_config = ConfigDict(strict=True, frozen=True)


def read_rules(root: Path | None = None) -> Mapping[str, SymbolRules]:
    """Return the known rules by market name.

    Parameters
    ----------
    root : a workspace's folder; its symbols.yaml goes before the packaged one.

    Raises
    ------
    WorkspaceError
        The file is malformed.
    """
    path = DEFAULTS if root is None or not (root / FILE).exists() else root / FILE
    file = fit(_File, load_file(path, WorkspaceError), str(path), WorkspaceError)
    return {market: SymbolRules(**dict(rules)) for market, rules in file.root.items()}


def rules_of(market: str, root: Path | None = None) -> SymbolRules:
    """Return one market's rules; all 0 when they are not known."""
    return read_rules(root).get(market, SymbolRules())
