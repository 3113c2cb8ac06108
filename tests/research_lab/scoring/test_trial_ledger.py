"""The trial ledger: what counts as a trial, what a crash may cost, and that no change goes unseen."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import research_lab
from research_lab.bars import FloatArray
from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError, LockedError, UsageError
from research_lab.scoring.ledger_merge import copy_segments, merge
from research_lab.scoring.ledger_segment import FORMAT, Segment
from research_lab.scoring.past_ledger import PastLedger
from research_lab.scoring.trial_ledger import Trial, TrialLedger
from research_lab.timeframe import DAY_MS

FIRST, N_DAYS = 18_000, 6
START, END = FIRST * DAY_MS, (FIRST + N_DAYS) * DAY_MS
BTC = "BTC/USDT"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def trial(name: str = "a", **changes: Any) -> Trial:
    plain = Trial(
        kind="scored",
        candidate=digest(name),
        template=digest("template"),
        name=name,
        market=BTC,
        start_ms=START,
        end_ms=END,
        timeframe="4h",
        snapshot=digest("snapshot"),
        campaign="c1",
        origin="grammar",
        sharpe=1.25,
        n_trades=31,
    )
    return replace(plain, **changes)


def returns(seed: int, n_trials: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(0, 0.01, (n_trials, N_DAYS))


def batch(seed: int, n_trials: int = 3) -> tuple[list[Trial], FloatArray, int]:
    return [trial(f"{seed}.{i}") for i in range(n_trials)], returns(seed, n_trials), FIRST


def segment_files(folder: Path) -> tuple[Path, Path]:
    lines, rows = sorted(folder.glob("*.jsonl")), sorted(folder.glob("*.f64"))
    assert len(lines) == len(rows) == 1
    return lines[0], rows[0]


def test_what_was_appended_is_read_back_by_a_later_process(tmp_path: Path) -> None:
    trials, daily, first = batch(1)
    written = TrialLedger(tmp_path, now=lambda: 1.5e9).append(trials, daily, first)
    ledger = TrialLedger(tmp_path)
    matrix, candidates = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)
    assert written == 3
    assert ledger.trials(BTC, START, END) == [replace(t, recorded_s=1.5e9) for t in trials]
    assert matrix.T.tobytes() == daily.tobytes()
    assert candidates == [t.candidate for t in trials]
    ledger.verify()


def test_a_sharpe_that_was_not_measured_comes_back_as_nan(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append([trial("a", sharpe=np.nan), trial("b", sharpe=np.inf)], returns(0, 2), FIRST)
    assert all(np.isnan(t.sharpe) for t in TrialLedger(tmp_path).trials(BTC, START, END))


def test_refused_and_crashed_trials_count_as_looks_and_have_no_returns(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    trials = [trial("a", kind="refused"), trial("b"), trial("c", kind="crashed")]
    assert ledger.append(trials, returns(0, 3), FIRST) == 3
    assert ledger.append([trial("d", kind="crashed")]) == 1
    matrix, candidates = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)
    assert ledger.n_looks(BTC, START, END) == 4
    assert matrix.shape == (N_DAYS, 1) and candidates == [digest("b")]


# What counts as one trial


def test_the_same_trial_is_written_once_however_often_it_is_repeated(tmp_path: Path) -> None:
    first, second = TrialLedger(tmp_path), TrialLedger(tmp_path)
    assert first.append(*batch(1)) == 3
    assert first.append(*batch(1)) == 0
    assert second.append(*batch(1)) == 0
    assert first.append([trial("x"), trial("x")], np.tile(returns(5), (2, 1)), FIRST) == 1
    assert second.n_looks(BTC, START, END) == 4


def test_other_returns_of_the_same_candidate_are_another_look(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append([trial("a"), trial("a", snapshot=digest("perpetual"))], returns(0, 2), FIRST)
    assert ledger.n_looks(BTC, START, END) == 2
    assert ledger.daily_returns(BTC, FIRST, FIRST + 1)[1] == [digest("a")] * 2


@pytest.mark.parametrize("crash_first", [True, False])
def test_a_crash_is_absorbed_by_the_score_of_the_same_look(tmp_path: Path, crash_first: bool) -> None:
    ledger = TrialLedger(tmp_path)
    steps: list[Callable[[], int]] = [
        lambda: ledger.append([trial("a", kind="crashed")]),
        lambda: ledger.append([trial("a")], returns(0), FIRST),
    ]
    new = [step() for step in (steps if crash_first else reversed(steps))]
    assert new == ([1, 1] if crash_first else [1, 0])
    assert [t.kind for t in ledger.trials(BTC, START, END)] == ["scored"]
    other = ledger.append([trial("a", kind="crashed", end_ms=END - DAY_MS)])
    assert other == 1 and ledger.n_looks(BTC, START, END) == 2


def test_only_the_symbol_is_charged(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(
        [trial("a"), trial("b", timeframe="15m"), trial("c", market="ETH/USDT")], returns(0, 3), FIRST
    )
    assert ledger.n_looks(BTC, START, END) == 2
    assert ledger.n_looks("ETH/USDT", START, END) == 1
    assert ledger.n_looks("SOL/USDT", START, END) == 0


def test_counted_asks_for_exactly_this_candidate_market_and_interval(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append([trial("a", kind="refused")])
    assert ledger.counted(digest("a"), BTC, START, END)
    assert not ledger.counted(digest("a"), BTC, START, END - 1)
    assert not ledger.counted(digest("b"), BTC, START, END)
    assert not ledger.counted(digest("a"), "ETH/USDT", START, END)


@settings(max_examples=30)
@given(
    intervals=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=6),
    asked=st.tuples(st.integers(0, 40), st.integers(1, 12)),
)
def test_overlapping_intervals_count_and_touching_ones_do_not(
    tmp_path_factory: pytest.TempPathFactory, intervals: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    ledger = TrialLedger(tmp_path_factory.mktemp("trials"))
    for i, (first, length) in enumerate(intervals):
        interval = {"start_ms": first * DAY_MS, "end_ms": (first + length) * DAY_MS}
        ledger.append([trial(f"{i}", **interval)], np.full((1, length), float(i)), first)
    begin, end = asked[0], sum(asked)
    matrix, candidates = ledger.daily_returns(BTC, begin, end)
    hit = [
        i
        for i, (first, length) in enumerate(intervals)
        if set(range(begin, end)) & set(range(first, first + length))
    ]
    expected = [
        [float(i) if intervals[i][0] <= day < sum(intervals[i]) else np.nan for i in hit]
        for day in range(begin, end)
    ]
    assert candidates == [digest(f"{i}") for i in hit]
    assert ledger.n_looks(BTC, begin * DAY_MS, end * DAY_MS) == len(hit)
    np.testing.assert_array_equal(matrix, np.array(expected).reshape(end - begin, len(hit)))


def test_segments_of_two_machines_merge_by_copying_in_either_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    TrialLedger(one, now=lambda: 1.0).append(*batch(1))
    TrialLedger(two, now=lambda: 2.0).append(*batch(2))
    TrialLedger(two, now=lambda: 3.0).append([trial("1.0")], returns(1, 3)[:1], FIRST)
    merged: list[TrialLedger] = []
    for order in ((one, two), (two, one)):
        target = tmp_path / f"into {len(merged)}"
        for source in order:
            shutil.copytree(source, target, dirs_exist_ok=True)
        merged.append(TrialLedger(target))
    assert merged[0].head() == merged[1].head()
    assert merged[0].trials(BTC, START, END) == merged[1].trials(BTC, START, END)
    assert merged[0].n_looks(BTC, START, END) == 6
    merged[0].verify({**TrialLedger(one).heads(), **TrialLedger(two).heads()})


# Wrong use


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "forgotten"},
        {"candidate": "abc"},
        {"template": ""},
        {"snapshot": "A" * 64},
        {"market": ""},
        {"end_ms": START},
        {"start_ms": -1},
        {"start_ms": START + DAY_MS},
        {"end_ms": END - DAY_MS},
    ],
)
def test_a_malformed_trial_is_refused_and_nothing_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    ledger = TrialLedger(tmp_path)
    with pytest.raises(UsageError):
        ledger.append([trial("good"), trial("bad", **changes)], returns(0, 2), FIRST)
    assert ledger.heads() == {}


@pytest.mark.parametrize(
    "daily",
    [None, np.zeros(6), np.zeros((2, 6)), np.zeros((1, 0)), np.full((1, 6), np.nan), np.full((1, 6), np.inf)],
)
def test_a_score_without_finite_returns_is_refused(tmp_path: Path, daily: FloatArray | None) -> None:
    with pytest.raises(UsageError):
        TrialLedger(tmp_path).append([trial()], daily, FIRST)


def test_an_empty_interval_cannot_be_asked_for(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    with pytest.raises(UsageError):
        ledger.n_looks(BTC, END, START)
    with pytest.raises(UsageError):
        ledger.daily_returns(BTC, FIRST, FIRST)


# Crashes


def test_any_torn_last_line_costs_the_torn_batch_only_and_is_reported(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    ledger = TrialLedger(origin)
    ledger.append(*batch(1))
    lines, _ = segment_files(origin)
    whole = lines.stat().st_size
    ledger.append(*batch(2, 1))
    size = lines.stat().st_size
    for cut in (whole + 1, whole + 7, (whole + size) // 2, size - 1):
        folder = tmp_path / str(cut)
        shutil.copytree(origin, folder)
        opened_before = TrialLedger(folder)
        os.truncate(folder / lines.name, cut)
        with pytest.raises(LedgerError, match=f"{lines.name}:5: the last line is torn"):
            opened_before.verify()
        ledger = TrialLedger(folder)
        assert len(ledger.losses) == 1 and f"{N_DAYS * 8} bytes of daily returns" in ledger.losses[0]
        assert ledger.n_looks(BTC, START, END) == 3
        ledger.verify()
        assert TrialLedger(folder).losses == ()
        assert ledger.append(*batch(2, 1)) == 1
        TrialLedger(folder).verify()


def test_rows_without_a_line_are_cut_off_and_reported(tmp_path: Path) -> None:
    TrialLedger(tmp_path).append(*batch(1))
    lines, rows = segment_files(tmp_path)
    with open(rows, "ab") as file:
        file.write(b"x" * 13)
    ledger = TrialLedger(tmp_path)
    assert "13 bytes of daily returns" in ledger.losses[0] and str(lines) in ledger.losses[0]
    assert rows.stat().st_size == 3 * N_DAYS * 8
    ledger.verify()


def test_a_torn_header_leaves_an_empty_segment(tmp_path: Path) -> None:
    TrialLedger(tmp_path).append([trial(kind="crashed")])
    (lines,) = tmp_path.glob("*.jsonl")
    os.truncate(lines, 20)
    ledger = TrialLedger(tmp_path)
    assert len(ledger.losses) == 1
    assert ledger.heads() == {} and ledger.n_looks(BTC, START, END) == 0
    ledger.verify()


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from research_lab.scoring.trial_ledger import Trial, TrialLedger

folder, nth = Path(sys.argv[1]), int(sys.argv[2])
real, seen = os.fsync, 0

def fatal(descriptor):
    global seen
    seen += 1
    if seen == nth:
        os._exit(9)
    return real(descriptor)

os.fsync = fatal
ledger = TrialLedger(folder)
trials = [
    Trial("scored", f"{i:064x}", "0" * 64, "n", "BTC/USDT", 0, 4 * 86_400_000, "1h", "1" * 64, "c", "g")
    for i in range(3)
]
ledger.append(trials, np.full((3, 4), 0.5), 0)
print("told", flush=True)
"""


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6])
def test_a_writer_killed_at_any_sync_leaves_a_whole_ledger(tmp_path: Path, nth: int) -> None:
    root = Path(research_lab.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(nth)], cwd=root, check=False, capture_output=True
    )
    ledger = TrialLedger(tmp_path)
    ledger.verify()
    looks = ledger.n_looks(BTC, 0, DAY_MS)
    matrix, _ = ledger.daily_returns(BTC, 0, 4)
    assert looks in (0, 3)
    assert matrix.tobytes() == np.full((4, looks), 0.5).tobytes()
    if b"told" in done.stdout:
        assert looks == 3
    else:
        assert done.returncode == 9


def test_a_full_disk_loses_nothing_that_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(*batch(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ChainedLog, "extend", full)
        with pytest.raises(OSError, match="No space"):
            ledger.append(*batch(2))
    assert ledger.n_looks(BTC, START, END) == 3
    assert ledger.append(*batch(2)) == 3
    TrialLedger(tmp_path).verify()
    assert TrialLedger(tmp_path).losses == ()


# Changes


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), in_rows=st.booleans())
def test_any_flipped_byte_is_found_and_its_file_and_line_are_named(
    tmp_path_factory: pytest.TempPathFactory, share: float, in_rows: bool
) -> None:
    folder = tmp_path_factory.mktemp("trials")
    TrialLedger(folder).append(*batch(1))
    lines, rows = segment_files(folder)
    path = rows if in_rows else lines
    place = int(share * path.stat().st_size)
    line = 2 + place // (8 * N_DAYS) if in_rows else 1 + lines.read_bytes()[:place].count(b"\n")
    ledger = TrialLedger(folder)
    flip(path, place)
    with pytest.raises(LedgerError) as caught:
        ledger.verify()
    assert caught.value.where == f"{lines}:{line}"


def test_a_broken_chain_is_told_to_whoever_reads(tmp_path: Path) -> None:
    TrialLedger(tmp_path).append(*batch(1))
    lines, _ = segment_files(tmp_path)
    flip(lines, lines.read_bytes().index(b"grammar"))
    ledger = TrialLedger(tmp_path)
    assert ledger.losses == ()
    for read in (
        lambda: ledger.n_looks(BTC, START, END),
        lambda: ledger.daily_returns(BTC, FIRST, FIRST + 1),
        lambda: ledger.append(*batch(2)),
        ledger.head,
        ledger.verify,
    ):
        with pytest.raises(LedgerError, match=f"{lines.name}:2"):
            read()


@pytest.mark.parametrize("size", [0, 8, 3 * N_DAYS * 8 - 1])
def test_missing_returns_are_found_and_never_cut(tmp_path: Path, size: int) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(*batch(1))
    _, rows = segment_files(tmp_path)
    os.truncate(rows, size)
    assert TrialLedger(tmp_path).losses == ()
    with pytest.raises(LedgerError, match="missing"):
        TrialLedger(tmp_path).daily_returns(BTC, FIRST, FIRST + 1)
    with pytest.raises(LedgerError, match="missing"):
        ledger.append(*batch(2))


def test_the_head_changes_with_every_batch_and_anchors_what_stood(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    seen = [ledger.head()]
    anchors = [ledger.heads()]
    for seed in range(3):
        ledger.append(*batch(seed))
        seen.append(ledger.head())
        anchors.append(ledger.heads())
    assert len(set(seen)) == 4
    assert TrialLedger(tmp_path).head() == seen[-1]
    for anchor in anchors:
        ledger.verify(anchor)


def test_an_anchor_shows_a_cut_end_and_a_missing_segment(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append([trial("a", kind="crashed")])
    ledger.append([trial("b", kind="crashed")])
    anchor = ledger.heads()
    (lines,) = tmp_path.glob("*.jsonl")
    os.truncate(lines, lines.read_bytes()[:-1].rindex(b"\n") + 1)
    shorter = TrialLedger(tmp_path)
    shorter.verify()
    with pytest.raises(LedgerError, match="anchored hash"):
        shorter.verify(anchor)
    with pytest.raises(LedgerError, match="gone"):
        ledger.n_looks(BTC, START, END)
    lines.unlink()
    with pytest.raises(LedgerError, match="gone"):
        TrialLedger(tmp_path).verify(anchor)
    with pytest.raises(LedgerError, match="gone"):
        shorter.head()


def test_a_segment_under_another_name_or_of_newer_code_is_refused(tmp_path: Path) -> None:
    TrialLedger(tmp_path).append([trial(kind="crashed")])
    (lines,) = tmp_path.glob("*.jsonl")
    copy = lines.with_name(f"seg-{'0' * 32}.jsonl")
    shutil.copy(lines, copy)
    with pytest.raises(LedgerError, match=f"{copy.name}:1: this is a copy of"):
        TrialLedger(tmp_path).verify()
    copy.unlink()
    ChainedLog(copy).append({"format": FORMAT + 1, "segment": copy.stem})
    with pytest.raises(LedgerError, match="newer"):
        TrialLedger(tmp_path).verify()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "seg-notes.jsonl").write_text("mine")
    ledger = TrialLedger(tmp_path)
    ledger.append(*batch(1))
    ledger.verify()
    assert (tmp_path / "seg-notes.jsonl").read_text() == "mine"


# Several writers


def append_batches(folder: Path, writer: int, n_batches: int) -> None:
    ledger = TrialLedger(folder)
    for i in range(n_batches):
        ledger.append(*batch(1000 * writer + i, 5))


def test_two_processes_appending_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_batches, args=(tmp_path, w, 15)) for w in (1, 2)]
    reader = TrialLedger(tmp_path)
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        looks = reader.n_looks(BTC, START, END)
        assert looks >= seen
        seen = looks
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    reader.verify()
    assert reader.n_looks(BTC, START, END) == 2 * 15 * 5
    assert len(reader.heads()) == 2
    assert TrialLedger(tmp_path).losses == ()


FORKED = """
import os, sys
from research_lab.scoring.trial_ledger import Trial, TrialLedger

def crashed(i):
    return Trial("crashed", f"{i:064x}", "0" * 64, "n", "BTC/USDT", 0, 1, "1h", "1" * 64, "c", "g")

ledger = TrialLedger(sys.argv[1])
ledger.append([crashed(0)])
child = os.fork()
for i in (1, 2):
    ledger.append([crashed(10 * i if child else i)])
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_writes_its_own_segment(tmp_path: Path) -> None:
    root = Path(research_lab.__file__).parents[1]
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path)], cwd=root, check=True)
    ledger = TrialLedger(tmp_path)
    ledger.verify()
    assert len(ledger.heads()) == 2
    assert ledger.n_looks(BTC, 0, 1) == 5


def test_a_lock_that_stays_taken_is_reported(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path, lock_timeout_s=0.01)
    with FileLock(tmp_path / ".lock"), pytest.raises(LockedError, match="another process"):
        ledger.append(*batch(1))
    assert ledger.append(*batch(1)) == 3


def test_a_reader_takes_no_lock(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path, lock_timeout_s=0.01)
    ledger.append(*batch(1))
    with FileLock(tmp_path / ".lock"):
        assert ledger.n_looks(BTC, START, END) == 3
        assert ledger.daily_returns(BTC, FIRST, FIRST + 1)[0].shape == (1, 3)


def test_a_segment_knows_its_own_name(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    assert Segment.is_one(segment.path)
    assert not Segment.is_one(tmp_path / "seg-1.jsonl")


# Older files, the past, and what others bring


def test_a_ledger_of_the_first_format_is_read_and_goes_on(tmp_path: Path) -> None:
    """Lines as the first format wrote them, with the fields that it had."""
    path = tmp_path / f"seg-{'1' * 32}.jsonl"
    row = returns(0)[0]
    row.astype("<f8").tofile(path.with_suffix(".f64"))
    first_fields = (
        "kind", "candidate", "template", "name", "market", "start_ms", "end_ms", "timeframe", "snapshot",
        "campaign", "origin", "sharpe", "n_trades",
    )  # fmt: skip
    plain = {name: getattr(trial("old"), name) for name in first_fields} | {"recorded_s": 1.0}
    digest_of_row = hashlib.sha256(row.tobytes()).hexdigest()
    ChainedLog(path).append({"format": 1, "segment": path.stem})
    ChainedLog(path).append(
        {"trial": plain, "row": {"offset": 0, "first_day": FIRST, "n_days": N_DAYS, "sha256": digest_of_row}}
    )
    ledger = TrialLedger(tmp_path)
    assert ledger.append([trial("old"), trial("new")], np.stack([row, returns(1)[0]]), FIRST) == 1
    ledger.verify()
    told = {t.name: t.knowledge_cutoff for t in ledger.trials(BTC, START, END)}
    assert told == {"old": "", "new": ""}


def test_the_past_is_read_as_it_was_and_takes_nothing_new(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(*batch(1))
    then, head, known = ledger.heads(), ledger.head(), ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)
    ledger.append(*batch(2))
    TrialLedger(tmp_path).append(*batch(3))
    past = PastLedger(tmp_path, then)
    matrix, names = past.daily_returns(BTC, FIRST, FIRST + N_DAYS)
    assert (past.head(), past.heads()) == (head, then)
    assert names == known[1] and matrix.tobytes() == known[0].tobytes()
    assert past.append(*batch(1)) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(LedgerError, match="was not counted when the evidence was measured"):
        past.append(*batch(2))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(LedgerError, match="no line has the hash"):
        PastLedger(tmp_path, dict.fromkeys(then, "c" * 64)).head()
    with pytest.raises(LedgerError, match="a segment is gone"):
        PastLedger(tmp_path, {f"seg-{'0' * 32}.jsonl": "c" * 64})


def test_a_segment_that_grew_elsewhere_is_taken_in_and_a_shorter_one_changes_nothing(tmp_path: Path) -> None:
    one, two, early = TrialLedger(tmp_path / "one"), TrialLedger(tmp_path / "two"), tmp_path / "early"
    one.append(*batch(1))
    shutil.copytree(one.folder, early)
    assert merge(two, one.folder).n_trials == 3
    assert merge(two, one.folder).n_trials == 0
    one.append(*batch(2))
    grown = merge(two, one.folder)
    assert (grown.new, len(grown.longer), grown.n_trials) == ((), 1, 3)
    assert merge(two, early).n_trials == 0
    assert two.heads() == one.heads() and two.n_looks(BTC, START, END) == 6
    two.verify(one.heads())
    assert copy_segments(two, tmp_path) == two.heads()


@pytest.mark.parametrize("what", ["line", "row"])
def test_a_segment_that_was_changed_elsewhere_is_not_taken_in(tmp_path: Path, what: str) -> None:
    one, two = TrialLedger(tmp_path / "one"), TrialLedger(tmp_path / "two")
    one.append(*batch(1))
    lines, rows = segment_files(one.folder)
    flip(lines if what == "line" else rows, 300 if what == "line" else 30)
    with pytest.raises(LedgerError):
        merge(two, one.folder)
    assert two.heads() == {} and not list(two.folder.glob("seg-*"))


def test_the_columns_that_are_asked_for_are_those_of_the_whole(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path)
    ledger.append(*batch(1, 7))
    whole, names = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)
    some, chosen = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS, only=[1, 4])
    assert chosen == [names[1], names[4]]
    np.testing.assert_array_equal(some, whole[:, [1, 4]])
