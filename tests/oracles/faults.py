"""Faults to plant in the slow broker: what its source says, and what a wrong broker would say instead."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from . import slow_broker

FAULTS = {
    "spot pays funding": ("if self.position and self.terms.perpetual and rate", "if self.position and rate"),
    "funding at the wrong sign": (
        "self.cash -= self.position.quantity * open_ * rate",
        "self.cash += self.position.quantity * open_ * rate",
    ),
    "exit slips the good way": (
        "price = open_ * (1 - self.terms.slippage * self.position.side)",
        "price = open_ * (1 + self.terms.slippage * self.position.side)",
    ),
    "liquidation ignores maintenance": ("(quantity * (1 - self.terms.maintenance))", "quantity"),
    "short liquidation ignores maintenance": (
        "(abs(quantity) * (1 + self.terms.maintenance))",
        "abs(quantity)",
    ),
    "a level must be passed": (
        "price <= level if side > 0 else price >= level",
        "price < level if side > 0 else price > level",
    ),
    "stops touch but takes must pass": (
        "if not self.reached(reach, level, -position.side)",
        "if reach == level or not self.reached(reach, level, -position.side)",
    ),
    "liquidation before an equal or nearer stop": (
        "return liquidation > stop if side > 0 else liquidation < stop",
        "return True",
    ),
    "gap liquidation without its fee": (
        'self.close_all(price, "LIQUIDATION", self.terms.fee + self.terms.liquidation_fee)',
        'self.close_all(price, "LIQUIDATION", self.terms.fee)',
    ),
    "gap stop fills at its level": (
        'self.close_all(price, "STOP", self.terms.fee)\n            return',
        'self.close_all(stop, "STOP", self.terms.fee)\n            return',
    ),
    "no gap takes": ("self.take(open_, open_)", "pass"),
    "cap without fee": ("(price * (1 + terms.fee * leverage))", "price"),
    "minimum notional unchecked at the fill": ("size <= 0 or size * price < terms.min_notional", "size <= 0"),
    "minimum notional unchecked at the decision": ("or size < self.terms.min_notional / close", ""),
    "stop from the open": ("stop=nearest_tick(price - side", "stop=nearest_tick(open_ - side"),
    "stop not rounded": (
        "stop=nearest_tick(price - side * order.stop_distance, terms.tick)",
        "stop=price - side * order.stop_distance",
    ),
    "take levels from the open": ("nearest_tick(price + side * at", "nearest_tick(open_ + side * at"),
    "optimism swapped": ("if self.terms.optimistic:", "if not self.terms.optimistic:"),
    "no protection in the entry bar": (
        'self.trade(side * size, price, "ENTRY", terms.fee)',
        'self.trade(side * size, price, "ENTRY", terms.fee)\n        self.fresh = self.bar',
    ),
    "inside liquidation without its fee": (
        "rate = self.terms.fee + self.terms.liquidation_fee",
        "rate = self.terms.fee",
    ),
    "inside stop without slippage": (
        "price = worse(open_, stop) * (1 - self.terms.slippage * side)",
        "price = worse(open_, stop)",
    ),
    "take slips": ("price = max(open_, level) if position.side > 0 else min(open_, level)", "price = level"),
    "share of the whole": ("size = floor_lot(share * remaining, self.terms.lot)", "size = share * remaining"),
    "best from closes": (
        "position.best = max(position.best, high) if side > 0 else min(position.best, low)",
        "pass",
    ),
    "first trail of a close counts": (
        "position.trail = signals[-1].trail",
        "position.trail = signals[0].trail",
    ),
    "trail frozen at entry": ("if signals and known(signals[-1].trail):", "if False:"),
    "unknown trail forgets the last": ("if signals and known(signals[-1].trail):", "if signals:"),
    "trail armed at once": (
        "if plan.trail_after_r == 0 or gain >= plan.trail_after_r * position.r:",
        "if True:",
    ),
    "trail must pass its gain": (
        "gain >= plan.trail_after_r * position.r",
        "gain > plan.trail_after_r * position.r",
    ),
    "stop can fall back": ("else nearer(position.stop, level)", "else level"),
    "trail needs a stop": (
        "level if math.isnan(position.stop) else nearer",
        "NAN if math.isnan(position.stop) else nearer",
    ),
    "trail not rounded": (
        "        level = nearest_tick(level, self.terms.tick)\n        nearer",
        "        nearer",
    ),
    "no breakeven": ("if plan.breakeven and position.takes_done >= 1:", "if False:"),
    "unknown regime passes": (
        "(regime != 0 and mask >> regime & 1 == 1)",
        "(regime == 0 or mask >> regime & 1 == 1)",
    ),
    "held counts base bars": ("position.held += 1", "position.held = self.bar"),
    "time stop one late": ("position.held >= plan.time_stop", "position.held > plan.time_stop"),
    "signal before time stop": (
        "if plan.time_stop > 0 and position.held >= plan.time_stop:",
        "if plan.time_stop > 0 and position.held >= plan.time_stop and signal.exit_long != 1.0:",
    ),
    "last exit reason counts": (
        "self.pending_exit = self.pending_exit or reason",
        "self.pending_exit = reason or self.pending_exit",
    ),
    "unknown exit acts": ("signal.exit_short) == 1.0:", "signal.exit_short) != 0.0:"),
    "unknown entry acts": ("signal.enter_long == 1.0, signal", "signal.enter_long != 0.0, signal"),
    "long wins over short": ("if long and short:", "if False:"),
    "no reversal": ("if self.position and not self.pending_exit:", "if self.position:"),
    "same side again": ("if self.position and self.position.side == side:", "if False:"),
    "spot goes short": ("if short and not self.terms.perpetual:", "if False:"),
    "impossible stop enters": (
        "if self.plan.has_stop and not known(distance):",
        "if self.plan.has_stop and math.isnan(distance):",
    ),
    "size of cash, not equity": (
        "risk_share, distance, equity, close, part)",
        "risk_share, distance, self.cash, close, part)",
    ),
    "a small macro state is a whole one": ("0.5 if macro", "1.0 if macro"),
    "neutral lets enter": ('if macro in ("neutral", "risk_off"):', 'if macro == "risk_off":'),
    "neutral closes": ('macro == "risk_off":', 'macro in ("neutral", "risk_off"):'),
    "risk_off closes unasked": ('elif plan.regime_exit and macro == "risk_off"', 'elif macro == "risk_off"'),
    "decision not capped": ("cap if quantity > cap else quantity", "quantity"),
    "spot uses leverage": ("return self.leverage if self.perpetual else 1.0", "return self.leverage"),
    "an order waits": ("order, self.pending_entry = self.pending_entry, None", "order = self.pending_entry"),
    "first decision of a close counts": (
        "self.pending_entry = Order(",
        "self.pending_entry = self.pending_entry or Order(",
    ),
    "inactive bars decide": ("if not active:", "if False:"),
    "the run never ends": ("if equity <= 0 and not self.result.ended:", "if False:"),
    "ended keeps its position": ('self.close_all(close, "ENDED", 0.0)', "pass"),
}
FRESH = (
    "def protect(self, open_: float, adverse: float) -> None:",
    "def protect(self, open_, adverse):\n"
    "        if getattr(self, 'fresh', -1) == self.bar:\n            return",
)


def faulty_broker(fault: tuple[str, str]) -> types.ModuleType:
    """Return the slow broker with one rule broken in its source text: what it says, and what instead."""
    source = Path(slow_broker.__file__).read_text(encoding="utf-8")
    edits = [fault] + ([FRESH] if "fresh" in fault[1] else [])
    for right, wrong in edits:
        assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in the slow broker"
        source = source.replace(right, wrong)
    module = types.ModuleType(f"faulty_{len(sys.modules)}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__name__, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module
