"""A file that cannot be written is told before the work that it is for, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli, comparison, gate_run, model_fitting
from pipelines.output_files import check_output
from research_lab.errors import UsageError

COMMANDS = [
    (gate_run, "run_gates", ["gate", "ema_atr", "--data", "x.parquet", "--junit"]),
    (gate_run, "run_gates", ["gate", "ema_atr", "--data", "x.parquet", "--summary"]),
    (comparison, "compared", ["compare", "a", "b", "--picture"]),
    (model_fitting, "fit_and_look", ["model", "fit", "drift.yaml", "--data", "x.parquet", "--out"]),
]


@pytest.mark.parametrize(("module", "work", "command"), COMMANDS, ids=[c[-1] for _, _, c in COMMANDS])
def test_no_work_is_done_for_a_file_that_cannot_be_written(
    module: object, work: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, work, None)
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("GAUNTLET_WORKSPACE", str(tmp_path / "ws"))
    done = CliRunner().invoke(cli.app, [*command, str(tmp_path / "file" / "below" / "a.xml")])
    assert isinstance(done.exception, UsageError)
    assert "cannot be written: Not a directory" in str(done.exception) and command[-1] in str(done.exception)


def test_a_missing_folder_is_made_and_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.xml"
    check_output(path, "--junit")
    assert path.parent.is_dir() and list(path.parent.iterdir()) == []
    path.write_text("old", encoding="utf-8")
    for appended in (False, True):
        check_output(path, "--summary", appended=appended)
    assert path.read_text(encoding="utf-8") == "old"


def test_a_folder_is_no_file_and_a_pipe_is_only_added_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file"):
        check_output(tmp_path, "--junit")
    with pytest.raises(UsageError, match="is no file"):
        check_output(Path("/dev/null"), "--junit")
    check_output(Path("/dev/null"), "--summary", appended=True)
    check_output(None, "--junit")
