"""What a model is told: the language as the brief allows it, what is wanted, and what the research zone has shown.

No name of a market, no date and no price level stands in it (`screening`). People's words that hold one are refused;
what the search itself adds is left out where it would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from research_lab.dsl.function import MAX_WINDOW
from research_lab.dsl.json_schema import FIELDS
from research_lab.dsl.reference import dimension_words
from research_lab.dsl.reference_text import EXAMPLES, STRATEGY
from research_lab.dsl.registry import FUNCTIONS, INPUTS
from research_lab.dsl.spec import REGIMES, Spec
from research_lab.errors import UsageError
from research_lab.generators.archive import Archive, Elite
from research_lab.generators.brief import Brief
from research_lab.generators.language_model.masking import masked
from research_lab.generators.language_model.screening import findings
from research_lab.generators.protocol import Answer, Feedback

N_ELITES: Final = 8  # shown of the archive, the fittest first
N_REFUSALS: Final = 8  # of the last proposals
_REFUSAL_CHARACTERS: Final = 240
_NAMED: Final = "strategy"  # what a strategy shown is called, whatever its name

_TASK: Final = """\
You write trading strategies in a small language of conditions over bars. Each is data, read by a strict parser and
then tested on a market that you are not told. Write general rules with a reason why they should work: never name a
market, a date or a price level. Simple beats complex: every operation and every parameter costs, and every strategy
that is tested makes it harder for all to be believed. Different ideas are worth more than variants of one.
Answer with the JSON that is asked for and nothing else; there is no other way to be read."""

_LANGUAGE: Final = f"""\
# The language

Every value has a dimension: price, volume, bars, their products and quotients, or ratio, which has none. Values are
added and compared within one dimension only: `close > rsi(14)` is refused, `close > sma(close, 14)` is right. A number
or a parameter is a ratio or a count of bars, never a price; a distance in price is a multiple of a price: `2 * atr(14)`.
Windows are whole bars, at most {MAX_WINDOW}, fixed before the run: a number, or an expression of parameters.
Nothing can see a bar that has not closed: `prev(x, n)` looks back, n at least 1. Decisions are made at a close and done
at the next open. A condition is true, false or unknown; only what is definitely true acts.
Operators from the loosest: `or`, `and`, `not`, `< <= > >= == !=`, `+ -`, `* /`. There is no `%`, `**`, `if`, list or
text in an expression.
`side: long` takes no `enter_short` and no `exit_short`, and the other way round; `side: both` needs both entries. There
must be a way out: an exit, `stop`, `trail` or `time_stop`. `take`, `size: {{risk: ...}}` and `trail: {{after: ...}}` need
`stop`; `breakeven` needs `take`; `regime_exit` needs `regimes`. A parameter must be used, and so must a definition."""


@lru_cache(maxsize=8)
def instructions(brief: Brief) -> str:
    """Return what stands above every question: the task and the language."""
    parts = [_TASK, _LANGUAGE, *_fields(), *_vocabulary(brief), *_examples(brief)]
    return "\n\n".join(parts)


def author_prompt(brief: Brief, feedback: Feedback, n: int, entries: Sequence[str] = ()) -> str:
    """Return the question for new strategies.

    Parameters
    ----------
    entries : conditions of entry that were just proposed, and are not wanted again.
    """
    rows = "\n".join(f"- `{masked(entry)}`" for entry in entries if not findings(entry, code=True))
    just = f"# Entries just proposed, not wanted again\n\n{rows}" if rows else ""
    ask = f"Write {_strategies(n)}, each on another idea than the rest and than those shown."
    return _joined(_wanted(brief), _seen(feedback), just, ask)


def idea_prompt(brief: Brief, ideas: Sequence[str]) -> str:
    """Return the question that turns ideas of people into strategies, one each."""
    listed = "\n".join(f"{k}. {idea}" for k, idea in enumerate(ideas, start=1))
    ask = f"Turn each idea into one strategy that says just that, in their order: {_strategies(len(ideas))}.\n\n{listed}"
    return _joined(_wanted(replace(brief, ideas=())), ask)


def variation_prompt(brief: Brief, feedback: Feedback, parents: Sequence[Spec], n: int) -> str:
    """Return the question for variations of one strategy, or for children of two."""
    shown = "\n".join(f"```yaml\n{text}```" for text in map(shown_text, parents) if text)
    how = (
        "Change what may be wrong about it: an assumption, a clock, an exit, a filter that does nothing."
        if len(parents) == 1
        else "Bring together what each of them does well; leave out what the other makes needless."
    )
    noun = "this strategy" if len(parents) == 1 else "these strategies"
    ask = f"Write {_strategies(n)} made from {noun}. {how} No change of numbers alone.\n\n{shown}"
    return _joined(_wanted(brief), _seen(feedback), ask)


def critic_prompt(texts: Sequence[str]) -> str:
    """Return the question for what each strategy claims, and how it would fail."""
    shown = "\n\n".join(f"Strategy {k}:\n```yaml\n{text}```" for k, text in enumerate(texts, start=1))
    ask = (
        "You are the critic. For each strategy state the hypothesis that it stands on: who is on the other side, and why"
        " they go on losing. Then state how it would fail: what would be seen if the hypothesis were false. Be concrete,"
        f" two sentences each, and do not praise. Answer for all {len(texts)}, in their order."
    )
    return _joined(ask, shown)


def check_brief(brief: Brief) -> None:
    """Refuse a brief whose words tell of a market, a date or a price level.

    Raises
    ------
    UsageError
        Naming the words, and how to say it without them.
    """
    places = [("goal", (brief.goal,)), ("idea", brief.ideas), ("avoid", brief.avoid)]
    for field, texts in places:
        for number, text in enumerate(texts, start=1):
            found = findings(text)
            if found:
                where = field if field == "goal" else f"{field} {number}"
                what = f"a language model is told no market, date or price level, but {where} holds "
                remedy = "say what kind of market or move is meant; write an ordinary word in small letters"
                raise UsageError(what + ", ".join(map(str, found[:5])), "brief", remedy)


def shown_text(spec: Spec) -> str:
    """Return a strategy as a model may see it: without its name; "" when it tells too much.

    A hypothesis that does is left out alone. A number that no strategy can use may be a price, and tells too much.
    """
    hypothesis = "" if findings(spec.hypothesis) else spec.hypothesis
    text = replace(spec, name=_NAMED, hypothesis=hypothesis or "unknown").canonical()
    body = text.replace(f"name: {_NAMED}\n", "", 1)
    return "" if findings(body, code=True) or masked(body) != body else body


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _strategies(n: int) -> str:
    return "one strategy" if n == 1 else f"{n} strategies"


def _fields() -> Iterator[str]:
    outside = ("series", "events", "models", "ensemble")
    rows = [f"- `{name}`: {note}" for name, note in FIELDS["SpecForm"].items() if name not in outside]
    for form, field in (
        ("ParamForm", "params"),
        ("TakeForm", "take"),
        ("TrailForm", "trail"),
        ("SizeForm", "size"),
    ):
        rows += [f"- `{field}`, each, `{name}`: {note}" for name, note in FIELDS[form].items()]
    yield "# Fields of a strategy\n\n" + "\n".join(rows) + f"\n\nRegimes: {', '.join(REGIMES)}."


def _vocabulary(brief: Brief) -> Iterator[str]:
    inputs = [f"- `{name}` ({INPUTS[name][0]}): {INPUTS[name][1]}" for name in INPUTS if name in brief.inputs]
    yield "# Inputs\n\n" + "\n".join(inputs)
    functions = [FUNCTIONS[name] for name in brief.functions]
    rows = [f"- `{f.signature}` gives {dimension_words(f)}: {f.meaning}" for f in functions]
    yield "# Functions\n\n" + "\n".join(rows)
    if brief.longer:
        clocks = ", ".join(brief.longer)
        yield f'`tf("{brief.longer[0]}", x)` is x on longer bars, as of the last complete one; timeframes: {clocks}.'


def _examples(brief: Brief) -> Iterator[str]:
    known = set(brief.functions) | set(brief.inputs)
    other = (set(FUNCTIONS) | set(INPUTS)) - known
    fitting = [(text, says) for text, says in EXAMPLES if not _uses(text, other)]
    rows = [f"- `{text}`: {says}" for text, says in fitting]
    shown = "" if _uses(STRATEGY, other) else f"\n\nA whole strategy, as YAML:\n```yaml\n{STRATEGY}```"
    yield "# Examples\n\n" + "\n".join(rows) + shown


def _uses(text: str, names: Iterable[str]) -> bool:
    words = set("".join(c if c.isalnum() or c == "_" else " " for c in text).split())
    return not words.isdisjoint(names)


def _wanted(brief: Brief) -> str:
    rows = [f"Goal: {brief.goal}"] if brief.goal else []
    rows.append(f"Timeframes: {', '.join(brief.timeframes)}. Sides: {', '.join(brief.sides)}.")
    rows.append(f"At most {brief.max_nodes} operations and {brief.max_params} parameters.")
    rows += [f"Needed in each: {', '.join(brief.required)}."] * bool(brief.required)
    if brief.trades_a_month is not None:
        rows.append("Trades a month: {:g} to {:g}.".format(*brief.trades_a_month))
    rows += [f"Idea: {idea}" for idea in brief.ideas]
    rows += [f"Avoid: {what}" for what in brief.avoid]
    return "# What is wanted\n\n" + "\n".join(rows)


def _seen(feedback: Feedback) -> str:
    return _joined(_elites(feedback.archive), _refusals(feedback.answers))


def _elites(archive: Archive) -> str:
    best = archive.finalists(N_ELITES, suits=lambda elite: bool(shown_text(elite.spec)))
    shown = "\n".join(f"{_figures(elite)}\n```yaml\n{shown_text(elite.spec)}```" for elite in best)
    return f"# The best so far, no two of one idea, with their figures\n\n{shown}" if shown else ""


def _figures(elite: Elite) -> str:
    b = elite.behaviour
    figures = (
        ("Sharpe ratio a year", elite.sharpe),
        ("trades a month", b.trades_a_month),
        ("hours held", b.holding_hours),
        ("share of time in the market", b.exposure),
        ("correlation with holding", b.market_correlation),
    )
    return ", ".join(f"{noun} {_rounded(value)}" for noun, value in figures)


def _rounded(value: float) -> str:
    """Return a figure to two digits, and no finer than a tenth: enough to choose by, too little to tell the data by."""
    if not math.isfinite(value):
        return "unknown"
    digits = 1 if abs(value) < 10 else 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, min(1, digits)):g}"


def _refusals(answers: Sequence[Answer]) -> str:
    rows: list[str] = []
    for answer in answers:
        words = masked(" ".join(answer.refused.split()))[:_REFUSAL_CHARACTERS]
        row = f"- {words}"
        if words and row not in rows and not findings(words, code=True):
            rows.append(row)
    return "# Why some of the last ones were refused\n\n" + "\n".join(rows[-N_REFUSALS:]) if rows else ""
