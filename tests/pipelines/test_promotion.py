"""Changes of enable_map: judged, locked, logged, reversible, and whole after any crash."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from live_shadow import governance
from live_shadow.enable_map import EnableMap, Stage, dump_map, read_map
from pipelines import candidates, cli, map_file, promotion
from pipelines.audit import read_audit
from pipelines.gates.evidence import Figure, Outcome
from pipelines.promotion import add, promote, retire, rollback, status
from research_lab import durable
from research_lab.errors import (
    GovernanceError,
    LedgerError,
    LockedError,
    MapError,
    UsageError,
    WorkspaceError,
)
from research_lab.workspace import Workspace
from tests.pipelines import made_up
from tests.pipelines.made_up import NOW, candidate, digest, passed, verdict

ROOT = Path(durable.__file__).parents[1]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path).create()


def test_a_promotion_enters_the_map_the_log_and_the_history(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    answer = promote(workspace, made, "champion", passed(made), now=NOW, action=add(why="best", who="ann"))
    assert answer.outcome is Outcome.PASS
    assert answer.written
    assert read_map(workspace.enable_map) == answer.new_map
    entry = answer.new_map.entries[0]
    assert (entry.candidate, entry.stage, entry.risk_share, entry.since) == (made.hash, "champion", 1.0, NOW)
    assert "+  - candidate: " + made.hash in answer.diff
    change = status(workspace).changes[-1]
    assert (change.version, change.who, change.why, change.before) == (1, "ann", "best", "")
    assert change.details is not None
    assert change.details["gates"]["holdout"]["evidence"] == made_up.evidence(made, "holdout").hash
    assert [step.stage for step in candidates.load(workspace, made.hash).history] == ["champion"]


def test_a_dry_run_shows_the_difference_and_writes_nothing(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    answer = promote(workspace, made, Stage.SHADOW, passed(made), now=NOW, dry_run=True)
    assert answer.outcome is Outcome.PASS
    assert answer.diff
    assert not answer.written
    assert not workspace.enable_map.exists()
    assert not workspace.audit.exists()


def test_missing_verdicts_are_insufficient_and_all_are_named(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    answer = promote(workspace, made, Stage.SHADOW, passed(made, ["static"]), now=NOW)
    assert answer.outcome is Outcome.INSUFFICIENT
    assert "holdout: no verdict" in answer.reasons
    assert len(answer.reasons) == 6
    assert not workspace.enable_map.exists()


def test_one_failure_outweighs_what_is_missing_and_both_are_told(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    failed = verdict(made, "holdout", Outcome.FAIL, ("p is 0.3, at most 0.05",))
    answer = promote(workspace, made, Stage.SHADOW, [failed], now=NOW)
    assert answer.outcome is Outcome.FAIL
    assert answer.reasons[0] == "holdout: p is 0.3, at most 0.05"
    assert "static: no verdict" in answer.reasons


def test_an_undecided_verdict_is_insufficient(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    undecided = [*passed(made)[:-1], verdict(made, "canary", Outcome.INSUFFICIENT, ("3 trades",))]
    answer = promote(workspace, made, Stage.CHAMPION, undecided, now=NOW)
    assert (answer.outcome, answer.reasons) == (Outcome.INSUFFICIENT, ("canary: 3 trades",))


def test_a_verdict_that_passed_with_an_unmeasured_figure_fails(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    verdicts = passed(made)
    verdicts[0] = replace(verdicts[0], figures={"sharpe": Figure(float("nan"), 1.0, ">=")})
    answer = promote(workspace, made, Stage.SHADOW, verdicts, now=NOW)
    assert answer.outcome is Outcome.FAIL
    assert "sharpe" in answer.reasons[0]


@pytest.mark.parametrize("damage", ["missing", "newer", "foreign"])
def test_a_verdict_must_rest_on_the_candidates_own_stored_evidence(workspace: Workspace, damage: str) -> None:
    made, other = candidate(workspace, "ema"), candidate(workspace, "other")
    verdicts = passed(made)
    if damage == "missing":
        made.evidence_path("holdout").unlink()
    elif damage == "newer":
        candidates.save_evidence(made, made_up.evidence(made, "holdout", sharpe=0.1))
    else:
        candidates.save_evidence(made, made_up.evidence(other, "holdout"))
        verdicts = [verdict(other if v.gate == "holdout" else made, v.gate) for v in verdicts]
    answer = promote(workspace, made, Stage.SHADOW, verdicts, now=NOW)
    assert answer.outcome is Outcome.INSUFFICIENT
    assert len(answer.reasons) == 1
    assert answer.reasons[0].startswith("holdout: it")


def test_stages_rise_in_place_and_never_fall(workspace: Workspace) -> None:
    first, second = candidate(workspace, "first"), candidate(workspace, "second")
    for made in (first, second):
        promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    later = NOW + timedelta(days=1)
    answer = promote(workspace, first, Stage.CANARY, passed(first), now=later, action=add(risk_share=0.1))
    assert [(e.name, e.stage, e.risk_share) for e in answer.new_map.entries] == [
        ("first", "canary", 0.1),
        ("second", "shadow", 0.0),
    ]
    assert answer.new_map.entries[0].since == later
    with pytest.raises(UsageError, match="already is canary"):
        promote(workspace, first, Stage.SHADOW, passed(first), now=later)


def test_the_same_promotion_again_changes_nothing(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    answer = promote(workspace, made, Stage.SHADOW, passed(made), now=NOW + timedelta(hours=1))
    assert (answer.outcome, answer.written, answer.diff) == (Outcome.PASS, False, "")
    assert "already is shadow" in answer.reasons[0]
    assert answer.new_map.version == 1


def test_a_challenger_takes_the_place_of_the_champion(workspace: Workspace) -> None:
    made = {name: candidate(workspace, name) for name in ("old", "other", "new")}
    for name, share in (("old", 0.5), ("other", 0.5)):
        promote(workspace, made[name], "champion", passed(made[name]), now=NOW, action=add(risk_share=share))
    action = promotion.replace(made["old"].hash, risk_share=0.5)
    answer = promote(workspace, made["new"], "champion", passed(made["new"]), now=NOW, action=action)
    assert [entry.name for entry in answer.new_map.entries] == ["new", "other"]
    assert [step.stage for step in candidates.load(workspace, made["old"].hash).history] == [
        "champion",
        "retired",
    ]
    with pytest.raises(UsageError, match="is not in the map"):
        promote(workspace, made["new"], "champion", passed(made["new"]), now=NOW, action=action)


def test_what_exceeds_the_limits_is_refused_as_a_verdict(workspace: Workspace) -> None:
    governance.init(workspace.root)
    first, second = candidate(workspace, "first"), candidate(workspace, "second")
    promote(workspace, first, "champion", passed(first), now=NOW, action=add(risk_share=0.7))
    answer = promote(workspace, second, "champion", passed(second), now=NOW, action=add(risk_share=0.7))
    assert answer.outcome is Outcome.FAIL
    assert "add up to 1.4" in answer.reasons[0]
    assert read_map(workspace.enable_map).version == 1


def test_changed_limits_stop_every_promotion(workspace: Workspace) -> None:
    governance.init(workspace.root)
    workspace.governance.write_text(workspace.governance.read_text().replace("0.008", "0.08"))
    made = candidate(workspace, "ema")
    with pytest.raises(GovernanceError, match="the limits were changed"):
        promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)


def test_a_decision_on_an_older_map_is_refused(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW, expected_version=0)
    with pytest.raises(MapError, match=r"at version 1, .* on version 0"):
        promote(workspace, made, Stage.CANARY, passed(made), now=NOW, expected_version=0)


def test_a_wrong_entry_is_the_callers_mistake(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    with pytest.raises(UsageError, match="risk_share"):
        promote(workspace, made, "champion", passed(made), now=NOW, action=add(risk_share=-1.0))
    with pytest.raises(UsageError, match="expires"):
        promote(workspace, made, "champion", passed(made), now=NOW, action=add(expires=NOW))
    with pytest.raises(UsageError, match="no stage 'boss'"):
        promote(workspace, made, "boss", passed(made), now=NOW)


def test_an_existing_map_is_the_starting_point(workspace: Workspace) -> None:
    workspace.enable_map.write_text("# mine\n" + dump_map(EnableMap(version=7, min_bars_hold=5)))
    made = candidate(workspace, "ema")
    answer = promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    assert (answer.new_map.version, answer.new_map.min_bars_hold) == (8, 5)
    back = rollback(workspace, now=NOW)
    assert (back.new_map.version, back.new_map.entries) == (9, ())


def test_rollbacks_walk_back_change_by_change_and_any_version_can_be_named(workspace: Workspace) -> None:
    names = ("a", "b", "c")
    for name in names:
        made = candidate(workspace, name)
        promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)

    def held() -> list[str]:
        return [entry.name for entry in read_map(workspace.enable_map).entries]

    assert held() == ["a", "b", "c"]
    assert rollback(workspace, now=NOW, why="it loses").new_map.version == 4
    assert held() == ["a", "b"]
    rollback(workspace, now=NOW)
    assert held() == ["a"]
    rollback(workspace, 3, now=NOW)
    assert held() == ["a", "b", "c"]
    rollback(workspace, now=NOW)
    assert held() == ["a", "b"]
    for _ in range(2):
        rollback(workspace, now=NOW)
    assert held() == []
    with pytest.raises(UsageError, match="no earlier map"):
        rollback(workspace, now=NOW)
    with pytest.raises(UsageError, match="no version 99; known are 0 to"):
        rollback(workspace, 99, now=NOW)
    change = status(workspace).changes[3]
    assert (change.what, change.why, change.restores) == ("back to version 2", "it loses", 2)


def test_a_rollback_above_the_limits_is_refused(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    for share in (1.0, 0.5):
        promote(workspace, made, "champion", passed(made), now=NOW, action=add(risk_share=share))
    other = candidate(workspace, "other")
    promote(workspace, other, Stage.SHADOW, passed(other), now=NOW)
    retire(workspace, other.hash, now=NOW)
    text = (governance.DEFAULTS / governance.FILE).read_text().replace("value: 16", "value: 1")
    workspace.governance.write_text(text)
    governance.init(workspace.root)
    answer = rollback(workspace, now=NOW)
    assert answer.outcome is Outcome.FAIL
    assert "max_slots is 1" in answer.reasons[0]
    assert not answer.written


def test_a_map_beyond_lowered_limits_is_brought_down_step_by_step_and_not_up_again(
    workspace: Workspace,
) -> None:
    for name in ("first", "second", "third"):
        made = candidate(workspace, name)
        promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    text = (governance.DEFAULTS / governance.FILE).read_text().replace("value: 16", "value: 1")
    workspace.governance.write_text(text)
    governance.init(workspace.root)
    down = CliRunner().invoke(cli.app, ["retire", "third", "-w", str(workspace.root)])
    assert "max_slots is 1" in down.output and "is now version 4" in down.output
    assert (down.exit_code, len(read_map(workspace.enable_map).entries)) == (0, 2)
    up = CliRunner().invoke(cli.app, ["rollback", "-w", str(workspace.root)])
    assert "max_slots is 1" in up.output and "stays at version 4" in up.output
    assert (up.exit_code, len(read_map(workspace.enable_map).entries)) == (3, 2)


def test_retiring_takes_the_candidate_out(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    assert retire(workspace, made.hash, now=NOW).new_map.entries == ()
    with pytest.raises(UsageError, match="not in the map"):
        retire(workspace, made.hash, now=NOW)


def test_retiring_on_one_market_leaves_the_same_strategy_on_another(workspace: Workspace) -> None:
    here, there = (candidate(workspace, "ema", market=f"synthetic {name}/USDT") for name in ("BTC", "ETH"))
    for made in (here, there):
        promote(workspace, made, Stage.CHAMPION, passed(made), now=NOW, action=add(risk_share=0.5))
    answer = retire(workspace, here.hash, here.market, now=NOW)
    assert [entry.market for entry in answer.new_map.entries] == [there.market]
    stages = [
        [step.stage for step in candidates.load(workspace, c.hash, c.market).history] for c in (here, there)
    ]
    assert stages == [["champion", "retired"], ["champion"]]
    with pytest.raises(UsageError, match="not in the map on synthetic BTC/USDT"):
        retire(workspace, here.hash, here.market, now=NOW)


@pytest.mark.parametrize("damage", ["edited", "gone", "garbage"])
def test_a_map_changed_by_hand_stops_promotion_until_it_is_restored(
    workspace: Workspace, damage: str
) -> None:
    made = candidate(workspace, "ema")
    answer = promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    if damage == "edited":
        workspace.enable_map.write_text(dump_map(EnableMap(version=50)))
    elif damage == "garbage":
        workspace.enable_map.write_bytes(b"\xff\x00{")
    else:
        workspace.enable_map.unlink()
    with pytest.raises(MapError, match="pipeline rollback"):
        promote(workspace, made, Stage.CANARY, passed(made), now=NOW)
    assert status(workspace).fault
    restored = rollback(workspace, now=NOW)
    assert restored.new_map.entries == answer.new_map.entries
    assert restored.new_map.version == (51 if damage == "edited" else 2)
    assert status(workspace).fault == ""


def test_a_map_changed_by_hand_can_be_adopted(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    workspace.enable_map.write_text(dump_map(EnableMap(version=1, min_bars_hold=9)))
    answer = promotion.adopt(workspace, now=NOW, why="slower regimes")
    assert (answer.new_map.version, answer.new_map.min_bars_hold) == (2, 9)
    assert status(workspace).fault == ""
    assert not promotion.adopt(workspace, now=NOW).written


def test_histories_follow_an_adopted_change(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    workspace.enable_map.write_text(dump_map(EnableMap(version=1)))
    answer = promotion.adopt(workspace, now=NOW, why="taken out by hand")
    assert "-  - candidate: " + made.hash in answer.diff
    assert [step.stage for step in candidates.load(workspace, made.hash).history] == ["shadow", "retired"]


def test_a_changed_audit_log_stops_everything(workspace: Workspace) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    raw = workspace.audit.read_bytes()
    workspace.audit.write_bytes(raw.replace(b'"stage":"shadow"', b'"stage":"canary"', 1))
    with pytest.raises(LedgerError, match=r"audit\.jsonl:1"):
        status(workspace)
    workspace.audit.write_bytes(raw.split(b"\n")[1] + b"\n")
    with pytest.raises(LedgerError, match="chain"):
        rollback(workspace, now=NOW)


def test_nothing_is_created_by_looking(workspace: Workspace) -> None:
    before = sorted(os.listdir(workspace.root))
    seen = status(workspace)
    assert (seen.enable_map, seen.fault) == (EnableMap(), "")
    assert sorted(os.listdir(workspace.root)) == before


def test_a_held_lock_and_a_missing_folder_are_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = candidate(workspace, "ema")
    monkeypatch.setattr(map_file, "LOCK_TIMEOUT_S", 0.05)
    with map_file.opened_map(workspace):
        code = (
            "import sys; from filelock import FileLock, Timeout\n"
            "try: FileLock(sys.argv[1], timeout=0.01).acquire()\n"
            "except Timeout: sys.exit(7)"
        )
        held = subprocess.run([sys.executable, "-c", code, str(workspace.enable_map_lock)], check=False)
        assert held.returncode == 7
    lock = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); input()",
            str(workspace.enable_map_lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert lock.stdout is not None
    assert lock.stdout.readline() == b"held\n"
    with pytest.raises(LockedError, match="another process"):
        promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)
    lock.communicate(b"\n")
    with pytest.raises(WorkspaceError, match="no such folder"):
        promote(Workspace(workspace.root / "no"), made, Stage.SHADOW, passed(made), now=NOW)


def test_a_refusing_disk_leaves_the_old_map_and_the_next_open_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = candidate(workspace, "ema")
    promote(workspace, made, Stage.SHADOW, passed(made), now=NOW)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(WorkspaceError, match="No space left"):
            promote(workspace, made, Stage.CANARY, passed(made), now=NOW)
    seen = status(workspace)
    assert (seen.fault, seen.n_abandoned, len(seen.changes)) == ("", 1, 1)
    assert promote(workspace, made, Stage.CANARY, passed(made), now=NOW).new_map.version == 2


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_promotion_killed_anywhere_happened_or_did_not(workspace: Workspace, call: str) -> None:
    first = candidate(workspace, "first")
    candidate(workspace, "second")
    promote(workspace, first, Stage.SHADOW, passed(first), now=NOW)
    seen = set()
    for nth in range(1, 20):
        version = read_map(workspace.enable_map).version
        driver = [sys.executable, "-m", "tests.pipelines.made_up", str(workspace.root), call, str(nth)]
        code = subprocess.run(driver, cwd=ROOT, check=False).returncode
        raw_version = read_map(workspace.enable_map).version
        pending = read_audit(workspace.audit).pending is not None
        after = status(workspace)
        assert after.fault == ""
        assert after.enable_map is not None
        assert after.enable_map.version == raw_version in (version, version + 1)
        assert len(after.changes) == after.enable_map.version
        seen.add((raw_version > version, pending))
        if raw_version > version:
            rollback(workspace, now=NOW)
        if code == 0:
            break
        assert code == 9
    assert code == 0
    if call == "fsync":
        assert seen == {(False, True), (True, True), (True, False)}  # (map written, intent left open)


def test_of_200_promotions_by_8_processes_none_is_lost(workspace: Workspace) -> None:
    names = [f"s{i}" for i in range(8)]
    assert _promote_together(workspace, names, 25, locked=True) == [0] * 8
    seen = status(workspace)
    assert seen.fault == ""
    assert [change.version for change in seen.changes] == list(range(1, 201))
    wanted = sorted(f"{name} {i}" for name in names for i in range(25))
    assert sorted(change.why for change in seen.changes) == wanted
    assert seen.enable_map is not None
    assert {(e.name, e.expires) for e in seen.enable_map.entries} == {
        (name, NOW + timedelta(days=25)) for name in names
    }


def test_without_the_lock_promotions_are_lost_so_the_test_above_can_see_it(workspace: Workspace) -> None:
    names = [f"s{i}" for i in range(4)]
    codes = _promote_together(workspace, names, 10, locked=False)
    try:
        whole = codes == [0] * 4 and len(status(workspace).changes) == 40 and not status(workspace).fault
    except (LedgerError, MapError):
        whole = False
    assert not whole


def _promote_together(workspace: Workspace, names: list[str], n_times: int, *, locked: bool) -> list[int]:
    for name in names:
        candidate(workspace, name, ["static"])
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(names))
    arguments = [(workspace.root, name, n_times, locked, start) for name in names]
    workers = [context.Process(target=made_up.promote_often, args=a) for a in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [worker.exitcode or 0 for worker in workers]


def test_an_entry_names_the_evidence_that_it_was_judged_on(workspace: Workspace) -> None:
    first, second = candidate(workspace, "first"), candidate(workspace, "second")
    answers = [promote(workspace, c, Stage.SHADOW, passed(c), now=NOW) for c in (first, second)]
    hashes = {answer.new_map.entries[-1].evidence for answer in answers}
    assert len(hashes) == 2
    assert digest("policy") not in hashes
