"""A ledger is the same one wherever its folder lies, and no other takes its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError
from research_lab.scoring.ledger_identity import NAME, Identity, established, former_name, identity_of
from research_lab.scoring.ledger_merge import merge
from research_lab.scoring.trial_ledger import TrialLedger
from tests.research_lab.scoring.test_trial_ledger import batch


def written(folder: Path, seed: int = 1) -> TrialLedger:
    ledger = TrialLedger(folder)
    ledger.append(*batch(seed))
    return ledger


def older(folder: Path) -> None:
    """Write a segment as it was before ledgers had ids."""
    folder.mkdir(parents=True)
    path = folder / f"seg-{'5' * 32}.jsonl"
    ChainedLog(path).append({"format": 2, "segment": path.stem})


def test_an_id_stands_in_every_segments_first_line_and_goes_where_the_folder_goes(tmp_path: Path) -> None:
    for seed in (1, 2):
        written(tmp_path / "here" / "trials", seed)
    found = identity_of(tmp_path / "here" / "trials")
    for path in (tmp_path / "here" / "trials").glob("seg-*.jsonl"):
        assert json.loads(path.read_text().splitlines()[0])["payload"]["ledger"] == found.id
    (tmp_path / "here").rename(tmp_path / "there")
    written(tmp_path / "there" / "trials", 3)
    assert identity_of(tmp_path / "there" / "trials") == found
    assert found.names == (found.id,)


def test_reading_and_opening_write_no_id_and_two_folders_have_two(tmp_path: Path) -> None:
    TrialLedger(tmp_path).verify()
    assert identity_of(tmp_path) == Identity("") and not (tmp_path / NAME).exists()
    assert established(tmp_path / "..") != established(tmp_path)
    assert established(tmp_path) == established(tmp_path) == identity_of(tmp_path)


def test_without_its_file_the_segments_tell_the_id_unless_they_are_of_several_ledgers(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one"), written(tmp_path / "two", 2)
    known = identity_of(one.folder)
    (one.folder / NAME).unlink()
    assert established(one.folder) == known
    merge(one, two.folder)
    assert identity_of(one.folder) == known
    (one.folder / NAME).unlink()
    with pytest.raises(LedgerError, match="segments of 2 ledgers"):
        written(one.folder, 3)


def test_an_empty_ledger_that_takes_segments_in_does_not_become_theirs(tmp_path: Path) -> None:
    theirs, ours = written(tmp_path / "theirs"), TrialLedger(tmp_path / "ours")
    merge(ours, theirs.folder)
    assert identity_of(ours.folder).id not in ("", identity_of(theirs.folder).id)


def test_a_ledger_of_before_gets_an_id_and_remembers_its_former_name(tmp_path: Path) -> None:
    older(tmp_path / "old" / "trials")
    before = identity_of(tmp_path / "old" / "trials")
    assert before == Identity("", (former_name(tmp_path / "old"),))
    ledger = written(tmp_path / "old" / "trials")
    found = identity_of(ledger.folder)
    assert found.id and found.formerly == before.formerly
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert identity_of(tmp_path / "new" / "trials") == found


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"ledger": "../x", "formerly": []}', '{"ledger": 3, "formerly": []}', "{" * 5_000],
)
def test_a_file_that_tells_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(LedgerError, match="does not tell which ledger"):
        established(tmp_path)
