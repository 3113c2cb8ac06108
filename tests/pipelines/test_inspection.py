"""A candidate looked at again: measured anew, compared, judged on newer bars; nothing counted, nothing opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from live_shadow import governance
from live_shadow.enable_map import Entry, Stage
from live_shadow.symbols import DEFAULTS as SYMBOLS
from pipelines import campaign, candidates, gate_run
from pipelines.campaign import CampaignResult, Wanted, open_world
from pipelines.candidates import Candidate
from pipelines.comparison import as_text, compared, draw
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy
from pipelines.gates.world import World
from pipelines.recheck import Champion, advise, joined, measure, recheck
from pipelines.verification import first_difference, verify
from research_lab.backtests.both_orders import BothOrders
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import DataError, InsufficientError, LedgerError, UsageError
from research_lab.market_data.lake import Lake
from research_lab.scoring.origin import Origin
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.series import ModelRule
from research_lab.timeframe import DAY_MS
from research_lab.validation.family_wise import holdout_level
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

LONG = small.planted(n_days=small.DAYS + 100)


@dataclass(frozen=True)
class Done:
    """A finished campaign of two strategies in a workspace, on the first days of a longer world."""

    root: Path
    result: CampaignResult
    bars: Bars
    policy: Policy


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("inspected")
    workspace, bars = Workspace.find(folder / "ws").create(), LONG.window(0, small.DAYS * 24)
    governance.init(workspace.root)
    strategies, policy = small.strategy_folder(folder, small.EMA, small.QUICK), small.policy(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "Tracker", small.Tracker)
        templates = campaign.load_templates(strategies)
        cutoff = datetime.fromtimestamp(int(bars.time[3000]) / 1000, UTC).strftime("%Y-%m-%d")
        origin = Origin("grammar", "3", knowledge_cutoff=cutoff)
        wanted = Wanted(2, (), {t.template_hash: origin for t in templates if t.name == "ema"})
        result = campaign.run_campaign(
            workspace, bars, templates, small.regimes(workspace), policy, small.silent, wanted
        )
    assert result.outcome is Outcome.PASS
    yield Done(workspace.root, result, bars, policy)


@pytest.fixture
def workspace(done: Done, tmp_path: Path) -> Workspace:
    return Workspace.find(shutil.copytree(done.root, tmp_path / "ws"))


def named(workspace: Workspace, name: str = "ema") -> Candidate:
    return candidates.resolve(workspace, name)


def counted(workspace: Workspace) -> tuple[int, int]:
    """Return looks, and openings that were not shown again."""
    ledger = TrialLedger(workspace.trials)
    openings = [o for o in Lake(workspace.root).openings.past() if not o["again"]]
    return len(ledger.every()), len(openings)


# Two openings, and who proposed


def test_the_holdout_is_opened_for_as_many_as_were_asked_for_and_each_is_an_opening(done: Done) -> None:
    openings = Lake(done.root).openings.past()
    assert [o["k"] for o in openings] == [1, 2]
    assert done.result.best is not None and openings[0]["candidate"] == done.result.best.spec.hash
    for examination in done.result.examinations:
        seen = examination.evidence["holdout"].figures
        weight = min(3.0, 0.02 / seen["research_p"])
        level = holdout_level(int(seen["opening"]), 0.05) * weight
        assert examination.verdicts["holdout"].figures["p"].limit == pytest.approx(level)


def test_the_ledger_says_who_proposed_what(done: Done) -> None:
    trials = TrialLedger(Workspace(done.root).trials).every()
    told = {t.name: (t.origin, t.generator_version, t.knowledge_cutoff != "") for t in trials}
    assert told == {"ema": ("grammar", "3", True), "quick": ("file", "", False)}


def test_evidence_stands_before_and_after_the_cutoff_and_only_where_there_is_one(done: Done) -> None:
    ema, quick = ({g: e.figures for g, e in x.evidence.items()} for x in done.result.examinations)
    research = ema["backtest"]
    assert research["before_cutoff_days"] + research["after_cutoff_days"] == 225.0
    assert 120 < research["before_cutoff_days"] < 130
    whole = (1 + research["before_cutoff_return"]) * (1 + research["after_cutoff_return"]) - 1
    assert whole == pytest.approx(research["return"])
    assert research["before_cutoff_trades"] + research["after_cutoff_trades"] == research["n_trades"]
    assert 0 < research["after_cutoff_p"] <= 1
    assert ema["holdout"]["before_cutoff_days"] == 0.0
    assert ema["holdout"]["after_cutoff_sharpe"] > 0
    assert not any("cutoff" in name for figures in quick.values() for name in figures)


# verify


def test_measured_again_every_byte_is_the_same_and_nothing_is_counted(
    workspace: Workspace, done: Done
) -> None:
    before = counted(workspace)
    for name in ("ema", "quick"):
        found = verify(workspace, named(workspace, name), small.regimes(workspace), done.policy)
        assert [(g.gate, g.told) for g in found.gates if not g.same] == []
        assert found.outcome is Outcome.PASS
        assert {g.gate for g in found.gates} == set(candidates.all_evidence(named(workspace, name)))
    assert counted(workspace) == before


def test_looks_that_came_later_do_not_change_what_is_verified(workspace: Workspace, done: Done) -> None:
    world = open_world(workspace, done.bars, small.regimes(workspace), done.policy, "later")
    world.scorer.score([parse_spec(small.EMA.replace("6 * atr", "3 * atr"))])
    found = verify(workspace, named(workspace), small.regimes(workspace), done.policy)
    assert found.outcome is Outcome.PASS


@pytest.mark.parametrize("gate", ["backtest", "overfitting", "holdout"])
def test_a_figure_that_was_changed_is_named_with_its_gate(
    gate: str, workspace: Workspace, done: Done
) -> None:
    candidate = named(workspace)
    evidence = candidates.load_evidence(candidate, gate)
    assert evidence is not None
    name = sorted(evidence.figures)[0]
    forged = replace(evidence, figures={**evidence.figures, name: evidence.figures[name] + 1e-9})
    candidates.save_evidence(candidate, forged)
    found = verify(workspace, candidate, small.regimes(workspace), done.policy)
    assert found.outcome is Outcome.FAIL
    assert next(g.gate for g in found.gates if g.same is False) == gate
    assert next(g for g in found.gates if g.gate == gate).told.startswith(f"figures {name} was ")


def test_what_is_no_longer_there_is_said(workspace: Workspace, done: Done) -> None:
    candidate, regimes = named(workspace), small.regimes(workspace)
    with pytest.raises(UsageError, match="another policy"):
        other = Policy.model_validate(done.policy.model_copy(update={"shadow_days": 29}).model_dump())
        verify(workspace, candidate, regimes, other)
    for path in workspace.trials.glob("*.jsonl"):
        path.rename(path.with_suffix(".away"))
    with pytest.raises(InsufficientError, match="the ledger is not what it was: a segment is gone"):
        verify(workspace, candidate, regimes, done.policy)
    for path in workspace.lake.glob("snapshots/*.parquet"):
        path.unlink()
    with pytest.raises(InsufficientError, match="the data are not there: there is no snapshot"):
        verify(workspace, candidate, regimes, done.policy)


def test_a_holdout_opened_with_other_code_than_the_rest_is_not_opened_again(
    workspace: Workspace, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a second campaign, with newer code, in which another strategy went to the holdout."""
    candidate, before = named(workspace), counted(workspace)
    monkeypatch.setattr("pipelines.gates.world.code_hash", lambda: "c" * 64)
    for gate, evidence in candidates.all_evidence(candidate).items():
        if gate not in ("holdout", "shadow"):
            bound = {**evidence.bound_to, "code": "c" * 64}
            candidates.save_evidence(candidate, replace(evidence, bound_to=bound))
    found = verify(workspace, candidate, small.regimes(workspace), done.policy)
    assert found.changed == () and counted(workspace) == before
    assert {g.gate: g.same for g in found.gates}["holdout"] is None


def test_other_code_is_said_and_spends_no_opening(
    workspace: Workspace, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counted(workspace)
    monkeypatch.setattr("pipelines.gates.world.code_hash", lambda: "c" * 64)
    found = verify(workspace, named(workspace), small.regimes(workspace), done.policy)
    assert found.outcome is Outcome.INSUFFICIENT
    assert "the code changed since" in found.changed[0]
    told = {g.gate: g.told for g in found.gates}
    assert "further opening" in told.pop("holdout") and "further opening" in told.pop("shadow")
    assert set(told.values()) == {"the figures are the same"}
    assert counted(workspace) == before


def test_other_code_that_asks_for_other_looks_is_insufficient(
    workspace: Workspace, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_look(*_: object) -> None:
        raise LedgerError("a look that was not counted when the evidence was measured")

    monkeypatch.setattr("pipelines.verification.examine_one", other_look)
    ask = (named(workspace), small.regimes(workspace), done.policy)
    with pytest.raises(LedgerError):
        verify(workspace, *ask)
    monkeypatch.setattr("pipelines.gates.world.code_hash", lambda: "c" * 64)
    with pytest.raises(InsufficientError, match=r"the code changed since.* a look that was not counted"):
        verify(workspace, *ask)


def test_the_first_difference_is_found_wherever_it_is() -> None:
    one = Evidence("g", {"a": 1.0, "b": float("nan")}, {"spec": "x"}, series={"e": [1.0, {"k": 2}]})
    assert first_difference(one, one) == ""
    for other, told in (
        (replace(one, figures={"a": 1.0}), "figures b is not measured any more"),
        (replace(one, series={"e": [1.0, {"k": 3}]}), "series e 1 k was 2 and is 3"),
        (replace(one, series={"e": [1.0]}), "series e was [1.0, {'k': 2}] and is [1.0]"),
        (replace(one, bound_to={"spec": "y"}), "bound_to spec was 'x' and is 'y'"),
        (replace(one, insufficient="no"), "insufficient was '' and is 'no'"),
    ):
        assert first_difference(one, other) == told
    assert first_difference(one, replace(one, bound_to={}), bound=False) == ""


# compare


def test_two_candidates_are_compared_on_research_bars_only(
    workspace: Workspace, done: Done, tmp_path: Path
) -> None:
    before = counted(workspace)
    ask = (small.regimes(workspace), done.policy)
    both = compared(workspace, named(workspace, "ema"), named(workspace, "quick"), *ask)
    back = compared(workspace, named(workspace, "quick"), named(workspace, "ema"), *ask)
    zones = Lake(workspace.root).zones(done.bars)
    assert both.first.time[-1] < zones.holdout.start_ms
    assert both.correlation == pytest.approx(back.correlation)
    assert both.probability_first + back.probability_first == pytest.approx(1.0)
    assert both.in_market[2] <= min(both.in_market[:2])
    figures = next(e for e in done.result.examinations if e.template.name == "ema").evidence["backtest"]
    assert both.first.result.metrics["sharpe"] == figures.figures["sharpe"]
    assert both.first.optimistic == figures.figures["return_optimistic"]
    text = as_text(both)
    assert "Sharpe ratio" in text and "none of the holdout" in text
    assert draw(both, tmp_path / "both.png").read_bytes()[:4] == b"\x89PNG"
    assert counted(workspace) == before


def test_a_candidate_compared_with_itself_is_the_same(workspace: Workspace, done: Done) -> None:
    both = compared(workspace, named(workspace), named(workspace), small.regimes(workspace), done.policy)
    assert both.correlation == pytest.approx(1.0)
    assert both.probability_first == 0.0
    assert both.in_market[0] == both.in_market[2] and both.same_side == 1.0


def test_what_was_never_scored_is_not_shown_beside_another(workspace: Workspace, done: Done) -> None:
    known, regimes = named(workspace), small.regimes(workspace)
    refused = parse_spec(small.QUICK.replace("48", "50").replace("quick", "refused"))
    made = candidates.save(
        workspace, refused.canonical(), refused.hash, replace(known.facts, name="refused")
    )  # as of one that gate 1 or 2 stopped
    with pytest.raises(InsufficientError, match="never scored, or not with these costs"):
        compared(workspace, known, made, regimes, done.policy)
    costly = SYMBOLS.read_text().replace("fee: 0.001,", "fee: 0.002,")
    (workspace.root / "symbols.yaml").write_text(costly)
    with pytest.raises(InsufficientError, match="never scored, or not with these costs"):
        compared(workspace, known, known, regimes, done.policy)


def other_orders(self: World, spec: Spec, bars: Bars, start: int = 0) -> BothOrders:
    """Return orders of which the optimistic one returns 900 %."""
    result = self.run(spec, bars, start)
    return BothOrders(result, replace(result, metrics=result.metrics | {"return": 9.0}))


def test_the_return_is_told_for_both_orders(
    workspace: Workspace, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "both_orders", other_orders)
    ask = (small.regimes(workspace), done.policy)
    both = compared(workspace, named(workspace, "ema"), named(workspace, "quick"), *ask)
    (line,) = [line for line in as_text(both).splitlines() if "takes before stops" in line]
    assert line.count("900 %") == 2
    figures = recheck(workspace, champion(workspace, done), LONG, *ask).evidence.figures
    assert figures["return_optimistic"] == 9.0 != figures["return"]


# recheck


def champion(workspace: Workspace, done: Done) -> Champion:
    candidate = named(workspace)
    zones = Lake(workspace.root).zones(done.bars)
    since = datetime.fromtimestamp(zones.forward.start_ms / 1000 + 30 * 86_400, UTC)
    entry = Entry(
        candidate=candidate.hash, name="ema", market=candidate.market, timeframe="1h", stage=Stage.CHAMPION,
        risk_share=1.0, regimes=("any",), since=since, evidence="0" * 64, expires=None,
    )  # fmt: skip
    return Champion(entry, parse_spec(candidates.spec_text(candidate)), candidate)


def test_a_champion_whose_edge_goes_on_is_kept_and_the_evidence_is_stored(
    workspace: Workspace, done: Done
) -> None:
    before = counted(workspace)
    found = recheck(workspace, champion(workspace, done), LONG, small.regimes(workspace), done.policy)
    assert (found.word, found.evidence.figures["differing_bits"]) == ("keep", 0.0)
    assert found.evidence.figures["n_days"] == pytest.approx(115, abs=1)
    (kept,) = (named(workspace).folder / "recheck").iterdir()
    assert kept.read_text() == found.evidence.canonical() + "\n"
    assert counted(workspace) == before


def test_the_newer_bars_alone_are_enough(workspace: Workspace, done: Done) -> None:
    whole = joined(done.bars, LONG)
    tail = joined(done.bars, LONG.window(small.DAYS * 24 - 50, LONG.n))
    assert whole.snapshot == tail.snapshot == LONG.snapshot
    apart = LONG.window(small.DAYS * 24, LONG.n)
    assert joined(done.bars, apart).snapshot == LONG.snapshot


def test_bars_that_were_revised_or_are_of_another_market_are_refused(done: Done) -> None:
    inputs = LONG.inputs.copy()
    inputs[:4, 100] *= 1.01
    with pytest.raises(DataError, match="1 bars have other prices than in the campaign"):
        joined(done.bars, replace(LONG, inputs=inputs))
    with pytest.raises(DataError, match="do not go on after"):
        joined(done.bars, replace(LONG, market=replace(LONG.market, symbol="OTHER/USDT")))


def test_a_champion_whose_market_turns_against_it_is_rolled_back(workspace: Workspace, done: Done) -> None:
    n = small.DAYS * 24
    inputs = LONG.inputs.copy()
    waves = np.exp(0.05 * np.sin(2 * np.pi * np.arange(LONG.n - n) / 30))  # it buys each top
    inputs[:4, n:] = inputs[3, n - 1] * waves
    found = recheck(
        workspace,
        champion(workspace, done),
        replace(LONG, inputs=inputs),
        small.regimes(workspace),
        done.policy,
    )
    assert found.word == "roll back"
    assert found.evidence.figures["return"] < 0
    assert "has a chance of 0.00" in found.reasons[0]


def test_too_few_new_bars_are_watched(workspace: Workspace, done: Done) -> None:
    found = recheck(workspace, champion(workspace, done), done.bars, small.regimes(workspace), done.policy)
    assert found.word == "watch"
    assert "15 days since it may trade, 30 are wanted" in found.reasons[-1]
    world = open_world(workspace, done.bars, small.regimes(workspace), done.policy, "")
    later = champion(workspace, done)
    entry = later.entry.model_copy(update={"since": datetime(2090, 1, 1, tzinfo=UTC)})
    nothing = measure(replace(later, entry=entry), world)
    assert advise(nothing, done.policy)[0] is Outcome.INSUFFICIENT


def test_a_champion_that_reads_a_model_is_judged_on_bars_from_the_first_one_on(
    workspace: Workspace, done: Done
) -> None:
    reading = champion(workspace, done)
    reading = replace(reading, spec=replace(reading.spec, models={"drift": ModelRule("0" * 64, DAY_MS)}))
    tail, ask = LONG.window(small.DAYS * 24, LONG.n), (small.regimes(workspace), done.policy)
    with pytest.raises(DataError, match="reads a model, which is fitted on all bars from 20"):
        recheck(workspace, reading, tail, *ask)


def test_nothing_is_told_of_the_holdout_and_nothing_at_all_where_it_was_never_opened(
    workspace: Workspace, done: Done
) -> None:
    world = open_world(workspace, done.bars, small.regimes(workspace), done.policy, "")
    real = champion(workspace, done)
    forward = world.lake.zones(done.bars).forward
    early = real.entry.model_copy(update={"since": datetime(2000, 1, 1, tzinfo=UTC)})
    figures = measure(replace(real, entry=early), world).figures
    assert figures["n_bars"] == np.sum(done.bars.time >= forward.start_ms)
    by_hand = replace(real, candidate=replace(real.candidate, hash="f" * 64))
    nothing = measure(by_hand, world)
    assert (nothing.figures, advise(nothing, done.policy)[0]) == ({}, Outcome.INSUFFICIENT)
    assert "never opened" in nothing.insufficient


@pytest.mark.parametrize(
    ("figures", "advice"),
    [
        ({}, Outcome.PASS),
        ({"differing_bits": 1.0}, Outcome.FAIL),
        ({"differing_bits": float("nan")}, Outcome.FAIL),
        ({"band_probability": 0.0049}, Outcome.FAIL),
        ({"band_probability": 0.0051}, Outcome.INSUFFICIENT),
        ({"drawdown_probability": 0.0049}, Outcome.FAIL),
        ({"drawdown_probability": float("nan")}, Outcome.INSUFFICIENT),
        ({"drift": 1000.0}, Outcome.FAIL),
        ({"drift": 999.0}, Outcome.PASS),
        ({"drift": float("nan")}, Outcome.INSUFFICIENT),
        ({"n_days": 29.0}, Outcome.INSUFFICIENT),
    ],
)
def test_the_advice_follows_the_limits_of_gate_8(
    figures: dict[str, float], advice: Outcome, done: Done
) -> None:
    good = {
        "differing_bits": 0.0,
        "n_days": 30.0,
        "band_probability": 0.5,
        "drawdown_probability": 0.5,
        "drift": 3.0,
    }
    assert advise(Evidence("recheck", {**good, **figures}, {}), done.policy)[0] is advice


# gate


def test_junit_has_a_case_a_gate_with_figures_and_limits(done: Done, tmp_path: Path) -> None:
    gate_run.write_junit(done.result, done.policy, tmp_path / "gates.xml")
    suites = Xml.parse(tmp_path / "gates.xml").getroot()
    assert [suite.get("tests") for suite in suites] == ["8", "8"]
    assert [case.get("name") for case in suites[0]] == list(campaign.GATES)
    verdict = done.result.examinations[0].verdicts["backtest"]
    failed = replace(verdict, outcome=Outcome.FAIL, reasons=("sharpe \x00 <is> too & low",))
    done.result.examinations[0].verdicts["backtest"] = failed
    try:
        gate_run.write_junit(done.result, done.policy, tmp_path / "gates.xml")
        gate_run.write_summary(done.result, done.policy, tmp_path / "summary.md")
    finally:
        done.result.examinations[0].verdicts["backtest"] = verdict
    fault = Xml.parse(tmp_path / "gates.xml").getroot().find(".//failure")
    assert fault is not None and fault.text is not None
    assert fault.get("type") == "FAIL" and "<is> too & low" in str(fault.get("message"))
    assert "Sharpe ratio: " in fault.text and "at least 0.80" in fault.text
    summary = (tmp_path / "summary.md").read_text()
    assert "| Backtest | FAIL |" in summary and "&lt;is&gt; too &amp; low" in summary


def test_heads_and_template_are_kept_with_the_candidate(done: Done) -> None:
    for candidate, examination in zip(done.result.saved, done.result.examinations, strict=True):
        assert candidate.template_path.read_text() == examination.template.canonical()
        heads = json.loads(candidate.heads_path.read_text())
        assert TrialLedger(Workspace(done.root).trials).has(heads)
