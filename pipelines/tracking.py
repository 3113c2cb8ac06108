"""MLflow: campaigns as parent runs, candidates as their children, registered models with aliases.

The only module that imports MLflow, and only inside functions, since that costs seconds. Everything goes
through one `MlflowClient` with an explicit address; MLflow's global state is neither read nor set, but
for its environment variables, which a user's own settings go before.

MLflow is a mirror for people. The truth is on disk: the map, the audit log, the candidates' folders.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from filelock import FileLock, Timeout

from pipelines.anchor_store import Noted, answered_for, place_of
from research_lab.errors import LockedError, TrackingError, UsageError
from research_lab.scoring.ledger_identity import established, former_name, identity_of
from research_lab.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ADDRESS = "MLFLOW_TRACKING_URI"
EXPERIMENT = "gauntlet"
SPEC_ARTIFACT = "bundle"
ALIASES = ("champion", "challenger", "canary")
STATUSES = ("FINISHED", "FAILED", "KILLED")
HOST = "127.0.0.1"
SPARE = "the map, the audit log and the candidates do not depend on it"

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_LOCK_TIMEOUT_S = 120.0
_MAX_METRICS = 800
_MAX_LABELS = 90
_MAX_VALUE = 5_000
_LEDGER = "gauntlet.ledger"
_PLACE = "gauntlet.place"
_OWN_STORE = "gauntlet.own_store"
_ANCHORED = "gauntlet.anchored_ns"
_HEADS = "ledger_heads.json"
_SEGMENTS = "segments"
_NOT_IN_KEYS = re.compile(r"[^\w.\- /]", re.ASCII)

_Item = TypeVar("_Item")


class Tracker:
    """Writes to one MLflow store: the server that ``MLFLOW_TRACKING_URI`` names, or the workspace's SQLite.

    Nothing is imported or opened before the first call that needs it. A tracker can be pickled; each
    process then opens the store for itself.

    Parameters
    ----------
    workspace : its mlflow.db and mlartifacts serve when no server is named.
    address : a server or database; by default that of the environment, read now.
    """

    def __init__(self, workspace: Workspace, address: str | None = None) -> None:
        self.workspace = workspace
        told = os.environ.get(ADDRESS, "") if address is None else address
        self.address = told.strip() or f"sqlite:///{workspace.mlflow_db}"
        if "://" not in self.address or self.address.startswith("file:"):
            raise TrackingError(
                "MLflow keeps no runs in plain folders any more",
                f"{ADDRESS}={self.address}",
                f"unset {ADDRESS} to use {workspace.mlflow_db}, or name a server",
            )
        self._client: MlflowClient | None = None
        self._experiment = ""

    def __reduce__(self) -> tuple[type[Tracker], tuple[Workspace, str]]:
        return Tracker, (self.workspace, self.address)

    @property
    def is_server(self) -> bool:
        """Whether runs go to a server, which keeps artifacts itself, rather than into a database."""
        return self.address.startswith(("http://", "https://"))

    def start_campaign(self, name: str, params: Mapping[str, object], *, left: str = "") -> str:
        """Open a campaign's parent run and return its id.

        Parameters
        ----------
        params : what the campaign was started with; values longer than 5,000 characters are cut.
        left : the run that an interrupted campaign of that name left. It is gone on in, unless it is finished, or
            the store does not know it.
        """
        with self._calling() as client:
            from mlflow.entities import Param

            run = _resumed(client, left) if left else None
            if run is None:
                run = client.create_run(self._experiment, tags={"gauntlet.kind": "campaign"}, run_name=name)
            rows = [
                Param(_key(key), str(value)[:_MAX_VALUE])
                for key, value in params.items()
                if _key(key) not in run.data.params
            ]
            for chunk in _chunks(rows, _MAX_LABELS):
                client.log_batch(run.info.run_id, params=chunk)
            return str(run.info.run_id)

    def log_candidate(
        self,
        campaign_run: str,
        name: str,
        digest: str,
        spec_text: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, object],
        artifacts: Mapping[str, Path],
    ) -> str:
        """Write one candidate as a finished child run and return its id.

        Parameters
        ----------
        campaign_run : id of the parent run; empty for a candidate given by hand.
        digest : the candidate's hash.
        spec_text : canonical strategy, stored as ``bundle/spec.yaml``.
        metrics : numbers by name, such as "holdout/p". MLflow cannot hold NaN or infinity faithfully:
            those are left out and named in the tag ``gauntlet.not_measured``.
        tags : words by name, such as each gate's outcome.
        artifacts : files by the path that they get in the run, such as "evidence/holdout.json".
        """
        unmeasured = sorted(key for key, value in metrics.items() if not math.isfinite(value))
        words = dict(tags) | ({"gauntlet.not_measured": ", ".join(unmeasured)} if unmeasured else {})
        with tempfile.TemporaryDirectory() as folder, self._calling() as client:
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

            _collect(Path(folder), spec_text, artifacts)
            first = {"gauntlet.kind": "candidate", "gauntlet.candidate": digest}
            if campaign_run:
                first[MLFLOW_PARENT_RUN_ID] = campaign_run
            run = str(client.create_run(self._experiment, tags=first, run_name=name).info.run_id)
            _log_batch(client, run, metrics, words)
            client.log_artifacts(run, folder)
            client.set_terminated(run, "FINISHED")
            return run

    def register(self, candidate_run: str, model_name: str, spec_artifact: str = SPEC_ARTIFACT) -> int:
        """Register a candidate's strategy as a model version, and return its number.

        The same run gives the same version however often it is registered.

        Parameters
        ----------
        model_name : without "/" and ":"; see `model_name`.
        spec_artifact : the run's artifact folder that holds the strategy.
        """
        with self._calling() as client:
            from mlflow.exceptions import MlflowException

            try:
                client.create_registered_model(model_name)
            except MlflowException as fault:
                if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"runs:/{candidate_run}/{spec_artifact}"
            for known in client.search_model_versions(f"run_id = '{candidate_run}'"):
                if known.name == model_name and known.source == source:
                    return int(known.version)
            digest = client.get_run(candidate_run).data.tags.get("gauntlet.candidate", "")
            made = client.create_model_version(
                model_name, source, run_id=candidate_run, tags={"gauntlet.candidate": digest}
            )
            return int(made.version)

    def set_alias(self, model_name: str, alias: str, version: int) -> None:
        """Point an alias at a version. The last writer wins: enable_map under its lock is the truth."""
        with self._calling() as client:
            client.set_registered_model_alias(model_name, alias, str(version))

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Take an alias away; nothing happens when it is not set."""
        if self.alias_version(model_name, alias) is not None:
            with self._calling() as client:
                client.delete_registered_model_alias(model_name, alias)

    def alias_version(self, model_name: str, alias: str) -> int | None:
        """Return the version that an alias points at; None when model or alias do not exist."""
        with self._calling() as client:
            from mlflow.exceptions import MlflowException

            try:
                return int(client.get_model_version_by_alias(model_name, alias).version)
            except MlflowException as fault:
                if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def log_search(self, run: str, metrics: Mapping[str, float], files: Mapping[str, Path]) -> None:
        """Write what a search found into its campaign's run.

        Parameters
        ----------
        metrics : numbers by name; what is not finite is left out.
        files : by the path that they get in the run, such as "transcripts/ab12.json".
        """
        with tempfile.TemporaryDirectory() as folder, self._calling() as client:
            _lay_out(Path(folder), files)
            _log_batch(client, run, metrics, {})
            client.log_artifacts(run, folder)

    def anchor_ledger(self, run: str, heads: Mapping[str, str]) -> None:
        """Note the heads of the workspace's ledger in a run, where whoever rewrites the ledger does not reach.

        Parameters
        ----------
        heads : each segment's last hash by file name.
        """
        self.workspace.trials.mkdir(parents=True, exist_ok=True)
        tags = {
            _LEDGER: established(self.workspace.trials).id,
            _PLACE: place_of(self.workspace.root),
            _OWN_STORE: str(self._is_own),
        }
        with self._calling() as client:
            client.log_dict(run, dict(heads), _HEADS)
            _log_batch(client, run, {}, {**tags, _ANCHORED: f"{time.time_ns():020d}"})

    def anchored_heads(self) -> dict[str, str]:
        """Return the heads that were anchored last for this workspace's ledger; none when none were."""
        with self._calling() as client:
            found = self._own_anchors(client)
            return self._heads_of(client, found[-1].run) if found else {}

    def anchors(self) -> list[dict[str, str]]:
        """Return all heads that were ever anchored for this workspace's ledger, the oldest first."""
        with self._calling() as client:
            return [self._heads_of(client, one.run) for one in self._own_anchors(client)]

    def n_other_ledgers(self) -> int:
        """Return how many other ledgers have anchors in this store."""
        with self._calling() as client:
            own = {one.ledger for one in self._own_anchors(client)}
            return len({one.ledger for one in _noted(client)} - own)

    def push_segments(self, folder: Path, heads: Mapping[str, str]) -> str:
        """Put segments of a ledger into a run of their own, and return its id.

        Parameters
        ----------
        folder : holds their files, and nothing else. heads : each segment's last hash by file name.
        """
        with self._calling() as client:
            tags = {"gauntlet.kind": _SEGMENTS}
            run = str(client.create_run(self._experiment, tags=tags, run_name="trials").info.run_id)
            client.log_artifacts(run, str(folder), _SEGMENTS)
            client.log_dict(run, dict(heads), _HEADS)
            client.set_terminated(run, "FINISHED")
            return run

    def pushed(self) -> list[tuple[str, dict[str, str]]]:
        """Return the runs that segments were put into, by whatever workspace, with heads; the oldest first."""
        with self._calling() as client:
            tagged = f"tags.`gauntlet.kind` = '{_SEGMENTS}' and attributes.status = 'FINISHED'"
            runs = [str(run.info.run_id) for run in _runs(client, tagged)]
            return [(run, self._heads_of(client, run)) for run in runs]

    def fetch_segments(self, run: str, names: Sequence[str], folder: Path) -> None:
        """Download segments by their file names into a folder."""
        own = self.workspace.mlartifacts / run / "artifacts" / _SEGMENTS
        with self._calling() as client, tempfile.TemporaryDirectory() as place:
            if not self.is_server and own.is_dir():  # also after the workspace was moved
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

    @property
    def _is_own(self) -> bool:
        """Whether the store is the workspace's own database."""
        return self.address == f"sqlite:///{self.workspace.mlflow_db}"

    def _own_anchors(self, client: MlflowClient) -> list[Noted]:
        """Return the anchors that this workspace answers for, the oldest first."""
        ledger, own_store = identity_of(self.workspace.trials), self._is_own
        if own_store and (made := client.get_experiment_by_name(EXPERIMENT)):  # by whom, and where that lay
            old = former_name(Path(_local(made.artifact_location)).parent)
            ledger = replace(ledger, formerly=(*ledger.formerly, old))
        return answered_for(_noted(client), ledger, self.workspace.root, own_store=own_store)

    def _heads_of(self, client: MlflowClient, run: str) -> dict[str, str]:
        """Return the heads that were noted in a run; of a database, first where this workspace keeps them now."""
        own = self.workspace.mlartifacts / run / "artifacts" / _HEADS
        if self.is_server or not own.exists():
            return _heads_of(client, run)
        return _heads_in(own)

    def finish(self, run: str, status: str = "FINISHED") -> None:
        """Close a run as FINISHED, FAILED or KILLED."""
        if status not in STATUSES:
            raise UsageError(f"no status {status!r}; statuses are {', '.join(STATUSES)}")
        with self._calling() as client:
            client.set_terminated(run, status)

    def ui_command(self, port: int = 5000) -> list[str]:
        """Return the command that shows the workspace's store on this machine's loopback.

        Raises
        ------
        TrackingError
            The store is a server of its own.
        """
        if self.is_server:
            raise TrackingError(f"runs are kept at {_public(self.address)}", ADDRESS, "open that address")
        return [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", HOST, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", self.address),
            *("--artifacts-destination", self.workspace.mlartifacts.as_uri()),
        ]

    def ui_address(self, port: int = 5000) -> str:
        """Return where the campaigns are shown; without the last part the UI opens on chat traces."""
        with self._calling():
            return f"http://{HOST}:{port}/#/experiments/{self._experiment}/runs?workflowType=machine_learning"

    def serve_ui(self, port: int = 5000) -> int:
        """Run `ui_command` until it ends, or until Ctrl-C, its normal end; return its exit code."""
        command = self.ui_command(port)
        with self._calling():
            pass
        with subprocess.Popen(command, env=ui_environment()) as server:
            try:
                return server.wait()
            except KeyboardInterrupt:
                server.terminate()
                server.wait()
                return 0

    @contextmanager
    def _calling(self) -> Iterator[MlflowClient]:
        """Hand out the client, quietly, and turn whatever MLflow raises into one sentence."""
        _prepare_environment()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.exceptions import MlflowException
            from requests.exceptions import RequestException
            from sqlalchemy.exc import SQLAlchemyError

            _quieten()
            try:
                if self._client is None:
                    self._client = self._opened()
                yield self._client
            except (MlflowException, RequestException, SQLAlchemyError, OSError) as fault:
                raise self._explained(fault) from fault

    def _opened(self) -> MlflowClient:
        """Open the store; a fresh database is made by one process while the others wait."""
        from mlflow import MlflowClient

        if self.is_server:
            client = MlflowClient(self.address, self.address)
            self._experiment = _experiment(client, EXPERIMENT, None)
            return client
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        if self.address.startswith("sqlite:///"):
            _refuse_broken(self.address.removeprefix("sqlite:///"))
        lock = FileLock(self.workspace.root / "mlflow.lock", timeout=_LOCK_TIMEOUT_S)
        try:
            with lock:
                client = MlflowClient(self.address, self.address)
                location = self.workspace.mlartifacts.as_uri()
                self._experiment = _experiment(client, EXPERIMENT, location)
                return client
        except Timeout:
            raise LockedError(
                f"another process has held it for {_LOCK_TIMEOUT_S:.0f} s",
                str(lock.lock_file),
                "wait for it, or find it with `fuser`",
            ) from None

    def _explained(self, fault: Exception) -> TrackingError:
        where = _public(self.address)
        text = _public(" ".join(str(fault).split()))
        if self.is_server and ("Connection" in text or "timed out" in text.lower()):
            return TrackingError(
                "the MLflow server does not answer",
                where,
                f"start it, or unset {ADDRESS} to use {self.workspace.mlflow_db}",
            )
        if "out-of-date database schema" in text:
            return TrackingError(
                "the database was made by another version of MLflow",
                where,
                f"copy it, then run `mlflow db upgrade {where}`",
            )
        return TrackingError(f"MLflow refuses: {text[:300]}", where)


def model_name(name: str) -> str:
    """Return a name that the registry takes, from a market's or a strategy's.

    Examples
    --------
    >>> model_name("binanceusdm BTC/USDT perpetual 1h")
    'binanceusdm BTC-USDT perpetual 1h'
    """
    return name.replace("/", "-").replace(":", "-")


def ui_environment() -> dict[str, str]:
    """Return this process's environment with MLflow's quiet settings where the user has none."""
    return {**_ENVIRONMENT, **os.environ}


def _prepare_environment() -> None:
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def _quieten() -> None:
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())


def _refuse_broken(path: str) -> None:
    """Refuse a database that cannot be opened: MLflow would try again for minutes."""
    if "?" in path or re.search("%[0-9A-Fa-f]{2}", path):
        raise TrackingError(
            "MLflow cannot open a database whose path holds '?' or a percent code", path, "rename the folder"
        )
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as fault:
        remedy = f"restore it, or move it away; {SPARE}"
        raise TrackingError(f"the database cannot be used: {fault}", path, remedy) from None


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """Return the experiment's id, making it where it does not exist.

    Parameters
    ----------
    location : where local artifacts belong; None for a server, which knows itself. A workspace that
        was moved has an experiment that points elsewhere: then one named by the new place is used.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(f"the experiment {name!r} was deleted", "MLflow", "restore it in the UI")
    if location is not None and found.artifact_location != location and name == EXPERIMENT:
        return _experiment(client, f"{EXPERIMENT} at {location}", location)
    return str(found.experiment_id)


def _runs(client: MlflowClient, tagged: str) -> list[Run]:
    """Return all runs with a tag, of whatever experiment, the oldest first."""
    everywhere = [str(e.experiment_id) for e in client.search_experiments(max_results=1_000)]
    found: list[Run] = []
    page = None
    while True:
        runs = client.search_runs(
            everywhere, tagged, order_by=["attributes.start_time ASC"], max_results=1_000, page_token=page
        )
        found += runs
        page = runs.token
        if not page:
            return found


def _noted(client: MlflowClient) -> list[Noted]:
    """Return all anchors in a store."""
    found = []
    for run in _runs(client, f"tags.`{_LEDGER}` != ''"):
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


def _log_batch(
    client: MlflowClient, run: str, metrics: Mapping[str, float], tags: Mapping[str, object]
) -> None:
    """Log everything in one call, or in as few as MLflow's limits allow."""
    from mlflow.entities import Metric, RunTag

    now_ms = int(time.time() * 1000)
    numbers = [Metric(_key(k), float(v), now_ms, 0) for k, v in metrics.items() if math.isfinite(v)]
    words = [RunTag(_key(k), str(v)[:_MAX_VALUE]) for k, v in tags.items()]
    n_calls = max(1, -(-len(numbers) // _MAX_METRICS), -(-len(words) // _MAX_LABELS))
    for i in range(n_calls):
        client.log_batch(
            run,
            metrics=numbers[i * _MAX_METRICS : (i + 1) * _MAX_METRICS],
            tags=words[i * _MAX_LABELS : (i + 1) * _MAX_LABELS],
        )


def _collect(folder: Path, spec_text: str, artifacts: Mapping[str, Path]) -> None:
    """Lay out a run's artifacts in a folder, so that they go up in one call."""
    bundle = folder / SPEC_ARTIFACT
    bundle.mkdir()
    (bundle / "spec.yaml").write_text(spec_text, encoding="utf-8")
    _lay_out(folder, artifacts)


def _lay_out(folder: Path, artifacts: Mapping[str, Path]) -> None:
    """Copy files to where they belong in a folder."""
    for name, source in artifacts.items():
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"an artifact's path must stay inside its run: {name!r}")
        if not source.is_file():
            raise UsageError("the artifact does not exist", str(source))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _resumed(client: MlflowClient, left: str) -> Run | None:
    """Return a run that was left, as one that runs; None where it is finished or not known."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(left)
    except MlflowException:
        return None
    if run.info.status == "FINISHED":
        return None
    client.update_run(left, status="RUNNING")
    return run


def _chunks(rows: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _key(name: str) -> str:
    """Return a name with the characters that MLflow takes in keys."""
    return _NOT_IN_KEYS.sub("_", name)[:250]


def _public(text: str) -> str:
    """Return an address or message without a user's name and password."""
    return re.sub(r"//[^/@\s]+@", "//", text)
