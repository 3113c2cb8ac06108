"""What would change a verdict is derived from the evidence, and true: applied, it meets the limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gates.evidence import Evidence
from pipelines.gates.policy import judge, load_policy
from pipelines.gates.remedies import _cheaper
from research_lab.validation.family_wise import holdout_level

POLICY = load_policy()
CURVE = [
    {"multiple": 0.0, "sharpe": 1.4, "total_return": 0.5},
    {"multiple": 0.5, "sharpe": 0.9, "total_return": 0.3},
    {"multiple": 1.0, "sharpe": 0.4, "total_return": -0.1},
    {"multiple": 2.0, "sharpe": -0.5, "total_return": -0.4},
]


def _reasons(gate: str, series: dict[str, object] | None = None, **changed: float) -> str:
    figures = {
        name: limit.figure(0.0, holdout_level(1, 0.02)).limit for name, limit in POLICY.gates[gate].items()
    }
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
        # z(0.25) = 0.674, z(0.4) = 0.253: 0.674^2 / 0.253^2 = 7.09 times the days
        ("overfitting", {"p": 0.4, "n_days": 730.0}, "about 12.2 more years of research bars would meet it"),
    ],
)  # fmt: skip
def test_each_remedy_is_derived(gate: str, changed: dict[str, float], told: str) -> None:
    assert told in _reasons(gate, **changed)


def test_nothing_is_promised_where_nothing_is_known() -> None:
    assert _reasons("backtest", sharpe=0.4).endswith("less is within reach of holding the coin")
    assert "nan" not in _reasons("backtest", n_trades=3.0, plateau=0.1, sharpe=math.nan)
