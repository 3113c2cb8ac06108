"""Strategy files on the disk: found by name, begun from a starter, rewritten in canonical form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import research_lab.strategies
from research_lab.dsl.spec import Spec, warmup_bars
from research_lab.dsl.spec_reader import load_regimes, load_spec, parse_macro
from research_lab.dsl.spec_text import EnsembleForm
from research_lab.dsl.text_reader import read_bytes
from research_lab.durable import atomic_write
from research_lab.errors import SpecError, UsageError
from research_lab.strict_yaml import load_text, scalar

LIBRARY = Path(next(iter(research_lab.strategies.__path__)))
_STARTERS = Path(__file__).with_name("starters")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def starters() -> list[str]:
    """Return the names of the starters."""
    return sorted(path.stem for path in _STARTERS.glob("*.yaml"))


def begin(name: str, starter: str, folder: Path) -> Path:
    """Write a starter under a new name, and return where it lies.

    Raises
    ------
    UsageError
        The name cannot be a strategy's, the starter is not known, or the file exists.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:60]!r} cannot be a strategy's name",
            remedy="write a small letter, then small letters, digits and _, 48 at most, such as my_trend",
        )
    if starter not in starters():
        raise UsageError(f"{starter[:60]!r} is no template", remedy=f"known: {', '.join(starters())}")
    if not folder.is_dir():
        raise UsageError("there is no such folder", str(folder), "make it, or name another with --folder")
    text = (_STARTERS / f"{starter}.yaml").read_text(encoding="utf-8")
    path = folder / f"{name}.yaml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("name: starter", f"name: {scalar(name)}", 1))
    except FileExistsError:
        raise UsageError("the file exists, and is left alone", str(path), "choose another name") from None
    except OSError as fault:
        raise UsageError(f"cannot be written: {fault.strerror}", str(path), "name another --folder") from None
    return path


def found(wanted: Path) -> Path:
    """Return the file that is meant: a path, else a strategy of the library by its name.

    Raises
    ------
    UsageError
        There is neither, or it is a folder.
    """
    if wanted.is_dir():
        raise UsageError("this is a folder", str(wanted), f"name its files, such as {wanted / '*.yaml'}")
    if wanted.exists():
        return wanted
    ours = LIBRARY / f"{wanted.name}.yaml"
    if wanted.parent == Path() and ours.exists():
        return ours
    known = ", ".join(path.stem for path in library())
    raise UsageError(
        "there is no such file", str(wanted), f"name a file, or a strategy of the library: {known}"
    )


def library() -> list[Path]:
    """Return the strategies of the library in the order of their names; what else lies there is none."""
    return sorted(path for path in LIBRARY.glob("*.yaml") if kind_of(path) == "strategy")


def kind_of(path: Path) -> str:
    """Return what a file is by the fields that it has: strategy, regimes or macro states.

    A file that cannot be read is taken for a strategy: reading it as one says what is wrong.
    """
    try:
        data = load_text(read_bytes(path).decode("utf-8", errors="replace"), str(path), SpecError).data
    except (SpecError, RecursionError):
        return "strategy"
    if not isinstance(data, dict) or "side" in data:
        return "strategy"
    if isinstance(data.get("macro"), dict):
        return "macro states"
    return "regimes" if isinstance(data.get("regimes"), dict) else "strategy"


def strategy_in(wanted: Path) -> Spec:
    """Read the strategy that is meant; see `found`."""
    return load_spec(_a_strategy(found(wanted)))


def ensemble_in(wanted: Path) -> EnsembleForm | None:
    """Return the ensemble that a strategy file is written as, None for one with conditions of its own."""
    path = found(wanted)
    form = load_text(read_bytes(path).decode("utf-8"), str(path), SpecError).data.get("ensemble")
    return None if form is None else EnsembleForm.model_validate_json(json.dumps(form))


def _a_strategy(path: Path) -> Path:
    kind = kind_of(path)
    if kind != "strategy":
        raise UsageError(f"this file holds {kind}, no strategy", str(path), "check is what there is for it")
    return path


def check_line(path: Path) -> str:
    """Read a file of a strategy, regimes or macro states; return in one line that it is right and how large."""
    kind = kind_of(path)
    if kind != "strategy":
        held = load_regimes(path) if kind == "regimes" else parse_macro(read_bytes(path), str(path))
        return f"{path}: ok, {len(held.conditions)} {kind} {held.hash[:12]} on {held.timeframe}"
    spec = load_spec(path)
    n = spec.n_combinations
    return (
        f"{path}: ok, {spec.name} {spec.hash[:12]}, {warmup_bars(spec)} bars of {spec.timeframe} to warm up, "
        f"{spec.n_nodes} operations, {n:,} combination{'s' * (n != 1)}"
    )


@dataclass(frozen=True)
class Form:
    """A file and its canonical form.

    Parameters
    ----------
    path, spec : where it lies and what it says.
    canonical : its canonical text.
    is_canonical : whether the file is that text, byte for byte.
    lost : what the canonical text leaves out or writes out, as words: comments, definitions, an
        ensemble, a size by volatility, an estimated spread; empty when nothing.
    """

    path: Path
    spec: Spec
    canonical: str
    is_canonical: bool
    lost: str


def form_of(path: Path) -> Form:
    """Read a strategy file and put it into canonical form."""
    raw, spec = read_bytes(_a_strategy(path)), load_spec(path)
    canonical, text = spec.canonical(), raw.decode("utf-8")
    data = load_text(text, str(path), SpecError).data
    counts = {
        "comment": n_comments(text),
        "definition": len(data.get("define", {})),
        "ensemble": int(data.get("ensemble") is not None),
        "size by volatility": int("target_vol" in data["size"]),
        "estimated spread": int("spread" not in spec.series and _reads_spread(data)),
    }
    lost = " and ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items() if n)
    return Form(path, spec, canonical, raw == canonical.encode(), lost)


def _reads_spread(data: Mapping[str, Any]) -> bool:
    told = {key: value for key, value in data.items() if key not in ("name", "hypothesis")}
    return re.search(r"\bspread\b", json.dumps(told)) is not None


def rewrite(form: Form, *, anyway: bool) -> None:
    """Write a file anew in canonical form, all of it or nothing.

    Raises
    ------
    UsageError
        Comments or definitions would be lost, or the file belongs to the installed program.
    """
    if form.path.resolve().is_relative_to(LIBRARY.resolve()):
        raise UsageError(
            "this file belongs to the program, and is left alone", str(form.path), "copy it first"
        )
    if form.lost and not anyway:
        raise UsageError(
            f"{form.lost} would be lost, so the file is left alone",
            str(form.path),
            "add --anyway to lose them",
        )
    if not form.is_canonical:
        atomic_write(form.path.resolve(), form.canonical)


def n_comments(text: str) -> int:
    """Return the number of comments in a YAML text that has been read without fault."""
    spans = [
        (token.start_mark.index, token.end_mark.index)
        for token in yaml.scan(text)
        if isinstance(token, yaml.ScalarToken)
    ]
    starts = [match.start() for match in re.finditer(r"(?:(?<=\s)|^)#", text, re.MULTILINE)]
    outside = [at for at in starts if not any(begin <= at < end for begin, end in spans)]
    lines = {text.count("\n", 0, at) for at in outside}
    return len(lines)
