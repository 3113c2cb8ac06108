"""The portfolio against the slow one, and proof that a changed rule of the account is found."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_lab.engine import account, portfolio
from tests.oracles.random_portfolios import (
    REFUSALS,
    PortfolioCase,
    random_portfolio,
    with_a_signal_every_bar,
)
from tests.research_lab.engine.differential import REASON_NAMES
from tests.research_lab.engine.portfolio_harness import PlayedPortfolio, difference, reading_stepper

N_CASES = 30_000  # whole; a hundredth in the suite
SEED = 20_221
MOST_TIES = 0.001  # share of cases that may end at a price which lies on a liquidation level
MODULES = ("account", "portfolio_steps")


def case_number(k: int) -> tuple[PortfolioCase, list[int]]:
    """Return a random case, decimal ticks and lots in every second, and random cuts."""
    rng = np.random.default_rng([SEED, k])
    case = random_portfolio(rng, decimal=k % 2 == 1)
    return case, sorted(int(cut) for cut in rng.integers(1, case.n, size=int(rng.integers(0, 6))))


@pytest.mark.proof
def test_the_portfolio_agrees_with_the_slow_one(campaign_share: float) -> None:
    seen: Counter[str] = Counter()
    ties = 0
    for k in range(round(N_CASES * campaign_share)):
        case, cuts = case_number(k)
        slow = case.run()
        assert not (found := difference(case, slow, PlayedPortfolio(case, cuts))), f"case {k}: {found}"
        seen.update(fill.reason for fills in slow.fills for fill in fills)
        seen.update(refusal.reason for refusal in slow.refusals)
        ties += slow.tied_at is not None
    assert ties <= max(2, MOST_TIES * N_CASES * campaign_share), f"{ties} cases end where rounding decides"
    wanted = {*REASON_NAMES.values(), *REFUSALS}
    assert set(seen) == wanted, f"never happened: {wanted - set(seen)}"


@pytest.mark.proof
def test_strategies_that_read_series_agree_with_the_slow_one(campaign_share: float) -> None:
    for k in range(round(N_CASES * campaign_share)):
        case, cuts = case_number(k)
        case = with_a_signal_every_bar(case)
        stepper = reading_stepper(case, np.random.default_rng([SEED, k, 1]))
        played = PlayedPortfolio(case, cuts, stepper=stepper)
        assert not (found := difference(case, case.run(), played)), f"case {k}: {found}"


@pytest.mark.proof
@given(k=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 59), max_size=20))
def test_any_cut_of_any_case_gives_the_same_bytes(k: int, cuts: list[int]) -> None:
    case, _ = case_number(k)
    assert PlayedPortfolio(case, cuts).bytes == PlayedPortfolio(case).bytes


@pytest.mark.parametrize("k", range(40))
def test_cash_in_whole_quanta_loses_not_one(k: int) -> None:
    """Cash is the capital less whole quanta for each fill, its fee and each funding, exactly."""
    case, _ = case_number(k)
    quantum = 2.0**-30
    run = PlayedPortfolio(case, quantum=quantum)
    rounded = [
        np.floor(amount / quantum + 0.5).sum()
        for amount in (run.fills["quantity"] * run.fills["price"], run.fills["fee"])
    ]
    paid = [run.stepper.contribution(run.state, s) for s in range(len(case.slots))]
    funding = sum(slot.funding for slot in paid) / quantum
    capital = np.floor(case.cash / quantum + 0.5)
    assert capital - sum(rounded) - funding == run.state[account.CASH] == run.cash[-1] / quantum
    assert sum(slot.fees for slot in paid) / quantum == rounded[1]


def faulty_account(old: str, new: str, folder: Path) -> Callable[..., None]:
    """Return `advance_account` in plain Python, its sources and the account's changed in one place."""
    engine = Path(account.__file__).parent
    sources = {name: (engine / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    assert sum(old in source for source in sources.values()) == 1, f"the account no longer says {old!r}"
    package = folder / "faulty_account"
    package.mkdir()
    jit = "from typing import Any\n\nFloatArray = IntArray = Any\nkernel = inlined_kernel = lambda f: f\n"
    (package / "jit.py").write_text(jit, encoding="utf-8")
    for name, source in sources.items():
        ours = re.sub(r"research_lab\.engine\.(account|jit) ", r"faulty_account.\1 ", source)
        ours = ours.replace("engine import account, ", "engine import ").replace(
            "from faulty_account.account", "from faulty_account import account\nfrom faulty_account.account"
        )
        (package / f"{name}.py").write_text(ours.replace(old, new), encoding="utf-8")
    (package / "__init__.py").touch()
    sys.path.insert(0, str(folder))
    try:
        step: Callable[..., None] = importlib.import_module("faulty_account.portfolio_steps").advance_account
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "faulty_account"]:
            del sys.modules[name]
    return step


def test_the_account_in_plain_python_is_the_compiled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = [PlayedPortfolio(*case_number(k)).bytes for k in range(8)]
    step = faulty_account("others: float =", "others: float =", tmp_path)
    monkeypatch.setattr(portfolio, "advance_account", step)
    with np.errstate(all="ignore"):
        assert [PlayedPortfolio(*case_number(k)).bytes for k in range(8)] == compiled


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("            gross += abs(position)", "            gross += position"),
        ("if books.market_of[j] == books.market_of[k]:", "if books.market_of[j] != books.market_of[k]:"),
        ("if held >= caps.positions:", "if held > caps.positions:"),
        ("risked += quantity * state[books.book_at[j] + layout.R]", "risked += quantity"),
        ("1.0 + allowed * fee)", "1.0)"),
        ("+ free * share", ""),
        ("- books.margins[market] * abs(net[market])", ""),
        ("* (share - 1.0)", "* 0.0"),
        ("min(book[layout.PENDING_QUANTITY], most)", "book[layout.PENDING_QUANTITY]"),
        ("tightest = reasons.SYMBOL_ROOM", "tightest = reasons.NO_ROOM"),
        ("places.prices[market] = state[CLOSES_AT + market]", "places.prices[market] = 0.0"),
        ("        if feed.there[market, t] == 1:", "        if True:"),
    ],
)  # fmt: skip
def test_a_changed_rule_of_the_account_is_found_by_the_slow_one(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio, "advance_account", faulty_account(old, new, tmp_path))
    for k in range(8_000):  # ends at the first that is found; margins decide in few
        case, cuts = case_number(k)
        with np.errstate(all="ignore"):
            if difference(case, case.run(), PlayedPortfolio(case, cuts)):
                return
    pytest.fail(f"nobody missed {old!r}")
