from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as runner
from benchmarks import report
from benchmarks.results import Figure, Result, Timing, difference, in_turns

FAST = Figure("speed", 40.0, "x", 30.0, 75.0, of=("ours", "peer"))
SLOW = Figure("time", 4.0, "s", 3.0, 1.5, more=False)
PLAIN = Figure("rows", 7.0, "rows")


def result(apart: float = 0.0) -> Result:
    return Result(
        "work",
        "Work of a test",
        (FAST, SLOW, PLAIN),
        (Timing("ours", 0.5, True), Timing("peer", 20.0)),
        {"peer": apart},
        ("A note.",),
        (("instruction", "ns"), ("sma", "5.00")),
    )


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (FAST, "must met"),
        (SLOW, "not met"),
        (PLAIN, ""),
        (Figure("x", 75.0, "x", 30.0, 75.0), "aim met"),
        (Figure("x", 29.9, "x", 30.0, 75.0), "not met"),
        (Figure("s", 1.5, "s", 3.0, 1.5, more=False), "aim met"),
        (Figure("s", 3.0, "s", 3.0, 1.5, more=False), "must met"),
        (Figure("s", math.nan, "s", 3.0, 1.5, more=False), "not met"),
    ],
)
def test_a_verdict_follows_the_targets(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_the_report_says_what_was_measured_and_what_is_wrong(tmp_path: Path) -> None:
    markdown, record, picture = report.write([result(1e-3)], tmp_path / "new")
    text = markdown.read_text(encoding="utf-8")
    assert "| speed | 40 x | ≥ 30 | ≥ 75 | must met |" in text
    assert "| time | 4 s | ≤ 3 | ≤ 1.5 | not met |" in text
    assert "| rows | 7 rows |" in text
    assert "| sma | 5.00 |" in text
    assert "peer: DIFFERENT, at most 1.0e-03 apart" in text
    assert "numpy " + np.__version__ in text
    found = json.loads(record.read_text(encoding="utf-8"))["results"][0]
    assert found["equal"] is False
    assert [figure["verdict"] for figure in found["figures"]] == ["must met", "not met", ""]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_targets_are_drawn_as_the_times_they_allow() -> None:
    assert report.targets(result()) == [(0, "must", 20.0 / 30.0), (0, "aim", 20.0 / 75.0)]


def test_a_report_without_times_has_a_picture_too(tmp_path: Path) -> None:
    paths = report.write([Result("bare", "Nothing timed", (PLAIN,))], tmp_path)
    assert all(path.stat().st_size for path in paths)


@pytest.mark.parametrize(("apart", "status"), [(0.0, 0), (1e-3, 1), (math.nan, 1), (math.inf, 1)])
def test_only_different_results_fail_the_run(
    apart: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "works", lambda quick: {"work": lambda: result(apart)})
    assert runner.main(["--only", "work", "--out", str(tmp_path)]) == status


def test_peers_run_when_asked_for_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def works(quick: bool) -> dict[str, object]:
        return {name: lambda name=name: (ran.append(name), result())[1] for name in ("work", "peers")}

    monkeypatch.setattr(runner, "works", works)
    runner.main(["--out", str(tmp_path)])
    runner.main(["--peers", "--out", str(tmp_path)])
    assert ran == ["work", "work", "peers"]


def test_a_difference_is_relative_and_a_lone_nan_is_infinite() -> None:
    one = np.array([200.0, 0.5, np.nan])
    assert difference(one, np.array([100.0, 0.5, np.nan])) == 1.0
    assert difference(one, np.array([200.0, 0.4, np.nan])) == pytest.approx(0.25)
    assert difference(np.array([3e-6]), np.array([1e-6])) == pytest.approx(2e-3)
    assert difference(one, np.array([200.0, np.nan, np.nan])) == math.inf
    assert difference(one, one[:2]) == math.inf


def test_repetitions_take_turns_and_the_first_is_not_counted() -> None:
    ran: list[str] = []
    seconds = in_turns({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 2)
    assert ran == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}
