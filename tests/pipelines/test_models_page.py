"""The page on models: its files are read, its commands print what it says, its table of degrading is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from live_shadow.cli import app as live_shadow
from pipelines import cli
from research_lab.dsl.spec_reader import parse_spec
from research_lab.models.estimators import MOST_DEVIATIONS
from research_lab.models.model_reader import parse_model
from research_lab.models.model_text import EstimatorForm, ModelForm
from tests.pipelines import small_campaign as small

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
MODEL, STRATEGY = re.findall(r"```yaml\n(.+?)```", PAGE, flags=re.DOTALL)
PRINTED = re.findall(r"    pipeline ([^\n]+)\n\n```text\n(.+?)```", PAGE, flags=re.DOTALL)


def test_the_strategy_pins_the_model_and_each_way_of_degrading_is_of_the_language() -> None:
    model, spec = parse_model(MODEL), parse_spec(STRATEGY)
    assert spec.models["drift"].hash == model.hash and model.declaration in PAGE
    for text in re.findall(r"^\| `(.*model\(.+?)` \|", PAGE, flags=re.MULTILINE):
        changed = re.sub(r"enter_long: .+", lambda _, text=text: f"enter_long: {text}", STRATEGY)
        assert 'model("drift")' in parse_spec(changed).rows


def test_every_field_and_estimator_is_named() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE))
    assert set(ModelForm.model_fields) - {"name", "hypothesis"} == rows
    for kind, field in EstimatorForm.model_fields.items():
        assert f"`{kind}`" in PAGE
        options = next(form for form in field.annotation.__args__ if hasattr(form, "model_fields"))  # type: ignore[union-attr]
        assert all(f"`{name}`" in PAGE for name in options.model_fields)
    assert f"ended at {MOST_DEVIATIONS:g}" in PAGE


def test_the_commands_print_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.candle_file(tmp_path, small.planted(n_days=800))
    (tmp_path / "drift.yaml").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [command.split()[:2] for command, _ in PRINTED] == [["model", "check"], ["model", "fit"]]
    for command, printed in PRINTED:
        shown = CliRunner().invoke(cli.app, shlex.split(command))
        assert (shown.exit_code, shown.output) == (0, printed)


def test_the_other_commands_have_the_options_that_the_page_gives() -> None:
    for program, app in (("pipeline run", cli.app), ("live-shadow replay", live_shadow)):
        (line,) = re.findall(rf"^    {program} (.+)$", PAGE, flags=re.MULTILINE)
        shown = CliRunner().invoke(app, [program.split()[1], "--help"]).output
        assert all(option in shown for option in re.findall(r"--\w+", line))
