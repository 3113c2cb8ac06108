"""What a campaign is asked to examine: strategies, who proposed them, and proposals that are none.

A folder may hold origins.json beside its strategies: who proposed which, and what the proposer can have known
(see `research_lab.scoring.origin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import load_spec
from research_lab.errors import SpecError, UsageError
from research_lab.scoring.origin import ANYONE, Origin, Refusal, origin_of, read_origins

ORIGINS = "origins.json"
_NO_STRATEGIES = ("regimes.yaml", "macro.yaml")


@dataclass(frozen=True)
class Proposals:
    """Strategies to examine.

    Parameters
    ----------
    templates : that are strategies. refusals : texts that are none; the ledger records them.
    origins : who proposed a strategy, by its template's hash.
    """

    templates: tuple[Spec, ...]
    refusals: tuple[Refusal, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)


def read_proposals(folder: Path, *, skip_broken: bool = False) -> Proposals:
    """Read every strategy of a folder, or one file; regimes.yaml and macro.yaml are no strategies.

    Parameters
    ----------
    skip_broken : leave out what is no strategy, and tell it among the refusals, instead of raising.

    Raises
    ------
    SpecError
        One is broken, and `skip_broken` is not set: nothing is run, so that no look is spent on half a campaign.
    UsageError
        There is none, or two have one name.
    """
    if not folder.exists():
        raise UsageError(
            "there is no such file or folder", str(folder), "name a strategy or a folder of them"
        )
    templates, broken, origins = read_all(folder)
    if broken and not skip_broken:
        raise broken[0][1]
    refusals = [refusal for refusal, _ in broken]
    _check(templates, refusals, origins, folder)
    by_template = {t.template_hash: origin_of(origins, t.name, Origin()) for t in templates}
    return Proposals(tuple(templates), tuple(refusals), by_template)


Broken = list[tuple[Refusal, SpecError]]


def read_all(folder: Path) -> tuple[list[Spec], Broken, Mapping[str, Origin]]:
    """Return the strategies of a folder or of one file, what is none with its fault, and who proposed what by name."""
    files = [folder] if folder.is_file() else sorted(folder.glob("*.yaml"))
    origins = read_origins((folder.parent if folder.is_file() else folder) / ORIGINS)
    templates: list[Spec] = []
    broken: Broken = []
    for file in files:
        if file.name in _NO_STRATEGIES:
            continue
        try:
            templates.append(load_spec(file))
        except SpecError as fault:
            text = file.read_bytes().decode("utf-8", errors="surrogateescape")
            origin = origin_of(origins, file.stem, Origin())
            broken.append((Refusal(file.stem, text, str(fault), origin), fault))
    return templates, broken, origins


def load_templates(folder: Path) -> list[Spec]:
    """Return the strategies of a folder, or of one file; see `read_proposals`."""
    return list(read_proposals(folder).templates)


def _check(
    templates: list[Spec], refusals: list[Refusal], origins: Mapping[str, Origin], folder: Path
) -> None:
    if not templates:
        left_out = f"; {len(refusals)} are none, the first: {refusals[0].reason}" if refusals else ""
        raise UsageError(
            f"no strategies found{left_out}", str(folder), "put strategies into it, one *.yaml each"
        )
    names = [template.name for template in templates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the name {twice[0]} stands in two files", str(folder), "give each its own name")
    known = {*names, *(refusal.name for refusal in refusals), ANYONE}
    strangers = sorted(set(origins) - known)
    if strangers and folder.is_dir():
        raise UsageError(
            f"{ORIGINS} tells of {strangers[0][:60]!r}, which is no strategy here", str(folder), "correct it"
        )
