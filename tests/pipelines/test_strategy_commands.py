"""`pipeline strategy`: files begun, checked, explained, formatted and compared; each fault in one clear line."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines import cli, strategy_commands, strategy_files
from pipelines.strategy_files import LIBRARY, kind_of, library, n_comments, starters
from research_lab.dsl.spec_reader import load_spec
from tests.pipelines.test_cli import Answer, called

COMMANDS = sorted(typer.main.get_command(strategy_commands.app).commands)  # type: ignore[attr-defined]
STRATEGIES = [path.stem for path in library()]
PLAIN = """\
spec: 1
name: plain
hypothesis: none
timeframe: 1h
side: long
params:
  n: {range: [10, 20], step: 5, default: 10}
define:
  level: sma(close, n)
enter_long: close > level and volume > prev(volume)
exit_long: close < level
stop: 2 * atr(14)
size: {risk: 0.01}
"""


UNDEFINED = PLAIN.replace("define:\n  level: sma(close, n)\n", "").replace("level", "sma(close, n)")
TREE = """
enter_long
  and              condition
  ├─ <             condition
  │  ├─ prev(n=1)  volume
  │  │  └─ volume  volume
  │  └─ volume     volume
  └─ <             condition
     ├─ sma(n=n)   price
     │  └─ close   price
     └─ close      price
"""


class Desk:
    """A folder with a strategy in it, and the command."""

    def __init__(
        self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.root = root
        self._capsys, self._monkeypatch = capsys, monkeypatch
        monkeypatch.chdir(root)

    def file(self, text: str | bytes, name: str = "s.yaml") -> Path:
        path = self.root / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def do(self, *arguments: str | Path) -> Answer:
        return called(self._capsys, self._monkeypatch, "strategy", *arguments)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


class TestHelp:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_says_what_it_does_with_an_example(self, name: str) -> None:
        shown = CliRunner().invoke(cli.app, ["strategy", name, "--help"])
        assert shown.exit_code == 0
        assert f"Example: pipeline strategy {name}" in " ".join(shown.output.split())

    def test_the_list_of_commands_is_not_cut_off(self) -> None:
        shown = CliRunner().invoke(cli.app, ["strategy", "--help"]).output
        assert all(f"  {name} " in shown for name in COMMANDS)
        assert "..." not in shown.split("Commands:")[1]

    def test_every_option_is_explained(self) -> None:
        for name in COMMANDS:
            for option in typer.main.get_command(strategy_commands.app).commands[name].params:  # type: ignore[attr-defined]
                assert getattr(option, "help", ""), f"{name} {option.name}"

    def test_it_names_every_starter(self) -> None:
        shown = CliRunner().invoke(cli.app, ["strategy", "new", "--help"]).output
        assert all(name in shown for name in starters())


class TestNew:
    @pytest.mark.parametrize("starter", starters())
    def test_what_it_writes_is_right_and_commented(self, desk: Desk, starter: str) -> None:
        assert desk.do("new", "mine", "--template", starter).code == 0
        path = desk.root / "mine.yaml"
        assert load_spec(path).name == "mine"
        assert n_comments(path.read_text(encoding="utf-8")) >= 8
        answer = desk.do("check", path)
        assert answer.code == 0
        assert answer.out.startswith(f"{path}: ok, mine ")

    @pytest.mark.parametrize("name", ["null", "true", "yes", "on"])
    def test_a_name_that_yaml_takes_for_something_else_is_quoted(self, desk: Desk, name: str) -> None:
        assert desk.do("new", name).code == 0
        assert load_spec(desk.root / f"{name}.yaml").name == name

    def test_a_file_that_exists_is_left_alone(self, desk: Desk) -> None:
        path = desk.file("precious", "mine.yaml")
        answer = desk.do("new", "mine")
        assert (answer.code, answer.message) == (
            2, "pipeline: mine.yaml: the file exists, and is left alone; choose another name"
        )  # fmt: skip
        assert path.read_text(encoding="utf-8") == "precious"

    @pytest.mark.parametrize("name", ["Mine", "../mine", "mine.yaml", "", "9lives", "x" * 49])
    def test_a_name_that_no_strategy_can_have_is_refused(self, desk: Desk, name: str) -> None:
        answer = desk.do("new", name)
        assert (answer.code, list(desk.root.iterdir())) == (2, [])
        assert "cannot be a strategy's name; write a small letter" in answer.message

    def test_a_template_and_a_folder_that_are_not_there_are_refused(self, desk: Desk) -> None:
        assert (
            "'nope' is no template; known: breakout, reversion, trend"
            in desk.do("new", "a", "-t", "nope").message
        )
        assert "nope: there is no such folder; make it" in desk.do("new", "a", "-f", "nope").message

    @pytest.mark.skipif(
        os.name != "posix" or not Path("/proc/self").exists(), reason="wants a folder of the kernel"
    )
    def test_a_folder_that_takes_no_files_is_told(self, desk: Desk) -> None:
        answer = desk.do("new", "mine", "-f", "/proc")
        assert (answer.code, "mine.yaml: cannot be written: " in answer.message) == (2, True)


class TestCheck:
    def test_the_library_is_right_by_name_and_by_path(self, desk: Desk) -> None:
        for given in (STRATEGIES, sorted(LIBRARY.glob("*.yaml"))):
            answer = desk.do("check", *given)
            assert (answer.code, answer.err) == (0, "")
            assert answer.out.count(": ok, ") == len(given)

    def test_it_tells_hash_warm_up_and_size(self, desk: Desk) -> None:
        spec = load_spec(desk.file(PLAIN))
        line = f"s.yaml: ok, plain {spec.hash[:12]}, 189 bars of 1h to warm up, {spec.n_nodes} operations, 3 combinations\n"
        assert desk.do("check", "s.yaml").out == line

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (PLAIN.replace("> level and", "> rsi(14) and"), "s.yaml:10:13: close > rsi(14) compares price with ratio"),
            (PLAIN.replace("stop:", "stpo:"), "s.yaml:12:7: stpo: this field is not known; known: spec"),
            (PLAIN.replace("sma(close", "sam(close"), "s.yaml:9:10: sam() is not known; did you mean sum or sma?"),
            (PLAIN.replace("size: {risk: 0.01}", ""), "s.yaml:1:1: size: this field is missing; add size"),
            (PLAIN.replace("name: plain", "name: [plain"), "s.yaml:3:11"),
            ("", "s.yaml:1:1: no fields found; a file is a list of fields, such as name: ..."),
            ("just words", "s.yaml:1:1: no fields found"),
            (b"\x89PNG\r\n\x1a\n\x00\x00", "s.yaml: byte 0 is not UTF-8; save it as UTF-8 text"),
            (b"PK\x03\x04\x00\x00", "s.yaml: no YAML text"),
            (PLAIN + "---\nspec: 1\n", "s.yaml:14:1: expected a single document in the stream, but found another document"),
            (PLAIN.replace("  n:", "\tn:"), "s.yaml:7:1: found character '\\t' that cannot start any token; indent with"),
            (PLAIN + "regimes: [panic", "s.yaml:14:16: expected ',' or ']', but got '<stream end>'; close the bracket"),
            (b"#" * 20_000, "s.yaml: larger than 16384 bytes; a strategy is a page, not a book"),
        ],
    )  # fmt: skip
    def test_a_broken_file_is_told_where_and_what_to_do(
        self, desk: Desk, text: str | bytes, said: str
    ) -> None:
        desk.file(text)
        answer = desk.do("check", "s.yaml")
        assert (answer.code, answer.out) == (2, "")
        assert answer.message.startswith(f"pipeline: {said}")

    def test_every_file_has_its_turn(self, desk: Desk) -> None:
        desk.file(PLAIN, "a.yaml")
        desk.file("", "b.yaml")
        answer = desk.do("check", "b.yaml", "nope.yaml", "a.yaml", ".")
        assert answer.code == 2
        assert answer.out.startswith("a.yaml: ok")
        assert [line.split(":")[1] for line in answer.err.splitlines()] == [" b.yaml", " nope.yaml", " ."]

    def test_a_name_that_is_nowhere_is_answered_with_the_names_there_are(self, desk: Desk) -> None:
        assert ", ".join(STRATEGIES) in desk.do("check", "ema_art").message


class TestExplain:
    def test_it_tells_in_english_in_trees_and_in_figures(self, desk: Desk) -> None:
        desk.file(PLAIN)
        answer = desk.do("explain", "s.yaml")
        assert answer.code == 0
        for said in (
            "Goes long when volume is above volume 1 bar ago, and close is above the mean of close over n (now 10) bars.",
            "Leaves a long when close is below the mean of close over n (now 10) bars.",
            "A stop lies 2 times the average true range over 14 bars away from the entry; that distance is R.",
            "Each entry risks 1 % of equity",
            TREE,
            "  atr(n): Wilder's average true range\n",
            "  warm-up        189 bars, 7.9 days\n",
            f"  hash           {load_spec(Path('s.yaml')).hash}\n",
        ):
            assert said in answer.out

    @pytest.mark.parametrize("name", STRATEGIES)
    def test_the_library_is_explained(self, desk: Desk, name: str) -> None:
        answer = desk.do("explain", name)
        assert answer.code == 0
        assert "{" not in answer.out


class TestFmt:
    def test_it_prints_the_canonical_form_and_says_what_that_leaves_out(self, desk: Desk) -> None:
        path = desk.file("# why\n" + PLAIN)
        answer = desk.do("fmt", "s.yaml")
        assert (answer.code, answer.out) == (0, load_spec(path).canonical())
        assert answer.message == "pipeline: s.yaml: without its 1 comment and 1 definition"
        assert path.read_text(encoding="utf-8").startswith("# why")

    def test_it_writes_the_same_strategy(self, desk: Desk) -> None:
        path = desk.file(UNDEFINED)
        before = load_spec(path)
        assert desk.do("fmt", "--write", path).out == f"{path}: rewritten\n"
        assert path.read_text(encoding="utf-8") == before.canonical()
        assert load_spec(path).hash == before.hash
        assert desk.do("fmt", "--write", path).out == f"{path}: was canonical\n"
        assert desk.do("fmt", "--check", path).code == 0

    @pytest.mark.parametrize(
        ("text", "lost"),
        [(UNDEFINED + "# because\n", "1 comment"), (PLAIN, "1 definition"),
         ("# a\n# b\n" + PLAIN, "2 comments and 1 definition"),
         (UNDEFINED.split("size:")[0] + "size: {target_vol: 0.2, window: 20}\n", "1 size by volatility"),
         (UNDEFINED.replace("enter_long: ", "enter_long: spread < 0.01 and "), "1 estimated spread")],
    )  # fmt: skip
    def test_comments_and_definitions_are_not_lost_unasked(self, desk: Desk, text: str, lost: str) -> None:
        path = desk.file(text)
        answer = desk.do("fmt", "--write", path)
        assert answer.code == 2
        assert f"s.yaml: {lost} would be lost, so the file is left alone; add --anyway" in answer.message
        assert path.read_text(encoding="utf-8") == text
        assert desk.do("fmt", "--write", "--anyway", path).code == 0
        assert path.read_text(encoding="utf-8") == load_spec(desk.file(text, "again.yaml")).canonical()

    def test_check_changes_nothing_and_tells_what_is_not_canonical(self, desk: Desk) -> None:
        stray, good = desk.file(PLAIN), desk.file(load_spec(desk.file(PLAIN)).canonical(), "good.yaml")
        answer = desk.do("fmt", "--check", good, stray)
        assert (answer.code, answer.out) == (3, f"{stray}: not canonical\n")
        assert stray.read_text(encoding="utf-8") == PLAIN
        assert desk.do("fmt", "--check", good, stray, "nope").code == 2

    def test_the_library_is_not_written_to(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        library = tmp_path / "library"
        library.mkdir()
        shutil.copy(LIBRARY / "ema_atr.yaml", library)
        monkeypatch.setattr(strategy_files, "LIBRARY", library)
        answer = desk.do("fmt", "--write", "ema_atr")
        assert (answer.code, "this file belongs to the program" in answer.message) == (2, True)
        assert (library / "ema_atr.yaml").read_bytes() == (LIBRARY / "ema_atr.yaml").read_bytes()

    def test_write_and_check_at_once_are_refused(self, desk: Desk) -> None:
        assert desk.do("fmt", "--write", "--check", "ema_atr").message.startswith(
            "pipeline: --write and --check"
        )

    @pytest.mark.parametrize(
        ("text", "n"),
        [("a: 1\n", 0), ("# x\na: 1 # y\n", 2), ("a: 'b # c'\n", 0), ("a: b#c\n", 0), ("a: b # c # d\n", 1),
         ("a: |\n  # text\n  b\n", 0), ('a: "x\n  # y"\n', 0), ("a: [1, # x\n 2]\n", 1)],
    )  # fmt: skip
    def test_comments_are_counted_and_signs_inside_text_are_not(self, text: str, n: int) -> None:
        assert n_comments(text) == n


class TestDiff:
    def test_the_same_strategy_however_written(self, desk: Desk) -> None:
        path = desk.file(PLAIN)
        renamed = load_spec(path).canonical().replace("plain", "other")
        desk.file(renamed.replace("  n:", "  m:").replace("close, n", "close, m"), "o.yaml")
        answer = desk.do("diff", "s.yaml", "o.yaml")
        assert answer.code == 0
        assert ": the same strategy\n" in answer.out

    @pytest.mark.parametrize(
        ("old", "new", "relation", "field", "before", "after"),
        [
            ("2 * atr(14)", "3 * atr(14)", "different strategies", "stop", "2 * atr(14)", "3 * atr(14)"),
            ("default: 10", "default: 15", "one family, at other values of its parameters",
             "params.n", "10 to 20 by 5, now 10", "10 to 20 by 5, now 15"),
            ("[10, 20]", "[10, 30]", "the same strategy now, but tuned over other values",
             "params.n", "10 to 20 by 5, now 10", "10 to 30 by 5, now 10"),
            ("timeframe: 1h", "timeframe: 2h", "different strategies", "timeframe", "1h", "2h"),
            ("{risk: 0.01}", "{risk: 0.02}", "different strategies", "size.risk", "0.01", "0.02"),
        ],
    )  # fmt: skip
    def test_what_differs_is_named(
        self, desk: Desk, old: str, new: str, relation: str, field: str, before: str, after: str
    ) -> None:
        desk.file(PLAIN)
        desk.file(PLAIN.replace(old, new), "o.yaml")
        answer = desk.do("diff", "s.yaml", "o.yaml")
        assert answer.code == 3
        assert answer.out.endswith(f": {relation}\n\n{field}\n  - {before}\n  + {after}\n")

    def test_a_field_that_one_does_not_have_has_one_line(self, desk: Desk) -> None:
        desk.file(PLAIN)
        desk.file(PLAIN + "time_stop: 9\ntake: [{at: 1R, close: 0.5}]\n", "o.yaml")
        answer = desk.do("diff", "s.yaml", "o.yaml")
        assert "\n\ntime_stop\n  + 9\n" in answer.out
        assert "\n\ntake.1.at\n  + 1 R\n" in answer.out

    def test_regimes_are_no_strategy(self, desk: Desk) -> None:
        shutil.copy(LIBRARY / "regimes.yaml", desk.root)
        for command in (["explain"], ["diff", "ema_atr"], ["fmt"]):
            message = desk.do(*command, "regimes.yaml").message
            assert message.startswith("pipeline: regimes.yaml: this file holds regimes, no strategy")
        assert desk.do("check", "regimes.yaml").out.startswith("regimes.yaml: ok, 5 regimes ")

    def test_macro_states_are_no_strategy_either_whatever_the_file_is_called(self, desk: Desk) -> None:
        shutil.copy(LIBRARY / "macro.yaml", desk.root / "above.yaml")
        for command in (["explain"], ["diff", "ema_atr"], ["fmt"]):
            message = desk.do(*command, "above.yaml").message
            assert message.startswith(
                "pipeline: above.yaml: this file holds macro states, no strategy; check is"
            )
        assert desk.do("check", "above.yaml").out.startswith("above.yaml: ok, 4 macro states ")

    def test_a_broken_file_is_2(self, desk: Desk) -> None:
        desk.file("")
        assert desk.do("diff", "ema_atr", "s.yaml").code == 2


TOGETHER = """\
spec: 1
name: together
hypothesis: none
timeframe: 1h
side: long
ensemble:
  combine: vote
  members:
    mine: {use: plain}
    theirs: {use: ema_atr}
    own: {enter_long: close > open, exit_long: close < open}
size: {fraction: 0.5}
"""
OUTSIDE = """\
spec: 1
name: outside
hypothesis: none
timeframe: 1h
side: long
series: {dxy: {lag: 1d, max_age: 5d}}
events: {fomc: {known_ahead: true}}
enter_long: tf("4h", dxy < sma(dxy, 20)) and hours_to(fomc) > 24 and on("BTC/USDT", close > open)
time_stop: 10
size: {fraction: 0.5}
"""


class TestEnsembleAndSeries:
    def test_members_are_found_in_the_folder_and_in_the_library(self, desk: Desk) -> None:
        folder = desk.root / "mine"
        folder.mkdir()
        (folder / "plain.yaml").write_text(PLAIN, encoding="utf-8")
        path = folder / "together.yaml"
        path.write_text(TOGETHER, encoding="utf-8")
        assert desk.do("check", path).out.startswith(f"{path}: ok, together {load_spec(path).hash[:12]}")
        told = desk.do("explain", path).out
        for said in (
            "  It is an ensemble of 3, each long or aside; one that does not know abstains.\n",
            "  Member mine: the conditions of plain.\n",
            "  Member own: enter long close > open; exit long close < open.\n",
            "  Goes long where more than half of the members that know stand, and leaves when they no longer do.\n",
        ):
            assert said in told

    def test_the_form_of_an_ensemble_is_written_out_and_the_same_strategy(self, desk: Desk) -> None:
        desk.file(PLAIN, "plain.yaml")
        path = desk.file(TOGETHER, "together.yaml")
        answer = desk.do("fmt", path)
        assert (answer.code, answer.message) == (0, f"pipeline: {path}: without its 1 ensemble")
        desk.file(answer.out, "out.yaml")
        assert desk.do("diff", path, "out.yaml").code == 0
        assert desk.do("fmt", "--check", "out.yaml").code == 0
        assert "1 ensemble would be lost" in desk.do("fmt", "--write", path).message
        assert path.read_text(encoding="utf-8") == TOGETHER

    def test_ensembles_are_compared_by_their_members(self, desk: Desk) -> None:
        desk.file(PLAIN, "plain.yaml")
        desk.file(TOGETHER, "one.yaml")
        desk.file(TOGETHER.replace("close < open", "close < low"), "two.yaml")
        answer = desk.do("diff", "one.yaml", "two.yaml")
        assert answer.code == 3
        assert answer.out.endswith(
            ": different strategies\n\nensemble.members.own.exit_long\n  - close < open\n  + close < low\n"
        )
        desk.file(TOGETHER.replace("own:", "mine_too:"), "two.yaml")
        assert desk.do("diff", "one.yaml", "two.yaml").code == 0
        desk.file(PLAIN.replace("2 * atr", "3 * atr"), "plain.yaml")
        assert desk.do("diff", "one.yaml", "one.yaml").out.endswith(": the same strategy\n")

    def test_a_member_that_changed_is_told_by_the_conditions(self, desk: Desk) -> None:
        for folder, text in (("a", PLAIN), ("b", PLAIN.replace("close < level", "close < open"))):
            (desk.root / folder).mkdir()
            desk.file(text, f"{folder}/plain.yaml")
            desk.file(TOGETHER, f"{folder}/together.yaml")
        answer = desk.do("diff", "a/together.yaml", "b/together.yaml")
        assert answer.code == 3
        assert "\n\nenter_long\n  - " in answer.out

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("use: plain", "use: nowhere", "together.yaml:9:17: no strategy called nowhere in the folder or in the library"),
            ("use: plain", "use: together", "together.yaml:9:17: together uses itself; use another strategy"),
            ("vote", "most", "together.yaml:7:12: ensemble.combine: Input should be 'first', 'vote' or 'weighted'"),
            ("exit_long: close < open", "weight: 2", "together.yaml:11:"),
            ("size:", "enter_long: close > open\nsize:", "together.yaml:12:13: enter_long beside an ensemble"),
        ],
    )  # fmt: skip
    def test_a_broken_ensemble_is_told_where_and_what_to_do(
        self, desk: Desk, old: str, new: str, said: str
    ) -> None:
        desk.file(PLAIN, "plain.yaml")
        desk.file(TOGETHER.replace(old, new), "together.yaml")
        answer = desk.do("check", "together.yaml")
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.message

    def test_a_broken_member_is_told_in_its_own_file(self, desk: Desk) -> None:
        desk.file(PLAIN.replace("sma(close", "sam(close"), "plain.yaml")
        message = desk.do("check", desk.file(TOGETHER, "together.yaml")).message
        assert "plain.yaml:9:10: sam() is not known" in message

    def test_series_calendars_and_markets_are_explained_formatted_and_compared(self, desk: Desk) -> None:
        path = desk.file(OUTSIDE)
        told = desk.do("explain", path)
        assert told.code == 0
        assert "Reads the series dxy, each value from 24 hours after its stamp on" in told.out
        assert 'on("BTC/USDT")' in told.out
        desk.file(desk.do("fmt", path).out, "o.yaml")
        assert desk.do("diff", path, "o.yaml").code == 0
        desk.file(OUTSIDE.replace("lag: 1d", "lag: 2d"), "o.yaml")
        answer = desk.do("diff", path, "o.yaml")
        assert answer.code == 3
        assert "\n\nseries.dxy.lag\n  - 1d\n  + 2d\n" in answer.out

    @pytest.mark.parametrize(
        ("text", "kind"),
        [(PLAIN, "strategy"), (PLAIN + "regimes: [panic]\n", "strategy"), ("", "strategy"), ("- 1\n", "strategy"),
         ("a: [", "strategy"), ("regimes: {panic: close > open}\n", "regimes"), ("macro: {}\n", "macro states")],
    )  # fmt: skip
    def test_a_file_is_what_its_fields_say(self, desk: Desk, text: str, kind: str) -> None:
        assert kind_of(desk.file(text)) == kind


def test_the_commands_load_nothing_heavy_before_they_are_called() -> None:
    assert "pipelines.strategy_commands" in sys.modules
    source = Path(strategy_commands.__file__).read_text(encoding="utf-8").split("if TYPE_CHECKING")[0]
    assert "research_lab.dsl" not in source
