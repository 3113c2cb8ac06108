"""From a passed candidate into the map and back: judged again, logged, mirrored, and nothing by halves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from live_shadow import governance
from live_shadow.enable_map import EnableMap, Entry, Stage, read_map, utc_text
from pipelines import candidates, lifecycle
from pipelines.campaign import open_world
from pipelines.candidates import Candidate
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy
from pipelines.lifecycle import Promoted, Wish, promote_candidate, roll_back, take_out, take_over
from pipelines.map_file import Promotion
from pipelines.map_history import status
from pipelines.tracking.connection import ADDRESS
from pipelines.tracking.tracker import Tracker, model_name
from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import GovernanceError, MapError, TrackingError, UsageError, WorkspaceError
from research_lab.market_data.lake import Lake
from research_lab.workspace import Workspace
from tests.pipelines import made_up
from tests.pipelines import small_campaign as small

DAY_MS = 86_400_000
MODELS = {name: model_name(f"{small.EDGE.name} {name}") for name in ("ema", "quick")}
Comparison = Callable[[float, float, float], None]


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory, limits: Policy) -> Path:
    """A workspace with two candidates that passed gates 1 to 8, both judged among all the trials."""
    folder = tmp_path_factory.mktemp("passed")
    workspace = Workspace.find(folder / "ws").create()
    governance.init(workspace.root)
    strategies = small.strategy_folder(folder, small.EMA, small.QUICK)
    for name in ("ema", "quick", "ema"):
        result = small.run(workspace, small.planted(), strategies / f"{name}.yaml", limits)
        assert result.outcome is Outcome.PASS
    return workspace.root


@pytest.fixture
def workspace(passed: Path, tmp_path: Path) -> Workspace:
    return Workspace.find(shutil.copytree(passed, tmp_path / "ws"))


@pytest.fixture
def compares(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Let gate 10 measure what the test says about the candidate and the champion."""

    def set_to(probability: float, excess: float, correlation: float) -> None:
        def measured(spec: Any, world: Any, champions: Any) -> Evidence:
            against = {
                "probability_better": probability,
                "drawdown_excess": excess,
                "correlation": correlation,
            }
            rows = [{"champion": champion.hash, **against} for champion in champions]
            figures = {"n_champions": float(len(rows)), **(against if rows else {})}
            return Evidence("promote", figures, world.bound_to(spec), series={"champions": rows})

        monkeypatch.setattr(lifecycle.gate, "measure", measured)

    return set_to


def named(workspace: Workspace, name: str) -> Candidate:
    return candidates.resolve(workspace, name)


def ask(workspace: Workspace, name: str, limits: Policy, wish: Wish | None = None) -> Promoted:
    return promote_candidate(workspace, named(workspace, name), small.regimes(workspace), limits, wish)


def in_map(workspace: Workspace) -> list[tuple[str, float]]:
    return [(entry.name, entry.risk_share) for entry in read_map(workspace.enable_map).entries]


def champion(workspace: Workspace, name: str) -> int | None:
    return Tracker(workspace).alias_version(MODELS[name], "champion")


def test_a_promotion_reaches_map_log_history_and_registry(workspace: Workspace, limits: Policy) -> None:
    done = ask(workspace, "ema", limits, Wish(why="it passed"))
    assert (done.promotion.outcome, done.promotion.written) == (Outcome.PASS, True)
    assert in_map(workspace) == [("ema", 1.0)]
    (change,) = status(workspace).changes
    assert (change.version, change.why) == (1, "it passed")
    candidate = named(workspace, "ema")
    assert [step.stage for step in candidate.history] == ["champion"]
    assert candidates.load_verdicts(candidate)[-1].gate == "promote"
    assert champion(workspace, "ema") == 1
    assert done.registered == (f"{MODELS['ema']} version 1: alias champion",)


def test_a_world_of_its_market_knows_the_champion(workspace: Workspace, limits: Policy) -> None:
    def champions() -> tuple[str, ...]:
        return open_world(workspace, small.planted(), small.regimes(workspace), limits, "again").champions

    assert champions() == ()
    ask(workspace, "ema", limits)
    assert champions() == (named(workspace, "ema").hash,)
    workspace.enable_map.write_text(workspace.enable_map.read_text() + "# by hand\n")
    assert champions() == ()


def test_it_may_trade_from_the_end_of_its_shadow_evidence_on(workspace: Workspace, limits: Policy) -> None:
    entry = ask(workspace, "ema", limits).promotion.new_map.entries[0]
    zones = Lake(workspace.root).zones(small.planted())
    assert entry.since.timestamp() * 1000 == zones.forward.start_ms + limits.shadow_days * DAY_MS
    assert utc_text(entry.since) in workspace.enable_map.read_text()


@pytest.mark.parametrize("correlation", [0.1, 0.99])
def test_a_dry_run_writes_nothing(
    correlation: float, workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "quick", limits, Wish(share=0.5))
    compares(0.0, 0.1, correlation)
    before = small.contents(workspace.root)
    done = ask(workspace, "ema", limits, Wish(dry_run=True))
    assert not done.promotion.written
    assert done.promotion.outcome is (Outcome.PASS if correlation < 0.65 else Outcome.FAIL)
    assert bool(done.promotion.diff) is (correlation < 0.65)
    assert small.contents(workspace.root) == before


def test_the_dry_run_shows_what_the_promotion_then_does(workspace: Workspace, limits: Policy) -> None:
    shown = ask(workspace, "ema", limits, Wish(dry_run=True)).promotion.new_map
    written = ask(workspace, "ema", limits).promotion.new_map
    assert shown.entries == written.entries
    assert shown.version == written.version


def test_promoting_the_champion_again_changes_nothing(workspace: Workspace, limits: Policy) -> None:
    ask(workspace, "ema", limits)
    before = small.contents(workspace.root)
    again = ask(workspace, "ema", limits)
    assert (again.promotion.outcome, again.promotion.written) == (Outcome.PASS, False)
    assert "already is champion" in again.promotion.reasons[0]
    assert small.contents(workspace.root) == before


def test_a_rollback_empties_the_map_and_takes_the_alias_away(workspace: Workspace, limits: Policy) -> None:
    ask(workspace, "ema", limits)
    back = roll_back(workspace, None, why="second thoughts")
    assert in_map(workspace) == []
    assert back.promotion.new_map.version == 2
    assert champion(workspace, "ema") is None
    assert back.registered == (f"{MODELS['ema']}: alias champion removed",)


def test_after_a_rollback_it_can_be_promoted_against_another_champion(
    workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "ema", limits)
    roll_back(workspace, None)
    ask(workspace, "quick", limits)
    compares(0.95, 0.0, 0.99)
    done = ask(workspace, "ema", limits)
    assert (done.promotion.outcome, done.promotion.reasons) == (Outcome.PASS, ())
    assert in_map(workspace) == [("ema", 1.0)]


def test_a_better_one_takes_the_place_the_share_and_the_alias(
    workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "quick", limits, Wish(share=0.6))
    compares(0.95, 0.0, 0.99)
    done = ask(workspace, "ema", limits, Wish(share=0.6))
    assert done.promotion.outcome is Outcome.PASS
    assert in_map(workspace) == [("ema", 0.6)]
    assert (champion(workspace, "quick"), champion(workspace, "ema")) == (None, 1)


def test_one_that_is_unlike_the_champion_gets_what_the_map_leaves_free(
    workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "quick", limits, Wish(share=0.6))
    compares(0.0, 0.1, 0.2)
    ask(workspace, "ema", limits)
    assert [name for name, _ in in_map(workspace)] == ["quick", "ema"]
    assert [share for _, share in in_map(workspace)] == pytest.approx([0.6, 0.4])
    assert (champion(workspace, "quick"), champion(workspace, "ema")) == (1, 1)


def test_a_map_without_room_refuses_until_a_share_is_lowered(
    workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "quick", limits)
    compares(0.0, 0.1, 0.2)
    before = small.contents(workspace.root)
    refused = ask(workspace, "ema", limits)
    assert refused.promotion.outcome is Outcome.FAIL
    assert "the risk shares add up to 2; the most is 1" in refused.promotion.reasons[0]
    assert refused.promotion.diff == ""
    assert small.contents(workspace.root) == before
    ask(workspace, "quick", limits, Wish(share=0.5))
    assert ask(workspace, "ema", limits).promotion.written
    assert in_map(workspace) == [("quick", 0.5), ("ema", 0.5)]


def test_one_that_is_neither_better_nor_unlike_is_refused_and_the_verdict_is_kept(
    workspace: Workspace, limits: Policy, compares: Comparison
) -> None:
    ask(workspace, "quick", limits)
    compares(0.1, 0.2, 0.99)
    refused = ask(workspace, "ema", limits)
    assert refused.promotion.outcome is Outcome.FAIL
    assert len(refused.promotion.reasons) == 1
    assert in_map(workspace) == [("quick", 1.0)]
    kept = {v.gate: v.outcome for v in candidates.load_verdicts(named(workspace, "ema"))}
    assert kept["promote"] is Outcome.FAIL
    roll_back(workspace, None)
    assert ask(workspace, "ema", limits).promotion.written


def test_the_policy_of_the_promotion_judges_and_not_that_of_the_campaign(
    workspace: Workspace, limits: Policy
) -> None:
    sharpe = limits.gates["backtest"]["sharpe"].model_copy(update={"at_least": 99.0})
    gates = {**limits.gates, "backtest": {**limits.gates["backtest"], "sharpe": sharpe}}
    harder = Policy.model_validate(limits.model_copy(update={"gates": gates}).model_dump())
    refused = ask(workspace, "ema", harder)
    assert refused.promotion.outcome is Outcome.FAIL
    assert "wanted at least 99" in refused.promotion.reasons[0]
    assert not workspace.enable_map.exists()


def test_evidence_of_another_protocol_is_insufficient(workspace: Workspace, limits: Policy) -> None:
    fewer = limits.model_copy(update={"shadow_days": 29})
    refused = ask(workspace, "ema", Policy.model_validate(fewer.model_dump()))
    assert refused.promotion.outcome is Outcome.INSUFFICIENT
    assert len(refused.promotion.reasons) == 8
    assert "measured with other protocol than now; run the campaign again" in refused.promotion.reasons[0]


def test_trials_that_were_charged_since_are_insufficient(workspace: Workspace, limits: Policy) -> None:
    world = open_world(workspace, small.planted(), small.regimes(workspace), limits, "later")
    world.scorer.score([parse_spec(small.EMA.replace("6 * atr", "3 * atr"))])
    refused = ask(workspace, "ema", limits)
    assert refused.promotion.outcome is Outcome.INSUFFICIENT
    assert "overfitting: 1 trials were charged to this market and time since" in refused.promotion.reasons[0]


def test_a_retired_candidate_leaves_the_map_and_loses_its_alias(workspace: Workspace, limits: Policy) -> None:
    ask(workspace, "ema", limits)
    before = small.contents(workspace.root)
    assert take_out(workspace, named(workspace, "ema"), dry_run=True).promotion.diff
    assert small.contents(workspace.root) == before
    take_out(workspace, named(workspace, "ema"), why="the idea is spent")
    assert in_map(workspace) == []
    assert champion(workspace, "ema") is None


def test_a_change_by_hand_can_be_adopted(workspace: Workspace, limits: Policy) -> None:
    ask(workspace, "ema", limits)
    text = workspace.enable_map.read_text()
    workspace.enable_map.write_text(text.replace("risk_share: 1.0", "risk_share: 0.5"))
    assert take_over(workspace, why="maintenance").promotion.written
    assert in_map(workspace) == [("ema", 0.5)]
    assert status(workspace).fault == ""


def test_evidence_changed_by_hand_is_insufficient(workspace: Workspace, limits: Policy) -> None:
    candidate = named(workspace, "ema")
    evidence = candidates.load_evidence(candidate, "backtest")
    assert evidence is not None
    candidates.save_evidence(candidate, replace(evidence, figures={**evidence.figures, "sharpe": 9.0}))
    refused = ask(workspace, "ema", limits)
    assert refused.promotion.outcome is Outcome.INSUFFICIENT
    assert "judged on other evidence than is stored" in refused.promotion.reasons[0]


def test_a_strategy_changed_by_hand_is_refused(workspace: Workspace, limits: Policy) -> None:
    candidate = named(workspace, "ema")
    candidate.spec_path.write_text(candidate.spec_path.read_text().replace("6 * atr", "7 * atr"))
    with pytest.raises(WorkspaceError, match="the text hashes to"):
        ask(workspace, "ema", limits)


def test_a_map_changed_by_hand_stops_everything_until_a_rollback(
    workspace: Workspace, limits: Policy
) -> None:
    ask(workspace, "quick", limits)
    good = workspace.enable_map.read_text()
    workspace.enable_map.write_text("entries: [garbage")
    before = small.contents(workspace.root)
    with pytest.raises(MapError, match="changed by hand"):
        ask(workspace, "ema", limits)
    assert small.contents(workspace.root) == before
    back = roll_back(workspace, None)
    assert back.promotion.written
    assert in_map(workspace) == [("quick", 1.0)]
    assert good.splitlines()[2:] == workspace.enable_map.read_text().splitlines()[2:]


def test_limits_changed_by_hand_stop_a_promotion_before_anything_is_written(
    workspace: Workspace, limits: Policy
) -> None:
    text = workspace.governance.read_text()
    workspace.governance.write_text(text.replace("16", "17"))
    before = small.contents(workspace.root)
    with pytest.raises(GovernanceError, match="the limits were changed"):
        ask(workspace, "ema", limits)
    assert small.contents(workspace.root) == before


def test_a_store_that_does_not_answer_stops_a_promotion_before_the_map(
    workspace: Workspace, limits: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:9")
    before = small.contents(workspace.root)
    with pytest.raises(TrackingError, match="does not answer"):
        ask(workspace, "ema", limits)
    assert small.contents(workspace.root) == before


def test_a_store_that_does_not_answer_never_stops_a_rollback(
    workspace: Workspace, limits: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(workspace, "ema", limits)
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:9")
    back = roll_back(workspace, None)
    assert back.promotion.written
    assert in_map(workspace) == []
    assert "do not follow the map" in back.registered[0]


def test_without_a_change_there_is_nothing_to_roll_back(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="there is no earlier map"):
        roll_back(workspace, None)
    assert not workspace.enable_map.exists()


class Registry:
    """A registry that remembers aliases."""

    def __init__(self) -> None:
        self.aliases: dict[tuple[str, str], int] = {}
        self.runs: list[str] = []

    def register(self, run: str, name: str) -> int:
        self.runs += [] if run in self.runs else [run]
        return 1 + self.runs.index(run)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self.aliases[name, alias] = version

    def delete_alias(self, name: str, alias: str) -> None:
        self.aliases.pop((name, alias), None)


def entry_of(made: Candidate, stage: Stage = Stage.CHAMPION, share: float = 0.5) -> Entry:
    return Entry(
        candidate=made.hash, name="ema", market=made.market, timeframe="1h", stage=stage, risk_share=share,
        regimes=("any",), since=made_up.NOW, evidence="0" * 64, expires=None,
    )  # fmt: skip


def registered(root: Path, *maps: tuple[Entry, ...]) -> Registry:
    """Return the registry after changes from an empty map to each of these."""
    registry, old = Registry(), EnableMap()
    for entries in maps:
        new = EnableMap(version=old.version + 1, updated=made_up.NOW, entries=entries)
        changed = Promotion(Outcome.PASS, (), "", old, new, True, "")
        lifecycle.mirror(Workspace(root), registry, changed)  # type: ignore[arg-type]
        old = new
    return registry


def with_a_run(root: Path, name: str) -> Candidate:
    made = made_up.candidate(Workspace(root).create(), name, ())
    (made.folder / "mlflow_run").write_text(f"{name}\n")
    return made


def test_an_alias_is_that_of_the_stage(tmp_path: Path) -> None:
    made = with_a_run(tmp_path, "ema")
    model = model_name(f"{made.market} ema")
    shadow, trades = entry_of(made, Stage.SHADOW, 0.0), entry_of(made)
    assert registered(tmp_path, (shadow,)).aliases == {(model, "challenger"): 1}
    assert registered(tmp_path, (shadow,), (trades,)).aliases == {(model, "champion"): 1}
    assert registered(tmp_path, (trades,), (shadow,)).aliases == {(model, "challenger"): 1}


def test_of_two_of_one_name_the_one_that_stays_has_the_alias(tmp_path: Path) -> None:
    first, second = with_a_run(tmp_path, "first"), with_a_run(tmp_path, "second")
    both = entry_of(first), entry_of(second)
    model = model_name(f"{first.market} ema")
    assert registered(tmp_path, both, both[:1]).aliases == {(model, "champion"): 2}
    assert registered(tmp_path, both, both[1:]).aliases == {(model, "champion"): 1}


def test_one_that_replaces_a_pools_strategy_gets_its_share_on_that_market_only(tmp_path: Path) -> None:
    here, there = (
        made_up.candidate(Workspace(tmp_path).create(), "old", (), f"synthetic {name}/USDT")
        for name in ("BTC", "ETH")
    )
    fresh = made_up.candidate(Workspace(tmp_path), "new", (), here.market)
    present = EnableMap(entries=(entry_of(here), entry_of(there)))
    assert lifecycle._share(None, present, fresh, here.hash) == 0.5
