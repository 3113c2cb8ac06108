"""The command `pipeline`: light, explained, one clear message for each mistake, and nothing by halves."""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

import pipelines
from live_shadow import governance
from live_shadow.enable_map import read_map
from pipelines import campaign, candidates, cli
from pipelines.console import CampaignProgress
from pipelines.interruption import sigterm_as_ctrl_c
from pipelines.tracking.connection import ADDRESS, EXPERIMENT
from pipelines.tracking.tracker import Tracker
from research_lab.bars import Market, write_candles
from research_lab.workspace import Workspace
from tests.pipelines import small_campaign as small

COMMANDS = sorted(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
HEAVY = (
    "mlflow", "vectorbt", "optuna", "great_expectations", "pandas", "scipy", "matplotlib", "numba", "numpy",
    "pyarrow", "pydantic", "yaml", "rich",
)  # fmt: skip
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1  # of Linux


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line on stderr that is no progress."""
        (line,) = [line for line in self.err.splitlines() if not line.startswith("[")]
        return line


def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> Answer:
    """Run the command in this process."""
    monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    text = capsys.readouterr()
    return Answer(int(ended.value.code or 0), text.out, text.err)


class Place:
    """A folder with candles, strategies, an easy policy and an empty workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace.find(root / "ws").create()
        governance.init(self.workspace.root)
        self.data = small.candle_file(root, small.planted())
        self.strategies = small.strategy_folder(root, small.EMA, small.QUICK)
        self.policy = small.policy_file(root)

    def run(self, **other: str | Path) -> list[str]:
        told = {"data": self.data, "strategies": self.strategies, "policy": self.policy, **other}
        options = {"workspace": self.workspace.root, **told}
        return ["run", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place in which a campaign has passed and its best was promoted, by the command."""
    place = Place(tmp_path_factory.mktemp("promoted"))
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", ["pipeline", *place.run(), "--promote"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 0
    (place.root / "printed").write_text(printed.getvalue())
    return place


@pytest.fixture
def kept(promoted: Place) -> Iterator[Place]:
    """The same; the test must leave it as it was, but for MLflow's own files."""
    before = small.contents(promoted.workspace.root)
    yield promoted
    assert small.contents(promoted.workspace.root) == before


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]


class TestHelp:
    def test_there_are_the_commands_that_a_person_needs(self) -> None:
        assert {"run", "promote", "status", "rollback", "report", "ui", "demo"} <= set(COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_says_what_it_does_with_an_example(self, name: str) -> None:
        shown = CliRunner().invoke(cli.app, [name, "--help"])
        assert shown.exit_code == 0
        assert f"Example: pipeline {name}" in " ".join(shown.output.split())

    def test_the_list_of_commands_is_not_cut_off(self) -> None:
        shown = CliRunner().invoke(cli.app, ["--help"]).output
        assert all(f"  {name} " in shown for name in COMMANDS)
        assert "..." not in shown.split("Commands:")[1]

    def test_every_option_is_explained(self) -> None:
        for name in COMMANDS:
            for option in typer.main.get_command(cli.app).commands[name].params:  # type: ignore[attr-defined]
                assert getattr(option, "help", ""), f"{name} {option.name}"

    def test_it_loads_nothing_heavy(self) -> None:
        code = (
            "import sys\nsys.argv = ['pipeline', '--help']\nfrom pipelines.cli import main\n"
            f"try:\n    main()\nexcept SystemExit:\n    pass\nprint(sorted({set(HEAVY)} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


class TestOutcome:
    def test_a_strategy_that_passes_is_0_and_with_promote_it_is_in_the_map(self, promoted: Place) -> None:
        printed = (promoted.root / "printed").read_text()
        (entry,) = read_map(promoted.workspace.enable_map).entries
        assert f"{entry.name} {entry.candidate[:12]} (synthetic EDGE/USDT 1h): promoted" in printed
        assert "enable_map.yaml is now version 1" in printed
        model = f"synthetic EDGE-USDT {entry.name}"
        assert f"MLflow: {model} version 1: alias champion" in printed
        assert Tracker(promoted.workspace).alias_version(model, "champion") == 1
        assert list(promoted.workspace.reports.glob("campaign-*.html"))
        assert all(c.report_path.exists() for c in candidates.every(promoted.workspace))

    def test_noise_is_3_with_every_reason(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(campaign, "Tracker", small.Tracker)
        data = small.candle_file(place.root, small.noise(Market("synthetic", "NOISE/USDT")))
        answer = called(capsys, monkeypatch, *place.run(data=data), "--promote")
        assert answer.code == 3
        assert "passed every gate: none" in answer.out
        assert answer.out.count("Sharpe ratio") >= 2 and "NOT MET: test" in answer.out
        assert not place.workspace.enable_map.exists()

    def test_all_insufficient_is_4(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(campaign, "Tracker", small.Tracker)
        strategies = small.strategy_folder(place.root / "fine", small.FINE)
        answer = called(capsys, monkeypatch, *place.run(strategies=strategies))
        assert answer.code == 4
        assert "fine runs on 5m, finer than the data's 1h; bring candles of 5m or finer" in answer.out
        assert "1 strategy\n" in answer.out

    def test_too_few_days_are_4(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(campaign, "Tracker", small.Tracker)
        data = small.candle_file(place.root, small.planted(n_days=30))
        answer = called(capsys, monkeypatch, *place.run(data=data))
        assert (answer.code, answer.out.count("\n")) == (4, 1)
        assert "bring more data" in answer.message

    def test_a_promotion_that_gate_10_refuses_is_3(
        self, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = next(c for c in candidates.every(kept.workspace) if not c.history)
        where = ("-w", kept.workspace.root, "--policy", kept.policy)
        answer = called(capsys, monkeypatch, "promote", other.hash[:8], "--dry-run", *where)
        assert answer.code == 4
        assert f"{other}: INSUFFICIENT\n  holdout: no verdict\n" in answer.out
        assert "enable_map.yaml stays at version 1" in answer.out


class TestLookingBack:
    def test_status_shows_map_history_and_candidates(
        self, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = called(capsys, monkeypatch, "status", "-w", kept.workspace.root)
        (entry,) = read_map(kept.workspace.enable_map).entries
        assert (answer.code, answer.err) == (0, "")
        assert "enable_map.yaml version 1, 1 entry\n" in answer.out
        assert f"  champion  {entry.name} {entry.candidate[:12]} on synthetic EDGE/USDT 1h" in answer.out
        assert "It passed all 8 gates, and was promoted." in answer.out

    def test_a_report_is_written_anew_with_the_same_bytes(
        self, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        candidate = candidates.every(kept.workspace)[0]
        where = ("-w", kept.workspace.root, "--policy", kept.policy)
        page = candidate.report_path.read_bytes()
        for wanted in (candidate.name, candidate.hash[:6]):
            answer = called(capsys, monkeypatch, "report", wanted, *where)
            assert (answer.code, answer.out.strip()) == (0, str(candidate.report_path))
            assert candidate.report_path.read_bytes() == page

    def test_a_map_edited_to_garbage_is_told_refused_and_restored(
        self,
        promoted: Place,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        root = tmp_path / "ws"
        subprocess.run(["cp", "-r", promoted.workspace.root, root], check=True)
        good = read_map(root / "enable_map.yaml")
        (root / "enable_map.yaml").write_text("entries: [}")
        told = called(capsys, monkeypatch, "status", "-w", root)
        assert told.code == 0
        assert "enable_map.yaml cannot be trusted: its SHA-256 is" in told.out
        before = small.contents(root)
        refused = called(
            capsys, monkeypatch, "promote", good.entries[0].name, "-w", root, "--policy", promoted.policy
        )
        assert refused.code == 2
        assert "run `pipeline rollback` to restore it" in refused.message
        assert small.contents(root) == before
        back = called(capsys, monkeypatch, "rollback", "-w", root, "--why", "somebody edited it")
        assert back.code == 0
        restored = read_map(root / "enable_map.yaml")
        assert (restored.entries, restored.version) == (good.entries, 2)


class TestMistakes:
    def test_each_mistake_in_a_strategy_file_has_its_line(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (place.strategies / "zz.yaml").write_text(small.EMA.replace("close, fast", "close > rsi(14), fast"))
        self.refused(
            place,
            place.run(),
            "zz.yaml:10:15: close > rsi(14) compares price with ratio",
            capsys,
            monkeypatch,
            but="ws/trials/",  # that it was proposed is recorded
        )

    def test_two_strategies_of_one_name(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (place.strategies / "zz.yaml").write_text(small.QUICK.replace("name: quick", "name: ema"))
        self.refused(place, place.run(), "the name ema stands in two files", capsys, monkeypatch)

    @pytest.mark.parametrize(
        ("option", "value", "told"),
        [
            ("data", "absent.parquet", "absent.parquet: there is no such file"),
            ("strategies", "absent", "absent: there is no such file or folder"),
            ("funding", "absent.parquet", "absent.parquet: there is no such file"),
            ("policy", "absent.yaml", "absent.yaml"),
            ("policy", "ema.yaml", "ema.yaml:1"),
            ("data", "text.parquet", "text.parquet: "),
            ("data", "shuffled_1h.parquet", "shuffled_1h.parquet: row 100, "),
            ("data", "twice_1h.parquet", "twice_1h.parquet: row 101, "),
        ],
    )
    def test_each_file_that_cannot_be_used(
        self,
        option: str,
        value: str,
        told: str,
        place: Place,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        _broken_files(place)
        file = place.strategies / value if value == "ema.yaml" else place.root / value
        self.refused(place, place.run(**{option: file}), told, capsys, monkeypatch)

    @pytest.mark.parametrize("name", ["promote", "report"])
    def test_a_candidate_that_is_not_there(
        self, name: str, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        where = ("-w", kept.workspace.root)
        answer = called(capsys, monkeypatch, name, "emma", *where)
        assert (answer.code, answer.out) == (2, "")
        assert "no candidate 'emma'; near it: ema" in answer.message

    def test_limits_that_were_edited(
        self,
        promoted: Place,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        root = tmp_path / "ws"
        subprocess.run(["cp", "-r", promoted.workspace.root, root], check=True)
        text = (root / "governance.yaml").read_text()
        (root / "governance.yaml").write_text(text + "\n# a little more\n")
        (entry,) = read_map(root / "enable_map.yaml").entries
        before = small.contents(root)
        arguments = ("promote", entry.name, "--share", "0.5", "-w", root, "--policy", promoted.policy)
        answer = called(capsys, monkeypatch, *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert "the limits were changed; restore the pinned text" in answer.message
        assert small.contents(root) == before

    def test_a_share_that_is_none(
        self, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = called(capsys, monkeypatch, "promote", "ema", "--share", "1.5", "-w", kept.workspace.root)
        assert answer.code == 2
        assert "Traceback" not in answer.err

    def test_a_workspace_inside_the_program(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = Path(pipelines.__file__).parent
        arguments = place.run(workspace=package / "ws")
        self.refused(place, arguments, "belongs to the installed program", capsys, monkeypatch)
        assert not (package / "ws").exists()

    def test_a_workspace_that_is_a_file(
        self, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.refused(place, place.run(workspace=place.policy), "a workspace is a folder", capsys, monkeypatch)

    def test_a_disk_that_refuses_is_one_message(
        self, kept: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", "report.html")

        monkeypatch.setattr("pipelines.report.atomic_write", full)
        answer = called(capsys, monkeypatch, "report", "ema", "-w", kept.workspace.root)
        assert (answer.code, answer.out) == (2, "")
        assert answer.message == "pipeline: report.html: No space left on device"

    @staticmethod
    def refused(
        place: Place,
        arguments: Sequence[str],
        told: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        but: str = "\n",
    ) -> None:
        """Expect exit code 2, one message and an untouched folder, `but` for files whose path begins so."""
        before = small.contents(place.root)
        answer = called(capsys, monkeypatch, *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.message
        left = {name: is_ for name, is_ in small.contents(place.root).items() if not name.startswith(but)}
        assert left == before


def hears_interrupts() -> None:
    """Take Ctrl-C as a terminal's process does: a shell's background jobs, and what they start, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_that_was_swallowed_ends_the_work_at_the_next_stage() -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), CampaignProgress() as progress:
            progress("first", 0.1)
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            progress("second", 0.2)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_is_ctrl_c_also_where_that_is_ignored_and_ends_forked_processes() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
            forked, begun = multiprocessing.get_context("fork"), multiprocessing.get_context("fork").Event()
            child = forked.Process(target=lambda: (begun.set(), time.sleep(60)))
            child.start()
            assert begun.wait(20)
            child.terminate()
            child.join(20)
            assert child.exitcode == -signal.SIGTERM
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


class TestProcess:
    def test_a_store_that_is_down_is_told_within_seconds_and_before_any_look(self, place: Place) -> None:
        environment = {**os.environ, ADDRESS: "http://127.0.0.1:9"}
        began = time.monotonic()
        done = subprocess.run(
            command(*place.run()), capture_output=True, text=True, check=False, env=environment, timeout=120
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        assert answer.code == 2
        assert "http://127.0.0.1:9: the MLflow server does not answer; start it, or unset" in answer.message
        assert time.monotonic() - began < 60
        assert not list(place.workspace.trials.glob("seg-*"))
        assert not list(place.workspace.lake.iterdir())

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_a_stop_keeps_what_was_counted_and_the_next_run_completes(
        self,
        place: Place,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        stop: signal.Signals,
    ) -> None:
        first = subprocess.Popen(
            command(*place.run()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hears_interrupts,
        )
        assert first.stderr is not None
        seen = []
        for line in first.stderr:
            seen.append(line)
            if "look-ahead" in line:
                first.send_signal(stop)
                break
        _, err = first.communicate(timeout=120)
        assert first.returncode == 130, "".join(seen) + err
        assert "Traceback" not in err
        assert err.endswith(
            "every look so far is counted; run the same command again to go on\npipeline: interrupted\n"
        )
        assert not list(place.workspace.candidates.iterdir())
        assert _statuses(place.workspace) == ["KILLED"]
        ledger = campaign.TrialLedger(place.workspace.trials)
        interval = small.planted().interval
        counted = ledger.n_looks("EDGE/USDT", *interval)
        assert counted > 0
        assert called(capsys, monkeypatch, *place.run()).code == 0
        trials = campaign.TrialLedger(place.workspace.trials).trials("EDGE/USDT", *interval)
        assert len(trials) == len({trial.candidate for trial in trials}) > counted
        assert _statuses(place.workspace) == ["FINISHED"]

    def test_a_workspace_that_cannot_be_written_to_is_one_message(self, place: Place) -> None:
        for path in [place.workspace.root, *place.workspace.root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = small.contents(place.root)
        done = subprocess.run(
            command(*place.run()), capture_output=True, text=True, check=False, preexec_fn=_obey_permissions
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        assert answer.code == 2, answer.err
        assert str(place.workspace.root) in answer.message
        assert small.contents(place.root) == before


def _broken_files(place: Place) -> None:
    """Lay broken candles beside the good ones: text, rows exchanged, a row twice."""
    (place.root / "text.parquet").write_text("timestamp,open\n1,2\n")
    bars = small.planted(n_days=20)
    path = write_candles(replace(bars), place.root / "good_1h.parquet")
    table = pq.read_table(path)
    order = np.arange(bars.n)
    order[[99, 100]] = order[[100, 99]]
    pq.write_table(table.take(pa.array(order)), place.root / "shuffled_1h.parquet")
    twice = np.insert(np.arange(bars.n), 100, 100)
    pq.write_table(table.take(pa.array(twice)), place.root / "twice_1h.parquet")


def _statuses(workspace: Workspace) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.mlflow_db}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], "tags.`gauntlet.kind` = 'campaign'")
    return sorted(run.info.status for run in runs)


def _obey_permissions() -> None:
    """Let file permissions bind this process even when it is root's: give up CAP_DAC_OVERRIDE."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)
