"""How fast generated candidates go: texts to in-sample scores, and finalists through gates 2 to 7."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from live_shadow.symbols import read_symbols
from pipelines.calibration.generator_rows import BRIEF, FIRST_SEED
from pipelines.calibration.generator_table import Pace
from pipelines.calibration.hunt import admission
from pipelines.calibration.rows import HOURS_A_YEAR, strategies
from pipelines.calibration.runs import REGIMES
from pipelines.calibration.table import Rate
from pipelines.campaign import examine
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.generation.generator_registry import Made, make
from pipelines.grounds import sealed_world
from research_lab.bars import DAY_MS, HOUR_MS
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.engine.terms import Terms
from research_lab.errors import SpecError
from research_lab.generators.archive import Archive
from research_lab.generators.protocol import Feedback, Generator
from research_lab.generators.search import Search
from research_lab.market_data import null_worlds
from research_lab.market_data.planted import PERPETUAL
from research_lab.scoring.crew import Crew

N_TEXTS: Final = 10_000
N_CANDIDATES: Final = 5_000
YEARS_OF_FINALISTS: Final = 4  # research of 2.4 years, as in the other table
_WARM: Final = 100  # candidates before the clock starts: kernels are loaded, an archive is begun


def measure(policy: Policy, n_texts: int = N_TEXTS, n_candidates: int = N_CANDIDATES) -> Pace:
    """Return the pace on this machine, of both generators, one after the other."""
    terms, regimes = read_symbols().research_terms(PERPETUAL), load_regimes(REGIMES)
    paces = {
        name: candidates_a_minute(make(name, Made()), terms, regimes, policy, n_candidates)
        for name in ("evolve", "grammar")
    }
    valid = valid_texts(make("grammar", Made()), n_texts)
    return Pace(valid, paces, finalists_a_minute(terms, regimes, policy))


def valid_texts(generator: Generator, n: int) -> Rate:
    """Return how many of n texts the reader takes as strategies, as it takes a person's file."""
    n_valid = 0
    proposals = generator.propose(BRIEF, Feedback(Archive()), n, np.random.default_rng(FIRST_SEED))
    for proposal in proposals:
        try:
            parse_spec(proposal.text, "proposal")
        except SpecError:
            continue
        n_valid += 1
    return Rate(n_valid, len(proposals))


def candidates_a_minute(
    generator: Generator, terms: Terms, regimes: RegimeSet, policy: Policy, n: int = N_CANDIDATES
) -> float:
    """Return how many proposals a minute are generated, read, judged by gate 1, scored on 8,760 bars and counted."""
    with TemporaryDirectory() as folder, Crew(os.cpu_count() or 1) as crew:
        n_all = round(HOURS_A_YEAR / (1.0 - policy.zones.holdout_share))
        scorer = _ground(Path(folder), n_all, terms, regimes, policy).scorer
        scorer.crew = crew
        search = Search(BRIEF, generator, scorer, FIRST_SEED, admit=admission(policy))
        while search.feedback.n_looks < _WARM:
            search.step()
        begun, n_proposed = time.perf_counter(), 0
        while n_proposed < n and (answers := search.step()):
            n_proposed += len(answers)
        return 60.0 * n_proposed / (time.perf_counter() - begun)


def finalists_a_minute(terms: Terms, regimes: RegimeSet, policy: Policy) -> float:
    """Return how many strategies a minute go through gates 2 to 7, tuned by 100 parameter sets over 5 folds.

    They are the five of the calibration, whose parameters have more than a hundred combinations each. The first
    one of all is examined before the clock starts, for what is loaded once a process.
    """
    templates = list(strategies().values())[:6]
    with TemporaryDirectory() as folder:
        n = YEARS_OF_FINALISTS * HOURS_A_YEAR
        ground = _ground(Path(folder), n, terms, regimes, policy)
        examine(templates[:1], ground, lambda stage, share: None)
        begun = time.perf_counter()
        examine(templates[1:], ground, lambda stage, share: None)
        return 60.0 * len(templates[1:]) / (time.perf_counter() - begun)


def _ground(folder: Path, n: int, terms: Terms, regimes: RegimeSet, policy: Policy) -> World:
    """Return hours of noise, of research and holdout together."""
    bars = null_worlds.clustered(FIRST_SEED, n + policy.zones.forward_days * DAY_MS // HOUR_MS).bars
    return sealed_world(folder, bars, terms, regimes, policy, "pace")
