"""What must hold of the repository: no machine's traces, a whole lock, explained targets, light imports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PACKAGES = ("research_lab", "pipelines", "live_shadow")

# Written in pieces, so that this file does not accuse itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:" + "root|work|home|Users" + r")/[\w.-]+|\b[A-Z]:\\" + r"Users\b|/tmp/" + r"[\w-]+/"
)
REGISTRY = re.compile(
    "pypi" + r"\.org/(?:simple|pypi)|files\." + r"pythonhosted|"
    r"--(?:extra-)?index" + r"-url[ =]\S|--find" + r"-links|--trusted" + r"-host| @ file:" + "//"
)

HEAVY = (
    "ccxt", "great_expectations", "matplotlib", "mlflow", "numba", "optuna", "pandas", "plotly", "pyarrow",
    "scipy", "sklearn", "vectorbt",
)  # fmt: skip
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(?: ; (.+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def traces(text: str) -> list[str]:
    """Absolute paths of a machine and addresses of registries in a text."""
    return [found.group() for pattern in (MACHINE_PATH, REGISTRY) for found in pattern.finditer(text)]


def repository_files() -> list[Path]:
    """Files that git tracks, or would track."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be asked")
    listing = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listing.stdout.split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def make(*arguments: str) -> str:
    """What make prints, without the variables of a make that may have started these tests."""
    finished = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
    )  # fmt: skip
    return finished.stdout


def heavy_after(code: str) -> set[str]:
    """Heavy libraries that a fresh interpreter has loaded once it has run `code`."""
    report = f"\nimport sys\nprint('\\nLOADED', *(set({HEAVY!r}) & sys.modules.keys()))"
    finished = subprocess.run(
        [sys.executable, "-c", code + report],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "text",
    [
        "open('/" + "root/x.yaml')",
        "see /" + "home/ann/notes",
        "cache=/" + "tmp/run-1/x",
        "--extra-index" + "-url=https://example.org/",
        "https://pypi" + ".org/simple/numba",
        "numba @ file:" + "///wheels/numba.whl",
    ],
)
def test_a_planted_trace_is_found(text: str) -> None:
    assert traces(text)


def test_no_file_names_a_machine_or_a_registry() -> None:
    accused = {
        str(path.relative_to(ROOT)): found
        for path in repository_files()
        if (found := traces(path.read_bytes().decode(errors="replace")))
    }
    assert accused == {}


def test_the_lock_holds_pins_and_hashes_and_no_addresses() -> None:
    assert "://" not in LOCK
    strangers = [line for line in LOCK.splitlines() if not PIN.match(line) and not HASH.match(line)]
    assert strangers == []


def test_every_pin_of_the_lock_has_a_hash() -> None:
    lines = LOCK.splitlines()
    bare = [a for a, b in zip(lines, [*lines[1:], ""], strict=True) if PIN.match(a) and not HASH.match(b)]
    assert bare == []


def test_the_lock_holds_every_dependency() -> None:
    locked = {found.group(1) for line in LOCK.splitlines() if (found := PIN.match(line))}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["dev"], *extras["llm"], *extras["cluster"]]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line, maxsplit=1)[0]).lower() for line in wanted}
    assert names - locked == set()


@pytest.mark.parametrize("command", sorted(PROJECT["project"]["scripts"]))
def test_every_command_has_a_function_behind_it(command: str) -> None:
    module, function = PROJECT["project"]["scripts"][command].split(":")
    assert callable(getattr(import_module(module), function))


def test_every_target_of_the_makefile_is_explained_by_make_help() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", text, flags=re.MULTILINE))
    declared = set(" ".join(re.findall(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)).split())
    explained = {line.split()[1] for line in make().splitlines()}
    assert targets == declared == explained


@pytest.mark.parametrize(
    "target", ["env", "demo", "test", "lint", "types", "bench", "proof", "notebook", "docs", "lock"]
)
def test_every_target_sets_up_its_environment_first(target: str) -> None:
    assert make("--dry-run", target).splitlines()[0] == ".ci/environment"


@pytest.mark.parametrize("package", ["research_lab", "research_lab.engine", "live_shadow", "pipelines"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert heavy_after(f"import {package}") == set()


@pytest.mark.parametrize("command", sorted(PROJECT["project"]["scripts"]))
def test_the_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    module, function = PROJECT["project"]["scripts"][command].split(":")
    code = f"""
import sys
from {module} import {function}
sys.argv = ["{command}", "--help"]
try:
    {function}()
except SystemExit as end:
    assert end.code in (None, 0), end.code
"""
    assert heavy_after(code) == set()


def test_a_heavy_import_is_noticed() -> None:
    assert "scipy" in heavy_after("import scipy")


def test_the_engine_imports_numpy_numba_and_the_standard_library_only() -> None:
    grimp = pytest.importorskip("grimp", reason="the import graph comes with import-linter")
    graph = grimp.build_graph("research_lab", include_external_packages=True, cache_dir=None)
    engine = {name for name in graph.modules if (name + ".").startswith("research_lab.engine.")}
    imported = {name for module in engine for name in graph.find_modules_directly_imported_by(module)}
    assert engine
    foreign = {name for name in imported - engine if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign <= {"numpy", "numba"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
