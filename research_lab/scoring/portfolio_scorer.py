"""Scores portfolios, and counts every look in the trial ledger of each market that it touches.

A portfolio's result says something of every market that a slot trades, so it is charged to all of them, each
over that market's own interval and with the account's daily returns on its days. A slot's contribution is
part of the same look. Nothing is told before all charges are on the disk.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from research_lab.bars import Bars
from research_lab.dsl.regimes import RegimeSet
from research_lab.dsl.spec import Spec, compile_spec
from research_lab.engine import metrics
from research_lab.engine.account import NO_CAPS, Caps
from research_lab.engine.backtest import daily_returns, regime_codes
from research_lab.engine.jit import FloatArray
from research_lab.engine.portfolio import Market, Portfolio, Slot, portfolio
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError, UsageError
from research_lab.scoring.scorer import check_runs
from research_lab.scoring.trial import Trial
from research_lab.scoring.trial_ledger import TrialLedger

_FORM = 1  # of the text that a portfolio's hash is taken of


@dataclass(frozen=True)
class Member:
    """One slot of a portfolio: a strategy, the name of its market, and its share of the risk."""

    spec: Spec
    market: str
    risk_share: float = 1.0


@dataclass(frozen=True, eq=False)
class PortfolioScore:
    """What a portfolio was worth.

    Parameters
    ----------
    hash : SHA-256 of slots in map order, caps and capital, as the ledger names it. portfolio : what it did.
    returns : with stops before takes inside a bar, as it was scored, and with takes before stops; see
        `backtests.both_orders`.
    first_day : UTC day of the first daily return, days since 1970. daily : (n_days,) returns of the account.
    """

    hash: str
    portfolio: Portfolio
    returns: tuple[float, float]
    first_day: int
    daily: FloatArray


@dataclass(frozen=True, eq=False)
class PortfolioScorer:
    """The only door to a portfolio's result.

    Parameters
    ----------
    ledger : where looks are counted. bars : research bars by the market's name, ending at the seal.
    terms : costs and rules, by the same names. regimes : of every market. campaign, origin : who asks.
    """

    ledger: TrialLedger
    bars: Mapping[str, Bars]
    terms: Mapping[str, Terms]
    regimes: RegimeSet | None
    campaign: str
    origin: str = "hand"

    def score(
        self,
        members: Sequence[Member],
        caps: Caps = NO_CAPS,
        *,
        capital: float = 1.0,
        records: bool = False,
    ) -> PortfolioScore:
        """Run a portfolio over the union of its markets' times; counted before it is told.

        Parameters
        ----------
        members : in map order: who stands first gets scarce cash first. capital : quote currency.
        records : whether to keep each slot's positions and decisions at each time.

        Raises
        ------
        UsageError
            There is no member, a market is not known, or the numbers or markets do not fit one account.
        InsufficientError
            A market has no bars, or a strategy cannot be run on them; see `check_runs`.
        DataError
            A market has no values of a series that macro states read.
        """
        self._check(members, caps, capital)
        names = list(dict.fromkeys(member.market for member in members))
        digest = _digest(members, caps, capital, self.bars)
        trials = [self._trial(name, members, digest) for name in names]
        slots = [Slot(compile_spec(m.spec), names.index(m.market), m.risk_share) for m in members]
        markets = [self._market(name) for name in names]
        best_terms = [replace(m, terms=replace(m.terms, optimistic=True)) for m in markets]
        try:
            ran = portfolio(slots, markets, caps, capital=capital, records=records)
            best = portfolio(slots, best_terms, caps, capital=capital)
        except Exception:  # a look that crashed is counted too, and the crash goes on
            self.ledger.append([replace(trial, kind="crashed") for trial in trials])
            raise
        first_day, daily = daily_returns(ran.time, ran.equity / capital)
        for trial in trials:
            self._charge(trial, ran, first_day, daily)
        returns = ran.metrics["return"], best.metrics["return"]
        return PortfolioScore(digest, ran, returns, first_day, daily)

    def _market(self, name: str) -> Market:
        """Return a market in the pessimistic order, with its regimes and macro states."""
        compiled, bars = None if self.regimes is None else self.regimes.compiled, self.bars[name]
        return Market(bars, replace(self.terms[name], optimistic=False), regime_codes(compiled, bars))

    def _charge(self, trial: Trial, ran: Portfolio, first_day: int, daily: FloatArray) -> None:
        """Record the look with the returns of the days that the market's interval has."""
        first = max(trial.start_ms // metrics.DAY_MS, first_day)
        last = min((trial.end_ms - 1) // metrics.DAY_MS, first_day + daily.shape[0] - 1)
        scored = replace(trial, sharpe=ran.metrics["sharpe"], n_trades=int(ran.metrics["n_trades"]))
        self.ledger.append([scored], daily[None, first - first_day : last + 1 - first_day], first)

    def _trial(self, name: str, members: Sequence[Member], digest: str) -> Trial:
        bars = self.bars[name]
        start_ms, end_ms = bars.interval
        return Trial(
            kind="scored",
            candidate=digest,
            template=_template(members, self.bars),
            name="portfolio of " + ", ".join(dict.fromkeys(member.spec.name for member in members)),
            market=bars.market.charged_to,
            start_ms=start_ms,
            end_ms=end_ms,
            timeframe=bars.timeframe,
            snapshot=bars.snapshot,
            campaign=self.campaign,
            origin=self.origin,
        )

    def _check(self, members: Sequence[Member], caps: Caps, capital: float) -> None:
        """Refuse what cannot be one account; nothing was looked at, so nothing is counted."""
        if not members:
            raise UsageError("a portfolio without members", remedy="name at least one strategy and market")
        for member in members:
            where = f"{member.spec.name} on {member.market}"
            if member.market not in self.bars or member.market not in self.terms:
                raise UsageError(
                    f"market {member.market!r} has no bars or no terms",
                    where,
                    f"known: {', '.join(self.bars)}",
                )
            if not 0.0 < member.risk_share <= 1.0:
                raise UsageError(f"a risk share of {member.risk_share:g}", where, "above 0, at most 1")
            if self.bars[member.market].n == 0:
                raise InsufficientError("the market has no bars", where)
            check_runs(member.spec, self.bars[member.market])
        _refuse_other_grids({member.market: self.bars[member.market] for member in members})
        if len({self.terms[member.market].quantum for member in members}) > 1:
            raise UsageError("terms that count money in different quanta", remedy="one account needs one")
        for name, value in (*caps._asdict().items(), ("capital", capital)):
            if not value > 0.0 or (name == "capital" and not math.isfinite(value)):
                raise UsageError(f"{name} {value:g}", remedy="above 0; a cap may be infinite for none")


def _refuse_other_grids(bars: Mapping[str, Bars]) -> None:
    grids = {name: table.timeframe for name, table in bars.items()}
    if len(set(grids.values())) > 1:
        seen = ", ".join(f"{name} {grid}" for name, grid in grids.items())
        raise UsageError(
            f"markets on different base grids: {seen}", "portfolio", "bring all on the same, the coarsest"
        )


def _digest(members: Sequence[Member], caps: Caps, capital: float, bars: Mapping[str, Bars]) -> str:
    """Return the portfolio's hash: slots in map order, caps and capital; costs tell by other returns."""
    slots = [[m.spec.hash, bars[m.market].market.name, m.risk_share] for m in members]
    return _sha({"form": _FORM, "slots": slots, "caps": list(caps), "capital": capital})


def _template(members: Sequence[Member], bars: Mapping[str, Bars]) -> str:
    """Return the hash of the unbound form: whose strategies, on which markets."""
    return _sha(
        {"form": _FORM, "slots": [[m.spec.template_hash, bars[m.market].market.name] for m in members]}
    )


def _sha(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
