"""Wild texts for the reader: mutations of strategies that know the language and YAML, and plain noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import REGIMES

T = TypeVar("T")
Rng = np.random.Generator
STRATEGIES = Path(__file__).parents[3] / "research_lab" / "strategies"
CORPUS = Path(__file__).parent / "corpus"

BUSY = """\
spec: 1
name: busy
hypothesis: "none: [yet]"
timeframe: 4h
side: both
params:
  n: {range: [2, 20], step: 2, default: 4}
  m: {range: [2, 20], step: 2, default: 8}
  k: {range: [0.5, 3], step: 0.5, default: 2}
define:
  level: ema(close, n)
  calm: std(log(close / prev(close)), m) < 0.02
enter_long: crosses_above(close, level) and calm and not rsi(14) > 70
exit_long: crosses_below(close, level) or bars_since(close > open) > m
enter_short: crosses_below(close, level) and adx(14) > 20 + k
exit_short: close > highest(high, n) or coalesce(funding, 0) < -0.001
stop: k * atr(14)
take: [{at: 1R, close: 0.5}, {at: k R, close: 1}]
trail: {distance: 3 * atr(14), after: 1R}
breakeven: true
time_stop: n
size: {risk: 0.01}
regimes: [trend_up, panic]
regime_exit: true
"""
CLOCK = """\
spec: 1
timeframe: 1d
define:
  swing: std(close, 20) / sma(close, 20)
regimes:
  panic: close < 0.8 * highest(close, 30)
  trend_up: close > sma(close, 100) and swing < 0.05
  range_lowvol: swing < quantile(swing, 90, 0.3)
"""
OUTSIDE = """\
spec: 1
name: outside
hypothesis: none
timeframe: 1h
side: long
params:
  n: {range: [2, 20], step: 2, default: 4}
series:
  dxy: {lag: 1d, max_age: 5d}
  model: {lag: 0, max_age: 2h, kind: ratio}
events:
  fomc: {known_ahead: true}
define:
  level: tf("4h", ema(close, n))
  calm: on("BTC/USDT", close > sma(close, 20)) and hours_to(fomc) > 24
enter_long: close > level and calm and dxy < tf("1d", sma(dxy, n)) and fused(rsi(n) / 100, model) > 0.6
exit_long: confirmed(rsi(n)) < 45 or hours_since(fomc) < 4 or spread > 0.01
stop: 2 * atr(14)
size: {target_vol: 0.2, window: 20}
"""
TOGETHER = """\
spec: 1
name: together
hypothesis: none
timeframe: 1h
side: both
params:
  agree: {range: [0.4, 0.8], step: 0.1, default: 0.6}
define:
  level: sma(close, 20)
ensemble:
  combine: weighted
  min_confidence: agree
  members:
    trend: {weight: 0.6, enter_long: close > level, exit_long: close < level}
    calm: {weight: agree, enter_long: rsi(14) < 30, exit_long: rsi(14) > 50, enter_short: rsi(14) > 80,
           exit_short: rsi(14) < 50}
stop: 3 * atr(24)
size: {risk: 0.01}
"""

NUMBERS = (
    "0", "-1", "1", "2", "0.5", "5000", "5001", "1e300", "1e308", "1e999", "1e-320", "-0.0", "1_000", "0x10",
    "007", "9" * 39, "9" * 41, ".5", "5.", "+3", "nan", ".inf", "2.0000000001", "1e16", "4294967296",
    "9223372036854775808",
)  # fmt: skip
PIECES = (
    "(", ")", "[", "]", "{", "}", ",", ":", ": ", "- ", "\n", "\n  ", "\t", "'", '"', "#", " # ", "|", ">", "|+2\n",
    "&a ", "*a", "!!str ", "!x ", "<<: ", "? ", "---\n", "...\n", "%YAML 1.1\n", "@", "`", "~", "null", "true", "no",
    "R", "1R", "\\", "\\x", '"\\ud83d"', "\ufeff", "\x85", "\u2028", "\0", "\x7f", "é", "٣", "\ud800", "\U0001f680",
    " and ", " or ", "not ", " == ", " != ", "<", "<=", "*", "/", "+", "-", "**", "//", "if", "else", "lambda", "in", "is",
    "__import__", ".", "=", ":=", "@", "%", "&", "~", "close", "n", "level",
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*|\d+\.?\d*(?:e[-+]?\d+)?|\S|\s+")
_NUMBER = re.compile(r"\d+\.?\d*")
_CONDITION = re.compile(r"^(?:  )?(?:enter_|exit_|level|calm|panic|trend_)[a-z_]*: (.*)$", re.MULTILINE)


def seeds() -> list[str]:
    """Return what is mutated: the library, a few texts of our own, and all that was found before."""
    library = [path.read_text(encoding="utf-8") for path in sorted(STRATEGIES.glob("*.yaml"))]
    found = [text for _, text in corpus() if isinstance(text, str)]
    return [
        *[BUSY, CLOCK, OUTSIDE, TOGETHER, *library] * 12,
        *found,
    ]  # what was found is long, as a rule, and takes its time


def corpus() -> list[tuple[str, str | bytes]]:
    """Return the texts that found something, by name; one that is not UTF-8 as bytes."""
    found: list[tuple[str, str | bytes]] = []
    for path in sorted(CORPUS.iterdir()):
        raw = path.read_bytes()
        try:
            found.append((path.name, raw.decode("utf-8")))
        except UnicodeDecodeError:
            found.append((path.name, raw))
    return found


def wild_text(rng: Rng, texts: list[str]) -> str | bytes:
    """Return one text: noise now and then, mostly a strategy mutated a few times."""
    kind = rng.random()
    if kind < 0.04:
        return rng.bytes(int(rng.integers(0, 400)))
    if kind < 0.08:
        return "".join(_pick(rng, PIECES) for _ in range(int(rng.integers(0, 80))))
    text = _pick(rng, texts)
    for _ in range(int(rng.geometric(0.5))):
        text = _pick(rng, MUTATIONS)(rng, text)[:40_000]
    if kind < 0.12:
        raw = bytearray(text.encode("utf-8", errors="surrogatepass") or b"x")
        for _ in range(int(rng.integers(1, 4))):
            raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        return bytes(raw)
    return text


def _pick(rng: Rng, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _insert(rng: Rng, text: str) -> str:
    at = int(rng.integers(len(text) + 1))
    return text[:at] + _pick(rng, PIECES) + text[at + int(rng.integers(0, 4)) :]


def _change_word(rng: Rng, text: str) -> str:
    """Replace, drop, double or exchange words."""
    words = _WORD.findall(text) or ["x"]
    a, b = (int(rng.integers(len(words))) for _ in range(2))
    kind = rng.random()
    if kind < 0.4:
        words[a] = _pick(rng, (*FUNCTIONS, *INPUTS, *REGIMES, *PIECES, *NUMBERS, "n", "k", "level"))
    elif kind < 0.6:
        words[a], words[b] = words[b], words[a]
    elif kind < 0.8:
        words[a] = ""
    else:
        words[a] *= int(rng.integers(2, 40))
    return "".join(words)


def _change_number(rng: Rng, text: str) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    match = _pick(rng, found)
    number = (
        _pick(rng, NUMBERS) if rng.random() < 0.6 else repr(float(rng.normal() * 10.0 ** rng.integers(-3, 5)))
    )
    return text[: match.start()] + number + text[match.end() :]


def _change_line(rng: Rng, text: str) -> str:
    """Drop, double, exchange or indent lines: keys that stand twice, fields that are missing."""
    lines = text.split("\n")
    a, b = (int(rng.integers(len(lines))) for _ in range(2))
    kind = int(rng.integers(5))
    if kind == 0:
        del lines[a]
    elif kind == 1:
        lines.insert(b, lines[a])
    elif kind == 2:
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == 3:
        lines[a] = " " * int(rng.integers(1, 5)) + lines[a]
    else:
        lines[a : a + 1] = [lines[a]] * int(rng.integers(2, 300))
    return "\n".join(lines)


def _replace_condition(rng: Rng, text: str, new: Callable[[str], str]) -> str:
    found = list(_CONDITION.finditer(text))
    if not found:
        return text
    match = _pick(rng, found)
    return text[: match.start(1)] + new(match.group(1)) + text[match.end(1) :]


def _nest(rng: Rng, text: str) -> str:
    """Put brackets, functions or signs around a condition, up to many more than are taken."""
    n = int(rng.integers(1, 60)) if rng.random() < 0.8 else int(rng.integers(60, 1500))
    before, after = _pick(
        rng,
        [("(", ")"), ("not ", ""), ("-", ""), ("rsi(", ", 5) > 1"), ("prev(", ")"), ("[", "]"), ("{a: ", "}"),
         ("abs(", ")"), ("if_else(close > open, close, ", ") > close")],
    )  # fmt: skip
    return _replace_condition(rng, text, lambda said: before * n + said + after * n)


def _lengthen(rng: Rng, text: str) -> str:
    """Join many parts that differ by their windows."""
    n = int(rng.integers(2, 120))
    first = int(rng.integers(1, 5000))
    part = _pick(
        rng,
        ["close > adx({i}) * close", "rsi({i}) > {i}", "close > sma(close, {i})", "close > quantile(close, {i}, 0.{i})",
         "std(close, {i}) > slope(close, n + {i})", "close > prev(close, {i})", "calm", "rsi(rsi({i}), n) > 5",
         "highest(high, {i} * n) > close", "ema(ema(close, n), m) * {i} > ema(ema(close, m), n)",
         "bars_since(close > level * {i}) > k"],
    )  # fmt: skip
    sign = _pick(rng, (" and ", " or ", "+", " == "))
    return _replace_condition(
        rng, text, lambda said: sign.join([said, *(part.replace("{i}", str(first + i)) for i in range(n))])
    )


def _add_params(rng: Rng, text: str) -> str:
    n, high = int(rng.integers(1, 20)), _pick(rng, (3, 9, 5000, 10_000, 20_000))
    same = rng.random() < 0.5
    lines = [
        f"  p{i}: {{range: [2, {high + (0 if same else i)}], step: {_pick(rng, (1, 0.5, 7))}, default: 2}}\n"
        for i in range(n)
    ]
    used = text.replace("params:\n", "params:\n" + "".join(lines), 1)
    part = "max(ema(close, p{a}), ema(open, p{b})) > close * p{a}"
    joined = " and ".join(
        part.replace("{a}", str(int(rng.integers(n)))).replace("{b}", str(int(rng.integers(n))))
        for _ in range(2 * n)
    )
    return _replace_condition(rng, used, lambda said: f"{said} and {joined}")


def _add_definitions(rng: Rng, text: str) -> str:
    """Add definitions, each made of the one before: written out they double, or grow a little."""
    n = int(rng.integers(1, 40))
    step = _pick(rng, ("{} + {}", "{} * 1.5", "ema({}, n)", "rsi({}, 5) * close", "-{}", "max({}, close)"))
    lines = ["  z0: close\n", *(f"  z{i}: {step.replace('{}', f'z{i - 1}')}\n" for i in range(1, n))]
    used = text.replace("define:\n", "define:\n" + "".join(lines), 1)
    return _replace_condition(rng, used, lambda said: f"({said}) and close > z{n - 1}")


def _splice(rng: Rng, text: str) -> str:
    """Go over to another strategy in the middle of a line."""
    other = _pick(rng, (BUSY, CLOCK, OUTSIDE, TOGETHER, text))
    return text[: int(rng.integers(len(text) + 1))] + other[int(rng.integers(len(other) + 1)) :]


def _repeat(rng: Rng, text: str) -> str:
    """Repeat a stretch of text many times."""
    first = int(rng.integers(len(text) + 1))
    last = first + int(rng.integers(1, 30))
    return text[:last] + text[first:last] * int(rng.integers(1, 400)) + text[last:]


MUTATIONS: tuple[Callable[[Rng, str], str], ...] = (
    _insert, _insert, _change_word, _change_word, _change_number, _change_number, _change_line, _nest, _lengthen,
    _lengthen, _add_params, _add_definitions, _splice, _repeat,
)  # fmt: skip
