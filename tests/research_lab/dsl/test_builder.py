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

from pipelines.strategy_files import library
from research_lab.dsl import builder as b
from research_lab.dsl import registry
from research_lab.dsl.builder import Expression, param, strategy
from research_lab.dsl.dimensions import PRICE, RATIO
from research_lab.dsl.expressions import Scope, parse_expression
from research_lab.dsl.fixed import FixedNumbers
from research_lab.dsl.python_expressions import function_of, parsed
from research_lab.dsl.registry import CLOCKS, EVENT_FUNCTIONS, FUNCTIONS, INPUTS, Function
from research_lab.dsl.spec import CONDITIONS, Param, Spec
from research_lab.dsl.spec_reader import LIBRARY, load_spec, parse_spec
from research_lab.dsl.tree import Node
from research_lab.engine import layout, program
from research_lab.errors import DimensionError, LimitError, SpecError
from research_lab.strict_yaml import load_text
from tests.strategies_of_specs import spec_texts

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
    if node.op in CLOCKS:
        return getattr(b, node.op)(str(node.value), *args)
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
    @pytest.mark.parametrize("path", library(), ids=lambda path: path.stem)
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
        text = (LIBRARY / "breakout_4h.yaml").read_text(encoding="utf-8")
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
            (lambda: b.close**2 > b.low**2, "pow(close, 2) > pow(low, 2)"),
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
        assert {*CLOCKS, *EVENT_FUNCTIONS, "series", "event", "spread"} <= set(b.__all__)
        for name in b.__all__:
            assert getattr(b, name) is not None


class TestOutside:
    DXY = b.series("dxy", lag="1d", max_age="5d", kind="price")
    FOMC = b.event("fomc", known_ahead=True)
    FIELDS = {  # noqa: RUF012
        "name": "one", "hypothesis": "none", "timeframe": "1h", "side": "long", "time_stop": 5,
        "size": {"fraction": 0.5},
    }  # fmt: skip
    TEXT = (
        "spec: 1\nname: one\nhypothesis: none\ntimeframe: 1h\nside: long\ntime_stop: 5\nsize: {fraction: 0.5}\n"
        "series: {dxy: {lag: 1d, max_age: 5d, kind: price}}\nevents: {fomc: {known_ahead: true}}\n"
        'enter_long: tf("4h", close > ema(close, 20)) and on("BTC/USDT", roc(close, 24)) > 0.01 '
        "and dxy < sma(dxy, 20) and hours_to(fomc) > 24 and hours_since(fomc) > 4 and spread < 0.01\n"
    )

    def condition(self) -> Expression:
        return (
            b.tf("4h", b.close > b.close.ema(20))
            & (b.on("BTC/USDT", b.close.roc(24)) > 0.01)
            & (self.DXY.sma(20) > self.DXY)
            & (b.hours_to(self.FOMC) > 24)
            & (b.hours_since(self.FOMC) > 4)
            & (b.spread < 0.01)
        )

    def test_what_is_read_from_outside_is_declared_where_it_is_named(self) -> None:
        made, read = strategy(**self.FIELDS, enter_long=self.condition()), parse_spec(self.TEXT)
        assert made.canonical() == read.canonical()
        assert made.hash == read.hash
        assert (made.series, made.events) == (read.series, read.events)

    def test_what_is_named_in_text_is_declared_as_in_the_file(self) -> None:
        made = strategy(
            **self.FIELDS, enter_long="dxy < sma(dxy, 20) and hours_to(fomc) > 24",
            series={"dxy": {"lag": "1d", "max_age": "5d"}}, events={"fomc": {"known_ahead": True}},
        )  # fmt: skip
        assert [*made.series, *made.events] == ["dxy", "fomc"]
        assert str(self.DXY.dimension) == "price"

    def test_the_spread_is_the_estimate_unless_a_series_of_that_name_is_made(self) -> None:
        assert b.spread.text == "spread_estimate(32)"
        own = b.series("spread", lag=0, max_age="1h")
        made = strategy(**self.FIELDS, enter_long=own < 0.01)
        assert (made.conditions["enter_long"].text, [*made.series]) == ("spread < 0.01", ["spread"])

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (lambda: b.series("close", lag="1d", max_age="5d"), "series close: close is taken; choose another name"),
            (lambda: b.series("x", lag="soon", max_age="5d"), "series x: soon is no length of time"),
            (lambda: b.series("x", lag=0, max_age="5d", kind="level"), "Input should be 'ratio', 'price', 'volume'"),
            (lambda: b.event("Fomc"), "write a small letter"),
            (lambda: b.hours_to("fomc"), "'fomc' is no calendar; write hours_to(event("),
            (lambda: b.hours_since(b.close), "close is no calendar"),
            (lambda: b.tf(4, b.close), 'the first argument of tf() is no text; write tf("4h", x)'),
            (lambda: b.tf("4h", b.tf("1d", b.close)), "tf() stands inside tf(); write one beside the other"),
            (lambda: b.on("BTC", b.close), "'BTC' is no market; write BASE/QUOTE"),
            (lambda: b.on("BTC/USDT", b.sma(b.close, N)), "n inside on(), which is computed before the run"),
            (lambda: b.hours_to(b.event("fomc")) < b.hours_to(TestOutside.FOMC),
             "two series, calendars or models are called fomc, read in different ways; rename one of them"),
            (lambda: strategy(**TestOutside.FIELDS, enter_long=TestOutside.DXY > 0,
                              series={"dxy": {"lag": "2d", "max_age": "5d"}}), "dxy is declared in two ways"),
            (lambda: strategy(**TestOutside.FIELDS, enter_long=b.close > b.open,
                              series={"dxy": {"lag": "2d", "max_age": "5d"}}), "nothing reads dxy; leave it out"),
            (lambda: strategy(**TestOutside.FIELDS, enter_long=b.close > b.open, series=[TestOutside.DXY]),
             "series is no mapping; write series={name: {...}} as in the file, or leave it out"),
            (lambda: strategy(**TestOutside.FIELDS, enter_long=b.tf("90m", b.close > b.open)),
             "strategy one: bars of 90m are not made of whole bars of 1h"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused(self, made: Callable[[], object], said: str) -> None:
        assert said in refusal(made)

    def test_it_is_copied_and_pickled_with_its_declarations(self) -> None:
        made = self.condition()
        for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
            assert again.outside == made.outside
            assert {*again.outside} == {"dxy", "fomc"}


class TestEnsemble:
    FIELDS = {  # noqa: RUF012
        "name": "together", "hypothesis": "none", "timeframe": "1h", "side": "long", "size": {"fraction": 0.5},
    }  # fmt: skip
    MEMBER = {"enter_long": b.rsi(14) < 30, "exit_long": b.rsi(14) > 50}  # noqa: RUF012

    def made(self, members: object, combine: str = "vote", **more: object) -> Spec:
        return strategy(**self.FIELDS, ensemble={"combine": combine, "members": members, **more})

    def test_the_council_of_the_library_is_that_built_in_python(self) -> None:
        weight = param("trend_weight", 0.3, 0.6, step=0.1, default=0.4)
        confidence = param("confidence", 0.5, 0.7, step=0.1, default=0.6)
        read = load_spec(LIBRARY / "council_1h.yaml")
        made = strategy(
            name=read.name, hypothesis=read.hypothesis, timeframe="1h", side="long", params=[weight, confidence],
            ensemble={
                "combine": "weighted", "min_confidence": confidence,
                "members": {
                    "trend": {"weight": weight, "use": load_spec(LIBRARY / "ema_atr.yaml")},
                    "breakout": {"weight": 0.3, "use": load_spec(LIBRARY / "breakout_4h.yaml")},
                    "momentum": {"weight": 0.3, "enter_long": b.rsi(48) > 55, "exit_long": b.rsi(48) < 45},
                },
            },
            stop=5 * b.atr(24), size={"risk": 0.01},
        )  # fmt: skip
        assert made.canonical() == read.canonical()
        assert (made.hash, made.template_hash) == (read.hash, read.template_hash)

    def test_a_strategy_may_be_the_whole_member(self) -> None:
        trend = load_spec(LIBRARY / "ema_atr.yaml")
        short = self.made({"trend": trend, "other": self.MEMBER})
        assert short.hash == self.made({"trend": {"use": trend}, "other": self.MEMBER}).hash

    def test_what_members_read_from_outside_is_declared(self) -> None:
        dxy = b.series("dxy", lag="1d", max_age="5d")
        made = self.made({"one": self.MEMBER, "two": {"enter_long": dxy > 100, "exit_long": dxy < 90}})
        assert [*made.series] == ["dxy"]

    def test_what_a_strategy_used_reads_from_outside_is_declared_with_it(self) -> None:
        dxy, fomc = b.series("dxy", lag="1d", max_age="5d"), b.event("fomc")
        used = strategy(
            **{**self.FIELDS, "name": "used"}, enter_long=dxy > 100, exit_long=b.hours_since(fomc) < 4
        )
        made = self.made({"one": self.MEMBER, "two": used})
        assert (made.series, made.events) == (used.series, used.events)
        later = {"enter_long": b.series("dxy", lag="2d", max_age="5d") > 100, "exit_long": b.close < b.open}
        assert "called dxy, read in different ways" in refusal(lambda: self.made({"one": later, "two": used}))

    @pytest.mark.parametrize(
        ("members", "said"),
        [
            ({"one": {"use": "ema_atr"}, "two": {"use": "ema_atr"}},
             "no strategy ema_atr was given; give it itself, e.g. use=load_spec(path)"),
            ({"one": MEMBER}, "strategy together: ensemble.members: "),
            ({"one": MEMBER, "two": {"enter_long": b.close > b.open}}, "no condition leaves long"),
            ({"one": MEMBER, "two": 3}, "ensemble.members.two"),
            (3, "ensemble.members"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused(self, members: object, said: str) -> None:
        assert said in refusal(lambda: self.made(members))

    def test_two_strategies_of_one_name_are_refused(self) -> None:
        trend = load_spec(LIBRARY / "ema_atr.yaml")
        members = {"one": trend, "two": trend.bind({"fast": 12.0}), "three": trend}
        assert "two strategies are called ema_atr" in refusal(lambda: self.made(members))


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


def test_a_truth_value_is_no_condition() -> None:
    with pytest.raises(
        SpecError, match=r"strategy one: enter_long: true is no condition; write one, e\.g\. close > open"
    ):
        b.strategy(
            name="one", hypothesis="h", timeframe="1h", side="long", enter_long=True, size={"fraction": 0.5}
        )
