"""MLflow as a mirror: one store, no litter, no noise, one sentence when it fails."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.tracking.connection import ADDRESS, Connection
from pipelines.tracking.mlflow_ui import ui_command, ui_environment
from pipelines.tracking.quiet_settings import ENVIRONMENT
from pipelines.tracking.tracker import Tracker, model_name
from research_lab import durable
from research_lab.errors import TrackingError, UsageError
from research_lab.workspace import Workspace

ROOT = Path(durable.__file__).parents[1]
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """Return one store for all tests here: making a database takes two seconds."""
    root = tmp_path_factory.mktemp("a space, # and %") / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ADDRESS, raising=False)
        for key in ENVIRONMENT:
            patch.setenv(key, os.environ.get(key, ENVIRONMENT[key]))
        yield Tracker(Workspace(root).create())


@pytest.fixture
def campaign(tracker: Tracker) -> str:
    return tracker.start_campaign("c1", {"seed": 7, "prompt": "x" * 9_000})


def log(tracker: Tracker, campaign: str, **changes: object) -> str:
    arguments: dict[str, object] = {
        "campaign_run": campaign,
        "name": "ema_atr",
        "digest": DIGEST,
        "spec_text": "name: ema_atr\n",
        "metrics": {"holdout/p": 0.01, "n": 12.0},
        "tags": {"gate.holdout": "PASS"},
        "artifacts": {},
    }
    return tracker.log_candidate(**{**arguments, **changes})  # type: ignore[arg-type]


def test_a_candidate_is_a_finished_child_run_with_its_text(
    tracker: Tracker, campaign: str, tmp_path: Path
) -> None:
    report = tmp_path / "some-file.html"
    report.write_text("<html>")
    run = log(tracker, campaign, artifacts={"evidence/report.html": report})
    with tracker.connection.calling() as client:
        seen = client.get_run(run)
        parent = client.get_run(campaign)
    assert seen.data.tags["mlflow.parentRunId"] == campaign
    assert seen.data.tags["gauntlet.candidate"] == DIGEST
    assert seen.data.tags["gate.holdout"] == "PASS"
    assert seen.data.metrics == {"holdout/p": 0.01, "n": 12.0}
    assert seen.info.status == "FINISHED"
    assert (parent.info.status, parent.data.params["seed"]) == ("RUNNING", "7")
    folder = tracker.connection.workspace.mlartifacts / run / "artifacts"
    assert (folder / "bundle" / "spec.yaml").read_text() == "name: ema_atr\n"
    assert (folder / "evidence" / "report.html").read_text() == "<html>"


def test_everything_lies_in_the_workspace(tracker: Tracker, campaign: str) -> None:
    log(tracker, campaign)
    assert not Path("mlruns").exists()
    assert not Path("mlflow.db").exists()
    assert ADDRESS not in os.environ
    assert {"mlflow.db", "mlflow.lock", "mlartifacts"} <= set(os.listdir(tracker.connection.workspace.root))


def test_what_was_not_measured_is_named_and_not_logged_as_a_number(tracker: Tracker, campaign: str) -> None:
    run = log(tracker, campaign, metrics={"a": float("nan"), "b": float("inf"), "c[1]": 1.0})
    with tracker.connection.calling() as client:
        data = client.get_run(run).data
    assert data.metrics == {"c_1_": 1.0}
    assert data.tags["gauntlet.not_measured"] == "a, b"


def test_metrics_and_tags_go_up_in_one_batch(
    tracker: Tracker, campaign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    calls: list[int] = []
    real = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, **rows: object) -> object:
        calls.append(1)
        return real(self, run_id, **rows)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    log(tracker, campaign, metrics={f"m{i}": float(i) for i in range(300)}, tags={"a": "b", "c": "d"})
    assert len(calls) == 1
    run = log(tracker, campaign, metrics={f"m{i}": float(i) for i in range(1_700)}, tags={"a": "b"})
    assert len(calls) == 4
    with tracker.connection.calling() as client:
        assert len(client.get_run(run).data.metrics) == 1_700


def test_an_artifact_outside_its_run_or_missing_is_refused(tracker: Tracker, campaign: str) -> None:
    with pytest.raises(UsageError, match="inside its run"):
        log(tracker, campaign, artifacts={"../x": Path(__file__)})
    with pytest.raises(UsageError, match="does not exist"):
        log(tracker, campaign, artifacts={"x": Path("no such file")})


def test_aliases_point_at_registered_versions_and_go_away(tracker: Tracker, campaign: str) -> None:
    model = model_name("synthetic BTC/USDT 1h")
    first, second = log(tracker, campaign), log(tracker, campaign)
    assert tracker.alias_version(model, "champion") is None
    assert [tracker.register(run, model) for run in (first, second, first)] == [1, 2, 1]
    assert tracker.alias_version(model, "champion") is None
    tracker.set_alias(model, "champion", 1)
    tracker.set_alias(model, "champion", 2)
    assert tracker.alias_version(model, "champion") == 2
    tracker.delete_alias(model, "champion")
    tracker.delete_alias(model, "champion")
    assert tracker.alias_version(model, "champion") is None


def test_of_two_campaigns_at_once_the_anchor_that_was_dropped_last_holds(tracker: Tracker) -> None:
    """The one that began first may look on when the other has ended."""
    here = Tracker(Workspace(tracker.connection.workspace.root / "twice"), tracker.connection.address)
    first, second = (here.start_campaign(name, {}) for name in ("first", "second"))
    here.ledgers.anchor(second, {"seg-a.jsonl": "a" * 64})
    here.ledgers.anchor(first, {"seg-a.jsonl": "a" * 64, "seg-b.jsonl": "b" * 64})
    assert sorted(here.ledgers.anchored_heads()) == ["seg-a.jsonl", "seg-b.jsonl"]
    here.ledgers.anchor(second, {"seg-c.jsonl": "c" * 64})
    assert sorted(here.ledgers.anchored_heads()) == ["seg-c.jsonl"]


def test_the_ledgers_head_is_anchored_and_runs_are_closed(tracker: Tracker, campaign: str) -> None:
    assert tracker.ledgers.anchored_heads() == {}
    tracker.ledgers.anchor(campaign, {"seg-a.jsonl": "c" * 64})
    assert tracker.ledgers.anchored_heads() == {"seg-a.jsonl": "c" * 64}
    elsewhere = Tracker(Workspace(tracker.connection.workspace.root / "other"), tracker.connection.address)
    assert elsewhere.ledgers.anchored_heads() == {}
    tracker.finish(campaign, "FAILED")
    with tracker.connection.calling() as client:
        assert client.get_run(campaign).info.status == "FAILED"
    with pytest.raises(UsageError, match="no status"):
        tracker.finish(campaign, "DONE")


def test_a_campaign_goes_on_in_the_run_that_was_left_unless_that_is_finished_or_not_known(
    tracker: Tracker,
) -> None:
    def status(run: str) -> str:
        with tracker.connection.calling() as client:
            return str(client.get_run(run).info.status)

    first = tracker.start_campaign("search-ab", {"seed": 1})
    for ended in ("KILLED", "FAILED", ""):  # "": killed so hard that nothing was said
        if ended:
            tracker.finish(first, ended)
        assert tracker.start_campaign("search-ab", {"seed": 1, "more": 2}, left=first) == first
        assert status(first) == "RUNNING"
    tracker.finish(first)
    second = tracker.start_campaign("search-ab", {"seed": 1}, left=first)
    third = tracker.start_campaign("search-ab", {"seed": 1}, left="0" * 32)
    assert len({first, second, third}) == 3
    assert (status(first), status(second)) == ("FINISHED", "RUNNING")


def test_an_unknown_run_is_one_sentence(tracker: Tracker) -> None:
    with pytest.raises(TrackingError, match=r"MLflow refuses: .*0000"):
        tracker.finish("0" * 32)


def test_a_tracker_travels_to_other_processes(tracker: Tracker) -> None:
    copy = pickle.loads(pickle.dumps(tracker))  # noqa: S301 (our own bytes)
    there, here = copy.connection, tracker.connection
    assert (there.workspace, there.address, there._client) == (here.workspace, here.address, None)
    assert copy.ledgers.connection is there


def test_a_moved_workspace_does_not_write_to_its_old_place(tracker: Tracker, campaign: str) -> None:
    moved = Workspace(tracker.connection.workspace.root.with_name("moved"))
    moved.create()
    moved.mlflow_db.write_bytes(tracker.connection.workspace.mlflow_db.read_bytes())
    run = log(Tracker(moved), campaign)
    assert (moved.mlartifacts / run).is_dir()
    assert not (tracker.connection.workspace.mlartifacts / run).exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "http://user:secret@127.0.0.1:{port}"])
def test_a_dead_server_is_told_within_seconds(tmp_path: Path, address: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    dead = Tracker(Workspace(tmp_path), address.format(port=port))
    start = time.monotonic()
    with pytest.raises(TrackingError, match="does not answer; start it") as caught:
        dead.start_campaign("c", {})
    assert time.monotonic() - start < 5.0
    assert "secret" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("address", ["mlruns", "file:///tmp/mlruns"])
def test_plain_folders_are_refused_with_a_remedy(tmp_path: Path, address: str) -> None:
    with pytest.raises(TrackingError, match="unset MLFLOW_TRACKING_URI"):
        Tracker(Workspace(tmp_path), address)


def test_the_variable_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "http://localhost:5000")
    assert Connection(Workspace(tmp_path)).address == "http://localhost:5000"
    with pytest.raises(TrackingError, match="open that address"):
        ui_command(Connection(Workspace(tmp_path)))
    monkeypatch.setenv(ADDRESS, "")
    assert Connection(Workspace(tmp_path)).address == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_database_of_the_users_choice_gets_its_artifacts_in_the_workspace(
    tmp_path: Path, tracker: Tracker
) -> None:
    (tmp_path / "own.db").write_bytes(tracker.connection.workspace.mlflow_db.read_bytes())
    own = Tracker(Workspace(tmp_path / "w"), f"sqlite:///{tmp_path}/own.db")
    run = log(own, own.start_campaign("c", {}))
    assert (tmp_path / "w" / "mlartifacts" / run).is_dir()
    assert not (tracker.connection.workspace.mlartifacts / run).exists()


def test_a_broken_database_is_told_at_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.mlflow_db.write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match="file is not a database"):
        Tracker(workspace).start_campaign("c", {})
    with pytest.raises(TrackingError, match="rename the folder"):
        Tracker(Workspace(tmp_path / "100%25")).start_campaign("c", {})


def test_a_fresh_store_is_made_once_in_silence_by_processes_that_start_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from research_lab.workspace import Workspace\n"
        "from pipelines.tracking.tracker import Tracker\n"
        "assert 'mlflow' not in sys.modules\n"
        "t = Tracker(Workspace(Path(sys.argv[1])))\n"
        "t.finish(t.start_campaign('c', {'a': 1}))\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "w")],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert outputs == [b"", b""]
    fresh = Tracker(Workspace(tmp_path / "w"))
    with fresh.connection.calling() as client:
        assert len(client.search_runs([fresh.connection.experiment])) == 2


def test_the_server_serves_the_store_on_loopback_and_takes_the_same_calls(
    tracker: Tracker, tmp_path: Path
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = ui_command(tracker.connection, port)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    environment = ui_environment() | {"PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if b"Uvicorn running" in line:
                break
        remote = Tracker(Workspace(tmp_path), f"http://127.0.0.1:{port}")
        run = log(remote, remote.start_campaign("over http", {"a": 1}))
        version = remote.register(run, "remote")
        remote.set_alias("remote", "champion", version)
        assert remote.alias_version("remote", "champion") == version == 1
        assert os.listdir(tmp_path) == []
        assert (
            tracker.connection.workspace.mlartifacts / run / "artifacts" / "bundle" / "spec.yaml"
        ).exists()
        assert tracker.alias_version("remote", "champion") == 1
    finally:
        os.killpg(server.pid, 15)
        server.communicate()


def test_a_search_leaves_its_figures_and_files_in_the_campaigns_run(
    tracker: Tracker, campaign: str, tmp_path: Path
) -> None:
    (tmp_path / "archive.json").write_text("{}")
    (tmp_path / "ab12.json").write_text('{"asked": 1}')
    files = {"archive.json": tmp_path / "archive.json", "transcripts/ab12.json": tmp_path / "ab12.json"}
    tracker.log_search(campaign, {"n_looks": 30.0, "refused/gate 1": 4.0, "best": float("nan")}, files)
    with tracker.connection.calling() as client:
        seen = client.get_run(campaign)
    assert seen.data.metrics == {"n_looks": 30.0, "refused/gate 1": 4.0}
    folder = tracker.connection.workspace.mlartifacts / campaign / "artifacts"
    assert (folder / "transcripts" / "ab12.json").read_text() == '{"asked": 1}'
    assert (folder / "archive.json").is_file()
    with pytest.raises(UsageError, match="must stay inside"):
        tracker.log_search(campaign, {}, {"../outside": tmp_path / "ab12.json"})
