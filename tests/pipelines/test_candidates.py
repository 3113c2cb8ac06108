"""Candidate folders: saved once, read back exactly, found by what a person types."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines import candidates
from pipelines.candidates import Candidate, load, resolve, save, save_evidence, save_verdicts
from pipelines.gates.evidence import Evidence, Figure, Outcome, Verdict
from pipelines.gates.policy import Policy
from research_lab.bars import Bars
from research_lab.errors import UsageError, WorkspaceError
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
from tests.pipelines.made_up import NOW, candidate, digest, facts


@dataclass(frozen=True)
class Parsed:
    """A stand-in for a spec: the text's own SHA-256."""

    text: str

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path).create()


def test_a_candidate_reads_back_as_it_was_saved(workspace: Workspace) -> None:
    text = "name: ema\nhypothesis: größer\n"
    made = save(workspace, text, Parsed(text).hash, facts("ema"), parse=Parsed)
    assert made.folder.name == f"{made.hash[:12]}-synthetic-BTC-USDT"
    assert load(workspace, made.hash) == made
    assert candidates.spec_text(made, Parsed) == text
    before = (made.folder / "candidate.json").stat().st_mtime_ns
    assert save(workspace, text, made.hash, facts("ema")) == made
    assert (made.folder / "candidate.json").stat().st_mtime_ns == before


def test_a_text_that_hashes_to_something_else_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="the text hashes to"):
        save(workspace, "name: a\n", digest("other"), facts("a"), parse=Parsed)
    assert list(workspace.candidates.iterdir()) == []
    made = save(workspace, "name: a\n", Parsed("name: a\n").hash, facts("a"), parse=Parsed)
    made.spec_path.write_text("name: b\n")
    with pytest.raises(WorkspaceError, match="changed after it was measured"):
        candidates.spec_text(made, Parsed)
    made.spec_path.unlink()
    with pytest.raises(WorkspaceError, match="cannot be read"):
        candidates.spec_text(made)


def test_two_hashes_with_the_same_twelve_digits_do_not_share_a_folder(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", [])
    twin = made.hash[:12] + "0" * 52
    with pytest.raises(WorkspaceError, match="belongs to candidate"):
        save(workspace, "x", twin, facts("x"))
    with pytest.raises(UsageError, match="no candidate"):
        load(workspace, twin)


def test_evidence_of_another_snapshot_is_set_aside(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", ["static"])
    made.report_path.write_text("old")
    changed = replace(made.facts, snapshot=digest("longer"))
    again = save(workspace, candidates.spec_text(made), made.hash, changed)
    assert again.facts.snapshot == digest("longer")
    assert candidates.all_evidence(again) == {}
    assert not again.report_path.exists()
    assert (made.folder / "earlier" / "1" / "evidence" / "static.json").exists()
    assert digest("snapshot") in (made.folder / "earlier" / "1" / "facts.json").read_text()
    save(workspace, candidates.spec_text(made), made.hash, made.facts)
    assert (made.folder / "earlier" / "2").is_dir()


def test_a_second_market_leaves_the_evidence_of_the_first_alone(workspace: Workspace) -> None:
    first = candidate(workspace, "ema", ["static"])
    second = candidate(workspace, "ema", ["data"], market="synthetic ETH/USDT")
    assert first.folder != second.folder
    assert [list(candidates.all_evidence(c)) for c in (first, second)] == [["static"], ["data"]]
    assert load(workspace, first.hash, "synthetic ETH/USDT") == second
    assert resolve(workspace, "ema@eth") == resolve(workspace, second.folder.name) == second
    for wanted in ("ema", first.hash[:8]):
        with pytest.raises(UsageError, match=r"name the market too, such as .*@BTC/USDT"):
            resolve(workspace, wanted)
    with pytest.raises(UsageError, match="was measured on synthetic BTC/USDT, synthetic ETH/USDT"):
        load(workspace, first.hash)
    assert workspace.spec(first.hash).read_text() == candidates.spec_text(second)


def test_a_folder_of_before_that_has_no_market_in_its_name_is_still_used(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", ["static"])
    old = made.folder.rename(workspace.candidate_folder(made.hash))
    assert load(workspace, made.hash).folder == resolve(workspace, "ema").folder == old
    text = candidates.spec_text(resolve(workspace, "ema"))
    assert save(workspace, text, made.hash, made.facts).folder == old
    other = candidate(workspace, "ema", [], market="synthetic ETH/USDT")
    assert other.folder.name == f"{made.hash[:12]}-synthetic-ETH-USDT"
    assert workspace.spec(made.hash) == old / "spec.yaml"


def test_a_new_campaign_keeps_the_evidence(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", ["static"])
    again = save(workspace, candidates.spec_text(made), made.hash, replace(made.facts, campaign="c2"))
    assert list(candidates.all_evidence(again)) == ["static"]


def measured() -> Evidence:
    return Evidence(
        gate="backtest",
        figures={"sharpe": 0.1 + 0.2, "n": 3, "calmar": math.inf, "pbo": math.nan},
        bound_to={"spec": "a", "data": "b"},
        faults=("fault at bar 7",),
        series={"equity": [1.0, math.nan, -math.inf], "folds": [{"a": [1, 2]}]},
    )


def test_evidence_reads_back_to_the_same_bytes(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", [])
    save_evidence(made, measured())
    again = candidates.load_evidence(made, "backtest")
    assert again is not None
    assert again.canonical() == measured().canonical()
    assert again.hash == measured().hash
    assert math.isnan(again.figures["pbo"])
    assert again.series["equity"][2] == -math.inf
    assert candidates.load_evidence(made, "holdout") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.30000000000000004", "0.30000000000000005"), ("}", ""), ('"a"', '"a" '), ("backtest", "holdout")],
)
def test_changed_evidence_is_refused(workspace: Workspace, old: str, new: str) -> None:
    made = candidate(workspace, "ema", [])
    path = save_evidence(made, measured())
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(WorkspaceError, match="measure again"):
        candidates.load_evidence(made, "backtest")


def test_verdicts_are_merged_by_gate_and_read_back(workspace: Workspace) -> None:
    made = candidate(workspace, "ema", [])
    assert candidates.load_verdicts(made) == ()
    figures = {"p": Figure(math.inf, 0.05, "<=", "probability")}
    failed = Verdict("holdout", Outcome.FAIL, figures, ("p is too large",), "e" * 64, "f" * 64)
    static = Verdict("static", Outcome.PASS, {}, (), "e" * 64, "f" * 64)
    save_verdicts(made, [static, failed])
    assert candidates.load_verdicts(made) == (static, failed)
    passed = replace(failed, outcome=Outcome.PASS, figures={}, reasons=())
    save_verdicts(made, [passed])
    assert candidates.load_verdicts(made) == (static, passed)
    made.verdicts_path.write_text('{"format": 2}')
    with pytest.raises(WorkspaceError, match="run the gates again"):
        candidates.load_verdicts(made)


def test_a_person_may_give_a_name_or_the_first_digits(workspace: Workspace) -> None:
    made = {name: candidate(workspace, name, []) for name in ("ema_atr", "breakout")}
    for wanted in ("ema_atr", made["ema_atr"].hash, made["ema_atr"].hash[:5]):
        assert resolve(workspace, wanted) == made["ema_atr"]


def test_unknown_and_ambiguous_wishes_are_told_apart(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="there are none yet"):
        resolve(workspace, "ema")
    candidate(workspace, "ema_atr", [])
    with pytest.raises(UsageError, match="near it: ema_atr"):
        resolve(workspace, "ema_art")
    with pytest.raises(UsageError, match="known are ema_atr"):
        resolve(workspace, "zzz")
    with pytest.raises(UsageError, match="no candidate 'abc'"):
        resolve(workspace, "abc")
    twins = [save(workspace, "x", digest(f"twin {i}"), facts("twin")) for i in range(7)]
    with pytest.raises(UsageError, match=r"'twin' fits twin .* and 2 more; give the first digits"):
        resolve(workspace, "twin")
    assert resolve(workspace, twins[3].hash[:12]) == twins[3]


def test_stages_are_recorded_in_order(workspace: Workspace) -> None:
    made: Candidate = candidate(workspace, "ema", [])
    for stage in ("shadow", "canary"):
        made = candidates.record_stage(made, stage, NOW, "because")
    assert [(s.stage, s.at, s.why) for s in load(workspace, made.hash).history] == [
        ("shadow", "2026-11-20T10:00:00Z", "because"),
        ("canary", "2026-11-20T10:00:00Z", "because"),
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_description_is_told(workspace: Workspace, text: str) -> None:
    made = candidate(workspace, "ema", [])
    (made.folder / "candidate.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"candidate\.json"):
        candidates.every(workspace)


def test_candidates_of_one_strategy_on_two_markets_stand_side_by_side(
    tmp_path: Path, bars: Bars, policy: Policy, quiet: None
) -> None:
    workspace, strategies = Workspace.find(tmp_path / "ws"), small.strategy_folder(tmp_path, small.QUICK)
    other = replace(bars, market=replace(bars.market, symbol="OTHER/USDT"))
    for table in (bars, other):
        small.run(workspace, table, strategies, policy)
    assert {c.market for c in candidates.every(workspace)} == {"synthetic EDGE/USDT", "synthetic OTHER/USDT"}
    assert all(candidates.all_evidence(c) for c in candidates.every(workspace))
