"""Segments that others wrote: whatever they say, no look that is here may go uncounted, and nothing may crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research_lab.bars import FloatArray
from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError
from research_lab.scoring.ledger_merge import merge
from research_lab.scoring.ledger_segment import FORMAT
from research_lab.scoring.trial_ledger import Trial, TrialLedger
from research_lab.timeframe import DAY_MS

FIRST, N_DAYS, LONGER = 18_000, 6, 9
DAY_S = DAY_MS // 1000
BTC = "BTC/USDT"
Payload = dict[str, dict[str, Any]]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def trial(name: str) -> Trial:
    return Trial(
        kind="scored",
        candidate=digest(name),
        template=digest("template"),
        name=name,
        market=BTC,
        start_ms=FIRST * DAY_MS,
        end_ms=(FIRST + LONGER) * DAY_MS,
        timeframe="4h",
        snapshot=digest("snapshot"),
        campaign="c1",
        origin="grammar",
        sharpe=1.25,
        n_trades=31,
    )


def returns() -> FloatArray:
    return np.random.default_rng(0).normal(0, 0.01, (3, N_DAYS))


def honest(folder: Path) -> TrialLedger:
    ledger = TrialLedger(folder)
    ledger.append([trial(str(k)) for k in range(3)], returns(), FIRST)
    return ledger


def forged(ledger: TrialLedger, folder: Path, change: Callable[[Payload], None], rows: FloatArray) -> Path:
    """Return a folder with a segment whose chain is whole and whose lines say something else, earlier."""
    folder.mkdir()
    path = folder / f"seg-{'9' * 32}.jsonl"
    log = ChainedLog(path)
    log.append({"format": FORMAT, "segment": path.stem})
    (kept,) = ledger.folder.glob("seg-*.jsonl")
    for text in kept.read_text(encoding="utf-8").splitlines()[1:]:
        payload = json.loads(text)["payload"]
        payload["trial"]["recorded_s"] = float((FIRST + LONGER) * DAY_S)
        change(payload)
        log.append(payload)
    rows.astype("<f8").tofile(path.with_suffix(".f64"))
    return folder


def hiding_returns(payload: Payload) -> None:
    payload["row"] |= {"offset": 0, "n_days": 0}


def never_scored(payload: Payload) -> None:
    payload["trial"]["kind"] = "refused"


def outside_its_interval(payload: Payload) -> None:
    payload["row"]["first_day"] = 99_000


def without_a_hash(payload: Payload) -> None:
    payload["row"] |= {"offset": 0, "n_days": 0, "sha256": ""}


def negative_length(payload: Payload) -> None:
    payload["row"]["n_days"] = -1


def time_in_words(payload: Payload) -> None:
    payload["trial"]["start_ms"] = "early"


def market_of_a_list(payload: Payload) -> None:
    payload["trial"]["market"] = [BTC]


def no_candidate(payload: Payload) -> None:
    payload["trial"]["candidate"] = "x"


def true_for_a_number(payload: Payload) -> None:
    payload["trial"]["n_trades"] = True


def in_the_year_30000(payload: Payload) -> None:
    payload["trial"]["end_ms"] = 10**15 - 1


def beyond_any_float(payload: Payload) -> None:
    payload["trial"]["end_ms"] = 10**400


def ends_before_it_starts(payload: Payload) -> None:
    payload["trial"]["end_ms"] = payload["trial"]["start_ms"] - 1


def recorded_beyond_any_float(payload: Payload) -> None:
    payload["trial"]["recorded_s"] = 10**400


def recorded_before_1970(payload: Payload) -> None:
    payload["trial"]["recorded_s"] = -1.0


def endless_sharpe(payload: Payload) -> None:
    payload["trial"]["sharpe"] = 10**400


def negative_trades(payload: Payload) -> None:
    payload["trial"]["n_trades"] = -1


def more_trades_than_seconds(payload: Payload) -> None:
    payload["trial"]["n_trades"] = LONGER * DAY_S + 1


@pytest.mark.parametrize(
    "change",
    [
        in_the_year_30000, beyond_any_float, ends_before_it_starts, recorded_beyond_any_float,
        recorded_before_1970, endless_sharpe, negative_trades, more_trades_than_seconds,
        hiding_returns, never_scored, outside_its_interval, without_a_hash, negative_length, time_in_words,
        market_of_a_list, no_candidate, true_for_a_number,
    ],
)  # fmt: skip
def test_a_forged_line_is_refused_and_takes_no_look_away(
    tmp_path: Path, change: Callable[[Payload], None]
) -> None:
    ledger = honest(tmp_path / "ours")
    before = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)[0]
    with pytest.raises(LedgerError, match="the line is no trial"):
        merge(ledger, forged(ledger, tmp_path / "theirs", change, returns()))
    after = TrialLedger(ledger.folder).daily_returns(BTC, FIRST, FIRST + N_DAYS)[0]
    assert after.tobytes() == before.tobytes()


def test_returns_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    ledger, wild = honest(tmp_path / "ours"), np.full((3, N_DAYS), np.inf)

    def change(payload: Payload) -> None:
        payload["row"]["sha256"] = hashlib.sha256(wild[0].tobytes()).hexdigest()

    with pytest.raises(LedgerError, match="not finite"):
        merge(ledger, forged(ledger, tmp_path / "theirs", change, wild))


def test_the_same_returns_on_other_days_are_another_look_and_take_none_away(tmp_path: Path) -> None:
    """An earlier record of the same bytes, moved by three days, must not stand for the one that was scored."""

    def later(payload: Payload) -> None:
        payload["row"]["first_day"] = FIRST + LONGER - N_DAYS

    ledger = honest(tmp_path / "ours")
    merge(ledger, forged(ledger, tmp_path / "theirs", later, returns()))
    matrix = ledger.daily_returns(BTC, FIRST, FIRST + N_DAYS)[0]
    assert matrix.shape[1] == 6 and np.isfinite(matrix).all(axis=0).sum() == 3

    first = TrialLedger(tmp_path / "first")
    merge(first, tmp_path / "theirs")
    assert first.append([trial(str(k)) for k in range(3)], returns(), FIRST) == 3


def to_the_year_3000(payload: Payload) -> None:
    payload["trial"]["end_ms"] = 1030 * 365 * DAY_MS


def longer_than_it_is_known(payload: Payload) -> None:
    payload["trial"]["end_ms"] += 8 * DAY_MS


def recorded_in_the_year_3000(payload: Payload) -> None:
    payload["trial"]["recorded_s"] = 1030.0 * 365 * DAY_S


@pytest.mark.parametrize(
    "change", [to_the_year_3000, longer_than_it_is_known, recorded_in_the_year_3000, "returns"]
)
def test_a_look_that_cannot_be_is_refused_by_segment_and_line(
    tmp_path: Path, change: Callable[[Payload], None] | str
) -> None:
    """Their time was not yet when they were recorded, or no account has such days."""
    ledger, rows = honest(tmp_path / "ours"), returns()

    def wild(payload: Payload) -> None:
        payload["row"]["sha256"] = hashlib.sha256(
            rows[payload["row"]["offset"] // 8 // N_DAYS].tobytes()
        ).hexdigest()

    if change == "returns":
        rows[2, 3] = 1e200
    before = ledger.heads()
    with pytest.raises(LedgerError, match="a look that cannot be") as told:
        merge(ledger, forged(ledger, tmp_path / "theirs", wild if isinstance(change, str) else change, rows))
    assert told.value.where.endswith(f"seg-{'9' * 32}.jsonl:{4 if change == 'returns' else 2}")
    assert TrialLedger(ledger.folder).heads() == before


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("field", ["sharpe", "recorded_s", "end_ms", "n_trades"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, literal: str, field: str) -> None:
    """Python's JSON reads them, and the line's hash is over its text."""
    ledger = honest(tmp_path / "ours")
    folder = forged(ledger, tmp_path / "theirs", lambda payload: None, returns())
    (path,) = folder.glob("*.jsonl")
    header, first = path.read_text(encoding="utf-8").splitlines()[:2]
    raw = json.loads(first)
    raw["payload"]["trial"][field] = float(literal)
    plain = json.dumps(raw["payload"], sort_keys=True, separators=(",", ":"))
    head = hashlib.sha256(f"2\n{raw['prev']}\n{plain}".encode()).hexdigest()
    line = f'{{"hash":"{head}","n":2,"payload":{plain},"prev":"{raw["prev"]}"}}'
    path.write_text(f"{header}\n{line}\n", encoding="utf-8")
    with pytest.raises(LedgerError, match=r"\.jsonl:2: the line is no trial"):
        merge(ledger, folder)


def test_a_header_that_is_none_is_refused(tmp_path: Path) -> None:
    ledger = honest(tmp_path / "ours")
    path = tmp_path / "theirs" / f"seg-{'9' * 32}.jsonl"
    path.parent.mkdir()
    ChainedLog(path).append([])  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match=r"\.jsonl:1: the line is no header"):
        merge(ledger, path.parent)
