"""Finding and creating the one folder that a run writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

import research_lab
from research_lab.errors import UsageError, WorkspaceError
from research_lab.workspace import VARIABLE, Workspace


def test_the_option_goes_before_the_variable_and_that_before_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {VARIABLE: str(tmp_path / "told")}
    assert Workspace.find("given", told).root == tmp_path / "given"
    assert Workspace.find(None, told).root == tmp_path / "told"
    assert Workspace.find("", told).root == tmp_path / "told"
    assert Workspace.find(None, {VARIABLE: ""}).root == tmp_path
    monkeypatch.setenv(VARIABLE, "here")
    assert Workspace.find().root == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workspace.find("~/w", {}).root == tmp_path / "w"


def test_looking_creates_nothing_and_creating_twice_is_once(tmp_path: Path) -> None:
    workspace = Workspace.find(tmp_path / "w")
    assert not workspace.root.exists()
    workspace.create()
    (workspace.trials / "a").touch()
    assert workspace.create() is workspace
    assert sorted(path.name for path in workspace.root.iterdir()) == [
        "candidates",
        "executor",
        "lake",
        "reports",
        "trials",
    ]
    assert (workspace.trials / "a").exists()


def test_every_path_lies_below_the_root(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    names = [name for name, value in vars(Workspace).items() if isinstance(value, property)]
    assert len(names) >= 12
    assert len({getattr(workspace, name) for name in names}) == len(names)
    packaged = {"symbols", "regimes", "macro"}  # the program's own or none, until the workspace has some
    assert workspace.macro is None
    assert all(getattr(workspace, name).is_relative_to(tmp_path) for name in set(names) - packaged)
    for name in packaged:
        (tmp_path / f"{name}.yaml").touch()
    assert all(getattr(workspace, name).is_relative_to(tmp_path) for name in packaged)


def test_a_file_and_the_program_itself_are_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="this is a file"):
        Workspace.find(tmp_path / "file")
    inside = Path(research_lab.__file__).parent / "strategies"
    with pytest.raises(WorkspaceError, match="never written to"):
        Workspace.find(inside)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "lake").touch()
    with pytest.raises(WorkspaceError, match="lake: the folder cannot be created"):
        Workspace(tmp_path / "w").create()


@pytest.mark.parametrize("wrong", ["", "ab", "../" + "a" * 61, "A" * 64, "g" * 64])
def test_no_path_is_made_from_anything_but_a_hash(tmp_path: Path, wrong: str) -> None:
    assert Workspace(tmp_path).candidate_folder("ab" * 32).name == "abababababab"
    with pytest.raises(UsageError, match="no SHA-256"):
        Workspace(tmp_path).candidate_folder(wrong)
