"""What a candidate is examined on: one market's bars in three zones, its costs, and the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from pipelines.gates.policy import Policy
from research_lab.backtests import both_orders
from research_lab.backtests.both_orders import BothOrders
from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine.backtest import Backtest, backtest, regime_codes
from research_lab.engine.jit import FloatArray
from research_lab.engine.terms import Terms
from research_lab.market_data.lake import Lake
from research_lab.scoring.scorer import Scorer, Scoring

_MEASURED_BY = ("research_lab", "pipelines/gates", "live_shadow")
_ORDERED_BY = (
    "pipelines/campaign.py",
    "pipelines/grounds.py",
)  # what is tuned, on what, who goes to the holdout

MAX_POINTS = 1_200  # of a curve kept for pictures


class Ground(Protocol):
    """What a candidate is examined on: a market (`World`), or several as one (`gates.pool.Pool`)."""

    @property
    def policy(self) -> Policy: ...
    @property
    def scorer(self) -> Scoring: ...
    @property
    def worlds(self) -> Sequence[World]:
        """The markets."""
        ...

    def bound_to(self, spec: Spec, context: str = "") -> dict[str, str]:
        """Return the hashes of everything that evidence on a strategy depends on."""
        ...


@dataclass(frozen=True, eq=False)
class World:
    """A market to be examined on.

    Parameters
    ----------
    bars : all bars. Gates 1 to 6 use `research` only; the lake hands out holdout and forward.
    research : bars that had closed when the holdout begins. lake : the keeper of the seal.
    terms, regimes, policy : costs, regimes and limits. scorer : the only door to scores.
    champions : hashes of the strategies that hold capital on this market, for figures beside the candidate's.
    """

    bars: Bars
    research: Bars
    lake: Lake
    terms: Terms
    regimes: RegimeSet
    policy: Policy
    scorer: Scorer
    champions: tuple[str, ...] = ()

    @property
    def worlds(self) -> tuple[World, ...]:
        """Itself: a market is a pool of one."""
        return (self,)

    def run(self, spec: Spec, bars: Bars, start: int = 0, terms: Terms | None = None) -> Backtest:
        """Return a backtest of a strategy that has been scored; entries from `start` on."""
        return backtest(compile_spec(spec), bars, terms or self.terms, regime=self.regime(bars), start=start)

    def both_orders(self, spec: Spec, bars: Bars, start: int = 0) -> BothOrders:
        """Return the backtest with stops first, which counts, and with takes first."""
        return both_orders.run(compile_spec(spec), bars, self.terms, regime=self.regime(bars), start=start)

    def regime(self, bars: Bars) -> FloatArray:
        """Return the regime's code after each bar; all unknown where the bars do not make its clock's."""
        return regime_codes(self.regimes.compiled, bars)

    def bound_to(self, spec: Spec, context: str = "") -> dict[str, str]:
        """Return the hashes of everything that evidence on a strategy depends on."""
        protocol = f"{self.policy.protocol_hash} {self.terms!r} {self.regimes.hash}"
        return {
            "spec": spec.hash,
            "data": self.bars.snapshot,
            "protocol": hashlib.sha256(protocol.encode()).hexdigest(),
            "context": context,
            "code": self._code,
        }

    @cached_property
    def _code(self) -> str:
        return code_hash()


def code_hash() -> str:
    """Return the SHA-256 over all sources that evidence comes from, and the lock file where it is there."""
    root = Path(__file__).parents[2]
    sources = [p for part in _MEASURED_BY for p in sorted((root / part).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in [*sources, *(root / name for name in _ORDERED_BY), root / "requirements.lock"]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def thinned(values: FloatArray, limit: int = MAX_POINTS) -> list[float]:
    """Return a curve with at most `limit` points, first and last among them."""
    n = values.shape[0]
    if n <= limit:
        return [float(v) for v in values]
    return [float(v) for v in values[np.linspace(0, n - 1, limit).round().astype(int)]]
