"""The page of the library: up to date, whole, and its command."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest

from pipelines import strategy_files
from pipelines.strategy_files import LIBRARY
from pipelines.strategy_gallery import library_page, write_gallery
from research_lab.dsl.spec_reader import load_spec
from research_lab.errors import UsageError
from tests.pipelines.test_cli import called

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = [path.stem for path in strategy_files.library()]
PAGE = (DOCS / "strategies.md").read_text(encoding="utf-8")
AGAIN = "out of date: run `make docs`"


@pytest.fixture
def one_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of one, and an empty folder to write to."""
    library, folder = tmp_path / "library", tmp_path / "out"
    library.mkdir()
    folder.mkdir()
    for name in ("supertrend", "regimes"):
        shutil.copy(LIBRARY / f"{name}.yaml", library)
    monkeypatch.setattr(strategy_files, "LIBRARY", library)
    return folder


def test_the_page_is_that_of_this_library() -> None:
    assert library_page() == PAGE, AGAIN


def test_it_lists_every_strategy_with_its_idea_and_picture_and_no_other() -> None:
    assert re.findall(r"^\| \[(\w+)\]", PAGE, flags=re.MULTILINE) == NAMES
    for name in NAMES:
        section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        spec = load_spec(LIBRARY / f"{name}.yaml")
        assert spec.hypothesis in section
        assert f"(strategies/{name}.png)" in section
        for param in spec.params:
            assert f"| `{param}` | " in section


@pytest.mark.parametrize("name", NAMES)
def test_the_text_shown_with_the_head_put_back_is_the_strategy(name: str) -> None:
    """Nothing that the strategy does is left out of the excerpt."""
    whole = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")
    section = PAGE.split(f"\n## {name}\n")[1]
    excerpt = section.split("```yaml\n")[1].split("```")[0]
    assert whole.endswith(excerpt)
    head = whole.removesuffix(excerpt)
    fields = re.findall(r"^(\w+):", head, flags=re.MULTILINE)
    assert fields == ["spec", "name", "hypothesis", "timeframe", "side", "params"]


def test_every_strategy_has_a_picture_that_is_small_and_no_other_lies_there() -> None:
    assert sorted(path.stem for path in (DOCS / "strategies").iterdir()) == NAMES, AGAIN
    for path in (DOCS / "strategies").iterdir():
        data = path.read_bytes()
        width, _, _, colour = struct.unpack(">IIBB", data[16:26])
        assert (path.suffix, width, colour) == (".png", 900, 3)
        assert len(data) < 60_000


def test_the_readme_leads_to_the_page() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert "(docs/strategies.md)" in readme


def test_the_command_writes_page_and_pictures(
    one_strategy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = called(capsys, monkeypatch, "strategy", "gallery", one_strategy)
    assert (answer.code, answer.out) == (
        0,
        f"{one_strategy / 'strategies.md'}: 1 strategy, each with a picture\n",
    )
    page = (one_strategy / "strategies.md").read_text(encoding="utf-8")
    assert "## supertrend" in page and "## ema_cross" not in page
    assert [path.name for path in (one_strategy / "strategies").iterdir()] == ["supertrend.png"]


def test_a_folder_that_is_not_there_is_refused(one_strategy: Path) -> None:
    with pytest.raises(UsageError, match="absent: there is no such folder; make it, or name another"):
        write_gallery(one_strategy / "absent")


def test_a_folder_that_cannot_be_written_to_is_refused(one_strategy: Path) -> None:
    (one_strategy / "strategies").touch()
    with pytest.raises(UsageError, match="out: cannot be written: File exists; name another folder"):
        write_gallery(one_strategy)
