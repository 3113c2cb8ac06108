"""Campaigns as parent runs, candidates as their children, registered models with aliases: for people to look at."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.tracking.connection import Connection
from pipelines.tracking.ledger_store import LedgerStore
from pipelines.tracking.runs import lay_out, log_batch, log_params
from research_lab.errors import UsageError
from research_lab.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SPEC_ARTIFACT = "bundle"
STATUSES = ("FINISHED", "FAILED", "KILLED")


class Tracker:
    """Writes campaigns, candidates and models to one MLflow store, which is opened when it is first needed.

    Parameters
    ----------
    workspace, address : see `Connection`.

    Attributes
    ----------
    connection : to the store. ledgers : what the same store keeps of ledgers.
    """

    def __init__(self, workspace: Workspace, address: str | None = None) -> None:
        self.connection = Connection(workspace, address)
        self.ledgers = LedgerStore(self.connection)

    def start_campaign(self, name: str, params: Mapping[str, object], *, left: str = "") -> str:
        """Open a campaign's parent run and return its id.

        Parameters
        ----------
        params : what the campaign was started with; values longer than 5,000 characters are cut.
        left : the run that an interrupted campaign of that name left. It is gone on in, unless it is finished, or
            the store does not know it.
        """
        with self.connection.calling() as client:
            run = _resumed(client, left) if left else None
            if run is None:
                run = client.create_run(
                    self.connection.experiment, tags={"gauntlet.kind": "campaign"}, run_name=name
                )
            log_params(client, run, params)
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
        with tempfile.TemporaryDirectory() as folder, self.connection.calling() as client:
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

            _collect(Path(folder), spec_text, artifacts)
            first = {"gauntlet.kind": "candidate", "gauntlet.candidate": digest}
            if campaign_run:
                first[MLFLOW_PARENT_RUN_ID] = campaign_run
            run = str(client.create_run(self.connection.experiment, tags=first, run_name=name).info.run_id)
            log_batch(client, run, metrics, words)
            client.log_artifacts(run, folder)
            client.set_terminated(run, "FINISHED")
            return run

    def log_search(self, run: str, metrics: Mapping[str, float], files: Mapping[str, Path]) -> None:
        """Write what a search found into its campaign's run.

        Parameters
        ----------
        metrics : numbers by name; what is not finite is left out.
        files : by the path that they get in the run, such as "transcripts/ab12.json".
        """
        with tempfile.TemporaryDirectory() as folder, self.connection.calling() as client:
            lay_out(Path(folder), files)
            log_batch(client, run, metrics, {})
            client.log_artifacts(run, folder)

    def finish(self, run: str, status: str = "FINISHED") -> None:
        """Close a run as FINISHED, FAILED or KILLED."""
        if status not in STATUSES:
            raise UsageError(f"no status {status!r}; statuses are {', '.join(STATUSES)}")
        with self.connection.calling() as client:
            client.set_terminated(run, status)

    def register(self, candidate_run: str, model_name: str, spec_artifact: str = SPEC_ARTIFACT) -> int:
        """Register a candidate's strategy as a model version, and return its number.

        The same run gives the same version however often it is registered.

        Parameters
        ----------
        model_name : without "/" and ":"; see `model_name`.
        spec_artifact : the run's artifact folder that holds the strategy.
        """
        with self.connection.calling() as client:
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
        with self.connection.calling() as client:
            client.set_registered_model_alias(model_name, alias, str(version))

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Take an alias away; nothing happens when it is not set."""
        if self.alias_version(model_name, alias) is not None:
            with self.connection.calling() as client:
                client.delete_registered_model_alias(model_name, alias)

    def alias_version(self, model_name: str, alias: str) -> int | None:
        """Return the version that an alias points at; None when model or alias do not exist."""
        with self.connection.calling() as client:
            from mlflow.exceptions import MlflowException

            try:
                return int(client.get_model_version_by_alias(model_name, alias).version)
            except MlflowException as fault:
                if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise


def model_name(name: str) -> str:
    """Return a name that the registry takes, from a market's or a strategy's.

    Examples
    --------
    >>> model_name("binanceusdm BTC/USDT perpetual 1h")
    'binanceusdm BTC-USDT perpetual 1h'
    """
    return name.replace("/", "-").replace(":", "-")


def _collect(folder: Path, spec_text: str, artifacts: Mapping[str, Path]) -> None:
    """Lay out a run's artifacts in a folder, so that they go up in one call."""
    bundle = folder / SPEC_ARTIFACT
    bundle.mkdir()
    (bundle / "spec.yaml").write_text(spec_text, encoding="utf-8")
    lay_out(folder, artifacts)


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
