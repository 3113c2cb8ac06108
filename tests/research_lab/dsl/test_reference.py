"""The language page: up to date, whole, and true where it can be tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from research_lab.dsl import limits
from research_lab.dsl.dimensions import CONDITION
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.reference import _LIMITS, dimension_words, language_page
from research_lab.dsl.reference_text import EXAMPLES, PYTHON, STRATEGY
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import REGIMES, Spec
from research_lab.dsl.spec_reader import parse_spec
from research_lab.dsl.spec_text import SpecForm

ROOT = Path(__file__).resolve().parents[3]
PAGE = language_page()


def test_the_file_is_that_of_this_code() -> None:
    assert (ROOT / "docs/language.md").read_text(encoding="utf-8") == PAGE, "out of date: run `make docs`"


@pytest.mark.parametrize("text", [text for text, _ in EXAMPLES])
def test_every_example_is_a_condition(text: str) -> None:
    assert parse_expression(text, Scope()).dimension == CONDITION
    assert f"`{text}`" in PAGE


def test_the_strategies_on_the_page_and_in_the_readme_are_read() -> None:
    assert STRATEGY in PAGE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.+?)```", PAGE + readme, flags=re.DOTALL)
    assert len(found) == 2
    for text in found:
        parse_spec(text)


def test_the_python_on_the_page_and_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert PYTHON.strip() in PAGE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.+?)```", PAGE + readme, flags=re.DOTALL)
    assert len(found) == 2
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
    assert "of warm-up" in section


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sma", "that of x"), ("atr", "price"), ("bars_since", "bars"), ("prev", "that of x; conditions too"),
        ("crosses_above", "condition; a and b of one dimension"), ("log", "ratio; x a ratio"),
        ("sqrt", "the square root of that of x"), ("max", "that of a; a and b of one dimension"),
        ("if_else", "that of a; a and b of one dimension; conditions too"),
    ],
)  # fmt: skip
def test_dimensions_are_told_in_words(name: str, words: str) -> None:
    assert dimension_words(FUNCTIONS[name]) == words


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("- `sma(close, 14)`: 14 bars of warm-up, 18 cells, 1 instruction", "the 14th bar has 14 values"),
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
    assert set(_LIMITS) == {name for name in vars(limits) if name.isupper()}
    assert f"| {limits.BYTES:,} | bytes of a file |" in PAGE


def test_every_link_inside_the_page_has_its_heading() -> None:
    for target in re.findall(r"\]\(#(.+?)\)", PAGE):
        assert f"\n### {target}\n" in PAGE
