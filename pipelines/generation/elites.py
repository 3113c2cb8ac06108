"""The elites of a search outside of it: as JSON, as a folder of strategies, as a family tree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from pipelines.proposals import ORIGINS
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.durable import atomic_write
from research_lab.errors import UsageError, WorkspaceError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Proposal
from research_lab.generators.search import Generation, Measured, Search
from research_lab.generators.tunable import with_parameters
from research_lab.scoring.origin import Origin

NAME_LENGTH: Final = 48
_HASH: Final = 10  # digits of the hash in a name
MARK: Final = "elites.json"  # says that a folder's strategies were written here, and may be written again


def archive_content(name: str, search: Search, ended: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `archive.json` says of a search: the fittest of each niche as its elites, and what else is kept.

    Parameters
    ----------
    ended : why it ended; "" for one that was interrupted.
    """
    state = search.feedback
    fittest = state.archive.fittest
    return {
        "name": name,
        "ended": ended,
        "facts": dict(facts),
        "n_looks": state.n_looks,
        "n_generations": state.generation,
        "refused": dict(search.refused),
        "elites": [elite_to_json(elite) for elite in fittest],
        "others": [elite_to_json(elite) for elite in state.archive if elite not in fittest],
    }


def elite_to_json(elite: Elite) -> dict[str, Any]:
    """Return an elite as plain data."""
    return {
        "hash": elite.spec.hash,
        "name": elite.spec.name,
        "niche": list(elite.niche),
        "fitness": _finite(elite.fitness),
        "sharpe": _finite(elite.sharpe),
        "behaviour": asdict(elite.behaviour),
        "origin": asdict(elite.origin),
        "text": elite.spec.canonical(),
    }


def named(spec: Spec) -> Spec:
    """Return a strategy under a name that no other one has: its own, with the first digits of its hash."""
    mark = spec.hash[:_HASH]
    if spec.name.endswith(mark):
        return spec
    return replace(spec, name=f"{spec.name[: NAME_LENGTH - _HASH - 1].rstrip('_')}_{mark}")


def for_the_gates(elite: Elite, brief: Brief) -> Elite:
    """Return an elite as gates examine it: under a name of its own, with numbers as parameters to be tuned.

    It is the same strategy, and has the same hash.
    """
    return replace(elite, spec=named(with_parameters(elite.spec, brief)))


def finalists(archive: Archive, n: int, brief: Brief) -> list[Elite]:
    """Return the n fittest that are not one idea, as gates examine them."""
    return [for_the_gates(elite, brief) for elite in archive.finalists(n)]


def of_families(elites: Sequence[Elite], brief: Brief) -> list[Elite]:
    """Return the fittest of each family as gates examine them: a campaign would refuse what it tunes already."""
    found: dict[str, Elite] = {}
    for elite in elites:
        examined = for_the_gates(elite, brief)
        found.setdefault(examined.spec.template_hash, examined)
    return list(found.values())


def make_folder(folder: Path) -> None:
    """Make the folder that elites are to be written into; one of an earlier search will do.

    Raises
    ------
    UsageError
        The folder holds something else, or cannot be made.
    """
    strangers = [] if (folder / MARK).exists() else sorted(folder.glob("*")) if folder.exists() else []
    if strangers or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            "strategies are written into a folder of their own, and this one holds something else",
            str(folder), "name a new one with --out",
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise UsageError(
            f"the folder cannot be made: {reason}", str(folder), "name another one with --out"
        ) from None


def write_folder(folder: Path, elites: Sequence[Elite], search: str) -> list[Path]:
    """Write strategies with who proposed them into a folder that `pipeline run --strategies` takes.

    Raises
    ------
    UsageError
        The folder holds something else.
    """
    make_folder(folder)
    known = {f"{name}.yaml" for name in _written(folder / MARK)}
    files = {f"{elite.spec.name}.yaml": elite.spec.canonical() for elite in elites}
    atomic_write(folder / MARK, _json({"search": search, "strategies": [e.spec.name for e in elites]}))
    for name in known - files.keys():
        (folder / name).unlink(missing_ok=True)
    for name, text in files.items():
        atomic_write(folder / name, text)
    atomic_write(folder / ORIGINS, _json({e.spec.name: asdict(e.origin) for e in elites}))
    return [folder / name for name in files]


def _written(mark: Path) -> list[str]:
    """Return the names of the strategies that were written into a folder before."""
    if not mark.exists():
        return []
    try:
        names = json.loads(mark.read_text(encoding="utf-8"))["strategies"]
        return [
            name for name in names if isinstance(name, str) and Path(f"{name}.yaml").name == f"{name}.yaml"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise WorkspaceError("it is damaged", str(mark), "name another folder with --out") from None


@dataclass(frozen=True)
class Ancestor:
    """A strategy in the line of an elite, as its search proposed and measured it.

    Parameters
    ----------
    back : how many generations of parents lie between. hash, proposal, measured : of the strategy.
    """

    back: int
    hash: str
    proposal: Proposal
    measured: Measured

    @property
    def name(self) -> str:
        """What it was called in this search; the same strategy may have another name elsewhere."""
        return parse_spec(self.proposal.text, "ancestor").name

    @property
    def kind(self) -> str:
        return "crashed" if self.measured.crash else "scored"


def lineage(digest: str, generations: Iterable[Generation]) -> list[Ancestor]:
    """Return a strategy and its ancestors, the nearest first, each once; none where the search does not know it.

    Parameters
    ----------
    generations : of the search. The ledger would not do: it has each strategy once, by the name that the search which
        looked first gave it.
    """
    known: dict[str, tuple[Proposal, Measured]] = {}
    for generation in generations:
        for proposal, one in zip(generation.proposals, generation.hashes, strict=True):
            if one in generation.measured:
                known.setdefault(one, (proposal, generation.measured[one]))
    found: dict[str, Ancestor] = {}
    now, back = [digest], 0
    while now:
        new = [one for one in now if one in known and one not in found]
        found.update((one, Ancestor(back, one, *known[one])) for one in new)
        now = [parent for one in new for parent in known[one][0].origin.parent.split()]
        back += 1
    return list(found.values())


def strategies_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all that an archive keeps, elites first, with their texts checked to be strategies of that hash.

    Raises
    ------
    WorkspaceError
        One is not what the archive says.
    """
    known = {field.name for field in fields(Origin)}
    rows = [*content["elites"], *content.get("others", [])]
    for row in rows:
        if parse_spec(row["text"], "archive").hash != row["hash"] or not set(row["origin"]) <= known:
            raise WorkspaceError(
                f"the text of {row['name'][:60]} was changed", "archive", "run the search again"
            )
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"
