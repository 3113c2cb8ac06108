"""How `.ci/environment` makes .venv, shown with a Python that pretends and notes what it was asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "environment"

# -c asks about versions or modules; `pip` fails or is killed when a file says so.
PRETENDER = """#!/bin/sh
case "$*" in
    *sys.exit*) [ ! -e "$HOME/too-old" ] ;;
    *ensurepip*) [ ! -e "$HOME/bare" ] ;;
    *platform*) echo 3.11.9 ;;
    *version_info*) echo 3.11 ;;
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >>"$HOME/asked" ;;
    *"-m pip install"*)
        case "$*" in
            *requirements.lock*) echo lock >>"$HOME/asked"; touch .venv/packages ;;
            *) echo project >>"$HOME/asked" ;;
        esac
        [ ! -e "$HOME/no-network" ] || exit 1
        [ ! -e "$HOME/power-cut" ] || kill -9 $PPID $$ ;;
esac
"""


class Checkout:
    """A tree with the script, a lock, a project file, and a `python3` that pretends."""

    def __init__(self, folder: Path) -> None:
        self.root, self.home = folder / "checkout", folder / "home"
        (self.root / ".ci").mkdir(parents=True)
        (self.home / "bin").mkdir(parents=True)
        shutil.copy(SCRIPT, self.root / ".ci" / "environment")
        (self.root / "requirements.lock").write_text("numpy==2.4.6\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        (self.home / "bin" / "python3").write_text(PRETENDER)
        (self.home / "bin" / "python3").chmod(0o755)
        for tool in (
            "sh",
            "cat",
            "cmp",
            "cp",
            "mv",
            "rm",
            "mkdir",
            "touch",
            "grep",
            "find",
            "dirname",
            "flock",
        ):
            if found := shutil.which(tool):
                (self.home / "bin" / tool).symlink_to(found)

    def set_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / ".ci" / "environment"],
            env={"PATH": str(self.home / "bin"), "HOME": str(self.home), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def say(self, condition: str, *, holds: bool = True) -> None:
        """Let a condition hold from now on, such as `no-network`, or no longer."""
        (self.home / condition).touch() if holds else (self.home / condition).unlink()

    def asked(self) -> list[str]:
        """What the pretender was asked to do since the last question."""
        notes = self.home / "asked"
        answer = notes.read_text().split() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return answer


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if os.name != "posix":
        pytest.skip("the script is for a POSIX shell")
    return Checkout(tmp_path)


def test_a_fresh_checkout_gets_everything(checkout: Checkout) -> None:
    assert checkout.set_up().returncode == 0
    assert checkout.asked() == ["venv", "lock", "project"]


def test_a_second_run_does_and_says_nothing(checkout: Checkout) -> None:
    checkout.set_up()
    checkout.asked()
    again = checkout.set_up()
    assert (again.returncode, again.stdout, again.stderr, checkout.asked()) == (0, "", "", [])


@pytest.mark.parametrize(
    ("changed", "redone"), [("requirements.lock", ["lock"]), ("pyproject.toml", ["project"])]
)
def test_only_what_changed_is_installed_again(checkout: Checkout, changed: str, redone: list[str]) -> None:
    checkout.set_up()
    checkout.asked()
    with (checkout.root / changed).open("a") as file:
        file.write("# changed\n")
    checkout.set_up()
    assert checkout.asked() == redone


def test_a_killed_installation_is_never_taken_for_a_whole_one(checkout: Checkout) -> None:
    checkout.say("power-cut")
    assert checkout.set_up().returncode != 0
    left_behind = checkout.root / ".venv" / "half-a-package"
    left_behind.touch()
    checkout.say("power-cut", holds=False)
    checkout.asked()
    assert "interrupted" in checkout.set_up().stdout
    assert checkout.asked() == ["venv", "lock", "project"]
    assert not left_behind.exists()


def test_a_killed_renewal_starts_afresh_too(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.root / "requirements.lock").write_text("numpy==2.4.7\n")
    checkout.say("power-cut")
    checkout.set_up()
    checkout.say("power-cut", holds=False)
    checkout.asked()
    checkout.set_up()
    assert checkout.asked() == ["venv", "lock", "project"]


def test_a_renewal_without_network_keeps_the_environment_and_is_tried_again(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.root / "requirements.lock").write_text("numpy==2.4.7\n")
    checkout.say("no-network")
    refused = checkout.set_up()
    assert (refused.returncode, (checkout.root / ".venv" / "packages").exists()) == (2, True)
    checkout.say("no-network", holds=False)
    checkout.asked()
    assert checkout.set_up().returncode == 0
    assert checkout.asked() == ["lock"]


def test_no_suitable_python_is_one_clear_message(checkout: Checkout) -> None:
    checkout.say("too-old")
    refused = checkout.set_up()
    assert refused.returncode == 2
    assert refused.stderr.startswith("environment: no Python from 3.11 to 3.13 found")
    assert refused.stderr.count("\n") == 1


def test_a_missing_venv_module_names_the_package_to_install(checkout: Checkout) -> None:
    checkout.say("bare")
    refused = checkout.set_up()
    assert refused.returncode == 2
    assert "apt install python3.11-venv" in refused.stderr
    assert not (checkout.root / ".venv").exists()


def test_an_environment_that_was_copied_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    checkout.set_up()
    moved = tmp_path / "moved"
    checkout.root.rename(moved)
    checkout.root = moved
    refused = checkout.set_up()
    assert refused.returncode == 2
    assert "cannot be moved" in refused.stderr


def test_a_python_that_was_asked_for_and_is_missing_is_named(checkout: Checkout) -> None:
    refused = checkout.set_up(PYTHON="python3.99")
    assert refused.returncode == 2
    assert "python3.99" in refused.stderr
