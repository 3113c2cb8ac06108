"""What every generator is: something that proposes texts, and is told what became of them in the research zone.

A generator sees a brief, the archive, and the answers to its last proposals. It never sees bars, dates, the
holdout, or anything of the exam: imports forbid it (`pyproject.toml`), and so does what it is handed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from research_lab.dsl.spec import Spec
from research_lab.generators.archive import Archive
from research_lab.generators.behaviour import Behaviour
from research_lab.generators.brief import Brief
from research_lab.scoring.origin import Origin


@dataclass(frozen=True, slots=True)
class Proposal:
    """The text of a strategy, as anybody may write one, and who proposed it.

    Parameters
    ----------
    text : YAML; untrusted, whoever wrote it. origin : generator, version, parents, model, prompt.
    """

    text: str
    origin: Origin


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of a proposal in the research zone.

    Parameters
    ----------
    proposal : as made. spec : None where the text is no strategy.
    refused : why it was not scored, in the loader's or the gate's own words; "" when it was.
    fitness : what selection asks for; NaN without a score.
    behaviour : how it traded; None without a score.
    kept : whether the archive took it in.
    """

    proposal: Proposal
    spec: Spec | None
    refused: str = ""
    fitness: float = float("nan")
    behaviour: Behaviour | None = None
    kept: bool = False


@dataclass(frozen=True, eq=False)
class Feedback:
    """What a generator knows of the search so far; all of it comes from research bars.

    Parameters
    ----------
    archive : the best strategy of each way of behaving.
    answers : to the last proposals, in their order; empty at first.
    n_looks : parameter sets scored so far.
    generation : how many times it was asked before.
    """

    archive: Archive
    answers: Sequence[Answer] = ()
    n_looks: int = 0
    generation: int = 0


class Generator(Protocol):
    """A source of candidates.

    It keeps nothing between calls that a proposal depends on: the same brief, feedback and random numbers give
    the same proposals, so that a search that was interrupted goes on as if it had not been.
    """

    @property
    def name(self) -> str:
        """What the ledger calls it, such as "grammar"."""
        ...

    @property
    def version(self) -> str: ...

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return up to n proposals; fewer when a budget is spent, none when it will never have more."""
        ...
