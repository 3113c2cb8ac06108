"""What is proposed and is no strategy is recorded, and is no look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.campaign import Wanted, run_campaign
from pipelines.gates.policy import Policy
from pipelines.proposals import read_proposals
from research_lab.bars import Bars
from research_lab.errors import SpecError, UsageError
from research_lab.market_data.lake import Lake
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

BROKEN = small.EMA.replace("name: ema", "name: broken").replace("close, fast", "clos, fast")


@pytest.mark.usefixtures("quiet")
def test_a_proposal_that_is_no_strategy_is_recorded_and_is_no_look(
    tmp_path: Path, bars: Bars, policy: Policy
) -> None:
    folder = small.strategy_folder(tmp_path, small.QUICK, BROKEN, small.FINE)
    told = {"generator": "grammar", "version": "7", "parent": "a" * 64, "knowledge_cutoff": "2024-06-30"}
    (folder / "origins.json").write_text(json.dumps({"broken": told}))
    with pytest.raises(SpecError):
        read_proposals(folder)
    proposals = read_proposals(folder, skip_broken=True)
    workspace = Workspace.find(tmp_path / "ws").create()
    done = run_campaign(
        workspace,
        bars,
        proposals.templates,
        small.regimes(workspace),
        policy,
        small.silent,
        Wanted.of(proposals),
    )
    refused = {t.name: t for t in TrialLedger(workspace.trials).every() if t.kind == "refused"}
    assert set(refused) == {"broken", "fine"}
    broken = refused["broken"]
    assert (broken.origin, broken.generator_version, broken.parent, broken.knowledge_cutoff) == tuple(
        told.values()
    )
    assert "clos" in broken.reason and "broken.yaml" in broken.reason
    assert "finer than the data" in refused["fine"].reason
    assert done.n_looks == 2 == len(TrialLedger(workspace.trials).every()) - 2


@pytest.mark.parametrize(
    "command",
    [["run", "--strategies", "strategies"], ["gate", "strategies/broken.yaml"]],
    ids=["run", "gate"],
)
def test_a_proposal_that_ends_a_command_is_recorded_as_refused(
    command: list[str], tmp_path: Path, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.strategy_folder(tmp_path, small.QUICK, BROKEN)
    data = small.candle_file(tmp_path, bars)
    for _ in range(2):  # the same again is recorded once
        done = CliRunner().invoke(cli.app, [*command, "--data", str(data), "-w", "ws"])
        assert isinstance(done.exception, SpecError) and "clos" in str(done.exception)
    (trial,) = TrialLedger(Path("ws") / "trials").every()
    assert (trial.kind, trial.name, trial.market) == ("refused", "broken", "EDGE/USDT")
    assert "clos" in trial.reason and not Lake(Path("ws")).is_sealed("EDGE/USDT")


def test_a_proposal_for_a_market_that_is_not_known_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.strategy_folder(tmp_path, BROKEN)
    Path("no.parquet").write_bytes(b"")
    done = CliRunner().invoke(cli.app, ["gate", "strategies/broken.yaml", "--data", "no.parquet", "-w", "ws"])
    assert isinstance(done.exception, SpecError)
    assert TrialLedger(Path("ws") / "trials").every() == []


def test_an_origin_of_no_strategy_here_is_refused(tmp_path: Path) -> None:
    folder = small.strategy_folder(tmp_path, small.QUICK)
    (folder / "origins.json").write_text('{"quik": {"generator": "grammar"}}')
    with pytest.raises(UsageError, match="tells of 'quik', which is no strategy here"):
        read_proposals(folder)
