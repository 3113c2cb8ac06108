"""Strategies in plain English, from their trees: what acts, when, and with how much.

What an ensemble was is no longer told by its trees: its form is shown in their place where it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.phrases import EVENT_PHRASES, PHRASES
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.spec_reader import volatility_text
from research_lab.dsl.spec_text import EnsembleForm, MemberForm
from research_lab.dsl.tree import CHAINS, LEAVES, OPERATORS, Node, number_text
from research_lab.dsl.vocabulary.costs import SPREAD
from research_lab.engine import layout
from research_lab.series import EventRule, ModelRule, SeriesRule
from research_lab.timeframe import DAY_MS, HOUR_MS, MINUTE_MS

_SAID_IN_FULL = 60  # operations of a condition; a larger one is told by its size, and shown as its tree
_COMPARED = {
    # operation: words with the sides as they stand, and with the sides exchanged
    "less": ("is below", "is above"),
    "less_equal": ("is at or below", "is at or above"),
    "equal": ("equals", "equals"),
}
_JOINED = {
    "add": "{} plus {}",
    "subtract": "{} less {}",
    "multiply": "{} times {}",
    "divide": "the ratio of {} to {}",
    "negate": "minus {}",
}
_NOT_COMPARED = {
    "less": ("is at or above", "is at or below"),
    "less_equal": ("is above", "is below"),
    "equal": ("differs from", "differs from"),
}


def sentences(spec: Spec, ensemble: EnsembleForm | None = None) -> list[str]:
    """Return what a strategy does, a sentence for each thing it does, in the order in which they come.

    Parameters
    ----------
    ensemble : the form of the ensemble whose members the conditions are, where it is known.
    """
    words = _Words(spec)
    together = words.entries() + words.exits() if ensemble is None else words.ensemble(ensemble)
    return [
        f"At each close of its {spec.timeframe} bars it decides; what it decides is done at the next open.",
        *together,
        *words.time_stop(),
        *words.protection(),
        words.size(),
        *words.regimes(),
        *words.outside(),
    ]


def glossary(spec: Spec) -> list[str]:
    """Return what each function used means, one line each, as the registry has it."""
    trees = [*spec.conditions.values(), spec.stop, spec.trail, spec.size]
    names = sorted(set(_operations(tree for tree in trees if tree is not None)) & set(FUNCTIONS))
    return [f"{FUNCTIONS[name].signature}: {FUNCTIONS[name].meaning}" for name in names]


def duration(ms: int) -> str:
    """Return a time span in words: 45 minutes, 6.5 hours, 62.7 days."""
    for unit, name, least in ((DAY_MS, "day", 2), (HOUR_MS, "hour", 1), (MINUTE_MS, "minute", 0)):
        if ms >= least * unit:
            n = round(ms / unit, 1)
            return f"{n:g} {name}{'' if n == 1 else 's'}"
    raise ValueError(f"{ms} ms is no time span")


def _operations(trees: Iterable[Node]) -> Iterable[str]:
    for tree in trees:
        yield tree.op
        yield from _operations(tree.args)


class _Words:
    """One strategy's trees as words, parameters with their values now."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.values: Mapping[str, float] = spec.values

    def entries(self) -> list[str]:
        return [
            f"Goes {side} when {self._condition(f'enter_{side}')}."
            for side in ("long", "short")
            if f"enter_{side}" in self.spec.conditions
        ]

    def exits(self) -> list[str]:
        return [
            f"Leaves a {side} when {self._condition(f'exit_{side}')}."
            for side in ("long", "short")
            if f"exit_{side}" in self.spec.conditions
        ]

    def ensemble(self, form: EnsembleForm) -> list[str]:
        """Return how members are combined, and each of them."""
        sides = [side for side in ("long", "short") if f"enter_{side}" in self.spec.conditions]
        reaches = self._number(form.min_confidence)
        both = ", for a short its negative" if "short" in sides else ""
        stands = {
            "first": "where the first member that stands anywhere does",
            "vote": "where more than half of the members that know stand",
            "weighted": f"where the members' mean stance by weight reaches {reaches}{both}",
        }[form.combine]
        return [
            f"It is an ensemble of {len(form.members)}, each {' or '.join([*sides, 'aside'])}; one that does not know "
            "abstains.",
            *(
                self._member(name, member, form.combine == "weighted")
                for name, member in form.members.items()
            ),
            f"Goes {' or '.join(sides)} {stands}, and leaves when they no longer do.",
        ]

    def _member(self, name: str, form: MemberForm, weighted: bool) -> str:
        weight = f", weight {self._number(form.weight)}" if weighted else ""
        if form.use is not None:
            return f"Member {name}{weight}: the conditions of {form.use}."
        told = [
            f"{key.replace('_', ' ')} {_flat(text)}" for key in CONDITIONS if (text := getattr(form, key))
        ]
        return f"Member {name}{weight}: {'; '.join(told)}."

    def _number(self, text: str | float | None) -> str:
        """Return a number of the file, 1 where it is left out; a parameter with its value now."""
        value = self.values.get(str(text).strip())
        return str(1 if text is None else text) if value is None else f"{text} (now {number_text(value)})"

    def time_stop(self) -> list[str]:
        held = self.spec.time_stop
        if held is None:
            return []
        return [f"Leaves at the latest after {self._bars(held)}{self._duration(held)}."]

    def protection(self) -> list[str]:
        """Return stop, takes, breakeven and trail, which act inside a bar."""
        spec, said = self.spec, []
        if spec.stop is not None:
            said.append(f"A stop lies {self._inner(spec.stop)} away from the entry; that distance is R.")
        if spec.takes:
            parts = [f"{self._percent(share)} at {self._fixed(at)} R" for at, share in spec.takes]
            said.append(f"Takes profit, each time of what remains: {', '.join(parts)}.")
        if spec.breakeven:
            said.append("After the first take the stop moves to the entry price.")
        if spec.trail is not None:
            after = f", once the gain is {self._fixed(spec.trail_after)} R"
            once = "" if spec.trail_after.text == "0" else after
            distance = self._inner(spec.trail)
            said.append(f"The stop trails {distance} behind the best price since the entry{once}.")
        return said

    def size(self) -> str:
        size, is_risk = self.spec.size, self.spec.size_kind == layout.RISK
        if not _is_fixed(size):
            return self._varying_size(size, is_risk)
        share = self._percent(size)
        if is_risk:
            return f"Each entry risks {share} of equity: that is lost when the stop is hit at its price."
        return f"Each entry puts {share} of equity into the position."

    def _varying_size(self, size: Node, is_risk: bool) -> str:
        """Return how large an entry is whose size is computed at each bar."""
        window = None if is_risk else _volatility_window(size, self.spec.step_ms)
        if window is not None:
            aim = (
                self._percent(size.args[0])
                if _is_fixed(size.args[0])
                else f"the share {self._said(size.args[0])}"
            )
            over = f"measured over {window} bars"
            return f"Each entry is as large a share of equity as has a volatility of {aim} a year, {over}."
        if is_risk:
            told = self._said(size)
            return (
                f"Each entry risks a share of equity, {told}: that is lost when the stop is hit at its price."
            )
        return f"Each entry puts a share of equity into the position: {self._said(size)}."

    def regimes(self) -> list[str]:
        spec = self.spec
        if not spec.regimes:
            return []
        leaves = ", and leaves when the regime is another" if spec.regime_exit else ""
        return [f"Enters only in the market regimes {_listed(spec.regimes, 'or')}{leaves}."]

    def outside(self) -> list[str]:
        """Return what it reads besides its market, and how."""
        spec = self.spec
        declared: list[tuple[str, SeriesRule | EventRule | ModelRule]]
        declared = [*spec.series.items(), *spec.events.items(), *spec.models.items()]
        said = [f"Reads {self._read_how(name, rule)}." for name, rule in declared]
        markets = sorted({str(node.value) for node in spec.markets.values()})
        own = f"on {spec.timeframe} bars of its own"
        estimated = SPREAD.partition("(")[0] in _operations(filter(None, spec.roots()))
        if estimated and "spread" not in spec.series:
            said.append(
                "The spread in it is an estimate from high, low and close, since no series spread is declared."
            )
        return said + [f"Reads the market {symbol} as of its last complete bar, {own}." for symbol in markets]

    def _read_how(self, name: str, rule: SeriesRule | EventRule | ModelRule) -> str:
        if isinstance(rule, ModelRule):
            age = duration(rule.max_age_ms)
            return (
                f"the score of model {name} {rule.hash[:12]}, unknown once {age} old, or when it is missing"
            )
        if isinstance(rule, EventRule):
            known = "all known ahead" if rule.known_ahead else "each known when it was announced"
            return f"the calendar {name}, its events {known}"
        lag = f"from {duration(rule.lag_ms)} after its stamp" if rule.lag_ms else "from its stamp"
        return f"the series {name}, each value {lag} on, unknown once {duration(rule.max_age_ms)} older than that"

    def _condition(self, name: str) -> str:
        node = self.spec.conditions[name]
        if node.size > _SAID_IN_FULL:
            return f"{name} below holds, a condition of {node.size} operations"
        return self._said(node)

    def _said(self, node: Node) -> str:
        """Return a tree as words."""
        if _is_fixed(node):
            return self._fixed(node)
        if node.op in CHAINS:
            return _listed([self._inner(part) for part in node.args], node.op, comma=True)
        if node.op == "not":
            return self._denied(node.args[0])
        if node.op in _COMPARED:
            return self._compared(node, _COMPARED)
        if node.op in FUNCTIONS:
            return self._called(node)
        if node.op in _JOINED:
            return self._joined(node)
        ways = {"input": self._input, "tf": self._elsewhere, "on": self._elsewhere}
        return ways[node.op](node) if node.op in ways else node.text

    def _joined(self, node: Node) -> str:
        """Return arithmetic as words; that on the market's inputs and numbers alone as its formula."""
        if _is_formula(node):
            return node.text
        order = {"multiply": lambda part: not _is_fixed(part), "add": lambda part: part.op == "multiply"}
        args = sorted(node.args, key=order[node.op]) if node.op in order else node.args
        by_number = node.op == "divide" and _is_fixed(node.args[1])
        words = "{} divided by {}" if by_number else _JOINED[node.op]
        return words.format(*(self._operand(arg, node.op, first=k == 0) for k, arg in enumerate(args)))

    def _operand(self, node: Node, around: str, *, first: bool) -> str:
        """Return a part of arithmetic as words, in brackets where it could be read otherwise."""
        said = self._said(node)
        sums = ("add", "subtract")
        clear = around in sums and (node.op == "multiply" or (first and node.op in sums))
        plain = node.op not in OPERATORS or _is_fixed(node) or (clear and not _is_formula(node))
        return said if plain else f"({said})"

    def _input(self, node: Node) -> str:
        name = str(node.value)
        told, _, calendar = name.partition("(")
        if told == "model":
            return "the score of model " + calendar.strip('")')
        if calendar:
            return EVENT_PHRASES[told].format(name=calendar.rstrip(")"))
        return name if name in INPUTS else f"the series {name}"

    def _elsewhere(self, node: Node) -> str:
        """Return a value of a longer timeframe or of another market as words."""
        where = f"on {node.value} bars" if node.op == "tf" else f"on {node.value}"
        inner = node.args[0]
        return (
            f"({self._said(inner)}) {where}" if inner.dimension.condition else f"{self._part(inner)} {where}"
        )

    def _denied(self, node: Node) -> str:
        if node.op in _COMPARED:
            return self._compared(node, _NOT_COMPARED)
        return f"it is not so that {self._inner(node)}"

    def _compared(self, node: Node, words: Mapping[str, tuple[str, str]]) -> str:
        """Return a comparison with the more telling side first: close before an average, that before 70."""
        left, right = node.args
        swapped = _telling(right) < _telling(left)
        first, second = (right, left) if swapped else (left, right)
        return f"{self._inner(first)} {words[node.op][swapped]} {self._inner(second)}"

    def _called(self, node: Node) -> str:
        if node.op == "prev" and node.args[1].text == "1":
            before, last, nothing = PHRASES.get(node.args[0].op, "").partition("of the last {n}")
            if last and not nothing:
                return self._phrase(node.args[0], f"{before}of the {{n}} before")
        return self._phrase(node, PHRASES[node.op])

    def _phrase(self, node: Node, phrase: str) -> str:
        said = {}
        for argument, arg in zip(FUNCTIONS[node.op].arguments, node.args, strict=True):
            ways = {"window": self._bars, "share": self._percent}
            said[argument.name] = ways.get(argument.kind, self._part)(arg)
        return phrase.format(**said)

    def _inner(self, node: Node) -> str:
        """Return a part as words, a list of conditions in brackets."""
        said = self._said(node)
        return f"({said})" if node.op in CHAINS else said

    def _part(self, node: Node) -> str:
        """Return what a phrase is about, in brackets when it is more than one thing."""
        said = self._said(node)
        bracketed = node.dimension.condition or (node.op in OPERATORS and not _is_fixed(node))
        return f"({said})" if bracketed else said

    def _fixed(self, node: Node) -> str:
        """Return a number fixed before the run: its text, and its value where that is not the same."""
        value = node.bind(self.values).text
        return value if value == node.text else f"{node.text} (now {value})"

    def _bars(self, node: Node) -> str:
        return f"{self._fixed(node)} bar{'' if node.text == '1' else 's'}"

    def _percent(self, node: Node) -> str:
        bound = node.bind(self.values)
        share = f"{number_text(round(100.0 * float(bound.value or 0.0), 10))} %"
        return share if not node.params else f"{node.text} (now {share})"

    def _duration(self, bars: Node) -> str:
        bound = bars.bind(self.values)
        if bound.op != "constant":
            return ""
        return f", {duration(round(float(bound.value or 0.0)) * self.spec.step_ms)}"


def _flat(text: object) -> str:
    """Return a text of the file on one line."""
    return " ".join(str(text).split())


def _telling(node: Node) -> tuple[int, int]:
    """Return the rank of a side as the subject of a sentence: inputs first, multiples and fixed numbers last."""
    if _is_fixed(node):
        return (3, 0)
    if node.op == "multiply" and any(map(_is_fixed, node.args)):
        return (2, node.size)
    return (0, 0) if node.op == "input" else (1, node.size)


def _is_fixed(node: Node) -> bool:
    """Whether a tree is a number fixed before the run."""
    return not node.inputs and node.dimension.literal


def _is_formula(node: Node) -> bool:
    """Whether arithmetic is on the market's inputs and plain numbers alone: it reads best as it is written."""
    if node.op in LEAVES:
        return node.op == "constant" or str(node.value) in INPUTS
    return node.op in OPERATORS and all(map(_is_formula, node.args))


def _volatility_window(size: Node, step_ms: int) -> int | None:
    """Return the bars over which `target_vol` measures, None of a size that is not made of it."""
    windows = [part for arg in size.args for part in arg.args if part.op == "std"]
    if size.op != "divide" or len(windows) != 1:
        return None
    window = int(windows[0].args[1].value or 0)
    is_target = size.args[1] == parse_expression(volatility_text(window, step_ms), Scope())
    return window if is_target else None


def _listed(parts: Sequence[str], word: str, *, comma: bool = False) -> str:
    """Return parts as a list of English: a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    pause = "," if comma or len(parts) > 2 else ""
    return f"{', '.join(parts[:-1])}{pause} {word} {parts[-1]}"
