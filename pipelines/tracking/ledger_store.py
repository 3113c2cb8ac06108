"""Keeps heads and segments of trial ledgers in MLflow, where whoever rewrites a ledger does not reach."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pipelines.anchor_store import Noted, answered_for, place_of
from pipelines.tracking.connection import EXPERIMENT, Connection
from pipelines.tracking.runs import log_batch, tagged_runs
from research_lab.errors import TrackingError
from research_lab.scoring.ledger_identity import established, former_name, identity_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LEDGER = "gauntlet.ledger"
_PLACE = "gauntlet.place"
_OWN_STORE = "gauntlet.own_store"
_ANCHORED = "gauntlet.anchored_ns"
_HEADS = "ledger_heads.json"
_SEGMENTS = "segments"


@dataclass(frozen=True)
class LedgerStore:
    """What an MLflow store keeps of ledgers: the heads that were anchored, the segments that were pushed."""

    connection: Connection

    def anchor(self, run: str, heads: Mapping[str, str]) -> None:
        """Note the heads of the workspace's ledger in a run, where whoever rewrites the ledger does not reach.

        Parameters
        ----------
        heads : each segment's last hash by file name.
        """
        workspace = self.connection.workspace
        workspace.trials.mkdir(parents=True, exist_ok=True)
        tags = {
            _LEDGER: established(workspace.trials).id,
            _PLACE: place_of(workspace.root),
            _OWN_STORE: str(self.connection.is_own),
        }
        with self.connection.calling() as client:
            client.log_dict(run, dict(heads), _HEADS)
            log_batch(client, run, {}, {**tags, _ANCHORED: f"{time.time_ns():020d}"})

    def anchored_heads(self) -> dict[str, str]:
        """Return the heads that were anchored last for this workspace's ledger; none when none were."""
        with self.connection.calling() as client:
            found = self._own_anchors(client)
            return self._heads_of(client, found[-1].run) if found else {}

    def anchors(self) -> list[dict[str, str]]:
        """Return all heads that were ever anchored for this workspace's ledger, the oldest first."""
        with self.connection.calling() as client:
            return [self._heads_of(client, one.run) for one in self._own_anchors(client)]

    def n_other_ledgers(self) -> int:
        """Return how many other ledgers have anchors in this store."""
        with self.connection.calling() as client:
            own = {one.ledger for one in self._own_anchors(client)}
            return len({one.ledger for one in _noted(client)} - own)

    def push_segments(self, folder: Path, heads: Mapping[str, str]) -> str:
        """Put segments of a ledger into a run of their own, and return its id.

        Parameters
        ----------
        folder : holds their files, and nothing else. heads : each segment's last hash by file name.
        """
        with self.connection.calling() as client:
            tags = {"gauntlet.kind": _SEGMENTS}
            run = str(client.create_run(self.connection.experiment, tags=tags, run_name="trials").info.run_id)
            client.log_artifacts(run, str(folder), _SEGMENTS)
            client.log_dict(run, dict(heads), _HEADS)
            client.set_terminated(run, "FINISHED")
            return run

    def pushed(self) -> list[tuple[str, dict[str, str]]]:
        """Return the runs that segments were put into, by whatever workspace, with heads; the oldest first."""
        with self.connection.calling() as client:
            tagged = f"tags.`gauntlet.kind` = '{_SEGMENTS}' and attributes.status = 'FINISHED'"
            runs = [str(run.info.run_id) for run in tagged_runs(client, tagged)]
            return [(run, self._heads_of(client, run)) for run in runs]

    def fetch_segments(self, run: str, names: Sequence[str], folder: Path) -> None:
        """Download segments by their file names into a folder."""
        own = self.connection.workspace.mlartifacts / run / "artifacts" / _SEGMENTS
        with self.connection.calling() as client, tempfile.TemporaryDirectory() as place:
            if not self.connection.is_server and own.is_dir():  # also after the workspace was moved
                for path in own.iterdir():
                    if path.with_suffix(".jsonl").name in names:
                        shutil.copyfile(path, folder / path.name)
                return
            for name in names:
                rows = Path(name).with_suffix(".f64").name
                for artifact in client.list_artifacts(run, _SEGMENTS):
                    if Path(artifact.path).name in (name, rows):
                        path = client.download_artifacts(run, artifact.path, place)
                        shutil.copyfile(path, folder / Path(artifact.path).name)

    def _own_anchors(self, client: MlflowClient) -> list[Noted]:
        """Return the anchors that this workspace answers for, the oldest first."""
        workspace, own_store = self.connection.workspace, self.connection.is_own
        ledger = identity_of(workspace.trials)
        if own_store and (made := client.get_experiment_by_name(EXPERIMENT)):  # by whom, and where that lay
            old = former_name(Path(_local(made.artifact_location)).parent)
            ledger = replace(ledger, formerly=(*ledger.formerly, old))
        return answered_for(_noted(client), ledger, workspace.root, own_store=own_store)

    def _heads_of(self, client: MlflowClient, run: str) -> dict[str, str]:
        """Return the heads that were noted in a run; of a database, first where this workspace keeps them now."""
        own = self.connection.workspace.mlartifacts / run / "artifacts" / _HEADS
        if self.connection.is_server or not own.exists():
            return _heads_of(client, run)
        return _heads_in(own)


def _noted(client: MlflowClient) -> list[Noted]:
    """Return all anchors in a store."""
    found = []
    for run in tagged_runs(client, f"tags.`{_LEDGER}` != ''"):
        tags, began = run.data.tags, f"{run.info.start_time * 1_000_000:020d}"
        at, own = tags.get(_ANCHORED, began), tags.get(_OWN_STORE) == str(True)
        found.append(Noted(str(run.info.run_id), tags[_LEDGER], tags.get(_PLACE, ""), own, at))
    return found


def _heads_of(client: MlflowClient, run: str) -> dict[str, str]:
    """Return the heads that were noted in a run."""
    with tempfile.TemporaryDirectory() as folder:
        return _heads_in(Path(client.download_artifacts(run, _HEADS, folder)))


def _heads_in(path: Path) -> dict[str, str]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(head) for name, head in raw.items()}
    except (ValueError, AttributeError, RecursionError):
        raise TrackingError("a run's heads of a ledger were changed", str(path), "restore the file") from None


def _local(location: str) -> str:
    """Return the path that a location of artifacts names."""
    return unquote(location.removeprefix("file://"))
