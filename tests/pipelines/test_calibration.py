"""Calibration: worlds as they are described, rates with exact intervals, runs that go on where they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow.symbols import Symbols, read_symbols
from pipelines.calibration import one_world, picture, rows, runs, table
from pipelines.calibration import records as records_file
from pipelines.calibration.one_world import BOUND, LEFT_OUT, NAIVE, OURS, Record, run_world
from pipelines.calibration.rows import ROWS, Row, Target
from pipelines.campaign import GATES, Examination
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.policy import DEFAULT, load_policy
from pipelines.grounds import sealed_world
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_regimes, parse_spec
from research_lab.engine.backtest import backtest
from research_lab.errors import GauntletError, InsufficientError, WorkspaceError
from research_lab.market_data.planted import PERPETUAL
from tests.pipelines import small_campaign as small

TERMS = read_symbols().research_terms(PERPETUAL)
POLICY = load_policy()
PIPELINES = (OURS, *(f"without {gate}" for gate in LEFT_OUT), *NAIVE, BOUND)


def record(row: str, number: int, *promoted: str, right: bool = False) -> Record:
    said = {name: name in promoted for name in PIPELINES}
    return Record(row, number, said, right, 1_000, seconds=1.0)


def row(name: str) -> Row:
    found = rows.row_named(name)
    assert found is not None
    return found


@pytest.mark.parametrize("number", range(len(rows.EDGES)))
def test_the_planted_strategy_is_proposed_and_earns_what_its_row_says(number: int) -> None:
    made = rows.make(row("edge_2.5"), number, POLICY, TERMS)
    assert made.planted == rows.EDGES[number] and made.values is not None
    assert made.planted in [spec.name for spec in made.proposals] and len(made.proposals) == rows.N_PROPOSED
    planted = compile_spec(rows.strategies()[made.planted].bind(made.values))
    earned = backtest(planted, made.bars.window(0, 4 * rows.HOURS_A_YEAR), TERMS).metrics["sharpe"]
    assert earned == pytest.approx(2.5, abs=0.05)


def test_a_dying_edge_is_as_strong_before_the_holdout_and_nothing_after() -> None:
    made = rows.make(row("dying"), 0, POLICY, TERMS)
    assert made.values is not None
    planted = compile_spec(rows.strategies()[made.planted].bind(made.values))
    n = round(4 * rows.HOURS_A_YEAR * 0.6)
    before = backtest(planted, made.bars.window(0, n), TERMS).metrics["sharpe"]
    after = backtest(planted, made.bars.window(n, made.bars.n), TERMS).metrics["sharpe"]
    assert before == pytest.approx(3.0, abs=0.05) and after < 2.0


def test_the_markets_of_a_pool_have_the_edge_each_and_nothing_else_in_common() -> None:
    made = rows.make(row("pooled_1"), 0, POLICY, TERMS)
    assert made.values is not None
    planted = compile_spec(rows.strategies()[made.planted].bind(made.values))
    tables = [made.bars, *made.beside]
    assert len({bars.market.charged_to for bars in tables}) == len({bars.snapshot for bars in tables}) == 4
    for bars in tables:
        earned = backtest(planted, bars.window(0, 4 * rows.HOURS_A_YEAR), TERMS).metrics["sharpe"]
        assert earned == pytest.approx(1.0, abs=0.05)
    moves = np.stack([np.diff(np.log(bars.close)) for bars in tables])
    assert np.abs(np.corrcoef(moves) - np.eye(4)).max() < 0.05


def test_worlds_of_one_number_are_the_same_and_others_are_not() -> None:
    names = [each.name for each in ROWS if not each.has_edge and each.name != "resampled"]
    for name in names:
        one, two, other = (rows.make(row(name), k, POLICY, TERMS) for k in (1, 1, 2))
        assert one.bars.snapshot == two.bars.snapshot != other.bars.snapshot
        assert [s.name for s in one.proposals] == [s.name for s in two.proposals]
        assert set(rows.TEMPTED.get(name, ())) <= {s.name for s in one.proposals}
    with pytest.raises(InsufficientError, match="--real"):
        rows.make(row("resampled"), 0, POLICY, TERMS)


def test_exact_intervals() -> None:
    """Reference: C. Clopper, E. Pearson (1934): 0 of 300 has an upper bound of 1 - 0.025 ** (1 / 300)."""
    assert table.Rate(0, 300).interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 300)))
    assert table.Rate(300, 300).interval == pytest.approx((0.025 ** (1 / 300), 1.0))
    assert table.Rate(7, 10).interval == pytest.approx((0.347547, 0.933261), abs=1e-5)
    assert str(table.Rate(0, 0)) == "not run"


def test_the_table_judges_by_count_share_and_bound() -> None:
    records = [record("clustered", k, *(NAIVE if k % 2 else ())) for k in range(300)]
    records += [record("edge_3", k, OURS, BOUND, right=True) for k in range(19)] + [record("edge_3", 19)]
    records += [record("edge_2", k, BOUND, *([OURS] if k < 7 else [])) for k in range(10)]
    found = {line.row.name: line for line in table.lines(records)}
    assert [line.met for line in found.values()] == ["met", "met", "missed"]
    assert found["edge_3"].right.k == 19 and found["clustered"].rates[NAIVE[0]].k == 150
    records += [record("clustered", 300, OURS), record("clustered", 301, OURS)]
    assert table.lines(records)[0].met == "missed"
    assert table.lines([record("clustered", k) for k in range(99)])[0].met == "too few worlds to say"
    assert (
        table.lines([record("clustered", k, *([OURS] if k == 7 else [])) for k in range(300)])[0].met == "met"
    )
    assert (
        table.lines([record("dying", k, *([OURS] if k == 7 else [])) for k in range(10)])[0].met == "missed"
    )
    text = table.markdown(table.lines(records))
    assert "| 49.7 % (43.9 to 55.5) |" in text  # 150 of 302 by the first naive pipeline
    assert "2 of 302 (0.1 to 2.4 %)" in text and "at least 75 % of the bound" in text
    assert json.dumps(table.to_json(table.lines(records)))


@pytest.mark.parametrize(("p", "promoted"), [(0.0303, True), (0.0305, False)])
def test_without_gate_6_no_p_of_the_research_chooses_weighs_or_is_combined(
    p: float, promoted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level is that of a first opening, 0.0304, for the best walk-forward of those that gates 1 to 5 passed."""
    opened: list[tuple[str, float]] = []

    class Sealed:
        def holdout(self, spec: Spec, luck: Evidence) -> Evidence:
            opened.append((spec.name, luck.figures["p"]))
            figures = {
                "p": p,
                "combined_p": 0.9,
                "research_p": luck.figures["p"],
                "n_trades": 99.0,
                "opening": 1.0,
            }
            return Evidence("holdout", figures, {})

    def examined(text: str, walk_forward: float, luck: float) -> Examination:
        spec = parse_spec(text)
        found = Examination(spec, spec)
        passed = [Verdict(gate, Outcome.PASS, {}, (), "", "") for gate in GATES[:5]]
        refused = Verdict("overfitting", Outcome.FAIL, {}, (), "", "")
        found.verdicts = {verdict.gate: verdict for verdict in (*passed, refused)}
        found.evidence = {
            "walk_forward": Evidence("walk_forward", {"sharpe": walk_forward}, {}),
            "overfitting": Evidence("overfitting", {"p": luck, "statistic": 1.0}, {}),
        }
        return found

    monkeypatch.setattr(one_world, "exam_of", lambda ground: Sealed())
    ground = sealed_world(tmp_path, small.planted(), TERMS, load_regimes(runs.REGIMES), POLICY, "c")
    tried = [examined(small.EMA, 0.6, 0.3), examined(small.QUICK, 0.9, 0.8)]
    assert one_world._without("overfitting", tried, None, ground, tmp_path / "other") is promoted
    assert opened == [("quick", 0.02)]
    assert not one_world._without("backtest", tried, None, ground, tmp_path / "third")


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    records = [record("clustered", k) for k in range(5)] + [
        record("edge_3", k, OURS, BOUND) for k in range(5)
    ]
    assert picture.draw(table.lines(records), tmp_path / "rates.png").stat().st_size > 10_000


def test_a_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def quick(job: runs.Job) -> Record:
        ran.append((job.row, job.number))
        return record(job.row, job.number)

    monkeypatch.setattr(runs, "run_job", quick)
    told: list[tuple[int, int]] = []
    file = tmp_path / "worlds.jsonl"

    def run(wanted: dict[str, int]) -> list[Record]:
        return runs.run_rows(file, wanted, DEFAULT, None, 1, lambda done, n, r: told.append((done, n)))

    run({"clustered": 3})
    with file.open("a", encoding="utf-8") as out:
        out.write('{"bound_to": "torn')
    records = run({"clustered": 4, "edge_3": 2})
    assert ran == [
        ("clustered", 0),
        ("clustered", 1),
        ("clustered", 2),
        ("edge_3", 0),
        ("edge_3", 1),
        ("clustered", 3),
    ]
    assert [(r.row, r.number) for r in records] == [
        *(("clustered", k) for k in range(4)),
        ("edge_3", 0),
        ("edge_3", 1),
    ]
    assert told[-1] == (6, 6)
    assert len(run({"clustered": 4, "edge_3": 2})) == 6 and len(ran) == 6


def test_one_crash_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {2}

    def quick(job: runs.Job) -> Record:
        if job.number in broken:
            raise ZeroDivisionError("by chance")
        return record(job.row, job.number)

    monkeypatch.setattr(runs, "run_job", quick)
    file = tmp_path / "worlds.jsonl"

    def run() -> list[Record]:
        return runs.run_rows(file, {"clustered": 5}, DEFAULT, None, 1, lambda done, n, r: None)

    with pytest.raises(
        GauntletError, match=r"clustered 2: 1 of 5 worlds crashed; ZeroDivisionError: by chance"
    ):
        run()
    assert [r.number for r in records_file.read_records(file, Record)] == [0, 1, 3, 4]
    broken.clear()
    assert [r.number for r in run()] == [0, 1, 2, 3, 4]


def test_records_are_bound_to_costs_and_to_the_order_of_a_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    before, dearer = runs.bound_to(POLICY, None), replace(TERMS, fee=2.0 * TERMS.fee)
    with monkeypatch.context() as patch:
        patch.setattr(Symbols, "research_terms", lambda self, market: dearer)
        assert runs.bound_to(POLICY, None) != before
    monkeypatch.setattr("pipelines.gates.world._ORDERED_BY", ("pipelines/inputs.py",))
    assert runs.bound_to(POLICY, None) != before


def test_first_looks_are_no_two_alike_and_take_turns() -> None:
    crowding, season = rows.strategies()["crowding"], rows.strategies()["season"]
    found, again, other = (rows.first_looks([season, crowding], number) for number in (0, 0, 1))
    assert len({spec.hash for spec in found}) == len(found) == rows.N_FIRST_LOOKS
    assert sum(spec.name == crowding.name for spec in found) == crowding.n_combinations  # all that it has
    assert [spec.hash for spec in found] == [spec.hash for spec in again] != [spec.hash for spec in other]


@pytest.mark.timeout(0)
def test_a_pool_goes_through_the_whole_gauntlet() -> None:
    smallest = Row("pooled_1", "a pool", 1, 2, 2.5, n_markets=3)
    made = rows.make(smallest, 0, POLICY, TERMS)
    (planted,) = (spec for spec in made.proposals if spec.name == made.planted)
    regimes = load_regimes(runs.REGIMES)
    found = run_world(smallest, 0, replace(made, proposals=(planted,)), TERMS, regimes, POLICY)
    assert set(found.promoted) == set(PIPELINES) and found.n_sets > rows.N_FIRST_LOOKS / 2
    assert found.promoted[OURS] and found.promoted[BOUND] and found.right


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "worlds.jsonl"
    file.write_text('{"row": 1}\nmore\n', encoding="utf-8")
    with pytest.raises(WorkspaceError, match="line 1 is no record"):
        records_file.read_records(file, Record)


@pytest.mark.timeout(0)
def test_one_world_of_each_sort_through_the_whole_gauntlet() -> None:
    """The smallest campaign that says something: a strong edge is promoted, and no pipeline but naive ones err."""
    smallest = Row("edge_3", "Sharpe 3", 1, sharpe=3.0, target=Target(0.95, ">="))
    regimes = load_regimes(runs.REGIMES)
    found = run_world(smallest, 1, rows.make(smallest, 1, POLICY, TERMS), TERMS, regimes, POLICY)
    assert set(found.promoted) == set(PIPELINES) and found.n_sets > 500
    assert found.promoted[OURS] and found.promoted[BOUND] and found.right
    noise = row("clustered")
    found = run_world(noise, 0, rows.make(noise, 0, POLICY, TERMS), TERMS, regimes, POLICY)
    assert not found.promoted[OURS] and not found.promoted[BOUND] and found.promoted[NAIVE[0]]
    assert all(found.stopped_by.values())
