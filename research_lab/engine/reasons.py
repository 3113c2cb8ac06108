"""Reason codes: why a fill happened, and why a decision was what it was, also when nothing was done.

Codes are stored on disk: numbers are append-only.
"""

from __future__ import annotations

from typing import Final

NONE: Final = 0

# Why a fill happened.
ENTRY: Final = 1
EXIT_SIGNAL: Final = 2
TIME_STOP: Final = 3
REGIME_EXIT: Final = 4
STOP: Final = 5
TAKE: Final = 6
LIQUIDATION: Final = 7
ENDED: Final = 8
RISK_EXIT: Final = 9
MACRO_EXIT: Final = 10

# What was decided at a close.
NO_STRATEGY_BAR: Final = 20
WARMING: Final = 21
INACTIVE: Final = 22
NO_SIGNAL: Final = 23
UNKNOWN: Final = 24
BOTH_SIDES: Final = 25
REGIME: Final = 26
SHORT_NEEDS_PERPETUAL: Final = 27
INVALID_STOP: Final = 28
INVALID_SIZE: Final = 29
TOO_SMALL: Final = 30
LONG_ORDERED: Final = 31
SHORT_ORDERED: Final = 32
HOLDING: Final = 33
EXIT_ORDERED: Final = 34
RUN_ENDED: Final = 35
SAME_SIDE: Final = 36
MACRO: Final = 37

# Why the account, other than the strategy, did not enter.
NOT_SELECTED: Final = 40
COOLDOWN: Final = 41
DAILY_LOSS: Final = 42
DRAWDOWN: Final = 43
LATE_BAR: Final = 44
EXPIRED: Final = 45
STAGE_SHADOW: Final = 46

# Why the account's room left nothing of an entry.
NO_ROOM: Final = 50
SYMBOL_ROOM: Final = 51
OPEN_RISK: Final = 52
POSITIONS: Final = 53

# Why nothing could be decided.
NO_BAR: Final = 60

MEANING: Final[dict[int, str]] = {
    NONE: "nothing to say",
    ENTRY: "entry at the open after the decision",
    EXIT_SIGNAL: "exit condition true at the last close",
    TIME_STOP: "held for as many bars as the time stop allows",
    REGIME_EXIT: "the regime left the ones declared",
    STOP: "stop reached",
    TAKE: "take reached",
    LIQUIDATION: "maintenance margin reached",
    ENDED: "equity reached zero",
    RISK_EXIT: "closed by a risk limit",
    MACRO_EXIT: "the macro state is risk_off",
    NO_STRATEGY_BAR: "no bar of the strategy's timeframe completed",
    WARMING: "fewer bars seen than the warm-up needs",
    INACTIVE: "before the first bar on which it may trade",
    NO_SIGNAL: "no entry condition true",
    UNKNOWN: "an entry condition is unknown (missing value)",
    BOTH_SIDES: "long and short entry at once: neither",
    REGIME: "entry condition true, but not in this regime",
    SHORT_NEEDS_PERPETUAL: "short entry on a spot market",
    INVALID_STOP: "entry refused: stop distance missing or not above zero",
    INVALID_SIZE: "entry refused: size missing or not above zero",
    TOO_SMALL: "entry refused: below the lot or the minimum notional",
    LONG_ORDERED: "long entry ordered for the next open",
    SHORT_ORDERED: "short entry ordered for the next open",
    HOLDING: "in position, nothing to do",
    EXIT_ORDERED: "exit ordered for the next open",
    RUN_ENDED: "equity reached zero earlier: no more orders",
    SAME_SIDE: "entry on the side that is being exited: not entered again at the same open",
    MACRO: "entry refused: the macro state is neutral, risk_off or unknown",
    NOT_SELECTED: "the enable_map does not select this strategy in this regime",
    COOLDOWN: "entry refused: cooldown after the last exit",
    DAILY_LOSS: "entry refused: daily loss limit reached",
    DRAWDOWN: "entry refused: drawdown limit over 72 hours reached",
    LATE_BAR: "entry refused: the bar came late",
    EXPIRED: "entry refused: the map's entry has expired",
    STAGE_SHADOW: "shadow stage: decided without capital",
    NO_ROOM: "entry refused: cash or leverage are taken by other positions",
    SYMBOL_ROOM: "entry refused: positions in this market reach its cap",
    OPEN_RISK: "entry refused: the risk of open positions reaches its cap, or the entry has no stop",
    POSITIONS: "entry refused: as many positions are open as may be",
    NO_BAR: "the market has no bar at this time",
}
