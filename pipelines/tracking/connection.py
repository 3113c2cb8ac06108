"""One MLflow store, opened when it is first needed and only once: a fresh database is made by one process alone.

Whatever MLflow raises becomes one sentence of ours that says what to do.
"""

from __future__ import annotations

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipelines.tracking.quiet_settings import prepare_environment, quieten
from research_lab.errors import LockedError, TrackingError
from research_lab.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

ADDRESS = "MLFLOW_TRACKING_URI"
EXPERIMENT = "gauntlet"
SPARE = "the map, the audit log and the candidates do not depend on it"

_LOCK_TIMEOUT_S = 120.0


class Connection:
    """Reaches one MLflow store: the server that ``MLFLOW_TRACKING_URI`` names, or the workspace's SQLite.

    Nothing is imported or opened before the first call that needs it. A connection can be pickled; each
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
        self.experiment = ""  # its id, known once the store was opened

    def __reduce__(self) -> tuple[type[Connection], tuple[Workspace, str]]:
        return Connection, (self.workspace, self.address)

    @property
    def is_server(self) -> bool:
        """Whether runs go to a server, which keeps artifacts itself, rather than into a database."""
        return self.address.startswith(("http://", "https://"))

    @property
    def is_own(self) -> bool:
        """Whether the store is the workspace's own database."""
        return self.address == f"sqlite:///{self.workspace.mlflow_db}"

    @property
    def shown(self) -> str:
        """The address without a user's name and password."""
        return _public(self.address)

    @contextmanager
    def calling(self) -> Iterator[MlflowClient]:
        """Hand out the client, quietly, and turn whatever MLflow raises into one sentence."""
        prepare_environment()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.exceptions import MlflowException
            from requests.exceptions import RequestException
            from sqlalchemy.exc import SQLAlchemyError

            quieten()
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
            self.experiment = _experiment(client, EXPERIMENT, None)
            return client
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        if self.address.startswith("sqlite:///"):
            _refuse_broken(self.address.removeprefix("sqlite:///"))
        lock = FileLock(self.workspace.root / "mlflow.lock", timeout=_LOCK_TIMEOUT_S)
        try:
            with lock:
                client = MlflowClient(self.address, self.address)
                location = self.workspace.mlartifacts.as_uri()
                self.experiment = _experiment(client, EXPERIMENT, location)
                return client
        except Timeout:
            raise LockedError(
                f"another process has held it for {_LOCK_TIMEOUT_S:.0f} s",
                str(lock.lock_file),
                "wait for it, or find it with `fuser`",
            ) from None

    def _explained(self, fault: Exception) -> TrackingError:
        where = self.shown
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


def _public(text: str) -> str:
    """Return an address or message without a user's name and password."""
    return re.sub(r"//[^/@\s]+@", "//", text)
