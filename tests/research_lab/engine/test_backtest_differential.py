"""`backtest` and `sweep` against the slow broker: every rule at once, on a clock with gaps, in blocks.

The campaign is cut into parts, each with its own seed, so that parts run beside each other, tell how far it
is, and one that failed or was interrupted can be run alone: `pytest -m proof -k "part_7"`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from research_lab.engine.backtest import Backtest
from tests.oracles.crowded_markets import TimedCase, crowded_case, occurrences
from tests.oracles.faults import FAULTS, faulty_broker
from tests.research_lab.engine.timed_backtests import difference, played, swept, swept_difference

N_CASES = 100_000  # whole; a hundredth in the suite
N_PARTS = 20
N_BARS = 60
SEED = 41_077
ENOUGH = 1_500  # cases within which every planted fault must be found

# What a thousand cases, each run pessimistic and optimistic, must show at least; about a third of what they do.
LEAST = {
    **dict.fromkeys(("ENTRY long", "ENTRY short", "STOP long", "STOP short", "TAKE long", "TAKE short"), 700),
    **dict.fromkeys(("partial TAKE", "TAKE then TAKE in one bar", "funding paid", "gaps in time"), 500),
    **dict.fromkeys(("EXIT_SIGNAL long", "EXIT_SIGNAL short", "STOP through a gap", "TAKE through a gap"), 150),
    **dict.fromkeys(("REGIME_EXIT long", "REGIME_EXIT short", "TIME_STOP long", "TIME_STOP short"), 50),
    **dict.fromkeys(("TAKE then STOP in one bar", "ENTRY then STOP in one bar", "ENTRY then TAKE in one bar"), 80),
    **dict.fromkeys(("EXIT_SIGNAL then ENTRY in one bar", "bars with two signals"), 30),
    **dict.fromkeys(("LIQUIDATION long", "LIQUIDATION short"), 10),
    **dict.fromkeys(("LIQUIDATION through a gap", "TIME_STOP then ENTRY in one bar", "ENDED short"), 4),
    **dict.fromkeys(("TAKE pessimistic", "TAKE optimistic", "STOP pessimistic", "STOP optimistic"), 700),
    **dict.fromkeys(
        ("NO_STRATEGY_BAR", "NO_SIGNAL", "HOLDING", "LONG_ORDERED", "SHORT_ORDERED", "REGIME", "BOTH_SIDES",
         "WARMING", "TOO_SMALL", "INVALID_STOP", "INVALID_SIZE", "INACTIVE", "EXIT_ORDERED", "RUN_ENDED",
         "UNKNOWN", "SHORT_NEEDS_PERPETUAL", "SAME_SIDE"), 100),
}  # fmt: skip


def case_number(k: int) -> tuple[TimedCase, tuple[int, ...]]:
    """Return a case with everything on, and the cuts into blocks."""
    rng = np.random.default_rng([SEED, k])
    case = crowded_case(rng, N_BARS)
    return case, tuple(int(cut) for cut in rng.integers(1, N_BARS, size=int(rng.integers(0, 8))))


def both_orders(case: TimedCase) -> list[TimedCase]:
    return [replace(case, terms=replace(case.terms, optimistic=flag)) for flag in (False, True)]


def unmet(seen: Counter[str], n_cases: int) -> dict[str, int]:
    """Return what occurred less often than it must."""
    return {what: seen[what] for what, least in LEAST.items() if seen[what] < least * n_cases / 1000}


@pytest.mark.proof
@pytest.mark.parametrize("part", range(N_PARTS), ids=lambda part: f"part_{part}")
def test_the_backtest_agrees_with_the_slow_broker(part: int, campaign_share: float) -> None:
    n_cases = round(N_CASES * campaign_share) // N_PARTS
    seen: Counter[str] = Counter()
    for k in range(part, n_cases * N_PARTS, N_PARTS):
        case, cuts = case_number(k)
        for asked in both_orders(case):
            slow = asked.run()
            assert not (found := difference(slow, played(asked, cuts))), f"case {k}, {asked.terms}: {found}"
            seen += occurrences(asked, slow)
    if n_cases >= 1000:
        assert not unmet(seen, n_cases)


@pytest.mark.proof
def test_the_sweep_agrees_with_the_slow_broker(campaign_share: float) -> None:
    for k in range(max(60, round(N_CASES * campaign_share) // 10)):
        case, _ = case_number(k)
        plans = [case.plan, replace(case.plan, time_stop=2, breakeven=False), replace(case.plan, takes=())]
        found = swept(case, plans)
        for row, plan in enumerate(plans):
            wanted = replace(case, plan=plan).run()
            assert not (apart := swept_difference(case, wanted, found, row)), f"case {k}, {plan}: {apart}"


def test_the_cases_meet_every_rule() -> None:
    """Else the campaign would be blind to it."""
    seen: Counter[str] = Counter()
    for k in range(1000):
        for asked in both_orders(case_number(k)[0]):
            seen += occurrences(asked, asked.run())
    assert not unmet(seen, 1000)


# Rules that the other campaign does not try: the account's share and cap, and the warm-up.
MORE_FAULTS = {
    "funding after the exit": (
        "        self.pay_funding(open_, funding)\n        self.exit_at_open(open_)\n",
        "        self.exit_at_open(open_)\n        self.pay_funding(open_, funding)\n",
    ),
    "no risk cap": ("if self.terms.risk_cap < math.inf:\n            caps", "if False:\n            caps"),
    "risk cap without a stop": ("self.terms.risk_cap < math.inf and math.isnan(distance)", "False"),
    "risk share without effect": ("signal.size * self.terms.risk_share, dis", "signal.size, dis"),
    "warm-up one bar longer": ("self.signal_bars < self.plan.warmup", "self.signal_bars <= self.plan.warmup"),
    "stop drawn before warm-up ends": ("self.signal_bars < self.plan.warmup", "False"),
    "regime told before the side": ('            return "SAME_SIDE"', '            return "REGIME"'),
    "a run that ended says so": ('"RUN_ENDED" if self.result.ended else decision', "decision"),
}


@cache
def of_the_engine(k: int) -> tuple[tuple[TimedCase, Backtest], ...]:
    return tuple((asked, played(asked)) for asked in both_orders(case_number(k)[0]))


def found_after(broker: ModuleType, n_cases: int) -> int | None:
    """Return how many cases it takes to tell a changed broker from the engine's."""
    for k in range(n_cases):
        if any(difference(asked.run(broker), fast) for asked, fast in of_the_engine(k)):
            return k + 1
    return None


@pytest.mark.parametrize("fault", [*FAULTS, *MORE_FAULTS])
def test_a_changed_rule_is_found_within_enough_cases(fault: str) -> None:
    changed = faulty_broker(MORE_FAULTS.get(fault) or FAULTS[fault])
    assert found_after(changed, ENOUGH) is not None


def test_the_slow_broker_unchanged_is_not_found() -> None:
    assert found_after(faulty_broker(("leaves the account flat", "leaves it flat")), 60) is None
