from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipelines import campaign, candidates, report, report_charts, report_pictures, report_text
from pipelines.campaign import CampaignResult, Examination
from pipelines.gates.evidence import Evidence, Figure, Outcome
from pipelines.gates.policy import Policy, judge, load_policy
from research_lab.errors import WorkspaceError
from research_lab.workspace import Workspace
from tests.pipelines import made_up_gates as made_up

POLICY = load_policy()
FETCHING = frozenset({"script", "link", "img", "iframe", "object", "embed", "base", "form"})
VOID = frozenset({"meta", "rect", "path", "br"})


class Page(HTMLParser):
    """A page's elements, attributes and text; every element must be closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path).create()


def written(
    workspace: Workspace, seen: dict[str, Evidence] | None = None, name: str = "ema_atr"
) -> tuple[str, Page]:
    spec = made_up.spec()
    seen = made_up.evidence(spec) if seen is None else seen
    candidate, _ = made_up.stored(workspace, spec, seen, POLICY, name)
    text = report.write_report(candidate, POLICY).read_text(encoding="utf-8")
    return text, Page(text)


def with_changes(**gates: dict[str, float]) -> dict[str, Evidence]:
    seen = made_up.evidence(made_up.spec())
    return seen | {gate: made_up.changed(seen[gate], figures) for gate, figures in gates.items()}


def first(n: int) -> dict[str, Evidence]:
    return dict(list(made_up.evidence(made_up.spec()).items())[:n])


def result_of(workspace: Workspace) -> CampaignResult:
    """A campaign of three: one passed all, one was refused, one had too little data."""
    spec = made_up.spec()
    refused = with_changes(backtest={"sharpe": 0.31})
    seen_by = {
        "ema_atr": made_up.evidence(spec),
        made_up.HOSTILE: {gate: refused[gate] for gate in list(refused)[:6]},
        "short": {"static": refused["static"], "data": with_changes(data={"research_days": 100.0})["data"]},
    }
    examinations, saved = [], []
    for k, (name, seen) in enumerate(seen_by.items()):
        bound = spec.bind({"fast": 12.0 + 6.0 * k})
        candidate, verdicts = made_up.stored(workspace, bound, seen, POLICY, name)
        template = dataclasses.replace(spec, name=name)
        examinations.append(Examination(template, bound, seen, verdicts))
        saved.append(candidate)
    name, best = "campaign-0123abcd", examinations[0]
    return CampaignResult(name, tuple(examinations), tuple(saved), best, "run", 1234)


def foreign_references(page: Page) -> list[str]:
    """Whatever makes a browser fetch or run something; links are only followed by a person."""
    found = [tag for tag in page.tags if tag in FETCHING]
    found += [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    found += [value for tag, name, value in page.attributes if name == "href" and ":" in value]
    return found + [w for w in page.words if "@import" in w or "url(" in w]


@pytest.mark.parametrize(
    "planted",
    ['<img src="x"/>', "<script></script>", '<p onclick="x"></p>', '<a href="javascript:x">y</a>',
     "<style>@import 'x'</style>", "<style>a{background:url(x)}</style>"],
)  # fmt: skip
def test_a_planted_foreign_reference_is_found(planted: str) -> None:
    assert foreign_references(Page(planted))


def test_a_report_fetches_and_runs_nothing_and_is_small(workspace: Workspace) -> None:
    text, page = written(workspace)
    assert foreign_references(page) == []
    assert "http" not in text.replace("http-equiv", "")
    assert len(text.encode()) < 150_000


def test_a_report_forbids_the_browser_to_fetch_anything(workspace: Workspace) -> None:
    _, page = written(workspace)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")


def test_every_figure_and_every_limit_stands_in_the_report(workspace: Workspace) -> None:
    _, page = written(workspace)
    candidate = candidates.every(workspace)[0]
    missing = [
        (verdict.gate, name)
        for verdict in candidates.load_verdicts(candidate)
        for name, figure in verdict.figures.items()
        if report_text.measured(verdict.gate, name, figure) not in page.text
        or report_text.limit(verdict.gate, name, figure) not in page.text
        or report_text.label(verdict.gate, name) not in page.text
    ]
    assert missing == []


def test_the_return_is_shown_for_both_orders(workspace: Workspace) -> None:
    figures = made_up.evidence(made_up.spec())["backtest"].figures
    _, page = written(workspace)
    for name, said in (("return", ""), ("return_optimistic", "takes before stops ")):
        assert said + report_text.number(name, figures[name]) in page.text
    assert figures["return"] != figures["return_optimistic"]


def test_every_reason_of_the_policy_stands_beside_its_limit(workspace: Workspace) -> None:
    _, page = written(workspace)
    gates = [gate for gate in POLICY.gates if gate != "promote"]
    whys = [limit.why for gate in gates for limit in POLICY.gates[gate].values() if not limit.of_pools]
    assert [why for why in whys if why not in page.text] == []


def test_every_figure_of_the_policy_has_a_name_for_people() -> None:
    names = {name for limits in POLICY.gates.values() for name in limits}
    assert names - set(report_text._LABELS) == set()


def test_the_gates_of_a_report_are_those_of_a_campaign() -> None:
    assert report.EXAMINED == campaign.GATES


def test_a_report_shows_identity_strategy_and_bindings(workspace: Workspace) -> None:
    _, page = written(workspace)
    candidate = candidates.every(workspace)[0]
    hashes = [candidate.hash, candidate.facts.snapshot, POLICY.hash]
    hashes += [verdict.evidence_hash for verdict in candidates.load_verdicts(candidate)]
    assert [digest for digest in hashes if digest not in page.text] == []
    assert " ".join(candidates.spec_text(candidate).split()) in page.text
    assert "synthetic EDGE/USDT" in page.text


def test_a_report_is_the_same_bytes_whenever_it_is_written(workspace: Workspace) -> None:
    once, _ = written(workspace)
    again = report.write_report(candidates.every(workspace)[0], POLICY).read_text(encoding="utf-8")
    assert once == again


def test_hostile_text_stays_text(workspace: Workspace) -> None:
    spec = made_up.spec(made_up.HOSTILE)
    seen = made_up.evidence(spec)
    seen["data"] = dataclasses.replace(seen["data"], faults=(made_up.HOSTILE,))
    hostile_point = {made_up.HOSTILE: 1.0, "fast": 12.0, "sharpe": 1.0}
    points = [hostile_point, {**hostile_point, made_up.HOSTILE: 2.0}]
    series = {**seen["backtest"].series, "parameters": points, "chosen": {made_up.HOSTILE: 1.0}}
    seen["backtest"] = dataclasses.replace(seen["backtest"], series=series)
    candidate, _ = made_up.stored(workspace, spec, seen, POLICY, made_up.HOSTILE)
    page = Page(report.write_report(candidate, POLICY).read_text(encoding="utf-8"))
    assert foreign_references(page) == []
    assert page.text.count("<script>alert('x')</script>") >= 4  # name, hypothesis, fault, parameter
    assert "{{ 7 * 7 }}" in page.text


def test_text_that_is_no_unicode_becomes_a_mark() -> None:
    named = {"name": "a lone \ud800 surrogate", "n_passed": 0, "rows": [], "outcome": "FAIL", "zones": []}
    rest = {"markets": [], "n_looks": 0, "snapshots": [], "policy": POLICY, "gates": []}
    assert "a lone ? surrogate" in report.render("campaign.html.j2", **named, **rest)


def test_gates_that_were_not_reached_are_said_to_be(workspace: Workspace) -> None:
    _, page = written(workspace, first(3))
    assert "not reached: backtest, walk-forward, overfitting, holdout and shadow" in page.text
    assert "UNFINISHED" in page.text
    assert "figure" not in page.tags


def test_a_candidate_without_any_verdict_has_a_report(workspace: Workspace) -> None:
    _, page = written(workspace, {})
    assert "No gate has judged this candidate yet." in page.text


def test_what_was_not_measured_is_said_and_never_shown_as_nan(workspace: Workspace) -> None:
    seen = {gate: made_up.unmeasured(one) for gate, one in made_up.evidence(made_up.spec()).items()}
    seen["holdout"] = made_up.changed(seen["holdout"], {}, "the holdout holds 12 days, wanted 60")
    text, page = written(workspace, seen)
    assert "not measured" in page.text
    assert "The holdout holds 12 days, wanted 60" in page.text
    assert re.search(r"\bnan\b", text, flags=re.IGNORECASE) is None


def test_series_of_nan_and_of_wrong_lengths_leave_pictures_out(workspace: Workspace) -> None:
    seen = made_up.evidence(made_up.spec())
    broken = {**seen["backtest"].series, "equity": [math.nan] * 1200, "trade_r": ["x"], "parameters": [{}]}
    seen["backtest"] = dataclasses.replace(seen["backtest"], series=broken)
    seen["holdout"] = dataclasses.replace(seen["holdout"], series={"time": [1.0], "equity": []})
    text, _ = written(workspace, seen)
    assert re.search(r"\bnan\b", text, flags=re.IGNORECASE) is None


@pytest.mark.parametrize(
    ("changes", "word", "sentence"),
    [
        ({}, "PASS", "It passed all 8 gates, and may be promoted."),
        ({"backtest": {"sharpe": 0.31}}, "FAIL", "Refused by backtest; 7 of 8 gates passed."),
        ({"backtest": {"n_trades": 9.0}}, "INSUFFICIENT", "too little to go by for backtest; 7 of 8"),
        ({"backtest": {"n_trades": 9.0}, "holdout": {"p": 0.5}}, "FAIL", "Refused by holdout; 6 of 8"),
    ],
)
def test_the_outcome_is_one_big_word_and_a_sentence(
    workspace: Workspace, changes: dict[str, dict[str, float]], word: str, sentence: str
) -> None:
    text, page = written(workspace, with_changes(**changes))
    assert re.search(rf'<p class="word">.*</span> {word}</p>', text)
    assert sentence in page.text


def test_a_refusal_names_value_limit_and_reason(workspace: Workspace) -> None:
    _, page = written(workspace, with_changes(backtest={"sharpe": 0.31}))
    assert (
        "Sharpe ratio: 0.31 a year; wanted at least 0.80 a year. Less is within reach of holding the coin."
        in page.text
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        # 30 trades in 3.6 years are 8.33 a year; the 10 missing take 1.2 years.
        (
            {"backtest": {"n_trades": 30.0}},
            "10 more trades are missing (30 of 40); at 8.3 a year, about 1.2 years",
        ),
        # Of 100 days more, 60 % are research: 265 / 0.6 = 441.7.
        (
            {"data": {"research_days": 100.0}},
            "265 more days of research data are missing, which is about 442",
        ),
        ({"shadow": {"n_days": 20.0}}, "10 more forward days are missing"),
        (
            {"overfitting": {"p": 0.4, "statistic": 3.6}},  # 1314 (3.9^2 / 3.6^2 - 1) = 228 days
            "p 0.25 among 282 trials takes 3.90, which at the same Sharpe ratio about 8 months more",
        ),
        ({"walk_forward": {"share_profitable": 0.4}}, "1 more of 5 folds would have to end with a gain"),
        ({"backtest": {"n_trades": 0.0}}, "40 more trades are missing: it never traded"),
    ],
)
def test_what_would_change_the_answer_is_derived(
    workspace: Workspace, changes: dict[str, dict[str, float]], line: str
) -> None:
    _, page = written(workspace, with_changes(**changes))
    assert line in page.text


def test_a_verdict_on_other_evidence_is_doubted(workspace: Workspace) -> None:
    written(workspace)
    candidate = candidates.every(workspace)[0]
    candidates.save_evidence(candidate, with_changes(backtest={"sharpe": 9.0})["backtest"])
    text = report.write_report(candidate, POLICY).read_text(encoding="utf-8")
    assert "judged on other evidence than is stored" in text


def test_verdicts_of_another_policy_are_said_to_be(workspace: Workspace) -> None:
    written(workspace)
    other = Policy.model_validate({**POLICY.model_dump(), "shadow_days": 61})
    text = report.write_report(candidates.every(workspace)[0], other).read_text(encoding="utf-8")
    assert "under another policy" in text


def test_a_changed_strategy_gets_no_report(workspace: Workspace) -> None:
    written(workspace)
    candidate = candidates.every(workspace)[0]
    candidate.spec_path.write_text(candidate.spec_path.read_text().replace("0.95", "0.9"), encoding="utf-8")
    with pytest.raises(WorkspaceError, match="the text hashes to"):
        report.write_report(candidate, POLICY)


def test_every_drawing_has_words_and_every_table_has_heads(workspace: Workspace) -> None:
    text, page = written(workspace)
    assert page.tags.count("svg") == 7
    assert len([alt for alt in page.values("aria-label") if len(alt) > 20]) == 7
    for table in re.findall(r"<table.*?</table>", text, flags=re.DOTALL):
        assert 'scope="col"' in table
        assert 'scope="row"' in table


def test_zones_go_on_where_the_one_before_ended() -> None:
    runs = report_pictures.stretches(made_up.evidence(made_up.spec()))
    own = made_up.series(made_up.spec())
    assert [run.zone for run in runs] == ["research", "holdout", "shadow"]
    assert runs[1].equity[0] == pytest.approx(own["backtest"]["equity"][-1] * own["holdout"]["equity"][0])


def test_the_map_marks_what_was_chosen_and_takes_the_median_over_the_rest() -> None:
    points = [{"a": a, "b": 1.0, "c": c, "sharpe": a + c} for a in (1.0, 2.0, 3.0) for c in (0.0, 0.5)]
    assert report_charts.most_varied(points, {"a": 2.0, "b": 1.0, "c": 0.5}) == ("a", "c")
    drawn = report_charts.parameter_map(points, {"a": 2.0, "b": 1.0, "c": 0.5})
    assert re.findall(r'<td class="up chosen"[^>]*>([^<]*)<', drawn) == ["2.50"]


def test_a_map_of_many_values_stays_readable() -> None:
    points = [{"a": float(a), "b": float(b), "sharpe": 1.0} for a in range(100) for b in range(40)]
    drawn = report_charts.parameter_map(points, {"a": 50.0, "b": 20.0})
    assert drawn.count('scope="col"') == drawn.count('scope="row"') == report_charts.MAX_CELLS
    assert drawn.count("up chosen") == 1


def axes() -> Iterator[report_charts.Axis]:
    for low, high in ((0.9, 1.1), (0.5, 3.0), (0.01, 400.0), (1.0, 1.0), (1e-3, 1e9)):
        yield report_charts.growth_axis(np.array([low, high]))
    for low, high in ((-1.0, 0.0), (0.0, 0.0), (-1.83, 5.36), (0.0, 1e6)):
        yield report_charts.value_axis(low, high)
    for days in (0.5, 20, 90, 700, 3000, 20_000):
        yield report_charts.time_axis(made_up.BEGIN, made_up.BEGIN + days * made_up.DAY)


@pytest.mark.parametrize("axis", list(axes()))
def test_the_marks_of_an_axis_lie_on_it_in_order_and_are_few(axis: report_charts.Axis) -> None:
    values = [value for value, _ in axis.ticks]
    assert values == sorted(values)
    assert len(values) <= 14
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values)


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    path = report_charts._path(np.array([0.0, 10.0, 20.0, 30.0]), np.array([5.0, 3.0, math.nan, 8.0]))
    assert path == "M0 5l0 0 10-2M30 8l0 0"


def test_a_figure_without_limit_has_no_words_for_one() -> None:
    assert report_text.limit("backtest", "years", Figure(3.0)) == ""


def test_a_campaign_page_shows_every_gate_of_every_strategy(workspace: Workspace) -> None:
    path = workspace.reports / "campaign-0123abcd.html"
    text = report.write_campaign_report(result_of(workspace), POLICY, path).read_text(encoding="utf-8")
    page = Page(text)
    kinds = ("pass", "fail", "insufficient", "open")
    matrix = re.findall(r'<td class="(pass|fail|insufficient|open)">', text)
    assert len(matrix) == 3 * len(campaign.GATES)
    assert [matrix.count(kind) for kind in kinds] == [8 + 5 + 1, 1, 1, 2 + 6]
    assert "1 of 3 passed" in page.text
    assert "1,234" in page.text
    assert "wanted at least 0.80 a year" in page.text
    assert "2018-01-01 to 2021-04-14" in page.text  # research: 1,200 days from its first
    assert foreign_references(page) == []


def test_a_campaign_page_links_to_the_reports_of_its_candidates(workspace: Workspace) -> None:
    result = result_of(workspace)
    path = report.write_campaign_report(result, POLICY, workspace.reports / "campaign.html")
    page = Page(path.read_text(encoding="utf-8"))
    links = {link for link in page.values("href") if not link.startswith("#")}
    wanted = {(workspace.reports / link).resolve() for link in links}
    assert wanted == {candidate.report_path.resolve() for candidate in result.saved}


def test_a_campaign_in_which_nothing_passes_says_so(workspace: Workspace) -> None:
    whole = result_of(workspace)
    result = dataclasses.replace(whole, examinations=whole.examinations[1:], saved=whole.saved[1:], best=None)
    path = report.write_campaign_report(result, POLICY, workspace.reports / "campaign.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert "Nothing may be promoted." in page.text
    assert "not opened" in page.text


def test_the_table_for_the_terminal_fits_into_80_columns(workspace: Workspace) -> None:
    out = StringIO()
    Console(file=out, width=80, color_system=None).print(report.verdict_table(result_of(workspace)))
    lines = out.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    passed, refused, short = lines[-3:]
    assert passed.split()[1:] == ["PASS"] * 8
    assert refused.split()[-8:] == ["PASS", "PASS", "PASS", "FAIL", "PASS", "PASS", "-", "-"]
    assert short.split()[1:] == ["PASS", "INSUF.", *"------"]


def test_standings_come_in_the_order_fail_insufficient_open_pass() -> None:
    seen = made_up.evidence(made_up.spec())
    verdicts = {gate: judge(one, POLICY) for gate, one in seen.items()}
    assert report_text.standing(verdicts).kind == "pass"
    del verdicts["shadow"]
    assert report_text.standing(verdicts).kind == "open"
    verdicts["data"] = dataclasses.replace(verdicts["data"], outcome=Outcome.INSUFFICIENT)
    assert report_text.standing(verdicts).kind == "insufficient"
    verdicts["static"] = dataclasses.replace(verdicts["static"], outcome=Outcome.FAIL)
    assert report_text.standing(verdicts).kind == "fail"
