from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import UsageError
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.evolution import Evolution
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.mixture import Mixture
from research_lab.generators.protocol import Feedback, Proposal
from research_lab.scoring.origin import Origin
from tests.research_lab.generators.language_model.loopback import Says, serving
from tests.research_lab.generators.language_model.strategies import BRIEF, answer, settings, strategy


@dataclass
class Counting:
    """A generator that has so many proposals."""

    name: str
    left: int = 10**9
    version: str = "1"
    drawn: list[float] = field(default_factory=list)

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        self.drawn.append(rng.random())
        n, self.left = min(n, self.left), max(0, self.left - n)
        return [Proposal(f"{self.name} {k}", Origin(self.name)) for k in range(n)]


def names(mixture: Mixture, n: int) -> list[str]:
    proposals = mixture.propose(BRIEF, Feedback(Archive()), n, np.random.default_rng(1))
    return [proposal.origin.generator for proposal in proposals]


@pytest.mark.parametrize(("share", "of_the_second"), [(0.0, 0), (0.2, 2), (1.0, 10)])
def test_each_proposes_its_share(share: float, of_the_second: int) -> None:
    found = names(Mixture(Counting("a"), Counting("b"), share), 10)
    assert found == ["a"] * (10 - of_the_second) + ["b"] * of_the_second


def test_where_the_second_has_no_more_the_first_fills_its_place() -> None:
    mixture = Mixture(Counting("a"), Counting("b", left=1), 0.5)
    assert names(mixture, 4) == ["a", "a", "a", "b"]
    assert names(mixture, 4) == ["a"] * 4


def test_the_second_is_asked_for_all_ideas_of_the_brief_at_first() -> None:
    brief = replace(BRIEF, ideas=("one", "two", "three"))
    mixture = Mixture(Counting("a"), Counting("b"), 0.2)
    for generation, n_second in ((0, 3), (1, 1)):
        told = Feedback(Archive(), generation=generation)
        found = mixture.propose(brief, told, 5, np.random.default_rng(1))
        assert [p.origin.generator for p in found].count("b") == n_second


def test_what_the_second_draws_leaves_the_first_alone() -> None:
    first, second = Counting("a"), Counting("b")
    names(Mixture(first, second, 0.5), 4)
    names(Mixture(first, Counting("b", left=0), 0.5), 4)
    assert first.drawn[0] == first.drawn[1] != second.drawn[0]


def test_a_share_beyond_all_is_refused() -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        Mixture(Counting("a"), Counting("b"), 1.5)


def test_a_language_model_varies_what_evolution_has_found(tmp_path: Path) -> None:
    with serving(Says(answer(strategy(20), strategy(50)))) as server:
        mixture = Mixture(Evolution(), LanguageModel(settings(server.url), tmp_path), 0.2)
        proposals = mixture.propose(BRIEF, Feedback(Archive()), 10, np.random.default_rng(1))
    assert [p.origin.generator for p in proposals] == ["evolve"] * 8 + ["llm"] * 2
    assert all(parse_spec(p.text) for p in proposals)
