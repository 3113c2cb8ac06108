"""The gates for one strategy, and what they said as JUnit XML and as Markdown for continuous integration."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from pipelines import report_text
from pipelines.campaign import GATES, CampaignResult, Wanted, run_campaign
from pipelines.candidates import Facts, resolve
from pipelines.console import CampaignProgress, show_campaign
from pipelines.gates.evidence import Outcome, Verdict
from pipelines.gates.policy import Policy
from pipelines.grounds import bars_of
from pipelines.inputs import read_bars
from pipelines.proposals import Proposals, read_proposals
from pipelines.refused_proposals import record_refused
from research_lab.bars import Bars
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.durable import atomic_write
from research_lab.errors import SpecError, UsageError
from research_lab.scoring.origin import Origin
from research_lab.workspace import Workspace

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def run_gates(
    workspace: Workspace,
    strategy: str,
    data: Path | None,
    policy: Policy,
    *,
    funding: Path | None = None,
    spot: Path | None = None,
    series: list[str] | None = None,
    markets: list[str] | None = None,
    models: Sequence[Path] | None = None,
) -> CampaignResult:
    """Run a campaign of one strategy, and print its verdicts.

    Parameters
    ----------
    strategy : a file, or a candidate of the workspace.
    data : candles of one market; None for those of the candidate, of a pooled one all of them.

    Raises
    ------
    UsageError
        It is a file, and no candles are named.
    """
    regimes = load_regimes(workspace.regimes, workspace.macro)
    try:
        proposals, facts = _proposal(workspace, strategy)
    except SpecError:
        if data is not None and Path(strategy).is_file():
            record_refused(workspace, Path(strategy), [data], policy)
        raise
    bars: Bars | list[Bars]
    if data is not None:
        bars = read_bars(
            data, proposals.templates, regimes, workspace, policy,
            funding=funding, spot=spot, series=series, markets=markets, models=models,
        )  # fmt: skip
    elif facts is not None:
        bars = bars_of(workspace, facts)
    else:
        raise UsageError("no candles are named", strategy, "name them with --data")
    with CampaignProgress() as progress:
        done = run_campaign(
            workspace.create(), bars, proposals.templates, regimes, policy, progress, Wanted.of(proposals)
        )
    show_campaign(workspace, done, policy)
    return done


def write_junit(done: CampaignResult, policy: Policy, path: Path) -> None:
    """Write one test case a gate; a gate that was not reached is skipped, one that could not tell has failed."""
    whole = Xml.Element("testsuites")
    for candidate, examination in zip(done.saved, done.examinations, strict=True):
        verdicts = examination.verdicts
        suite = Xml.SubElement(whole, "testsuite", name=_xml(str(candidate)), tests=str(len(GATES)))
        suite.set("failures", str(sum(v.outcome is not Outcome.PASS for v in verdicts.values())))
        suite.set("skipped", str(len(GATES) - len(verdicts)))
        for gate in GATES:
            case = Xml.SubElement(suite, "testcase", classname=_xml(candidate.name), name=gate)
            verdict = verdicts.get(gate)
            if verdict is None:
                Xml.SubElement(case, "skipped", message="not reached")
            elif verdict.outcome is not Outcome.PASS:
                first = verdict.reasons[0] if verdict.reasons else verdict.outcome.value
                fault = Xml.SubElement(case, "failure", type=verdict.outcome.value, message=_xml(first))
                fault.text = _xml("\n".join([*verdict.reasons, "", *_lines(verdict, policy)]))
    Xml.indent(whole)
    text = Xml.tostring(whole, encoding="unicode", xml_declaration=False)
    atomic_write(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def write_summary(done: CampaignResult, policy: Policy, path: Path) -> None:
    """Append Markdown: a table of gates for each strategy, and what stands against it."""
    parts = []
    for candidate, examination in zip(done.saved, done.examinations, strict=True):
        parts += [f"## {_md(str(candidate))}: {examination.outcome.value}", ""]
        parts += ["| gate | outcome | measured, and its limit |", "| --- | --- | --- |"]
        for gate in GATES:
            verdict = examination.verdicts.get(gate)
            word = "not reached" if verdict is None else verdict.outcome.value
            told = "" if verdict is None else "<br>".join(_md(line) for line in _lines(verdict, policy))
            parts.append(f"| {report_text.title(gate)} | {word} | {told} |")
        reasons = [
            r for v in examination.verdicts.values() if v.outcome is not Outcome.PASS for r in v.reasons
        ]
        parts += ["", *(f"- {_md(reason)}" for reason in reasons), ""]
    parts.append(f"{done.n_looks:,} looks are charged to this market and time.\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(parts))


def _proposal(workspace: Workspace, strategy: str) -> tuple[Proposals, Facts | None]:
    """Return the strategy as proposed, and what is known of a candidate, None for a file."""
    path = Path(strategy)
    if path.is_file():
        return read_proposals(path), None
    if path.suffix == ".yaml":
        raise UsageError("there is no such file", strategy, "name a strategy file, or a candidate")
    candidate = resolve(workspace, strategy)
    source = candidate.template_path if candidate.template_path.exists() else candidate.spec_path
    template = parse_spec(source.read_text(encoding="utf-8"), str(source))
    facts = candidate.facts
    origin = Origin(facts.generator or "file", knowledge_cutoff=facts.knowledge_cutoff)
    return Proposals((template,), (), {template.template_hash: origin}), facts


def _lines(verdict: Verdict, policy: Policy) -> list[str]:
    """Return a line for each judged figure: its value, its limit, and why where it is not met."""
    lines = []
    for name, figure in verdict.figures.items():
        if not figure.judged:
            continue
        gate = verdict.gate
        value = report_text.measured(gate, name, figure) if math.isfinite(figure.value) else "not measured"
        why = "" if figure.met else f" (NOT MET: {policy.gates[gate][name].why})"
        lines.append(
            f"{report_text.label(gate, name)}: {value}, {report_text.limit(gate, name, figure)}{why}"
        )
    return lines


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def _md(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line of a table."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", plain)
