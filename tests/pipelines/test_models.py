"""The command `pipeline` with models: fitted and looked at, in a campaign, promoted, and replayed from a file."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow import governance
from live_shadow.enable_map import read_map
from live_shadow.replay import Feed, replay
from pipelines import cli, model_fitting
from pipelines.campaign import open_world
from pipelines.gates.evidence import Evidence, Outcome, Verdict
from pipelines.gates.model_lookahead import with_models
from pipelines.gates.models import fold_borders, kept_model
from pipelines.gates.policy import Policy, judge, load_policy
from pipelines.gates.world import World
from pipelines.model_scores import model_series, research_end
from research_lab.bars import FloatArray, read_candles, write_candles
from research_lab.dsl.sources import Sources, with_sources
from research_lab.dsl.spec import compile_spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import backtest
from research_lab.engine.terms import Terms
from research_lab.errors import DataError, UsageError
from research_lab.market_data.lake import Lake
from research_lab.models.model_reader import parse_model
from research_lab.models.walk_forward_fit import fit
from research_lab.scoring.model_look import ModelLook
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.series import read_series
from research_lab.timeframe import DAY_MS
from research_lab.validation.walk_forward import walk_forward as run_walk_forward
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small
from tests.research_lab.models import made_up

MODEL = made_up.TEXT
PIN = parse_model(MODEL)
# The edge of `small.QUICK`, which a model may object to; without its score nothing changes.
GUARDED = small.QUICK.replace("name: quick", "name: guarded").replace(
    "define:\n", f"models:\n  {PIN.declaration}\ndefine:\n"
).replace("enter_long: rising", 'enter_long: rising and coalesce(model("drift"), 0) > -2')  # fmt: skip


class Place:
    """A workspace, candles with an edge, a strategy that reads a model, and the model's file."""

    def __init__(self, root: Path, strategy: str = GUARDED) -> None:
        self.root = root
        self.workspace = Workspace.find(root / "ws").create()
        governance.init(self.workspace.root)
        self.data = small.candle_file(root, small.planted())
        self.strategies = small.strategy_folder(root, strategy)
        self.policy = small.policy_file(root)
        self.model, self.score = root / "drift.yaml", root / "drift.parquet"
        self.model.write_text(MODEL, encoding="utf-8")

    def run(self, *more: str) -> list[str]:
        told = {"data": self.data, "strategies": self.strategies, "policy": self.policy}
        options = {"workspace": self.workspace.root, **told}
        return [
            "run",
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
            *more,
        ]

    def fit(self, *more: str) -> list[str]:
        told = {"data": self.data, "out": self.score, "workspace": self.workspace.root, "policy": self.policy}
        options = [part for name, value in told.items() for part in (f"--{name}", str(value))]
        return ["model", "fit", str(self.model), *options, *more]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_from_candles_to_a_promotion_and_a_replay_from_the_published_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, *place.run("--model", str(place.model)), "--promote") == 0, capsys.readouterr()
    (entry,) = read_map(place.workspace.enable_map).entries
    assert entry.name == "guarded"
    (path,) = place.workspace.candidates.rglob("lookahead.json")
    figures = json.loads(path.read_text())["figures"]
    assert (
        figures["model_faults"] == 0.0 and figures["n_model_cuts"] >= 8 and figures["n_model_scores"] > 1_000
    )
    kept = kept_model(place.workspace.root, PIN.hash)
    assert kept is not None and kept.hash == PIN.hash

    place_options = ["--workspace", str(place.workspace.root), "--policy", str(place.policy)]
    capsys.readouterr()
    assert called(monkeypatch, "verify", "guarded", *place_options) == 0, capsys.readouterr()

    said: list[str] = []
    with pytest.raises(
        UsageError, match=r"guarded: reads drift, and no file was given; give --series drift=drift.parquet"
    ):
        replay(place.workspace, Feed(place.data), said.append)
    assert called(monkeypatch, *place.fit("--blind")) == 0
    outcome = replay(place.workspace, Feed(place.data, series={"drift": place.score}), said.append)
    assert outcome.n_taken + outcome.n_warm == small.DAYS * 24


def test_the_score_of_a_replay_is_that_of_the_gates_in_holdout_and_forward_days(tmp_path: Path) -> None:
    place = Place(tmp_path)
    policy, candles = load_policy(place.policy), read_candles(place.data)
    spec = parse_spec(GUARDED)
    made = model_series(place.workspace, policy, candles, [spec], [place.model])
    in_gates = with_sources(candles, [spec], Sources(made)).row(7)
    live = fit(PIN, candles).score
    end_ms = research_end(place.workspace.root, candles, policy)
    last_border = fold_borders(policy.walk_forward, end_ms, candles)[-1]
    apart = np.flatnonzero((in_gates != live) & ~(np.isnan(in_gates) & np.isnan(live)))
    assert apart.shape[0] and (candles.time[apart] < last_border + 10 * DAY_MS).all()
    assert last_border + 10 * DAY_MS < end_ms

    # A campaign has kept the model: it need not be given again.
    again = model_series(place.workspace, policy, candles, [spec], [])
    assert with_sources(candles, [spec], Sources(again)).row(7).tobytes() == in_gates.tobytes()


class Exam:
    """A world whose strategy reads a model, and what gate 3 says of it with another row for the score."""

    def __init__(self, place: Place) -> None:
        self.policy, self.workspace = load_policy(place.policy), place.workspace
        self.candles, self.spec = read_candles(place.data), parse_spec(GUARDED)
        made = model_series(place.workspace, self.policy, self.candles, [self.spec], [place.model])
        self.bars = with_sources(self.candles, [self.spec], Sources(made))

    def world(self, row: FloatArray | None = None) -> World:
        (name,) = self.spec.rows.values()
        bars = self.bars if row is None else self.candles.with_series({name: row})
        return open_world(self.workspace, bars, small.regimes(self.workspace), self.policy, "exam")

    def judged(self, world: World) -> Verdict:
        figures = {"lookahead_faults": 0.0, "own_close_faults": 0.0, "warmup_shortfall_bars": 0.0}
        seen = Evidence("lookahead", figures, world.bound_to(self.spec))
        return judge(with_models(seen, self.spec, world), self.policy)


def test_gate_3_passes_a_causal_score_and_refuses_one_that_knows_what_comes(tmp_path: Path) -> None:
    exam = Exam(Place(tmp_path))
    assert exam.judged(exam.world()).outcome is Outcome.PASS
    row = exam.bars.row(7)
    for early in (np.append(row[1:], np.nan), row * np.nanstd(row), np.nan_to_num(row)):
        verdict = exam.judged(exam.world(early))
        assert verdict.outcome is Outcome.FAIL and "fitted on these bars alone" in verdict.reasons[0]


def test_gate_3_cannot_tell_without_the_model(tmp_path: Path) -> None:
    exam = Exam(Place(tmp_path))
    (tmp_path / "ws" / "models" / f"{PIN.hash}.yaml").write_text(MODEL.replace("alpha: 10", "alpha: 11"))
    verdict = exam.judged(exam.world())
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "model drift is not kept in the workspace" in verdict.reasons[0]


def test_no_score_before_the_seal_knows_what_is_behind_it(tmp_path: Path) -> None:
    exam = Exam(Place(tmp_path))
    n = exam.world().research.n
    inputs = exam.candles.inputs.copy()
    inputs[:4, n:] *= np.linspace(1.0, 3.0, exam.candles.n - n)
    other = replace(exam.candles, inputs=inputs)
    made = model_series(exam.workspace, exam.policy, other, [exam.spec], [])
    row = with_sources(other, [exam.spec], Sources(made)).row(7)
    assert row[:n].tobytes() == exam.bars.row(7)[:n].tobytes()
    assert row[n:].tobytes() != exam.bars.row(7)[n:].tobytes()


def test_each_exam_of_a_walk_forward_begins_with_a_fit_on_labels_before_it(tmp_path: Path) -> None:
    exam = Exam(Place(tmp_path))
    world = exam.world()
    borders = fold_borders(exam.policy.walk_forward, world.research.interval[1], exam.bars)
    folds = run_walk_forward(exam.spec, world.scorer, exam.policy.walk_forward).folds
    first_day = world.research.time[0] // DAY_MS
    embargo = exam.policy.walk_forward.embargo_days
    assert [(border // DAY_MS - first_day) + embargo for border in borders] == [f.outside[0] for f in folds]
    refits = {refit.time_ms: refit for refit in fit(PIN, exam.candles, borders=borders).refits}
    for border in borders:
        assert refits[border].gave_model and refits[border].last_known_ms <= border - PIN.embargo_ms


def test_fitting_by_hand_is_a_look_that_sees_research_bars_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, *place.fit()) == 0
    told = capsys.readouterr().out
    assert "a look, counted; 1 so far" in told and f'drift: {{hash: "{PIN.hash}", max_age: 2h}}' in told
    candles = read_candles(place.data)
    lake = Lake(place.workspace.root)
    research = lake.research(candles)
    (trial,) = TrialLedger(place.workspace.trials).trials(candles.market.charged_to, *candles.interval)
    assert (trial.origin, trial.candidate) == ("model", PIN.hash)
    assert (trial.start_ms, trial.end_ms) == research.interval and trial.snapshot == research.snapshot
    note = read_series(place.score).note
    assert note is not None and note.data == candles.snapshot and note.model == PIN.hash

    # Whatever the holdout holds, what is told stays the same to the letter.
    inputs = candles.inputs.copy()
    inputs[:4, research.n :] *= np.linspace(1.0, 3.0, candles.n - research.n)
    write_candles(replace(candles, inputs=inputs), place.data)
    assert called(monkeypatch, *place.fit()) == 0
    assert (
        capsys.readouterr().out.replace("a look counted before", "a look, counted").split("\n\n")[1]
        == (told.split("\n\n")[1])
    )


def test_what_was_refused_is_none_of_the_looks_that_a_fit_tells_of(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, candles = Workspace(tmp_path).create(), small.planted()
    for name in ("fit", "published", "write_score"):
        monkeypatch.setattr(model_fitting, name, lambda *_, **__: None)
    monkeypatch.setattr(model_fitting, "look", lambda *_: ModelLook((), 0.0, new=False))
    proposal = Trial(
        "refused", "a" * 64, "a" * 64, "nonsense", candles.market.charged_to, *candles.interval, "1h",
        candles.snapshot, "c", "file", reason="no strategy",
    )  # fmt: skip
    TrialLedger(workspace.trials).append([proposal, replace(proposal, kind="crashed", candidate="b" * 64)])
    done = model_fitting.fit_and_look(workspace, PIN, candles, policy, tmp_path / "score.parquet")
    assert done.n_looks == 1


def test_a_look_at_a_model_is_anchored_before_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, *place.fit()) == 0
    assert called(monkeypatch, "trials", "verify", "--workspace", str(place.workspace.root)) == 0
    for path in place.workspace.trials.glob("seg-*"):
        path.unlink()
    capsys.readouterr()
    assert called(monkeypatch, *place.fit()) == 2
    assert "an anchored segment is gone" in capsys.readouterr().err


def test_what_is_fitted_blind_is_the_same_score_and_no_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, *place.fit("--blind")) == 0
    assert "correlation" not in capsys.readouterr().out
    blind = place.score.read_bytes()
    assert TrialLedger(place.workspace.trials).every() == []
    assert called(monkeypatch, *place.fit()) == 0
    assert place.score.read_bytes() == blind


def test_too_few_candles_are_told_with_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.model.write_text(MODEL.replace("at_least: 30d", "at_least: 700d"), encoding="utf-8")
    assert called(monkeypatch, *place.fit()) == 4
    assert "no score of model drift has a complete label" in capsys.readouterr().err
    assert not place.score.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "pipeline: guarded: reads model drift, and no file was given; give --model drift.yaml\n"),
        (["--model", "{other}"], "guarded pins model drift to "),
        (["--model", "{model}", "--series", "drift={score}"], "in a campaign a model's score is made from the candles"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_message_before_anything_is_written(
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(MODEL.replace("alpha: 10", "alpha: 11"), encoding="utf-8")
    place.score.write_bytes(b"")
    small_score = tmp_path / "score.csv"
    small_score.write_text("time,value\n2018-01-01,1\n", encoding="utf-8")
    before = small.contents(place.workspace.root)
    given = [o.format(other=other, model=place.model, score=small_score) for o in options]
    assert called(monkeypatch, *place.run(*given)) == 2
    assert said in capsys.readouterr().err
    assert small.contents(place.workspace.root) == before


def test_check_and_explain_say_what_a_model_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert called(monkeypatch, "model", "check", str(place.model)) == 0
    told = capsys.readouterr().out
    assert told.endswith(f"models:\n  {PIN.declaration}\n") and "3 features" in told
    assert called(monkeypatch, "model", "explain", str(place.model)) == 0
    told = capsys.readouterr().out
    assert "The return over 6 bars of 1h is fitted by ridge (alpha 10)." in told and PIN.hash in told
    place.model.write_text(MODEL.replace("ridge", "magic"), encoding="utf-8")
    assert called(monkeypatch, "model", "check", str(place.model)) == 2
    assert "drift.yaml:10:20: estimator.magic: this field is not known" in capsys.readouterr().err


ENTRIES = {
    "acts on the score alone": 'model("drift") > 0.2',
    "asks for no objection": 'rsi(14) > 55 and coalesce(model("drift"), 1) > 0',
    "fused": 'fused(rsi(14) / 50 - 1, model("drift")) > 0.1',
    "the indicator alone": "rsi(14) > 55",
    "the same by itself": "rsi(14) / 50 - 1 > 0.1",
}


def fills(entry: str, score: str) -> int:
    """Return how many fills there are with the score, without it, or with it only until bar 1,500."""
    models = f"models:\n  {PIN.declaration}\n" if "model(" in entry else ""
    spec = parse_spec(
        "spec: 1\nname: x\nhypothesis: h\ntimeframe: 1h\nside: long\n"
        f"{models}enter_long: {entry}\nexit_long: rsi(14) < 50\nsize: {{fraction: 0.5}}\n"
    )
    bars = made_up.bars()
    row = fit(PIN, bars).score
    row[{"here": bars.n, "missing": 0, "stale": 1_500}[score] :] = np.nan
    result = backtest(compile_spec(spec), bars.with_series(dict.fromkeys(spec.rows.values(), row)), Terms())
    return int(result.fills.shape[0] if score != "stale" else (result.fills["bar"] > 1_600).sum())


def test_a_missing_or_stale_score_degrades_as_the_strategy_says() -> None:
    here = {name: fills(entry, "here") for name, entry in ENTRIES.items()}
    gone = {name: fills(entry, "missing") for name, entry in ENTRIES.items()}
    assert here["acts on the score alone"] > 0 and gone["acts on the score alone"] == 0
    assert fills(ENTRIES["acts on the score alone"], "stale") == 0 < fills(ENTRIES["fused"], "stale")
    assert gone["asks for no objection"] == gone["the indicator alone"] > 0
    assert gone["fused"] == gone["the same by itself"] > 0
    assert here["asks for no objection"] != gone["asks for no objection"] and here["fused"] != gone["fused"]


def test_a_replay_refuses_the_score_of_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.model.write_text(MODEL.replace("alpha: 10", "alpha: 11"), encoding="utf-8")
    assert called(monkeypatch, *place.fit()) == 0
    spec = parse_spec(GUARDED)
    with pytest.raises(DataError, match=f'and model\\("drift"\\) is pinned to {PIN.hash[:12]}'):
        with_sources(read_candles(place.data), [spec], Sources({"drift": read_series(place.score)}))
