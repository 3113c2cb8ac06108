"""Ledgers of several machines become one, and nothing that comes from elsewhere is trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from live_shadow import governance
from pipelines import anchoring, cli, ledger_exchange
from pipelines.campaign import load_templates, open_world
from pipelines.gates.policy import Policy
from pipelines.tracking.connection import ADDRESS, Connection
from pipelines.tracking.ledger_store import LedgerStore
from pipelines.tracking.tracker import Tracker
from research_lab.bars import Bars
from research_lab.durable import ChainedLog
from research_lab.errors import LedgerError
from research_lab.market_data.lake import HoldoutKey, Lake
from research_lab.scoring import ledger_merge
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.timeframe import YEAR_MS
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small


@pytest.fixture
def machines(tmp_path: Path, bars: Bars, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """Two workspaces with one MLflow store and a look each."""
    monkeypatch.setenv(ADDRESS, f"sqlite:///{tmp_path / 'shared.db'}")
    found = []
    for name, text in (("one", small.EMA), ("two", small.QUICK)):
        workspace = Workspace.find(tmp_path / name).create()
        world = open_world(workspace, bars, small.regimes(workspace), policy, name)
        (template,) = load_templates(small.strategy_folder(tmp_path / name, text))
        world.scorer.score([template])
        found.append(workspace)
    return found


def exchange(workspace: Workspace, what: str) -> Any:
    return getattr(ledger_exchange, what)(TrialLedger(workspace.trials), LedgerStore(Connection(workspace)))


def test_ledgers_of_two_machines_become_one_through_the_store(
    machines: list[Workspace], bars: Bars, policy: Policy
) -> None:
    one, two = machines
    assert [len(exchange(workspace, "push")) for workspace in machines] == [1, 1]
    assert exchange(one, "push") == []
    merged = exchange(two, "pull").merged
    assert (len(merged.new), merged.longer, merged.n_trials) == (1, (), 1)
    exchange(one, "pull")
    assert TrialLedger(one.trials).heads() == TrialLedger(two.trials).heads()
    assert exchange(one, "pull").merged.n_trials == 0
    segment = next(path.name for path in one.trials.glob("*.jsonl"))
    ours = TrialLedger(one.trials)
    (again,) = load_templates(one.root / "strategies")
    assert ours.has({segment: ours.heads()[segment]}) and again.name == "ema"
    for workspace in machines:
        TrialLedger(workspace.trials).verify()
        assert len(TrialLedger(workspace.trials).every()) == 2


def opened(workspace: Workspace, bars: Bars, candidate: str) -> int:
    return Lake(workspace.root).holdout(bars, HoldoutKey(candidate)).k


def test_an_opening_on_another_machine_makes_the_next_one_here_the_second(
    machines: list[Workspace], bars: Bars
) -> None:
    one, two = machines
    assert opened(one, bars, "a") == 1
    exchange(one, "push")
    assert exchange(two, "pull").n_openings == 1
    assert opened(two, bars, "a") == 1, "the same candidate sees the same again"
    assert opened(two, bars, "b") == 2
    exchange(two, "push")
    assert exchange(one, "pull").n_openings == 2
    assert opened(one, bars, "c") == 3
    assert exchange(one, "push") != [] and exchange(one, "push") == []
    assert exchange(two, "pull").n_openings == 1, "a list that has grown"
    assert opened(two, bars, "d") == 4
    anchored = anchoring.heads_of(TrialLedger(two.trials), Lake(two.root))
    next((two.lake / "openings").iterdir()).unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        anchoring.check_openings(Lake(two.root), anchored)


def test_openings_that_were_deleted_come_back_from_the_store(machines: list[Workspace], bars: Bars) -> None:
    one, _ = machines
    opened(one, bars, "a")
    exchange(one, "push")
    heads = Lake(one.root).openings.heads()
    (one.lake / "openings.jsonl").unlink()
    with pytest.raises(LedgerError, match="openings of the holdout were taken away"):
        Lake(one.root).openings.check(heads)
    assert exchange(one, "pull").n_openings == 1
    Lake(one.root).openings.check(heads)
    assert opened(one, bars, "b") == 2


@pytest.mark.parametrize(
    "forged",
    [
        {"k": 0},
        {"interval_ms": [1]},
        {"again": "no"},
        {"charged_to": None},
        {"more": 1},
        {"k": True},
        {"interval_ms": [9, 3]},
        {"interval_ms": [0, 10**18]},
    ],
)
def test_a_list_of_openings_with_something_else_in_it_is_refused(
    machines: list[Workspace], bars: Bars, forged: Mapping[str, Any]
) -> None:
    one, two = machines
    opened(one, bars, "a")
    (line,) = Lake(one.root).openings.past()
    (one.lake / "openings.jsonl").unlink()
    ChainedLog(one.lake / "openings.jsonl").append({**line, **forged})
    exchange(one, "push")
    before = small.contents(two.root)
    with pytest.raises(LedgerError, match="no opening of a holdout"):
        exchange(two, "pull")
    assert {k: v for k, v in small.contents(two.root).items() if "openings" in str(k)} == {
        k: v for k, v in before.items() if "openings" in str(k)
    }
    assert len(TrialLedger(two.trials).every()) == 1


def test_a_segment_that_parts_from_what_is_here_is_refused_and_nothing_is_taken_in(
    machines: list[Workspace],
) -> None:
    one, two = machines
    exchange(one, "push")
    exchange(two, "pull")
    (lines,) = (path for path in one.trials.glob("*.jsonl"))
    copy = two.trials / lines.name
    (own,) = TrialLedger(two.trials).every()[:1]
    copy.unlink()
    copy.with_suffix(".f64").unlink()
    ChainedLog(copy).append(json.loads(lines.read_text().splitlines()[0])["payload"])
    ChainedLog(copy).append(
        {
            "trial": json.loads(lines.read_text().splitlines()[1])["payload"]["trial"]
            | {"name": "rewritten", "kind": "refused"},
            "row": {"offset": 0, "first_day": 0, "n_days": 0, "sha256": ""},
        }
    )
    before = small.contents(two.trials)
    with pytest.raises(
        LedgerError, match=r"\.jsonl:2: line 2 is another one in the segment that was brought"
    ):
        exchange(two, "pull")
    assert small.contents(two.trials) == before
    assert own


def test_pushed_segments_that_were_changed_on_the_way_are_refused(machines: list[Workspace]) -> None:
    one, two = machines
    exchange(one, "push")
    (rows,) = one.mlartifacts.rglob("segments/*.f64")
    raw = bytearray(rows.read_bytes())
    raw[3] ^= 1
    rows.write_bytes(raw)
    before = small.contents(two.trials)
    with pytest.raises(LedgerError, match="daily returns were changed"):
        exchange(two, "pull")
    assert small.contents(two.trials) == before


def test_a_push_that_lost_a_file_is_refused_and_names_that_lead_elsewhere_are_left_alone(
    machines: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    exchange(one, "push")
    before = small.contents(two.trials)
    (lines,) = one.mlartifacts.rglob("segments/*.jsonl")
    lines.rename(lines.with_suffix(".away"))
    with pytest.raises(LedgerError, match="the store does not have it"):
        exchange(two, "pull")
    elsewhere = f"../{one.root.name}/trials/{lines.name}"
    monkeypatch.setattr(LedgerStore, "pushed", lambda self: [("run", {elsewhere: "a" * 64})])
    assert exchange(two, "pull").merged.n_trials == 0
    assert small.contents(two.trials) == before


def test_a_look_that_cannot_be_is_refused_and_keeps_no_other_push_from_coming_in(
    machines: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    (own,) = TrialLedger(one.trials).every()
    with monkeypatch.context() as patch:  # what this code refuses to push
        patch.setattr(ledger_merge, "check_possible", lambda *_: None)
        ahead = replace(own, kind="crashed", sharpe=float("nan"), end_ms=own.end_ms + 1_000 * YEAR_MS)
        later = TrialLedger(one.trials)
        later.append([ahead])
        exchange(one, "push")
    with pytest.raises(LedgerError, match="a look that cannot be"):
        exchange(one, "push")
    (forged,) = (path for path in one.trials.glob("*.jsonl") if '"crashed"' in path.read_text())
    before = TrialLedger(two.trials).heads()
    exchange(two, "push")
    third = Workspace.find(one.root.parent / "three")
    found = CliRunner().invoke(cli.app, ["trials", "pull", "-w", str(third.root)])
    assert found.exit_code == 3, "a fresh machine begins with pull: the workspace is made"
    assert f"{forged.name}:2: a look that cannot be" in found.output
    assert "all other pushes are in, 1 trials gained" in found.output
    assert TrialLedger(third.trials).heads() == before


@pytest.mark.parametrize("broken", ["line", "row", "end"])
def test_a_broken_ledger_ends_verify_with_3_naming_file_and_line(
    broken: str, tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    workspace = Workspace.find(tmp_path / "ws").create()
    governance.init(workspace.root)
    world = open_world(workspace, bars, small.regimes(workspace), policy, "c")
    (template,) = load_templates(small.strategy_folder(tmp_path, small.EMA))
    world.scorer.score([template.bind(values) for values in template.grid()])
    tracker = Tracker(workspace)
    run = tracker.start_campaign("c", {})
    tracker.ledgers.anchor(run, world.scorer.ledger.heads())
    whole = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert (whole.exit_code, "1 anchors in MLflow hold" in whole.output) == (0, True)
    (lines,) = workspace.trials.glob("*.jsonl")
    if broken == "end":
        os.truncate(lines, lines.read_bytes()[:-1].rindex(b"\n") + 1)
        rows = np.fromfile(lines.with_suffix(".f64"))
        rows[: -rows.size // template.n_combinations or None].tofile(lines.with_suffix(".f64"))
    else:
        path = lines if broken == "line" else lines.with_suffix(".f64")
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    found = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert found.exit_code == 3
    assert f"{lines.name}" in found.output
    assert broken == "end" or f"{lines.name}:" in found.output


def test_looks_without_an_anchor_are_insufficient(tmp_path: Path, bars: Bars, policy: Policy) -> None:
    workspace = Workspace.find(tmp_path / "ws").create()
    world = open_world(workspace, bars, small.regimes(workspace), policy, "c")
    world.scorer.score(load_templates(small.strategy_folder(tmp_path, small.EMA)))
    found = CliRunner().invoke(cli.app, ["trials", "verify", "-w", str(workspace.root)])
    assert found.exit_code == 4
