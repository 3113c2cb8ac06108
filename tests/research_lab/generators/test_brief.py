from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.dsl.registry import FAMILIES, FUNCTIONS, INPUTS
from research_lab.dsl.spec_reader import LIBRARY, load_spec, parse_spec
from research_lab.errors import UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.brief_bounds import BLOCKS, SIZES
from research_lab.generators.brief_form import BriefForm, brief_of, brief_text, parse_brief, read_brief

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)
BRIEFS = st.builds(
    Brief,
    goal=TEXTS,
    timeframes=st.lists(st.sampled_from(["5m", "1h", "24h", "1w"]), min_size=1, unique=True),
    families=st.lists(st.sampled_from([*FAMILIES]), unique=True),
    never=st.lists(st.sampled_from([*FUNCTIONS]), unique=True, max_size=4),
    max_nodes=st.integers(8, 2_000),
    sizes=st.just(SIZES) | st.just(("fraction",)),
    trades_a_month=st.none() | st.tuples(st.integers(0, 3), st.floats(4, 1e6)),
    ideas=st.lists(TEXTS, unique=True, max_size=3),
)
WHOLE = """
spec: 1
name: one
hypothesis: a test
timeframe: 1h
side: long
params:
  n: {range: [10, 30], step: 10, default: 20}
enter_long: close > sma(close, n)
exit_long: close < sma(close, 50)
stop: 2 * atr(14)
take: [{at: 1R, close: 0.5}]
trail: {distance: 3 * atr(14), after: 1R}
breakeven: true
time_stop: 48
size: {risk: 0.01}
regimes: [trend_up]
regime_exit: true
"""


def refused(brief: Brief, old: str = "", new: str = "") -> str:
    return brief.refuses(parse_spec(WHOLE.replace(old, new)))


def fault_of(text: str) -> str:
    with pytest.raises(UsageError) as raised:
        parse_brief(f"brief: 1\n{text}\n", "my.yaml")
    return str(raised.value)


def test_the_template_is_the_default_brief_with_every_key() -> None:
    text = brief_text("An edge.")
    assert parse_brief(text) == Brief(goal="An edge.")
    assert [
        key for key in BriefForm.model_fields if f"\n{key}:" not in text.replace("# trades", "trades")
    ] == []
    assert parse_brief(text.replace("# trades_a_month", "trades_a_month")).trades_a_month == (2.0, 60.0)
    assert max(map(len, text.split("\n"))) < 160


def test_the_form_has_the_fields_of_a_brief() -> None:
    assert set(BriefForm.model_fields) == {"brief", *(field.name for field in fields(Brief))}


@given(BRIEFS)
def test_a_canonical_text_reads_back_as_the_same_brief(brief: Brief) -> None:
    again = parse_brief(brief.canonical())
    assert again == brief
    assert again.hash == brief.hash
    assert again.canonical() == brief.canonical()


def test_the_hash_tells_briefs_apart_and_lasts() -> None:
    assert Brief().hash == Brief(timeframes=["240m", "60m"], families=[*FAMILIES][::-1]).hash  # type: ignore[arg-type]
    assert Brief().hash == Brief().hash
    changes = [
        Brief(goal="x"), Brief(timeframes=("1h",)), Brief(sides=("short",)), Brief(families=("trend",)),
        Brief(inputs=("close",)), Brief(max_nodes=61), Brief(max_params=5), Brief(ideas=("x",)), Brief(avoid=("x",)),
        Brief(only=("rsi",)), Brief(never=("rsi",)), Brief(longer=()), Brief(blocks=("stop",)),
        Brief(required=("stop",)), Brief(sizes=("risk",)), Brief(trades_a_month=(1, 2)),
    ]  # fmt: skip
    assert len({brief.hash for brief in [Brief(), *changes]}) == len(fields(Brief)) + 1


def test_plain_words_are_the_goal_and_a_file_is_read(tmp_path: Path) -> None:
    assert brief_of(" trend following on hours ") == Brief(goal="trend following on hours")
    path = tmp_path / "mine.yaml"
    path.write_text("brief: 1\nmax_params: 2\n")
    assert brief_of(str(path)) == read_brief(path) == Brief(max_params=2)
    with pytest.raises(UsageError, match=r"gone\.yaml: the file does not exist"):
        brief_of(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize(("text", "told"), [
    ("goals: x", "my.yaml:2: 'goals' is no key of a brief; did you mean goal?"),
    ("max_node: 5", "my.yaml:2: 'max_node' is no key of a brief; did you mean max_nodes?"),
    ("goal: a\nfamilies: [trend, momentun]",
     "my.yaml:3: families[1]: 'momentun' is no family of functions; did you mean momentum?"),
    ("only: [rsj]", "my.yaml:2: only[0]: 'rsj' is no function; did you mean"),
    ("only: [rsi]\nfamilies: [trend]", "my.yaml:2: only[0]: rsi is of the family momentum, which families leaves out; "
     "add momentum to families, or leave rsi out"),
    ("only: [rsi]\nnever: [rsi]", "my.yaml:2: only[0]: rsi stands under never too"),
    ("sides: [up]", "my.yaml:2: sides[0]: 'up' is no side; known: long, short, both"),
    ("sides: []", "my.yaml:2: sides: nothing is left; name one at least, or leave the key out"),
    ("sides: long", "my.yaml:2: sides: Input should be a valid list; write a list: [...]"),
    ("timeframes: [1h, 60m]", "my.yaml:2: timeframes[1]: '60m' stands twice; name each once"),
    ("timeframes: [hourly]", "my.yaml:2: timeframes[0]: 'hourly' is no timeframe; write a number and m, h, d or w"),
    ("longer: [0h]", "my.yaml:2: longer[0]: '0h' is no timeframe"),
    ("inputs: [fundin]", "my.yaml:2: inputs[0]: 'fundin' is no input of the market; did you mean funding?"),
    ("max_nodes: 3", "my.yaml:2: max_nodes: 3; write a whole number from 8 to 2000"),
    ("max_params: 17", "my.yaml:2: max_params: 17; write a whole number from 0 to 16"),
    ("max_params: 2.5", "my.yaml:2: max_params: Input should be a valid integer"),
    ("max_nodes: many", "my.yaml:2: max_nodes: Input should be a valid integer; write a whole number"),
    ("blocks: [stop]\nrequired: [trail]", "my.yaml:3: required[0]: trail is not among blocks; add trail to blocks"),
    ("blocks: [breakeven, stop]\nrequired: [breakeven]", "my.yaml:3: required[0]: breakeven needs take, which blocks"),
    ("sizes: [risk]\nblocks: [trail]", "my.yaml:2: sizes: risk is lost at a stop, which blocks leaves out"),
    ("blocks: [trail]\nsizes: [kelly]", "my.yaml:3: sizes[0]: 'kelly' is no kind of size; known: fraction, risk"),
    ("trades_a_month: [5, 2]", "my.yaml:2: trades_a_month: [5.0, 2.0] is no range; write the least and the most"),
    ("trades_a_month: [5]", "my.yaml:2: trades_a_month: [5.0] is no range"),
    ("ideas: [3]", "my.yaml:2: ideas[0]: Input should be a valid string; write a text"),
    ("goal: a\ngoal: b", "my.yaml:3:1: the key 'goal' stands twice"),
    ("ideas: [&a x, *a]", "anchors (&) are not taken"),
])  # fmt: skip
def test_faults_are_told_with_line_and_remedy(text: str, told: str) -> None:
    assert told in fault_of(text)


@pytest.mark.parametrize(("text", "told"), [
    ("", "my.yaml:1: no keys found"), ("[1]", "my.yaml:1: no keys found"), ("goal: x", "begin the file with brief: 1"),
    ("brief: 2", "my.yaml:1: brief: 2 is not known; write brief: 1"), ("brief: one", "my.yaml:1: brief: Input should be"),
    ("brief: true", "my.yaml:1: brief: Input should be"),
])  # fmt: skip
def test_what_is_no_brief_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_brief(text, "my.yaml")
    assert told in str(raised.value)


@pytest.mark.parametrize(("change", "told"), [
    ({"timeframes": "1h"}, "brief: timeframes: '1h' is no list"),
    ({"max_nodes": True}, "brief: max_nodes: True; write a whole number"),
    ({"goal": 3}, "brief: goal: '3' is no text"),
    ({"goal": "x" * 5_000}, "brief: goal: 5000 characters; write 4000 at most"),
    ({"ideas": ["x", 3]}, "brief: ideas.1: '3' is no text"),
    ({"avoid": [f"{k}" for k in range(300)]}, "brief: avoid: 300 entries; write 200 at most"),
    ({"trades_a_month": (float("nan"), 2)}, "brief: trades_a_month"),
    ({"trades_a_month": "ab"}, "brief: trades_a_month"),
])  # fmt: skip
def test_a_brief_made_in_code_is_checked_too(change: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        Brief(**change)  # type: ignore[arg-type]
    assert told in str(raised.value)


@given(st.text(max_size=200) | st.text(alphabet="brief: 1\n-[]{}&*!|>abc\"'", max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse_brief(text)
    except UsageError as fault:
        assert str(fault)


def test_what_lies_inside_is_not_refused() -> None:
    assert refused(Brief()) == ""
    wide = Brief(timeframes=("5m", "15m", "1h", "4h", "1d"), sides=("long", "short", "both"), inputs=tuple(INPUTS),
                 max_nodes=400, max_params=8)  # fmt: skip
    for path in sorted(LIBRARY.glob("*.yaml")):
        if path.stem not in ("regimes", "macro"):
            assert wide.refuses(load_spec(path)) == "", path.stem


@pytest.mark.parametrize(("brief", "told"), [
    (Brief(timeframes=("4h",)), "its timeframe is 1h, and the brief has 4h"),
    (Brief(sides=("short", "both")), "its side is long, and the brief has short, both"),
    (Brief(max_nodes=18), "operations, more than 18"),
    (Brief(max_params=0), "it has 1 parameters, more than 0"),
    (Brief(families=("trend", "dispersion")), "it says sma(), which the brief leaves out"),
    (Brief(never=("atr",)), "it says atr(), which the brief leaves out"),
    (Brief(only=("sma",)), "it says atr(), which the brief leaves out"),
    (Brief(inputs=("open", "high", "low")), "it says close, which the brief leaves out"),
    (Brief(inputs=("close",)), "it says atr(), which reads high, low, which the brief leaves out"),
    (Brief(sizes=("fraction", "target_vol")), "its size is risk, and the brief has fraction, target_vol"),
    *((Brief(blocks=tuple(b for b in BLOCKS if b != name), sizes=SIZES), f"it has {name}, which the brief leaves out")
      for name in BLOCKS),
])  # fmt: skip
def test_what_lies_outside_is_refused_with_its_reason(brief: Brief, told: str) -> None:
    assert told in refused(brief)


@pytest.mark.parametrize(("old", "new", "told"), [
    ("regime_exit: true", "", "it has no regime_exit, which the brief requires"),
    ("close > sma", 'tf("1d", close) > sma', 'it says tf("1d", ...), which the brief leaves out'),
    ("close > sma", 'on("ETH/USDT", close) > sma', "the market's own bars only"),
    ("size: {risk: 0.01}", "size: {risk: 0.01 * rsi(14) / 50}", "it says rsi(), which the brief leaves out"),
    ("size: {risk: 0.01}", "size: {target_vol: 0.2}", "its size is target_vol, and the brief has fraction, risk"),
    ("size: {risk: 0.01}", "size: {target_vol: 0.2, window: 20}", "its size is target_vol"),
    ("stop: 2 * atr(14)", "stop: 2 * std(close, 9)", "it says std(), which the brief leaves out"),
])  # fmt: skip
def test_every_part_of_a_strategy_is_looked_at(old: str, new: str, told: str) -> None:
    brief = Brief(only=("sma", "atr"), longer=("4h",), required=("regime_exit",), sizes=("risk", "fraction"))
    assert refused(brief) == ""
    assert told in refused(brief, old, new)


def test_what_a_target_volatility_stands_for_is_not_the_authors_word() -> None:
    brief = Brief(only=("sma", "atr"))
    assert refused(brief, "size: {risk: 0.01}", "size: {target_vol: 0.2}") == ""
    assert "std()" in refused(
        brief, "size: {risk: 0.01}", "size: {fraction: '0.1 / std(close / prev(close), 20)'}"
    )


def test_a_series_that_is_declared_is_no_part_of_a_brief() -> None:
    text = WHOLE.replace("params:", "series:\n  dxy: {lag: 1d, max_age: 5d}\nparams:")
    text = text.replace("close > sma", "dxy > 0 and close > sma")
    assert Brief().refuses(parse_spec(text)) == "it reads dxy, and a brief has the market's own bars only"


def test_a_brief_can_be_changed() -> None:
    assert replace(Brief(), max_nodes=20).max_nodes == 20
