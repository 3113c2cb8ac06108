"""Scores strategies on one market's research bars, and counts every look in the trial ledger.

A parameter set is run once over all research bars; folds of a walk-forward are slices of that run's daily
returns. What was scored before in this process is remembered, what was counted before is not counted twice.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from research_lab.bars import INPUTS, Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine import metrics
from research_lab.engine.backtest import Backtest, backtest, regime_codes
from research_lab.engine.jit import FloatArray
from research_lab.engine.slot import CompiledUnion
from research_lab.engine.sweep import sweep
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.scoring.crew import Course, Crew, Run
from research_lab.scoring.origin import Origin, Refusal
from research_lab.scoring.sweep_plan import GROUP, SweepPlan, free_memory
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger

DAYS_A_YEAR = 365


@dataclass(frozen=True, eq=False)
class Score:
    """What one strategy, at its parameters' values, was worth on the research bars.

    Parameters
    ----------
    spec : the strategy. metrics : by the names of `engine.metrics.NAMES`.
    first_day : UTC day of the first daily return, days since 1970. daily : (n_days,) returns.
    """

    spec: Spec
    metrics: dict[str, float]
    first_day: int
    daily: FloatArray

    def sharpe(self, days: slice = slice(None)) -> float:
        """Return the Sharpe ratio a year of daily returns on some days; NaN when nothing moved."""
        return sharpe_of(self.daily[days])


def sharpe_of(daily: FloatArray) -> float:
    """Return the annual Sharpe ratio of daily returns: mean over deviation (n - 1) times sqrt(365)."""
    if daily.shape[0] < 2:
        return math.nan
    deviation = float(daily.std(ddof=1))
    return float(daily.mean()) / deviation * math.sqrt(DAYS_A_YEAR) if deviation > 0 else math.nan


def drawdown_of(daily: FloatArray) -> float:
    """Return the deepest fall from a running peak of daily returns, as a fraction of that peak."""
    worth = np.concatenate([[1.0], np.multiply.accumulate(1.0 + daily)])
    return float((1.0 - worth / np.maximum.accumulate(worth)).max())


class Scoring(Protocol):
    """A door to scores: of one market (`Scorer`), or of several as one (`PooledScorer`)."""

    @property
    def ledger(self) -> TrialLedger: ...
    @property
    def members(self) -> Sequence[Scorer]:
        """The markets, one scorer each."""
        ...

    def score(self, specs: Sequence[Spec]) -> list[Score]: ...
    def tried(self, template: Spec) -> list[Score]: ...
    def refuse(self, proposals: Sequence[Spec | Refusal], reason: str = "") -> None: ...
    def origin_of(self, spec: Spec) -> Origin: ...


@dataclass(eq=False)
class Scorer:
    """The only door to a score.

    Parameters
    ----------
    ledger : where looks are counted. bars : research bars, ending at the seal.
    terms, regimes : costs and regimes of every run. campaign, origin : who asks, for the ledger.
    progress : told how many strategies were scored, after they were counted.
    origins : who proposed a strategy, by its template's hash; others are of the generator `origin`.
    crew : who reads and runs what is proposed by the hundred.
    """

    ledger: TrialLedger
    bars: Bars
    terms: Terms
    regimes: RegimeSet | None
    campaign: str
    origin: str = "file"
    progress: Callable[[int], None] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    crew: Crew = field(default_factory=Crew)

    def __post_init__(self) -> None:
        self._known: dict[str, Score] = {}
        self._shared: dict[str, dict[str, Score]] = {}  # by template: what another template was scored for
        self._attempted: set[str] = set()
        self._regime = regime_codes(None if self.regimes is None else self.regimes.compiled, self.bars)
        self._course = Course(self.bars, self.terms, self._regime)

    @property
    def members(self) -> Sequence[Scorer]:
        """Itself: a market is a pool of one."""
        return (self,)

    @property
    def n_scored(self) -> int:
        """How many distinct parameter sets this scorer has run."""
        return len(self._known)

    def tried(self, template: Spec) -> list[Score]:
        """Return the scores of all parameter sets of a template that this scorer has run."""
        own = [s for s in self._known.values() if s.spec.template_hash == template.template_hash]
        return [*own, *self._shared.get(template.template_hash, {}).values()]

    def score(self, specs: Sequence[Spec]) -> list[Score]:
        """Return a score for each strategy; one sweep for all that are new, counted before it is told.

        Raises
        ------
        InsufficientError
            There are no bars, or a strategy's timeframe is finer than they are, or no multiple.
        UsageError
            The results would not fit into memory; told before anything runs.
        """
        if self.bars.n == 0:
            raise InsufficientError("the market has no bars", self.bars.market.name, "bring candles")
        new = {spec.hash: spec for spec in specs if spec.hash not in self._known}
        by_step: dict[int, list[Spec]] = {}
        for spec in new.values():
            check_timeframe(spec, self.bars)
            by_step.setdefault(spec.step_ms, []).append(spec)
        start_ms, end_ms = self.bars.interval
        n_days = (end_ms - start_ms) // metrics.DAY_MS + 1
        plan = SweepPlan(len(new) + len(self._known), n_days, os.cpu_count() or 1, free_memory())
        plan.check()
        for alike in by_step.values():
            for group, chunks in plan.groups(alike):
                self._run(group, chunks)
        return [self._told(spec) for spec in specs]

    def _told(self, spec: Spec) -> Score:
        """Return a known score under the strategy asked for: another template can have the same one at its values."""
        found = self._known[spec.hash]
        if found.spec.template_hash == spec.template_hash:
            return found
        return self._shared.setdefault(spec.template_hash, {}).setdefault(
            spec.hash, replace(found, spec=spec)
        )

    def attempt(self, specs: Sequence[Spec], origins: Sequence[Origin]) -> list[Score | str]:
        """Return a score for each strategy, or what it crashed of: for many that nobody has seen before.

        The crew runs them, and all are counted before anything is told, in the order given, whoever ran what. A
        crash is one strategy's own and counted as such. No score is remembered: a search keeps what it needs.

        Parameters
        ----------
        origins : who proposed each.

        Raises
        ------
        InsufficientError
            There are no bars, or a strategy cannot be run on them; see `check_runs`.
        UsageError
            The results would not fit into memory; told before anything runs, so nothing is counted.
        """
        if self.bars.n == 0:
            raise InsufficientError("the market has no bars", self.bars.market.name, "bring candles")
        for spec in specs:
            check_runs(spec, self.bars)
        runs = self.crew.sweep(self._course, specs) if specs else []
        found = [
            run if isinstance(run, str) else _score_of(spec, run.metrics, run.first_day, run.daily)
            for spec, run in zip(specs, runs, strict=True)
        ]
        trials = [
            replace(self._trial(spec, origin=origin), kind="crashed", reason=score)
            if isinstance(score, str)
            else self._trial(spec, score, origin)
            for spec, score, origin in zip(specs, found, origins, strict=True)
        ]
        for first in range(0, len(runs), GROUP):
            part = slice(first, first + GROUP)
            self.ledger.append(trials[part], *_daily_of(runs[part]))
        self._attempted.update(spec.hash for spec in specs)
        if self.progress is not None and specs:
            self.progress(len(specs))
        return found

    def recall(self, spec: Spec, told: Mapping[str, float], returns: str) -> Score | None:
        """Return a score that was counted before, its daily returns out of the ledger; None where it has none such.

        Parameters
        ----------
        told : its metrics. returns : SHA-256 of its daily returns.
        """
        market = self.bars.market.charged_to
        found = self.ledger.returns_of((spec.hash, market, *self.bars.interval), returns)
        if found is None:
            return None
        self._attempted.add(spec.hash)
        return Score(spec, dict(told), *found)

    def has_recorded(self, spec: Spec) -> bool:
        """Whether the ledger has a look at a strategy on these bars, of whatever kind."""
        return self.ledger.counted(spec.hash, self.bars.market.charged_to, *self.bars.interval)

    @property
    def regime(self) -> FloatArray:
        """The regime's code after each bar."""
        return self._regime

    def run(self, spec: Spec) -> Backtest:
        """Return the whole run, with fills, of a strategy that was scored: the same look, so no new one.

        Raises
        ------
        UsageError : when it was not scored, hence not counted.
        """
        if spec.hash not in self._known and spec.hash not in self._attempted:
            raise UsageError("was not scored, so its run is not counted", spec.name, "score it first")
        return backtest(compile_spec(spec), self.bars, self.terms, regime=self._regime)

    def _run(self, specs: Sequence[Spec], chunks: Sequence[CompiledUnion]) -> None:
        try:
            result = sweep(chunks, self.bars, self.terms, regime=self._regime)
        except Exception:  # a look that crashed is counted too, and the crash goes on
            self.ledger.append([replace(self._trial(spec), kind="crashed") for spec in specs])
            raise
        scores = [
            _score_of(spec, row, result.first_day, daily)
            for spec, row, daily in zip(specs, result.metrics, result.daily_returns, strict=True)
        ]
        self.ledger.append([self._trial(s.spec, s) for s in scores], result.daily_returns, result.first_day)
        self._known.update((score.spec.hash, score) for score in scores)
        if self.progress is not None:
            self.progress(len(scores))

    def origin_of(self, spec: Spec) -> Origin:
        """Return who proposed a strategy."""
        return self.origins.get(spec.template_hash, Origin(self.origin))

    def refuse(self, proposals: Sequence[Spec | Refusal], reason: str = "") -> None:
        """Record proposals that are not run: texts that are no strategies, strategies that a gate refuses.

        Nothing was seen of the market, so no look is counted; the ledger says that they were proposed, by
        whom, and why they were refused.
        """
        self.ledger.append([self._refused(proposal, reason) for proposal in proposals])

    def _refused(self, proposal: Spec | Refusal, reason: str) -> Trial:
        if isinstance(proposal, Refusal):
            told = _identity(proposal) | {"reason": proposal.reason}
            return self._record(proposal.origin, kind="refused", **told)
        return replace(self._trial(proposal), kind="refused", reason=reason)

    def _trial(self, spec: Spec, score: Score | None = None, origin: Origin | None = None) -> Trial:
        """Return the ledger's record of a look; without a score it is one that came to nothing."""
        return self._record(
            origin or self.origin_of(spec),
            kind="scored",
            candidate=spec.hash,
            template=spec.template_hash,
            name=spec.name,
            timeframe=spec.timeframe,
            sharpe=math.nan if score is None else score.metrics["sharpe"],
            n_trades=0 if score is None else int(score.metrics["n_trades"]),
        )

    def _record(self, origin: Origin, **about: Any) -> Trial:
        """Return a record on these bars of this campaign."""
        start_ms, end_ms = self.bars.interval
        return Trial(
            market=self.bars.market.charged_to,
            start_ms=start_ms,
            end_ms=end_ms,
            snapshot=self.bars.snapshot,
            campaign=self.campaign,
            origin=origin.generator,
            generator_version=origin.version,
            parent=origin.parent,
            knowledge_cutoff=origin.knowledge_cutoff,
            model=origin.model,
            prompt=origin.prompt,
            **about,
        )

    def family(self) -> tuple[FloatArray, list[str]]:
        """Return the daily returns (n_days, n_trials) of all trials charged to these bars, and their hashes.

        Days on which a trial was not run are NaN; so are days before the first bar of this interval.
        """
        start_ms, end_ms = self.bars.interval
        first = start_ms // metrics.DAY_MS
        last = -(-end_ms // metrics.DAY_MS)
        return self.ledger.daily_returns(self.bars.market.charged_to, first, last)


def _daily_of(runs: Sequence[Run | str]) -> tuple[FloatArray | None, int]:
    """Return the daily returns of some runs, zeros for one that crashed, and their first day; None without any."""
    whole = [run for run in runs if not isinstance(run, str)]
    if not whole:
        return None, 0
    nothing = np.zeros_like(whole[0].daily)
    return np.stack([nothing if isinstance(run, str) else run.daily for run in runs]), whole[0].first_day


def _score_of(spec: Spec, row: FloatArray, first_day: int, daily: FloatArray) -> Score:
    return Score(spec, dict(zip(metrics.NAMES, row.tolist(), strict=True)), first_day, daily)


def _identity(refusal: Refusal) -> dict[str, str]:
    """Return what the ledger calls a proposal that was refused: the strategy that it is, or its text."""
    spec, digest = refusal.spec, refusal.digest
    if spec is None:
        return {"candidate": digest, "template": digest, "name": refusal.name, "timeframe": ""}
    names = {"name": spec.name, "timeframe": spec.timeframe}
    return {"candidate": spec.hash, "template": spec.template_hash, **names}


def check_runs(spec: Spec, bars: Bars) -> None:
    """Refuse a strategy that bars cannot run: for its timeframe, or for what it reads beside the market.

    Raises
    ------
    InsufficientError
        As `check_timeframe`; bars have no values of something that it cannot do without; or it takes shorts alone
        where there are none.
    """
    check_timeframe(spec, bars)
    missing = sorted(name for name, row in spec.rows.items() if row not in bars.series) or unknown_inputs(
        spec, bars
    )
    if missing:
        raise InsufficientError(
            f"{spec.name} reads {missing[0]}, of which there are no values", bars.market.name
        )
    if spec.side == "short" and not bars.market.perpetual:
        raise InsufficientError(
            f"{spec.name} takes shorts, and spot has none", bars.market.name, "use a perpetual"
        )


def unknown_inputs(spec: Spec, bars: Bars) -> list[str]:
    """Return the names of what a strategy cannot do without, and of which bars have no value at all."""
    rows = dict(zip((*INPUTS, *bars.series), bars.inputs, strict=True))
    return sorted(name for name in spec.needs if not np.isfinite(rows[spec.rows.get(name, name)]).any())


def check_timeframe(spec: Spec, bars: Bars) -> None:
    """Refuse a strategy whose timeframe the bars cannot give.

    Raises
    ------
    InsufficientError
        The timeframe is finer than the base grid, or not a multiple of it.
    """
    if spec.step_ms < bars.step_ms:
        raise InsufficientError(
            f"{spec.name} runs on {spec.timeframe}, finer than the data's {bars.timeframe}",
            bars.market.name,
            f"bring candles of {spec.timeframe} or finer",
        )
    if spec.step_ms % bars.step_ms:
        raise InsufficientError(
            f"{spec.name} runs on {spec.timeframe}, no multiple of the data's {bars.timeframe}",
            bars.market.name,
        )


def neighbours(spec: Spec) -> list[Spec]:
    """Return the strategies one step away in one parameter, each parameter up and down."""
    found = []
    for name, param in spec.params.items():
        values = np.array(param.values)
        place = int(np.abs(values - param.default).argmin())
        for other in (place - 1, place + 1):
            if 0 <= other < len(values):
                found.append(spec.bind({name: float(values[other])}))
    return found
