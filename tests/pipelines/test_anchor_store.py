"""A workspace answers for the anchors of its ledger wherever it lies, and for no others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import ledger_exchange
from pipelines.anchor_store import Noted, answered_for, place_of
from pipelines.tracking import ledger_store
from pipelines.tracking.connection import ADDRESS, EXPERIMENT, Connection
from pipelines.tracking.ledger_store import LedgerStore
from pipelines.tracking.tracker import Tracker
from research_lab.errors import LedgerError
from research_lab.scoring.ledger_identity import NAME, Identity, former_name
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.research_lab.scoring.test_trial_ledger import batch

ROOT = Path("/somewhere/ws")
OURS, THEIRS = "a" * 32, "b" * 32


def noted(ledger: str, place: str = "", at: int = 0, *, own_store: bool = False) -> Noted:
    return Noted(f"run {at}", ledger, place, own_store, f"{at:020d}")


@given(
    places=st.lists(st.sampled_from(["here", "there", ""]), max_size=6),
    ledgers=st.lists(st.sampled_from([OURS, THEIRS, former_name(ROOT)]), min_size=6, max_size=6),
)
def test_who_has_anchors_answers_for_them_alone_wherever_they_were_dropped(
    places: list[str], ledgers: list[str]
) -> None:
    known = {"here": place_of(ROOT), "there": place_of(Path("/there")), "": ""}
    every = [noted(ledgers[k], known[place], k) for k, place in enumerate(places)]
    found = answered_for(every, Identity(OURS), ROOT, own_store=False)
    own = [one for one in every if one.ledger == OURS]
    if own:
        assert found == own
    else:
        assert len({one.ledger for one in found}) <= 1
        assert {one.ledger for one in found} <= {THEIRS, former_name(ROOT)}


def test_a_fresh_ledger_answers_for_the_one_that_was_last_here_and_not_for_one_that_moved_away() -> None:
    here, there = place_of(ROOT), place_of(Path("/there"))
    every = [noted(THEIRS, here, 1), noted(THEIRS, here, 2)]
    assert answered_for(every, Identity(""), ROOT, own_store=False) == every
    assert answered_for([*every, noted(THEIRS, there, 3)], Identity(""), ROOT, own_store=False) == []
    assert answered_for(every, Identity(OURS), Path("/other"), own_store=False) == []


def test_a_former_name_is_read_and_an_own_database_speaks_for_its_workspace() -> None:
    old = noted(former_name(Path("/before")), "", 1)
    assert answered_for([old], Identity(OURS, (old.ledger,)), ROOT, own_store=False) == [old]
    dropped = noted(THEIRS, place_of(Path("/before")), 2, own_store=True)
    assert answered_for([dropped], Identity(OURS), ROOT, own_store=True) == [dropped]
    assert answered_for([dropped], Identity(OURS), ROOT, own_store=False) == []


# In a real store


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a look and an anchor in its own database: making one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ADDRESS, raising=False)
        root = tmp_path_factory.mktemp("made") / "ws"
        anchored(looked(root))
        yield root


def looked(root: Path, seed: int = 1) -> Workspace:
    workspace = Workspace(root).create()
    TrialLedger(workspace.trials).append(*batch(seed))
    return workspace


def anchored(workspace: Workspace, address: str | None = None) -> Tracker:
    tracker = Tracker(workspace, address)
    run = tracker.start_campaign("c", {})
    tracker.ledgers.anchor(run, TrialLedger(workspace.trials).heads())
    return tracker


def stored(workspace: Workspace, address: str | None = None) -> LedgerStore:
    return LedgerStore(Connection(workspace, address))


def verified(root: Path, address: str | None = None) -> int:
    """Return how many anchors hold."""
    workspace = Workspace(root).create()
    return ledger_exchange.verify(TrialLedger(workspace.trials), stored(workspace, address)).n_anchors


def test_a_workspace_that_was_moved_keeps_its_anchors_and_what_was_cut_off_is_still_seen(
    template: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(template, first)
    shutil.move(first, second)
    assert verified(second) == 1
    anchored(looked(second, 2))
    assert verified(second) == 2
    shutil.move(second, first)
    assert verified(first) == 2
    (gone, *_) = sorted((first / "trials").glob("seg-*.jsonl"))
    gone.unlink()
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(first)


def test_a_ledger_that_was_deleted_is_missed_by_the_workspaces_own_database_wherever_it_lies(
    template: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(template, moved)
    shutil.rmtree(moved / "trials")
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(moved)
    looked(moved, 3)
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(moved)


def test_on_a_shared_store_ledgers_go_by_their_id_and_not_by_their_path(
    template: Path, tmp_path: Path
) -> None:
    shutil.copyfile(template / "mlflow.db", tmp_path / "shared.db")  # any store of others
    address, mounted = f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "mounted"
    anchored(looked(mounted, 1), address)
    shutil.copytree(mounted, tmp_path / "one")
    shutil.rmtree(mounted / "trials")
    assert verified(tmp_path / "one", address) == 1
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(mounted, address)  # begun anew where a ledger was: whoever deletes one does the same
    anchored(Workspace(tmp_path / "one"), address)  # it lives elsewhere now, and said so
    assert verified(mounted, address) == 0
    anchored(looked(mounted, 2), address)
    shutil.move(mounted, tmp_path / "two")
    assert (verified(tmp_path / "one", address), verified(tmp_path / "two", address)) == (2, 1)
    shutil.move(tmp_path / "two", mounted)  # another project at the path where the first one was
    assert verified(mounted, address) == 1
    others = stored(Workspace(mounted), address).n_other_ledgers()
    assert others == 2  # the first, and that of the store's maker


def test_anchors_of_before_are_read_also_after_a_move(template: Path, tmp_path: Path) -> None:
    """They name a hash of the path, and no place."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(template, old)
    with Connection(Workspace(old)).calling() as client:
        for one in ledger_store._noted(client):
            client.delete_run(one.run)
        location = (old / "mlartifacts").as_uri()
        client.rename_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id, "before")
        made = client.create_experiment(EXPERIMENT, artifact_location=location)
        run = client.create_run(made, run_name="c").info.run_id
        client.log_dict(run, TrialLedger(old / "trials").heads(), ledger_store._HEADS)
        client.set_tag(run, ledger_store._LEDGER, former_name(old))
        client.set_tag(run, ledger_store._ANCHORED, "7")
    for path in (old / "trials").glob("seg-*"):  # its segments name no ledger
        path.unlink()
    (old / "trials" / NAME).unlink()
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(old)
    shutil.move(old, new)
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        verified(new)
