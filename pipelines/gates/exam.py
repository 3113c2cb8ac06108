"""The exam: what each gate measures, for a candidate on one market; `pooled_exam` is that of a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pipelines.gates import backtest, data, holdout, lookahead, overfitting, shadow, walk_forward
from pipelines.gates.evidence import Evidence
from pipelines.gates.model_lookahead import with_models
from pipelines.gates.world import Ground, World
from research_lab.dsl.spec import Spec
from research_lab.market_data.quality import QualityReport, check
from research_lab.scoring.scorer import Score
from research_lab.validation.walk_forward import WalkForward

Told = Callable[[str], None]


class Exam(Protocol):
    """Measures a candidate for gates 2 to 8."""

    @property
    def ground(self) -> Ground:
        """What it is examined on."""
        ...

    def data(self, spec: Spec) -> Evidence: ...
    def lookahead(self, spec: Spec) -> Evidence: ...
    def backtest(self, spec: Spec, plateau: float, tried: Sequence[Score]) -> Evidence: ...
    def walk_forward(
        self, template: Spec, spec: Spec, done: WalkForward | None, why: str, told: Told
    ) -> Evidence: ...
    def overfitting(self, spec: Spec) -> Evidence: ...
    def holdout(self, spec: Spec, luck: Evidence) -> Evidence: ...
    def shadow(self, spec: Spec) -> Evidence: ...


@dataclass(frozen=True, eq=False)
class MarketExam:
    """The exam on one market."""

    ground: World

    @cached_property
    def quality(self) -> QualityReport:
        return check(self.ground.research)

    def data(self, spec: Spec) -> Evidence:
        return data.measure(spec, self.ground, self.quality)

    def lookahead(self, spec: Spec) -> Evidence:
        world = self.ground
        seed = world.policy.bootstrap.seed
        bound = world.bound_to(spec)
        seen = lookahead.measure(spec, world.research, world.terms, world.regimes, seed=seed, bound_to=bound)
        return with_models(seen, spec, world)

    def backtest(self, spec: Spec, plateau: float, tried: Sequence[Score]) -> Evidence:
        return backtest.measure(spec, self.ground, plateau, tried)

    def walk_forward(
        self, template: Spec, spec: Spec, done: WalkForward | None, why: str, told: Told
    ) -> Evidence:
        return walk_forward.measure(spec, self.ground, done, why)

    def overfitting(self, spec: Spec) -> Evidence:
        return overfitting.measure(spec, self.ground)

    def holdout(self, spec: Spec, luck: Evidence) -> Evidence:
        return holdout.measure(spec, self.ground, luck)

    def shadow(self, spec: Spec) -> Evidence:
        return shadow.measure(spec, self.ground)
