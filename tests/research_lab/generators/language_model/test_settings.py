from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.errors import GauntletError, UsageError
from research_lab.generators.language_model.answers import strategies_in
from research_lab.generators.language_model.generator import LanguageModel
from research_lab.generators.language_model.key import Key
from research_lab.generators.language_model.settings import Settings, parse_settings
from tests.research_lab.generators.language_model.strategies import KEY, VARIABLE, settings

GOOD = """
provider: openai-compatible
base_url: http://127.0.0.1:8000/v1
model: small
budget: {calls: 10, tokens: 10000}
"""


def changed(**fields: Any) -> str:
    plain = {"provider": "openai-compatible", "base_url": "http://127.0.0.1:8000/v1", "model": "small",
             "budget": {"calls": 10, "tokens": 10_000}}  # fmt: skip
    return json.dumps({**plain, **fields})


def test_a_server_on_this_machine_needs_no_key() -> None:
    told = parse_settings(GOOD)
    assert isinstance(told, Settings)
    assert (told.output, told.key_variable, told.limits.retries) == ("tool", "", 3)


def test_the_configurations_of_the_page_are_right() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "language_models.md").read_text()
    shown = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    assert [parse_settings(text).provider for text in shown] == ["openai-compatible", "anthropic"]


def test_the_error_that_the_page_shows_is_the_one_raised() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "language_models.md").read_text()
    shown = page.split("```yaml\n")[1].partition("```")[0]
    with pytest.raises(UsageError) as refusal:
        parse_settings(shown.replace("temperature", "temprature"))
    assert f"`{refusal.value}`" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"provider": "somebody"}, "provider"),
        ({"base_url": ""}, "no address"),
        ({"base_url": "file:///etc/passwd"}, "no address"),
        ({"base_url": "http://[::1"}, "no address"),
        ({"base_url": f"https://me:{KEY}@host/v1"}, "no user, password"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "no user, password"),
        ({"base_url": "http://far.example/v1", "key_variable": VARIABLE}, "plain http"),
        ({"api_key": KEY}, "api_key: no key stands in a file"),
        ({"key_variable": "A B"}, "key_variable"),
        ({"knowledge_cutoff": "last year"}, "knowledge_cutoff"),
        ({"budget": {"calls": 10}}, "tokens"),
        ({"budget": {"calls": 10, "tokens": 10, "money": 1.0}}, "without prices"),
        ({"temperature": "NaN"}, "temperature"),
        ({"strategies_a_call": 10_000}, "strategies_a_call"),
        ({"provider": "anthropic", "output": "native"}, "tool or prompted"),
        ({"provider": "anthropic", "base_url": ""}, "asks for a key"),
        ({"surprise": 1}, "surprise: this key is not known; known: provider, model"),
        ({"temprature": 1.0}, "temprature: this key is not known; did you mean temperature"),
        ({"model": None, "modell": "x"}, r"modell: this key is not known \(and 1 more\); did you mean model"),
        ({"limits": {"retrys": 3}}, "limits.retrys: this key is not known; did you mean retries"),
        ({"prices": {"inputs": 3.0, "output": 1.0}}, r"prices.inputs: .*; did you mean input"),
        ({"temperature": 5.0}, "temperature: Input should be less than or equal to 2, not 5"),
        ({"budget": {"calls": 0, "tokens": 1}}, "budget.calls: .* greater than or equal to 1, not 0"),
        ({"budget": {"calls": "ten", "tokens": 1}}, "budget.calls: .*; write a whole number"),
        ({"critic": "yes"}, "critic: .*; write true or false"),
        ({"knowledge_cutoff": "2025-13-01"}, "knowledge_cutoff: this is no day; write it as 2025-06-30"),
        ({"key": KEY}, "key: no key stands in a file; put it into an environment variable"),
        ({"key_variable": f"{KEY}!"}, "this is no name of an environment variable"),
        ({"seed": KEY}, "seed: .*; write a whole number"),
        ({"budget": KEY}, "budget: .*; write its keys"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place_and_without_the_key(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        parse_settings(changed(**fields))
    assert KEY not in str(refusal.value)
    assert "model.yaml:1" in str(refusal.value)


@pytest.mark.parametrize("value", [None, "short", "with a blank in it", "with\nbreak", "schlüssel-schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_by_the_name_of_its_variable(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    known = settings("http://127.0.0.1:1", key_variable=VARIABLE)
    with pytest.raises(UsageError, match=VARIABLE) as refusal:
        LanguageModel(known, tmp_path)
    assert value is None or value not in str(refusal.value)
    LanguageModel(known, tmp_path, offline=True)  # a replay needs no key


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        f"x{KEY}y",
        KEY.upper(),
        json.dumps("".join(f"\\u{ord(c):04x}" for c in KEY)),
        json.dumps(json.dumps("".join(f"\\x{ord(c):02x}" for c in KEY))),
        "".join(f"&#{ord(c)};" for c in KEY),
        "".join(f"%{ord(c):02X}" for c in KEY),
        quote("".join(f"&#{ord(c)};" for c in KEY)),
        KEY.encode().hex(),
        *(base64.b64encode(b"a" * k + KEY.encode() + b"zz").decode() for k in range(3)),
    ],
)
def test_a_key_is_found_however_it_is_written(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    assert Key(VARIABLE).stands_in(form)
    assert not Key(VARIABLE).stands_in(form.replace(form[len(form) // 2], "_"))


def test_no_object_holds_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    known = settings("http://127.0.0.1:1", key_variable=VARIABLE)
    assert KEY.encode() not in pickle.dumps([known, Key(VARIABLE)])
    assert KEY not in repr(vars(LanguageModel(known, tmp_path)))


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from pathlib import Path\n"
        "from tests.research_lab.generators.language_model.strategies import settings\n"
        "from research_lab.generators.language_model.generator import LanguageModel\n"
        "try: LanguageModel(settings('http://127.0.0.1:1'), Path('nowhere'))\n"
        "except Exception as fault: print(fault)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "run make env, or pip install '.[llm]' in the checkout" in told


def test_the_libraries_are_imported_only_when_a_model_is_used() -> None:
    code = (
        "import sys, research_lab.generators.language_model.generator\n"
        "print([name for name in ('pydantic_ai', 'openai', 'anthropic', 'httpx2') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


@given(text=st.text(alphabet='{}[]",:\\ nul0strategies`\n\ud800é'), most=st.integers(1, 3))
def test_any_text_is_read_as_an_answer_without_a_fault(text: str, most: int) -> None:
    parts = strategies_in(text, most)
    assert len(parts.texts) <= most
    assert parts.texts or parts.fault or text.strip()
    assert issubclass(UsageError, GauntletError)


@given(
    rows=st.lists(
        st.recursive(st.none() | st.integers() | st.text(max_size=20), st.lists, max_leaves=10), max_size=5
    )
)
def test_the_parts_of_an_answer_are_cut_out_as_they_were_written(rows: list[Any]) -> None:
    written = [json.dumps(row) for row in rows]
    parts = strategies_in('{"strategies": [' + " , ".join(written) + "] }", 10)
    assert parts.fault == ""
    assert list(parts.texts) == [
        row if isinstance(row, str) else text for row, text in zip(rows, written, strict=True)
    ]
