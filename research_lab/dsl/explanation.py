"""What a strategy is made of: its trees with the dimension of each part, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator

from research_lab.dsl.function import FIXED_KINDS
from research_lab.dsl.registry import CLOCKS, FUNCTIONS
from research_lab.dsl.sentences import duration, glossary, sentences
from research_lab.dsl.spec import Param, Spec, compile_spec, warmup_bars
from research_lab.dsl.spec_text import EnsembleForm
from research_lab.dsl.tree import LEAVES, OPERATORS, Node, number_text

_REPEATED = 6  # operations of a part that is drawn once, and named where it stands again


def explanation(spec: Spec, ensemble: EnsembleForm | None = None) -> str:
    """Return a strategy explained: in English, as trees with dimensions, and in figures.

    Parameters
    ----------
    ensemble : the form of the ensemble that it was written as, where it was and where that is known.
    """
    parts = [
        f"{spec.name} {spec.hash[:12]}: {spec.hypothesis}",
        "\n".join(f"  {line}" for line in sentences(spec, ensemble)),
    ]
    if spec.params:
        parts.append("\n".join(["parameters", *_params(spec)]))
    drawn: set[str] = set()
    parts += ["\n".join([name, *tree_lines(node, drawn)]) for name, node in signals(spec).items()]
    used = glossary(spec)
    if used:
        parts.append("\n".join(["functions", *(f"  {line}" for line in used)]))
    parts.append("\n".join(["figures", *(f"  {name:14} {value}" for name, value in figures(spec).items())]))
    return "\n\n".join(parts)


def signals(spec: Spec) -> dict[str, Node]:
    """Return the trees that a strategy computes at each bar, by field."""
    given = {**spec.conditions, "stop": spec.stop, "trail": spec.trail, "size": spec.size}
    return {name: node for name, node in given.items() if node is not None}


def figures(spec: Spec) -> dict[str, str]:
    """Return what a strategy costs, at its parameters' values."""
    program = compile_spec(spec).program
    warmup = warmup_bars(spec)
    return {
        "warm-up": f"{warmup} bars, {duration(warmup * spec.step_ms)}" if warmup else "none",
        "operations": str(spec.n_nodes),
        "instructions": str(program.code.shape[0]),
        "state": f"{program.n_state} cells",
        "combinations": f"{spec.n_combinations:,}",
        "needs": ", ".join(sorted(spec.needs.difference(spec.rows))) or "none",
        "from outside": ", ".join(spec.rows) or "none",
        "hash": spec.hash,
        "family": spec.template_hash,
    }


def tree_lines(root: Node, drawn: set[str] | None = None) -> list[str]:
    """Return a tree, one line a node, each with its dimension at the right.

    Parameters
    ----------
    drawn : texts of the larger parts that were drawn before, and are not drawn again; those of this tree join.
    """
    lines = list(_drawn(root, "", "", set() if drawn is None else drawn))
    width = min(max(len(label) for label, _ in lines), 72)
    return [f"  {label:{width}}  {dimension}" for label, dimension in lines]


def _drawn(node: Node, first: str, rest: str, drawn: set[str]) -> Iterator[tuple[str, str]]:
    dimension = "number" if node.dimension.literal else str(node.dimension)
    if node.text in drawn:
        yield f"{first}{_label(node)}", f"{dimension}, as above"
        return
    if node.size >= _REPEATED:
        drawn.add(node.text)
    yield f"{first}{_label(node)}", dimension
    below = _shown_below(node)
    for k, arg in enumerate(below):
        last = k == len(below) - 1
        branch, on = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _drawn(arg, f"{rest}{branch}", f"{rest}{on}", drawn)


def _label(node: Node) -> str:
    if node.op in LEAVES:
        return node.text
    if node.op in OPERATORS:
        return OPERATORS[node.op][0]
    if node.op in CLOCKS:
        return f'{node.op}("{node.value}")'
    function = FUNCTIONS.get(node.op)
    if function is None:
        return node.op
    pairs = zip(function.arguments, node.args, strict=True)
    told = [f"{a.name}={arg.text}" for a, arg in pairs if a.kind in FIXED_KINDS]
    return f"{node.op}({', '.join(told)})" if told else node.op


def _shown_below(node: Node) -> list[Node]:
    function = FUNCTIONS.get(node.op)
    if function is None:
        return list(node.args)
    pairs = zip(function.arguments, node.args, strict=True)
    return [arg for a, arg in pairs if a.kind not in FIXED_KINDS]


def _params(spec: Spec) -> list[str]:
    width = max(map(len, spec.params))
    return [f"  {name:{width}}  {number_text(p.default)}, {range_text(p)}" for name, p in spec.params.items()]


def range_text(p: Param) -> str:
    """Return a parameter's range as words: 10 to 60 by 5."""
    low, high, step = (number_text(v) for v in (p.low, p.high, p.step))
    return f"{low} to {high} by {step}"
