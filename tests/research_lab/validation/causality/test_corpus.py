"""Every planted leak is found with its cause, and no clean control is taken for one."""

from __future__ import annotations

import pytest

from research_lab.validation.causality.check import CausalityReport, check_callable
from tests.conftest import WHOLE
from tests.research_lab.validation.causality.controls import control
from tests.research_lab.validation.causality.corpus import Corpus, Planted, world
from tests.research_lab.validation.causality.leaks import leak

N_BARS = 2_500 if WHOLE else 300


def checked(planted: Planted) -> CausalityReport:
    given = world(planted, N_BARS, seed=8)
    return check_callable(planted.function, given, n_workers=1, starts=False, budget_s=600.0)


@pytest.mark.proof
@pytest.mark.parametrize("name", leak)
def test_a_planted_leak_is_found_with_its_cause(name: str) -> None:
    planted = leak[name]
    report = checked(planted)
    assert report.outcome == "FAIL", planted.about
    found = report.counter_example
    assert found is not None
    assert 0 <= found.bar <= found.cut < N_BARS
    assert found.before != found.after
    assert planted.cause in found.cause + found.change


@pytest.mark.proof
@pytest.mark.parametrize("name", control)
def test_a_clean_control_passes(name: str) -> None:
    report = checked(control[name])
    assert report.outcome == "PASS", report.sentence
    assert report.n_cuts + report.first_bar >= N_BARS - 1
    assert report.first_bar in (0, 59)


@pytest.mark.parametrize(("corpus", "least"), [(leak, 50), (control, 30)])
def test_the_corpus_is_as_large_as_it_says(corpus: Corpus, least: int) -> None:
    assert len(corpus) >= least
    assert all(planted.about for planted in corpus.values())
    assert len({planted.about for planted in corpus.values()}) == len(corpus)
