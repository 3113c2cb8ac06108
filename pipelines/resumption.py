"""Finished examinations of a campaign that was interrupted, so that the next run does not measure them again.

An examination is taken from the disk only when strategy, data, protocol, code and the candidates before it
are the same, and when the ledger still has every line that it had: whoever took looks away finds the
examination measured, and so counted, again. What cannot be read is measured again too.

One campaign of a name runs at a time: two would take each other's examinations for their own, and the first to end
would delete the other's. A process that is killed frees the name.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.evidence_json import evidence_from_json
from pipelines.gates.evidence import Evidence
from pipelines.gates.world import Ground
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.durable import atomic_write
from research_lab.errors import LockedError, SpecError
from research_lab.workspace import Workspace

FORMAT = 1


@dataclass(frozen=True)
class Finished:
    """An examination up to gate 5: the tuned strategy, how flat its surroundings are, and what was measured."""

    spec: Spec
    plateau: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Resumption:
    """Finished examinations of one campaign.

    Parameters
    ----------
    folder : of this campaign alone; made when the first one is kept.
    """

    folder: Path

    def keep(self, template: Spec, done: Finished, ground: Ground, known: Sequence[str]) -> None:
        """Keep a finished examination."""
        content = {
            "format": FORMAT,
            "bound": _bound(template, ground, known),
            "heads": ground.scorer.ledger.heads(),
            "spec": done.spec.canonical(),
            "plateau": done.plateau if math.isfinite(done.plateau) else None,
            "evidence": [evidence.canonical() for evidence in done.evidence],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self._path(template), json.dumps(content, indent=1) + "\n")

    def find(self, template: Spec, ground: Ground, known: Sequence[str]) -> Finished | None:
        """Return the finished examination of a strategy, None when it must be measured."""
        try:
            raw = json.loads(self._path(template).read_text(encoding="utf-8"))
            same = raw["format"] == FORMAT and raw["bound"] == _bound(template, ground, known)
            if not same or not ground.scorer.ledger.has(raw["heads"]):
                return None
            return _finished(raw)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError):
            return None

    def forget(self) -> None:
        """Delete what was kept, once the campaign has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, template: Spec) -> Path:
        return self.folder / f"{template.template_hash[:16]}.json"


@contextmanager
def running_alone(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold a campaign's name in a workspace.

    Raises
    ------
    LockedError
        A campaign of this name runs here.
    """
    workspace.locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(workspace.locks / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(
            f"{name} is running here: the same data, strategies and policy",
            lock.lock_file,
            "wait for it; its results will be in this workspace, and the same command again costs no look",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _bound(template: Spec, ground: Ground, known: Sequence[str]) -> dict[str, Any]:
    origin = ground.scorer.origin_of(template)
    told = {"template": template.template_hash, "cutoff": origin.knowledge_cutoff, "known": sorted(known)}
    return {**ground.bound_to(template), **told}


def _finished(raw: Mapping[str, Any]) -> Finished:
    plateau = math.nan if raw["plateau"] is None else float(raw["plateau"])
    evidence = tuple(evidence_from_json(text) for text in raw["evidence"])
    spec = parse_spec(raw["spec"], "an examination that was kept")
    if any(one.bound_to["spec"] != spec.hash for one in evidence if one.gate not in ("static", "data")):
        raise ValueError("evidence of another strategy")
    return Finished(spec, plateau, evidence)
