"""Which definitions reach which others, from the source text alone.

A definition is a function, class, method or name of a module, by its dotted path. It refers to what its text names,
however it was imported, annotations included: who is handed an object names its class. A class refers to all its
methods; a module that is named by itself, as for `getattr`, to all that is in it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Names = Mapping[str, str]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class CallGraph:
    """References between definitions.

    Parameters
    ----------
    refers : by definition, what it names. imported : names of modules that are definitions of others.
    modules : by dotted path, the definitions in it.
    """

    refers: dict[str, set[str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    modules: dict[str, list[str]] = field(default_factory=dict)

    def reaching(self, roots: Collection[str], barriers: Collection[str]) -> set[str]:
        """Return the definitions from which a root is reached without passing a barrier; neither is among them."""
        back: dict[str, set[str]] = {}
        for one, others in self.refers.items():
            for other in others:
                for target in self._meant(other):
                    back.setdefault(target, set()).add(one)
        found: set[str] = set()
        ahead = list(roots)
        while ahead:
            for one in back.get(ahead.pop(), ()):
                if one not in found and one not in roots and not _within(one, barriers):
                    found.add(one)
                    ahead.append(one)
        return found

    def _meant(self, name: str) -> Iterator[str]:
        """Give the definitions that a dotted name stands for; those of other projects are none."""
        if name in self.modules:
            inside = f"{name}."
            yield from (d for m, ds in self.modules.items() if m == name or m.startswith(inside) for d in ds)
            return
        while name and name not in self.refers:
            name = name.rpartition(".")[0]
        if name:
            yield name


def call_graph(root: Path, packages: Collection[str]) -> CallGraph:
    """Return the references in all modules of some packages below a folder."""
    graph = CallGraph()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            _Module(graph, name, is_package).read(ast.parse(path.read_text(encoding="utf-8")))
    return graph


class _Module:
    """Reads one module into a graph."""

    def __init__(self, graph: CallGraph, name: str, is_package: bool) -> None:
        self.graph, self.name, self.is_package = graph, name, is_package
        self.graph.modules[name] = []

    def read(self, tree: ast.Module) -> None:
        imported = self._imports(_outside_functions(tree.body))
        defined = {name: f"{self.name}.{name}" for node in tree.body for name in _defined(node)}
        for name, target in imported.items():  # others may import it from here
            self._define(f"{self.name}.{name}", {target})
            self.graph.imported.add(f"{self.name}.{name}")
        for node in tree.body:
            self._read(node, {**defined, **imported})

    def _read(self, node: ast.stmt, names: Names) -> None:
        if isinstance(node, _Function):
            self._function(node, f"{self.name}.{node.name}", names)
        elif isinstance(node, ast.ClassDef):
            self._class(node, f"{self.name}.{node.name}", names)
        elif not isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in _defined(node) or ["<body>"]:
                self._define(f"{self.name}.{name}", set(_named(node, names)))

    def _class(self, node: ast.ClassDef, path: str, names: Names) -> None:
        methods = [inner for inner in node.body if isinstance(inner, _Function)]
        rest = [inner for inner in node.body if inner not in methods]
        refers = {name for part in (*node.bases, *node.decorator_list, *rest) for name in _named(part, names)}
        for method in methods:
            self._function(method, f"{path}.{method.name}", names)
            self.graph.refers[f"{path}.{method.name}"].add(path)  # by `self` it has all the others
        self._define(path, refers | {f"{path}.{method.name}" for method in methods})

    def _function(self, node: _Function, path: str, names: Names) -> None:
        self._define(path, set(_named(node, {**names, **self._imports(ast.walk(node))})))

    def _define(self, path: str, refers: set[str]) -> None:
        self.graph.refers.setdefault(path, set()).update(refers)
        self.graph.modules[self.name].append(path)

    def _imports(self, nodes: Iterable[ast.AST]) -> dict[str, str]:
        """Return what local names stand for; "*" is the last module of which all names were taken."""
        found: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    found[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                source = self._source(node)
                for alias in node.names:
                    found[alias.asname or alias.name] = (
                        source if alias.name == "*" else f"{source}.{alias.name}"
                    )
        return found

    def _source(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        kept = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*kept, *([node.module] if node.module else [])])


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module's body defines, imports aside."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [t.id for target in targets if target for t in ast.walk(target) if isinstance(t, ast.Name)]


def _outside_functions(body: Collection[ast.stmt]) -> Iterator[ast.AST]:
    """Give the statements of a module, those under `if` and `try` too."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _outside_functions([n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)])


def _named(node: ast.AST, names: Names) -> Iterator[str]:
    """Give what a piece of text names, as dotted paths; a text constant that is a dotted path too."""
    if "*" in names:
        yield names["*"]
    ahead = [node]
    while ahead:
        inner = ahead.pop()
        path = _dotted(inner, names)
        if path:
            yield path
            continue
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "." in inner.value:
            yield inner.value
        ahead += ast.iter_child_nodes(inner)


def _dotted(node: ast.AST, names: Names) -> str:
    """Return the dotted path that a name or a chain of attributes stands for, "" for anything else."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
        return ".".join([names[node.id], *reversed(chain)])
    return ""


def _within(name: str, barriers: Collection[str]) -> bool:
    """Whether a definition is a barrier, or a method of one."""
    return name in barriers or name.rpartition(".")[0] in barriers
