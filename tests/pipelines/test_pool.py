"""A pool: one parameter set for several markets, every look and opening charged to each, judged as one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from live_shadow import governance
from live_shadow.symbols import read_symbols
from pipelines import campaign, candidates, cli, lifecycle
from pipelines.campaign import KEPT, Examination, Wanted, examine, run_campaign
from pipelines.gate_run import run_gates
from pipelines.gates import holdout
from pipelines.gates.evidence import Evidence, Outcome
from pipelines.gates.policy import Policy, judge
from pipelines.gates.pool import Pool
from pipelines.gates.pooled_exam import PooledExam, worst_of
from pipelines.gates.world import World
from pipelines.grounds import sealed_pool, sealed_world
from pipelines.inputs import beside
from pipelines.lifecycle import Wish, promote_candidate
from pipelines.verification import verify
from research_lab.bars import Bars, Market, read_candles
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.errors import InsufficientError, UsageError
from research_lab.market_data.lake import Lake, divide
from research_lab.market_data.planted import rates, with_funding
from research_lab.scoring.trial import Trial
from research_lab.timeframe import DAY_MS
from research_lab.validation.family_wise import holdout_level
from research_lab.validation.pooled_family import pooled_family
from research_lab.workspace import Workspace
from tests.pipelines import made_up
from tests.pipelines import small_campaign as small

EMA, QUICK, FUNDED = (parse_spec(text) for text in (small.EMA, small.QUICK, small.FUNDED))
MARKETS = [Market("synthetic", f"{name}/USDT") for name in ("AAA", "BBB", "CCC", "DDD")]
SYMBOLS = [market.symbol for market in MARKETS]
WEAK = 0.07  # a strength that no market shows alone, and four show together


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def regimes(tmp_path_factory: pytest.TempPathFactory) -> RegimeSet:
    return small.regimes(Workspace.find(tmp_path_factory.mktemp("regimes")).create())


@pytest.fixture(scope="module")
def weak() -> list[Bars]:
    return [small.planted(market, strength=WEAK, seed=11 + k) for k, market in enumerate(MARKETS)]


@pytest.fixture(scope="module")
def noise() -> list[Bars]:
    return [small.noise(market, seed=40 + k) for k, market in enumerate(MARKETS)]


def pool_of(folder: Path, tables: list[Bars], regimes: RegimeSet, policy: Policy) -> Pool:
    terms = [read_symbols().research_terms(bars.market) for bars in tables]
    return sealed_pool(folder, tables, terms, regimes, policy, "c")


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, weak: list[Bars], regimes: RegimeSet, policy: Policy
) -> tuple[Pool, Examination]:
    """A pool whose four markets have a weak edge, and what came of it."""
    pool = pool_of(tmp_path_factory.mktemp("pool"), weak, regimes, policy)
    (examination,), _ = examine([EMA], pool, small.silent)
    return pool, examination


def test_an_edge_too_weak_for_each_market_alone_passes_pooled(
    found: tuple[Pool, Examination], weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    assert found[1].outcome is Outcome.PASS
    for bars in weak:
        terms = read_symbols().research_terms(bars.market)
        world = sealed_world(tmp_path / bars.market.symbol[:3], bars, terms, regimes, policy, "c")
        (alone,), _ = examine([EMA], world, small.silent)
        assert alone.outcome is Outcome.FAIL
        assert not alone.passed(("overfitting", "holdout"))


def test_noise_passes_nothing(noise: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, noise, regimes, policy)
    examinations, best = examine([EMA, QUICK], pool, small.silent)
    assert best is None
    assert [e.outcome for e in examinations] == [Outcome.FAIL, Outcome.FAIL]
    assert pool.worlds[0].lake.openings.past() == []


def test_a_look_of_too_few_trades_on_all_markets_together_raises_nobodys_bar(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, weak, regimes, small.asking_for_trades(policy, 40.0))
    pool.scorer.score([EMA])
    alone = PooledExam(pool).overfitting(EMA).figures
    rare = [
        parse_spec(small.EMA.replace("enter_long: rising", f"enter_long: rising and {when}"))
        for when in (
            "hour() == 4 and weekday() < 3",
            "hour() == 4 and weekday() == 1 and close > prev(highest(high, 24))",
        )
    ]
    traded = [score.metrics["n_trades"] for score in pool.scorer.score(rare)]
    assert traded[0] >= 40 > traded[1] > 0
    among = PooledExam(pool).overfitting(EMA).figures
    assert (alone["n_trials"], alone["n_rivals"]) == (1.0, 1.0)
    assert (among["n_trials"], among["n_rivals"]) == (3.0, 2.0)


def test_every_market_is_charged_with_every_look_and_one_opening(found: tuple[Pool, Examination]) -> None:
    pool, examination = found
    looks = [
        {t.candidate for t in pool.scorer.ledger.trials(w.bars.market.symbol, *w.research.interval)}
        for w in pool.worlds
    ]
    assert looks[0] == looks[1] == looks[2] == looks[3]
    assert len(looks[0]) == EMA.n_combinations
    openings = pool.worlds[0].lake.openings.past()
    assert sorted(line["charged_to"] for line in openings) == SYMBOLS
    assert examination.evidence["holdout"].figures["opening"] == 1.0
    assert examination.evidence["overfitting"].figures["n_trials"] == EMA.n_combinations


def test_a_market_opened_before_sets_the_level_of_all(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, weak[:3], regimes, policy)
    exam, luck = PooledExam(pool), Evidence("overfitting", {"p": 0.01}, {})
    pool.scorer.score([EMA, QUICK])
    world = pool.worlds[1]
    holdout.measure(QUICK, world, luck)
    seen = exam.holdout(EMA, luck)
    assert seen.figures["opening"] == 2.0
    assert judge(seen, policy).figures["p"].limit == pytest.approx(2.0 * holdout_level(2, 0.05))
    assert exam.holdout(EMA, luck).canonical() == seen.canonical()  # again is no further opening


def test_figures_are_of_the_pools_daily_returns(found: tuple[Pool, Examination]) -> None:
    pool, examination = found
    score = pool.scorer.score([examination.spec])[0]
    figures = examination.evidence["backtest"].figures
    for name, value in score.metrics.items():
        assert figures[name] == pytest.approx(value, rel=1e-9), name
    rows = examination.evidence["backtest"].series["symbols"]
    assert [row["symbol"] for row in rows] == SYMBOLS
    assert sum(row["n_trades"] for row in rows) == figures["n_trades"]
    names = (
        "sharpe_bars_dropped", "sharpe_start_shifted", "start_interval", "sharpe_without_best_trades",
        "return_without_best_trades", "capacity", "sharpe_one_bar_late", "sharpe_at_double_costs",
    )  # fmt: skip
    assert all(math.isfinite(figures[name]) for name in names)
    assert figures["sharpe_without_best_trades"] < figures["sharpe"]
    shown = examination.evidence["backtest"].series
    assert len(shown["bars_dropped"]) == 5 and min(shown["bars_dropped"]) == figures["sharpe_bars_dropped"]
    assert len(shown["start_shifted"]) == 6
    beside_p = examination.evidence["overfitting"]
    assert 0.9 < beside_p.figures["twin_percentile"] <= 1.0
    assert beside_p.figures["twin_p"] < 0.1 and math.isfinite(beside_p.figures["spa_twin"])
    assert beside_p.series["twin_sharpes"] == sorted(beside_p.series["twin_sharpes"])
    walk = examination.evidence["walk_forward"]
    assert [one["symbol"] for one in walk.series["left_out"]] == SYMBOLS
    earned = [one["total_return"] > 0.0 for one in walk.series["left_out"]]
    assert walk.figures["share_symbols_profitable"] == np.mean(earned)
    assert walk.figures["n_days"] == sum(b - a for a, b in (f["outside_days"] for f in walk.series["folds"]))


def test_the_order_of_the_files_changes_no_byte(
    found: tuple[Pool, Examination], weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    turned = pool_of(tmp_path, weak[::-1], regimes, policy)
    (examination,), _ = examine([EMA], turned, small.silent)
    for gate, evidence in found[1].evidence.items():
        other = examination.evidence[gate]
        assert (other.figures, other.series) == (evidence.figures, evidence.series), gate


def test_two_markets_are_insufficient_and_losers_are_named(policy: Policy) -> None:
    good = {"sharpe": 2.0, "efficiency": 1.0, "share_profitable": 1.0}
    two = {**good, "n_symbols": 2.0, "share_symbols_profitable": 1.0}
    verdict = judge(Evidence("walk_forward", two, {}), policy)
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "1 more markets are missing" in verdict.reasons[0]
    left_out = [
        {"symbol": s, "total_return": r} for s, r in zip(SYMBOLS, (0.1, -0.1, -0.2, 0.2), strict=True)
    ]
    half = {**good, "n_symbols": 4.0, "share_symbols_profitable": 0.5}
    verdict = judge(Evidence("walk_forward", half, {}, series={"left_out": left_out}), policy)
    assert verdict.outcome is Outcome.FAIL
    assert "it loses on BBB/USDT, CCC/USDT" in verdict.reasons[0]
    assert judge(Evidence("walk_forward", good, {}), policy).outcome is Outcome.PASS  # of one market


def test_a_market_without_funding_is_named_where_a_strategy_reads_it(
    noise: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    paid = [
        replace(with_funding(b, rates(7, b.n)), market=replace(b.market, perpetual=True)) for b in noise[:2]
    ]
    pool = pool_of(tmp_path, [*paid, noise[2]], regimes, policy)
    (examination,), _ = examine([FUNDED], pool, small.silent)
    assert examination.verdicts["data"].outcome is Outcome.INSUFFICIENT
    assert examination.verdicts["data"].reasons == (
        "CCC/USDT: funded reads funding, which these data do not have",
    )
    assert all(trial.kind == "refused" for trial in pool.scorer.ledger.every())
    assert judge(PooledExam(pool).data(EMA), policy).outcome is Outcome.PASS


def test_a_shorter_history_shares_the_border_and_is_named_where_it_is_too_short(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    late = weak[2].window(100 * 24, weak[2].n)
    pool = pool_of(tmp_path, [weak[0], weak[1], late], regimes, policy)
    assert len({world.research.interval[1] for world in pool.worlds}) == 1
    assert len({world.lake.zones(world.bars).holdout for world in pool.worlds}) == 1
    verdict = judge(PooledExam(pool).data(EMA), policy)
    days = (pool.worlds[2].research.interval[1] - late.interval[0]) / DAY_MS
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.reasons[0].startswith(f"research_days is {days:.4g} on CCC/USDT, wanted at least 150")
    easy = pool_of(tmp_path, [weak[0], weak[1], late], regimes, _any_length(policy))
    (examination,), _ = examine([EMA], easy, small.silent)
    assert (
        examination.evidence["backtest"].figures["n_days"]
        == (pool.worlds[0].research.interval[1] - pool.worlds[0].research.interval[0]) / DAY_MS
    )
    assert math.isfinite(examination.evidence["walk_forward"].figures["sharpe"])
    assert math.isfinite(examination.evidence["overfitting"].figures["p"])


def _any_length(policy: Policy) -> Policy:
    days = policy.gates["data"]["research_days"].model_copy(update={"at_least": 1.0})
    gates = {**policy.gates, "data": {**policy.gates["data"], "research_days": days}}
    return Policy.model_validate(policy.model_copy(update={"gates": gates}).model_dump())


def test_research_ends_with_the_earliest_seal(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    early = divide(weak[1].window(0, 350 * 24), 0.4, 45 * DAY_MS)
    lake = Lake(tmp_path)
    lake.seal(SYMBOLS[1], early)
    pool = pool_of(tmp_path, weak[:3], regimes, policy)
    assert {world.research.interval[1] for world in pool.worlds} == {early.holdout.start_ms}
    assert {lake.zones(bars).holdout.start_ms for bars in weak[:3]} == {early.holdout.start_ms}
    lake.seal(SYMBOLS[3], divide(weak[3], 0.4, 45 * DAY_MS))
    later = pool_of(tmp_path, weak, regimes, policy)
    assert {world.research.interval[1] for world in later.worlds} == {early.holdout.start_ms}
    assert lake.zones(weak[3]).holdout.start_ms > early.holdout.start_ms  # a seal never moves


def test_a_market_that_begins_behind_the_border_is_refused_and_nothing_is_sealed(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    late = weak[2].window(340 * 24, weak[2].n)
    with pytest.raises(InsufficientError, match=r"CCC/USDT has data from .* leave it out"):
        pool_of(tmp_path, [weak[0], weak[1], late], regimes, policy)
    assert not any(Lake(tmp_path).is_sealed(symbol) for symbol in SYMBOLS)


def test_no_holdout_is_opened_when_one_market_has_none(
    weak: list[Bars], regimes: RegimeSet, policy: Policy, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, weak[:3], regimes, policy)
    world = pool.worlds[2]
    ended = replace(world, bars=world.bars.window(0, world.research.n))
    exam = PooledExam(Pool((*pool.worlds[:2], ended)))
    seen = exam.holdout(EMA, Evidence("overfitting", {"p": 0.01}, {}))
    assert seen.insufficient == "no bars in the holdout of CCC/USDT"
    assert world.lake.openings.past() == []


def test_the_worst_value_stands_for_all_and_what_was_not_measured_is_the_worst() -> None:
    worst, of = worst_of(
        {
            "A": {"faults": 0.0, "research_days": 500.0, "longest_gap_hours": 3.0, "n_cuts": 12.0},
            "B": {"faults": 2.0, "research_days": 400.0, "longest_gap_hours": math.nan, "n_cuts": 12.0},
        }
    )
    assert (worst["faults"], worst["research_days"], worst["n_cuts"]) == (2.0, 400.0, 12.0)
    assert math.isnan(worst["longest_gap_hours"])
    assert of == {"faults": "B", "research_days": "B", "longest_gap_hours": "B", "n_cuts": "A"}


@pytest.fixture(scope="module")
def kept(
    tmp_path_factory: pytest.TempPathFactory, weak: list[Bars], regimes: RegimeSet, policy: Policy
) -> Iterator[Workspace]:
    """A workspace with a campaign of a pool that was interrupted once, and then finished."""
    workspace = Workspace.find(tmp_path_factory.mktemp("kept") / "ws").create()
    governance.init(workspace.root)
    stages: list[str] = []

    def stops(stage: str, share: float) -> None:
        if stage == "ema: look-ahead":
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "Tracker", small.Tracker)
        with pytest.raises(KeyboardInterrupt):
            run_campaign(workspace, weak, [QUICK, EMA], regimes, policy, stops, Wanted())
        done = run_campaign(workspace, weak, [QUICK, EMA], regimes, policy, lambda s, _: stages.append(s))
    assert f"quick: {KEPT}" in stages
    assert done.n_looks == len(MARKETS) * (EMA.n_combinations + QUICK.n_combinations)
    assert [e.template.name for e in done.distinct] == ["quick", "ema"]
    assert len(done.saved) == 2 * len(MARKETS)
    yield workspace


def test_a_pooled_candidate_is_one_on_each_market_bound_to_all_snapshots(
    kept: Workspace, weak: list[Bars]
) -> None:
    found = [c for c in candidates.every(kept) if c.name == "ema"]
    assert [c.market for c in found] == [market.name for market in MARKETS]
    assert {c.facts.pool for c in found} == {tuple(bars.snapshot for bars in weak)}
    assert [c.facts.snapshot for c in found] == [bars.snapshot for bars in weak]
    evidence = [candidates.load_evidence(c, "backtest") for c in found]
    assert len({e.hash for e in evidence if e is not None}) == 1


def test_it_is_promoted_where_it_is_wanted_and_measures_the_same_again(
    kept: Workspace, regimes: RegimeSet, policy: Policy
) -> None:
    candidate = candidates.resolve(kept, "ema@CCC")
    regimes = load_regimes(kept.regimes, kept.macro)
    promoted = promote_candidate(kept, candidate, regimes, policy, Wish(0.25, dry_run=True))
    assert promoted.promotion.outcome is Outcome.PASS
    assert [e.market for e in promoted.promotion.new_map.entries] == [MARKETS[2].name]
    assert verify(kept, candidate, regimes, policy).outcome is Outcome.PASS


def test_the_gates_of_a_pooled_candidate_are_run_on_its_pool_again(
    kept: Workspace, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "Tracker", small.Tracker)
    before = candidates.load_evidence(candidates.resolve(kept, "quick@BBB"), "backtest")
    done = run_gates(kept, "quick@BBB", None, policy)
    assert before is not None and len(done.saved) == len(MARKETS)
    assert done.examinations[0].evidence["backtest"].hash == before.hash


def test_a_look_at_one_market_since_stands_against_it_on_every_other(
    kept: Workspace, regimes: RegimeSet, policy: Policy, weak: list[Bars]
) -> None:
    world = campaign.open_world(kept, weak[0], regimes, policy, "later")
    fresh = parse_spec(small.QUICK.replace("48", "50"))
    world.scorer.score([fresh])
    promoted = promote_candidate(
        kept, candidates.resolve(kept, "ema@DDD"), regimes, policy, Wish(dry_run=True)
    )
    assert promoted.promotion.outcome is Outcome.INSUFFICIENT
    assert any("1 trials were charged" in reason for reason in promoted.promotion.reasons)


def test_looks_that_leave_fewer_columns_than_before_stand_against_a_pooled_candidate(
    tmp_path: Path, weak: list[Bars], regimes: RegimeSet, policy: Policy
) -> None:
    pool = pool_of(tmp_path, weak[:2], regimes, policy)
    workspace, ledger = Workspace(tmp_path), pool.scorer.ledger

    def look(world: World, campaign: str, seed: int) -> None:
        start_ms, end_ms = world.research.interval
        days = np.random.default_rng(seed).normal(size=(1, (end_ms - start_ms) // DAY_MS))
        trial = Trial(
            "scored", QUICK.hash, QUICK.template_hash, "quick", world.bars.market.symbol, start_ms, end_ms, "1h",
            world.research.snapshot, campaign, "file", n_trades=50,
        )  # fmt: skip
        ledger.append([trial], days * 0.001, start_ms // DAY_MS)

    for k, world in enumerate(pool.worlds):
        look(world, f"alone {k}", k)
    n_before = len(pooled_family(pool.scorer).candidates)
    made = made_up.candidate(workspace, "ema", ())
    made.heads_path.write_text(json.dumps(ledger.heads()))
    candidates.save_evidence(made, Evidence("overfitting", {"n_trials": float(n_before)}, {}))
    verdict = made_up.verdict(made, "overfitting")
    assert lifecycle._still_counted(made, verdict, pool) == verdict
    for k, world in enumerate(pool.worlds):
        look(world, "together", 2 + k)
    assert len(pooled_family(pool.scorer).candidates) < n_before
    found = lifecycle._still_counted(made, verdict, pool)
    assert (found.outcome, found.reasons[0][:24]) == (Outcome.INSUFFICIENT, "2 trials were charged to")


def test_evidence_of_one_market_and_of_a_pool_are_not_mixed(kept: Workspace, weak: list[Bars]) -> None:
    pooled = candidates.resolve(kept, "quick@AAA")
    assert candidates.all_evidence(pooled)
    alone = candidates.save(kept, candidates.spec_text(pooled), pooled.hash, replace(pooled.facts, pool=()))
    assert candidates.all_evidence(alone) == {}
    assert (alone.folder / "earlier" / "1" / "evidence").is_dir()


class TestFiles:
    def test_each_file_is_its_markets_by_name_or_by_word(self) -> None:
        texts = ["binanceusdm_BBB-USDT-PERP_funding.parquet", "AAA/USDT=a/rates=1.parquet"]
        assert beside(texts, SYMBOLS[:2], "--funding") == {
            "BBB/USDT": Path("binanceusdm_BBB-USDT-PERP_funding.parquet"),
            "AAA/USDT": Path("a/rates=1.parquet"),
        }
        assert beside(["x=y.parquet"], [""], "--spot") == {"": Path("x=y.parquet")}

    @pytest.mark.parametrize(
        ("texts", "told"),
        [
            (["rates.parquet"], "does not tell its market; write --funding AAA/USDT=rates.parquet"),
            (["binance_ZZZ-USDT_funding.parquet"], "is of ZZZ/USDT; the markets are AAA/USDT, BBB/USDT"),
            (["AAA/USDT=a", "AAA/USDT=b"], "AAA/USDT has two files"),
        ],
    )
    def test_what_is_ambiguous_is_refused(self, texts: list[str], told: str) -> None:
        with pytest.raises(UsageError) as fault:
            beside(texts, SYMBOLS[:2], "--funding")
        assert told in str(fault.value)

    def test_several_files_need_a_pool_and_a_pool_several_files(
        self, tmp_path: Path, noise: list[Bars]
    ) -> None:
        data = [str(small.candle_file(tmp_path, bars)) for bars in noise[:2]]
        assert read_candles(data[0]).market == MARKETS[0]
        strategies = [
            "--strategies",
            str(small.strategy_folder(tmp_path, small.EMA)),
            "-w",
            str(tmp_path / "ws"),
        ]
        for options, told in (
            (["--data", data[0], "--data", data[1]], "several files of candles"),
            (["--pool", "--data", data[0]], "a pool of one market"),
            (["--pool", "--data", data[0], "--data", data[0]], "AAA/USDT is in the pool twice"),
        ):
            done = CliRunner().invoke(cli.app, ["run", *options, *strategies])
            assert isinstance(done.exception, UsageError)
            assert told in str(done.exception)
