"""What would change a verdict: how many more trades, days or folds, at which costs, at which size.

Each is read off the evidence and says nothing that was not measured. "At the same Sharpe ratio" is an assumption,
and named as one: more data can as well take an edge away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipelines.gates.evidence import Evidence, Figure
from pipelines.gates.holdout_remedies import of_holdout, quantile
from pipelines.gates.limits import Rule
from research_lab.wording import count

DAYS_A_YEAR: Final = 365.0


def remedy(evidence: Evidence, name: str, figure: Figure, rule: Rule) -> str:
    """Return what would let a figure meet its limit, as the end of a sentence; empty where that is not known."""
    if figure.met or not math.isfinite(figure.value):
        return ""
    if name in ("n_trades", "research_days", "strategy_bars", "n_days"):
        return _more_data(evidence, name, figure, rule.holdout_share)
    at_costs = _COST_FIGURES.get((evidence.gate, name))
    if at_costs is not None:
        return _cheaper(evidence.series.get("cost_curve", ()), *at_costs, figure.limit)
    if evidence.gate == "holdout":
        return of_holdout(evidence, name, figure, rule)
    known = _OTHERS.get((evidence.gate, name))
    return known(figure, evidence) if known is not None else ""


# gate, figure: the row of the cost curve that it is, and at how many times today's costs
_COST_FIGURES: Final[Mapping[tuple[str, str], tuple[str, float]]] = {
    ("backtest", "sharpe"): ("sharpe", 1.0),
    ("backtest", "return"): ("total_return", 1.0),
    ("backtest", "sharpe_at_double_costs"): ("sharpe", 2.0),
    ("walk_forward", "sharpe"): ("sharpe", 1.0),
}


def _more_data(evidence: Evidence, name: str, figure: Figure, holdout_share: float) -> str:
    gap = math.ceil(figure.limit - figure.value)
    if name == "n_trades":
        return f"{gap:,} more trades are missing{_at_pace(figure, evidence.figures)}"
    if name == "research_days":
        days = math.ceil((figure.limit - figure.value) / (1.0 - holdout_share))
        return (
            f"{gap:,} more days of research data are missing, which is about {days:,} more days "
            f"of candles, since {holdout_share:.0%} are set aside for the holdout"
        )
    if name == "strategy_bars":
        return f"{gap:,} more bars are missing"
    return f"{gap:,} more {'forward ' if evidence.gate == 'shadow' else ''}days are missing"


def _at_pace(figure: Figure, found: Mapping[str, float]) -> str:
    """Return how long the missing trades would take at the pace so far; empty when it is not known."""
    years = found.get("years", math.nan)
    if not math.isfinite(years):
        years = found.get("n_days", math.nan) / DAYS_A_YEAR
    if figure.value <= 0.0:
        return ": it never traded"
    if not math.isfinite(years) or years <= 0.0:
        return ""
    pace = figure.value / years
    wait = (figure.limit - figure.value) / pace
    told = f" ({figure.value:,.0f} of {figure.limit:,.0f}); at {pace:.1f} a year"
    return f"{told}, about {_duration(wait * DAYS_A_YEAR)} more of data"


def _duration(days: float) -> str:
    """Return days in words: years from one on, else months, rounded up."""
    years = days / DAYS_A_YEAR
    return f"{years:.1f} years" if years >= 1.0 else count(max(1, math.ceil(12.0 * years - 1e-9)), "month")


def _cheaper(curve: Sequence[Mapping[str, Any]], row: str, times: float, limit: float) -> str:
    """Return the largest costs, as a multiple of today's, at which the limit is met, on straight lines between levels.

    Parameters
    ----------
    curve : levels with `multiple`, ascending, and their values; None where not known.
    times : the limit is held against the value at that multiple.
    """
    known = [(float(c["multiple"]), float(c[row])) for c in curve if c[row] is not None]
    met = [k for k, (multiple, value) in enumerate(known) if value >= limit and multiple < times]
    if not known or known[0][0] != 0.0:
        return ""
    if not met:
        return f"even without any costs it is {known[0][1]:.4g}"
    last = met[-1]
    (low, above), (high, below) = known[last], known[min(last + 1, len(known) - 1)]
    share = low if above <= below else low + (high - low) * (above - limit) / (above - below)
    share = math.floor(100.0 * min(share, times) / times) / 100.0
    return (
        f"at {share:.2g} of today's costs it would be met"
        if share > 0.0
        else "only free of costs it would be met"
    )


def _smaller(figure: Figure, evidence: Evidence) -> str:
    """Drawdowns are about in proportion to size, for the same trades."""
    share = math.floor(100.0 * figure.limit / figure.value) / 100.0
    if share <= 0.0:
        return ""
    return f"at about {share:.2g} of its size it would be met, and earn that much less"


def _more_folds(figure: Figure, evidence: Evidence) -> str:
    n = evidence.figures.get("n_folds", math.nan)
    if not math.isfinite(n):
        return ""
    missing = math.ceil(figure.limit * n - 1e-9) - round(figure.value * n)
    return f"{missing} more of {n:.0f} folds would have to end with a gain"


def _on_losers(figure: Figure, evidence: Evidence) -> str:
    """Name the markets that lose with parameters of the others."""
    losers = [one["symbol"] for one in evidence.series.get("left_out", ()) if not one["total_return"] > 0.0]
    return f"with parameters of the others it loses on {', '.join(losers)}" if losers else ""


def _more_markets(figure: Figure, evidence: Evidence) -> str:
    return f"{figure.limit - figure.value:.0f} more markets are missing"


def _more_outside(figure: Figure, evidence: Evidence) -> str:
    folds = evidence.series.get("folds", ())
    if not folds:
        return ""
    inside = math.fsum(fold["inside_sharpe"] for fold in folds) / len(folds)
    return (
        f"with {inside:.2f} a year in-sample, the exams would have to earn a Sharpe ratio of "
        f"{figure.limit * inside:.2f} on average instead of {figure.value * inside:.2f}"
    )


def _flatter(figure: Figure, evidence: Evidence) -> str:
    own = evidence.figures.get("sharpe", math.nan)
    if not math.isfinite(own) or own <= 0.0:
        return ""
    return (
        f"the parameters one step away would have to reach a Sharpe ratio of {figure.limit * own:.2f} in the "
        f"median, now {figure.value * own:.2f}"
    )


def _finer(figure: Figure, evidence: Evidence) -> str:
    return "candles finer than these tell more often whether stop or take came first"


def _undeclared(figure: Figure, evidence: Evidence) -> str:
    """Name the declared regime that the evidence is against."""
    against = {
        name.removeprefix("p_against_"): p
        for name, p in evidence.figures.items()
        if name.startswith("p_against_") and math.isfinite(p)
    }
    if not against:
        return ""
    worst = min(against, key=lambda regime: against[regime])
    n = evidence.figures.get(f"n_trades_{worst}", math.nan)
    return (
        f"its {n:.0f} trades decided in {worst} lose (p {against[worst]:.2g}, {len(against)} declared regimes "
        f"tested); take {worst} out of `regimes`, which makes it another strategy, to be examined anew"
    )


def _longer(figure: Figure, evidence: Evidence) -> str:
    """A statistic grows with the root of the days while the Sharpe ratio stays; that of luck does not."""
    found = evidence.figures
    statistic, days = found.get("statistic", math.nan), found.get("n_days", math.nan)
    enough = [row for row in evidence.series.get("needed", ()) if row["p"] <= figure.limit]
    if not enough or not math.isfinite(statistic):
        return ""
    needed = max(enough, key=lambda row: float(row["p"]))
    n_rivals = found.get("n_rivals", found.get("n_trials", math.nan))
    told = (
        f"its statistic is {statistic:.2f}, and p {needed['p']:.4g} among {n_rivals:,.0f} trials "
        f"takes {needed['statistic']:.2f}"
    )
    if statistic <= 0.0 or not math.isfinite(days):
        return told
    more = days * ((needed["statistic"] / statistic) ** 2 - 1.0)
    return f"{told}, which at the same Sharpe ratio about {_duration(more)} more of research bars would bring"


def _earning_more(figure: Figure, evidence: Evidence) -> str:
    enough = [row for row in evidence.series.get("band", ()) if row["p"] >= figure.limit]
    own = evidence.figures.get("return", math.nan)
    if not enough or not math.isfinite(own):
        return ""
    needed = min(enough, key=lambda row: float(row["p"]))["return"]
    return (
        f"over these days {_up(100.0 * needed):.2f} % would have met it, and it returned {100.0 * own:.2f} %"
    )


def _up(percent: float) -> float:
    return math.ceil(100.0 * percent) / 100.0


def _surer(figure: Figure, evidence: Evidence) -> str:
    """A mean difference's normal quantile grows with the root of the days."""
    days = evidence.figures.get("n_days", math.nan)
    if not (0.5 < figure.value < figure.limit < 1.0 and math.isfinite(days)):
        return ""
    times = (quantile(1.0 - figure.limit) / quantile(1.0 - figure.value)) ** 2
    return f"at the same daily difference about {_duration(days * (times - 1.0))} more of bars would meet it"


def _shallower(figure: Figure, evidence: Evidence) -> str:
    """The drawdown that the champion's allows, as a share of the candidate's."""
    own = evidence.figures.get("max_drawdown", math.nan)
    if not own > 0.0:
        return ""
    return _smaller(Figure(own, own - figure.value + figure.limit, "<="), evidence)


_OTHERS: Final[Mapping[tuple[str, str], Callable[[Figure, Evidence], str]]] = {
    ("backtest", "max_drawdown"): _smaller,
    ("backtest", "plateau"): _flatter,
    ("backtest", "fill_interval"): _finer,
    ("backtest", "regime_p"): _undeclared,
    ("walk_forward", "share_profitable"): _more_folds,
    ("walk_forward", "efficiency"): _more_outside,
    ("walk_forward", "n_symbols"): _more_markets,
    ("walk_forward", "share_symbols_profitable"): _on_losers,
    ("overfitting", "p"): _longer,
    ("shadow", "band_probability"): _earning_more,
    ("promote", "probability_better"): _surer,
    ("promote", "drawdown_excess"): _shallower,
}
