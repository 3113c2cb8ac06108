"""Several markets as one: what a pooled candidate, one parameter set for all of them, is examined on.

Decision 0021 says what counts as what. Research ends on the same day for all markets, where the first of their
holdouts begins: markets move together, so what one has shown is no secret of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from research_lab.dsl.spec import Spec
from research_lab.scoring.pooled_scorer import PooledScorer


@dataclass(frozen=True, eq=False)
class Pool:
    """Markets to be examined on together.

    Parameters
    ----------
    worlds : one a market, in the order of their symbols, with one ledger, lake and policy.
    """

    worlds: tuple[World, ...]

    @property
    def policy(self) -> Policy:
        return self.worlds[0].policy

    @cached_property
    def scorer(self) -> PooledScorer:
        return PooledScorer(tuple(world.scorer for world in self.worlds))

    @property
    def symbols(self) -> list[str]:
        return [world.bars.market.charged_to for world in self.worlds]

    def bound_to(self, spec: Spec, context: str = "") -> dict[str, str]:
        """Return the hashes of everything that evidence on a strategy depends on: data and costs of all markets."""
        each = [world.bound_to(spec, context) for world in self.worlds]
        together = {name: _joined([bound[name] for bound in each]) for name in ("data", "protocol")}
        return {**each[0], **together}


def _joined(hashes: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(["pool", *hashes]).encode()).hexdigest()
