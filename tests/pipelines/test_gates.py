"""Each gate finds what it is there for, and says INSUFFICIENT where it cannot know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow.executor import ShadowRun
from pipelines.campaign import open_world
from pipelines.gates import backtest, data, holdout, overfitting, promote, shadow, static, walk_forward
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.policy import Policy, judge
from pipelines.gates.world import World
from pipelines.report_text import label
from research_lab.bars import Bars
from research_lab.dsl.spec import Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.market_data.quality import check
from research_lab.models.walk_forward_fit import fit
from research_lab.scoring import model_look
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
from tests.research_lab.models.made_up import model

EMA, QUICK = parse_spec(small.EMA), parse_spec(small.QUICK)
DAY_BARS = 24


def opened(folder: Path, bars: Bars, limits: Policy) -> World:
    workspace = Workspace.find(folder / "ws").create()
    return open_world(workspace, bars, small.regimes(workspace), limits, "campaign-test")


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return small.policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, limits: Policy) -> World:
    """A world that is only read: nothing is scored or opened in it."""
    return opened(tmp_path_factory.mktemp("shared"), small.planted(), limits)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, limits: Policy) -> World:
    """A world that is only read, whose holdout was opened for `EMA`."""
    world = opened(tmp_path_factory.mktemp("seen"), small.planted(), limits)
    holdout.open_for(EMA, world)
    return world


@pytest.fixture
def world(tmp_path: Path, limits: Policy) -> World:
    return opened(tmp_path, small.planted(), limits)


def with_limit(limits: Policy, gate: str, name: str, value: float) -> Policy:
    """Return the policy with one limit moved."""
    old = limits.gates[gate][name]
    side = "at_most" if old.at_least is None else "at_least"
    moved = {**limits.gates[gate], name: old.model_copy(update={side: value})}
    return Policy.model_validate(
        limits.model_copy(update={"gates": {**limits.gates, gate: moved}}).model_dump()
    )


def judged(evidence: Evidence, limits: Policy) -> tuple[Outcome, str]:
    verdict = judge(evidence, limits)
    return verdict.outcome, "\n".join(verdict.reasons)


def test_what_world_evidence_comes_from_is_told_by_its_bindings(
    shared: World, tmp_path: Path, limits: Policy
) -> None:
    bound = shared.bound_to(EMA)
    assert opened(tmp_path / "same", small.planted(), limits).bound_to(EMA) == bound
    fewer = limits.model_copy(update={"bootstrap": limits.bootstrap.model_copy(update={"n_draws": 299})})
    other = opened(tmp_path / "other", small.planted(seed=4), Policy.model_validate(fewer.model_dump()))
    assert [name for name in bound if other.bound_to(EMA)[name] != bound[name]] == ["data", "protocol"]
    costly = replace(shared, terms=replace(shared.terms, fee=0.002))
    assert [name for name in bound if costly.bound_to(EMA)[name] != bound[name]] == ["protocol"]
    assert [name for name in bound if shared.bound_to(QUICK)[name] != bound[name]] == ["spec"]


class TestStatic:
    def test_a_simple_new_strategy_passes(self, shared: World, limits: Policy) -> None:
        assert judged(static.measure(EMA, shared, [QUICK.hash]), limits)[0] is Outcome.PASS

    def test_a_copy_fails(self, shared: World, limits: Policy) -> None:
        renamed = parse_spec(small.EMA.replace("name: ema", "name: copy"))
        outcome, told = judged(static.measure(renamed, shared, [EMA.hash]), limits)
        assert outcome is Outcome.FAIL
        assert "duplicates is 1" in told

    @pytest.mark.parametrize("name", ["n_nodes", "n_params"])
    def test_one_more_than_allowed_fails_and_what_is_allowed_passes(
        self, name: str, shared: World, limits: Policy
    ) -> None:
        evidence = static.measure(EMA, shared)
        count = evidence.figures[name]
        assert count > 0
        assert judged(evidence, with_limit(limits, "static", name, count))[0] is Outcome.PASS
        outcome, told = judged(evidence, with_limit(limits, "static", name, count - 1))
        assert outcome is Outcome.FAIL
        assert f"{name} is {count:g}" in told


class TestData:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (small.FINE, "fine runs on 5m, finer than the data's 1h; bring candles of 5m or finer"),
            (small.FUNDED, "funded reads funding, which these data do not have"),
        ],
    )
    def test_what_the_data_cannot_give_is_insufficient(
        self, text: str, told: str, shared: World, limits: Policy
    ) -> None:
        evidence = data.measure(parse_spec(text), shared, check(shared.bars))
        assert judged(evidence, limits) == (Outcome.INSUFFICIENT, told)

    @pytest.mark.parametrize("name", ["research_days", "strategy_bars"])
    def test_too_short_is_insufficient(self, name: str, shared: World, limits: Policy) -> None:
        evidence = data.measure(EMA, shared, check(shared.bars))
        seen = evidence.figures[name]
        assert judged(evidence, with_limit(limits, "data", name, seen))[0] is Outcome.PASS
        outcome, told = judged(evidence, with_limit(limits, "data", name, seen + 1))
        assert outcome is Outcome.INSUFFICIENT
        assert told.startswith(name)

    def test_the_research_days_end_where_the_holdout_begins(self, shared: World) -> None:
        days = data.measure(EMA, shared, check(shared.bars)).figures["research_days"]
        assert days == 225.0 == 0.6 * (small.DAYS - 45)

    def test_a_gap_that_is_too_long_fails(self, tmp_path: Path, limits: Policy) -> None:
        whole = small.planted()
        kept = np.ones(whole.n, bool)
        kept[1000:1073] = False
        bars = replace(
            whole,
            time=whole.time[kept],
            inputs=np.ascontiguousarray(whole.inputs[:, kept]),
            funding_due=whole.funding_due[kept],
        )
        outcome, told = judged(data.measure(EMA, opened(tmp_path, bars, limits), check(bars)), limits)
        assert outcome is Outcome.FAIL
        assert "longest_gap_hours is 73" in told


class TestBacktest:
    def test_the_independent_engine_agrees(self, shared: World, limits: Policy) -> None:
        evidence = backtest.measure(EMA, shared, 1.0)
        assert evidence.figures["vectorbt_difference"] < 1e-12
        assert judged(evidence, limits)[0] is Outcome.PASS

    def test_double_costs_earn_less(self, shared: World) -> None:
        figures = backtest.measure(EMA, shared, 1.0).figures
        assert figures["sharpe_at_double_costs"] < figures["sharpe"]

    def test_the_return_is_told_for_both_orders(self, shared: World) -> None:
        text = small.EMA.replace("stop: 6 * atr(24)", "stop: 0.5 * atr(24)\ntake: [{at: 1R, close: 1}]")
        figures = backtest.measure(parse_spec(text), shared, 1.0).figures
        assert figures["return_optimistic"] != figures["return"]
        assert math.isfinite(figures["return_optimistic"])
        plain = backtest.measure(EMA, shared, 1.0).figures
        assert plain["return_optimistic"] == plain["return"]

    def test_what_never_traded_is_insufficient(self, shared: World, limits: Policy) -> None:
        idle = parse_spec(small.EMA.replace("enter_long: rising", "enter_long: close > 1000 * high"))
        assert judged(backtest.measure(idle, shared, math.nan), limits)[0] is Outcome.INSUFFICIENT


class TestWalkForward:
    def test_one_that_could_not_be_done_is_insufficient_with_its_reason(
        self, shared: World, limits: Policy
    ) -> None:
        evidence = walk_forward.measure(EMA, shared, None, "40 days give folds of 3 days")
        assert judged(evidence, limits) == (Outcome.INSUFFICIENT, "40 days give folds of 3 days")


class TestOverfitting:
    def test_a_candidate_that_the_ledger_does_not_have_is_insufficient(
        self, shared: World, limits: Policy
    ) -> None:
        outcome, told = judged(overfitting.measure(EMA, shared), limits)
        assert outcome is Outcome.INSUFFICIENT
        assert told == "the ledger of this market does not have the candidate"

    def test_further_trials_never_make_luck_less_likely(self, tmp_path: Path, limits: Policy) -> None:
        world = opened(tmp_path, small.noise(small.EDGE), limits)
        world.scorer.score([EMA])
        alone = overfitting.measure(EMA, world)
        world.scorer.score([QUICK.bind(values) for values in QUICK.grid()])
        among = overfitting.measure(EMA, world)
        assert (alone.figures["n_trials"], among.figures["n_trials"]) == (1.0, 3.0)
        assert among.figures["p"] >= alone.figures["p"]
        assert alone.bound_to["context"] != among.bound_to["context"]

    def test_a_look_at_a_model_raises_the_bar_as_a_strategy_does(self, world: World) -> None:
        world = replace(world, policy=small.asking_for_trades(world.policy, 40.0))
        world.scorer.score([EMA])
        model_look.look(fit(model(), world.research), world.research, world.scorer.ledger)
        among = overfitting.measure(EMA, world).figures
        assert (among["n_trials"], among["n_rivals"]) == (2.0, 2.0)

    def test_a_trial_of_a_few_trades_is_charged_and_raises_nobodys_bar(self, world: World) -> None:
        world = replace(world, policy=small.asking_for_trades(world.policy, 40.0))
        world.scorer.score([EMA])
        alone = overfitting.measure(EMA, world).figures
        rare = parse_spec(
            small.EMA.replace("enter_long: rising", "enter_long: rising and hour() == 4 and weekday() < 3")
        )
        score = world.scorer.score([rare])[0]
        assert 10 <= score.metrics["n_trades"] < 40
        among = overfitting.measure(EMA, world).figures
        assert (among["n_trials"], among["n_rivals"]) == (2.0, 1.0)
        assert among["p"] == alone["p"]
        assert overfitting.measure(rare, world).figures["n_rivals"] == 2.0, "all with as many as itself"
        lenient = replace(world, policy=small.asking_for_trades(world.policy, 10.0))
        assert overfitting.measure(EMA, lenient).figures["n_rivals"] == 2.0, (
            "the policy says how many are enough"
        )

    def test_what_is_reported_beside_p_is_measured_and_judges_nothing(
        self, world: World, limits: Policy
    ) -> None:
        world.scorer.score([EMA.bind(values) for values in EMA.grid()])
        evidence = overfitting.measure(EMA, world)
        unmeasured = {name for name, value in evidence.figures.items() if math.isnan(value)}
        assert unmeasured == {"spa_champion", "reality_check_champion"}
        for name, value in evidence.figures.items():
            if name.startswith(("psr", "deflated", "pbo", "spa", "reality", "twin", "cpcv_share")):
                assert name in unmeasured or 0.0 <= value <= 1.0, name
            assert label("overfitting", name) != name.replace("_", " ") or name == "p", name
        assert sum(evidence.series["pbo_logit_counts"]) == math.comb(16, 8)
        assert len(evidence.series["cpcv_sharpes"]) == evidence.figures["cpcv_n_paths"] == 36
        assert evidence.figures["cpcv_n_sets"] == len(list(EMA.grid()))
        assert [name for name, figure in judge(evidence, limits).figures.items() if figure.judged] == ["p"]
        assert overfitting.measure(EMA, world).canonical() == evidence.canonical()

    def test_an_edge_in_timing_stands_out_from_random_entries_and_from_holding(self, world: World) -> None:
        world.scorer.score([EMA.bind(values) for values in EMA.grid()])
        figures = overfitting.measure(EMA, world).figures
        assert figures["twin_percentile"] > 0.95 and figures["spa_twin"] < 0.1
        assert figures["psr"] > 0.95 and figures["deflated_sharpe"] <= figures["psr"]

    def test_the_champion_is_compared_with_where_the_ledger_has_it(self, world: World) -> None:
        champion = EMA.bind(EMA.grid()[-1])
        world.scorer.score([EMA, champion])
        beside = overfitting.measure(EMA, replace(world, champions=(champion.hash, EMA.hash)))
        assert 0.0 < beside.figures["spa_champion"] <= 1.0
        assert math.isfinite(beside.figures["reality_check_champion"])
        assert beside.bound_to["context"].endswith(champion.hash)
        unknown = overfitting.measure(EMA, replace(world, champions=("0" * 64,)))
        assert math.isnan(unknown.figures["spa_champion"])

    def test_what_never_traded_has_no_twins(self, world: World) -> None:
        idle = parse_spec(small.EMA.replace("enter_long: rising", "enter_long: close > 1000 * high"))
        world.scorer.score([EMA, idle])
        figures = overfitting.measure(idle, world).figures
        assert math.isnan(figures["p"]) and math.isnan(figures["twin_p"]) and math.isnan(figures["psr"])


def luck(p: float) -> Evidence:
    """Return gate 6's evidence with this p."""
    return Evidence("overfitting", {"p": p}, {})


class TestHoldout:
    def test_each_further_candidate_is_judged_harder_and_the_same_is_not(
        self, world: World, limits: Policy
    ) -> None:
        seen = [holdout.measure(spec, world, luck(0.02)) for spec in (EMA, EMA, QUICK, EMA)]
        assert [evidence.figures["opening"] for evidence in seen] == [1.0, 1.0, 2.0, 1.0]
        levels = [judge(evidence, limits).figures["p"].limit for evidence in seen]
        assert levels == pytest.approx([0.05 * 6 / (math.pi * k) ** 2 for k in (1, 1, 2, 1)])

    def test_it_trades_on_the_sealed_days_only(self, world: World) -> None:
        evidence = holdout.measure(EMA, world, luck(0.01))
        zones = world.lake.zones(world.bars)
        assert evidence.figures["n_days"] == 150.0
        assert evidence.series["time"][0] == zones.holdout.start_ms
        assert evidence.series["time"][-1] < zones.holdout.end_ms

    def test_research_and_holdout_are_weighed_together(self, world: World) -> None:
        weak, strong = (holdout.measure(EMA, world, luck(p)).figures for p in (0.5, 0.001))
        assert weak["p"] == strong["p"]
        assert strong["combined_p"] < weak["combined_p"]
        assert (weak["research_p"], strong["research_p"]) == (0.5, 0.001)

    def test_bars_that_end_before_it_are_insufficient(self, world: World, limits: Policy) -> None:
        research = replace(world, bars=world.research)
        outcome, told = judged(holdout.measure(EMA, research, luck(0.01)), limits)
        assert outcome is Outcome.INSUFFICIENT
        assert "lies in holdout" in told
        assert world.lake.openings.past() == []


class TestShadow:
    def test_the_executor_decides_bit_for_bit_as_the_backtest(self, seen: World, limits: Policy) -> None:
        evidence = shadow.measure(EMA, seen)
        assert evidence.figures["differing_bits"] == 0.0
        assert evidence.figures["n_bars"] == 30 * DAY_BARS
        assert judged(evidence, limits)[0] is Outcome.PASS

    @pytest.mark.parametrize("name", ["equity", "position", "reason", "fills"])
    def test_one_differing_bit_is_found(
        self, name: str, seen: World, limits: Policy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shadow, "shadow_run", _with_one_bit_flipped(name))
        evidence = shadow.measure(EMA, seen)
        assert evidence.figures["differing_bits"] == 1.0
        assert judged(evidence, limits)[0] is Outcome.FAIL

    def test_a_fill_that_is_missing_is_found(
        self, seen: World, limits: Policy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def without_last_fill(*arguments: object) -> ShadowRun:
            live = _REAL(*arguments)  # type: ignore[arg-type]
            return replace(live, fills=live.fills[:-1])

        monkeypatch.setattr(shadow, "shadow_run", without_last_fill)
        assert judged(shadow.measure(EMA, seen), limits)[0] is Outcome.FAIL

    def test_too_few_forward_bars_are_insufficient(self, seen: World, tmp_path: Path, limits: Policy) -> None:
        short = seen.bars.window(0, seen.bars.n - 20 * DAY_BARS)
        world = opened(tmp_path, seen.bars, limits)
        world = replace(world, bars=short)
        holdout.open_for(EMA, world)
        outcome, told = judged(shadow.measure(EMA, world), limits)
        assert outcome is Outcome.INSUFFICIENT
        assert "n_days is 25" in told

    def test_no_forward_bar_is_insufficient(self, seen: World, limits: Policy) -> None:
        world = replace(seen, bars=seen.bars.window(0, seen.bars.n - 45 * DAY_BARS))
        holdout.open_for(EMA, world)
        evidence = shadow.measure(EMA, world)
        assert "lies in forward" in evidence.insufficient
        assert judged(evidence, limits)[0] is Outcome.INSUFFICIENT

    def test_a_strategy_without_an_opening_of_the_holdout_is_not_run_over_it(
        self, seen: World, limits: Policy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor with other costs: that would be another look at the holdout."""
        monkeypatch.setattr(World, "run", None)
        for spec, world in ((QUICK, seen), (EMA, replace(seen, terms=replace(seen.terms, fee=0.002)))):
            for evidence in (shadow.measure(spec, world), promote.measure(spec, world, [EMA])):
                assert "was not opened for" in evidence.insufficient
                assert judged(evidence, limits)[0] is Outcome.INSUFFICIENT

    def test_the_band_places_forward_days_among_the_strategys_own_past(self, seen: World) -> None:
        band = shadow._band(EMA, seen, seen.research, 30)
        ruin, plain, luck = (shadow._place(band, np.full(30, r)) for r in (-0.05, 0.005, 0.05))
        n_draws = seen.policy.bootstrap.n_draws
        assert ruin == pytest.approx(1 / (1 + n_draws))
        assert ruin < plain < luck <= 1.0

    def test_a_band_without_days_is_not_measured(self, seen: World) -> None:
        assert math.isnan(shadow._place(shadow._band(EMA, seen, seen.research, 0), np.empty(0)))

    def test_the_band_is_told_with_the_returns_of_its_places(self, seen: World) -> None:
        evidence = shadow.measure(EMA, seen)
        own, place = evidence.figures["return"], evidence.figures["band_probability"]
        ends = evidence.series["band"]
        assert all((end["return"] <= own) == (end["p"] <= place) for end in ends) and len(ends) >= 5


_REAL = shadow.shadow_run


def _with_one_bit_flipped(name: str) -> object:
    def flipped(*arguments: object) -> ShadowRun:
        live = _REAL(*arguments)  # type: ignore[arg-type]
        array = getattr(live, name).copy()
        raw = np.frombuffer(bytearray(array.tobytes()), np.uint8)
        raw[raw.shape[0] // 2] ^= 1
        return replace(live, **{name: np.frombuffer(raw.tobytes(), array.dtype)})

    return flipped


def compared(*champions: tuple[str, float, float, float], bound: Mapping[str, str] | None = None) -> Evidence:
    """Return gate 10's evidence: of each champion its name, probability, drawdown excess and correlation."""
    names = ("champion", "probability_better", "drawdown_excess", "correlation")
    rows = [dict(zip(names, champion, strict=True)) for champion in champions]
    figures = {"n_champions": float(len(rows))}
    if rows:
        nearest = max(rows, key=lambda row: float(row["correlation"]))
        figures |= {name: float(nearest[name]) for name in names[1:]}
    return Evidence("promote", figures, bound or {}, series={"champions": rows})


class TestPromote:
    def test_the_first_needs_no_comparison(self, limits: Policy) -> None:
        decision = promote.decide(compared(), limits)
        assert (decision.verdict.outcome, decision.replaces) == (Outcome.PASS, "")

    @pytest.mark.parametrize(
        ("probability", "excess", "correlation", "outcome", "replaces"),
        [
            (0.9, 0.0, 0.99, Outcome.PASS, "A"),  # just better
            (0.8999, 0.0, 0.99, Outcome.FAIL, ""),  # not sure enough
            (0.9, 1e-12, 0.99, Outcome.FAIL, ""),  # falls deeper
            (0.0, 0.5, 0.65, Outcome.PASS, ""),  # worse, but unlike: added
            (0.0, 0.5, 0.6501, Outcome.FAIL, ""),
            (0.95, -0.1, -0.3, Outcome.PASS, "A"),  # better and unlike: replaces
            (math.nan, 0.0, 0.99, Outcome.FAIL, ""),
            (math.nan, math.nan, math.nan, Outcome.INSUFFICIENT, ""),
            (0.0, 0.5, math.nan, Outcome.FAIL, ""),
            (math.inf, -1.0, 0.99, Outcome.FAIL, ""),
        ],
    )
    def test_it_replaces_what_it_beats_joins_what_it_is_unlike_and_is_refused_otherwise(
        self,
        probability: float,
        excess: float,
        correlation: float,
        outcome: Outcome,
        replaces: str,
        limits: Policy,
    ) -> None:
        decision = promote.decide(compared(("A", probability, excess, correlation)), limits)
        assert (decision.verdict.outcome, decision.replaces) == (outcome, replaces)
        assert (decision.verdict.reasons == ()) is (outcome is Outcome.PASS)

    def test_of_several_the_one_it_resembles_most_is_replaced(self, limits: Policy) -> None:
        evidence = compared(("A", 0.1, 0.0, 0.2), ("B", 0.95, 0.0, 0.9), ("C", 0.99, 0.0, 0.5))
        assert promote.decide(evidence, limits).replaces == "B"

    def test_a_passing_verdict_has_no_figure_that_misses_its_limit(self, limits: Policy) -> None:
        for evidence in (compared(), compared(("A", 0.0, 0.5, 0.1)), compared(("A", 0.95, 0.0, 0.9))):
            verdict: Verdict = promote.decide(evidence, limits).verdict
            assert all(figure.met for figure in verdict.figures.values())

    @pytest.mark.parametrize(
        "evidence",
        [
            Evidence("promote", {}, {}),
            Evidence("promote", {"n_champions": math.nan}, {}),
            Evidence("promote", {"n_champions": 0.0}, {}, insufficient="no day was shared"),
            Evidence("promote", {"n_champions": 0.0}, {}, faults=("a champion could not be run",)),
        ],
    )
    def test_evidence_that_is_missing_or_faulty_passes_nothing(
        self, evidence: Evidence, limits: Policy
    ) -> None:
        assert promote.decide(evidence, limits).verdict.outcome is not Outcome.PASS

    def test_a_strategy_is_exactly_like_itself_and_not_better(self, seen: World, limits: Policy) -> None:
        figures = promote.measure(EMA, seen, [EMA]).figures
        assert figures["correlation"] == pytest.approx(1.0)
        assert figures["probability_better"] == 0.0
        assert figures["drawdown_excess"] == 0.0

    def test_more_of_the_same_is_better_and_falls_deeper(self, seen: World) -> None:
        half = parse_spec(small.EMA.replace("fraction: 0.95", "fraction: 0.4"))
        figures = promote.measure(EMA, seen, [half]).figures
        assert figures["correlation"] > 0.99
        assert figures["probability_better"] > 0.9
        assert figures["drawdown_excess"] > 0.0

    def test_the_evidence_names_every_champion_and_is_bound_to_them(self, seen: World) -> None:
        champions: list[Spec] = [QUICK, parse_spec(small.EMA.replace("6 * atr", "4 * atr"))]
        evidence = promote.measure(EMA, seen, champions)
        assert [row["champion"] for row in evidence.series["champions"]] == [c.hash for c in champions]
        assert evidence.bound_to["context"] == " ".join(sorted(c.hash for c in champions))
