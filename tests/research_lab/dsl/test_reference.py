"""The language page: up to date, whole, and true where it can be tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from research_lab.dsl import limits, spec_text
from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.reference import _LIMITS, dimension_words, language_page
from research_lab.dsl.reference_text import (
    DECLARED,
    ELSEWHERE_EXAMPLES,
    ENSEMBLE_TEXT,
    EXAMPLES,
    MACRO_TEXT,
    PYTHON,
    RULES,
    STRATEGY,
)
from research_lab.dsl.regimes import MACRO_STATES
from research_lab.dsl.registry import FAMILIES, FUNCTIONS, INPUTS
from research_lab.dsl.spec import REGIMES, Spec
from research_lab.dsl.spec_reader import (
    LIBRARY,
    load_spec,
    parse_declarations,
    parse_macro,
    parse_spec,
)
from research_lab.dsl.spec_text import SpecForm
from research_lab.dsl.text_reader import RESERVED
from research_lab.errors import SpecError
from research_lab.series import EventRule, ModelRule, SeriesRule

ROOT = Path(__file__).resolve().parents[3]
PAGE = language_page()


def test_the_file_is_that_of_this_code() -> None:
    assert (ROOT / "docs/language.md").read_text(encoding="utf-8") == PAGE, "out of date: run `make docs`"


@pytest.mark.parametrize("text", [text for text, _ in EXAMPLES])
def test_every_example_is_a_condition(text: str) -> None:
    assert parse_expression(text, Scope()).dimension == CONDITION
    assert f"`{text}`" in PAGE


@pytest.mark.parametrize("text", [text for text, _ in ELSEWHERE_EXAMPLES])
def test_every_example_of_other_clocks_and_sources_is_a_condition_of_a_strategy(text: str) -> None:
    kinds = {"series": SeriesRule, "events": EventRule, "models": ModelRule}
    read = {
        name: rule for name, rule in parse_declarations(DECLARED).items() if re.search(rf"\b{name}\b", text)
    }
    used = {field: {name: rule for name, rule in read.items() if isinstance(rule, kind)}
            for field, kind in kinds.items()}  # fmt: skip
    lines = [f"{field}:\n" + "".join(f"  {name}: {rule.text}\n" for name, rule in found.items())
             for field, found in used.items() if found]  # fmt: skip
    head = STRATEGY.split("params:")[0]
    spec = parse_spec(f"{head}{''.join(lines)}enter_long: {text}\ntime_stop: 5\nsize: {{fraction: 0.5}}\n")
    assert spec.conditions["enter_long"].dimension == CONDITION
    assert f"`{text}`" in PAGE


def test_the_strategies_on_the_page_and_in_the_readme_are_read() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.+?)```", PAGE, flags=re.DOTALL)
    assert found == [STRATEGY, DECLARED, ENSEMBLE_TEXT, MACRO_TEXT]
    in_readme = re.findall(r"```yaml\n(.+?)```", readme, flags=re.DOTALL)
    assert in_readme
    rest = "time_stop: 5\nsize: {fraction: 0.5}\n"
    whole = [
        text if text.startswith("spec:") else STRATEGY.split("params:")[0] + text + rest for text in in_readme
    ]
    for text in (STRATEGY, ENSEMBLE_TEXT, *whole):
        parse_spec(text, resolve=lambda name: load_spec(LIBRARY / f"{name}.yaml"))
    assert {name for name, _ in parse_macro(MACRO_TEXT).conditions} == set(MACRO_STATES)
    assert all(f"`{name}`" in PAGE for name in MACRO_STATES)


def test_the_python_on_the_page_and_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert PYTHON.strip() in PAGE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.+?)```", PAGE + readme, flags=re.DOTALL)
    assert len(found) == 3
    for code in found:
        names: dict[str, object] = {}
        exec(code, names)
        assert any(isinstance(value, Spec) for value in names.values())
    assert parse_spec(capsys.readouterr().out).name == "breakout"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_has_a_section_with_signature_meaning_and_costs(name: str) -> None:
    section = PAGE.split(f"\n### {name}\n")[1].split("\n#")[0]
    function = FUNCTIONS[name]
    assert f"`{function.signature}`: {function.meaning}." in section
    assert f"- gives: {dimension_words(function)}\n" in section
    assert all(f"- `{argument.name}`: " in section for argument in function.arguments)
    assert (f"- is: `{function.body}`" in section) == bool(function.body)
    assert section.count("- is, on bars of ") == (4 if function.body_on else 0)
    assert all(f": {name} is " in section for name in function.fixed)
    assert "of warm-up" in section


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sma", "that of x"), ("atr", "price"), ("bars_since", "bars"), ("prev", "that of x; conditions too"),
        ("crosses_above", "condition; a and b of one dimension"), ("log", "ratio; x a ratio"),
        ("sqrt", "the square root of that of x"), ("max", "that of a; a and b of one dimension"),
        ("if_else", "that of a; a and b of one dimension; conditions too"), ("rsi", "ratio"),
        ("covariance", "that of a times that of b"), ("beta", "that of a over that of b"),
        ("var", "the square of that of x"), ("pow", "that of x to the power of k"),
        ("keltner_upper", "price; k a ratio"), ("bollinger_upper", "that of x; k a ratio"),
        ("edge", "ratio; p a ratio; reward a ratio; stop a price; cost a ratio"),
    ],
)  # fmt: skip
def test_dimensions_are_told_in_words(name: str, words: str) -> None:
    assert dimension_words(FUNCTIONS[name]) == words


def test_conditions_too_is_told_of_what_takes_them_and_of_nothing_else() -> None:
    told = set()
    for name, function in FUNCTIONS.items():
        kinds = [argument.kind for argument in function.arguments]
        samples = {
            "number": "close > open",
            "condition": "close > open",
            "window": "14",
            "share": "0.5",
            "exponent": "2",
        }
        try:
            parse_expression(f"{name}({', '.join(samples[kind] for kind in kinds)})", Scope())
        except SpecError:
            continue
        if "number" in kinds:
            told.add(name)
    assert told == {name for name in FUNCTIONS if "conditions too" in dimension_words(FUNCTIONS[name])}
    assert "rsi" not in told


def test_every_family_has_its_heading_and_its_functions_below() -> None:
    for family, functions in FAMILIES.items():
        part = PAGE.split(f"\n### {family.capitalize()}\n")[1]
        table = part.split("\n### ")[0]
        assert [f.name for f in functions] == re.findall(r"\]\(#(\w+)\)", table)


def test_what_confirmed_is_stands_there_for_each_timeframe() -> None:
    section = PAGE.split("\n### confirmed\n")[1].split("\n#")[0]
    assert '- is, on bars of 1w: `(coalesce(0.1 * tf("1w", calm()) * tf("1w", x), 0)) / ' in section
    assert 'tf("1h"' in section.split("on bars of 1h")[1].split("- is")[0]
    assert 'tf("1h"' not in section.split("on bars of 4h")[1]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("- `sma(close, 14)`: 14 bars of warm-up, 21 cells, 1 instruction", "the 14th bar has 14 values"),
        ("- `prev(close, 14)`: 15 bars of warm-up, 16 cells, 1 instruction", "14 bars before the 15th"),
        (
            "- `rma(close, 14)`: 188 bars of warm-up, 2 cells, 1 instruction",
            "(13 / 14)^187 is below a millionth",
        ),
        ("- `atr(14)`: 189 bars of warm-up, 4 cells, 2 instructions", "and true_range wants the bar before"),
    ],
)
def test_costs_are_those_reckoned_by_hand(line: str, why: str) -> None:
    assert line in PAGE, why


def test_inputs_fields_limits_and_regimes_are_all_there() -> None:
    for name in (*INPUTS, *SpecForm.model_fields, *REGIMES):
        assert f"`{name}`" in PAGE
    for model in ("SeriesForm", "EventForm", "EnsembleForm", "MemberForm"):
        assert all(f"| `{name}` | " in PAGE for name in getattr(spec_text, model).model_fields)
    assert set(_LIMITS) == {name for name in vars(limits) if name.isupper()}
    assert f"| {limits.BYTES:,} | bytes of a file |" in PAGE


def test_the_names_that_are_taken_are_those_that_the_reader_refuses() -> None:
    rule = next(line for line in RULES.split("\n- ") if "is no input" in line)
    told = set(re.findall(r"`(\w+)`", rule)) - {"params", "series", "events", "models", "define"}
    assert told == RESERVED - set(INPUTS)


def test_every_link_inside_the_page_has_its_heading() -> None:
    for target in re.findall(r"\]\(#(.+?)\)", PAGE):
        assert f"\n### {target}\n" in PAGE


def test_limits_that_other_modules_keep_are_told() -> None:
    for told in ("| 10,000,000 | combinations", "| 12 | lists and mappings", "| 40 | characters of a number"):
        assert told in PAGE
