"""The command `live-shadow`: light, explained, and never a traceback for what a person did."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from live_shadow import cli, governance
from live_shadow.enable_map import Stage, utc_time
from research_lab.bars import utc, write_candles
from tests.live_shadow.made_up import candles, entry, strategy, workspace

COMMANDS = sorted(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "live_shadow.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["live-shadow", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    text = capsys.readouterr()
    return int(code or 0), text.out, text.err


def small_workspace(root: Path) -> tuple[Path, Path]:
    bars = candles(31, 460)
    since = utc_time(utc(int(bars.time[440])))
    specs = [strategy("ema_atr"), strategy("breakout_4h")]
    entries = [
        (specs[0], entry(specs[0], since=since, risk_share=0.5)),
        (specs[1], entry(specs[1], since=since, risk_share=0.0, stage=Stage.SHADOW, regimes=("trend_up",))),
    ]
    data = write_candles(bars, root / "candles.parquet")
    return workspace(root / "ws", entries).root, data


def test_there_are_the_commands_that_a_person_needs() -> None:
    assert {"init", "replay", "why", "status"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(command: str) -> None:
    text = CliRunner().invoke(cli.app, [command, "--help"]).output
    assert f"Example: live-shadow {command}" in " ".join(text.split())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['live-shadow', '--help']\nfrom live_shadow.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'numba', 'pydantic', 'pyarrow', 'yaml', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.proof
def test_help_answers_in_under_four_tenths_of_a_second() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        run("--help")
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.4


def test_the_executor_never_loads_what_research_needs() -> None:
    code = (
        "import sys\nimport live_shadow.replay, live_shadow.why, live_shadow.cli\n"
        "heavy = {'mlflow', 'vectorbt', 'optuna', 'great_expectations', 'sklearn', 'pandas', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_init_twice_is_init_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = called(capsys, monkeypatch, "init", "-w", tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first[0] == 0 and len(files) == 4
    assert called(capsys, monkeypatch, "init", "-w", tmp_path) == first
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_the_workspace_is_found_by_its_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAUNTLET_WORKSPACE", str(tmp_path / "ws"))
    (tmp_path / "ws").mkdir()
    assert called(capsys, monkeypatch, "init")[0] == 0
    assert (tmp_path / "ws" / governance.PIN).exists()


def test_replay_why_and_status_tell_one_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, data = small_workspace(tmp_path)
    code, out, err = called(capsys, monkeypatch, "replay", "--data", data, "-w", root, "--capital", "5000")
    assert (code, out.split(",")[0]) == (0, "20 bars taken"), err
    assert "warming up on 440 bars" in err
    code, out, _ = called(capsys, monkeypatch, "why", "-w", root)
    assert code == 0
    for word in ("ema_atr", "breakout_4h", "STAGE_SHADOW", "promotion to canary", "loss today", "next"):
        assert word in out
    at = utc(int(candles(31, 460).time[100]))
    assert "INACTIVE" in called(capsys, monkeypatch, "why", "--at", at, "-w", root)[1]
    code, out, _ = called(capsys, monkeypatch, "why", "--since", "2024-01-01", "-w", root)
    assert code == 0 and "WARMING" in out
    assert "last bar closed" in called(capsys, monkeypatch, "status", "-w", root)[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "--data", "absent.parquet"), "absent.parquet"),
        (("why",), "run `live-shadow replay` first"),
        (("status",), "run `live-shadow replay` first"),
        (("why", "--at", "yesterday"), "is no time"),
        (("why", "--at", "2024-01-01", "--since", "2024-01-01"), "give one of them"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_two(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = workspace(tmp_path).root
    code, out, err = called(capsys, monkeypatch, *arguments, "-w", root)
    assert (code, out) == (2, "")
    assert said in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("text", [None, "entries: [", "version: 1\nentries: []\n"])
def test_a_missing_or_malformed_map_enables_nothing(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, data = small_workspace(tmp_path)
    (root / "enable_map.yaml").unlink()
    if text is not None:
        (root / "enable_map.yaml").write_text(text)
    code, _, err = called(capsys, monkeypatch, "replay", "--data", data, "-w", root)
    assert code == 2 and "enable_map.yaml" in err
    assert not (root / "executor" / "ledger.sqlite").exists()


def test_an_interrupt_is_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert called(capsys, monkeypatch, "status")[0] == 130
