"""What a campaign examines on: one market, or several as one, sealed and with a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from live_shadow.symbols import read_symbols
from pipelines.candidates import Facts
from pipelines.gates.policy import Policy
from pipelines.gates.pool import Pool
from pipelines.gates.world import World
from pipelines.map_file import opened_map
from research_lab.bars import DAY_MS, Bars, utc
from research_lab.dsl.regimes import RegimeSet
from research_lab.engine.terms import Terms
from research_lab.errors import InsufficientError
from research_lab.market_data.lake import Lake, Span, Zones, common_border, divide
from research_lab.scoring.pooled_scorer import check_pool
from research_lab.scoring.scorer import Scorer
from research_lab.scoring.trial_ledger import TrialLedger
from research_lab.workspace import Workspace


def open_ground(
    workspace: Workspace, bars: Bars | Sequence[Bars], regimes: RegimeSet, policy: Policy, campaign: str
) -> World | Pool:
    """Store and seal bars in the workspace: those of one market as a world, those of several as a pool."""
    if isinstance(bars, Bars):
        return open_world(workspace, bars, regimes, policy, campaign)
    return open_pool(workspace, bars, regimes, policy, campaign)


def ground_of(workspace: Workspace, facts: Facts, regimes: RegimeSet, policy: Policy) -> World | Pool:
    """Return what a stored candidate was examined on."""
    return open_ground(workspace, bars_of(workspace, facts), regimes, policy, facts.campaign)


def bars_of(workspace: Workspace, facts: Facts) -> Bars | list[Bars]:
    """Return the stored bars that a candidate was examined on; several for a pool."""
    tables = [Lake(workspace.root).load(snapshot) for snapshot in facts.measured_on]
    return tables if facts.pool else tables[0]


def world_of(ground: World | Pool, market: str) -> World:
    """Return the market of a ground by its name."""
    return next(world for world in ground.worlds if world.bars.market.name == market)


def open_world(workspace: Workspace, bars: Bars, regimes: RegimeSet, policy: Policy, campaign: str) -> World:
    """Store and seal the bars in the workspace, and return them as a world to be examined on."""
    terms = read_symbols(workspace.symbols).research_terms(bars.market)
    world = sealed_world(workspace.root, bars, terms, regimes, policy, campaign)
    world.lake.keep(bars)
    return replace(world, champions=_champions(workspace, bars.market.name))


def _champions(workspace: Workspace, market: str) -> tuple[str, ...]:
    """Return the hashes of the map's strategies with capital on a market; none of a map changed by hand."""
    with opened_map(workspace) as opened:
        if opened.drift:
            return ()
        entries = opened.map().entries
    return tuple(e.candidate for e in entries if e.market == market and e.stage.holds_capital)


def sealed_world(
    folder: Path, bars: Bars, terms: Terms, regimes: RegimeSet, policy: Policy, campaign: str
) -> World:
    """Seal the bars in a folder, and return them as a world with a ledger of its own there.

    The folder may be an empty one that is thrown away: nothing but the seal is written before something is
    scored, and the bars themselves are not stored.
    """
    lake = Lake(folder)
    zones = divide(bars, policy.zones.holdout_share, policy.zones.forward_days * DAY_MS)
    lake.seal(bars.market.charged_to, zones)
    research = lake.research(bars)
    scorer = Scorer(TrialLedger(Workspace(folder).trials), research, terms, regimes, campaign)
    return World(bars, research, lake, terms, regimes, policy, scorer)


def open_pool(
    workspace: Workspace, tables: Sequence[Bars], regimes: RegimeSet, policy: Policy, campaign: str
) -> Pool:
    """Store and seal the bars of several markets in the workspace, and return them as one pool."""
    symbols = read_symbols(workspace.symbols)
    terms = [symbols.research_terms(bars.market) for bars in tables]
    pool = sealed_pool(workspace.root, tables, terms, regimes, policy, campaign)
    for world in pool.worlds:
        world.lake.keep(world.bars)
    return pool


def sealed_pool(
    folder: Path,
    tables: Sequence[Bars],
    terms: Sequence[Terms],
    regimes: RegimeSet,
    policy: Policy,
    campaign: str,
) -> Pool:
    """Seal the bars of several markets in a folder, and return them as one pool with a ledger there.

    Research ends on one day for all: where the first holdout begins among markets that have a seal, else where
    the policy's share of the time of all markets lies behind it. Markets without a seal are sealed there.

    Raises
    ------
    InsufficientError
        A market has no bars before that day, or none in its holdout.
    UsageError
        There is one market only, or a symbol twice.
    """
    check_pool([bars.market.charged_to for bars in tables])
    lake, ledger = Lake(folder), TrialLedger(Workspace(folder).trials)
    border = _seal_together(lake, tables, policy)
    worlds = []
    for bars, costs in sorted(zip(tables, terms, strict=True), key=lambda pair: pair[0].market.charged_to):
        research = lake.research(bars, border)
        scorer = Scorer(ledger, research, costs, regimes, campaign)
        worlds.append(World(bars, research, lake, costs, regimes, policy, scorer))
    return Pool(tuple(worlds))


def _seal_together(lake: Lake, tables: Sequence[Bars], policy: Policy) -> int:
    """Seal the markets of a pool that have no seal yet, and return where the research of all ends, ms UTC."""
    share, forward_ms = policy.zones.holdout_share, policy.zones.forward_days * DAY_MS
    sealed = [bars for bars in tables if lake.is_sealed(bars.market.charged_to)]
    border = min(
        (lake.zones(bars).holdout.start_ms for bars in sealed),
        default=common_border(tables, share, forward_ms),
    )
    zones = {}
    for bars in tables:
        (start, end), symbol = bars.interval, bars.market.charged_to
        forward = divide(bars, share, forward_ms).forward
        if not start < border < forward.start_ms:
            raise InsufficientError(
                f"{symbol} has data from {utc(start)} to {utc(end)}, and the pool's holdout begins {utc(border)}",
                "pool",
                "bring more data of it, or leave it out",
            )
        zones[symbol] = Zones(Span(start, border), Span(border, forward.start_ms), forward)
    for symbol, wanted in zones.items():
        lake.seal(symbol, wanted)  # one that has a seal keeps it
    return border
