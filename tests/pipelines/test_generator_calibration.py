"""Calibration of generators: what is hidden, what counts as found, looks kept within their budget, verdicts, resuming."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from live_shadow.symbols import read_symbols
from pipelines.calibration import generator_pace, generator_rows, generator_runs, generator_table, hunt, rows
from pipelines.calibration.generator_rows import GeneratorRow, Hidden
from pipelines.calibration.generator_table import Pace
from pipelines.calibration.hunt import Hunt
from pipelines.calibration.runs import REGIMES
from pipelines.calibration.table import Rate
from pipelines.campaign import n_counted
from pipelines.gates.policy import DEFAULT, load_policy
from pipelines.gates.world import World
from pipelines.generation.generator_registry import Made, make
from pipelines.grounds import sealed_world
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.engine.backtest import backtest
from research_lab.generators.archive import Elite
from research_lab.generators.behaviour import behaviour_of
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Feedback, Proposal
from research_lab.market_data.planted import PERPETUAL, TOLERANCE, TOLERANCE_TOGETHER
from research_lab.scoring.origin import Origin

TERMS = read_symbols().research_terms(PERPETUAL)
POLICY = load_policy()
SMALL = GeneratorRow("edge_grammar", "small", "grammar", 1, n_looks=420, n_finalists=1, sharpe=4.0, years=3)
THREE = replace(SMALL, kinds=("momentum", "crowding", "weekly"), together=True, sharpe=3.0, years=2)
SILENT = """
spec: 1
name: n{n}
hypothesis: chance
timeframe: 1h
side: long
enter_long: {rule}
time_stop: {n}
size: {{fraction: 1}}
"""


class Teller:
    """A generator that proposes texts that it was given, then rules of no worth, each with another time stop."""

    name, version = "teller", "1"

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = list(texts)

    def propose(self, brief: Brief, feedback: Feedback, n: int, rng: np.random.Generator) -> list[Proposal]:
        first = 2 + feedback.generation * n
        worthless = (SILENT.format(n=k, rule=f"hour() == {k % 24}") for k in itertools.count(first))
        texts = [*(self.texts if feedback.generation == 0 else []), *itertools.islice(worthless, n)]
        return [Proposal(text, Origin(self.name)) for text in texts[:n]]


def strategy_text(kind: str) -> str:
    return (rows.STRATEGIES / f"{kind}.yaml").read_text(encoding="utf-8")


def hunted(row: GeneratorRow, hidden: Hidden, *texts: str) -> Hunt:
    return hunt.run_world(row, 0, hidden, Teller(texts), TERMS, load_regimes(REGIMES), POLICY)


def ground_of(folder: Path, hidden: Hidden) -> World:
    return sealed_world(folder, hidden.bars, TERMS, load_regimes(REGIMES), POLICY, "test")


@pytest.mark.parametrize("number", range(len(generator_rows.KINDS)))
def test_each_kind_takes_its_turn_and_earns_what_its_row_says(number: int) -> None:
    hidden = generator_rows.make(SMALL, number, POLICY, TERMS)
    ((kind, spec),) = hidden.oracles.items()
    assert kind == generator_rows.KINDS[number]
    earned = backtest(compile_spec(spec), hidden.bars.window(0, SMALL.n_bars), TERMS).metrics["sharpe"]
    assert earned == pytest.approx(4.0, abs=TOLERANCE)


def test_several_edges_in_one_world_each_with_a_drift_of_its_own() -> None:
    row = THREE
    hidden = generator_rows.make(row, 0, POLICY, TERMS)
    assert tuple(hidden.oracles) == row.kinds
    for kind, spec in hidden.oracles.items():
        earned = backtest(compile_spec(spec), hidden.bars.window(0, row.n_bars), TERMS).metrics["sharpe"]
        assert earned == pytest.approx(hidden.sharpes[kind], abs=1e-9)
        assert earned == pytest.approx(3.0, abs=TOLERANCE_TOGETHER)


def test_rows_that_differ_in_their_generator_have_the_same_worlds_and_other_seeds_others() -> None:
    one = generator_rows.make(SMALL, 1, POLICY, TERMS)
    two = generator_rows.make(replace(SMALL, name="edge_evolution", generator="evolve"), 1, POLICY, TERMS)
    other = generator_rows.make(SMALL, 1, POLICY, TERMS, first_seed=100_000)
    assert one.bars.snapshot == two.bars.snapshot != other.bars.snapshot
    noise = generator_rows.make(replace(SMALL, sharpe=0.0), 1, POLICY, TERMS)
    assert not noise.oracles and noise.bars.n == one.bars.n
    names = [row.name for row in generator_rows.ROWS]
    assert len(set(names)) == len(names) and all(generator_rows.row_named(name) for name in names)


def test_an_edge_that_is_proposed_is_found_promoted_and_right_within_the_looks() -> None:
    """The harness must see what is there: the planted template among worthless ones, its parameters unknown."""
    hidden = generator_rows.make(SMALL, 0, POLICY, TERMS)
    found = hunted(SMALL, hidden, strategy_text("momentum"))
    assert found.promoted and found.right and found.found == ["momentum"] == found.planted
    assert found.first_look["momentum"] >= 1 and found.finalists[0]["alike"] == "momentum"
    assert found.n_searched < found.n_looks <= SMALL.n_looks
    assert found.n_proposed == found.n_searched + found.n_refused
    assert found.handed == ["momentum"]
    assert Hunt(**json.loads(json.dumps(found.to_json()))).to_json() == json.loads(
        json.dumps(found.to_json())
    )


def test_what_nobody_proposes_is_not_found() -> None:
    hidden = generator_rows.make(SMALL, 0, POLICY, TERMS)
    found = hunted(replace(SMALL, n_looks=60, n_finalists=2), hidden)
    assert not found.promoted and not found.right and found.found == [] and found.first_look == {}
    assert 40 < found.n_looks <= 60 and all(told["stopped_by"] for told in found.finalists)


def test_a_small_campaign_of_evolution_is_the_same_twice() -> None:
    row = replace(SMALL, name="edge_evolution", generator="evolve", years=2, n_looks=500)
    hidden = generator_rows.make(row, 1, POLICY, TERMS)
    regimes = load_regimes(REGIMES)
    one, two = (
        hunt.run_world(row, 1, hidden, make("evolve", Made()), TERMS, regimes, POLICY) for _ in range(2)
    )
    assert replace(one, seconds=(0.0, 0.0)) == replace(two, seconds=(0.0, 0.0))
    assert 200 < one.n_searched < one.n_looks <= 500 and one.n_elites > 10 and one.finalists


def test_oracles_are_alike_themselves_alone_and_nobody_is_charged_for_them(tmp_path: Path) -> None:
    hidden = generator_rows.make(THREE, 0, POLICY, TERMS)
    ground = ground_of(tmp_path, hidden)
    oracles = hunt.Oracles.of(hidden, ground)
    assert n_counted(ground) == 0
    for kind, spec in hidden.oracles.items():
        assert oracles.kind(ground.scorer.score([spec])[0]) == kind
    noise = parse_spec(SILENT.format(n=7, rule="hour() == 3"), "noise")
    assert oracles.kind(ground.scorer.score([noise])[0]) == ""


def test_an_edge_that_lives_on_low_costs_is_known_as_one_that_nobody_can_get_through() -> None:
    """Two round trips a day earn a Sharpe ratio of 4 after costs, and lose at twice the costs: gate 4 refuses them."""
    regimes = load_regimes(REGIMES)
    row = replace(SMALL, kinds=("season",))
    hidden = generator_rows.make(row, 0, POLICY, TERMS)
    assert hunt.handed_over(hidden, TERMS, regimes, POLICY) == []
    cheap = replace(TERMS, fee=0.0, slippage=0.0)
    free = generator_rows.make(row, 0, POLICY, cheap)
    assert hunt.handed_over(free, cheap, regimes, POLICY) == ["season"]


def test_strategies_that_hold_the_same_are_counted_as_twice(tmp_path: Path) -> None:
    ground = ground_of(tmp_path, generator_rows.make(replace(SMALL, sharpe=0.0, years=1), 0, POLICY, TERMS))
    rules = ("close > open", "close - open > 0", "close < open", "hour() == 5")
    specs = [parse_spec(SILENT.format(n=5, rule=rule), rule) for rule in rules]
    market = np.zeros(ground.scorer.score(specs)[0].daily.shape[0])
    elites = [
        Elite(score.spec, Origin("test"), 1.0, 1.0, behaviour_of(score, market))
        for score in ground.scorer.score(specs)
    ]
    assert len({spec.hash for spec in specs}) == 4
    assert hunt.n_twice(elites, ground.scorer) == 1 and hunt.n_twice(elites[1:], ground.scorer) == 0


def test_a_finalist_never_takes_more_looks_than_were_kept_for_it(tmp_path: Path) -> None:
    hidden = generator_rows.make(replace(SMALL, sharpe=0.0, years=3), 0, POLICY, TERMS)
    ground = ground_of(tmp_path, hidden)
    for kind in ("breakout", "season"):
        template = rows.strategies()[kind]
        ground.scorer.score([template])
        before = n_counted(ground)
        hunt.examine([template], ground, lambda stage, share: None)
        taken = n_counted(ground) - before
        assert 100 < taken <= hunt.most_looks(template, POLICY.walk_forward)
    fixed = parse_spec(SILENT.format(n=5, rule="close > open"), "fixed")
    assert hunt.most_looks(fixed, POLICY.walk_forward) == 0


def made(row: str, number: int, **other: Any) -> Hunt:
    told: dict[str, Any] = {
        "planted": ["momentum"], "promoted": False, "right": False, "n_looks": 2_000, "n_searched": 1_500,
        "n_proposed": 1_600, "n_refused": 100, "found": [], "first_look": {}, "n_elites": 50, "n_twice": 0,
        "finalists": [], "best": {}, "seconds": (1.0, 1.0),
    }  # fmt: skip
    return Hunt(row, number, **(told | other))


def found_at(row: str, number: int, look: int, **other: Any) -> Hunt:
    return made(
        row,
        number,
        promoted=True,
        right=True,
        found=["momentum"],
        handed=["momentum"],
        first_look={"momentum": look},
        **other,
    )


def test_the_table_judges_edges_kinds_and_false_promotions() -> None:
    finalists = [{"stopped_by": ["overfitting.p"]}]
    records = [found_at("edge_evolution", k, 100 * k) for k in range(1, 9)]
    records += [made("edge_evolution", 9, finalists=finalists), made("edge_evolution", 10, promoted=True)]
    kinds = list(generator_rows.KINDS)
    records += [made("five_evolution", k, found=kinds[: 3 + k]) for k in range(3)]
    records += [made("noise_evolution", k, promoted=k == 5) for k in range(100)]
    found = {line.row.name: line for line in generator_table.lines(records)}
    assert [line.met for line in found.values()] == ["met", "met", "met"]
    edge = found["edge_evolution"]
    assert (edge.promoted.k, edge.right.k, edge.found.k) == (9, 8, 8)
    assert edge.handed == Rate(8, 10)
    assert edge.first_look == 600 and list(edge.by_look.values()) == [2, 5, 8, 8]
    assert edge.refused == {"overfitting.p": 1} and found["five_evolution"].kinds == {3: 1, 4: 1, 5: 1}
    worse = [
        *records,
        made("five_evolution", 3, found=kinds, n_twice=1),
        made("noise_evolution", 100, promoted=True),
    ]
    worse += [made("edge_evolution", 11), made("edge_evolution", 12)]
    assert [line.met for line in generator_table.lines(worse)] == ["missed", "missed", "missed"]
    few = generator_table.lines([made("noise_evolution", k) for k in range(50)])
    assert few[0].met == "too few worlds to say"


def test_evolution_is_compared_on_the_worlds_that_all_searched() -> None:
    def records(row: str, n: int, n_found: int) -> list[Hunt]:
        return [found_at(row, k, 300) if k < n_found else made(row, k) for k in range(n)]

    def met(whole: int, half: int, grammar: int) -> str:
        rows = {"edge_evolution": whole, "edge_evolution_1000": half, "edge_grammar": grammar}
        told = generator_table.comparison([r for row, k in rows.items() for r in records(row, 10, k)])
        assert told is not None and (told.evolution, told.half, told.grammar) == (
            Rate(whole, 10),
            Rate(half, 10),
            Rate(grammar, 10),
        )
        return told.met

    assert [met(8, 3, 4), met(7, 4, 4), met(7, 3, 4), met(0, 0, 0)] == ["met", "met", "missed", "missed"]
    some = [*records("edge_evolution", 10, 10), *records("edge_evolution_1000", 10, 10)]
    assert generator_table.comparison(some) is None
    found = generator_table.comparison([*some, *records("edge_grammar", 3, 1)])
    assert found is not None and (found.evolution, found.grammar) == (Rate(3, 3), Rate(1, 3))


def test_the_table_is_told_as_text_and_data() -> None:
    records = [
        found_at("edge_evolution", 0, 300),
        made("edge_evolution_1000", 0),
        made("edge_grammar", 0, finalists=[{"stopped_by": ["holdout.p"]}]),
    ]
    records += [made("five_evolution", 0, found=["momentum", "weekly"], n_twice=3)]
    pace = Pace(Rate(9_990, 10_000), {"evolution": 4_000.0, "grammar": 6_000.0}, 12.0)
    table, beside = generator_table.lines(records), generator_table.comparison(records)
    text = generator_table.markdown(table, beside, pace)
    assert (
        "1 of 1" in text
        and "| 300 |" in text
        and "| never |" in text
        and "2 kinds in 1; 3 elites twice" in text
    )
    assert "9990 of 10000" in text and "4,000 | at least 5,000 | missed" in text and "holdout.p 1" in text
    assert pace.met == ("met", "missed", "met")
    data = json.loads(json.dumps(generator_table.to_json(table, beside, pace), allow_nan=False))
    assert data["rows"][2]["first_look"] is None and data["pace"]["verdicts"] == ["met", "missed", "met"]


def test_a_run_goes_on_where_it_was_and_no_record_of_other_code_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int]] = []

    def quick(job: generator_runs.Job) -> Hunt:
        ran.append((job.row, job.number))
        return made(job.row, job.number)

    monkeypatch.setattr(generator_runs, "run_job", quick)
    file = tmp_path / "generators.jsonl"

    def run(wanted: dict[str, int]) -> list[Hunt]:
        return generator_runs.run_rows(file, wanted, DEFAULT, 1, lambda done, n, record: None)

    run({"edge_evolution": 2})
    both = run({"edge_evolution": 2, "edge_grammar": 1})
    assert ran == [("edge_evolution", 0), ("edge_evolution", 1), ("edge_grammar", 0)]
    assert [(r.row, r.number) for r in both] == [
        ("edge_evolution", 0),
        ("edge_evolution", 1),
        ("edge_grammar", 0),
    ]
    monkeypatch.setattr(generator_runs, "bound_to", lambda policy: "other code")
    assert len(run({"edge_evolution": 1})) == 1 and len(ran) == 4


def test_every_row_names_a_generator_that_a_command_can_name() -> None:
    for row in generator_rows.ROWS:
        assert make(row.generator, Made()).name == row.generator


def test_valid_texts_are_counted_by_the_reader() -> None:
    broken = SILENT.format(n=3, rule="close > rsi(14)")
    assert generator_pace.valid_texts(Teller([broken, strategy_text("season")]), 20) == Rate(19, 20)
