"""What would change a verdict is derived from the evidence, and true: applied, it meets the limit."""

from __future__ import annotations

import math
import re
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gates.evidence import Evidence, Figure
from pipelines.gates.overfitting import Among, measured_among
from pipelines.gates.policy import judge, load_policy
from pipelines.gates.remedies import _cheaper, _earning_more, _surer
from pipelines.gates.shadow import _ends, _place
from research_lab.validation.family_wise import stouffer

POLICY = load_policy()
LIMIT = POLICY.gates["holdout"]["p"]
NORMAL = NormalDist()
CURVE = [
    {"multiple": 0.0, "sharpe": 1.4, "total_return": 0.5},
    {"multiple": 0.5, "sharpe": 0.9, "total_return": 0.3},
    {"multiple": 1.0, "sharpe": 0.4, "total_return": -0.1},
    {"multiple": 2.0, "sharpe": -0.5, "total_return": -0.4},
]


def _reasons(gate: str, series: dict[str, object] | None = None, **changed: float) -> str:
    figures = {name: limit.figure(0.0, 1, 0.02).limit for name, limit in POLICY.gates[gate].items()}
    return "\n".join(
        judge(
            Evidence(gate, {"research_p": 0.02, **figures, **changed}, {}, series=series or {}), POLICY
        ).reasons
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"sharpe": 0.4}, "at 0.6 of today's costs it would be met"),  # 0.9 - (0.9 - 0.8): 0.5 + 0.1 = 0.6
        ({"return": -0.1}, "at 0.87 of today's costs it would be met"),  # 0.5 + 0.5 * 0.3 / 0.4 = 0.875
        ({"sharpe_at_double_costs": -0.5}, "at 0.55 of today's costs"),  # 0.3 is met at 1.1 of 2 times
    ],
)
def test_the_cost_level_at_which_it_would_pass_is_told(changed: dict[str, float], told: str) -> None:
    assert told in _reasons("backtest", {"cost_curve": CURVE}, **changed)


def test_what_no_costs_would_save_is_said_to_be() -> None:
    low = [{**level, "sharpe": level["sharpe"] - 1.0} for level in CURVE]
    assert "even without any costs it is 0.4" in _reasons("backtest", {"cost_curve": low}, sharpe=-0.6)


@given(
    values=st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(lambda v: sorted(v, reverse=True)),
    limit=st.floats(-3, 3),
)
def test_at_the_costs_told_the_straight_line_meets_the_limit(values: list[float], limit: float) -> None:
    multiples = [0.0, 0.5, 1.0, 2.0]
    if values[2] >= limit:
        return
    curve = [{"multiple": m, "sharpe": v} for m, v in zip(multiples, values, strict=True)]
    text = _cheaper(curve, "sharpe", 1.0, limit)
    if text.startswith("at "):
        share = float(text.split()[1])
        assert np.interp(share, multiples, values) >= limit - 0.06 * abs(values[0] - values[2]) - 1e-9
    else:
        assert text.startswith(("only free", "even without"))


@pytest.mark.parametrize(
    ("gate", "changed", "told"),
    [
        ("backtest", {"n_trades": 23.0, "years": 2.8}, "17 more trades are missing (23 of 40); at 8.2 a year"),
        ("backtest", {"n_trades": 23.0, "years": 2.8}, "about 2.1 years more of data"),
        ("backtest", {"max_drawdown": 0.625}, "at about 0.8 of its size it would be met"),
        ("backtest", {"plateau": 0.3, "sharpe": 2.0}, "would have to reach a Sharpe ratio of 1.20 in the median, now 0.60"),
        ("walk_forward", {"share_profitable": 0.2, "n_folds": 5.0}, "2 more of 5 folds would have to end with a gain"),
        (
            "backtest",
            {"regime_p": 0.004, "p_against_trend_up": 0.4, "p_against_panic": 0.002, "n_trades_panic": 31.0},
            "its 31 trades decided in panic lose (p 0.002, 2 declared regimes tested); take panic out of `regimes`",
        ),
    ],
)  # fmt: skip
def test_each_remedy_is_derived(gate: str, changed: dict[str, float], told: str) -> None:
    assert told in _reasons(gate, **changed)


def _luck(seed: int, n_days: int, sharpe: float, n_trials: int = 300) -> Evidence:
    """Return the evidence of gate 6 on strangers without an edge and a first trial of this daily Sharpe ratio."""
    daily = np.random.default_rng(seed).normal(0.0, 0.01, (n_days, n_trials))
    own = daily[:, 0]
    daily[:, 0] = (own - own.mean()) / own.std(ddof=1) * 0.01 + 0.01 * sharpe
    quick = POLICY.model_copy(update={"bootstrap": POLICY.bootstrap.model_copy(update={"n_draws": 1000})})
    return measured_among(Among(daily, daily, [0], []), quick, {}, lambda: ({}, {}))


def test_so_many_more_days_at_the_same_sharpe_ratio_meet_the_limit_of_gate_6() -> None:
    """The best of 300 at t = 2.90 over 1,570 days; t^2 grows with the days, and what luck reaches does not."""
    sharpe = 2.90 / math.sqrt(1570)
    found = _luck(1, 1570, sharpe)
    (told,) = judge(found, POLICY).reasons
    months = int(re.search(r"about (\d+) months more of research bars", told).group(1))  # type: ignore[union-attr]
    longer = [_luck(seed, 1570 + round(months * 365 / 12), sharpe).figures["p"] for seed in (2, 3, 4)]
    assert found.figures["p"] > 0.35
    assert np.median(longer) == pytest.approx(0.25, abs=0.03)


def test_a_statistic_below_zero_is_told_what_it_would_have_to_be() -> None:
    figures = {"p": 1.0, "statistic": -0.5, "n_rivals": 300.0, "n_days": 1570.0}
    needed = [{"p": 0.2, "statistic": 3.2}, {"p": 0.25, "statistic": 3.1}, {"p": 0.3, "statistic": 3.0}]
    (told,) = judge(Evidence("overfitting", figures, {}, series={"needed": needed}), POLICY).reasons
    assert told.endswith("its statistic is -0.50, and p 0.25 among 300 trials takes 3.10")


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found.group(1).replace(",", ""))


def _after(p: float, n_days: float, more: float) -> float:
    """Return p of one column at the same Sharpe ratio over more days."""
    return 1.0 - NORMAL.cdf(NORMAL.inv_cdf(1.0 - p) * math.sqrt(1.0 + more / n_days))


P = st.floats(0.0005, 0.49)


@given(p=P, research_p=st.floats(0.0002, 0.25), opening=st.integers(1, 3))
def test_so_many_more_days_or_that_research_p_confirm_in_the_holdout(
    p: float, research_p: float, opening: int
) -> None:
    def level(research: float) -> float:
        return LIMIT.figure(p, opening, research).limit

    if p <= level(research_p):
        return
    told = _reasons("holdout", p=p, research_p=research_p, opening=float(opening), n_days=500.0)
    days = _number(r"about ([\d,]+) more days? of holdout", told)
    assert _after(p, 500.0, days) <= level(research_p) < _after(p, 500.0, days - 1.0)
    assert _number(r"about ([\d,]+) more of candles", told) == pytest.approx(days / 0.4, abs=3)
    if "no p of the research" in told:
        assert p > level(0.0002)
    else:
        enough = _number(r"a research p of at most ([\d.]+) instead", told)
        assert p <= level(enough) and p > level(enough + 2e-4)


@given(p=P, research_p=st.floats(0.0002, 0.25))
def test_so_many_more_days_or_that_research_p_are_enough_together(p: float, research_p: float) -> None:
    def together(p: float, research_p: float, more: float = 0.0) -> float:
        return stouffer(research_p, p, math.sqrt(0.6 * 500.0), math.sqrt(0.4 * (500.0 + more)))

    if together(p, research_p) <= 0.01:
        return
    told = _reasons(
        "holdout", p=p, research_p=research_p, n_days=500.0, combined_p=together(p, research_p)
    ).splitlines()[-1]
    assert told.startswith("combined_p")
    days = _number(r"about ([\d,]+) more days? of holdout", told)
    assert together(_after(p, 500.0, days), research_p, days) <= 0.01
    assert days < 2.0 or together(_after(p, 500.0, days - 2.0), research_p, days - 2.0) > 0.01
    if "no p of the research" in told:
        assert together(p, 0.0002) > 0.01
    else:
        enough = _number(r"a research p of at most ([\d.]+) instead", told)
        assert together(p, max(enough, 1e-9)) <= 0.01 < together(p, enough + 2e-4)


def test_a_holdout_that_lost_is_promised_no_days() -> None:
    told = _reasons("holdout", p=0.8, research_p=0.02, n_days=500.0)
    assert "more days" not in told and told.endswith("no p of the research would have made it enough")


@given(seed=st.integers(0, 999), limit=st.sampled_from([0.005, 0.004, 0.05]))
def test_the_return_told_is_the_least_that_lies_in_the_band(seed: int, limit: float) -> None:
    band = np.sort(np.random.default_rng(seed).normal(0.1, 0.2, 999))
    ends = _ends(band)
    told = _earning_more(
        Figure(0.001, limit, ">="), Evidence("shadow", {"return": -0.6}, {}, series={"band": ends})
    )
    needed = _number(r"over these days (-?[\d.]+) % would", told) / 100.0
    assert _place(band, np.array([needed])) >= limit
    if limit != 0.004:  # told by the next place that is known
        assert _place(band, np.array([needed - 0.0003])) < limit


@given(share=st.floats(0.51, 0.89))
def test_so_many_more_days_at_the_same_difference_replace_a_champion(share: float) -> None:
    told = _surer(Figure(share, 0.9, ">="), Evidence("promote", {"n_days": 2000.0}, {}))
    days = _number(r"about ([\d.,]+)", told) * (365.0 if "year" in told else 365.0 / 12.0)
    slack = 0.051 * 365.0 if "year" in told else 0.0  # years are told to a tenth
    assert 1.0 - _after(1.0 - share, 2000.0, days + slack) >= 0.9 - 1e-9


def test_a_drawdown_deeper_than_the_champions_is_told_its_size() -> None:
    told = _reasons("promote", drawdown_excess=0.05, max_drawdown=0.25)
    assert "at about 0.8 of its size it would be met" in told  # 0.8 * 0.25 = 0.25 - 0.05
    assert _reasons("promote", correlation=0.9).endswith("beside a champion only what moves on its own")


def test_nothing_is_promised_where_nothing_is_known() -> None:
    assert _reasons("backtest", sharpe=0.4).endswith("less is within reach of holding the coin")
    assert "nan" not in _reasons("backtest", n_trades=3.0, plateau=0.1, sharpe=math.nan)
