from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from benchmarks import markets
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.terms import Terms
from research_lab.generators import evolution
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.behaviour import TWINS, Behaviour, correlations, signal_of
from research_lab.generators.brief import Brief
from research_lab.generators.evolution import CHANGES, SMALL, Evolution
from research_lab.generators.grammar import Grammar
from research_lab.generators.protocol import Answer, Feedback, Proposal
from research_lab.generators.search import Search
from research_lab.scoring.origin import Origin
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from tests.research_lab.generators import made_up

BRIEF = Brief(timeframes=("1h", "4h"), sides=("long", "both"), max_nodes=40, max_params=3)
BARS = markets.made(4_000, "1h", 2)


@contextmanager
def search(seeds: int = 20, batch: int = 20, seed: int = 1) -> Iterator[Search]:
    with TemporaryDirectory() as folder:
        scorer = Scorer(TrialLedger(Path(folder)), BARS, Terms(), None, "test")
        yield Search(BRIEF, Evolution(seeds=seeds), scorer, seed, batch)


def proposals(feedback: Feedback, n: int = 30, seed: int = 5, brief: Brief = BRIEF) -> list[Proposal]:
    return Evolution(seeds=20).propose(brief, feedback, n, np.random.default_rng(seed))


def test_a_search_fills_the_archive_with_children_of_its_elites() -> None:
    with search() as one:
        answers = [answer for _ in range(5) for answer in one.step()]
        born = {a.spec.hash for a in answers if a.spec is not None}
        children = [a for a in answers if a.proposal.origin.parent]
        assert all(a.spec is not None and BRIEF.refuses(a.spec) == "" for a in answers)
        assert len(children) > 30
        assert all(1 <= len(parents) <= 2 and set(parents) <= born
                   for parents in (a.proposal.origin.parent.split() for a in children))  # fmt: skip
        assert any(len(a.proposal.origin.parent.split()) == 2 for a in children)
        assert any(not a.proposal.origin.parent for a in answers[-20:]), "fresh blood throughout"
        assert any(a.kept for a in children)


def test_the_same_seed_gives_the_same_archive_byte_for_byte() -> None:
    told = []
    for seed in (1, 1, 2):
        with search(seed=seed) as one:
            for _ in range(3):
                one.step()
            told.append(made_up.islands(one.feedback.archive))
    assert told[0] == told[1] != told[2]


def test_nothing_is_kept_between_calls() -> None:
    """A copy of what it was told gives the same children."""
    with search() as one:
        for _ in range(3):
            one.step()
        before = one.feedback
    kept = copy.deepcopy(before)
    first = proposals(before)
    proposals(before, seed=99)
    assert proposals(kept) == first
    assert len({p.text for p in first}) == len(first) == 30


def test_no_two_elites_are_one_by_behaviour() -> None:
    with search() as one:
        for _ in range(4):
            one.step()
        elites = list(one.feedback.archive)
        scores = one.scorer.score([e.spec for e in elites])
        signals = [signal_of(one.scorer, score) for score in scores]
    alike = correlations(signals, signals)
    np.fill_diagonal(alike, 0.0)
    assert len(elites) > 5
    assert alike.max() <= TWINS


def test_what_lost_most_is_turned_round() -> None:
    with search(seeds=10_000) as one:
        one.step()
        worst = min((a for a in one.feedback.answers if np.isfinite(a.fitness)), key=lambda a: a.fitness)
        made = Evolution(seeds=10_000).propose(BRIEF, one.feedback, 200, np.random.default_rng(1))
    turned = [parse_spec(p.text) for p in made if "name: turn_" in p.text]
    assert all(spec.side == "both" for spec in turned)
    assert worst.spec is not None
    assert not turned or any(p.origin.parent == worst.spec.hash for p in made) or worst.spec.side == "long"


def one_sided(side: str, n: int, hour: int) -> Spec:
    """Return a strategy of one side whose parameter is called as that of every other."""
    return parse_spec(f"""spec: 1
name: {side}
hypothesis: Some hours have buyers.
timeframe: 1h
side: {side}
params:
  n: {{range: [10, 90], step: 10, default: {n}}}
enter_{side}: close > sma(close, n) and hour() == {hour}
exit_{side}: close < sma(close, n)
size: {{fraction: 0.5}}
""")


def test_a_pair_does_on_each_side_what_the_best_of_that_side_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evolution, "CROSSED", 0.0)  # a cross may come to the same
    brief = replace(BRIEF, sides=("long", "short", "both"))
    long, short = one_sided("long", 20, 8), one_sided("short", 70, 20)
    archive = Archive(1)
    for spec, fitness, days in ((long, 1.0, 2.0), (short, 0.9, 900.0)):
        behaviour = Behaviour(days, 5.0, 0.2, 0.0, (0.0,) * 5)
        assert archive.offer(Elite(spec, Origin("evolve"), fitness, 1.0, behaviour))
    asked = Feedback(archive, (), 1_000, 9)
    texts = [p for p in proposals(asked, 60, brief=brief) if "name: pair_" in p.text]
    assert {p.origin.parent for p in texts} == {f"{long.hash} {short.hash}"}
    child = parse_spec(texts[0].text)
    assert {name: param.default for name, param in child.params.items()} == {"n": 20, "p1": 70}
    assert child.conditions["enter_long"].text == long.conditions["enter_long"].text
    assert child.conditions["exit_short"].text == "close < sma(close, p1)"


def test_changes_that_were_kept_are_made_more_often() -> None:
    usual = evolution._weights([])
    assert usual == {name: pytest.approx(weight) for name, (weight, _) in CHANGES.items()}
    found = evolution._weights([*told("exit", 5, 4), *told("mirror", 5, 0)])
    assert found["exit"] > usual["exit"]
    assert found["mirror"] < usual["mirror"]
    assert found["hoist"] == pytest.approx(usual["hoist"])
    assert set(SMALL) <= set(CHANGES)


def told(how: str, n: int, n_kept: int) -> list[Answer]:
    """Return answers to children that were made in one way, some of which were kept."""
    spec = replace(Grammar().strategy(BRIEF, np.random.default_rng(1)), name=f"{how}_0123456789")
    proposal = Proposal(spec.canonical(), Origin("evolve"))
    return [Answer(proposal, spec, fitness=0.0, kept=k < n_kept) for k in range(n)]
