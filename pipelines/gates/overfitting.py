"""Gate 6: how often luck alone does as well, over the trials charged to this market and time that could be promoted.

The family-wise p of what timing earned beyond holding decides. Everything else is reported beside it, and judged
by nobody: what the Sharpe ratio is worth by itself and among its trials, how tuning does on other days, and whether
the best of all trials beats holding, the champion and entering at random. `docs/statistics.md` says how to read each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.gates.evidence import Evidence
from pipelines.gates.policy import Policy
from pipelines.gates.world import World, thinned
from research_lab.bars import DAY_MS
from research_lab.dsl.spec import Spec
from research_lab.engine.jit import FloatArray
from research_lab.errors import InsufficientError
from research_lab.scoring.market_exposure import less_holding, market_daily
from research_lab.scoring.scorer import DAYS_A_YEAR, sharpe_of
from research_lab.scoring.trial import Trial
from research_lab.validation import overfitting
from research_lab.validation.cpcv import Division, cpcv
from research_lab.validation.cscv import cscv_logits
from research_lab.validation.family_wise import LEVELS, FamilyWise, family_wise_p
from research_lab.validation.random_twin import RandomTwins, random_twins
from research_lab.validation.reality_check import reality_check

Beside = tuple[dict[str, float], dict[str, Any]]
"""Figures, and series for pictures."""

_FOLDS, _TEST_FOLDS = 10, 3  # of CPCV: 120 splits, 36 paths
_POINTS = 201  # of the twins' picture
_BINS = np.linspace(-8.0, 8.0, 33)  # of the logits' picture


def measure(spec: Spec, world: World) -> Evidence:
    """Return the candidate's p among all trials in the ledger, and what is reported beside it."""
    champions = [champion for champion in world.champions if champion != spec.hash]
    bound = world.bound_to(spec, context=" ".join([world.scorer.ledger.head(), *champions]))
    family, candidates = world.scorer.family()
    columns = [k for k, candidate in enumerate(candidates) if candidate == spec.hash]
    holding = _on_days(*market_daily(world.research), world, family.shape[0])
    rivals = _rivals(world, candidates, columns)
    among = Among(family, less_holding(family, holding), columns, _tuned(spec, world, candidates), rivals)
    held = [k for k, c in enumerate(candidates) if c in champions[:1]]

    def beside() -> Beside:
        return _benchmarks(spec, world, family, _fullest(family, columns), held)

    return measured_among(among, world.policy, bound, beside)


@dataclass(frozen=True, eq=False)
class Among:
    """The returns that a candidate is held against.

    Parameters
    ----------
    daily, timed : (n_days, n_trials) returns, and these less what holding would have earned.
    columns : the candidate's. tuned : those of the parameter sets of its template.
    rivals : those that could be promoted in the candidate's place, its own among them; None for all.
    """

    daily: FloatArray
    timed: FloatArray
    columns: list[int]
    tuned: list[int]
    rivals: list[int] | None = None


def measured_among(
    among: Among, policy: Policy, bound: Mapping[str, str], beside: Callable[[], Beside]
) -> Evidence:
    """Return the evidence of gate 6 from returns alone, and beside it what takes more than these."""
    family, timed, columns = among.daily, among.timed, among.columns
    if not columns:
        return Evidence("overfitting", {}, bound, "the ledger of this market does not have the candidate")
    rules = policy.bootstrap
    rivals = list(range(timed.shape[1])) if among.rivals is None else among.rivals
    own = [rivals.index(column) for column in columns]
    try:
        found = family_wise_p(timed[:, rivals], own, n_draws=rules.n_draws, seed=rules.seed)
    except InsufficientError as fault:
        return Evidence("overfitting", {}, bound, str(fault))
    figures = {
        "p": found.p,
        "statistic": found.statistic,
        "critical_99": found.critical_99,
        "n_trials": float(timed.shape[1]),
        "n_rivals": float(found.n_trials),
        "n_columns": float(found.n_columns),
        "n_drawn": float(found.n_drawn),
        "n_effective": found.n_effective,
        "n_days": float(found.n_days),
        "block_days": float(found.block_length),
    }
    fullest = _fullest(family, columns)
    figures["sharpe_less_holding"] = sharpe_of(timed[np.isfinite(timed[:, fullest]), fullest])
    figures |= _sharpe_ratio(family[:, fullest], family, found)
    series: dict[str, Any] = {"needed": _needed(found)}
    for more, shown in (
        _halvings(family),
        _paths(family, among.tuned, policy),
        beside(),
    ):
        figures |= more
        series |= shown
    return Evidence("overfitting", figures, bound, series=series)


def _needed(found: FamilyWise) -> list[dict[str, float]]:
    """Return which statistic the candidate would need for which p, where there is one."""
    pairs = zip(LEVELS, found.needed, strict=True)
    return [{"p": level, "statistic": float(t)} for level, t in pairs if math.isfinite(t)]


def _fullest(family: FloatArray, columns: list[int]) -> int:
    """Return the first of the columns with the most days: one strategy may have been scored on several intervals."""
    return max(columns, key=lambda column: int(np.isfinite(family[:, column]).sum()))


def _sharpe_ratio(own: FloatArray, family: FloatArray, found: FamilyWise) -> dict[str, float]:
    """Return what the candidate's Sharpe ratio is worth by itself, and as the best of so many."""
    daily = own[np.isfinite(own)]
    sharpe, skewness, kurtosis = overfitting.moments(daily)
    names = (
        "psr",
        "deflated_sharpe",
        "deflated_sharpe_effective",
        "min_track_record_days",
        "min_backtest_years",
    )
    if math.isnan(sharpe):
        return dict.fromkeys(names, math.nan)
    n, observed = daily.shape[0], (sharpe, daily.shape[0], skewness, kurtosis)
    known = family[:, np.isfinite(family).sum(axis=0) >= 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        sharpes = np.nanmean(known, axis=0) / np.nanstd(known, axis=0, ddof=1)
    sharpes = sharpes[np.isfinite(sharpes)]
    deflated = effective = lucky = math.nan
    if sharpes.shape[0] >= 2:
        deflated = overfitting.deflated_sharpe(*observed, float(sharpes.var(ddof=1)), sharpes.shape[0])
    if math.isfinite(found.n_effective):
        null = overfitting.null_variance(n)
        effective = overfitting.deflated_sharpe(*observed, null, found.n_effective)
        annual = sharpe * math.sqrt(DAYS_A_YEAR)
        lucky = overfitting.min_backtest_length(found.n_effective, annual) if annual > 0.0 else math.inf
    enough = overfitting.min_track_record(sharpe, skewness, kurtosis)
    return dict(zip(names, (overfitting.psr(*observed), deflated, effective, enough, lucky), strict=True))


def _halvings(family: FloatArray) -> Beside:
    """Return PBO by CSCV over the trials that have every day, and the histogram of its logits."""
    whole = family[:, np.isfinite(family).all(axis=0)]
    try:
        logits = cscv_logits(whole)
    except InsufficientError:
        return {"pbo": math.nan}, {}
    counts, _ = np.histogram(np.clip(logits, _BINS[0], _BINS[-1]), _BINS)
    shown = {"pbo_logit_edges": [float(edge) for edge in _BINS], "pbo_logit_counts": [int(n) for n in counts]}
    return {"pbo": float((logits <= 0.0).mean())}, shown


def _rivals(world: World, candidates: list[str], columns: list[int]) -> list[int]:
    """Return the columns of trials with enough trades to be promoted in the candidate's place, and its own."""
    start_ms, end_ms = world.research.interval
    charged = world.scorer.ledger.trials(world.research.market.charged_to, start_ms, end_ms)
    n_trades = most_trades(charged)
    return rivals_among(
        [n_trades.get(candidate, math.inf) for candidate in candidates], columns, world.policy
    )


def rivals_among(n_trades: Sequence[float], columns: list[int], policy: Policy) -> list[int]:
    """Return the columns with as many trades as a rival needs, or as the candidate has, and the candidate's own."""
    least = min([enough_trades(policy), *(n_trades[k] for k in columns)])
    return [k for k, n in enumerate(n_trades) if n >= least or k in columns]


def enough_trades(policy: Policy) -> float:
    """Return how many trades a trial needs to be a rival: gate 4's limit, below which nothing is promoted.

    Trials of a few trades have draws with a long right tail, which raises the bar for everybody (decision 0016); yet
    gate 4 lets none of them through, so none of them can be a false promotion. A candidate with few trades itself is
    held against all that have as many. Without a limit all are rivals.
    """
    limit = policy.gates.get("backtest", {}).get("n_trades")
    return 0.0 if limit is None or limit.at_least is None else limit.at_least


def most_trades(charged: Iterable[Trial]) -> dict[str, int]:
    """Return the most trades of any trial of each candidate."""
    n_trades: dict[str, int] = {}
    for trial in charged:
        n_trades[trial.candidate] = max(trial.n_trades, n_trades.get(trial.candidate, 0))
    return n_trades


def _tuned(spec: Spec, world: World, candidates: list[str]) -> list[int]:
    """Return the columns of the parameter sets of the candidate's template."""
    start_ms, end_ms = world.research.interval
    charged = world.scorer.ledger.trials(world.research.market.charged_to, start_ms, end_ms)
    siblings = {trial.candidate for trial in charged if trial.template == spec.template_hash}
    return [k for k, candidate in enumerate(candidates) if candidate in siblings]


def _paths(family: FloatArray, tuned: list[int], policy: Policy) -> Beside:
    """Return what tuning among the candidate's parameter sets gives out of sample, over all CPCV paths."""
    rules = policy.tuning
    whole = [k for k in tuned if np.isfinite(family[:, k]).all()]
    names = ("cpcv_sharpe", "cpcv_sharpe_q05", "cpcv_share_below_0", "cpcv_n_paths", "cpcv_n_sets")
    try:
        if not whole:
            raise InsufficientError("no parameter set has every day")
        done = cpcv(family[:, whole], Division(_FOLDS, _TEST_FOLDS, rules.purge_days, rules.embargo_days))
    except InsufficientError:
        return dict.fromkeys(names, math.nan), {}
    values = (
        done.mean,
        done.quantile(0.05),
        done.share_below_0,
        float(done.sharpes.shape[0]),
        float(len(whole)),
    )
    return dict(zip(names, values, strict=True)), {"cpcv_sharpes": [float(s) for s in done.sharpes]}


def _benchmarks(spec: Spec, world: World, family: FloatArray, own: int, champions: list[int]) -> Beside:
    """Return SPA and reality check against holding, champion and random-entry twins, as the candidate's p."""
    against: Mapping[str, FloatArray | None] = {
        "hold": _on_days(*market_daily(world.research), world, family.shape[0]),
        "champion": family[:, _fullest(family, champions)] if champions else None,
    }
    figures: dict[str, float] = {"twin_percentile": math.nan, "twin_p": math.nan}
    shown: dict[str, Any] = {}
    result = world.run(spec, world.research)
    if result.trades.shape[0]:
        twins = random_twins(
            world.research, result.trades, result.equity, world.terms, seed=world.policy.bootstrap.seed
        )
        daily = family[:, own]
        sharpe = sharpe_of(daily[np.isfinite(daily)])
        figures, shown = among_twins(twins, sharpe)
        against = {**against, "twin": _on_days(twins.first_day, twins.mean_daily, world, family.shape[0])}
    for name in ("hold", "champion", "twin"):
        figures |= against_benchmark(name, family, against.get(name), own, world.policy)
    return figures, shown


def among_twins(twins: RandomTwins, sharpe: float) -> Beside:
    """Return where a Sharpe ratio stands among its random-entry twins."""
    figures = {"twin_percentile": twins.percentile(sharpe), "twin_p": twins.p(sharpe)}
    return figures, {"twin_sharpes": thinned(np.sort(twins.sharpes), _POINTS), "sharpe": sharpe}


def against_benchmark(
    name: str, family: FloatArray, benchmark: FloatArray | None, own: int, policy: Policy
) -> dict[str, float]:
    """Return the candidate's p by SPA and by the reality check against one benchmark."""
    spa = white = math.nan
    rules = policy.bootstrap
    if benchmark is not None:
        try:
            found = reality_check(family, benchmark, n_draws=rules.n_draws, seed=rules.seed)
            spa, white = float(found.consistent_values[own]), float(found.white_values[own])
        except InsufficientError:
            pass
    return {f"spa_{name}": spa, f"reality_check_{name}": white}


def _on_days(first_day: int, daily: FloatArray, world: World, n_days: int) -> FloatArray:
    """Return daily returns on the family's days, NaN where there are none."""
    placed = np.full(n_days, np.nan)
    at = first_day - world.research.interval[0] // DAY_MS
    n = min(n_days - at, daily.shape[0])
    placed[at : at + n] = daily[:n]
    return placed
