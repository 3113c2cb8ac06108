"""The workspace: the one folder that a run writes to, and where each thing lies in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from research_lab.errors import UsageError, WorkspaceError

VARIABLE = "GAUNTLET_WORKSPACE"

_PACKAGES = ("research_lab", "pipelines", "live_shadow")


@dataclass(frozen=True)
class Workspace:
    """Paths inside one workspace. Nothing is created before `create`.

    Parameters
    ----------
    root : absolute path of the folder.
    """

    root: Path

    @classmethod
    def find(cls, option: str | Path | None = None, env: Mapping[str, str] | None = None) -> Workspace:
        """Return the workspace meant: the option, else the variable, else the current folder.

        Parameters
        ----------
        option : the value of ``--workspace``; None or empty when it was not given.
        env : environment, by default the process's.

        Raises
        ------
        WorkspaceError
            The path is a file, or lies inside the installed package.
        """
        told = str(option or "") or (os.environ if env is None else env).get(VARIABLE, "")
        root = Path(told or ".").expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise WorkspaceError("a workspace is a folder, but this is a file", str(root), "name a folder")
        code = Path(__file__).resolve().parents[1]
        if any(root.is_relative_to(code / package) for package in _PACKAGES):
            raise WorkspaceError(
                "the folder belongs to the installed program, which is never written to",
                str(root),
                f"name another one with --workspace or {VARIABLE}",
            )
        return cls(root)

    def create(self) -> Workspace:
        """Create the folders that do not exist yet; existing files are left alone.

        Raises
        ------
        WorkspaceError
            The disk refuses, or a file stands where a folder belongs.
        """
        folders = (self.lake, self.trials, self.candidates, self.executor, self.reports)
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as fault:
                reason = fault.strerror or str(fault)
                raise WorkspaceError(f"the folder cannot be created: {reason}", str(folder)) from None
        return self

    @property
    def lake(self) -> Path:
        """Snapshots and the seal of the data zones."""
        return self.root / "lake"

    @property
    def seal(self) -> Path:
        """Borders of research and holdout by market and interval; they never move back."""
        return self.lake / "seal.json"

    @property
    def trials(self) -> Path:
        """Segments of the trial ledger."""
        return self.root / "trials"

    @property
    def candidates(self) -> Path:
        """One folder for each strategy and market."""
        return self.root / "candidates"

    @property
    def unfinished(self) -> Path:
        """One folder for each campaign that was not finished: the examinations that were."""
        return self.root / "unfinished"

    @property
    def locks(self) -> Path:
        """One file for each campaign, held while it runs."""
        return self.root / ".locks"

    @property
    def generations(self) -> Path:
        """One folder for each search for candidates: its generations, and the archive it ended with."""
        return self.root / "generations"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite store."""
        return self.root / "mlflow.db"

    @property
    def mlartifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "mlartifacts"

    @property
    def enable_map(self) -> Path:
        """Which strategy may act where."""
        return self.root / "enable_map.yaml"

    @property
    def enable_map_lock(self) -> Path:
        """Held while the map is changed."""
        return self.root / "enable_map.lock"

    @property
    def audit(self) -> Path:
        """One chained line for each step of each change of the map."""
        return self.root / "audit.jsonl"

    @property
    def governance(self) -> Path:
        """The LOCKED limits."""
        return self.root / "governance.yaml"

    @property
    def governance_pin(self) -> Path:
        """SHA-256 of the limits."""
        return self.root / "governance.pin"

    @property
    def executor(self) -> Path:
        """The executor's ledger and lock."""
        return self.root / "executor"

    @property
    def reports(self) -> Path:
        """Reports that do not belong to one candidate."""
        return self.root / "reports"

    @property
    def ledger(self) -> Path:
        """The executor's inputs, events and snapshot."""
        return self.executor / "ledger.sqlite"

    @property
    def lock(self) -> Path:
        """Held while an executor runs."""
        return self.executor / "executor.lock"

    @property
    def symbols(self) -> Path:
        """Costs and rules of markets: the workspace's own, else those that come with the program."""
        return self._own_or("symbols.yaml", "live_shadow/config/symbols.yaml")

    @property
    def regimes(self) -> Path:
        """Market regimes: the workspace's own, else those that come with the program."""
        return self._own_or("regimes.yaml", "research_lab/strategies/regimes.yaml")

    @property
    def macro(self) -> Path | None:
        """The workspace's own macro states; None without, and then none are in use."""
        own = self.root / "macro.yaml"
        return own if own.exists() else None

    def _own_or(self, name: str, packaged: str) -> Path:
        own = self.root / name
        return own if own.exists() else Path(__file__).resolve().parents[1] / packaged

    def spec(self, candidate: str) -> Path:
        """Return the path of a candidate's text by its full hash: the same text on whatever market."""
        plain = self.candidate_folder(candidate)
        stored = [plain, *sorted(self.candidates.glob(f"{plain.name}-*"))]
        return next((f / "spec.yaml" for f in stored if (f / "spec.yaml").exists()), plain / "spec.yaml")

    def candidate_folder(self, candidate: str, market: str = "") -> Path:
        """Return the folder of a candidate by its full hash, and its market's name.

        Without a market it is the folder of workspaces that had one for all markets of a strategy.

        Raises
        ------
        UsageError
            It is no SHA-256: a path is never made from anything else.
        """
        if len(candidate) != 64 or not set(candidate) <= set("0123456789abcdef"):
            raise UsageError(f"{candidate[:80]!r} is no SHA-256 of 64 hex digits")
        place = re.sub(r"[^A-Za-z0-9]+", "-", market).strip("-")
        return self.candidates / (f"{candidate[:12]}-{place}" if place else candidate[:12])
