"""Reading strategies from anybody: every wrong text is told where it is wrong, and nothing else happens."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research_lab.dsl import limits, spec_reader
from research_lab.dsl.compiler import program_of
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.dsl.spec_reader import load_spec, parse_regimes, parse_spec
from research_lab.errors import DimensionError, LimitError, SpecError
from tests.strategies_of_specs import spec_texts, specs

TEXT = """\
spec: 1
name: trend
hypothesis: none
timeframe: 1h
side: both
params:
  n: {range: [10, 20], step: 5, default: 10}
  k: {range: [1, 3], step: 0.5, default: 2}
define:
  level: ema(close, n)
enter_long: close > level and volume > sma(volume, 20)
exit_long: close < level
enter_short: close < level
exit_short: close > level
stop: k * atr(14)
take: [{at: 1R, close: 0.5}]
trail: {distance: 3 * atr(14), after: 1R}
breakeven: true
time_stop: 48
size: {risk: 0.01}
regimes: [trend_up, panic]
regime_exit: true
"""
LONG = "close > level and volume > sma(volume, 20)"
MOST_SECONDS = 0.1
MOST_FRAMES = 400  # of the interpreter's 1,000, whatever the text


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


def off_grid(old: str, new: str) -> str:
    """Return the text with k at 2.25, between two values that tuning takes: 1, 2 and 3, or 2 and 2.5."""
    step = "step: 1, default: 2.25" if "time_stop" in old else "step: 0.5, default: 2.25"
    ends = "[2, 2.5]" if old == LONG else "[1, 3]"
    return changed(old, new).replace("[1, 3], step: 0.5, default: 2", f"{ends}, {step}")


def long_when(condition: str) -> str:
    return changed(LONG, condition)


def refusal(text: str | bytes, error: type[SpecError] = SpecError) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "s.yaml")
    assert isinstance(caught.value, error), repr(caught.value)
    return caught.value


def seconds(text: str | bytes) -> float:
    """Return the time of the quickest of three readings: a busy machine is not a slow reader."""
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(SpecError):
            parse_spec(text)
        spent.append(time.perf_counter() - began)
    return min(spent)


def defined(first: str, step: str, n: int, condition: str) -> str:
    """Return a text with definitions z0 to zn, each made of the one before, and a condition on them."""
    lines = [f"  z0: {first}\n", *(f"  z{k}: {step.format(f'z{k - 1}')}\n" for k in range(1, n + 1))]
    return long_when(condition).replace("  level:", "".join(lines) + "  level:")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (long_when("close > rsi(14)"), DimensionError,
         "s.yaml:11:13: close > rsi(14) compares price with ratio; compare close with a price, e.g. sma(close, 14)"),
        (long_when("close >"), SpecError, "s.yaml:11:"),
        (long_when("close > smaa(close, 5)"), SpecError, "s.yaml:11:21: smaa() is not known; did you mean sma"),
        (long_when("clsoe > level"), SpecError, "s.yaml:11:13: clsoe is not known; did you mean close"),
        (long_when("close = level"), SpecError, "compare with =="),
        (long_when("close > level & close > open"), SpecError, "join conditions with and, or, not"),
        (long_when("close > close[1]"), SpecError, "the value n bars ago is prev(x, n)"),
        (long_when("close > prev(close, -1)"), SpecError, "write 1 to 5000 bars"),
        (long_when("close > prev(close, 0)"), SpecError, "write 1 to 5000 bars"),
        (long_when("close > sma(close, 5001)"), LimitError, "write 1 to 5000 bars"),
        (long_when("close > sma(close, 2.5)"), SpecError, "write whole bars"),
        (long_when("close > sma(close, n / 4)"), SpecError, "write whole bars"),
        (long_when("close > sma(close, k)"), SpecError, "n of sma() is 1.5; write whole bars"),
        (long_when("close > sma(close, volume)"), SpecError, "must be fixed before the run"),
        (long_when("close > sma(close)"), SpecError, "write sma(x, n)"),
        (long_when("close > sma(close, n=5)"), SpecError, "'=' is not part of the language"),
        (long_when("close > quantile(close, 9, 1.5)"), SpecError, "write a number from 0 to 1"),
        (long_when('close > tf("90m", close)'), SpecError,
         "s.yaml:11:24: bars of 90m are not made of whole bars of 1h; write 1h or a whole multiple of it"),
        (long_when('close > tf("30m", close)'), SpecError, "are not made of whole bars of 1h"),
        (long_when('close > tf("4x", close)'), SpecError, "s.yaml:11:24: '4x' is no timeframe"),
        (long_when("close > tf(4, close)"), SpecError, "the first argument of tf() is no text; write tf("),
        (long_when('close > tf("4h")'), SpecError, "tf() takes two arguments; write tf("),
        (long_when('close > tf("4h", tf("1d", close))'), SpecError, "s.yaml:11:30: tf() stands inside tf()"),
        (long_when('close > tf("4h", rsi(14))'), DimensionError, "compares price with ratio"),
        (long_when('close > sma(close, tf("4h", 5))'), SpecError, "must be fixed before the run"),
        (long_when('close > "4h"'), SpecError, "text stands in tf(), on() and model() only"),
        (long_when('close > tf(f"4h", close)'), SpecError, "'f' is not part of the language"),
        (long_when("close > tf"), SpecError, "tf is a function; write tf("),
        (long_when("close"), DimensionError, "enter_long must be a condition, but close is a price"),
        (long_when("close > open and volume"), DimensionError, "volume is a volume, not a condition"),
        (long_when("(close > open) + 1 > 0"), DimensionError, "is a condition, not a number"),
        (long_when("log(close) > 0"), DimensionError, "take the logarithm of a ratio"),
        (long_when("close ** 2 > close"), SpecError, "this form is not part of the language"),
        (long_when("close if volume else open"), SpecError, "this form is not part of the language"),
        (long_when("close > sma"), SpecError, "sma is a function; write sma(x, n)"),
        (long_when("close > 1e301 * close"), LimitError, "a number beyond 1e+300"),
        (long_when("close > sma(close, 1e200 * 1e200)"), SpecError, "has no value"),
        (changed("stop: k * atr(14)", "stop: 5"), DimensionError, "s.yaml:15:7: stop must be a price"),
        (changed("stop: k * atr(14)\n", ""), SpecError, "needs R, and there is no stop; add stop: ..."),
        (changed("at: 1R", "at: 0R"), SpecError, "write more than 0R"),
        (changed("at: 1R", "at: 1"), SpecError, "s.yaml:16:13: take.0.at"),
        (changed("at: 1R", "at: one"), SpecError, "write a multiple of the stop's distance: 1R, 1.5R"),
        (changed("close: 0.5", "close: 1.5"), SpecError, "write a share above 0, up to 1"),
        (changed("time_stop: 48", "time_stop: 0.5"), SpecError, "s.yaml:19:12: 0.5 does not fit; write whole bars"),
        (changed("time_stop: 48", "time_stop: close > open"), SpecError, "is not a fixed number"),
        (changed("time_stop: 48", "time_stop: 10 * (k - 2) * (k - 2)"), SpecError, "does not fit; write whole bars"),
        (changed("time_stop: 48", "time_stop: 2 * (n - 15)"), SpecError, "does not fit; write whole bars, 1 or more"),
        (changed("at: 1R, close: 0.5", "at: (k - 2) * (k - 2) R, close: 0.5"), SpecError, "write more than 0R"),
        (changed("at: 1R, close: 0.5", "at: 1R, close: '1 - k * (k - 3) - 2'"), SpecError, "write a share above 0, up to 1"),
        (changed("at: 1R, close: 0.5", "at: 1 / (k - 2) / (k - 2) R, close: 0.5"), SpecError, "has no value"),
        (changed("after: 1R", "after: (k - 1) * (k - 2) R"), SpecError, "write 0R or more"),
        (off_grid("time_stop: 48", "time_stop: k"), SpecError, "k does not fit; write whole bars, 1 or more"),
        (off_grid(LONG, "close > prev(close, (k - 2.25) * (k - 2.25) * 16)"), SpecError, "has a window of 0 bars"),
        (off_grid(LONG, "close > quantile(close, 5, (k - 2.25) * (k - 2.25) * 16 - 0.5)"), SpecError, "has a share of -0.5"),
        (changed("{risk: 0.01}", "{risk: 0.01, fraction: 1}"), SpecError, "give one of risk, fraction, target_vol"),
        (changed("{risk: 0.01}", "{}"), SpecError, "size has nothing"),
        (changed("[trend_up, panic]", "[bull]"), SpecError, "s.yaml:21:11: bull is no regime; known: trend_up"),
        (changed("[trend_up, panic]", "[panic, panic]"), SpecError, "a regime stands twice"),
        (changed("side: both", "side: long"), SpecError, "enter_short with side: long"),
        (changed("enter_short: close < level\n", ""), SpecError, "enter_short is missing"),
        (changed("timeframe: 1h", "timeframe: 1:30"), SpecError, "s.yaml:4:12: '1:30' is no timeframe"),
        (changed("side: both", "side: no"), SpecError, "s.yaml:5:7: side: Input should be 'long', 'short' or 'both'"),
        (changed("spec: 1", "spec: 2"), SpecError, "s.yaml:1:7: spec"),
        (changed("spec: 1", "spec: true"), SpecError, "s.yaml:1:7: spec"),
        (changed("name: trend", "name: Trend!"), SpecError, "s.yaml:2:7: name"),
        (changed("hypothesis: none\n", ""), SpecError, "hypothesis: this field is missing; add hypothesis"),
        (changed("{risk: 0.01}", "{rsk: 0.01}"), SpecError, "known: risk, fraction, target_vol, window"),
        (changed("close: 0.5}", "close: 1, of: 2}"), SpecError, "take.0.of: this field is not known; known: at, close"),
        (TEXT + "series:\n  dxy: {lag: 1d, max_age: 2d, age: 3d}\n", SpecError, "known: lag, max_age, kind"),
        (TEXT + "leverage: 3\n", SpecError, "s.yaml:23:11: leverage: this field is not known; known: spec, name"),
        (changed("default: 10", "default: 30"), SpecError, "s.yaml:7:6: default 30 lies outside 10 to 20"),
        (changed("[10, 20]", "[20, 10]"), SpecError, "is upside down"),
        (changed("step: 5", "step: 0"), SpecError, "write a step above zero"),
        (changed("step: 5", "step: 2.5"), SpecError, "n of ema() is 12.5; write whole bars"),
        (changed("  n: {", "  close: {"), SpecError, "s.yaml:7:10: close is taken"),
        (changed("  level: ema", "  volume: ema"), SpecError, "volume is taken"),
        (changed("  level: ema", "  n: ema"), SpecError, "n is taken"),
        (changed("breakeven: true", "breakeven: yes"), SpecError, "breakeven: Input should be a valid boolean"),
    ],
)  # fmt: skip
def test_an_error_says_where_what_and_what_to_do(text: str, error: type[SpecError], said: str) -> None:
    assert said in str(refusal(text, error))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("risk: 0.01", "risk: *x"), "s.yaml:20:14: aliases (*) are not taken"),
        (changed("name: trend", "name: &x trend"), "anchors (&) are not taken"),
        (changed("name: trend", "name: !!python/object:os.system x"), "tags (!) are not taken"),
        (TEXT + "name: other\n", "the key 'name' stands twice"),
        (changed("k: {range", "n: {range"), "the key 'n' stands twice"),
        (TEXT + "---\n" + TEXT, "another document"),
        ("<<: {spec: 1}\n" + TEXT, "this field is not known"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("", "no fields found"),
        ("- spec", "no fields found"),
        (changed("risk: 0.01", "risk: 1e999"), "not finite"),
        (changed("risk: 0.01", "risk: 1e308"), "a number beyond 1e+300"),
        (changed("risk: 0.01", "risk: .inf"), "'.' is not part of the language"),
        (changed("risk: 0.01", "risk: " + "9" * 4000), "a number of more than 40 characters"),
        (changed("[10, 20]", "[1, 1.7e308]"), "step 5 does not fit the range"),
        (changed("name: trend", "name: a\0"), "#x0000"),
        (
            changed("hypothesis: none", 'hypothesis: "\\UFFFFFFFF"'),
            "s.yaml:3:16: an escape that stands for no character",
        ),
        (changed("hypothesis: none", 'hypothesis: "\\U00110000"'), "an escape that stands for no character"),
        (
            changed("hypothesis: none", 'hypothesis: "\\uD83D"'),
            "s.yaml:3:13: an escape that stands for no character",
        ),
        (changed("name: trend", '"\\uD83D": trend'), "an escape that stands for no character"),
        (TEXT.encode() + b"\xff", "is not UTF-8"),
        (TEXT.encode("utf-16"), "is not UTF-8"),
        (changed("name: trend", "name: \ud800"), "is not UTF-8"),
        (long_when("сlose > open"), "'с' is not part of the language"),  # noqa: RUF001
        (long_when("close > sma(close, ٣)"), "'٣' is not part of the language"),
        (changed("name: trend", "name: trеnd"), "name: String should match pattern"),  # noqa: RUF001
        (long_when("__import__('os').system('true') > 0"), "is not part of the language"),
        (long_when("(lambda x= 1) > 0"), "is not part of the language"),
        (long_when("close.real > open"), "is not part of the language"),
    ],
)
def test_untrusted_text_is_refused(text: str | bytes, said: str) -> None:
    assert said in str(refusal(text))


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "#" * limits.BYTES,
        "a: " + "[" * 8000 + "]" * 8000,
        "{a: " * 4000,
        "".join(" " * i + "a:\n" for i in range(150)),
        "a: " + "- " * 8000,
        long_when("(" * 1900 + "close" + ")" * 1900 + " > open"),
        long_when("not " * 900 + "close > open"),
        long_when("-" * 3000 + "close > open"),
        long_when("close > " + "*".join(["close"] * 499)),
        long_when("close > " + "+".join(["close"] * 999)),
        changed("  level: ema(close, n)\n", "  level: close + open\n" + "".join(
            f"  d{i}: {'level' if not i else f'd{i - 1}'} + {'level' if not i else f'd{i - 1}'}\n" for i in range(31)
        )),
        changed("  level: ema(close, n)\n", "  level: close\n" + "".join(f"  d{i}: close\n" for i in range(40))),
        long_when(" and ".join(f"close > quantile(close, {i}, 0.5)" for i in range(4900, 4960))),
        long_when("close > sma(close, n * n * n * n)"),
        defined("n - n", "{0} + {0}", 9, " and ".join(["close > sma(close, n + z9)"] * 9)),
        defined("close", "prev(" * 28 + "{}" + ")" * 28, 30, "close > z30"),
        defined("close", "(" * 14 + "prev({})" + ")" * 14, 31, "close > z31"),
        defined("-close", "-{}", 31, "close > -z31"),
        defined("close", "{0} + prev({0})", 8, "close > z8"),
        changed("[1, 3], step: 0.5, default: 2", "[1, 9], step: 0.01, default: 1").replace(LONG, " and ".join(
            f"close > quantile(close, 9, k * k / (80 + k * k + {i}))" for i in range(60))),
        changed("params:\n", "params:\n" + "".join(
            f"  p{i}: {{range: [1, 10000], step: 1, default: 1}}\n" for i in range(14))),
        changed("params:\n", "params:\n" + "".join(
            f"  p{i}: {{range: [1, 2], step: 1, default: 1}}\n" for i in range(15))),
        changed("[10, 20]", "[1, 20000]"),
        changed("at: 1R", "at: '" + " " * 12_000 + "x'"),
        changed("at: 1R", "at: '" + "1 * " * 3000 + "x'"),
        changed("hypothesis: none", "hypothesis: " + "long " * 1000),
    ],
    ids=lambda text: text[:12].strip() + "..." + str(len(text)),
)  # fmt: skip
def test_what_is_too_large_or_too_deep_is_refused_in_time(text: str) -> None:
    refusal(text)
    assert seconds(text) < MOST_SECONDS


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "#" * (limits.BYTES - len(TEXT.encode())),
        changed("hypothesis: none", "hypothesis: 'what: [a] {b} \\0 \"c\" — ok'"),
        changed("hypothesis: none", "hypothesis: '" + "[{" * 9 + "'  # " + "{[" * 9),
        changed("hypothesis: none", "hypothesis: up \U0001f680"),
        changed("hypothesis: none", 'hypothesis: "up \\ud83d\\ude80"'),
        changed("name: trend", "name: 'true'"),
        changed("name: trend", "name: 'null'"),
        changed("timeframe: 1h", "timeframe: 60m"),
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        long_when("|\n  close\n   > level\n"),
        long_when("close > 1e200 * 1e200 * close"),
        long_when("close > 1 / 0 * close"),
    ],
)
def test_what_is_allowed_is_read_and_round_trips(text: str) -> None:
    spec = parse_spec(text)
    again = parse_spec(spec.canonical())
    assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
    assert (again.name, again.hypothesis) == (spec.name, spec.hypothesis)
    assert again.canonical() == spec.canonical()


def test_a_tree_as_deep_as_allowed_is_walked_without_deep_recursion() -> None:
    n = limits.TREE_DEPTH - 2
    text = defined("close", "rsi({}, n) * close", (n - 1) // 2, f"close > z{(n - 1) // 2}")
    text = text.replace("[10, 20], step: 5, default: 10", "[2, 3], step: 1, default: 2")
    here = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(here + MOST_FRAMES)
    try:
        spec = parse_spec(text)
        assert max(node.depth for node in spec.conditions.values()) > limits.TREE_DEPTH - 3
        assert spec.bind({"n": 3}).template_hash == spec.template_hash
    finally:
        sys.setrecursionlimit(limit)


def test_a_strategy_that_would_not_come_back_from_its_canonical_text_is_refused() -> None:
    fault = refusal(defined("close", "{0} + prev({0})", 8, "close > z8"), LimitError)
    assert "with definitions written out: enter_long: String should have at most 4096 characters" in str(
        fault
    )
    parse_spec(defined("close", "{0} + prev({0})", 5, "close > z5"))


@pytest.mark.parametrize("condition", ["close > sma(close, z4)", "close > quantile(close, 9, z4)"])
def test_a_fixed_number_is_a_small_expression(condition: str) -> None:
    assert "write a fixed number with 16 at most" in str(
        refusal(defined("n - n + 1", "{} * 1 * 1", 4, condition.replace("z4", "z4 * z4")), LimitError)
    )


def test_windows_that_differ_share_one_budget() -> None:
    fine = changed("step: 0.5, default: 2", "step: 0.0025, default: 2")
    texts = [
        fine.replace(
            LONG, " and ".join(f"close > quantile(close, 9, k * k / {j})" for j in range(10, 10 + n))
        )
        for n in (20, 60)
    ]
    parse_spec(texts[0])
    assert "operations to check" in str(refusal(texts[1], LimitError))
    alike = fine.replace(
        LONG, " and ".join(f"close > quantile(close, {j}, k * k / 10)" for j in range(10, 70))
    )
    parse_spec(alike)


def test_regimes_that_need_too_much_memory_are_refused_when_read() -> None:
    parts = " and ".join(f"close > quantile(close, {n}, 0.5)" for n in range(4900, 4960))
    with pytest.raises(
        LimitError, match=r"^r\.yaml:1:1: needs \d+ cells of memory, more than 200000; use shorter"
    ):
        parse_regimes(f"spec: 1\ntimeframe: 1h\nregimes:\n  panic: {parts}\n", "r.yaml")


def test_one_timeframe_has_one_name() -> None:
    day, hours = (parse_spec(changed("timeframe: 1h", f"timeframe: {name}")) for name in ("1d", "24h"))
    assert (hours.timeframe, hours.canonical(), hours.hash) == ("1d", day.canonical(), day.hash)
    regimes = [
        parse_regimes(f"spec: 1\ntimeframe: {name}\nregimes: {{panic: close < open}}\n")
        for name in ("1d", "24h")
    ]
    assert regimes[0].hash == regimes[1].hash


@pytest.mark.proof
@settings(max_examples=max(60, settings().max_examples), suppress_health_check=list(HealthCheck))
@given(spec=specs(depth=3))
def test_the_canonical_text_reads_back_as_the_same_strategy(spec: Spec) -> None:
    text = spec.canonical()
    again = parse_spec(text)
    assert (again.canonical(), again.hash, again.template_hash) == (text, spec.hash, spec.template_hash)
    one, other = compile_spec(spec), compile_spec(again)
    for a, b in zip(one.program[:3], other.program[:3], strict=True):
        assert a.tobytes() == b.tobytes()
    assert one.plan.tobytes() == other.plan.tobytes()


@pytest.mark.proof
@given(spec=specs(depth=3), data=st.data())
def test_a_bound_strategy_is_the_one_written_with_its_numbers(spec: Spec, data: st.DataObject) -> None:
    bound = spec.bind(data.draw(st.sampled_from(spec.grid())))
    lines = [
        line for line in bound.canonical().splitlines() if not line.startswith(("params", "  fast", "  slow"))
    ]
    text = "\n".join(lines)
    for name in spec.params:
        text = _replace_word(text, name, f"{bound.values[name]:g}")
    assert parse_spec(text).hash == bound.hash


def _replace_word(text: str, word: str, instead: str) -> str:
    return re.sub(rf"\b{word}\b", instead, text)


SAME: dict[str, Callable[[], str]] = {
    "key order": lambda: yaml.safe_dump(yaml.safe_load(TEXT), sort_keys=True),
    "white space": lambda: changed(LONG, "close>level   and\n    volume  >sma( volume,20 )"),
    "a comment": lambda: "# said\n" + changed("side: both", "side: both  # ways"),
    "the order of and": lambda: long_when("volume > sma(volume, 20) and close > level"),
    "a comparison turned": lambda: long_when("level < close and sma(volume, 20) < volume"),
    "brackets": lambda: long_when("((close) > (level)) and (volume > sma(volume, 20))"),
    "said twice": lambda: long_when(f"{LONG} and close > level"),
    "a definition written out": lambda: long_when("close > ema(close, n) and volume > sma(volume, 20)"),
    "names of definitions": lambda: TEXT.replace("level", "line"),
    "names of parameters": lambda: changed("  n: {", "  span: {").replace(
        "ema(close, n)", "ema(close, span)"
    ),
    "order of parameters": lambda: "\n".join(_swapped(TEXT.split("\n"), 6, 7)),
    "a default argument": lambda: changed("stop: k * atr(14)", "stop: atr(14) * k"),
    "name and hypothesis": lambda: changed("name: trend", "name: other").replace("none", "some"),
    "a number's text": lambda: changed("risk: 0.01", "risk: 1.0e-2"),
    "order of regimes": lambda: changed("[trend_up, panic]", "[panic, trend_up]"),
}


def _swapped(lines: list[str], a: int, b: int) -> list[str]:
    lines[a], lines[b] = lines[b], lines[a]
    return lines


@pytest.mark.parametrize("what", SAME)
def test_the_hash_does_not_move_with(what: str) -> None:
    spec, same = parse_spec(TEXT), parse_spec(SAME[what]())
    assert (same.hash, same.template_hash) == (spec.hash, spec.template_hash)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timeframe: 1h", "timeframe: 2h"),
        ("default: 10", "default: 15"),
        ("default: 2}", "default: 2.5}"),
        (LONG, "close > level and volume > sma(volume, 21)"),
        (LONG, "close > level or volume > sma(volume, 20)"),
        (LONG, "close >= level and volume > sma(volume, 20)"),
        ("exit_long: close < level", "exit_long: close < open"),
        ("exit_long: close < level\n", ""),
        ("enter_short: close < level", "enter_short: close < open"),
        ("exit_short: close > level", "exit_short: close > open"),
        ("stop: k * atr(14)", "stop: k * atr(15)"),
        ("at: 1R", "at: 2R"),
        ("close: 0.5", "close: 0.6"),
        ("[{at: 1R, close: 0.5}]", "[{at: 1R, close: 0.5}, {at: 2R, close: 1}]"),
        ("distance: 3 * atr(14)", "distance: 4 * atr(14)"),
        ("after: 1R", "after: 0R"),
        ("breakeven: true", "breakeven: false"),
        ("time_stop: 48", "time_stop: 49"),
        ("time_stop: 48\n", ""),
        ("risk: 0.01", "risk: 0.011"),
        ("{risk: 0.01}", "{fraction: 0.01}"),
        ("{risk: 0.01}", "{target_vol: 0.01}"),
        ("[trend_up, panic]", "[trend_up]"),
        ("regime_exit: true", "regime_exit: false"),
    ],
)
def test_the_hash_moves_with_whatever_is_traded(old: str, new: str) -> None:
    assert parse_spec(changed(old, new)).hash != parse_spec(TEXT).hash


def test_a_family_is_told_by_its_ranges_and_not_by_its_values_now() -> None:
    spec = parse_spec(TEXT)
    assert spec.bind({"n": 15, "k": 1}).template_hash == spec.template_hash
    for old, new in (("[10, 20]", "[10, 25]"), ("step: 0.5", "step: 1"), ("step: 5", "step: 10")):
        assert parse_spec(changed(old, new)).template_hash != spec.template_hash
    exchanged = TEXT.replace("[10, 20], step: 5, default: 10", "[10, 30], step: 5, default: 10")
    assert parse_spec(exchanged).template_hash != spec.template_hash


def of_twins(condition: str, *names: str) -> Spec:
    """Return a strategy whose parameters all have one range, written in the given order."""
    twins = "".join(f"  {name}: {{range: [2, 9], step: 1, default: 2}}\n" for name in names)
    return parse_spec(long_when(condition).replace("params:\n", "params:\n" + twins))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ema(close, a) > ema(close, b)", "ema(close, a) > ema(close, a)"),
        ("ema(close, a) > sma(close, b) > ema(open, a)", "ema(close, a) > sma(close, b) > ema(open, b)"),
        ("close > ema(close, a) and close > ema(close, b)", "close > ema(close, a)"),
        ("ema(low, a) * sma(low, b) > ema(open, a) * sma(open, b)",
         "ema(low, a) * sma(low, b) > ema(open, b) * sma(open, a)"),
    ],
)  # fmt: skip
def test_parameters_of_one_range_are_told_apart(one: str, other: str) -> None:
    assert of_twins(one, "a", "b").template_hash != of_twins(other, "a", "b").template_hash


@pytest.mark.parametrize(
    "condition",
    [
        "ema(close, a) - ema(close, b) > ema(open, c)",
        "max(ema(close, a), ema(close, b)) > max(ema(open, b), ema(low, c))",
        "close > ema(close, a) and close > ema(close, b) and close > ema(close, c) and open > ema(open, b)",
        "max(ema(close, a), ema(close, b)) > max(sma(close, a), sma(close, b)) and close > sma(close, c)",
        "max(ema(sma(close, a), b), ema(sma(close, b), c)) > ema(sma(close, c), a)",
    ],
)
def test_neither_names_nor_order_of_parameters_of_one_range_tell_families_apart(condition: str) -> None:
    wanted = of_twins(condition, "a", "b", "c").template_hash
    for names in itertools.permutations("abc"):
        renamed = condition
        for old, new in zip("abc", names, strict=True):
            renamed = _replace_word(renamed, old, f"{new}{new}")
        assert of_twins(renamed, "cc", "aa", "bb").template_hash == wanted
    assert of_twins(condition, "c", "b", "a").template_hash == wanted


@pytest.mark.proof
@settings(max_examples=3 * settings().max_examples)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_any_text_is_read_or_refused_with_our_error(text: str | bytes) -> None:
    only_our_error(text)


@pytest.mark.proof
@settings(max_examples=3 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(data=st.data(), text=st.one_of(st.just(TEXT), spec_texts(depth=2)))
def test_any_mutation_is_read_or_refused_with_our_error(data: st.DataObject, text: str) -> None:
    pieces = [
        "(",
        ")",
        "[",
        "{",
        "}",
        "\n",
        "- ",
        ": ",
        "'",
        '"',
        "0",
        "1e308",
        "close",
        "n",
        "not ",
        " and ",
        ",",
        "\t",
        "R",
        "*",
        "/",
        "\x85",
        "é",
    ]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 8))
        text = text[:at] + data.draw(st.sampled_from(pieces)) + text[at + gone :]
    only_our_error(text)


@pytest.mark.proof
@settings(max_examples=3 * settings().max_examples)
@given(st.text(alphabet="closenprvat()+-*/<>=., 0159en_", max_size=80))
def test_any_expression_is_read_or_refused_with_our_error(expression: str) -> None:
    only_our_error(TEXT.replace(LONG, "'" + expression.replace("'", "") + "'"))


def only_our_error(text: str | bytes) -> None:
    try:
        spec = parse_spec(text)
    except SpecError as error:
        assert str(error)
    else:
        assert parse_spec(spec.canonical()).hash == spec.hash


def test_a_longer_timeframe_has_one_name_and_comes_back() -> None:
    spec = parse_spec(long_when("tf('24h', ema(close, n)) < close"))
    assert spec.conditions["enter_long"].text == 'tf("1d", ema(close, n)) < close'
    again = parse_spec(spec.canonical())
    assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
    other = parse_spec(long_when('tf("4h", ema(close, n)) < close'))
    assert len({spec.hash, other.hash}) == 2 and spec.template_hash != other.template_hash


def test_definitions_of_two_timeframes_do_not_nest() -> None:
    text = changed("  level: ema(close, n)", "  day: tf('1d', close)\n  level: tf('4h', day)")
    assert "tf() stands inside tf()" in str(refusal(text))


def test_instructions_on_longer_bars_share_one_budget() -> None:
    """Each timeframe alone stays far below it: what counts them apart builds them all before it refuses."""
    many = [" and ".join(f'tf("{t}h", mfi({t})) > 1' for t in range(k, 200, 3)) for k in (2, 3, 4)]
    roots = [parse_expression(text, Scope()) for text in many]
    with pytest.raises(LimitError, match=f"more than {limits.INSTRUCTIONS} instructions"):
        program_of(roots, 3_600_000)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (f'close > tf("{"4" * 900}h", close)', "s.yaml:11:24: '4444"),
        ("confirmed(close) > close", "s.yaml:11:13: confirmed() needs bars that make up 1h, 4h, 1d or 1w"),
    ],
)
def test_a_wrong_clock_is_told_with_its_place_and_no_more_of_it_than_helps(
    expression: str, said: str
) -> None:
    text = long_when(expression).replace("timeframe: 1h", "timeframe: 5h")
    assert said in str(refusal(text)) and len(str(refusal(text))) < 200


def test_the_names_of_two_parameters_do_not_count_beside_timeframes() -> None:
    """Without the timeframes both parameters stand alike."""
    ranges = changed(
        "  n: {range: [10, 20], step: 5, default: 10}",
        "  n: {range: [10, 20], step: 5, default: 10}\n  m: {range: [10, 20], step: 5, default: 10}",
    )
    texts = [
        ranges.replace(LONG, f'tf("4h", ema(close, {a})) > tf("1d", ema(close, {b})) and close > level')
        for a, b in (("n", "m"), ("m", "n"))
    ]
    one, other = (parse_spec(text.replace("level: ema(close, n)", "level: ema(close, 9)")) for text in texts)
    assert one.template_hash == other.template_hash


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        ("[{at: 1R, close: 1}, {at: 2R, close: 0.5}]", "take.1: the take before closes all that remains"),
        (
            "[{at: 2R, close: 0.5}, {at: 1R, close: 1}]",
            "take.1.at: a take at 1R after one at 2R; write takes in the order",
        ),
        ("[{at: 2R, close: 0.5}, {at: 2R, close: 1}]", "a take at 2R after one at 2R"),
    ],
)
def test_a_take_that_could_never_act_is_refused(takes: str, told: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(changed("[{at: 1R, close: 0.5}]", takes))
    assert told.split(": ")[-1] in str(refused.value)


def test_a_longer_timeframe_that_is_the_own_one_is_nothing_said() -> None:
    plain = changed("enter_long: close > level and", "enter_long: close > open and")
    longer = changed("enter_long: close > level and", 'enter_long: close > tf("1h", open) and')
    assert parse_spec(longer).hash == parse_spec(plain).hash
    assert parse_spec(longer).canonical() == parse_spec(plain).canonical()


def test_a_canonical_text_is_read_once_and_any_other_one_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str | bytes] = []
    read = spec_reader._read

    def noted(text: str | bytes, *rest: Any) -> Spec:
        texts.append(text)
        return read(text, *rest)

    monkeypatch.setattr(spec_reader, "_read", noted)
    canonical = load_spec(spec_reader.LIBRARY / "ema_atr.yaml").canonical()
    assert len(texts) == 2
    for text in (canonical, canonical.encode()):
        texts.clear()
        assert parse_spec(text).canonical() == canonical
        assert texts == [text]
    texts.clear()
    parse_spec("# a remark\n" + canonical)
    assert len(texts) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "enter_long: true",
            "enter_long: true is no condition; write one, e.g. close > open; close > 0 always holds",
        ),
        ("enter_long: [1]", "enter_long: a list is no condition; write one"),
        (
            "time_stop: false",
            "time_stop: false is no expression; write a number or an expression of the language",
        ),
        ("stop: {n: 1}", "stop: a mapping is no expression; write a number or an expression"),
        ("timeframe: 4", "timeframe: 4 is no text; write a text"),
        ("regimes: [3]", "regimes.0: 3 is no text; write a text"),
        (
            "take: [{at: 1, close: 1}]",
            "take.0.at: 1 is not in R; write a multiple of the stop's distance: 1R, 1.5R",
        ),
    ],
)
def test_what_is_no_text_is_told_with_what_to_write_instead(line: str, said: str) -> None:
    fields = {"spec": "1", "name": "s", "hypothesis": "h", "timeframe": "1h", "side": "long"}
    fields |= {"enter_long": "close > open", "stop": "atr(14)", "size": "{risk: 0.01}"}
    fields |= dict([line.split(": ", 1)])
    with pytest.raises(SpecError) as fault:
        parse_spec("".join(f"{name}: {value}\n" for name, value in fields.items()))
    assert said in str(fault.value)


def test_regimes_that_are_no_conditions_are_told_so() -> None:
    with pytest.raises(SpecError, match=r"regimes\.panic: true is no condition; write one"):
        parse_regimes("spec: 1\ntimeframe: 1h\nregimes: {panic: true}\n")
