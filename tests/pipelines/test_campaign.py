"""A campaign from candles to verdicts: complete, repeatable, counted once, whole after an interrupt."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import campaign, campaign_store, candidates
from pipelines.anchoring import heads_of
from pipelines.campaign import GATES, CampaignResult, Examination, load_templates
from pipelines.candidates import Candidate
from pipelines.console import show_campaign
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy
from pipelines.run_command import best_passed
from research_lab.bars import Bars
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import InsufficientError, LedgerError, SpecError, TrackingError, UsageError
from research_lab.market_data.lake import Lake
from research_lab.market_data.openings import OWN
from research_lab.scoring.origin import Origin
from research_lab.workspace import Workspace
from tests.pipelines import made_up
from tests.pipelines import small_campaign as small


@dataclass(frozen=True)
class Done:
    """A finished campaign of two strategies, and what it was run on."""

    workspace: Workspace
    result: CampaignResult
    bars: Bars
    strategies: Path
    policy: Policy


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("campaign")
    workspace, bars = Workspace.find(folder / "ws"), small.planted()
    strategies, policy = small.strategy_folder(folder, small.EMA, small.QUICK), small.policy(folder)
    return Done(workspace, small.run(workspace, bars, strategies, policy), bars, strategies, policy)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "Tracker", small.Tracker)


def evidence_bytes(workspace: Workspace) -> dict[str, bytes]:
    return {
        str(path.relative_to(workspace.candidates)): path.read_bytes()
        for path in workspace.candidates.glob("*/evidence/*.json")
    }


def without_context(evidence: dict[str, bytes]) -> dict[str, Any]:
    documents = {name: json.loads(text) for name, text in evidence.items()}
    for document in documents.values():
        del document["bound_to"]["context"]
    return documents


def looks(workspace: Workspace, bars: Bars) -> int:
    ledger = campaign.TrialLedger(workspace.trials)
    return ledger.n_looks(bars.market.charged_to, *bars.interval)


def test_a_planted_edge_passes_every_gate(done: Done) -> None:
    assert done.result.outcome is Outcome.PASS
    assert done.result.best is not None
    assert done.result.best.passed(GATES)
    assert [c.hash for c in done.result.passed] == [done.result.best.spec.hash]


def test_evidence_is_bound_to_strategy_data_protocol_and_code(done: Done) -> None:
    hashes = set()
    for candidate in done.result.saved:
        for gate, evidence in candidates.all_evidence(candidate).items():
            bound = dict(evidence.bound_to)
            assert bound["spec"] == candidate.hash
            assert bound["data"] == done.bars.snapshot
            luck = bound.pop("context")
            assert gate not in ("overfitting", "holdout") or len(luck) == 64
            assert all(len(value) == 64 for value in bound.values())
            hashes.add((bound["protocol"], bound["code"]))
    assert len(hashes) == 1


def test_the_holdout_is_opened_once_and_for_the_best_alone(done: Done) -> None:
    openings = Lake(done.workspace.root).openings.past(done.bars.market.charged_to)
    assert done.result.best is not None
    assert [(o["candidate"], o["k"]) for o in openings] == [(done.result.best.spec.hash, 1)]
    other = next(e for e in done.result.examinations if e is not done.result.best)
    assert other.passed(GATES[:6])
    assert other.outcome is Outcome.INSUFFICIENT
    assert not {"holdout", "shadow"} & set(other.evidence)


def test_every_candidate_is_stored_whole(done: Done) -> None:
    for candidate, examination in zip(done.result.saved, done.result.examinations, strict=True):
        assert candidates.load(done.workspace, candidate.hash) == candidate
        assert candidates.spec_text(candidate) == examination.spec.canonical()
        stored = candidates.load_verdicts(candidate)
        assert {v.gate: v.outcome for v in stored} == {g: v.outcome for g, v in examination.verdicts.items()}
        assert not any(candidates.unsupported(candidate, verdict) for verdict in stored)


def test_mlflow_has_the_campaign_with_a_child_for_each_candidate(done: Done) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{done.workspace.mlflow_db}")
    parent = client.get_run(done.result.run)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["snapshot"] == done.bars.snapshot
    heads = heads_of(campaign.TrialLedger(done.workspace.trials), Lake(done.workspace.root))
    assert OWN in heads and len(heads) > 1
    assert campaign.Tracker(done.workspace).ledgers.anchored_heads() == heads
    for candidate, examination in zip(done.result.saved, done.result.examinations, strict=True):
        child = client.get_run((candidate.folder / "mlflow_run").read_text().strip())
        assert child.data.tags["mlflow.parentRunId"] == done.result.run
        assert child.data.tags["gauntlet.candidate"] == candidate.hash
        assert child.data.tags["gate.backtest"] == "PASS"
        assert child.data.tags["outcome"] == examination.outcome.value
        sharpe = examination.evidence["backtest"].figures["sharpe"]
        assert child.data.metrics["backtest/sharpe"] == sharpe
        stored = Path(client.download_artifacts(child.info.run_id, "evidence/backtest.json"))
        assert stored.read_bytes() == candidate.evidence_path("backtest").read_bytes()
        spec = Path(client.download_artifacts(child.info.run_id, "bundle/spec.yaml"))
        assert spec.read_text() == examination.spec.canonical()


def test_what_is_printed_names_the_best_and_where_the_reports_lie(
    done: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    show_campaign(done.workspace, done.result, done.policy)
    printed = capsys.readouterr().out
    assert f"passed every gate: {done.result.passed[0]}" in printed
    assert "The holdout is opened only for the best of a campaign." in printed
    report = Path(printed.split("report: ")[1].strip())
    for candidate in done.result.saved:
        assert candidate.report_path.exists()
        assert candidate.hash[:12] in report.read_text()


def test_the_same_campaign_again_gives_the_same_bytes_and_counts_nothing_twice(
    done: Done, tmp_path: Path, quiet: None
) -> None:
    workspace = Workspace.find(shutil.copytree(done.workspace.root, tmp_path / "ws"))
    before, head = evidence_bytes(workspace), campaign.TrialLedger(workspace.trials).head()
    again = small.run(workspace, done.bars, done.strategies, done.policy)
    assert evidence_bytes(workspace) == before
    assert campaign.TrialLedger(workspace.trials).head() == head
    assert again.n_looks == done.result.n_looks
    openings = Lake(workspace.root).openings.past()
    assert [(o["k"], o["again"]) for o in openings] == [(1, False), (1, True)]


def test_another_workspace_gives_the_same_bytes_but_for_the_ledgers_head(
    done: Done, tmp_path: Path, quiet: None
) -> None:
    workspace = Workspace.find(tmp_path / "ws")
    small.run(workspace, done.bars, done.strategies, done.policy)
    ours, theirs = evidence_bytes(workspace), evidence_bytes(done.workspace)
    differing = {name.partition("/")[2] for name in theirs if theirs[name] != ours[name]}
    assert differing == {"evidence/overfitting.json", "evidence/holdout.json"}
    assert without_context(ours) == without_context(theirs)


def test_the_next_strategy_opens_the_holdout_for_the_second_time_and_is_judged_harder(
    done: Done, tmp_path: Path, quiet: None
) -> None:
    workspace = Workspace.find(tmp_path / "ws")
    first = small.run(workspace, done.bars, done.strategies / "ema.yaml", done.policy)
    second = small.run(workspace, done.bars, done.strategies / "quick.yaml", done.policy)
    assert first.best is not None and second.best is not None
    seen = [r.examinations[0].evidence["holdout"].figures for r in (first, second)]
    limits = [r.examinations[0].verdicts["holdout"].figures["p"].limit for r in (first, second)]
    assert [figures["opening"] for figures in seen] == [1.0, 2.0]
    weights = [min(3.0, 0.02 / figures["research_p"]) for figures in seen]
    assert limits == pytest.approx(
        [w * 0.05 * 6 / (math.pi * k) ** 2 for k, w in enumerate(weights, start=1)]
    )
    assert second.n_looks > first.n_looks


class Interrupt:
    """Progress that ends the campaign as Ctrl-C does, at the first stage of a name."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, stage: str, share: float) -> None:
        if stage.endswith(self.stage):
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["data quality", "quick: look-ahead", ": holdout", ": shadow"])
def test_an_interrupted_campaign_leaves_no_half_candidate_and_counts_each_look_once(
    stage: str, done: Done, tmp_path: Path, quiet: None
) -> None:
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(KeyboardInterrupt):
        small.run(workspace, done.bars, done.strategies, done.policy, Interrupt(stage))
    counted = looks(workspace, done.bars)
    assert (counted > 0) is (stage != "data quality")
    assert not list(workspace.candidates.iterdir())
    assert (workspace.root / "ended").read_text() == "KILLED\n"
    again = small.run(workspace, done.bars, done.strategies, done.policy)
    assert again.outcome is Outcome.PASS
    assert again.n_looks == done.result.n_looks
    assert again.best is not None
    assert again.best.evidence["holdout"].figures["opening"] == 1.0


def test_a_campaign_cut_off_while_saving_leaves_nothing_that_could_be_promoted(
    done: Done, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    workspace = Workspace.find(tmp_path / "ws")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(candidates, "save_verdicts", interrupted)
        small.run(workspace, done.bars, done.strategies, done.policy)
    (cut_off,) = candidates.every(workspace)
    assert candidates.load_verdicts(cut_off) == ()
    small.run(workspace, done.bars, done.strategies, done.policy)
    assert without_context(evidence_bytes(workspace)) == without_context(evidence_bytes(done.workspace))


def test_an_error_ends_the_run_as_failed(
    done: Done, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise UsageError("broken on purpose")

    monkeypatch.setattr(campaign.MarketExam, "overfitting", broken)
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(UsageError, match="on purpose"):
        small.run(workspace, done.bars, done.strategies, done.policy)
    assert (workspace.root / "ended").read_text() == "FAILED\n"


def test_a_store_that_went_away_does_not_hide_the_interrupt(
    done: Done, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise TrackingError("the MLflow server does not answer")

    monkeypatch.setattr(small.Tracker, "finish", gone)
    with pytest.raises(KeyboardInterrupt):
        small.run(
            Workspace.find(tmp_path / "ws"), done.bars, done.strategies, done.policy, Interrupt("quality")
        )


def test_a_ledger_that_lost_looks_stops_a_campaign_before_it_begins(
    done: Done, tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.Ledgers, "anchored_heads", lambda _: {"seg-" + "0" * 32 + ".jsonl": "c" * 64})
    workspace = Workspace.find(tmp_path / "ws")
    with pytest.raises(LedgerError, match="an anchored segment is gone"):
        small.run(workspace, done.bars, done.strategies, done.policy)
    assert not list(workspace.lake.iterdir())
    assert looks(workspace, done.bars) == 0


def test_too_few_days_to_divide_are_insufficient_and_not_sealed(tmp_path: Path, quiet: None) -> None:
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.EMA)
    with pytest.raises(InsufficientError, match="bring more data"):
        small.run(workspace, small.planted(n_days=30), strategies, small.policy(tmp_path))
    assert not list(workspace.lake.iterdir())


def test_strategies_finer_than_the_data_are_insufficient_and_spend_no_look(
    tmp_path: Path, quiet: None
) -> None:
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.FINE)
    result = small.run(workspace, small.planted(), strategies, small.policy(tmp_path))
    assert result.outcome is Outcome.INSUFFICIENT
    assert result.n_looks == 0
    assert result.best is None


def test_a_copy_under_another_name_is_refused(tmp_path: Path, quiet: None) -> None:
    copy = small.EMA.replace("name: ema", "name: other")
    strategies = small.strategy_folder(tmp_path, small.EMA, copy)
    result = small.run(Workspace.find(tmp_path / "ws"), small.planted(), strategies, small.policy(tmp_path))
    first, second = result.examinations
    assert first.verdicts["static"].outcome is Outcome.PASS
    assert second.verdicts["static"].outcome is Outcome.FAIL
    assert "duplicates is 1" in second.verdicts["static"].reasons[0]
    assert result.n_looks == first.template.n_combinations


@pytest.mark.parametrize(
    ("texts", "error", "told"),
    [
        ((small.EMA, small.QUICK.replace("enter_long:", "enter_lnog:")), SpecError, r"quick.yaml:\d+:\d+: "),
        ((small.EMA, small.QUICK.replace("close, 48", "clos, 48")), SpecError, r"quick.yaml:\d+:\d+: .*clos"),
        ((), UsageError, "no strategies found"),
    ],
)
def test_strategies_that_cannot_be_used_are_refused_before_anything_runs(
    texts: tuple[str, ...], error: type[Exception], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=told):
        load_templates(small.strategy_folder(tmp_path, *texts))


def test_two_strategies_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = small.strategy_folder(tmp_path, small.EMA)
    (folder / "second.yaml").write_text(small.QUICK.replace("name: quick", "name: ema"))
    with pytest.raises(UsageError, match="the name ema stands in two files"):
        load_templates(folder)


def test_the_regimes_are_no_strategy(tmp_path: Path) -> None:
    folder = small.strategy_folder(tmp_path, small.EMA)
    (folder / "regimes.yaml").write_text("spec: 1\n")
    assert [template.name for template in load_templates(folder)] == ["ema"]


def test_of_several_that_passed_the_least_p_is_promoted_whatever_the_files_are_called(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    examinations, saved = [], []
    for text, p in ((small.EMA, 0.01), (small.QUICK, 0.001)):
        spec = parse_spec(text)
        made = candidates.save(workspace, text, spec.hash, made_up.facts(spec.name))
        luck = Evidence("overfitting", {"p": p, "statistic": 3.0}, {})
        verdicts = {verdict.gate: verdict for verdict in made_up.passed(made, GATES)}
        examinations.append(Examination(spec, spec, {"overfitting": luck}, verdicts))
        saved.append(made)
    result = CampaignResult("c", tuple(examinations), tuple(saved), examinations[1], "", 2)
    assert [c.name for c in best_passed(result)] == ["quick"]


def test_a_holdout_of_before_is_set_aside_when_gate_6_was_measured_anew_and_it_was_not(
    tmp_path: Path,
) -> None:
    workspace, spec = Workspace(tmp_path).create(), parse_spec(small.EMA)
    scorer = SimpleNamespace(
        origin_of=lambda template: Origin(), ledger=SimpleNamespace(heads=lambda: {"a": "b"})
    )
    bars = SimpleNamespace(market=small.EDGE, snapshot=made_up.digest("snapshot"))
    world: Any = SimpleNamespace(scorer=scorer, bars=bars)
    world.worlds = (world,)

    def saved(p: float, *, opened: bool, campaign: str) -> Candidate:
        luck = Evidence("overfitting", {"p": p}, {"spec": spec.hash})
        found = {"overfitting": luck}
        if opened:
            found["holdout"] = Evidence("holdout", {"p": 0.01}, {"spec": spec.hash, "context": luck.hash})
        return campaign_store.save(workspace, Examination(spec, spec, found), world, world, campaign)

    saved(0.01, opened=True, campaign="alone")
    made = saved(0.01, opened=False, campaign="for one finalist")
    assert set(candidates.all_evidence(made)) == {"overfitting", "holdout"}
    made = saved(0.02, opened=False, campaign="among others")
    assert set(candidates.all_evidence(made)) == {"overfitting"}
    assert (made.folder / "earlier" / "1" / "evidence" / "holdout.json").exists()
