"""Two candidates side by side on the research bars, where both may be looked at without an opening."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines import candidates, report_text
from pipelines.candidates import Candidate
from pipelines.gates.evidence import Figure
from pipelines.gates.policy import Policy
from pipelines.gates.promote import correlation, probability_better
from pipelines.gates.world import World
from pipelines.grounds import ground_of, world_of
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec_reader import parse_spec
from research_lab.engine.backtest import Backtest, daily_returns
from research_lab.engine.jit import FloatArray, IntArray
from research_lab.errors import InsufficientError
from research_lab.workspace import Workspace

MIN_DAYS = 60
METRICS = (
    "return", "return_optimistic", "sharpe", "sortino", "max_drawdown", "profit_factor", "win_rate", "exposure",
    "turnover", "n_trades",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Side:
    """One candidate's run on its research bars.

    Parameters
    ----------
    result : with stops first. optimistic : return with takes first inside a bar.
    time : opening times of its bars, ms UTC. first_day, daily : daily returns and the UTC day of the first.
    """

    candidate: Candidate
    result: Backtest
    optimistic: float
    time: IntArray
    first_day: int
    daily: FloatArray


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two candidates, and how they go together on the days that both have.

    Parameters
    ----------
    n_days : days in common. correlation : of their daily returns.
    probability_first : share of resampled histories, paired by day, in which the first earns more.
    in_market : share of the common bars on which the first, the second, and both hold a position.
    same_side : share of the bars on which both do, on which they are on the same side; NaN without any.
    """

    first: Side
    second: Side
    n_days: int
    correlation: float
    probability_first: float
    in_market: tuple[float, float, float]
    same_side: float


def compared(
    workspace: Workspace, first: Candidate, second: Candidate, regimes: RegimeSet, policy: Policy
) -> Comparison:
    """Run both on the research bars that they were measured on, and compare the time in common.

    Raises
    ------
    InsufficientError
        They have fewer than 60 research days in common, or the ledger does not have what one of them did: it was
        never scored, or not with these costs, regimes and code.
    """
    one, other = (_side(workspace, candidate, regimes, policy) for candidate in (first, second))
    begin = max(one.first_day, other.first_day)
    end = min(side.first_day + side.daily.shape[0] for side in (one, other))
    if end - begin < MIN_DAYS:
        raise InsufficientError(
            f"{max(0, end - begin)} research days in common, at least {MIN_DAYS} are needed",
            f"{first} and {second}",
            "compare candidates that were measured on the same time",
        )
    a, b = (side.daily[begin - side.first_day : end - side.first_day] for side in (one, other))
    in_market, same_side = _overlap(one, other)
    return Comparison(
        one, other, end - begin, correlation(a, b), probability_better(a - b, policy), in_market, same_side
    )


def as_text(both: Comparison) -> str:
    """Return the comparison as a table."""
    sides = (both.first, both.second)
    rows = [("", *(f"{s.candidate.name} {s.candidate.hash[:12]}" for s in sides))]
    rows.append(("market", *(s.candidate.market for s in sides)))
    measured = [s.result.metrics | {"return_optimistic": s.optimistic} for s in sides]
    for name in METRICS:
        told = [report_text.measured("backtest", name, Figure(figures[name])) for figures in measured]
        rows.append((report_text.label("backtest", name), *told))
    verdicts = [{v.gate: v.outcome.value for v in candidates.load_verdicts(s.candidate)} for s in sides]
    for gate in report_text.in_order({**verdicts[0], **verdicts[1]}):
        rows.append((report_text.title(gate), *(found.get(gate, "–") for found in verdicts)))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [f"{name:{widths[0]}}  {a:>{widths[1]}}  {b:>{widths[2]}}".rstrip() for name, a, b in rows]
    return "\n".join([*lines, "", *_together(both)])


def draw(both: Comparison, path: Path) -> Path:
    """Draw both equities into a PNG, and return where it lies."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in (both.first, both.second):
        axes.plot(side.time.astype("datetime64[ms]"), side.result.equity, label=str(side.candidate))
    axes.set_yscale("log")
    axes.set_ylabel("equity, research bars")
    axes.legend()
    figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _together(both: Comparison) -> list[str]:
    alone, other, shared = both.in_market
    side = "" if math.isnan(both.same_side) else f", {both.same_side:.0%} of it on the same side"
    names = both.first.candidate.name, both.second.candidate.name
    return [
        f"{both.n_days:,} research days in common, none of the holdout",
        f"correlation of daily returns: {both.correlation:.2f}",
        f"{names[0]} earns more than {names[1]} in {both.probability_first:.1%} of resampled histories",
        f"time in the market: {alone:.0%} and {other:.0%}, both at once {shared:.0%}{side}",
    ]


def _side(workspace: Workspace, candidate: Candidate, regimes: RegimeSet, policy: Policy) -> Side:
    world = world_of(ground_of(workspace, candidate.facts, regimes, policy), candidate.market)
    spec = parse_spec(candidates.spec_text(candidate, parse_spec), str(candidate.spec_path))
    orders = world.both_orders(spec, world.research)
    first_day, daily = daily_returns(world.research.time, orders.pessimistic.equity)
    _refuse_uncounted(candidate, world, daily)
    return Side(candidate, orders.pessimistic, orders.returns[1], world.research.time, first_day, daily)


def _refuse_uncounted(candidate: Candidate, world: World, daily: FloatArray) -> None:
    """Refuse to show returns that the ledger of the candidate's research bars does not have."""
    key = candidate.hash, world.bars.market.charged_to, *world.research.interval
    if world.scorer.ledger.returns_of(key, hashlib.sha256(np.ascontiguousarray(daily).data).hexdigest()):
        return
    raise InsufficientError(
        "the trial ledger does not have what it earned: it was never scored, or not with these costs, regimes and code",
        str(candidate),
        "run the campaign again, which counts the look",
    )


def _overlap(one: Side, other: Side) -> tuple[tuple[float, float, float], float]:
    """Return shares of common bars in the market: first, second, both; and of both, on the same side."""
    times, mine, theirs = np.intersect1d(one.time, other.time, assume_unique=True, return_indices=True)
    if not times.shape[0]:
        return (math.nan, math.nan, math.nan), math.nan
    a, b = np.sign(one.result.position[mine]), np.sign(other.result.position[theirs])
    both = (a != 0) & (b != 0)
    shares = float((a != 0).mean()), float((b != 0).mean()), float(both.mean())
    return shares, float((a == b)[both].mean()) if both.any() else math.nan
