"""Reports for people: a page for each candidate, a page for a campaign, and a table for the terminal.

A page is one file without scripts or anything from the network. It is written from what the candidate's
folder holds, and from nothing else, so that it can be written again at any time with the same bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import candidates
from pipelines import report_text as words
from pipelines.candidates import Candidate
from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.report_pictures import ZONES, day, pictures, stretches
from pipelines.report_robustness import robustness_pictures
from pipelines.report_selection import selection_pictures
from research_lab.dsl.spec_reader import parse_spec
from research_lab.durable import atomic_write

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.campaign import CampaignResult

TEMPLATES = Path(__file__).with_name("templates")
EXAMINED = tuple(words.GATES)[: words.N_EXAMINED]

_TILES = (
    ("backtest", "return", "Return after costs"),
    ("backtest", "sharpe", "Sharpe ratio a year"),
    ("backtest", "max_drawdown", "Deepest drawdown"),
    ("walk_forward", "sharpe", "Sharpe out-of-sample"),
    ("overfitting", "p", "Luck does as well, p"),
    ("holdout", "combined_p", "The same with holdout"),
)
_REFUSING = ("fail", "insufficient")
_SHORT = {Outcome.PASS: "PASS", Outcome.FAIL: "FAIL", Outcome.INSUFFICIENT: "INSUF."}
_COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INSUFFICIENT: "yellow"}


@dataclass(frozen=True)
class Row:
    """One figure as the page shows it."""

    name: str
    label: str
    value: str
    limit: str
    met: bool
    why: str


@dataclass(frozen=True)
class Section:
    """One gate as the page shows it.

    Parameters
    ----------
    kind : "pass", "fail", "insufficient", or "open" for a gate that was not reached.
    judged : figures with a limit. others : figures reported beside them.
    doubt : why the verdict cannot be relied on; empty when it can.
    """

    gate: str
    number: str
    title: str
    question: str
    word: str
    kind: str
    judged: tuple[Row, ...] = ()
    others: tuple[Row, ...] = ()
    reasons: tuple[str, ...] = ()
    doubt: str = ""


def write_report(candidate: Candidate, policy: Policy) -> Path:
    """Write a candidate's report from its folder, and return where it lies.

    Parameters
    ----------
    policy : for the reasons behind the limits. Limits and outcomes are those of the stored verdicts.

    Raises
    ------
    WorkspaceError
        Something in the folder is damaged, or the strategy's text is not the candidate's.
    """
    source = candidates.spec_text(candidate, parse_spec)
    spec = parse_spec(source, str(candidate.spec_path))
    evidence = candidates.all_evidence(candidate)
    verdicts = {verdict.gate: verdict for verdict in candidates.load_verdicts(candidate)}
    other_policy = any(verdict.policy_hash != policy.hash for verdict in verdicts.values())
    sections = _sections(candidate, verdicts, evidence, policy)
    page = render(
        "report.html.j2",
        candidate=candidate,
        hypothesis=spec.hypothesis,
        side=spec.side,
        source=source,
        standing=words.standing(verdicts),
        sections=sections,
        refusing=sorted((s for s in sections if s.kind in _REFUSING), key=lambda s: _REFUSING.index(s.kind)),
        tiles=_tiles(verdicts),
        changes=words.changes(verdicts, evidence, policy),
        pictures=[
            *pictures(evidence, verdicts),
            *robustness_pictures(evidence),
            *selection_pictures(evidence),
        ],
        bindings=_bindings(verdicts, evidence),
        policies=sorted({verdict.policy_hash for verdict in verdicts.values()}),
        other_policy=other_policy,
    )
    atomic_write(candidate.report_path, page)
    return candidate.report_path


def write_campaign_report(result: CampaignResult, policy: Policy, path: Path) -> Path:
    """Write the page of a campaign: every candidate against every gate, with links to their reports."""
    rows = []
    for examination, candidate in zip(result.examinations, result.saved, strict=True):
        verdicts = examination.verdicts
        rows.append(
            {
                "candidate": candidate,
                "link": Path(os.path.relpath(candidate.report_path, path.parent)).as_posix(),
                "hypothesis": examination.spec.hypothesis,
                "standing": words.standing(verdicts),
                "sections": _sections(candidate, verdicts, examination.evidence, policy),
                "is_best": examination is result.best,
            }
        )
    page = render(
        "campaign.html.j2",
        name=result.name,
        n_looks=result.n_looks,
        n_passed=len(result.passed),
        outcome=result.outcome,
        markets=sorted({candidate.market for candidate in result.saved}),
        snapshots=sorted({candidate.facts.snapshot for candidate in result.saved}),
        gates=[words.GATES[gate] for gate in EXAMINED],
        rows=rows,
        zones=_campaign_zones(result, policy),
        policy=policy,
    )
    atomic_write(path, page)
    return path


def verdict_table(result: CampaignResult) -> Table:
    """Return every strategy of a campaign against gates 1 to 8, for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("strategy", overflow="ellipsis", no_wrap=True, max_width=24)
    for gate in EXAMINED:
        table.add_column(words.GATES[gate].short, no_wrap=True, vertical="bottom")
    for examination in result.distinct:
        cells = []
        for gate in EXAMINED:
            verdict = examination.verdicts.get(gate)
            cells.append(Text("-", "dim") if verdict is None else _mark(verdict.outcome))
        kind = words.standing(examination.verdicts).kind
        table.add_row(Text(examination.template.name, "bold green" if kind == "pass" else "bold"), *cells)
    return table


def _mark(outcome: Outcome) -> Any:
    from rich.text import Text

    return Text(_SHORT[outcome], _COLOURS[outcome])


def _sections(
    candidate: Candidate,
    verdicts: Mapping[str, Verdict],
    evidence: Mapping[str, Evidence],
    policy: Policy,
) -> list[Section]:
    """Return one section a gate: those of a campaign always, later ones when they were judged."""
    later = [gate for gate in words.in_order(verdicts) if gate not in EXAMINED]
    sections = []
    for gate in [*EXAMINED, *later]:
        known = words.GATES.get(gate)
        number, question = (str(known.number), known.question) if known else ("", "")
        verdict = verdicts.get(gate)
        if verdict is None:
            sections.append(Section(gate, number, words.title(gate), question, "not reached", "open"))
            continue
        whys = {name: limit.why for name, limit in policy.gates.get(gate, {}).items()}
        rows = [_row(gate, name, figure, whys) for name, figure in verdict.figures.items()]
        judged = [figure.judged for figure in verdict.figures.values()]
        sections.append(
            Section(
                gate,
                number,
                words.title(gate),
                question,
                verdict.outcome.value,
                verdict.outcome.value.lower(),
                tuple(row for row, has_limit in zip(rows, judged, strict=True) if has_limit),
                tuple(row for row, has_limit in zip(rows, judged, strict=True) if not has_limit),
                tuple(words.reasons(verdict, evidence.get(gate), whys)),
                candidates.unsupported(candidate, verdict),
            )
        )
    return sections


def _row(gate: str, name: str, figure: Figure, whys: Mapping[str, str]) -> Row:
    return Row(
        name,
        words.label(gate, name),
        words.measured(gate, name, figure),
        words.limit(gate, name, figure),
        figure.met,
        whys.get(name, ""),
    )


def _tiles(verdicts: Mapping[str, Verdict]) -> list[dict[str, str]]:
    """Return the figures that a reader looks for first."""
    tiles = []
    for gate, name, title in _TILES:
        figure = verdicts[gate].figures.get(name) if gate in verdicts else None
        if figure is None or math.isnan(figure.value):
            tiles.append({"title": title, "value": "–", "limit": "not measured", "kind": "open"})
            continue
        kind = "open" if not figure.judged else "pass" if figure.met else "fail"
        limit = words.limit(gate, name, figure).removesuffix(" a year")
        value = words.number(name, figure.value)
        other = verdicts[gate].figures.get(f"{name}_optimistic")
        if other is not None and math.isfinite(other.value):
            limit += f"; takes before stops {words.number(f'{name}_optimistic', other.value)}"
        tiles.append({"title": title, "value": value, "limit": limit, "kind": kind})
    return tiles


def _bindings(verdicts: Mapping[str, Verdict], evidence: Mapping[str, Evidence]) -> list[tuple[str, str]]:
    """Return name and hash of all that the evidence rests on; gates are named where they differ."""
    groups: dict[tuple[str, str], list[str]] = {}
    for gate in words.in_order(evidence):
        for name, digest in evidence[gate].bound_to.items():
            if digest:
                groups.setdefault((name, digest), []).append(gate)
    names = [name for name, _ in groups]
    bound = []
    for (name, digest), gates in groups.items():
        of = f" ({', '.join(words.title(gate).lower() for gate in gates)})" if names.count(name) > 1 else ""
        bound.append((name + of, digest))
    judged = [
        (f"evidence of {words.title(gate).lower()}", verdicts[gate].evidence_hash)
        for gate in words.in_order(verdicts)
    ]
    return sorted(bound) + judged


def _campaign_zones(result: CampaignResult, policy: Policy) -> list[tuple[str, str]]:
    """Return each zone of the data, and from when to when it was run."""
    rules = policy.zones
    shares = {
        "research": f"{words.percent(1.0 - rules.holdout_share)} of what comes before the forward bars",
        "holdout": f"{words.percent(rules.holdout_share)} of what comes before the forward bars, sealed",
        "shadow": f"out of the {rules.forward_days} days of forward bars",
    }
    seen: dict[str, str] = {}
    for examination in result.examinations:
        for run in stretches(examination.evidence):
            by = "" if run.zone == "research" else f", run for {examination.template.name}"
            seen[run.zone] = f"{day(run.time[0])} to {day(run.time[-1])}{by}"
    return [(zone, f"{seen.get(zone, 'not opened')} ({shares[zone]})") for _, zone in ZONES]


def render(template: str, **values: object) -> str:
    """Return a page of a template; every value is escaped, and a missing one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(**values)
    return page.encode("utf-8", "replace").decode("utf-8")
