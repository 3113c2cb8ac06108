"""Who looked how often at which market and time, and what the next look costs.

**What the next look costs.** As in gate 6, of all trials charged to a market and time those with enough trades are
rivals, what holding would have earned is taken off their returns, and p is the chance that the best of n of them
does as well as the candidate by luck alone. A further look of the same kind adds at most what the looks so
far added on average: with k more, no candidate's p is above 1 - (1 - p)^((n + k) / n), which holds when the
looks go up and down together or not at all, and never against each other. The statistic c that luck alone
reaches in one of twenty worlds is taken to rise in proportion to z, the normal quantile of the level that each
of n independent looks would be given, 0.95^(1/n): exact for independent normal looks, and for n looks that
are worth a power of n. Twins of what was tried cost nothing, so neither will be more than that. Of more
than `MAX_COLUMNS` trials that many are taken, evenly through time and the best ones; what they give is
brought to all n by the same rule.

Source: Z. Šidák (1967), Rectangular Confidence Regions for the Means of Multivariate Normal Distributions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from pipelines.gates.limits import Limit
from pipelines.gates.overfitting import enough_trades, most_trades
from pipelines.gates.policy import Policy
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import Lake
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation.family_wise import FamilyWise, family_wise_p

MAX_COLUMNS = 400
MORE = (1, 10, 100, 1_000)
_LEADERS = 20
_N_DRAWS = 1_000


@dataclass(frozen=True)
class Looks:
    """The trials of one campaign and proposer on one market and interval.

    Parameters
    ----------
    start_ms, end_ms : the interval looked at, [start, end), ms UTC.
    n_scored, n_crashed, n_refused : the first two are looks, the last are proposals that were not run.
    first_s, last_s : when, seconds since 1970. best_sharpe : a year; NaN when none was measured.
    """

    market: str
    start_ms: int
    end_ms: int
    campaign: str
    generator: str
    version: str
    n_scored: int
    n_crashed: int
    n_refused: int
    first_s: float
    last_s: float
    best_sharpe: float


@dataclass(frozen=True)
class NextLook:
    """What further looks at a market cost, on the interval that was looked at last.

    Parameters
    ----------
    n_looks : charged to the market and overlapping the interval.
    n_rivals : of them, scored with as many trades as gate 4 asks for; all scored ones where none has as many.
    n_used : rivals that the figures were taken from.
    holding_counts : whether what holding earned is in the figures, since the lake has no research bars for it.
    critical : statistic that luck alone reaches in one of twenty worlds; `critical_after` with k more looks.
    best, best_hash : the candidate with the smallest p so far. p, p_after : its p, and at most with k more looks.
    more : the numbers k. insufficient : why nothing could be measured, "" when it could.
    n_openings, next_level : how often the holdout was opened, and the level of the next opening, where the p of
        the research is `even_p`; it is multiplied by even_p / p, at most `most_times`. Both None for one level.
    """

    market: str
    start_ms: int
    end_ms: int
    n_looks: int
    n_rivals: int
    n_used: int
    holding_counts: bool
    critical: float
    critical_after: tuple[float, ...]
    best: str
    best_hash: str
    p: float
    p_after: tuple[float, ...]
    more: tuple[int, ...]
    insufficient: str
    n_openings: int
    next_level: float
    even_p: float | None
    most_times: float | None


def looks(trials: Iterable[Trial]) -> list[Looks]:
    """Return trials grouped by market, interval, campaign and proposer, in the order of their first."""
    groups: dict[tuple[str, int, int, str, str, str], list[Trial]] = {}
    for t in trials:
        key = (t.market, t.start_ms, t.end_ms, t.campaign, t.origin, t.generator_version)
        groups.setdefault(key, []).append(t)
    return [_group(key, found) for key, found in groups.items()]


def next_looks(ledger: TrialLedger, lake: Lake, trials: Sequence[Trial], policy: Policy) -> list[NextLook]:
    """Return what the next looks cost, market by market in the order of names.

    Parameters
    ----------
    lake : its research bars tell what holding earned.
    """
    last: dict[str, Trial] = {t.market: t for t in trials}
    return [_next_look(ledger, lake, last[market], policy) for market in sorted(last)]


def p_after(p: float, n: int, k: float) -> float:
    """Return the most that a p among n looks can be among k more of the same kind.

    Examples
    --------
    >>> round(p_after(0.05, 100, 100), 4)
    0.0975
    """
    return -math.expm1((n + k) / n * math.log1p(-p)) if p < 1.0 else 1.0


def critical_after(critical_95: float, n: int, k: float) -> float:
    """Return what the 95 % quantile of the best of n becomes with k more looks of the same kind.

    Examples
    --------
    >>> round(critical_after(3.2834, 100, 100), 4)  # of independent normal looks
    3.4739
    """
    return critical_95 * _each(n + k) / _each(n)


def _each(n: float) -> float:
    """Return the normal quantile that n independent looks all stay below with a probability of 95 %."""
    return -NormalDist().inv_cdf(-math.expm1(math.log(0.95) / n))


def _group(key: tuple[str, int, int, str, str, str], found: Sequence[Trial]) -> Looks:
    kinds = [t.kind for t in found]
    times = [t.recorded_s for t in found]
    sharpes = [t.sharpe for t in found if math.isfinite(t.sharpe)]
    return Looks(
        *key,
        kinds.count("scored"),
        kinds.count("crashed"),
        kinds.count("refused"),
        min(times),
        max(times),
        max(sharpes, default=math.nan),
    )


def _next_look(ledger: TrialLedger, lake: Lake, last: Trial, policy: Policy) -> NextLook:
    """Measure on the interval of a market's last trial."""
    market, start_ms, end_ms = last.market, last.start_ms, last.end_ms
    trials = ledger.trials(market, start_ms, end_ms)
    scored = [t for t in trials if t.kind == "scored"]
    rivals = _rivals(scored, policy)
    chosen = [rivals[i] for i in _columns([scored[i] for i in rivals])]
    n_openings = len({(o["candidate"], o["protocol"]) for o in lake.openings.past(market)})
    n_looks = sum(t.kind != "refused" for t in trials)
    holding = _holding(lake, market, start_ms, end_ms)
    unknown = NextLook(
        market, start_ms, end_ms, n_looks, len(rivals), len(chosen), holding is None, math.nan, (), "", "",
        math.nan, (), MORE, "", n_openings, *_next_level(policy.gates["holdout"]["p"], n_openings + 1),
    )  # fmt: skip
    try:
        days = ledger.days_with_returns(market, start_ms, end_ms)
        if not days[1]:
            raise InsufficientError("no look has returns")
        daily, _ = ledger.daily_returns(market, *days, only=chosen)
        if holding is not None:
            daily = less_holding(daily, _on_days(*holding, *days))
        found = family_wise_p(daily, list(range(len(chosen))), n_draws=_N_DRAWS)
    except InsufficientError as fault:
        return replace(unknown, insufficient=str(fault))
    more = [k * len(rivals) / len(scored) for k in MORE]  # rivals among further looks of the same kind
    return _forecast(unknown, found, [scored[k] for k in chosen], more)


def _forecast(look: NextLook, found: FamilyWise, used: Sequence[Trial], more: Sequence[float]) -> NextLook:
    """Return what was found of some rivals brought to all of them, and on to more."""
    n, m = look.n_rivals, look.n_used
    critical = critical_after(found.critical_95, m, n - m)
    known = replace(
        look, critical=critical, critical_after=tuple(critical_after(critical, n, k) for k in more)
    )
    if not np.isfinite(found.p_values).any():
        return known
    leader = int(np.nanargmin(found.p_values))
    p = p_after(float(found.p_values[leader]), m, n - m)
    best, rising = used[leader], tuple(p_after(p, n, k) for k in more)
    return replace(known, best=best.name, best_hash=best.candidate, p=p, p_after=rising)


def _rivals(scored: Sequence[Trial], policy: Policy) -> list[int]:
    """Return which trials have as many trades as gate 4 asks for; all where none has."""
    n_trades, enough = most_trades(scored), enough_trades(policy)
    return [i for i, t in enumerate(scored) if n_trades[t.candidate] >= enough] or list(range(len(scored)))


def _holding(lake: Lake, market: str, start_ms: int, end_ms: int) -> tuple[int, FloatArray] | None:
    """Return first day and daily returns of the market from research bars in the lake; None where they do not reach."""
    stored = lake.covering(market, start_ms, end_ms)
    if stored is None or not lake.is_sealed(market):
        return None
    research = lake.research(stored)
    return market_daily(research) if research.interval[1] >= end_ms else None


def _on_days(first_day: int, daily: FloatArray, start: int, end: int) -> FloatArray:
    """Return daily returns on the days [start, end), NaN where there are none."""
    days = np.arange(start, end)
    known = (days >= first_day) & (days < first_day + daily.shape[0])
    placed = np.full(end - start, np.nan)
    placed[known] = daily[days[known] - first_day]
    return placed


def _next_level(limit: Limit, opening: int) -> tuple[float, float | None, float | None]:
    """Return the level of an opening before it is weighted, and how it is."""
    spread = limit.over_openings
    if spread is None:
        return limit.figure(math.nan).limit, None, None
    return limit.figure(math.nan, opening, spread.even_p).limit, spread.even_p, spread.most_times


def _columns(scored: Sequence[Trial]) -> list[int]:
    """Return which trials to measure: all, or the best by Sharpe ratio and others evenly through time."""
    n = len(scored)
    if n <= MAX_COLUMNS:
        return list(range(n))
    leaders = sorted(range(n), key=lambda i: (-_finite(scored[i].sharpe), i))[:_LEADERS]
    others = np.linspace(0, n - 1, MAX_COLUMNS - _LEADERS).round().astype(int).tolist()
    return sorted({*leaders, *others})


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
