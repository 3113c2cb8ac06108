"""Who looked how often at which market and time, and what the next look costs.

**What the next look costs.** Of all trials charged to a market and time, p is the chance that the best of n
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
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipelines.gates.limits import Limit
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import Lake
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.validation.family_wise import family_wise_p

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
    n_looks : charged to the market and overlapping the interval. n_columns : of them with returns.
    n_used : columns that the figures were taken from.
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
    n_columns: int
    n_used: int
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


def next_looks(ledger: TrialLedger, lake: Lake, trials: Sequence[Trial], limit: Limit) -> list[NextLook]:
    """Return what the next looks cost, market by market in the order of names.

    Parameters
    ----------
    limit : of the holdout's p.
    """
    last: dict[str, Trial] = {t.market: t for t in trials}
    return [_next_look(ledger, lake, last[market], limit) for market in sorted(last)]


def p_after(p: float, n: int, k: int) -> float:
    """Return the most that a p among n looks can be among k more of the same kind.

    Examples
    --------
    >>> round(p_after(0.05, 100, 100), 4)
    0.0975
    """
    return -math.expm1((n + k) / n * math.log1p(-p)) if p < 1.0 else 1.0


def critical_after(critical_95: float, n: int, k: int) -> float:
    """Return what the 95 % quantile of the best of n becomes with k more looks of the same kind.

    Examples
    --------
    >>> round(critical_after(3.2834, 100, 100), 4)  # of independent normal looks
    3.4739
    """
    return critical_95 * _each(n + k) / _each(n)


def _each(n: int) -> float:
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


def _next_look(ledger: TrialLedger, lake: Lake, last: Trial, limit: Limit) -> NextLook:
    """Measure on the interval of a market's last trial."""
    market, start_ms, end_ms = last.market, last.start_ms, last.end_ms
    trials = ledger.trials(market, start_ms, end_ms)
    scored = [t for t in trials if t.kind == "scored"]
    n_openings = len({(o["candidate"], o["protocol"]) for o in lake.openings.past(market)})
    n_looks = sum(t.kind != "refused" for t in trials)
    chosen = _columns(scored)
    critical, p, best, why = math.nan, math.nan, None, ""
    after: tuple[float, ...] = ()
    rising: tuple[float, ...] = ()
    try:
        days = ledger.days_with_returns(market, start_ms, end_ms)
        if not days[1]:
            raise InsufficientError("no look has returns")
        daily, _ = ledger.daily_returns(market, *days, only=chosen)
        found = family_wise_p(daily, list(range(len(chosen))), n_draws=_N_DRAWS)
        n, m = len(scored), len(chosen)
        critical = critical_after(found.critical_95, m, n - m)
        after = tuple(critical_after(critical, n, k) for k in MORE)
        if np.isfinite(found.p_values).any():
            leader = int(np.nanargmin(found.p_values))
            best, p = scored[chosen[leader]], p_after(float(found.p_values[leader]), m, n - m)
            rising = tuple(p_after(p, n, k) for k in MORE)
    except InsufficientError as fault:
        why = str(fault)
    return NextLook(
        market, start_ms, end_ms, n_looks, len(scored), len(chosen), critical, after,
        best.name if best else "", best.candidate if best else "", p, rising, MORE, why,
        n_openings, *_next_level(limit, n_openings + 1),
    )  # fmt: skip


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
