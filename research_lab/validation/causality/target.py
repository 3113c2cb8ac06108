"""The callable to test: found by its name, called with what it asks for, its faults told as ours."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from research_lab.errors import UsageError
from research_lab.validation.causality.given import Handed

_WANTED = "write module:function or file.py:function"
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


MISFIT: Final = (
    "no error, but gives what does not fit: "  # begins what is told of outputs of another length or index
)


class Raised(Exception):  # noqa: N818 - what a callable raised, not an error of ours
    """A callable raised an exception, told as text so that it can pass between processes."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True)
class Target:
    """A callable and its name.

    Parameters
    ----------
    takes_series : whether it is handed the dictionary of series as a second argument.
    """

    name: str
    function: Callable[..., Any]
    takes_series: bool = False

    def __call__(self, handed: Handed) -> Any:
        """Call it, and raise `Raised` for whatever it raises."""
        frame, series = handed
        try:
            return self.function(frame, series) if self.takes_series else self.function(frame)
        except Exception as fault:
            told = str(fault).strip().splitlines()
            raise Raised(f"{type(fault).__name__}: {told[0][:200] if told else ''}".rstrip(": ")) from fault


def target_of(function: Callable[..., Any], *, series: bool = False, name: str = "") -> Target:
    """Return a function as a target.

    Parameters
    ----------
    series : whether there are series to hand to it.

    Raises
    ------
    UsageError
        It cannot be called with one frame, or with a frame and series when there are some.
    """
    name = name or getattr(function, "__name__", "the callable")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(
            "this is a coroutine or a generator", name, "name a function that returns its values"
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Target(name, function, series)
    placed = [p for p in parameters if p.kind in _PLACED]
    needed = [p for p in placed if p.default is p.empty]
    lonely = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    room = 9 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(placed)
    if room < 1 or len(needed) > 2 or lonely:
        asks = ", ".join([p.name for p in needed] + lonely) or "nothing"
        raise UsageError(
            f"it asks for {asks}", name, "it gets a frame, and a dictionary of series as second argument"
        )
    if series and room < 2:
        raise UsageError("series are given, and it takes a frame alone", name, "give it a second argument")
    return Target(name, function, series or len(needed) == 2)


def load_target(text: str, *, series: bool = False) -> Target:
    """Import the function that `module:function` or `file.py:function` names.

    Raises
    ------
    UsageError
        There is no such module, file or function, or importing it fails.
    """
    place, sign, path = text.rpartition(":")
    if not (sign and place and path):
        raise UsageError(f"{text[:100]!r} names no function", remedy=_WANTED)
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module_of_name(place)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
            raise UsageError(
                f"there is no {path}", place, f"it has {', '.join(known[:12]) or 'no functions'}"
            )
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{path} is of type {type(function).__name__}", place, "name a function")
    return target_of(function, series=series, name=text)


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError("there is no such file", str(path), _WANTED)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    _imported(lambda: spec.loader.exec_module(module), str(path))  # type: ignore[union-attr]
    return module


def _module_of_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    module: ModuleType = _imported(lambda: importlib.import_module(name), name)
    return module


def _imported(work: Callable[[], Any], where: str) -> Any:
    try:
        return work()
    except Exception as fault:
        raise UsageError(
            f"importing it raised {type(fault).__name__}: {str(fault)[:200]}", where, _WANTED
        ) from fault
