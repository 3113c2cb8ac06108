"""The broker's rules, each with the smallest example that shows it: data for the tests and for docs/broker.md.

An example is a few bars and what must be filled, worked out by hand. Money begins at 1. `python -m
tests.research_lab.engine.broker_rules` writes the page anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tests.oracles.crowded_markets import FIRST_MS, MINUTE_MS, TimedCase
from tests.oracles.slow_broker import FRACTION, NAN, RISK, Signal, SlowBars, SlowPlan, SlowTerms

PAGE = Path(__file__).parents[3] / "docs" / "broker.md"

SPOT = SlowTerms(fee=0.0, slippage=0.0)
PERPETUAL = replace(SPOT, perpetual=True, leverage=10.0, maintenance=0.05, liquidation_fee=0.0)
SLIPPING = replace(SPOT, slippage=0.01)
PLAIN = SlowPlan(size_kind=FRACTION)
STOPPED = replace(PLAIN, has_stop=True)
TAKING = replace(STOPPED, takes=((1.0, 1.0),))
REGIMES_1 = replace(PLAIN, regime_mask=0b10)

Expected = tuple[int, str, float, float]  # bar, reason, signed quantity, price


@dataclass(frozen=True)
class Rule:
    """One rule and its example.

    Parameters
    ----------
    name, says : as told in the page.
    bars : "open high low close | ..."; one number is a bar that does not move.
    at : the signal at the close of a bar of the strategy's timeframe, by its number.
    fills : everything that is filled. decided : reasons by bar. equity : after a bar.
    funding : rates by bar. regimes : a code for each bar. minutes : opening times; every minute when empty.
    step : minutes of the strategy's timeframe. macros : a macro state for each bar; none when empty.
    """

    name: str
    says: str
    bars: str
    at: Mapping[int, Signal]
    fills: Sequence[Expected] = ()
    decided: Mapping[int, str] = field(default_factory=dict)
    equity: Mapping[int, float] = field(default_factory=dict)
    terms: SlowTerms = SPOT
    plan: SlowPlan = PLAIN
    funding: Mapping[int, float] = field(default_factory=dict)
    regimes: Sequence[int] = ()
    minutes: Sequence[int] = ()
    step: int = 1
    start: int = 0
    macros: Sequence[str] = ()

    def case(self) -> TimedCase:
        rows = [[float(x) for x in bar.split()] for bar in self.bars.split("|")]
        columns = list(zip(*(row if len(row) == 4 else row * 4 for row in rows), strict=True))
        n = len(rows)
        minutes = self.minutes or range(n)
        signals = [self.at.get(k, Signal(size=0.5)) for k in range(len({m // self.step for m in minutes}))]
        sizes = dict.fromkeys(signal.size for signal in signals)
        return TimedCase(
            base_ms=MINUTE_MS,
            step_ms=self.step * MINUTE_MS,
            time=[FIRST_MS + MINUTE_MS * m for m in minutes],
            bars=SlowBars(*map(list, columns), [self.funding.get(i, 0.0) for i in range(n)]),
            signals=signals,
            terms=self.terms,
            plan=self.plan,
            regimes=list(self.regimes) or [0] * n,
            start=self.start,
            sizes=(*sizes, 1.0, 1.0, 1.0, 1.0)[:4],
            macros=tuple(self.macros),
        )


def long(stop: float = NAN, size: float = 0.5, trail: float = NAN) -> Signal:
    return Signal(enter_long=1.0, stop=stop, size=size, trail=trail)


def short(stop: float = NAN, size: float = 0.5) -> Signal:
    return Signal(enter_short=1.0, stop=stop, size=size)


LEAVE = Signal(exit_long=1.0, size=0.5)
TURN = Signal(exit_long=1.0, enter_short=1.0, size=0.5)
BOUGHT = (1, "ENTRY", 0.05, 10.0)
SOLD = (1, "ENTRY", -0.05, 10.0)

SECTIONS: dict[str, tuple[Rule, ...]] = {
    "Clock": (
        Rule("decision", "What is decided at a close is filled at the next open, in the quantity frozen at that close.",
             "10 | 12", {0: long()}, [(1, "ENTRY", 0.05, 12.0)], {0: "LONG_ORDERED", 1: "HOLDING"}),
        Rule("one open", "An entry order lives for one open: what cannot be filled there lapses.",
             "10 | 8 | 12 | 12", {0: long()}, [], {0: "LONG_ORDERED", 1: "NO_SIGNAL"},
             terms=replace(SPOT, min_notional=0.5)),
        Rule("timeframe", "Decisions fall at closes of the strategy's timeframe; the base bars between them fill only.",
             "10 | 10 | 10 | 10", {0: long()}, [(2, "ENTRY", 0.05, 10.0)],
             {0: "NO_STRATEGY_BAR", 1: "LONG_ORDERED", 2: "NO_STRATEGY_BAR", 3: "HOLDING"}, step=2),
        Rule("late bars", "A bar whose last base bars are missing completes at the next base close; of two decisions "
             "at one close the latest valid one stands.",
             "10 | 10 | 10 | 10 | 10", {1: long(), 2: short()}, [(4, "ENTRY", -0.05, 10.0)], {3: "SHORT_ORDERED"},
             terms=PERPETUAL, minutes=(0, 1, 2, 5, 6), step=2),
        Rule("open end", "What is open at the last bar stays open and is valued at the close.",
             "10 | 10 10 10 12", {0: long()}, [BOUGHT], equity={1: 1.1}),
    ),
    "At the open, in this order": (
        Rule("funding", "The position held before the bar pays the rate due on its value at the open; a new one does not.",
             "10 | 10 | 10", {0: long()}, [BOUGHT], equity={1: 1.0, 2: 0.995}, terms=PERPETUAL,
             funding={1: 0.01, 2: 0.01}),
        Rule("funding on spot", "Spot pays no funding.", "10 | 10 | 10", {0: long()}, [BOUGHT], equity={2: 1.0},
             funding={2: 0.01}),
        Rule("funding first", "It is paid even where the position leaves at the same open.",
             "10 | 10 | 10", {0: long(), 1: LEAVE}, [BOUGHT, (2, "EXIT_SIGNAL", -0.05, 10.0)], equity={2: 0.995},
             terms=PERPETUAL, funding={2: 0.01}),
        Rule("pending exit", "An ordered exit is a market order at the open, slippage against it.",
             "10 | 10 | 10", {0: long(size=0.505), 1: LEAVE},
             [(1, "ENTRY", 0.0505, 10.1), (2, "EXIT_SIGNAL", -0.0505, 9.9)], terms=SLIPPING),
        Rule("exit before gap", "An ordered exit comes before a gap through the stop: its reason is told.",
             "10 | 10 | 8", {0: long(1.0), 1: LEAVE}, [BOUGHT, (2, "EXIT_SIGNAL", -0.05, 8.0)], plan=STOPPED),
        Rule("gap through stop", "A position that opens beyond its stop is closed at that open, not at the stop.",
             "10 | 10 | 8", {0: long(1.0)}, [BOUGHT, (2, "STOP", -0.05, 8.0)], plan=STOPPED),
        Rule("gap through liquidation", "So it is beyond liquidation, where that is nearer.",
             "10 | 10 | 9", {0: long(size=10.0)}, [(1, "ENTRY", 1.0, 10.0), (2, "LIQUIDATION", -1.0, 9.0)],
             {2: "RUN_ENDED"}, terms=PERPETUAL),
        Rule("gap through take", "A take that the open has passed is filled at the better open.",
             "10 | 10 | 12", {0: long(1.0)}, [BOUGHT, (2, "TAKE", -0.05, 12.0)], plan=TAKING),
        Rule("reversal", "The exit is filled first, the opposite entry after it, at one open.",
             "10 | 10 | 10", {0: long(), 1: TURN},
             [BOUGHT, (2, "EXIT_SIGNAL", -0.05, 10.0), (2, "ENTRY", -0.05, 10.0)], terms=PERPETUAL),
    ),
    "Entry": (
        Rule("price", "An entry pays slippage and fee; its stop lies the frozen distance from the fill, and acts in "
             "the entry's own bar.",
             "10 | 12 12 11 12", {0: long(1.0)}, [(1, "ENTRY", 0.05, 12.0), (1, "STOP", -0.05, 11.0)], plan=STOPPED),
        Rule("fee", "The fee is a share of the notional, taken from cash.",
             "10 | 10", {0: long()}, [BOUGHT], equity={1: 0.995}, terms=replace(SPOT, fee=0.01)),
        Rule("affordability", "The quantity is cut to what cash, after the fee, can carry at the open.",
             "10 | 12.5", {0: long(size=1.0)}, [(1, "ENTRY", 0.08, 12.5)]),
        Rule("leverage", "On perpetuals notional is at most leverage times equity.",
             "10 | 10", {0: long(size=5.0)}, [(1, "ENTRY", 0.2, 10.0)], terms=replace(PERPETUAL, leverage=2.0)),
        Rule("no leverage on spot", "On spot it is 1, whatever the terms say.",
             "10 | 10", {0: long(size=5.0)}, [(1, "ENTRY", 0.1, 10.0)], terms=replace(SPOT, leverage=10.0)),
        Rule("size by risk", "A size by risk is the share of equity lost at the stop.",
             "10 | 10", {0: long(0.5, size=0.02)}, [(1, "ENTRY", 0.04, 10.0)], plan=replace(STOPPED, size_kind=RISK)),
        Rule("risk share", "The account gives the strategy a share of its size.",
             "10 | 10", {0: long()}, [(1, "ENTRY", 0.025, 10.0)], terms=replace(SPOT, risk_share=0.5)),
        Rule("risk cap", "The account caps what may be lost at the stop.",
             "10 | 10", {0: long(1.0)}, [(1, "ENTRY", 0.01, 10.0)], terms=replace(SPOT, risk_cap=0.01), plan=STOPPED),
        Rule("risk cap needs a stop", "Under a cap an entry without a stop is refused.",
             "10 | 10", {0: long()}, [], {0: "INVALID_STOP"}, terms=replace(SPOT, risk_cap=0.01)),
        Rule("lots", "Quantities are rounded down to whole lots.",
             "10 | 10", {0: long()}, [(1, "ENTRY", 0.03, 10.0)], terms=replace(SPOT, lot=0.03)),
        Rule("ticks", "Stops and takes are rounded to the nearest tick, halves up.",
             "10 | 10 10 9.5 10", {0: long(0.7)}, [BOUGHT, (1, "STOP", -0.05, 9.5)], terms=replace(SPOT, tick=0.5),
             plan=STOPPED),
        Rule("minimum notional", "Less than the minimum notional is not ordered.",
             "10 | 10", {0: long()}, [], {0: "TOO_SMALL"}, terms=replace(SPOT, min_notional=0.6)),
    ),
    "Inside the bar": (
        Rule("stop", "A stop that is touched is filled at its level, slippage against it.",
             "10 | 10 10 9.1 10", {0: long(1.0, size=0.505)},
             [(1, "ENTRY", 0.0505, 10.1), (1, "STOP", -0.0505, 9.009)], terms=SLIPPING, plan=STOPPED),
        Rule("stop of a short", "Shorts are the mirror: the stop lies above.",
             "10 | 10 11 10 10", {0: short(1.0)}, [SOLD, (1, "STOP", 0.05, 11.0)], terms=PERPETUAL, plan=STOPPED),
        Rule("liquidation", "A perpetual is liquidated where equity equals the maintenance margin, without slippage.",
             "10 | 10 10 8 10", {0: long(size=5.0)}, [(1, "ENTRY", 0.5, 10.0), (1, "LIQUIDATION", -0.5, 8 / 0.95)],
             terms=PERPETUAL),
        Rule("liquidation fee", "Liquidation costs its own fee on top of the fee.",
             "10 | 10 10 8 10", {0: long(size=5.0)}, [(1, "ENTRY", 0.5, 10.0), (1, "LIQUIDATION", -0.5, 8 / 0.95)],
             equity={1: 4 / 0.95 - 4 - 0.1 * 4 / 0.95}, terms=replace(PERPETUAL, liquidation_fee=0.1),
             decided={1: "RUN_ENDED"}),
        Rule("liquidation before the stop", "Where liquidation is nearer than the stop, it is what happens.",
             "10 | 10 10 7 10", {0: long(2.0, size=5.0)},
             [(1, "ENTRY", 0.5, 10.0), (1, "LIQUIDATION", -0.5, 8 / 0.95)], terms=PERPETUAL, plan=STOPPED),
        Rule("stop before liquidation", "Where the stop is nearer, the stop is.",
             "10 | 10 10 7 10", {0: long(1.0, size=5.0)}, [(1, "ENTRY", 0.5, 10.0), (1, "STOP", -0.5, 9.0)],
             terms=PERPETUAL, plan=STOPPED),
        Rule("pessimistic", "A bar that reaches stop and take is taken for the stop.",
             "10 | 10 11 9 10", {0: long(1.0)}, [BOUGHT, (1, "STOP", -0.05, 9.0)], plan=TAKING),
        Rule("optimistic", "With optimistic terms it is the take.",
             "10 | 10 11 9 10", {0: long(1.0)}, [BOUGHT, (1, "TAKE", -0.05, 11.0)],
             terms=replace(SPOT, optimistic=True), plan=TAKING),
        Rule("take", "A take is a limit order: filled at its level when touched, without slippage.",
             "10 | 10 11.1 10 11", {0: long(1.0, size=0.505)},
             [(1, "ENTRY", 0.0505, 10.1), (1, "TAKE", -0.0505, 11.1)], terms=SLIPPING, plan=TAKING),
        Rule("partial takes", "Each take closes its share of what remains, in order, several in one bar if reached.",
             "10 | 10 11 10 11 | 11 13 11 12", {0: long(1.0)},
             [BOUGHT, (1, "TAKE", -0.025, 11.0), (2, "TAKE", -0.0125, 12.0), (2, "TAKE", -0.0125, 13.0)],
             plan=replace(STOPPED, takes=((1.0, 0.5), (2.0, 0.5), (3.0, 1.0)))),
        Rule("take below a lot", "A take of less than one lot fills nothing and is done.",
             "10 | 10 11 10 11 | 11 12 11 12", {0: long(1.0)}, [(1, "ENTRY", 0.04, 10.0), (2, "TAKE", -0.04, 12.0)],
             terms=replace(SPOT, lot=0.02), plan=replace(STOPPED, takes=((1.0, 0.3), (2.0, 1.0)))),
    ),
    "At the close: protection moves": (
        Rule("trail", "The stop follows the best price at the trail's distance, from the next bar on.",
             "10 | 10 12 10 12 | 12 12 11 12", {0: long(5.0, trail=1.0)}, [BOUGHT, (2, "STOP", -0.05, 11.0)],
             plan=replace(STOPPED, has_trail=True)),
        Rule("trail armed", "A trail with `after` begins once the best price has gained so many R.",
             "10 | 10 11.9 10 11 | 11 12 10.5 12 | 12 12 11 12", {0: long(2.0, trail=1.0)},
             [BOUGHT, (3, "STOP", -0.05, 11.0)], plan=replace(STOPPED, has_trail=True, trail_after_r=1.0)),
        Rule("trail renewed", "Each bar of the timeframe renews the distance; one that is unknown leaves the last.",
             "10 | 10 12 10 12 | 12 12 11.5 12 | 12 12 11.5 12",
             {0: long(5.0, trail=4.0), 1: Signal(trail=NAN, size=0.5), 2: Signal(trail=0.5, size=0.5)},
             [BOUGHT, (3, "STOP", -0.05, 11.5)], plan=replace(STOPPED, has_trail=True)),
        Rule("never back", "A stop only moves nearer.",
             "10 | 10 12 10 12 | 12 12 11 12", {0: long(5.0, trail=1.0), 1: Signal(trail=4.0, size=0.5)},
             [BOUGHT], plan=replace(STOPPED, has_trail=True), equity={2: 1.1}),
        Rule("trail without a stop", "A trail needs no stop: its first level is one.",
             "10 | 10 12 10 12 | 12 12 11 12", {0: long(trail=1.0)}, [BOUGHT, (2, "STOP", -0.05, 11.0)],
             plan=replace(PLAIN, has_trail=True)),
        Rule("breakeven", "After the first take the stop moves to the entry's price.",
             "10 | 10 11 10 11 | 11 11 10 10", {0: long(1.0)},
             [BOUGHT, (1, "TAKE", -0.025, 11.0), (2, "STOP", -0.025, 10.0)],
             plan=replace(STOPPED, takes=((1.0, 0.5),), breakeven=True)),
        Rule("run ended", "Equity at or below zero ends the run: the position is closed at the mark without cost, and no "
             "order follows.",
             "10 | 10 | 10 | 10", {0: short(size=10.0), 2: long()},
             [(1, "ENTRY", -1.0, 10.0), (2, "ENDED", 1.0, 10.0)], {2: "RUN_ENDED", 3: "RUN_ENDED"},
             terms=PERPETUAL, funding={2: -1.2}),
    ),
    "At the close: exits decided": (
        Rule("exit signal", "An exit condition that is definitely true orders the exit.",
             "10 | 10 | 10", {0: long(), 1: LEAVE}, [BOUGHT, (2, "EXIT_SIGNAL", -0.05, 10.0)], {1: "EXIT_ORDERED"}),
        Rule("unknown exit", "One that is unknown does not.",
             "10 | 10 | 10", {0: long(), 1: Signal(exit_long=NAN, size=0.5)}, [BOUGHT], {1: "HOLDING"}),
        Rule("time stop", "The time stop counts bars of the timeframe held, the entry's bar as the first.",
             "10 | 10 | 10 | 10", {0: long()}, [BOUGHT, (3, "TIME_STOP", -0.05, 10.0)], plan=replace(PLAIN, time_stop=2)),
        Rule("time stop on its timeframe", "Base bars between do not count.",
             "10 | 10 | 10 | 10 | 10 | 10 | 10", {0: long()},
             [(2, "ENTRY", 0.05, 10.0), (6, "TIME_STOP", -0.05, 10.0)], plan=replace(PLAIN, time_stop=2), step=2),
        Rule("regime exit", "With `regime_exit` a position leaves when the regime leaves the ones declared.",
             "10 | 10 | 10 | 10", {0: long()}, [BOUGHT, (3, "REGIME_EXIT", -0.05, 10.0)],
             plan=replace(REGIMES_1, regime_exit=True), regimes=(1, 1, 2, 2)),
        Rule("macro exit", "With `regime_exit` a position leaves when the macro state is risk_off.",
             "10 | 10 | 10 | 10", {0: long()}, [BOUGHT, (3, "MACRO_EXIT", -0.05, 10.0)],
             plan=replace(REGIMES_1, regime_exit=True), regimes=(1, 1, 1, 1),
             macros=("risk_on", "neutral", "risk_off", "risk_off")),
        Rule("first reason", "The first of time stop, exit signal, regime exit is the reason.",
             "10 | 10 | 10", {0: long(), 1: LEAVE}, [BOUGHT, (2, "TIME_STOP", -0.05, 10.0)],
             plan=replace(REGIMES_1, regime_exit=True, time_stop=1), regimes=(1, 2, 2)),
    ),
    "At the close: entries decided, or why not": (
        Rule("holding", "While in position no entry is decided: positions are not added to.",
             "10 | 10 | 10", {0: long(), 1: long()}, [BOUGHT], {1: "HOLDING"}),
        Rule("no signal", "Without a true entry condition nothing is ordered.", "10 | 10", {}, [], {0: "NO_SIGNAL"}),
        Rule("unknown entry", "An unknown condition never enters, and says so.",
             "10 | 10", {0: Signal(enter_long=NAN, size=0.5)}, [], {0: "UNKNOWN"}),
        Rule("both sides", "Long and short at once: neither.",
             "10 | 10", {0: Signal(enter_long=1.0, enter_short=1.0, size=0.5)}, [], {0: "BOTH_SIDES"}, terms=PERPETUAL),
        Rule("same side", "What leaves at the next open is not entered again on its side there.",
             "10 | 10 | 10", {0: long(), 1: replace(LEAVE, enter_long=1.0)},
             [BOUGHT, (2, "EXIT_SIGNAL", -0.05, 10.0)], {1: "SAME_SIDE"}),
        Rule("regime", "Entries need one of the regimes declared; exits do not.",
             "10 | 10", {0: long()}, [], {0: "REGIME"}, plan=REGIMES_1, regimes=(2, 2)),
        Rule("unknown regime", "A regime that is not known is none of them.",
             "10 | 10", {0: long()}, [], {0: "REGIME"}, plan=REGIMES_1),
        Rule("macro", "Entries are refused while the macro state is neutral or risk_off; positions stay.",
             "10 | 10 | 10", {0: long(), 1: long()}, [], {0: "MACRO", 1: "MACRO"},
             macros=("neutral", "risk_off", "risk_off")),
        Rule("macro small", "With risk_small an entry has half the quantity that everything else allows.",
             "10 | 10", {0: long()}, [(1, "ENTRY", 0.025, 10.0)], {0: "LONG_ORDERED"},
             macros=("risk_small", "risk_on")),
        Rule("short on spot", "Shorts need a perpetual.", "10 | 10", {0: short()}, [], {0: "SHORT_NEEDS_PERPETUAL"}),
        Rule("invalid stop", "A stop that is unknown or not above zero refuses the entry.",
             "10 | 10 | 10", {0: long(0.0), 1: long(NAN)}, [], {0: "INVALID_STOP", 1: "INVALID_STOP"}, plan=STOPPED),
        Rule("invalid size", "So does such a size.",
             "10 | 10 | 10", {0: long(size=0.0), 1: long(size=NAN)}, [], {0: "INVALID_SIZE", 1: "INVALID_SIZE"}),
        Rule("warm-up", "Before the strategy has seen the bars it needs, nothing is entered.",
             "10 | 10 | 10", {0: long(), 1: long()}, [(2, "ENTRY", 0.05, 10.0)], {0: "WARMING", 1: "LONG_ORDERED"},
             plan=replace(PLAIN, warmup=2)),
        Rule("start", "Nor before the first bar on which it may trade.",
             "10 | 10 | 10", {0: long(), 1: long()}, [(2, "ENTRY", 0.05, 10.0)], {0: "INACTIVE", 1: "LONG_ORDERED"},
             start=1),
        Rule("short ordered", "A true short condition on a perpetual is ordered like a long one.",
             "10 | 10", {0: short()}, [SOLD], {0: "SHORT_ORDERED"}, terms=PERPETUAL),
    ),
}  # fmt: skip

RULES = tuple(rule for rules in SECTIONS.values() for rule in rules)

HEAD = """\
# The broker, rule by rule

Every rule of execution, with the smallest example that shows it. The examples are data, in
`tests/research_lab/engine/broker_rules.py`; the suite runs each on the engine and on the slow broker in plain
Python, and this page is made from them: `python -m tests.research_lab.engine.broker_rules` writes it anew.

Bars are numbered from 0 and separated by bars: open, high, low and close, or one number for a bar that does not
move. Money begins at 1. Where nothing is said there are no costs, no stop, a size of half the equity, spot, and
one bar of the timeframe a base bar. A fill is told as bar, reason, signed quantity and price.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for section, rules in SECTIONS.items():
        rows = [
            "",
            f"## {section}",
            "",
            "| Rule | What it says | Example | Fills, and what is decided |",
            "|---|---|---|---|",
        ]
        rows += [f"| {rule.name} | {rule.says} | {_example(rule)} | {_outcome(rule)} |" for rule in rules]
        parts.append("\n".join(rows) + "\n")
    return "".join(parts)


def _example(rule: Rule) -> str:
    said = [f"`{rule.bars.replace(' | ', '; ')}`"]
    said += [f"close {k}: {_changed(signal, Signal(size=0.5))}" for k, signal in rule.at.items()]
    said += [f"funding at bar {bar}: {rate:g}" for bar, rate in rule.funding.items()]
    usual = PERPETUAL if rule.terms.perpetual else SPOT
    if rule.terms.perpetual:
        said.append("perpetual, leverage 10, maintenance 0.05" if rule.terms == usual else "perpetual")
    said += [text for text in (_changed(rule.terms, usual), _changed(rule.plan, PLAIN)) if text]
    said += [f"regimes {' '.join(map(str, rule.regimes))}"] if rule.regimes else []
    said += [f"macro states {' '.join(rule.macros)}"] if rule.macros else []
    said += [f"timeframe of {rule.step} base bars"] if rule.step > 1 else []
    said += [f"minutes {' '.join(map(str, rule.minutes))}"] if rule.minutes else []
    said += [f"may trade from bar {rule.start}"] if rule.start else []
    return "; ".join(said)


def _changed(one: object, usual: object) -> str:
    """Return the fields that differ from what is usual."""
    pairs = [(f.name, getattr(one, f.name), getattr(usual, f.name)) for f in fields(one)]  # type: ignore[arg-type]
    return ", ".join(_words(name, value) for name, value, other in pairs if repr(value) != repr(other))


def _words(name: str, value: object) -> str:
    if name == "size_kind":
        return "size by risk"
    if name == "regime_mask":
        return f"regimes declared: {', '.join(str(k) for k in range(1, 6) if int(str(value)) >> k & 1)}"
    if name == "takes" and isinstance(value, tuple):
        return "takes " + ", ".join(f"{share:g} at {at:g}R" for at, share in value)
    if value is True or (value == 1.0 and name.startswith(("enter", "exit"))):
        return name.replace("has_", "with ")
    if isinstance(value, float):
        return f"{name} {'unknown' if math.isnan(value) else f'{value:g}'}"
    return f"{name} {value}"


def _outcome(rule: Rule) -> str:
    said = [f"{bar} {reason} {quantity:+.6g} at {price:.6g}" for bar, reason, quantity, price in rule.fills]
    said = said or ["nothing"]
    said += [f"decided at {bar}: {reason}" for bar, reason in rule.decided.items()]
    said += [f"equity after {bar}: {value:.6g}" for bar, value in rule.equity.items()]
    return "; ".join(said)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
