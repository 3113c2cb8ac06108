"""The language page, docs/language.md, written from the registry, the limits and the form of the file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from research_lab.dsl import limits, reference_text, spec_text, vocabulary
from research_lab.dsl.compiler import program_of
from research_lab.dsl.dimensions import BARS, CONDITION, LITERAL, PRICE, RATIO, VOLUME, Dimension
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.function import MAX_EXPONENT, MAX_WINDOW, Argument, Function
from research_lab.dsl.json_schema import FIELDS
from research_lab.dsl.registry import CLOCKS, EVENT_FUNCTIONS, FAMILIES, INPUTS, MODEL_FORM, MODEL_MEANING
from research_lab.dsl.spec import REGIMES
from research_lab.dsl.vocabulary.blends import BASE_WEIGHTS
from research_lab.timeframe import HOUR_MS, timeframe_ms

_WINDOWS = (14, 100)  # at which costs are told, on bars of an hour
_SAMPLES = {PRICE: "close", VOLUME: "volume", RATIO: "funding", BARS: "bars_since(close > open)"}
_OPERATORS = (
    ("`or`", "conditions", "condition", "true where one side is"),
    ("`and`", "conditions", "condition", "true where both sides are"),
    ("`not`", "a condition", "condition", "true where it is false"),
    (
        "`<` `<=` `>` `>=` `==` `!=`",
        "numbers of one dimension",
        "condition",
        "`a < b < c` is `a < b and b < c`",
    ),
    ("`+` `-`", "numbers of one dimension", "the same", "and `-x`"),
    ("`*` `/`", "numbers", "their product or quotient", "divided by zero: unknown"),
)
# What a result may be told as, with a test on the arguments' dimensions and its own.
_RESULTS: tuple[tuple[str, Callable[[Sequence[Dimension], Dimension], bool]], ...] = (
    ("that of {0}", lambda given, result: result == given[0]),
    ("that of {1}", lambda given, result: result == given[min(1, len(given) - 1)]),
    ("the square root of that of {0}", lambda given, result: result.times(result) == given[0]),
    ("the square of that of {0}", lambda given, result: result == given[0].times(given[0])),
    ("that of {0} times that of {1}", lambda given, result: result == given[0].times(given[-1])),
    ("that of {0} over that of {1}", lambda given, result: result == given[0].times(given[-1], -1)),
)
_MODELS = {
    "SpecForm": "A strategy",
    "ParamForm": "`params`, each",
    "SeriesForm": "`series`, each",
    "EventForm": "`events`, each",
    "ModelUseForm": "`models`, each",
    "EnsembleForm": "`ensemble`",
    "MemberForm": "`members`, each",
    "TakeForm": "`take`, each",
    "TrailForm": "`trail`",
    "SizeForm": "`size`",
}
_LIMITS = {
    "BYTES": "bytes of a file",
    "EXPRESSION_CHARACTERS": "characters of an expression",
    "TOKENS": "words and signs of an expression",
    "DEPTH": "brackets inside each other",
    "VALUES": "keys and values of a file",
    "NESTING": "lists and mappings of a file inside each other",
    "NUMBER_CHARACTERS": "characters of a number that is a value of a file",
    "TREE_DEPTH": "operations inside each other, definitions written out",
    "NODES": "operations of an expression, definitions written out",
    "PARAMS": "parameters",
    "PARAM_VALUES": "steps of a parameter",
    "COMBINATIONS": "combinations of the parameters' values",
    "FIXED_NODES": "operations of a number fixed before the run",
    "FIXED_PARAMS": "parameters of a number fixed before the run",
    "FIXED_VALUES": "values of a number fixed before the run",
    "FIXED_WORK": "operations to check all such numbers",
    "DEFINITIONS": "definitions",
    "MEMBERS": "members of an ensemble",
    "USES": "strategies that use each other, one inside the other",
    "SERIES": "series, calendars and models, and values read of them and of other markets",
    "STATE_CELLS": "cells of memory",
    "INSTRUCTIONS": "instructions",
    "NUMBER": "size of a number",
}


def language_page() -> str:
    """Return the page."""
    parts = [
        reference_text.INTRODUCTION,
        *_file(),
        *_expressions(),
        "## Functions",
        *itertools.chain.from_iterable(map(_family, FAMILIES)),
        reference_text.CONVENTIONS,
        "## Examples",
        _examples(reference_text.EXAMPLES),
        *_elsewhere(),
        reference_text.ENSEMBLES,
        reference_text.PARAMS,
        reference_text.REGIMES,
        "\n".join(f"- `{name}`" for name in REGIMES),
        reference_text.MACRO,
        "## Limits",
        _table(("at most", "what"), ((_figure(getattr(limits, n)), words) for n, words in _LIMITS.items())),
        f"A window has {MAX_WINDOW:,} bars at most.",
        reference_text.PYTHON,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _family(name: str) -> Iterable[str]:
    functions = FAMILIES[name]
    yield f"### {name.capitalize()}"
    yield getattr(vocabulary, name).__doc__.strip()
    yield _table(("function", "meaning", "gives"), map(_overview, functions))
    yield from map(_section, functions)


def _examples(examples: Iterable[tuple[str, str]]) -> str:
    return _table(("expression", "says"), ((_code(text), says) for text, says in examples))


def _elsewhere() -> Iterable[str]:
    yield reference_text.ELSEWHERE
    yield f"```yaml\n{reference_text.DECLARED}```"
    yield _examples(reference_text.ELSEWHERE_EXAMPLES)
    clocks = ((_code(text), "that of x") for text in CLOCKS.values())
    told = ((_code(f"{name}(calendar)"), f"ratio: {says}") for name, says in EVENT_FUNCTIONS.items())
    yield _table(("form", "gives"), (*clocks, *told, (_code(MODEL_FORM), f"ratio: {MODEL_MEANING}")))


def _file() -> Iterable[str]:
    yield "## The file"
    yield f"```yaml\n{reference_text.STRATEGY}```"
    for model, title in _MODELS.items():
        form = getattr(spec_text, model).model_fields
        rows = []
        for name, note in FIELDS[model].items():
            default = "needed" if form[name].is_required() else _default(form[name].get_default())
            rows.append((_code(name), default, note))
        yield f"### {title}"
        yield _table(("field", "left out", "what it is"), rows)
    yield reference_text.RULES


def _default(value: object) -> str:
    if isinstance(value, bool):
        return _code(json.dumps(value))
    return _code(value) if isinstance(value, str) else "none"


def _expressions() -> Iterable[str]:
    yield "## Inputs"
    yield _table(
        ("input", "dimension", "meaning"), ((_code(n), str(d), says) for n, (d, says) in INPUTS.items())
    )
    yield "## Operators"
    yield "From the loosest to the tightest, as in Python."
    yield _table(("operator", "takes", "gives", ""), _OPERATORS)


def _overview(function: Function) -> tuple[str, str, str]:
    name = f"[`{function.signature}`](#{function.name})"
    return name, function.meaning, dimension_words(function)


def _section(function: Function) -> str:
    lines = [f"### {function.name}", "", f"`{function.signature}`: {function.meaning}.", ""]
    lines += [f"- `{argument.name}`: {_argument(argument)}" for argument in function.arguments]
    lines += [f"- gives: {dimension_words(function)}", *_costs(function)]
    lines += _bodies(function)
    return "\n".join(lines)


def _bodies(function: Function) -> Iterable[str]:
    """Yield what a derived function is in the language, and the numbers that its text names."""
    if function.body:
        yield f"- is: `{function.body}`"
    if function.body_on is not None:
        for timeframe in BASE_WEIGHTS:
            yield f"- is, on bars of {timeframe}: `{function.body_on(timeframe_ms(timeframe))}`"
    window = next((argument.name for argument in function.arguments if argument.kind == "window"), "")
    for name, of in function.fixed.items():
        yield f"- there, where {window} is {_WINDOWS[0]}: {name} is {of({window: float(_WINDOWS[0])}):.6g}"


def _argument(argument: Argument) -> str:
    kinds = {
        "number": "a number",
        "condition": "a condition",
        "window": f"whole bars, {argument.least} to {argument.most:,}, fixed before the run",
        "exponent": f"a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}, fixed before the run",
        "share": "a number from 0 to 1, fixed before the run",
    }
    return kinds[argument.kind] + (f"; `{argument.default}` when left out" if argument.default else "")


def dimension_words(function: Function) -> str:
    """Return a function's rule of dimensions in words, found by trying what it takes and gives."""
    free = [argument.name for argument in function.arguments if argument.kind == "number"]
    taken = _taken(function)
    results = set(taken.values())
    if not free:
        return str(*results)
    plain = {given: result for given, result in taken.items() if CONDITION not in given}
    gives = str(*results) if len(results) == 1 else _result_words(taken).format(*free)
    if any(argument.kind == "exponent" for argument in function.arguments):
        gives += f" to the power of {function.arguments[-1].name}"
    needs = [f"{' and '.join(names)} of one dimension" for names in _alike(free, plain)]
    for k, name in enumerate(free):
        fitting = {given[k]: None for given in plain}
        if len(fitting) < len(_SAMPLES):
            needs.append(f"{name} a {' or '.join(map(str, fitting))}")
    return "; ".join([gives, *needs, *["conditions too"] * (len(plain) < len(taken))])


def _result_words(taken: Mapping[tuple[Dimension, ...], Dimension]) -> str:
    """Return what a result is, with places for the arguments that it follows."""
    fitting = (words for words, rule in _RESULTS if all(itertools.starmap(rule, taken.items())))
    return next(fitting, "another dimension")


def _alike(free: Sequence[str], plain: Mapping[tuple[Dimension, ...], Dimension]) -> list[list[str]]:
    """Return the arguments that must share a dimension which is theirs to choose."""
    first = [k for k in range(len(free)) if all(given[k] == given[0] for given in plain)]
    chosen = len({given[0] for given in plain}) > 1
    return [[free[k] for k in first]] if len(first) > 1 and chosen else []


def _taken(function: Function) -> Mapping[tuple[Dimension, ...], Dimension]:
    """Return what a function gives for every choice of its numbers' dimensions that it takes."""
    free = [argument for argument in function.arguments if argument.kind == "number"]
    found = {}
    for given in itertools.product((*_SAMPLES, CONDITION), repeat=len(free)):
        dimensions = dict(zip((argument.name for argument in free), given, strict=True))
        fixed = {a.name: CONDITION if a.kind == "condition" else LITERAL for a in function.arguments}
        result = function.dimension(list({**fixed, **dimensions}.values()))
        if result is not None:
            found[given] = result.plain()
    return found


def _costs(function: Function) -> list[str]:
    """Return warm-up, memory and instructions of a sample call, at two windows where it has one."""
    has_window = any(argument.kind == "window" for argument in function.arguments)
    lines = []
    for window in _WINDOWS if has_window else _WINDOWS[:1]:
        text = _sample(function, window)
        program, warmup = program_of([parse_expression(text, Scope())], HOUR_MS)
        n = program.code.shape[0]
        bars, plural = f"{warmup} bar{'s' * (warmup != 1)}", "s" * (n != 1)
        lines.append(f"- `{text}`: {bars} of warm-up, {program.n_state} cells, {n} instruction{plural}")
    return lines


def _sample(function: Function, window: int) -> str:
    given = iter(next(iter(_taken(function))))
    kinds = {"condition": "close > open", "window": str(window), "share": "0.9", "exponent": "2"}
    texts = [
        _SAMPLES[next(given)] if argument.kind == "number" else kinds[argument.kind]
        for argument in function.arguments
    ]
    return f"{function.name}({', '.join(texts)})"


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
