"""What a log hears of a search while it runs."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.generation.search_progress import SearchProgress


def state(n_looks: int, *, kept: bool = False, **refused: int) -> Any:
    """Return a search that has come so far, with one elite from the first look on."""
    elites = [SimpleNamespace(fitness=0.5, sharpe=1.25)] if n_looks else []
    feedback = SimpleNamespace(archive=SimpleNamespace(fittest=elites), n_looks=n_looks)
    return SimpleNamespace(feedback=feedback, refused=Counter(refused), was_kept=kept)


def test_a_log_has_a_line_every_so_often_with_all_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = SearchProgress(lambda: now)

    def heard(at: float, *, search: Any = None) -> str:
        nonlocal now
        now = at
        progress.tick() if search is None else progress.told(search, 2_000)
        return capsys.readouterr().err

    assert heard(9.0) == "", "nobody was told yet, and it is early"
    assert heard(12.0) == "[  0%] the first generation (12 s)\n", "also while nothing is done"
    assert heard(13.0, search=state(100)) == "", "many generations a second are no line each"
    assert heard(24.0, search=state(200, twice=3, crashed=2)) == (
        "[ 10%] 200 of 2,000 looks, 203 candidates, 1 elite, best: fitness 0.50, Sharpe 1.25; "
        "refused: crashed 2, twice 3 (24 s, about 3 min left)\n"
    )
    assert heard(33.0) == ""
    assert "200 of 2,000 looks" in heard(34.0), "a generation that lasts is told of again"
    assert heard(35.0, search=state(2_000)).startswith("[100%] 2,000 of 2,000 looks"), (
        "the end is told at once"
    )


def test_what_was_kept_says_nothing_of_the_pace(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    progress = SearchProgress(lambda: now)
    told = []
    for at, n_looks, kept in ((20, 800, True), (31, 1_000, True), (131, 1_100, False), (231, 1_200, False)):
        now = float(at)
        progress.told(state(n_looks, kept=kept), 2_000)
        told.append(capsys.readouterr().err.rpartition(" (")[2].strip())
    assert told == ["20 s)", "31 s)", "2 min, about 15 min left)", "4 min, about 13 min left)"]
