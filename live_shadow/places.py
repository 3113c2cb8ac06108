"""Where the executor's files lie in a workspace. Nothing is created here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from research_lab.errors import WorkspaceError

VARIABLE = "GAUNTLET_WORKSPACE"


@dataclass(frozen=True)
class Places:
    """Paths of one workspace.

    Parameters
    ----------
    root : absolute path of the folder.
    """

    root: Path

    @classmethod
    def find(cls, option: str | Path | None = None, env: Mapping[str, str] | None = None) -> Places:
        """Return the workspace meant: the option, else GAUNTLET_WORKSPACE, else the current folder.

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
        if any(root.is_relative_to(code / name) for name in ("research_lab", "pipelines", "live_shadow")):
            raise WorkspaceError(
                "the folder belongs to the installed program, which is never written to",
                str(root),
                f"name another one with --workspace or {VARIABLE}",
            )
        return cls(root)

    @property
    def enable_map(self) -> Path:
        return self.root / "enable_map.yaml"

    @property
    def executor(self) -> Path:
        return self.root / "executor"

    @property
    def ledger(self) -> Path:
        return self.executor / "ledger.sqlite"

    @property
    def lock(self) -> Path:
        return self.executor / "executor.lock"

    def spec(self, candidate: str) -> Path:
        """Return the path of a candidate's text by its full hash, 64 hex digits."""
        return self.root / "candidates" / candidate[:12] / "spec.yaml"
