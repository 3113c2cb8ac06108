"""Ensembles against a plain count of their members bar by bar, and what their texts may not say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from live_shadow.executor import shadow_run
from research_lab.bars import Bars
from research_lab.dsl import limits
from research_lab.dsl.spec import Spec, compile_spec, compile_union
from research_lab.dsl.spec_reader import LIBRARY, load_spec, parse_spec
from research_lab.engine import layout
from research_lab.engine.backtest import backtest
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import DimensionError, LimitError, SpecError
from research_lab.validation.recording import record
from tests.live_shadow.made_up import HOUR_MS, candles
from tests.oracles.technical import latch

HEAD = "spec: 1\nname: together\nhypothesis: none\ntimeframe: 1h\n"
TAIL = "stop: 3 * atr(14)\nsize: {fraction: 0.5}\n"
NAN = math.nan

# Three members whose inputs are missing at times.
CONDITIONS = {
    "a": (
        "volume > prev(volume, 3)",
        "volume < prev(volume, 5)",
        "volume < prev(volume, 8)",
        "volume > prev(volume, 2)",
    ),
    "b": ("funding > 0.0001", "funding < 0", "funding < -0.0001", "funding > 0"),
    "c": ("premium > 0.0003", "premium < 0", "premium < -0.0003", "premium > 0"),
}
NAMES = ("enter_long", "exit_long", "enter_short", "exit_short")


def ensemble(combine: str, more: str = "", side: str = "both", weights: str = "") -> Spec:
    lines = [f"{HEAD}side: {side}\n{more}ensemble:\n  combine: {combine}\n  members:\n"]
    for k, (name, texts) in enumerate(CONDITIONS.items()):
        lines.append(f"    {name}:\n")
        lines += [f"      {key}: {text}\n" for key, text in zip(NAMES, texts, strict=True)]
        lines += [f"      weight: {weights.split()[k]}\n"] if weights else []
    return parse_spec("".join(lines) + TAIL)


def market(n: int = 1_500) -> Bars:
    """Return bars whose volume, funding and premium are unknown for stretches, all at once now and then."""
    bars = candles(21, n, perpetual=True)
    rng = np.random.default_rng(21)
    inputs = bars.inputs.copy()
    for row in (4, 5, 6):
        for at in rng.integers(0, n, 25):
            inputs[row, at : at + int(rng.integers(1, 30))] = NAN
    return replace(bars, inputs=inputs)


def told(text: str, bars: Bars) -> np.ndarray:
    """Return a condition of this file's members in plain NumPy."""
    left, sign, right = text.split(" ", 2)
    x = {"volume": bars.inputs[4], "funding": bars.inputs[5], "premium": bars.inputs[6]}[left]
    if right.startswith("prev"):
        n = int(right.split(",")[1].strip(" )"))
        y = np.concatenate([np.full(n, NAN), x[:-n]])
    else:
        y = np.full(bars.n, float(right))
    true = x > y if sign == ">" else x < y
    return np.where(np.isnan(x) | np.isnan(y), NAN, true.astype(float))


def stances(bars: Bars) -> np.ndarray:
    """Return (3, n) stances: +1, -1, 0, or NaN for what is not known."""
    rows = []
    for texts in CONDITIONS.values():
        enter_long, exit_long, enter_short, exit_short = (told(text, bars) for text in texts)
        rows.append(latch(enter_long, exit_long) - latch(enter_short, exit_short))
    return np.array(rows)


def together(combine: str, seen: np.ndarray, weights: list[float], confidence: float) -> list[float]:
    """Return for each bar where all stand together: 1, -1, 0, or NaN where nobody knows."""
    out = []
    for column in seen.T.tolist():
        known = [(s, w) for s, w in zip(column, weights, strict=True) if not math.isnan(s)]
        if not known:
            out.append(NAN)
        elif combine == "first":
            out.append(next((s for s, _ in known if s != 0), 0.0))
        elif combine == "vote":
            longs, shorts = sum(s > 0 for s, _ in known), sum(s < 0 for s, _ in known)
            out.append(float(2 * longs > len(known)) - float(2 * shorts > len(known)))
        else:
            mean = sum(s * w for s, w in known) / sum(w for _, w in known)
            reached = abs(mean) >= confidence - 1e-9
            out.append(math.copysign(1.0, mean) if reached else 0.0)
    return out


def signals(spec: Spec, bars: Bars) -> list[np.ndarray]:
    run = record(compile_spec(spec), bars, Terms(perpetual=True))
    roles = (layout.ENTER_LONG, layout.EXIT_LONG, layout.ENTER_SHORT, layout.EXIT_SHORT)
    return [run.signal(role) for role in roles]


@pytest.mark.parametrize(
    ("combine", "weights", "confidence"),
    [
        ("first", "", 0.0),
        ("vote", "", 0.0),
        ("weighted", "0.5 0.3 0.2", 0.6),
        ("weighted", "0.1 0.2 0.3", 0.5),
    ],
)
def test_the_whole_is_the_plain_count_of_its_members(combine: str, weights: str, confidence: float) -> None:
    bars = market()
    more = f"weighted\n  min_confidence: {confidence}" if combine == "weighted" else combine
    got = signals(ensemble(more, weights=weights), bars)
    seen = stances(bars)
    wanted = np.array(together(combine, seen, [float(w) for w in weights.split()] or [1.0] * 3, confidence))
    unknown = np.isnan(wanted)
    assert unknown.sum() >= 3 and min((wanted == 1).sum(), (wanted == -1).sum(), (wanted == 0).sum()) > 50
    assert (np.isnan(seen).any(axis=0) & ~unknown).sum() > 100
    for sign, enter, leave in ((1.0, got[0], got[1]), (-1.0, got[2], got[3])):
        stands = np.where(unknown, NAN, wanted == sign)
        np.testing.assert_array_equal(enter, stands)
        np.testing.assert_array_equal(leave, 1.0 - stands)


def test_a_tie_of_decimal_weights_counts_as_reached() -> None:
    assert 0.1 + 0.7 < 0.8
    lines = [f"{HEAD}side: long\nensemble:\n  combine: weighted\n  min_confidence: 0.8\n  members:\n"]
    for weight, signs in ((0.1, "><"), (0.7, "><"), (0.2, "<>")):
        enter, leave = (f"close {sign} 0" for sign in signs)
        lines.append(f"    m{weight * 10:g}: {{weight: {weight}, enter_long: {enter}, exit_long: {leave}}}\n")
    spec = parse_spec("".join(lines) + TAIL)
    run = record(compile_spec(spec), candles(1, 50), Terms())
    assert (run.signal(layout.ENTER_LONG) == 1.0).all()


def test_a_side_that_is_not_wanted_counts_against_but_gives_no_entry() -> None:
    both, long = ensemble("vote"), ensemble("vote", side="long")
    assert set(long.conditions) == {"enter_long", "exit_long"}
    assert long.conditions["enter_long"] == both.conditions["enter_long"]


def test_the_written_out_strategy_reads_back_without_any_ensemble() -> None:
    for combine in ("first", "vote", "weighted\n  min_confidence: 0.6"):
        spec = ensemble(combine)
        text = spec.canonical()
        assert "ensemble" not in text and "use" not in text
        assert parse_spec(text).hash == spec.hash
        assert parse_spec(text).template_hash == spec.template_hash
    assert len({ensemble(combine).hash for combine in ("first", "vote")}) == 2


def test_weights_and_confidence_may_be_parameters() -> None:
    more = "params:\n  w: {range: [0.2, 0.6], step: 0.2, default: 0.4}\n  c: {range: [0.4, 0.8], step: 0.2, default: 0.6}\n"
    free = ensemble("weighted\n  min_confidence: c", more, weights="w 0.3 0.2")
    fixed = ensemble("weighted\n  min_confidence: 0.4", weights="0.6 0.3 0.2")
    assert free.n_combinations == 9
    assert free.bind({"w": 0.6, "c": 0.4}).hash == fixed.hash


def test_backtest_sweep_and_executor_agree_on_it() -> None:
    bars, terms = candles(22, 2_500, perpetual=True), Terms(perpetual=True, leverage=2.0)
    specs = [ensemble(combine) for combine in ("first", "vote", "weighted\n  min_confidence: 0.6")]
    runs = [backtest(compile_spec(spec), bars, terms) for spec in specs]
    assert all(run.fills.shape[0] > 20 for run in runs)
    live = shadow_run(specs[2], bars, terms)
    assert live.equity.tobytes() == runs[2].equity.tobytes()
    compiled = compile_union(specs)
    swept = sweep([compiled], bars, terms)
    for row, run in zip(swept.metrics, runs, strict=True):
        np.testing.assert_array_equal(row, np.array(list(run.metrics.values())))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


USER = (
    "{head}side: long\nensemble:\n  combine: vote\n  members:\n    x: {{use: {name}}}\n"
    "    y: {{enter_long: close > open, exit_long: close < open}}\n{tail}"
)
SIMPLE = HEAD + (
    "side: long\nparams:\n  n: {range: [2, 8], step: 1, default: 5}\n"
    "enter_long: close > sma(close, n)\nexit_long: close < sma(close, n)\nsize: {fraction: 1}\n"
)


def user(name: str) -> str:
    return USER.format(head=HEAD, name=name, tail=TAIL)


def test_a_strategy_is_used_from_the_same_folder_before_the_library_at_its_defaults(tmp_path: Path) -> None:
    write(tmp_path, "other", SIMPLE)
    whole = load_spec(write(tmp_path, "whole", user("other")))
    written = user("other").replace(
        "{use: other}", '{enter_long: "close > sma(close, 5)", exit_long: "close < sma(close, 5)"}'
    )
    assert whole.hash == parse_spec(written).hash and not whole.params
    library = load_spec(write(tmp_path, "library", user("ema_atr")))
    assert "ema(close, 96)" in library.canonical()
    write(tmp_path, "ema_atr", SIMPLE)
    assert load_spec(tmp_path / "library.yaml").hash == whole.hash


def test_a_member_of_a_longer_timeframe_is_seen_as_of_its_last_complete_bar(tmp_path: Path) -> None:
    write(tmp_path, "other", SIMPLE.replace("timeframe: 1h", "timeframe: 4h"))
    whole = load_spec(write(tmp_path, "whole", user("other")))
    assert 'tf("4h", if_else(latch(' in whole.conditions["enter_long"].text
    write(tmp_path, "other", SIMPLE.replace("timeframe: 1h", "timeframe: 15m"))
    with pytest.raises(SpecError, match=r"whole.yaml:9.*bars of 15m are not made of whole bars of 1h"):
        load_spec(tmp_path / "whole.yaml")


def test_what_a_member_asks_of_other_markets_keeps_its_timeframe(tmp_path: Path) -> None:
    """on() is computed on bars of the whole: a mean of 20 of its bars would become one of 5 longer ones."""
    asking = SIMPLE.replace("close > sma", 'on("BTC/USDT", close > sma(close, 20)) and close > sma')
    write(tmp_path, "other", asking)
    assert load_spec(write(tmp_path, "whole", user("other"))).markets
    write(tmp_path, "other", asking.replace("timeframe: 1h", "timeframe: 4h"))
    with pytest.raises(SpecError, match=r"whole.yaml:9:.*other asks other markets on bars of 4h.*bars of 1h"):
        load_spec(tmp_path / "whole.yaml")


def test_untrusted_text_opens_no_file() -> None:
    with pytest.raises(SpecError, match="no file is opened for this text; write its conditions out"):
        parse_spec(user("ema_atr"))


def test_strategies_that_use_themselves_or_too_many_others_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "one", user("two"))
    write(tmp_path, "two", user("one"))
    with pytest.raises(SpecError, match="one uses itself"):
        load_spec(tmp_path / "one.yaml")
    write(tmp_path, "end", SIMPLE)
    for k in range(limits.USES + 1):
        write(tmp_path, f"link{k}", user(f"link{k - 1}" if k else "end"))
    assert load_spec(tmp_path / "link1.yaml").n_nodes > load_spec(tmp_path / "link0.yaml").n_nodes
    with pytest.raises(LimitError, match="with definitions written out"):
        load_spec(tmp_path / "link2.yaml")
    with pytest.raises(LimitError, match=f"more than {limits.USES} strategies use each other"):
        load_spec(tmp_path / f"link{limits.USES}.yaml")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("x: {use: NAME}", "x: {use: nobody}", "no strategy called nobody in the folder or in the library"),
        ("x: {use: NAME}", "x: {use: ../secret}", "members.x.use"),
        ("x: {use: NAME}", "x: {use: range_reversion_5m}", "regimes of its own"),
        ("x: {use: NAME}", "x: {use: volatility_expansion_15m}", "no condition leaves long"),
        ("x: {use: NAME}", "x: {use: other, enter_long: close > open}", "both use and enter_long"),
        ("x: {use: NAME}", "x: {enter_long: close > open}", "no condition leaves long: stops"),
        ("x: {use: NAME}", "x: {exit_long: close > open}", "it never enters"),
        ("x: {use: NAME}", "x: {weight: 1, use: other}", "a weight is for combine: weighted"),
        ("combine: vote", "combine: weighted", "min_confidence is missing; add it"),
        ("combine: vote", "combine: vote\n  min_confidence: 0.5", "min_confidence is for combine: weighted"),
        ("combine: vote", "combine: weighted\n  min_confidence: 1.5", "write a number above 0, up to 1"),
        # Within the tie of 1e-9, members that stand nowhere would enter.
        ("combine: vote", "combine: weighted\n  min_confidence: 1e-10", "write a number above 0, up to 1"),
        ("combine: vote", "combine: most", "ensemble.combine"),
        ("side: long", "side: both", "no member enters short"),
        ("side: long", "side: long\nenter_long: close > open", "enter_long beside an ensemble"),
        ("y: {enter_long: close > open, exit_long: close < open}", "", "members"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path: Path, old: str, new: str, what: str) -> None:
    write(tmp_path, "other", SIMPLE)
    text = user("other")
    wrong = text.replace(old.replace("NAME", "other"), new)
    assert wrong != text and load_spec(write(tmp_path, "right", text))
    with pytest.raises(SpecError, match=what.replace("(", r"\(")):
        load_spec(write(tmp_path, "wrong", wrong))


def test_a_member_says_conditions() -> None:
    with pytest.raises(DimensionError, match="enter_long must be a condition, but close is a price"):
        parse_spec(user("x").replace("{use: x}", "{enter_long: close, exit_long: close > open}"))


def test_the_example_of_the_library_trades_and_uses_two_others() -> None:
    spec = load_spec(LIBRARY / "council_1h.yaml")
    assert 'tf("4h"' in spec.conditions["exit_long"].text and "ema(close, 96)" in spec.canonical()
    run = backtest(compile_spec(spec), candles(23, 6_000, HOUR_MS), Terms())
    assert run.fills.shape[0] > 10
