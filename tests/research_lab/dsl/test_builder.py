"""The Python door: the same tree, the same checks and the same identity as the text."""

from __future__ import annotations

import builtins
import copy
import inspect
import operator
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import research_lab.strategies
from research_lab.dsl import builder as b
from research_lab.dsl import registry
from research_lab.dsl.builder import Expression, param, strategy
from research_lab.dsl.dimensions import PRICE, RATIO
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.python_expressions import function_of, parsed
from research_lab.dsl.registry import FUNCTIONS, INPUTS, Function
from research_lab.dsl.spec import CONDITIONS, Param, Spec
from research_lab.dsl.spec_reader import load_spec, parse_spec
from research_lab.dsl.tree import Node
from research_lab.engine import layout, program
from research_lab.errors import DimensionError, LimitError, SpecError
from research_lab.strict_yaml import load_text
from tests.strategies_of_specs import spec_texts

LIBRARY = sorted(
    path
    for path in Path(next(iter(research_lab.strategies.__path__))).glob("*.yaml")
    if path.stem != "regimes"
)
OPERATIONS: dict[str, Callable[..., Expression]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "negate": operator.neg, "less": operator.lt, "less_equal": operator.le, "equal": operator.eq,
    "and": operator.and_, "or": operator.or_, "not": operator.invert,
}  # fmt: skip
N = param("n", 10, 60, step=5, default=20)


def rebuilt(node: Node, params: dict[str, Expression]) -> Expression | float:
    """Return a tree made anew with Python's operators and calls."""
    if node.op == "constant":
        return float(node.value or 0.0)
    if node.op == "param":
        return params[str(node.value)]
    if node.op == "input":
        return getattr(b, str(node.value))
    args = [rebuilt(arg, params) for arg in node.args]
    if node.op not in OPERATIONS:
        return getattr(b, node.op)(*args)
    if not any(isinstance(arg, Expression) for arg in args):  # such as 1 / 0, which Python computes itself
        args[0] = parsed(node.args[0].text, {})
    found = args[0]
    if len(args) == 1:
        return OPERATIONS[node.op](found)
    for arg in args[1:]:
        found = OPERATIONS[node.op](found, arg)
    return found


def built(spec: Spec) -> Spec:
    """Return a strategy made anew through the builder, field by field."""
    params = {
        name: param(name, p.low, p.high, step=p.step, default=p.default) for name, p in spec.params.items()
    }

    def made(node: Node | None) -> Expression | float | None:
        return None if node is None else rebuilt(node, params)

    trail = None
    if spec.trail is not None:
        after = None if spec.trail_after == parse_spec_zero() else made(spec.trail_after)
        trail = {"distance": made(spec.trail), "after": after}
    return strategy(
        name=spec.name, hypothesis=spec.hypothesis, timeframe=spec.timeframe, side=spec.side,
        params=list(params.values()), **{name: made(node) for name, node in spec.conditions.items()},
        stop=made(spec.stop), trail=trail, take=[(made(at), made(share)) for at, share in spec.takes],
        time_stop=made(spec.time_stop), breakeven=spec.breakeven, regimes=list(spec.regimes),
        regime_exit=spec.regime_exit,
        size={"risk" if spec.size_kind == layout.RISK else "fraction": made(spec.size)},
    )  # fmt: skip


def parse_spec_zero() -> Node:
    return parse_expression("0", Scope())


def shuffled(data: object, chance: random.Random) -> object:
    if isinstance(data, dict):
        keys = list(data)
        chance.shuffle(keys)
        # Definitions see those above them, and so keep their order.
        return {k: data[k] if k == "define" else shuffled(data[k], chance) for k in keys}
    return [shuffled(one, chance) for one in data] if isinstance(data, list) else data


def refusal(call: Callable[[], object], error: type[SpecError] = SpecError) -> str:
    with pytest.raises(SpecError) as caught:
        call()
    assert type(caught.value) is error, repr(caught.value)
    return str(caught.value)


class TestBothDoors:
    @pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
    def test_the_library_built_in_python_is_the_library(self, path: Path) -> None:
        spec = load_spec(path)
        again = built(spec)
        assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
        assert again.canonical() == spec.canonical()

    @settings(max_examples=30, deadline=None)
    @given(spec_texts())
    def test_any_strategy_has_one_hash_through_both_doors(self, text: str) -> None:
        spec = parse_spec(text)
        again = built(spec)
        assert (again.hash, again.template_hash) == (spec.hash, spec.template_hash)
        assert again.canonical() == spec.canonical()

    @settings(max_examples=30, deadline=None)
    @given(spec_texts(), st.randoms(use_true_random=False))
    def test_order_of_keys_and_layout_and_comments_do_not_count(
        self, text: str, chance: random.Random
    ) -> None:
        spec = parse_spec(text)
        data = shuffled(load_text(text, "drawn", SpecError).data, chance)
        other = yaml.dump(data, sort_keys=False, width=chance.choice([20, 80]), indent=chance.choice([2, 4]))
        other = f"# a comment\n\n{other}\n  # the last\n"
        assert parse_spec(other).hash == spec.hash
        assert parse_spec(other).template_hash == spec.template_hash

    def test_another_number_is_another_hash(self) -> None:
        text = LIBRARY[0].read_text(encoding="utf-8")
        assert parse_spec(text.replace("adx(14)", "adx(15)")).hash != parse_spec(text).hash

    def test_fields_may_come_in_any_order(self) -> None:
        fields = {
            "size": {"fraction": 0.5}, "enter_long": b.close > b.sma(b.close, N), "time_stop": 5, "side": "long",
            "timeframe": "1h", "hypothesis": "none", "name": "one",
        }  # fmt: skip
        assert str(strategy(**fields)) == strategy(**fields).canonical()
        assert strategy(**fields).canonical() == strategy(**dict(reversed(fields.items()))).canonical()

    def test_text_may_stand_for_any_expression(self) -> None:
        shared = {"name": "one", "hypothesis": "none", "timeframe": "1h", "side": "long", "time_stop": 5}
        one = strategy(**shared, enter_long=b.close > b.sma(b.close, 20), size={"fraction": 0.5})
        other = strategy(**shared, enter_long="close > sma(close, 20)", size={"fraction": "1 / 2"})
        assert one.hash == other.hash


class TestExpression:
    @pytest.mark.parametrize(
        ("made", "text"),
        [
            (lambda: b.close > b.highest(b.high, 20).prev(), "close > prev(highest(high, 20))"),
            (lambda: (b.close > b.open) & (b.volume > 0) | ~(b.high == b.low),
             "close > open and volume > 0 or not high == low"),
            (lambda: 2 * b.atr(14) + b.close / 2 - -b.low, "2 * atr(14) + close / 2 - -low"),
            (lambda: 3 - (b.funding - 2) - (4 - b.funding), "3 - (funding - 2) - (4 - funding)"),
            (lambda: 1 / b.funding / (2 / b.funding), "1 / funding / (2 / funding)"),
            (lambda: b.close != b.open, "close != open"),
            (lambda: abs(b.funding - 1) <= 1e-7, "abs(funding - 1) <= 1e-7"),
            (lambda: b.rsi(14) <= 5, "5 >= rsi(close, 14)"),
            (lambda: +b.close < b.sma(b.close, N + 5), "close < sma(close, n + 5)"),
            (lambda: np.float64(2) * b.close + np.int64(0) > b.open, "2 * close + 0 > open"),
            (lambda: (-b.funding) * -2 > 1, "-funding * -2 > 1"),
            (lambda: ((b.close > b.open) & (b.close > b.low)) | (b.low < b.open),
             "(close > open and close > low) or low < open"),
        ],
    )  # fmt: skip
    def test_operators_make_the_tree_of_the_text(self, made: Callable[[], Expression], text: str) -> None:
        wanted = parse_expression(text, Scope({"n"}, FixedNumbers({"n": (10.0, 60.0, 5.0)})))
        assert made().node == wanted
        assert made().text == wanted.text
        assert str(made().dimension) == str(wanted.dimension)

    def test_a_method_is_the_function_with_the_value_first(self) -> None:
        assert b.close.sma(14).text == "sma(close, 14)"
        assert b.funding.quantile(n=20, share=0.9).text == "quantile(funding, 20, 0.9)"
        assert (b.close > b.open).if_else(b.high, b.low).text == "if_else(open < close, high, low)"

    @pytest.mark.parametrize(
        ("made", "text"),
        [
            (lambda: b.sma(b.close, n=14), "sma(close, 14)"),
            (lambda: b.sma(n=14, x=b.close), "sma(close, 14)"),
            (lambda: b.rsi(14), "rsi(close, 14)"),
            (lambda: b.rsi(n=14), "rsi(close, 14)"),
            (lambda: b.rsi(b.open, n=14), "rsi(open, 14)"),
            (lambda: b.rsi(14, x=b.open), "rsi(open, 14)"),
            (lambda: b.prev(b.close), "prev(close, 1)"),
            (lambda: b.prev(x=b.close), "prev(close, 1)"),
            (lambda: b.close.prev(n=3), "prev(close, 3)"),
            (lambda: b.true_range(), "true_range()"),
        ],
    )
    def test_arguments_go_by_place_or_by_name(self, made: Callable[[], Expression], text: str) -> None:
        assert made().text == text

    def test_and_or_not_if_and_chains_are_refused(self) -> None:
        for misuse in (
            lambda: (b.close > b.open) and (b.high > b.low),
            lambda: (b.close > b.open) or (b.high > b.low),
            lambda: not (b.close > b.open),
            lambda: b.low < b.close < b.high,
            lambda: builtins.max(b.close, b.open),
            lambda: b.close in [b.open],
        ):
            assert "write & for and, | for or, ~ for not, (a < b) & (b < c) for a < b < c" in refusal(misuse)
        assert refusal(lambda: bool(b.close > b.open)).startswith("open < close: it is true at some bars")

    @pytest.mark.parametrize(
        ("made", "error", "said"),
        [
            (lambda: b.close > b.rsi(14), DimensionError,
             "expression: close > rsi(close, 14) compares price with ratio; compare close with a price"),
            (lambda: b.close + b.volume, DimensionError, "close + volume adds price and volume"),
            (lambda: b.close > b.open & b.high, DimensionError, "write (a > b) & (c > d)"),
            (lambda: ~b.close, DimensionError, "close is a price, not a condition"),
            (lambda: b.close.log(), DimensionError, "log(close): log() does not take price"),
            (lambda: b.sma(b.close, 2.5), SpecError, "sma(close, 2.5): n of sma() is 2.5; write whole bars"),
            (lambda: b.sma(b.close, 5001), LimitError, "write 1 to 5000 bars"),
            (lambda: b.sma(b.close, N / 4), SpecError, "write whole bars"),
            (lambda: b.sma(b.close, b.close), SpecError, "must be fixed before the run"),
            (lambda: b.sma(b.close), SpecError, "sma(close): sma() got 1 argument; write sma(x, n)"),
            (lambda: b.sma(b.close, window=5), SpecError, "sma() has no argument window; write sma(x, n)"),
            (lambda: b.sma(b.close, 5, n=5), SpecError, "sma() got an argument twice, or too many"),
            (lambda: b.sma(n=5), SpecError, "sma() needs x"),
            (lambda: b.close == "high", SpecError, "'high' is neither an expression nor a finite number"),
            (lambda: b.close > None, SpecError, "None is neither"),
            (lambda: b.close > b.sma, SpecError, "sma without brackets is neither an expression nor a finite number; "
             "write sma(x, n)"),
            (lambda: b.close > open, SpecError, "Python's own open is neither an expression nor a finite number; "
             "import open from research_lab.dsl.builder"),
            (lambda: b.funding > True, SpecError, "True is neither"),
            (lambda: b.funding > float("nan"), SpecError, "nan is neither"),
            (lambda: b.funding > 10**400, SpecError, "is neither"),
            (lambda: b.close[1], SpecError, "close: an expression has no items; the value n bars ago is x.prev(n)"),
            (lambda: b.sma(b.close, N) > b.sma(b.close, param("n", 1, 2, step=1, default=1)), SpecError,
             "two parameters are called n"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused_where_it_is_made(
        self, made: Callable[[], object], error: type[SpecError], said: str
    ) -> None:
        assert said in refusal(made, error)

    def test_a_name_that_is_near_is_offered(self) -> None:
        with pytest.raises(AttributeError, match="smaa is no function of the language; did you mean sma"):
            _ = b.close.smaa
        with pytest.raises(AttributeError, match="shift is no function of the language; docs/language"):
            _ = b.close.shift
        with pytest.raises(AttributeError, match="highst is no input or function; did you mean highest"):
            _ = b.highst

    def test_it_is_copied_and_pickled(self) -> None:
        made = b.close > b.sma(b.close, N)
        for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
            assert again.node == made.node
            assert again.params == made.params


class TestDoor:
    @pytest.mark.parametrize("name", sorted(FUNCTIONS))
    def test_every_function_of_the_registry_is_there_with_signature_and_meaning(self, name: str) -> None:
        function = getattr(b, name)
        assert f"{name}{inspect.signature(function)}" == FUNCTIONS[name].signature
        assert FUNCTIONS[name].meaning in function.__doc__
        assert name in dir(b)
        assert name in dir(b.close)

    def test_every_input_is_there(self) -> None:
        assert [getattr(b, name).text for name in INPUTS] == list(INPUTS)
        assert b.close.dimension == PRICE
        assert b.funding.dimension == RATIO

    def test_a_function_that_joins_the_registry_is_there_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        twice = Function(
            "twice", "x and x", FUNCTIONS["abs"].arguments, FUNCTIONS["abs"].dimension, program.ABS
        )
        monkeypatch.setitem(registry.FUNCTIONS, "twice", twice)
        assert b.twice(b.close).text == b.close.twice().text == "twice(close)"
        function_of.cache_clear()

    def test_import_star_leaves_the_names_of_python_alone(self) -> None:
        assert not set(b.__all__) & set(dir(builtins))
        assert {"close", "highest", "sma", "param", "strategy"} <= set(b.__all__)
        assert b.open.text == "open"


class TestParam:
    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (lambda: param("N", 1, 2, step=1, default=1), "param: 'N' is no name"),
            (lambda: param("close", 1, 2, step=1, default=1), "param close: close is taken"),
            (lambda: param("n", 3, 2, step=1, default=1), "range [3, 2] is upside down"),
            (lambda: param("n", 1, 2, step=0, default=1), "step 0 does not fit the range"),
            (lambda: param("n", 1, 2, step=1, default=3), "default 3 lies outside 1 to 2; move one of them"),
            (lambda: param("n", 1, "2", step=1, default=3), "'2' is neither"),
        ],
    )
    def test_what_a_file_could_not_have_is_refused(self, made: Callable[[], object], said: str) -> None:
        assert said in refusal(made)

    def test_its_range_is_that_of_the_strategy(self) -> None:
        fields = {"name": "one", "hypothesis": "none", "timeframe": "1h", "side": "long", "time_stop": 5}
        made = strategy(**fields, enter_long=b.close > b.sma(b.close, N), size={"fraction": 0.5})
        assert made.params == {"n": Param(10.0, 60.0, 5.0, 20.0)}
        k = param("k", 1, 2, step=1, default=1)
        made = strategy(
            **fields, params=[k, N], enter_long=b.close > b.sma(b.close, N), size={"fraction": 0.5}
        )
        assert list(made.params) == ["k", "n"]


class TestStrategy:
    FIELDS = {  # noqa: RUF012
        "name": "one", "hypothesis": "none", "timeframe": "1h", "side": "long", "time_stop": 5,
        "enter_long": b.close > b.open, "size": {"fraction": 0.5},
    }  # fmt: skip

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"sise": 1}, "strategy one: sise: this field is not known; known: spec, name"),
            ({"enter_long": b.close}, "strategy one: enter_long must be a condition, but close is a price"),
            ({"enter_long": None}, "strategy one: enter_long is missing"),
            ({"stop": 2}, "strategy one: stop must be a price, but 2 is a ratio"),
            ({"take": [(1, 0.5)]}, "strategy one: take needs R, and there is no stop"),
            ({"take": 3}, "take is no list; write take=[(1, 0.5), ...]"),
            ({"name": "One"}, "strategy One: name: String should match pattern '^[a-z][a-z0-9_]{0,47}$'; write a small"),
            ({"size": 0.5}, "strategy one: size: Input should be an object; write its fields: {field: value}"),
            ({"take": [1]}, "strategy one: take.0: Input should be an object"),
            ({"timeframe": "7x"}, "'7x' is no timeframe"),
            ({"params": {"n": 3}}, "params is no list of parameters; write params=[n, k]"),
            ({"size": {"fraction": float("inf")}}, "inf is neither an expression nor a finite number"),
            ({"size": {"fraction": object}}, "is neither an expression nor a finite number"),
            ({"size": None}, "strategy one: size: this field is missing; add size"),
            ({"stop": b.atr(N), "time_stop": param("n", 1, 2, step=1, default=1)}, "two parameters are called n"),
        ],
    )  # fmt: skip
    def test_a_field_that_does_not_fit_is_named(self, changed: dict[str, object], said: str) -> None:
        assert said in refusal(lambda: strategy(**{**self.FIELDS, **changed}), _kind(said))

    def test_its_signature_is_the_form_of_the_file(self) -> None:
        assert list(inspect.signature(strategy).parameters)[:4] == ["name", "hypothesis", "timeframe", "side"]
        assert {*CONDITIONS, "stop", "take", "trail", "size", "regimes"} <= set(
            inspect.signature(strategy).parameters
        )

    def test_takes_and_trail_may_be_short_or_as_in_the_file(self) -> None:
        shared = {**self.FIELDS, "stop": b.atr(14)}
        k = param("k", 1, 3, step=1, default=2)
        short = strategy(**shared, take=[(1, 0.5), (k, 1)], trail={"distance": b.atr(9), "after": 2})
        long = strategy(
            **shared,
            take=[{"at": "1R", "close": 0.5}, {"at": k, "close": 1}],
            trail={"distance": b.atr(9), "after": "2R"},
        )
        assert short.canonical() == long.canonical()
        assert [at.text for at, _ in short.takes] == ["1", "k"]
        assert strategy(**shared, trail=b.atr(9)).trail_after.text == "0"


def _kind(said: str) -> type[SpecError]:
    return DimensionError if "must be a" in said else SpecError
