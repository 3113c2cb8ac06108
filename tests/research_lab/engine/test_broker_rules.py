"""Each rule of the broker on the example that the documents show, by the engine and by the slow broker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from research_lab.engine import reasons
from tests.research_lab.engine.broker_rules import PAGE, RULES, Rule, page, short
from tests.research_lab.engine.timed_backtests import NAMES, difference, played

OF_THE_ACCOUNT = {name for code, name in NAMES.items() if code >= reasons.NOT_SELECTED} | {"RISK_EXIT"}
by_name = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


@by_name
def test_the_engine_does_what_the_rule_says(rule: Rule) -> None:
    found = played(rule.case())
    seen = [
        (int(f["bar"]), NAMES[int(f["reason"])], float(f["quantity"]), float(f["price"])) for f in found.fills
    ]
    check(rule, seen, [NAMES[int(code)] for code in found.reason], found.equity.tolist())


@by_name
def test_the_slow_broker_does_what_the_rule_says(rule: Rule) -> None:
    found = rule.case().run()
    seen = [(fill.bar, fill.reason, fill.quantity, fill.price) for fill in found.fills]
    check(rule, seen, found.decisions, found.equity)


@by_name
def test_both_brokers_agree_on_the_example_bar_by_bar(rule: Rule) -> None:
    case = rule.case()
    states = set()
    for cuts in ((), tuple(range(1, len(case.time)))):
        found = played(case, cuts)
        assert not difference(case.run(), found)
        states.add(found.state.tobytes())
    assert len(states) == 1


def test_nothing_is_watched_once_a_run_has_ended_wherever_the_blocks_are_cut() -> None:
    """The position of this one ends at a close, with a take still ahead."""
    rule = next(rule for rule in RULES if rule.name == "run ended")
    plan = replace(rule.plan, has_stop=True, takes=((0.5, 1.0),))
    rule = replace(rule, at={0: short(50.0, size=10.0)}, plan=plan)
    runs = [played(rule.case(), cuts) for cuts in ((), (3,), (1, 2, 3))]
    assert NAMES[int(runs[0].reason[-1])] == "RUN_ENDED" and runs[0].fills.shape[0] == 2
    assert len({run.state.tobytes() for run in runs}) == 1


def check(
    rule: Rule, fills: list[tuple[int, str, float, float]], decided: list[str], equity: list[float]
) -> None:
    assert [fill[:2] for fill in fills] == [fill[:2] for fill in rule.fills]
    np.testing.assert_allclose(
        [fill[2:] for fill in fills], [fill[2:] for fill in rule.fills], rtol=1e-12, atol=0.0
    )
    assert {bar: decided[bar] for bar in rule.decided} == dict(rule.decided)
    np.testing.assert_allclose([equity[bar] for bar in rule.equity], list(rule.equity.values()), rtol=1e-12)


def test_every_reason_that_a_backtest_can_give_has_an_example() -> None:
    shown = {fill[1] for rule in RULES for fill in rule.fills} | {
        decision for rule in RULES for decision in rule.decided.values()
    }
    assert set(NAMES.values()) - shown == OF_THE_ACCOUNT


def test_every_rule_has_its_own_name() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_the_page_is_made_from_these_examples() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "docs/broker.md is out of date; write it anew: python -m tests.research_lab.engine.broker_rules"
    )
