"""Candidates on disk: the strategy's text, what was measured, what was judged, where it stands.

A candidate is one bound strategy on one market. Its folder is named by the first twelve digits of its
hash and the market; it holds spec.yaml, candidate.json, verdicts.json, report.html and evidence/<gate>.json,
and of a campaign template.yaml (as proposed) and ledger_heads.json (the ledger that it was judged among).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pipelines.evidence_json import evidence_from_json, verdicts_from_json, verdicts_to_json
from pipelines.gates.evidence import Evidence, Verdict
from research_lab.durable import atomic_write, sync_folder
from research_lab.errors import UsageError, WorkspaceError
from research_lab.workspace import Workspace

FORMAT = 1
MIN_PREFIX = 4

_HEX = frozenset("0123456789abcdef")


class Hashed(Protocol):
    """Anything with the hash that a strategy's text gives, such as a parsed spec."""

    @property
    def hash(self) -> str: ...


@dataclass(frozen=True)
class Facts:
    """What is known of a candidate beside its text.

    Parameters
    ----------
    name : the strategy's.
    market : as `Market.name` writes it.
    timeframe : the strategy's, such as "1h".
    snapshot : SHA-256 of the bars that it was measured on.
    campaign : the campaign that proposed it; empty for a file given by hand.
    regimes : where the strategy may enter.
    generator, knowledge_cutoff : who proposed it, and the last day known to the proposer, "" when unknown.
    pool : snapshots of all markets of the pool that it was measured on, its own among them; empty for one market.
    """

    name: str
    market: str
    timeframe: str
    snapshot: str
    campaign: str = ""
    regimes: tuple[str, ...] = ("any",)
    generator: str = ""
    knowledge_cutoff: str = ""
    pool: tuple[str, ...] = ()

    @property
    def measured_on(self) -> tuple[str, ...]:
        """Snapshots of everything that it was measured on."""
        return self.pool or (self.snapshot,)


@dataclass(frozen=True)
class StageChange:
    """One step of a candidate through the map: the stage reached, or "retired"."""

    stage: str
    at: str
    why: str


@dataclass(frozen=True)
class Candidate:
    """One candidate of a workspace.

    Parameters
    ----------
    folder : where its files lie.
    hash : SHA-256 of the bound, canonical strategy: its identity everywhere.
    facts : name, market, timeframe, snapshot, campaign, regimes.
    history : stages reached, oldest first. A mirror: the map and the audit log are the truth.
    """

    folder: Path
    hash: str
    facts: Facts
    history: tuple[StageChange, ...] = ()

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def market(self) -> str:
        return self.facts.market

    @property
    def timeframe(self) -> str:
        return self.facts.timeframe

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def report_path(self) -> Path:
        return self.folder / "report.html"

    @property
    def template_path(self) -> Path:
        return self.folder / "template.yaml"

    @property
    def heads_path(self) -> Path:
        return self.folder / "ledger_heads.json"

    @property
    def verdicts_path(self) -> Path:
        return self.folder / "verdicts.json"

    def evidence_path(self, gate: str) -> Path:
        return self.folder / "evidence" / f"{gate}.json"

    def __str__(self) -> str:
        return f"{self.name} {self.hash[:12]} ({self.market} {self.timeframe})"


def save(
    workspace: Workspace,
    text: str,
    digest: str,
    facts: Facts,
    *,
    parse: Callable[[str], Hashed] | None = None,
) -> Candidate:
    """Give a candidate its folder. Saving the same one again changes nothing.

    When the same strategy was measured before on another snapshot of the market, its evidence, verdicts
    and report move to ``earlier/<n>``, so that they cannot be mistaken for those of the new data.

    Parameters
    ----------
    text : the canonical strategy.
    digest : its hash, 64 hex digits.
    parse : when given, the text must hash to `digest` by it.

    Raises
    ------
    WorkspaceError
        The text hashes to something else, or another candidate has the same twelve digits.
    """
    folder = _folder(workspace, digest, facts.market)
    if parse is not None:
        _refuse_other_hash(parse, text, digest, str(folder / "spec.yaml"))
    known = _read(folder) if (folder / "candidate.json").exists() else None
    if known is not None and (known.hash, known.market) != (digest, facts.market):
        raise WorkspaceError(
            f"the folder belongs to candidate {known.hash} on {known.market}, wanted {digest} on {facts.market}",
            str(folder),
            "move it away",
        )
    if known is not None and known.facts == facts and known.spec_path.exists():
        return known
    (folder / "evidence").mkdir(parents=True, exist_ok=True)
    if known is not None and known.facts.measured_on != facts.measured_on:
        set_aside(known)
    atomic_write(folder / "spec.yaml", text)
    candidate = Candidate(folder, digest, facts, known.history if known else ())
    _write(candidate)
    sync_folder(workspace.candidates)
    return candidate


def load(workspace: Workspace, digest: str, market: str = "") -> Candidate:
    """Return the candidate of a full hash on a market; without a market, the only one of that hash.

    Raises
    ------
    UsageError
        There is none, or the strategy was measured on several markets.
    WorkspaceError
        Its folder is damaged.
    """
    found = stored(workspace, digest, market)
    if len(found) > 1:
        raise UsageError(
            f"candidate {digest[:12]} was measured on {', '.join(c.market for c in found)}",
            str(workspace.candidates),
            "name the market too",
        )
    if not found:
        on = f" on {market}" if market else ""
        raise UsageError(f"no candidate {digest[:12]}{on}", str(workspace.candidates))
    return found[0]


def stored(workspace: Workspace, digest: str, market: str = "") -> list[Candidate]:
    """Return the candidates of a full hash, one a market; of one market when given."""
    plain = workspace.candidate_folder(digest)
    folders = [plain, *sorted(workspace.candidates.glob(f"{plain.name}-*"))]
    found = [_read(folder) for folder in folders if (folder / "candidate.json").exists()]
    return [c for c in found if c.hash == digest and market in ("", c.market)]


def every(workspace: Workspace) -> list[Candidate]:
    """Return all candidates, ordered by name and hash."""
    found = [_read(path.parent) for path in workspace.candidates.glob("*/candidate.json")]
    return sorted(found, key=lambda candidate: (candidate.name, candidate.hash, candidate.market))


def resolve(workspace: Workspace, wanted: str) -> Candidate:
    """Return the one candidate that a person means.

    Parameters
    ----------
    wanted : the first digits of a hash (at least 4), or a strategy's name; then, where it was measured on
        several markets, @ and a part of the market's name, such as "ema_atr@BTC/USDT". Or a folder's name.

    Raises
    ------
    UsageError
        Nothing fits, or more than one does; the message lists what is near.
    """
    candidates = every(workspace)
    who, _, market = wanted.partition("@")
    fitting = [c for c in candidates if _is_meant(c, who) and market.lower() in c.market.lower()]
    fitting = [c for c in fitting if c.market == market] or fitting
    if len(fitting) == 1:
        return fitting[0]
    where = str(workspace.candidates)
    if fitting:
        remedy = "give the first digits of its hash"
        if len({c.hash for c in fitting}) == 1:
            remedy = f"name the market too, such as {who}@{fitting[0].market.split()[1]}"
        raise UsageError(f"{wanted!r} fits {_listed(fitting)}", where, remedy)
    if not candidates:
        raise UsageError(f"no candidate {wanted!r}: there are none yet", where, "run `pipeline run` first")
    near = difflib.get_close_matches(wanted, sorted({c.name for c in candidates}), n=3)
    known = f"near it: {', '.join(near)}" if near else f"known are {_listed(candidates)}"
    raise UsageError(f"no candidate {wanted[:80]!r}; {known}", where)


def _is_meant(candidate: Candidate, wanted: str) -> bool:
    is_prefix = len(wanted) >= MIN_PREFIX and set(wanted) <= _HEX and candidate.hash.startswith(wanted)
    return is_prefix or wanted in (candidate.name, candidate.folder.name)


def spec_text(candidate: Candidate, parse: Callable[[str], Hashed] | None = None) -> str:
    """Return a candidate's canonical text.

    Parameters
    ----------
    parse : when given, the text must hash to the candidate by it.

    Raises
    ------
    WorkspaceError
        The file is missing or hashes to something else.
    """
    try:
        text = candidate.spec_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise WorkspaceError(f"the strategy cannot be read: {fault}", str(candidate.spec_path)) from None
    if parse is not None:
        _refuse_other_hash(parse, text, candidate.hash, str(candidate.spec_path))
    return text


def save_evidence(candidate: Candidate, evidence: Evidence) -> Path:
    """Write what one gate measured as canonical JSON, in place of the gate's earlier evidence."""
    path = candidate.evidence_path(evidence.gate)
    atomic_write(path, evidence.canonical() + "\n")
    return path


def load_evidence(candidate: Candidate, gate: str) -> Evidence | None:
    """Return what one gate measured, None when it has not.

    Raises
    ------
    WorkspaceError
        The file does not read back as the evidence that was written.
    """
    path = candidate.evidence_path(gate)
    if not path.exists():
        return None
    try:
        evidence = evidence_from_json(path.read_text(encoding="utf-8").removesuffix("\n"))
    except ValueError as fault:
        raise WorkspaceError(str(fault), str(path), "measure again") from None
    if evidence.gate != gate:
        raise WorkspaceError(f"evidence of gate {evidence.gate!r}", str(path), "measure again")
    return evidence


def all_evidence(candidate: Candidate) -> dict[str, Evidence]:
    """Return everything measured for a candidate, by gate."""
    gates = sorted(path.stem for path in candidate.evidence_path("*").parent.glob("*.json"))
    found = {gate: load_evidence(candidate, gate) for gate in gates}
    return {gate: evidence for gate, evidence in found.items() if evidence is not None}


def save_verdicts(candidate: Candidate, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts; those of other gates given earlier stay."""
    merged = {verdict.gate: verdict for verdict in load_verdicts(candidate)}
    merged.update({verdict.gate: verdict for verdict in verdicts})
    atomic_write(candidate.verdicts_path, verdicts_to_json(merged.values()))


def load_verdicts(candidate: Candidate) -> tuple[Verdict, ...]:
    """Return the verdicts given so far, empty when there are none.

    Raises
    ------
    WorkspaceError
        The file is damaged.
    """
    path = candidate.verdicts_path
    if not path.exists():
        return ()
    try:
        return verdicts_from_json(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise WorkspaceError(str(fault), str(path), "run the gates again") from None


def unsupported(candidate: Candidate, verdict: Verdict) -> str:
    """Return why a verdict does not rest on this candidate's stored evidence; empty when it does."""
    evidence = load_evidence(candidate, verdict.gate)
    if evidence is None:
        return f"{verdict.gate}: its evidence is not stored"
    if evidence.hash != verdict.evidence_hash:
        return f"{verdict.gate}: it was judged on other evidence than is stored; judge again"
    if evidence.bound_to.get("spec") != candidate.hash:
        return f"{verdict.gate}: its evidence is of another strategy"
    return ""


def record_stage(candidate: Candidate, stage: str, at: datetime, why: str) -> Candidate:
    """Add one stage to a candidate's history."""
    change = StageChange(stage, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), why)
    changed = replace(candidate, history=(*candidate.history, change))
    _write(changed)
    return changed


def _folder(workspace: Workspace, digest: str, market: str) -> Path:
    """Return where a candidate lies or belongs; one of before may lie in a folder without the market."""
    plain = workspace.candidate_folder(digest)
    if (plain / "candidate.json").exists() and _read(plain).market == market:
        return plain
    return workspace.candidate_folder(digest, market)


def _refuse_other_hash(parse: Callable[[str], Hashed], text: str, digest: str, where: str) -> None:
    found = parse(text).hash
    if found != digest:
        raise WorkspaceError(
            f"the text hashes to {found[:12]}, wanted {digest[:12]}",
            where,
            "the file was changed after it was measured; restore it or run it as a new candidate",
        )


def _read(folder: Path) -> Candidate:
    path = folder / "candidate.json"
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT:
            raise WorkspaceError(f"format {raw['format']!r}, this program reads {FORMAT}", str(path))
        facts = raw["facts"]
        facts |= {name: tuple(facts.get(name, ())) for name in ("regimes", "pool")}
        history = tuple(StageChange(**change) for change in raw["history"])
        return Candidate(folder, raw["hash"], Facts(**facts), history)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise WorkspaceError(f"no description of a candidate: {fault!r}", str(path)) from None


def _write(candidate: Candidate) -> None:
    content = {
        "format": FORMAT,
        "hash": candidate.hash,
        "facts": asdict(candidate.facts),
        "history": [asdict(change) for change in candidate.history],
    }
    atomic_write(candidate.folder / "candidate.json", _json(content))


def set_aside(candidate: Candidate) -> None:
    """Move evidence, verdicts and report to ``earlier/<n>``: they are not of what is measured now."""
    earlier = candidate.folder / "earlier"
    target = earlier / str(1 + sum(1 for _ in earlier.glob("*")))
    target.mkdir(parents=True)
    for name in ("evidence", "verdicts.json", "report.html"):
        if (candidate.folder / name).exists():
            (candidate.folder / name).rename(target / name)
    (candidate.folder / "evidence").mkdir()
    atomic_write(target / "facts.json", _json(asdict(candidate.facts)))
    sync_folder(candidate.folder)


def _listed(candidates: Sequence[Candidate]) -> str:
    shown = ", ".join(str(candidate) for candidate in candidates[:5])
    return shown + (f" and {len(candidates) - 5} more" if len(candidates) > 5 else "")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
