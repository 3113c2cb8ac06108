"""The look-ahead check on a corpus of planted leaks and clean controls, and what a sweep over every bar costs."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pandas as pd

from benchmarks.results import Figure, Result
from research_lab.validation.causality.check import check_callable
from research_lab.validation.causality.given import Given
from tests.research_lab.validation.causality.corpus import Corpus, candles, world

CALL_S = 0.002


def measure(n_bars: int, n_swept: int) -> Result:
    """Return recall, false positives and seconds a strategy, of both parts of the corpus."""
    # Imported when used: the corpus brings scipy and scikit-learn along.
    from tests.research_lab.validation.causality.controls import control
    from tests.research_lab.validation.causality.leaks import leak
    from tests.research_lab.validation.causality.unseen import hidden_control, hidden_leak

    figures: list[Figure] = []
    missed: list[str] = []
    for words, leaks, controls in (
        ("first part", leak, control),
        ("second part, written afterwards", hidden_leak, hidden_control),
    ):
        failed, took = _outcomes(leaks, n_bars)
        passed, clean = _outcomes(controls, n_bars)
        missed += [name for name, outcome in failed.items() if outcome != "FAIL"]
        wrong = [name for name, outcome in passed.items() if outcome == "FAIL"]
        missed += wrong
        found = sum(outcome == "FAIL" for outcome in failed.values())
        figures += [
            Figure(f"{words}: leaks found of {len(leaks)}", 100.0 * found / len(leaks), "%", must=100.0),
            Figure(
                f"{words}: false positives of {len(controls)}", float(len(wrong)), "", must=0.0, more=False
            ),
            Figure(f"{words}: a leak, median", statistics.median(took), "s", more=False),
            Figure(f"{words}: a control, every bar, median", statistics.median(clean), "s", more=False),
        ]
    given = Given.of_frame(candles(n_swept))
    begun = time.perf_counter()
    report = check_callable(_two_milliseconds, given, starts=False, budget_s=120.0)
    seconds = time.perf_counter() - begun
    figures += [
        Figure(f"2 ms a call on {n_swept:,} bars, every bar", seconds, "s", must=30.0, more=False),
        Figure("its bars cut after", 100.0 * report.n_cuts / report.n_possible, "%", must=100.0),
    ]
    notes = (f"missed or wrong: {', '.join(missed)}",) if missed else ()
    return Result("lookahead", f"Look-ahead of callables on {n_bars:,} bars", tuple(figures), notes=notes)


def _outcomes(corpus: Corpus, n_bars: int) -> tuple[dict[str, str], list[float]]:
    outcomes, seconds = {}, []
    for name, planted in corpus.items():
        begun = time.perf_counter()
        report = check_callable(planted.function, world(planted, n_bars), starts=False)
        seconds.append(time.perf_counter() - begun)
        outcomes[name] = report.outcome
    return outcomes, seconds


def _two_milliseconds(df: pd.DataFrame) -> Any:
    """Work for 2 ms of a core whatever the number of bars, and say something causal."""
    end = time.thread_time() + CALL_S
    signal = df.close > df.close.rolling(20).mean()
    while time.thread_time() < end:
        pass
    return signal
