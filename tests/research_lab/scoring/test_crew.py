"""Texts are read and strategies swept by whoever there is: the same, in the same order, and a crash is one's own."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import delayed

from research_lab.dsl import limits
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import regime_codes
from research_lab.engine.terms import Terms
from research_lab.errors import GauntletError, InsufficientError, UsageError
from research_lab.scoring import crew as crews
from research_lab.scoring.crew import Course, Crew, Run
from research_lab.scoring.origin import Origin
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from tests.research_lab.generators import made_up

BARS = made_up.bars(60)
TEXTS = [
    made_up.cross(fast, 40, stop, "4h" if stop == 2 else "1h") for fast in (3, 5, 9) for stop in (1, 2, 3)
]


def course() -> Course:
    return Course(BARS, Terms(), regime_codes(None, BARS))


def specs() -> list[Spec]:
    return [parse_spec(text) for text in TEXTS]


def told(runs: list[Run | str]) -> list[object]:
    return [
        run if isinstance(run, str) else (run.metrics.tobytes(), run.first_day, run.daily.tobytes())
        for run in runs
    ]


class Deadly:
    """Whoever is sent this dies of it, without a word."""

    step_ms = 3_600_000

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


class DeadlyText(str):
    """A text that whoever is sent it dies of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


@pytest.fixture(scope="module")
def two() -> Iterator[Crew]:
    with Crew(2) as crew:
        yield crew


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # for the workers
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as made:
        yield made.scheduler_address


def test_two_processes_read_and_sweep_as_one_does(two: Crew) -> None:
    here = Crew()
    broken = [*TEXTS, "nothing", "x" * (limits.BYTES + 1), "\ud800", "spec: 1\nname: \ud800"]
    ours, theirs = here.read(broken), two.read(broken)
    assert [str(one) for one in ours] == [str(one) for one in theirs]
    assert [isinstance(one, Spec) for one in ours] == [True] * len(TEXTS) + [False] * 4
    assert told(here.sweep(course(), specs())) == told(two.sweep(course(), specs()))


def test_a_text_of_a_hundred_megabytes_is_refused_unread_and_unsent(
    two: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    mapped = Crew._map

    def noted(crew: Crew, work: Any, items: Any, *rest: Any) -> Any:
        sent.extend(len(item) for item in items)
        return mapped(crew, work, items, *rest)

    monkeypatch.setattr(Crew, "_map", noted)
    (why,) = two.read(["a" * 10**8])
    assert "larger than" in str(why)
    assert sent == [limits.BYTES + 1]
    monkeypatch.setattr(crews, "parse_spec", None)
    assert Crew().read(["a" * 10**8]) == [why]


def test_what_crashes_is_told_in_its_place_and_the_others_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(Crew().sweep(course(), specs()))
    swept = crews._swept

    def fragile(some: list[Spec], *rest: Any) -> Any:
        if any(spec.hash == specs()[4].hash for spec in some):
            raise FloatingPointError("planted")
        return swept(some, *rest)

    monkeypatch.setattr(crews, "_swept", fragile)
    assert told(Crew().sweep(course(), specs())) == [*whole[:4], "FloatingPointError: planted", *whole[5:]]


def test_a_process_that_dies_is_blamed_on_the_one_strategy(two: Crew) -> None:
    whole = told(two.sweep(course(), specs()))
    found = told(two.sweep(course(), [*specs()[:3], Deadly(), *specs()[3:]]))  # type: ignore[list-item]
    assert str(found.pop(3)).startswith("a worker died of it")
    assert found == whole


def test_a_process_that_dies_while_it_reads_is_blamed_on_the_one_text(two: Crew) -> None:
    whole = [str(one) for one in two.read(TEXTS)]
    found = [str(one) for one in two.read([*TEXTS[:3], DeadlyText("spec: 1"), *TEXTS[3:]])]
    assert found.pop(3).startswith("proposal: a worker died of it")
    assert found == whole


def test_a_process_that_is_killed_costs_no_text_its_strategy(two: Crew) -> None:
    whole = [str(one) for one in two.read(TEXTS)]
    (worker,) = two._opened()([delayed(os.getpid)()])
    assert worker != os.getpid()
    os.kill(worker, signal.SIGKILL)
    assert [str(one) for one in two.read(TEXTS)] == whole


def test_a_crash_and_a_return_that_is_not_finite_are_counted_as_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = TrialLedger(tmp_path)
    scorer = Scorer(ledger, BARS, Terms(), None, "c")
    swept = crews._swept

    def spoiled(some: list[Spec], *rest: Any) -> Any:
        found = swept(some, *rest)
        return [
            "a daily return is not finite" if s.hash == specs()[0].hash else r
            for s, r in zip(some, found, strict=True)
        ]

    monkeypatch.setattr(crews, "_swept", spoiled)
    origins = [Origin("g", str(k)) for k in range(len(TEXTS))]
    found = scorer.attempt(specs(), origins)
    assert [isinstance(one, str) for one in found] == [True] + [False] * (len(TEXTS) - 1)
    trials = ledger.every()
    assert [t.kind for t in trials] == ["crashed"] + ["scored"] * (len(TEXTS) - 1)
    assert [t.generator_version for t in trials] == [str(k) for k in range(len(TEXTS))]
    assert trials[0].reason == "a daily return is not finite"


def test_not_finite_returns_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = crews.sweep

    def spoiled(*arguments: Any, **named: Any) -> Any:
        result = swept(*arguments, **named)
        result.daily_returns[0, 3] = np.nan
        return result

    monkeypatch.setattr(crews, "sweep", spoiled)
    first, *rest = Crew().sweep(course(), specs()[:1] + specs()[2:4])
    assert first == "a daily return is not finite"
    assert not any(isinstance(one, str) for one in rest)


def test_scores_come_back_out_of_the_ledger_or_not_at_all(tmp_path: Path) -> None:
    scorer = Scorer(TrialLedger(tmp_path), BARS, Terms(), None, "c")
    (score,) = scorer.attempt(specs()[:1], [Origin()])
    assert not isinstance(score, str)
    digest = hashlib.sha256(score.daily.tobytes()).hexdigest()
    again = Scorer(TrialLedger(tmp_path), BARS, Terms(), None, "c").recall(score.spec, score.metrics, digest)
    assert again is not None
    assert (again.daily.tobytes(), again.first_day, again.metrics) == (
        score.daily.tobytes(), score.first_day, score.metrics,
    )  # fmt: skip
    assert scorer.recall(score.spec, score.metrics, "0" * 64) is None
    other = replace(score.spec, name="other", side="both")
    assert scorer.recall(other, score.metrics, digest) is None


def test_what_the_bars_cannot_give_is_refused_before_anything_runs(tmp_path: Path) -> None:
    scorer = Scorer(TrialLedger(tmp_path), BARS, Terms(), None, "c")
    text = made_up.cross().replace(
        "enter_long: ", "series:\n  dxy: {lag: 1d, max_age: 3d}\nenter_long: dxy > 0 and "
    )
    for spec in (parse_spec(text), parse_spec(made_up.cross(frame="5m"))):
        with pytest.raises(InsufficientError):
            scorer.attempt([spec], [Origin()])
    assert scorer.ledger.every() == []


def test_a_cluster_gives_the_bytes_of_this_process(cluster: str) -> None:
    with Crew(scheduler=cluster) as crew:
        assert crew.n_hands == 2
        assert [str(one) for one in crew.read(TEXTS)] == [str(one) for one in Crew().read(TEXTS)]
        assert told(crew.sweep(course(), specs())) == told(Crew().sweep(course(), specs()))


def test_wrong_crews_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"n_workers": 0}, {"n_workers": 2, "scheduler": "tcp://a:1"}, {"scheduler": "nowhere"}):
        with pytest.raises(UsageError):
            Crew(**wrong)  # type: ignore[arg-type]
    monkeypatch.setattr(crews, "ANSWER_S", 0.5)
    with pytest.raises(GauntletError, match="does not answer"):
        Crew(scheduler="tcp://127.0.0.1:9").read(["a"])
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[cluster\]'"):
        Crew(scheduler="tcp://127.0.0.1:9").read(["a"])
