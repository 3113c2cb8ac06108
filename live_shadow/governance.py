"""governance.yaml: the LOCKED limits, pinned by hash, above every map, promotion and strategy.

The defaults lie beside this module. `init` copies them into a workspace and pins their SHA-256 in
governance.pin; `load` refuses a file that is not the pinned one; `check_map` refuses a map that asks
for more.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from live_shadow.enable_map import EnableMap
from research_lab.durable import atomic_write
from research_lab.errors import GovernanceError
from research_lab.strict_yaml import fit, load_text, read_text

FILE = "governance.yaml"
PIN = "governance.pin"
DEFAULTS = Path(__file__).parent / "config"

_SHARE_SLACK = 1e-9


@dataclass(frozen=True)
class Governance:
    """The limits of one workspace.

    Parameters
    ----------
    risk_per_trade : share of equity that one trade may lose at its stop.
    daily_loss : fall from the day's first equity (UTC) after which nothing opens until the next day.
    drawdown_72h : fall from the peak of the last 72 hours after which everything closes.
    leverage : total notional over equity.
    max_slots : entries that a map may hold, shadows included.
    hash : SHA-256 of the file's bytes.
    """

    risk_per_trade: float
    daily_loss: float
    drawdown_72h: float
    leverage: float
    max_slots: int
    hash: str


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _Limit(_Strict):
    locked: Literal[True]
    reason: Annotated[str, Field(min_length=1)]


class _Share(_Limit):
    value: Annotated[float, Field(gt=0.0, lt=1.0)]


class _Leverage(_Limit):
    value: Annotated[float, Field(gt=0.0, le=125.0)]


class _Slots(_Limit):
    value: Annotated[int, Field(ge=1, le=1024)]


class _File(_Strict):
    risk_per_trade: _Share
    daily_loss: _Share
    drawdown_72h: _Share
    leverage: _Leverage
    max_slots: _Slots


def defaults() -> Governance:
    """Return the limits shipped with the package."""
    return _parsed(DEFAULTS / FILE)


def init(root: Path) -> Governance:
    """Give a workspace its governance.yaml and pin it.

    Without a file the defaults are copied. A file that a person wrote before the first `init` is
    pinned as it is. When file and pin agree, nothing happens.

    Parameters
    ----------
    root : the workspace's folder; it must exist.

    Raises
    ------
    GovernanceError
        The pinned file was changed or removed, or the file cannot be read as limits.
    """
    path, pin = root / FILE, root / PIN
    if pin.exists():
        return load(root)
    if not path.exists():
        atomic_write(path, (DEFAULTS / FILE).read_bytes())
    governance = _parsed(path)
    atomic_write(pin, governance.hash + "\n")
    return governance


def load(root: Path) -> Governance:
    """Return a workspace's limits after checking the file against its pin.

    Raises
    ------
    GovernanceError
        Nothing is pinned, the file is missing or malformed, or it is not the pinned one.
    """
    path, pin = root / FILE, root / PIN
    if not pin.exists():
        raise GovernanceError(f"no limits are pinned in {root}", PIN, "run `live-shadow init`")
    pinned = _pinned(pin)
    if not path.exists():
        raise GovernanceError(
            "the pinned file is gone",
            str(path),
            f"restore the file with SHA-256 {pinned[:12]}, or delete {PIN} and run `live-shadow init`",
        )
    found = hashlib.sha256(read_text(path, GovernanceError).encode()).hexdigest()
    if found != pinned:
        raise GovernanceError(
            f"its SHA-256 is {found[:12]}, but {pinned[:12]} is pinned: the limits were changed",
            str(path),
            f"restore the pinned text, or to accept the new limits delete {PIN} and run `live-shadow init`",
        )
    return _parsed(path)


def check_map(governance: Governance, enable_map: EnableMap) -> None:
    """Refuse a map that asks for more than the limits allow.

    Raises
    ------
    GovernanceError
        More entries than slots; a share above 1; shares of canaries and champions above 1 together.
    """
    n_entries = len(enable_map.entries)
    if n_entries > governance.max_slots:
        raise GovernanceError(
            f"{n_entries} entries, but max_slots is {governance.max_slots}",
            "enable_map.yaml",
            "retire an entry or replace one",
        )
    for i, entry in enumerate(enable_map.entries):
        if entry.risk_share > 1.0:
            raise GovernanceError(
                f"a risk_share of {entry.risk_share}; the most is 1, the whole risk budget",
                f"enable_map.yaml: entries[{i}] {entry.name}",
                "lower it",
            )
    total = math.fsum(entry.risk_share for entry in enable_map.entries if entry.stage.holds_capital)
    if total > 1.0 + _SHARE_SLACK:
        raise GovernanceError(
            f"the risk shares add up to {total:.6g}; the most is 1, the whole risk budget",
            "enable_map.yaml",
            "lower the shares, retire an entry or replace one",
        )


def _pinned(pin: Path) -> str:
    text = read_text(pin, GovernanceError).strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise GovernanceError(
            "no SHA-256 of 64 hex digits", str(pin), f"delete {PIN} and run `live-shadow init` to pin again"
        )
    return text


def _parsed(path: Path) -> Governance:
    text = read_text(path, GovernanceError)
    file = fit(_File, load_text(text, str(path), GovernanceError), str(path), GovernanceError)
    return Governance(
        risk_per_trade=file.risk_per_trade.value,
        daily_loss=file.daily_loss.value,
        drawdown_72h=file.drawdown_72h.value,
        leverage=file.leverage.value,
        max_slots=file.max_slots.value,
        hash=hashlib.sha256(text.encode()).hexdigest(),
    )
